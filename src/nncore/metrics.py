"""Metrics: numbers for people to judge a network by, which training does not act on.

A metric is a function of (pred, target) that returns a float. Shapes are taken as by the losses: predictions (n, k)
or (n,), targets of the same shape or, for several columns, class labels. Those here also take ``sample_weight``, a
finite number of at least 0 for each row, not all 0: each row then counts as so many. Their values are scikit-learn's,
degenerate cases included unless the function says otherwise.

What class a row is predicted to be: with one column class 1 from 0.5 on, or from 0 on where the targets have a -1, as
the loss hinge takes them; with several the class of the largest score. A row with NaN is no class, and wrong.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from nncore import checks
from nncore import weights as row_weights

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    from numpy.typing import ArrayLike, NDArray

    Metric: TypeAlias = Callable[..., float]


def accuracy(pred: ArrayLike, target: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
    """Return the fraction of the rows whose class is predicted.

    Parameters
    ----------
    pred : array_like of shape (n, k) or (n,)
        With one column, the probability of class 1, which is predicted from 0.5 on. With several, a score for each
        class, the largest of which is predicted. A row with NaN is wrong.
    target : array_like
        With one column, 0 or 1 for each row, or -1 or 1. With several, class labels of shape (n,) or (n, 1), or rows of
        the shape of `pred` whose largest element marks the class.
    sample_weight : array_like of shape (n,), optional
        Weights of the rows.

    Returns
    -------
    float
        From 0 to 1.

    Raises
    ------
    TypeError
        If any of them holds anything but real numbers.
    ValueError
        If the shapes do not fit, there are no rows, or a label or a weight is out of range.

    Examples
    --------
    >>> accuracy([0.2, 0.5, 0.9], [0, 1, 0])
    0.6666666666666666
    >>> accuracy([[0.1, 0.9], [0.8, 0.2]], [1, 0])
    1.0
    """
    predicted, true, _ = _classes(pred, target)
    return float(np.average(predicted == true, weights=row_weights.samples(sample_weight, len(true))))


def precision(
    pred: ArrayLike, target: ArrayLike, sample_weight: ArrayLike | None = None, *, average: str = "auto"
) -> float:
    """Return the fraction of the rows predicted to be of a class that are of it: tp / (tp + fp).

    Parameters
    ----------
    pred, target, sample_weight
        As for `accuracy`.
    average : {"auto", "binary", "macro"}
        "binary" is that of class 1, where there are two classes; "macro" the mean over the classes that are predicted
        or true somewhere. "auto" is binary for one column, else macro.

    Returns
    -------
    float
        From 0 to 1. A class that is never predicted has 0, and there is no warning of it.

    Raises
    ------
    TypeError, ValueError
        As for `accuracy`; also if `average` is no such name, or binary with more than two classes.

    Examples
    --------
    >>> precision([0.2, 0.5, 0.9], [0, 1, 0])
    0.5
    """
    right, predicted, _ = _counts(pred, target, sample_weight, average)
    return float(_ratio(right, predicted).mean())


def recall(
    pred: ArrayLike, target: ArrayLike, sample_weight: ArrayLike | None = None, *, average: str = "auto"
) -> float:
    """Return the fraction of the rows of a class that are predicted to be of it: tp / (tp + fn).

    Parameters
    ----------
    pred, target, sample_weight, average
        As for `precision`.

    Returns
    -------
    float
        From 0 to 1. A class of which there are no rows has 0, and there is no warning of it.

    Raises
    ------
    TypeError, ValueError
        As for `precision`.
    """
    right, _, true = _counts(pred, target, sample_weight, average)
    return float(_ratio(right, true).mean())


def f1(pred: ArrayLike, target: ArrayLike, sample_weight: ArrayLike | None = None, *, average: str = "auto") -> float:
    """Return the harmonic mean of precision and recall: 2 tp / (2 tp + fp + fn).

    Parameters
    ----------
    pred, target, sample_weight, average
        As for `precision`; macro is the mean of the classes' values.

    Returns
    -------
    float
        From 0 to 1. A class that is neither predicted nor there has 0, and there is no warning of it.

    Raises
    ------
    TypeError, ValueError
        As for `precision`.
    """
    right, predicted, true = _counts(pred, target, sample_weight, average)
    return float(_ratio(2 * right, predicted + true).mean())


def roc_auc(pred: ArrayLike, target: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
    """Return the area under the ROC curve: how often a row of the class has a higher score than one that is not.

    A tie counts one half. With several columns it is the mean over the classes, each against all others.

    Parameters
    ----------
    pred, target, sample_weight
        As for `accuracy`; any scores do, they need not be probabilities.

    Returns
    -------
    float
        From 0 to 1. NaN, with a RuntimeWarning, where all rows that count are of one class; with several columns
        classes without a row are left out, which scikit-learn refuses. NaN where a score is.

    Raises
    ------
    TypeError, ValueError
        As for `accuracy`.

    Examples
    --------
    >>> roc_auc([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1])
    0.75
    """
    _, true, n_classes = _classes(pred, target)
    scores = checks.predictions(pred)
    weights = row_weights.samples(sample_weight, len(true))
    if weights is None:
        weights = np.ones(len(true))
    if scores.shape[1] == 1:
        areas = [_area(scores[:, 0], true == 1, weights)]
    else:
        areas = [_area(scores[:, k], true == k, weights) for k in range(n_classes) if weights[true == k].any()]
    if any(area is None for area in areas):
        warnings.warn("target has a single class, for which roc_auc is not defined", RuntimeWarning, stacklevel=2)
        return float("nan")
    return float(np.mean(np.array(areas, np.float64)))


def r2(pred: ArrayLike, target: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
    """Return the coefficient of determination: 1 - sum (target - pred)**2 / sum (target - mean)**2, the columns' mean.

    Parameters
    ----------
    pred, target : array_like of shape (n, k) or (n,)
        Of the same shape.
    sample_weight : array_like of shape (n,), optional
        Weights of the rows.

    Returns
    -------
    float
        At most 1. Where a column of the target is constant it has 1 if it is met exactly, else 0, also with weights, by
        which scikit-learn's mean of the column may be rounded. NaN, with a RuntimeWarning, for fewer than two rows
        that count.

    Raises
    ------
    TypeError, ValueError
        If any of them holds anything but real numbers, or the shapes or weights do not fit.
    """
    p, t, weights = _numbers(pred, target, sample_weight)
    if len(p) < 2:
        warnings.warn("r2 is not defined for fewer than two rows", RuntimeWarning, stacklevel=2)
        return float("nan")
    # a ratio has no unit: by powers of two, which change no digit, the squares of any numbers stay in range
    places = -np.frexp(np.abs(t).max(axis=0))[1]
    with np.errstate(over="ignore", invalid="ignore"):
        p, t = np.ldexp(p, places), np.ldexp(t, places)
        factors = np.ones(len(p)) if weights is None else weights
        unexplained = factors @ (t - p) ** 2
        total = factors @ (t - np.average(t, axis=0, weights=weights)) ** 2
        total[np.isfinite(total) & (t == t[0]).all(axis=0)] = 0.0  # where the mean is rounded, it is not quite
        missed = factors @ (t != p) != 0
        values = 1 - np.divide(unexplained, total, where=total != 0, out=missed.astype(np.float64))
    return float(values.mean())


def mse(pred: ArrayLike, target: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
    """Return the mean of (pred - target)**2 over all elements, weighted by rows.

    Parameters
    ----------
    pred, target, sample_weight
        As for `r2`.

    Returns
    -------
    float

    Raises
    ------
    TypeError, ValueError
        As for `r2`.
    """
    p, t, weights = _numbers(pred, target, sample_weight)
    with np.errstate(over="ignore"):
        return float(np.average(((p - t) ** 2).mean(axis=1), weights=weights))


def rmse(pred: ArrayLike, target: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
    """Return the root of each column's mean of (pred - target)**2, and of several columns their mean.

    Parameters
    ----------
    pred, target, sample_weight
        As for `r2`.

    Returns
    -------
    float

    Raises
    ------
    TypeError, ValueError
        As for `r2`.
    """
    p, t, weights = _numbers(pred, target, sample_weight)
    with np.errstate(over="ignore"):
        return float(np.sqrt(np.average((p - t) ** 2, axis=0, weights=weights)).mean())


def mae(pred: ArrayLike, target: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
    """Return the mean of abs(pred - target) over all elements, weighted by rows.

    Parameters
    ----------
    pred, target, sample_weight
        As for `r2`.

    Returns
    -------
    float

    Raises
    ------
    TypeError, ValueError
        As for `r2`.
    """
    p, t, weights = _numbers(pred, target, sample_weight)
    with np.errstate(over="ignore"):
        return float(np.average(np.abs(p - t).mean(axis=1), weights=weights))


def log_loss(pred: ArrayLike, target: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
    """Return the mean of -log(probability of the true class).

    Probabilities are held between eps and 1 - eps, eps that of their dtype, as in scikit-learn; the losses bce and
    cross_entropy hold them at the smallest normal number.

    Parameters
    ----------
    pred : array_like of shape (n, k) or (n,)
        Probabilities: of class 1, or of each class.
    target, sample_weight
        As for `accuracy`, but for rows, which may hold probabilities.

    Returns
    -------
    float
        At least 0; NaN where a probability is.

    Raises
    ------
    TypeError, ValueError
        As for `accuracy`.
    """
    _, true, _ = _classes(pred, target)
    p = checks.predictions(pred)
    eps = float(np.finfo(p.dtype).eps)
    p = np.clip(p, eps, 1 - eps)
    if p.shape[1] == 1:
        p = np.hstack([1 - p, p])
    y = checks.numeric(target, "target")
    rows = -(y * np.log(p)).sum(axis=1) if y.shape == p.shape else -np.log(p[np.arange(len(p)), true])
    return float(np.average(rows.astype(np.float64), weights=row_weights.samples(sample_weight, len(p))))


def _classes(pred: ArrayLike, target: ArrayLike) -> tuple[NDArray[Any], NDArray[Any], int]:
    """Return the predicted class of each row, -1 for none, its true class, and how many classes there are."""
    p, y = checks.predictions(pred), checks.numeric(target, "target")
    if p.shape[1] == 1:
        p, labels = checks.pair(pred, y)
        negative = labels == -1
        has_negative = bool(negative.any())
        other = (labels != 1) & ~(negative if has_negative else labels == 0)
        if other.any():
            expected = "-1 and 1" if has_negative else "0 and 1"
            raise ValueError(f"target has the value {labels[other][0]:g}; with one column, classes are {expected}")
        predicted, true, n_classes = (p >= (0.0 if has_negative else 0.5))[:, 0], (labels == 1)[:, 0], 2
    else:
        predicted, n_classes = p.argmax(axis=1), p.shape[1]
        true = y.argmax(axis=1) if y.shape == p.shape else checks.labels_for(p, y)
    return np.where(np.isnan(p).any(axis=1), -1, predicted), true.astype(np.intp), n_classes


def _counts(
    pred: ArrayLike, target: ArrayLike, sample_weight: ArrayLike | None, average: str
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return for each class that is averaged over: rows predicted rightly, rows predicted, rows that there are."""
    average = checks.one_of(average, "average", ("auto", "binary", "macro"))
    predicted, true, n_classes = _classes(pred, target)
    weights = row_weights.samples(sample_weight, len(true))
    if average == "binary" and n_classes > 2:
        raise ValueError(f"average is 'binary' and pred has {n_classes} classes; expected 'macro', or two classes")
    if average == "auto":
        average = "binary" if np.ndim(pred) < 2 or np.shape(pred)[1] == 1 else "macro"
    there, right = predicted >= 0, predicted == true

    def tally(classes: NDArray[Any], rows: NDArray[Any]) -> NDArray[np.float64]:
        counted = None if weights is None else weights[rows]
        return np.bincount(classes[rows], weights=counted, minlength=n_classes).astype(np.float64)

    counts = tally(true, right), tally(predicted, there), tally(true, np.ones(len(true), bool))
    if average == "binary":
        chosen = np.arange(n_classes) == 1
    else:
        chosen = (np.bincount(true, minlength=n_classes) + np.bincount(predicted[there], minlength=n_classes)) > 0
    return counts[0][chosen], counts[1][chosen], counts[2][chosen]


def _ratio(part: NDArray[np.float64], whole: NDArray[np.float64]) -> NDArray[np.float64]:
    result: NDArray[np.float64] = np.divide(part, whole, where=whole > 0, out=np.zeros_like(whole))
    return result


def _area(scores: NDArray[Any], positive: NDArray[Any], weights: NDArray[np.float64]) -> float | None:
    """Return the area under one class's curve; None where all rows that count are on one side."""
    if np.isnan(scores).any():
        return float("nan")
    values, group = np.unique(scores, return_inverse=True)
    above = np.bincount(group, weights=weights * positive, minlength=len(values))
    below = np.bincount(group, weights=weights * ~positive, minlength=len(values))
    if above.sum() == 0 or below.sum() == 0:
        return None
    beaten = np.cumsum(below) - below / 2
    return float(above @ beaten / (above.sum() * below.sum()))


def _numbers(
    pred: ArrayLike, target: ArrayLike, sample_weight: ArrayLike | None
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64] | None]:
    p, t = checks.pair(pred, target)
    weights = row_weights.samples(sample_weight, len(p))
    if weights is not None and not weights.all():  # a row that does not count adds nothing, even an infinite number
        rows = np.flatnonzero(weights)
        p, t, weights = p[rows], t[rows], weights[rows]
    return p.astype(np.float64, copy=False), t.astype(np.float64, copy=False), weights


ALIASES: dict[str, Metric] = {
    f.__name__: f for f in (accuracy, precision, recall, f1, roc_auc, r2, mse, rmse, mae, log_loss)
}
_WEIGHTED = tuple(ALIASES.values())


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


def value_of(metric: Metric, pred: Any, target: Any, sample_weight: Any) -> float:
    """Return a metric's value; with the weights, if there are any and it is one of this module's."""
    if not any(metric is known for known in _WEIGHTED):  # one of the user's may have no hash
        return checks.number_given(metric(pred, target), f"metric {getattr(metric, '__name__', type(metric).__name__)}")
    return float(metric(pred, target, sample_weight))
