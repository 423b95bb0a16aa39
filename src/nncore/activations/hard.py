"""Activations of straight pieces and parabolas that stand for smooth ones: hard_sigmoid, hard_tanh, hard_silu."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from nncore.activations.base import Activation, floats

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

_SIXTH = 1 / 6


class HardSigmoid(Activation):
    """The hard sigmoid: f(z) = min(max(z + 3, 0), 6) / 6, in [0, 1].

    f'(z) = 1/6 for -3 < z < 3, else 0, also at both kinks.

    A. Howard et al., "Searching for MobileNetV3", 2019. (Keras and the texts before it have other slopes.)

    Examples
    --------
    >>> hard_sigmoid([-4.0, 0.0, 1.5, 3.0])
    array([0.  , 0.5 , 0.75, 1.  ])
    """

    __slots__ = ()

    name = "hard_sigmoid"

    def __call__(self, z: ArrayLike) -> Any:
        """Return the hard sigmoid of `z`."""
        return _relu6_of(floats(z)) * _SIXTH

    def derivative(self, z: ArrayLike) -> Any:
        """Return 1/6 where `z` is between -3 and 3, else 0."""
        z = floats(z)
        return _where_within(z, -3, 3, _SIXTH)

    def gradient_from_output(self, a: NDArray[Any]) -> Any:
        """Return 1/6 where `a` is between 0 and 1, else 0."""
        return _where_within(a, 0, 1, _SIXTH)


class HardTanh(Activation):
    """The hard tanh: f(z) = min(max(z, -1), 1), in [-1, 1]; f'(z) = 1 for -1 < z < 1, else 0, also at both kinks.

    R. Collobert, "Large scale machine learning", 2004.

    Examples
    --------
    >>> hard_tanh([-2.0, 0.5, 3.0])
    array([-1. ,  0.5,  1. ])
    """

    __slots__ = ()

    name = "hard_tanh"

    def __call__(self, z: ArrayLike) -> Any:
        """Return `z` cut off at -1 and 1."""
        return np.clip(floats(z), -1, 1)

    def derivative(self, z: ArrayLike) -> Any:
        """Return 1 where `z` is between -1 and 1, else 0."""
        return _where_within(floats(z), -1, 1, 1.0)

    def gradient_from_output(self, a: NDArray[Any]) -> Any:
        """Return 1 where `a` is between -1 and 1, else 0."""
        return _where_within(a, -1, 1, 1.0)


class HardSilu(Activation):
    """The hard silu, also hard swish: f(z) = z min(max(z + 3, 0), 6) / 6, at least -3/8.

    f'(z) = 0 for z <= -3, (2 z + 3) / 6 up to z = 3, then 1: at the kinks the derivative from the left, 0 at -3 and
    3/2 at 3. As f falls and rises, f' does not follow from the output.

    A. Howard et al., "Searching for MobileNetV3", 2019.

    Examples
    --------
    >>> hard_silu([-4.0, -1.5, 1.0, 4.0])
    array([-0.        , -0.375     ,  0.66666667,  4.        ])
    """

    __slots__ = ()

    name = "hard_silu"
    keeps_slope = True

    def __call__(self, z: ArrayLike) -> Any:
        """Return the hard silu of `z`."""
        z = floats(z)
        with np.errstate(under="ignore"):
            return np.maximum(z, -3) * (_relu6_of(z) * _SIXTH)

    def derivative(self, z: ArrayLike) -> Any:
        """Return 0 up to -3, (2 z + 3) / 6 up to 3, then 1."""
        z = floats(z)
        with np.errstate(under="ignore"):
            middle = np.clip(z, -3, 3) * (1 / 3) + 0.5
        return np.where(z <= -3, z.dtype.type(0), np.where(z > 3, z.dtype.type(1), middle))[()]


def _relu6_of(z: NDArray[Any]) -> Any:
    return np.clip(np.minimum(z, 3) + 3, 0, 6)  # first cut off above, so that nothing overflows


def _where_within(x: NDArray[Any], low: float, high: float, value: float) -> Any:
    """Return `value` where x is between the limits, else 0, and NaN where it is NaN."""
    inside = np.where((x > low) & (x < high), x.dtype.type(value), x.dtype.type(0))
    return np.where(np.isnan(x), x, inside)[()]


hard_sigmoid = HardSigmoid()
hard_tanh = HardTanh()
hard_silu = HardSilu()
