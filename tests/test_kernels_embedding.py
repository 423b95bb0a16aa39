"""The kernels of tables with categories, per ISA against the naive reference: they copy and add, so equal bits."""

from __future__ import annotations

import numpy as np
import pytest
from kernel_layout import both, every_table, from_panels, panel_starts, to_panels, to_weights

ROWS, R0, R1 = 23, 3, 19


def codes_of(rng: np.random.Generator, n: int, codes: int, dtype: str) -> np.ndarray:
    x = rng.standard_normal((ROWS, n)).astype(dtype)
    x[:, n // 2] = rng.integers(0, codes, ROWS)
    return x


@every_table
def test_columns_are_passed_on(isa: str, dtype: str, rng: np.random.Generator) -> None:
    kernels, reference = both(isa, dtype)
    for n, out_n in ((1, 1), (5, 9), (kernels.width * 2 + 3, kernels.width + 1), (40, 2 * kernels.width)):
        x = rng.standard_normal((ROWS, n)).astype(dtype)
        copied = np.flatnonzero(np.arange(n) % 3 != 1)[:out_n].astype(np.int64)
        filled = to_panels(np.full((ROWS, out_n), 7, dtype), kernels.width, fill=7)
        got, want = filled.copy(), filled.copy()
        kernels.columns(to_panels(x, kernels.width), got, out_n, copied, R0, R1)
        reference.columns(to_panels(x, kernels.width), want, out_n, copied, R0, R1)
        np.testing.assert_array_equal(got, want)
        np.testing.assert_array_equal(from_panels(got, len(copied))[R0:R1], x[R0:R1, copied])
        assert (got[:, :R0] == 7).all() and (got[:, R1:] == 7).all()
        assert not got[-1, R0:R1, out_n % (2 * kernels.width) or 2 * kernels.width :].any()


@every_table
@pytest.mark.parametrize("codes", [1, 2, 70])
def test_rows_of_the_table_and_their_gradient(isa: str, dtype: str, codes: int, rng: np.random.Generator) -> None:
    kernels, reference = both(isa, dtype)
    width = kernels.width
    for dim in (1, 3, width, width + 1, 2 * width, 2 * width + 1, 5 * width - 1):
        for offset in (0, 1, width - 1, 2 * width - 1, 2 * width, 3 * width + 2):
            x = codes_of(rng, 4, codes, dtype)
            table = rng.standard_normal((codes, dim)).astype(dtype)
            n_out = offset + dim + 2
            filled = to_panels(rng.standard_normal((ROWS, n_out)).astype(dtype), width)
            got, want = filled.copy(), filled.copy()
            common = (to_panels(x, width), 2, to_weights(table, width), codes, dim)
            kernels.embedding(*common, got, offset, R0, R1)
            reference.embedding(*common, want, offset, R0, R1)
            np.testing.assert_array_equal(got, want)
            right = from_panels(filled, n_out)
            right[R0:R1, offset : offset + dim] = table[x[R0:R1, 2].astype(int)]
            np.testing.assert_array_equal(from_panels(got, n_out), right)
            for panel, (start, end, stored) in enumerate(panel_starts(dim, width)):
                for k0, k1 in ((0, codes), (codes // 2, codes)):
                    got, want = np.full((2, k1 - k0, stored), 7, dtype)
                    kernels.embedding(*common, filled, offset, k0, ROWS, panel=panel, dst=got)
                    reference.embedding(*common, filled, offset, k0, ROWS, panel=panel, dst=want)
                    tolerance = ROWS * float(np.finfo(dtype).eps)
                    np.testing.assert_allclose(got, want, rtol=tolerance, atol=10 * tolerance)
                    sums = np.zeros((codes, dim))
                    np.add.at(sums, x[:, 2].astype(int), from_panels(filled, n_out)[:, offset : offset + dim])
                    np.testing.assert_allclose(got[:, : end - start], sums[k0:k1, start:end], rtol=1e-3, atol=1e-4)
                    assert not got[:, end - start :].any()


@every_table
def test_a_code_out_of_range_reads_nothing_outside_the_table(isa: str, dtype: str) -> None:
    kernels, _ = both(isa, dtype)
    x = np.array([[-1], [2], [np.nan], [np.inf], [-np.inf], [1e30]], dtype)
    table = np.array([[1], [2]], dtype)
    out = np.zeros((1, 6, 2 * kernels.width), dtype)
    kernels.embedding(to_panels(x, kernels.width), 0, to_weights(table, kernels.width), 2, 1, out, 0, 0, 6)
    np.testing.assert_array_equal(out[0, :, 0], 1)
