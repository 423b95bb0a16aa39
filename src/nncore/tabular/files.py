"""Trained estimators in files: a zip of .npy arrays, like a network's file, without pickle.

``table.json`` is the header as bytes: the format's version, the class, its parameters, the columns' encoders, what is
known of the targets, and a CRC-32 of all of it. ``member.0``, ``member.1``, ... are the networks' own files as
bytes, each with its checksum. Nothing in a file is executed; what does not fit is refused.
"""

from __future__ import annotations

import io
import json
import os
import zipfile
import zlib
from typing import Any, TypeVar

import numpy as np

from nncore import activations
from nncore import io as networks
from nncore.network import Sequential
from nncore.tabular import columns
from nncore.tabular.base import TabularBase
from nncore.tabular.preparing import Preparer
from nncore.tabular.targets import Scale

Array = np.ndarray[Any, Any]
T = TypeVar("T", bound=TabularBase)

_FORMAT = 1
_HEADER = "table.json"
_ENTRIES = frozenset(("format", "class", "parameters", "names", "encoders", "targets", "members", "crc32"))
_MOST_MEMBERS = 10_000


def save(estimator: TabularBase, path: str | os.PathLike[str]) -> None:
    """Write a trained estimator's file; see `TabularBase.save`."""
    preparer = estimator._preparer
    parameters = estimator.get_params()
    if isinstance(parameters.get("class_weight"), dict):
        parameters["class_weight"] = [[_plain(key), _plain(value)] for key, value in parameters["class_weight"].items()]
    if isinstance(parameters["activation"], activations.Activation):
        parameters["activation"] = [parameters["activation"].name, parameters["activation"].alpha]
    if hasattr(parameters["hidden"], "__iter__"):
        parameters["hidden"] = [_plain(size) for size in parameters["hidden"]]
    header: dict[str, Any] = {
        "format": _FORMAT,
        "class": type(estimator).__name__,
        "parameters": {name: value if isinstance(value, list) else _plain(value) for name, value in parameters.items()},
        "names": None if preparer.names is None else [_plain(name) for name in preparer.names],
        "encoders": [[encoder.kind, encoder.state()] for encoder in preparer.encoders],
        "targets": _targets(estimator),
        "members": len(estimator._members),
    }
    header["crc32"] = _checksum(header)
    arrays = {_HEADER: networks.as_bytes(header)}
    for index, network in enumerate(estimator._members):
        content = io.BytesIO()
        np.savez(content, **networks.contents(network))  # type: ignore[arg-type]
        arrays[f"member.{index}"] = np.frombuffer(content.getvalue(), np.uint8)
    networks.write_npz(os.fspath(path), arrays)


def _targets(estimator: TabularBase) -> dict[str, Any]:
    scale = getattr(estimator, "_scale", None)
    if scale is not None:
        return {"mean": scale.mean.tolist(), "deviation": scale.deviation.tolist(), "flat": scale.one_dimension}
    classes = estimator.classes_  # type: ignore[attr-defined]
    values = classes.astype("datetime64[us]").astype(np.int64) if classes.dtype.kind == "M" else classes
    return {
        "dtype": "object" if classes.dtype.kind == "O" else classes.dtype.str,
        "classes": [_plain(label) for label in values.tolist()],
        "prior": estimator._prior.tolist(),  # type: ignore[attr-defined]
    }


def _plain(value: Any) -> Any:
    """Return what JSON has."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, str | bool | int | float):
        return value
    raise TypeError(f"{value!r} is of type {type(value).__name__}, which a file cannot keep; expected text or a number")


def _checksum(header: dict[str, Any]) -> int:
    text = json.dumps({key: value for key, value in header.items() if key != "crc32"}, sort_keys=True)
    return zlib.crc32(text.encode())


def load(cls: type[T], path: str | os.PathLike[str], backend: str | None) -> T:
    """Read an estimator's file; see `TabularBase.load`."""
    with open(path, "rb") as file:
        try:
            with zipfile.ZipFile(file) as archive:
                return _estimator(cls, archive, backend)
        except (MemoryError, ImportError):
            raise
        except Exception as error:  # damage can surface anywhere in zipfile, NumPy's parser of headers, json and here
            raise ValueError(f"{os.fspath(path)} is no {cls.__name__}, or damaged: {error}") from error


def _bytes(archive: zipfile.ZipFile, name: str) -> bytes:
    return networks._read_array(archive, name, None, np.dtype(np.uint8)).tobytes()


def _estimator(cls: type[T], archive: zipfile.ZipFile, backend: str | None) -> T:
    header = json.loads(_bytes(archive, _HEADER))
    networks.require_format(header, _FORMAT, _ENTRIES)
    if _checksum(header) != header["crc32"]:
        raise ValueError("the checksum does not fit")
    if header["class"] != cls.__name__:
        raise ValueError(f"it is a {header['class']}")
    parameters = dict(header["parameters"])
    if isinstance(parameters.get("class_weight"), list):
        parameters["class_weight"] = {key: value for key, value in parameters["class_weight"]}
    if isinstance(parameters["activation"], list):
        parameters["activation"] = activations.restored(*parameters["activation"])
    if isinstance(parameters["hidden"], list):
        parameters["hidden"] = tuple(parameters["hidden"])
    estimator = cls(**parameters)
    names = header["names"]
    preparer = Preparer(names, [columns.restored(kind, state) for kind, state in header["encoders"]])
    if names is not None and len(names) != len(preparer.encoders):
        raise ValueError("it has not a name for each column")
    found = header["targets"]
    if "classes" in found:
        n_outputs = _restore_classes(estimator, found)
    else:
        estimator._scale = scale = Scale(found["mean"], found["deviation"], found["flat"])  # type: ignore[attr-defined]
        n_outputs = len(scale.mean)
        if scale.mean.shape != scale.deviation.shape or scale.mean.ndim != 1 or n_outputs == 0:
            raise ValueError("mean and deviation of its targets do not fit")
    if not isinstance(header["members"], int) or not 0 <= header["members"] <= _MOST_MEMBERS:
        raise ValueError("it has no valid number of members")
    members = [_network(_bytes(archive, f"member.{index}"), backend) for index in range(header["members"])]
    for network in members:
        tables = {column: cardinality for column, cardinality, _ in getattr(network.layers[0], "tables", ())}
        if network.n_in != preparer.width or network.n_out != n_outputs or tables != preparer.categories:
            raise ValueError("a member does not fit its columns and targets")
    estimator._remember(preparer, members)
    return estimator


def _restore_classes(estimator: Any, found: dict[str, Any]) -> int:
    values = found["classes"]
    dtype = np.dtype(found["dtype"])
    if dtype.kind not in "OUSbiufM":
        raise ValueError(f"its classes are of dtype {dtype}")
    if dtype.kind == "O":
        classes = np.empty(len(values), dtype=object)
        classes[:] = values
    elif dtype.kind == "M":
        classes = np.array(values, np.int64).astype("datetime64[us]").astype(dtype)
    else:
        classes = np.array(values, dtype=dtype)
    estimator.classes_, estimator._prior = classes, np.array(found["prior"], np.float64)
    if estimator._prior.shape != classes.shape:
        raise ValueError("its classes and their shares do not fit")
    return len(classes)


def _network(content: bytes, backend: str | None) -> Sequential:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        layers, dtype, weights, seed, _ = networks.read_npz(archive, len(content))
    network = Sequential.__new__(Sequential)  # draws no weights, which a hostile file might make take for ever
    network._describe(layers, dtype.name, seed, backend)
    n_parameters = sum(len(layer.shapes) for layer in layers)
    network.set_weights(weights[:n_parameters])
    network.set_state(weights[n_parameters:])
    return network
