"""Files from which a run of ``fit`` goes on: written by `callbacks.Checkpoint`, read by ``fit(..., resume=path)``.

A checkpoint is a model file as ``nncore.io`` writes it, with more arrays in it: ``checkpoint.0``, ``checkpoint.1``, ...
and ``checkpoint.json``. That is JSON too: the format's version, the state of the run as a tree in which the arrays are
named by number, their shapes and dtypes, and a CRC-32 of all this and the arrays' bytes. Nothing in a file is executed.
"""

from __future__ import annotations

import json
import os
import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np

from nncore import checks, io

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nncore.callbacks import Callback
    from nncore.fitting import Run
    from nncore.history import History
    from nncore.network import Sequential
    from nncore.optimizers import Optimizer

    Array = np.ndarray[Any, Any]

_FORMAT = 1
_HEADER = "checkpoint.json"
_ENTRIES = frozenset(("format", "state", "arrays", "crc32"))
_MAX_HEADER_BYTES = 1 << 24
_DTYPES = frozenset(("float32", "float64", "int32", "int64", "uint8", "bool"))


def write(path: str, run: Run) -> None:
    """Write the checkpoint of a run, at the end of an epoch or of a step.

    Parameters
    ----------
    path : str
        The file, replaced in one go.
    run : Run
        What is written.

    Raises
    ------
    TypeError
        If the state of a callback holds what a checkpoint cannot keep.
    OSError
        If the file cannot be written.
    """
    within = run.position > 0
    job = run.source.job if within else None  # type: ignore[union-attr]
    state = {
        "settings": run.settings,
        "epoch": run.epoch,
        "position": run.position,
        "loss_sum": job.loss_sum if job is not None else 0.0,
        "predictions": job.predictions if job is not None else None,
        "seconds": run.history.seconds + run.elapsed(),
        "history": {name: np.array(values, np.float64) for name, values in run.history.history.items()},
        "optimizer": optimizer_state(run.optimizer),
        "callbacks": [
            [type(callback).__name__, kept] for callback in run.callbacks if (kept := callback.state())
        ],
    }  # fmt: skip
    arrays: list[Array] = []
    header: dict[str, Any] = {"format": _FORMAT, "state": _pack(state, arrays, "state")}
    header["arrays"] = [[list(array.shape), array.dtype.name] for array in arrays]
    flat = [array.reshape(-1) for array in arrays]
    header["crc32"] = io._checksum(header, flat)
    contents = io.contents(run.network)
    contents.update({f"checkpoint.{index}": array for index, array in enumerate(flat)})
    contents[_HEADER] = io.as_bytes(header)
    io.write_npz(path, contents, clean=False)  # the run's beginning has done that


class Checkpoint:
    """What a file holds.

    Parameters
    ----------
    path : path_like
        The file.

    Raises
    ------
    TypeError
        If `path` is no path.
    OSError
        If the file is not there or cannot be read.
    ValueError
        If it is not a checkpoint, damaged, or made to do harm.
    """

    def __init__(self, path: Any) -> None:
        if not isinstance(path, str | os.PathLike):
            raise TypeError(f"resume is of type {type(path).__name__}; expected the path of a checkpoint")
        self._path = io._path(path)
        with open(self._path, "rb") as file:
            try:
                size = os.fstat(file.fileno()).st_size
                with zipfile.ZipFile(file) as archive:
                    self._layers, self._dtype, self._weights, _, self._trained = io.read_npz(archive, size)
                    state = _read_state(archive, size)
                self._take(state)
            except MemoryError:
                raise
            except Exception as error:  # as in `io.load`
                raise ValueError(
                    f"{self._path} is not a checkpoint from which fit can go on, or is damaged: {error}"
                ) from error

    def _take(self, state: dict[str, Any]) -> None:
        self.settings: dict[str, Any] = _of_type(state["settings"], dict, "settings")
        self.epoch = checks.non_negative_int(state["epoch"], "epoch")
        self.position = checks.non_negative_int(state["position"], "position")
        self._loss_sum = checks.finite_float(state["loss_sum"], "loss_sum")
        self._predictions: Array | None = state["predictions"]
        if self._predictions is not None:
            _of_type(self._predictions, np.ndarray, "predictions")
        self._seconds = checks.finite_float(state["seconds"], "seconds", low=0.0)
        history = _of_type(state["history"], dict, "history")
        if any(_of_type(values, np.ndarray, name).shape != (self.epoch,) for name, values in history.items()):
            raise ValueError(f"its history has not the {self.epoch} epochs that are done")
        self._history: dict[str, list[float]] = {name: values.tolist() for name, values in history.items()}
        self._optimizer: dict[str, Any] = _of_type(state["optimizer"], dict, "optimizer")
        for key in ("name", "settings", "learning_rate"):
            if key not in self._optimizer:
                raise ValueError(f"the state of its optimizer has no entry {key!r}")
        self._callbacks: list[tuple[str, dict[str, Any]]] = []
        for entry in _of_type(state["callbacks"], list, "callbacks"):
            name, kept = entry
            self._callbacks.append((_of_type(name, str, "a callback"), _of_type(kept, dict, f"the state of {name}")))

    @property
    def epochs_trained(self) -> int:
        """Epochs trained over the life of the network that is in the file."""
        return self._trained

    def require_fit(
        self,
        network: Sequential,
        optimizer: Optimizer,
        settings: Mapping[str, Any],
        names: list[str],
        callbacks: tuple[Callback, ...],
    ) -> None:
        """Refuse what would not go on as the run that wrote this.

        Raises
        ------
        ValueError
            If the network, the optimizer, an argument or the callbacks differ; nothing has been changed.
        """
        there = _described(self._layers, self._dtype)
        here = _described(network.layers, network.dtype)
        if there != here:
            raise ValueError(f"resume has the network {there}; this one is {here}")
        for name, value in settings.items():
            if self.settings.get(name) != value:
                raise ValueError(f"resume was made with {name} {self.settings.get(name)!r}; this fit has {value!r}")
        if list(self._history) != names:
            raise ValueError(f"resume records {', '.join(self._history)}; this fit records {', '.join(names)}")
        if optimizer.name != self._optimizer["name"]:
            raise ValueError(f"resume has the state of {self._optimizer['name']!r}; optimizer is {optimizer.name!r}")
        given = optimizer_settings(optimizer)
        if given != self._optimizer["settings"]:
            raise ValueError(f"resume has an optimizer with {self._optimizer['settings']}; this one has {given}")
        self._matched(callbacks)

    def _matched(self, callbacks: tuple[Callback, ...]) -> list[tuple[Callback, dict[str, Any]]]:
        """Return the callbacks to which there is a state: the first of a class has the first state of it, and so on."""
        left = list(callbacks)
        result = []
        for kind, state in self._callbacks:
            found = next((callback for callback in left if type(callback).__name__ == kind), None)
            if found is None:
                raise ValueError(f"resume has the state of {kind}; expected one in callbacks, or as early_stopping")
            left.remove(found)
            result.append((found, state))
        return result

    def load_network(self, network: Sequential, optimizer: Optimizer, slots: Any) -> None:
        """Bring weights, count of epochs and optimizer to where the run was, or raise and leave them as they are."""
        weights, state = network.get_weights(), network.get_state()
        gathered = optimizer_state(optimizer)
        n = len(weights)
        try:
            network.set_weights(self._weights[:n])
            network.set_state(self._weights[n:])
            load_optimizer_state(optimizer, slots, self._optimizer)
        except BaseException:
            network.set_weights(weights)
            network.set_state(state)
            load_optimizer_state(optimizer, slots, gathered)
            raise
        network._epochs_trained = self._trained

    def load_history(self, history: History) -> None:
        """Fill in the epochs that are done."""
        for name, values in self._history.items():
            history.history[name][:] = values
        history.seconds = self._seconds

    def load_run(self, run: Run) -> None:
        """Bring network, optimizer, callbacks and the position in the epoch to where the run was, or change nothing.

        Raises
        ------
        ValueError
            If the file has what no run of this network can have left.
        """
        taken = []
        try:
            job = run.source.job if self.position else None  # type: ignore[union-attr]
            if job is not None:
                if self.position >= (run.source.steps_per_epoch or 0):
                    raise ValueError(f"position is {self.position} in epochs of {run.source.steps_per_epoch} steps")
                recorded = getattr(job.predictions, "shape", None)
                if getattr(self._predictions, "shape", None) != recorded:
                    raise ValueError(f"its predictions are not the {recorded} that this fit records")
            for callback, state in self._matched(run.callbacks):
                taken.append(callback)
                callback.load_state(state)
            self.load_network(run.network, run.optimizer, run.slots)
        except Exception as error:
            for callback in taken:
                callback.__dict__["_resumed"] = False  # what it has taken over is forgotten when it begins anew
            raise ValueError(f"{self._path} has what no run of this fit can have left: {error}") from error
        run.position = self.position
        if job is not None:
            job.loss_sum = self._loss_sum
            if self._predictions is not None:
                job.predictions[...] = self._predictions


def _of_type(value: Any, kind: type, name: str) -> Any:
    if not isinstance(value, kind):
        raise ValueError(f"{name} is of type {type(value).__name__}; expected {kind.__name__}")
    return value


def _described(layers: Any, dtype: Any) -> str:
    """Return all that makes a network compute and train as it does, but for its weights."""
    # What an initializer drew is in the weights, and a function that did has no name in the file.
    kept = ({name: value for name, value in layer.settings().items() if name != "initializer"} for layer in layers)
    text = (", ".join(f"{name}={value}" for name, value in settings.items()) for settings in kept)
    described = (f"{type(layer).__name__}({settings})" for layer, settings in zip(layers, text, strict=True))
    return f"[{', '.join(described)}] of {dtype.name}"


# --------------------------------------------------------------------------------------------------------- optimizers


def optimizer_settings(optimizer: Optimizer) -> dict[str, Any]:
    """Return the settings that must be the same where a run goes on: all but the learning rate."""
    names: Any = getattr(optimizer, "_SETTINGS", None) or getattr(optimizer, "_FIXED", ())
    values = {name: getattr(optimizer, name) for name in sorted(names) if hasattr(optimizer, name)}
    return {name: value for name, value in values.items() if isinstance(value, bool | int | float | str)
            and name != "learning_rate"}  # fmt: skip


def optimizer_state(optimizer: Optimizer) -> dict[str, Any]:
    """Return all that an optimizer has gathered, and its learning rate where that is a number."""
    rate = getattr(optimizer, "learning_rate", None)
    if hasattr(optimizer, "state"):
        own = optimizer.state()
    else:
        own = {"steps": optimizer.steps, "slots": optimizer._slots.arrays()}
    return {
        "name": optimizer.name,
        "settings": optimizer_settings(optimizer),
        "learning_rate": rate if isinstance(rate, float) else None,
        **own,
    }


def load_optimizer_state(optimizer: Optimizer, slots: Any, state: Mapping[str, Any]) -> None:
    """Take over what `optimizer_state` gave, into an optimizer that belongs to the network already."""
    if state["learning_rate"] is not None:
        optimizer.learning_rate = state["learning_rate"]
    if hasattr(optimizer, "load_state"):
        optimizer.load_state(state)
    else:
        slots.load(state["slots"])
        optimizer.steps = state["steps"]


# -------------------------------------------------------------------------------------------------- trees with arrays


def _pack(value: Any, arrays: list[Array], where: str) -> Any:
    """Return `value` as JSON can have it, its arrays moved into the list."""
    if isinstance(value, np.ndarray):
        if value.dtype.name not in _DTYPES:
            raise TypeError(f"{where} is an array of {value.dtype}; a checkpoint keeps {', '.join(sorted(_DTYPES))}")
        arrays.append(np.ascontiguousarray(value))
        return {"array": len(arrays) - 1}
    if isinstance(value, dict):
        if not all(isinstance(key, str) for key in value):
            raise TypeError(f"{where} is a dict with keys that are no strings; expected strings")
        return {"dict": {key: _pack(item, arrays, f"{where}[{key!r}]") for key, item in value.items()}}
    if isinstance(value, list | tuple):
        return [_pack(item, arrays, f"{where}[{index}]") for index, item in enumerate(value)]
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"{where} is of type {type(value).__name__}; a checkpoint keeps numbers, strings, None and arrays")


def _unpack(value: Any, arrays: list[Array]) -> Any:
    """Return what `_pack` was given."""
    if isinstance(value, list):
        return [_unpack(item, arrays) for item in value]
    if not isinstance(value, dict):
        return value
    if "array" in value:
        return arrays[value["array"]]
    return {key: _unpack(item, arrays) for key, item in value["dict"].items()}


def _read_state(archive: zipfile.ZipFile, size: int) -> dict[str, Any]:
    if _HEADER + ".npy" not in archive.namelist():
        raise ValueError("it holds a network without a run")
    if archive.getinfo(_HEADER + ".npy").file_size > _MAX_HEADER_BYTES:
        raise ValueError(f"the header is larger than {_MAX_HEADER_BYTES} bytes")
    header = json.loads(io._read_array(archive, _HEADER, None, np.dtype(np.uint8)).tobytes())
    io.require_format(header, _FORMAT, _ENTRIES)
    arrays, flat = [], []
    for index, (shape, name) in enumerate(header["arrays"]):
        if name not in _DTYPES:
            raise ValueError(f"checkpoint.{index} is of {name}")
        count = 1
        for length in shape:
            count *= length
        if count < 0 or count * np.dtype(name).itemsize > size:
            raise ValueError("its arrays take more bytes than it has")
        flat.append(io._read_array(archive, f"checkpoint.{index}", (count,), np.dtype(name)))
        arrays.append(flat[-1].reshape(shape))
    if io._checksum(header, flat) != header["crc32"]:
        raise ValueError("the checksum does not fit")
    state = _unpack(header["state"], arrays)
    if not isinstance(state, dict):
        raise ValueError("its state is no dict")
    return state
