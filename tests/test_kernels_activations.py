"""The activations made of exp and of the normal distribution: errors, slopes, panels, per ISA against the reference.

What all activations have in common is in test_kernels_elementwise.py and test_kernels_product.py.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from kernel_layout import (
    ACTIVATIONS,
    KEEPING,
    SENTINEL,
    _core,
    both,
    columns_around,
    every_table,
    from_panels,
    outside,
    to_panels,
    to_weights,
)

POINTS = 100_000
# Largest error of the value in units of the last place, rounding of the true value to the type included. gelu_tanh's
# argument of exp is a product, whose rounding exp magnifies: its bound is for z > -1, below it grows as that argument.
ULP = {
    "elu": 2.0,
    "selu": 2.0,
    "softplus": 2.6,
    "exponential": 1.1,
    "hard_sigmoid": 1.5,
    "hard_tanh": 0.0,
    "gelu": 2.0,
    "gelu_tanh": 6.0,
    "silu": 3.1,
    "mish": 4.1,
    "hard_silu": 2.5,
}
SLOPE = 2.0  # largest error of the slope in units of the last place of 1


def double_reference() -> _core.Kernels:
    return _core.Kernels("reference", "float64", width=8)


def points(name: str, dtype: str, rng: np.random.Generator) -> np.ndarray:
    """Return z from end to end of where the value is a normal number, dense near 0 and of every size there."""
    info = np.finfo(dtype)
    if name in ("softplus", "exponential", "silu", "mish"):
        end = 1.1 * -np.log(float(info.tiny))
    else:
        end = 1.2 * np.sqrt(-2 * np.log(float(info.tiny)))
    if name == "gelu_tanh":
        end = 1.0
    small = np.exp(rng.uniform(np.log(float(info.tiny)), 0, POINTS))
    return np.concatenate([rng.uniform(-end, end, 2 * POINTS), rng.uniform(-3, 3, POINTS), small, -small]).astype(dtype)


@every_table
@pytest.mark.parametrize("name", ULP)
def test_errors_over_the_whole_range(isa: str, dtype: str, name: str, rng: np.random.Generator) -> None:
    kernels, index = _core.Kernels(isa, dtype), ACTIVATIONS.index(name)
    z = points(name, dtype, rng)
    if name == "gelu_tanh":
        z = z[z > -1]
    true, slope = z.astype(np.float64), np.zeros(z.size)  # the reference computes in long double
    if name in KEEPING:
        double_reference().activate_keeping(index, true, slope)
    else:
        double_reference().activate(index, true, 1.0)
    got, found = z.copy(), np.zeros_like(z)
    kernels.activate(index, got, 1.0)
    normal = (np.abs(true) >= np.finfo(dtype).tiny) & (np.abs(true) <= np.finfo(dtype).max)
    spacing = np.spacing(np.abs(true[normal]).astype(dtype)).astype(np.float64)
    error = np.abs(got[normal] - true[normal]) / spacing
    at = int(np.argmax(error))
    bound = ULP[name] + (dtype == "float64") + 2.5 * (isa == "baseline" and name == "gelu")
    print(f"{name} {isa} {dtype}: {error[at]:.3f} ulp at {z[normal][at]!r}")
    assert error[at] <= bound, f"{name}({z[normal][at]!r}) = {got[normal][at]!r}"
    if name in KEEPING:
        again = z.copy()
        kernels.activate_keeping(index, again, found)
        assert again.tobytes() == got.tobytes()  # the value does not depend on whether the slope is wanted
        error = np.abs(found - slope) / np.finfo(dtype).eps
        at = int(np.argmax(error))
        assert error[at] <= SLOPE + (dtype == "float64"), f"{name}'({z[at]!r}) = {found[at]!r}"


@every_table
def test_the_tail_of_gelu_tanh_follows_its_argument(isa: str, dtype: str, rng: np.random.Generator) -> None:
    kernels, index = _core.Kernels(isa, dtype), ACTIVATIONS.index("gelu_tanh")
    z = rng.uniform(-9, -1, POINTS).astype(dtype)
    got, true = z.copy(), z.astype(np.float64)
    kernels.activate(index, got)
    double_reference().activate(index, true)
    wide = z.astype(np.float64)
    argument = 1.5957691216057308 * np.abs(wide + 0.044715 * wide**3)
    error = np.abs(got - true) / np.abs(true) / np.finfo(dtype).eps
    assert (error <= 4 + 3 * argument).all()


@every_table
@pytest.mark.parametrize("name", KEEPING)
def test_slopes_of_special_values(isa: str, dtype: str, name: str) -> None:
    kernels, reference = both(isa, dtype)
    huge, tiny = float(np.finfo(dtype).max), float(np.finfo(dtype).tiny)
    z = np.array([np.inf, huge, 1e4, -np.inf, -huge, -1e4, np.nan, 0.0, -0.0, tiny, -tiny, -3.0, 3.0], dtype)
    slope, value = np.zeros_like(z), z.copy()
    kernels.activate_keeping(ACTIVATIONS.index(name), value, slope)
    want = np.zeros_like(z)
    reference.activate_keeping(ACTIVATIONS.index(name), z.copy(), want)
    half = 0.6 if name == "mish" else 0.5
    np.testing.assert_array_equal(slope[:7], np.array([1, 1, 1, 0, 0, 0, np.nan], dtype))
    np.testing.assert_allclose(slope[7:11], half, rtol=1e-6)
    np.testing.assert_allclose(slope, want, rtol=1e-5, atol=1e-7)
    np.testing.assert_array_equal(value[:8], np.array([np.inf, huge, 1e4, 0, 0, 0, np.nan, 0], dtype))
    if name == "hard_silu":
        np.testing.assert_allclose(slope[11:], [0.0, 1.5], rtol=1e-6)  # from the left


@every_table
def test_kinks_seen_from_the_output(isa: str, dtype: str) -> None:
    kernels, _ = both(isa, dtype)
    cases = {
        "elu": ([0.0, -0.0, 1.0, -0.25], [0.5, 0.5, 1.0, 0.25]),  # alpha = 0.5
        "selu": ([0.0, 1.0], [1.7580993408473766, 1.0507009873554805]),
        "hard_sigmoid": ([0.0, 1.0, 0.5], [0.0, 0.0, 1 / 6]),
        "hard_tanh": ([-1.0, 1.0, 0.5], [0.0, 0.0, 1.0]),
        "softplus": ([0.0, np.inf, np.log(2)], [0.0, 1.0, 0.5]),
        "exponential": ([0.0, 2.0], [0.0, 2.0]),
    }
    for name, (outputs, slopes) in cases.items():
        d = np.full(len(outputs), 4, dtype)
        kernels.scale_by_derivative(ACTIVATIONS.index(name), np.array(outputs, dtype), d, 0.5)
        np.testing.assert_allclose(d, 4 * np.array(slopes), rtol=1e-6, err_msg=name)


@every_table
@pytest.mark.parametrize("name", KEEPING)
def test_forward_with_slopes(isa: str, dtype: str, name: str, rng: np.random.Generator) -> None:
    kernels, reference = both(isa, dtype)
    index, width = ACTIVATIONS.index(name), kernels.width
    for n, (rows, r0, r1) in itertools.product(columns_around(width), ((40, 0, 40), (9, 1, 8), (1, 0, 1))):
        a, w = rng.standard_normal((rows, 5)).astype(dtype), rng.standard_normal((6, n)).astype(dtype)

        def run(table: _core.Kernels, cuts: tuple[int, ...], a=a, w=w, n=n, rows=rows) -> list[np.ndarray]:
            out, slopes = (to_panels(np.full((rows, n), SENTINEL, dtype), width, SENTINEL) for _ in range(2))
            for begin, end in itertools.pairwise(cuts):
                table.forward(
                    to_panels(a, width, 3.5), to_weights(w, width), out, 5, n, begin, end, index, slopes=slopes
                )
            return [out, slopes]

        got, want, cut = run(kernels, (r0, r1)), run(reference, (r0, r1)), run(kernels, (r0, (r0 + r1) // 2, r1))
        for mine, true, pieces in zip(got, want, cut, strict=True):
            assert (outside(mine, n, width, r0, r1) == SENTINEL).all()
            assert mine.tobytes() == pieces.tobytes()
            near = from_panels(mine, n)[r0:r1], from_panels(true, n)[r0:r1]
            if name != "hard_silu" or mine is got[0]:  # whose slope jumps
                np.testing.assert_allclose(*near, rtol=0, atol=100 * np.finfo(dtype).eps)
        plain = to_panels(np.full((rows, n), SENTINEL, dtype), width, SENTINEL)
        kernels.forward(to_panels(a, width, 3.5), to_weights(w, width), plain, 5, n, r0, r1, index)
        assert from_panels(plain, n).tobytes() == from_panels(got[0], n).tobytes()


@every_table
@pytest.mark.parametrize("name", ["gelu", "hard_silu"])
def test_loss_takes_the_slopes(isa: str, dtype: str, name: str, rng: np.random.Generator) -> None:
    kernels, reference = both(isa, dtype)
    for n in columns_around(kernels.width):
        outputs, targets, slopes = rng.standard_normal((3, 13, n)).astype(dtype)
        results = []
        for table in (kernels, reference):
            delta, row_loss = to_panels(targets, kernels.width, 0.0), np.zeros(13)
            table.loss(
                to_panels(outputs, kernels.width, 0.5), delta, row_loss, n, 2, 11, 0, ACTIVATIONS.index(name), 0.1,
                slopes=to_panels(slopes, kernels.width, 0.5),
            )  # fmt: skip
            results.append((from_panels(delta, n)[2:11], row_loss[2:11]))
        (got, loss), (want, true) = results
        np.testing.assert_allclose(loss, true, rtol=1e-4)
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-7)
        np.testing.assert_allclose(got, 2 * (outputs - targets)[2:11] * slopes[2:11] * 0.1 / n, rtol=1e-3, atol=1e-6)
