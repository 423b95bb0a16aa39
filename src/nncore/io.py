"""Saving and loading networks: .npz and .safetensors files, without pickle.

An .npz file is a zip of .npy arrays: ``weights.0``, ``weights.1``, ... in the order of ``get_weights``, and
``nncore.json``, the header as bytes. The header is JSON: the format's version, dtype, layers, seed, epochs trained,
and a CRC-32 of all of it and of the weights' bytes. A .safetensors file has the same arrays, and the header as text in
its metadata. Nothing in a file is executed; whatever does not fit the header, or takes more bytes than the file has,
is refused before it is read.
"""

from __future__ import annotations

import json
import os
import zipfile
import zlib
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from nncore import activations, checks, files, safetensors
from nncore.columns import Columns
from nncore.layers import Dense, Layer
from nncore.network import Sequential
from nncore.regularization import BatchNorm, Dropout, GaussianNoise, LayerNorm

if TYPE_CHECKING:
    Array = np.ndarray[Any, Any]

_FORMAT = 1
_HEADER = "nncore.json"
_METADATA = "nncore"  # where a .safetensors file has the header
_ENTRIES = frozenset(("format", "dtype", "layers", "seed", "epochs_trained", "crc32"))  # of the header
_MAX_HEADER_BYTES = 1 << 20
_MAX_NPY_HEADER = 500  # NumPy writes 118 bytes; its parser is not safe from deep nesting in long ones


def save(network: Sequential, path: str | os.PathLike[str]) -> None:
    """Save a network: its layers, dtype, weights, seed and count of epochs; no optimizer's state.

    The file is written beside `path` and then put in its place in one go: whoever reads `path` sees the old file or
    the new one, whole. See `nncore.files.replace` on permissions and links.

    Parameters
    ----------
    network : Sequential
        What to save.
    path : path_like
        Where to. The name is taken as it is; one that ends in ".safetensors" makes a file of that format, any other
        one an .npz file.

    Raises
    ------
    TypeError
        If an argument is of another type.
    OSError
        If the file cannot be written.
    """
    if not isinstance(network, Sequential):
        raise TypeError(f"network is of type {type(network).__name__}; expected Sequential or MLP")
    target = _path(path)
    if target.lower().endswith(".safetensors"):
        header, arrays = _described(network)
        metadata = {_METADATA: json.dumps(header)}
        files.replace(target, lambda file: safetensors.write(file, arrays, metadata))
    else:
        write_npz(target, contents(network))


def contents(network: Sequential) -> dict[str, Array]:
    """Return the arrays of a network's .npz file, by name."""
    header, arrays = _described(network)
    return {**arrays, _HEADER: as_bytes(header)}


def as_bytes(header: dict[str, Any]) -> Array:
    """Return a header as the array that an .npz file has."""
    return np.frombuffer(json.dumps(header).encode(), np.uint8)


def write_npz(path: str, arrays: dict[str, Array], *, clean: bool = True) -> None:
    """Write arrays into a file, replaced in one go; see `files.replace`."""
    files.replace(path, lambda file: np.savez(file, **arrays), clean=clean)  # type: ignore[arg-type]


def _described(network: Sequential) -> tuple[dict[str, Any], dict[str, Array]]:
    """Return a network's header, and its arrays by name."""
    with network._lock:
        weights = [*network.get_weights(), *network.get_state()]
        epochs_trained = network.epochs_trained
    header: dict[str, Any] = {
        "format": _FORMAT,
        "dtype": network.dtype.name,
        "layers": [{"kind": type(layer).__name__, **layer.settings()} for layer in network.layers],
        "seed": network.seed,
        "epochs_trained": epochs_trained,
    }
    header["crc32"] = _checksum(header, weights)
    return header, {f"weights.{index}": array for index, array in enumerate(weights)}


def load(path: str | os.PathLike[str], backend: str | None = None) -> Sequential:
    """Load a network that `save` wrote.

    Parameters
    ----------
    path : path_like
        The file, of either format, whatever its name.
    backend : {"native", "numpy"}, optional
        As for `Sequential`; the file does not say.

    Returns
    -------
    Sequential

    Raises
    ------
    OSError
        If the file is not there or cannot be read.
    ValueError
        If it is not a network's file, damaged, or made to do harm.
    """
    source = _path(path)
    with open(source, "rb") as file:
        try:
            size = os.fstat(file.fileno()).st_size
            is_safetensors = file.read(9)[8:] == b"{"  # behind the header's length; a zip has a number there
            file.seek(0)
            if is_safetensors:
                layers, dtype, weights, seed, epochs_trained = _read_safetensors(file, size)
            else:
                with zipfile.ZipFile(file) as archive:
                    layers, dtype, weights, seed, epochs_trained = read_npz(archive, size)
        except MemoryError:
            raise
        except Exception as error:  # damage can surface anywhere in zipfile, NumPy's parser of headers, json and here
            raise ValueError(f"{source} is not a network that nncore can load, or is damaged: {error}") from error
    try:
        network = Sequential.__new__(Sequential)  # draws no weights, which a hostile file might make take for ever
        network._describe(layers, dtype.name, seed, backend)
        n_parameters = sum(len(layer.shapes) for layer in layers)
        network.set_weights(weights[:n_parameters])
        network.set_state(weights[n_parameters:])
    except ValueError as error:
        raise ValueError(f"{source} is damaged: {error}") from error
    network._epochs_trained = epochs_trained
    return network


def read_npz(archive: zipfile.ZipFile, size: int) -> tuple[list[Layer], np.dtype[Any], list[Array], int, int]:
    """Return layers, dtype, weights, seed and count of epochs from a network's .npz file of `size` bytes."""
    if archive.getinfo(_HEADER + ".npy").file_size > _MAX_HEADER_BYTES:
        raise ValueError(f"the header is larger than {_MAX_HEADER_BYTES} bytes")
    header = _checked_header(_read_array(archive, _HEADER, None, np.dtype(np.uint8)).tobytes())
    layers, dtype = _layers(header, size)
    weights = [_read_array(archive, f"weights.{i}", shape, dtype) for i, shape in enumerate(_shapes(layers))]
    return _verified(header, layers, dtype, weights)


def _read_safetensors(file: IO[bytes], size: int) -> tuple[list[Layer], np.dtype[Any], list[Array], int, int]:
    """Return the same of a .safetensors file."""
    arrays, metadata = safetensors.read(file, size)
    if _METADATA not in metadata:
        raise ValueError("its metadata has no description of a network")
    header = _checked_header(metadata[_METADATA])
    layers, dtype = _layers(header, size)
    shapes = _shapes(layers)
    names = [f"weights.{index}" for index in range(len(shapes))]
    if arrays.keys() != set(names):
        raise ValueError(f"it has the arrays {', '.join(arrays)}; expected {', '.join(names)}")
    for name, shape in zip(names, shapes, strict=True):
        found = arrays[name]
        if found.shape != shape or found.dtype != dtype:
            raise ValueError(f"{name} is {found.shape} of {found.dtype}; expected {shape} of {dtype}")
    return _verified(header, layers, dtype, [arrays[name] for name in names])


def _verified(
    header: dict[str, Any], layers: list[Layer], dtype: np.dtype[Any], weights: list[Array]
) -> tuple[list[Layer], np.dtype[Any], list[Array], int, int]:
    """Return what has been read, and the numbers of the header, or refuse a checksum or numbers that do not fit."""
    if _checksum(header, weights) != header["crc32"]:
        raise ValueError("the checksum does not fit")
    seed = checks.seed(header["seed"])
    epochs_trained = checks.non_negative_int(header["epochs_trained"], "epochs_trained")
    if epochs_trained >= 2**56:  # what the number of a random stream has room for
        raise ValueError(f"epochs_trained is {epochs_trained}; expected less than 2**56")
    return layers, dtype, weights, seed, epochs_trained


def _path(path: str | os.PathLike[str]) -> str:
    name = os.fspath(path)
    if not isinstance(name, str):
        raise TypeError(f"path is of type {type(path).__name__}; expected a string or a path object")
    return name


def _checksum(header: dict[str, Any], weights: list[Array]) -> int:
    """Return the CRC-32 of the header without its own entry, and of the weights' bytes as little-endian."""
    text = json.dumps({key: value for key, value in header.items() if key != "crc32"}, sort_keys=True)
    crc = zlib.crc32(text.encode())
    for array in weights:
        little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
        crc = zlib.crc32(little.data.cast("B"), crc)
    return crc


def _checked_header(text: str | bytes) -> dict[str, Any]:
    header = json.loads(text)
    require_format(header, _FORMAT, _ENTRIES)
    return header  # type: ignore[no-any-return]


def require_format(header: Any, version: int, known: frozenset[str]) -> None:
    """Refuse a header of another version, or with other entries than its format has: who knows what they would mean."""
    found = header.get("format") if isinstance(header, dict) else None
    if found != version:
        newer = ", which a newer version of nncore writes" if type(found) is int and found > version else ""
        raise ValueError(f"expected a header of format {version}; it has {found!r}{newer}")
    if header.keys() != known:
        odd, missing = sorted(header.keys() - known), sorted(known - header.keys())
        if odd:
            raise ValueError(f"the header has the entry {odd[0]!r}, which format {_FORMAT} does not have")
        raise ValueError(f"the header has no entry {missing[0]!r}, which format {_FORMAT} has")


def _layers(header: dict[str, Any], size: int) -> tuple[list[Layer], np.dtype[Any]]:
    """Return the layers and the dtype; a file of `size` bytes must have room for the weights."""
    layers, dtype = [_layer(dict(entry)) for entry in header["layers"]], checks.dtype(header["dtype"])
    if sum(layer.n_parameters for layer in layers) * dtype.itemsize > size:
        raise ValueError("the weights of its layers take more bytes than it has")
    return layers, dtype


def _layer(entry: dict[str, Any]) -> Layer:
    kind = entry.pop("kind", "Dense")  # files of the first format have no other
    if "activation" in entry:
        name, alpha = entry["activation"], entry.pop("alpha")
        entry["activation"] = activations.restored(name, alpha)
        if entry["activation"].alpha != alpha:
            raise ValueError(f"a layer has the activation {name!r} and alpha {alpha!r}, which that does not have")
    if kind == "Dense":
        return Dense(**entry)
    size = entry.pop("n_in")
    if kind == "Columns":
        tables = entry.pop("tables")
        if entry or not all(isinstance(table, list) and len(table) == 3 for table in tables):
            raise ValueError("a layer Columns has settings that this version does not know")
        return Columns({column: (cardinality, dim) for column, cardinality, dim in tables}, size)
    if kind == "Dropout":
        return Dropout(**entry).sized(checks.positive_int(size, "n_in"))
    if kind == "GaussianNoise":
        return GaussianNoise(**entry).sized(checks.positive_int(size, "n_in"))
    if kind in ("BatchNorm", "LayerNorm"):
        return (BatchNorm if kind == "BatchNorm" else LayerNorm)(size, **entry)
    raise ValueError(f"a layer is of kind {kind!r}, which this version does not know")


def _shapes(layers: list[Layer]) -> list[tuple[int, ...]]:
    """Return the shapes of a file's arrays: parameters, then running statistics."""
    shapes = [shape for layer in layers for shape in layer.shapes]
    return shapes + [(layer.n_out,) for layer in layers if isinstance(layer, BatchNorm) for _ in range(2)]


def _read_array(archive: zipfile.ZipFile, name: str, shape: tuple[int, ...] | None, dtype: np.dtype[Any]) -> Array:
    """Read one array, whose shape and dtype must be these; None takes any length in one dimension."""
    info = archive.getinfo(name + ".npy")
    if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size:
        raise ValueError(f"{name} is compressed")
    with archive.open(info) as member:
        version = np.lib.format.read_magic(member)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        found_shape, fortran, found_dtype = read(member, max_header_size=_MAX_NPY_HEADER)
        if shape is None:
            shape = found_shape
        if found_dtype.newbyteorder("=") != dtype or found_shape != shape or fortran or len(shape) > 2:
            raise ValueError(f"{name} is {found_shape} of {found_dtype}; expected {shape} of {dtype}")
        count = 1
        for length in shape:
            count *= length
        content = member.read()
    if len(content) != count * dtype.itemsize:
        raise ValueError(f"{name} has {len(content)} bytes; expected {count * dtype.itemsize}")
    return np.frombuffer(content, found_dtype).reshape(shape).astype(dtype, copy=False)
