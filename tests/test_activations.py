"""Tests of the activations: the texts' numbers, derivatives, dtypes, extremes and the registry."""

import copy
import math
import pickle
import warnings

import numpy as np
import pytest

from nncore import activations
from nncore.activations import (
    Elu,
    Gelu,
    LeakyReLU,
    elu,
    exponential,
    gelu,
    hard_sigmoid,
    hard_silu,
    hard_tanh,
    identity,
    leaky_relu,
    mish,
    relu,
    selu,
    sigmoid,
    silu,
    softmax,
    softplus,
    step,
    tanh,
)

KEEPING = [gelu, Gelu("tanh"), silu, mish, hard_silu]
NEW = [elu, Elu(0.3), Elu(0.0), selu, softplus, exponential, hard_sigmoid, hard_tanh, *KEEPING]
ELEMENTWISE = [identity, step, sigmoid, tanh, relu, leaky_relu, LeakyReLU(0.0), LeakyReLU(2.5), *NEW]
KINKS = {hard_sigmoid: [-3, 3], hard_tanh: [-1, 1], hard_silu: [-3, 3]}
OVERFLOWING = [LeakyReLU(2.5), selu, exponential]  # whose true values may be beyond the type
ALL = [*ELEMENTWISE, softmax]
FLOATS = [np.float16, np.float32, np.float64]


def finite_extremes(dtype):
    info = np.finfo(dtype)
    powers = [2.0**k for k in range(-14, 16)]
    return np.array([0.0, -0.0, info.tiny, info.smallest_subnormal, info.max, *powers], dtype) * np.array(
        [[1], [-1]], dtype
    )


# ---------------------------------------------------------------- worked numbers


@pytest.mark.parametrize(
    ("function", "z", "expected", "digits"),
    [
        (sigmoid, -0.55, 0.36586440898919936, 1e-15),
        (sigmoid, -3, 0.047, 5e-4),
        (sigmoid, 0, 0.5, 0),
        (sigmoid, 3, 0.9526, 5e-5),
        (sigmoid, 7, 0.9990889488055994, 1e-15),
        (sigmoid, [0.12, 0.34, -1234.1], [0.52996, 0.58419, 0.0], 5e-6),
        (tanh, -2, -0.964, 5e-4),
        (tanh, 0, 0, 0),
        (tanh, 2, 0.964, 5e-4),
        (relu, [-2.5, 0, 3.1], [0, 0, 3.1], 0),
        (leaky_relu, [-2.5, 0, 3.1], [-0.25, 0, 3.1], 0),
        (softmax, [0.74, 0.59], [0.538, 0.463], 1e-3),
        (softmax, [0.74, 0.59], [0.5374298, 0.4625702], 5e-8),
        (step, [-1.5, -0.5, 0, 0.5], [0, 0, 1, 1], 0),
        (identity, [-1, 2], [-1, 2], 0),
    ],
)
def test_worked_numbers(function, z, expected, digits):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_allclose(function(z), expected, rtol=0, atol=digits)


def test_the_texts_forward_passes():
    z1 = np.array([[0.4, -0.3], [-0.2, 0.5], [0.8, 0.1]]) @ [1.5, -0.5] + [0.1, -0.1, 0.0]
    np.testing.assert_allclose(z1, [0.85, -0.65, 1.15], atol=1e-15)
    z2 = np.array([[0.6, -0.4, 0.2], [-0.1, 0.3, 0.5]]) @ relu(z1) + [0.0, 0.1]
    np.testing.assert_allclose(z2, [0.74, 0.59], atol=1e-15)
    np.testing.assert_array_equal(relu([0.1, -0.4]), [0.1, 0.0])
    hidden = sigmoid(3.0)
    assert float(sigmoid(hidden)) == pytest.approx(0.7216325609518421, abs=1e-15)


def test_values_at_zero():
    assert relu.derivative(0.0) == 0
    assert leaky_relu.derivative(0.0) == 0.1
    assert step(0.0) == 1
    assert step(-0.0) == 1
    assert step.derivative(0.0) == 0
    assert sigmoid.derivative(0.0) == 0.25
    assert tanh.derivative(0.0) == 1
    assert identity.derivative(0.0) == 1


# ---------------------------------------------------------------- derivatives


@pytest.mark.parametrize("function", [f for f in ELEMENTWISE if f is not step], ids=repr)
def test_derivative_is_the_slope(function):
    z = np.random.default_rng(0).uniform(-4, 4, 500)
    for kink in (0, *KINKS.get(function, ())):
        z = z[np.abs(z - kink) > 1e-3]
    h = 1e-5
    slope = (function(z + h) - function(z - h)) / (2 * h)
    np.testing.assert_allclose(function.derivative(z), slope, rtol=1e-8, atol=1e-9)


def test_step_derivative_is_zero():
    np.testing.assert_array_equal(step.derivative([-1.0, 0.0, 1.0]), 0)


@pytest.mark.parametrize("shape", [(5,), (4, 3), (2, 3, 1)])
def test_softmax_derivative_is_the_jacobian(shape):
    z = np.random.default_rng(1).standard_normal(shape)
    k, h = shape[-1], 1e-5
    jacobian = softmax.derivative(z)
    assert jacobian.shape == (*shape, k)
    for j in range(k):
        shift = h * np.eye(k)[j]
        column = (softmax(z + shift) - softmax(z - shift)) / (2 * h)
        np.testing.assert_allclose(jacobian[..., :, j], column, atol=1e-10)


@pytest.mark.parametrize("function", [f for f in ALL if not f.keeps_slope], ids=repr)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_gradient_from_output_agrees(function, dtype):
    z = np.random.default_rng(2).standard_normal((20, 6)).astype(dtype)
    gradient = function.gradient_from_output(function(z))
    assert gradient.dtype == dtype
    expected = function.derivative(z)
    if function in (LeakyReLU(0.0), Elu(0.0)):
        np.testing.assert_array_equal(gradient, relu.derivative(z))
    np.testing.assert_allclose(gradient, expected, rtol=1e-5, atol=2e-7)


def test_sigmoid_derivative_keeps_its_accuracy():
    # 1 - sigmoid(40) cancels to nothing; the true value is about exp(-40).
    np.testing.assert_allclose(sigmoid.derivative([40.0, -40.0]), math.exp(-40), rtol=1e-14)


# ---------------------------------------------------------------- dtypes and shapes


@pytest.mark.parametrize("function", ALL, ids=repr)
@pytest.mark.parametrize("dtype", FLOATS)
def test_floats_keep_their_dtype(function, dtype):
    z = np.linspace(-2, 2, 12).astype(dtype).reshape(3, 4)
    before = z.copy()
    assert function(z).dtype == dtype
    assert function(z).shape == z.shape
    assert function.derivative(z).dtype == dtype
    np.testing.assert_array_equal(z, before)
    assert not np.shares_memory(function(z), z)


@pytest.mark.parametrize("function", ALL, ids=repr)
@pytest.mark.parametrize("dtype", [np.uint8, np.int64, bool])
def test_integers_become_float64(function, dtype):
    z = np.array([[1, 0, 1]], dtype)
    assert function(z).dtype == np.float64
    assert function.derivative(z).dtype == np.float64
    np.testing.assert_array_equal(function(z), function(z.astype(float)))


@pytest.mark.parametrize("function", ELEMENTWISE, ids=repr)
@pytest.mark.parametrize("scalar", [1, -0.5, np.float32(0.5), np.array(2.0), True])
def test_scalars_give_scalars(function, scalar):
    for result in (function(scalar), function.derivative(scalar)):
        assert isinstance(result, np.floating)
    if isinstance(scalar, np.float32):
        assert function(scalar).dtype == np.float32


@pytest.mark.parametrize("function", ELEMENTWISE, ids=repr)
def test_any_shape_also_empty(function):
    for shape in [(0,), (0, 3), (2, 3, 4), (1, 1, 1, 1)]:
        assert function(np.ones(shape)).shape == function.derivative(np.ones(shape)).shape == shape


@pytest.mark.parametrize("z", [1.0, [], np.ones((3, 0))])
def test_softmax_refuses_what_has_no_elements_to_share(z):
    with pytest.raises(ValueError, match=r"z has shape .*; softmax takes at least one element along the last axis"):
        softmax(z)


@pytest.mark.parametrize("function", ALL, ids=repr)
@pytest.mark.parametrize("z", [["a"], [1j], None])
def test_what_is_not_real_is_refused(function, z):
    for f in (function, function.derivative):
        with pytest.raises(TypeError, match="z has dtype"):
            f(z)


# ---------------------------------------------------------------- extremes


@pytest.mark.parametrize("function", ALL, ids=repr)
@pytest.mark.parametrize("dtype", FLOATS)
def test_no_finite_input_warns_or_gives_nan(function, dtype):
    z = finite_extremes(dtype)
    with warnings.catch_warnings(), np.errstate(all="warn"):
        warnings.simplefilter("error")
        values = [function(z), function(z.T.copy())]
        slopes = [function.derivative(z)]
    for result in values + slopes:
        assert not np.isnan(result).any()
    if function not in OVERFLOWING:
        assert all(np.isfinite(result).all() for result in values + slopes)


@pytest.mark.parametrize("function", ELEMENTWISE, ids=repr)
@pytest.mark.parametrize("dtype", FLOATS)
def test_nan_passes_and_stays_in_its_place(function, dtype):
    z = np.array([[1.0, np.nan], [-2.0, 0.5]], dtype)
    for result in (function(z), function.derivative(z)):
        np.testing.assert_array_equal(np.isnan(result), np.isnan(z))
    assert np.isnan(function(np.nan))
    assert np.isnan(function.derivative(np.nan))


def test_nan_fills_its_own_row_of_softmax():
    z = np.array([[1.0, np.nan, 0.0], [1.0, 2.0, 3.0]])
    np.testing.assert_array_equal(np.isnan(softmax(z)), [[True] * 3, [False] * 3])
    np.testing.assert_array_equal(softmax(z)[1], softmax(z[1]))


def test_infinities():
    z = [-np.inf, np.inf]
    np.testing.assert_array_equal(sigmoid(z), [0, 1])
    np.testing.assert_array_equal(tanh(z), [-1, 1])
    np.testing.assert_array_equal(relu(z), [0, np.inf])
    np.testing.assert_array_equal(leaky_relu(z), [-np.inf, np.inf])
    np.testing.assert_array_equal(step(z), [0, 1])


def test_softmax_is_stable_and_shift_invariant():
    z = np.random.default_rng(3).standard_normal((50, 7)) * 30
    p = softmax(z)
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-15)
    np.testing.assert_allclose(softmax(z + 1e4), p, rtol=1e-10)
    np.testing.assert_array_equal(softmax([1e4, 0.0, -1e4]), [1, 0, 0])
    np.testing.assert_array_equal(softmax(np.zeros((2, 4))), 0.25)


def test_small_sigmoids_keep_their_accuracy():
    np.testing.assert_allclose(sigmoid([-40.0, -700.0]), [math.exp(-40), math.exp(-700)], rtol=1e-14)


# ---------------------------------------------------------------- leaky relu's alpha


def test_alpha_of_a_call_and_of_an_object():
    assert leaky_relu(-2.0) == -0.2
    assert leaky_relu(-2.0, alpha=0.5) == -1
    assert leaky_relu(-2.0, 0.5) == -1
    assert leaky_relu.derivative(-2.0, alpha=0.5) == 0.5
    assert LeakyReLU(alpha=0.2)(-2.0) == -0.4
    assert leaky_relu.alpha == 0.1
    np.testing.assert_array_equal(LeakyReLU(2.0)([-1.0, 1.0]), [-2, 1])
    np.testing.assert_array_equal(LeakyReLU(2.0).gradient_from_output(np.array([-2.0, 1.0])), [2, 1])
    with pytest.raises(AttributeError):
        leaky_relu.alpha = 0.5


@pytest.mark.parametrize("alpha", [-0.1, np.nan, np.inf])
def test_alpha_out_of_range(alpha):
    for call in (LeakyReLU, lambda alpha: leaky_relu(1.0, alpha), lambda alpha: leaky_relu.derivative(1.0, alpha)):
        with pytest.raises(ValueError, match=r"alpha is .*; expected a finite number of at least 0"):
            call(alpha)


def test_alpha_of_another_type():
    with pytest.raises(TypeError, match=r"alpha is '0\.1'"):
        LeakyReLU("0.1")


# ---------------------------------------------------------------- the objects


@pytest.mark.parametrize("name", [name for name in activations.ALIASES if name != "gelu_tanh"])
def test_get_by_name(name):
    function = activations.get(name)
    assert function is getattr(activations, name)
    assert function.name == name
    assert repr(function) == name
    assert activations.get(function) is function


def test_get_refuses_what_it_does_not_know():
    with pytest.raises(
        ValueError, match="activation is 'swish'; expected one of 'identity', 'step', 'sigmoid', 'tanh', "
    ):
        activations.get("swish")
    with pytest.raises(TypeError, match="activation is of type function; expected one of 'identity'"):
        activations.get(lambda z: z)
    with pytest.raises(TypeError, match="activation is the class LeakyReLU"):
        activations.get(LeakyReLU)


def test_equality_hash_and_repr():
    assert LeakyReLU(0.2) == LeakyReLU(0.2) != LeakyReLU(0.3)
    assert hash(LeakyReLU(0.2)) == hash(LeakyReLU(0.2))
    assert LeakyReLU() == leaky_relu
    assert relu != LeakyReLU(0.0)
    assert relu != "relu"
    assert repr(LeakyReLU(0.2)) == "LeakyReLU(alpha=0.2)"
    assert len(set(ALL)) == len(ALL)


@pytest.mark.parametrize("function", ALL, ids=repr)
def test_pickling_and_copying(function):
    for other in (pickle.loads(pickle.dumps(function)), copy.deepcopy(function)):
        assert other == function
        assert other.alpha == function.alpha
