"""Rosenblatt's perceptron: one step neuron that learns from its mistakes."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np

from nncore import checks
from nncore.errors import ConvergenceWarning, NonFiniteData

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import ArrayLike, NDArray

_FLOAT64 = np.dtype(np.float64)


class Perceptron:
    """A linear classifier of two classes, 0 and 1, trained by the perceptron rule.

    A row x is of class 1 where z = w . x + b is at least 0. Rows are taken in their order, epoch after epoch, and for
    each mistake ``w += learning_rate * (y - prediction) * x`` and ``b += learning_rate * (y - prediction)``. Weights
    and bias start from zero. Training ends after the first epoch without a mistake, which comes if a plane separates
    the classes, given enough epochs.

    Parameters
    ----------
    learning_rate : float, default 0.01
        At least 0. From zero weights it scales weights and bias, and changes no prediction but by rounding.
    epochs : int, default 15
        The most epochs to run; 0 leaves the weights at zero.

    Attributes
    ----------
    weights : ndarray of shape (n_features,), float64
        None before `fit`.
    bias : float
    errors : list of int
        Mistakes in each epoch that was run.
    converged : bool
        Whether the last epoch was without a mistake.

    Raises
    ------
    TypeError
        If a parameter is of another type.
    ValueError
        If a parameter is out of its range.

    Notes
    -----
    F. Rosenblatt, "The perceptron: a probabilistic model for information storage and organization in the brain", 1958.

    Examples
    --------
    >>> X, y = [[0, 0], [0, 1], [1, 0], [1, 1]], [0, 0, 0, 1]
    >>> p = Perceptron().fit(X, y)
    >>> p.predict(X)
    array([0, 0, 0, 1])
    >>> p.errors
    [2, 3, 3, 2, 1, 0]
    """

    __slots__ = ("bias", "converged", "epochs", "errors", "learning_rate", "weights")

    def __init__(self, learning_rate: float = 0.01, epochs: int = 15) -> None:
        self.learning_rate = checks.finite_float(learning_rate, "learning_rate", low=0.0)
        self.epochs = checks.non_negative_int(epochs, "epochs")
        self.weights: NDArray[np.float64] | None = None
        self.bias = 0.0
        self.errors: list[int] = []
        self.converged = False

    def fit(self, X: ArrayLike, y: ArrayLike) -> Perceptron:
        """Train from zero weights.

        Parameters
        ----------
        X : array_like of shape (n, n_features)
            Finite numbers.
        y : array_like of shape (n,) or (n, 1)
            Classes, 0 or 1.

        Returns
        -------
        Perceptron
            The object itself.

        Raises
        ------
        TypeError
            If X or y holds anything but real numbers.
        ValueError
            If the shapes do not fit, X is not finite, or y has other values than 0 and 1.

        Warns
        -----
        ConvergenceWarning
            If each epoch had a mistake.
        UserWarning
            If all rows are of one class.
        """
        X = checks.matrix(X, "X", None, _FLOAT64)
        targets = _targets(y, len(X))
        finite = np.isfinite(X).all(axis=1)
        if not finite.all():
            raise NonFiniteData("X", int(finite.argmin()))
        weights, bias = np.zeros(X.shape[1]), 0.0
        self.errors, self.converged = [], False
        for _ in range(self.epochs):
            mistakes = 0
            for x, target in zip(X, targets, strict=True):
                prediction = 1 if x.dot(weights) + bias >= 0 else 0
                if prediction != target:
                    change = self.learning_rate * (target - prediction)
                    weights += change * x
                    bias += change
                    mistakes += 1
            self.errors.append(mistakes)
            if not mistakes:
                self.converged = True
                break
        self.weights, self.bias = weights, bias
        if not self.converged:
            warnings.warn(
                f"the perceptron did not converge in {self.epochs} epochs; more epochs may help, unless no plane "
                "separates the classes",
                ConvergenceWarning,
                stacklevel=2,
            )
        return self

    def predict(self, X: ArrayLike) -> NDArray[np.int64]:
        """Return the class of each row.

        Parameters
        ----------
        X : array_like of shape (n, n_features)
            Rows; a row with NaN is of class 0, as no sum is.

        Returns
        -------
        ndarray of shape (n,), int64
            0 or 1.

        Raises
        ------
        TypeError
            If X holds anything but real numbers.
        ValueError
            If there was no call of `fit`, or the shape does not fit.
        """
        if self.weights is None:
            raise ValueError("the perceptron has no weights yet; call fit first")
        X = checks.matrix(X, "X", self.weights.size, _FLOAT64, taker="this perceptron")
        # A product for each row, as in `fit`, so that sums near 0 round to the same side.
        sums = X[:, None, :] @ self.weights
        return (sums[:, 0] + self.bias >= 0).astype(np.int64)

    def __repr__(self) -> str:
        """Return the call that makes one with the same settings."""
        return f"Perceptron(learning_rate={self.learning_rate!r}, epochs={self.epochs!r})"


def _targets(y: Any, n: int) -> list[int]:
    """Return the classes of n rows as a list of 0 and 1."""
    y = checks.numeric(y, "y")
    if y.shape not in ((n,), (n, 1)):
        raise ValueError(f"y has shape {y.shape}; X has {n} {'row' if n == 1 else 'rows'}, so expected ({n},)")
    y = y.reshape(-1)
    other = (y != 0) & (y != 1)
    if other.any():
        raise ValueError(f"y has the value {y[other][0]}; expected classes 0 and 1")
    if (y == y[0]).all():
        warnings.warn(f"y has the single class {int(y[0])}; there is nothing to tell apart", UserWarning, stacklevel=3)
    return [int(target) for target in y]
