"""The exceptions and warnings of the library.

Refused arguments are plain `ValueError` or `TypeError`. The classes here are for what only a run can show: data
that turn out not to be finite as they are gathered, a loss that overflows, a perceptron that never settles. Both
engines raise `NonFiniteData` and `NonFiniteLoss`; training adds where it was and raises `DivergenceError`.

Each exception keeps its constructor's arguments in `args`, so that it survives pickling between processes.
"""

from __future__ import annotations

_LARGE = 30.0  # standardised data hardly ever get there


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
    largest_weights, largest_gradients : dict of int to float, optional
        By layer, the largest absolute weight or bias at that point, and the largest absolute gradient of that step's
        loss; infinite where one is not finite.
    largest_input, largest_target : float, optional
        The largest absolute values of X and y in that step's rows; no target where y is classes.
    learning_rate : float, optional
        The optimizer's, or what its schedule gives for that step.
    advice : tuple of str, optional
        What to try besides scaling the data, what is most likely first. None is to lower the learning rate and to clip
        the gradients.

    Attributes
    ----------
    epoch, step, layer, largest_weights, largest_gradients, largest_input, largest_target, learning_rate, advice
        The parameters; None where it is not known.

    Examples
    --------
    >>> print(DivergenceError(epoch=2, step=17))
    the loss is not finite at epoch 2, step 17; scale the data or lower the learning rate
    """

    def __init__(
        self,
        epoch: int | None = None,
        step: int | None = None,
        layer: int | None = None,
        largest_weights: dict[int, float] | None = None,
        largest_gradients: dict[int, float] | None = None,
        largest_input: float | None = None,
        largest_target: float | None = None,
        learning_rate: float | None = None,
        advice: tuple[str, ...] | None = None,
    ) -> None:
        super().__init__(
            epoch, step, layer, largest_weights, largest_gradients, largest_input, largest_target, learning_rate, advice
        )
        self.epoch = epoch
        self.step = step
        self.layer = layer
        self.largest_weights = largest_weights
        self.largest_gradients = largest_gradients
        self.largest_input = largest_input
        self.largest_target = largest_target
        self.learning_rate = learning_rate
        self.advice = advice

    def __str__(self) -> str:
        """Return the message."""
        known = (("epoch", self.epoch), ("step", self.step))
        places = [f"{word} {number}" for word, number in known if number is not None]
        where = f" at {', '.join(places)}" if places else ""
        first = "" if self.layer is None else f" (layer {self.layer} is the first whose output is not finite)"
        return f"the loss is not finite{where}{first}{self._sizes()}; {self._advice()}"

    def _sizes(self) -> str:
        parts = [
            f"; the largest {word} by layer: {', '.join(f'{layer}: {value:.3g}' for layer, value in values.items())}"
            for word, values in (("gradients", self.largest_gradients), ("weights", self.largest_weights))
            if values
        ]
        return "".join(parts)

    def _advice(self) -> str:
        """Say what to try, what is most likely first."""
        if self.largest_input is None:
            return "scale the data or lower the learning rate"
        advice = [
            f"scale {name}, whose values reach {largest:.3g}"
            for name, largest in (("X", self.largest_input), ("y", self.largest_target))
            if largest is not None and largest > _LARGE
        ]
        if self.advice is not None:
            advice += self.advice
        else:
            rate = "" if self.learning_rate is None else f", which is {self.learning_rate:g}"
            advice += [f"lower the learning rate{rate}", "clip the gradients"]
        return "try to " + "; ".join(advice)


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


class NotReady(Exception):
    """An engine takes no such X as it is. For whoever then converts it, and catches no other error with it."""


class NotReadyType(NotReady, TypeError):
    """It is no array, or one of another type or layout."""


class NotReadyShape(NotReady, ValueError):
    """Its shape is another one."""


class BadCode(ValueError):
    """A column of categories holds a number that is no code of its.

    Parameters
    ----------
    argument : str
        Name of the argument, such as ``"X"``.
    row, column : int
        Where in the array that was given.
    value : float
        What is there.
    cardinality : int
        How many codes the column has.
    """

    def __init__(self, argument: str, row: int, column: int, value: float, cardinality: int) -> None:
        super().__init__(argument, row, column, value, cardinality)

    def __str__(self) -> str:
        """Return the message."""
        argument, row, column, value, cardinality = self.args
        return (
            f"{argument} has {value:g} in row {row}, column {column}; expected a whole number, 0 to {cardinality - 1}, "
            "the code of a category"
        )


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
