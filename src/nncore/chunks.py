"""Rows that arrive in chunks, for data larger than memory: a source as `sources.Arrays` is one.

``fit`` takes as X, without y, an iterable of pairs (X, y), or of (X, y, sample_weight), which is gone through once for
each epoch, or a function that returns an iterator of them for each epoch. Batches are cut from the rows as they come:
what is left of a chunk begins the first batch of the next, so that all batches but an epoch's last are full, and
without shuffling the size of the chunks changes nothing; what dropout drops goes by a row's place in the epoch.
``shuffle`` acts within each chunk, ``batch_size=None`` makes each a batch. The loss of an epoch is the mean over all
its rows, by their weights; metrics keep its predictions, targets and weights in memory. A chunk's weights may all be 0,
an epoch's may not; ``class_weight`` is a dict, as "balanced" would need all rows. Errors leave the network as it was at
the start of the epoch.

The other way is a `numpy.memmap` as X, of the network's dtype, which is not copied (but for ``validation_split``, which
copies all rows). Shuffled rows come from all over the file: where it does not fit in memory each row costs a read of
the disk, and of all that the system reads ahead with it. ``shuffle=False`` on rows that were shuffled once, or chunks
of consecutive rows, are read in order.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from nncore import sparse, streams, targets, weights
from nncore.errors import NonFiniteData

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from nncore.losses import Loss
    from nncore.network import Sequential
    from nncore.sources import Segment
    from nncore.sparse import Inputs

    Array = np.ndarray[Any, Any]


class Rows(NamedTuple):
    """Rows as the engine takes them, and what goes with each of them.

    Attributes
    ----------
    X, y
        The data.
    factors : ndarray of float64 or None
        The weights of rows and classes, multiplied; None where there are none.
    samples : ndarray of float64 or None
        The weights that the chunk brought along, which count in metrics.
    numbers : ndarray of int64
        The rows' numbers in the epoch, as they came.
    """

    X: Inputs
    y: Array
    factors: Array | None
    samples: Array | None
    numbers: Array

    def at(self, which: slice | Array) -> Rows:
        """Return some of the rows."""
        X, *others = self
        return Rows(X[which], *(None if array is None else array[which] for array in others))  # type: ignore[arg-type]

    def and_then(self, rows: Rows) -> Rows:
        """Return these rows and others after them, in new memory."""
        pairs = zip(self[1:], rows[1:], strict=True)
        return Rows(sparse.joined(self.X, rows.X), *(None if a is None else np.concatenate((a, b)) for a, b in pairs))  # type: ignore[arg-type]

    def copy(self) -> Rows:
        """Return the rows in memory of their own."""
        return Rows(*(None if array is None else array.copy() for array in self))  # type: ignore[arg-type]


class Chunks:
    """Rows that arrive in chunks, each epoch anew.

    The head of this module says how batches are cut from them.

    Parameters
    ----------
    engine
        The network's engine.
    given : iterable or callable
        Pairs (X, y), or with weights (X, y, sample_weight), or a function that returns an iterator of them for each
        epoch.
    prepared : callable
        Makes of these three, None for no weights, and the end of their name (X, y, factors, samples) for `Rows`.
    settings
        Of the jobs; a `batch_size` of None makes each chunk a batch.

    Attributes
    ----------
    steps_per_epoch : None
        It is not known before the chunks have come.
    """

    __slots__ = (
        "_engine",
        "_factors",
        "_given",
        "_loss_sum",
        "_n_rows",
        "_prepared",
        "_recorded",
        "_rows",
        "_settings",
        "_shuffle",
        "_starts",
        "_weight_sum",
        "_weighted",
        "steps_per_epoch",
    )

    def __init__(
        self,
        engine: Any,
        given: Any,
        prepared: Callable[[Any, Any, Any, str], tuple[Inputs, Array, Array | None, Array | None]],
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
        self._loss_sum = self._weight_sum = 0.0
        self._n_rows = 0
        self._weighted: bool | None = None  # whether the chunks bring weights along: the first one decides
        self._starts: list[int] = []  # the number of each chunk's first row in the epoch
        self._recorded: list[tuple[Array, Array, Array | None]] = []

    def segments(self, epoch: int, done: int) -> Iterator[Segment]:
        """Yield the steps of an epoch of the run, from 0; `done` is 0, as no run goes on within an epoch of chunks."""
        self._begin()
        size = self._settings["batch_size"]
        left: Rows | None = None  # of the chunks before
        seen = 0
        for chunk, given in enumerate(self._chunks(epoch)):
            self._starts.append(seen)
            rows = Rows(*given, np.arange(seen, seen + len(given[0])))
            seen += len(rows.X)
            if self._shuffle:
                # A stream for each epoch and chunk; the first chunk has that of the epoch's arrays.
                stream = self._settings["first_epoch"] + epoch + (chunk << 32)
                rows = rows.at(streams.permutation(self._settings["seed"], streams.SHUFFLE, stream, len(rows.X)))
            if size is None:
                yield from self._part(epoch, rows, len(rows.X))
                continue
            if left is not None:
                missing = size - len(left.X)
                head, rows, left = left.and_then(rows.at(slice(missing))), rows.at(slice(missing, None)), None
                if len(head.X) < size:
                    left = head
                    continue
                yield from self._part(epoch, head, size)
            whole = len(rows.X) - len(rows.X) % size
            if whole:
                yield from self._part(epoch, rows.at(slice(whole)), size)
            if whole < len(rows.X):  # copied: the next chunk may come in the same memory
                left = rows.at(slice(whole, None)).copy()
        if left is not None:
            yield from self._part(epoch, left, len(left.X))
        if not seen:
            once = "" if epoch == 0 else (
                "; an iterator can be gone through once, expected a list or a function that returns a new iterator"
            )  # fmt: skip
            raise ValueError(f"X gave no chunk in epoch {epoch + 1} of this call{once}")
        if not self._weight_sum:
            raise ValueError(f"the weights of all {seen} rows of the chunks are 0; expected at least one above 0")

    def _chunks(self, epoch: int) -> Iterator[tuple[Inputs, Array, Array | None, Array | None]]:
        given = self._given() if callable(self._given) else self._given
        if not hasattr(given, "__iter__"):
            raise TypeError(f"X() returned a {type(given).__name__}; expected an iterator of chunks (X, y)")
        for chunk, parts in enumerate(given):
            if not isinstance(parts, tuple | list) or len(parts) not in (2, 3):
                what = f"of length {len(parts)}" if isinstance(parts, tuple | list) else f"a {type(parts).__name__}"
                raise TypeError(
                    f"chunk {chunk} of X is {what}; expected a pair (X, y), as y is None and X gives the chunks, or "
                    "(X, y, sample_weight)"
                )
            sample_weight = parts[2] if len(parts) == 3 else None
            if self._weighted is None:
                self._weighted = sample_weight is not None
            elif self._weighted != (sample_weight is not None):
                has, had = ("no weights", "some") if self._weighted else ("weights", "none")
                raise ValueError(f"chunk {chunk} of X has {has} and the first one {had}; expected all chunks alike")
            yield self._prepared(parts[0], parts[1], sample_weight, f" of chunk {chunk}")

    def _part(self, epoch: int, rows: Rows, size: int) -> Iterator[Segment]:
        n, factors = len(rows.X), rows.factors
        total = float(n if factors is None else np.add.reduce(factors))
        if factors is not None and total:  # only the ratios within a batch count
            factors = weights.for_engine(factors, None, rows.y, self._settings["loss"], "rows")
        changes = {
            "batch_size": size,
            "shuffle": False,
            "first_epoch": self._settings["first_epoch"] + epoch,
            "first_row": self._n_rows,
            "weights": factors,
        }
        job = self._engine.job(rows.X, rows.y, **{**self._settings, **changes})
        self._rows, self._factors = rows, factors
        yield job, 0, job.steps_per_epoch
        if total:
            self._loss_sum += job.mean_loss * total
        self._weight_sum += total
        self._n_rows += n
        if job.predictions is not None:
            self._recorded.append(
                (job.predictions, rows.y.copy(), None if rows.samples is None else rows.samples.copy())
            )

    def mean_loss(self) -> float:
        """Return the mean loss over an epoch's rows."""
        return self._loss_sum / self._weight_sum

    @property
    def weights(self) -> Array | None:
        """The weights that the chunks brought along, in the order of the steps; None where they brought none."""
        found = [samples for _, _, samples in self._recorded if samples is not None]
        return np.concatenate(found) if found else None

    def predictions(self) -> tuple[Array, Array]:
        """Return each row's prediction before its batch's update, and the targets, in the order of the steps."""
        predictions, y, _ = zip(*self._recorded, strict=True)
        return np.concatenate(predictions), np.concatenate(y)

    def batch(self, job: Any, step: int) -> tuple[Inputs, Array, Array | None]:
        """Return a step's rows, and their weights as the engine has them."""
        at = self._at(job, step)
        return self._rows.X[at], self._rows.y[at], None if self._factors is None else self._factors[at]

    def weight_of(self, job: Any, step: int) -> float:
        """Return the sum of the weights of a step's rows, or how many they are where there are none."""
        at = self._at(job, step)
        return at.stop - at.start if self._factors is None else float(self._factors[at].sum())

    def _at(self, job: Any, step: int) -> slice:
        size = -(-len(self._rows.X) // int(job.steps_per_epoch))  # all steps of a part have as many
        first = max(step, 0) * size
        return slice(first, first + size)

    def located(self, error: NonFiniteData) -> NonFiniteData:
        """Return the error with the number of the chunk, and the row's in it."""
        number = int(self._rows.numbers[error.row])
        chunk = bisect_right(self._starts, number) - 1
        return NonFiniteData(f"{error.argument} of chunk {chunk}", number - self._starts[chunk])


def source(network: Sequential, engine: Any, X: Any, loss: Loss, class_weight: Any, settings: dict[str, Any]) -> Chunks:
    """Return the source of the chunks that ``fit`` was given as `X`.

    Parameters
    ----------
    network : Sequential
        What takes them.
    engine, X, loss, class_weight, settings
        The network's engine, the arguments of ``fit``, and the settings of the jobs.
    """

    def prepared(X: Any, y: Any, sample_weight: Any, of: str) -> tuple[Inputs, Array, Array | None, Array | None]:
        X = sparse.inputs(network.layers, X, "X" + of, network.dtype)
        network.layers[0].check_inputs(X, "X" + of)
        activation = network.layers[-1].activation
        y = targets.prepare(y, len(X), network.n_out, activation, loss, network.dtype, "y" + of)
        samples = weights.samples(sample_weight, len(X), "sample_weight" + of, none_counts=True)
        return X, y, weights.product(samples, class_weight, y, loss, network.n_out), samples

    return Chunks(engine, X, prepared, settings)
