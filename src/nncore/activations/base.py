"""What all activations have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from nncore import checks

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


def floats(z: ArrayLike) -> NDArray[Any]:
    """Return `z` as floats: integers and bools become float64."""
    array = checks.numeric(z, "z")
    return array if array.dtype.kind == "f" else array.astype(np.float64)


def filled(z: NDArray[Any], value: float) -> Any:
    """Return `value` everywhere but where z is NaN."""
    return np.where(np.isnan(z), z, z.dtype.type(value))[()]


def checked_alpha(alpha: float) -> float:
    """Return `alpha`, or refuse what is not a finite number of at least 0."""
    return checks.finite_float(alpha, "alpha", low=0.0)


class Activation:
    """Base class of the activations: objects that are called for the value, and have `derivative`.

    All but softmax work on each element by itself, of arrays of any shape and of single numbers. Floats keep their
    dtype, integers and bools become float64; NaN stays NaN, and no finite input warns. What holds anything but real
    numbers is a TypeError.

    Attributes
    ----------
    name : str
        The name that `get` takes.
    alpha : float
        The number that tells the object from others of its name, for the activations that have one; else 0.
    keeps_slope : bool
        Whether the derivative does not follow from the output, so that training must keep it from the forward pass.
        Then there is no `gradient_from_output`.
    """

    __slots__ = ()

    name: str
    alpha: float = 0.0
    keeps_slope: bool = False

    def __call__(self, z: ArrayLike) -> Any:
        """Return the activation of `z`.

        Parameters
        ----------
        z : array_like
            Real numbers, of any shape; for softmax with at least one element along the last axis.

        Returns
        -------
        ndarray or NumPy scalar
            Of the shape of `z`, and of its dtype where that is a float, else float64.

        Raises
        ------
        TypeError
            If `z` holds anything but real numbers.
        ValueError
            If it is no array, as its rows differ in length.
        """
        raise NotImplementedError

    def derivative(self, z: ArrayLike) -> Any:
        """Return the derivative at `z`.

        Parameters
        ----------
        z : array_like
            As for the call.

        Returns
        -------
        ndarray or NumPy scalar
            As the call; for softmax the Jacobian (..., k, k) of each row.

        Raises
        ------
        TypeError, ValueError
            As the call.
        """
        raise NotImplementedError

    def gradient_from_output(self, a: NDArray[Any]) -> Any:
        """Return the derivative at the z that gave the output `a`, a float array, of the same shape and dtype.

        Raises
        ------
        ValueError
            If the derivative does not follow from the output.
        """
        raise ValueError(f"the derivative of {self.name} does not follow from its output; it takes z")

    def slope(self, z: NDArray[Any], a: NDArray[Any]) -> Any:
        """Return the derivative at `z`, whose output is `a`, in the way that costs least."""
        return self.derivative(z) if self.keeps_slope else self.gradient_from_output(a)

    def __repr__(self) -> str:
        """Return the name, and what tells the object from others of that name."""
        return self.name

    def __eq__(self, other: object) -> bool:
        """Return whether both are the same function."""
        if not isinstance(other, Activation):
            return NotImplemented
        return (self.name, self.alpha) == (other.name, other.alpha)

    def __hash__(self) -> int:
        """Return a hash that goes with equality."""
        return hash((self.name, self.alpha))
