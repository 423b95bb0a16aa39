"""Tests of the initial weights: their distributions, their streams, and "auto"."""

import pickle

import numpy as np
import pytest

from nncore import MLP, activations, initializers, streams

NAMES = ["zeros", "normal", "glorot_uniform", "glorot_normal", "he_uniform", "he_normal", "lecun_normal", "orthogonal"]
N_IN, N_OUT = 300, 200

DEVIATIONS = {
    "normal": 0.05,
    "glorot_normal": np.sqrt(2 / (N_IN + N_OUT)),
    "he_normal": np.sqrt(2 / N_IN),
    "lecun_normal": np.sqrt(1 / N_IN),
}
LIMITS = {"glorot_uniform": np.sqrt(6 / (N_IN + N_OUT)), "he_uniform": np.sqrt(6 / N_IN)}


@pytest.mark.parametrize("name", NAMES)
def test_shape_dtype_and_seed(name):
    initializer = initializers.get(name)
    W = initializer(5, 3, 1, 0)
    assert W.shape == (5, 3)
    assert W.dtype == np.float64
    np.testing.assert_array_equal(W, initializer(5, 3, 1, 0))
    if name != "zeros":
        assert not (initializer(5, 3, 2, 0) == W).any()
        assert not (initializer(5, 3, 1, 1) == W).any()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ((0, 1, 0, 0), ValueError, "n_in is 0; expected an integer of at least 1"),
        ((2, 1.5, 0, 0), TypeError, "n_out is 1.5, of type float"),
        ((True, 1, 0, 0), TypeError, "n_in is True, of type bool"),
        ((2, 2, -1, 0), ValueError, "seed is -1"),
        ((2, 2, 2**64, 0), ValueError, r"seed is 18446744073709551616; expected at most 2\*\*64 - 1"),
        ((2, 2, "a", 0), TypeError, "seed is 'a'"),
        ((2, 2, 0, -1), ValueError, "stream is -1"),
        ((2, 2, 0, 2**56), ValueError, r"stream is 72057594037927936; expected at most 2\*\*56 - 1"),
    ],
)
def test_refusals(name, given, error, message):
    with pytest.raises(error, match=message):
        getattr(initializers, name)(*given)


def test_copies_are_the_same_functions():
    """A layer that has one is pickled with its network."""
    for name in NAMES:
        assert pickle.loads(pickle.dumps(getattr(initializers, name))) is getattr(initializers, name)


def test_zeros():
    assert not initializers.zeros(4, 3, 0, 0).any()


@pytest.mark.parametrize("name", DEVIATIONS)
def test_normal_ones(name):
    W = initializers.get(name)(N_IN, N_OUT, 11, 2)
    expected = DEVIATIONS[name] * streams.normal(11, streams.WEIGHTS, 2, N_IN * N_OUT).reshape(N_IN, N_OUT)
    np.testing.assert_array_equal(W, expected)
    np.testing.assert_allclose(W.std(), DEVIATIONS[name], rtol=4 / np.sqrt(2 * W.size))
    np.testing.assert_allclose(W.mean(), 0, atol=4 * DEVIATIONS[name] / np.sqrt(W.size))


@pytest.mark.parametrize("name", LIMITS)
def test_uniform_ones(name):
    W = initializers.get(name)(N_IN, N_OUT, 12, 3)
    limit = LIMITS[name]
    assert W.min() >= -limit
    assert W.max() < limit
    np.testing.assert_allclose([W.min(), W.max()], [-limit, limit], rtol=1e-3)
    np.testing.assert_allclose(W.std(), limit / np.sqrt(3), rtol=0.02)
    np.testing.assert_allclose(W.mean(), 0, atol=4 * limit / np.sqrt(3 * W.size))


@pytest.mark.parametrize(
    ("activation", "expected"),
    [
        ("relu", initializers.he_normal),
        ("leaky_relu", initializers.he_normal),
        (activations.LeakyReLU(0.3), initializers.he_normal),
        *((name, initializers.he_normal) for name in ("elu", "gelu", "gelu_tanh", "silu", "mish", "hard_silu")),
        (activations.Elu(0.3), initializers.he_normal),
        ("selu", initializers.lecun_normal),
        *((name, initializers.glorot_uniform) for name in ("softplus", "exponential", "hard_sigmoid", "hard_tanh")),
        ("tanh", initializers.glorot_uniform),
        ("sigmoid", initializers.glorot_uniform),
        ("softmax", initializers.glorot_uniform),
        ("identity", initializers.glorot_uniform),
    ],
)
def test_auto_goes_by_the_activation(activation, expected):
    assert initializers.get("auto", activation) is expected


@pytest.mark.parametrize("shape", [(7, 7), (9, 4), (4, 9), (1, 3), (3, 1), (1, 1)], ids=str)
def test_orthogonal(shape):
    W = initializers.orthogonal(*shape, 5, 1)
    short = W.T @ W if shape[0] >= shape[1] else W @ W.T
    np.testing.assert_allclose(short, np.eye(min(shape)), atol=1e-14)
    # the Q of the one decomposition with a positive diagonal of R: that of the Gram-Schmidt process
    drawn = streams.normal(5, streams.WEIGHTS, 1, W.size).reshape(max(shape), min(shape))
    r = (W if shape[0] >= shape[1] else W.T).T @ drawn
    np.testing.assert_allclose(np.tril(r, -1), 0, atol=1e-13)
    assert (np.diagonal(r) > 0).all()


def test_orthogonal_networks_start_alike(backend):
    net = MLP([6, 5, 3], initializer="orthogonal", dtype="float64", seed=3, backend=backend)
    np.testing.assert_array_equal(net.get_weights()[0], initializers.orthogonal(6, 5, 3, 0))


@pytest.mark.parametrize("name", NAMES)
def test_get(name):
    initializer = initializers.get(name, "relu")
    assert initializer is getattr(initializers, name)
    assert initializer.__name__ == name
    assert initializers.get(initializer) is initializer


def test_get_refuses_what_it_does_not_know():
    with pytest.raises(ValueError, match="initializer is 'xavier'; expected one of 'auto', 'zeros', 'normal', 'glorot"):
        initializers.get("xavier")
    with pytest.raises(TypeError, match="initializer is 1, of type int; expected one of 'auto'"):
        initializers.get(1)
