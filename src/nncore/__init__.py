"""Dense neural networks on the CPU, trained by a compiled core or by NumPy.

>>> import nncore as nn
>>> net = nn.MLP([64, 32, 10], output="softmax")
>>> X, y = nn.datasets.load_digits(return_X_y=True)
>>> history = net.fit(X / 16, y, epochs=10)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nncore import activations, initializers, losses, metrics, optimizers
from nncore.activations import LeakyReLU, identity, leaky_relu, relu, sigmoid, softmax, step, tanh
from nncore.engines import get_num_threads, set_num_threads, show_config, threads
from nncore.errors import ConvergenceWarning, DivergenceError
from nncore.history import History
from nncore.layers import Dense
from nncore.mlp import MLP
from nncore.network import Sequential
from nncore.neuron import Neuron
from nncore.optimizers import SGD, Adam
from nncore.perceptron import Perceptron

if TYPE_CHECKING:
    from nncore import callbacks, datasets, io, testing
    from nncore.io import load

__version__ = "0.1.0"

__all__ = [
    "MLP",
    "SGD",
    "Adam",
    "ConvergenceWarning",
    "Dense",
    "DivergenceError",
    "History",
    "LeakyReLU",
    "Neuron",
    "Perceptron",
    "Sequential",
    "__version__",
    "activations",
    "callbacks",
    "datasets",
    "get_num_threads",
    "identity",
    "initializers",
    "io",
    "leaky_relu",
    "load",
    "losses",
    "metrics",
    "optimizers",
    "relu",
    "set_num_threads",
    "show_config",
    "sigmoid",
    "softmax",
    "step",
    "tanh",
    "testing",
    "threads",
]


def __getattr__(name: str) -> Any:
    """Import on first use what most programs do without, so that importing nncore stays quick."""
    import importlib

    if name in ("callbacks", "datasets", "io", "testing"):
        return importlib.import_module(f"nncore.{name}")
    if name == "load":
        return importlib.import_module("nncore.io").load
    raise AttributeError(f"module 'nncore' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
