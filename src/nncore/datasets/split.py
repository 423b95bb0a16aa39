"""A random split into rows for training and rows for testing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from nncore import checks, sparse, streams

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


def train_test_split(
    X: ArrayLike, y: ArrayLike, test_fraction: float = 0.2, seed: int = 0
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Split rows at random into a training and a test set.

    Where y holds integers or bools, one for each row, they are taken for classes, and each class is divided in the
    same proportion, within a row or so. The split depends on the seed and on y alone.

    Parameters
    ----------
    X : array_like of shape (n, ...), or sparse matrix of SciPy's
        Rows.
    y : array_like of shape (n, ...)
        Their targets.
    test_fraction : float, default 0.2
        Share of the rows for testing, between 0 and 1; rounded to a whole number of rows.
    seed : int, default 0
        0 to 2**64 - 1.

    Returns
    -------
    X_train, X_test, y_train, y_test : ndarray
        Copies, of the dtypes that came, in random order; a sparse X in CSR form.

    Raises
    ------
    TypeError
        If `test_fraction` or `seed` is not a number of its kind.
    ValueError
        If X and y differ in length, or either set would be without rows.

    Examples
    --------
    >>> X, y = np.arange(10.0).reshape(5, 2), np.array([0, 0, 0, 1, 1])
    >>> X_train, X_test, y_train, y_test = train_test_split(X, y, test_fraction=0.4)
    >>> sorted(y_test.tolist())
    [0, 1]
    """
    rows: Any = X.tocsr() if sparse.is_sparse(X) and hasattr(X, "tocsr") else np.asarray(X)
    y = np.asarray(y)
    fraction = checks.finite_float(test_fraction, "test_fraction", above=0.0, below=1.0)
    seed = checks.seed(seed)
    if len(rows.shape) == 0 or y.ndim == 0:
        raise ValueError(f"X has shape {rows.shape} and y {y.shape}; expected rows")
    n = rows.shape[0]
    if len(y) != n:
        raise ValueError(f"y has {len(y)} rows; X has {n}")
    n_test = round(fraction * n)
    if not 0 < n_test < n:
        raise ValueError(
            f"test_fraction is {fraction}, which of {n} rows leaves {n - n_test} for training and {n_test} for "
            "testing; expected at least one of each"
        )
    order = streams.permutation(seed, streams.SPLIT, 0, n)
    chosen = np.zeros(n, dtype=bool)  # which places of the order go to the test set: its first, or each class's first
    if y.dtype.kind in "iub" and y.size == n:
        chosen[np.argsort(_places(y.reshape(-1)[order]), kind="stable")[:n_test]] = True
    else:
        chosen[:n_test] = True
    train, test = order[~chosen], order[chosen]
    return rows[train], rows[test], y[train], y[test]


def _places(classes: NDArray[Any]) -> NDArray[np.float64]:
    """Return where each element stands among those of its class, from 0 for the first to 1 for the last.

    The elements with the lowest places, however many, hold each class in its share.
    """
    _, index, counts = np.unique(classes, return_inverse=True, return_counts=True)
    grouped = np.argsort(index, kind="stable")
    starts = np.cumsum(counts) - counts
    rank = np.empty(len(classes))
    rank[grouped] = np.arange(len(classes)) - np.repeat(starts, counts)
    return (rank + 0.5) / counts[index]
