from __future__ import annotations

import io
import json
import os
import zipfile

import numpy as np
import pytest

from nncore import MLP, Dense, LeakyReLU, Sequential, load


@pytest.fixture
def net(backend):
    return Sequential(
        [Dense(4, 6, LeakyReLU(0.25), "he_uniform"), Dense(6, 3, "softmax")], dtype="float64", seed=7, backend=backend
    )


def members(path):
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def rewrite(path, content, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in content.items():
            archive.writestr(name, data)


def npy(array):
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=True)
    return buffer.getvalue()


def with_header(path, change):
    content = members(path)
    header = json.loads(np.load(io.BytesIO(content["nncore.json.npy"])).tobytes())
    content["nncore.json.npy"] = npy(np.frombuffer(json.dumps(change(header)).encode(), np.uint8))
    rewrite(path, content)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_there_and_back(backend, tmp_path, rng, dtype):
    net = MLP([4, 6, 3], output="softmax", dtype=dtype, seed=2**64 - 1, backend=backend)
    X = rng.standard_normal((9, 4))
    net.fit(X, np.arange(9) % 3, epochs=2)
    net.save(tmp_path / "net.npz")
    again = load(str(tmp_path / "net.npz"), backend=backend)
    np.testing.assert_array_equal(again.predict(X), net.predict(X))
    assert (again.seed, again.epochs_trained, again.dtype, again.backend) == (net.seed, 2, net.dtype, backend)
    assert list(map(repr, again.layers)) == list(map(repr, net.layers))
    assert sorted(os.listdir(tmp_path)) == ["net.npz"]


def test_settings_are_kept(net, tmp_path):
    net.save(tmp_path / "net.npz")
    layer = load(tmp_path / "net.npz").layers[0]
    assert (layer.activation, layer.initializer) == (LeakyReLU(0.25), "he_uniform")


def test_plain_numpy_reads_it(net, tmp_path):
    net.save(tmp_path / "net.npz")
    with np.load(tmp_path / "net.npz", allow_pickle=False) as file:
        np.testing.assert_array_equal(file["weights.0"], net.get_weights()[0])


def test_a_failed_save_leaves_the_old_file(net, tmp_path, monkeypatch):
    path = tmp_path / "net.npz"
    net.save(path)
    before = path.read_bytes()

    def full(_):
        raise OSError("no space left")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space"):
        net.save(path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["net.npz"]


def test_what_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "none.npz")
    with pytest.raises(TypeError):
        load(3.5)


def test_every_flipped_byte_and_every_cut_is_seen(net, tmp_path):
    """A damaged file is refused, or (where the zip format does not care about a byte) gives the same network."""
    path, bad = tmp_path / "net.npz", tmp_path / "bad.npz"
    net.save(path)
    data = path.read_bytes()
    refused = 0
    for at in range(0, len(data), 3):
        for damaged in (data[:at] + bytes([data[at] ^ 0x41]) + data[at + 1 :], data[:at]):
            bad.write_bytes(damaged)
            try:
                found = load(bad)
            except ValueError as error:
                assert "bad.npz" in str(error)
                refused += 1
            else:
                for a, b in zip(found.get_weights(), net.get_weights(), strict=True):
                    np.testing.assert_array_equal(a, b)
    assert refused > len(data) // 3


def test_changed_weights_do_not_fit_the_checksum(net, tmp_path):
    path = tmp_path / "net.npz"
    net.save(path)
    content = members(path)
    content["weights.0.npy"] = npy(net.get_weights()[0] + 1)
    rewrite(path, content)
    with pytest.raises(ValueError, match=r"net\.npz.*checksum"):
        load(path)


@pytest.mark.parametrize(
    "change",
    [
        lambda h: {**h, "format": 2},
        lambda h: {**h, "dtype": "float16"},
        lambda h: {**h, "dtype": None},
        lambda h: {**h, "seed": 8},
        lambda h: {**h, "seed": -1},
        lambda h: {**h, "layers": []},
        lambda h: {**h, "layers": 3},
        lambda h: {**h, "layers": [{**h["layers"][0], "n_in": 10**30}, h["layers"][1]]},
        lambda h: {**h, "layers": [{**h["layers"][0], "n_in": -4}, h["layers"][1]]},
        lambda h: {**h, "layers": [{**h["layers"][0], "alpha": float("nan")}, h["layers"][1]]},
        lambda h: {**h, "layers": [{**h["layers"][0], "activation": "__import__"}, h["layers"][1]]},
        lambda h: {**h, "layers": [{**h["layers"][0], "activation": []}, h["layers"][1]]},
        lambda h: {**h, "layers": h["layers"][::-1]},
        lambda h: {key: value for key, value in h.items() if key != "crc32"},
        lambda h: [h],
        lambda h: "text",
    ],
)
def test_headers_that_do_not_fit(net, tmp_path, change):
    path = tmp_path / "net.npz"
    net.save(path)
    with_header(path, change)
    with pytest.raises(ValueError, match=r"net\.npz"):
        load(path)


class Trap:
    """What a pickle that is executed would leave behind."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return (open, (self.path, "w"))


def test_nothing_is_unpickled(net, tmp_path):
    path, mark = tmp_path / "net.npz", tmp_path / "mark"
    net.save(path)
    for name in ("weights.0.npy", "nncore.json.npy"):
        content = members(path)
        content[name] = npy(np.array([[Trap(mark)]], dtype=object))
        bad = tmp_path / "bad.npz"
        rewrite(bad, content)
        with pytest.raises(ValueError, match=r"bad\.npz"):
            load(bad)
    assert not mark.exists()


def test_bombs_are_not_inflated(net, tmp_path):
    path = tmp_path / "net.npz"
    net.save(path)
    rewrite(path, members(path), zipfile.ZIP_DEFLATED)
    with pytest.raises(ValueError, match="compressed"):
        load(path)


def test_a_claim_of_a_huge_array_is_refused_before_memory_is_taken(net, tmp_path):
    path = tmp_path / "net.npz"
    net.save(path)
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (1099511627776, 1099511627776), }"
    content = members(path)
    magic = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little")
    for name in ("weights.0.npy", "nncore.json.npy"):
        rewrite(path, {**content, name: magic + header + bytes(64)})
        with pytest.raises(ValueError, match=r"net\.npz"):
            load(path)
    for nested in (b"(" * 3000, b"-" * 9000 + b"1"):
        rewrite(path, {**content, "weights.0.npy": b"\x93NUMPY\x01\x00" + len(nested).to_bytes(2, "little") + nested})
        with pytest.raises(ValueError, match=r"net\.npz"):
            load(path)


@pytest.mark.parametrize("content", [b"", b"PK\x05\x06", b"not a zip", b"PK\x05\x06" + bytes(18)])
def test_other_files(tmp_path, content):
    path = tmp_path / "other.npz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"other\.npz is not a network"):
        load(path)


def test_weights_that_are_not_finite_are_damage(net, tmp_path):
    from nncore.io import _checksum

    path = tmp_path / "net.npz"
    net.save(path)
    weights = [w.copy() for w in net.get_weights()]
    weights[0][0, 0] = np.nan
    content = members(path)
    content["weights.0.npy"] = npy(weights[0])
    rewrite(path, content)
    with_header(path, lambda h: {**h, "crc32": _checksum(h, weights)})
    with pytest.raises(ValueError, match="not finite"):
        load(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda h: {**h, "author": "x"}, "the header has the entry 'author', which format 1 does not have"),
        (lambda h: {k: v for k, v in h.items() if k != "seed"}, "the header has no entry 'seed', which format 1 has"),
        (lambda h: {**h, "layers": [{**h["layers"][0], "activation": "relu", "alpha": 7.0}, h["layers"][1]]},
         "a layer has the activation 'relu' and alpha 7.0, which that does not have"),
        (lambda h: {**h, "layers": [{**h["layers"][0], "activation": "relu", "alpha": None}, h["layers"][1]]},
         "alpha None"),
        (lambda h: {**h, "layers": [{**h["layers"][0], "depth": 2}, h["layers"][1]]}, "depth"),
    ],
)  # fmt: skip
def test_what_a_header_says_beyond_its_format_is_refused_and_not_passed_over(net, tmp_path, change, message):
    """With the right checksum: the file is not damaged, it says what this version cannot do."""
    from nncore.io import _checksum

    path = tmp_path / "net.npz"
    net.save(path)
    with_header(path, lambda h: (new := change(h)) | {"crc32": _checksum(new, net.get_weights())})
    with pytest.raises(ValueError, match=message):
        load(path)
