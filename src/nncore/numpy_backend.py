"""The NumPy engine: forward, backward and update of a dense network in plain NumPy.

It has the interface of the compiled core (``nncore._core.NativeEngine``), draws the same random numbers and gives the
same results to rounding. All weights lie in one flat buffer, first the weight matrices and then the biases, so that an
optimizer updates the whole network in one sweep; the layers' matrices are views of it. Gradients and each of the
optimizer's slots are laid out alike.

The engine trusts its caller: arguments were checked in ``network`` and ``training``. Only what is found as the data
pass through it, a number that is not finite, is reported from here.
"""

from __future__ import annotations

from math import isfinite
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np

from nncore import activations, streams
from nncore.errors import NonFiniteData, NonFiniteLoss
from nncore.heads import head_for

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from nncore.heads import Head
    from nncore.optimizers import Optimizer

    Array = np.ndarray[Any, Any]
    LayerSpec = tuple[int, int, str, float]


class NumpyEngine:
    """Weights of a dense network, and all that is computed with them.

    Parameters
    ----------
    layers : list of (n_in, n_out, activation, alpha)
        One tuple for each layer; `activation` is a name and `alpha` the slope of leaky_relu (0.0 elsewhere).
    dtype : {"float32", "float64"}
        Type of the weights and of all arithmetic.
    """

    __slots__ = (
        "_activations",
        "_biases",
        "_flat",
        "_gradient",
        "_gradient_biases",
        "_gradient_weights",
        "_lock",
        "_n_weights",
        "_shapes",
        "_weights",
        "dtype",
        "n_in",
        "n_out",
        "n_parameters",
    )

    def __init__(self, layers: Sequence[LayerSpec], dtype: str) -> None:
        self.dtype = np.dtype(dtype)
        self.n_in = layers[0][0]
        self.n_out = layers[-1][1]
        self._activations = [
            activations.LeakyReLU(alpha) if name == "leaky_relu" else activations.get(name)
            for _, _, name, alpha in layers
        ]
        self._shapes = [(n_in, n_out) for n_in, n_out, _, _ in layers]
        self._n_weights = sum(n_in * n_out for n_in, n_out in self._shapes)
        self.n_parameters = self._n_weights + sum(n_out for _, n_out in self._shapes)
        self._lock = Lock()  # a prediction waits for the end of a step
        self._flat = np.zeros(self.n_parameters, self.dtype)
        self._weights, self._biases = self._views(self._flat)
        self._gradient = np.zeros_like(self._flat)
        self._gradient_weights, self._gradient_biases = self._views(self._gradient)

    # ------------------------------------------------------------------------------------------------ weights

    def _views(self, flat: Array) -> tuple[list[Array], list[Array]]:
        """Cut a flat buffer into the layers' matrices and biases, without a copy."""
        weights, biases = [], []
        at, bias_at = 0, self._n_weights
        for n_in, n_out in self._shapes:
            weights.append(flat[at : at + n_in * n_out].reshape(n_in, n_out))
            biases.append(flat[bias_at : bias_at + n_out])
            at += n_in * n_out
            bias_at += n_out
        return weights, biases

    def _arrays(self, flat: Array) -> list[Array]:
        """Copy a flat buffer out as ``[W0, b0, W1, b1, ...]``."""
        weights, biases = self._views(flat)
        return [array.copy() for pair in zip(weights, biases, strict=True) for array in pair]

    def _load(self, flat: Array, arrays: Sequence[Array]) -> None:
        """Copy ``[W0, b0, W1, b1, ...]`` into a flat buffer."""
        weights, biases = self._views(flat)
        for view, array in zip(weights, arrays[::2], strict=True):
            view[...] = array
        for view, array in zip(biases, arrays[1::2], strict=True):
            view[...] = array

    def set_weights(self, arrays: Sequence[Array]) -> None:
        """Copy ``[W0, b0, W1, b1, ...]`` in; W is (n_in, n_out)."""
        with self._lock:
            self._load(self._flat, arrays)

    def get_weights(self) -> list[Array]:
        """Return copies ``[W0, b0, W1, b1, ...]``."""
        with self._lock:
            return self._arrays(self._flat)

    def finite(self, slots: NumpySlots | None = None) -> bool:
        """Say whether every weight and bias is finite, and all that the optimizer keeps."""
        return _all_finite(self._flat) and (slots is None or _all_finite(slots.flat))

    def new_slots(self, n: int) -> NumpySlots:
        """Return `n` zeroed copies of the parameters' shapes: an optimizer's memory."""
        return NumpySlots(self, n)

    def snapshot(self, slots: NumpySlots | None, into: tuple[Array, ...] | None = None) -> tuple[Array, ...]:
        """Copy weights and slots aside, into an earlier snapshot's memory where one is given."""
        live = (self._flat,) if slots is None else (self._flat, slots.flat)
        if into is None:
            return tuple(array.copy() for array in live)
        for saved, array in zip(into, live, strict=True):
            np.copyto(saved, array)
        return into

    def restore(self, snapshot: tuple[Array, ...], slots: NumpySlots | None) -> None:
        """Bring weights and slots back to what `snapshot` saw."""
        live = (self._flat,) if slots is None else (self._flat, slots.flat)
        with self._lock:
            for array, saved in zip(live, snapshot, strict=True):
                np.copyto(array, saved)

    # ------------------------------------------------------------------------------------------------ forward

    def predict(self, X: Array) -> Array:
        """Return the outputs (n, n_out) for `X` (n, n_in), a C-contiguous array of the engine's dtype."""
        self._require_ready(X)
        with self._lock, np.errstate(all="ignore"):
            return self._forward(X)[-1]

    def forward_layers(self, X: Array) -> list[Array]:
        """Return every layer's output, after its activation."""
        self._require_ready(X)
        with np.errstate(all="ignore"):
            return self._forward(X)[1:]

    def _require_ready(self, X: Array) -> None:
        if type(X) is not np.ndarray or X.dtype != self.dtype or not X.flags.c_contiguous:
            raise TypeError(f"X must be a C-contiguous array of {self.dtype}")
        if X.ndim != 2 or X.shape[1] != self.n_in or X.shape[0] == 0:
            raise ValueError(f"X has shape {X.shape}; this network takes (n, {self.n_in}) with n > 0")

    def _forward(self, x: Array) -> list[Array]:
        """Return ``[x, output of layer 0, output of layer 1, ...]``."""
        *outputs, z = self._forward_to_logits(x)
        return [*outputs, self._activations[-1](z)]

    def _forward_to_logits(self, x: Array) -> list[Array]:
        """Return `x`, the hidden layers' outputs, and what the last layer's activation gets."""
        outputs = [x]
        for layer, activation in enumerate(self._activations):
            z = outputs[-1] @ self._weights[layer]
            z += self._biases[layer]
            outputs.append(z if layer == len(self._weights) - 1 else activation(z))
        return outputs

    # ----------------------------------------------------------------------------------------------- gradient

    def loss_and_gradients(self, X: Array, y: Array, loss: str) -> tuple[float, list[Array]]:
        """Return the mean loss over the rows and its gradients, in the order of `get_weights`.

        Raises
        ------
        NonFiniteData
            If `X` or `y` holds NaN or infinity.
        """
        with np.errstate(all="ignore"):
            require_finite("X", X)
            require_finite("y", y)
            row_losses, _ = self._backward(X, y, head_for(self._activations[-1], loss))
            return _mean(row_losses), self._arrays(self._gradient)

    def _backward(self, x: Array, y: Array, head: Head) -> tuple[Array, Array]:
        """Set the gradient to that of the batch's mean loss; return the rows' losses and the predictions."""
        *inputs, z = self._forward_to_logits(x)
        row_losses, predictions, delta = head(z, y)
        for layer in range(len(inputs) - 1, -1, -1):  # delta is the gradient with respect to the layer's z
            np.matmul(inputs[layer].T, delta, out=self._gradient_weights[layer])
            np.add.reduce(delta, axis=0, out=self._gradient_biases[layer])
            if layer > 0:
                delta = delta @ self._weights[layer].T
                delta *= self._activations[layer - 1].gradient_from_output(inputs[layer])
        return row_losses, predictions

    # ----------------------------------------------------------------------------------------------- training

    def job(self, X: Array, y: Array, **settings: Any) -> NumpyJob:
        """Describe a training run over the rows of `X`; see `NumpyJob`."""
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
        job.before, steps, whole = self.snapshot(job.slots, job.before), optimizer.steps, True
        try:
            with np.errstate(all="ignore"):
                for step in range(first_step, first_step + n_steps):
                    rows, x, y = job.batch(step)
                    require_finite("X", x, rows)
                    row_losses, predictions = self._backward(x, y, job.head)
                    if not isfinite(np.add.reduce(row_losses)) and not _all_finite(row_losses):
                        require_finite("y", y, rows)  # no bad target can hide: it would be in the loss
                        raise NonFiniteLoss(step, self._first_overflow(x))
                    job.add_losses(step, row_losses)
                    if job.predictions is not None:
                        job.predictions[rows] = predictions
                    whole = False
                    optimizer.steps += 1
                    with self._lock:
                        for weight, gradient, slots, decay in job.updates:
                            optimizer.update(weight, gradient, slots, optimizer.learning_rate, optimizer.steps, decay)
                    whole = True
        except BaseException:
            if not whole:  # Ctrl-C within an update: back to where this call began, as half a step is worth nothing
                self.restore(job.before, job.slots)
                optimizer.steps = steps
            raise

    def _first_overflow(self, x: Array) -> int | None:
        """Return the index of the first layer whose output is not finite."""
        for layer, output in enumerate(self._forward(x)[1:]):
            if not _all_finite(output):
                return layer
        return None

    def _updates(self, slots: NumpySlots, decay: float) -> list[tuple[Array, Array, list[Array], float]]:
        """Return the parts of the buffers that an optimizer is to update: weight decay spares the biases."""
        n = self._n_weights
        parts = [(slice(None), 0.0)] if decay == 0.0 else [(slice(None, n), decay), (slice(n, None), 0.0)]
        return [
            (self._flat[part], self._gradient[part], [slot[part] for slot in slots.flat], part_decay)
            for part, part_decay in parts
        ]


class NumpySlots:
    """An optimizer's memory: copies of the parameters' shapes, one row of `flat` for each slot."""

    __slots__ = ("_engine", "flat")

    def __init__(self, engine: NumpyEngine, n: int) -> None:
        self._engine = engine
        self.flat = np.zeros((n, engine.n_parameters), engine.dtype)

    def arrays(self) -> list[list[Array]]:
        """Return copies of the slots, each in the order of ``get_weights``."""
        return [self._engine._arrays(flat) for flat in self.flat]

    def load(self, slots: Sequence[Sequence[Array]]) -> None:
        """Copy in what `arrays` gave."""
        for flat, arrays in zip(self.flat, slots, strict=True):
            self._engine._load(flat, arrays)


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
    loss : {"mse", "bce", "cross_entropy"}
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
        "_order",
        "_seed",
        "_shuffle",
        "before",
        "head",
        "loss_sum",
        "optimizer",
        "predictions",
        "slots",
        "steps_per_epoch",
        "updates",
        "y",
    )

    def __init__(
        self,
        engine: NumpyEngine,
        X: Array,
        y: Array,
        *,
        loss: str,
        batch_size: int,
        shuffle: bool,
        seed: int,
        first_epoch: int,
        optimizer: Optimizer,
        slots: NumpySlots,
        record: bool,
        threads: int | None,
    ) -> None:
        n = len(X)
        self.X = X
        self.y = y
        self.head = head_for(engine._activations[-1], loss)
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
        self._epoch = -1
        self._order: Array | None = None

    @property
    def mean_loss(self) -> float:
        """The mean loss over the rows, when an epoch is complete; each row's is that before its batch's update."""
        return self.loss_sum / len(self.X)

    def add_losses(self, step: int, row_losses: Array) -> None:
        """Take note of the losses of a step's rows."""
        so_far = 0.0 if step % self.steps_per_epoch == 0 else self.loss_sum
        self.loss_sum = so_far + float(np.add.reduce(row_losses, dtype=np.float64))

    def batch(self, step: int) -> tuple[slice | Array, Array, Array]:
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


def _all_finite(array: Array) -> bool:
    return bool(np.isfinite(array).all())


def _mean(row_losses: Array) -> float:
    return float(np.add.reduce(row_losses, dtype=np.float64)) / len(row_losses)


def require_finite(argument: str, batch: Array, rows: slice | Array = slice(None)) -> None:
    """Raise `NonFiniteData` for the first row of `batch` with a number that is not finite.

    `rows` are the batch's rows in the array that the user gave.
    """
    if batch.dtype.kind == "i":
        return
    flat = batch.reshape(-1)
    # One quick pass: the sum of squares is finite, or something is not (or has only overflowed).
    if isfinite(flat.dot(flat)):
        return
    wrong = ~np.isfinite(batch).all(axis=1)
    if wrong.any():
        first = int(wrong.argmax())
        row = first + (rows.start or 0) if isinstance(rows, slice) else rows[first]
        raise NonFiniteData(argument, int(row))
