"""Rows to validate on: given by the user, or held out of those to train on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from nncore import checks, streams

if TYPE_CHECKING:
    from nncore.losses import Loss

    Array = np.ndarray[Any, Any]


def split(n: int, classes: Array | None, fraction: float, seed: int, early_stopping: bool) -> tuple[Array, Array]:
    """Return the rows to train on and those to hold out, each in ascending order.

    Where there are classes, each has its share of the rows held out, to the nearest row that the sum allows, and each
    of two rows or more is on both sides if that is possible. Which rows of a class follows from the seed.

    Parameters
    ----------
    n : int
        How many rows there are.
    classes : ndarray of shape (n,) or None
        Each row's class.
    fraction : float
        What to hold out, in (0, 1).
    seed : int
        Key of the random stream.
    early_stopping : bool
        Whether the rows held out decide when training ends; then too few are refused.

    Returns
    -------
    train, held_out : ndarray of int64

    Raises
    ------
    TypeError, ValueError
        If the fraction is no number in its range, or leaves too few rows.
    """
    fraction = checks.finite_float(fraction, "validation_split", low=0.0, below=1.0)
    held_out = round(n * fraction)
    n_classes = 1
    index = counts = None
    if classes is not None:
        _, index, counts = np.unique(classes, return_inverse=True, return_counts=True)
        n_classes = int((counts > 1).sum())
    if held_out == 0 or held_out == n:
        raise ValueError(
            f"validation_split is {fraction:g} and X has {n} rows, which leaves {n - held_out} to train on and "
            f"{held_out} to validate; expected at least 1 of each"
        )
    if early_stopping and held_out < max(2, n_classes):
        of = "" if counts is None else f" of {len(counts)} classes"
        raise ValueError(
            f"validation_split is {fraction:g} and X has {n} rows{of}, which leaves {n - held_out} to train on and "
            f"{held_out} to validate; early_stopping takes at least {max(2, n_classes)} to validate"
        )
    order = streams.permutation(seed, streams.SPLIT, 0, n)
    if index is None or counts is None:
        held = order[:held_out]
    else:
        drawn = index.reshape(-1)[order]
        by_class = np.argsort(drawn, kind="stable")
        rank = np.empty(n, np.int64)
        rank[by_class] = np.arange(n) - np.repeat(np.cumsum(counts) - counts, counts)
        held = order[rank < _quotas(counts, held_out)[drawn]]
    train = np.ones(n, bool)
    train[held] = False
    return np.flatnonzero(train), np.sort(held)


def _quotas(counts: Array, held_out: int) -> Array:
    """Return how many rows of each class to hold out: their shares, with one row at least left on either side."""
    shares = counts * (held_out / counts.sum())
    low, high = np.minimum(counts - 1, 1), counts - 1
    if low.sum() > held_out:
        low = np.zeros_like(low)
    if high.sum() < held_out:
        high = counts
    quotas: Array = np.clip(np.floor(shares).astype(np.int64), low, high)
    while (missing := held_out - int(quotas.sum())) != 0:
        # One row each to (or from) those that are farthest below (or above) their share; ties go to the first classes.
        step = 1 if missing > 0 else -1
        free = np.flatnonzero(quotas < high if step > 0 else quotas > low)
        farthest = np.argsort(-step * (shares - quotas)[free], kind="stable")[: abs(missing)]
        quotas[free[farthest]] += step
    return quotas


def classes_of(y: Array, loss: Loss, activation: str) -> Array | None:
    """Return each row's class, or None where the targets are no classes.

    Parameters
    ----------
    y : ndarray
        Targets as the engine takes them.
    loss : Loss
        What is lowered. With one of the user's, whole numbers (n,) are classes.
    activation : str
        That of the output. With softmax, rows that are one-hot or probabilities are classes.
    """
    if y.ndim == 1:
        return y if y.dtype.kind in "iub" else None
    if y.ndim != 2:  # for a loss of the user's
        return None
    if loss.name == "cross_entropy" or (activation == "softmax" and _are_classes(y, loss)):
        classes: Array = y.argmax(axis=1)
        return classes
    if y.shape[1] == 1 and loss.name in ("bce", "hinge"):
        low, high = y.min(), y.max()
        if ((y == low) | (y == high)).all():
            upper: Array = (y[:, 0] == high).astype(np.int64)
            return upper
    return None


def _are_classes(y: Array, loss: Loss) -> bool:
    """Say whether rows of several columns are one-hot, or probabilities; one-hot is -1 and 1 with hinge."""
    if y.shape[1] < 2:
        return False
    if loss.name == "hinge":
        return bool((np.abs(y) == 1).all() and ((y > 0).sum(axis=1) == 1).all())
    return bool((y >= 0).all() and (np.abs(y.sum(axis=1, dtype=np.float64) - 1) <= 1e-3).all())
