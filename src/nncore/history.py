"""What a training run recorded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable


class History:
    """The record of a call of ``fit``, epoch by epoch.

    Parameters
    ----------
    names : iterable of str
        What is recorded.

    Attributes
    ----------
    history : dict of str to list of float
        One value for each finished epoch: "loss", each metric by its name, and with validation data "val_loss" and
        "val_" + metric. The loss and the metrics of training come from the predictions that each row had before its
        batch's update; those of validation from the weights at the epoch's end.
    stopped : str or None
        Why training ended: "epochs", as many as asked for; "early stopping"; "max_seconds"; "callback", which set
        `stop_training`; "interrupt", Ctrl-C. None while it goes on, and where an error ended it.
    seconds : float
        How long it took, without the checks of the arguments; with what was done before where it was resumed.
    """

    __slots__ = ("history", "seconds", "stopped")

    def __init__(self, names: Iterable[str] = ("loss",)) -> None:
        self.history: dict[str, list[float]] = {name: [] for name in names}
        self.stopped: str | None = None
        self.seconds = 0.0

    @property
    def epochs(self) -> int:
        """Number of finished epochs."""
        return len(self.history["loss"])

    def plot(self, *args: Any, **kwargs: Any) -> Any:
        """Draw the curves over the epochs; see `nncore.plot.history`, which takes the arguments.

        Raises
        ------
        ImportError
            If matplotlib, or this module of nncore, is not installed.
        """
        from importlib import import_module  # matplotlib is optional, and few programs draw

        return import_module("nncore.plot").history(self, *args, **kwargs)

    def __repr__(self) -> str:
        last = ", ".join(f"{name}={values[-1]:.4g}" for name, values in self.history.items() if values)
        return f"History(epochs={self.epochs}{', ' if last else ''}{last})"
