"""The loop over epochs: calls of the engine, what is done between them, and the way back where one fails.

An epoch is either done as a whole, with its entries in the history, or it is not counted. An error in it, be it of the
data, of a metric or of a callback, brings weights and optimizer back to its start; Ctrl-C, a time budget and a callback
that stops within it keep the steps that were done.
"""

from __future__ import annotations

from math import ceil
from time import perf_counter
from typing import TYPE_CHECKING, Any

from nncore.errors import DivergenceError, NonFiniteData, NonFiniteLoss
from nncore.metrics import value_of

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

    from nncore.callbacks import Callback
    from nncore.chunks import Chunks
    from nncore.history import History
    from nncore.losses import Loss
    from nncore.network import Sequential
    from nncore.optimizers import Optimizer
    from nncore.sources import Arrays

    Array = np.ndarray[Any, Any]

# A call of the engine should last about this long, so that Ctrl-C is heard between two of them.
_SECONDS_PER_CALL = 0.05
_LEAST_SECONDS_LEFT = 1.0  # shorter waits are not announced


def undo(error: BaseException, engine: Any, optimizer: Optimizer, slots: Any, snapshot: Any, steps: int) -> None:
    """Bring weights, slots and the optimizer's count back, unless an interrupt has left all numbers finite.

    Parameters
    ----------
    error : BaseException
        What ended the steps.
    engine, optimizer, slots
        What they changed.
    snapshot, steps
        What ``engine.snapshot(slots)`` and the optimizer's count were before them.
    """
    if isinstance(error, Exception) or not engine.finite(slots):
        engine.restore(snapshot, slots)
        optimizer.steps = steps


class Pace:
    """How long a step takes: a cautious guess at first, then as long as in the latest call.

    Parameters
    ----------
    multiplications_per_pass : float
        Of a step's forward pass.
    """

    __slots__ = ("seconds_per_step",)

    def __init__(self, multiplications_per_pass: float) -> None:
        # Forward and backward are three passes of two operations each, at 5 GFLOP/s or more.
        self.seconds_per_step = 2e-5 + 6 * multiplications_per_pass / 5e9

    def be_careful(self) -> None:
        """Begin with a single step, and do more as they turn out to be quick."""
        self.seconds_per_step = _SECONDS_PER_CALL

    def steps(self) -> int:
        """Return how many steps the next call should have."""
        return max(1, int(_SECONDS_PER_CALL / self.seconds_per_step))

    def took(self, n_steps: int, seconds: float) -> None:
        """Take note of a call."""
        # An epoch's last batch may be short and quick: no call says more than that a step is a fifth quicker.
        self.seconds_per_step = max(seconds / n_steps, 0.8 * self.seconds_per_step) + 1e-9


class Run:
    """A call of ``fit`` whose arguments have been checked.

    Parameters
    ----------
    network : Sequential
        What is trained.
    engine
        What does the steps.
    source : Arrays or Chunks
        Its data.
    optimizer, slots
        How, and the optimizer's memory.
    history : History
        The record, with the epochs that a run that is resumed has done.
    epochs : int
        When to end.
    multiplications : float
        Of a step's forward pass, about.
    validation : callable or None
        Returns what to record of the validation data.
    measures : dict of str to callable
        The metrics.
    verbose : bool or int
        Whether to print a line for each epoch.

    Attributes
    ----------
    epoch : int
        Number of finished epochs; the index of the one under way.
    position : int
        Steps done in the epoch under way.
    settings : dict
        What a run that resumes this one must have in common with it.
    """

    # Not in __slots__: so the calls that need none of these, and may be short, have nothing to set.
    callbacks: tuple[Callback, ...] = ()
    batch_callbacks: tuple[Callback, ...] = ()
    pausing: tuple[Callback, ...] = ()
    deadline: float | None = None
    settings: dict[str, Any] = {}  # noqa: RUF012 - replaced, never changed
    stopped: str | None = None
    position = 0
    _between = False  # whether there is something to do between two calls of the engine
    _seen = 0.0

    def __init__(
        self,
        network: Sequential,
        engine: Any,
        source: Arrays | Chunks,
        optimizer: Optimizer,
        slots: Any,
        history: History,
        epochs: int,
        multiplications: float,
        loss: Loss,
        measures: dict[str, Callable[[Any, Any], float]],
        validation: Callable[[], dict[str, float]] | None,
        verbose: bool | int,
    ) -> None:
        self.network = network
        self.engine = engine
        self.source = source
        self.optimizer = optimizer
        self.slots = slots
        self.history = history
        self.epochs = epochs
        self.loss = loss
        self.measures = measures
        self.validation = validation
        self.verbose = verbose
        self._first = history.epochs
        self.pace = Pace(multiplications)
        self._snapshot: Any = None
        self.began = perf_counter()

    def watch(self, callbacks: tuple[Callback, ...], max_seconds: float | None, settings: dict[str, Any]) -> None:
        """Set what is to be called, when to end at the latest, and what a checkpoint should say of the call."""
        self.settings = settings
        params = {"epochs": self.epochs, "steps": self.source.steps_per_epoch, "names": list(self.history.history)}
        for callback in callbacks:
            callback.network, callback.optimizer, callback._run = self.network, self.optimizer, self
            callback.params = dict(params)
        self.network.stop_training = False
        self.callbacks = callbacks
        self.batch_callbacks = tuple(c for c in callbacks if c._wants_steps())
        self.pausing = tuple(c for c in callbacks if c._wants_pauses())
        self.deadline = None if max_seconds is None else self.began + max_seconds
        self._between = bool(callbacks) or max_seconds is not None

    @property
    def epoch(self) -> int:
        """Number of finished epochs; the index of the one under way."""
        return self.history.epochs

    def elapsed(self) -> float:
        """Return how many seconds this call has been training."""
        return perf_counter() - self.began

    def train(self) -> None:
        """Train until there is a reason to stop, which the history then has."""
        history = self.history
        earlier = history.seconds
        called: list[Callback] = []
        try:
            if self.callbacks:
                for callback in self.callbacks:
                    called.append(callback)
                    callback.on_train_begin()
                self._see_stop(self.callbacks)
            while self.stopped is None and len(history.history["loss"]) < self.epochs:
                self._one_epoch()
            history.stopped = self.stopped or "epochs"
        except KeyboardInterrupt:
            history.stopped = "interrupt"
            raise
        finally:
            history.seconds = earlier + (perf_counter() - self.began)
            if called:
                self._end(called)

    def _end(self, callbacks: list[Callback]) -> None:
        from contextlib import ExitStack

        with ExitStack() as stack:  # each is called, also where another one fails
            for callback in reversed(callbacks):
                stack.callback(callback.__dict__.pop, "_run")  # it has the data, and a callback may live long
                stack.callback(callback.on_train_end)

    def _one_epoch(self) -> None:
        network, records = self.network, self.history.history
        epoch, trained = len(records["loss"]), network._epochs_trained
        for callback in self.callbacks:
            callback.on_epoch_begin(epoch)
        engine, optimizer, slots = self.engine, self.optimizer, self.slots
        self._snapshot, steps = engine.snapshot(slots, self._snapshot), optimizer.steps
        try:
            if not self._steps_of_epoch(epoch - self._first):
                return
            logs = self._logs()
            for name, value in logs.items():
                records[name].append(value)
            optimizer.on_epoch_end(logs)
            if self.position:
                self.position = 0
            network._epochs_trained = trained + 1
        except BaseException as error:
            if network._epochs_trained == trained:
                for values in records.values():  # where Ctrl-C came between two of them
                    del values[epoch:]
                undo(error, engine, optimizer, slots, self._snapshot, steps)
            raise
        if self.verbose:
            self._print(epoch, logs)
        if self._between:
            for callback in self.callbacks:
                callback.on_epoch_end(epoch, logs)
            self._see_stop(self.callbacks)
            self._see_deadline()

    def _steps_of_epoch(self, epoch: int) -> bool:
        """Do an epoch's steps; say whether all of them."""
        pace, engine, done = self.pace, self.engine, self.position
        for job, step, end in self.source.segments(epoch, done):
            while step < end:
                n_steps = min(pace.steps(), end - step)
                if self._between:
                    if self.stopped is not None:
                        if not engine.finite(self.slots):
                            raise self._diverged(NonFiniteLoss(step - 1), job, done - 1)
                        return False
                    n_steps = self._bound(n_steps, job, step)
                started = perf_counter()
                try:
                    engine.run(job, step, n_steps)
                except NonFiniteLoss as error:
                    raise self._diverged(error, job, done + error.step - step) from None
                except NonFiniteData as error:
                    raise self.source.located(error) from None
                pace.took(n_steps, perf_counter() - started)
                step += n_steps
                done += n_steps
                if self._between:
                    self._pause(job, step - 1, done)
        if not engine.finite(self.slots):
            raise self._diverged(NonFiniteLoss(step - 1), job, done - 1)
        return True

    def _diverged(self, error: NonFiniteLoss, job: Any, step: int) -> DivergenceError:
        from nncore.divergence import report

        X, y, weights = self.source.batch(job, error.step)
        return report(self.network, error, X, y, weights, self.loss, self.optimizer, self.epoch + 1, step + 1)

    def _logs(self) -> dict[str, float]:
        source = self.source
        logs = {"loss": source.mean_loss()}
        if self.measures:
            predictions, y = source.predictions()
            for name, metric in self.measures.items():
                logs[name] = value_of(metric, predictions, y, source.weights)
        if self.validation is not None:
            logs.update({"val_" + name: value for name, value in self.validation().items()})
        return logs

    # ------------------------------------------------------------------------------------------ between two calls

    def _bound(self, n_steps: int, job: Any, step: int) -> int:
        """Return how many of so many steps to do at most before something else has its turn."""
        if self.batch_callbacks:
            self._seen = 0.0 if step % job.steps_per_epoch == 0 else job.loss_sum
            return 1
        if self.deadline is not None:
            left = (self.deadline - perf_counter()) / self.pace.seconds_per_step
            return max(1, ceil(min(float(n_steps), left)))
        return n_steps

    def _pause(self, job: Any, step: int, done: int) -> None:
        self.position = done
        if self.batch_callbacks:
            weight = self.source.weight_of(job, step)
            logs = {"loss": (job.loss_sum - self._seen) / weight if weight else 0.0}
            for callback in self.batch_callbacks:
                callback.on_batch_end(done - 1, logs)
            self._see_stop(self.batch_callbacks)
        for callback in self.pausing:
            callback._on_pause(done)
        self._see_deadline()

    def _see_stop(self, callbacks: tuple[Callback, ...]) -> None:
        if self.stopped is None and callbacks and self.network.stop_training:
            self.stopped = next((c._reason for c in callbacks if c._reason is not None), "callback")

    def _see_deadline(self) -> None:
        if self.stopped is None and self.deadline is not None and perf_counter() >= self.deadline:
            self.stopped = "max_seconds"

    def seconds_left(self) -> float:
        """Return how long the epochs to come will take, as those of this call took, within the budget."""
        now = perf_counter()
        epoch = self.epoch
        steps = self.source.steps_per_epoch
        done = epoch - self._first + (self.position / steps if steps else 0)
        left = (now - self.began) / done * (self.epochs - self._first - done) if done else 0.0
        return left if self.deadline is None else max(0.0, min(left, self.deadline - now))

    def _print(self, epoch: int, logs: dict[str, float]) -> None:
        values = "  ".join(f"{name} {value:.4g}" for name, value in logs.items())
        left = self.seconds_left()
        wait = f"  {duration(left)} left" if left >= _LEAST_SECONDS_LEFT else ""
        print(f"epoch {epoch + 1:{len(str(self.epochs))}d}/{self.epochs}  {values}{wait}", flush=True)


def duration(seconds: float) -> str:
    """Return a time as people read it: ``"8 s"``, ``"2:05"`` or ``"1:00:00"``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
