"""The optimizers that scale each parameter's step by its past gradients; `nncore.optimizers` has them all."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from nncore import checks
from nncore._optimizer import Optimizer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from nncore._optimizer import LearningRate

    Array = NDArray[Any]

_LEAST = {np.dtype(kind): float(np.finfo(kind).tiny) for kind in (np.float32, np.float64)}


def _floored(epsilon: float, like: Array) -> float:
    """Return an epsilon that does not become 0 in the array's type, where 0 / 0 would be NaN."""
    return max(epsilon, _LEAST[like.dtype])


class Adam(Optimizer):
    """Adam: steps scaled by estimates of the gradient's first two moments.

    At update t, from 1: ``g += weight_decay * w; m = beta1 m + (1 - beta1) g; v = beta2 v + (1 - beta2) g**2;
    w -= learning_rate / (1 - beta1**t) * m / (sqrt(v / (1 - beta2**t)) + epsilon)``.

    Parameters
    ----------
    learning_rate : float, schedule or callable, default 0.001
        At least 0.
    beta1, beta2 : float, default 0.9 and 0.999
        Decay of the moments, in [0, 1).
    epsilon : float, default 1e-8
        Above 0; added outside the root, after the correction of bias.
    weight_decay : float, default 0
        At least 0; added to the gradient.
    clip_value, clip_norm : float, optional
        Bounds of the gradient; see `Optimizer`.

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
    _SETTINGS: tuple[str, ...] = (
        "learning_rate",
        "beta1",
        "beta2",
        "epsilon",
        "weight_decay",
        "clip_value",
        "clip_norm",
    )

    name = "adam"

    def __init__(
        self,
        learning_rate: LearningRate = 1e-3,
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-8,
        weight_decay: float = 0.0,
        *,
        clip_value: float | None = None,
        clip_norm: float | None = None,
    ) -> None:
        super().__init__(learning_rate, weight_decay, clip_value, clip_norm)
        self.beta1 = checks.finite_float(beta1, "beta1", low=0.0, below=1.0)
        self.beta2 = checks.finite_float(beta2, "beta2", low=0.0, below=1.0)
        self.epsilon = checks.finite_float(epsilon, "epsilon", above=0.0)

    @property
    def n_slots(self) -> int:
        """How many numbers are kept for each parameter: both moments."""
        return 2

    def update(
        self, weight: Array, gradient: Array, slots: Sequence[Array], rate: float, step: int, decay: float
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
        root += _floored(self.epsilon, root)
        np.divide(m, root, out=quotient)
        quotient *= rate / (1 - self.beta1**step)
        weight -= quotient


class AdamW(Adam):
    """Adam with decoupled weight decay: ``w *= 1 - learning_rate * weight_decay``, then Adam's step without decay.

    Parameters
    ----------
    learning_rate : float, schedule or callable, default 0.001
        At least 0.
    beta1, beta2 : float, default 0.9 and 0.999
        Decay of the moments, in [0, 1).
    epsilon : float, default 1e-8
        Above 0; added outside the root, after the correction of bias.
    weight_decay : float, default 0.01
        At least 0; times the rate, what each step takes off a weight.
    clip_value, clip_norm : float, optional
        Bounds of the gradient; see `Optimizer`.

    Raises
    ------
    TypeError
        If a parameter is of another type.
    ValueError
        If a parameter is out of its range.

    Notes
    -----
    I. Loshchilov, F. Hutter, "Decoupled weight decay regularization", 2019, in PyTorch's form, in which the decay is
    scaled by the rate.
    """

    __slots__ = ()

    name = "adamw"

    def __init__(
        self,
        learning_rate: LearningRate = 1e-3,
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-8,
        weight_decay: float = 1e-2,
        *,
        clip_value: float | None = None,
        clip_norm: float | None = None,
    ) -> None:
        super().__init__(learning_rate, beta1, beta2, epsilon, weight_decay, clip_value=clip_value, clip_norm=clip_norm)

    def update(
        self, weight: Array, gradient: Array, slots: Sequence[Array], rate: float, step: int, decay: float
    ) -> None:
        """Update `weight` and `slots` in place; see `Optimizer.update`."""
        if decay:
            weight *= 1 - rate * decay
        super().update(weight, gradient, slots, rate, step, 0.0)


class NAdam(Adam):
    """Adam with Nesterov's momentum, whose weight grows with the steps.

    At update t, from 1, ``mu[t] = beta1 * (1 - 0.5 * 0.96**(t * momentum_decay))`` and ``M[t] = mu[1] ... mu[t]``;
    g, m and v as in Adam; ``w -= learning_rate * ((1 - mu[t]) / (1 - M[t]) * g + mu[t+1] / (1 - M[t+1]) * m) /
    (sqrt(v / (1 - beta2**t)) + epsilon)``.

    Parameters
    ----------
    learning_rate : float, schedule or callable, default 0.001
        At least 0.
    beta1, beta2 : float, default 0.9 and 0.999
        Decay of the moments, in [0, 1).
    epsilon : float, default 1e-8
        Above 0; added outside the root, after the correction of bias.
    weight_decay : float, default 0
        At least 0; added to the gradient.
    momentum_decay : float, default 0.004
        At least 0; how soon mu comes near beta1.
    clip_value, clip_norm : float, optional
        Bounds of the gradient; see `Optimizer`.

    Raises
    ------
    TypeError
        If a parameter is of another type.
    ValueError
        If a parameter is out of its range.

    Notes
    -----
    T. Dozat, "Incorporating Nesterov momentum into Adam", 2016, in PyTorch's form.
    """

    __slots__ = ("_product", "momentum_decay")
    _SETTINGS = (*Adam._SETTINGS, "momentum_decay")

    name = "nadam"

    def __init__(
        self,
        learning_rate: LearningRate = 1e-3,
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-8,
        weight_decay: float = 0.0,
        momentum_decay: float = 4e-3,
        *,
        clip_value: float | None = None,
        clip_norm: float | None = None,
    ) -> None:
        super().__init__(learning_rate, beta1, beta2, epsilon, weight_decay, clip_value=clip_value, clip_norm=clip_norm)
        self.momentum_decay = checks.finite_float(momentum_decay, "momentum_decay", low=0.0)
        self._product = (0, 1.0)  # a step, and the product up to it

    def _mu(self, step: int) -> float:
        return self.beta1 * (1 - 0.5 * float(0.96 ** (step * self.momentum_decay)))

    def _mu_product(self, step: int) -> float:
        """Return mu[1] ... mu[step], always multiplied in that order, so that it follows from the step alone.

        Below 1e-20 it is 0, as 1 minus it is 1 from there on.
        """
        at, product = self._product if self._product[0] <= step else (0, 1.0)
        while at < step and product:
            at += 1
            product *= self._mu(at)
            if product < 1e-20:
                product = 0.0
        self._product = (step, product)
        return product

    def update(
        self, weight: Array, gradient: Array, slots: Sequence[Array], rate: float, step: int, decay: float
    ) -> None:
        """Update `weight` and `slots` in place; see `Optimizer.update`."""
        mu, mu_next = self._mu(step), self._mu(step + 1)
        product = self._mu_product(step)
        m, v = slots
        if decay:
            gradient += decay * weight
        m *= self.beta1
        m += (1 - self.beta1) * gradient
        square = gradient * gradient
        square *= 1 - self.beta2
        v *= self.beta2
        v += square
        root = np.sqrt(v, out=square)
        root *= 1 / math.sqrt(1 - self.beta2**step)
        root += _floored(self.epsilon, root)
        gradient *= rate * ((1 - mu) / (1 - product))
        gradient += rate * (mu_next / (1 - product * mu_next)) * m
        gradient /= root
        weight -= gradient


class RMSprop(Optimizer):
    """RMSprop: steps divided by the root of a running mean of squared gradients.

    ``g += weight_decay * w; v = rho v + (1 - rho) g**2; w -= learning_rate * g / (sqrt(v) + epsilon)``.

    Parameters
    ----------
    learning_rate : float, schedule or callable, default 0.001
        At least 0.
    rho : float, default 0.99
        Decay of the mean, in [0, 1).
    epsilon : float, default 1e-8
        Above 0; added outside the root.
    weight_decay : float, default 0
        At least 0; added to the gradient.
    clip_value, clip_norm : float, optional
        Bounds of the gradient; see `Optimizer`.

    Raises
    ------
    TypeError
        If a parameter is of another type.
    ValueError
        If a parameter is out of its range.

    Notes
    -----
    G. Hinton, "Neural networks for machine learning", lecture 6e, 2012, in PyTorch's form.
    """

    __slots__ = ("epsilon", "rho")
    _SETTINGS = ("learning_rate", "rho", "epsilon", "weight_decay", "clip_value", "clip_norm")

    name = "rmsprop"

    def __init__(
        self,
        learning_rate: LearningRate = 1e-3,
        rho: float = 0.99,
        epsilon: float = 1e-8,
        weight_decay: float = 0.0,
        *,
        clip_value: float | None = None,
        clip_norm: float | None = None,
    ) -> None:
        super().__init__(learning_rate, weight_decay, clip_value, clip_norm)
        self.rho = checks.finite_float(rho, "rho", low=0.0, below=1.0)
        self.epsilon = checks.finite_float(epsilon, "epsilon", above=0.0)

    @property
    def n_slots(self) -> int:
        """How many numbers are kept for each parameter: the mean of its squared gradients."""
        return 1

    def update(
        self, weight: Array, gradient: Array, slots: Sequence[Array], rate: float, step: int, decay: float
    ) -> None:
        """Update `weight` and `slots` in place; see `Optimizer.update`."""
        (v,) = slots
        if decay:
            gradient += decay * weight
        square = gradient * gradient
        square *= 1 - self.rho
        v *= self.rho
        v += square
        root = np.sqrt(v, out=square)
        root += _floored(self.epsilon, root)
        gradient /= root
        gradient *= rate
        weight -= gradient


class Adagrad(Optimizer):
    """Adagrad: steps divided by the root of the sum of all squared gradients so far.

    ``g += weight_decay * w; s += g**2; w -= learning_rate * g / (sqrt(s) + epsilon)``.

    Parameters
    ----------
    learning_rate : float, schedule or callable, default 0.01
        At least 0.
    epsilon : float, default 1e-10
        Above 0; added outside the root.
    weight_decay : float, default 0
        At least 0; added to the gradient.
    clip_value, clip_norm : float, optional
        Bounds of the gradient; see `Optimizer`.

    Raises
    ------
    TypeError
        If a parameter is of another type.
    ValueError
        If a parameter is out of its range.

    Notes
    -----
    J. Duchi, E. Hazan, Y. Singer, "Adaptive subgradient methods for online learning and stochastic optimization", 2011,
    the diagonal form.
    """

    __slots__ = ("epsilon",)
    _SETTINGS = ("learning_rate", "epsilon", "weight_decay", "clip_value", "clip_norm")

    name = "adagrad"

    def __init__(
        self,
        learning_rate: LearningRate = 1e-2,
        epsilon: float = 1e-10,
        weight_decay: float = 0.0,
        *,
        clip_value: float | None = None,
        clip_norm: float | None = None,
    ) -> None:
        super().__init__(learning_rate, weight_decay, clip_value, clip_norm)
        self.epsilon = checks.finite_float(epsilon, "epsilon", above=0.0)

    @property
    def n_slots(self) -> int:
        """How many numbers are kept for each parameter: the sum of its squared gradients."""
        return 1

    def update(
        self, weight: Array, gradient: Array, slots: Sequence[Array], rate: float, step: int, decay: float
    ) -> None:
        """Update `weight` and `slots` in place; see `Optimizer.update`."""
        (total,) = slots
        if decay:
            gradient += decay * weight
        total += gradient * gradient
        root = np.sqrt(total)
        root += _floored(self.epsilon, root)
        gradient /= root
        gradient *= rate
        weight -= gradient


class Lion(Optimizer):
    """Lion: steps of the same size for every parameter, of the sign of an average of gradient and momentum.

    ``c = beta1 m + (1 - beta1) g; w -= learning_rate * (sign(c) + weight_decay * w); m = beta2 m + (1 - beta2) g``.

    Parameters
    ----------
    learning_rate : float, schedule or callable, default 0.0001
        At least 0. Takes a third to a tenth of Adam's.
    beta1, beta2 : float, default 0.9 and 0.99
        Weight of the momentum in the step, and its decay, in [0, 1).
    weight_decay : float, default 0
        At least 0; times the rate, what each step takes off a weight.
    clip_value, clip_norm : float, optional
        Bounds of the gradient; see `Optimizer`.

    Raises
    ------
    TypeError
        If a parameter is of another type.
    ValueError
        If a parameter is out of its range.

    Notes
    -----
    X. Chen et al., "Symbolic discovery of optimization algorithms", 2023, algorithm 2.
    """

    __slots__ = ("beta1", "beta2")
    _SETTINGS = ("learning_rate", "beta1", "beta2", "weight_decay", "clip_value", "clip_norm")

    name = "lion"

    def __init__(
        self,
        learning_rate: LearningRate = 1e-4,
        beta1: float = 0.9,
        beta2: float = 0.99,
        weight_decay: float = 0.0,
        *,
        clip_value: float | None = None,
        clip_norm: float | None = None,
    ) -> None:
        super().__init__(learning_rate, weight_decay, clip_value, clip_norm)
        self.beta1 = checks.finite_float(beta1, "beta1", low=0.0, below=1.0)
        self.beta2 = checks.finite_float(beta2, "beta2", low=0.0, below=1.0)

    @property
    def n_slots(self) -> int:
        """How many numbers are kept for each parameter: the momentum."""
        return 1

    def update(
        self, weight: Array, gradient: Array, slots: Sequence[Array], rate: float, step: int, decay: float
    ) -> None:
        """Update `weight` and `slots` in place; see `Optimizer.update`."""
        (m,) = slots
        direction = (1 - self.beta1) * gradient
        direction += self.beta1 * m
        np.sign(direction, out=direction)
        if decay:
            weight *= 1 - rate * decay
        direction *= rate
        weight -= direction
        gradient *= 1 - self.beta2
        m *= self.beta2
        m += gradient
