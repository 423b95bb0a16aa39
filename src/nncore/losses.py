"""Loss functions, their gradients, and the stable forms that start from the logits.

Each loss is a class. Called, it gives the mean as a float: of all elements for the mean squared error and the binary
cross-entropy, of the rows for the cross-entropy. ``.rows`` gives each row's part, whose mean that is, and
``.gradient`` the gradient of that mean with respect to the predictions.

Predictions are (n, k), or (n,) for one column, and targets have the same shape; nothing is broadcast. Numbers are
cast before arithmetic; the dtype is the predictions' unless the targets are wider floats. Sums are made in float64.
A value too large for its type is infinite, without a warning, and finite input never gives NaN.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from nncore import activations, checks

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


class Loss:
    """Base class of the losses.

    Attributes
    ----------
    name : str
        The name that `get` takes.
    """

    __slots__ = ()

    name: str

    def __call__(self, pred: ArrayLike, target: ArrayLike) -> float:
        """Return the mean loss.

        Parameters
        ----------
        pred : array_like of shape (n, k) or (n,)
            Predictions.
        target : array_like
            Targets.

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
        return float(_mean(self.rows(pred, target)))

    def rows(self, pred: ArrayLike, target: ArrayLike) -> NDArray[np.float64]:
        """Return the loss of each row, of shape (n,), whose mean is the loss."""
        raise NotImplementedError

    def gradient(self, pred: ArrayLike, target: ArrayLike) -> Any:
        """Return the gradient of the mean loss with respect to `pred`, of its shape."""
        raise NotImplementedError

    def __repr__(self) -> str:
        """Return the call that makes it."""
        return f"{type(self).__name__}()"

    def __eq__(self, other: object) -> bool:
        """Return whether both are the same loss."""
        return type(self) is type(other)

    def __hash__(self) -> int:
        """Return a hash that goes with equality."""
        return hash(type(self))


class MeanSquaredError(Loss):
    """The mean squared error: the mean of (pred - target)**2 over all elements.

    Examples
    --------
    >>> MeanSquaredError()([1.0, 2.0], [1.0, 4.0])
    2.0
    """

    __slots__ = ()

    name = "mse"

    def rows(self, pred: ArrayLike, target: ArrayLike) -> NDArray[np.float64]:
        """Return the mean over the columns of (pred - target)**2, for each row."""
        p, t = checks.pair(pred, target)
        with np.errstate(over="ignore", under="ignore"):
            difference = p - t
            difference *= difference
        return _mean(difference)

    def gradient(self, pred: ArrayLike, target: ArrayLike) -> Any:
        """Return 2 (pred - target) / size."""
        p, t = checks.pair(pred, target)
        with np.errstate(over="ignore", under="ignore"):
            difference = p - t
            difference *= 2.0 / p.size
        return _shaped_as(pred, difference)


class BinaryCrossEntropy(Loss):
    """The binary cross-entropy: the mean of -(y log p + (1 - y) log(1 - p)) over all elements.

    The arguments of the logarithms, and the denominators of the gradient, are floored at the smallest normal number
    of the dtype, so that a certain and right prediction costs 0 and a certain and wrong one a finite amount.
    """

    __slots__ = ()

    name = "bce"

    def rows(self, pred: ArrayLike, target: ArrayLike) -> NDArray[np.float64]:
        """Return the mean over the columns for each row, from probabilities `pred`."""
        p, y = checks.pair(pred, target)
        return _mean(_cost(y, p) + _cost(1 - y, 1 - p))

    def gradient(self, pred: ArrayLike, target: ArrayLike) -> Any:
        """Return ((1 - y) / (1 - p) - y / p) / size."""
        p, y = checks.pair(pred, target)
        with np.errstate(over="ignore", under="ignore"):
            slope = (1 - y) / _floored(1 - p) - y / _floored(p)
            slope /= p.size
        return _shaped_as(pred, slope)

    def from_logits_rows(self, z: ArrayLike, target: ArrayLike) -> NDArray[np.float64]:
        """Return the loss of each row for the probabilities sigmoid(z), from z.

        The formula is max(z, 0) - z y + log(1 + exp(-|z|)), which neither overflows nor cancels.
        """
        logits, y = checks.pair(z, target)
        with np.errstate(over="ignore", under="ignore"):
            # max(z, 0) - z y, as a product of one rounding: exact for labels, and never infinity minus infinity.
            cost = logits * ((logits > 0) - y)
            cost += np.log1p(np.exp(-np.abs(logits)))
        return _mean(cost)

    def gradient_from_logits(self, z: ArrayLike, target: ArrayLike) -> Any:
        """Return the gradient with respect to z, (sigmoid(z) - y) / size."""
        logits, y = checks.pair(z, target)
        slope = activations.sigmoid(logits)
        with np.errstate(under="ignore"):
            slope -= y
            slope /= logits.size
        return _shaped_as(z, slope)


class CrossEntropy(Loss):
    """The cross-entropy of classes: the mean over the rows of -sum_k y_k log p_k.

    Targets are rows of the predictions' shape (one-hot or probabilities), or class labels of shape (n,) or (n, 1).
    The logarithm's argument, and the denominator of the gradient, are floored at the smallest normal number.

    Examples
    --------
    >>> loss = CrossEntropy()
    >>> loss([[0.5, 0.25, 0.25]], [0]) == loss([[0.5, 0.25, 0.25]], [[1, 0, 0]])
    True
    """

    __slots__ = ()

    name = "cross_entropy"

    def rows(self, pred: ArrayLike, target: ArrayLike) -> NDArray[np.float64]:
        """Return -sum_k y_k log p_k for each row, from probabilities `pred`."""
        p, y = _class_pair(pred, target)
        if y.ndim == 1:
            return _cost(1, p[np.arange(len(y)), y]).astype(np.float64)
        return _row_sums(_cost(y, p))

    def gradient(self, pred: ArrayLike, target: ArrayLike) -> Any:
        """Return -y / p / n."""
        p, y = _class_pair(pred, target)
        with np.errstate(over="ignore", under="ignore"):
            if y.ndim == 2:
                slope = y / _floored(p)
                slope /= -len(p)
                return slope
            at = (np.arange(len(y)), y)
            slope = np.zeros_like(p)
            slope[at] = -1 / _floored(p[at]) / len(p)
            return slope

    def from_logits_rows(self, z: ArrayLike, target: ArrayLike) -> NDArray[np.float64]:
        """Return the loss of each row for the probabilities softmax(z), from z.

        The formula is sum_k y_k (log sum_j exp(z_j) - z_k), with z shifted by its largest element.
        """
        logits, y = _class_pair(z, target)
        with np.errstate(over="ignore", under="ignore"):
            shifted = logits - logits.max(axis=1, keepdims=True)
            log_sum = np.log(np.exp(shifted).sum(axis=1))
            if y.ndim == 1:
                return np.asarray(log_sum - shifted[np.arange(len(y)), y], dtype=np.float64)
            # Where y is 0 nothing is added, though the logarithm may be infinite.
            cost = np.multiply(log_sum[:, None] - shifted, y, where=y != 0, out=np.zeros_like(shifted))
        return _row_sums(cost)

    def gradient_from_logits(self, z: ArrayLike, target: ArrayLike) -> Any:
        """Return the gradient with respect to z, (softmax(z) sum_k y_k - y) / n."""
        logits, y = _class_pair(z, target)
        slope = activations.softmax(logits)
        with np.errstate(under="ignore"):
            if y.ndim == 1:
                slope[np.arange(len(y)), y] -= 1
            else:
                slope *= y.sum(axis=1, keepdims=True)
                slope -= y
            slope /= len(logits)
        return slope


def _mean(values: NDArray[Any]) -> NDArray[np.float64]:
    """Return the mean over the last axis in float64, infinite only where the mean itself is."""
    with np.errstate(over="ignore", under="ignore"):
        result: NDArray[np.float64] = values.mean(axis=-1, dtype=np.float64)
        if values.dtype == np.float64 and not np.isfinite(result).all():
            result = (values / values.shape[-1]).sum(axis=-1)  # the sum may be too large where the mean is not
    return result


def _row_sums(values: NDArray[Any]) -> NDArray[np.float64]:
    with np.errstate(over="ignore", under="ignore"):
        sums: NDArray[np.float64] = values.sum(axis=1, dtype=np.float64)
    return sums


def _floored(p: NDArray[Any]) -> NDArray[Any]:
    floored: NDArray[Any] = np.maximum(p, np.finfo(p.dtype).tiny)
    return floored


def _cost(y: Any, p: NDArray[Any]) -> NDArray[Any]:
    """Return -y log p, floored; as y (0 - log p), so that a certain and right prediction costs 0 and not -0."""
    with np.errstate(over="ignore", under="ignore"):
        cost: NDArray[Any] = y * (0 - np.log(_floored(p)))
    return cost


def _shaped_as(pred: ArrayLike, gradient: NDArray[Any]) -> Any:
    return gradient.reshape(np.shape(pred))[()]


def _class_pair(pred: ArrayLike, target: ArrayLike) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return predictions (n, k) and either targets of that shape and dtype or class indices (n,)."""
    p, y = checks.predictions(pred), checks.numeric(target, "target")
    if np.ndim(pred) != 2 or p.shape[1] < 2:
        raise ValueError(f"pred has shape {np.shape(pred)}; cross_entropy takes (rows, classes), at least 2 classes")
    if y.shape == p.shape:
        return checks.pair(p, y)
    return p, checks.labels_for(p, y)


ALIASES: dict[str, Loss] = {loss.name: loss for loss in (MeanSquaredError(), BinaryCrossEntropy(), CrossEntropy())}


def get(loss: str | Loss) -> Loss:
    """Return the loss of that name, or the object itself.

    Raises
    ------
    TypeError
        If it is neither a string nor a loss object.
    ValueError
        If there is no loss of that name; the message lists those there are.
    """
    return checks.named(loss, "loss", ALIASES, Loss)


def default_for(activation: str | activations.Activation) -> Loss:
    """Return the loss that fits an output activation: cross_entropy for softmax, bce for sigmoid, else mse."""
    fitting = {"softmax": "cross_entropy", "sigmoid": "bce"}
    return ALIASES[fitting.get(activations.get(activation).name, "mse")]
