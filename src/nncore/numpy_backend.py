"""The NumPy engine: forward, backward and update of a dense network in plain NumPy.

It has the interface of the compiled core (``nncore._core.NativeEngine``), draws the same random numbers and gives the
same results to rounding. All weights lie in one flat buffer, first the weight matrices and then the biases, so that an
optimizer updates the whole network in one sweep; the layers' matrices are views of it. Gradients and each of the
optimizer's slots are laid out alike.

The engine trusts its caller: arguments were checked in ``network`` and ``training``. Only what is found as the data
pass through it, a number that is not finite, is reported from here.
"""

from __future__ import annotations

from _thread import allocate_lock as Lock  # as in _network.py
from math import isfinite, prod, sqrt
from typing import TYPE_CHECKING

import numpy as np

from nncore import checks, losses, numpy_layers, streams
from nncore.errors import NonFiniteLoss, NotReadyShape, NotReadyType
from nncore.heads import head_for
from nncore.numpy_layers import Rows
from nncore.numpy_parameters import NumpyParameters, all_finite
from nncore.sparse import CSR, require_finite
from nncore.specs import LayerSpec
from nncore.weights import counted, row_factors, weighted_mean

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from nncore.heads import Head
    from nncore.losses import Loss
    from nncore.numpy_parameters import NumpySlots
    from nncore.optimizers import Optimizer
    from nncore.sparse import Inputs

    Array = np.ndarray[Any, Any]


# Of a prediction in pieces: multiplications, and rows at least.
_PIECE, _LEAST_PIECE = 500_000_000, 2048


class NumpyEngine(NumpyParameters):
    """Weights of a dense network, and all that is computed with them.

    Parameters
    ----------
    layers : list of LayerSpec
        Or of tuples of their fields.
    dtype : {"float32", "float64"}
        Type of the weights and of all arithmetic.
    """

    __slots__ = ("_first", "n_in", "n_out")

    def __init__(self, layers: Sequence[Sequence[Any]], dtype: str) -> None:
        specs = [LayerSpec(*layer) for layer in layers]
        self.dtype = np.dtype(dtype)
        self.n_in = specs[0].n_in
        self.n_out = specs[-1].n_out
        self._shapes = [spec.shapes for spec in specs]
        self._n_weights = sum(prod(shape) for shapes in self._shapes for shape in shapes if len(shape) == 2)
        self.n_parameters = sum(prod(shape) for shapes in self._shapes for shape in shapes)
        self._lock = Lock()  # a prediction waits for the end of a step
        self._flat = np.zeros(self.n_parameters, self.dtype)
        self._gradient = np.zeros_like(self._flat)
        views = zip(specs, self._views(self._flat), self._views(self._gradient), strict=True)
        self._layers = [numpy_layers.make(spec, index, *parts) for index, (spec, *parts) in enumerate(views)]
        numpy_layers.find_idle_biases(self._layers)
        # gradients by the inputs go no further down than the first layer with parameters
        self._first = next(index for index, shapes in enumerate(self._shapes) if shapes)

    def after_fork(self) -> bool:
        """In the child: let go what a thread of the parent held; say whether that was in the middle of a step."""
        held = self._lock.locked()
        self._lock = Lock()
        return held

    # ------------------------------------------------------------------------------------------------ forward

    def predict(self, X: Inputs) -> Array:
        """Return the outputs (n, n_out) for `X` (n, n_in), a C-contiguous array of the engine's dtype."""
        self._require_ready(X)
        step = max(_LEAST_PIECE, _PIECE // self.n_parameters)
        with self._lock, np.errstate(all="ignore"):
            if len(X) <= step:
                return self._forward(X)[-1]
            result = np.empty((len(X), self.n_out), self.dtype)
            for start in range(0, len(X), step):  # Ctrl-C is heard between them, and memory stays bounded
                result[start : start + step] = self._forward(X[start : start + step])[-1]
            return result

    def forward_layers(self, X: Inputs) -> list[Array]:
        """Return every layer's output, after its activation."""
        self._require_ready(X)
        with np.errstate(all="ignore"):
            return self._forward(X)[1:]

    def _require_ready(self, X: Inputs) -> None:
        ready = isinstance(X, CSR) or (type(X) is np.ndarray and X.flags.c_contiguous)
        if not ready or X.dtype != self.dtype:
            raise NotReadyType(f"X must be a C-contiguous array of {self.dtype}")
        if len(X.shape) != 2 or X.shape[1] != self.n_in or X.shape[0] == 0:
            raise NotReadyShape(f"X has shape {X.shape}; this network takes (n, {self.n_in}) with n > 0")
        self._check_codes(X)

    def _check_codes(self, X: Inputs) -> None:
        if not isinstance(X, CSR):
            checks.codes(X, "X", self._layers[0].spec.tables)

    def _forward(self, x: Inputs) -> list[Array]:
        """Return ``[x, output of layer 0, output of layer 1, ...]``."""
        *outputs, z = self._forward_to_logits(x, None)
        return [*outputs, self._layers[-1].activation(z)]

    def _forward_to_logits(self, x: Inputs, rows: Rows | None) -> list[Array]:
        """Return `x`, the hidden layers' outputs, and what the last layer's activation gets."""
        outputs: list[Any] = [x]
        for layer in self._layers[:-1]:
            outputs.append(layer.forward(outputs[-1], rows))
        return [*outputs, self._layers[-1].logits(outputs[-1], rows)]

    # ----------------------------------------------------------------------------------------------- gradient

    def loss_and_gradients(
        self, X: Inputs, y: Array, loss: str | Loss, weights: Array | None = None
    ) -> tuple[float, list[Array]]:
        """Return the mean loss over the rows and its gradients, in the order of `get_weights`.

        Raises
        ------
        NonFiniteData
            If `X` or `y` holds NaN or infinity.
        NonFiniteLoss
            If a loss of the user's, or its gradient, is not finite.
        """
        own = isinstance(loss, losses.OwnLoss)
        self._check_codes(X)
        with np.errstate(all="ignore"):
            require_finite("X", X)
            if not own:
                require_finite("y", y)
            head = head_for(self._layers[-1].activation, loss, weights is not None)
            rows = Rows(0, 0, 0, False)  # batch statistics as in training, nothing dropped
            row_losses, outputs = self._backward(X, y, head, rows, weights)
            if own and not all_finite(counted(row_losses, weights)):
                raise NonFiniteLoss(0, _first_overflow(outputs, row_losses, weights, own))
            return _mean(row_losses, weights), self._arrays(self._gradient)

    def _backward(
        self, x: Inputs, y: Array, head: Head, rows: Rows, weights: Array | None = None
    ) -> tuple[Array, list[Array]]:
        """Set the gradient to that of the batch's mean loss; return the rows' losses and each layer's outputs."""
        *inputs, z = self._forward_to_logits(x, rows)
        row_losses, predictions, delta = head(z, y)
        if weights is not None:
            delta *= row_factors(weights)[:, None].astype(self.dtype)
            idle = np.flatnonzero(weights == 0)
            if len(idle):  # they add nothing, also where something is infinite: 0 times inf is no 0
                delta[idle] = 0
                for layer, output in zip(self._layers, [*inputs[1:], None], strict=True):
                    layer.discount(idle, output)
        for index in range(len(inputs) - 1, self._first - 1, -1):  # delta is the gradient by the layer's z
            needed = index > self._first
            below = self._layers[index].backward(delta, needed)
            if below is not None and needed:
                delta = below * self._layers[index - 1].slope(inputs[index])
        return row_losses, [*inputs[1:], predictions]

    # ----------------------------------------------------------------------------------------------- training

    def job(self, X: Inputs, y: Array, **settings: Any) -> NumpyJob:
        """Describe a training run over the rows of `X`; see `NumpyJob`."""
        self._check_codes(X)
        return NumpyJob(self, X, y, **settings)

    def run(self, job: NumpyJob, first_step: int, n_steps: int) -> None:
        """Do the steps `first_step` to ``first_step + n_steps - 1`` of a job: gather, forward, backward, update.

        Raises
        ------
        NonFiniteData
            If a row that is met holds NaN or infinity.
        NonFiniteLoss
            If a step's loss is not finite. With either, the steps before it are done and counted, and it itself has
            changed no weight.
        """
        optimizer = job.optimizer
        rates = optimizer._rates(n_steps)
        job.before, steps, whole = self.snapshot(job.slots, job.before), optimizer.steps, True
        try:
            with np.errstate(all="ignore"):
                for step, rate in enumerate(rates.tolist(), start=first_step):
                    rows, x, y = job.batch(step)
                    require_finite("X", x, rows)
                    weights = None if job.weights is None else job.weights[rows]
                    row_losses, outputs = self._backward(x, y, job.head, job.rows(step), weights)
                    weighted = counted(row_losses, weights)
                    if not isfinite(np.add.reduce(row_losses)) and not all_finite(row_losses):
                        if not job.own:
                            require_finite("y", y, rows)  # no bad target can hide: it would be in the loss
                        if not all_finite(weighted):
                            raise NonFiniteLoss(step, _first_overflow(outputs, row_losses, weights, job.own))
                    job.add_losses(step, weighted)
                    if job.predictions is not None:
                        job.predictions[rows] = outputs[-1]
                    whole = False
                    optimizer.steps += 1
                    with self._lock:
                        for layer in self._normalized():
                            layer.keep_running(len(x))
                        self._clip(optimizer)
                        self._regularize(rate)
                        for weight, gradient, slots, decay in job.updates:
                            optimizer.update(weight, gradient, slots, rate, optimizer.steps, decay)
                        self._limit_norms()
                    whole = True
        except BaseException:
            if not whole:  # Ctrl-C within an update: back to where this call began, as half a step is worth nothing
                self.restore(job.before, job.slots)
                optimizer.steps = steps
            raise

    def _clip(self, optimizer: Optimizer) -> None:
        """Bound the gradient's length, then each of its numbers, where the optimizer asks for it."""
        gradient = self._gradient
        if optimizer.clip_norm is not None:
            length = sqrt(np.add.reduce(np.square(gradient, dtype=np.float64)))
            if length > optimizer.clip_norm:
                gradient *= gradient.dtype.type(optimizer.clip_norm / length)
        if optimizer.clip_value is not None:
            limit = gradient.dtype.type(optimizer.clip_value)
            np.clip(gradient, -limit, limit, out=gradient)

    def _regularize(self, rate: float) -> None:
        """Add l1 sign(W) + l2 W to the gradients, and let the weights decay, in the layers that ask for it."""
        for layer in self._layers:
            if not isinstance(layer, numpy_layers.NumpyDense):
                continue
            weight, gradient, spec = layer.weight, layer.gradients[0], layer.spec
            if spec.l1 or spec.l2:
                gradient += weight.dtype.type(spec.l2) * weight
                gradient += weight.dtype.type(spec.l1) * np.sign(weight)
            if spec.decay:
                weight *= weight.dtype.type(1 - rate * spec.decay)

    def _limit_norms(self) -> None:
        """Scale columns of weights that are longer than their layer's max_norm down to it."""
        for layer in self._layers:
            if isinstance(layer, numpy_layers.NumpyDense) and layer.spec.max_norm:
                length = np.sqrt(np.add.reduce(layer.weight * layer.weight, axis=0))
                limit = layer.weight.dtype.type(layer.spec.max_norm)
                layer.weight *= np.where(length > limit, limit / np.maximum(length, limit), 1)

    def _updates(self, slots: NumpySlots, decay: float) -> list[tuple[Array, Array, list[Array], float]]:
        """Return the parts of the buffers that an optimizer is to update: weight decay spares the biases."""
        n = self._n_weights
        parts = [(slice(None), 0.0)] if decay == 0.0 else [(slice(None, n), decay), (slice(n, None), 0.0)]
        return [
            (self._flat[part], self._gradient[part], [slot[part] for slot in slots.flat], part_decay)
            for part, part_decay in parts
        ]


class NumpyJob:
    """The data and the settings of a training run; made by ``engine.job``.

    Parameters
    ----------
    engine : NumpyEngine
        The network.
    X : ndarray of shape (n, n_in)
        C-contiguous and of the engine's dtype; kept, not copied.
    y : ndarray
        Classes (n,) as int32, or targets (n, n_out), C-contiguous and of the engine's dtype.
    loss : str or Loss
        The loss to lower.
    batch_size : int
        Rows of a step, at most n. The last step of an epoch takes what is left.
    shuffle : bool
        Whether each epoch takes the rows in an order of its own.
    seed : int
        Seed of these orders.
    first_epoch : int
        Number of the epoch that step 0 begins, which says what its order is.
    optimizer : Optimizer
        How to update. Its count of steps goes on.
    slots : NumpySlots
        The optimizer's memory.
    record : bool
        Whether to keep predictions.
    threads : int or None
        Not used: it is NumPy's BLAS library that has threads here.
    weights : ndarray of shape (n,), optional
        Of the rows: float64, at least 0, at most 1, not all 0. A batch's loss is sum(w loss) / sum(w), and 0 where no
        row of it counts.
    first_row : int
        How many rows of the epoch other jobs took before. Only the masks of dropout go by it.

    Attributes
    ----------
    steps_per_epoch : int
    predictions : ndarray of shape (n, n_out) or None
        Each row's prediction on its latest visit, before that batch's update.
    loss_sum : float
        The sum of the rows' losses in the epoch so far; set where a run goes on within an epoch.
    """

    __slots__ = (
        "X",
        "_batch_size",
        "_epoch",
        "_first_epoch",
        "_first_row",
        "_order",
        "_seed",
        "_shuffle",
        "_weight_sum",
        "before",
        "head",
        "loss_sum",
        "optimizer",
        "own",
        "predictions",
        "slots",
        "steps_per_epoch",
        "updates",
        "weights",
        "y",
    )

    def __init__(
        self,
        engine: NumpyEngine,
        X: Inputs,
        y: Array,
        *,
        loss: str | Loss,
        batch_size: int,
        shuffle: bool,
        seed: int,
        first_epoch: int,
        optimizer: Optimizer,
        slots: NumpySlots,
        record: bool,
        threads: int | None,
        weights: Array | None = None,
        first_row: int = 0,
    ) -> None:
        n = len(X)
        self.X = X
        self.y = y
        self.weights = weights
        self._weight_sum = float(n) if weights is None else float(np.add.reduce(weights))
        self.own = isinstance(loss, losses.OwnLoss)
        self.head = head_for(engine._layers[-1].activation, loss, weights is not None)
        self.optimizer = optimizer
        self.slots = slots
        self.before: tuple[Array, ...] | None = None  # what a call of `run` found
        self.updates = engine._updates(slots, optimizer.weight_decay)
        self.steps_per_epoch = -(-n // batch_size)
        self.loss_sum = 0.0
        self.predictions = np.zeros((n, engine.n_out), engine.dtype) if record else None
        self._batch_size = batch_size
        self._shuffle = shuffle and batch_size < n  # the order within a batch changes nothing but roundings
        self._seed = seed
        self._first_epoch = first_epoch
        self._first_row = first_row
        self._epoch = -1
        self._order: Array | None = None

    @property
    def mean_loss(self) -> float:
        """The mean loss over the rows, when an epoch is complete; each row's is that before its batch's update."""
        return self.loss_sum / self._weight_sum

    def add_losses(self, step: int, row_losses: Array) -> None:
        """Take note of the losses of a step's rows, times their weights."""
        so_far = 0.0 if step % self.steps_per_epoch == 0 else self.loss_sum
        self.loss_sum = so_far + float(np.add.reduce(row_losses, dtype=np.float64))

    def rows(self, step: int) -> Rows:
        """Return what layers are told of a step's rows."""
        epoch, step_of_epoch = divmod(step, self.steps_per_epoch)
        first = self._first_row + step_of_epoch * self._batch_size
        return Rows(self._seed, self._first_epoch + epoch, first, True)

    def batch(self, step: int) -> tuple[slice | Array, Inputs, Array]:
        """Return the indices of a step's rows, and the rows themselves of X and y."""
        epoch, step_of_epoch = divmod(step, self.steps_per_epoch)
        part = slice(step_of_epoch * self._batch_size, (step_of_epoch + 1) * self._batch_size)
        if not self._shuffle:
            return part, self.X[part], self.y[part]
        if epoch != self._epoch or self._order is None:
            self._order = streams.permutation(self._seed, streams.SHUFFLE, self._first_epoch + epoch, len(self.X))
            self._epoch = epoch
        rows = self._order[part]
        return rows, self.X.take(rows, axis=0), self.y.take(rows, axis=0)


# ---------------------------------------------------------------------------------------------------------- numbers


def _first_overflow(outputs: list[Array], row_losses: Array, weights: Array | None, own: bool) -> int | None:
    """Return the first layer whose output is not finite in the first row that counts and whose loss is not finite.

    A loss of the user's may be one number for all rows: then it is the first row that counts and has such a layer.
    """
    counts = np.ones(len(row_losses), bool) if weights is None else weights > 0
    rows = np.flatnonzero(counts if own else counts & ~np.isfinite(row_losses))
    rows = rows if own else rows[:1]
    finite = np.array([np.isfinite(output[rows]).all(axis=1) for output in outputs])
    wrong = ~finite.all(axis=0)
    return int(finite[:, wrong.argmax()].argmin()) if wrong.any() else None


def _mean(row_losses: Array, weights: Array | None) -> float:
    if weights is None:
        return float(np.add.reduce(row_losses, dtype=np.float64)) / len(row_losses)
    return weighted_mean(row_losses, weights)
