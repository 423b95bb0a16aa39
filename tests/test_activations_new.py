"""Tests of elu, selu, gelu, silu, softplus, exponential, mish, the hard ones: values, tails, kinks, objects, networks.

What all activations have in common is in test_activations.py.
"""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest

import nncore as nn
from nncore import activations, io, testing
from nncore.activations import Elu, Gelu, LeakyReLU

NAMES = ["elu", "selu", "gelu", "silu", "softplus", "exponential", "mish", "hard_sigmoid", "hard_tanh", "hard_silu"]
S, LIMIT = 1.0507009873554804934193349852946, 1.7580993408473768599402175208123


def phi(z: float) -> float:
    return 0.5 * math.erfc(-z / math.sqrt(2))


def s(z: float) -> float:
    return 1 / (1 + math.exp(-z)) if z > 0 else math.exp(z) / (1 + math.exp(z))


# the definitions, in libm
TRUE = {
    "elu": lambda z: z if z > 0 else math.expm1(z),
    "selu": lambda z: S * z if z > 0 else LIMIT * math.expm1(z),
    "gelu": lambda z: z * phi(z),
    "gelu_tanh": lambda z: z * s(2 * math.sqrt(2 / math.pi) * (z + 0.044715 * z**3)),
    "silu": lambda z: z * s(z),
    "softplus": lambda z: max(z, 0.0) + math.log1p(math.exp(-abs(z))),
    "exponential": math.exp,
    "mish": lambda z: z * math.tanh(max(z, 0.0) + math.log1p(math.exp(-abs(z)))),
    "hard_sigmoid": lambda z: min(max(z + 3, 0), 6) / 6,
    "hard_tanh": lambda z: min(max(z, -1), 1),
    "hard_silu": lambda z: z * (min(max(z + 3, 0), 6) / 6),
}
SLOPES = {
    "gelu": lambda z: phi(z) + z * math.exp(-z * z / 2) / math.sqrt(2 * math.pi),
    "silu": lambda z: s(z) + z * s(z) * s(-z),
    "softplus": s,
    "mish": lambda z: TRUE["mish"](z) / z + z * s(z) / math.cosh(TRUE["softplus"](z)) ** 2,
}


@pytest.mark.parametrize("name", TRUE)
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 1e-6), (np.float64, 4e-15)])
def test_values(name, dtype, tolerance):
    # libm rounds the arguments of exp and erfc, which magnify that in the tail: see test_the_tail_of_gelu
    low = -3 if name.startswith("gelu") else -80
    z = np.concatenate([np.linspace(low, 20, 400), [-1e-3, 1e-3, 1e-30, -1e-30]]).astype(dtype)
    expected = [TRUE[name](float(x)) for x in z]
    np.testing.assert_allclose(activations.get(name)(z), expected, rtol=tolerance)


def test_the_tail_of_gelu():
    """Right values by mpmath 1.4, 30 digits."""
    z = np.array([-3.0, -10.0, -25.0, -37.0])
    expected = [
        -0.00404969409489028358,
        -7.619853024160526066e-23,
        -7.641741765956402291e-137,
        -2.1184613523340934e-298,
    ]
    np.testing.assert_allclose(nn.gelu(z), expected, rtol=4e-15)
    np.testing.assert_allclose(nn.gelu(z[:2].astype(np.float32)), expected[:2], rtol=1e-6)


@pytest.mark.parametrize("name", SLOPES)
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 1e-6), (np.float64, 1e-14)])
def test_slopes(name, dtype, tolerance):
    z = (np.linspace(-30, 30, 400) + 0.01).astype(dtype)
    expected = [SLOPES[name](float(x)) for x in z]
    np.testing.assert_allclose(activations.get(name).derivative(z), expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize("name", [*NAMES, "gelu_tanh"])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_far_ends_and_zeros(name, dtype):
    f = activations.get(name)
    z = np.array([-np.inf, -1e4, -0.0, 0.0, 1e4, np.inf], dtype)
    limits = {
        "elu": (-1, 0, 1e4),
        "selu": (-LIMIT, 0, S * 1e4),
        "softplus": (0, math.log(2), 1e4),
        "exponential": (0, 1, np.inf),
        "hard_sigmoid": (0, 0.5, 1),
        "hard_tanh": (-1, 0, 1),
    }
    low, middle, high = limits.get(name, (0, 0, 1e4))
    top = high if name in ("hard_sigmoid", "hard_tanh") else np.inf
    with warnings.catch_warnings(), np.errstate(all="warn"):
        warnings.simplefilter("error")
        value, slope = f(z), f.derivative(z)
    np.testing.assert_array_equal(value, np.array([low, low, middle, middle, high, top], dtype))
    flat = (0, {"exponential": np.inf, "selu": S, "hard_sigmoid": 0, "hard_tanh": 0}.get(name, 1))
    np.testing.assert_array_equal(slope[[0, 1, 4, 5]], np.array([flat[0], flat[0], flat[1], flat[1]], dtype))
    if middle == 0:
        np.testing.assert_array_equal(np.signbit(value[2:4]), [True, False])


def test_subnormals():
    z = np.array([5e-324, -5e-324, 1e-310, -1e-310])
    for name, slope in {"elu": 1, "hard_tanh": 1, "selu": None, "gelu": 0.5, "silu": 0.5, "mish": 0.6}.items():
        expected = z * np.where(z > 0, S, LIMIT) if slope is None else z * slope
        np.testing.assert_allclose(activations.get(name)(z), expected, rtol=1e-12, atol=5e-324, err_msg=name)


def test_derivatives_at_the_kinks_are_those_from_the_left_or_of_the_flat_part():
    assert nn.elu.derivative(0.0) == 1
    assert Elu(0.3).derivative(0.0) == 0.3
    assert nn.elu.derivative(-1.0, alpha=2.0) == 2 * math.exp(-1)
    assert nn.selu.derivative(0.0) == pytest.approx(LIMIT)
    np.testing.assert_array_equal(nn.hard_sigmoid.derivative([-3.0, 0.0, 3.0]), [0, 1 / 6, 0])
    np.testing.assert_array_equal(nn.hard_tanh.derivative([-1.0, 0.0, 1.0]), [0, 1, 0])
    np.testing.assert_array_equal(nn.hard_silu.derivative([-3.0, 0.0, 3.0]), [0, 0.5, 1.5])


# ---------------------------------------------------------------- the objects


def test_alpha_and_approximate():
    assert nn.elu(-1.0, alpha=0.5) == 0.5 * math.expm1(-1) == Elu(0.5)(-1.0)
    assert nn.gelu(1.0, approximate="tanh") == Gelu("tanh")(1.0) != nn.gelu(1.0)
    assert nn.gelu.derivative(1.0, approximate="tanh") == Gelu("tanh").derivative(1.0) != nn.gelu.derivative(1.0)
    assert Elu(0.5) == Elu(0.5) != Elu(0.25)
    assert Elu() == nn.elu != LeakyReLU(1.0)
    assert Gelu() == nn.gelu != Gelu("tanh") == activations.get("gelu_tanh")
    assert len({Elu(0.5), Elu(0.5), Elu(0.25), Gelu(), Gelu("tanh"), nn.gelu}) == 4
    assert (repr(Elu(0.5)), repr(Gelu("tanh")), repr(nn.elu), repr(nn.gelu)) == (
        "Elu(alpha=0.5)",
        "Gelu(approximate='tanh')",
        "elu",
        "gelu",
    )
    for value in (-0.1, np.nan, np.inf):
        with pytest.raises(ValueError, match=r"alpha is .*; expected a finite number of at least 0"):
            Elu(value)
    with pytest.raises(ValueError, match="approximate is 'erf'; expected one of 'tanh'"):
        Gelu("erf")
    with pytest.raises(TypeError, match="approximate is True"):
        nn.gelu(1.0, approximate=True)


@pytest.mark.parametrize("name", ["gelu", "gelu_tanh", "silu", "mish", "hard_silu"])
def test_a_slope_that_does_not_follow_from_the_output_is_not_given(name):
    f, z = activations.get(name), np.array([-0.5, 2.0])
    assert f.keeps_slope
    with pytest.raises(ValueError, match=f"derivative of {name} does not follow from its output"):
        f.gradient_from_output(z)
    np.testing.assert_array_equal(f.slope(z, f(z)), f.derivative(z))
    np.testing.assert_array_equal(nn.tanh.slope(z, nn.tanh(z)), nn.tanh.gradient_from_output(nn.tanh(z)))


def test_restored():
    for f in (*activations.ALIASES.values(), Elu(0.3), LeakyReLU(0.7), Gelu("tanh")):
        assert activations.restored(f.name, f.alpha) == f
    with pytest.raises(ValueError, match="activation is 'swish'"):
        activations.restored("swish", 0.0)


# ---------------------------------------------------------------- networks


HIDDEN = [*NAMES, Elu(0.3), Gelu("tanh")]


@pytest.mark.parametrize("output", ["identity", "softplus", "exponential", "silu", "elu", "hard_silu"])
@pytest.mark.parametrize("hidden", HIDDEN, ids=str)
def test_gradients_of_both_backends(backend, hidden, output):
    rng = np.random.default_rng(7)
    net = nn.MLP([3, 5, 2], hidden, output, initializer="glorot_uniform", dtype="float64", seed=4, backend=backend)
    X, y = 0.5 * rng.standard_normal((6, 3)), rng.random((6, 2))
    assert testing.gradient_check(net, X, y, "mse") < 1e-6


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("sizes", [[5, 40, 3], [3, 33, 17, 70], [2, 1]], ids=str)
@pytest.mark.parametrize("hidden", HIDDEN, ids=str)
def test_backends_agree(hidden, sizes, dtype):
    pytest.importorskip("nncore._core")
    rng = np.random.default_rng(8)
    net = nn.MLP(sizes, hidden, hidden, initializer="glorot_uniform", dtype=dtype, seed=4)
    X, y = 0.5 * rng.standard_normal((37, sizes[0])), rng.random((37, sizes[-1]))
    testing.cross_check(net, X, y, "mse")


@pytest.mark.parametrize("hidden", HIDDEN, ids=str)
def test_five_epochs_agree(hidden):
    pytest.importorskip("nncore._core")
    X, y = nn.datasets.load_digits(return_X_y=True)
    X, y = X[:300] / 16, y[:300]
    for dtype, tolerance in (("float64", 1e-12), ("float32", 1e-4)):
        weights = []
        for backend in ("native", "numpy"):
            net = nn.MLP([64, 20, 10], hidden, "softmax", dtype=dtype, seed=3, backend=backend)
            net.fit(X, y, epochs=5)
            weights.append(net.get_weights())
        largest = max(np.abs(w).max() for w in weights[1])
        assert max(np.abs(a - b).max() for a, b in zip(*weights, strict=True)) <= tolerance * largest


@pytest.mark.parametrize("sizes,batch", [([33, 97, 3], 600), ([20, 70, 40, 3], 77)], ids=["chunks", "tiles"])
@pytest.mark.parametrize("threads", [2, 3])
def test_any_number_of_threads_gives_the_same_bits(sizes, batch, threads):
    pytest.importorskip("nncore._core")
    rng = np.random.default_rng(9)
    X, y = rng.standard_normal((1300, sizes[0])), rng.standard_normal((1300, 3))
    results = []
    for n in (1, threads):
        layers = [nn.Dense(a, b, f) for a, b, f in zip(sizes, sizes[1:], ["gelu", "mish", "silu"], strict=False)]
        net = nn.Sequential(layers, seed=1)
        with testing.force_threads(n):
            net.fit(X, y, epochs=2, batch_size=batch)
            results.append([*net.get_weights(), net.predict(X)])
    for one, many in zip(*results, strict=True):
        assert one.tobytes() == many.tobytes()


def test_saving_and_loading(tmp_path, backend):
    layers = [nn.Dense(3, 4, f) for f in ("gelu",)] + [nn.Dense(4, 4, f) for f in (*HIDDEN, LeakyReLU(0.3))]
    net = nn.Sequential(layers, seed=2, backend=backend)
    net.save(tmp_path / "all.npz")
    loaded = io.load(tmp_path / "all.npz", backend=backend)
    assert [layer.activation for layer in loaded.layers] == [layer.activation for layer in net.layers]
    X = np.ones((2, 3), np.float32)
    np.testing.assert_array_equal(loaded.predict(X), net.predict(X))


def test_a_neuron_takes_them():
    assert nn.Neuron([1.0], 0.0, "gelu")([1.0]) == pytest.approx(phi(1.0), abs=1e-15)
