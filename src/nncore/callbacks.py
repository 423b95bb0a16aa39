"""Callbacks: what ``fit`` calls between epochs and steps, and those that are often wanted.

>>> import nncore as nn
>>> net = nn.MLP([64, 32, 10], output="softmax")
>>> X, y = nn.datasets.load_digits(return_X_y=True)
>>> stop = nn.callbacks.EarlyStopping(patience=5)
>>> history = net.fit(X / 16, y, epochs=200, validation_split=0.2, callbacks=[stop])
>>> history.stopped
'early stopping'
"""

from __future__ import annotations

import csv
import io
import math
import os
from typing import TYPE_CHECKING, Any

import numpy as np

from nncore import checks, files
from nncore._callback import Callback
from nncore.progress import ProgressBar

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import IO

    from nncore.network import Sequential

    Array = np.ndarray[Any, Any]

__all__ = ["CSVLogger", "Callback", "Checkpoint", "EarlyStopping", "ProgressBar"]

# Which way is better, of what the library itself records; each also with "val_" before it.
_LOWER_IS_BETTER = frozenset(("loss", "mse", "mae", "log_loss", "rmse"))
_HIGHER_IS_BETTER = frozenset(("accuracy", "balanced_accuracy", "precision", "recall", "f1", "roc_auc", "r2"))


class _Monitor(Callback):
    """What watches a recorded value for improvement."""

    def __init__(self, monitor: str | None, min_delta: float, mode: str) -> None:
        if monitor is not None and not isinstance(monitor, str):
            raise TypeError(f"monitor is of type {type(monitor).__name__}; expected the name of what is recorded")
        self.monitor = monitor
        self.min_delta = checks.finite_float(min_delta, "min_delta", low=0.0)
        self.mode = checks.one_of(mode, "mode", ("auto", "min", "max"))
        self._fresh()
        self._resumed = False

    def _fresh(self) -> None:
        self.best: float | None = None
        self.best_epoch: int | None = None

    def _check(self, names: list[str], chunks: bool) -> None:
        self._watched = self.monitor or ("val_loss" if "val_loss" in names else "loss")
        kind = type(self).__name__
        if self._watched not in names:
            raise ValueError(
                f"{kind}'s monitor is {self._watched!r}; this fit records {', '.join(map(repr, names))}"
                + (
                    ""
                    if not self._watched.startswith("val_")
                    else " (validation_data or validation_split adds val_loss)"
                )
            )
        plain = self._watched.removeprefix("val_")
        if self.mode == "auto" and plain not in _LOWER_IS_BETTER | _HIGHER_IS_BETTER:
            raise ValueError(
                f"{kind}'s mode is 'auto' and it is not known which way {self._watched!r} is better; "
                "expected mode='min' or mode='max'"
            )
        self._sign = 1.0 if self.mode == "min" or (self.mode == "auto" and plain in _LOWER_IS_BETTER) else -1.0

    def on_train_begin(self) -> None:
        """Begin anew, unless the state of an earlier run has been loaded."""
        if not self._resumed:
            self._fresh()
        self._resumed = False

    def _improved(self, epoch: int, logs: dict[str, float]) -> bool:
        """Say whether this epoch is better than all before by more than `min_delta`, and take note of it."""
        value = logs[self._watched]
        if math.isnan(value) or (self.best is not None and not self._sign * (self.best - value) > self.min_delta):
            return False
        self.best, self.best_epoch = value, epoch
        return True

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint keeps."""
        return {"best": self.best, "best_epoch": self.best_epoch}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take over what `state` gave."""
        best, epoch = state["best"], state["best_epoch"]
        if best is not None:
            if not isinstance(best, float | int) or math.isnan(best):
                raise ValueError(f"best is {best!r}; expected a number")
            epoch = checks.non_negative_int(epoch, "best_epoch")
        self.best, self.best_epoch = best, epoch
        self._resumed = True


class EarlyStopping(_Monitor):
    """End training when a recorded value has not improved for some epochs, and bring back the best weights.

    Parameters
    ----------
    monitor : str, optional
        What to watch: "val_loss", "loss", or a metric, with or without "val_". None takes "val_loss" where there is
        validation and "loss" elsewhere.
    patience : int, default 10
        After how many epochs without improvement training ends; at least 1.
    min_delta : float, default 0
        By how much a value must be better than the best to count, at least 0.
    mode : {"auto", "min", "max"}
        Which way is better; "auto" knows it for the losses and metrics of this library.
    restore_best : bool, default True
        Whether the network gets the weights of the best epoch's end, however training ends: also after its last epoch,
        by `max_seconds`, by Ctrl-C or by an error.

    Attributes
    ----------
    best : float or None
        The best value.
    best_epoch : int or None
        Its epoch, counted from 0.

    Raises
    ------
    TypeError, ValueError
        If a parameter does not fit; from ``fit``, if what is watched is not recorded, or "auto" does not know it.

    Notes
    -----
    L. Prechelt, "Early stopping - but when?", 1998. The loss of training is that of each row before its batch's update;
    where it is watched, the best weights are those at the end of the epoch of the lowest.
    """

    def __init__(
        self,
        monitor: str | None = None,
        patience: int = 10,
        min_delta: float = 0.0,
        mode: str = "auto",
        restore_best: bool = True,
    ) -> None:
        super().__init__(monitor, min_delta, mode)
        self.patience = checks.positive_int(patience, "patience")
        self.restore_best = checks.boolean(restore_best, "restore_best")

    def _stops_by_validation(self) -> bool:
        return self.monitor is None or self.monitor.startswith("val_")

    def _fresh(self) -> None:
        super()._fresh()
        self._wait = 0
        self._weights: list[Array] | None = None
        self._reason = None

    def on_train_begin(self) -> None:
        """Begin anew, or go on: a run that this had ended stays ended."""
        super().on_train_begin()
        if self._reason is not None:
            self.network.stop_training = True

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        """Keep the weights if they are the best so far, or stop."""
        if self._improved(epoch, logs):
            self._wait = 0
            if self.restore_best:
                self._weights = _weights(self.network)
            return
        self._wait += 1
        if self._wait >= self.patience:
            self._reason = "early stopping"
            self.network.stop_training = True

    def on_train_end(self) -> None:
        """Bring back the best weights."""
        if self._weights is not None:
            _set_weights(self.network, self._weights)
            self._weights = None

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint keeps: best value, weights, and how long it is ago."""
        return {**super().state(), "wait": self._wait, "stopped": self._reason is not None, "weights": self._weights}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take over what `state` gave."""
        wait, weights = checks.non_negative_int(state["wait"], "wait"), state["weights"]
        if weights is not None:
            found = [checks.numeric(array, "weights") for array in weights]
            if [array.shape for array in found] != [array.shape for array in _weights(self.network)]:
                raise ValueError("the best weights have not the shapes of this network's")
            if not all(math.isfinite(array.sum()) for array in found):
                raise ValueError("the best weights are not finite")
        super().load_state(state)
        self._wait, self._weights = wait, weights
        self._reason = "early stopping" if state["stopped"] else None

    def __repr__(self) -> str:
        return f"EarlyStopping(monitor={self.monitor!r}, patience={self.patience})"


class Checkpoint(_Monitor):
    """Write all that training consists of to a file, from which ``fit(..., resume=path)`` goes on.

    A run that goes on from a checkpoint ends with the same bits as one that was never interrupted. The file is written
    beside its place and then put there in one go, so that whenever a process ends there is a whole one. It is also a
    model file, which `nncore.load` reads.

    Parameters
    ----------
    path : path_like
        The file.
    every : int, default 1
        After how many epochs to write.
    save_best_only : bool, default False
        Whether to write only after an epoch that is better than all before.
    monitor : str, optional
        What says which is better, as for `EarlyStopping`.
    mode : {"auto", "min", "max"}
        As for `EarlyStopping`.
    steps : int, optional
        After how many steps to write within an epoch as well, for epochs that take long. Each step is then a call of
        its own; not for chunks.

    Raises
    ------
    TypeError, ValueError
        If a parameter does not fit.
    OSError
        From ``fit``, if the file cannot be written.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        every: int = 1,
        save_best_only: bool = False,
        monitor: str | None = None,
        mode: str = "auto",
        steps: int | None = None,
    ) -> None:
        super().__init__(monitor, 0.0, mode)
        self.path = _path(path)
        self.every = checks.positive_int(every, "every")
        self.save_best_only = checks.boolean(save_best_only, "save_best_only")
        if self.save_best_only and steps is not None:
            raise ValueError("save_best_only and steps are both given; within an epoch it is not known what is best")
        self.steps = None if steps is None else checks.positive_int(steps, "steps")

    def _check(self, names: list[str], chunks: bool) -> None:
        if self.save_best_only:
            super()._check(names, chunks)
        if self.steps is not None and chunks:
            raise ValueError("Checkpoint's steps is given and X gives chunks, within which no run can go on")

    def on_train_begin(self) -> None:
        """Begin anew, or go on; what a process that was killed while it wrote has left is removed."""
        super().on_train_begin()
        files.clear(self.path)

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        """Write, if it is time to."""
        if (epoch + 1) % self.every == 0 and (not self.save_best_only or self._improved(epoch, logs)):
            self._write()

    def on_batch_end(self, step: int, logs: dict[str, float]) -> None:
        """Write, if it is time to and the epoch goes on."""
        if self.steps is not None and (step + 1) % self.steps == 0 and step + 1 < self.params["steps"]:
            self._write()

    def _wants_steps(self) -> bool:
        return self.steps is not None or type(self).on_batch_end is not Checkpoint.on_batch_end

    def _write(self) -> None:
        from nncore.checkpoints import write

        write(self.path, self._run)

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint keeps: the best value, where that is asked for."""
        return super().state() if self.save_best_only else {}

    def __repr__(self) -> str:
        return f"Checkpoint({self.path!r}, every={self.every})"


class CSVLogger(Callback):
    """Write the history to a CSV file, a line for each epoch as it ends.

    The columns are "epoch", counted from 0, and what the history records, with all digits. An existing file is
    replaced, in one go; a run that is resumed writes the epochs that it has not repeated as well.

    Parameters
    ----------
    path : path_like
        The file.

    Raises
    ------
    TypeError
        If `path` is none.
    OSError
        From ``fit``, if the file cannot be written.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = _path(path)
        self._file: IO[str] | None = None
        self._writer: Any = None

    def on_train_begin(self) -> None:
        """Write the head, and the epochs that are done already."""
        files.replace(self.path, self._write_beginning)
        self._file = open(self.path, "a", newline="", encoding="utf-8")  # noqa: SIM115
        self._writer = csv.writer(self._file)

    def _write_beginning(self, file: IO[bytes]) -> None:
        text = io.StringIO(newline="")
        writer = csv.writer(text)
        records = self._run.history.history
        writer.writerow(["epoch", *records])
        for epoch, values in enumerate(zip(*records.values(), strict=True)):
            writer.writerow([epoch, *map(repr, values)])
        file.write(text.getvalue().encode())

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        """Write a line."""
        assert self._file is not None
        self._writer.writerow([epoch, *map(repr, logs.values())])
        self._file.flush()

    def on_train_end(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = self._writer = None

    def __getstate__(self) -> dict[str, Any]:
        """Return what copies are made of; they have no file open."""
        return {**super().__getstate__(), "_file": None, "_writer": None}

    def __repr__(self) -> str:
        return f"CSVLogger({self.path!r})"


def _weights(network: Sequential) -> list[Array]:
    """Return the weights, and after them what layers keep beside these, where they do."""
    return [*network.get_weights(), *(network.get_state() if hasattr(network, "get_state") else ())]


def _set_weights(network: Sequential, arrays: list[Array]) -> None:
    n = len(network.get_weights())
    network.set_weights(arrays[:n])
    if len(arrays) > n:
        network.set_state(arrays[n:])


def _path(path: str | os.PathLike[str]) -> str:
    if not isinstance(path, str | os.PathLike):
        raise TypeError(f"path is of type {type(path).__name__}; expected a string or a path object")
    name = os.fspath(path)
    if not isinstance(name, str):
        raise TypeError(f"path is of type {type(path).__name__}; expected a string or a path object")
    return name


def prepared(callbacks: Any, early_stopping: Any) -> tuple[Callback, ...]:
    """Return the callbacks of a call of ``fit`` in the order in which they are called.

    Early stopping comes first and checkpoints last, so that these see what the others have made of an epoch.

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit.
    """
    if isinstance(callbacks, Callback):
        callbacks = (callbacks,)
    if not hasattr(callbacks, "__iter__"):
        raise TypeError(
            f"callbacks is of type {type(callbacks).__name__}; expected Callback objects, in a list or alone"
        )
    result = list(callbacks)
    for callback in result:
        if not isinstance(callback, Callback):
            what = f"the class {callback.__name__}" if isinstance(callback, type) else f"a {type(callback).__name__}"
            raise TypeError(f"callbacks has {what}; expected objects of class Callback")
    if isinstance(early_stopping, np.bool_):
        early_stopping = bool(early_stopping)
    if isinstance(early_stopping, EarlyStopping):
        result.append(early_stopping)
    elif early_stopping is True:
        result.append(EarlyStopping())
    elif early_stopping is not None and early_stopping is not False:
        if isinstance(early_stopping, float | str) or not hasattr(early_stopping, "__index__"):
            raise TypeError(
                f"early_stopping is {early_stopping!r}; expected None, True, a patience or an EarlyStopping object"
            )
        result.append(EarlyStopping(patience=checks.positive_int(early_stopping, "early_stopping")))
    if len(set(map(id, result))) < len(result):
        raise ValueError("callbacks has the same object twice; expected different ones")
    result.sort(key=lambda callback: (not isinstance(callback, EarlyStopping)) + isinstance(callback, Checkpoint))
    return tuple(result)
