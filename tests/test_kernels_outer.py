"""The gradients of weights and biases, and their partial sums."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from kernel_layout import SENTINEL, _core, both, columns_around, every_table, panel_starts, to_panels


def gradient(
    table: _core.Kernels, a: np.ndarray, d: np.ndarray, r0: int, r1: int, cuts: tuple[int, ...] | None = None
) -> list[np.ndarray]:
    """Return dW with the bias' row, one array a panel as the weights lie; rows k in pieces where there are cuts."""
    k, n = a.shape[1], d.shape[1]
    left, right = to_panels(a, table.width, 3.5), to_panels(d, table.width)
    result = []
    for panel, (_, _, stored) in enumerate(panel_starts(n, table.width)):
        dst = np.full((k + 3, stored), SENTINEL, a.dtype)
        edges = (0, k + 1) if cuts is None else cuts
        for k0, k1 in itertools.pairwise(edges):
            table.outer(left, right, dst[k0:], k, n, r0, r1, panel, k0, k1)
        assert (dst[edges[-1] :] == SENTINEL).all()
        result.append(dst[: edges[-1]])
    return result


def check(isa: str, dtype: str, rows: int, k: int, n: int, r0: int, r1: int, rng: np.random.Generator) -> None:
    kernels, reference = both(isa, dtype)
    a, d = rng.standard_normal((rows, k)).astype(dtype), rng.standard_normal((rows, n)).astype(dtype)
    with_bias = np.append(np.abs(a), np.ones((rows, 1)), axis=1)[r0:r1].astype(float)
    bound = 2 * (r1 - r0 + 1) * float(np.finfo(dtype).eps) * (with_bias.T @ np.abs(d[r0:r1]).astype(float))
    got, want = gradient(kernels, a, d, r0, r1), gradient(reference, a, d, r0, r1)
    for (start, end, _), g, t in zip(panel_starts(n, kernels.width), got, want, strict=True):
        assert (np.abs(g.astype(float) - t)[:, : end - start] <= bound[:, start:end]).all(), f"{rows} x {k} x {n}"
        assert (g[:, end - start :] == 0).all(), "a gradient past the last column"
        assert (t[:, end - start :] == 0).all()


@every_table
def test_columns_around_the_panels(isa: str, dtype: str, rng: np.random.Generator) -> None:
    columns = columns_around(both(isa, dtype)[0].width)
    for n in columns:
        for k in columns:
            check(isa, dtype, 9, k, n, 0, 9, rng)


@every_table
def test_every_number_of_rows(isa: str, dtype: str, rng: np.random.Generator) -> None:
    for rows in range(1, 31):
        check(isa, dtype, rows, 17, 19, 0, rows, rng)


@every_table
def test_row_ranges(isa: str, dtype: str, rng: np.random.Generator) -> None:
    for r0, r1 in ((0, 33), (0, 1), (32, 33), (5, 20), (7, 31), (9, 9)):
        check(isa, dtype, 33, 33, 40, r0, r1, rng)


@every_table
def test_an_element_has_the_same_bits_however_the_rows_of_dw_are_cut(
    isa: str, dtype: str, rng: np.random.Generator
) -> None:
    kernels, _ = both(isa, dtype)
    w = kernels.width
    for k in (1, 5, 2 * w, 4 * w + 3, 97):
        for n in (1, w, w + 1, 2 * w + 1):
            a, d = rng.standard_normal((21, k)).astype(dtype), rng.standard_normal((21, n)).astype(dtype)
            whole = gradient(kernels, a, d, 2, 21)
            every = tuple(range(k + 2))
            for cuts in (every, (*every[::7], k + 1), (*every[::14], k + 1), (0, k, k + 1), (0, k // 2, k + 1)):
                pieces = gradient(kernels, a, d, 2, 21, tuple(sorted(set(cuts))))
                for p, q in zip(whole, pieces, strict=True):
                    assert p.tobytes() == q.tobytes()


@every_table
def test_a_nan_delta_stays_in_its_column(isa: str, dtype: str, rng: np.random.Generator) -> None:
    kernels, _ = both(isa, dtype)
    a, d = rng.standard_normal((8, 5)).astype(dtype), rng.standard_normal((8, 7)).astype(dtype)
    d[3, 2] = np.nan
    columns = np.concatenate(gradient(kernels, a, d, 0, 8), axis=1)[:, :7]
    assert np.isnan(columns[:, 2]).all()
    assert np.isfinite(np.delete(columns, 2, axis=1)).all()


@every_table
@pytest.mark.parametrize("parts", [1, 2, 3, 8, 9])
def test_sum_parts(isa: str, dtype: str, parts: int, rng: np.random.Generator) -> None:
    kernels, reference = both(isa, dtype)
    w = kernels.width
    for vectors in (1, 2, 5, 16):
        n = vectors * w
        src = rng.standard_normal((parts, n + 3 * w)).astype(dtype)
        got, want = (np.full(n + w, SENTINEL, dtype) for _ in range(2))
        kernels.sum_parts(src, got, n)
        reference.sum_parts(src, want, n)
        bound = parts * float(np.finfo(dtype).eps) * np.abs(src[:, :n]).astype(float).sum(axis=0)
        assert (np.abs(got[:n].astype(float) - want[:n]) <= bound).all()
        assert (got[n:] == SENTINEL).all()
        in_order = src[0].copy()
        for part in src[1:]:
            in_order += part
        assert got[:n].tobytes() == in_order[:n].tobytes()
        pieces = np.empty(n, dtype)
        for start in range(0, n, w):
            kernels.sum_parts(src[:, start:].copy(), pieces[start:], w)
        assert pieces.tobytes() == got[:n].tobytes()
