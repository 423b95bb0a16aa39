"""Files that earlier versions have written load for ever, to the same predictions; see data/make_files.py."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

import numpy as np
import pytest

import nncore as nn
from nncore.layers import Layer

DATA = Path(__file__).parent / "data"
FOLDER = DATA / "files"
TOLERANCE = {"float32": 2e-5, "float64": 1e-11}


def _script():
    spec = importlib.util.spec_from_file_location("make_files", DATA / "make_files.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


make = _script()
MODELS = sorted(p for p in FOLDER.iterdir() if p.name.count(".") == 1)
CHECKPOINTS = sorted(FOLDER.glob("*.checkpoint.npz"))


def test_there_are_files_of_every_kind():
    """A kind without one gets a network in data/make_files.py, which writes what is missing."""
    names = {path.name for path in MODELS}
    expected = {f"{n}-{d}.{e}" for n in make.NETWORKS for d in make.DTYPES for e in ("npz", "safetensors")}
    assert expected <= names
    assert len(CHECKPOINTS) >= len(make.CHECKPOINTS) * len(make.DTYPES)

    def kinds(base):
        for kind in base.__subclasses__():
            if kind.__module__.startswith("nncore.") and not kind.__name__.startswith("_"):
                yield kind.__name__
            yield from kinds(kind)

    kept = {type(layer).__name__ for path in MODELS for layer in nn.load(path).layers}
    assert kept == set(kinds(Layer))


@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.name)
def test_a_network_predicts_what_it_did(path, backend):
    net = nn.load(path, backend=backend)
    dtype = path.stem.partition("-")[2]
    assert (net.dtype, net.seed, net.epochs_trained) == (np.dtype(dtype), 11, 3)
    X, _ = make.data()
    expected = np.load(FOLDER / f"{path.stem}.predictions.npy")
    assert expected.dtype == dtype
    np.testing.assert_allclose(net.predict(X), expected, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.name)
def test_a_network_has_the_layers_that_it_had(path):
    name, _, dtype = path.stem.partition("-")
    if name in make.NETWORKS:
        expected = make.network(name, dtype).layers
        assert [layer.settings() for layer in nn.load(path).layers] == [layer.settings() for layer in expected]


@pytest.mark.parametrize("path", CHECKPOINTS, ids=lambda path: path.name)
def test_a_run_goes_on_as_it_would_have(path, backend, tmp_path):
    name, _, dtype = path.name.partition(".")[0].partition("-")
    copy = tmp_path / "run.npz"
    shutil.copy(path, copy)
    net, history = make.run(name, dtype, backend, resume=copy)
    with np.load(FOLDER / f"{name}-{dtype}.whole.npz") as whole:
        tolerance = 50 * TOLERANCE[dtype]
        np.testing.assert_allclose(history.history["loss"], whole["loss"], rtol=tolerance)
        for i, array in enumerate([*net.get_weights(), *net.get_state()]):
            np.testing.assert_allclose(array, whole[f"arr_{i}"], rtol=tolerance, atol=tolerance)
    assert nn.load(path).epochs_trained == 2
