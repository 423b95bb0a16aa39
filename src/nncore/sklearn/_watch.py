"""What looks at the epochs of a fit: rows to validate with, nncore's callbacks, and schedules that learn how it goes.

Callbacks see the estimator's network in the core as `Network`, and its solver as the optimizer.
"""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from nncore import callbacks as callbacks_of
from nncore import losses

if TYPE_CHECKING:
    from collections.abc import Callable

    Array = np.ndarray[Any, Any]


class Validation:
    """Rows that are held out.

    Parameters
    ----------
    model : Model
        Whose outputs are looked at.
    X, y, weights
        Of the rows; weights may be None.
    score : callable
        Of outputs, y and weights.
    loss : callable or None
        Likewise; None where nobody asks.
    """

    def __init__(
        self,
        model: Any,
        X: Any,
        y: Array,
        weights: Array | None,
        score: Callable[[Array, Array, Array | None], float],
        loss: Callable[[Array, Array, Array | None], float] | None,
    ) -> None:
        self._model = model
        self._given = y, weights
        self._X = X
        self._score = score
        self._loss = loss

    def look(self) -> tuple[float, float | None]:
        """Return score and loss by the weights that the core has."""
        outputs = self._model.outputs(self._X)
        loss = None if self._loss is None else self._loss(outputs, *self._given)
        return self._score(outputs, *self._given), loss


def mean_loss(
    outputs: Array,
    targets: Array,
    weights: Array | None,
    *,
    loss: Any,
    factor: float,
    constants: Array | None,
    eps: float,
) -> float:
    """Return factor times the mean loss of rows, plus their constants; probabilities stay `eps` off 0 and 1."""
    if not np.isfinite(outputs).all():
        return float("nan")
    if eps:
        outputs = np.clip(outputs, eps, 1 - eps)
    rows = factor * losses.get(loss).rows(outputs, targets)
    if constants is not None:
        rows = rows + constants
    return float(np.average(rows, weights=weights))


class Network:
    """The network of an estimator as callbacks see it.

    Parameters
    ----------
    engine
        Of the core.

    Attributes
    ----------
    stop_training : bool
        Whether the fit is to end after the epoch; callbacks set it.
    """

    def __init__(self, engine: Any) -> None:
        self.stop_training = False
        self._engine = engine

    def get_weights(self) -> list[Array]:
        """Return copies of the weights: W and b, gamma and beta, layer by layer."""
        return self._engine.get_weights()  # type: ignore[no-any-return]

    def set_weights(self, weights: list[Array]) -> None:
        """Copy in weights as `get_weights` gives them."""
        self._engine.set_weights(weights)

    def get_state(self) -> list[Array]:
        """Return copies of the running means and variances of batch normalisation."""
        return self._engine.get_state()  # type: ignore[no-any-return]

    def set_state(self, arrays: list[Array]) -> None:
        """Copy in what `get_state` gives."""
        self._engine.set_state(arrays)

    def predict(self, X: Any) -> Array:
        """Return the outputs for dense rows."""
        return self._engine.predict(np.ascontiguousarray(X, self._engine.dtype))  # type: ignore[no-any-return]


class _History:
    def __init__(self, names: list[str]) -> None:
        self.history: dict[str, list[float]] = {name: [] for name in names}


class _Run:
    """What the callbacks of `nncore.callbacks` ask of a run."""

    def __init__(self, names: list[str], epochs: int) -> None:
        self.history = _History(names)
        self.epoch, self.epochs = 0, epochs
        self._began = perf_counter()

    def seconds_left(self) -> float:
        """Return how long the epochs that may follow will take, 0 where it is not known."""
        if not self.epoch:
            return 0.0
        return (perf_counter() - self._began) / self.epoch * (self.epochs - self.epoch)


class Watch:
    """Callbacks and schedule of a fit; used in a ``with``, so that the callbacks hear of its end however it ends.

    Parameters
    ----------
    callbacks : tuple
        As given to the estimator.
    engine, solver
        What is trained, and by what.
    epochs, steps : int
        Most epochs, and the steps of each.
    names : list of str
        What is recorded.

    Raises
    ------
    TypeError, ValueError
        If a callback is none, watches what is not recorded, or is made for networks only.
    """

    def __init__(self, callbacks: Any, engine: Any, solver: Any, *, epochs: int, steps: int, names: list[str]) -> None:
        self.callbacks = callbacks_of.prepared(callbacks, None)
        self.network = Network(engine)
        self._run = _Run(names, epochs)
        self._schedule = solver.schedule
        if hasattr(self._schedule, "check_names"):
            self._schedule.check_names(names)
        for callback in self.callbacks:
            if isinstance(callback, callbacks_of.Checkpoint):
                raise ValueError("callbacks has a Checkpoint, which writes networks; joblib.dump writes estimators")
            if callback._wants_steps():
                raise ValueError(
                    f"callbacks has a {type(callback).__name__} with on_batch_end; an estimator calls on_epoch_end only"
                )
            callback._check(names, False)
        for callback in self.callbacks:
            callback.network = self.network  # type: ignore[assignment]
            callback.optimizer = solver
            callback.params = {"epochs": epochs, "steps": steps, "names": names}
            callback._run = self._run  # type: ignore[assignment]

    def __enter__(self) -> Watch:
        begun = []
        try:
            for callback in self.callbacks:
                begun.append(callback)
                callback.on_train_begin()
        except BaseException:
            self._end(begun)
            raise
        return self

    def __exit__(self, *of_error: object) -> None:
        self._end(self.callbacks)

    def _end(self, callbacks: Any) -> None:
        """Call the ends; then let go of the network, without which callbacks can be copied and pickled."""
        try:
            for callback in callbacks:
                callback.on_train_end()
        finally:
            for callback in self.callbacks:
                for name in ("network", "optimizer", "_run"):
                    callback.__dict__.pop(name, None)

    def epoch_begins(self, epoch: int) -> None:
        """Tell the callbacks."""
        for callback in self.callbacks:
            callback.on_epoch_begin(epoch)

    def epoch_ends(self, epoch: int, logs: dict[str, float]) -> bool:
        """Tell schedule and callbacks what an epoch recorded; return whether to stop."""
        self._run.epoch = epoch + 1
        for name, value in logs.items():
            self._run.history.history[name].append(value)
        if hasattr(self._schedule, "on_epoch_end"):
            self._schedule.on_epoch_end(logs)
        for callback in self.callbacks:
            callback.on_epoch_end(epoch, dict(logs))
        return self.network.stop_training
