"""What shows how far training is: tqdm's bar where it is installed, else a line that is written over."""

from __future__ import annotations

import shutil
import sys
from typing import TYPE_CHECKING, Any

from nncore import checks
from nncore._callback import Callback
from nncore.fitting import duration

if TYPE_CHECKING:
    from typing import TextIO


def terminal() -> bool:
    """Say whether standard output is a terminal."""
    return sys.stdout is not None and sys.stdout.isatty()


def bar(epochs: int) -> Any:
    """Return what draws on standard output: tqdm's, or a `Line`."""
    try:
        from tqdm.auto import tqdm  # optional, and a program without a bar need not load it
    except ImportError:
        return Line(epochs, sys.stdout)
    return Tqdm(tqdm(total=epochs, file=sys.stdout, unit="epoch", bar_format=_FORMAT))


# tqdm's own format, but for the fraction of an epoch that has been done.
_FORMAT = "{desc}{percentage:3.0f}%|{bar}| {n:.1f}/{total} [{elapsed}<{remaining}{postfix}]"


class Line:
    """A line that is written over.

    Parameters
    ----------
    epochs : int
        How many there will be.
    file : text file
        Where to.
    """

    def __init__(self, epochs: int, file: TextIO) -> None:
        self._epochs = epochs
        self._file = file
        self._width = 0

    def show(self, done: float, logs: dict[str, float], left: str) -> None:
        """Write over what there was: epochs that are `done`, the latest values, and the time that is left."""
        values = "".join(f"  {name} {value:.4g}" for name, value in logs.items())
        share = 100 * done / self._epochs if self._epochs else 100
        text = f"{share:3.0f} %  {done:.1f}/{self._epochs} epochs{values}  {left}".rstrip()
        text = text[: shutil.get_terminal_size().columns - 1]
        self._file.write("\r" + text.ljust(self._width))
        self._file.flush()
        self._width = len(text)

    def close(self) -> None:
        """End the line."""
        self._file.write("\n")
        self._file.flush()


class Tqdm:
    """A bar of tqdm.

    Parameters
    ----------
    drawn : tqdm.tqdm
        The bar.
    """

    def __init__(self, drawn: Any) -> None:
        self._drawn = drawn

    def show(self, done: float, logs: dict[str, float], left: str) -> None:
        """Draw epochs that are `done` and the latest values; tqdm knows the time that is left itself."""
        if logs:
            self._drawn.set_postfix({name: f"{value:.4g}" for name, value in logs.items()}, refresh=False)
        self._drawn.update(done - self._drawn.n)

    def close(self) -> None:
        """Leave the bar as it is."""
        self._drawn.refresh()
        self._drawn.close()


class ProgressBar(Callback):
    """Show how far training is, with the latest losses and metrics and how long it will take.

    With tqdm installed (``pip install "nncore[progress]"``) it is tqdm's bar, elsewhere a plain line that is written
    over. Nothing is shown where standard output is not a terminal.

    Parameters
    ----------
    show : bool, optional
        True shows it anywhere, False nowhere. None asks whether standard output is a terminal.

    Raises
    ------
    TypeError
        If `show` is something else.

    Notes
    -----
    tqdm and not rich: it has no dependencies and is imported in a fraction of the time.
    """

    def __init__(self, show: bool | None = None) -> None:
        self.show = None if show is None else checks.boolean(show, "show")
        self._bar: Any = None

    def __getstate__(self) -> dict[str, Any]:
        """Return what copies are made of; they draw nothing."""
        return {**super().__getstate__(), "_bar": None}

    def __repr__(self) -> str:
        return f"ProgressBar({'' if self.show is None else f'show={self.show}'})"

    def on_train_begin(self) -> None:
        """Draw the bar."""
        self._logs: dict[str, float] = {}
        if terminal() if self.show is None else self.show:
            self._bar = bar(self.params["epochs"])
            self._draw(self._run.epoch)

    def _wants_pauses(self) -> bool:
        return self.show is not False

    def _on_pause(self, done: int) -> None:
        steps = self.params["steps"]
        if self._bar is not None and steps and done < steps:
            self._draw(self._run.epoch + done / steps)

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        """Draw what is new."""
        self._logs = logs
        if self._bar is not None:
            self._draw(epoch + 1)

    def _draw(self, done: float) -> None:
        left = self._run.seconds_left()
        self._bar.show(done, self._logs, f"{duration(left)} left" if left else "")

    def on_train_end(self) -> None:
        """Leave the bar as it is."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None
