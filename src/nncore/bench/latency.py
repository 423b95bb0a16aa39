"""Predictions of one row by a 64-64-10 network with relu and softmax: what serving a small network costs."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

SIZES = (64, 64, 10)


def parameters(dtype: str) -> tuple[Array, list[Array]]:
    """Return a row, and W0, b0, W1, b1: the same for all contestants."""
    rng = np.random.default_rng(0)
    shapes = [(SIZES[0], SIZES[1]), (SIZES[1],), (SIZES[1], SIZES[2]), (SIZES[2],)]
    return rng.standard_normal((1, SIZES[0])).astype(dtype), [
        (rng.standard_normal(shape) / 8).astype(dtype) for shape in shapes
    ]


def plain_numpy(x: Array, weights: list[Array]) -> Callable[[], Any]:
    """Return what one writes by hand: two products, relu, softmax."""
    W0, b0, W1, b1 = weights

    def predict() -> Any:
        z = np.maximum(x @ W0 + b0, 0) @ W1 + b1
        e = np.exp(z - z.max(axis=1, keepdims=True))
        return e / e.sum(axis=1, keepdims=True)

    return predict


def nncore_predict(x: Array, weights: list[Array]) -> Callable[[], Any]:
    """Return nncore's ``predict``."""
    import nncore as nn

    net = nn.MLP(SIZES, output="softmax", dtype=x.dtype.name, backend="native")
    net.set_weights(weights)
    return lambda: net.predict(x)


def torch_predict(x: Array, weights: list[Array]) -> Callable[[], Any]:
    """Return PyTorch's, in inference mode."""
    import torch
    from torch import nn

    net = nn.Sequential(nn.Linear(*SIZES[:2]), nn.ReLU(), nn.Linear(*SIZES[1:])).to(torch.from_numpy(x).dtype).eval()
    with torch.no_grad():
        for parameter, weight in zip(net.parameters(), weights, strict=True):
            parameter.copy_(torch.from_numpy(weight.T))
    row = torch.from_numpy(x)

    def predict() -> Any:
        with torch.inference_mode():
            return torch.softmax(net(row), 1)

    return predict


def one_row(name: str, dtype: str, threads: int) -> Callable[[], Any]:
    """Return a contestant's prediction, which has been compared with plain NumPy's.

    Parameters
    ----------
    name : {"nncore", "numpy", "torch"}
        Whose.
    dtype : {"float32", "float64"}
        Type of the row and of the weights.
    threads : int
        For PyTorch; the others' number is not set here.

    Returns
    -------
    callable
        Returns the ten probabilities.

    Raises
    ------
    ArithmeticError
        If the prediction differs from plain NumPy's.
    """
    x, weights = parameters(dtype)
    predict = {"nncore": nncore_predict, "numpy": plain_numpy, "torch": torch_predict}[name](x, weights)
    if name == "torch":
        sys.modules["torch"].set_num_threads(threads)
    expected, found = plain_numpy(x, weights)(), np.asarray(predict())
    if not np.allclose(found, expected, atol=1e-5):
        raise ArithmeticError(f"the prediction of {name} differs from plain NumPy's by {abs(found - expected).max()}")
    return predict
