"""The exceptions and warnings of the library.

Refused arguments are plain `ValueError` or `TypeError`. The classes here are for what only a run can show: data
that turn out not to be finite as they are gathered, a loss that overflows, a perceptron that never settles. Both
engines raise `NonFiniteData` and `NonFiniteLoss`; training adds where it was and raises `DivergenceError`.

Each exception keeps its constructor's arguments in `args`, so that it survives pickling between processes.
"""

from __future__ import annotations


class ConvergenceWarning(UserWarning):
    """Training ended at its limit of epochs without having converged."""


class DivergenceError(ArithmeticError):
    """Training left the finite numbers, and was stopped.

    The network is back in a finite state when this is raised.

    Parameters
    ----------
    epoch : int, optional
        Epoch in which it happened, counted from 1 as in the progress lines.
    step : int, optional
        Step within that epoch, counted from 1.
    layer : int, optional
        Index, from 0, of the first layer whose output is not finite.

    Attributes
    ----------
    epoch, step, layer : int or None
        The parameters; None where it is not known.

    Examples
    --------
    >>> print(DivergenceError(epoch=2, step=17))
    the loss is not finite at epoch 2, step 17; scale the data or lower the learning rate
    """

    def __init__(self, epoch: int | None = None, step: int | None = None, layer: int | None = None) -> None:
        super().__init__(epoch, step, layer)
        self.epoch = epoch
        self.step = step
        self.layer = layer

    def __str__(self) -> str:
        """Return the message."""
        known = (("epoch", self.epoch), ("step", self.step))
        places = [f"{word} {number}" for word, number in known if number is not None]
        where = f" at {', '.join(places)}" if places else ""
        first = "" if self.layer is None else f" (layer {self.layer} is the first whose output is not finite)"
        return f"the loss is not finite{where}{first}; scale the data or lower the learning rate"


class NonFiniteData(ValueError):
    """A row of the data holds NaN or infinity.

    Parameters
    ----------
    argument : str
        Name of the argument, ``"X"`` or ``"y"``.
    row : int
        Index of the row in the array that was given.

    Attributes
    ----------
    argument : str
    row : int
        The parameters.
    """

    def __init__(self, argument: str, row: int) -> None:
        super().__init__(argument, row)
        self.argument = argument
        self.row = row

    def __str__(self) -> str:
        """Return the message."""
        return f"{self.argument} has a non-finite value (NaN or infinity) in row {self.row}; expected finite numbers"


class NonFiniteLoss(ArithmeticError):
    """A step's loss is not finite. Raised by the engines, for training to translate.

    Parameters
    ----------
    step : int
        Number of the step, in the numbering of the call of ``run``.
    layer : int, optional
        Index, from 0, of the first layer whose output is not finite; None where all outputs are finite.

    Attributes
    ----------
    step : int
    layer : int or None
        The parameters.
    """

    def __init__(self, step: int, layer: int | None = None) -> None:
        super().__init__(step, layer)
        self.step = step
        self.layer = layer

    def __str__(self) -> str:
        """Return the message."""
        first = "" if self.layer is None else f"; layer {self.layer} is the first whose output is not finite"
        return f"the loss is not finite in step {self.step}{first}"
