"""The multi-layer perceptron: the usual network, described by its sizes."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from nncore import checks, initializers
from nncore.layers import Dense
from nncore.network import Sequential
from nncore.regularization import BatchNorm, Dropout, GaussianNoise, LayerNorm

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nncore.activations import Activation
    from nncore.initializers import Initializer
    from nncore.layers import Layer


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
    dropout : float, default 0
        Rate of a `Dropout` after each hidden layer; 0 for none.
    norm : {None, "batch", "layer"}
        A `BatchNorm` or `LayerNorm` in each hidden layer, between the weighted sums and the activation.
    initializer : str or callable, optional
        Initial weights of every layer; see `Dense`. None takes "glorot_uniform" with at most two hidden layers, where
        it generalises better than He's larger weights (measured: see the page on quality), and "auto" with more,
        through which the signal would fade.
    categories : mapping of int to int or (int, int), optional
        Columns of `X` that hold codes, with their cardinalities, or (cardinality, dim): a layer `Columns` embeds them.
    dtype, seed, backend
        As for `Sequential`.
    input_noise : float, default 0
        Standard deviation of a `GaussianNoise` on the inputs, behind the `Columns` if there are any; 0 for none.

    Raises
    ------
    TypeError, ValueError
        If an argument is of a wrong type or out of range, or a name is not known.
    ImportError, MemoryError
        As `Sequential`.

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
        dropout: float = 0.0,
        norm: str | None = None,
        initializer: str | Initializer | None = None,
        dtype: str = "float32",
        seed: int = 0,
        backend: str | None = None,
        *,
        categories: Mapping[int, int | tuple[int, int]] | None = None,
        input_noise: float = 0.0,
    ) -> None:
        if isinstance(sizes, str) or not hasattr(sizes, "__iter__"):
            raise TypeError(f"sizes is {sizes!r}; expected a sequence of integers, such as [64, 32, 10]")
        units = [checks.positive_int(size, f"sizes[{index}]") for index, size in enumerate(sizes)]
        if len(units) < 2:
            raise ValueError(f"sizes has {len(units)} numbers; expected at least 2, the inputs and the outputs")
        if initializer is None:
            initializer = "glorot_uniform" if len(units) <= 4 else "auto"
        rate = checks.finite_float(dropout, "dropout", low=0.0, below=1.0)
        stddev = checks.finite_float(input_noise, "input_noise", low=0.0)
        if norm is not None:
            norm = checks.one_of(norm, "norm", ("batch", "layer"))
        layers: list[Layer] = []
        if categories is not None:
            from nncore.columns import Columns  # many programs go without

            layers.append(Columns(categories, units[0]))
            units[0] = layers[0].n_out
        if stddev:
            layers.append(GaussianNoise(stddev))
        for n_in, n_out in pairwise(units[:-1]):
            if norm is None:
                layers.append(Dense(n_in, n_out, activation, initializer))
            else:
                # The initial weights are those that go with the activation, which follows the normalisation.
                which = initializer
                if initializer == "auto":
                    which = initializers.get("auto", activation).__name__
                normalization = BatchNorm if norm == "batch" else LayerNorm
                layers += [Dense(n_in, n_out, "identity", which), normalization(n_out, activation=activation)]
            if rate:
                layers.append(Dropout(rate))
        layers.append(Dense(units[-2], units[-1], output, initializer))
        super().__init__(layers, dtype=dtype, seed=seed, backend=backend)
