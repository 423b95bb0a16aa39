"""Rows into panels and back, the check for NaN and infinity, the transposed weights."""

from __future__ import annotations

import numpy as np
import pytest
from kernel_layout import (
    SENTINEL,
    _core,
    both,
    columns_around,
    every_table,
    from_panels,
    from_weights,
    outside,
    panel_starts,
    to_panels,
    to_weights,
)

RANGES = [(0, 1), (0, 9), (3, 4), (2, 8), (5, 5)]  # of 9 rows


@pytest.mark.parametrize("n", [1, 4, 5, 8, 9, 12, 13, 16])
def test_panels_and_weights_come_back(n: int, rng: np.random.Generator) -> None:
    matrix = rng.standard_normal((6, n))
    np.testing.assert_array_equal(from_panels(to_panels(matrix, 4, SENTINEL), n), matrix)
    np.testing.assert_array_equal(from_weights(to_weights(matrix, 4), 6, n, 4), matrix)
    assert to_weights(matrix, 4).size == 6 * -(-n // 4) * 4


def test_refusals() -> None:
    with pytest.raises(ValueError, match="lacks"):
        _core.Kernels("sse9", "float32")
    with pytest.raises(ValueError, match="dtype"):
        _core.Kernels("baseline", "float16")
    with pytest.raises(ValueError, match="width"):
        _core.Kernels("reference", "float32")
    with pytest.raises(TypeError, match="bytes"):
        _core.Kernels("reference", "float32", width=4).finite(np.zeros(4))


@every_table
@pytest.mark.parametrize("ordered", [False, True])
@pytest.mark.parametrize(("r0", "r1"), RANGES)
def test_gather_and_scatter(isa: str, dtype: str, r0: int, r1: int, ordered: bool, rng: np.random.Generator) -> None:
    for table in both(isa, dtype):
        w = table.width
        for n in columns_around(w):
            for extra in (0, 3):  # a stride wider than the columns
                x = rng.standard_normal((20, n + extra)).astype(dtype)
                order = rng.permutation(20).astype(np.uint32) if ordered else None
                source = (np.arange(20) if order is None else order)[4 + r0 : 4 + r1]
                panels = to_panels(np.full((9, n), SENTINEL, dtype), w, SENTINEL)
                assert table.gather(x, panels, n, r0, r1, order, 4) == -1
                np.testing.assert_array_equal(from_panels(panels, n)[r0:r1], x[source, :n])
                assert (outside(panels, n, w, r0, r1) == SENTINEL).all()
                assert np.isfinite(panels).all()

                back = np.full_like(x, SENTINEL)
                table.scatter(panels, back, n, r0, r1, order, 4)
                np.testing.assert_array_equal(back[source, :n], x[source, :n])
                back[source, :n] = SENTINEL
                assert (back == SENTINEL).all()


@every_table
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_gather_finds_the_first_bad_row(isa: str, dtype: str, value: float, rng: np.random.Generator) -> None:
    for table in both(isa, dtype):
        for n in columns_around(table.width):
            panels = to_panels(np.zeros((9, n), dtype), table.width)
            for column in {0, n // 2, n - 1}:
                x = rng.standard_normal((9, n)).astype(dtype)
                x[[2, 5, 6], column] = value
                assert table.gather(x, panels, n, 0, 9) == 2
                assert table.gather(x, panels, n, 3, 9) == 5
                assert table.gather(x, panels, n, 7, 9) == -1
                assert table.gather(x, panels, n, 0, 9, np.arange(9, dtype=np.uint32)[::-1].copy()) == 2


@every_table
def test_gather_takes_the_largest_numbers_and_stays_within_its_row(isa: str, dtype: str) -> None:
    """Opposite infinities must not cancel; what lies past the columns (here NaN) is not looked at."""
    for table in both(isa, dtype):
        for n in columns_around(table.width):
            x = np.full((3, n + 1), np.nan, dtype)
            x[:, :n] = np.finfo(dtype).max
            panels = to_panels(np.zeros((3, n), dtype), table.width)
            assert table.gather(x, panels, n, 0, 3) == -1
            x[1, 0] = np.inf
            x[1, n - 1] = -np.inf
            assert table.gather(x, panels, n, 0, 3) == 1


@every_table
def test_finite(isa: str, dtype: str, rng: np.random.Generator) -> None:
    for table in both(isa, dtype):
        for n in (1, 2, 7, 16, 33, 97):
            x = rng.uniform(-1, 1, n).astype(dtype) * np.finfo(dtype).max
            beyond = np.append(x, np.array([np.nan], dtype))
            assert table.finite(beyond[:n])
            for i in (0, n // 2, n - 1):
                for value in (np.nan, np.inf, -np.inf):
                    bad = x.copy()
                    bad[i] = value
                    assert not table.finite(bad)


@every_table
def test_transpose(isa: str, dtype: str, rng: np.random.Generator) -> None:
    for table in both(isa, dtype):
        w = table.width
        for k in columns_around(w):
            for n in columns_around(w):
                matrix = rng.standard_normal((k + 1, n)).astype(dtype)
                weights = to_weights(matrix, w)
                want = to_weights(np.ascontiguousarray(matrix[:k].T), w)
                wt = np.append(np.zeros_like(want), np.full(2 * w, SENTINEL, dtype))
                for panel, _ in enumerate(panel_starts(n, w)):
                    table.transpose(weights, wt, k, n, panel, 0, k)
                np.testing.assert_array_equal(wt[: want.size], want, err_msg=f"{k} x {n}")  # padding stays 0
                assert (wt[want.size :] == SENTINEL).all()


@every_table
def test_transpose_of_a_range_leaves_the_rest_alone(isa: str, dtype: str, rng: np.random.Generator) -> None:
    for table in both(isa, dtype):
        w = table.width
        for k, n in ((2 * w + 3, 3 * w + 1), (3 * w, w), (w + 1, 2 * w - 1)):
            matrix = rng.standard_normal((k + 1, n)).astype(dtype)
            for k0, k1 in ((0, 1), (1, w + 1), (w - 1, k), (k - 1, k), (0, w), (2, 2)):
                for panel, (start, end, _) in enumerate(panel_starts(n, w)):
                    wt = to_weights(np.full((n, k), SENTINEL, dtype), w)
                    table.transpose(to_weights(matrix, w), wt, k, n, panel, k0, k1)
                    want = np.full((n, k), SENTINEL, dtype)
                    want[start:end, k0:k1] = matrix[k0:k1, start:end].T
                    np.testing.assert_array_equal(wt, to_weights(want, w))
