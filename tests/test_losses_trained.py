"""Every loss through every output that suits it: gradients against differences, and the core against NumPy."""

import numpy as np
import pytest
from conftest import HAS_CORE

import nncore as nn
from nncore.losses import BinaryCrossEntropy, Cosine, CrossEntropy, Hinge, Huber, MeanAbsoluteError, Poisson, Quantile

ANY = ["identity", "sigmoid", "tanh", "relu", "leaky_relu", "softmax"]
PAIRS = [
    *[(loss, output) for loss in (MeanAbsoluteError(), Huber(0.5), Quantile(0.2), Hinge(), Cosine()) for output in ANY],
    *[(loss, output) for loss in (Poisson(), BinaryCrossEntropy(3.0, 0.1)) for output in ("sigmoid", "softmax")],
    (CrossEntropy(0.1), "softmax"),
    (CrossEntropy(0.1), "sigmoid"),
]
if "exponential" in nn.activations.ALIASES:
    PAIRS += [(loss, "exponential") for loss in (Poisson(), MeanAbsoluteError(), Cosine())]
pairs = pytest.mark.parametrize(("loss", "output"), PAIRS, ids=[f"{loss.name}-{output}" for loss, output in PAIRS])


def data(loss, n_out, seed=1):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((40, 4))
    y = rng.standard_normal((40, n_out))
    if loss.name in ("hinge", "bce"):
        y = rng.integers(0, 2, (40, n_out))
    elif loss.name == "poisson":
        y = rng.poisson(2.0, (40, n_out))
    elif loss.name == "cross_entropy":
        y = rng.integers(0, n_out, 40)
    return X, y, rng.uniform(0, 1, 40)


def network(n_out, output, dtype="float64", backend=None):
    layers = [nn.Dense(4, 5, "tanh"), nn.Dense(5, n_out, output)]
    return nn.Sequential(layers, dtype=dtype, seed=5, backend=backend)


@pairs
def test_gradients(backend, loss, output):
    X, y, w = data(loss, 3)
    net = network(3, output, backend=backend)
    assert nn.testing.gradient_check(net, X, y, loss) < 1e-6
    assert nn.testing.gradient_check(net, X, y, loss, sample_weight=w) < 1e-6


@pytest.mark.skipif(not HAS_CORE, reason="needs the core")
@pairs
def test_the_core_against_numpy(loss, output):
    for n_out in (3, 37):  # narrow and wide
        X, y, w = data(loss, n_out)
        for dtype in ("float32", "float64"):
            nn.testing.cross_check(network(n_out, output, dtype), X, y, loss, sample_weight=w)
        pair = [network(n_out, output, backend=backend) for backend in ("native", "numpy")]
        for net in pair:
            net.fit(X, y, loss, epochs=5, batch_size=9)
        for a, b in zip(*(net.get_weights() for net in pair), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(*(net.history.history["loss"] for net in pair), rtol=1e-11)
        values = [net.evaluate(X, y, loss)["loss"] for net in pair]
        assert values[0] == pytest.approx(values[1], rel=1e-11)


def test_a_quantile_is_learned(backend):
    """That of the numbers themselves, by a network whose input says nothing."""
    y = np.random.default_rng(2).exponential(size=2000)
    net = nn.Sequential([nn.Dense(1, 1)], dtype="float64", backend=backend)
    for rate in (0.5, 0.05, 0.005):
        net.fit(np.zeros((2000, 1)), y, Quantile(0.9), nn.SGD(rate), epochs=5, batch_size=50)
    assert net.predict([[0.0]])[0, 0] == pytest.approx(np.quantile(y, 0.9), abs=0.1)
