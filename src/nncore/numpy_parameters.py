"""What the NumPy engine holds: parameters and running statistics, and an optimizer's memory of the same shapes.

All weights lie in one flat buffer, first the weight matrices and then the biases; the layers' matrices are views of it.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

import numpy as np

from nncore import numpy_layers

if TYPE_CHECKING:
    from collections.abc import Sequence
    from threading import Lock
    from typing import Any

    Array = np.ndarray[Any, Any]


class NumpyParameters:
    """Parameters, running statistics, and the ways into them and out; the base of `NumpyEngine`, which sets them up."""

    __slots__ = ("_flat", "_gradient", "_layers", "_lock", "_n_weights", "_shapes", "dtype", "n_parameters")

    dtype: np.dtype[Any]
    n_parameters: int
    _flat: Array
    _gradient: Array
    _layers: list[numpy_layers.NumpyLayer]
    _lock: Lock
    _n_weights: int
    _shapes: list[list[tuple[int, ...]]]

    def _views(self, flat: Array) -> list[list[Array]]:
        """Cut a flat buffer into each layer's parameters, without a copy: matrices, then what never decays."""
        views: list[list[Array]] = []
        at, other_at = 0, self._n_weights
        for shapes in self._shapes:
            parts: list[Array] = []
            views.append(parts)
            for shape in shapes:
                start = at if len(shape) == 2 else other_at
                parts.append(flat[start : start + prod(shape)].reshape(shape))
                if len(shape) == 2:
                    at += prod(shape)
                else:
                    other_at += prod(shape)
        return views

    def _arrays(self, flat: Array) -> list[Array]:
        """Copy a flat buffer out as ``[W0, b0, W1, b1, ...]``, layer after layer."""
        return [array.copy() for parts in self._views(flat) for array in parts]

    def _load(self, flat: Array, arrays: Sequence[Array]) -> None:
        """Copy what `_arrays` gives into a flat buffer."""
        for view, array in zip((part for parts in self._views(flat) for part in parts), arrays, strict=True):
            view[...] = array

    def _normalized(self) -> list[numpy_layers.NumpyBatchNorm]:
        return [layer for layer in self._layers if isinstance(layer, numpy_layers.NumpyBatchNorm)]

    def get_state(self) -> list[Array]:
        """Return copies of the running means and variances, ``[mean, variance, ...]``."""
        with self._lock:
            return [array.copy() for layer in self._normalized() for array in layer.state]

    def set_state(self, arrays: Sequence[Array]) -> None:
        """Copy in what `get_state` gives."""
        with self._lock:
            live = (array for layer in self._normalized() for array in layer.state)
            for array, given in zip(live, arrays, strict=True):
                array[...] = given

    def set_weights(self, arrays: Sequence[Array]) -> None:
        """Copy ``[W0, b0, W1, b1, ...]`` in; W is (n_in, n_out)."""
        with self._lock:
            self._load(self._flat, arrays)

    def get_weights(self) -> list[Array]:
        """Return copies ``[W0, b0, W1, b1, ...]``."""
        with self._lock:
            return self._arrays(self._flat)

    def finite(self, slots: NumpySlots | None = None) -> bool:
        """Say whether every weight and bias is finite, and all that the optimizer keeps."""
        if not all(all_finite(array) for layer in self._normalized() for array in layer.state):
            return False
        return all_finite(self._flat) and (slots is None or all_finite(slots.flat))

    def new_slots(self, n: int) -> NumpySlots:
        """Return `n` zeroed copies of the parameters' shapes: an optimizer's memory."""
        return NumpySlots(self, n)

    def snapshot(self, slots: NumpySlots | None, into: tuple[Array, ...] | None = None) -> tuple[Array, ...]:
        """Copy weights and slots aside, into an earlier snapshot's memory where one is given."""
        live = self._live(slots)
        if into is None:
            return tuple(array.copy() for array in live)
        for saved, array in zip(into, live, strict=True):
            np.copyto(saved, array)
        return into

    def _live(self, slots: NumpySlots | None) -> list[Array]:
        state = [array for layer in self._normalized() for array in layer.state]
        return [self._flat, *state] if slots is None else [self._flat, *state, slots.flat]

    def restore(self, snapshot: tuple[Array, ...], slots: NumpySlots | None) -> None:
        """Bring weights and slots back to what `snapshot` saw."""
        live = self._live(slots)
        with self._lock:
            for array, saved in zip(live, snapshot, strict=True):
                np.copyto(array, saved)


class NumpySlots:
    """An optimizer's memory: copies of the parameters' shapes, one row of `flat` for each slot."""

    __slots__ = ("_engine", "flat")

    def __init__(self, engine: NumpyParameters, n: int) -> None:
        self._engine = engine
        self.flat = np.zeros((n, engine.n_parameters), engine.dtype)

    def arrays(self) -> list[list[Array]]:
        """Return copies of the slots, each in the order of ``get_weights``."""
        return [self._engine._arrays(flat) for flat in self.flat]

    def load(self, slots: Sequence[Sequence[Array]]) -> None:
        """Copy in what `arrays` gave."""
        for flat, arrays in zip(self.flat, slots, strict=True):
            self._engine._load(flat, arrays)


def all_finite(array: Array) -> bool:
    """Say whether every number is finite."""
    return bool(np.isfinite(array).all())
