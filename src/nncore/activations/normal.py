"""The standard normal distribution function in NumPy, which has none, accurate in its tail.

With x = abs(z), the tail Q(x) = 1 - Phi(x) is exp(-x**2 / 2) R(x), and R(x) (k + x) is a polynomial in 1 / (k + x): a
least-squares fit of the relative error for each type, those of the core (csrc/simd_activations.h).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_FAR = 40.0  # where the tail is 0 in every type but long double
_DENSITY = 0.3989422804014327  # 1 / sqrt(2 pi)
# k, A, B and the polynomial's coefficients, from the highest power, in A / (k + x) + B
_SINGLE = (
    3.5,
    8.0,
    -0.75,
    (
        -7.74889122e-6,
        1.11258223e-5,
        0.00016457311,
        -0.000346033339,
        -0.00120217656,
        5.87826726e-5,
        0.0133230519,
        0.0583761521,
        0.160804078,
        0.338328004,
        0.582830966,
    ),
)
_DOUBLE = (
    6.0,
    16.0,
    -1.5,
    (
        1.4307699726570327e-12,
        -6.7089928934388516e-12,
        -3.2819144395715088e-11,
        1.2512721009127428e-10,
        5.7402208227211657e-10,
        -1.3494781299789895e-9,
        -9.9141590151095802e-9,
        4.45635997914849e-9,
        1.5989686618655822e-7,
        3.1186215204138027e-7,
        -1.7575563620822103e-6,
        -1.1590982998854588e-5,
        -1.5884180974203443e-5,
        0.00014936386738033334,
        0.0012398741746017796,
        0.0056337803587002229,
        0.019047390687954316,
        0.052299275774279889,
        0.1212834344292904,
        0.24256377654627684,
        0.42332828119995558,
        0.64871065526294469,
        0.87474682994533326,
    ),
)


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
    phi: NDArray[Any] = np.where(z < 0, tail, 1 - tail)
    return phi


def gelu_derivative(z: NDArray[Any]) -> NDArray[Any]:
    """Return Phi(z) + z phi(z), in z's type; NaN stays."""
    x, e, r = _tail(z)
    below = e * (r - _DENSITY * x)
    slope: NDArray[Any] = np.where(z < 0, below, 1 - below).astype(z.dtype)
    return slope
