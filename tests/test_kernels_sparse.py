"""The kernels of sparse inputs, per ISA: against the naive reference, and bit by bit against those of dense rows."""

from __future__ import annotations

import numpy as np
import pytest
from kernel_layout import (
    ACTIVATIONS,
    KEEPING,
    OPTIMIZERS,
    both,
    columns_around,
    every_table,
    from_panels,
    panel_starts,
    to_panels,
    to_weights,
)

ROWS, R0, R1 = 23, 3, 19


class Entries:
    """Rows of a matrix with zeros, as CSR and as the entries that the kernels work on; rows 5 and R1 - 1 are empty."""

    def __init__(self, rng: np.random.Generator, k: int, dtype: str, wide: bool = False) -> None:
        self.dense = np.where(rng.random((ROWS, k)) < 0.3, rng.standard_normal((ROWS, k)), 0).astype(dtype)
        self.dense[[5, R1 - 1]] = 0
        rows, columns = np.nonzero(self.dense)
        index = np.int64 if wide else np.int32
        self.starts = np.concatenate([[0], np.cumsum(np.count_nonzero(self.dense, axis=1))]).astype(index)
        self.columns, self.values = columns.astype(index), self.dense[rows, columns]
        lengths = np.diff(self.starts).astype(np.int64)
        self.end = np.cumsum(lengths)
        self.begin = self.end - lengths
        self.entries = columns.astype(np.int32), rows.astype(np.int32), self.values


@every_table
@pytest.mark.parametrize("wide", [False, True])
def test_gather_takes_rows_by_their_order(isa: str, dtype: str, wide: bool, rng: np.random.Generator) -> None:
    for k in (1, 7, 50):
        x = Entries(rng, k, dtype, wide)
        order = rng.permutation(ROWS).astype(np.uint32)
        lengths = np.diff(x.starts).astype(np.int64)[order[2 : 2 + R1]]
        end = np.cumsum(lengths)
        found = []
        for kernels in both(isa, dtype):
            to = np.full(end[-1], 7, np.int32), np.full(end[-1], 7, np.int32), np.full(end[-1], 7, dtype)
            csr = x.starts, x.columns, x.values
            assert kernels.sparse_gather(*csr, end - lengths, end, *to, k, R0, R1, order=order, first=2) == -1
            found.append(to)
            for at in range(R1):
                row = slice(*x.starts[order[2 + at] : order[2 + at] + 2])
                part = slice(end[at] - lengths[at], end[at])
                if at < R0:
                    assert all((array[part] == 7).all() for array in to)
                else:
                    np.testing.assert_array_equal(to[0][part], x.columns[row])
                    np.testing.assert_array_equal(to[2][part], x.values[row])
                    assert (to[1][part] == at).all()
        for got, want in zip(*found, strict=True):
            np.testing.assert_array_equal(got, want)


@every_table
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_gather_finds_the_first_row_that_is_not_finite(
    isa: str, dtype: str, value: float, rng: np.random.Generator
) -> None:
    x = Entries(rng, 37, dtype)
    for row in (R0, 11, R1 - 2):
        values = x.values.copy()
        values[x.end[row] - 1] = values[x.begin[15]] = value
        for kernels in both(isa, dtype):
            to = np.zeros(len(values), np.int32), np.zeros(len(values), np.int32), np.zeros_like(values)
            bad = kernels.sparse_gather(x.starts, x.columns, values, x.begin, x.end, *to, 37, R0, R1)
            assert bad == min(row, 15)


@every_table
@pytest.mark.parametrize("wide", [False, True])
def test_what_lies_outside_the_arrays_is_not_read(isa: str, dtype: str, wide: bool) -> None:
    index = np.int64 if wide else np.int32
    columns, values = np.array([0, -1, 3, 2, 1], index), np.arange(1, 6).astype(dtype)
    for starts, right in (
        ([0, 3, 5], [[1, 0, 0], [0, 5, 4]]),  # columns -1 and 3 are left out
        ([0, 3, 50], [[1, 0, 0], [0, 5, 4]]),  # the last start is not read: how many there are says `end`
        ([0, 4, 6], [[1, 0, 0], [0, 0, 0]]),  # 4 .. 6 is not in the arrays
        ([-1, 3, 5], [[0, 0, 0], [0, 5, 4]]),
    ):
        for kernels in both(isa, dtype):
            to = np.full(5, 7, np.int32), np.full(5, 7, np.int32), np.full(5, 7, dtype)
            begin, end = np.array([0, 3]), np.array([3, 5])
            assert kernels.sparse_gather(np.array(starts, index), columns, values, begin, end, *to, 3, 0, 2) == -1
            dense = np.zeros((2, 3))
            np.add.at(dense, (to[1], to[0]), to[2])
            np.testing.assert_array_equal(dense, right, err_msg=f"{kernels.isa}, starts {starts}")


@every_table
def test_forward_is_that_of_dense_rows(isa: str, dtype: str, rng: np.random.Generator) -> None:
    kernels, reference = both(isa, dtype)
    width = kernels.width
    x = Entries(rng, 45, dtype)
    for n in [*columns_around(width), 8 * width, 9 * width + 1, 14 * width]:
        w = to_weights(rng.standard_normal((46, n)).astype(dtype), width)
        for activation in (0, ACTIVATIONS.index("relu"), ACTIVATIONS.index("tanh"), ACTIVATIONS.index(KEEPING[0])):
            keeps = ACTIVATIONS[activation] in KEEPING
            found = []
            for table, dense in ((kernels, False), (reference, False), (kernels, True)):
                out = to_panels(np.full((ROWS, n), 7, dtype), width, fill=7)
                slopes = out.copy() if keeps else None
                common = (w, out, 45, n, R0, R1)
                if dense:
                    table.forward(to_panels(x.dense, width), *common, activation=activation, slopes=slopes)
                else:
                    table.sparse_forward(x.begin, x.end, *x.entries, *common, activation=activation, slopes=slopes)
                found.append([from_panels(array, n) for array in (out, slopes) if array is not None])
            for got, want, same in zip(*found, strict=True):
                np.testing.assert_array_equal(got, same, err_msg=f"{n} columns, {ACTIVATIONS[activation]}")
                np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4 if dtype == "float32" else 1e-12)
                assert (got[:R0] == 7).all() and (got[R1:] == 7).all()


@every_table
def test_the_gradient_is_that_of_dense_rows(isa: str, dtype: str, rng: np.random.Generator) -> None:
    kernels, reference = both(isa, dtype)
    width = kernels.width
    x = Entries(rng, 45, dtype)
    n_entries = len(x.values)
    for n in columns_around(width):
        d = to_panels(rng.standard_normal((ROWS, n)).astype(dtype), width)
        for panel, (_, _, stored) in enumerate(panel_starts(n, width)):
            for k0, k1 in ((0, 45), (16, 33)):
                got, want, same = np.zeros((3, k1 - k0, stored), dtype)
                kernels.sparse_outer(*x.entries, d, got, 45, n, 0, n_entries, panel, k0, k1)
                reference.sparse_outer(*x.entries, d, want, 45, n, 0, n_entries, panel, k0, k1)
                kernels.outer(to_panels(x.dense, width), d, same, 45, n, 0, ROWS, panel, k0, k1)
                np.testing.assert_array_equal(got, same, err_msg=f"{n} columns, rows {k0} to {k1}")
                np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4 if dtype == "float32" else 1e-12)
                once = got.copy()  # what is there is added to, and other entries are left out
                kernels.sparse_outer(*x.entries, d, got, 45, n, n_entries, n_entries, panel, k0, k1)
                np.testing.assert_array_equal(got, once)


@every_table
@pytest.mark.parametrize("optimizer", ["momentum", "adam", "rmsprop", "lion"])
def test_idle_is_that_many_steps_without_a_gradient(
    isa: str, dtype: str, optimizer: str, rng: np.random.Generator
) -> None:
    kernels, reference = both(isa, dtype)
    settings = {"momentum": 0.9, "beta1": 0.8, "beta2": 0.95}
    code, two = OPTIMIZERS.index(optimizer), optimizer == "adam"
    for vectors in (1, 2, 3, 8, 13):
        n = vectors * kernels.width
        slots = [np.abs(rng.standard_normal(n)).astype(dtype), np.zeros(n, dtype)]
        slots[0][n // 2] = 0
        if two:
            slots[1][:] = np.abs(rng.standard_normal(n))
        found = []
        for table in (kernels, reference, None):
            s0, s1 = (slot.copy() for slot in slots)
            if table is not None:
                table.idle(code, 7, n, s0, s1 if two else None, **settings)
            for _ in range(7 if table is None else 0):
                zero, p = np.zeros(n, dtype), np.ones(n, dtype)
                kernels.update(code, zero, p, s0, s1 if two else None, rate=0.1, epsilon=1e-8, **settings)
            found.append((s0, s1))
        for got, want, steps in zip(*found, strict=True):
            np.testing.assert_array_equal(got, steps, err_msg=f"{vectors} vectors")
            np.testing.assert_allclose(got, want, rtol=1e-5 if dtype == "float32" else 1e-13)
