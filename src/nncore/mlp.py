"""The multi-layer perceptron: the usual network, described by its sizes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nncore import checks
from nncore.layers import Dense
from nncore.network import Sequential

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nncore.activations import Activation
    from nncore.initializers import Initializer


class MLP(Sequential):
    """A multi-layer perceptron: dense layers, one activation for the hidden ones and one for the output.

    Parameters
    ----------
    sizes : sequence of int
        Number of inputs, of each hidden layer's units, and of outputs: at least two numbers.
    activation : str or Activation, default "relu"
        For the hidden layers.
    output : str or Activation, default "identity"
        For the last layer.
    initializer : str or callable, default "auto"
        Initial weights of every layer; see `Dense`.
    dtype, seed, backend
        As for `Sequential`.

    Examples
    --------
    >>> net = MLP([64, 32, 10], activation="relu", output="softmax", seed=0)
    >>> net.n_parameters
    2410
    """

    def __init__(
        self,
        sizes: Sequence[int],
        activation: str | Activation = "relu",
        output: str | Activation = "identity",
        *,
        initializer: str | Initializer = "auto",
        dtype: str = "float32",
        seed: int = 0,
        backend: str | None = None,
    ) -> None:
        if isinstance(sizes, str) or not hasattr(sizes, "__iter__"):
            raise TypeError(f"sizes is {sizes!r}; expected a sequence of integers, such as [64, 32, 10]")
        units = [checks.positive_int(size, f"sizes[{index}]") for index, size in enumerate(sizes)]
        if len(units) < 2:
            raise ValueError(f"sizes has {len(units)} numbers; expected at least 2, the inputs and the outputs")
        chosen = [activation] * (len(units) - 2) + [output]
        layers = [
            Dense(n_in, n_out, which, initializer)
            for n_in, n_out, which in zip(units[:-1], units[1:], chosen, strict=True)
        ]
        super().__init__(layers, dtype=dtype, seed=seed, backend=backend)
