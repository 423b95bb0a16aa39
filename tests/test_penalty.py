"""The penalty alpha / (2 s) |W|^2 of a batch, which nncore.sklearn asks of the core, with what may come beside it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sparse_rows import Matrix

import nncore as nn

pytest.importorskip("nncore._core")

# sizes, rows and batch: rows by tiles, by chunks whose last is short, and all of them as one batch of chunks
SHAPES = {"tiles": ([12, 20, 3], 230, 50), "chunks": ([4, 8, 2], 3000, 1450), "one batch": ([3, 5, 1], 2600, 2600)}


def plain(
    sizes: list[int], X: Any, y: Any, w: Any, batch: int, penalty: float, optimizer: Any, epochs: int
) -> tuple[list[Any], list[float]]:
    """Return weights, then sums of losses and penalties epoch by epoch: NumPy's gradients, the rest written out."""
    net = nn.MLP(sizes, activation="tanh", output="identity", dtype="float64", seed=1, backend="numpy")
    W = net.get_weights()
    m, v, t, sums = [np.zeros_like(a) for a in W], [np.zeros_like(a) for a in W], 0, []
    for _ in range(epochs):
        losses = penalties = 0.0
        for start in range(0, len(X), batch):
            at = slice(start, start + batch)
            n, weight = len(X[at]), None if w is None else w[at]
            loss, g = 0.0, [np.zeros_like(a) for a in W]
            if weight is None or weight.any():
                net.set_weights(W)
                loss, g = net.loss_and_gradients(X[at], y[at], loss="mse", sample_weight=weight)
            total = n if weight is None else weight.sum()
            scale = penalty / total if total > 0 else 0.0
            losses += loss * n
            penalties += 0.5 * scale * sum((a * a).sum() for a in W if a.ndim == 2) * n
            if optimizer.clip_norm:
                length = np.sqrt(sum((a * a).sum() for a in g))
                g = [a * min(1.0, optimizer.clip_norm / length) if length else a for a in g]
            if optimizer.clip_value:
                g = [np.clip(a, -optimizer.clip_value, optimizer.clip_value) for a in g]
            g = [a + scale * b if b.ndim == 2 else a for a, b in zip(g, W, strict=True)]
            t += 1
            if isinstance(optimizer, nn.SGD):
                W = [a - 0.05 * b for a, b in zip(W, g, strict=True)]
                continue
            m = [0.9 * a + 0.1 * b for a, b in zip(m, g, strict=True)]
            v = [0.999 * a + 0.001 * b * b for a, b in zip(v, g, strict=True)]
            means = [a / (1 - 0.9**t) for a in m]
            roots = [np.sqrt(a / (1 - 0.999**t)) + 1e-8 for a in v]
            W = [a - 0.01 * b / c for a, b, c in zip(W, means, roots, strict=True)]
        sums += [losses, penalties]
    return W, sums


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("clip", [{}, {"clip_norm": 0.05}, {"clip_norm": 0.05, "clip_value": 0.01}])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("rows", ["dense", "sparse"])
@pytest.mark.parametrize("shape", SHAPES)
def test_it_agrees_with_numpy(shape: str, rows: str, weighted: bool, clip: Any, threads: int) -> None:
    sizes, n, batch = SHAPES[shape]
    rng = np.random.default_rng(3)
    X = rng.standard_normal((n, sizes[0])) * (rng.random((n, sizes[0])) < 0.4)
    y, w = rng.standard_normal((n, sizes[-1])), rng.random(n) if weighted else None
    if w is not None and batch < n:
        w[:batch] = 0  # a batch in which no row counts has no penalty
    for optimizer in (nn.SGD(0.05, **clip), nn.Adam(0.01, **clip)):
        engine = nn.MLP(sizes, activation="tanh", output="identity", dtype="float64", seed=1, backend="native")._engine
        given = nn.sparse.csr(Matrix(X), "X", sizes[0], X.dtype) if rows == "sparse" else X
        job = engine.job(given, y, loss="mse", batch_size=batch, shuffle=False, seed=0, first_epoch=0, weights=w,
                         optimizer=optimizer, slots=engine.new_slots(optimizer.n_slots), record=False,
                         threads=None)  # fmt: skip
        job.adopt(penalty=3.0)
        sums = []
        with nn.testing.force_threads(threads):
            for epoch in range(2):
                engine.run(job, epoch * job.steps_per_epoch, job.steps_per_epoch)
                sums += [job.loss_sum, job.penalty_sum]
        expected, expected_sums = plain(sizes, X, y, w, batch, 3.0, optimizer, 2)
        np.testing.assert_allclose(sums, expected_sums, rtol=1e-12)
        assert min(sums[1], sums[3]) > 0
        for found, array in zip(engine.get_weights(), expected, strict=True):
            np.testing.assert_allclose(found, array, rtol=0, atol=1e-12)
