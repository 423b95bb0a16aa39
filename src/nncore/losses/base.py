"""What the losses share: the base class, and the arithmetic of means, floors and logarithms."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


class Loss:
    """Base class of the losses.

    Attributes
    ----------
    name : str
        The name that `get` takes.
    logits_of : str
        Name of the output activation with which the loss and its gradient are computed from the logits, by
        ``from_logits_rows`` and ``gradient_from_logits``; empty for none.
    """

    __slots__ = ()

    name: str
    logits_of = ""

    @property
    def settings(self) -> tuple[float, float]:
        """What the core is told: the loss's parameter, and the smoothing of the targets; 0 where it has none."""
        return 0.0, 0.0

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
        return float(mean(self.rows(pred, target)))

    def rows(self, pred: ArrayLike, target: ArrayLike) -> NDArray[np.float64]:
        """Return the loss of each row, whose mean is the loss.

        Parameters
        ----------
        pred, target
            As for the call.

        Returns
        -------
        ndarray of float64, of shape (n,)

        Raises
        ------
        TypeError, ValueError
            As the call.
        """
        raise NotImplementedError

    def gradient(self, pred: ArrayLike, target: ArrayLike) -> Any:
        """Return the gradient of the mean loss with respect to `pred`.

        Parameters
        ----------
        pred, target
            As for the call.

        Returns
        -------
        ndarray or NumPy scalar
            Of the shape of `pred`, in its dtype, or that of `target` where this is a wider float.

        Raises
        ------
        TypeError, ValueError
            As the call.
        """
        raise NotImplementedError

    def value_and_gradient(self, pred: NDArray[Any], target: Any) -> tuple[NDArray[np.float64], NDArray[Any]]:
        """Return `rows` and `gradient`."""
        return self.rows(pred, target), self.gradient(pred, target)

    def from_logits_rows(self, z: ArrayLike, target: ArrayLike) -> NDArray[np.float64]:
        """Return the loss of each row, as `rows` does, from what the activation `logits_of` gets."""
        raise NotImplementedError

    def gradient_from_logits(self, z: ArrayLike, target: ArrayLike) -> Any:
        """Return the gradient of the mean loss with respect to `z`, as `gradient` does with respect to `pred`."""
        raise NotImplementedError

    def __repr__(self) -> str:
        """Return the call that makes it."""
        return f"{type(self).__name__}()"

    def __eq__(self, other: object) -> bool:
        """Return whether both are the same loss."""
        return type(self) is type(other) and self.settings == getattr(other, "settings", None)

    def __hash__(self) -> int:
        """Return a hash that goes with equality."""
        return hash((type(self), self.settings))


def mean(values: NDArray[Any]) -> NDArray[np.float64]:
    """Return the mean over the last axis in float64, infinite only where the mean itself is."""
    with np.errstate(over="ignore", under="ignore"):
        result: NDArray[np.float64] = values.mean(axis=-1, dtype=np.float64)
        if values.dtype == np.float64 and not np.isfinite(result).all():
            result = (values / values.shape[-1]).sum(axis=-1)  # the sum may be too large where the mean is not
    return result


def row_sums(values: NDArray[Any]) -> NDArray[np.float64]:
    """Return the sums over the columns, in float64."""
    with np.errstate(over="ignore", under="ignore"):
        sums: NDArray[np.float64] = values.sum(axis=1, dtype=np.float64)
    return sums


def floored(p: NDArray[Any]) -> NDArray[Any]:
    """Return `p`, but the smallest normal number where it is less."""
    result: NDArray[Any] = np.maximum(p, np.finfo(p.dtype).tiny)
    return result


def cost_of(y: Any, p: NDArray[Any]) -> NDArray[Any]:
    """Return -y log p, floored; as y (0 - log p), so that a certain and right prediction costs 0 and not -0."""
    with np.errstate(over="ignore", under="ignore"):
        cost: NDArray[Any] = y * (0 - np.log(floored(p)))
    return cost


def shaped_as(pred: ArrayLike, gradient: NDArray[Any]) -> Any:
    """Return the gradient in the shape of what the user gave."""
    return gradient.reshape(np.shape(pred))[()]
