"""Where a run's rows come from: here arrays that are there as a whole; chunks that arrive one by one are in `chunks`.

A source cuts an epoch into segments, each of them steps of one job of the engine, and knows what the segments' losses
and predictions make together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from nncore import streams
from nncore.errors import NonFiniteData

if TYPE_CHECKING:
    from nncore.sparse import Inputs

    Array = np.ndarray[Any, Any]
    Segment = tuple[Any, int, int]  # a job, its first step, and the one after its last


class Arrays:
    """All rows in memory, or mapped there: one job for the whole run.

    Parameters
    ----------
    engine
        The network's engine.
    X, y : ndarray
        As the engine takes them; not copied.
    rows : ndarray or None
        Their numbers in the arrays that the user gave, where they are only some of these.
    settings
        Of the job.
    weights : ndarray or None
        Of the rows, in metrics.

    Attributes
    ----------
    steps_per_epoch : int
    """

    __slots__ = ("X", "_order", "_rows", "_settings", "_stream", "job", "steps_per_epoch", "weights", "y")

    def __init__(
        self,
        engine: Any,
        X: Inputs,
        y: Array,
        rows: Array | None,
        settings: dict[str, Any],
        weights: Array | None = None,
    ) -> None:
        self.X = X
        self.y = y
        self.weights = weights
        self._rows = rows
        self._settings = settings
        self._stream = -1  # whose order is kept, for those who ask for one batch after the other
        self._order: Array | None = None
        self.job = engine.job(X, y, **settings)
        self.steps_per_epoch: int | None = self.job.steps_per_epoch

    def segments(self, epoch: int, done: int) -> tuple[Segment]:
        """Return the steps of an epoch of the run, from 0, of which `done` are done already."""
        first = epoch * self.job.steps_per_epoch
        return ((self.job, first + done, first + self.job.steps_per_epoch),)

    def mean_loss(self) -> float:
        """Return the mean loss over an epoch's rows."""
        return self.job.mean_loss  # type: ignore[no-any-return]

    def predictions(self) -> tuple[Array, Array]:
        """Return each row's prediction before its batch's update, and the targets."""
        return self.job.predictions, self.y

    def batch(self, job: Any, step: int) -> tuple[Inputs, Array, Array | None]:
        """Return a step's rows, and their weights as the engine has them."""
        at, weights = self._at(job, step), self._settings["weights"]
        return self.X[at], self.y[at], None if weights is None else weights[at]

    def weight_of(self, job: Any, step: int) -> float:
        """Return the sum of the weights of a step's rows, or how many they are where there are none."""
        weights = self._settings["weights"]
        if weights is not None:
            return float(weights[self._at(job, step)].sum())
        size = self._settings["batch_size"]
        return min(size, len(self.X) - step % job.steps_per_epoch * size)  # type: ignore[no-any-return]

    def _at(self, job: Any, step: int) -> slice | Array:
        epoch, within = divmod(step, job.steps_per_epoch)
        size, n = self._settings["batch_size"], len(self.X)
        part = slice(within * size, (within + 1) * size)
        if not self._settings["shuffle"] or size >= n:
            return part
        stream = self._settings["first_epoch"] + epoch
        if self._order is None or stream != self._stream:
            self._order = streams.permutation(self._settings["seed"], streams.SHUFFLE, stream, n)
            self._stream = stream
        return self._order[part]

    def located(self, error: NonFiniteData) -> NonFiniteData:
        """Return the error with the row's number in what the user gave."""
        return error if self._rows is None else NonFiniteData(error.argument, int(self._rows[error.row]))


def given_as_chunks(X: Any) -> bool:
    """Say, where there are no targets, that `X` gives chunks; refuse what can give none."""
    if isinstance(X, np.ndarray) or hasattr(X, "__array__") or hasattr(X, "to_numpy"):
        raise TypeError("y is None; expected a target for each row of X, or as X an iterable of chunks (X, y)")
    if not callable(X) and not hasattr(X, "__iter__"):
        raise TypeError(
            f"y is None and X is of type {type(X).__name__}; expected targets, or as X an iterable of chunks (X, y) or "
            "a function that returns an iterator of them"
        )
    return True
