"""What a training run recorded."""

from __future__ import annotations

from typing import TYPE_CHECKING

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
    """

    __slots__ = ("history",)

    def __init__(self, names: Iterable[str] = ("loss",)) -> None:
        self.history: dict[str, list[float]] = {name: [] for name in names}

    @property
    def epochs(self) -> int:
        """Number of finished epochs."""
        return len(self.history["loss"])

    def __repr__(self) -> str:
        last = ", ".join(f"{name}={values[-1]:.4g}" for name, values in self.history.items() if values)
        return f"History(epochs={self.epochs}{', ' if last else ''}{last})"
