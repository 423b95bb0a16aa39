"""The safetensors format, read and written out by hand: 8 bytes of length, a header of JSON, and the arrays' bytes.

The length is that of the header, an unsigned little-endian integer. The header maps each array's name to its dtype,
shape and place in the data, ``[begin, end)`` from the end of the header; ``__metadata__`` maps strings to strings. The
arrays' bytes are little-endian, in C order, and tile the data without gap or overlap. Nothing of a file is executed,
and nothing larger than the file is allocated.

Source: the format's description in the README of https://github.com/huggingface/safetensors.
"""

from __future__ import annotations

import json
from typing import IO, TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    Array = np.ndarray[Any, Any]

_DTYPES: dict[str, np.dtype[Any]] = {"F32": np.dtype("<f4"), "F64": np.dtype("<f8")}
_NAMES: dict[np.dtype[Any], str] = {np.dtype(np.float32): "F32", np.dtype(np.float64): "F64"}
_METADATA = "__metadata__"
_MAX_HEADER_BYTES = 1 << 22
_MAX_DIMENSIONS = 2  # of a network's arrays
_ALIGNMENT = 8  # of the data in the file, so that they can be mapped


def write(file: IO[bytes], arrays: Mapping[str, Array], metadata: Mapping[str, str]) -> None:
    """Write arrays of float32 and float64.

    Parameters
    ----------
    file : binary file
        Open for writing.
    arrays : mapping of str to ndarray
        By name.
    metadata : mapping of str to str
        What else the header is to say.
    """
    header: dict[str, Any] = {_METADATA: dict(metadata)}
    parts, at = [], 0
    for name, array in arrays.items():
        code = _NAMES[array.dtype]
        part = np.require(array, _DTYPES[code], ("C",))
        header[name] = {"dtype": code, "shape": list(array.shape), "data_offsets": [at, at + part.nbytes]}
        parts.append(part)
        at += part.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    file.write(len(text).to_bytes(8, "little"))
    file.write(text)
    for part in parts:
        file.write(part.data if part.size else b"")


def read(file: IO[bytes], size: int) -> tuple[dict[str, Array], dict[str, str]]:
    """Read all arrays and the metadata.

    Parameters
    ----------
    file : binary file
        Open for reading, at its start.
    size : int
        Its bytes.

    Returns
    -------
    arrays : dict of str to ndarray
        In native byte order.
    metadata : dict of str to str

    Raises
    ------
    ValueError
        If it is no such file, damaged, or made to do harm.
    """
    length = int.from_bytes(file.read(8), "little")
    if size < 8 or length > size - 8:
        raise ValueError("it is shorter than its header says")
    if length > _MAX_HEADER_BYTES:
        raise ValueError(f"the header is larger than {_MAX_HEADER_BYTES} bytes")
    try:
        header = json.loads(file.read(length).decode(), object_pairs_hook=_unique)
    except RecursionError:
        raise ValueError("the header is nested too deeply") from None
    if not isinstance(header, dict):
        raise ValueError("the header is no map of names")
    metadata = header.pop(_METADATA, {})
    if not isinstance(metadata, dict) or not all(isinstance(text, str) for text in metadata.values()):
        raise ValueError("the header's metadata is no map of strings to strings")
    places = {name: _place(name, entry) for name, entry in header.items()}
    at = 0
    for name, (_, _, begin, end) in sorted(places.items(), key=lambda item: item[1][2:]):
        if begin != at:
            raise ValueError(f"{name} begins at byte {begin} of the data; expected {at}, where the one before it ends")
        at = end
    if 8 + length + at != size:
        raise ValueError(f"its arrays take {at} bytes; it has {size - 8 - length} for them")
    arrays = {}
    for name, (dtype, shape, begin, end) in places.items():
        file.seek(8 + length + begin)
        array = np.frombuffer(file.read(end - begin), dtype).reshape(shape)
        arrays[name] = array.astype(dtype.newbyteorder("="), copy=False)
    return arrays, metadata


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("the header has a name twice")
    return result


def _place(name: str, entry: Any) -> tuple[np.dtype[Any], tuple[int, ...], int, int]:
    """Return dtype, shape, begin and end of an array from its entry in the header."""
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        raise ValueError(f"{name} has not the entries dtype, shape and data_offsets")
    if not isinstance(entry["dtype"], str) or entry["dtype"] not in _DTYPES:
        raise ValueError(f"{name} is of dtype {entry['dtype']!r}; expected one of {', '.join(_DTYPES)}")
    dtype, shape, offsets = _DTYPES[entry["dtype"]], entry["shape"], entry["data_offsets"]
    for what in (shape, offsets):
        if not isinstance(what, list) or not all(type(number) is int and number >= 0 for number in what):
            raise ValueError(f"{name} has a shape or offsets that are no integers of at least 0")
    if len(shape) > _MAX_DIMENSIONS or len(offsets) != 2:
        raise ValueError(f"{name} has {len(shape)} dimensions and {len(offsets)} offsets; expected at most 2, and 2")
    count = 1
    for number in shape:
        count *= number
    if offsets[1] - offsets[0] != count * dtype.itemsize:
        raise ValueError(f"{name} has {offsets[1] - offsets[0]} bytes; expected {count * dtype.itemsize}")
    return dtype, tuple(shape), offsets[0], offsets[1]
