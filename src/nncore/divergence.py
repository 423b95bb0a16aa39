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
    weights = _by_layer(network, engine.get_weights())
    try:
        with np.errstate(all="ignore"):
            gradients = _by_layer(network, engine.loss_and_gradients(X, y, loss, row_weights)[1])
    except _raised_by(loss):  # then the report is shorter
        gradients = None
    rate = None if optimizer.second_order else _rate(optimizer)
    advice = _advice(optimizer, rate)
    if isinstance(loss, OwnLoss) and gradients is None and error.layer is None:
        advice = (f"look into loss {loss.label}, which gave no finite number", *advice)
    return DivergenceError(
        epoch,
        step,
        error.layer,
        largest_weights=weights,
        largest_gradients=gradients,
        largest_input=_largest(X),
        largest_target=None if y.dtype.kind == "i" else _largest(y),
        learning_rate=rate,
        advice=advice,
    )


def _rate(optimizer: Optimizer) -> float | None:
    """Return the learning rate of the step that failed; None where a schedule of the user's gives none."""
    try:
        return optimizer.rate
    except Exception:  # what went wrong before is what to report
        return None


def _advice(optimizer: Optimizer, rate: float | None) -> tuple[str, ...]:
    """Return what there is to try with an optimizer, by the bounds that it has already."""
    if optimizer.second_order:
        return ("start from smaller weights",)
    bounds = [(name, getattr(optimizer, name)) for name in ("clip_norm", "clip_value")]
    lower = [f"lower {name}, which is {bound:g}" for name, bound in bounds if bound is not None]
    return (
        "lower the learning rate" + ("" if rate is None else f", which is {rate:g}"),
        *(lower or ["clip the gradients"]),
    )


def _by_layer(network: Sequential, arrays: list[Array]) -> dict[int, float]:
    """Return the largest absolute value of each layer with parameters, from arrays like those of ``get_weights``."""
    left = iter(arrays)
    found = {index: [_largest(next(left)) for _ in layer.shapes] for index, layer in enumerate(network.layers)}
    return {index: max(values) for index, values in found.items() if values}


def _largest(array: Inputs) -> float:
    """Return the largest absolute value; a NaN counts as infinite."""
    if isinstance(array, CSR):
        array = array.stored()
    with np.errstate(all="ignore"):
        largest = float(np.abs(array).max(initial=0))
    return float("inf") if np.isnan(largest) else largest
