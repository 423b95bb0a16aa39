"""The networks that the bench trains, and random data for them.

Each names a kind of use: a toy, a small classifier, a policy, a table, images, a wide net that is all matrix product.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import groupby
from typing import Any, Literal, NamedTuple

import numpy as np

Array = np.ndarray[Any, Any]


class Workload(NamedTuple):
    """What is trained: one epoch goes through `rows` rows in batches of `batch`."""

    sizes: tuple[int, ...]
    activation: Literal["relu", "tanh"]  # of the hidden layers
    task: Literal["classes", "yes_no", "numbers"]  # softmax, sigmoid, or identity with the mean squared error
    batch: int
    optimizer: Literal["adam", "sgd"]
    rows: int

    @property
    def steps(self) -> int:
        """Steps in an epoch."""
        return -(-self.rows // self.batch)

    @property
    def flops(self) -> int:
        """Floating-point operations of the matrix products in one step.

        A layer of n_in x n_out takes 2 * n_in * n_out for each row, three times: outputs, gradient of the weights, and
        gradient of the inputs, which the first layer does without.
        """
        layers = [2 * n_in * n_out for n_in, n_out in zip(self.sizes, self.sizes[1:], strict=False)]
        return self.batch * (3 * sum(layers) - layers[0])

    @property
    def network(self) -> str:
        """The layers' widths, as ``28-300 (5 times)-1``."""
        runs = [(size, len(list(run))) for size, run in groupby(self.sizes)]
        return "-".join(
            f"{size} ({times} times)" if times > 2 else "-".join([str(size)] * times) for size, times in runs
        )

    @property
    def description(self) -> str:
        """The network and how it is trained, without what is usual: relu and Adam."""
        words = [self.network]
        if self.activation != "relu":
            words[0] += f" {self.activation}"
        words.append(f"batch {self.batch:,}")
        if self.optimizer != "adam":
            words.append(self.optimizer.upper())
        return ", ".join(words)

    def data(self, dtype: str = "float32", seed: int = 0) -> tuple[Array, Array]:
        """Return random data.

        Parameters
        ----------
        dtype : {"float32", "float64"}
            Type of all but labels.
        seed : int, default 0
            Of the random numbers.

        Returns
        -------
        X, y : ndarray
            y holds labels for classes, else a column of 0 and 1, or numbers.
        """
        real: type[np.float32] | type[np.float64] = np.float32 if dtype == "float32" else np.float64
        rng = np.random.default_rng(seed)
        X = rng.standard_normal((self.rows, self.sizes[0]), dtype=real)
        if self.task == "classes":
            return X, rng.integers(0, self.sizes[-1], self.rows)
        if self.task == "yes_no":
            return X, rng.integers(0, 2, (self.rows, 1)).astype(real)
        return X, rng.standard_normal((self.rows, self.sizes[-1]), dtype=real)


class Training(NamedTuple):
    """A contestant at work on a workload."""

    epoch: Callable[[], object]  # trains for one epoch
    outputs: Callable[[], Array]  # the network's outputs for all rows, as of now: probabilities or numbers


WORKLOADS = {
    "xor": Workload((2, 4, 1), "tanh", "yes_no", 4, "sgd", 4000),
    "iris": Workload((4, 16, 3), "relu", "classes", 16, "adam", 1440),
    "digits": Workload((64, 64, 10), "relu", "classes", 32, "adam", 1792),
    "width46": Workload((10, 46, 46, 10), "relu", "numbers", 128, "adam", 12800),
    "policy": Workload((17, 64, 64, 6), "tanh", "numbers", 64, "adam", 6400),
    "higgs": Workload((28, 300, 300, 300, 300, 300, 1), "tanh", "yes_no", 100, "adam", 10000),
    "tabular": Workload((100, 256, 128, 1), "relu", "numbers", 256, "adam", 16384),
    "mnist": Workload((784, 128, 10), "relu", "classes", 128, "adam", 12800),
    "mnistb": Workload((784, 512, 512, 10), "relu", "classes", 256, "adam", 12800),
    "wide": Workload((1024, 1024, 1024, 1024, 1024), "relu", "numbers", 1024, "adam", 4096),
    "chains": Workload((4, 32, 16, 4), "tanh", "numbers", 10000, "adam", 10000),
    "tanhnet": Workload((256, 256, 256, 256), "tanh", "numbers", 256, "adam", 8192),
}

# Widths to look at beside those one below and one above.
_MORE_NEIGHBOURS = {"width46": (48,), "wide": (1000,)}


def neighbours(name: str) -> list[str]:
    """Return the names, for `find`, of a workload's networks of nearly the same size.

    Parameters
    ----------
    name : str
        A key of `WORKLOADS`.

    Returns
    -------
    list of str
        Hidden layers one narrower, one wider, and of some further widths. A network of one width throughout changes
        throughout.

    Examples
    --------
    >>> neighbours("tabular")
    ['tabular@100-255-127-1', 'tabular@100-257-129-1']
    """
    sizes = WORKLOADS[name].sizes
    first, last = (0, len(sizes)) if len(set(sizes)) == 1 else (1, len(sizes) - 1)

    hidden = sizes[first:last]

    def named(widths: Iterable[int]) -> str:
        return f"{name}@{'-'.join(map(str, (*sizes[:first], *widths, *sizes[last:])))}"

    one_off = [named(size + change for size in hidden) for change in (-1, 1)]
    return one_off + [named([width] * len(hidden)) for width in _MORE_NEIGHBOURS.get(name, ())]


def find(name: str) -> Workload:
    """Return a workload by its name, or by a name that `neighbours` gave.

    Parameters
    ----------
    name : str
        As ``digits``, or ``digits@64-63-10`` for the same with other sizes.

    Returns
    -------
    Workload

    Examples
    --------
    >>> find("digits@64-63-10").sizes
    (64, 63, 10)
    """
    base, _, sizes = name.partition("@")
    work = WORKLOADS[base]
    return work._replace(sizes=tuple(map(int, sizes.split("-")))) if sizes else work
