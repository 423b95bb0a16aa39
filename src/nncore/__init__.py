"""Dense neural networks on the CPU, trained by a compiled core or by NumPy.

>>> import nncore as nn
>>> net = nn.MLP([64, 32, 10], output="softmax")
>>> X, y = nn.datasets.load_digits(return_X_y=True)
>>> history = net.fit(X / 16, y, epochs=10)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nncore import activations, initializers, losses, metrics, optimizers
from nncore.activations import (
    Elu,
    Gelu,
    LeakyReLU,
    elu,
    exponential,
    gelu,
    hard_sigmoid,
    hard_silu,
    hard_tanh,
    identity,
    leaky_relu,
    mish,
    relu,
    selu,
    sigmoid,
    silu,
    softmax,
    softplus,
    step,
    tanh,
)
from nncore.engines import get_num_threads, set_num_threads, show_config, threads
from nncore.errors import ConvergenceWarning, DivergenceError
from nncore.history import History
from nncore.layers import Dense
from nncore.mlp import MLP
from nncore.network import Sequential
from nncore.neuron import Neuron
from nncore.optimizers import SGD, Adagrad, Adam, AdamW, Lion, NAdam, RMSprop
from nncore.perceptron import Perceptron
from nncore.regularization import BatchNorm, Dropout, GaussianNoise, LayerNorm

if TYPE_CHECKING:
    from nncore import callbacks, datasets, io, plot, schedules, tabular, testing
    from nncore.columns import Columns
    from nncore.io import load
    from nncore.second_order import LBFGS, LevenbergMarquardt
    from nncore.tabular import TabularClassifier, TabularRegressor

__version__ = "0.1.0"

__all__ = [
    "LBFGS",
    "MLP",
    "SGD",
    "Adagrad",
    "Adam",
    "AdamW",
    "BatchNorm",
    "Columns",
    "ConvergenceWarning",
    "Dense",
    "DivergenceError",
    "Dropout",
    "Elu",
    "GaussianNoise",
    "Gelu",
    "History",
    "LayerNorm",
    "LeakyReLU",
    "LevenbergMarquardt",
    "Lion",
    "NAdam",
    "Neuron",
    "Perceptron",
    "RMSprop",
    "Sequential",
    "TabularClassifier",
    "TabularRegressor",
    "__version__",
    "activations",
    "callbacks",
    "datasets",
    "elu",
    "exponential",
    "gelu",
    "get_num_threads",
    "hard_sigmoid",
    "hard_silu",
    "hard_tanh",
    "identity",
    "initializers",
    "io",
    "leaky_relu",
    "load",
    "losses",
    "metrics",
    "mish",
    "optimizers",
    "plot",
    "relu",
    "schedules",
    "selu",
    "set_num_threads",
    "show_config",
    "sigmoid",
    "silu",
    "softmax",
    "softplus",
    "step",
    "tabular",
    "tanh",
    "testing",
    "threads",
]


def __getattr__(name: str) -> Any:
    """Import on first use what most programs do without, so that importing nncore stays quick."""
    import importlib

    if name in ("callbacks", "datasets", "io", "plot", "schedules", "tabular", "testing"):
        return importlib.import_module(f"nncore.{name}")
    if name == "Columns":
        return importlib.import_module("nncore.columns").Columns
    if name in ("LBFGS", "LevenbergMarquardt"):
        return getattr(importlib.import_module("nncore.second_order"), name)
    if name in ("TabularClassifier", "TabularRegressor"):
        return getattr(importlib.import_module("nncore.tabular"), name)
    if name == "load":
        return importlib.import_module("nncore.io").load
    raise AttributeError(f"module 'nncore' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
