"""Layers: descriptions of what a network is made of, and whether they and given weights fit each other.

They hold no weights; the network does.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np

from nncore import activations, checks, initializers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nncore.activations import Activation
    from nncore.initializers import Initializer

    Array = np.ndarray[Any, Any]


class Dense:
    """A layer in which every output sees every input: a = activation(x W + b).

    Parameters
    ----------
    n_in : int
        Number of inputs, at least 1.
    n_out : int
        Number of outputs, at least 1.
    activation : str or Activation, default "identity"
        Name or object, such as ``LeakyReLU(0.2)``.
    initializer : str or callable, default "auto"
        Initial weights: a name of `nncore.initializers`, or a function of (n_in, n_out, seed, stream) that returns a
        matrix (n_in, n_out). "auto" is He's normal one for the relu family, LeCun's for selu, Glorot's uniform one
        otherwise. Biases start at zero.

    Attributes
    ----------
    n_in, n_out : int
    activation : Activation
    initializer : str or callable
    n_parameters : int
        Weights and biases.

    Raises
    ------
    TypeError, ValueError
        If an argument is of a wrong type or out of range, or a name is not known.

    Examples
    --------
    >>> Dense(64, 32, activation="relu")
    Dense(64, 32, activation=relu)
    """

    __slots__ = ("activation", "initializer", "n_in", "n_out")

    def __init__(
        self,
        n_in: int,
        n_out: int,
        activation: str | Activation = "identity",
        initializer: str | Initializer = "auto",
    ) -> None:
        self.n_in = checks.positive_int(n_in, "n_in")
        self.n_out = checks.positive_int(n_out, "n_out")
        self.activation = activations.get(activation)
        initializers.get(initializer, self.activation)  # refuses unknown names here, where the layer is written
        self.initializer = initializer
        if self.activation.name == "softmax" and self.n_out == 1:
            raise ValueError("n_out is 1, and softmax of one output is always 1; expected at least 2, or sigmoid")

    @property
    def n_parameters(self) -> int:
        """Number of weights and biases."""
        return (self.n_in + 1) * self.n_out

    def __repr__(self) -> str:
        initializer = "" if self.initializer == "auto" else f", initializer={self.initializer!r}"
        return f"Dense({self.n_in}, {self.n_out}, activation={self.activation!r}{initializer})"


def checked_layers(layers: Sequence[Dense]) -> tuple[Dense, ...]:
    """Return the layers of a network, or refuse them where they do not fit each other."""
    if isinstance(layers, Dense) or not hasattr(layers, "__iter__"):
        raise TypeError(f"layers is {layers!r}; expected a sequence of layers")
    result = tuple(layers)
    if not result:
        raise ValueError("layers is empty; expected at least one layer")
    for index, layer in enumerate(result):
        if not isinstance(layer, Dense):
            raise TypeError(f"layers[{index}] is of type {type(layer).__name__}; expected Dense")
        if index > 0 and layer.n_in != result[index - 1].n_out:
            raise ValueError(
                f"layers[{index}] takes {layer.n_in} inputs and layers[{index - 1}] has {result[index - 1].n_out} "
                "outputs; expected the same number"
            )
        if layer.activation.name == "softmax" and index < len(result) - 1:
            raise ValueError(f"layers[{index}] has the activation softmax, which is for the last layer only")
    return result


def checked_pair(weight: Array, bias: Array, layer: Dense, index: int, dtype: np.dtype[Any]) -> list[Array]:
    """Return W and b of a layer in `dtype`, or refuse their shapes and values."""
    result = []
    for at, (array, shape) in enumerate(((weight, (layer.n_in, layer.n_out)), (bias, (layer.n_out,)))):
        name = f"weights[{2 * index + at}]"
        if array.shape != shape:
            raise ValueError(f"{name} has shape {array.shape}; layer {index} takes {shape}")
        with np.errstate(over="ignore"):
            array = np.ascontiguousarray(array, dtype=dtype)
        if not np.isfinite(array).all():
            raise ValueError(f"{name} has a value that is not finite in {dtype.name}; expected finite numbers")
        result.append(array)
    return result


def require_memory(layers: tuple[Dense, ...], dtype: np.dtype[Any]) -> None:
    """Raise MemoryError where the weights would not fit in the machine's memory, before any is taken."""
    needed = sum(layer.n_parameters for layer in layers) * dtype.itemsize
    try:
        there = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):  # not every system says
        there = 2**63
    if needed > there:
        raise MemoryError(f"the weights of these layers take {needed:,} bytes; this machine has {there:,}")
