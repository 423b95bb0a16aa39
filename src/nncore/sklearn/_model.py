"""An estimator's weights in nncore's core: the network that its sizes describe, and the way from ``coefs_`` and back.

``coefs_`` and ``intercepts_`` are what counts: they are copied into the core before each use, so that whoever writes
into them changes what is computed; the copies of a small network take well under a microsecond.
"""

from __future__ import annotations

from itertools import pairwise
from operator import is_
from typing import TYPE_CHECKING, Any

import numpy as np

from nncore import activations, engines, sparse
from nncore.sklearn._turns import models
from nncore.specs import LayerSpec

if TYPE_CHECKING:
    from collections.abc import Sequence

    Array = np.ndarray[Any, Any]

# scikit-learn's names of activations, where they are not nncore's
NAMES = {"logistic": "sigmoid", "exp": "exponential"}


def inputs(X: Any, dtype: np.dtype[Any]) -> Any:
    """Return dense rows, or a SciPy matrix, as the core takes them."""
    if hasattr(X, "tocsr"):
        return sparse.csr(X, "X", X.shape[1], dtype)
    return np.ascontiguousarray(X, dtype)


def layer_specs(
    sizes: Sequence[int],
    activation: str | activations.Activation,
    output: str,
    dropout: float = 0.0,
    norm: str | None = None,
) -> list[LayerSpec]:
    """Return the layers of a network: dense ones, each but the last with its normalisation, activation and dropout."""
    specs: list[LayerSpec] = []
    hidden = activations.get(NAMES.get(activation, activation) if isinstance(activation, str) else activation)
    last = len(sizes) - 2
    for layer, (n_in, n_out) in enumerate(pairwise(sizes)):
        if layer == last:
            specs.append(LayerSpec(n_in, n_out, NAMES.get(output, output), 0.1))
            continue
        name, alpha = hidden.name, float(getattr(hidden, "alpha", 0.1))
        if norm is None:
            specs.append(LayerSpec(n_in, n_out, name, alpha))
        else:
            specs.append(LayerSpec(n_in, n_out, "identity", 0.1))
            specs.append(LayerSpec(n_out, n_out, name, alpha, kind=f"{norm}_norm"))
        if dropout:
            specs.append(LayerSpec(n_out, n_out, "identity", 0.1, kind="dropout", rate=float(dropout)))
    return specs


class Model:
    """A network in the core, beside the arrays that an estimator shows.

    Parameters
    ----------
    key : tuple
        What the network was made from: sizes, activation, output, dropout, norm.
    dtype : dtype
        Of the arithmetic.

    Attributes
    ----------
    engine
        The network.
    views
        Of the arrays, in the engine's order.
    """

    __slots__ = ("__weakref__", "_given", "dtype", "engine", "key", "views")

    def __init__(self, key: tuple[Any, ...], dtype: np.dtype[Any]) -> None:
        self.key = key
        self.dtype = dtype
        sizes, activation, output, dropout, norm = key
        self.engine: Any = engines.core().NativeEngine(
            layer_specs(sizes, activation, output, dropout, norm), dtype.name
        )
        self.views: Any = None
        self._given: list[Any] = []
        models.add(self)

    def bind(self, arrays: list[Any]) -> None:
        """Take the arrays of an estimator, in the order of `get_weights`, for `load` and `store`.

        Raises
        ------
        ValueError
            If their shapes are not the network's.
        """
        if self.views is not None and self.holds(arrays):
            return
        usable = [np.require(np.asarray(array), self.dtype, ("C", "W")) for array in arrays]
        self.views = engines.core().NativeViews(self.engine, usable)
        self._given = arrays if all(map(is_, usable, arrays)) else []

    def holds(self, arrays: list[Any]) -> bool:
        """Say whether the views are of these very arrays."""
        return len(arrays) == len(self._given) and all(map(is_, arrays, self._given))

    def load(self, arrays: list[Any], state: list[Any], training: bool = True) -> None:
        """Copy weights and running statistics into the core, for training too or for predictions alone.

        For predictions nothing is copied while a fit holds the core, which then predicts by the weights it has reached.
        """
        self.bind(arrays)
        self.views.load(training)
        if state:
            self.engine.set_state(state, training)

    def store(self) -> list[Array]:
        """Copy the core's weights into the arrays, and return these."""
        self.views.store()
        return list(self.views.arrays)

    def state(self) -> list[Array]:
        """Return copies of the running means and variances that the core has, none but for batch normalisation."""
        return self.engine.get_state() if self.key[-1] == "batch" else []

    def outputs(self, X: Any) -> Array:
        """Return the outputs for dense or sparse rows, by the weights that the core has."""
        return self.engine.predict(inputs(X, self.dtype))  # type: ignore[no-any-return]
