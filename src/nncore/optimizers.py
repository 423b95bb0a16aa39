"""Optimizers: their settings, their update rules in NumPy, and the state that they keep between calls.

An optimizer object belongs to the first network that it trains, as its slots (momentum, moments) are of that
network's weights; it keeps them, and its count of updates, from one call of ``fit`` to the next. The native core
reads the settings and applies the same rules itself.

The rules are PyTorch's. `update` works in place, on arrays of any shape, in the arrays' dtype: scalars are computed in
double precision first, and rounded once.

Where each lives: `SGD` here, those that scale the steps by past gradients in ``_adaptive``, those that take all rows at
once and look along their way, `LBFGS` and `LevenbergMarquardt`, in ``second_order``, which is loaded when it is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from nncore import checks
from nncore._adaptive import Adagrad, Adam, AdamW, Lion, NAdam, RMSprop
from nncore._optimizer import Optimizer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from nncore._optimizer import LearningRate
    from nncore.second_order import LBFGS, LevenbergMarquardt

    Array = NDArray[Any]

__all__ = [
    "ALIASES",
    "LBFGS",
    "SGD",
    "Adagrad",
    "Adam",
    "AdamW",
    "LevenbergMarquardt",
    "Lion",
    "NAdam",
    "Optimizer",
    "RMSprop",
    "get",
]


class SGD(Optimizer):
    """Stochastic gradient descent, with momentum.

    ``g += weight_decay * w; v = momentum * v + g; w -= learning_rate * v``; with Nesterov's momentum the last is
    ``w -= learning_rate * (g + momentum * v)``.

    Parameters
    ----------
    learning_rate : float, schedule or callable, default 0.01
        At least 0.
    momentum : float, default 0
        In [0, 1).
    nesterov : bool, default False
        Whether to look ahead; takes a momentum above 0.
    weight_decay : float, default 0
        At least 0.
    clip_value, clip_norm : float, optional
        Bounds of the gradient; see `Optimizer`.

    Raises
    ------
    TypeError
        If a parameter is of another type.
    ValueError
        If a parameter is out of its range, or `nesterov` is set without momentum.

    Notes
    -----
    I. Sutskever, J. Martens, G. Dahl, G. Hinton, "On the importance of initialization and momentum in deep learning",
    2013, in PyTorch's form, in which the velocity is not scaled by the rate.
    """

    __slots__ = ("momentum", "nesterov")
    _SETTINGS = ("learning_rate", "momentum", "nesterov", "weight_decay", "clip_value", "clip_norm")

    name = "sgd"

    def __init__(
        self,
        learning_rate: LearningRate = 1e-2,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float = 0.0,
        *,
        clip_value: float | None = None,
        clip_norm: float | None = None,
    ) -> None:
        super().__init__(learning_rate, weight_decay, clip_value, clip_norm)
        self.momentum = checks.finite_float(momentum, "momentum", low=0.0, below=1.0)
        self.nesterov = checks.boolean(nesterov, "nesterov")
        if self.nesterov and self.momentum == 0:
            raise ValueError("nesterov is True and momentum is 0; Nesterov's momentum takes a momentum above 0")

    @property
    def n_slots(self) -> int:
        """How many numbers are kept for each parameter: the velocity, where there is momentum."""
        return 1 if self.momentum else 0

    def update(
        self, weight: Array, gradient: Array, slots: Sequence[Array], rate: float, step: int, decay: float
    ) -> None:
        """Update `weight` and `slots` in place; see `Optimizer.update`."""
        if decay:
            gradient += decay * weight
        if self.momentum:
            (velocity,) = slots
            velocity *= self.momentum
            velocity += gradient
            if self.nesterov:
                gradient += self.momentum * velocity
                gradient *= rate
            else:
                np.multiply(velocity, rate, out=gradient)
        else:
            gradient *= rate
        weight -= gradient


ALIASES: dict[str, type[Optimizer]] = {kind.name: kind for kind in (SGD, Adam, AdamW, NAdam, RMSprop, Adagrad, Lion)}
_KINDS = frozenset(ALIASES.values())


def get(optimizer: str | Optimizer) -> Optimizer:
    """Return a new optimizer of that name, with its defaults, or the object itself.

    Raises
    ------
    TypeError
        If it is neither a string nor an optimizer object.
    ValueError
        If there is no optimizer of that name; the message lists those there are.
    """
    if type(optimizer) in _KINDS:
        return optimizer  # type: ignore[return-value]
    if isinstance(optimizer, str) and optimizer in ALIASES:
        return ALIASES[optimizer]()  # type: ignore[call-arg]
    from nncore import second_order  # rarely used, so that importing nncore does not load it

    kinds = {**ALIASES, **second_order.ALIASES}
    found = checks.named(optimizer, "optimizer", kinds, Optimizer)
    return found() if isinstance(found, type) else found


def __getattr__(name: str) -> Any:
    """Import what is rarely used when it is asked for."""
    if name in ("LBFGS", "LevenbergMarquardt"):
        from nncore import second_order

        return getattr(second_order, name)
    raise AttributeError(f"module 'nncore.optimizers' has no attribute {name!r}")
