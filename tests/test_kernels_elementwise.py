"""Elementary functions, activations, derivatives and the optimizers' steps, per ISA against the naive reference."""

from __future__ import annotations

import numpy as np
import pytest
from kernel_layout import ACTIVATIONS, ELEMENTARY, KEEPING, OPTIMIZERS, SENTINEL, both, every_table, wider, worst_ulp

POINTS = 200_000
SELU_LIMIT, LN2 = 1.7580993408473768599, np.log(2)
SIZES = (1, 2, 3, 7, 15, 16, 17, 31, 33, 97)


def sigmoid(x: np.ndarray) -> np.ndarray:
    e = np.exp(-np.abs(x))
    return np.where(x < 0, e, 1) / (1 + e)


HALF_PI = np.longdouble("1.5707963267948966192313216916397514")
TRUE = {
    "exp": np.exp,
    "log": np.log,
    "log1p": np.log1p,
    "log up to 1": np.log,
    "sine": lambda x: np.sin(HALF_PI.astype(x.dtype) * x),
    "cosine": lambda x: np.cos(HALF_PI.astype(x.dtype) * x),
    "tanh": np.tanh,
    "sigmoid": sigmoid,
}


def geometric(low: float, high: float, dtype: str, rng: np.random.Generator) -> np.ndarray:
    """Return numbers of every size between two positive ones."""
    return np.exp(rng.uniform(np.log(low), np.log(high), POINTS)).astype(dtype)


def sweep(function: str, dtype: str, rng: np.random.Generator) -> np.ndarray:
    """Return arguments over the whole range in which the result is a normal number, the edges included."""
    info = np.finfo(dtype)
    tiny, huge = float(info.tiny), float(info.max)
    lowest, highest = np.log(tiny), np.log(huge)
    near = np.concatenate([np.linspace(-3, 3, POINTS), rng.uniform(-1, 1, POINTS)])
    small = np.concatenate([geometric(tiny, 1.0, dtype, rng), -geometric(tiny, 1.0, dtype, rng)])
    if function == "exp":
        edges = np.array([0.0, -0.0, highest, lowest])
        x = np.concatenate([rng.uniform(lowest, highest, 2 * POINTS), near, small, edges]).astype(dtype)
        x = np.concatenate([x, np.nextafter(x[-2:], np.array(0, dtype))])
        true = np.exp(x.astype(wider(dtype)))
        return x[(true >= tiny) & (true <= huge)]
    if function == "log":
        beside_one = 1 + rng.uniform(-1, 1, POINTS) * np.exp(rng.uniform(np.log(info.eps), 0, POINTS))
        x = np.concatenate([geometric(tiny, huge, dtype, rng), near, beside_one, [tiny, huge, 1.0]]).astype(dtype)
        return x[x >= tiny]
    if function == "log1p":
        x = np.concatenate([geometric(tiny, 1.0, dtype, rng), np.linspace(0, 1, POINTS), [0.0, tiny, 1.0]])
        return x.astype(dtype)
    if function == "log up to 1":
        x = np.concatenate([geometric(2.0**-33, 1.0, dtype, rng), rng.uniform(0.5, 1, POINTS), [2.0**-33, 1.0]])
        return x.astype(dtype)
    if function in ("sine", "cosine"):
        x = np.concatenate([rng.uniform(-0.5, 0.5, POINTS), geometric(2.0**-40, 0.5, dtype, rng), [0.0, 0.5, -0.5]])
        return x.astype(dtype)
    ends = np.array([0.0, -0.0, 1e4, -80.0 if function == "sigmoid" else -1e4])
    wide = rng.uniform(-80, 80, POINTS) if function == "sigmoid" else rng.uniform(-25, 25, POINTS)
    if function == "sigmoid":
        wide = np.concatenate([wide, rng.uniform(lowest + 1, -lowest - 1, POINTS)])
    return np.concatenate([wide, near, small, ends]).astype(dtype)


@every_table
@pytest.mark.parametrize("function", TRUE)
def test_two_ulp_over_the_whole_range(isa: str, dtype: str, function: str, rng: np.random.Generator) -> None:
    kernels, _ = both(isa, dtype)
    x = sweep(function, dtype, rng)
    y = x.copy()
    if function in ELEMENTARY:
        kernels.elementary(ELEMENTARY.index(function), y)
    else:
        kernels.activate(ACTIVATIONS.index(function), y)
    error, at = worst_ulp(y, TRUE[function](x.astype(wider(dtype))))
    print(f"{function} {isa} {dtype}: {error:.3f} ulp at {float(x[at]).hex()}")
    assert error <= 2, f"{function}({x[at]!r}) = {y[at]!r}"


@every_table
def test_special_values(isa: str, dtype: str) -> None:
    kernels, _ = both(isa, dtype)
    inf, nan = np.inf, np.nan
    huge, tiny = float(np.finfo(dtype).max), float(np.finfo(dtype).tiny)

    def of(apply: object, index: int, *x: float) -> list[float]:
        y = np.array(x, dtype)
        apply(index, y)
        return y.tolist()

    exp = of(kernels.elementary, 0, inf, -inf, 0.0, huge, -huge, nan, -2e3, 2e3)
    np.testing.assert_array_equal(exp, [inf, 0, 1, inf, 0, nan, 0, inf])
    log = of(kernels.elementary, 1, inf, -inf, 0.0, -0.0, 1.0, -1.0, nan, -tiny)
    np.testing.assert_array_equal(log, [inf, nan, -inf, -inf, 0, nan, nan, nan])
    np.testing.assert_array_equal(of(kernels.elementary, 2, 0.0, nan), [0, nan])
    points = (inf, -inf, 0.0, -0.0, huge, -huge, nan)
    expected = {
        "identity": points,
        "step": (1, 0, 1, 1, 1, 0, nan),
        "sigmoid": (1, 0, 0.5, 0.5, 1, 0, nan),
        "tanh": (1, -1, 0.0, -0.0, 1, -1, nan),
        "relu": (inf, 0, 0, 0, huge, 0, nan),
        "leaky_relu": (inf, -inf, 0, 0, huge, np.array(0.1, dtype) * np.array(-huge, dtype), nan),
        "softmax": points,  # not elementwise: left alone
        "elu": (inf, -0.1, 0, -0.0, huge, -0.1, nan),
        "selu": (inf, -SELU_LIMIT, 0, -0.0, inf, -SELU_LIMIT, nan),
        "softplus": (inf, 0, LN2, LN2, huge, 0, nan),
        "exponential": (inf, 0, 1, 1, inf, 0, nan),
        "hard_sigmoid": (1, 0, 0.5, 0.5, 1, 0, nan),
        "hard_tanh": (1, -1, 0, -0.0, 1, -1, nan),
        **dict.fromkeys(KEEPING, (inf, -0.0, 0, -0.0, huge, -0.0, nan)),
    }
    for name, values in expected.items():
        got = of(kernels.activate, ACTIVATIONS.index(name), *points)
        np.testing.assert_array_equal(np.array(got, dtype), np.array(values, dtype), err_msg=name)
    for name in ("tanh", "elu", "selu", "hard_tanh", *KEEPING):
        assert np.signbit(of(kernels.activate, ACTIVATIONS.index(name), -0.0)[0]), name


@every_table
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("n", SIZES)
def test_activations_and_derivatives(isa: str, dtype: str, activation: str, n: int, rng: np.random.Generator) -> None:
    kernels, reference = both(isa, dtype)
    index = ACTIVATIONS.index(activation)
    eps = float(np.finfo(dtype).eps)
    z = (3 * rng.standard_normal(n)).astype(dtype)
    z[rng.integers(n)] = 0
    got, want = np.append(z, dtype_of(SENTINEL, dtype)), z.copy()
    kernels.activate(index, got[:n], 0.3)
    reference.activate(index, want, 0.3)
    # the tail of gelu_tanh magnifies the rounding of the argument of exp: see test_kernels_activations.py
    np.testing.assert_allclose(got[:n], want, rtol=4 * eps, atol=2 * eps if activation == "gelu_tanh" else 0)
    assert got[n] == SENTINEL

    d = rng.standard_normal(n).astype(dtype)
    got, true = np.append(d, dtype_of(SENTINEL, dtype)), d.copy()
    kernels.scale_by_derivative(index, want, got[:n], 0.3)
    reference.scale_by_derivative(index, want, true, 0.3)
    np.testing.assert_allclose(got[:n], true, rtol=4 * eps, atol=2 * eps)
    assert got[n] == SENTINEL


@every_table
def test_rows_apart_leave_what_lies_between(isa: str, dtype: str, rng: np.random.Generator) -> None:
    kernels, reference = both(isa, dtype)
    eps = float(np.finfo(dtype).eps)
    for name in ("tanh", "relu", "sigmoid", "leaky_relu"):
        for n in (1, kernels.width, kernels.width + 1, 2 * kernels.width):
            z, d = rng.standard_normal((2, 5, 2 * kernels.width)).astype(dtype)
            got, want = z.copy(), z.copy()
            kernels.activate(ACTIVATIONS.index(name), got, n=n)
            reference.activate(ACTIVATIONS.index(name), want, n=n)
            np.testing.assert_allclose(got, want, rtol=4 * eps, atol=eps)
            np.testing.assert_array_equal(got[:, n:], z[:, n:])
            scaled, true = d.copy(), d.copy()
            kernels.scale_by_derivative(ACTIVATIONS.index(name), want, scaled, n=n)
            reference.scale_by_derivative(ACTIVATIONS.index(name), want, true, n=n)
            np.testing.assert_allclose(scaled, true, rtol=4 * eps, atol=2 * eps)
            np.testing.assert_array_equal(scaled[:, n:], d[:, n:])


def dtype_of(x: float, dtype: str) -> np.ndarray:
    return np.array([x], dtype)


@every_table
def test_derivative_of_relu_at_zero_is_zero_and_nan_gradients_stay(isa: str, dtype: str) -> None:
    kernels, _ = both(isa, dtype)
    for name, slope in (("relu", 0.0), ("leaky_relu", 0.5)):
        d = np.array([4, 4, 4, np.nan], dtype)
        kernels.scale_by_derivative(ACTIVATIONS.index(name), np.array([0, -1, 1, 1], dtype), d, 0.5)
        np.testing.assert_array_equal(d, np.array([4 * slope, 4 * slope, 4, np.nan], dtype))
    d = np.array([np.nan, 1], dtype)
    kernels.scale_by_derivative(ACTIVATIONS.index("step"), np.array([1, 1], dtype), d)
    np.testing.assert_array_equal(d, np.array([np.nan, 0], dtype))


ADAM = {
    "beta1": 0.9,
    "beta2": 0.999,
    "epsilon": 1e-8,
    "correction1": 1 / (1 - 0.9**3),
    "correction2": (1 - 0.999**3) ** -0.5,
}
STEPS = {
    "momentum, rate within": ("momentum", {"decay": 0.01, "momentum": 0.9, "rate_within": True}),
    "nesterov, rate within": ("momentum", {"momentum": 0.9, "nesterov": True, "rate_within": True}),
    "sgd": ("sgd", {}),
    "sgd with decay": ("sgd", {"decay": 0.01}),
    "momentum": ("momentum", {"momentum": 0.9}),
    "nesterov": ("momentum", {"momentum": 0.9, "nesterov": True, "decay": 0.01}),
    "adam": ("adam", ADAM),
    "adam with decay": ("adam", ADAM | {"decay": 0.01}),
    "adamw": ("adamw", ADAM | {"decay": 0.7}),
    "nadam": ("nadam", ADAM | {"correction3": 0.6}),
    "nadam with decay": ("nadam", ADAM | {"correction3": 0.6, "decay": 0.01}),
    "rmsprop": ("rmsprop", {"beta2": 0.9, "epsilon": 1e-8}),
    "rmsprop with decay": ("rmsprop", {"beta2": 0.9, "epsilon": 1e-3, "decay": 0.01}),
    "adagrad": ("adagrad", {"epsilon": 1e-10}),
    "adagrad with decay": ("adagrad", {"epsilon": 1e-3, "decay": 0.01}),
    "lion": ("lion", {"beta1": 0.9, "beta2": 0.99}),
    "lion with decay": ("lion", {"beta1": 0.9, "beta2": 0.99, "decay": 0.7}),
}


@every_table
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("vectors", [1, 2, 3, 13])
def test_optimizers(isa: str, dtype: str, step: str, vectors: int, rng: np.random.Generator) -> None:
    kernels, reference = both(isa, dtype)
    name, numbers = STEPS[step]
    n = vectors * kernels.width
    eps = float(np.finfo(dtype).eps)
    g, p, first = (rng.standard_normal(n).astype(dtype) for _ in range(3))
    second = rng.uniform(0, 1, n).astype(dtype)
    slots = {"sgd": [], "momentum": [first], "lion": [first], "rmsprop": [second], "adagrad": [second]}
    slots = slots.get(name, [first, second])
    results = []
    for table in (kernels, reference):
        state = [np.append(x, np.full(5, SENTINEL, dtype)) for x in (p, *slots)]
        table.update(OPTIMIZERS.index(name), g, *(x[:n] for x in state), rate=0.01, **numbers)
        assert all((x[n:] == SENTINEL).all() for x in state)
        results.append(state)
    for got, want in zip(*results, strict=True):
        np.testing.assert_allclose(got, want, rtol=8 * eps, atol=8 * eps)


@every_table
def test_adam_with_gradients_of_every_size(isa: str, dtype: str, rng: np.random.Generator) -> None:
    """A gradient whose square is infinite makes a step of 0, one whose square vanishes a step of rate * m / epsilon."""
    kernels, reference = both(isa, dtype)
    eps, info = float(np.finfo(dtype).eps), np.finfo(dtype)
    sizes = np.linspace(np.log2(float(info.tiny)) * 0.49, np.log2(float(info.max)) - 3, 64 * kernels.width)
    g = (2.0**sizes * rng.choice([-1, 1], sizes.size)).astype(dtype)
    results = []
    for table in (kernels, reference):
        state = [np.zeros(g.size, dtype) for _ in range(3)]
        table.update(OPTIMIZERS.index("adam"), g, *state, rate=1.0, **ADAM)
        results.append(state)
    (p, m, v), (p_want, m_want, v_want) = results
    np.testing.assert_allclose(m, m_want, rtol=4 * eps)
    np.testing.assert_allclose(v, v_want, rtol=8 * eps)
    np.testing.assert_allclose(p, p_want, rtol=16 * eps)


@every_table
def test_an_optimizer_leaves_the_zero_padding_zero(isa: str, dtype: str) -> None:
    kernels, _ = both(isa, dtype)
    for name, numbers in STEPS.values():
        zeros = [np.zeros(kernels.width, dtype) for _ in range(4)]
        kernels.update(OPTIMIZERS.index(name), *zeros, rate=0.1, **(numbers | {"epsilon": 1e-300}))
        assert all((x == 0).all() for x in zeros)


@every_table
def test_lion_steps_by_the_sign_alone_and_nan_stays(isa: str, dtype: str) -> None:
    kernels, _ = both(isa, dtype)
    info = np.finfo(dtype)
    values = [0.0, -0.0, float(info.tiny) * 16, -float(info.tiny) * 16, float(info.max), -float(info.max), np.nan, 1.0]
    g = np.array(values * 2, dtype)
    p, m = np.full(g.size, 3, dtype), np.zeros(g.size, dtype)
    kernels.update(OPTIMIZERS.index("lion"), g, p, m, rate=0.25, beta1=0.5, beta2=0.5)
    np.testing.assert_array_equal(p, np.array([3, 3, 2.75, 3.25, 2.75, 3.25, np.nan, 2.75] * 2, dtype))


@every_table
@pytest.mark.parametrize("step", STEPS)
def test_the_step_does_not_depend_on_how_a_buffer_is_cut(
    isa: str, dtype: str, step: str, rng: np.random.Generator
) -> None:
    kernels, _ = both(isa, dtype)
    w = kernels.width
    g, p, m, v = (rng.uniform(0, 1, 5 * w).astype(dtype) for _ in range(4))
    whole, pieces = [p.copy(), m.copy(), v.copy()], [p.copy(), m.copy(), v.copy()]
    name, numbers = STEPS[step]
    kernels.update(OPTIMIZERS.index(name), g, *whole, rate=0.1, **numbers)
    for a, b in ((0, w), (w, 4 * w), (4 * w, 5 * w)):
        kernels.update(OPTIMIZERS.index(name), g[a:b], *(x[a:b] for x in pieces), rate=0.1, **numbers)
    assert whole[0].tobytes() != p.tobytes()
    for a, b in zip(whole, pieces, strict=True):
        assert a.tobytes() == b.tobytes()


@every_table
def test_fma_peak_counts_its_work(isa: str, dtype: str) -> None:
    kernels, _ = both(isa, dtype)
    assert kernels.fma_peak(10) == 10 * 12 * kernels.width * 2
