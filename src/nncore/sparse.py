"""Sparse X: matrices in CSR form, recognised without SciPy, and what training does with their rows.

A matrix of SciPy, or any object with its attributes ``format``, ``shape``, ``data``, ``indices`` and ``indptr``, is
looked through once and becomes a `CSR`, which shares its arrays where their types fit: values of the network's dtype,
indices of int32 or int64. Other formats are converted by their own ``tocsr``. Row r has the values starts[r] to
starts[r + 1] - 1, in the columns of the same numbers, in any order; what a row has twice in a column counts as the sum.

The products with dense matrices are those of the NumPy backend; the core has its own.
"""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING, Any

import numpy as np

from nncore import checks
from nncore.errors import NonFiniteData

if TYPE_CHECKING:
    from nncore.layers import Layer

    Array = np.ndarray[Any, Any]

_INDICES = (np.dtype(np.int32), np.dtype(np.int64))


class CSR:
    """Rows of a sparse matrix, whose arrays were checked; made by `csr`, and from another one by indexing.

    Parameters
    ----------
    starts : ndarray of shape (n + 1,)
        int32 or int64; not decreasing, and the first need not be 0.
    columns, values : ndarray of shape (m,)
        `columns` of the type of `starts`; m is ``starts[-1]`` at least.
    n_columns : int
        Number of columns.
    """

    __slots__ = ("columns", "n_columns", "starts", "values")

    def __init__(self, starts: Array, columns: Array, values: Array, n_columns: int) -> None:
        self.starts = starts
        self.columns = columns
        self.values = values
        self.n_columns = n_columns

    def __len__(self) -> int:
        return len(self.starts) - 1

    @property
    def shape(self) -> tuple[int, int]:
        """Numbers of rows and columns."""
        return len(self), self.n_columns

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values."""
        found: np.dtype[Any] = self.values.dtype
        return found

    def longest(self) -> int:
        """Return how many values the row with most of them has."""
        return int(np.diff(self.starts).max())

    def mean_stored(self) -> float:
        """Return how many values a row has on average."""
        return float(self.starts[-1] - self.starts[0]) / len(self)

    def stored(self) -> Array:
        """Return the values of all rows, row after row."""
        return self.values[self.starts[0] : self.starts[-1]]

    def __getitem__(self, rows: slice | Array) -> CSR:
        """Return some rows, consecutive ones without a copy of what they hold."""
        if not isinstance(rows, slice):
            return self.take(rows)
        first, last, step = rows.indices(len(self))
        if step != 1:
            return self.take(np.arange(first, last, step))
        return CSR(self.starts[first : max(first, last) + 1], self.columns, self.values, self.n_columns)

    def take(self, rows: Array, axis: int = 0) -> CSR:
        """Return copies of the rows with these numbers, in this order."""
        lengths = np.diff(self.starts)[rows]
        starts = np.zeros(len(lengths) + 1, self.starts.dtype)
        np.cumsum(lengths, out=starts[1:])
        # where each value of the result lies: its place in its row, behind where the row starts
        at = np.arange(starts[-1]) + np.repeat(self.starts[:-1][rows].astype(np.int64) - starts[:-1], lengths)
        return CSR(starts, self.columns[at], self.values[at], self.n_columns)

    def copy(self) -> CSR:
        """Return a copy that holds no more than the rows."""
        return self.take(np.arange(len(self)))

    def toarray(self) -> Array:
        """Return the dense matrix."""
        dense = np.zeros(self.shape, self.dtype)
        first, last = self.starts[0], self.starts[-1]
        np.add.at(dense, (self._rows(), self.columns[first:last]), self.stored())
        return dense

    def _rows(self) -> Array:
        """Return the row of each value."""
        return np.repeat(np.arange(len(self)), np.diff(self.starts))

    def __matmul__(self, weight: Array) -> Array:
        """Return the product (n, n_out) with a dense matrix (n_columns, n_out): row by row the sum of x W[column]."""
        product = np.zeros((len(self), weight.shape[1]), weight.dtype)
        filled = np.flatnonzero(np.diff(self.starts))
        if len(filled):
            first, last = self.starts[0], self.starts[-1]
            terms = self.stored()[:, None] * weight[self.columns[first:last]]
            product[filled] = np.add.reduceat(terms, self.starts[filled] - first, axis=0)
        return product

    def transposed_product(self, d: Array, out: Array) -> None:
        """Set `out` (n_columns, n_out) to X^T d, for a dense d (n, n_out)."""
        out[...] = 0
        values = self.stored()
        if len(values):
            columns = self.columns[self.starts[0] : self.starts[-1]]
            order = np.argsort(columns, kind="stable")  # values of one column together, in the order of the rows
            terms = values[order, None] * d[self._rows()[order]]
            sorted_columns = columns[order]
            begins = np.flatnonzero(np.diff(sorted_columns, prepend=-1))
            out[sorted_columns[begins]] = np.add.reduceat(terms, begins, axis=0)

    def first_not_finite(self) -> int | None:
        """Return the number of the first row with a value that is not finite, None where there is none."""
        wrong = np.flatnonzero(~np.isfinite(self.stored()))
        if not len(wrong):
            return None
        return int(np.searchsorted(self.starts, wrong[0] + self.starts[0], side="right")) - 1


if TYPE_CHECKING:
    Inputs = Array | CSR  # what the engines take for X


def is_sparse(X: Any) -> bool:
    """Say whether `X` is a sparse matrix, by the attributes that SciPy's have."""
    return hasattr(X, "format") and hasattr(X, "shape") and (hasattr(X, "tocsr") or hasattr(X, "indptr"))


def inputs(layers: tuple[Layer, ...], X: Any, name: str, dtype: np.dtype[Any]) -> Inputs:
    """Return `X` as the engines take it: a matrix (see `checks.matrix`), or, where it is sparse, a `CSR`.

    Raises
    ------
    TypeError, ValueError
        If it does not fit, or is sparse and the first layer is not dense.
    """
    if type(X) is np.ndarray or not is_sparse(X):
        return checks.matrix(X, name, layers[0].n_in, dtype)
    if layers[0].spec().kind != "dense":
        raise ValueError(
            f"{name} is a sparse {type(X).__name__} and the first layer is {type(layers[0]).__name__}; sparse rows are "
            f"for a first layer Dense: expected a dense array, as {name}.toarray() gives"
        )
    return csr(X, name, layers[0].n_in, dtype)


def csr(X: Any, name: str, n_columns: int, dtype: np.dtype[Any]) -> CSR:
    """Return a sparse matrix as a `CSR` of values of `dtype`, which shares the arrays whose types fit.

    Parameters
    ----------
    X : sparse matrix
        Of any format that has ``tocsr``; never modified.
    name : str
        Name of the argument, for messages.
    n_columns : int
        The number of columns that is expected.
    dtype : numpy.dtype
        float32 or float64. Values beyond its range become infinite, without a warning.

    Returns
    -------
    CSR

    Raises
    ------
    TypeError
        If its values are no real numbers.
    ValueError
        If its shape is not that which is expected, or its arrays do not describe a matrix: of another length, starts
        that decrease, a column that is out of range.
    """
    if X.format != "csr":
        if not hasattr(X, "tocsr"):
            raise TypeError(f"{name} is a {type(X).__name__} of format {X.format!r}; expected CSR")
        X = X.tocsr()
    shape = tuple(X.shape)
    if len(shape) != 2:
        raise ValueError(f"{name} has shape {shape}; expected 2 dimensions (rows, columns)")
    n, found = shape
    if found != n_columns:
        features = "1 feature" if found == 1 else f"{found} features"
        raise ValueError(f"{name} has {features}; this network takes {n_columns}")
    if n == 0:
        raise ValueError(f"{name} has no rows; expected at least one")
    starts, columns = _indices(X.indptr, f"{name}.indptr"), _indices(X.indices, f"{name}.indices")
    values = np.asarray(X.data)
    if values.dtype.kind not in "biuf":
        raise TypeError(f"{name} has dtype {values.dtype}; expected real numbers")
    if values.ndim != 1 or len(values) != len(columns):
        raise ValueError(f"{name}.data has shape {values.shape}; expected {columns.shape}, as {name}.indices has")
    _check_starts(starts, f"{name}.indptr", n, len(columns))
    used = columns[: starts[-1]]
    if len(used) and (used.min() < 0 or used.max() >= n_columns):
        wrong = used[(used < 0) | (used >= n_columns)][0]
        raise ValueError(f"{name}.indices has {wrong}; expected 0 to {n_columns - 1}")
    if starts.dtype != columns.dtype:
        wide = np.dtype(np.int64)
        starts, columns = starts.astype(wide, copy=False), columns.astype(wide, copy=False)
    with np.errstate(over="ignore"):
        return CSR(starts, columns, np.require(values, dtype, ("C", "A")), n_columns)


def _indices(array: Any, name: str) -> Array:
    """Return indices as a contiguous array of int32 or int64."""
    array = np.asarray(array)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise ValueError(f"{name} is of {array.dtype} and has shape {array.shape}; expected integers in one dimension")
    if array.dtype not in _INDICES:
        if array.dtype.kind == "u" and len(array) and array.max() > np.iinfo(np.int64).max:
            raise ValueError(f"{name} has {array.max()}; expected numbers below 2**63")
        array = array.astype(np.int64)
    return np.require(array, array.dtype.newbyteorder("="), ("C", "A"))


def _check_starts(starts: Array, name: str, n: int, stored: int) -> None:
    if len(starts) != n + 1:
        raise ValueError(f"{name} has {len(starts)} numbers; expected {n + 1}, one more than rows")
    if starts[0] != 0:
        raise ValueError(f"{name} begins with {starts[0]}; expected 0")
    if (starts[1:] < starts[:-1]).any():
        row = int((starts[1:] < starts[:-1]).argmax())
        raise ValueError(f"{name} falls from {starts[row]} to {starts[row + 1]} at row {row}; expected no decrease")
    if starts[-1] > stored:
        raise ValueError(f"{name} ends with {starts[-1]}; expected at most {stored}, the length of indices")


def joined(a: Inputs, b: Inputs) -> Inputs:
    """Return the rows of `a` and then those of `b`; where only one is sparse, a dense array, for a batch at most."""
    if not isinstance(a, CSR) or not isinstance(b, CSR):
        return np.concatenate([x.toarray() if isinstance(x, CSR) else x for x in (a, b)])
    lengths = np.concatenate([np.diff(a.starts), np.diff(b.starts)])
    wide = np.promote_types(a.starts.dtype, b.starts.dtype)
    if int(lengths.sum(dtype=np.int64)) > np.iinfo(wide).max:  # each of the two fits into int32
        wide = np.dtype(np.int64)
    starts = np.zeros(len(lengths) + 1, wide)
    np.cumsum(lengths, out=starts[1:])
    parts = [(x.columns[x.starts[0] : x.starts[-1]], x.stored()) for x in (a, b)]
    columns, values = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return CSR(starts, columns.astype(wide, copy=False), values, a.n_columns)


def require_finite(argument: str, batch: Inputs, rows: slice | Array = slice(None)) -> None:
    """Raise `NonFiniteData` for the first row of `batch` with a number that is not finite.

    `rows` are the batch's rows in the array that the user gave.
    """
    if batch.dtype.kind == "i":
        return
    first = batch.first_not_finite() if isinstance(batch, CSR) else _first_not_finite(batch)
    if first is not None:
        raise NonFiniteData(argument, int(first + (rows.start or 0) if isinstance(rows, slice) else rows[first]))


def _first_not_finite(batch: Array) -> int | None:
    flat = batch.reshape(-1)
    # One quick pass: the sum of squares is finite, or something is not (or has only overflowed).
    if isfinite(flat.dot(flat)):
        return None
    wrong = ~np.isfinite(batch).all(axis=1)
    return int(wrong.argmax()) if wrong.any() else None
