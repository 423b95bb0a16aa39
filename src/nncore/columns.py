"""The first layer of a network for tables: learned numbers in place of codes, numeric columns as they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from nncore import activations, checks, initializers, streams
from nncore.layers import Layer
from nncore.specs import LayerSpec

if TYPE_CHECKING:
    from nncore.initializers import Initializer

    Array = np.ndarray[Any, Any]

_MOST_CODES = 2**24  # float32 has every integer up to this


class Columns(Layer):
    """Embeds columns of categories: a = (numeric columns, E_1[x_1], E_2[x_2], ...).

    Some columns of `X` hold codes, whole numbers 0 to cardinality - 1, each of which stands for a row of `dim` numbers
    that are learned with the weights. The outputs are the other columns in their order, then each coded column's
    numbers, by ascending column. It is for the first layer of a network.

    Parameters
    ----------
    categories : mapping of int to int or (int, int)
        For each column of codes, counted from 0, its cardinality, or cardinality and dim. Without dim it is
        1.6 * cardinality**0.56, rounded, at least 1 and at most 50.
    n_in : int
        Number of columns of `X`.
    initializer : {"uniform"} or callable
        Initial numbers: uniform in [-1, 1) / sqrt(dim), or a function of (cardinality, dim, seed, stream) that returns
        a matrix (cardinality, dim).

    Attributes
    ----------
    tables : tuple of (column, cardinality, dim)
        By ascending column.
    n_in, n_out : int

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit. Networks refuse rows whose codes are no whole numbers or out of range.

    Notes
    -----
    Its arrays in ``get_weights`` come first, one (cardinality, dim) for each coded column; optimizers treat them like
    other weights, decay included. The gradient of a code is the sum over the rows that have it. Codes are exact in
    float32 up to 2**24.

    C. Guo, F. Berkhahn, "Entity embeddings of categorical variables", 2016, arXiv:1604.06737; the initial numbers are
    those of Y. Gorishniy et al., "Revisiting deep learning models for tabular data", NeurIPS 2021, the default for dim
    is the rule of the fastai library.

    Examples
    --------
    >>> layer = Columns({1: 12, 3: (1000, 8)}, n_in=5)
    >>> layer.n_out  # 3 numeric columns, 6 and 8 numbers
    17
    >>> net = Sequential([layer, Dense(17, 32, "relu"), Dense(32, 1)])
    """

    __slots__ = ("initializer", "tables")

    activation = activations.identity

    def __init__(
        self,
        categories: Mapping[int, int | tuple[int, int]],
        n_in: int,
        initializer: str | Initializer = "uniform",
    ) -> None:
        self.n_in = checks.positive_int(n_in, "n_in")
        if not isinstance(categories, Mapping):
            raise TypeError(
                f"categories is of type {type(categories).__name__}; expected a dict of column to cardinality"
            )
        if not categories:
            raise ValueError("categories is empty; expected at least one column, or no layer Columns")
        tables = []
        for column, sizes in categories.items():
            at = checks.non_negative_int(column, "column in categories")
            if at >= self.n_in:
                raise ValueError(f"categories has column {at}; expected 0 to {self.n_in - 1}, as n_in is {self.n_in}")
            tables.append((at, *_sizes(sizes, f"categories[{column}]")))
        if len({column for column, _, _ in tables}) < len(tables):
            raise ValueError("categories has a column twice; expected each once")
        self.tables = tuple(sorted(tables))
        self.n_out = self.n_in - len(tables) + sum(dim for _, _, dim in tables)
        if initializer != "uniform" and not callable(initializer):
            raise ValueError(f"initializer is {initializer!r}; expected 'uniform' or a function")
        self.initializer = initializer

    def spec(self) -> LayerSpec:
        """Return what an engine is told."""
        return LayerSpec(self.n_in, self.n_out, "identity", 0.0, kind="columns", tables=self.tables)

    def settings(self) -> dict[str, Any]:
        """Return what a file keeps of the layer, besides its kind."""
        return {"n_in": self.n_in, "tables": [list(table) for table in self.tables]}

    def initial(self, seed: int, stream: int) -> list[Array]:
        """Return the tables that training starts from; their streams are none that a dense layer has."""
        make = _uniform if self.initializer == "uniform" else initializers.get(self.initializer, self.activation)
        drawn = [make(n, dim, seed, 1 << 32 | column) for column, n, dim in self.tables]
        return [checks.numeric(table, "what the initializer gave") for table in drawn]

    def check_inputs(self, X: Any, name: str) -> None:
        """Raise ValueError for the first row of `X` in which a code is no whole number or out of range."""
        checks.codes(X, name, self.tables)

    def __repr__(self) -> str:
        inside = ", ".join(f"{column}: ({n}, {dim})" for column, n, dim in self.tables)
        more = "" if self.initializer == "uniform" else f", initializer={self.initializer!r}"
        return f"Columns({{{inside}}}, {self.n_in}{more})"


def _sizes(sizes: Any, name: str) -> tuple[int, int]:
    """Return the cardinality and dim that `categories` has for a column."""
    if isinstance(sizes, tuple | list):
        if len(sizes) != 2:
            raise ValueError(f"{name} has {len(sizes)} numbers; expected the cardinality, or (cardinality, dim)")
        cardinality, dim = checks.positive_int(sizes[0], name), checks.positive_int(sizes[1], f"dim of {name}")
    else:
        cardinality = checks.positive_int(sizes, name)
        dim = min(50, max(1, round(1.6 * cardinality**0.56)))
    if cardinality > _MOST_CODES:
        raise ValueError(f"{name} is {cardinality}; expected at most {_MOST_CODES}, which float32 can tell apart")
    return cardinality, dim


def _uniform(n: int, dim: int, seed: int, stream: int) -> Array:
    numbers = 2 * streams.uniform(seed, streams.WEIGHTS, stream, n * dim) - 1
    return np.asarray(numbers.reshape(n, dim) / np.sqrt(dim))
