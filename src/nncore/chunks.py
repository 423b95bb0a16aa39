"""Rows that arrive in chunks, for data larger than memory: a source as `sources.Arrays` is one.

``fit`` takes as X, without y, an iterable of pairs (X, y), which is gone through once for each epoch, or a function
that returns an iterator of them for each epoch. Batches are cut from the rows as they come: what is left of a chunk
begins the first batch of the next, so that all batches but an epoch's last are full, and without shuffling the size of
the chunks changes nothing; what dropout drops goes by a row's place in the epoch. ``shuffle`` acts within each chunk,
``batch_size=None`` makes each a batch. The loss of an epoch is the mean over all its rows; metrics keep its predictions
and targets in memory. Errors leave the network as it was at the start of the epoch.

The other way is a `numpy.memmap` as X, of the network's dtype, which is not copied (but for ``validation_split``, which
copies all rows). Shuffled rows come from all over the file: where it does not fit in memory each row costs a read of
the disk, and of all that the system reads ahead with it. ``shuffle=False`` on rows that were shuffled once, or chunks
of consecutive rows, are read in order.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING, Any

import numpy as np

from nncore import sparse, streams
from nncore.errors import NonFiniteData

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from nncore.sources import Segment
    from nncore.sparse import Inputs

    Array = np.ndarray[Any, Any]


class Chunks:
    """Rows that arrive in chunks, each epoch anew.

    The head of this module says how batches are cut from them.

    Parameters
    ----------
    engine
        The network's engine.
    given : iterable or callable
        Pairs (X, y), or a function that returns an iterator of them for each epoch.
    prepared : callable
        Makes of a pair and the end of its name what the engine takes.
    settings
        Of the jobs; a `batch_size` of None makes each chunk a batch.

    Attributes
    ----------
    steps_per_epoch : None
        It is not known before the chunks have come.
    """

    weights: Array | None = None  # of rows: chunks have none

    __slots__ = (
        "X",
        "_engine",
        "_given",
        "_loss_sum",
        "_n_rows",
        "_numbers",
        "_prepared",
        "_recorded",
        "_settings",
        "_shuffle",
        "_starts",
        "steps_per_epoch",
        "y",
    )

    def __init__(
        self,
        engine: Any,
        given: Any,
        prepared: Callable[[Any, Any, str], tuple[Inputs, Array]],
        settings: dict[str, Any],
    ) -> None:
        self._engine = engine
        self._given = given
        self._prepared = prepared
        self._settings = settings
        self._shuffle = settings["shuffle"]
        self.steps_per_epoch: int | None = None
        self._begin()

    def _begin(self) -> None:
        self._loss_sum = 0.0
        self._n_rows = 0
        self._starts: list[int] = []  # the number of each chunk's first row in the epoch
        self._recorded: list[tuple[Array, Array]] = []

    def segments(self, epoch: int, done: int) -> Iterator[Segment]:
        """Yield the steps of an epoch of the run, from 0; `done` is 0, as no run goes on within an epoch of chunks."""
        self._begin()
        size = self._settings["batch_size"]
        left: tuple[Inputs, Array, Array] | None = None  # rows of the chunks before, and their numbers
        seen = 0
        for chunk, (X, y) in enumerate(self._chunks(epoch)):
            self._starts.append(seen)
            numbers = np.arange(seen, seen + len(X))
            seen += len(X)
            if self._shuffle:
                # A stream for each epoch and chunk; the first chunk has that of the epoch's arrays.
                stream = self._settings["first_epoch"] + epoch + (chunk << 32)
                order = streams.permutation(self._settings["seed"], streams.SHUFFLE, stream, len(X))
                X, y, numbers = X[order], y[order], numbers[order]
            if size is None:
                yield from self._part(epoch, X, y, numbers, len(X))
                continue
            if left is not None:
                missing = size - len(left[0])
                head = (
                    sparse.joined(left[0], X[:missing]),
                    np.concatenate((left[1], y[:missing])),
                    np.concatenate((left[2], numbers[:missing])),
                )
                X, y, numbers = X[missing:], y[missing:], numbers[missing:]
                left = None
                if len(head[0]) < size:
                    left = head
                    continue
                yield from self._part(epoch, *head, size)
            whole = len(X) - len(X) % size
            if whole:
                yield from self._part(epoch, X[:whole], y[:whole], numbers[:whole], size)
            if whole < len(X):  # copied: the next chunk may come in the same memory
                left = X[whole:].copy(), y[whole:].copy(), numbers[whole:].copy()
        if left is not None:
            yield from self._part(epoch, *left, len(left[0]))
        if not seen:
            once = "" if epoch == 0 else (
                "; an iterator can be gone through once, expected a list or a function that returns a new iterator"
            )  # fmt: skip
            raise ValueError(f"X gave no chunk in epoch {epoch + 1} of this call{once}")

    def _chunks(self, epoch: int) -> Iterator[tuple[Inputs, Array]]:
        given = self._given() if callable(self._given) else self._given
        if not hasattr(given, "__iter__"):
            raise TypeError(f"X() returned a {type(given).__name__}; expected an iterator of chunks (X, y)")
        for chunk, pair in enumerate(given):
            if not isinstance(pair, tuple | list) or len(pair) != 2:
                what = f"of length {len(pair)}" if isinstance(pair, tuple | list) else f"a {type(pair).__name__}"
                raise TypeError(
                    f"chunk {chunk} of X is {what}; expected a pair (X, y), as y is None and X gives the chunks"
                )
            yield self._prepared(pair[0], pair[1], f" of chunk {chunk}")

    def _part(self, epoch: int, X: Inputs, y: Array, numbers: Array, size: int) -> Iterator[Segment]:
        changes = {
            "batch_size": size,
            "shuffle": False,
            "first_epoch": self._settings["first_epoch"] + epoch,
            "first_row": self._n_rows,
        }
        job = self._engine.job(X, y, **{**self._settings, **changes})
        self.X, self.y, self._numbers = X, y, numbers
        yield job, 0, job.steps_per_epoch
        self._loss_sum += job.mean_loss * len(X)
        self._n_rows += len(X)
        if job.predictions is not None:
            self._recorded.append((job.predictions, y.copy()))

    def mean_loss(self) -> float:
        """Return the mean loss over an epoch's rows."""
        return self._loss_sum / self._n_rows

    def predictions(self) -> tuple[Array, Array]:
        """Return each row's prediction before its batch's update, and the targets, in the order of the steps."""
        predictions, y = zip(*self._recorded, strict=True)
        return np.concatenate(predictions), np.concatenate(y)

    def batch(self, job: Any, step: int) -> tuple[Inputs, Array, None]:
        """Return a step's rows; they have no weights."""
        size = self.weight_of(job, step)
        first = max(step, 0) * size
        return self.X[first : first + size], self.y[first : first + size], None

    def weight_of(self, job: Any, step: int) -> int:
        """Return how many rows a step has, all of which count alike."""
        return -(-len(self.X) // int(job.steps_per_epoch))  # all steps of a part have as many

    def located(self, error: NonFiniteData) -> NonFiniteData:
        """Return the error with the number of the chunk, and the row's in it."""
        number = int(self._numbers[error.row])
        chunk = bisect_right(self._starts, number) - 1
        return NonFiniteData(f"{error.argument} of chunk {chunk}", number - self._starts[chunk])
