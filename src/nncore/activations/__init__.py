"""Activation functions and their derivatives.

Each activation is an object: called, it gives its value; ``.derivative(z)`` is the derivative with respect to z,
and ``.gradient_from_output(a)`` the same from the output ``a = f(z)``, for those where it follows from that; training
keeps the slopes of the others (gelu, silu, mish, hard_silu). All but softmax are elementwise.

Common to all: floats keep their dtype, integers and bools become float64; a scalar gives a scalar; no finite input
warns or gives NaN, and only what is larger than its type becomes infinite; NaN gives NaN, and infinities the limits.

At a kink the derivative is that from the left: 0 for relu, alpha for leaky_relu and elu; hard_sigmoid and hard_tanh
have 0 at both kinks, as everywhere on their flat parts.

Examples
--------
>>> relu([-2.5, 0.0, 3.1])
array([0. , 0. , 3.1])
>>> float(sigmoid.derivative(0))
0.25
"""

from __future__ import annotations

from nncore import checks
from nncore.activations.base import Activation
from nncore.activations.classic import (
    Identity,
    LeakyReLU,
    ReLU,
    Sigmoid,
    Softmax,
    Step,
    Tanh,
    identity,
    leaky_relu,
    relu,
    sigmoid,
    softmax,
    step,
    tanh,
)
from nncore.activations.exponentials import (
    Elu,
    Exponential,
    Selu,
    Softplus,
    elu,
    exponential,
    selu,
    softplus,
)
from nncore.activations.gated import Gelu, Mish, Silu, gelu, mish, silu
from nncore.activations.hard import HardSigmoid, HardSilu, HardTanh, hard_sigmoid, hard_silu, hard_tanh

__all__ = [
    "ALIASES",
    "Activation",
    "Elu",
    "Exponential",
    "Gelu",
    "HardSigmoid",
    "HardSilu",
    "HardTanh",
    "Identity",
    "LeakyReLU",
    "Mish",
    "ReLU",
    "Selu",
    "Sigmoid",
    "Silu",
    "Softmax",
    "Softplus",
    "Step",
    "Tanh",
    "elu",
    "exponential",
    "gelu",
    "get",
    "hard_sigmoid",
    "hard_silu",
    "hard_tanh",
    "identity",
    "leaky_relu",
    "mish",
    "relu",
    "restored",
    "selu",
    "sigmoid",
    "silu",
    "softmax",
    "softplus",
    "step",
    "tanh",
]

ALIASES: dict[str, Activation] = {
    f.name: f
    for f in (
        *(identity, step, sigmoid, tanh, relu, leaky_relu, softmax, elu, selu, gelu, Gelu("tanh"), silu, softplus),
        *(exponential, mish, hard_sigmoid, hard_tanh, hard_silu),
    )
}

_WITH_ALPHA = {"leaky_relu": LeakyReLU, "elu": Elu}


def get(activation: str | Activation) -> Activation:
    """Return the activation of that name, or the object itself.

    Raises
    ------
    TypeError
        If it is neither a string nor an activation object.
    ValueError
        If there is no activation of that name; the message lists those there are.
    """
    return checks.named(activation, "activation", ALIASES, Activation)


def restored(name: str, alpha: float) -> Activation:
    """Return the activation with this name and alpha, of which any other is equal.

    Raises
    ------
    TypeError, ValueError
        If there is no such activation; alpha counts only where the activation has one.
    """
    return _WITH_ALPHA[name](alpha) if name in _WITH_ALPHA else get(name)
