"""Tests of weights of rows and classes: what they mean for loss, gradients and training, and what is refused."""

import math

import numpy as np
import pytest

import nncore as nn
from nncore import losses, weights

rng = np.random.default_rng(11)
X = rng.standard_normal((48, 4))
LABELS = rng.integers(0, 3, 48)
BINARY = rng.integers(0, 2, 48)
NUMBERS = rng.standard_normal((48, 2))
WEIGHTS = rng.uniform(0.1, 3, 48)
LOSSES = [  # loss, output activation, targets, outputs
    ("mse", "identity", NUMBERS),
    ("mae", "tanh", NUMBERS),
    ("huber", "leaky_relu", NUMBERS),
    ("quantile", "identity", NUMBERS),
    ("hinge", "identity", BINARY),
    ("poisson", "sigmoid", np.abs(NUMBERS)),
    ("cosine", "identity", NUMBERS),
    ("bce", "sigmoid", BINARY),
    ("cross_entropy", "softmax", LABELS),
    ("cross_entropy", "softmax", rng.dirichlet(np.ones(3), 48)),
]
each_loss = pytest.mark.parametrize(("loss", "output", "y"), LOSSES, ids=[f"{a}-{b}-{y.ndim}" for a, b, y in LOSSES])


def network(backend, output, y, dtype="float64"):
    n_out = y.shape[1] if y.ndim == 2 else 3 if output == "softmax" else 1
    return nn.Sequential([nn.Dense(4, 6, "tanh"), nn.Dense(6, n_out, output)], dtype=dtype, seed=4, backend=backend)


def flat(net):
    return np.concatenate([array.ravel() for array in net.get_weights()])


@each_loss
def test_whole_weights_are_repeated_rows(backend, loss, output, y):
    """A row of weight 2 counts as two of it, one of weight 0 not at all, wherever it is used."""
    counts = rng.integers(0, 4, 48)
    times = np.repeat(np.arange(48), counts)
    net = network(backend, output, y)
    value, gradients = net.loss_and_gradients(X, y, loss, sample_weight=counts)
    expected, right = net.loss_and_gradients(X[times], y[times], loss)
    assert value == pytest.approx(expected, rel=1e-12)
    for a, b in zip(gradients, right, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-13)
    scores = net.evaluate(X, y, loss, sample_weight=counts)
    assert scores["loss"] == pytest.approx(value, rel=1e-12)
    twin = network(backend, output, y)
    assert net.train_step(X, y, nn.SGD(0.1), loss, sample_weight=counts) == pytest.approx(value, rel=1e-12)
    twin.train_step(X[times], y[times], nn.SGD(0.1), loss)
    np.testing.assert_allclose(flat(net), flat(twin), rtol=1e-11, atol=1e-13)


@each_loss
def test_only_their_ratios_count(backend, loss, output, y):
    results = []
    for factor in (1.0, 2.0**-1000, 2.0**1000):
        net = network(backend, output, y)
        net.fit(X, y, loss, epochs=2, batch_size=16, sample_weight=WEIGHTS * factor)
        results.append((flat(net).tobytes(), net.history.history["loss"]))
    assert results[0] == results[1] == results[2]


@each_loss
def test_equal_weights_are_none(backend, loss, output, y):
    pair = [network(backend, output, y) for _ in range(2)]
    for net, given in zip(pair, (None, np.full(48, 0.5)), strict=True):
        net.fit(X, y, loss, epochs=2, batch_size=17, sample_weight=given)
    np.testing.assert_allclose(flat(pair[1]), flat(pair[0]), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(pair[1].history.history["loss"], pair[0].history.history["loss"], rtol=1e-12)


@each_loss
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_backends_agree_after_several_epochs(loss, output, y, dtype):
    pytest.importorskip("nncore._core")
    pair = [network(backend, output, y, dtype) for backend in ("native", "numpy")]
    for net in pair:
        net.fit(X, y, loss, epochs=6, batch_size=10, sample_weight=WEIGHTS)
    tolerance = 1e-11 if dtype == "float64" else 2e-3
    np.testing.assert_allclose(flat(pair[0]), flat(pair[1]), rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(*(net.history.history["loss"] for net in pair), rtol=tolerance)


@pytest.mark.parametrize(("n", "batch_size"), [(48, 10), (4000, 1900)])
def test_any_number_of_threads_gives_the_same_bits(n, batch_size):
    pytest.importorskip("nncore._core")
    inputs, y, given = np.resize(X, (n, 4)), np.resize(LABELS, n), rng.uniform(0, 1, n)
    results = []
    for threads in (1, 2, 3):
        net = network("native", "softmax", LABELS, "float32")
        with nn.testing.force_threads(threads):
            net.fit(inputs, y, epochs=2, batch_size=batch_size, sample_weight=given)
        results.append((flat(net).tobytes(), net.history.history["loss"]))
    assert results[0] == results[1] == results[2]


def test_the_loss_of_an_epoch_is_that_of_its_rows(backend):
    """Not the mean of its batches' losses, whose weights differ."""
    net = network(backend, "identity", NUMBERS)
    given = np.where(np.arange(48) < 20, 0.01, 5.0)
    expected = net.evaluate(X, NUMBERS, sample_weight=given)["loss"]
    net.fit(X, NUMBERS, optimizer=nn.SGD(0.0), epochs=1, batch_size=20, shuffle=False, sample_weight=given)
    assert net.history.history["loss"][0] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_a_batch_that_does_not_count(backend, decay):
    """Its gradient is 0: weights only decay, its losses count for nothing, and it is a step of the optimizer's."""
    given = np.r_[np.zeros(16), np.ones(32)]
    net, twin = network(backend, "softmax", LABELS), network(backend, "softmax", LABELS)
    twin.set_weights([w * (1 - 0.5 * decay) if w.ndim == 2 else w for w in twin.get_weights()])
    optimizer = nn.SGD(0.5, weight_decay=decay)
    net.fit(X, LABELS, optimizer=optimizer, epochs=1, batch_size=16, shuffle=False, sample_weight=given)
    twin.fit(X[16:], LABELS[16:], optimizer=nn.SGD(0.5, weight_decay=decay), epochs=1, batch_size=16, shuffle=False)
    assert optimizer.steps == 3
    np.testing.assert_allclose(flat(net), flat(twin), rtol=1e-12, atol=1e-14)
    assert net.history.history["loss"] == pytest.approx(twin.history.history["loss"], rel=1e-12)


def test_rows_held_out_keep_their_weights(backend):
    net = network(backend, "identity", NUMBERS)
    net.fit(X, NUMBERS, epochs=1, validation_split=0.25, sample_weight=WEIGHTS, metrics=["mae"])
    order = nn.streams.permutation(4, nn.streams.SPLIT, 0, 48)
    held_out = np.sort(order[:12])
    expected = net.evaluate(X[held_out], NUMBERS[held_out], sample_weight=WEIGHTS[held_out], metrics=["mae", "mse"])
    assert net.history.history["val_loss"][0] == pytest.approx(expected["loss"], rel=1e-12)
    assert net.history.history["val_mae"][0] == pytest.approx(expected["mae"], rel=1e-12)
    assert expected["mse"] == pytest.approx(expected["loss"], rel=1e-12)
    only = np.zeros(48)
    only[held_out[0]] = 1
    with pytest.raises(ValueError, match="the weights of all 36 rows to train on are 0"):
        net.fit(X, NUMBERS, validation_split=0.25, sample_weight=only)
    with pytest.raises(ValueError, match="the weights of all 12 rows held out are 0"):
        net.fit(X, NUMBERS, validation_split=0.25, sample_weight=1 - np.isin(np.arange(48), held_out))


def test_metrics_of_training_are_weighted_and_functions_are_not(backend):
    def rows(pred, target):
        return len(pred)

    given = np.where(LABELS == 1, 1.0, 0.0)
    net = network(backend, "softmax", LABELS)
    net.set_weights([np.zeros_like(w) if i < 3 else np.array([0.0, 1.0, 0.0]) for i, w in enumerate(net.get_weights())])
    history = net.fit(X, LABELS, optimizer=nn.SGD(0.0), epochs=1, metrics=["accuracy", rows], sample_weight=given)
    assert history.history["accuracy"] == [1.0]
    assert history.history["rows"] == [48.0]


# ---------------------------------------------------------------- classes


def test_class_weights_are_weights_of_rows(backend):
    for y, loss, output, table, expected in [
        (LABELS, None, "softmax", {0: 2.0, 2: 0.5}, np.array([2.0, 1.0, 0.5])[LABELS]),
        (np.eye(3)[LABELS], None, "softmax", {1: 4}, np.array([1.0, 4.0, 1.0])[LABELS]),
        (BINARY, None, "sigmoid", {0: 3.0}, np.array([3.0, 1.0])[BINARY]),
        (2 * BINARY - 1, "hinge", "identity", {-1: 3.0, 1: 2.0}, np.array([3.0, 2.0])[BINARY]),
        (BINARY, "hinge", "identity", {0: 3.0}, np.array([3.0, 1.0])[BINARY]),
        (LABELS, None, "softmax", "balanced", (48 / (3 * np.bincount(LABELS)))[LABELS]),
        (BINARY, None, "sigmoid", "balanced", (48 / (2 * np.bincount(BINARY)))[BINARY]),
    ]:
        pair = [network(backend, output, y) for _ in range(2)]
        pair[0].fit(X, y, loss, epochs=2, batch_size=16, class_weight=table, sample_weight=WEIGHTS)
        pair[1].fit(X, y, loss, epochs=2, batch_size=16, sample_weight=WEIGHTS * expected)
        np.testing.assert_allclose(flat(pair[0]), flat(pair[1]), rtol=1e-12, atol=1e-14)
        value, _ = pair[0].loss_and_gradients(X, y, loss, class_weight=table)
        assert value == pytest.approx(pair[0].evaluate(X, y, loss, sample_weight=expected)["loss"], rel=1e-12)
        step = pair[0].train_step(X, y, "sgd", loss, class_weight=table)
        assert step == pytest.approx(value, rel=1e-12)


def test_balanced_counts_the_classes_that_there_are():
    y = np.array([0, 0, 0, 2], np.int32)
    np.testing.assert_allclose(weights.by_class("balanced", y, losses.get("cross_entropy")), [2 / 3] * 3 + [2])


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        (np.ones(47), ValueError, r"sample_weight has shape \(47,\); expected \(48,\), a weight for each row of X"),
        (np.ones((48, 2)), ValueError, r"sample_weight has shape \(48, 2\)"),
        (1.0, ValueError, r"sample_weight has shape \(\)"),
        (np.where(np.arange(48) == 5, -0.5, 1), ValueError, "sample_weight is -0.5 in row 5; expected finite numbers"),
        (np.where(np.arange(48) == 6, math.inf, 1), ValueError, "sample_weight is inf in row 6"),
        (np.where(np.arange(48) == 7, math.nan, 1), ValueError, "sample_weight is nan in row 7"),
        (np.zeros(48), ValueError, "sample_weight is 0 in every row; expected at least one above 0"),
        (["a"] * 48, TypeError, "sample_weight has dtype <U1; expected real numbers"),
    ],
)
def test_sample_weight_refusals(backend, given, error, message):
    net = network(backend, "softmax", LABELS)
    before = flat(net)
    for call in (net.fit, net.evaluate, net.loss_and_gradients):
        with pytest.raises(error, match=message):
            call(X, LABELS, sample_weight=given)
    with pytest.raises(error, match=message):
        net.train_step(X, LABELS, "adam", sample_weight=given)
    np.testing.assert_array_equal(flat(net), before)


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        (
            [1, 2],
            TypeError,
            r"class_weight is \[1, 2\], of type list; expected a dict of class to weight, or 'bal",
        ),
        ("even", TypeError, "class_weight is 'even', of type str"),
        (np.array([1.0, 2.0, 3.0]), TypeError, "class_weight is array"),
        ({"a": 1}, TypeError, "class_weight has the key 'a', of type str; expected a class"),
        ({-1: 1}, ValueError, "class_weight has the class -1; expected some of 0, 1, 2"),
        ({3: 1}, ValueError, "class_weight has the class 3; expected some of 0, 1, 2"),
        ({0: -1.0}, ValueError, r"class_weight\[0\] is -1.0; expected a finite number of at least 0"),
        ({0: math.nan}, ValueError, r"class_weight\[0\] is nan"),
        ({0: 0, 1: 0, 2: 0}, ValueError, "the weights of all 48 rows.* are 0; expected at least one above 0"),
    ],
)
def test_class_weight_refusals(backend, given, error, message):
    net = network(backend, "softmax", LABELS)
    for call in (net.fit, net.loss_and_gradients):
        with pytest.raises(error, match=message):
            call(X, LABELS, class_weight=given)
    with pytest.raises(error, match=message):
        net.train_step(X, LABELS, "sgd", class_weight=given)


def test_a_class_of_the_network_of_which_there_are_no_rows_may_have_a_weight(backend):
    """In some batches of data, or chunks, a class may be missing."""
    net, twin = network(backend, "softmax", LABELS), network(backend, "softmax", LABELS)
    rows = LABELS < 2
    net.train_step(X[rows], LABELS[rows], "sgd", class_weight={1: 2.0, 2: 9.0})
    twin.train_step(X[rows], LABELS[rows], "sgd", class_weight={1: 2.0})
    np.testing.assert_array_equal(flat(net), flat(twin))
    with pytest.raises(ValueError, match="class_weight has the class 3; expected some of 0, 1, 2"):
        net.fit([(X, LABELS)], class_weight={3: 1.0})


@pytest.mark.parametrize(("loss", "output", "y"), [LOSSES[0], LOSSES[-1], ("bce", "sigmoid", BINARY * 0.5)])
def test_class_weight_needs_classes(loss, output, y):
    with pytest.raises(ValueError, match="holds no classes for loss"):
        network("numpy", output, y).fit(X, y, loss, class_weight="balanced")


def test_validation_data_may_have_weights(backend):
    """Each epoch's val_loss and val_accuracy are those of `evaluate` with these weights."""
    net, held = network(backend, "softmax", LABELS), (X[:20], LABELS[:20], WEIGHTS[:20])
    history = net.fit(X, LABELS, epochs=2, validation_data=held, metrics=["accuracy"]).history
    scores = net.evaluate(*held[:2], metrics=["accuracy"], sample_weight=held[2])
    plain = net.evaluate(*held[:2], metrics=["accuracy"])
    assert history["val_loss"][-1] == scores["loss"] != pytest.approx(plain["loss"])
    assert history["val_accuracy"][-1] == scores["accuracy"] != pytest.approx(plain["accuracy"])
    for given in ([*held[:2]], [*held[:2], None]):
        twin = network(backend, "softmax", LABELS)
        found = twin.fit(X, LABELS, epochs=2, validation_data=given, metrics=["accuracy"]).history
        assert found["val_loss"][-1] == plain["loss"]


def test_weights_of_validation_data_are_checked(backend):
    net = network(backend, "softmax", LABELS)
    before = flat(net)
    for given, error, message in (
        (np.ones(19), ValueError, r"validation_data sample_weight has shape \(19,\); expected \(20,\)"),
        (-np.ones(20), ValueError, "validation_data sample_weight is -1 in row 0"),
        (np.zeros(20), ValueError, "validation_data sample_weight is 0 in every row"),
        (["a"] * 20, TypeError, "validation_data sample_weight"),
    ):
        with pytest.raises(error, match=message):
            net.fit(X, LABELS, validation_data=(X[:20], LABELS[:20], given))
    for given, what in (((X, LABELS, None, None), "4 parts"), ("ab", "of type str"), ((X,), "1 parts")):
        with pytest.raises(
            TypeError, match=rf"validation_data is {what}; expected \(X, y\) or \(X, y, sample_weight\)"
        ):
            net.fit(X, LABELS, validation_data=given)
    np.testing.assert_array_equal(flat(net), before)
