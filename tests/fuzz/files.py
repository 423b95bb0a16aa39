"""Model files and checkpoints, honest ones and what random changes make of them."""

from __future__ import annotations

import io
import json
import random
import struct
import zipfile
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np

import nncore as nn

from . import values

WILD_TEXT = [
    "",
    "x",
    "Dense",
    "Dropout",
    "LayerNorm",
    "Columns",
    "__class__",
    "float16",
    "relu",
    "softmax",
    "\0",
    "n" * 300,
]


def data() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    return rng.standard_normal((20, 3)), np.arange(20) % 2


def models(folder: str) -> list[bytes]:
    nets = [
        nn.MLP([3, 4, 2], output="softmax"),
        nn.MLP([2, 3, 1], "leaky_relu", norm="batch", dropout=0.2, dtype="float64"),
        nn.MLP([4, 3, 2], "gelu", norm="layer", categories={1: (5, 2)}, input_noise=0.1),
        nn.Sequential([nn.Dense(2, 2, nn.LeakyReLU(0.3), l1=0.1, max_norm=2.0), nn.BatchNorm(activation="tanh")]),
        nn.Sequential([nn.Dense(1, 1)]),
        nn.Sequential([nn.Dense(200, 300, initializer="orthogonal")]),
    ]
    contents = []
    for net in nets:
        net.save(f"{folder}/base.npz")
        contents.append(read(f"{folder}/base.npz"))
        net.save(f"{folder}/base.safetensors")
        contents.append(read(f"{folder}/base.safetensors"))
    return [*contents[:-2] * 8, *contents[-2:]]  # the large ones rarely


def checkpoints(folder: str) -> list[tuple[bytes, Callable[[], Any]]]:
    """Contents, and what makes the network, the optimizer and the callbacks of the run that goes on."""
    X, y = data()

    def plain() -> Any:
        return nn.MLP([3, 4, 2], output="softmax"), nn.Adam(), []

    def stopping() -> Any:
        net = nn.MLP([3, 4, 2], output="softmax", norm="batch", dtype="float64")
        return net, nn.SGD(momentum=0.9), [nn.callbacks.EarlyStopping(patience=5)]

    def whole() -> Any:
        return nn.MLP([3, 4, 2], "tanh", output="softmax"), nn.NAdam(nn.schedules.ReduceOnPlateau(0.1)), []

    result = []
    for make in (plain, stopping, whole):
        net, optimizer, callbacks = make()
        path = f"{folder}/run-base.npz"
        net.fit(
            X, y, optimizer=optimizer, epochs=2, batch_size=8, callbacks=[*callbacks, nn.callbacks.Checkpoint(path)]
        )
        result.append((read(path), make))
    return result


def read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def mutated(source: random.Random, bases: list[bytes], which: int | None = None) -> bytes:
    base = source.choice(bases) if which is None else bases[which]
    kind = source.random()
    if kind < 0.25:
        return damaged(source, base, bases)
    if kind < 0.28:
        return bytes(source.randrange(256) for _ in range(source.randrange(200)))
    if base[8:9] == b"{":
        return safetensors(source, base)
    content = members(base)
    for _ in range(source.choice((1, 1, 1, 2, 3))):
        changed(source, content)
    packed = archive(source, content)
    return damaged(source, packed, bases) if source.random() < 0.1 else packed


def safetensors(source: random.Random, base: bytes) -> bytes:
    """A .safetensors file with another header, or another length of it."""
    length = int.from_bytes(base[:8], "little")
    header, body_ = json.loads(base[8 : 8 + length]), base[8 + length :]
    if source.random() < 0.6:
        inner = json.loads(header["__metadata__"]["nncore"])
        replace(source, inner)
        if isinstance(inner, dict) and source.random() < 0.85:
            kept = {key: value for key, value in inner.items() if key != "crc32"}
            inner["crc32"] = zlib.crc32(body_, zlib.crc32(json.dumps(kept, sort_keys=True).encode()))
        header["__metadata__"]["nncore"] = json.dumps(inner)
    else:
        replace(source, header)
    text = (json.dumps(header) if source.random() < 0.95 else nested(source)).encode()
    length = len(text) if source.random() < 0.95 else source.choice((0, 1, 2**40, 2**63, 2**64 - 1))
    return length.to_bytes(8, "little") + text + body_


def damaged(source: random.Random, content: bytes, others: list[bytes]) -> bytes:
    """Bytes flipped, cut out, put in, repeated, or taken from another file."""
    out = bytearray(content)
    for _ in range(source.choice((1, 1, 2, 4, 16))):
        at = source.randrange(len(out) + 1)
        n = source.choice((1, 1, 2, 4, 8, 30, 200))
        change = source.randrange(7)
        if change == 0 and at < len(out):
            out[at] ^= 1 << source.randrange(8)
        elif change == 1:
            out[at : at + n] = bytes(source.choice((0, 255, source.randrange(256))) for _ in range(n))
        elif change == 2:
            del out[at : at + n]
        elif change == 3:
            out[at:at] = out[at : at + n]
        elif change == 4:
            del out[at:]
        elif change == 5:
            other = source.choice(others)
            start = source.randrange(len(other))
            out[at : at + n] = other[start : start + n]
        else:  # a number of the zip's own: sizes, offsets, methods
            mark = source.choice((b"PK\x01\x02", b"PK\x03\x04", b"PK\x05\x06"))
            places = [i for i in range(len(out)) if out[i : i + 4] == mark]
            if places:
                place = source.choice(places) + source.randrange(4, 46)
                number = source.choice((0, 1, 8, 0x7FFFFFFF, 0xFFFFFFFF, source.randrange(1 << 32)))
                width = source.choice((2, 4))
                out[place : place + width] = struct.pack("<I", number)[:width]
    return bytes(out)


def members(content: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive_:
        return {name: archive_.read(name) for name in archive_.namelist()}


def archive(source: random.Random, content: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    bomb = source.random() < 0.05
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED if bomb else zipfile.ZIP_STORED) as out:
        for name, data_ in content.items():
            if bomb and source.random() < 0.3:
                data_ = data_ + bytes(3_000_000)
            out.writestr(name, data_)
    return buffer.getvalue()


def changed(source: random.Random, content: dict[str, bytes]) -> None:
    """Change one member, and mostly put the checksums right, so that what lies behind them is reached."""
    headers = [name for name in content if name.endswith(".json.npy")]
    kind = source.random()
    if kind < 0.6 and headers:
        name = source.choice(headers)
        try:
            header = json.loads(body(content[name]))
        except (ValueError, RecursionError):
            return
        if not isinstance(header, dict | list):
            return
        replace(source, header)
        if source.random() < 0.85:
            sign(header, name, content)
        text = json.dumps(header) if source.random() < 0.97 else nested(source)
        content[name] = npy(np.frombuffer(text.encode("utf-8", "surrogatepass"), np.uint8))
        return
    name = source.choice(sorted(content))
    if kind < 0.7:
        del content[name]
    elif kind < 0.75:
        content[source.choice((name, "weights.99.npy", "../x.npy", "checkpoint.0.npy"))] = content[
            source.choice(sorted(content))
        ]
    elif kind < 0.85:
        content[name] = npy_header(source, content[name])
    elif kind < 0.95:
        data_ = bytearray(content[name])
        for _ in range(source.randrange(1, 5)):
            data_[source.randrange(len(data_))] = source.randrange(256)
        content[name] = bytes(data_)
        resign(content)
    else:
        content[name] = content[name][: source.randrange(len(content[name]))] + bytes(source.choice((0, 0, 100)))


def nested(source: random.Random) -> str:
    n = source.choice((10, 900, 30_000))
    return source.choice(
        ("[" * n, "[" * n + "]" * n, '{"a":' * n + "1" + "}" * n, "9" * n, "[" + "{}," * n + "{}]", '"' + "\\u0000" * n)
    )


def replace(source: random.Random, tree: Any) -> None:
    """Put something else at a random place in a tree of JSON."""
    for _ in range(source.randrange(1, 7)):
        keys = list(tree) if isinstance(tree, dict) else list(range(len(tree)))
        if not keys:
            return
        key = source.choice(keys)
        if isinstance(tree[key], dict | list) and tree[key] and source.random() < 0.85:
            tree = tree[key]
            continue
        change = source.random()
        if change < 0.15:
            del tree[key]
        elif change < 0.25 and isinstance(tree, list):
            tree += [tree[key]] * source.choice((1, 3, 200))
        elif change < 0.35 and isinstance(tree, dict):
            tree[source.choice(("x", "kind", "array", "dict", "n_in", "alpha", *tree))] = tree[key]
        else:
            tree[key] = odd(source)
        return


def odd(source: random.Random) -> Any:
    kind = source.random()
    if kind < 0.4:
        return source.choice([n for n in values.INTEGERS if abs(n) < 2**201])
    if kind < 0.6:
        return source.choice(values.FLOATS)
    if kind < 0.8:
        return source.choice(WILD_TEXT)
    return source.choice(
        (None, True, False, [], {}, [1, 2], [[1, 2, 3]], {"array": 0}, {"array": -1}, {"dict": {}}, {"dict": 3})
    )


def sign(header: Any, name: str, content: dict[str, bytes]) -> None:
    prefix = "weights" if name.startswith("nncore") else "checkpoint"
    if not isinstance(header, dict):
        return
    kept = {key: value for key, value in header.items() if key != "crc32"}
    crc = zlib.crc32(json.dumps(kept, sort_keys=True).encode("utf-8", "surrogatepass"))
    for index in range(len(content)):
        if f"{prefix}.{index}.npy" in content:
            crc = zlib.crc32(body(content[f"{prefix}.{index}.npy"]), crc)
    header["crc32"] = crc


def resign(content: dict[str, bytes]) -> None:
    for name in ("nncore.json.npy", "checkpoint.json.npy"):
        try:
            header = json.loads(body(content[name]))
        except (KeyError, ValueError, RecursionError):
            continue
        sign(header, name, content)
        content[name] = npy(np.frombuffer(json.dumps(header).encode(), np.uint8))


def npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def body(content: bytes) -> bytes:
    """What follows the header of a .npy file."""
    return content[10 + int.from_bytes(content[8:10], "little") :] if len(content) > 10 else b""


def npy_header(source: random.Random, content: bytes) -> bytes:
    """The same numbers behind another header."""
    shape = source.choice(
        ((), (0,), (2**62,), (2**63,), (-1,), (2**32, 2**32), (1,) * 40, (3, 4), (True,), "x", None, (2**200,))
    )
    descr = source.choice(
        ("<f4", "<f8", ">f4", "|O", "|V99999", "<f2", "|u1", "<U1", [("a", "<f4")], "x" * 50, 3, "<M8[s]")
    )
    header = repr({"descr": descr, "fortran_order": source.choice((False, True, 3)), "shape": shape})
    header = source.choice(
        (header, header, "(" * 400, "__import__('os')", "{" * 100 + "}" * 100, header[:-1], "9" * 450)
    )
    text = header.encode() + b"\n"
    version = source.choice((b"\x01\x00", b"\x01\x00", b"\x02\x00", b"\x03\x00", b"\x09\x00"))
    length = len(text) if source.random() < 0.8 else source.choice((0, 1, 65535))
    size = struct.pack("<H" if version[0] == 1 else "<I", length)
    return b"\x93NUMPY" + version + size + text + body(content)


def header_bytes(content: bytes) -> int:
    """Return how many bytes of a file are headers in JSON: all, where it cannot be told."""
    try:
        return sum(len(data_) for name, data_ in members(content).items() if name.endswith(".json.npy"))
    except Exception:
        return len(content)
