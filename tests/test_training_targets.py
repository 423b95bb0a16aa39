"""Tests of the targets that training takes, in all their forms, and of those that it refuses."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from nncore import MLP, SGD, Dense, Sequential, losses, testing


def classifier(backend, **kwargs):
    return MLP([5, 8, 3], activation="tanh", output="softmax", backend=backend, **kwargs)


def assert_same_weights(a, b):
    for x, y in zip(a.get_weights(), b.get_weights(), strict=True):
        np.testing.assert_array_equal(x, y)


def test_forms_of_labels_agree(backend, blobs):
    X, y = blobs
    nets = []
    for labels in (y, y.reshape(-1, 1), y.astype(np.uint8), y.astype(float), y.tolist(), np.eye(3)[y],
                   np.eye(3, dtype=np.int8)[y]):  # fmt: skip
        nets.append(classifier(backend, dtype="float64"))
        nets[-1].fit(X, labels, epochs=2)
    for net in nets[1:]:
        for a, b in zip(nets[0].get_weights(), net.get_weights(), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("as_bool", [True, False])
def test_forms_of_one_column_agree(backend, blobs, as_bool):
    X, y = blobs
    y = (y == 1) if as_bool else (y == 1).astype(np.uint8)
    flat, column = (MLP([5, 4, 1], output="sigmoid", backend=backend) for _ in range(2))
    flat.fit(X, y, epochs=2)
    column.fit(X, y.reshape(-1, 1).astype(np.float32), epochs=2)
    assert_same_weights(flat, column)


def test_bools_are_two_classes_of_softmax(backend, blobs):
    X, y = blobs
    bools, integers = (MLP([5, 4, 2], output="softmax", backend=backend) for _ in range(2))
    bools.fit(X, y == 1, epochs=1)
    integers.fit(X, (y == 1).astype(int), epochs=1)
    assert_same_weights(bools, integers)


def test_labels_with_mse_on_softmax_are_one_hot(backend, blobs):
    X, y = blobs
    net = classifier(backend, dtype="float64")
    value, _ = net.loss_and_gradients(X, y, "mse")
    assert value == pytest.approx(losses.MeanSquaredError()(net.predict(X), np.eye(3)[y]), rel=1e-12)


def test_small_unsigned_targets_do_not_wrap(backend):
    net = Sequential([Dense(1, 1)], dtype="float64", backend=backend)
    net.set_weights([[[1.0]], [0.0]])
    X, y = np.array([[16], [1]], np.uint8), np.array([17, 2], np.uint8)
    assert net.evaluate(X, y)["loss"] == 1.0
    assert net.train_step(X, y, SGD(0.0)) == 1.0


@pytest.mark.parametrize(
    ("y", "error", "message"),
    [
        ([0, 1, 3], ValueError, "y has label 3; this network has 3 outputs, so labels are 0 to 2"),
        ([0, -1, 2], ValueError, "y has label -1"),
        ([0, 1.5, 2], ValueError, "y has label 1.5"),
        ([0, np.nan, 2], ValueError, "y has a non-finite value .* row 1"),
        (["a", "b", "c"], TypeError, "y"),
        ([0, 1], ValueError, "y has 2 rows; expected a row for each of the 3 rows of X"),
        (1, ValueError, "y is a single number"),
        (np.eye(3)[:, :2], ValueError, r"y has shape \(3, 2\); expected \(3, 3\), or labels of shape \(3,\)"),
        (np.ones((3, 3)), ValueError, "y sums to 3 in row 0"),
        (np.eye(3) * 3 - 1, ValueError, "y has the value -1"),
        (np.zeros((3, 1, 1)), ValueError, "y has shape"),
        (None, (TypeError, ValueError), "y"),
    ],
)
@pytest.mark.parametrize("method", ["fit", "train_step", "evaluate", "loss_and_gradients"])
def test_refused_labels(backend, y, error, message, method):
    net = classifier(backend)
    before = classifier(backend)
    kwargs = {"optimizer": "sgd"} if method == "train_step" else {}
    with pytest.raises(error, match=message):
        getattr(net, method)(np.zeros((3, 5)), y, **kwargs)
    assert_same_weights(net, before)


@pytest.mark.parametrize(
    ("output", "loss", "y", "message"),
    [
        ("identity", None, np.zeros((3, 2)), r"y has shape \(3, 2\); expected \(3,\) or \(3, 1\)"),
        ("sigmoid", None, [0, 1, 2], "y has the value 2; bce takes targets from 0 to 1"),
        ("identity", "cross_entropy", [0, 1, 0], "cross_entropy"),
        ("identity", "squared", [0, 1, 0], "mse"),
    ],
)
def test_refused_targets_of_one_output(backend, output, loss, y, message):
    net = MLP([2, 1], output=output, backend=backend)
    with pytest.raises(ValueError, match=message):
        net.fit(np.zeros((3, 2)), y, loss=loss)


@pytest.mark.parametrize("y", [np.ones(12, int), np.eye(3)[np.ones(12, int)]])
def test_one_class_trains_and_says_so(backend, y):
    net = classifier(backend)
    with pytest.warns(UserWarning, match="single class") as caught:
        assert net.fit(np.ones((12, 5)), y, epochs=1).epochs == 1
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        net.fit(np.ones((12, 5)), np.arange(12) % 3, epochs=1)


def test_probabilities_that_sum_to_nearly_one_have_the_right_gradient(backend, rng):
    net = MLP([3, 2], output="softmax", dtype="float64", seed=0, backend=backend)
    y = rng.dirichlet(np.ones(2), 6) * 1.0009
    assert testing.gradient_check(net, rng.standard_normal((6, 3)), y) < 1e-6
