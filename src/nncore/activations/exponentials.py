"""Activations made of exponentials whose derivative follows from the output: elu, selu, softplus, exponential."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from nncore.activations.base import Activation, checked_alpha, floats

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

_SELU_SCALE = 1.0507009873554804934193349852946
_SELU_LIMIT = 1.7580993408473768599402175208123  # s alpha


def _negative_part(z: NDArray[Any]) -> NDArray[Any]:
    """Return z where it is negative, -0 or NaN, else 0; np.minimum would not keep the sign of -0."""
    return np.where(z > 0, 0, z)


class Elu(Activation):
    """The exponential linear unit: f(z) = z for z > 0, else alpha (exp(z) - 1); above -alpha.

    f'(z) = 1 for z > 0, else alpha exp(z) = f(z) + alpha; f'(0) = alpha, the derivative from the left.

    D.-A. Clevert, T. Unterthiner, S. Hochreiter, "Fast and accurate deep network learning by exponential linear units
    (ELUs)", 2016.

    Parameters
    ----------
    alpha : float, default 1.0
        Minus the limit for large negative z, at least 0.

    Raises
    ------
    TypeError
        If alpha is not a number.
    ValueError
        If alpha is negative or not finite.

    Examples
    --------
    >>> float(elu(-1.0))
    -0.6321205588285577
    >>> float(Elu(alpha=0.5).derivative(0.0))
    0.5
    """

    __slots__ = ("_alpha",)

    name = "elu"

    def __init__(self, alpha: float = 1.0) -> None:
        self._alpha = checked_alpha(alpha)

    @property
    def alpha(self) -> float:  # type: ignore[override]
        """Minus the limit for large negative z."""
        return self._alpha

    def __call__(self, z: ArrayLike, alpha: float | None = None) -> Any:
        """Return the elu of `z`, with the object's own alpha unless given."""
        z = floats(z)
        limit = self._alpha if alpha is None else checked_alpha(alpha)
        with np.errstate(over="ignore", under="ignore"):
            return np.where(z > 0, z, limit * np.expm1(_negative_part(z)))[()]

    def derivative(self, z: ArrayLike, alpha: float | None = None) -> Any:
        """Return 1 where `z` is positive, else alpha exp(z), with the object's own alpha unless given."""
        z = floats(z)
        limit = self._alpha if alpha is None else checked_alpha(alpha)
        with np.errstate(over="ignore", under="ignore"):
            return np.where(z > 0, z.dtype.type(1), limit * np.exp(_negative_part(z)))[()]

    def gradient_from_output(self, a: NDArray[Any]) -> Any:
        """Return 1 where `a` is positive, else a + alpha."""
        return np.where(a > 0, a.dtype.type(1), a + self._alpha)[()]

    def __repr__(self) -> str:
        """Return the name, and what tells the object from others of that name."""
        return self.name if self == elu else f"Elu(alpha={self._alpha!r})"


class Selu(Activation):
    """The scaled exponential linear unit: f(z) = s z for z > 0, else s alpha (exp(z) - 1); above -s alpha = -1.758.

    s = 1.0507009873554805 and alpha = 1.6732632423543773, for which the outputs keep mean 0 and variance 1 from layer
    to layer, given weights of mean 0 and variance 1 / n_in ("lecun_normal"). f'(z) = s for z > 0, else
    s alpha exp(z) = f(z) + s alpha, also at 0, the derivative from the left.

    G. Klambauer, T. Unterthiner, A. Mayr, S. Hochreiter, "Self-normalizing neural networks", 2017.

    Examples
    --------
    >>> selu([-1.0, 2.0])
    array([-1.11133074,  2.10140197])
    """

    __slots__ = ()

    name = "selu"

    def __call__(self, z: ArrayLike) -> Any:
        """Return the selu of `z`."""
        z = floats(z)
        with np.errstate(over="ignore", under="ignore"):
            return np.where(z > 0, _SELU_SCALE * z, _SELU_LIMIT * np.expm1(_negative_part(z)))[()]

    def derivative(self, z: ArrayLike) -> Any:
        """Return s where `z` is positive, else s alpha exp(z)."""
        z = floats(z)
        with np.errstate(under="ignore"):
            below = _SELU_LIMIT * np.exp(_negative_part(z))
        return np.where(z > 0, z.dtype.type(_SELU_SCALE), below)[()]

    def gradient_from_output(self, a: NDArray[Any]) -> Any:
        """Return s where `a` is positive, else a + s alpha."""
        return np.where(a > 0, a.dtype.type(_SELU_SCALE), a + _SELU_LIMIT)[()]


class Softplus(Activation):
    """The softplus: f(z) = log(1 + exp(z)), a smooth relu, above 0; f' = 1 / (1 + exp(-z)) = 1 - exp(-f).

    Computed as max(z, 0) + log1p(exp(-|z|)), where nothing overflows and small values keep their accuracy.

    C. Dugas, Y. Bengio, F. Belisle, C. Nadeau, R. Garcia, "Incorporating second-order functional knowledge for better
    option pricing", 2000.

    Examples
    --------
    >>> softplus([-1.0, 0.0, 1.0])
    array([0.31326169, 0.69314718, 1.31326169])
    """

    __slots__ = ()

    name = "softplus"

    def __call__(self, z: ArrayLike) -> Any:
        """Return the softplus of `z`."""
        z = floats(z)
        with np.errstate(under="ignore"):
            return np.maximum(z, 0) + np.log1p(np.exp(-np.abs(z)))

    def derivative(self, z: ArrayLike) -> Any:
        """Return the sigmoid of `z`."""
        z = floats(z)
        with np.errstate(under="ignore"):
            return np.exp(np.minimum(z, 0)) / (1 + np.exp(-np.abs(z)))

    def gradient_from_output(self, a: NDArray[Any]) -> Any:
        """Return 1 - exp(-a)."""
        with np.errstate(under="ignore"):
            return -np.expm1(-a)


class Exponential(Activation):
    """The exponential: f(z) = exp(z), f' = f, above 0: for outputs that are positive, such as rates of counts.

    Where exp(z) is larger than its type it is infinite, without a warning.

    Examples
    --------
    >>> exponential([0.0, 1.0])
    array([1.        , 2.71828183])
    """

    __slots__ = ()

    name = "exponential"

    def __call__(self, z: ArrayLike) -> Any:
        """Return exp(z)."""
        z = floats(z)
        with np.errstate(over="ignore", under="ignore"):
            return np.exp(z)

    def derivative(self, z: ArrayLike) -> Any:
        """Return exp(z)."""
        return self(z)

    def gradient_from_output(self, a: NDArray[Any]) -> Any:
        """Return a copy of `a`."""
        return a.copy()


elu = Elu()
selu = Selu()
softplus = Softplus()
exponential = Exponential()
