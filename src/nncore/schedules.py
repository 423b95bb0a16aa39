"""Schedules of the learning rate: functions from the number of an update, from 0, to its rate.

An optimizer takes one in place of a number, ``nn.Adam(nn.schedules.Cosine(1e-3, 5000))``; it counts its updates over
its whole life, so that n calls of ``fit(epochs=1)`` give what one of n epochs gives. Any function of the step will do
as well: ``nn.SGD(lambda step: 0.1 / (1 + step))``.

Every schedule can begin with a warm-up: with ``warmup=n`` the first n rates rise in equal steps towards the schedule's
first, ``rate(0) * (step + 1) / (n + 1)``, and the schedule itself begins after them, at its own step 0.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from nncore import checks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping


class Schedule:
    """Base class of the schedules.

    Parameters
    ----------
    learning_rate : float
        The rate that the formula starts from or leads to, at least 0.
    warmup : int
        Number of updates before the schedule begins, in which the rate rises to its first; at least 0.

    Attributes
    ----------
    name : str
        The name that `get` takes.
    """

    __slots__ = ("learning_rate", "warmup")

    _SETTINGS: tuple[str, ...] = ("learning_rate",)  # in the order of the constructor, warmup after them

    name: str

    def __init__(self, learning_rate: float, warmup: int) -> None:
        self.learning_rate = checks.finite_float(learning_rate, "learning_rate", low=0.0)
        self.warmup = checks.non_negative_int(warmup, "warmup")
        if self.warmup > 2**53:
            raise ValueError(f"warmup is {self.warmup}; expected at most 2**53")

    def __call__(self, step: int) -> float:
        """Return the rate of update `step`, counted from 0."""
        if step < self.warmup:
            return self._rate(0) * (step + 1) / (self.warmup + 1)
        return self._rate(step - self.warmup)

    def _rate(self, step: int) -> float:
        """Return the rate of a step that is counted from the end of the warm-up."""
        raise NotImplementedError

    def state(self) -> dict[str, Any]:
        """Return what the schedule has gathered, in numbers: nothing where the step says all."""
        return {}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take over what `state` gave."""

    def __repr__(self) -> str:
        """Return the call that makes one with the same settings."""
        settings = ", ".join(f"{name}={getattr(self, name)!r}" for name in (*self._SETTINGS, "warmup"))
        return f"{type(self).__name__}({settings})"


def _updates(value: Any, name: str) -> int:
    """Return a number of updates, which a float has exactly."""
    number = checks.positive_int(value, name)
    if number > 2**53:
        raise ValueError(f"{name} is {number}; expected at most 2**53")
    return number


class Constant(Schedule):
    """The same rate always; with a warm-up before it, if one is asked for.

    Parameters
    ----------
    learning_rate : float, default 0.001
        At least 0.
    warmup : int, default 0
        Updates in which the rate rises to its first.

    Raises
    ------
    TypeError, ValueError
        If a parameter is of another type or out of its range.
    """

    __slots__ = ()

    name = "constant"

    def __init__(self, learning_rate: float = 1e-3, warmup: int = 0) -> None:
        super().__init__(learning_rate, warmup)

    def _rate(self, step: int) -> float:
        return self.learning_rate


class Step(Schedule):
    """``learning_rate * factor**(step // every)``: PyTorch's StepLR, counted in updates.

    Parameters
    ----------
    learning_rate : float, default 0.001
        At least 0.
    every : int, default 1000
        After how many updates the rate is multiplied by `factor`; at least 1.
    factor : float, default 0.1
        Above 0 and at most 1.
    warmup : int, default 0
        Updates in which the rate rises to its first.

    Raises
    ------
    TypeError, ValueError
        If a parameter is of another type or out of its range.
    """

    __slots__ = ("every", "factor")
    _SETTINGS = ("learning_rate", "every", "factor")

    name = "step"

    def __init__(self, learning_rate: float = 1e-3, every: int = 1000, factor: float = 0.1, warmup: int = 0) -> None:
        super().__init__(learning_rate, warmup)
        self.every = _updates(every, "every")
        self.factor = checks.finite_float(factor, "factor", above=0.0, high=1.0)

    def _rate(self, step: int) -> float:
        return self.learning_rate * _power(self.factor, step // self.every)


class Exponential(Schedule):
    """``learning_rate * factor**(step / steps)``: Keras' ExponentialDecay; PyTorch's ExponentialLR has steps=1.

    Parameters
    ----------
    learning_rate : float, default 0.001
        At least 0.
    steps : int, default 1000
        In how many updates the rate falls to `factor` times itself; at least 1.
    factor : float, default 0.9
        Above 0 and at most 1.
    warmup : int, default 0
        Updates in which the rate rises to its first.

    Raises
    ------
    TypeError, ValueError
        If a parameter is of another type or out of its range.
    """

    __slots__ = ("factor", "steps")
    _SETTINGS = ("learning_rate", "steps", "factor")

    name = "exponential"

    def __init__(self, learning_rate: float = 1e-3, steps: int = 1000, factor: float = 0.9, warmup: int = 0) -> None:
        super().__init__(learning_rate, warmup)
        self.steps = _updates(steps, "steps")
        self.factor = checks.finite_float(factor, "factor", above=0.0, high=1.0)

    def _rate(self, step: int) -> float:
        return self.learning_rate * _power(self.factor, step / self.steps)


class Cosine(Schedule):
    """``end + (learning_rate - end) * (1 + cos(pi * step / steps)) / 2``, and `end` from step `steps` on.

    PyTorch's CosineAnnealingLR up to there, Keras' CosineDecay with ``alpha = end / learning_rate`` throughout.

    Parameters
    ----------
    learning_rate : float, default 0.001
        At least 0.
    steps : int, default 1000
        How many updates the way down takes, the warm-up not among them; at least 1.
    end : float, default 0
        From 0 to `learning_rate`.
    warmup : int, default 0
        Updates in which the rate rises to its first.

    Raises
    ------
    TypeError, ValueError
        If a parameter is of another type or out of its range.

    Notes
    -----
    I. Loshchilov, F. Hutter, "SGDR: stochastic gradient descent with warm restarts", 2017, without the restarts.
    """

    __slots__ = ("end", "steps")
    _SETTINGS = ("learning_rate", "steps", "end")

    name = "cosine"

    def __init__(self, learning_rate: float = 1e-3, steps: int = 1000, end: float = 0.0, warmup: int = 0) -> None:
        super().__init__(learning_rate, warmup)
        self.steps = _updates(steps, "steps")
        self.end = checks.finite_float(end, "end", low=0.0, high=self.learning_rate)

    def _rate(self, step: int) -> float:
        return _cosine(self.learning_rate, self.end, step / self.steps)


class OneCycle(Schedule):
    """One rise and one fall, each along half a cosine: PyTorch's OneCycleLR without its cycle of the momentum.

    From ``learning_rate / start_divisor`` at step 0 up to `learning_rate` at step ``rise * steps - 1``, then down to
    ``learning_rate / start_divisor / end_divisor`` at step ``steps - 1``, where it stays.

    Parameters
    ----------
    learning_rate : float, default 0.001
        The largest rate, at least 0.
    steps : int, default 1000
        How many updates the cycle takes; at least 2.
    rise : float, default 0.3
        Which part of them the rise takes, above 0 and below 1; at least 1 update.
    start_divisor : float, default 25
        At least 1.
    end_divisor : float, default 1e4
        At least 1.
    warmup : int, default 0
        Updates in which the rate rises to its first.

    Raises
    ------
    TypeError, ValueError
        If a parameter is of another type or out of its range.

    Notes
    -----
    L. N. Smith, N. Topin, "Super-convergence: very fast training of neural networks using large learning rates", 2018.
    """

    __slots__ = ("end_divisor", "rise", "start_divisor", "steps")
    _SETTINGS = ("learning_rate", "steps", "rise", "start_divisor", "end_divisor")

    name = "one_cycle"

    def __init__(
        self,
        learning_rate: float = 1e-3,
        steps: int = 1000,
        rise: float = 0.3,
        start_divisor: float = 25.0,
        end_divisor: float = 1e4,
        warmup: int = 0,
    ) -> None:
        super().__init__(learning_rate, warmup)
        self.steps = _updates(steps, "steps")
        if self.steps < 2:
            raise ValueError(f"steps is {steps}; expected at least 2, one up and one down")
        self.rise = checks.finite_float(rise, "rise", above=0.0, below=1.0)
        self.start_divisor = checks.finite_float(start_divisor, "start_divisor", low=1.0)
        self.end_divisor = checks.finite_float(end_divisor, "end_divisor", low=1.0)

    def _rate(self, step: int) -> float:
        first = self.learning_rate / self.start_divisor
        top = max(self.rise * self.steps - 1, 0.0)
        if step < top:
            return _cosine(first, self.learning_rate, step / top)
        return _cosine(self.learning_rate, first / self.end_divisor, (step - top) / (self.steps - 1 - top))


class InverseScaling(Schedule):
    """``learning_rate / (step + 1)**power``: scikit-learn's "invscaling", counted in updates.

    Parameters
    ----------
    learning_rate : float, default 0.001
        At least 0.
    power : float, default 0.5
        At least 0.
    warmup : int, default 0
        Updates in which the rate rises to its first.

    Raises
    ------
    TypeError, ValueError
        If a parameter is of another type or out of its range.
    """

    __slots__ = ("power",)
    _SETTINGS = ("learning_rate", "power")

    name = "inverse_scaling"

    def __init__(self, learning_rate: float = 1e-3, power: float = 0.5, warmup: int = 0) -> None:
        super().__init__(learning_rate, warmup)
        self.power = checks.finite_float(power, "power", low=0.0)

    def _rate(self, step: int) -> float:
        return self.learning_rate * _power(step + 1, -self.power)


class ReduceOnPlateau(Schedule):
    """The rate is multiplied by `factor` when the monitored value has not improved for more than `patience` epochs.

    PyTorch's ReduceLROnPlateau with a relative threshold: an epoch improves on the best value so far where its own is
    better by more than ``threshold * abs(best)``; after a reduction, `cooldown` epochs are not counted as bad. Keras'
    callback of that name reduces one epoch earlier with the same patience. A value that is NaN is no improvement.

    One object serves one optimizer: it keeps what it has seen from one call of ``fit`` to the next.

    Parameters
    ----------
    learning_rate : float, default 0.001
        The first rate, at least 0.
    factor : float, default 0.1
        Above 0 and below 1.
    patience : int, default 10
        At least 0.
    threshold : float, default 1e-4
        In [0, 1).
    cooldown : int, default 0
        At least 0.
    end : float, default 0
        The rate does not fall below this; from 0 to `learning_rate`.
    monitor : str, optional
        "loss", a metric, or "val_" with one of these. None takes "val_loss" where there are validation data, else
        "loss".
    mode : {"min", "max"}
        Whether less or more is better.
    warmup : int, default 0
        Updates in which the rate rises to its first.

    Raises
    ------
    TypeError, ValueError
        If a parameter is of another type or out of its range; in ``fit``, if nothing of the monitor's name is recorded.
    """

    __slots__ = ("_bad", "_best", "_cooling", "_scaled", "cooldown", "end", "factor", "mode", "monitor", "patience",
                 "threshold")  # fmt: skip
    _SETTINGS = ("learning_rate", "factor", "patience", "threshold", "cooldown", "end", "monitor", "mode")

    name = "reduce_on_plateau"

    def __init__(
        self,
        learning_rate: float = 1e-3,
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        cooldown: int = 0,
        end: float = 0.0,
        monitor: str | None = None,
        mode: str = "min",
        warmup: int = 0,
    ) -> None:
        super().__init__(learning_rate, warmup)
        self.factor = checks.finite_float(factor, "factor", above=0.0, below=1.0)
        self.patience = checks.non_negative_int(patience, "patience")
        self.threshold = checks.finite_float(threshold, "threshold", low=0.0, below=1.0)
        self.cooldown = checks.non_negative_int(cooldown, "cooldown")
        self.end = checks.finite_float(end, "end", low=0.0, high=self.learning_rate)
        if monitor is not None and not isinstance(monitor, str):
            raise TypeError(f"monitor is {monitor!r}, of type {type(monitor).__name__}; expected a name or None")
        self.monitor = monitor
        self.mode = checks.one_of(mode, "mode", ("min", "max"))
        self._best: float | None = None
        self._bad = self._cooling = 0
        self._scaled = self.learning_rate

    def _rate(self, step: int) -> float:
        return self._scaled

    def check_names(self, names: Iterable[str]) -> None:
        """Raise ValueError if nothing of the monitor's name will be recorded."""
        known = list(names)
        if self.monitor is not None and self.monitor not in known:
            raise ValueError(f"monitor is {self.monitor!r}; expected one of {', '.join(map(repr, known))}")

    def on_epoch_end(self, logs: Mapping[str, float]) -> None:
        """Take note of an epoch's loss and metrics; ``fit`` calls it.

        Parameters
        ----------
        logs : mapping of str to float
            What the epoch recorded, by name.

        Raises
        ------
        ValueError
            If the monitored one is not among it.
        """
        self.check_names(logs)
        value = logs[self.monitor or ("val_loss" if "val_loss" in logs else "loss")]
        if self._improves(value):
            self._best, self._bad = float(value), 0
        else:
            self._bad += 1
        if self._cooling:
            self._cooling -= 1
            self._bad = 0
        if self._bad > self.patience:
            self._scaled = max(self._scaled * self.factor, self.end)
            self._cooling, self._bad = self.cooldown, 0

    def _improves(self, value: float) -> bool:
        if not math.isfinite(value):  # as the best it would be out of reach, and its threshold no number
            return False
        if self._best is None:
            return True
        least = self.threshold * abs(self._best)
        return value < self._best - least if self.mode == "min" else value > self._best + least

    def state(self) -> dict[str, Any]:
        """Return the best value (None before the first), the bad epochs in a row, those of rest, and the rate."""
        return {"best": self._best, "bad": self._bad, "cooling": self._cooling, "rate": self._scaled}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take over what `state` gave.

        Raises
        ------
        TypeError, ValueError
            If an entry is missing, of another type or out of its range. Nothing has changed then.
        """
        missing = [key for key in ("best", "bad", "cooling", "rate") if key not in state]
        if missing:
            raise ValueError(f"state of the schedule has no entry {missing[0]!r}; expected best, bad, cooling and rate")
        best = state["best"]
        best = None if best is None else checks.finite_float(best, "state's best")
        bad, cooling = (checks.non_negative_int(state[key], f"state's {key}") for key in ("bad", "cooling"))
        rate = checks.finite_float(state["rate"], "state's rate", low=self.end, high=self.learning_rate)
        self._best, self._bad, self._cooling, self._scaled = best, bad, cooling, rate


def _power(base: float, exponent: float) -> float:
    """Return base**exponent, 0 where that is too small for a number."""
    try:
        return float(base**exponent)
    except OverflowError:  # which an integer's power of that kind raises
        return 0.0


def _cosine(start: float, end: float, part: float) -> float:
    """Return where half a cosine from `start` to `end` is after a part of its way, which ends at 1."""
    return end + (start - end) * (1 + math.cos(math.pi * min(part, 1.0))) / 2


_KINDS = (Constant, Step, Exponential, Cosine, OneCycle, InverseScaling, ReduceOnPlateau)
ALIASES: dict[str, type[Schedule]] = {kind.name: kind for kind in _KINDS}


def get(schedule: str | float | Callable[[int], float]) -> Callable[[int], float]:
    """Return a new schedule of that name, with its defaults; or the object itself; a number is a constant.

    Raises
    ------
    TypeError
        If it is neither a string, a number nor a callable.
    ValueError
        If there is no schedule of that name (the message lists those there are), or a number is negative or not finite.
    """
    if callable(schedule) and not isinstance(schedule, type):
        return schedule
    if isinstance(schedule, str):
        return ALIASES[checks.one_of(schedule, "schedule", ALIASES)]()  # type: ignore[call-arg]
    if isinstance(schedule, type):
        raise TypeError(f"schedule is the class {schedule.__name__}; expected an object of it, a name or a callable")
    return Constant(checks.finite_float(schedule, "schedule", low=0.0))
