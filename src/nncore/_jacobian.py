"""The Jacobian of a dense network by its weights, and the normal equations of least squares; in NumPy, in float64."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Vector = NDArray[np.float64]
    Array = NDArray[Any]

_BLOCK_BYTES = 64e6  # of the Jacobian: so many rows of it are made at a time


def _forward(activations: Sequence[Any], weights: Sequence[Array], x: Array) -> tuple[list[Vector], list[Vector]]:
    """Return the inputs of each layer and the last one's outputs, and each layer's z."""
    outputs, zs = [x.astype(np.float64)], []
    for layer, activation in enumerate(activations):
        zs.append(outputs[-1] @ weights[2 * layer].astype(np.float64) + weights[2 * layer + 1])
        outputs.append(activation(zs[-1]))
    return outputs, zs


def jacobian(activations: Sequence[Any], weights: Sequence[Array], x: Array) -> tuple[Vector, Vector]:
    """Return a network's outputs (n, k) for rows x, and their Jacobian (n, k, number of parameters).

    One backward pass for each output, over all rows together. The parameters are in the order of ``get_weights``.
    """
    outputs, zs = _forward(activations, weights, x)
    n, k = outputs[-1].shape
    result = np.empty((n, k, sum(array.size for array in weights)))
    last = activations[-1].derivative(zs[-1])  # (n, k), or a matrix for each row: softmax
    for output in range(k):
        if last.ndim == 3:
            delta = last[:, output]
        else:
            delta = np.zeros((n, k))
            delta[:, output] = last[:, output]
        end = result.shape[2]
        for layer in range(len(activations) - 1, -1, -1):  # delta is the output's derivative by the layer's z
            weight = weights[2 * layer].astype(np.float64)
            bias_at = end - weight.shape[1]
            result[:, output, bias_at:end] = delta
            end = bias_at - weight.size
            result[:, output, end:bias_at] = (outputs[layer][:, :, None] * delta[:, None, :]).reshape(n, -1)
            if layer:
                delta = (delta @ weight.T) * activations[layer - 1].derivative(zs[layer - 1])
    return outputs[-1], result


def counted(X: Array, y: Array, factors: Vector | None) -> tuple[Array, Array, Vector | None]:
    """Return the rows that count: those whose factor is not 0, for these add nothing whatever they hold."""
    if factors is None or factors.all():
        return X, y, factors
    rows = np.flatnonzero(factors)
    return X[rows], y[rows], factors[rows]


def normal_equations(
    activations: Sequence[Any], weights: Sequence[Array], X: Array, y: Array, factors: Vector | None = None
) -> tuple[Vector, Vector, float]:
    """Return J'J / N, J'r / N and r'r / N, for N residuals r: prediction - y.

    With factors of the rows, F for each residual, it is J'FJ / N, J'Fr / N and r'Fr / N, and N is the sum of F.
    """
    n_parameters = sum(array.size for array in weights)
    squares, slope, total = np.zeros((n_parameters, n_parameters)), np.zeros(n_parameters), 0.0
    rows = max(1, int(_BLOCK_BYTES / (8 * n_parameters * y.shape[1])))
    for start in range(0, len(X), rows):
        part = slice(start, start + rows)
        predictions, derivatives = jacobian(activations, weights, X[part])
        residuals = (predictions - y[part]).ravel()
        flat = derivatives.reshape(len(residuals), n_parameters)
        if factors is not None:
            roots = np.repeat(np.sqrt(factors[part]), y.shape[1])
            residuals *= roots
            flat *= roots[:, None]
        squares += flat.T @ flat
        slope += flat.T @ residuals
        total += float(residuals @ residuals)
    count = _count(y, factors)
    return squares / count, slope / count, total / count


def _count(y: Array, factors: Vector | None) -> float:
    return float(y.size) if factors is None else float(np.add.reduce(factors)) * y.shape[1]


def mean_squared_error(
    activations: Sequence[Any], weights: Sequence[Array], X: Array, y: Array, factors: Vector | None = None
) -> float:
    """Return r'r / N, or r'Fr / N, as `normal_equations` does."""
    total, rows = 0.0, 4096
    for start in range(0, len(X), rows):
        part = slice(start, start + rows)
        residuals = _forward(activations, weights, X[part])[0][-1] - y[part]
        if factors is not None:
            residuals *= np.sqrt(factors[part])[:, None]
        flat = residuals.ravel()
        total += float(flat @ flat)
    return total / _count(y, factors)
