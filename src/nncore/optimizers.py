"""Optimizers: their settings, their update rules in NumPy, and the state that they keep between calls.

An optimizer object belongs to the first network that it trains, as its slots (momentum, moments) are of that
network's weights; it keeps them, and its count of updates, from one call of ``fit`` to the next. The native core
reads the settings and applies the same rules itself.

The rules are PyTorch's. `update` works in place, on arrays of any shape, in the arrays' dtype: scalars are computed in
double precision first, and rounded once.
"""

from __future__ import annotations

import math
import weakref
from typing import TYPE_CHECKING, Any

import numpy as np

from nncore import checks

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray


class Optimizer:
    """Base class of the optimizers.

    Parameters
    ----------
    learning_rate : float
        At least 0; may be changed between calls of ``fit``.
    weight_decay : float
        Coefficient of the weights that are added to the gradient, at least 0. Biases do not decay.

    Attributes
    ----------
    name : str
        The name that `get` takes.
    n_slots : int
        How many numbers are kept for each parameter.
    steps : int
        Number of updates done.
    """

    __slots__ = ("__weakref__", "_learning_rate", "_owner", "_slots", "steps", "weight_decay")

    # The slots are made for these, and they were checked when the optimizer was made.
    _FIXED = frozenset(("beta1", "beta2", "epsilon", "momentum", "nesterov", "weight_decay"))

    name: str

    def __init__(self, learning_rate: float, weight_decay: float) -> None:
        self.learning_rate = learning_rate
        self.weight_decay = checks.finite_float(weight_decay, "weight_decay", low=0.0)
        self.steps = 0
        self._owner: weakref.ref[Any] | None = None
        self._slots: Any = None

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute, but not one of those that are fixed once they are set."""
        if name in self._FIXED and hasattr(self, name):
            raise AttributeError(f"{name} is fixed when an optimizer is made; make a new {type(self).__name__}")
        super().__setattr__(name, value)

    @property
    def learning_rate(self) -> float:
        """The learning rate."""
        return self._learning_rate

    @learning_rate.setter
    def learning_rate(self, value: float) -> None:
        self._learning_rate = checks.finite_float(value, "learning_rate", low=0.0)

    @property
    def n_slots(self) -> int:
        """How many numbers are kept for each parameter."""
        raise NotImplementedError

    def update(
        self,
        weight: NDArray[Any],
        gradient: NDArray[Any],
        slots: Sequence[NDArray[Any]],
        rate: float,
        step: int,
        decay: float,
    ) -> None:
        """Update `weight` and `slots` in place.

        Parameters
        ----------
        weight : ndarray
            Parameters, of any shape.
        gradient : ndarray
            Their gradient, of the same shape and dtype; it is used as scratch, and holds nothing of use afterwards.
        slots : sequence of `n_slots` ndarrays
            What is kept of the parameters, zero before the first update.
        rate : float
            The learning rate of this step.
        step : int
            Number of this update, from 1.
        decay : float
            The weight decay; 0 for biases.
        """
        raise NotImplementedError

    def _release(self) -> None:
        """Forget the owner: it refused the data before anything was trained."""
        self._owner = self._slots = None

    def _bind(self, network: object) -> None:
        """Make `network` the owner, or raise ValueError if there is another."""
        if self._owner is None:
            self._owner = weakref.ref(network)
        elif self._owner() is not network:
            raise ValueError(
                "optimizer has trained another network and keeps that one's state; "
                f"expected a new {type(self).__name__} for each network"
            )


class SGD(Optimizer):
    """Stochastic gradient descent, with momentum.

    ``g += weight_decay * w; v = momentum * v + g; w -= learning_rate * v``; with Nesterov's momentum the last is
    ``w -= learning_rate * (g + momentum * v)``.

    Parameters
    ----------
    learning_rate : float, default 0.01
        At least 0.
    momentum : float, default 0
        In [0, 1).
    nesterov : bool, default False
        Whether to look ahead; takes a momentum above 0.
    weight_decay : float, default 0
        At least 0.

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

    name = "sgd"

    def __init__(
        self,
        learning_rate: float = 1e-2,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(learning_rate, weight_decay)
        self.momentum = checks.finite_float(momentum, "momentum", low=0.0, below=1.0)
        if not isinstance(nesterov, bool | np.bool_):
            raise TypeError(f"nesterov is {nesterov!r}; expected True or False")
        self.nesterov = bool(nesterov)
        if self.nesterov and self.momentum == 0:
            raise ValueError("nesterov is True and momentum is 0; Nesterov's momentum takes a momentum above 0")

    @property
    def n_slots(self) -> int:
        """How many numbers are kept for each parameter: the velocity, where there is momentum."""
        return 1 if self.momentum else 0

    def update(
        self,
        weight: NDArray[Any],
        gradient: NDArray[Any],
        slots: Sequence[NDArray[Any]],
        rate: float,
        step: int,
        decay: float,
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

    def __repr__(self) -> str:
        """Return the call that makes one with the same settings."""
        return (
            f"SGD(learning_rate={self.learning_rate!r}, momentum={self.momentum!r}, nesterov={self.nesterov!r}, "
            f"weight_decay={self.weight_decay!r})"
        )


class Adam(Optimizer):
    """Adam: steps scaled by estimates of the gradient's first two moments.

    At update t, from 1: ``g += weight_decay * w; m = beta1 m + (1 - beta1) g; v = beta2 v + (1 - beta2) g**2;
    w -= learning_rate / (1 - beta1**t) * m / (sqrt(v / (1 - beta2**t)) + epsilon)``.

    Parameters
    ----------
    learning_rate : float, default 0.001
        At least 0.
    beta1, beta2 : float, default 0.9 and 0.999
        Decay of the moments, in [0, 1).
    epsilon : float, default 1e-8
        Above 0; added outside the root, after the correction of bias.
    weight_decay : float, default 0
        At least 0; added to the gradient.

    Raises
    ------
    TypeError
        If a parameter is of another type.
    ValueError
        If a parameter is out of its range.

    Notes
    -----
    D. P. Kingma, J. Ba, "Adam: a method for stochastic optimization", 2015.
    """

    __slots__ = ("beta1", "beta2", "epsilon")

    name = "adam"

    def __init__(
        self,
        learning_rate: float = 1e-3,
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(learning_rate, weight_decay)
        self.beta1 = checks.finite_float(beta1, "beta1", low=0.0, below=1.0)
        self.beta2 = checks.finite_float(beta2, "beta2", low=0.0, below=1.0)
        self.epsilon = checks.finite_float(epsilon, "epsilon", above=0.0)

    @property
    def n_slots(self) -> int:
        """How many numbers are kept for each parameter: both moments."""
        return 2

    def update(
        self,
        weight: NDArray[Any],
        gradient: NDArray[Any],
        slots: Sequence[NDArray[Any]],
        rate: float,
        step: int,
        decay: float,
    ) -> None:
        """Update `weight` and `slots` in place; see `Optimizer.update`."""
        m, v = slots
        if decay:
            gradient += decay * weight
        square = gradient * gradient
        square *= 1 - self.beta2
        v *= self.beta2
        v += square
        gradient *= 1 - self.beta1
        m *= self.beta1
        m += gradient
        # The scratch that is at hand serves for the rest: the root in one, the quotient in the other.
        root, quotient = np.sqrt(v, out=square), gradient
        root *= 1 / math.sqrt(1 - self.beta2**step)
        root += self.epsilon
        np.divide(m, root, out=quotient)
        quotient *= rate / (1 - self.beta1**step)
        weight -= quotient

    def __repr__(self) -> str:
        """Return the call that makes one with the same settings."""
        return (
            f"Adam(learning_rate={self.learning_rate!r}, beta1={self.beta1!r}, beta2={self.beta2!r}, "
            f"epsilon={self.epsilon!r}, weight_decay={self.weight_decay!r})"
        )


ALIASES: dict[str, Callable[[], Optimizer]] = {"sgd": SGD, "adam": Adam}


def get(optimizer: str | Optimizer) -> Optimizer:
    """Return a new optimizer of that name, with its defaults, or the object itself.

    Raises
    ------
    TypeError
        If it is neither a string nor an optimizer object.
    ValueError
        If there is no optimizer of that name; the message lists those there are.
    """
    if isinstance(optimizer, str):
        return ALIASES[checks.one_of(optimizer, "optimizer", ALIASES)]()
    return checks.named(optimizer, "optimizer", ALIASES, Optimizer)
