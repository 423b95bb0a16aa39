"""Layers: descriptions of what a network is made of, and whether they and given weights fit each other.

They hold no weights; the network does.
"""

from __future__ import annotations

import os
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from nncore import activations, checks, initializers
from nncore.specs import LayerSpec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nncore.activations import Activation
    from nncore.initializers import Initializer

    Array = np.ndarray[Any, Any]


class Layer:
    """Base class of the layers.

    Attributes
    ----------
    n_in, n_out : int
        Numbers of inputs and outputs; 0 while they follow from the neighbours, in a layer that is in no network yet.
    activation : Activation
        What the outputs go through.
    """

    __slots__ = ("n_in", "n_out")

    n_in: int
    n_out: int
    activation: Activation

    def spec(self) -> LayerSpec:
        """Return what an engine is told."""
        raise NotImplementedError

    def sized(self, n: int) -> Layer:
        """Return the layer with n inputs, itself where it has them."""
        return self

    def settings(self) -> dict[str, Any]:
        """Return what a file keeps of the layer, besides its kind."""
        raise NotImplementedError

    def initial(self, seed: int, stream: int) -> list[Array]:
        """Return the parameters that training starts from."""
        return []

    def check_inputs(self, X: Any, name: str) -> None:
        """Raise ValueError where the layer, a network's first, cannot take the numbers of `X`."""

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """Shapes of the parameters."""
        return self.spec().shapes

    @property
    def n_parameters(self) -> int:
        """Number of weights and biases."""
        return sum(prod(shape) for shape in self.shapes)


class Dense(Layer):
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
    l1, l2 : float, default 0
        ``l1 * sign(W) + l2 * W`` is added to the gradient of the weights, not of the biases: the derivative of
        ``l1 * sum(abs(W)) + l2 / 2 * sum(W**2)``, which the reported loss leaves out.
    weight_decay : float, default 0
        Decoupled weight decay: before each update W is multiplied by ``1 - rate * weight_decay``, with the rate of that
        update and whatever the optimizer (I. Loshchilov, F. Hutter, 2019). The optimizer's own comes on top.
    max_norm : float, optional
        After each update, a unit's column of weights that is longer than this is scaled down to it.

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

    __slots__ = ("activation", "initializer", "l1", "l2", "max_norm", "weight_decay")

    def __init__(
        self,
        n_in: int,
        n_out: int,
        activation: str | Activation = "identity",
        initializer: str | Initializer = "auto",
        *,
        l1: float = 0.0,
        l2: float = 0.0,
        max_norm: float | None = None,
        weight_decay: float = 0.0,
    ) -> None:
        self.n_in = checks.positive_int(n_in, "n_in")
        self.n_out = checks.positive_int(n_out, "n_out")
        self.l1 = checks.finite_float(l1, "l1", low=0.0)
        self.l2 = checks.finite_float(l2, "l2", low=0.0)
        self.weight_decay = checks.finite_float(weight_decay, "weight_decay", low=0.0)
        self.max_norm = None if max_norm is None else checks.finite_float(max_norm, "max_norm", low=0.0)
        if self.max_norm == 0.0:
            raise ValueError("max_norm is 0; expected a number above 0, or None for no bound")
        self.activation = activations.get(activation)
        initializers.get(initializer, self.activation)  # refuses unknown names here, where the layer is written
        self.initializer = initializer
        if self.activation.name == "softmax" and self.n_out == 1:
            raise ValueError("n_out is 1, and softmax of one output is always 1; expected at least 2, or sigmoid")

    def spec(self) -> LayerSpec:
        """Return what an engine is told."""
        return LayerSpec(
            self.n_in,
            self.n_out,
            self.activation.name,
            self.activation.alpha,
            l1=self.l1,
            l2=self.l2,
            max_norm=self.max_norm or 0.0,
            decay=self.weight_decay,
        )

    def settings(self) -> dict[str, Any]:
        """Return what a file keeps of the layer, besides its kind."""
        return {
            "n_in": self.n_in,
            "n_out": self.n_out,
            "activation": self.activation.name,
            "alpha": self.activation.alpha,
            # A function has no name that a file could carry; what it drew is in the weights.
            "initializer": self.initializer if isinstance(self.initializer, str) else "auto",
            "l1": self.l1,
            "l2": self.l2,
            "max_norm": self.max_norm,
            "weight_decay": self.weight_decay,
        }

    def initial(self, seed: int, stream: int) -> list[Array]:
        """Return the parameters that training starts from."""
        make = initializers.get(self.initializer, self.activation)
        drawn = checks.numeric(make(self.n_in, self.n_out, seed, stream), "what the initializer gave")
        return [drawn, np.zeros(self.n_out)]

    def __repr__(self) -> str:
        more = "" if self.initializer == "auto" else f", initializer={self.initializer!r}"
        names = ("l1", "l2", "max_norm", "weight_decay")
        more += "".join(f", {name}={getattr(self, name)!r}" for name in names if getattr(self, name))
        return f"Dense({self.n_in}, {self.n_out}, activation={self.activation!r}{more})"


def checked_layers(layers: Sequence[Layer]) -> tuple[Layer, ...]:
    """Return the layers of a network, with their sizes, or refuse them where they do not fit each other."""
    if isinstance(layers, Layer) or not hasattr(layers, "__iter__"):
        raise TypeError(f"layers is {layers!r}; expected a sequence of layers")
    result = list(layers)
    if not result:
        raise ValueError("layers is empty; expected at least one layer")
    for index, layer in enumerate(result):
        if not isinstance(layer, Layer):
            raise TypeError(f"layers[{index}] is of type {type(layer).__name__}; expected a layer such as Dense")
    sized = next((layer.n_in for layer in result if layer.n_in), 0)  # all before it have as many outputs as inputs
    if not any(isinstance(layer, Dense) for layer in result):
        raise ValueError("layers has no Dense layer; expected at least one")
    for index, layer in enumerate(result):
        result[index] = layer = layer.sized(result[index - 1].n_out if index else sized)
        if index > 0 and layer.n_in != result[index - 1].n_out:
            raise ValueError(
                f"layers[{index}] takes {layer.n_in} inputs and layers[{index - 1}] has {result[index - 1].n_out} "
                "outputs; expected the same number"
            )
        if layer.activation.name == "softmax" and index < len(result) - 1:
            raise ValueError(f"layers[{index}] has the activation softmax, which is for the last layer only")
    for index, layer in enumerate(result):
        if index > 0 and layer.spec().kind == "columns":
            raise ValueError(f"layers[{index}] is Columns, which takes codes: expected it first")
    if result[-1].spec().kind in ("dropout", "noise"):
        name = type(result[-1]).__name__
        raise ValueError(f"the last layer is {name}; expected one that gives outputs, such as Dense")
    return tuple(result)


def checked_parameters(arrays: Sequence[Array], layers: Sequence[Layer], dtype: np.dtype[Any]) -> list[Array]:
    """Return all layers' parameters in `dtype`, or refuse their shapes and values."""
    expected = [(index, shape) for index, layer in enumerate(layers) for shape in layer.shapes]
    result = []
    for at, (array, (index, shape)) in enumerate(zip(arrays, expected, strict=True)):
        if array.shape != shape:
            raise ValueError(f"weights[{at}] has shape {array.shape}; layer {index} takes {shape}")
        array = checks.contiguous(array, dtype)
        if not np.isfinite(array).all():
            raise ValueError(f"weights[{at}] has a value that is not finite in {dtype.name}; expected finite numbers")
        result.append(array)
    return result


def require_memory(layers: tuple[Layer, ...], dtype: np.dtype[Any]) -> None:
    """Raise MemoryError where the weights would not fit in the machine's memory, before any is taken."""
    needed = sum(layer.n_parameters for layer in layers) * dtype.itemsize
    try:
        there = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):  # not every system says
        there = 2**63
    if needed > there:
        raise MemoryError(f"the weights of these layers take {needed:,} bytes; this machine has {there:,}")
