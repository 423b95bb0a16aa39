"""The .safetensors format: there and back, as others read it, and hostile files refused."""

from __future__ import annotations

import io
import json
import os

import numpy as np
import pytest

import nncore as nn
from nncore import safetensors


def network(dtype="float32", backend=None):
    layers = [nn.Dense(4, 6, "relu"), nn.BatchNorm(6), nn.Dropout(0.5), nn.Dense(6, 3, "softmax")]
    return nn.Sequential(layers, dtype=dtype, seed=2**63 + 1, backend=backend)


def file_of(header, data=b"", length=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text + data


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ["net.safetensors", "NET.SafeTensors"])
def test_there_and_back(backend, tmp_path, dtype, name):
    net = network(dtype, backend)
    X = np.random.default_rng(1).standard_normal((20, 4))
    net.fit(X, np.arange(20) % 3, epochs=2)
    net.save(tmp_path / name)
    again = nn.load(tmp_path / name, backend=backend)
    np.testing.assert_array_equal(again.predict(X), net.predict(X))
    for a, b in zip([*net.get_weights(), *net.get_state()], [*again.get_weights(), *again.get_state()], strict=True):
        np.testing.assert_array_equal(a, b)
    assert (again.seed, again.epochs_trained, again.dtype, again.backend) == (net.seed, 2, net.dtype, backend)
    assert list(map(repr, again.layers)) == list(map(repr, net.layers))


def test_it_is_what_the_format_says(tmp_path):
    """Read by hand: length, header, data that begin on a multiple of 8 and tile the file."""
    net = network()
    net.save(tmp_path / "net.safetensors")
    content = (tmp_path / "net.safetensors").read_bytes()
    length = int.from_bytes(content[:8], "little")
    assert length % 8 == 0 and content[8:9] == b"{"
    header = json.loads(content[8 : 8 + length])
    data = content[8 + length :]
    metadata = header.pop("__metadata__")
    assert json.loads(metadata["nncore"])["format"] == 1
    arrays = [*net.get_weights(), *net.get_state()]
    assert list(header) == [f"weights.{i}" for i in range(len(arrays))]
    end = 0
    for entry, array in zip(header.values(), arrays, strict=True):
        begin, end_ = entry["data_offsets"]
        assert begin == end and entry["dtype"] == "F32" and entry["shape"] == list(array.shape)
        np.testing.assert_array_equal(np.frombuffer(data[begin:end_], "<f4").reshape(array.shape), array)
        end = end_
    assert end == len(data)


def test_the_reference_implementation_reads_it(tmp_path):
    reference = pytest.importorskip("safetensors.numpy")
    net = network("float64")
    net.save(tmp_path / "net.safetensors")
    read = reference.load_file(tmp_path / "net.safetensors")
    for i, array in enumerate([*net.get_weights(), *net.get_state()]):
        np.testing.assert_array_equal(read[f"weights.{i}"], array)


def test_load_goes_by_the_content_and_not_by_the_name(tmp_path):
    net = network()
    for name, other in (("net.safetensors", "a.npz"), ("net.npz", "b.safetensors")):
        net.save(tmp_path / name)
        os.rename(tmp_path / name, tmp_path / other)
        np.testing.assert_array_equal(nn.load(tmp_path / other).get_weights()[0], net.get_weights()[0])


def test_every_flipped_byte_and_every_cut_is_seen(tmp_path):
    net = nn.MLP([4, 6, 3], output="softmax", backend="numpy")
    path = tmp_path / "net.safetensors"
    net.save(path)
    content = path.read_bytes()
    for at in range(0, len(content), 3):
        for damaged in (content[:at] + bytes([content[at] ^ 0x41]) + content[at + 1 :], content[:at], content + b"x"):
            path.write_bytes(damaged)
            try:
                again = nn.load(path)
            except ValueError as error:
                assert "net.safetensors" in str(error)
            else:  # a space or a letter's case in the padding or a name cannot change what is read
                assert again.seed == net.seed
                for a, b in zip(again.get_weights(), net.get_weights(), strict=True):
                    np.testing.assert_array_equal(a, b)


def test_a_random_file_is_refused(tmp_path):
    rng = np.random.default_rng(3)
    path = tmp_path / "net.safetensors"
    for _ in range(300):
        n = int(rng.integers(0, 200))
        path.write_bytes(rng.integers(0, 256, n, np.uint8).tobytes())
        with pytest.raises(ValueError, match="is not a network"):
            nn.load(path)


ENTRY = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
HOSTILE = {
    "a length beyond the file": file_of({}, length=2**63),
    "the largest length": file_of({}, length=2**64 - 1),
    "a long header": file_of(b"{" + b" " * (1 << 22) + b"}"),
    "no JSON": file_of(b"{no json"),
    "no UTF-8": file_of(b'{"\xff\xfe": 1}'),
    "depth": file_of(b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
    "a list": file_of([]),
    "a number": file_of(b"{1}"),
    "metadata of numbers": file_of({"__metadata__": {"nncore": 1}}),
    "metadata as a list": file_of({"__metadata__": []}),
    "a huge shape": file_of({"a": {**ENTRY, "shape": [2**40, 2**40]}}, bytes(8)),
    "a shape of huge numbers": file_of(b'{"a":{"dtype":"F32","shape":[' + b"9" * 5000 + b'],"data_offsets":[0,8]}}'),
    "a negative shape": file_of({"a": {**ENTRY, "shape": [-1, -2]}}, bytes(8)),
    "a shape of floats": file_of({"a": {**ENTRY, "shape": [2.0]}}, bytes(8)),
    "a shape of bools": file_of({"a": {**ENTRY, "shape": [True, 2]}}, bytes(8)),
    "many dimensions": file_of({"a": {**ENTRY, "shape": [1] * 100 + [2]}}, bytes(8)),
    "no shape": file_of({"a": {"dtype": "F32", "data_offsets": [0, 8]}}, bytes(8)),
    "more entries": file_of({"a": {**ENTRY, "code": "import os"}}, bytes(8)),
    "another dtype": file_of({"a": {**ENTRY, "dtype": "I64", "shape": [1]}}, bytes(8)),
    "a dtype as a list": file_of({"a": {**ENTRY, "dtype": ["F32"]}}, bytes(8)),
    "offsets backwards": file_of({"a": {**ENTRY, "data_offsets": [8, 0]}}, bytes(8)),
    "offsets beyond the file": file_of({"a": {**ENTRY, "data_offsets": [2**62, 2**62 + 8]}}, bytes(8)),
    "one offset": file_of({"a": {**ENTRY, "data_offsets": [8]}}, bytes(8)),
    "a gap": file_of({"a": {**ENTRY, "data_offsets": [4, 12]}}, bytes(12)),
    "an overlap": file_of({"a": ENTRY, "b": ENTRY}, bytes(8)),
    "more data": file_of({"a": ENTRY}, bytes(9)),
    "less data": file_of({"a": ENTRY}, bytes(7)),
    "a name twice": file_of(b'{"a":%b,"a":%b}' % ((json.dumps(ENTRY).encode(),) * 2), bytes(8)),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_refused(tmp_path, name):
    content = HOSTILE[name]
    with pytest.raises(ValueError):
        safetensors.read(io.BytesIO(content), len(content))
    path = tmp_path / "net.safetensors"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"net\.safetensors is not a network"):
        nn.load(path)


def test_a_file_of_another_program_is_refused_with_the_reason(tmp_path):
    path = tmp_path / "net.safetensors"
    path.write_bytes(file_of({"a": ENTRY, "__metadata__": {"format": "pt"}}, bytes(8)))
    with pytest.raises(ValueError, match="no description of a network"):
        nn.load(path)


def change(path, what):
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    inner = json.loads(header["__metadata__"]["nncore"])
    what(header, inner)
    header["__metadata__"]["nncore"] = json.dumps(inner)
    path.write_bytes(file_of(header, content[8 + length :]))


@pytest.mark.parametrize(
    ("what", "message"),
    [
        (lambda header, inner: inner.update(format=2), "newer version of nncore"),
        (lambda header, inner: inner.update(format="1"), "expected a header of format 1"),
        (lambda header, inner: inner.update(crc32=1), "checksum"),
        (lambda header, inner: inner.update(seed=1), "checksum"),
        (lambda header, inner: inner.update(more=1), "entry 'more'"),
        (lambda header, inner: inner["layers"][0].update(n_out=2**40), "more bytes than it has"),
        (lambda header, inner: inner.update(dtype="float64"), "expected"),
        (lambda header, inner: header.update({"weights.9": header.pop("weights.0")}), r"expected weights\.0"),
        (lambda header, inner: header["weights.0"].update(shape=[6, 4]), r"weights\.0 is \(6, 4\)"),
        (lambda header, inner: header["weights.0"].update(shape=[24]), r"weights\.0 is \(24,\)"),
    ],
)
def test_headers_that_do_not_fit(tmp_path, what, message):
    path = tmp_path / "net.safetensors"
    nn.MLP([4, 6, 3], output="softmax", backend="numpy").save(path)
    change(path, what)
    with pytest.raises(ValueError, match=message):
        nn.load(path)
