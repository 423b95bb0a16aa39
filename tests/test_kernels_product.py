"""The products that go row by row through a layer: forward and backward, per ISA against the naive reference."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from kernel_layout import (
    ACTIVATIONS,
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

RUBBISH = 3.5  # what columns past the last may hold


class Layer:
    """Random operands of forward and backward for `rows` rows, as matrices and as panels."""

    def __init__(self, width: int, dtype: str, rows: int, k: int, n: int, rng: np.random.Generator) -> None:
        self.width, self.dtype, self.rows, self.k, self.n = width, dtype, rows, k, n
        self.a = rng.standard_normal((rows, k)).astype(dtype)
        self.w = rng.standard_normal((k + 1, n)).astype(dtype)
        self.outputs = rng.uniform(-1, 1, (rows, n)).astype(dtype)

    def out(self) -> np.ndarray:
        return to_panels(np.full((self.rows, self.n), SENTINEL, self.dtype), self.width, SENTINEL)

    def forward(
        self, table: _core.Kernels, r0: int, r1: int, activation: int, out: np.ndarray | None = None
    ) -> np.ndarray:
        out = self.out() if out is None else out
        a = to_panels(self.a, self.width, RUBBISH)
        table.forward(a, to_weights(self.w, self.width), out, self.k, self.n, r0, r1, activation, 0.3)
        return out

    def backward(
        self, table: _core.Kernels, r0: int, r1: int, activation: int, out: np.ndarray | None = None
    ) -> np.ndarray:
        out = self.out() if out is None else out
        d, outputs = to_panels(self.a, self.width, RUBBISH), to_panels(self.outputs, self.width, 0.5)
        wt = to_weights(self.w[: self.k], self.width)
        table.backward(d, wt, outputs, out, self.k, self.n, r0, r1, activation, 0.3)
        return out

    def bound(self) -> np.ndarray:
        """Return how far k + 1 rounded multiply-adds, each rounded twice, may be off; slopes are at most 1."""
        a = np.append(np.abs(self.a).astype(float), np.ones((self.rows, 1)), axis=1)
        return (2 * self.k + 8) * float(np.finfo(self.dtype).eps) * (a @ np.abs(self.w).astype(float) + 1)

    def check(self, table: _core.Kernels, reference: _core.Kernels, r0: int, r1: int, activation: int) -> None:
        for name in ("forward", "backward"):
            got, want = (
                getattr(self, name)(table, r0, r1, activation),
                getattr(self, name)(reference, r0, r1, activation),
            )
            error = np.abs(from_panels(got, self.n).astype(float) - from_panels(want, self.n))[r0:r1]
            shape = f"{name} of {self.rows} x {self.k} x {self.n}, rows {r0}..{r1}, {ACTIVATIONS[activation]}"
            assert (error <= self.bound()[r0:r1]).all(), shape
            for panels in (got, want):
                assert (outside(panels, self.n, self.width, r0, r1) == SENTINEL).all(), shape
            assert np.isfinite(got).all(), shape


@every_table
def test_every_number_of_rows(isa: str, dtype: str, rng: np.random.Generator) -> None:
    kernels, reference = both(isa, dtype)
    w = kernels.width
    for rows in range(1, 31):
        for n in (w, 2 * w, 3 * w + 1):
            Layer(w, dtype, rows, 5, n, rng).check(kernels, reference, 0, rows, 4)


@every_table
@pytest.mark.parametrize("activation", range(len(ACTIVATIONS)), ids=ACTIVATIONS)
def test_columns_and_depths_around_the_panels(isa: str, dtype: str, activation: int, rng: np.random.Generator) -> None:
    kernels, reference = both(isa, dtype)
    if ACTIVATIONS[activation] in ("step", "exponential"):
        return  # the one jumps where the sum is about 0, see test_step; the other has slopes above 1
    for n in columns_around(kernels.width):
        for k in (1, kernels.width, 2 * kernels.width + 1, 97):
            Layer(kernels.width, dtype, 16, k, n, rng).check(kernels, reference, 1, 15, activation)


@every_table
def test_step(isa: str, dtype: str, rng: np.random.Generator) -> None:
    kernels, reference = both(isa, dtype)
    layer = Layer(kernels.width, dtype, 17, 7, 33, rng)
    layer.a, layer.w = np.round(layer.a * 4), np.round(layer.w * 4)  # sums are exact
    for name in ("forward", "backward"):
        got, want = (from_panels(getattr(layer, name)(table, 0, 17, 1), 33) for table in (kernels, reference))
        np.testing.assert_array_equal(got, want)


@every_table
def test_row_ranges(isa: str, dtype: str, rng: np.random.Generator) -> None:
    kernels, reference = both(isa, dtype)
    layer = Layer(kernels.width, dtype, 33, 33, 2 * kernels.width + 3, rng)
    for r0, r1 in ((0, 33), (0, 1), (32, 33), (5, 20), (7, 31), (13, 27), (9, 9)):
        layer.check(kernels, reference, r0, r1, 0)


@every_table
@pytest.mark.parametrize("activation", range(len(ACTIVATIONS)), ids=ACTIVATIONS)
def test_a_row_has_the_same_bits_however_the_rows_are_cut(
    isa: str, dtype: str, activation: int, rng: np.random.Generator
) -> None:
    kernels, _ = both(isa, dtype)
    for n in (1, kernels.width + 1, 3 * kernels.width):
        layer = Layer(kernels.width, dtype, 40, 97, n, rng)
        for run in (layer.forward, layer.backward):
            whole = run(kernels, 0, 40, activation)
            for cuts in (range(41), (0, 1, 14, 15, 40), (0, 6, 12, 18, 40), (0, 23, 40)):
                pieces = layer.out()
                for r0, r1 in itertools.pairwise(cuts):
                    run(kernels, r0, r1, activation, pieces)
                assert from_panels(pieces, n).tobytes() == from_panels(whole, n).tobytes()


@every_table
@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("activation", ["identity", "sigmoid", "tanh", "relu", "leaky_relu"])
def test_a_bad_row_stays_alone(isa: str, dtype: str, activation: str, value: float, rng: np.random.Generator) -> None:
    kernels, _ = both(isa, dtype)
    index = ACTIVATIONS.index(activation)
    for n in columns_around(kernels.width):
        layer = Layer(kernels.width, dtype, 20, 9, n, rng)
        for run in (layer.forward, layer.backward):
            clean = from_panels(run(kernels, 0, 20, index), n)
            good = layer.a[11, 4]
            layer.a[11, 4] = value
            got = from_panels(run(kernels, 0, 20, index), n)
            layer.a[11, 4] = good
            if np.isnan(value) and run == layer.forward:
                assert np.isnan(got[11]).all()  # relu(NaN) is NaN
            clean[11] = got[11] = 0
            assert clean.tobytes() == got.tobytes()


@every_table
def test_a_dead_relu_passes_no_gradient_and_zero_has_slope_zero(isa: str, dtype: str, rng: np.random.Generator) -> None:
    kernels, _ = both(isa, dtype)
    layer = Layer(kernels.width, dtype, 15, 8, 19, rng)
    layer.outputs[:, ::2] = 0
    layer.outputs[:, 1::2] = 1
    got = from_panels(layer.backward(kernels, 0, 15, ACTIVATIONS.index("relu")), 19)
    assert (got[:, ::2] == 0).all()
    assert (got[:, 1::2] != 0).all()


@every_table
def test_the_padding_stays_zero(isa: str, dtype: str, rng: np.random.Generator) -> None:
    """Zero weights past the last column make deltas of zero there, which make gradients of zero there."""
    kernels, _ = both(isa, dtype)
    w = kernels.width
    for activation in range(6):
        layer = Layer(w, dtype, 9, 5, w + 1, rng)
        out = layer.backward(kernels, 0, 9, activation)
        assert (out[0, :, w + 1 :] == 0).all()
