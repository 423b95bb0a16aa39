"""One artificial neuron: a weighted sum, a bias and an activation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from nncore import activations, checks

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


class Neuron:
    """A neuron with given weights: its output for the inputs x is f(w . x + b), in float64.

    Parameters
    ----------
    weights : array_like of shape (n,)
        One finite weight for each input.
    bias : float, default 0
        The bias, b.
    activation : str or Activation, default "sigmoid"
        The function f; any but softmax, which takes several neurons.

    Attributes
    ----------
    weights : ndarray of shape (n,)
        A read-only copy.
    bias : float
    activation : Activation

    Raises
    ------
    TypeError
        If a parameter is of another type.
    ValueError
        If the weights are not a vector, a number is not finite, or the activation is not known.

    Examples
    --------
    >>> neuron = Neuron([0, 1], bias=4)
    >>> neuron([2, 3])
    0.9990889488055994
    >>> neuron([[2, 3], [0, -4]])
    array([0.99908895, 0.5       ])
    """

    __slots__ = ("activation", "bias", "weights")

    def __init__(
        self,
        weights: ArrayLike,
        bias: float = 0.0,
        activation: str | activations.Activation = "sigmoid",
    ) -> None:
        self.weights = np.array(checks.numeric(weights, "weights"), dtype=np.float64)
        if self.weights.ndim != 1 or self.weights.size == 0:
            raise ValueError(f"weights has shape {self.weights.shape}; expected (n,), one weight for each input")
        if not np.isfinite(self.weights).all():
            raise ValueError(f"weights is {self.weights}; expected finite numbers")
        self.weights.flags.writeable = False
        self.bias = checks.finite_float(bias, "bias")
        self.activation = activations.get(activation)
        if isinstance(self.activation, activations.Softmax):
            raise ValueError("activation is softmax, whose outputs sum to 1; one neuron takes another activation")

    def __call__(self, x: ArrayLike) -> Any:
        """Return the neuron's output.

        Parameters
        ----------
        x : array_like of shape (n,) or (m, n)
            The inputs, or m rows of them.

        Returns
        -------
        float or ndarray of shape (m,)
            One output for each row.

        Raises
        ------
        TypeError
            If x holds anything but real numbers.
        ValueError
            If x has not the shape (n,) or (m, n).
        """
        x = checks.numeric(x, "x")
        n = self.weights.size
        if x.ndim not in (1, 2):
            raise ValueError(f"x has {x.ndim} dimensions; expected ({n},) or (rows, {n})")
        if x.shape[-1] != n:
            raise ValueError(f"x has {x.shape[-1]} {'inputs' if x.shape[-1] != 1 else 'input'}; this neuron takes {n}")
        output = self.activation(x @ self.weights + self.bias)
        return float(output) if x.ndim == 1 else output

    def feedforward(self, x: ArrayLike) -> Any:
        """Return the neuron's output: another name for calling it."""
        return self(x)

    def __repr__(self) -> str:
        """Return the call that makes it."""
        return f"Neuron({self.weights.tolist()}, bias={self.bias!r}, activation={str(self.activation)!r})"
