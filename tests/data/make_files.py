"""Writes what is missing in files/: networks and checkpoints as this version saves them, and what they predict.

    python tests/data/make_files.py

Files that are there are never written again: later versions must load them, to the same predictions
(tests/test_files_kept.py). A new kind of layer gets a network in NETWORKS; a new version of a format gets names of its
own.
"""

from pathlib import Path

import numpy as np

import nncore as nn

FOLDER = Path(__file__).parent / "files"
DTYPES = ("float32", "float64")


def _dense():
    hidden = ["relu", nn.LeakyReLU(0.25), nn.Elu(0.5), "gelu", "tanh", "sigmoid", "softplus", "hard_silu"]
    return [nn.Dense(5, 4, hidden[0]), *(nn.Dense(4, 4, activation) for activation in hidden[1:]), nn.Dense(4, 3)]


def _regularized():
    return [
        nn.GaussianNoise(0.1),
        nn.Dense(5, 6, l1=1e-4, l2=1e-3, max_norm=3.0),
        nn.BatchNorm(6, momentum=0.2, activation="relu"),
        nn.Dropout(0.25),
        nn.Dense(6, 4, "tanh", weight_decay=0.01),
        nn.LayerNorm(4, epsilon=1e-3),
        nn.Dense(4, 3, "softmax"),
    ]


NETWORKS = {
    "dense": _dense,
    "regularized": _regularized,
    "columns": lambda: [nn.Columns({0: (4, 2), 3: 3}, 5), nn.Dense(3 + 2 + 3, 3, "softmax")],
    "one": lambda: [nn.Dense(5, 1, "sigmoid")],
}
CHECKPOINTS = {"adam": lambda: nn.Adam(3e-3), "momentum": lambda: nn.SGD(0.05, momentum=0.9, nesterov=True)}


def data(dtype="float64"):
    """Return X, whose columns 0 and 3 may be codes, and classes."""
    rng = np.random.default_rng(20)
    X = np.round(rng.standard_normal((24, 5)), 3)
    X[:, 0], X[:, 3] = np.arange(24) % 4, np.arange(24) % 3
    return X.astype(dtype), np.arange(24) % 3


def network(name, dtype, backend=None):
    return nn.Sequential(NETWORKS[name](), dtype=dtype, seed=11, backend=backend)


def trained(name, dtype):
    X, y = data(dtype)
    net = network(name, dtype)
    target = {"dense": np.eye(3)[y], "one": (y == 0).astype(float)}.get(name, y)
    net.fit(X, target, epochs=3, batch_size=8)
    return net


def run(name, dtype, backend=None, epochs=4, **options):
    """Fit as the checkpoints were made, with early stopping and a split; return the network and its history."""
    X, y = data(dtype)
    net = network("regularized", dtype, backend)
    history = net.fit(X, y, epochs=epochs, batch_size=6, optimizer=CHECKPOINTS[name](), validation_split=0.25,
                      early_stopping=nn.callbacks.EarlyStopping(patience=9, restore_best=False),
                      metrics=["accuracy"], **options)  # fmt: skip
    return net, history


def main():
    FOLDER.mkdir(exist_ok=True)
    X, _ = data()
    for dtype in DTYPES:
        for name in NETWORKS:
            net = None
            for ending in ("npz", "safetensors"):
                path = FOLDER / f"{name}-{dtype}.{ending}"
                if not path.exists():
                    net = net or trained(name, dtype)
                    net.save(path)
                    np.save(FOLDER / f"{name}-{dtype}.predictions.npy", net.predict(X))
        for name in CHECKPOINTS:
            path = FOLDER / f"{name}-{dtype}.checkpoint.npz"
            if not path.exists():  # after the second epoch, and two steps of the third
                run(name, dtype, epochs=3, callbacks=_Once(path))
                net, history = run(name, dtype)
                np.savez(FOLDER / f"{name}-{dtype}.whole.npz", *net.get_weights(), *net.get_state(),
                         loss=history.history["loss"])  # fmt: skip


class _Once(nn.callbacks.Checkpoint):
    """Writes within the third epoch only."""

    def __init__(self, path):
        super().__init__(path, every=100, steps=2)

    def on_batch_end(self, step, logs):
        if self.network.history.epochs == 2 and step == 1:
            super().on_batch_end(step, logs)

    def __repr__(self):
        return "Checkpoint"


_Once.__name__ = "Checkpoint"  # as the file names the callback that wrote it

if __name__ == "__main__":
    main()
