"""What rests while sparse X does not touch it, across all that may come between two calls of the core.

Three networks do the same, one after the other: the core with sparse rows, the core with dense ones, whose weights and
slots are to be the same bits, and NumPy.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sparse_rows import Matrix

import nncore as nn

pytest.importorskip("nncore._core")
WIDE = 150
OPTIMIZERS: dict[str, Any] = {
    "sgd": lambda: nn.SGD(0.05),
    "momentum": lambda: nn.SGD(0.02, momentum=0.9),
    "nesterov": lambda: nn.SGD(0.02, momentum=0.9, nesterov=True),
    "adam": lambda: nn.Adam(0.01),
    "adamw": lambda: nn.AdamW(0.01, weight_decay=0.1),
    "nadam": lambda: nn.NAdam(0.01),
    "rmsprop": lambda: nn.RMSprop(0.01),
    "rmsprop by a schedule": lambda: nn.RMSprop(nn.schedules.Cosine(0.02, 50)),
    "rmsprop, clipped": lambda: nn.RMSprop(0.01, clip_value=0.01),
    "adagrad": lambda: nn.Adagrad(0.05),
    "lion": lambda: nn.Lion(0.003),
    "adam, clipped": lambda: nn.Adam(0.01, clip_norm=0.5),
}


class Stop(nn.callbacks.Callback):
    """Ends a fit within its first epoch."""

    def on_batch_end(self, batch: int, logs: Any) -> None:
        self.network.stop_training = batch >= 1


class Twin:
    """A network, and optimizers that keep their state."""

    def __init__(self, backend: str, sparse: bool, width: int, path: Path) -> None:
        layers = [nn.Dense(WIDE, width, "tanh"), nn.Dense(width, 3, "softmax")]
        self.net = nn.Sequential(layers, dtype="float64", seed=3, backend=backend)
        self.path, self.backend = path, backend
        self.rows: Any = Matrix if sparse else np.array
        self.optimizers: dict[str, Any] = {}

    def optimizer(self, name: str) -> Any:
        return self.optimizers.setdefault(name, OPTIMIZERS[name]())

    def do(self, what: str, name: str, X: Any, y: Any, held: Any, batch: int, epochs: int) -> None:
        net, rows, options = self.net, self.rows(X), {"epochs": epochs, "batch_size": batch}
        if what in ("fit", "another optimizer"):
            if what == "another optimizer":
                self.optimizers.pop(name, None)
            net.fit(rows, y, optimizer=self.optimizer(name), **options)
        elif what == "train_step":
            for _ in range(epochs):
                net.train_step(rows, y, optimizer=self.optimizer(name))
        elif what == "dense rows":
            net.fit(X, y, optimizer=self.optimizer(name), **options)
        elif what == "set_weights":
            rng = np.random.default_rng(len(X))
            net.set_weights([array + 0.1 * rng.standard_normal(array.shape) for array in net.get_weights()])
        elif what == "save and load":
            net.save(self.path.with_suffix(".npz"))
            self.net, self.optimizers = nn.load(self.path.with_suffix(".npz"), backend=self.backend), {}
        elif what == "bad data":
            bad = X.copy()
            bad[-1, 0] = np.inf
            with pytest.raises(ValueError, match="non-finite"):
                net.fit(self.rows(bad), y, optimizer=self.optimizer(name), shuffle=False, **options)
        elif what == "divergence":
            calls = []

            def loss(pred: Any, target: Any) -> Any:
                calls.append(1)
                return ((pred - target) ** 2).mean(axis=1) * (np.inf if len(calls) == 4 else 1), pred - target

            with pytest.raises(nn.DivergenceError):
                half = max(1, len(X) // 2)
                net.fit(rows, np.eye(3)[y], loss, optimizer=self.optimizer(name), epochs=6, batch_size=half)
        elif what == "early stopping":
            options |= {"epochs": 6, "early_stopping": 1, "validation_data": (self.rows(held[0]), held[1])}
            net.fit(rows, y, optimizer=self.optimizer(name), **options)
        elif what == "resume":
            self.path.unlink(missing_ok=True)
            optimizer = self.optimizer(name)
            net.fit(rows, y, optimizer=optimizer, callbacks=nn.callbacks.Checkpoint(self.path), **options)
            net.fit(rows, y, optimizer=optimizer, resume=self.path, **{**options, "epochs": epochs + 2})
        elif what == "stopped within":
            quarter = max(1, len(X) // 4)
            net.fit(rows, y, optimizer=self.optimizer(name), callbacks=Stop(), epochs=2, batch_size=quarter)
        else:
            net.loss_and_gradients(rows, y)
            net.predict(rows)

    def state(self, name: str) -> list[Any]:
        optimizer = self.optimizers.get(name)
        slots = [] if optimizer is None or optimizer._slots is None else optimizer._slots.arrays()
        return [*self.net.get_weights(), *(array for slot in slots for array in slot)]


WHAT = ["fit", "train_step", "set_weights", "save and load", "bad data", "divergence", "early stopping", "resume",
        "stopped within", "dense rows", "gradients and outputs", "another optimizer"]  # fmt: skip


def rows_of(rng: np.random.Generator, n: int) -> tuple[Any, Any]:
    """Few numbers, more often than not in a part of the columns."""
    X = rng.standard_normal((n, WIDE)) * (rng.random((n, WIDE)) < 0.03)
    if rng.random() < 0.6:
        used = rng.integers(0, WIDE, rng.integers(1, 40))
        X[:, np.setdiff1d(np.arange(WIDE), used)] = 0
    return X, rng.integers(0, 3, n)


@pytest.mark.parametrize("seed", range(8))
def test_sequences_of_calls(seed: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(seed)
    width = int(rng.choice([3, 8, 21, 40]))
    kinds = [("native", True), ("native", False), ("numpy", True)]
    twins = [Twin(backend, sparse, width, tmp_path / str(i)) for i, (backend, sparse) in enumerate(kinds)]
    said = []
    for what in [*rng.permutation(WHAT), *rng.choice(WHAT, 6)]:
        # of few optimizers, so that one goes on after others
        name = str(rng.choice(list(OPTIMIZERS)[seed % 4 :: 4]))
        n = int(rng.integers(5, 150))
        batch, epochs = int(rng.integers(1, n + 1)), int(rng.integers(1, 4))
        said.append((str(what), name, n, batch, epochs))
        (X, y), held = rows_of(rng, n), rows_of(rng, 30)
        nn._core.force_threads(int(rng.integers(1, 4)))
        try:
            for twin in twins:
                twin.do(what, name, X, y, held, batch, epochs)
        finally:
            nn._core.force_threads(0)
        sparse, dense, plain = (twin.state(name) for twin in twins)
        for found, same, near in zip(sparse, dense, plain, strict=True):
            np.testing.assert_array_equal(found, same, err_msg=str(said))
            np.testing.assert_allclose(found, near, rtol=0, atol=1e-10, err_msg=str(said))


@pytest.mark.parametrize("solver", ["sgd", "adam"])
@pytest.mark.parametrize("alpha", [0.0, 1e-3])
def test_an_estimators_fits_in_turn(solver: str, alpha: float) -> None:
    """Without a penalty rows rest; fits of sparse and of dense rows, warm and partial, one after the other."""
    pytest.importorskip("sklearn")
    csr_matrix = pytest.importorskip("scipy.sparse").csr_matrix
    from nncore.sklearn import MLPClassifier

    rng = np.random.default_rng(4)
    parts = [rows_of(rng, 60) for _ in range(6)]
    made = [MLPClassifier((9,), solver=solver, alpha=alpha, random_state=2, warm_start=True, batch_size=16, max_iter=3)
            for _ in range(2)]  # fmt: skip
    for step, (X, y) in enumerate(parts):
        y[:3] = [0, 1, 2]
        for estimator, sparse in zip(made, (step % 3 < 2, False), strict=True):
            with pytest.warns(match="converged") if step % 2 == 0 else pytest.MonkeyPatch.context():
                (estimator.partial_fit if step % 2 else estimator.fit)(csr_matrix(X) if sparse else X, y)
        for found, expected in zip(
            made[0].coefs_ + made[0].intercepts_, made[1].coefs_ + made[1].intercepts_, strict=True
        ):
            np.testing.assert_array_equal(found, expected)
