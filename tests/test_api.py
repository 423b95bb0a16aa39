"""The names that users rely on."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

import nncore as nn


def test_every_public_name_is_there():
    assert len(set(nn.__all__)) == len(nn.__all__)
    for name in nn.__all__:
        assert getattr(nn, name) is not None
        assert name in dir(nn)
    assert nn.__version__ == "0.1.0"
    with pytest.raises(AttributeError, match="plots"):
        _ = nn.plots


@pytest.mark.parametrize(
    ("module", "names"),
    [
        (
            "activations",
            ["identity", "step", "sigmoid", "tanh", "relu", "leaky_relu", "softmax", "elu", "selu", "gelu"],
        ),
        ("activations", ["silu", "softplus", "exponential", "mish", "hard_sigmoid", "hard_tanh", "hard_silu"]),
        ("losses", ["mse", "bce", "cross_entropy"]),
        ("optimizers", ["sgd", "adam"]),
        ("metrics", ["accuracy", "mse", "mae"]),
        ("initializers", ["zeros", "normal", "glorot_uniform", "glorot_normal", "he_uniform", "he_normal"]),
        ("initializers", ["lecun_normal", "orthogonal", "auto"]),
    ],
)
def test_every_name_is_known(module, names):
    for name in names:
        assert getattr(nn, module).get(name) is not None
    with pytest.raises(ValueError, match=names[0]):
        getattr(nn, module).get("nonsense")


def test_the_page_that_shows_it(backend):
    neuron = nn.Neuron(weights=[0, 1], bias=4, activation="sigmoid")
    assert neuron([2, 3]) == pytest.approx(0.9990889488055994, abs=1e-15)
    settings = {"initializer": "auto", "dtype": "float32", "seed": 0, "backend": backend}
    net = nn.MLP([64, 32, 10], activation="relu", output="softmax", **settings)
    X, y = nn.datasets.load_digits(return_X_y=True)
    history = net.fit(X / 16, y, epochs=20, metrics=["accuracy"])
    assert history.epochs == 20
    assert net.evaluate(X / 16, y, metrics=["accuracy"])["accuracy"] > 0.95
    assert net.predict(X[:3]).shape == (3, 10)
    np.testing.assert_allclose(net.predict(X).sum(axis=1), 1, rtol=1e-5)


def test_importing_takes_in_nothing_heavy():
    code = """
import sys, numpy
before = set(sys.modules)
import warnings; warnings.simplefilter("ignore")
import nncore
new = {name.partition(".")[0] for name in set(sys.modules) - before}
print(*sorted(name for name in new if not name.startswith("_cython")))
"""
    paths = [path for path in sys.path if path]
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = {paths!r}\n{code}"],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert set(done.stdout.split()) <= {"nncore", "__future__", "threading", "cython_runtime"}, done.stdout
