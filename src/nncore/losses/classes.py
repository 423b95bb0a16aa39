"""Losses of classes: binary cross-entropy, cross-entropy, hinge."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from nncore import activations, checks
from nncore.losses.base import Loss, cost_of, floored, mean, row_sums, shaped_as

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


class BinaryCrossEntropy(Loss):
    """The binary cross-entropy: the mean of -(y log p + (1 - y) log(1 - p)) over all elements.

    The arguments of the logarithms, and the denominators of the gradient, are floored at the smallest normal number
    of the dtype, so that a certain and right prediction costs 0 and a certain and wrong one a finite amount.

    Parameters
    ----------
    pos_weight : float, optional
        Factor w of the positive part, above 0: the mean of -(w y log p + (1 - y) log(1 - p)). Above 1 it costs more to
        miss a positive than to raise a false alarm. None is 1.
    label_smoothing : float, default 0
        Part a of each target that is spread evenly, from 0 to below 1: y becomes (1 - a) y + a / 2.

    Raises
    ------
    TypeError, ValueError
        If an argument is of a wrong type or out of range.
    """

    __slots__ = ("_pos_weight", "_smoothing")

    name = "bce"
    logits_of = "sigmoid"

    def __init__(self, pos_weight: float | None = None, label_smoothing: float = 0.0) -> None:
        self._pos_weight = None if pos_weight is None else checks.finite_float(pos_weight, "pos_weight", above=0.0)
        self._smoothing = checks.finite_float(label_smoothing, "label_smoothing", low=0.0, below=1.0)

    @property
    def pos_weight(self) -> float | None:
        """Factor of the positive part; None for none."""
        return self._pos_weight

    @property
    def label_smoothing(self) -> float:
        """Part of each target that is spread evenly."""
        return self._smoothing

    @property
    def settings(self) -> tuple[float, float]:
        """The weight of the positive, and the smoothing."""
        return (1.0 if self._pos_weight is None else self._pos_weight), self._smoothing

    def __repr__(self) -> str:
        """Return the call that makes it."""
        return _call(self, pos_weight=(self._pos_weight, None), label_smoothing=(self._smoothing, 0.0))

    def _pair(self, pred: ArrayLike, target: ArrayLike) -> tuple[NDArray[Any], NDArray[Any], float]:
        """Return predictions, targets after smoothing, and the weight of the positive."""
        p, y = checks.pair(pred, target)
        return p, (_smoothed(y, self._smoothing, 2) if self._smoothing else y), self.settings[0]

    def rows(self, pred: ArrayLike, target: ArrayLike) -> NDArray[np.float64]:
        """Return the mean over the columns for each row, from probabilities `pred`."""
        p, y, weight = self._pair(pred, target)
        with np.errstate(over="ignore"):
            return mean(cost_of(weight * y, p) + cost_of(1 - y, 1 - p))

    def gradient(self, pred: ArrayLike, target: ArrayLike) -> Any:
        """Return ((1 - y) / (1 - p) - w y / p) / size."""
        p, y, weight = self._pair(pred, target)
        with np.errstate(over="ignore", under="ignore"):
            slope = (1 - y) / floored(1 - p) - weight * y / floored(p)
            slope /= p.size
        return shaped_as(pred, slope)

    def from_logits_rows(self, z: ArrayLike, target: ArrayLike) -> NDArray[np.float64]:
        """Return the loss of each row for the probabilities sigmoid(z), from z.

        The formula is max(z, 0) - z y + log(1 + exp(-|z|)), which neither overflows nor cancels; with a weight of the
        positive w y log(1 + exp(-z)) + (1 - y) log(1 + exp(z)), the logarithms alike.
        """
        logits, y, weight = self._pair(z, target)
        with np.errstate(over="ignore", under="ignore"):
            if weight != 1:
                tail = np.log1p(np.exp(-np.abs(logits)))
                costs = weight * y * (np.maximum(-logits, 0) + tail)
                costs += (1 - y) * (np.maximum(logits, 0) + tail)
                return mean(costs)
            # max(z, 0) - z y, as a product of one rounding: exact for labels, and never infinity minus infinity.
            cost = logits * ((logits > 0) - y)
            cost += np.log1p(np.exp(-np.abs(logits)))
        return mean(cost)

    def gradient_from_logits(self, z: ArrayLike, target: ArrayLike) -> Any:
        """Return the gradient with respect to z, ((1 - y) p - w y (1 - p)) / size; for w = 1 that is (p - y) / size."""
        logits, y, weight = self._pair(z, target)
        slope = activations.sigmoid(logits)
        with np.errstate(over="ignore", under="ignore"):
            if weight == 1:
                slope -= y
            else:
                slope = (1 - y) * slope - weight * y * (1 - slope)
            slope /= logits.size
        return shaped_as(z, slope)


class CrossEntropy(Loss):
    """The cross-entropy of classes: the mean over the rows of -sum_k y_k log p_k.

    Targets are rows of the predictions' shape (one-hot or probabilities), or class labels of shape (n,) or (n, 1).
    The logarithm's argument, and the denominator of the gradient, are floored at the smallest normal number.

    Parameters
    ----------
    label_smoothing : float, default 0
        Part a of each target that is spread over the k classes, from 0 to below 1: y becomes (1 - a) y + a / k
        (Szegedy et al., 2016, "Rethinking the Inception architecture for computer vision").

    Raises
    ------
    TypeError, ValueError
        If the argument is of a wrong type or out of range.

    Examples
    --------
    >>> loss = CrossEntropy()
    >>> loss([[0.5, 0.25, 0.25]], [0]) == loss([[0.5, 0.25, 0.25]], [[1, 0, 0]])
    True
    """

    __slots__ = ("_smoothing",)

    name = "cross_entropy"
    logits_of = "softmax"

    def __init__(self, label_smoothing: float = 0.0) -> None:
        self._smoothing = checks.finite_float(label_smoothing, "label_smoothing", low=0.0, below=1.0)

    @property
    def label_smoothing(self) -> float:
        """Part of each target that is spread over the classes."""
        return self._smoothing

    @property
    def settings(self) -> tuple[float, float]:
        """No parameter, and the smoothing."""
        return 0.0, self._smoothing

    def __repr__(self) -> str:
        """Return the call that makes it."""
        return _call(self, label_smoothing=(self._smoothing, 0.0))

    def _pair(self, pred: ArrayLike, target: ArrayLike) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return predictions, and targets: indices of classes, or rows where they were such or are smoothed."""
        p, y = _class_pair(pred, target)
        if self._smoothing == 0:
            return p, y
        if y.ndim == 1:
            labels, y = y, np.zeros_like(p)
            y[np.arange(len(p)), labels] = 1
        return p, _smoothed(y, self._smoothing, p.shape[1])

    def rows(self, pred: ArrayLike, target: ArrayLike) -> NDArray[np.float64]:
        """Return -sum_k y_k log p_k for each row, from probabilities `pred`."""
        p, y = self._pair(pred, target)
        if y.ndim == 1:
            return cost_of(1, p[np.arange(len(y)), y]).astype(np.float64)
        return row_sums(cost_of(y, p))

    def gradient(self, pred: ArrayLike, target: ArrayLike) -> Any:
        """Return -y / p / n."""
        p, y = self._pair(pred, target)
        with np.errstate(over="ignore", under="ignore"):
            if y.ndim == 2:
                slope = y / floored(p)
                slope /= -len(p)
                return slope
            at = (np.arange(len(y)), y)
            slope = np.zeros_like(p)
            slope[at] = -1 / floored(p[at]) / len(p)
            return slope

    def from_logits_rows(self, z: ArrayLike, target: ArrayLike) -> NDArray[np.float64]:
        """Return the loss of each row for the probabilities softmax(z), from z.

        The formula is sum_k y_k (log sum_j exp(z_j) - z_k), with z shifted by its largest element.
        """
        logits, y = self._pair(z, target)
        with np.errstate(over="ignore", under="ignore"):
            shifted = logits - logits.max(axis=1, keepdims=True)
            log_sum = np.log(np.exp(shifted).sum(axis=1))
            if y.ndim == 1:
                return np.asarray(log_sum - shifted[np.arange(len(y)), y], dtype=np.float64)
            # Where y is 0 nothing is added, though the logarithm may be infinite.
            cost = np.multiply(log_sum[:, None] - shifted, y, where=y != 0, out=np.zeros_like(shifted))
        return row_sums(cost)

    def gradient_from_logits(self, z: ArrayLike, target: ArrayLike) -> Any:
        """Return the gradient with respect to z, (softmax(z) sum_k y_k - y) / n."""
        logits, y = self._pair(z, target)
        slope = activations.softmax(logits)
        with np.errstate(under="ignore"):
            if y.ndim == 1:
                slope[np.arange(len(y)), y] -= 1
            else:
                slope *= y.sum(axis=1, keepdims=True)
                slope -= y
            slope /= len(logits)
        return slope


class Hinge(Loss):
    """The hinge loss: the mean of max(0, 1 - t pred) over all elements, for targets t of -1 and 1.

    Targets of 0 and 1 are read as -1 and 1. At the kink, t pred = 1, the gradient is 0. Meant for an identity output,
    whose sign is the class (Cortes and Vapnik, 1995, "Support-vector networks").

    Examples
    --------
    >>> Hinge()([0.5, -2.0, 3.0], [1, -1, -1])
    1.5
    """

    __slots__ = ()

    name = "hinge"

    def rows(self, pred: ArrayLike, target: ArrayLike) -> NDArray[np.float64]:
        """Return the mean over the columns of max(0, 1 - t pred), for each row."""
        p, t = checks.pair(pred, target)
        with np.errstate(over="ignore", under="ignore"):
            return mean(np.maximum(1 - signs(t, "target") * p, 0))

    def gradient(self, pred: ArrayLike, target: ArrayLike) -> Any:
        """Return -t / size where t pred is below 1, else 0."""
        p, t = checks.pair(pred, target)
        with np.errstate(over="ignore", under="ignore"):
            t = signs(t, "target")
            return shaped_as(pred, np.where(t * p < 1, -t / p.size, np.zeros((), p.dtype)))


def signs(y: NDArray[Any], name: str) -> NDArray[Any]:
    """Return targets of -1 and 1, given as such or as 0 and 1; NaN and infinity pass.

    Raises
    ------
    ValueError
        If there are other values, or both -1 and 0.
    """
    negative, zero = y == -1, y == 0
    wrong = ~(negative | zero | (y == 1)) & np.isfinite(y)
    if wrong.any():
        raise ValueError(f"{name} has the value {y[wrong][0]:g}; hinge takes targets -1 and 1, or 0 and 1")
    if zero.any():
        if negative.any():
            raise ValueError(f"{name} has the values -1 and 0; hinge takes targets -1 and 1, or 0 and 1")
        y = y.copy()
        y[zero] = -1
    return y


def _smoothed(y: NDArray[Any], amount: float, classes: int) -> NDArray[Any]:
    with np.errstate(under="ignore"):
        result: NDArray[Any] = y * (1 - amount) + amount / classes
    return result


def _call(loss: Loss, **arguments: tuple[Any, Any]) -> str:
    """Return the call that makes a loss; of pairs (value, default) those that differ."""
    given = ", ".join(f"{name}={value:g}" for name, (value, default) in arguments.items() if value != default)
    return f"{type(loss).__name__}({given})"


def _class_pair(pred: ArrayLike, target: ArrayLike) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return predictions (n, k) and either targets of that shape and dtype or class indices (n,)."""
    p, y = checks.predictions(pred), checks.numeric(target, "target")
    if np.ndim(pred) != 2 or p.shape[1] < 2:
        raise ValueError(f"pred has shape {np.shape(pred)}; cross_entropy takes (rows, classes), at least 2 classes")
    if y.shape == p.shape:
        return checks.pair(p, y)
    return p, checks.labels_for(p, y)
