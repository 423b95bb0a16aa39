"""A loss of the user's own: a Python function that gives value and gradient."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from nncore import checks
from nncore.losses.base import Loss

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


class OwnLoss(Loss):
    """A loss of the user's own, which every method that takes a loss takes in place of a name.

    Parameters
    ----------
    function : callable or object
        A function ``function(pred, target)`` that returns a pair ``(value, gradient)``: the value is the mean over the
        rows, or an array of shape (n,) with the loss of each row, whose mean it then is; the gradient, of the shape of
        `pred`, is that of the mean with respect to `pred`. Or an object with two methods, ``rows(pred, target)`` that
        returns the loss of each row and ``gradient(pred, target)``, as a subclass of `Loss` has them.

    Attributes
    ----------
    label : str
        The function's name, for messages.

    Raises
    ------
    TypeError
        If it is neither.

    Notes
    -----
    `pred` is a new array (n, n_out) in the network's dtype, of the outputs after their activation. `target` are the
    rows of `y` that belong to it: of shape (n, 1) where y is (n,) and the network has one output; in the network's
    dtype where they are floats, or numbers of the shape of `pred`; else as they were given, in any shape whose first
    axis is that of the rows.

    It is called once for each batch, in the order of the steps, and for all rows at once by ``evaluate``. Weights of
    rows need the loss of each row, and a loss that is a sum over the rows. What it raises ends the call, and the
    network is as after any error. A value or a gradient that is not finite is a divergence. It must not use the network
    that is being trained: the native backend raises RuntimeError then.

    The core waits for Python in each step: some 10 microseconds, and what the function itself takes; of steps of 0.3 or
    14 microseconds by the built-in mse, one of one's own made 11 and 31 (``python bench/own_loss.py``).

    Examples
    --------
    >>> def logcosh(pred, target):
    ...     e = pred - target
    ...     return np.log(np.cosh(e)).mean(axis=1), np.tanh(e) / e.size
    >>> OwnLoss(logcosh)([0.0, 1.0], [0.0, 1.0])
    0.0
    """

    __slots__ = ("_function", "label")

    name = "own"  # whatever the function is called: no built-in loss is meant

    def __init__(self, function: Any) -> None:
        by_methods = hasattr(function, "rows") and hasattr(function, "gradient")
        if isinstance(function, type) or not (by_methods or callable(function)):
            raise TypeError(
                f"function is of type {type(function).__name__}; expected a function of (pred, target), or an object "
                "with methods rows and gradient"
            )
        self._function = function
        self.label = str(getattr(function, "__name__", type(function).__name__))

    @property
    def function(self) -> Any:
        """What was given."""
        return self._function

    def __repr__(self) -> str:
        """Return the call that makes it, nearly."""
        return f"OwnLoss({self.label})"

    def __eq__(self, other: object) -> bool:
        """Return whether both call the same."""
        return type(other) is OwnLoss and self._function == other._function

    def __hash__(self) -> int:
        """Return a hash that goes with equality."""
        return hash((OwnLoss, self.label))

    def rows(self, pred: ArrayLike, target: ArrayLike) -> NDArray[np.float64]:
        """Return the loss of each row; where the function gives only their mean, that for each."""
        p = checks.predictions(pred)
        value, _ = self.value_and_gradient(p, _column(target, p))
        return np.broadcast_to(value, len(p)).copy()

    def gradient(self, pred: ArrayLike, target: ArrayLike) -> Any:
        """Return the gradient of the mean with respect to `pred`."""
        p = checks.predictions(pred)
        return self.value_and_gradient(p, _column(target, p))[1].reshape(np.shape(pred))

    def value_and_gradient(self, pred: NDArray[Any], target: Any) -> tuple[NDArray[np.float64], NDArray[Any]]:
        """Call the function, and check what it returns.

        Returns
        -------
        value : ndarray of float64, of shape (n,) or ()
        gradient : ndarray of the shape of `pred`

        Raises
        ------
        TypeError, ValueError
            If the function returns anything else.
        """
        function, shape = self._function, pred.shape
        if hasattr(function, "rows") and hasattr(function, "gradient"):
            # Each gets an array of its own, which it may write into.
            result: Any = function.rows(pred.copy(), target), function.gradient(pred.copy(), target)
        else:
            result = function(pred.copy(), target)
        if not isinstance(result, tuple | list) or len(result) != 2:
            raise TypeError(f"loss {self.label} returned {_described(result)}; expected a pair (value, gradient)")
        value = checks.numeric(result[0], f"the value of loss {self.label}")
        if value.shape == (shape[0], 1):
            value = value[:, 0]
        if value.ndim and value.shape != shape[:1]:
            raise ValueError(
                f"the value of loss {self.label} has shape {value.shape}; expected a number, or one for each of the "
                f"{shape[0]} rows"
            )
        gradient = checks.numeric(result[1], f"the gradient of loss {self.label}")
        if gradient.shape != shape:
            raise ValueError(f"the gradient of loss {self.label} has shape {gradient.shape}; expected pred's, {shape}")
        return value.astype(np.float64), gradient

    def of_batch(
        self, pred: NDArray[Any], target: Any, weights: NDArray[np.float64] | None
    ) -> tuple[float, NDArray[Any]]:
        """Return the sum of the rows' losses, times their weights, and the gradient of the batch's weighted mean.

        Raises
        ------
        ValueError
            If there are weights, and the function gives only the mean.
        """
        value, gradient = self.value_and_gradient(pred, target)
        n = len(pred)
        if weights is None:
            return float(value.sum() if value.ndim else value * n), gradient
        self.require_rows(value)
        counts = weights > 0
        total = float(weights.sum())
        factor = weights * (n / total) if total else weights
        scaled = np.zeros(gradient.shape)  # where a row does not count, whatever its gradient: 0 times inf is no 0
        np.multiply(gradient, factor[:, None], out=scaled, where=counts[:, None])
        return float((weights[counts] * value[counts]).sum()), scaled

    def require_rows(self, value: NDArray[np.float64]) -> None:
        """Refuse a mean where the loss of each row is needed."""
        if value.ndim == 0:
            raise ValueError(f"loss {self.label} returned one number; with weights it must return one for each row")


def _column(target: Any, p: NDArray[Any]) -> Any:
    """Return one-dimensional targets of one output as a column, so that nothing is spread over a matrix."""
    y = checks.numeric(target, "target")
    return y.reshape(-1, 1) if p.shape[1] == 1 and y.ndim == 1 else y


def _described(result: Any) -> str:
    return f"a {type(result).__name__}" + (f" of {len(result)}" if isinstance(result, tuple | list) else "")
