"""Loss functions, their gradients, and the stable forms that start from the logits.

Each loss is a class. Called, it gives the mean as a float: of all elements for the mean squared error and the binary
cross-entropy, of the rows for the cross-entropy and the cosine. ``.rows`` gives each row's part, whose mean that is,
and ``.gradient`` the gradient of that mean with respect to the predictions.

Predictions are (n, k), or (n,) for one column, and targets have the same shape; nothing is broadcast. Numbers are
cast before arithmetic; the dtype is the predictions' unless the targets are wider floats. Sums are made in float64.
A value too large for its type is infinite, without a warning, and finite input never gives NaN.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nncore import activations, checks
from nncore.losses.base import Loss
from nncore.losses.classes import BinaryCrossEntropy, CrossEntropy, Hinge, signs
from nncore.losses.numbers import Cosine, Huber, MeanAbsoluteError, MeanSquaredError, Poisson, Quantile
from nncore.losses.own import OwnLoss

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "ALIASES",
    "BinaryCrossEntropy",
    "Cosine",
    "CrossEntropy",
    "Hinge",
    "Huber",
    "Loss",
    "MeanAbsoluteError",
    "MeanSquaredError",
    "OwnLoss",
    "Poisson",
    "Quantile",
    "default_for",
    "get",
    "signs",
]

ALIASES: dict[str, Loss] = {
    loss.name: loss
    for loss in (
        MeanSquaredError(),
        BinaryCrossEntropy(),
        CrossEntropy(),
        MeanAbsoluteError(),
        Huber(),
        Hinge(),
        Poisson(),
        Quantile(),
        Cosine(),
    )
}
_BUILT_IN = frozenset([*map(type, ALIASES.values()), OwnLoss])


def get(loss: str | Loss | Callable[[Any, Any], Any]) -> Loss:
    """Return the loss of that name, the object itself, or an `OwnLoss` of a function or object of the user's.

    Parameters
    ----------
    loss : str, Loss, or callable
        A name; one of the objects here; a function ``loss(pred, target)`` that returns the loss and its gradient; or
        an object with methods ``rows`` and ``gradient``, as a subclass of `Loss` has them. See `OwnLoss`.

    Returns
    -------
    Loss

    Raises
    ------
    TypeError
        If it is none of these.
    ValueError
        If there is no loss of that name; the message lists those there are.
    """
    if type(loss) in _BUILT_IN:
        return loss  # type: ignore[return-value]
    if not isinstance(loss, str | type) and (callable(loss) or (hasattr(loss, "rows") and hasattr(loss, "gradient"))):
        return OwnLoss(loss)
    return checks.named(loss, "loss", ALIASES, Loss)


def default_for(activation: str | activations.Activation) -> Loss:
    """Return the loss that fits an output activation: cross_entropy for softmax, bce for sigmoid, else mse."""
    fitting = {"softmax": "cross_entropy", "sigmoid": "bce"}
    return ALIASES[fitting.get(activations.get(activation).name, "mse")]
