"""A short training of each kind of layer, loss and file, for valgrind: ``make valgrind``."""

from __future__ import annotations

import tempfile
from typing import Any

import numpy as np

import nncore as nn


class Matrix:
    """A sparse matrix as nncore takes it, without SciPy."""

    format = "csr"

    def __init__(self, dense: np.ndarray[Any, Any]) -> None:
        rows, self.indices = np.nonzero(dense)
        self.data, self.shape = dense[rows, self.indices], dense.shape
        self.indptr = np.searchsorted(rows, np.arange(len(dense) + 1))


def main() -> None:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((37, 5))
    X[:, 1] = np.arange(37) % 3
    y = np.arange(37) % 3
    for dtype in ("float32", "float64"):
        net = nn.MLP(
            [5, 9, 7, 3], "gelu", "softmax", dropout=0.2, norm="batch", categories={1: 3}, dtype=dtype, backend="native"
        )
        net.fit(X, y, epochs=3, batch_size=8, optimizer=nn.Adam(clip_norm=1.0), metrics=["accuracy"])
        wide = nn.MLP([5, 40, 2], "tanh", norm="layer", input_noise=0.1, dtype=dtype, backend="native")
        wide.fit(X, X[:, :2], epochs=2, batch_size=16, optimizer="sgd", sample_weight=1.0 + y)
        chunked = nn.MLP([5, 4, 1], dtype=dtype, backend="native")
        chunked.fit(np.tile(X, (20, 1)), np.tile(y, 20), epochs=1, batch_size=None, optimizer=nn.NAdam())
        few = np.where(rng.random((900, 70)) < 0.05, 1.5, 0.0)
        sparse = nn.MLP([70, 9, 3], output="softmax", dtype=dtype, backend="native")
        for optimizer in (nn.RMSprop(), nn.Adam(), nn.SGD(clip_norm=0.1)):
            sparse.fit(Matrix(few[:80]), np.arange(80) % 3, epochs=2, batch_size=24, optimizer=optimizer)
        chunks = nn.MLP([70, 2, 1], dtype=dtype, backend="native")
        chunks.fit(Matrix(few), few[:, :1], epochs=1, batch_size=None)
        assert np.isfinite(sparse.predict(Matrix(few))).all() and np.isfinite(chunks.predict(Matrix(few))).all()
        with tempfile.TemporaryDirectory() as folder:
            net.save(f"{folder}/model.npz")
            assert np.array_equal(nn.load(f"{folder}/model.npz").predict(X), net.predict(X))
        print(dtype, net.evaluate(X, y)["loss"], wide.predict(X[:1]), chunked.predict(X[:2]).shape)


if __name__ == "__main__":
    main()
