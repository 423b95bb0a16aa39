"""scikit-learn's stochastic solvers as the core takes them: SGD and Adam with its momentum, epsilon and learning rates.

The core asks an optimizer for its numbers and keeps its memory, the slots. These objects are that, and in addition what
scikit-learn does with the rate at the end of an epoch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from nncore._optimizer import checked_rate

if TYPE_CHECKING:
    Array = np.ndarray[Any, Any]

_LEAST_RATE = 1e-6  # below which "adaptive" stops


class Solver:
    """The base: a rate, a count of updates, and the slots in an engine.

    Attributes
    ----------
    learning_rate : float
        The current one.
    steps : int
        Updates done.
    """

    name: str
    n_slots: int
    weight_decay = 0.0
    clip_value: float | None = None
    clip_norm: float | None = None
    conventions: dict[str, bool]

    def __init__(self, learning_rate_init: float, schedule: Any = None) -> None:
        self.learning_rate_init = float(learning_rate_init)
        self.learning_rate = float(learning_rate_init)
        self.schedule = schedule
        self.steps = 0
        self._engine: Any = None
        self._slots: Any = None
        self._saved: list[list[Array]] | None = None

    @property
    def _learning_rate(self) -> Any:  # what the core reads: a number, or else it asks for the rates of the steps
        return self.learning_rate if self.schedule is None else self.schedule

    def _rates(self, n_steps: int) -> Array:
        first = self.steps
        steps = range(first, first + n_steps)
        return np.array([checked_rate(self.schedule(step), step, "schedule") for step in steps], np.float64)

    def slots_for(self, engine: Any) -> Any:
        """Return the memory for an engine: that of before, where it was trained with this solver."""
        if self._engine is not engine:
            saved = self._saved if self._slots is None else self._slots.arrays()
            self._slots, self._engine = engine.new_slots(self.n_slots), engine
            if saved is not None:
                self._slots.load(saved)
            self._saved = None
        return self._slots

    def __getstate__(self) -> dict[str, Any]:
        """Return what a pickle or copy takes along: the slots as arrays."""
        state = dict(self.__dict__)
        if self._slots is not None:
            state["_saved"] = self._slots.arrays()
        state["_slots"] = state["_engine"] = None
        return state

    def iteration_ends(self, samples: int) -> None:
        """Set the rate for the next epoch, `samples` rows having been seen in all."""

    def trigger_stopping(self, message: str, verbose: bool) -> bool:
        """Say whether to stop where there was no improvement; if not, the rate was lowered."""
        if verbose:
            print(message + " Stopping.")
        return True


class SGD(Solver):
    """Stochastic gradient descent: v = momentum v - rate g; w += v, or momentum v - rate g with Nesterov's.

    Parameters
    ----------
    learning_rate_init : float
    learning_rate : {"constant", "invscaling", "adaptive"}
        "invscaling" takes ``learning_rate_init / (rows seen + 1) ** power_t`` after each epoch, "adaptive" a fifth
        where there was no improvement.
    momentum : float
    nesterov : bool
    power_t : float
    """

    def __init__(
        self,
        learning_rate_init: float,
        learning_rate: str,
        momentum: float,
        nesterov: bool,
        power_t: float,
        schedule: Any = None,
    ) -> None:
        super().__init__(learning_rate_init, schedule)
        self.name = "sgd"
        self.lr_schedule = learning_rate
        self.momentum = float(momentum)
        self.nesterov = bool(nesterov)
        self.power_t = power_t
        self.n_slots = int(self.momentum != 0)
        self.conventions = {"rate_within": True}

    def iteration_ends(self, samples: int) -> None:
        """Set the rate of "invscaling"."""
        if self.lr_schedule == "invscaling":
            self.learning_rate = self.learning_rate_init / float(samples + 1) ** self.power_t

    def trigger_stopping(self, message: str, verbose: bool) -> bool:
        """Say whether to stop: "adaptive" goes on with a fifth of the rate until that is very small."""
        if self.lr_schedule != "adaptive" or self.schedule is not None:
            return super().trigger_stopping(message, verbose)
        if self.learning_rate <= _LEAST_RATE:
            return super().trigger_stopping(message + " Learning rate too small.", verbose)
        self.learning_rate /= 5.0
        if verbose:
            print(f"{message} Setting learning rate to {self.learning_rate:f}")
        return False


class Adam(Solver):
    """Adam with an epsilon beside the uncorrected root: w -= rate_t m / (sqrt(v) + epsilon).

    Here rate_t = rate sqrt(1 - beta_2^t) / (1 - beta_1^t), as in the shorter form of Kingma and Ba 2015, section 2.

    Parameters
    ----------
    learning_rate_init, beta_1, beta_2, epsilon : float
    """

    def __init__(
        self, learning_rate_init: float, beta_1: float, beta_2: float, epsilon: float, schedule: Any = None
    ) -> None:
        super().__init__(learning_rate_init, schedule)
        self.name = "adam"
        self.n_slots = 2
        self.beta1, self.beta2, self.epsilon = float(beta_1), float(beta_2), float(epsilon)
        self.conventions = {"epsilon_outside": True}
