"""What to say of a training that left the finite numbers: where, how large things had grown, and what to try."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from nncore.errors import DivergenceError, NonFiniteData, NonFiniteLoss
from nncore.losses import OwnLoss
from nncore.sparse import CSR

if TYPE_CHECKING:
    from nncore.losses import Loss
    from nncore.network import Sequential
    from nncore.optimizers import Optimizer
    from nncore.sparse import Inputs

    Array = np.ndarray[Any, Any]


def _raised_by(loss: Loss) -> tuple[type[Exception], ...]:
    """Return what a gradient may end in: whatever a loss of the user's raises, but not what a signal's handler does."""
    return (Exception,) if isinstance(loss, OwnLoss) else (NonFiniteLoss, NonFiniteData, MemoryError)


def report(
    network: Sequential,
    error: NonFiniteLoss,
    X: Inputs,
    y: Array,
    row_weights: Array | None,
    loss: Loss,
    optimizer: Optimizer,
    epoch: int | None = None,
    step: int | None = None,
) -> DivergenceError:
    """Return the error to raise, while the network is still as the failing step found or left it.

    Parameters
    ----------
    network : Sequential
        What was trained.
    error : NonFiniteLoss
        The engine's error.
    X, y : ndarray
        The rows of the failing step, as the engine takes them.
    row_weights : ndarray or None
        Their weights, alike.
    loss, optimizer
        What was lowered, and how.
    epoch, step : int, optional
        Where, counted from 1.

    Returns
    -------
    DivergenceError
    """
    engine = network._engine
    layers = [index for index, layer in enumerate(network.layers) if layer.n_parameters]
    weights = _by_layer(layers, engine.get_weights())
    try:
        with np.errstate(all="ignore"):
            gradients = _by_layer(layers, engine.loss_and_gradients(X, y, loss, row_weights)[1])
    except _raised_by(loss):  # then the report is shorter
        gradients = None
    rate = getattr(optimizer, "learning_rate", None)
    return DivergenceError(
        epoch,
        step,
        error.layer,
        largest_weights=weights,
        largest_gradients=gradients,
        largest_input=_largest(X),
        largest_target=None if y.dtype.kind == "i" else _largest(y),
        learning_rate=rate if isinstance(rate, float) else None,
    )


def _by_layer(layers: list[int], arrays: list[Array]) -> dict[int, float] | None:
    """Return the largest absolute value of each layer with parameters, whose arrays come in pairs."""
    if len(arrays) != 2 * len(layers):
        return None
    return {layer: max(_largest(arrays[2 * i]), _largest(arrays[2 * i + 1])) for i, layer in enumerate(layers)}


def _largest(array: Inputs) -> float:
    """Return the largest absolute value; a NaN counts as infinite."""
    if isinstance(array, CSR):
        array = array.stored()
    with np.errstate(all="ignore"):
        largest = float(np.abs(array).max(initial=0))
    return float("inf") if np.isnan(largest) else largest
