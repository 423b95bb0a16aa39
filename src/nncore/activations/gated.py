"""Smooth activations that fall and rise again, z times a gate: gelu, silu, mish.

Their derivative does not follow from the output, so that training keeps it from the forward pass.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from nncore import checks
from nncore.activations import normal
from nncore.activations.base import Activation, floats

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

_LINEAR = 1.5957691216057308  # 2 sqrt(2 / pi)
_CUBIC = _LINEAR * 0.044715
_FAR = 60.0  # where the tanh of gelu_tanh has long been flat in every type


def _above_all(z: NDArray[Any]) -> NDArray[Any]:
    """Return z, but the lowest finite number for -infinity: a gate that is 0 makes 0 of it, not NaN."""
    above: NDArray[Any] = np.maximum(z, np.finfo(z.dtype).min)
    return above


class Gelu(Activation):
    """The Gaussian error linear unit: f(z) = z Phi(z), Phi the standard normal distribution function; above -0.17.

    f'(z) = Phi(z) + z phi(z), phi the standard normal density. With ``approximate="tanh"`` Phi(z) is replaced by
    (1 + tanh(sqrt(2 / pi) (z + 0.044715 z**3))) / 2, which is off by less than 5e-4, and f' by its derivative.

    D. Hendrycks, K. Gimpel, "Gaussian error linear units (GELUs)", 2016.

    Parameters
    ----------
    approximate : {"tanh"}, optional
        None is the exact one. The name of the object is "gelu", or "gelu_tanh".

    Raises
    ------
    TypeError, ValueError
        If approximate is neither None nor "tanh".

    Examples
    --------
    >>> gelu([-1.0, 0.0, 1.0])
    array([-0.15865525,  0.        ,  0.84134475])
    >>> float(gelu(1.0, approximate="tanh"))
    0.8411919906082768
    """

    __slots__ = ("_approximate",)

    keeps_slope = True

    def __init__(self, approximate: str | None = None) -> None:
        self._approximate = _checked_approximate(approximate)

    @property
    def approximate(self) -> str | None:
        """None for the exact function, or "tanh"."""
        return self._approximate

    @property
    def name(self) -> str:  # type: ignore[override]
        """The name that `get` takes."""
        return "gelu" if self._approximate is None else "gelu_tanh"

    def __call__(self, z: ArrayLike, approximate: str | None = None) -> Any:
        """Return the gelu of `z`, with the object's own `approximate` unless given."""
        z = floats(z)
        tanh = (_checked_approximate(approximate) or self._approximate) == "tanh"
        with np.errstate(over="ignore", under="ignore"):
            if tanh:
                return (_above_all(z) * _gate(_inner(np.clip(z, -_FAR, _FAR)))).astype(z.dtype)[()]
            return (_above_all(z) * normal.distribution(z)).astype(z.dtype)[()]

    def derivative(self, z: ArrayLike, approximate: str | None = None) -> Any:
        """Return the derivative at `z`, with the object's own `approximate` unless given."""
        z = floats(z)
        tanh = (_checked_approximate(approximate) or self._approximate) == "tanh"
        with np.errstate(over="ignore", under="ignore"):
            if not tanh:
                return normal.gelu_derivative(z)[()]
            wide = np.clip(_wide(z), -_FAR, _FAR)
            w = _inner(wide)
            slope = _gate(w) + wide * (_LINEAR + 3 * _CUBIC * wide * wide) * (_gate(w) * _gate(-w))
            return slope.astype(z.dtype)[()]

    def __repr__(self) -> str:
        """Return the name, and what tells the object from others of that name."""
        return self.name if self._approximate is None else "Gelu(approximate='tanh')"


class Silu(Activation):
    """The sigmoid linear unit, also swish: f(z) = z s(z), s(z) = 1 / (1 + exp(-z)); above -0.28.

    f'(z) = s(z) + z s(z) s(-z).

    S. Elfwing, E. Uchibe, K. Doya, "Sigmoid-weighted linear units for neural network function approximation in
    reinforcement learning", 2018.

    Examples
    --------
    >>> silu([-1.0, 0.0, 1.0])
    array([-0.26894142,  0.        ,  0.73105858])
    """

    __slots__ = ()

    name = "silu"
    keeps_slope = True

    def __call__(self, z: ArrayLike) -> Any:
        """Return the silu of `z`."""
        z = floats(z)
        with np.errstate(under="ignore"):
            return _above_all(z) * _gate(z)

    def derivative(self, z: ArrayLike) -> Any:
        """Return s(z) + z s(z) s(-z)."""
        z = floats(z)
        finite = np.clip(z, np.finfo(z.dtype).min, np.finfo(z.dtype).max)
        with np.errstate(under="ignore"):
            return _gate(z) + finite * (_gate(z) * _gate(-z))


class Mish(Activation):
    """The mish: f(z) = z tanh(log(1 + exp(z))); above -0.31.

    With w = exp(z) (exp(z) + 2), tanh(log(1 + exp(z))) = w / (w + 2), where nothing cancels, and
    f'(z) = w / (w + 2) + 4 z exp(z) (1 + exp(z)) / (w + 2)**2.

    D. Misra, "Mish: a self regularized non-monotonic activation function", 2020.

    Examples
    --------
    >>> mish([-1.0, 0.0, 1.0])
    array([-0.30340146,  0.        ,  0.86509839])
    """

    __slots__ = ()

    name = "mish"
    keeps_slope = True

    def __call__(self, z: ArrayLike) -> Any:
        """Return the mish of `z`."""
        z = floats(z)
        with np.errstate(under="ignore"):
            e = np.exp(np.minimum(z, _flat(z)))
            w = e * (e + 2)
            return _above_all(z) * (w / (w + 2))

    def derivative(self, z: ArrayLike) -> Any:
        """Return w / (w + 2) + 4 z exp(z) (1 + exp(z)) / (w + 2)**2."""
        z = floats(z)
        with np.errstate(under="ignore"):
            below = np.minimum(_above_all(z), _flat(z))  # beyond, the derivative is 1
            e = np.exp(below)
            w = e * (e + 2)
            slope = w / (w + 2) + below * (e / (w + 2)) * (4 * ((1 + e) / (w + 2)))
            return np.where(z > below, z.dtype.type(1), slope)[()]


def _checked_approximate(approximate: str | None) -> str | None:
    return None if approximate is None else checks.one_of(approximate, "approximate", ("tanh",))


def _wide(z: NDArray[Any]) -> NDArray[Any]:
    return z.astype(np.float32) if z.dtype == np.float16 else z


def _inner(z: NDArray[Any]) -> NDArray[Any]:
    """Return twice what the tanh of gelu_tanh is taken of: (1 + tanh(w / 2)) / 2 is the sigmoid of w."""
    z = _wide(z)
    inner: NDArray[Any] = z * (_LINEAR + _CUBIC * z * z)
    return inner


def _gate(z: NDArray[Any]) -> NDArray[Any]:
    """Return the sigmoid, as `nncore.sigmoid` computes it."""
    gate: NDArray[Any] = np.exp(np.minimum(z, 0)) / (1 + np.exp(-np.abs(z)))
    return gate


def _flat(z: NDArray[Any]) -> Any:
    """Return a z from which on w / (w + 2) rounds to 1, and w does not overflow."""
    return z.dtype.type(2 - 0.5 * np.log(np.finfo(z.dtype).eps))


gelu = Gelu()
silu = Silu()
mish = Mish()
