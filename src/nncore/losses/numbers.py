"""Losses of numbers: squared, absolute, Huber's, quantile, Poisson, cosine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from nncore import checks
from nncore.losses.base import Loss, cost_of, floored, mean, shaped_as

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


class MeanSquaredError(Loss):
    """The mean squared error: the mean of (pred - target)**2 over all elements, at least 0.

    The gradient is 2 (pred - target) over the number of elements.

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
        return mean(difference)

    def gradient(self, pred: ArrayLike, target: ArrayLike) -> Any:
        """Return 2 (pred - target) / size."""
        p, t = checks.pair(pred, target)
        with np.errstate(over="ignore", under="ignore"):
            difference = p - t
            difference *= 2.0 / p.size
        return shaped_as(pred, difference)


class _Elementwise(Loss):
    """A mean over all elements of a function of one prediction and one target."""

    __slots__ = ()

    def _costs(self, p: NDArray[Any], t: NDArray[Any]) -> NDArray[Any]:
        """Return each element's loss."""
        raise NotImplementedError

    def _slopes(self, p: NDArray[Any], t: NDArray[Any]) -> NDArray[Any]:
        """Return each element's derivative by the prediction."""
        raise NotImplementedError

    def rows(self, pred: ArrayLike, target: ArrayLike) -> NDArray[np.float64]:
        """Return the mean over the columns for each row."""
        p, t = checks.pair(pred, target)
        with np.errstate(over="ignore", under="ignore"):
            return mean(self._costs(p, t))

    def gradient(self, pred: ArrayLike, target: ArrayLike) -> Any:
        """Return the derivatives over the number of elements."""
        p, t = checks.pair(pred, target)
        with np.errstate(over="ignore", under="ignore"):
            return shaped_as(pred, self._slopes(p, t) / p.size)


class MeanAbsoluteError(_Elementwise):
    """The mean absolute error: the mean of abs(pred - target) over all elements.

    The gradient is the sign of pred - target over the number of elements; 0 where they are equal.

    Examples
    --------
    >>> MeanAbsoluteError()([1.0, 2.0], [1.0, 4.0])
    1.0
    """

    __slots__ = ()

    name = "mae"

    def _costs(self, p: NDArray[Any], t: NDArray[Any]) -> NDArray[Any]:
        costs: NDArray[Any] = np.abs(p - t)
        return costs

    def _slopes(self, p: NDArray[Any], t: NDArray[Any]) -> NDArray[Any]:
        slopes: NDArray[Any] = np.sign(p - t)
        return slopes


class Huber(_Elementwise):
    """Huber's loss: squared near the target, absolute far from it, the mean over all elements.

    With e = pred - target it is e**2 / 2 where abs(e) is at most delta, else delta (abs(e) - delta / 2); the derivative
    is e, held between -delta and delta (Huber, 1964, "Robust estimation of a location parameter").

    Parameters
    ----------
    delta : float, default 1
        Where the one becomes the other; above 0.

    Raises
    ------
    TypeError, ValueError
        If the argument is of a wrong type or out of range.

    Examples
    --------
    >>> Huber()([0.5, 3.0], [0.0, 0.0])
    1.3125
    """

    __slots__ = ("_delta",)

    name = "huber"

    def __init__(self, delta: float = 1.0) -> None:
        self._delta = checks.finite_float(delta, "delta", above=0.0)

    @property
    def delta(self) -> float:
        """Where the squared part ends."""
        return self._delta

    @property
    def settings(self) -> tuple[float, float]:
        """Delta, and no smoothing."""
        return self._delta, 0.0

    def __repr__(self) -> str:
        """Return the call that makes it."""
        return f"Huber(delta={self._delta:g})"

    def _delta_in(self, p: NDArray[Any]) -> Any:
        return p.dtype.type(min(self._delta, float(np.finfo(p.dtype).max)))

    def _costs(self, p: NDArray[Any], t: NDArray[Any]) -> NDArray[Any]:
        size = np.abs(p - t)
        near = np.minimum(size, self._delta_in(p))
        costs: NDArray[Any] = near * (size - near / 2)
        return costs

    def _slopes(self, p: NDArray[Any], t: NDArray[Any]) -> NDArray[Any]:
        delta = self._delta_in(p)
        slopes: NDArray[Any] = np.clip(p - t, -delta, delta)
        return slopes


class Quantile(_Elementwise):
    """The quantile (pinball) loss: the mean of max(q e, (q - 1) e) over all elements, e = target - pred.

    A network that is trained by it predicts the q-quantile of the target, as one trained by the absolute error, twice
    that of q = 0.5, predicts the median (Koenker and Bassett, 1978, "Regression quantiles"). The derivative by the
    prediction is -q below the target, 1 - q above it, and 0 at it.

    Parameters
    ----------
    q : float, default 0.5
        Above 0 and below 1.

    Raises
    ------
    TypeError, ValueError
        If the argument is of a wrong type or out of range.

    Examples
    --------
    >>> Quantile(0.75)([0.0, 4.0], [2.0, 2.0])
    1.0
    """

    __slots__ = ("_q",)

    name = "quantile"

    def __init__(self, q: float = 0.5) -> None:
        self._q = checks.finite_float(q, "q", above=0.0, below=1.0)

    @property
    def q(self) -> float:
        """Which quantile is predicted."""
        return self._q

    @property
    def settings(self) -> tuple[float, float]:
        """The quantile, and no smoothing."""
        return self._q, 0.0

    def __repr__(self) -> str:
        """Return the call that makes it."""
        return f"Quantile(q={self._q:g})"

    def _costs(self, p: NDArray[Any], t: NDArray[Any]) -> NDArray[Any]:
        e = t - p
        costs: NDArray[Any] = e * np.where(e < 0, p.dtype.type(self._q - 1), p.dtype.type(self._q))
        return costs

    def _slopes(self, p: NDArray[Any], t: NDArray[Any]) -> NDArray[Any]:
        real = p.dtype.type
        below, above = p < t, p > t
        slopes: NDArray[Any] = np.where(below, real(-self._q), np.where(above, real(1 - self._q), real(0)))
        return slopes


class Poisson(_Elementwise):
    """The Poisson loss: the mean of pred - target log(pred) over all elements, for rates and counts of at least 0.

    It is the negative logarithm of the likelihood of a count `target` whose rate is `pred`, but for a term of the
    target alone. The logarithm's argument, and the denominator of the gradient 1 - target / pred, are floored at the
    smallest normal number: meant for outputs above 0, as those of the activation exponential, with which it is computed
    from the logits z, exp(z) - target z.

    Examples
    --------
    >>> Poisson()([1.0, 2.0], [3.0, 0.0])
    1.5
    """

    __slots__ = ()

    name = "poisson"
    logits_of = "exponential"

    def _costs(self, p: NDArray[Any], t: NDArray[Any]) -> NDArray[Any]:
        costs: NDArray[Any] = p + cost_of(t, p)
        return costs

    def _slopes(self, p: NDArray[Any], t: NDArray[Any]) -> NDArray[Any]:
        slopes: NDArray[Any] = 1 - t / floored(p)
        return slopes

    def from_logits_rows(self, z: ArrayLike, target: ArrayLike) -> NDArray[np.float64]:
        """Return the loss of each row for the rates exp(z), from z: the mean over the columns of exp(z) - target z."""
        logits, t = checks.pair(z, target)
        with np.errstate(over="ignore", under="ignore"):
            rate = np.exp(logits)
            return mean(np.subtract(rate, t * logits, where=np.isfinite(rate), out=rate))

    def gradient_from_logits(self, z: ArrayLike, target: ArrayLike) -> Any:
        """Return the gradient with respect to z, (exp(z) - target) / size."""
        logits, t = checks.pair(z, target)
        with np.errstate(over="ignore", under="ignore"):
            return shaped_as(z, (np.exp(logits) - t) / logits.size)


class Cosine(Loss):
    """The cosine distance: the mean over the rows of 1 - cos(pred, target), from 0 to 2.

    The cosine is that of the angle between a row of predictions and its target, sum(pred target) / (|pred| |target|),
    whatever their lengths. Where either is a row of zeros it counts as 0, and so does the gradient there. The gradient
    of a row is (cos pred / |pred| - target / |target|) / |pred| / n.

    Examples
    --------
    >>> Cosine()([[2.0, 0.0], [0.0, 3.0]], [[1.0, 0.0], [0.0, -1.0]])
    1.0
    """

    __slots__ = ()

    name = "cosine"

    def rows(self, pred: ArrayLike, target: ArrayLike) -> NDArray[np.float64]:
        """Return 1 - cos(pred, target) for each row."""
        with np.errstate(all="ignore"):
            *_, cosine = _cosine(pred, target)
        return np.maximum(1 - cosine[:, 0].astype(np.float64), 0)

    def gradient(self, pred: ArrayLike, target: ArrayLike) -> Any:
        """Return (cos pred / |pred| - target / |target|) / |pred| / n."""
        with np.errstate(all="ignore"):
            p, t, size, squared, norms, cosine = _cosine(pred, target)
            slope = np.where(norms == 0, 0, (p * (cosine / squared) - t / norms) / size)
            slope /= len(p)
        return slope


def _cosine(pred: ArrayLike, target: ArrayLike) -> tuple[NDArray[Any], ...]:
    """Return what the cosine's value and gradient are made of.

    These are both matrices with a largest number of 1 in each row, what pred was divided by, |pred|**2 and
    |pred| |target| after that, and the cosines; the last four as columns.
    """
    p, t = checks.pair(pred, target)
    if np.ndim(pred) != 2 or p.shape[1] < 2:
        raise ValueError(f"pred has shape {np.shape(pred)}; cosine takes (rows, columns), at least 2 columns")
    size, length = (np.abs(rows).max(axis=1, keepdims=True) for rows in (p, t))
    size, length = (np.where(top > 0, top, top.dtype.type(1)) for top in (size, length))
    p, t = p / size, t / length
    squared = (p * p).sum(axis=1, keepdims=True)
    norms = np.sqrt(squared * (t * t).sum(axis=1, keepdims=True))
    dots = (p * t).sum(axis=1, keepdims=True)
    return p, t, size, squared, norms, np.where(norms == 0, norms.dtype.type(0), dots / norms)
