"""Loss heads of the NumPy engine: an output activation and a loss as one function.

A head takes the last layer's z, which it may overwrite, and the targets; it returns the rows' losses, the predictions
and the gradient of the mean loss with respect to z. Softmax with cross_entropy, sigmoid with bce and exponential with
poisson start from z itself, so that nothing overflows or cancels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nncore import losses

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from nncore.activations import Activation
    from nncore.losses import Loss

    Array = np.ndarray[Any, Any]
    Head = Callable[[Array, Array], tuple[Array, Array, Array]]


def head_for(activation: Activation, loss: str | Loss, weighted: bool = False) -> Head:
    """Return the head for an output activation and a loss, which a loss of the user's must give by rows if weighted."""
    loss_function = losses.get(loss)
    plain = _PLAIN.get((activation.name, loss_function.name))
    if plain is not None and loss_function == losses.ALIASES[loss_function.name]:
        return plain
    if loss_function.logits_of == activation.name:

        def from_logits(z: Array, y: Array) -> tuple[Array, Array, Array]:
            delta = loss_function.gradient_from_logits(z, y)
            return loss_function.from_logits_rows(z, y), activation(z), delta

        return from_logits
    value_and_gradient: Callable[[Array, Array], tuple[Array, Array]] = loss_function.value_and_gradient
    if isinstance(loss_function, losses.OwnLoss):
        value_and_gradient = _own(loss_function, weighted)

    def head(z: Array, y: Array) -> tuple[Array, Array, Array]:
        a = activation(z)
        row_losses, delta = value_and_gradient(a, y)
        if activation.name == "softmax":  # the product with softmax's Jacobian, without making it
            delta = a * (delta - (delta * a).sum(axis=1, keepdims=True))
        else:
            delta = delta * activation.slope(z, a)
        return row_losses, a, delta

    return head


def _own(loss: losses.OwnLoss, weighted: bool) -> Callable[[Array, Array], tuple[Array, Array]]:
    """Return what computes a loss of the user's; where a row's gradient is not finite, its loss is NaN."""

    def value_and_gradient(a: Array, y: Array) -> tuple[Array, Array]:
        with np.errstate(all="warn"):  # as outside the engine
            value, gradient = loss.value_and_gradient(a, y)
        if weighted:
            loss.require_rows(value)
        delta = np.asarray(gradient, a.dtype)
        return np.where(np.isfinite(delta).all(axis=1), value, np.nan), delta

    return value_and_gradient


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


# The pairs that are written out here, for losses without settings.
_PLAIN: dict[tuple[str, str], Head] = {
    ("softmax", "cross_entropy"): _softmax_cross_entropy,
    ("sigmoid", "bce"): _sigmoid_bce,
    ("identity", "mse"): _identity_mse,
}
