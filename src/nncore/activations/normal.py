"""The standard normal distribution function in NumPy, which has none, accurate in its tail.

With x = abs(z), the tail Q(x) = 1 - Phi(x) is exp(-x**2 / 2) R(x), and R(x) (k + x) is a polynomial in 1 / (k + x): least
squares fits of the relative error, one for each type, the core's (csrc/simd_activations.h).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_FAR = 40.0  # where the tail is 0 in every type but long double
_DENSITY = 0.3989422804014327  # 1 / sqrt(2 pi)
# k, A, B and the polynomial's coefficients, from the highest power: A / (k + x) + B lies in [-1, 1].
_SINGLE = (3.5, 8.6875, -1.484375, (
    -1.73529236e-6, -1.71160409e-5, 4.38813913e-5, 0.00022399686, -0.000580327061, -0.00328662456, 0.00395470904,
    0.0663127378, 0.251345694, 0.566516697, 0.868311346,
))  # fmt: skip
_DOUBLE = (6.0, 13.875, -1.3125, (
    2.1800059424719695e-11, -1.2536434416801956e-10, -5.3424961266629998e-10, 1.739927823305494e-9,
    7.6996019445533622e-9, -1.3599495894042864e-8, -9.9558101939394048e-8, 1.933838157171353e-8,
    1.1804031971629327e-6, 2.1816764803035927e-6, -9.3997088808253294e-6, -5.691923316417061e-5,
    -7.3295324827709661e-5, 0.0005303902913316894, 0.0039331788266243374, 0.01564207132255227, 0.04605565003266774,
    0.10983610727072295, 0.22080326827222252, 0.3821528054647001, 0.57618082220058997, 0.76141094459741554,
    0.88359109892586851,
))  # fmt: skip


def _tail(z: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Return abs(z), exp(-z**2 / 2) and R(abs(z)), in float32 for float16."""
    x = np.minimum(np.abs(z.astype(np.float32) if z.dtype == np.float16 else z), _FAR)
    shift, a, b, coefficients = _SINGLE if x.dtype == np.float32 else _DOUBLE
    t = 1 / (x + shift)
    u = a * t + b
    polynomial = np.full_like(x, coefficients[0])
    for c in coefficients[1:]:
        polynomial = polynomial * u + c
    high = np.round(x * 64) / 64  # its square is exact: exp magnifies the rounding of x**2
    e = np.exp(-0.5 * (high * high)) * np.exp(-0.5 * (x - high) * (x + high))
    return x, e, polynomial * t


def distribution(z: NDArray[Any]) -> NDArray[Any]:
    """Return Phi(z), in float32 for float16; NaN stays."""
    _, e, r = _tail(z)
    tail = e * r
    return np.where(z < 0, tail, 1 - tail)


def gelu_derivative(z: NDArray[Any]) -> NDArray[Any]:
    """Return Phi(z) + z phi(z), in z's type; NaN stays."""
    x, e, r = _tail(z)
    below = e * (r - _DENSITY * x)
    slope: NDArray[Any] = np.where(z < 0, below, 1 - below).astype(z.dtype)
    return slope
