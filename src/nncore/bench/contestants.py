"""Who takes part: nncore, the NumPy loop, and the libraries that are installed."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from typing import NamedTuple

from nncore.bench import baseline, peers
from nncore.bench.workloads import Training, Workload


def nncore_training(work: Workload, dtype: str, threads: int, backend: str = "native") -> Training:
    """Return nncore's own: an epoch is one ``fit``.

    Parameters
    ----------
    work, dtype
        As for `baseline.training`.
    threads : int
        Not used: nncore chooses.
    backend : {"native", "numpy"}
        What computes.

    Returns
    -------
    Training
    """
    # Here, because this module also serves in the peers' processes, which nncore's core is kept out of.
    import nncore as nn

    X, y = work.data(dtype)
    output = {"classes": "softmax", "yes_no": "sigmoid", "numbers": "identity"}[work.task]
    net = nn.MLP(work.sizes, activation=work.activation, output=output, dtype=dtype, backend=backend)
    optimizer = nn.Adam(1e-3) if work.optimizer == "adam" else nn.SGD(1e-2)
    return Training(lambda: net.fit(X, y, optimizer=optimizer, epochs=1, batch_size=work.batch), lambda: net.predict(X))


class Contestant(NamedTuple):
    """One library, or way of using it."""

    training: Callable[[Workload, str, int], Training]  # from a workload, dtype and number of threads
    module: str  # what must be installed
    tries_threads: bool = False  # runs with one thread and with all, where the better counts; else chooses itself
    predicts: bool = False  # takes part in the one-row predictions
    own: bool = False  # is nncore


CONTESTANTS = {
    "nncore": Contestant(nncore_training, "nncore", predicts=True, own=True),
    "numpy": Contestant(baseline.training, "numpy", tries_threads=True, predicts=True),
    "torch": Contestant(peers.torch_training, "torch", tries_threads=True, predicts=True),
    "jax": Contestant(peers.jax_training, "jax"),
    "sklearn": Contestant(peers.sklearn_training, "sklearn", tries_threads=True),
    "backend=numpy": Contestant(partial(nncore_training, backend="numpy"), "nncore", tries_threads=True, own=True),
}


def installed(name: str) -> bool:
    """Return whether a contestant's library is there, without importing it."""
    return find_spec(CONTESTANTS[name].module) is not None


def usual() -> list[str]:
    """Return who takes part unless the user says otherwise: nncore itself, and every other library that is there."""
    return [name for name, who in CONTESTANTS.items() if (name == "nncore" or not who.own) and installed(name)]
