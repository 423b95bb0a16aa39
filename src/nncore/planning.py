"""What a training step costs: operations, the cost model's times and measured ones, and the best number of threads.

The cost model is the core's (``csrc/cost.c``): it says where training begins; while training, the core measures its own
steps and takes the number of threads that is fastest. Here both are made visible. Weights and optimizers stay as they
are: what is measured runs on copies.
"""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from nncore import checks, engines, losses, optimizers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nncore.network import Sequential
    from nncore.optimizers import Optimizer

_BATCHES = 4  # of made-up data that steps are measured on, where they take less than ...
_MOST_BYTES = 64e6
_SECONDS = 0.01  # of a measurement; the median of several counts
_ROUNDS = 5


class LayerCost(NamedTuple):
    """One layer's share of a training step, with one thread; times in seconds.

    `activation` is the layer's, or the kind of a layer that is not dense. `flops`, `predicted` and `measured` are of
    forward, backward (the gradient by the inputs; none for the first layer) and update (the gradient of the weights,
    the optimizer, the transposed copy). Without the native core both times are None.
    """

    n_in: int
    n_out: int
    activation: str
    flops: tuple[float, float, float]
    predicted: tuple[float, float, float] | None
    measured: tuple[float, float, float] | None


class Plan:
    """What ``net.plan`` found; its ``str`` is a table.

    Attributes
    ----------
    batch_size : int
        Rows of a step.
    layers : list of LayerCost
    flops : float
        Floating-point operations of the matrix products of a step.
    peak : float or None
        Operations a second that one core reaches with multiply-adds on registers alone.
    predicted, measured : dict of int to float
        Seconds of a whole step by number of threads. The NumPy backend has one entry in `measured`, under the number
        that NumPy's BLAS library chose itself, written as 0.
    threads : int
        The number with the shortest measured step. Training begins with what the model expects to be best, `begins`,
        and finds this by the same kind of measurement.
    begins : int
    reason : str
        Why.
    """

    def __init__(
        self,
        batch_size: int,
        layers: list[LayerCost],
        peak: float | None,
        predicted: dict[int, float],
        measured: dict[int, float],
        begins: int,
        reason: str,
    ) -> None:
        self.batch_size = batch_size
        self.layers = layers
        self.flops = sum(sum(layer.flops) for layer in layers)
        self.peak = peak
        self.predicted = predicted
        self.measured = measured
        self.threads = min(measured, key=measured.__getitem__)
        self.begins = begins
        self.reason = reason

    def __str__(self) -> str:
        """Return the tables: layers with one thread, then the whole step by number of threads."""
        lines = [f"A step of {self.batch_size} rows: {_short(self.flops)}FLOP in matrix products.", ""]
        if self.peak is not None:
            lines += [*_layer_table(self.layers, self.peak), ""]
        lines += [*_step_table(self), "", f"{self.reason}"]
        return "\n".join(lines)

    __repr__ = __str__


def plan(network: Sequential, batch_size: int, optimizer: str | Optimizer, threads: int | None) -> Plan:
    """Return what a step costs; see `Sequential.plan`."""
    batch_size = checks.positive_int(batch_size, "batch_size")
    like = optimizers.get(optimizer)._fresh()
    if like.second_order:
        raise ValueError(f"optimizer is {like!r}, whose iterations have no fixed number of passes; expected another")
    if threads is not None:
        threads = checks.positive_int(threads, "threads")
    specs = [layer.spec() for layer in network.layers]
    first = next(index for index, spec in enumerate(specs) if spec.shapes)  # needs no gradient by its inputs
    flops = []
    for index, spec in enumerate(specs):
        product = 2.0 * batch_size * spec.n_in * spec.n_out if spec.kind == "dense" else 0.0
        flops.append((product, product if index > first else 0.0, product))
    engine = engines.make(specs, network.dtype, network.backend)
    # Weights of its own: the user's might overflow on made-up data.
    engine.set_weights([array for layer in network.layers for array in layer.initial(0, 0)])
    names = [(spec.n_in, spec.n_out, spec.activation if spec.kind == "dense" else spec.kind) for spec in specs]
    if network.backend == "numpy":
        layers = [LayerCost(*name, f, None, None) for name, f in zip(names, flops, strict=True)]
        measured = _steps(network, engine, like, batch_size, [0])
        return Plan(batch_size, layers, None, {}, measured, 0, "NumPy's BLAS library chooses its threads itself.")
    core = engines.core()
    machine = core.machine(network.dtype.name)
    usable = core.usable_threads()
    most = min(usable if threads is None else threads, usable, batch_size)
    counts = sorted({*(2**k for k in range(most.bit_length()) if 2**k <= most), most})
    predicted = {n: engine.predicted_ns(batch_size, like, n)[0] * 1e-9 for n in counts}
    estimates, found = engine.predicted_ns(batch_size, like, 1)[1], engine.measured_ns(batch_size, like)
    layers = [
        LayerCost(*name, f, _seconds(estimate), _seconds(times))
        for name, f, estimate, times in zip(names, flops, estimates, found, strict=True)
    ]
    measured = _steps(network, engine, like, batch_size, counts)
    begins = engine.first_choice(batch_size, like, most)
    reason = _reason(measured, begins, machine, most)
    return Plan(batch_size, layers, machine["gflops"] * 1e9, predicted, measured, begins, reason)


def _seconds(ns: tuple[float, float, float]) -> tuple[float, float, float]:
    forward, backward, update = (1e-9 * value for value in ns)
    return forward, backward, update


def _steps(network: Sequential, engine: Any, optimizer: Optimizer, rows: int, counts: list[int]) -> dict[int, float]:
    """Return the seconds that a step takes with each number of threads; they take turns on made-up data."""
    loss = losses.default_for(network.layers[-1].activation)
    batches = _BATCHES if _BATCHES * rows * network.n_in * network.dtype.itemsize < _MOST_BYTES else 1
    rng = np.random.default_rng(0)
    X = rng.standard_normal((batches * rows, network.n_in), dtype=network.dtype.type)
    for column, cardinality, _ in network.layers[0].spec().tables:
        X[:, column] = rng.integers(0, cardinality, len(X))
    if loss.name == "cross_entropy":
        y: Any = rng.integers(0, network.n_out, len(X), dtype=np.int32)
    else:
        y = rng.integers(0, 2, (len(X), network.n_out)).astype(network.dtype)
    optimizer.learning_rate = 0.0  # the weights stay where they are, and so does what the step computes
    slots = engine.new_slots(optimizer.n_slots)
    times: dict[int, list[float]] = {n: [] for n in counts}
    for round_ in range(_ROUNDS + 1):
        for n in counts:
            settings = {"threads": n, "exact": True} if n else {"threads": None}
            job = engine.job(
                X, y, loss=loss.name, batch_size=rows, shuffle=batches > 1, seed=0, first_epoch=0, optimizer=optimizer,
                slots=slots, record=False, **settings,
            )  # fmt: skip
            seconds, steps = 0.0, 1
            while True:
                started = perf_counter()
                engine.run(job, 0, steps)
                seconds = perf_counter() - started
                if seconds >= _SECONDS:
                    break
                steps *= 2
            if round_:  # the first is for warming up
                times[n].append(seconds / steps)
    return {n: float(np.median(values)) for n, values in times.items()}


def _reason(measured: dict[int, float], begins: int, machine: dict[str, float], most: int) -> str:
    best = min(measured, key=measured.__getitem__)
    if most == 1:
        return "1 thread: there is one core, one row, or no more is allowed."
    others = ", ".join(f"{_time(value)} with {n}" for n, value in measured.items() if n != best)
    text = f"{best} thread{'s' if best > 1 else ''}: measured {_time(measured[best])} a step, against {others}."
    if begins != best:
        text += f" Training begins with {begins}, as the model expects, and moves as it measures its own steps."
    return text + (
        f" Each further thread waits at two barriers a step ({_time(1e-9 * machine['barrier_ns'])} each here) and "
        f"takes over what others wrote ({machine['line_ns']:.2g} ns for 64 bytes)."
    )


# ------------------------------------------------------------------------------------------------------------ tables


def _short(value: float) -> str:
    for unit, name in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= unit:
            return f"{value / unit:.3g} {name}"
    return f"{value:.3g} "


def _time(seconds: float) -> str:
    for unit, name in ((1.0, "s"), (1e-3, "ms"), (1e-6, "us")):
        if seconds >= unit:
            return f"{seconds / unit:.3g} {name}"
    return f"{seconds * 1e9:.3g} ns"


def _aligned(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    return [lines[0], "-" * len(lines[0]), *lines[1:]]


def _layer_table(layers: list[LayerCost], peak: float) -> list[str]:
    rows: list[tuple[str, ...]] = [
        ("layer", "activation", "FLOP", "forward", "backward", "update", "measured", "predicted", "of FMA peak")
    ]
    for layer in layers:
        if layer.predicted is None or layer.measured is None:
            continue
        measured = sum(layer.measured)
        parts = [_time(part) if part else "-" for part in layer.measured]
        share = sum(layer.flops) / measured / peak
        shape = f"{layer.n_in} -> {layer.n_out}"
        cells = (_short(sum(layer.flops)), *parts, _time(measured), _time(sum(layer.predicted)), f"{share:.0%}")
        rows.append((shape, layer.activation, *cells))
    return ["With one thread:", *_aligned(rows)]


def _step_table(found: Plan) -> list[str]:
    rows = [("threads", "step measured", "predicted", "GFLOP/s", "of FMA peak")]
    for n, seconds in found.measured.items():
        share = "" if found.peak is None else f"{found.flops / seconds / (found.peak * n):.0%}"
        predicted = _time(found.predicted[n]) if n in found.predicted else ""
        name = f"{n or 'BLAS'}{' *' if n == found.threads else '  '}"
        rows.append((name, _time(seconds), predicted, f"{found.flops / seconds / 1e9:.3g}", share))
    return ["The whole step (gather, loss and barriers included):", *_aligned(rows)]
