"""Training: what ``fit`` is asked for is checked and put together; one single step; evaluation.

The loop over epochs is in ``fitting``, what few calls need (callbacks, chunks, splits, checkpoints) in modules that are
loaded when they are asked for.

The network's weights, the optimizer and the count of epochs change together or not at all: data that are not finite
leave everything as it was before the call, divergence as it was at the start of its epoch.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from nncore import checks, losses, metrics, optimizers, sparse, targets, weights
from nncore.errors import DivergenceError, NonFiniteData, NonFiniteLoss
from nncore.fitting import Run, undo
from nncore.history import History
from nncore.layers import Dense
from nncore.metrics import value_of
from nncore.sources import Arrays, given_as_chunks

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable

    from nncore.callbacks import Callback, EarlyStopping
    from nncore.chunks import Chunks
    from nncore.losses import Loss
    from nncore.network import LossLike, Sequential
    from nncore.optimizers import Optimizer
    from nncore.sparse import Inputs

    Array = np.ndarray[Any, Any]
    Metric = str | Callable[[Any, Any], float]

_ROWS_PER_EVALUATION = 4096  # bounds the memory that the layers' outputs take
# The random streams of single steps, by the steps done before: above the epochs of `fit`, below the bits of the layers.
_SINGLE_STEPS = 1 << 39


def fit(
    network: Sequential,
    X: Any,
    y: Any,
    *,
    loss: LossLike | None,
    optimizer: str | Optimizer,
    epochs: int | None,
    batch_size: int | None,
    shuffle: bool,
    validation_data: tuple[Any, ...] | None,
    validation_split: float,
    early_stopping: bool | int | EarlyStopping | None,
    sample_weight: Any,
    class_weight: Any,
    metrics: Metric | Iterable[Metric],
    callbacks: Callback | Iterable[Callback],
    verbose: bool | int,
    seed: int | None,
    threads: int | None,
    max_seconds: float | None,
    resume: str | os.PathLike[str] | None,
) -> History:
    """Train `network`; see `Sequential.fit`."""
    loss = trainable_loss(network, loss)
    optimizer = optimizers.get(optimizer)
    if epochs is not None:
        epochs = checks.non_negative_int(epochs, "epochs")
    if batch_size is not None:
        batch_size = checks.positive_int(batch_size, "batch_size")
    shuffle = checks.boolean(shuffle, "shuffle")
    if type(verbose) is not int and not isinstance(verbose, bool | int | np.bool_ | np.integer):
        raise TypeError(f"verbose is {verbose!r}; expected True, False or an integer")
    if type(validation_split) is not float or validation_split:
        validation_split = checks.finite_float(validation_split, "validation_split", low=0.0, below=1.0)
    seed = network.seed if seed is None else checks.seed(seed)
    if threads is not None:
        threads = checks.positive_int(threads, "threads")
    if max_seconds is not None:
        max_seconds = checks.finite_float(max_seconds, "max_seconds", above=0.0)
    measures = {} if type(metrics) is tuple and not metrics else named_metrics(metrics)
    called: tuple[Callback, ...] = ()
    if early_stopping is not None or type(callbacks) is not tuple or callbacks:
        from nncore.callbacks import prepared  # many programs go without

        called = prepared(callbacks, early_stopping)

    chunks = y is None and given_as_chunks(X)
    rows: Array | None = None  # which of the rows given are trained on; None is all
    held_out: tuple[Inputs, Array, Array | None] | None = None  # X, y and weights
    given_weights: Array | None = None
    row_weights: Array | None = None
    mapped = isinstance(X, np.memmap)  # then nobody knows how long it takes to read a row
    spared = 0.0  # multiplications of a row's forward pass that sparse X does without
    if not chunks:
        X = sparse.inputs(network.layers, X, "X", network.dtype)
        network.layers[0].check_inputs(X, "X")
        if isinstance(X, sparse.CSR):
            spared = (network.n_in - X.mean_stored()) * network.layers[0].n_out
        y = _targets(network, y, len(X), loss)
        given_weights = weights.samples(sample_weight, len(X))
    elif sample_weight is not None:
        raise ValueError("sample_weight is given and X gives chunks; expected chunks (X, y, sample_weight)")
    elif isinstance(class_weight, str) and class_weight == "balanced":
        raise ValueError(
            "class_weight is 'balanced' and X gives chunks; expected a dict, or arrays, all of which it takes"
        )
    if validation_data is not None:
        held_out = _validation_data(network, validation_data, validation_split, loss)
    elif validation_split != 0:
        if chunks:
            raise ValueError("validation_split is given and X gives chunks; expected validation_data")
        X, y, rows, held = _split(network, X, y, validation_split, seed, loss, called)
        held_weights = None
        if given_weights is not None:
            apart = np.setdiff1d(np.arange(len(given_weights)), rows)
            held_weights = weights.for_engine(given_weights[apart], None, held[1], loss, "rows held out")
            given_weights = given_weights[rows]
        held_out = *held, held_weights
    names = ["loss", *measures]
    if held_out is not None:
        names += ["val_" + name for name in names]
    for callback in called:
        callback._check(names, chunks)
    if not chunks:
        row_weights = weights.for_engine(given_weights, class_weight, y, loss, "rows to train on", network.n_out)
        _warn_of_single_class(y, loss)
        batch_size = len(X) if batch_size is None else min(batch_size, len(X))
        optimizer.check_run(names, loss.name, batch_size, len(X))
    elif optimizer.second_order:
        raise ValueError(f"X gives chunks; {type(optimizer).__name__} takes all rows at once: expected arrays")

    if epochs is None:
        epochs = 10 if chunks else default_epochs(len(X), batch_size or len(X), optimizer)
    checkpoint = None
    made_with: dict[str, Any] = {}
    if called or resume is not None:  # what a checkpoint says, and a run that goes on from it must have too
        made_with = {
            "loss": repr(loss),
            "batch_size": batch_size,
            "shuffle": shuffle,
            "seed": seed,
            "rows": None if chunks else len(X),
            "rows held out": 0 if held_out is None else len(held_out[0]),
            "weights of CRC-32": weights.checksum(row_weights),
            "class_weight": repr(class_weight) if chunks and class_weight is not None else None,
            "weights held out of CRC-32": None if held_out is None else weights.checksum(held_out[2]),
        }
    if resume is not None:
        from nncore.checkpoints import Checkpoint

        checkpoint = Checkpoint(resume)
        checkpoint.require_fit(network, optimizer, made_with, names, called)
    engine = optimizer._engine_for(network)
    fresh = optimizer._owner is None
    slots = _claim(optimizer, network)
    before, trained = network._history, network._epochs_trained if checkpoint is None else checkpoint.epochs_trained
    settings = {
        "loss": loss,
        "batch_size": batch_size,
        "shuffle": shuffle,
        "seed": seed,
        "first_epoch": trained,
        "optimizer": optimizer,
        "slots": slots,
        "record": bool(measures),
        "threads": threads,
        "weights": row_weights,
    }
    history = History(names)
    if checkpoint is not None:
        checkpoint.load_history(history)
    run = Run(
        network,
        engine,
        _chunks(network, engine, X, loss, class_weight, settings)
        if chunks
        else Arrays(engine, X, y, rows, settings, given_weights),
        optimizer,
        slots,
        history,
        epochs,
        max((network._n_parameters - spared) * (batch_size or 1), network._n_parameters),
        loss,
        measures,
        None if held_out is None else _validation(network, held_out, loss, measures),
        verbose,
    )
    if called or max_seconds is not None:
        run.watch(called, max_seconds, made_with)
    if checkpoint is not None:
        try:
            checkpoint.load_run(run)
        except ValueError:
            if fresh:
                optimizer._release()
            raise
    if mapped:
        run.pace.be_careful()
    network._history = history
    try:
        run.train()
    except (TypeError, ValueError):
        if network._epochs_trained == trained and checkpoint is None:  # all is as it was before the call
            network._history = before
            if fresh:
                optimizer._release()
        raise
    return history


def default_epochs(n_rows: int, batch_size: int, optimizer: Optimizer) -> int:
    """Return the number of epochs of a fit that names none.

    Small tables need many passes before anything is learned, large ones few: ceil(u / steps), but 10 to 200, where
    steps is the number of an epoch's updates, ceil(n_rows / batch_size), and u = 2 n_rows, but 600 to 2,000 updates.
    For optimizers that take all rows at once it is 200 iterations.

    Parameters
    ----------
    n_rows : int
        Rows to train on.
    batch_size : int
        Rows of a step.
    optimizer : Optimizer

    Returns
    -------
    int

    Notes
    -----
    Chosen by cross-validated scores on 14 small tables: see `bench/quality.py` and the page on quality.
    """
    if optimizer.second_order:
        return 200
    steps = -(-n_rows // batch_size)
    updates = min(max(2 * n_rows, 600), 2000)
    return min(max(10, -(-updates // steps)), 200)


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
    made = isinstance(optimizer, str)
    optimizer = optimizers.get(optimizer)
    X = sparse.inputs(network.layers, X, "X", network.dtype)
    y = _targets(network, y, len(X), loss)
    optimizer.check_run(None, loss.name, len(X), len(X))
    samples = weights.samples(sample_weight, len(X))
    row_weights = weights.for_engine(samples, class_weight, y, loss, "rows", network.n_out)
    engine = optimizer._engine_for(network)
    fresh = optimizer._owner is None
    slots = _claim(optimizer, network)
    job = engine.job(
        X,
        y,
        loss=loss,
        batch_size=len(X),
        shuffle=False,
        seed=network._seed,
        first_epoch=_SINGLE_STEPS + optimizer.steps + network._steps_forgotten,
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
        failure: BaseException = error
        if isinstance(error, NonFiniteLoss):
            failure = _diverged(network, error, X, y, row_weights, loss, optimizer)
        undo(error, engine, optimizer, slots, snapshot, steps)
        if isinstance(error, NonFiniteData) and fresh:
            optimizer._release()
        if failure is error:
            raise
        raise failure from None
    if made:
        network._steps_forgotten += 1
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
    X = sparse.inputs(network.layers, X, "X", network.dtype)
    y = _targets(network, y, len(X), loss)
    row_weights = weights.for_engine(weights.samples(sample_weight, len(X)), None, y, loss, "rows")
    _require_finite_rows(X, y)
    return _scores(network, X, y, row_weights, loss, measures)


def loss_and_gradients(
    network: Sequential, X: Any, y: Any, loss: LossLike | None, sample_weight: Any, class_weight: Any
) -> tuple[float, list[Array]]:
    """Return the loss and its gradients; see `Sequential.loss_and_gradients`."""
    loss = trainable_loss(network, loss)
    X = sparse.inputs(network.layers, X, "X", network.dtype)
    y = _targets(network, y, len(X), loss)
    samples = weights.samples(sample_weight, len(X))
    row_weights = weights.for_engine(samples, class_weight, y, loss, "rows", network.n_out)
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


def _validation_data(
    network: Sequential, given: Any, validation_split: float, loss: Loss
) -> tuple[Inputs, Array, Array | None]:
    if validation_split != 0:
        raise ValueError("validation_data and validation_split are both given; expected one of them")
    if not isinstance(given, tuple | list) or len(given) not in (2, 3):
        what = f"{len(given)} parts" if isinstance(given, tuple | list) else f"of type {type(given).__name__}"
        raise TypeError(f"validation_data is {what}; expected (X, y) or (X, y, sample_weight)")
    X = sparse.inputs(network.layers, given[0], "validation_data X", network.dtype)
    network.layers[0].check_inputs(X, "validation_data X")
    y = _targets(network, given[1], len(X), loss, "validation_data y")
    row_weights = weights.samples(given[2] if len(given) == 3 else None, len(X), "validation_data sample_weight")
    row_weights = weights.for_engine(row_weights, None, y, loss, "rows of validation_data")
    _require_finite_rows(X, y, prefix="validation_data ")
    return X, y, row_weights


def _split(
    network: Sequential, X: Inputs, y: Array, fraction: float, seed: int, loss: Loss, called: tuple[Callback, ...]
) -> tuple[Inputs, Array, Array, tuple[Inputs, Array]]:
    """Return the data to train on, their rows, and the data held out."""
    from nncore import validation  # many programs go without

    classes = validation.classes_of(y, loss, network.layers[-1].activation.name)
    rows, held = validation.split(
        len(y), classes, fraction, seed, any(callback._stops_by_validation() for callback in called)
    )
    pair = X[held], y[held]
    _require_finite_rows(*pair, held)
    return X[rows], y[rows], rows, pair


def _validation(
    network: Sequential,
    held_out: tuple[Inputs, Array, Array | None],
    loss: Loss,
    measures: dict[str, Callable[[Any, Any], float]],
) -> Callable[[], dict[str, float]]:
    return lambda: _scores(network, *held_out, loss, measures)


def _chunks(
    network: Sequential, engine: Any, X: Any, loss: Loss, class_weight: Any, settings: dict[str, Any]
) -> Chunks:
    from nncore.chunks import source  # many programs go without

    return source(network, engine, X, loss, class_weight, settings)


def _diverged(
    network: Sequential,
    error: NonFiniteLoss,
    X: Inputs,
    y: Array,
    row_weights: Array | None,
    loss: Loss,
    optimizer: Optimizer,
) -> DivergenceError:
    from nncore.divergence import report

    return report(network, error, X, y, row_weights, loss, optimizer)


def _require_finite_rows(X: Inputs, y: Array, rows: slice | Array = slice(None), prefix: str = "") -> None:
    with np.errstate(all="ignore"):
        sparse.require_finite(prefix + "X", X, rows)
        if y.ndim == 2 or y.dtype.kind == "i":  # another shape is for a loss of the user's, and was looked through
            sparse.require_finite(prefix + "y", y, rows)


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


# -------------------------------------------------------------------------------------------------------- evaluation


def _scores(
    network: Sequential,
    X: Inputs,
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
    mean = _mean(row_losses) if row_weights is None else weights.weighted_mean(row_losses, row_weights)
    values = {name: value_of(metric, predictions, y, row_weights) for name, metric in measures.items()}
    return {"loss": mean, **values}


def _mean(row_losses: Array) -> float:
    return float(np.add.reduce(row_losses)) / len(row_losses)
