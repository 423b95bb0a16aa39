from __future__ import annotations

import numpy as np
import pytest

from nncore import MLP, losses, streams, validation
from nncore.callbacks import EarlyStopping


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    ("counts", "fraction"),
    [([50, 30, 20], 0.2), ([2, 2, 96], 0.1), ([2, 3, 2, 2], 0.5), ([1, 1, 10], 0.3), ([97, 3], 0.5), ([7] * 13, 0.33)],
)
def test_every_class_is_on_both_sides_in_its_share(counts, fraction, seed):
    rng = np.random.default_rng(seed)
    y = rng.permutation(np.repeat(np.arange(len(counts)), counts))
    train, held = validation.split(len(y), y, fraction, seed, False)
    assert np.array_equal(np.sort(np.concatenate((train, held))), np.arange(len(y)))
    assert (np.diff(train) > 0).all() and (np.diff(held) > 0).all()
    assert len(held) == round(len(y) * fraction)
    for label, count in enumerate(counts):
        there = int((y[held] == label).sum())
        if count > 1:
            assert 0 < there < count
        else:
            assert there == 0
        assert abs(there - count * fraction) <= 2


@pytest.mark.parametrize("held_out", [1, 2, 3, 5, 6, 7])
def test_the_number_held_out_is_right_also_where_not_all_classes_fit(held_out):
    y = np.repeat([0, 1, 2, 3], 2)
    train, held = validation.split(8, y, held_out / 8, 3, False)
    assert (len(train), len(held)) == (8 - held_out, held_out)


def test_the_rows_of_a_class_are_the_first_of_the_seeds_order():
    y = np.arange(60) % 3
    _, held = validation.split(60, y, 0.2, 11, False)
    order = streams.permutation(11, streams.SPLIT, 0, 60)
    expected = np.sort(np.concatenate([order[y[order] == label][:4] for label in range(3)]))
    np.testing.assert_array_equal(held, expected)
    assert not np.array_equal(held, validation.split(60, y, 0.2, 12, False)[1])


def test_without_classes_the_rows_are_the_first_of_the_seeds_order():
    _, held = validation.split(50, None, 0.3, 5, False)
    np.testing.assert_array_equal(held, np.sort(streams.permutation(5, streams.SPLIT, 0, 50)[:15]))


OWN = losses.OwnLoss(lambda pred, target: (np.zeros(len(pred)), np.zeros_like(pred)))


@pytest.mark.parametrize(
    ("y", "loss", "activation", "expected"),
    [
        (np.array([0, 2, 1], np.int32), losses.CrossEntropy(), "softmax", [0, 2, 1]),
        (np.eye(3)[[0, 2, 1]], losses.CrossEntropy(), "softmax", [0, 2, 1]),
        (np.eye(3)[[0, 2, 1]], losses.MeanSquaredError(), "softmax", [0, 2, 1]),
        (np.array([[0.0], [1.0], [0.0]]), losses.BinaryCrossEntropy(), "sigmoid", [0, 1, 0]),
        (np.array([[0.0], [0.5], [1.0]]), losses.BinaryCrossEntropy(), "sigmoid", None),
        (np.array([[0.0, 1.0], [1.0, 1.0]]), losses.BinaryCrossEntropy(), "sigmoid", None),
        (np.array([[0.0], [1.0], [0.0]]), losses.MeanSquaredError(), "identity", None),
        (np.array([[0.2, 0.8], [0.9, 0.1]]), losses.MeanSquaredError(), "softmax", [1, 0]),
        (np.array([[-1.0, 1.0], [1.0, -1.0]]), losses.Hinge(), "softmax", [1, 0]),
        (np.array([[-1.0, 1.0], [1.0, 1.0]]), losses.Hinge(), "softmax", None),
        (np.array([[0.5, 1.5], [-0.5, 1.5]]), losses.MeanSquaredError(), "softmax", None),
        (np.array([[2.0, 3.0], [1.0, 0.0]]), losses.MeanSquaredError(), "softmax", None),
        (np.array([3, 1, 3]), OWN, "softmax", [3, 1, 3]),
        (np.array([3, 1, 3]), OWN, "identity", [3, 1, 3]),
        (np.array([3.0, 1.0, 3.0]), OWN, "softmax", None),
        (np.eye(3)[[0, 2, 1]], OWN, "softmax", [0, 2, 1]),
        (np.eye(3)[[0, 2, 1]], OWN, "identity", None),
        (np.array([[0.5, 1.5], [-0.5, 1.5]]), OWN, "softmax", None),
        (np.array([[1], [2]]), OWN, "softmax", None),
        (np.zeros((4, 2, 3)), OWN, "softmax", None),
        (np.zeros((4, 1, 1)), OWN, "identity", None),
    ],
)
def test_what_the_classes_are(y, loss, activation, expected):
    found = validation.classes_of(y, loss, activation)
    assert (found is None) == (expected is None)
    if expected is not None:
        np.testing.assert_array_equal(found, expected)


def test_a_fit_holds_out_each_class(backend, rng):
    y = np.array([0] * 90 + [1] * 8 + [2] * 2)
    X = rng.standard_normal((100, 4)).astype(np.float32)
    seen = []

    def metric(pred, target):
        labels = target if target.ndim == 1 else target.argmax(1)
        seen.append(np.bincount(labels.astype(int), minlength=3).tolist())
        return 0.0

    for labels in (y, np.eye(3)[y]):
        net = MLP([4, 3], output="softmax", backend=backend)
        net.fit(X, labels, epochs=1, validation_split=0.2, metrics=metric)
    assert seen == [[72, 7, 1], [18, 1, 1]] * 2


@pytest.mark.parametrize(
    ("rows", "fraction", "early_stopping", "message"),
    [
        (12, 0.1, True, "X has 12 rows of 4 classes, which leaves 11 to train on and 1 to validate; .* at least 4"),
        (12, 0.1, EarlyStopping("val_accuracy"), "leaves 11 to train on and 1 to validate"),
    ],
)
def test_too_few_rows_for_early_stopping_are_refused_with_the_numbers(backend, rows, fraction, early_stopping, message):
    net = MLP([2, 4], output="softmax", backend=backend)
    X, y = np.ones((rows, 2)), np.arange(rows) % 4
    with pytest.raises(ValueError, match=message):
        net.fit(X, y, validation_split=fraction, early_stopping=early_stopping, metrics=["accuracy"])
    assert net.epochs_trained == 0
    net.fit(X, y, validation_split=fraction, epochs=1)
    net.fit(X, y, validation_split=fraction, epochs=1, early_stopping=EarlyStopping("loss"))


def test_one_row_is_too_few_for_early_stopping_of_a_regression(backend):
    net = MLP([2, 1], backend=backend)
    with pytest.raises(ValueError, match="leaves 9 to train on and 1 to validate; early_stopping takes at least 2"):
        net.fit(np.ones((10, 2)), np.arange(10), validation_split=0.1, early_stopping=5)


@pytest.mark.parametrize("output", ["softmax", "identity"])
def test_targets_of_any_shape_are_split_for_a_loss_of_the_users(backend, rng, output):
    """Those that are no classes: all rows alike, by the order of the seed."""
    shapes = []

    def own(pred, target):
        shapes.append(target.shape)
        return np.zeros(len(pred)), np.zeros_like(pred)

    X = rng.standard_normal((20, 4))
    for y in (rng.standard_normal((20, 2, 3)), rng.standard_normal((20, 3)), rng.standard_normal((20, 5))):
        shapes.clear()
        net = MLP([4, 3], output=output, backend=backend)
        history = net.fit(X, y, own, epochs=1, validation_split=0.25, batch_size=None)
        assert history.history["val_loss"] == [0.0]
        assert shapes == [(15, *y.shape[1:]), (5, *y.shape[1:])]
