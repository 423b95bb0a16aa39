"""What a callback is; those that there are, are in `callbacks`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nncore.fitting import Run
    from nncore.network import Sequential
    from nncore.optimizers import Optimizer


class Callback:
    """Base class: override what is to be called.

    To end training set ``self.network.stop_training = True``: ``fit`` then ends after the epoch, or after the step
    where `on_batch_end` sets it, and ``history.stopped`` is "callback". An exception in a callback ends training as
    well; one in `on_batch_end` brings the network back to the start of the epoch.

    Attributes
    ----------
    network : Sequential
        The network that is trained; its weights may be read and set.
    optimizer : Optimizer
        What trains it; its learning rate may be set.
    params : dict
        "epochs", as given to ``fit``; "steps", of an epoch, None where it is not known; "names", what is recorded.
    """

    network: Sequential
    optimizer: Optimizer
    params: dict[str, Any]
    _run: Run
    _reason: str | None = None  # why training stopped, if it was this callback that stopped it

    def on_train_begin(self) -> None:
        """Do something before the first epoch."""

    def on_epoch_begin(self, epoch: int) -> None:
        """Do something before an epoch, whose index is counted from 0."""

    def on_batch_end(self, step: int, logs: dict[str, float]) -> None:
        """Do something after a step, whose index in its epoch is counted from 0.

        `logs` has the mean "loss" of the step's rows before its update. Where a callback overrides this, each step is a
        call of its own into the core, which costs some microseconds; without one an epoch is few calls.
        """

    def _stops_by_validation(self) -> bool:
        """Say whether what is recorded of the validation decides when training ends."""
        return False

    def _check(self, names: list[str], chunks: bool) -> None:
        """Refuse a run that this is not made for: `names` is what it records, `chunks` whether X gives chunks."""

    def _wants_steps(self) -> bool:
        """Say whether `on_batch_end` is to be called."""
        return type(self).on_batch_end is not Callback.on_batch_end

    def _wants_pauses(self) -> bool:
        """Say whether `_on_pause` is to be called."""
        return False

    def _on_pause(self, done: int) -> None:
        """Do something between two calls of the core, some 50 ms apart, after `done` steps of the epoch."""

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        """Do something after an epoch, whose index is counted from 0; `logs` is what the history records of it."""

    def on_train_end(self) -> None:
        """Do something at the end, however training ends; an interrupt or an error goes on its way after it."""

    def __getstate__(self) -> dict[str, Any]:
        """Return what copies and pickles are made of: all but the run under way, which has the data and the engine."""
        return {name: value for name, value in self.__dict__.items() if name != "_run"}

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint keeps of this callback.

        Returns
        -------
        dict
            Of numbers, strings, None, arrays, and lists and dicts of these. An empty one is not kept.
        """
        return {}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take over what `state` gave, before `on_train_begin` of the run that goes on."""
