"""Strategies of hypothesis for networks and data that fit each other; for the tests of properties."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st

import nncore as nn

SMOOTH = ["identity", "sigmoid", "tanh", "softplus", "gelu", "silu", "elu", "selu", "mish"]
KINKED = ["relu", nn.LeakyReLU(0.2), "hard_tanh", "hard_sigmoid", "hard_silu"]
HEADS = [
    ("softmax", "cross_entropy"),
    ("sigmoid", "bce"),
    ("identity", "mse"),
    ("identity", "huber"),
    ("exponential", "poisson"),
    ("tanh", "mse"),
]
OPTIMIZERS = [
    lambda: nn.SGD(0.05),
    lambda: nn.SGD(0.05, momentum=0.9, nesterov=True, weight_decay=0.01),
    lambda: nn.Adam(nn.schedules.Cosine(1e-2, steps=7)),
    lambda: nn.AdamW(1e-2, clip_norm=1.0),
    lambda: nn.RMSprop(1e-3),
    lambda: nn.Adagrad(clip_value=0.5),
    lambda: nn.NAdam(),
    lambda: nn.Lion(),
]


@dataclass
class Problem:
    """A network, of which any number can be made, and data for it."""

    dtype: str
    layers: list[tuple[Any, ...]]
    seed: int
    loss: str
    X: np.ndarray
    y: np.ndarray
    call: dict[str, Any]

    def make(self, backend="native"):
        layers = [kind(*arguments) for kind, *arguments in self.layers]
        return nn.Sequential(layers, dtype=self.dtype, seed=self.seed, backend=backend)

    def fit(self, net, optimizer, epochs, X=None, y=None, **more):
        X, y = self.X if X is None else X, self.y if y is None else y
        return net.fit(X, y, loss=self.loss, optimizer=optimizer, epochs=epochs, **{**self.call, **more})


def targets(output, loss, n, k, rng):
    if loss == "cross_entropy":
        y = rng.integers(0, k, n)
        y[: min(n, 2)] = np.arange(min(n, 2))  # not of a single class
        return y
    if loss == "bce":
        y = rng.integers(0, 2, (n, k)).astype(float)
        y[0], y[-1] = 0, 1
        return y
    y = rng.standard_normal((n, k))
    return rng.poisson(2.0, (n, k)).astype(float) if loss == "poisson" else y


@st.composite
def problems(draw, activations=SMOOTH + KINKED, random_layers=True, rows=40, width=24):
    """Draw a problem; the numbers are of a generator whose seed is drawn, so that an example is small."""
    dtype = draw(st.sampled_from(["float32", "float64"]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    size = n_in = draw(st.integers(1, width))
    layers: list[tuple[Any, ...]] = []
    for _ in range(draw(st.integers(0, 3))):
        units = draw(st.integers(1, width))
        layers.append((nn.Dense, size, units, draw(st.sampled_from(activations))))
        size = units
        extra = draw(st.sampled_from([None, None, "batch", "layer", "dropout", "noise"]))
        if extra in ("batch", "layer"):
            layers.append(((nn.BatchNorm if extra == "batch" else nn.LayerNorm), size))
        elif extra and random_layers:
            layers.append(((nn.Dropout if extra == "dropout" else nn.GaussianNoise), 0.3))
    output, loss = draw(st.sampled_from(HEADS))
    k = draw(st.integers(2 if output == "softmax" else 1, 7))
    layers.append((nn.Dense, size, k, output))
    n = draw(st.integers(2, rows))
    X = rng.standard_normal((n, n_in)).astype(dtype)
    y = targets(output, loss, n, k, rng)
    if y.ndim == 2:
        y = y.astype(dtype)
    call = {
        "batch_size": draw(st.sampled_from([None, 1, 2, 3, 7, 16, 64])),
        "shuffle": draw(st.booleans()),
        "sample_weight": draw(st.sampled_from([None, rng.random(n) + 0.1])),
    }
    return Problem(dtype, layers, draw(st.integers(0, 2**64 - 1)), loss, X, y, call)


@st.composite
def views(draw, array):
    """Draw a view with the values of `array` and another layout in memory: steps, directions, order, offsets."""
    shape, steps, flips = [], [], []
    for length in array.shape:
        step = draw(st.integers(1, 3))
        shape.append(length * step + draw(st.integers(0, 2)))
        steps.append(step)
        flips.append(draw(st.booleans()))
    base = np.empty(shape, array.dtype, order=draw(st.sampled_from("CF")))
    view = base[tuple(slice(None, length * step, step) for length, step in zip(array.shape, steps, strict=True))]
    view = view[tuple(slice(None, None, -1 if flip else 1) for flip in flips)]
    view[...] = array
    if draw(st.booleans()):
        view.flags.writeable = False
    swapped = draw(st.booleans())
    return view.astype(view.dtype.newbyteorder(), order="K") if swapped else view
