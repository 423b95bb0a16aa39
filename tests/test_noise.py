"""Gaussian noise in networks: both backends, its distribution, and what it leaves alone."""

from __future__ import annotations

import copy
from math import erf

import numpy as np
import pytest

import nncore as nn
from nncore import streams

D = nn.Dense
LAYERS = {
    "of the inputs": lambda: [nn.GaussianNoise(0.3), D(12, 20, "relu"), D(20, 4, "softmax")],
    "between": lambda: [D(12, 20, "tanh"), nn.GaussianNoise(0.2), D(20, 37, "gelu"), nn.GaussianNoise(0.1),
                        D(37, 4, "softmax")],
    "with the others": lambda: [
        nn.GaussianNoise(0.1),
        D(12, 20),
        nn.BatchNorm(activation="relu"),
        nn.GaussianNoise(0.2),
        nn.Dropout(0.2),
        D(20, 33, "tanh"),
        nn.LayerNorm(),
        D(33, 4, "softmax"),
    ],
}  # fmt: skip
shapes = pytest.mark.parametrize("shape", LAYERS)


def make(shape, backend="native", dtype="float64"):
    return nn.Sequential(LAYERS[shape](), dtype=dtype, seed=3, backend=backend)


def data(n=203):
    rng = np.random.default_rng(5)
    return rng.standard_normal((n, 12)), rng.integers(0, 4, n)


@shapes
@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-11), ("float32", 1e-4)])
def test_both_backends_train_alike(shape, dtype, tolerance):
    pytest.importorskip("nncore._core")
    X, y = data()
    for batch in (29, 101):  # the last batch is whole; a single row
        nets = [make(shape, backend, dtype) for backend in ("native", "numpy")]
        losses = [net.fit(X, y, epochs=4, batch_size=batch, optimizer=nn.Adam(3e-3)).history["loss"] for net in nets]
        np.testing.assert_allclose(*losses, rtol=tolerance)
        for a, b in zip(nets[0].get_weights(), nets[1].get_weights(), strict=True):
            np.testing.assert_allclose(a, b, atol=tolerance * max(1e-3, np.abs(b).max()))


@shapes
@pytest.mark.parametrize("rows", [29, 600])
def test_every_number_of_threads_gives_the_same_bits(shape, rows):
    pytest.importorskip("nncore._core")
    X, y = data(600)
    found = set()
    for threads in (1, 2, 3, 4, 7):
        net = make(shape, dtype="float32")
        with nn.testing.force_threads(threads):
            net.fit(X, y, epochs=2, batch_size=rows)
        found.add(b"".join(part.tobytes() for part in net.get_weights() + net.get_state()))
    assert len(found) == 1


def test_chunks_of_a_large_batch_have_the_noise_of_their_rows():
    """4-6-3 with 700 rows goes by chunks of 256 in the core."""
    pytest.importorskip("nncore._core")
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((700, 4)), rng.standard_normal((700, 3))
    nets = [nn.MLP([4, 6, 3], "tanh", dtype="float64", backend=name, input_noise=0.5) for name in ("native", "numpy")]
    for net in nets:
        net.fit(X, y, epochs=3, batch_size=None)
    for a, b in zip(nets[0].get_weights(), nets[1].get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-12)


@shapes
def test_gradients_are_those_of_differences(shape, backend):
    X, y = data()
    net = make(shape, backend)
    net.fit(X, y, epochs=1)
    assert nn.testing.gradient_check(net, X[:20], y[:20]) < 1e-5


def seen(backend, X, stddev, seed=1, epochs=1):
    """Return what a layer sees behind the noise: with a rate of 0 and the identity for weights, the loss shows it."""
    columns = X.shape[1]
    net = nn.Sequential([nn.GaussianNoise(stddev), D(columns, columns)], dtype="float64", seed=9, backend=backend)
    net.set_weights([np.eye(columns), np.zeros(columns)])
    kept = []

    def watch(pred, target):
        kept.append(pred.copy())
        return ((pred - target) ** 2).mean(axis=1), np.zeros_like(pred)

    net.fit(X, X, loss=watch, optimizer=nn.SGD(0.0), epochs=epochs, batch_size=None, seed=seed)
    return kept


def test_the_noise_is_normal_and_independent(backend):
    X = np.full((1500, 40), 10.0)
    z = (seen(backend, X, 0.5)[0] - X) / 0.5
    n = z.size
    assert abs(z.mean()) < 4 / np.sqrt(n)
    assert abs(z.var() - 1) < 4 * np.sqrt(2 / n)
    assert abs((z**3).mean()) < 4 * np.sqrt(15 / n)
    assert abs((z**4).mean() - 3) < 4 * np.sqrt(96 / n)
    # Kolmogorov's distance from the normal distribution; its 99.99 % point is 2.23 / sqrt(n)
    ordered = np.sort(z.ravel())
    normal = np.array([0.5 * (1 + erf(x / np.sqrt(2))) for x in ordered[::50]])
    assert np.abs(normal - (np.arange(n)[::50] + 0.5) / n).max() < 2.23 / np.sqrt(n)
    correlation = np.corrcoef(z, rowvar=False)  # columns j and 16 + j share a pair of words
    assert np.abs(correlation - np.eye(40)).max() < 5.5 / np.sqrt(len(z))
    squares = np.corrcoef(z**2, rowvar=False)
    assert np.abs(squares - np.eye(40)).max() < 5.5 / np.sqrt(len(z))
    assert abs(np.corrcoef(z[:-1].ravel(), z[1:].ravel())[0, 1]) < 4 / np.sqrt(n)


def test_the_noise_is_that_of_the_streams(backend):
    X = np.zeros((50, 33))
    first, second = seen(backend, X, 0.25, epochs=2)
    for epoch, found in enumerate((first, second)):
        expected = 0.25 * streams.normal_columns(1, streams.NOISE, epoch, 0, 50, 33)
        np.testing.assert_allclose(found, expected, atol=1e-15, rtol=1e-13)
    other, replaced = seen(backend, X, 0.25, seed=2)[0], seen(backend, X, 0.25, seed=1)[0]
    assert np.abs(other - first).min() > 0
    np.testing.assert_array_equal(replaced, first)


def test_calls_go_on_where_the_last_one_ended(backend):
    X, y = data()
    whole, parts = make("between", backend), make("between", backend)
    one, other = nn.Adam(), nn.Adam()
    whole.fit(X, y, epochs=3, optimizer=one)
    for epochs in (1, 2):
        parts.fit(X, y, epochs=epochs, optimizer=other)
    for a, b in zip(whole.get_weights(), parts.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_run_goes_on_from_a_checkpoint_to_the_same_bits(backend, tmp_path):
    X, y = data()
    whole, first, second = (make("with the others", backend, "float32") for _ in range(3))
    whole.fit(X, y, epochs=4)
    first.fit(X, y, epochs=1, callbacks=[nn.callbacks.Checkpoint(tmp_path / "run", steps=3)], max_seconds=60)
    second.fit(X, y, epochs=4, resume=tmp_path / "run")
    for a, b in zip(whole.get_weights(), second.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@shapes
def test_predictions_and_evaluations_are_quiet(shape, backend, tmp_path):
    X, y = data()
    net = make(shape, backend)
    net.fit(X, y, epochs=1)
    assert net.evaluate(X, y) == net.evaluate(X, y)
    outputs = net.forward(X, layers=True)
    for index, layer in enumerate(net.layers):
        if isinstance(layer, nn.GaussianNoise):
            np.testing.assert_array_equal(outputs[index], outputs[index - 1] if index else X)
    net.save(tmp_path / "net.npz")
    for twin in (nn.load(tmp_path / "net.npz", backend=backend), copy.deepcopy(net)):
        assert [repr(layer) for layer in twin.layers] == [repr(layer) for layer in net.layers]
        np.testing.assert_array_equal(net.predict(X), twin.predict(X))
    if backend == "native":
        nn.testing.cross_check(net, X[:50], y[:50])
    assert "GaussianNoise" in net.summary()
    str(net.plan(16))


def test_a_deviation_of_0_is_no_noise(backend):
    X, y = data()
    quiet = nn.Sequential([nn.GaussianNoise(0.0), D(12, 4, "softmax")], backend=backend)
    plain = nn.Sequential([D(12, 4, "softmax")], backend=backend)
    for net in (quiet, plain):
        net.fit(X, y, epochs=2)
    np.testing.assert_array_equal(quiet.get_weights()[0], plain.get_weights()[0])


def test_mlp_takes_input_noise():
    net = nn.MLP([5, 4, 2], input_noise=0.1)
    assert [type(layer).__name__ for layer in net.layers] == ["GaussianNoise", "Dense", "Dense"]
    assert net.layers[0].stddev == 0.1 and net.layers[0].n_out == 5
    for a, b in zip(net.get_weights(), nn.MLP([5, 4, 2]).get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert len(nn.MLP([5, 4, 2], input_noise=0).layers) == 2


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: nn.GaussianNoise(-0.1), "stddev is -0.1"),
        (lambda: nn.GaussianNoise(np.inf), "stddev is inf"),
        (lambda: nn.GaussianNoise("0.1"), "stddev is '0.1'"),
        (lambda: nn.MLP([3, 2], input_noise=-1.0), "input_noise is -1.0"),
        (lambda: nn.Sequential([D(3, 4), nn.GaussianNoise(0.5)]), "the last layer is GaussianNoise"),
        (lambda: nn.Sequential([nn.GaussianNoise(0.5)]), "no Dense"),
    ],
)
def test_what_does_not_fit_is_refused(call, message):
    with pytest.raises((TypeError, ValueError), match=message):
        call()


@pytest.mark.parametrize("norm", [None, "batch"])
def test_noise_behind_columns_of_codes_is_on_what_they_stand_for(norm):
    """The layer of codes comes first, as noise would make them no codes; the backends agree."""
    pytest.importorskip("nncore._core")
    rng = np.random.default_rng(8)
    X, y = rng.standard_normal((90, 3)), rng.standard_normal((90, 2))
    X[:, 1] = rng.integers(0, 5, 90)
    found = []
    for backend in ("native", "numpy"):
        net = nn.MLP([3, 7, 2], "tanh", dtype="float64", seed=1, backend=backend, norm=norm,
                     categories={1: (5, 2)}, input_noise=0.2)  # fmt: skip
        assert [type(layer).__name__ for layer in net.layers][:2] == ["Columns", "GaussianNoise"]
        net.fit(X, y, epochs=4, batch_size=16, optimizer=nn.Adam(0.01, clip_norm=0.3))
        found.append(net.get_weights())
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-11)
