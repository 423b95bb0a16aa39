"""Metrics: numbers for people to judge a network by, which training does not act on.

A metric is a function of (pred, target) that returns a float. Shapes are taken as by the losses: predictions (n, k)
or (n,), targets of the same shape or, for several columns, class labels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nncore import checks, losses

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    from numpy.typing import ArrayLike

    Metric: TypeAlias = Callable[[ArrayLike, ArrayLike], float]

_squared_error = losses.MeanSquaredError()


def accuracy(pred: ArrayLike, target: ArrayLike) -> float:
    """Return the fraction of the rows whose class is predicted.

    Parameters
    ----------
    pred : array_like of shape (n, k) or (n,)
        With one column, the probability of class 1, which is predicted from 0.5 on. With several, a score for each
        class, the largest of which is predicted. A row with NaN is wrong.
    target : array_like
        With one column, 0 or 1 for each row. With several, class labels of shape (n,) or (n, 1), or rows of the shape
        of `pred` whose largest element marks the class.

    Returns
    -------
    float
        From 0 to 1.

    Raises
    ------
    TypeError
        If either holds anything but real numbers.
    ValueError
        If the shapes do not fit, there are no rows, or a label is out of range.

    Examples
    --------
    >>> accuracy([0.2, 0.5, 0.9], [0, 1, 0])
    0.6666666666666666
    >>> accuracy([[0.1, 0.9], [0.8, 0.2]], [1, 0])
    1.0
    """
    p, y = checks.predictions(pred), checks.numeric(target, "target")
    if p.shape[1] == 1:
        p, labels = checks.pair(pred, y)
        other = (labels != 0) & (labels != 1)
        if other.any():
            raise ValueError(f"target has the value {labels[other][0]:g}; with one column, classes are 0 and 1")
        right = (p >= 0.5) == labels
    elif y.shape == p.shape:
        right = p.argmax(axis=1) == y.argmax(axis=1)
    else:
        right = p.argmax(axis=1) == checks.labels_for(p, y)
    return float(np.mean(right.reshape(-1) & ~np.isnan(p).any(axis=1)))


def mse(pred: ArrayLike, target: ArrayLike) -> float:
    """Return the mean of (pred - target)**2 over all elements; see `losses.MeanSquaredError`."""
    return _squared_error(pred, target)


def mae(pred: ArrayLike, target: ArrayLike) -> float:
    """Return the mean of abs(pred - target) over all elements.

    Parameters
    ----------
    pred, target : array_like of shape (n, k) or (n,)
        Of the same shape.

    Returns
    -------
    float

    Raises
    ------
    TypeError
        If either holds anything but real numbers.
    ValueError
        If the shapes do not fit or there are no elements.
    """
    p, t = checks.pair(pred, target)
    with np.errstate(over="ignore"):
        return float(np.abs(p - t).mean(dtype=np.float64))


ALIASES: dict[str, Metric] = {f.__name__: f for f in (accuracy, mse, mae)}


def get(metric: str | Metric) -> Metric:
    """Return the metric of that name, or the function itself.

    Raises
    ------
    TypeError
        If it is neither a string nor callable.
    ValueError
        If there is no metric of that name; the message lists those there are.
    """
    if callable(metric):
        return metric
    return ALIASES[checks.one_of(metric, "metric", ALIASES)]
