"""Training: the loop over epochs around the engine's ``run``, one single step, and evaluation.

The network's weights, the optimizer and the count of epochs change together or not at all: data that are not finite
leave everything as it was before the call, divergence as it was at the start of its epoch.
"""

from __future__ import annotations

import warnings
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from nncore import checks, losses, metrics, optimizers, streams, targets, weights
from nncore.errors import DivergenceError, NonFiniteData, NonFiniteLoss
from nncore.history import History
from nncore.layers import Dense
from nncore.metrics import value_of
from nncore.numpy_backend import require_finite, weighted_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from nncore.losses import Loss
    from nncore.network import LossLike, Sequential
    from nncore.optimizers import Optimizer

    Array = np.ndarray[Any, Any]
    Metric = str | Callable[[Any, Any], float]

# A call of the engine should last about this long, so that Ctrl-C is heard between two of them.
_SECONDS_PER_CALL = 0.05
_ROWS_PER_EVALUATION = 4096  # bounds the memory that the layers' outputs take


def fit(
    network: Sequential,
    X: Any,
    y: Any,
    *,
    loss: LossLike | None,
    optimizer: str | Optimizer,
    epochs: int,
    batch_size: int | None,
    shuffle: bool,
    validation_data: tuple[Any, Any] | None,
    validation_split: float,
    sample_weight: Any,
    class_weight: Any,
    metrics: Metric | Iterable[Metric],
    verbose: bool | int,
    seed: int | None,
    threads: int | None,
) -> History:
    """Train `network`; see `Sequential.fit`."""
    loss = trainable_loss(network, loss)
    optimizer = optimizers.get(optimizer)
    epochs = checks.non_negative_int(epochs, "epochs")
    if batch_size is not None:
        batch_size = checks.positive_int(batch_size, "batch_size")
    if not isinstance(shuffle, bool | np.bool_):
        raise TypeError(f"shuffle is {shuffle!r}; expected True or False")
    if not isinstance(verbose, bool | int | np.bool_ | np.integer):
        raise TypeError(f"verbose is {verbose!r}; expected True, False or an integer")
    seed = network.seed if seed is None else checks.seed(seed)
    if threads is not None:
        threads = checks.positive_int(threads, "threads")
    measures = named_metrics(metrics)

    X = checks.matrix(X, "X", network.n_in, network.dtype)
    y = _targets(network, y, len(X), loss)
    given_weights = weights.samples(sample_weight, len(X))
    rows: Array | None = None  # which of the rows given are trained on; None is all
    validation: tuple[Array, Array, Array | None] | None = None
    if validation_data is not None:
        validation = *_validation_data(network, validation_data, validation_split, loss), None
    elif validation_split != 0:
        rows, held_out = _split(len(X), validation_split, seed)
        held_weights = None
        if given_weights is not None:
            held_weights = weights.for_engine(given_weights[held_out], None, y, loss, "rows held out")
            given_weights = given_weights[rows]
        validation = X[held_out], y[held_out], held_weights
        _require_finite_rows(*validation[:2], held_out)
        X, y = X[rows], y[rows]
    row_weights = weights.for_engine(given_weights, class_weight, y, loss, "rows to train on")
    _warn_of_single_class(y, loss)

    batch_size = len(X) if batch_size is None else min(batch_size, len(X))
    names = ["loss", *measures]
    if validation is not None:
        names += ["val_" + name for name in names]
    optimizer.check_run(names, loss.name, batch_size, len(X))
    engine = optimizer._engine_for(network)
    fresh = optimizer._owner is None
    slots = _claim(optimizer, network)
    before = network._history
    history = network._history = History(names)
    job = engine.job(
        X,
        y,
        loss=loss,
        batch_size=batch_size,
        shuffle=bool(shuffle),
        seed=seed,
        first_epoch=network._epochs_trained,
        optimizer=optimizer,
        slots=slots,
        record=bool(measures),
        threads=threads,
        weights=row_weights,
    )
    pace = _Pace(network.n_parameters * batch_size)
    snapshot = None
    for epoch in range(epochs):
        snapshot, steps = engine.snapshot(slots, snapshot), optimizer.steps
        try:
            _run_epoch(engine, job, slots, epoch, pace)
        except BaseException as error:
            # Ctrl-C keeps what the epoch has done so far; an error does not.
            if isinstance(error, Exception) or not engine.finite(slots):
                engine.restore(snapshot, slots)
                optimizer.steps = steps
            if isinstance(error, NonFiniteLoss):
                step = error.step - epoch * job.steps_per_epoch
                raise DivergenceError(epoch=epoch + 1, step=step + 1, layer=error.layer) from None
            if isinstance(error, NonFiniteData):
                network._history = before
                if fresh and epoch == 0:
                    optimizer._release()
                if rows is not None:
                    raise NonFiniteData(error.argument, int(rows[error.row])) from None
            raise
        network._epochs_trained += 1
        logs = {"loss": job.mean_loss}
        for name, metric in measures.items():
            logs[name] = value_of(metric, job.predictions, y, given_weights)
        if validation is not None:
            logs.update({"val_" + name: value for name, value in _scores(network, *validation, loss, measures).items()})
        for name, value in logs.items():
            history.history[name].append(value)
        optimizer.on_epoch_end(logs)
        if verbose:
            _print_epoch(epoch + 1, epochs, logs)
    return history


def train_step(
    network: Sequential,
    X: Any,
    y: Any,
    optimizer: str | Optimizer,
    loss: LossLike | None,
    sample_weight: Any,
    class_weight: Any,
) -> float:
    """Update `network` once; see `Sequential.train_step`."""
    loss = trainable_loss(network, loss)
    optimizer = optimizers.get(optimizer)
    X = checks.matrix(X, "X", network.n_in, network.dtype)
    y = _targets(network, y, len(X), loss)
    optimizer.check_run(None, loss.name, len(X), len(X))
    row_weights = weights.for_engine(weights.samples(sample_weight, len(X)), class_weight, y, loss, "rows")
    engine = optimizer._engine_for(network)
    fresh = optimizer._owner is None
    slots = _claim(optimizer, network)
    job = engine.job(
        X,
        y,
        loss=loss,
        batch_size=len(X),
        shuffle=False,
        seed=0,
        first_epoch=0,
        optimizer=optimizer,
        slots=slots,
        record=False,
        threads=None,
        weights=row_weights,
    )
    snapshot, steps = engine.snapshot(slots), optimizer.steps
    try:
        engine.run(job, 0, 1)
        if not engine.finite(slots):
            raise NonFiniteLoss(0)
    except BaseException as error:
        if isinstance(error, Exception) or not engine.finite(slots):
            engine.restore(snapshot, slots)
            optimizer.steps = steps
        if isinstance(error, NonFiniteData) and fresh:
            optimizer._release()
        if isinstance(error, NonFiniteLoss):
            raise DivergenceError(layer=error.layer) from None
        raise
    return float(job.mean_loss)


def evaluate(
    network: Sequential,
    X: Any,
    y: Any,
    loss: LossLike | None,
    metrics: Metric | Iterable[Metric],
    sample_weight: Any,
) -> dict[str, float]:
    """Return the loss and the metrics of `network` on data; see `Sequential.evaluate`."""
    loss = resolved_loss(network, loss)
    measures = named_metrics(metrics)
    X = checks.matrix(X, "X", network.n_in, network.dtype)
    y = _targets(network, y, len(X), loss)
    row_weights = weights.for_engine(weights.samples(sample_weight, len(X)), None, y, loss, "rows")
    _require_finite_rows(X, y)
    return _scores(network, X, y, row_weights, loss, measures)


def loss_and_gradients(
    network: Sequential, X: Any, y: Any, loss: LossLike | None, sample_weight: Any, class_weight: Any
) -> tuple[float, list[Array]]:
    """Return the loss and its gradients; see `Sequential.loss_and_gradients`."""
    loss = trainable_loss(network, loss)
    X = checks.matrix(X, "X", network.n_in, network.dtype)
    y = _targets(network, y, len(X), loss)
    row_weights = weights.for_engine(weights.samples(sample_weight, len(X)), class_weight, y, loss, "rows")
    try:
        value, gradients = network._engine.loss_and_gradients(X, y, loss, row_weights)
    except NonFiniteLoss as error:  # of a loss of the user's
        raise DivergenceError(layer=error.layer) from None
    return value, gradients


# --------------------------------------------------------------------------------------------------------- arguments


def resolved_loss(network: Sequential, loss: LossLike | None) -> Loss:
    """Return the loss object; None takes the one that fits the output."""
    return network._default_loss if loss is None else losses.get(loss)


def trainable_loss(network: Sequential, loss: LossLike | None) -> Loss:
    """Return the loss object, or refuse a network with a layer that has no gradient."""
    if network._has_step:
        index = [layer.activation.name for layer in network.layers].index("step")
        raise ValueError(f"layer {index} has the activation step, whose gradient is zero everywhere; it cannot train")
    return resolved_loss(network, loss)


def named_metrics(chosen: Metric | Iterable[Metric]) -> dict[str, Callable[[Any, Any], float]]:
    """Return the metrics by name; one alone need not be in a list."""
    if isinstance(chosen, str) or callable(chosen):
        chosen = (chosen,)
    if not hasattr(chosen, "__iter__"):
        raise TypeError(f"metrics is of type {type(chosen).__name__}; expected names or functions, in a list or alone")
    result: dict[str, Callable[[Any, Any], float]] = {}
    for metric in chosen:
        name = metric if isinstance(metric, str) else getattr(metric, "__name__", type(metric).__name__)
        if name in result or name == "loss":
            raise ValueError(f"metrics has the name {name!r} twice or it is taken; expected different names")
        result[name] = metrics.get(metric)
    return result


def _targets(network: Sequential, y: Any, n_rows: int, loss: Loss, name: str = "y") -> Array:
    return targets.prepare(y, n_rows, network.n_out, network.layers[-1].activation, loss, network.dtype, name)


def _validation_data(network: Sequential, pair: Any, validation_split: float, loss: Loss) -> tuple[Array, Array]:
    if validation_split != 0:
        raise ValueError("validation_data and validation_split are both given; expected one of them")
    if not isinstance(pair, tuple | list) or len(pair) != 2:
        raise TypeError("validation_data is not a pair; expected (X, y)")
    X = checks.matrix(pair[0], "validation_data X", network.n_in, network.dtype)
    y = _targets(network, pair[1], len(X), loss, "validation_data y")
    _require_finite_rows(X, y, prefix="validation_data ")
    return X, y


def _split(n: int, fraction: float, seed: int) -> tuple[Array, Array]:
    """Return the rows to train on and those to hold out, each in ascending order."""
    fraction = checks.finite_float(fraction, "validation_split", low=0.0, below=1.0)
    held_out = round(n * fraction)
    if held_out == 0 or held_out == n:
        raise ValueError(
            f"validation_split is {fraction:g} and X has {n} rows, which leaves {n - held_out} to train on and "
            f"{held_out} to validate; expected at least 1 of each"
        )
    order = streams.permutation(seed, streams.SPLIT, 0, n)
    return np.sort(order[held_out:]), np.sort(order[:held_out])


def _require_finite_rows(X: Array, y: Array, rows: slice | Array = slice(None), prefix: str = "") -> None:
    with np.errstate(all="ignore"):
        require_finite(prefix + "X", X, rows)
        if y.ndim == 2 or y.dtype.kind == "i":  # another shape is for a loss of the user's, and was looked through
            require_finite(prefix + "y", y, rows)


def _warn_of_single_class(y: Array, loss: Loss) -> None:
    if isinstance(loss, losses.OwnLoss):
        return
    labels = loss.name == "cross_entropy" or (loss.name in ("bce", "hinge") and y.shape[1] == 1)
    if labels and targets.single_class(y):
        warnings.warn("y has a single class; the network will learn to answer always that", UserWarning, stacklevel=4)


def _claim(optimizer: Optimizer, network: Sequential) -> Any:
    """Bind the optimizer to the network, and return its slots."""
    optimizer._bind(network)
    if optimizer._slots is None:
        optimizer._make_slots(network._engine)
    return optimizer._slots


# ---------------------------------------------------------------------------------------------------------- the loop


class _Pace:
    """How long a step takes: a cautious guess at first, then as long as in the latest call."""

    __slots__ = ("seconds_per_step",)

    def __init__(self, multiplications_per_pass: int) -> None:
        # Forward and backward are three passes of two operations each, at 5 GFLOP/s or more.
        self.seconds_per_step = 2e-5 + 6 * multiplications_per_pass / 5e9

    def steps(self) -> int:
        return max(1, int(_SECONDS_PER_CALL / self.seconds_per_step))

    def took(self, n_steps: int, seconds: float) -> None:
        # An epoch's last batch may be short and quick: no call says more than that a step is a fifth quicker.
        self.seconds_per_step = max(seconds / n_steps, 0.8 * self.seconds_per_step) + 1e-9


def _run_epoch(engine: Any, job: Any, slots: Any, epoch: int, pace: _Pace) -> None:
    step = epoch * job.steps_per_epoch
    end = step + job.steps_per_epoch
    while step < end:
        n_steps = min(pace.steps(), end - step)
        started = perf_counter()
        engine.run(job, step, n_steps)
        pace.took(n_steps, perf_counter() - started)
        step += n_steps
    if not engine.finite(slots):
        raise NonFiniteLoss(end - 1)


def _print_epoch(epoch: int, epochs: int, logs: dict[str, float]) -> None:
    values = "  ".join(f"{name} {value:.4g}" for name, value in logs.items())
    print(f"epoch {epoch:{len(str(epochs))}d}/{epochs}  {values}", flush=True)


# -------------------------------------------------------------------------------------------------------- evaluation


def _scores(
    network: Sequential,
    X: Array,
    y: Array,
    row_weights: Array | None,
    loss: Loss,
    measures: dict[str, Callable[[Any, Any], float]],
) -> dict[str, float]:
    """Return the mean loss and each metric. The losses that training takes from the logits are so here too."""
    engine = network._engine
    activation = network.layers[-1].activation
    from_logits = None
    if loss.logits_of == activation.name and isinstance(network.layers[-1], Dense):
        from_logits = loss.from_logits_rows
    own = isinstance(loss, losses.OwnLoss)
    weight, bias = engine.get_weights()[-2:] if from_logits is not None else (None, None)
    row_losses = np.empty(len(X))
    predictions = np.empty((len(X), network.n_out), network.dtype)
    for start in range(0, len(X), _ROWS_PER_EVALUATION):
        part = slice(start, start + _ROWS_PER_EVALUATION)
        inputs = [X[part], *engine.forward_layers(X[part])]
        predictions[part] = inputs.pop()
        if own:
            continue
        with np.errstate(all="ignore"):
            if from_logits is None:
                row_losses[part] = loss.rows(predictions[part], y[part])
            else:
                row_losses[part] = from_logits(inputs[-1] @ weight + bias, y[part])
    if isinstance(loss, losses.OwnLoss):  # which need not be a mean over rows
        value, _ = loss.value_and_gradient(predictions, y)
        if row_weights is not None:
            loss.require_rows(value)
        row_losses[:] = value
    mean = _mean(row_losses) if row_weights is None else weighted_mean(row_losses, row_weights)
    values = {name: value_of(metric, predictions, y, row_weights) for name, metric in measures.items()}
    return {"loss": mean, **values}


def _mean(row_losses: Array) -> float:
    return float(np.add.reduce(row_losses)) / len(row_losses)
