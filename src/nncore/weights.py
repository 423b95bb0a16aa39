"""Weights of rows: what users give as ``sample_weight`` and ``class_weight``, as one number for each row.

With weights w the loss of a batch is sum(w loss) / sum(w), and that of an epoch the same over its rows. Only the
weights' ratios count: the engines get them times a power of two that brings the largest to between 1/2 and 1, so that
no sum overflows and no digit is lost.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from nncore import checks

if TYPE_CHECKING:
    from nncore.losses import Loss

    Array = np.ndarray[Any, Any]


def samples(sample_weight: Any, n_rows: int, name: str = "sample_weight", *, none_counts: bool = False) -> Array | None:
    """Return the weights of rows as float64 of shape (n_rows,); None for None.

    Parameters
    ----------
    sample_weight : array_like of shape (n_rows,) or (n_rows, 1), or None
        Finite numbers of at least 0, not all 0.
    n_rows : int
        Number of rows of X.
    name : str
        Name of the argument, for messages.
    none_counts : bool
        Whether all of them may be 0, as there are other rows.

    Raises
    ------
    TypeError
        If it holds anything but real numbers.
    ValueError
        If the shape does not fit, a number is negative or not finite, or all are 0.
    """
    if sample_weight is None:
        return None
    given = checks.numeric(sample_weight, name)
    if given.shape not in ((n_rows,), (n_rows, 1)):
        raise ValueError(f"{name} has shape {given.shape}; expected ({n_rows},), a weight for each row of X")
    weights = checks.contiguous(given.reshape(-1), np.dtype(np.float64))
    wrong = ~((weights >= 0) & np.isfinite(weights))
    if wrong.any():
        row = int(wrong.argmax())
        raise ValueError(f"{name} is {weights[row]:g} in row {row}; expected finite numbers of at least 0")
    if not (none_counts or weights.any()):
        raise ValueError(f"{name} is 0 in every row; expected at least one above 0")
    return weights


_MOST_CLASSES = 2**24  # larger numbers are none of classes, and there is a weight for each up to the largest


def for_engine(
    sample_weight: Array | None, class_weight: Any, y: Array, loss: Loss, what: str, n_out: int | None = None
) -> Array | None:
    """Return the product of the two kinds of weights as the engines take it; None where there are none.

    Parameters
    ----------
    sample_weight : ndarray of shape (n,), or None
        As `samples` returned it, or some of its rows.
    class_weight : dict of class to number, "balanced", or None
        See `by_class`.
    y : ndarray
        The rows' targets, as ``targets.prepare`` returned them.
    loss : Loss
        The loss, which says what a class is.
    what : str
        Which rows they are, for messages.
    n_out : int, optional
        The network's outputs; see `by_class`.

    Raises
    ------
    TypeError, ValueError
        If `class_weight` does not fit, or no row counts.
    """
    weights = sample_weight
    if class_weight is not None:
        classes = by_class(class_weight, y, loss, n_out)
        weights = classes if weights is None else np.ldexp(weights, -math.frexp(weights.max())[1]) * classes
    if weights is None:
        return None
    largest = float(weights.max())
    if largest == 0:
        raise ValueError(f"the weights of all {len(weights)} {what} are 0; expected at least one above 0")
    return np.ldexp(weights, -math.frexp(largest)[1])


def product(
    sample_weight: Array | None, class_weight: Any, y: Array, loss: Loss, n_out: int | None = None
) -> Array | None:
    """Return the product of the two kinds of weights as it is, for rows that are some of many; None for neither.

    Parameters
    ----------
    sample_weight, class_weight, y, loss, n_out
        As for `for_engine`.

    Raises
    ------
    TypeError, ValueError
        If `class_weight` does not fit, or the products' sum is beyond float64.
    """
    if class_weight is None:
        weights = sample_weight
    else:
        classes = by_class(class_weight, y, loss, n_out)
        with np.errstate(over="ignore"):
            weights = classes if sample_weight is None else sample_weight * classes
    if weights is not None:
        with np.errstate(over="ignore"):
            total = float(np.add.reduce(weights))
        if not math.isfinite(total):
            raise ValueError("the weights of a chunk's rows have no finite sum; expected smaller ones")
    return weights


def checksum(weights: Array | None) -> int | None:
    """Return the CRC-32 of weights as `for_engine` returned them, as little-endian; None for None."""
    if weights is None:
        return None
    import zlib  # many programs go without

    return zlib.crc32(np.ascontiguousarray(weights, "<f8").data.cast("B"))


def by_class(class_weight: Any, y: Array, loss: Loss, n_out: int | None = None) -> Array:
    """Return the weight of each row's class.

    Parameters
    ----------
    class_weight : dict of class to number, or "balanced"
        Finite numbers of at least 0; classes that are not named weigh 1. "balanced" gives each class that there is the
        weight n / (k count): n rows, k classes, `count` of them of this one.
    y : ndarray
        Targets: classes, one-hot rows, or one column of 0 and 1, for hinge of -1 and 1.
    loss : Loss
        The loss.
    n_out : int, optional
        The network's outputs, which with cross_entropy are the classes that there are; None takes any class.

    Raises
    ------
    TypeError
        If `class_weight` is neither.
    ValueError
        If y holds no classes, or a class or a weight does not fit.
    """
    balanced = isinstance(class_weight, str) and class_weight == "balanced"
    if not balanced and not isinstance(class_weight, dict):
        raise TypeError(
            f"class_weight is {class_weight!r}, of type {type(class_weight).__name__}; expected a dict of class to "
            "weight, or 'balanced'"
        )
    rows, names = _classes(y, loss)
    if balanced:
        counts = np.bincount(rows)
        table = np.zeros(len(counts))
        table[counts > 0] = len(rows) / (np.count_nonzero(counts) * counts[counts > 0])
        return table[rows]
    n_classes = len(set(names.values())) if names else int(rows.max()) + 1
    any_class = y.ndim == 1 and not names
    if y.ndim == 2 and y.shape[1] > 1:
        n_classes = y.shape[1]
    elif any_class and loss.name == "cross_entropy" and n_out is not None:
        n_classes, any_class = n_out, False
    table = np.ones(max(n_classes, int(rows.max()) + 1))
    for key, value in class_weight.items():
        if isinstance(key, bool) or not isinstance(key, int | np.integer):
            raise TypeError(f"class_weight has the key {key!r}, of type {type(key).__name__}; expected a class")
        index = names.get(int(key), -1) if names else int(key)
        weight = checks.finite_float(value, f"class_weight[{key}]", low=0.0)
        if any_class and index >= len(table):
            continue  # a class of which there are no rows
        if not 0 <= index < len(table):
            known = sorted(names) if names else list(range(len(table)))
            raise ValueError(f"class_weight has the class {key}; expected some of {', '.join(map(str, known))}")
        table[index] = weight
    return table[rows]


def _classes(y: Array, loss: Loss) -> tuple[Array, dict[int, int]]:
    """Return the index of each row's class, and the classes' names where they are not their indices."""
    if y.ndim == 1 and y.dtype.kind in "iu" and y.min() >= 0 and y.max() < _MOST_CLASSES:
        return y.astype(np.intp, copy=False), {}
    if y.ndim == 2 and y.shape[1] > 1 and ((y == 0) | (y == 1)).all() and (y.sum(axis=1) == 1).all():
        return y.argmax(axis=1), {}
    if y.ndim == 2 and y.shape[1] == 1 and loss.name == "hinge":
        return (y[:, 0] > 0).astype(np.intp), {-1: 0, 0: 0, 1: 1}
    if y.ndim == 2 and y.shape[1] == 1 and loss.name == "bce" and ((y == 0) | (y == 1)).all():
        return y[:, 0].astype(np.intp), {0: 0, 1: 1}
    raise ValueError(
        f"class_weight is given, and y of shape {y.shape} holds no classes for loss '{loss.name}'; expected labels, "
        "one-hot rows, or one column of 0 and 1 with 'bce' or 'hinge'"
    )


def weighted_mean(row_losses: Array, weights: Array) -> float:
    """Return sum(w loss) / sum(w)."""
    return float(np.add.reduce(counted(row_losses, weights))) / float(np.add.reduce(weights))


def counted(row_losses: Array, weights: Array | None) -> Array:
    """Return the losses times their weights; a row that does not count adds nothing, even if its loss is infinite."""
    if weights is None:
        return row_losses
    return np.multiply(row_losses, weights, where=weights > 0, out=np.zeros(len(weights)))


def row_factors(weights: Array) -> Array:
    """Return what turns the gradient of a batch's mean loss, row by row, into that of its weighted mean."""
    total = np.add.reduce(weights)
    factors: Array = weights * (len(weights) / total) if total > 0 else np.zeros_like(weights)
    return factors
