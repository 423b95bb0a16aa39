"""The baseline: what one writes by hand in NumPy to train an MLP, with care for speed but without heroics.

It shares no code with nncore's NumPy backend, so that a slow backend cannot flatter the comparison.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from nncore.bench.workloads import Training, Workload

Array = np.ndarray[Any, Any]


class PlainNet:
    """An MLP with its optimizer's state.

    Parameters
    ----------
    work : Workload
        What to train.
    rng : Generator
        For the initial weights.
    dtype : {"float32", "float64"}
        Type of weights and arithmetic.
    """

    def __init__(self, work: Workload, rng: np.random.Generator, dtype: str = "float32") -> None:
        self.work = work
        shapes = list(zip(work.sizes, work.sizes[1:], strict=False))
        self.W = [rng.normal(0.0, np.sqrt(2.0 / rows), (rows, columns)).astype(dtype) for rows, columns in shapes]
        self.b = [np.zeros(columns, dtype) for _, columns in shapes]
        self.first = [np.zeros_like(p) for p in (*self.W, *self.b)]
        self.second = [np.zeros_like(p) for p in (*self.W, *self.b)]
        self.updates = 0

    def layers(self, x: Array) -> list[Array]:
        """Return the input, each hidden layer's output, and the last layer before its activation."""
        found = [x]
        for W, b in zip(self.W[:-1], self.b[:-1], strict=True):
            z = found[-1] @ W + b
            found.append(np.maximum(z, 0, out=z) if self.work.activation == "relu" else np.tanh(z, out=z))
        found.append(found[-1] @ self.W[-1] + self.b[-1])
        return found

    def activated(self, z: Array) -> Array:
        """Return the network's output for the last pre-activation."""
        if self.work.task == "numbers":
            return z
        if self.work.task == "yes_no":
            return np.asarray(1 / (1 + np.exp(-z)))
        p: Array = np.exp(z - z.max(axis=1, keepdims=True))
        p /= p.sum(axis=1, keepdims=True)
        return p

    def error(self, z: Array, y: Array) -> Array:
        """Return the gradient of the batch's mean loss with respect to the last pre-activation."""
        d = self.activated(z) - y
        d *= 2 / z.size if self.work.task == "numbers" else 1 / len(z)
        return d

    def step(self, x: Array, y: Array) -> None:
        """Train on one batch."""
        found = self.layers(x)
        d = self.error(found[-1], y)
        dW, db = [], []
        for layer in reversed(range(len(self.W))):
            a = found[layer]
            dW.append(a.T @ d)
            db.append(d.sum(axis=0))
            if layer:
                d = d @ self.W[layer].T
                d *= (a > 0) if self.work.activation == "relu" else 1 - a * a
        self.update([*reversed(dW), *reversed(db)])

    def update(self, gradients: list[Array]) -> None:
        """Apply SGD at a rate of 0.01, or Adam with its usual settings."""
        parameters = (*self.W, *self.b)
        if self.work.optimizer == "sgd":
            for p, g in zip(parameters, gradients, strict=True):
                p -= 0.01 * g
            return
        self.updates += 1
        rate = 1e-3 / (1 - 0.9**self.updates)
        correction = 1 - 0.999**self.updates
        for p, g, m, v in zip(parameters, gradients, self.first, self.second, strict=True):
            m *= 0.9
            m += 0.1 * g
            v *= 0.999
            v += 0.001 * g * g
            p -= rate * m / (np.sqrt(v / correction) + 1e-8)


def training(work: Workload, dtype: str, threads: int) -> Training:
    """Return the loop over a workload's batches.

    Parameters
    ----------
    work : Workload
        What to train.
    dtype : {"float32", "float64"}
        Type of data and weights.
    threads : int
        Not used: NumPy's BLAS takes its number of threads from the environment.

    Returns
    -------
    Training
    """
    X, y = work.data(dtype)
    if work.task == "classes":
        y = np.eye(work.sizes[-1], dtype=X.dtype)[y]
    rng = np.random.default_rng(1)
    net = PlainNet(work, rng, dtype)

    def epoch() -> None:
        order = rng.permutation(work.rows)
        for start in range(0, work.rows, work.batch):
            rows = order[start : start + work.batch]
            net.step(X[rows], y[rows])

    return Training(epoch, lambda: net.activated(net.layers(X)[-1]))
