from __future__ import annotations

import numpy as np
import pytest

from nncore import MLP, Dense, LayerNorm, LeakyReLU, Sequential, losses, testing

HIDDEN = ["identity", "sigmoid", "tanh", "relu", LeakyReLU(0.2)]


@pytest.mark.parametrize("activation", HIDDEN, ids=str)
@pytest.mark.parametrize(
    ("output", "loss", "n_out"),
    [
        ("identity", "mse", 2),
        ("tanh", "mse", 2),
        ("relu", "mse", 2),
        (LeakyReLU(0.3), "mse", 2),
        ("sigmoid", "mse", 2),
        ("softmax", "mse", 3),
        ("sigmoid", "bce", 2),
        ("softmax", "bce", 3),
        ("softmax", "cross_entropy", 3),
        ("sigmoid", "cross_entropy", 3),
    ],
    ids=str,
)
def test_gradients(backend, rng, activation, output, loss, n_out):
    net = MLP([3, 4, n_out], activation=activation, output=output, dtype="float64", seed=1, backend=backend)
    net.set_weights([w + 0.1 * rng.standard_normal(w.shape) for w in net.get_weights()])
    before = net.get_weights()
    X = rng.standard_normal((6, 3))
    y = rng.dirichlet(np.ones(n_out), 6)
    assert 0 <= testing.gradient_check(net, X, y, loss) < 1e-6
    for a, b in zip(net.get_weights(), before, strict=True):
        np.testing.assert_array_equal(a, b)


def test_gradients_of_labels(backend, rng):
    net = MLP([3, 4, 3], output="softmax", activation="tanh", dtype="float64", backend=backend)
    assert testing.gradient_check(net, rng.standard_normal((6, 3)), rng.integers(0, 3, 6)) < 1e-6


def test_gradients_of_a_loss_that_bends_much(backend):
    """Normalised over two units, whose difference is small, and exponential: plain differences are off by 1.1e-6."""
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((53, 4)), np.abs(rng.standard_normal((53, 2)))
    layers = [Dense(4, 5, "tanh"), Dense(5, 2), LayerNorm(activation="exponential")]
    net = Sequential(layers, dtype="float64", backend=backend, seed=1)
    assert testing.gradient_check(net, X, y, loss="poisson") < 1e-6


def test_a_wrong_gradient_is_found(rng, monkeypatch):
    net = MLP([3, 4, 2], activation="tanh", dtype="float64", backend="numpy")
    right = Sequential.loss_and_gradients

    def wrong(self, X, y, loss=None, **weights):
        value, gradients = right(self, X, y, loss, **weights)
        gradients[1][2] *= 1.001
        return value, gradients

    monkeypatch.setattr(Sequential, "loss_and_gradients", wrong)
    with pytest.raises(AssertionError, match=r"gradient 1 differs.*at \(2,\)"):
        testing.gradient_check(net, rng.standard_normal((6, 3)), rng.standard_normal((6, 2)))


def test_what_gradient_check_refuses():
    with pytest.raises(ValueError, match="float64"):
        testing.gradient_check(MLP([2, 1], backend="numpy"), [[0.0, 1.0]], [1.0])
    net = MLP([2, 1], dtype="float64", backend="numpy")
    for check in (testing.gradient_check, testing.cross_check):
        with pytest.raises(ValueError, match="tolerance is -1; expected a finite number of at least 0"):
            check(net, [[0.0, 1.0]], [1.0], tolerance=-1)
        with pytest.raises(TypeError, match="tolerance is '1', of type str"):
            check(net, [[0.0, 1.0]], [1.0], tolerance="1")
    with pytest.raises(TypeError, match="net"):
        testing.gradient_check(losses, [[0.0]], [0.0])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("activation", HIDDEN, ids=str)
def test_the_backends_agree(rng, dtype, activation):
    pytest.importorskip("nncore._core")
    net = Sequential([Dense(7, 33, activation), Dense(33, 16, activation), Dense(16, 5, "softmax")], dtype=dtype)
    X, y = rng.standard_normal((97, 7)), rng.integers(0, 5, 97)
    assert testing.cross_check(net, X, y) <= (1e-4 if dtype == "float32" else 1e-10)


def test_backends_that_disagree_are_told(rng, monkeypatch):
    """With a second NumPy engine in the core's place, and one weight of it changed."""
    from nncore import engines
    from nncore.numpy_backend import NumpyEngine

    class Core:
        class NativeEngine(NumpyEngine):
            def set_weights(self, arrays):
                super().set_weights([*arrays[:-1], arrays[-1] + self.error])

            error = 0.0

    monkeypatch.setattr(engines, "_core", Core)
    net = MLP([3, 4, 2], dtype="float64", backend="numpy")
    X, y = rng.standard_normal((6, 3)), rng.standard_normal((6, 2))
    assert testing.cross_check(net, X, y) == 0.0
    Core.NativeEngine.error = 1e-6
    with pytest.raises(AssertionError, match="output of layer 1 differs"):
        testing.cross_check(net, X, y)
    assert 0 < testing.cross_check(net, X, y, tolerance=1e-3) < 1e-3


class FakeCore:
    def __init__(self):
        self.log = []

    def force_threads(self, n):
        self.forced = n

    def thread_log(self):
        return self.log


def test_force_threads_asserts_what_ran(monkeypatch):
    from nncore import engines

    core = FakeCore()
    monkeypatch.setattr(engines, "_core", core)
    with testing.force_threads(3):
        assert core.forced == 3
        core.log = [3, 3]
    assert core.forced == 0
    for log, message in (([3, 2], "expected 3 threads"), ([], "nothing ran")):
        with pytest.raises(AssertionError, match=message), testing.force_threads(3):
            core.log = log
        assert core.forced == 0
    with pytest.raises(KeyError), testing.force_threads(3):
        raise KeyError
    assert core.forced == 0


def test_forced_threads_run(blobs):
    pytest.importorskip("nncore._core")
    X, y = blobs
    weights = []
    for n in (1, 2, 3):
        net = MLP([5, 8, 3], output="softmax", backend="native")
        with testing.force_threads(n):
            net.fit(X, y, epochs=2)
        weights.append(net.get_weights())
    for other in weights[1:]:
        for a, b in zip(weights[0], other, strict=True):
            np.testing.assert_array_equal(a, b)


def test_cross_check_of_a_perfect_fit():
    """A loss of nothing but rounding errors differs wholly, and rightly, between the backends."""
    pytest.importorskip("nncore._core")
    net = MLP([50, 60, 3], seed=3)
    X = np.random.default_rng(0).normal(size=(40, 50)).astype(np.float32)
    assert testing.cross_check(net, X, net.predict(X)) < 1e-4
