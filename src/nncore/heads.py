"""Loss heads of the NumPy engine: an output activation and a loss as one function.

A head takes the last layer's z, which it may overwrite, and the targets; it returns the rows' losses, the predictions
and the gradient of the mean loss with respect to z. Softmax with cross_entropy and sigmoid with bce start from z
itself, so that nothing overflows or cancels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nncore import losses

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from nncore.activations import Activation

    Array = np.ndarray[Any, Any]
    Head = Callable[[Array, Array], tuple[Array, Array, Array]]


def head_for(activation: Activation, loss: str) -> Head:
    """Return the head for an output activation and a loss."""
    if loss == "cross_entropy" and activation.name == "softmax":
        return _softmax_cross_entropy
    if loss == "bce" and activation.name == "sigmoid":
        return _sigmoid_bce
    if loss == "mse" and activation.name == "identity":
        return _identity_mse
    loss_function = losses.get(loss)

    def head(z: Array, y: Array) -> tuple[Array, Array, Array]:
        a = activation(z)
        delta = loss_function.gradient(a, y)
        if activation.name == "softmax":  # the product with softmax's Jacobian, without making it
            delta = a * (delta - (delta * a).sum(axis=1, keepdims=True))
        else:
            delta = delta * activation.slope(z, a)
        return loss_function.rows(a, y), a, delta

    return head


def _softmax_cross_entropy(z: Array, y: Array) -> tuple[Array, Array, Array]:
    """Cross-entropy from the logits: log sum exp(z) - z of the class, and p sum(y) - y."""
    z -= np.maximum.reduce(z, axis=1, keepdims=True)
    p = np.exp(z)
    total = np.add.reduce(p, axis=1, keepdims=True)
    p /= total
    delta = p.copy()
    if y.ndim == 1:
        picked = np.arange(len(y)), y
        row_losses = np.log(total[:, 0]) - z[picked]
        delta[picked] -= 1
    else:
        # Far below the largest logit z may have overflowed, and 0 times -inf is no 0.
        log_p = np.maximum(z, np.finfo(z.dtype).min) - np.log(total)
        row_losses = -np.add.reduce(y * log_p, axis=1)
        delta *= np.add.reduce(y, axis=1, keepdims=True)
        delta -= y
    delta *= 1.0 / len(y)
    return row_losses, p, delta


def _sigmoid_bce(z: Array, y: Array) -> tuple[Array, Array, Array]:
    """Binary cross-entropy from the logits: max(z, 0) - z y + log(1 + exp(-abs(z))), and p - y."""
    e = np.exp(-np.abs(z))
    p = np.where(z >= 0, 1, e) / (1 + e)
    cost = np.maximum(z, 0) - z * y
    cost += np.log1p(e)
    return _row_means(cost), p, (p - y) * (1.0 / z.size)


def _identity_mse(z: Array, y: Array) -> tuple[Array, Array, Array]:
    """Mean squared error of a linear output: (z - y)**2, and 2 (z - y)."""
    delta = z - y
    row_losses = _row_means(delta * delta)
    delta *= 2.0 / z.size
    return row_losses, z, delta


def _row_means(values: Array) -> Array:
    if values.shape[1] == 1:
        return values[:, 0]
    values *= 1.0 / values.shape[1]  # before the sum, which may exceed the type where the mean does not
    means: Array = np.add.reduce(values, axis=1)
    return means
