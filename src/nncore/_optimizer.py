"""The base class of the optimizers: the learning rate, whose network an optimizer serves, and the state that it keeps.

An optimizer object belongs to the first network that it trains, as its slots (momentum, moments) are of that
network's weights; it keeps them, and its count of updates, from one call of ``fit`` to the next. A copy takes the
state along and belongs to nobody.
"""

from __future__ import annotations

import weakref
from _thread import allocate_lock as Lock  # as in _network.py
from collections.abc import Callable, Mapping
from math import isfinite
from typing import TYPE_CHECKING, Any

import numpy as np

from nncore import checks

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    Array = NDArray[Any]
    LearningRate = float | Callable[[int], float]  # a schedule is a callable


_claiming = Lock()  # two networks in two threads may reach for one optimizer


class Optimizer:
    """Base class of the optimizers.

    Parameters
    ----------
    learning_rate : float, schedule or callable
        At least 0, or what gives the rate of each update from its number: see `nncore.schedules`. Updates are counted
        from 0 over the optimizer's life. May be changed between calls of ``fit``.
    weight_decay : float
        How much the weights are drawn to zero, at least 0. Biases do not decay.
    clip_value : float, optional
        Each number of the gradient is cut to between minus this and this, above 0.
    clip_norm : float, optional
        The gradient g of all parameters together is multiplied by ``min(1, clip_norm / ||g||)``, above 0: R. Pascanu,
        T. Mikolov, Y. Bengio, "On the difficulty of training recurrent neural networks", 2013. First the norm's bound
        holds, then the value's; both come before the layers' l1 and l2, `weight_decay` and the update, and so bound
        the gradient of the loss alone, as PyTorch's ``clip_grad_norm_`` before its optimizers' step.

    Attributes
    ----------
    name : str
        The name that `get` takes.
    n_slots : int
        How many numbers are kept for each parameter.
    steps : int
        Number of updates done.
    """

    __slots__ = (
        "__weakref__",
        "_learning_rate",
        "_owner",
        "_slots",
        "_waiting",
        "clip_norm",
        "clip_value",
        "steps",
        "weight_decay",
    )

    # What makes another one with the same settings, in the order of the constructor.
    _SETTINGS: tuple[str, ...] = ("learning_rate", "weight_decay", "clip_value", "clip_norm")

    name: str
    second_order = False  # whether it does whole iterations itself

    def __init__(
        self,
        learning_rate: LearningRate,
        weight_decay: float,
        clip_value: float | None = None,
        clip_norm: float | None = None,
    ) -> None:
        self.learning_rate = learning_rate
        self.weight_decay = checks.finite_float(weight_decay, "weight_decay", low=0.0)
        self.clip_value = None if clip_value is None else checks.finite_float(clip_value, "clip_value", above=0.0)
        self.clip_norm = None if clip_norm is None else checks.finite_float(clip_norm, "clip_norm", above=0.0)
        self._start()

    def _start(self) -> None:
        """Begin without an owner and without state."""
        self.steps = 0
        self._owner: weakref.ref[Any] | None = None
        self._slots: Any = None
        self._waiting: list[list[Array]] | None = None  # slots' arrays for the network to come

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute, but not one of those that are fixed once they are set."""
        # The slots are made for these, and they were checked when the optimizer was made.
        if name in self._SETTINGS and name != "learning_rate" and hasattr(self, name):
            raise AttributeError(f"{name} is fixed when an optimizer is made; make a new {type(self).__name__}")
        super().__setattr__(name, value)

    def __repr__(self) -> str:
        """Return the call that makes one with the same settings."""
        values = {name: getattr(self, name) for name in self._SETTINGS}
        shown = [f"{name}={value!r}" for name, value in values.items() if value is not None]  # None: no clipping
        return f"{type(self).__name__}({', '.join(shown)})"

    @property
    def n_slots(self) -> int:
        """How many numbers are kept for each parameter."""
        raise NotImplementedError

    def update(
        self, weight: Array, gradient: Array, slots: Sequence[Array], rate: float, step: int, decay: float
    ) -> None:
        """Update `weight` and `slots` in place.

        Parameters
        ----------
        weight : ndarray
            Parameters, of any shape.
        gradient : ndarray
            Their gradient, of the same shape and dtype; it is used as scratch, and holds nothing of use afterwards.
        slots : sequence of `n_slots` ndarrays
            What is kept of the parameters, zero before the first update.
        rate : float
            The learning rate of this step.
        step : int
            Number of this update, from 1.
        decay : float
            The weight decay; 0 for biases.
        """
        raise NotImplementedError

    # --------------------------------------------------------------------------------------------- learning rate

    @property
    def learning_rate(self) -> Any:
        """The learning rate as it was given: a float, a schedule or a callable."""
        return self._learning_rate

    @learning_rate.setter
    def learning_rate(self, value: LearningRate) -> None:
        if not callable(value):
            value = checks.finite_float(value, "learning_rate", low=0.0)
        elif isinstance(value, type):
            raise TypeError(f"learning_rate is the class {value.__name__}; expected a number, a schedule or a callable")
        self._learning_rate = value

    @property
    def rate(self) -> float:
        """The learning rate of the next update.

        Raises
        ------
        TypeError, ValueError
            If a callable gives anything but a finite number of at least 0.
        """
        return self._learning_rate if type(self._learning_rate) is float else float(self._rates(1)[0])

    def _rates(self, n: int) -> Array:
        """Return the rates of the next `n` updates, for engines; they take a float from `_learning_rate` themselves."""
        rate_of = self._learning_rate
        if isinstance(rate_of, float):
            return np.full(n, rate_of)
        values = [rate_of(step) for step in range(self.steps, self.steps + n)]
        try:
            rates = np.array(values)
            if rates.shape == (n,) and rates.dtype.kind in "fiu" and (rates >= 0).all() and np.isfinite(rates).all():
                return rates.astype(np.float64, copy=False)
        except (TypeError, ValueError):
            pass
        return np.array([checked_rate(value, step) for step, value in enumerate(values, start=self.steps)], np.float64)

    def on_epoch_end(self, logs: Mapping[str, float]) -> None:
        """Tell a schedule that wants to know how an epoch went: `logs` are its loss and metrics, by name."""
        if type(self._learning_rate) is float:  # as it mostly is
            return
        listen = getattr(self._learning_rate, "on_epoch_end", None)
        if listen is not None:
            listen(logs)

    def check_run(self, names: Iterable[str] | None, loss: str, batch_size: int, n_rows: int) -> None:
        """Refuse a run that this optimizer or its schedule cannot do, before anything is trained.

        Parameters
        ----------
        names : iterable of str or None
            What each epoch's logs will hold; None for a single step.
        loss : str
            The loss' name.
        batch_size, n_rows : int
            Rows of a step, and of all.

        Raises
        ------
        ValueError
            If a schedule watches what the logs will not hold.
        """
        if type(self._learning_rate) is float:
            return
        check = getattr(self._learning_rate, "check_names", None)
        if check is not None and names is not None:
            check(names)

    # ----------------------------------------------------------------------------------------- owner and state

    def _bind(self, network: object) -> None:
        """Make `network` the owner, or raise ValueError if there is another."""
        with _claiming:
            if self._owner is None:
                self._owner = weakref.ref(network)
            owned = self._owner() is network
        if not owned:
            raise ValueError(
                "optimizer has trained another network and keeps that one's state; "
                f"expected a new {type(self).__name__} for each network"
            )

    def _release(self) -> None:
        """Forget the owner: it refused the data before anything was trained."""
        self._waiting = self._slots.arrays() if self._slots is not None and self.steps else None
        self._owner = self._slots = None

    def _make_slots(self, engine: Any) -> None:
        """Make the slots in the owner's engine, with what waits for it."""
        slots = engine.new_slots(self.n_slots)
        if self._waiting is not None:
            try:
                _require_shapes(slots, self._waiting)
            except ValueError:
                self._owner = None
                raise
            slots.load(self._waiting)
            self._waiting = None
        self._slots = slots

    def _engine_for(self, network: Any) -> Any:
        """Return what runs this optimizer's steps: the network's engine."""
        return network._engine

    def _fresh(self) -> Optimizer:
        """Return a new one with the same settings and no state."""
        return type(self)(**{name: getattr(self, name) for name in self._SETTINGS})

    def state(self) -> dict[str, Any]:
        """Return what the optimizer has gathered, for `load_state` of one with the same settings.

        Returns
        -------
        dict
            "name"; "steps", the number of updates; "slots", for each slot a list of arrays in the order and shapes of
            ``get_weights`` (copies; None where nothing was trained); "schedule", a dict of numbers, for a schedule
            that has a state.
        """
        state: dict[str, Any] = {"name": self.name, "steps": self.steps, "slots": self._slot_arrays()}
        if hasattr(self._learning_rate, "state"):
            state["schedule"] = self._learning_rate.state()
        return state

    def _slot_arrays(self) -> list[list[Array]] | None:
        if self._slots is not None:
            return self._slots.arrays()  # type: ignore[no-any-return]
        return None if self._waiting is None else [[array.copy() for array in slot] for slot in self._waiting]

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take over what `state` gave, so that training goes on from there.

        An optimizer that has an owner takes it at once, one that has none when it first trains.

        Parameters
        ----------
        state : mapping
            As `state` returns it.

        Raises
        ------
        TypeError
            If it is no mapping, or something in it is of a wrong type.
        ValueError
            If it is another kind of optimizer's, has not the slots that this one needs, or holds numbers that are
            not finite; or the arrays' shapes are not those of the owner's weights (without an owner: later, from
            ``fit`` or ``train_step``). Nothing has changed then.
        """
        steps, slots = self._checked_state(state)
        if self._slots is not None:
            if slots is None:
                slots = [[np.zeros_like(array) for array in slot] for slot in self._slots.arrays()]
            _require_shapes(self._slots, slots)
        if "schedule" in state and hasattr(self._learning_rate, "load_state"):
            self._learning_rate.load_state(state["schedule"])
        if self._slots is None:
            self._waiting = slots
        else:
            self._slots.load(slots)
        self.steps = steps

    def _checked_state(self, state: Mapping[str, Any]) -> tuple[int, list[list[Array]] | None]:
        if not isinstance(state, Mapping):
            raise TypeError(f"state is of type {type(state).__name__}; expected a dict as {self.name}.state() gives it")
        missing = [key for key in ("name", "steps", "slots") if key not in state]
        if missing:
            raise ValueError(f"state has no entry {missing[0]!r}; expected name, steps and slots")
        if state["name"] != self.name:
            raise ValueError(f"state is that of {state['name']!r}; this optimizer is {self.name!r}")
        steps = checks.non_negative_int(state["steps"], "state['steps']")
        if state["slots"] is None:
            if steps and self.n_slots:
                raise ValueError(f"state['slots'] is None after {steps} steps; expected {self.n_slots} lists of arrays")
            return steps, None
        if not isinstance(state["slots"], list | tuple) or not all(isinstance(s, list | tuple) for s in state["slots"]):
            raise TypeError("state['slots'] is no list of lists; expected for each slot the list of its arrays")
        slots = [[checks.numeric(array, "state['slots']") for array in slot] for slot in state["slots"]]
        self._check_slots(slots)
        return steps, slots

    def _check_slots(self, slots: list[list[Array]]) -> None:
        if len(slots) != self.n_slots:
            raise ValueError(f"state['slots'] has {len(slots)} slots; {type(self).__name__} with these settings "
                             f"takes {self.n_slots}")  # fmt: skip
        if not all(np.isfinite(array).all() for slot in slots for array in slot):
            raise ValueError("state['slots'] has a non-finite value; expected finite numbers")

    def __getstate__(self) -> dict[str, Any]:
        """Return what copies are made of: settings and state, but no owner."""
        settings = {name: getattr(self, name) for name in self._SETTINGS}
        if "learning_rate" in settings:  # a schedule may keep a state of its own
            from copy import copy  # not needed where nothing is copied

            settings["learning_rate"] = copy(self._learning_rate)
        return {"settings": settings, "state": self.state()}

    def __setstate__(self, saved: dict[str, Any]) -> None:
        """Make a copy from what `__getstate__` gave."""
        self.__init__(**saved["settings"])  # type: ignore[misc]
        self.load_state(saved["state"])


def checked_rate(rate: Any, step: int, name: str = "learning_rate") -> float:
    """Return a schedule's rate as a float, or refuse it; NumPy's and other libraries' numbers are taken."""
    try:
        value = checks.number_given(rate, name)
    except TypeError:
        raise TypeError(f"{name} gave {rate!r} at step {step}; expected a finite number of at least 0") from None
    if not isfinite(value) or value < 0:
        raise ValueError(f"{name} gave {value:g} at step {step}; expected a finite number of at least 0")
    return value


def _require_shapes(slots: Any, arrays: list[list[Array]]) -> None:
    """Raise ValueError where arrays for an engine's slots have not the shapes of its weights."""
    for number, (given, there) in enumerate(zip(arrays, slots.arrays(), strict=True)):
        shapes, expected = [array.shape for array in given], [array.shape for array in there]
        if shapes != expected:
            raise ValueError(
                f"state['slots'][{number}] has the shapes {shapes}; this network's weights have {expected}"
            )
