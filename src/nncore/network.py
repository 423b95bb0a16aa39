"""Networks: layers, their weights in an engine, and all that users do with them.

What changes a network is done by one thread at a time: a lock, which the same thread may take again, makes others wait.
Predictions go on beside it, and see the weights as they are between two calls of the engine.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from nncore import checks, engines, losses, sparse, training
from nncore._network import NetworkBase
from nncore.errors import NotReady
from nncore.history import History
from nncore.layers import Layer, checked_layers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Literal

    from nncore.callbacks import Callback, EarlyStopping
    from nncore.losses import Loss
    from nncore.optimizers import Optimizer
    from nncore.planning import Plan
    from nncore.trace import Trace
    from nncore.training import Metric

    Array = np.ndarray[Any, Any]
    LossLike = str | Loss | Callable[[Any, Any], tuple[Any, Any]]


class Sequential(NetworkBase):
    """A network of layers, each fed by the one before it.

    Parameters
    ----------
    layers : sequence of Dense, Dropout, GaussianNoise, BatchNorm or LayerNorm
        At least one `Dense`; each takes as many inputs as the one before it has outputs. Softmax is for the last one
        only.
    dtype : {"float32", "float64"}
        Type of the weights and of all arithmetic.
    seed : int, default 0
        Key of the random streams, 0 to 2**64 - 1: initial weights, shuffles, splits, dropout and noise follow from it.
    backend : {"native", "numpy"}, optional
        What computes. None goes by the environment variable ``NNCORE_BACKEND``, and without it takes the native
        backend where it loads.

    Raises
    ------
    TypeError, ValueError
        If an argument is of a wrong type or out of range, or the layers do not fit each other.
    ImportError
        If the native backend is asked for and not there.
    MemoryError
        If the weights do not fit in this machine's memory.

    Examples
    --------
    >>> net = Sequential([Dense(2, 8, "tanh"), Dense(8, 1, "sigmoid")], seed=1)
    >>> net.predict([[0.0, 0.0]])
    array([[0.5]], dtype=float32)
    """

    stop_training = False  # callbacks set it to end the `fit` that calls them
    _trains = False  # whether a call of `fit` or `train_step` is under way
    _steps_forgotten = 0  # calls of `train_step` with an optimizer's name

    def __init__(
        self,
        layers: Sequence[Layer],
        *,
        dtype: str = "float32",
        seed: int = 0,
        backend: str | None = None,
    ) -> None:
        self._describe(layers, dtype, seed, backend)
        self._engine.set_weights(self._initial_weights())

    def _describe(self, layers: Sequence[Layer], dtype: str, seed: int, backend: str | None) -> None:
        """Be a network with these settings, whose weights are zeros."""
        self._layers = checked_layers(layers)
        self._dtype = checks.dtype(dtype)
        self._seed = checks.seed(seed)
        self._backend = engines.choose(backend)
        self._n_parameters = sum(layer.n_parameters for layer in self._layers)
        self._has_step = any(layer.activation.name == "step" for layer in self._layers)
        self._default_loss = losses.default_for(self._layers[-1].activation)
        self._epochs_trained = 0
        self._history: History | None = None
        self._set_up_engine()

    def plan(self, batch_size: int = 32, optimizer: str | Optimizer = "adam", *, threads: int | None = None) -> Plan:
        """Say what a training step of `batch_size` rows costs, and how many threads it is worth.

        Parameters
        ----------
        batch_size : int, default 32
            Rows of a step.
        optimizer : str or Optimizer, default "adam"
            Whose updates; an object's settings count, and it is not touched.
        threads : int, optional
            Upper bound for the number of threads.

        Returns
        -------
        nncore.planning.Plan
            Its str is a table: each layer's operations, predicted and measured times and share of the multiply-add
            peak of a core, then the whole step for each number of threads, and why one is best. Measured is a network
            of the same shape with weights of its own, for some tenths of a second or, if steps are long, some dozens.

        Raises
        ------
        TypeError, ValueError
            If an argument does not fit.
        """
        from nncore import planning  # rarely used, so that importing nncore does not load it

        with self._lock:
            return planning.plan(self, batch_size, optimizer, threads)

    # ----------------------------------------------------------------------------------------------- predictions

    def predict(self, X: Any) -> Array:
        """Return the network's outputs.

        Parameters
        ----------
        X : array_like of shape (n, n_in)
            Anything that `numpy.asarray` takes, data frames and sparse matrices. A C-contiguous array of the network's
            dtype is not copied. A row with NaN gives NaN, and touches no other row.

        Returns
        -------
        ndarray of shape (n, n_out)
            A new array. Where another thread trains the network, the weights are those that it has reached.

        Raises
        ------
        TypeError
            If `X` holds anything but real numbers.
        ValueError
            If its shape does not fit.
        """
        # The engine has a lock of its own for this, so that a prediction need not wait for the end of a fit.
        try:
            return self._engine.predict(X)  # type: ignore[no-any-return]
        except NotReady:  # converted, or refused with the reason; what a signal's handler raises is not caught
            return self._engine.predict(sparse.inputs(self._layers, X, "X", self._dtype))  # type: ignore[no-any-return]

    @overload
    def forward(self, X: Any, layers: Literal[False] = False) -> Array: ...

    @overload
    def forward(self, X: Any, layers: Literal[True]) -> list[Array]: ...

    def forward(self, X: Any, layers: bool = False) -> Array | list[Array]:
        """Return the network's outputs, as `predict` does, or the outputs of every layer.

        Parameters
        ----------
        X : array_like of shape (n, n_in)
            As for `predict`.
        layers : bool, default False
            Whether to return each layer's outputs.

        Returns
        -------
        ndarray of shape (n, n_out), or list of one ndarray for each layer

        Raises
        ------
        TypeError, ValueError
            If an argument does not fit.
        """
        if not checks.boolean(layers, "layers"):
            return self.predict(X)
        with self._lock:
            return list(self._engine.forward_layers(sparse.inputs(self._layers, X, "X", self._dtype)))

    def evaluate(
        self,
        X: Any,
        y: Any,
        loss: LossLike | None = None,
        metrics: Metric | Iterable[Metric] = (),
        *,
        sample_weight: Any = None,
    ) -> dict[str, float]:
        """Return the loss and metrics on data.

        Parameters
        ----------
        X, y, loss, metrics
            As for `fit`.
        sample_weight : array_like of shape (n,), optional
            As for `fit`; of the loss, and of the metrics that are named.

        Returns
        -------
        dict of str to float
            "loss", and each metric by its name.

        Raises
        ------
        TypeError, ValueError
            If an argument does not fit, or `X` or `y` is not finite.
        """
        with self._lock:
            return training.evaluate(self, X, y, loss, metrics, sample_weight)

    # -------------------------------------------------------------------------------------------------- training

    def fit(
        self,
        X: Any,
        y: Any = None,
        loss: LossLike | None = None,
        optimizer: str | Optimizer = "adam",
        epochs: int | None = None,
        batch_size: int | None = 32,
        shuffle: bool = True,
        validation_data: tuple[Any, ...] | None = None,
        validation_split: float = 0.0,
        early_stopping: bool | int | EarlyStopping | None = None,
        *,
        sample_weight: Any = None,
        class_weight: dict[int, float] | str | None = None,
        metrics: Metric | Iterable[Metric] = (),
        callbacks: Callback | Iterable[Callback] = (),
        verbose: bool | int = 0,
        seed: int | None = None,
        threads: int | None = None,
        max_seconds: float | None = None,
        resume: str | os.PathLike[str] | None = None,
    ) -> History:
        """Train the network.

        Parameters
        ----------
        X : array_like of shape (n, n_in), or chunks
            Anything that `numpy.asarray` takes, data frames, and sparse matrices where the first layer is `Dense` (see
            `nncore.sparse`); never modified. A C-contiguous array or `numpy.memmap` of the network's dtype is not
            copied. Without `y`, chunks (X, y) or (X, y, sample_weight); see `nncore.chunks`.
        y : array_like, optional
            Targets (n, n_out), or (n,) for one output. For softmax and cross_entropy also labels, 0 to n_out - 1, of
            shape (n,) or (n, 1). None where `X` gives chunks.
        loss : str or Loss, optional
            A name or an object of `nncore.losses`, or a function ``loss(pred, target)`` of your own, which returns the
            loss and its gradient: see `losses.OwnLoss`. None takes cross_entropy for a softmax output, bce for sigmoid,
            else mse.
        optimizer : str or Optimizer, default "adam"
            A name makes a new one with its defaults. An object keeps its state from call to call, and belongs to the
            first network that it trains. "lbfgs" and "levenberg_marquardt" take all rows at once (`batch_size` None):
            an epoch is one iteration.
        epochs : int, optional
            How often to go through the rows; 0 changes nothing. None takes 10 to 200, on small data as many as give 2
            updates for each row, but 600 to 2,000 in all; with chunks 10, and 200 iterations of an optimizer that takes
            all rows at once. See `nncore.training.default_epochs`.
        batch_size : int, optional
            Rows of a step; None takes all. The last step of an epoch takes what is left.
        shuffle : bool, default True
            Whether each epoch takes the rows in a new order, which follows from the seed and `epochs_trained`.
        validation_data : (X, y) or (X, y, sample_weight), optional
            Data to evaluate after each epoch; the weights of their rows count in the loss and the metrics named.
        validation_split : float, default 0
            Fraction of the rows, of each class alike, held out at random by the seed and evaluated after each epoch.
        early_stopping : bool, int or EarlyStopping, optional
            Whether to end when the loss of validation, or without it of training, has not improved for so many epochs
            (True: 10), with the best weights; see `nncore.callbacks.EarlyStopping`.
        sample_weight : array_like of shape (n,), optional
            A weight for each row, finite and at least 0, not all 0. The loss of a batch is then sum(w loss) / sum(w),
            and so are that of the epoch over its rows, and the metrics that are named. Where no row of a batch counts,
            the gradient is 0: the data change nothing, momentum and weight decay go on. Rows held out keep theirs.
        class_weight : dict of class to float, or "balanced", optional
            Weights of the classes, times `sample_weight` in the loss that is trained, not in metrics or validation; a
            class that is not named weighs 1. "balanced" is n / (k count) for n rows of k classes.
        metrics : sequence of str or callable
            Names of `nncore.metrics`, such as "accuracy", or functions metric(pred, target).
        callbacks : Callback or sequence of Callback
            What to call between epochs and steps; see `nncore.callbacks`.
        verbose : bool or int, default 0
            Whether to print a line for each epoch, with the time that is left where it is a second or more.
        seed : int, optional
            Replaces the network's seed for this call's random numbers: the order of the rows, what `Dropout` and
            `GaussianNoise` draw, and which rows `validation_split` holds out. Initial weights are the network's.
        threads : int, optional
            Upper bound for the number of threads.
        max_seconds : float, optional
            Time budget: training ends after the step that exceeds it; only whole epochs are in the history.
        resume : path_like, optional
            File of a `nncore.callbacks.Checkpoint`, from which the run goes on, to the same bits, up to `epochs` in
            all. Other arguments are to be those of that run; weights, optimizer, its rate and history are the file's.

        Returns
        -------
        History
            Its `stopped` says why training ended.

        Raises
        ------
        TypeError, ValueError
            If an argument does not fit, or `X` or `y` is not finite: the network is as it was before the call.
        DivergenceError
            If the loss or the weights overflow: the network is as at the epoch's start, or early stopping's best.
        OSError
            If a file of `resume` or a callback cannot be read or written.
        RuntimeError
            If a call of `fit` or `train_step` of this network is under way in the same thread: what that calls
            (callbacks, metrics, losses, chunks of data) must not train the network. Another thread's call waits.

        Warns
        -----
        UserWarning
            If all of y is one class.

        Notes
        -----
        Ctrl-C raises KeyboardInterrupt between two steps; `history` has the finished epochs.
        """
        with self._lock:
            if self._trains:
                raise _nested("fit")
            try:  # in line: no Ctrl-C can come between
                self._trains = True
                return training.fit(
                    self,
                    X,
                    y,
                    loss=loss,
                    optimizer=optimizer,
                    epochs=epochs,
                    batch_size=batch_size,
                    shuffle=shuffle,
                    validation_data=validation_data,
                    validation_split=validation_split,
                    early_stopping=early_stopping,
                    sample_weight=sample_weight,
                    class_weight=class_weight,
                    metrics=metrics,
                    callbacks=callbacks,
                    verbose=verbose,
                    seed=seed,
                    threads=threads,
                    max_seconds=max_seconds,
                    resume=resume,
                )
            finally:
                self._trains = False

    def train_step(
        self,
        X: Any,
        y: Any,
        optimizer: str | Optimizer,
        loss: LossLike | None = None,
        *,
        sample_weight: Any = None,
        class_weight: dict[int, float] | str | None = None,
    ) -> float:
        """Update the weights once, with all rows as one batch.

        Parameters
        ----------
        X, y, optimizer, loss, sample_weight, class_weight
            As for `fit`.

        Returns
        -------
        float
            The mean loss before the update.

        Raises
        ------
        TypeError, ValueError
            If an argument does not fit, or `X` or `y` is not finite.
        DivergenceError
            If the loss or the weights overflow. With all of these the network is as it was.
        RuntimeError
            As for `fit`.
        """
        with self._lock:
            if self._trains:
                raise _nested("train_step")
            try:
                self._trains = True
                return training.train_step(self, X, y, optimizer, loss, sample_weight, class_weight)
            finally:
                self._trains = False

    def loss_and_gradients(
        self,
        X: Any,
        y: Any,
        loss: LossLike | None = None,
        *,
        sample_weight: Any = None,
        class_weight: dict[int, float] | str | None = None,
    ) -> tuple[float, list[Array]]:
        """Return the mean loss over all rows and its gradients.

        Parameters
        ----------
        X, y, loss, sample_weight, class_weight
            As for `fit`.

        Returns
        -------
        loss : float
        gradients : list of ndarray
            In the order and shapes of `get_weights`.

        Raises
        ------
        TypeError, ValueError
            If an argument does not fit, or `X` or `y` is not finite.
        DivergenceError
            If a loss of your own, or its gradient, is not finite.
        """
        with self._lock:
            return training.loss_and_gradients(self, X, y, loss, sample_weight, class_weight)

    def trace(
        self,
        x: Any,
        y: Any,
        loss: LossLike | None = None,
        optimizer: str | Optimizer | None = None,
        *,
        limit: int = 8,
    ) -> Trace:
        """Show one training iteration of dense layers and normalisations, as arrays and as a table; change nothing.

        Parameters
        ----------
        x, y : array_like of shape (n_in,) or (n, n_in), and targets as for `fit`
            One row or a few, which make one batch; for one row also a single number each.
        loss, optimizer
            As for `fit`; without an optimizer ``SGD(0.01)`` makes the new weights.
        limit : int, default 8
            Of how many rows and columns of an array the table has at most; at least 2.

        Returns
        -------
        nncore.trace.Trace
            Its ``str`` is the table.

        Raises
        ------
        TypeError, ValueError, DivergenceError
            If an argument does not fit or there is another layer; if the loss or the new weights overflow.
        """
        from nncore.trace import trace  # rarely used, so that importing nncore does not load it

        with self._lock:
            return trace(self, x, y, loss, optimizer, limit=limit)

    def encoder(self, k: int) -> Sequential:
        """Return the first layers as a network of their own, whose outputs are the features that they have learned.

        Parameters
        ----------
        k : int
            How many layers, 1 to all of them.

        Returns
        -------
        Sequential
            Like this one, with copies of the weights; its outputs are layer k - 1 of ``forward(X, layers=True)``.

        Raises
        ------
        TypeError, ValueError
            If `k` is no integer from 1 to the number of layers, or the last of these is `Dropout` or `GaussianNoise`.
        """
        k = checks.positive_int(k, "k")
        if k > len(self._layers):
            raise ValueError(f"k is {k}; this network has {len(self._layers)} layers, so expected at most that")
        try:
            part = Sequential(self._layers[:k], dtype=self._dtype.name, seed=self._seed, backend=self._backend)
        except ValueError as error:
            raise ValueError(f"k is {k}, and the first {k} of the layers are no network: {error}") from None
        part.set_weights(self.get_weights()[: len(part.get_weights())])
        part.set_state(self.get_state()[: len(part.get_state())])
        return part

    def save(self, path: str | os.PathLike[str]) -> None:
        """Save the network as an .npz or .safetensors file, by the name's ending; see `nncore.io.save`."""
        from nncore.io import save  # above this module: it makes networks

        save(self, path)


def _nested(method: str) -> RuntimeError:
    """Return the refusal of what a fit of this thread has come to call: it would overwrite what that goes back to."""
    return RuntimeError(
        f"{method} is called while this network is being trained; callbacks, metrics, losses and chunks of data must "
        "not train it"
    )
