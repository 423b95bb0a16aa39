"""Tests of rows of weight 0: they add nothing, also where their loss, outputs or activations are infinite."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import HAS_CORE

import nncore as nn
from nncore import losses

rng = np.random.default_rng(19)
D = nn.Dense


def squared(pred, target):
    with np.errstate(all="ignore"):
        return ((pred - target) ** 2).mean(axis=1), 2 * (pred - target) / pred.size


def squared_by_softmax(pred, target):
    with np.errstate(all="ignore"):
        return ((pred - target) ** 2).mean(axis=1), np.where(np.isfinite(pred), 2 * (pred - target), np.inf) / pred.size


NETWORKS = {  # layers, loss, kind of targets
    "linear": (lambda n: [D(6, n)], "mse", "numbers"),
    "sigmoid below": (lambda n: [D(6, 19, "sigmoid"), D(19, n)], "mse", "numbers"),
    "relu below": (lambda n: [D(6, 19, "relu"), D(19, n, "tanh")], "mae", "numbers"),
    "gelu below": (lambda n: [D(6, 9, "gelu"), D(9, 35, "mish"), D(35, n)], "huber", "numbers"),
    "classes": (lambda n: [D(6, 19, "relu"), D(19, n, "softmax")], "cross_entropy", "classes"),
    "smoothed": (
        lambda n: [D(6, 19, "elu"), D(19, n, "softmax")],
        losses.CrossEntropy(label_smoothing=0.1),
        "classes",
    ),
    "probabilities": (lambda n: [D(6, 19, "relu"), D(19, n, "sigmoid")], "bce", "one-hot"),
    "counts": (lambda n: [D(6, 19, "softplus"), D(19, n, "exponential")], "poisson", "one-hot"),
    "layer norm": (lambda n: [D(6, 19, "relu"), nn.LayerNorm(activation="silu"), D(19, n)], "mse", "numbers"),
    "layer norm last": (lambda n: [D(6, n, "relu"), nn.LayerNorm()], "mse", "numbers"),
    "dropout": (lambda n: [D(6, 19, "gelu"), nn.Dropout(0.3), D(19, n)], "mse", "numbers"),
    "users": (lambda n: [D(6, 19, "relu"), D(19, n)], squared, "numbers"),
    "users by softmax": (lambda n: [D(6, 19, "relu"), D(19, n, "softmax")], squared_by_softmax, "one-hot"),
}
WEIGHTS = np.where(np.arange(96) % 3 == 1, 0.0, 0.5 + np.arange(96) / 96)
WEIGHTS[32:48] = 0  # a whole batch of them
IDLE = np.flatnonzero(WEIGHTS == 0)


def data(kind, n, dtype):
    X = rng.standard_normal((96, 6)).astype(dtype)
    labels = np.arange(96) % n
    y = {"classes": labels, "one-hot": np.eye(n)[labels], "numbers": rng.standard_normal((96, n))}[kind]
    return X, y if kind == "classes" else y.astype(dtype)


def flat(net):
    return np.concatenate([array.ravel() for array in net.get_weights()])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n_out", [3, 41])
@pytest.mark.parametrize("name", NETWORKS)
def test_what_is_infinite_in_an_idle_row_is_not_seen(backend, name, n_out, dtype):
    """The same as with harmless rows in their place, from each way of training; in the core to the bit."""
    make, loss, kind = NETWORKS[name]
    X, y = data(kind, n_out, dtype)
    wild_X, wild_y = X.copy(), y.copy()
    most = np.finfo(dtype).max
    wild_X[IDLE[::2]] = most * rng.choice([-1.0, -0.5, 0.5, 1.0], (len(IDLE[::2]), 6)).astype(dtype)
    if kind == "numbers":
        wild_y[IDLE[1::2]] = most
    results = []
    for inputs, targets in ((X, y), (wild_X, wild_y)):
        net = nn.Sequential(make(n_out), dtype=dtype, seed=3, backend=backend)
        found = list(net.loss_and_gradients(inputs, targets, loss, sample_weight=WEIGHTS)[1])
        history = net.fit(inputs, targets, loss, nn.Adam(0.01), epochs=2, batch_size=16, sample_weight=WEIGHTS)
        net.fit(inputs, targets, loss, "sgd", epochs=1, batch_size=16, shuffle=False, sample_weight=WEIGHTS)
        value = net.train_step(inputs, targets, "sgd", loss, sample_weight=WEIGHTS)
        score = net.evaluate(inputs, targets, loss, sample_weight=WEIGHTS)["loss"]
        assert np.isfinite(history.history["loss"]).all() and np.isfinite([value, score]).all()
        results.append([*found, flat(net), history.history["loss"], value, score])
    # NumPy may round tanh and its like otherwise beside an infinity, and evaluates in both backends.
    exact = 0 if backend == "native" else 1e-12 if dtype == "float64" else 1e-5
    for a, b in zip(*results, strict=True):
        tolerance = exact if a is not results[0][-1] else 1e-6
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


def test_a_batch_normalisation_sees_the_rows_but_not_their_loss(backend):
    X, y = data("numbers", 3, "float32")
    wild = y.copy()
    wild[IDLE] = np.finfo("f4").max
    results = []
    for targets in (y, wild):
        net = nn.Sequential([D(6, 19), nn.BatchNorm(activation="relu"), D(19, 3)], seed=3, backend=backend)
        net.fit(X, targets, "mse", nn.Adam(0.01), epochs=3, batch_size=16, sample_weight=WEIGHTS)
        results.append(flat(net))
    np.testing.assert_array_equal(*results)
    fewer = nn.Sequential([D(6, 19), nn.BatchNorm(activation="relu"), D(19, 3)], seed=3, backend=backend)
    kept = WEIGHTS > 0
    fewer.fit(X[kept], y[kept], "mse", nn.Adam(0.01), epochs=3, batch_size=16, sample_weight=WEIGHTS[kept])
    assert np.abs(flat(fewer) - results[0]).max() > 1e-4


@pytest.mark.parametrize("where", ["X", "y"])
def test_idle_rows_are_read_all_the_same(backend, where):
    """Data that are not finite are refused, whatever they weigh; no row is passed over."""
    X, y = data("numbers", 3, "float32")
    (X if where == "X" else y)[IDLE[3], 1] = np.nan
    net = nn.MLP([6, 4, 3], backend=backend)
    for call in (net.fit, lambda *a, **k: net.train_step(*a, "sgd", **k), net.loss_and_gradients):
        with pytest.raises(ValueError, match=f"{where} has a non-finite value .* row {IDLE[3]}"):
            call(X, y, sample_weight=WEIGHTS)


@pytest.mark.parametrize("loss", ["mse", squared])
def test_a_row_that_counts_diverges_as_ever(backend, loss):
    """And it is its layer that is named, not one of a row before it that does not count."""
    X, y = data("numbers", 3, "float32")
    X[IDLE] = np.finfo("f4").max
    first = np.flatnonzero(WEIGHTS > 0)[2]
    for changes, layer in (({"y": 1e30}, None), ({"X": 3e30}, 1)):
        inputs, targets = X.copy(), y.copy()
        for name, value in changes.items():
            (inputs if name == "X" else targets)[first] = value
        net = nn.Sequential([D(6, 4), D(4, 3)], seed=1, backend=backend)
        net.set_weights([np.ones((6, 4)), np.zeros(4), np.full((4, 3), 1e10), np.zeros(3)])
        with pytest.raises(nn.DivergenceError) as caught:
            net.fit(inputs, targets, loss, "sgd", shuffle=False, sample_weight=WEIGHTS)
        assert caught.value.layer == layer


@pytest.mark.skipif(not HAS_CORE, reason="needs the core")
@pytest.mark.parametrize("batch_size", [64, 3000])
def test_any_number_of_threads_gives_the_same_bits(batch_size):
    """In rows and in chunks."""
    X, y = np.resize(data("numbers", 3, "float32")[0], (3000, 6)), np.zeros((3000, 3), "f4")
    weights = np.where(rng.uniform(size=3000) < 0.5, 0.0, 1.0)
    X[weights == 0] = np.finfo("f4").max
    y[weights == 0] = 1e30
    results = []
    for threads in (1, 2, 3):
        net = nn.Sequential([D(6, 5, "gelu"), nn.LayerNorm(), D(5, 3)], seed=2, backend="native")
        with nn.testing.force_threads(threads):
            net.fit(X, y, epochs=2, batch_size=batch_size, sample_weight=weights)
        results.append(flat(net).tobytes())
    assert results[0] == results[1] == results[2]
