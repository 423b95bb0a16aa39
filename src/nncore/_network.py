"""What a network is and holds: its layers, its weights in an engine, the ways into them and out, and copies."""

from __future__ import annotations

import os
from _thread import RLock  # threading takes more than a millisecond to import
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

import numpy as np

from nncore import checks, engines
from nncore.history import History
from nncore.layers import Dense, Layer, checked_parameters, require_memory

if TYPE_CHECKING:
    from collections.abc import Iterable

    from nncore.losses import Loss

    Array = np.ndarray[Any, Any]


_alive: WeakSet[NetworkBase] = WeakSet()


class _Torn:
    """In place of the engine whose weights another thread was changing when the process forked."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(
            "this network was in the middle of a training step of another thread when the process forked; in the child "
            "its weights are neither those before nor those after: train a copy, or fork between calls of fit"
        )


def _after_fork_in_child() -> None:
    for network in list(_alive):
        network._after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)


class NetworkBase:
    """The base of `Sequential`, which makes it, and adds predictions and training."""

    _layers: tuple[Layer, ...]
    _dtype: np.dtype[Any]
    _seed: int
    _backend: str
    _n_parameters: int
    _has_step: bool
    _default_loss: Loss
    _epochs_trained: int
    _history: History | None
    _engine: Any
    _lock: RLock

    def _set_up_engine(self) -> None:
        require_memory(self._layers, self._dtype)
        self._engine = engines.make([layer.spec() for layer in self._layers], self._dtype, self._backend)
        self._lock = RLock()
        _alive.add(self)

    def _after_fork(self) -> None:
        """In the child of a fork: take back what threads held that are not here, so that nobody waits for them."""
        owned = self._lock._is_owned()  # type: ignore[attr-defined]
        if not owned:
            self._lock = RLock()
        if (owned and self._backend == "numpy") or isinstance(self._engine, _Torn):
            return
        trains = self.__dict__.pop("_trains", False) if not owned else False
        if self._engine.after_fork() and (trains or self._backend == "native"):
            self._engine = _Torn()

    def _initial_weights(self) -> list[Array]:
        arrays: list[Array] = []
        stream = 0  # of the dense layers, so that a dropout between them changes no weight
        for layer in self._layers:
            arrays += layer.initial(self._seed, stream)
            stream += isinstance(layer, Dense)
        return checked_parameters(arrays, self._layers, self._dtype)

    # ------------------------------------------------------------------------------------------------ what it is

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layers."""
        return self._layers

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the weights and of all arithmetic."""
        return self._dtype

    @property
    def backend(self) -> str:
        """What computes: "native" or "numpy"."""
        return self._backend

    @property
    def seed(self) -> int:
        """Key of the random streams."""
        return self._seed

    @property
    def n_in(self) -> int:
        """Number of inputs."""
        return self._layers[0].n_in

    @property
    def n_out(self) -> int:
        """Number of outputs."""
        return self._layers[-1].n_out

    @property
    def n_parameters(self) -> int:
        """Number of weights and biases."""
        return self._n_parameters

    @property
    def epochs_trained(self) -> int:
        """Epochs trained over the network's life."""
        return self._epochs_trained

    @property
    def history(self) -> History | None:
        """The record of the latest ``fit``; None before the first."""
        return self._history

    def __repr__(self) -> str:
        layers = ", ".join(map(repr, self._layers))
        return f"Sequential([{layers}], dtype={self._dtype.name!r}, seed={self._seed}, backend={self._backend!r})"

    def summary(self) -> str:
        """Return a table of the layers: their shapes, activations and numbers of parameters."""
        head = ("layer", "shape", "activation", "parameters")
        body = [
            (
                f"{index} {type(layer).__name__}",
                f"{layer.n_in} -> {layer.n_out}",
                repr(layer.activation),
                f"{layer.n_parameters:,}",
            )
            for index, layer in enumerate(self._layers)
        ]
        widths = [max(map(len, column)) for column in zip(head, *body, strict=True)]
        lines = ["  ".join([*map(str.ljust, row[:3], widths), row[3].rjust(widths[3])]) for row in (head, *body)]
        size = self._n_parameters * self._dtype.itemsize
        total = f"{self._n_parameters:,} parameters of {self._dtype.name}, {size:,} bytes; backend {self._backend}"
        return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:], total])

    # --------------------------------------------------------------------------------------------------- weights

    def get_weights(self) -> list[Array]:
        """Return the weights, ``[W0, b0, W1, b1, ...]``, W of shape (n_in, n_out) and b of shape (n_out,).

        Returns
        -------
        list of ndarray
            Read-only copies, which later training leaves as they are; `set_weights` is how to change weights.
        """
        with self._lock:
            arrays = list(self._engine.get_weights())
        for array in arrays:
            array.flags.writeable = False
        return arrays

    def set_weights(self, weights: Iterable[Any], layout: str = "in_out") -> None:
        """Set the weights.

        Parameters
        ----------
        weights : iterable of array_like
            In the order of `get_weights`; copied.
        layout : {"in_out", "out_in"}
            Whether each W is (n_in, n_out), as for ``x @ W``, or (n_out, n_in), as for ``W @ x``.

        Raises
        ------
        TypeError, ValueError
            If the number of arrays, a shape or a type does not fit, or a value is not finite in the network's dtype.
        """
        layout = checks.one_of(layout, "layout", ("in_out", "out_in"))
        if not hasattr(weights, "__iter__") or isinstance(weights, str):
            raise TypeError(f"weights is of type {type(weights).__name__}; expected a list [W0, b0, W1, b1, ...]")
        given = list(weights)
        expected = [(index, shape) for index, layer in enumerate(self._layers) for shape in layer.shapes]
        if len(given) != len(expected):
            raise ValueError(
                f"weights has {len(given)} arrays; this network takes {len(expected)}, W and b of each dense layer, "
                "gamma and beta of each normalisation"
            )
        arrays: list[Array] = []
        for at, (index, shape) in enumerate(expected):
            array = checks.numeric(given[at], f"weights[{at}]")
            if layout == "out_in" and isinstance(self._layers[index], Dense) and len(shape) == 2:
                if array.shape != shape[::-1]:
                    raise ValueError(
                        f"weights[{at}] has shape {array.shape}; layer {index} takes {shape[::-1]} with layout 'out_in'"
                    )
                array = array.T
            arrays.append(array)
        checked = checked_parameters(arrays, self._layers, self._dtype)
        with self._lock:
            self._engine.set_weights(checked)

    def get_state(self) -> list[Array]:
        """Return the running statistics of the batch normalisations, ``[mean, variance, ...]``, in their order.

        Returns
        -------
        list of ndarray
            Read-only copies; empty where there is no batch normalisation.
        """
        with self._lock:
            arrays = list(self._engine.get_state())
        for array in arrays:
            array.flags.writeable = False
        return arrays

    def set_state(self, state: Iterable[Any]) -> None:
        """Set the running statistics of the batch normalisations.

        Parameters
        ----------
        state : iterable of array_like
            In the order of `get_state`; copied.

        Raises
        ------
        TypeError, ValueError
            If the number of arrays, a shape or a value does not fit; a variance is at least 0.
        """
        if not hasattr(state, "__iter__") or isinstance(state, str):
            raise TypeError(f"state is of type {type(state).__name__}; expected a list [mean, variance, ...]")
        given = [checks.numeric(array, f"state[{at}]") for at, array in enumerate(state)]
        sizes = [spec.n_out for spec in (layer.spec() for layer in self._layers) if spec.kind == "batch_norm"]
        if len(given) != 2 * len(sizes):
            raise ValueError(f"state has {len(given)} arrays; this network takes {2 * len(sizes)}")
        arrays = []
        for at, array in enumerate(given):
            if array.shape != (sizes[at // 2],):
                raise ValueError(f"state[{at}] has shape {array.shape}; expected ({sizes[at // 2]},)")
            arrays.append(checks.contiguous(array, self._dtype))
            if not np.isfinite(arrays[at]).all() or (at % 2 and (arrays[at] < 0).any()):
                raise ValueError(f"state[{at}] has a value that no running {'variance' if at % 2 else 'mean'} can have")
        with self._lock:
            self._engine.set_state(arrays)

    def __getstate__(self) -> dict[str, Any]:
        """Return what copies are made of; the engine's weights in place of the engine."""
        with self._lock:
            state = {
                name: value for name, value in self.__dict__.items() if name not in ("_engine", "_lock", "_trains")
            }
            return {**state, "weights": self._engine.get_weights(), "state": self._engine.get_state()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Make a copy from what `__getstate__` gave."""
        weights, running = state.pop("weights"), state.pop("state", [])
        self.__dict__.update(state)
        self._set_up_engine()
        self._engine.set_weights(weights)
        self._engine.set_state(running)
