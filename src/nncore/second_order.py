"""Optimizers that take all rows at once and try their steps out before they take them: L-BFGS, Levenberg-Marquardt.

An epoch, and a ``train_step``, is one iteration; it never raises the loss. They have no learning rate. What they
compute besides the loss and its gradients is done here in NumPy, in float64, on all weights and biases as one vector
in the order of ``get_weights``; the trial points are rounded to the network's dtype.

Training reaches them by `Engine`, which stands before the network's own engine and has its interface as far as
training uses it.
"""

from __future__ import annotations

from contextlib import nullcontext
from math import isfinite, sqrt
from typing import TYPE_CHECKING, Any

import numpy as np

from nncore import _whole_batch, checks, engines
from nncore._jacobian import counted, mean_squared_error, normal_equations
from nncore._line_search import strong_wolfe
from nncore._optimizer import Optimizer
from nncore.errors import NonFiniteLoss

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    Vector = NDArray[np.float64]
    Array = NDArray[Any]
    Pairs = list[tuple[Vector, Vector]]

    from nncore.losses import Loss
    from nncore.sparse import Inputs


class SecondOrder(Optimizer):
    """Base class: no rate, no decay, no slots in the engine; all rows at once."""

    __slots__ = ()

    second_order = True

    def _begin(self) -> None:
        self._learning_rate = 1.0
        self.weight_decay = 0.0
        self.clip_value = self.clip_norm = None
        self._start()

    @property
    def learning_rate(self) -> Any:
        """There is none: AttributeError."""
        raise AttributeError(f"{type(self).__name__} has no learning_rate; it finds the length of each step itself")

    @learning_rate.setter
    def learning_rate(self, value: Any) -> None:
        raise AttributeError(f"{type(self).__name__} has no learning_rate; it finds the length of each step itself")

    @property
    def n_slots(self) -> int:
        """How many numbers the engine keeps for each parameter: none."""
        return 0

    def check_run(self, names: Iterable[str] | None, loss: str, batch_size: int, n_rows: int) -> None:
        """Refuse a run in batches; see `Optimizer.check_run`."""
        if batch_size < n_rows:
            raise ValueError(
                f"batch_size is {batch_size}; {type(self).__name__} takes all rows at once: expected None or at least "
                f"{n_rows}, the number of rows"
            )

    def _engine_for(self, network: Any) -> Engine:
        return Engine(network, self)

    def iterate(self, problem: Problem) -> None:
        """Do one iteration: leave the problem's network at the new weights."""
        raise NotImplementedError

    def _memory(self) -> Any:
        """Return what an iteration changes besides the weights; it is never changed in place."""
        raise NotImplementedError

    def _set_memory(self, memory: Any) -> None:
        raise NotImplementedError


class LBFGS(SecondOrder):
    """Limited-memory BFGS: quasi-Newton steps, their length by a line search for the strong Wolfe conditions.

    The direction is ``-H g``, where H is the inverse Hessian's estimate from the latest `history` steps s and changes
    of the gradient y, by the two-loop recursion from ``(s.y / y.y) I``. Each iteration costs one pass over all rows for
    each point that its line search tries, most often one. Where no step lowers the loss, the weights stay. A layer's l2
    belongs to what is lowered, not to the loss that is reported.

    Parameters
    ----------
    history : int, default 10
        How many steps are remembered, at least 1.

    Raises
    ------
    TypeError, ValueError
        If it is no such number; in ``fit``, if `batch_size` is below the number of rows, or a layer is a `Dropout`,
        `GaussianNoise` or `BatchNorm`, or has l1, max_norm or weight_decay.

    Notes
    -----
    D. C. Liu, J. Nocedal, "On the limited memory BFGS method for large scale optimization", 1989; J. Nocedal,
    S. J. Wright, "Numerical optimization", 2006, algorithms 7.4 and 7.5, line search 3.5 and 3.6.
    """

    __slots__ = ("_pairs", "_shapes", "history")
    _SETTINGS = ("history",)

    name = "lbfgs"

    def __init__(self, history: int = 10) -> None:
        self._begin()
        self.history = checks.positive_int(history, "history")
        self._pairs: Pairs = []  # (s, y), the oldest first
        self._shapes: list[tuple[int, ...]] | None = None  # of the arrays that the vectors are made of

    def _engine_for(self, network: Any) -> Engine:
        _whole_batch.require_smooth(network, type(self).__name__)
        engine = Engine(network, self)
        if self._shapes is not None and self._shapes != engine.shapes:
            raise ValueError(
                f"state['slots'] has the shapes {self._shapes}; this network's weights have {engine.shapes}"
            )
        return engine

    def iterate(self, problem: Problem) -> None:
        """Do one iteration; see `SecondOrder.iterate`."""
        point = problem.point()
        after, self._pairs = lbfgs_iteration(problem.at, point, self._pairs, self.history, problem.rounded)
        self._shapes = problem.engine.shapes
        problem.settle(after)

    def _memory(self) -> Pairs:
        return list(self._pairs)

    def _set_memory(self, memory: Pairs) -> None:
        self._pairs = memory

    def state(self) -> dict[str, Any]:
        """Return what was gathered; see `Optimizer.state`. "slots" holds all s, the oldest first, then all y."""
        shapes = self._shapes or []
        vectors = [pair[which] for which in (0, 1) for pair in self._pairs]
        return {"name": self.name, "steps": self.steps, "slots": [_split(vector, shapes) for vector in vectors]}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take over what `state` gave; see `Optimizer.load_state`."""
        steps, slots = self._checked_state(state)
        slots = slots or []
        shapes = [array.shape for array in slots[0]] if slots else None
        if self._owner is not None and (owner := self._owner()) is not None and shapes is not None:
            expected = [array.shape for array in owner.get_weights()]
            if shapes != expected:
                raise ValueError(f"state['slots'] has the shapes {shapes}; this network's weights have {expected}")
        vectors = [_join(slot) for slot in slots]
        half = len(vectors) // 2
        self._pairs, self._shapes = list(zip(vectors[:half], vectors[half:], strict=True)), shapes
        self.steps = steps

    def _check_slots(self, slots: list[list[Array]]) -> None:
        if len(slots) % 2 or len(slots) > 2 * self.history:
            raise ValueError(f"state['slots'] has {len(slots)} slots; expected an even number up to {2 * self.history}")
        if any([array.shape for array in slot] != [array.shape for array in slots[0]] for slot in slots):
            raise ValueError("state['slots'] has slots of different shapes; expected those of the weights in each")
        if not all(np.isfinite(array).all() for slot in slots for array in slot):
            raise ValueError("state['slots'] has a non-finite value; expected finite numbers")


class LevenbergMarquardt(SecondOrder):
    """Levenberg-Marquardt: damped Gauss-Newton steps, for the mean squared error of small networks.

    With r the residuals ``prediction - y`` over all rows and outputs, N of them, and J their Jacobian by the weights,
    the step is ``-(J'J / N + damping * I)**-1 (J'r / N)``; weights of rows multiply the sums, and N is their own. A
    step that lowers the loss is taken and the damping divided by 10; else the damping is multiplied by 10 and the step
    tried again. Where none up to a damping of 1e10 lowers the loss, weights and damping stay.

    An iteration takes memory for three square matrices of the number of parameters, and time for a solution of so many
    equations: it is for some hundreds of parameters, a few thousand at most. Both are the work of NumPy's BLAS library,
    which may round otherwise with another number of threads of its own.

    Parameters
    ----------
    damping : float, default 0.001
        That of the first step, above 0.

    Raises
    ------
    TypeError, ValueError
        If it is no such number; in ``fit``, if the loss is not mse, `batch_size` is below the number of rows or a layer
        is not dense, or has l1, l2, max_norm or weight_decay.
    MemoryError
        In ``fit``, if the matrices do not fit in this machine's memory.

    Notes
    -----
    D. W. Marquardt, "An algorithm for least-squares estimation of nonlinear parameters", 1963; M. T. Hagan,
    M. B. Menhaj, "Training feedforward networks with the Marquardt algorithm", 1994.
    """

    __slots__ = ("_damping", "damping")
    _SETTINGS = ("damping",)

    name = "levenberg_marquardt"

    def __init__(self, damping: float = 1e-3) -> None:
        self._begin()
        self.damping = checks.finite_float(damping, "damping", above=0.0)
        self._damping = self.damping

    def check_run(self, names: Iterable[str] | None, loss: str, batch_size: int, n_rows: int) -> None:
        """Refuse other losses than mse, and batches; see `Optimizer.check_run`."""
        if loss != "mse":
            raise ValueError(f"loss is '{loss}'; LevenbergMarquardt takes 'mse', a sum of squares")
        super().check_run(names, loss, batch_size, n_rows)

    def _engine_for(self, network: Any) -> Engine:
        _whole_batch.require_plain_dense(network, type(self).__name__)
        _whole_batch.require_jacobian_memory(network.n_parameters)
        return Engine(network, self)

    def iterate(self, problem: Problem) -> None:
        """Do one iteration; see `SecondOrder.iterate`."""
        start, rows = problem.point()[0], problem.counted
        squares, slope, before = normal_equations(problem.engine.activations, problem.split(start), *rows)
        diagonal = np.einsum("ii->i", squares)
        undamped, damping = diagonal.copy(), self._damping
        while damping <= _MOST_DAMPING:
            diagonal[...] = undamped + damping
            trial = problem.rounded(start - _solved(squares, slope))
            loss = mean_squared_error(problem.engine.activations, problem.split(trial), *rows)
            if loss < before:  # which NaN is not
                self._damping = max(damping / 10, _LEAST_DAMPING)
                problem.settle((trial, loss, None))
                return
            damping *= 10
        problem.settle((start, before, None))

    def _memory(self) -> float:
        return self._damping

    def _set_memory(self, memory: float) -> None:
        self._damping = memory

    def state(self) -> dict[str, Any]:
        """Return what was gathered; see `Optimizer.state`. "damping" is that of the next step; there are no slots."""
        return {"name": self.name, "steps": self.steps, "slots": [], "damping": self._damping}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take over what `state` gave; see `Optimizer.load_state`."""
        steps, _ = self._checked_state(state)
        if "damping" not in state:
            raise ValueError("state has no entry 'damping'; expected that of the next step")
        self._damping = checks.finite_float(state["damping"], "state['damping']", above=0.0)
        self.steps = steps


# ----------------------------------------------------------------------------------------------- towards training


class Engine:
    """The engine of a network as training sees it where a second-order optimizer does the steps."""

    def __init__(self, network: Any, optimizer: SecondOrder) -> None:
        self.inner = network._engine
        self.optimizer = optimizer
        self.activations = [layer.activation for layer in network.layers]
        self.dtype = network.dtype
        self.shapes = [array.shape for array in self.inner.get_weights()]
        self.l2 = _whole_batch.l2_of_parameters(network)

    def job(
        self, X: Inputs, y: Array, *, loss: Loss, batch_size: int, shuffle: bool, seed: int, first_epoch: int,
        optimizer: SecondOrder, slots: Any, record: bool, threads: int | None, weights: Array | None = None,
    ) -> Problem:  # fmt: skip
        """Describe a run; batches and their order have no meaning here."""
        if isinstance(optimizer, LevenbergMarquardt):
            _whole_batch.require_dense_rows(X)
        return Problem(self, X, y, loss, record, threads, weights)

    def run(self, problem: Problem, first_step: int, n_steps: int) -> None:
        """Do iterations; whatever ends one leaves the weights as they were before it."""
        most = engines.get_num_threads()
        bound = nullcontext() if problem.threads is None else engines.threads(min(problem.threads, most))
        with np.errstate(all="ignore"), bound:
            for step in range(first_step, first_step + n_steps):
                weights, memory = self.inner.get_weights(), self.optimizer._memory()
                try:
                    problem.begin(step)
                    self.optimizer.iterate(problem)
                except BaseException:
                    self.inner.set_weights(weights)
                    self.optimizer._set_memory(memory)
                    raise
                self.optimizer.steps += 1

    def finite(self, slots: Any = None) -> bool:
        """Say whether every weight and bias is finite."""
        return bool(self.inner.finite(slots))

    def snapshot(self, slots: Any, into: Any = None) -> Any:
        """Copy aside the weights and what the optimizer remembers."""
        return self.inner.snapshot(slots, None if into is None else into[0]), self.optimizer._memory()

    def restore(self, saved: Any, slots: Any) -> None:
        """Bring back what `snapshot` saw."""
        self.inner.restore(saved[0], slots)
        self.optimizer._set_memory(saved[1])


class Problem:
    """The loss of a network on given rows as a function of one vector, and the record of a run over them."""

    steps_per_epoch = 1

    def __init__(
        self,
        engine: Engine,
        X: Inputs,
        y: Array,
        loss: Loss,
        record: bool,
        threads: int | None,
        weights: Array | None,
    ) -> None:
        self.engine = engine
        self.weights = weights
        self.data: tuple[Any, Array] = X, y
        self.loss = loss
        self.threads = threads
        self.record = record
        self.predictions = np.zeros((len(X), engine.inner.n_out), engine.dtype) if record else None
        self.loss_sum = 0.0  # before the latest iteration, as training's losses are those before their updates
        # For Levenberg-Marquardt, whose rows are dense.
        self.counted = counted(X, y, weights) if isinstance(X, np.ndarray) else (X, y, weights)
        self._weight_sum = float(len(X)) if weights is None else float(np.add.reduce(weights))
        self._latest: tuple[Vector, float, Vector | None] | None = None
        self._tried: list[tuple[Vector, float]] = []  # points and their losses without the penalty

    @property
    def mean_loss(self) -> float:
        """The mean loss over the rows."""
        return self.loss_sum / self._weight_sum

    def begin(self, step: int) -> None:
        """Find the loss and the gradient where the weights are; refuse what is not finite."""
        here = _join(self.engine.inner.get_weights())
        if self._latest is None or self._latest[2] is None or not np.array_equal(here, self._latest[0]):
            self._latest = here, *self.at(here)
        here = self._latest[0]
        self._tried = [(point, loss) for point, loss in self._tried if point is here]
        loss = self._tried[0][1]
        self.loss_sum = loss * self._weight_sum
        if not isfinite(loss):
            raise NonFiniteLoss(step)
        if self.record:
            self.predictions = self.engine.inner.predict(self.data[0])

    def point(self) -> tuple[Vector, float, Vector]:
        """Return where the iteration starts: the weights, their loss and its gradient."""
        assert self._latest is not None
        weights, value, gradient = self._latest
        assert gradient is not None
        return weights, value, gradient

    def at(self, weights: Vector) -> tuple[float, Vector]:
        """Return the loss, with the layers' l2, and its gradient at other weights, which the network then has.

        The loss is infinity for NaN.
        """
        self.engine.inner.set_weights(self.split(weights))
        try:
            value, gradients = self.engine.inner.loss_and_gradients(*self.data, self.loss, self.weights)
        except NonFiniteLoss:  # of a loss of the user's: the line search goes elsewhere, as with a built-in one
            self._tried.append((weights, np.inf))
            return np.inf, np.zeros_like(weights)
        gradient, l2 = _join(gradients), self.engine.l2
        self._tried.append((weights, value))
        if l2 is not None:
            value += 0.5 * _dot(l2 * weights, weights)
            gradient += l2 * weights
        return value if isfinite(value) else np.inf, gradient

    def settle(self, point: tuple[Vector, float, Vector | None]) -> None:
        """Leave the network at a point; its gradient, if it is known, serves the next iteration."""
        self.engine.inner.set_weights(self.split(point[0]))
        self._latest = point

    def rounded(self, weights: Vector) -> Vector:
        """Return weights as the network would hold them."""
        return weights.astype(self.engine.dtype).astype(np.float64)

    def split(self, weights: Vector) -> list[Array]:
        """Return the arrays, in the order of ``get_weights``, of the network's dtype."""
        return _split(weights.astype(self.engine.dtype), self.engine.shapes)


def _join(arrays: Sequence[Array]) -> Vector:
    return np.concatenate([array.ravel() for array in arrays]).astype(np.float64)


def _split(vector: Array, shapes: Sequence[tuple[int, ...]]) -> list[Array]:
    ends = np.cumsum([int(np.prod(shape)) for shape in shapes])
    return [part.reshape(shape).copy() for part, shape in zip(np.split(vector, ends[:-1]), shapes, strict=True)]


# ------------------------------------------------------------------------------------------------------------ L-BFGS


def lbfgs_iteration(
    function: Callable[[Vector], tuple[float, Vector]],
    point: tuple[Vector, float, Vector],
    pairs: Pairs,
    history: int,
    rounded: Callable[[Vector], Vector] = np.copy,
) -> tuple[tuple[Vector, float, Vector], Pairs]:
    """Return the point after one iteration and the pairs that it then remembers.

    Parameters
    ----------
    function : callable
        Value and gradient at a vector.
    point : (vector, value, gradient)
        Where to start.
    pairs : list of (s, y)
        The latest steps and changes of the gradient, the oldest first.
    history : int
        How many of them to keep.
    rounded : callable
        Rounds a vector to where `function` can look.

    Returns
    -------
    point : (vector, value, gradient)
        The same where no step from it is an improvement.
    pairs : list
    """
    x, value, gradient = point
    for remembered in (pairs, []) if pairs else ([],):  # the second time straight down, where the memory misleads
        direction = -lbfgs_product(gradient, remembered)
        slope = _dot(gradient, direction)
        if not slope < 0:
            continue
        first = 1.0 if remembered else min(1.0, 1.0 / float(np.abs(gradient).sum()))

        def along(length: float, direction: Vector = direction) -> tuple[float, float, Any]:
            at = rounded(x + length * direction)
            there, its_gradient = function(at)
            return there, _dot(its_gradient, direction), (at, there, its_gradient)

        found = strong_wolfe(along, value, slope, first)
        if found is not None and found[1] < value:
            s, y = found[0] - x, found[2] - gradient
            curvature = _dot(s, y)
            kept = list(remembered)
            if curvature > 1e-10 * sqrt(_dot(s, s)) * sqrt(_dot(y, y)):
                kept.append((s, y))
            return found, kept[-history:]
    return point, pairs


def _dot(a: Vector, b: Vector) -> float:
    """Return a.b in an order that follows from the length alone; that of a BLAS library may depend on its threads."""
    return float(np.add.reduce(a * b))


def lbfgs_product(gradient: Vector, pairs: Pairs) -> Vector:
    """Return the estimate of the inverse Hessian times the gradient: Nocedal and Wright, algorithm 7.4."""
    q = gradient.copy()
    parts = []
    for s, y in reversed(pairs):
        part = _dot(s, q) / _dot(s, y)
        q -= part * y
        parts.append(part)
    if pairs:
        s, y = pairs[-1]
        q *= _dot(s, y) / _dot(y, y)
    for (s, y), part in zip(pairs, reversed(parts), strict=True):
        q += (part - _dot(y, q) / _dot(s, y)) * s
    return q


# ----------------------------------------------------------------------------------------------- Levenberg-Marquardt

_MOST_DAMPING, _LEAST_DAMPING = 1e10, 1e-20


def _solved(squares: Vector, slope: Vector) -> Vector:
    try:
        return np.asarray(np.linalg.solve(squares, slope), np.float64)
    except np.linalg.LinAlgError:  # singular to rounding: more damping will help
        return np.full_like(slope, np.nan)


ALIASES: dict[str, type[SecondOrder]] = {kind.name: kind for kind in (LBFGS, LevenbergMarquardt)}
