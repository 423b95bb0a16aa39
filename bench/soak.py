"""Random networks for as long as you like in one process: results held against NumPy, memory held flat.

    python bench/soak.py [--minutes 20] [--seed 0] [--case N]

Each case draws layers, activations, loss, optimizer, type, batch, weights of rows and number of threads from its number
and the seed, so that `--case N` repeats one. It then asks of the native backend:
- the outputs, the loss and its gradients of the NumPy backend, at the same weights;
- the outputs of the NumPy backend after training both in the same way.
  A network may amplify rounding (a normalisation over almost equal numbers, a kink, a sign): where any of these differ
  by more than the limits below, NumPy does the same again with weights, and weights of rows, that are some roundings
  off, and what that changes says how much may differ;
- the same bits when another number of threads trains, when a network is saved and loaded, and when it is copied.
A line a minute says how many cases there were, the resident set, and the largest deviation of each kind and type. The
exit status is 1 at the first deviation above its limit, and where the resident set leaves a band of 5 MB after the
warm-up, the first third of the time but three minutes at most.
"""

from __future__ import annotations

import argparse
import copy
import gc
import sys
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

import nncore as nn

Array = np.ndarray[Any, Any]

SMOOTH = ("identity", "sigmoid", "tanh", "softplus", "gelu", "gelu_tanh", "silu", "mish")
KINKED = ("relu", "leaky_relu", "elu", "selu", "hard_sigmoid", "hard_tanh", "hard_silu")
HEADS = (  # output and loss
    ("softmax", "cross_entropy"), ("sigmoid", "bce"), ("identity", "mse"), ("identity", "mae"), ("identity", "huber"),
    ("identity", "quantile"), ("identity", "cosine"), ("identity", "hinge"), ("exponential", "poisson"),
)  # fmt: skip
KINKED_LOSSES = ("mae", "quantile", "hinge")
OPTIMIZERS: dict[str, Callable[[], Any]] = {
    "sgd": lambda: nn.SGD(0.02, clip_norm=1.0),
    "momentum": lambda: nn.SGD(0.01, momentum=0.9, nesterov=True, weight_decay=1e-4, clip_norm=1.0),
    "adam": lambda: nn.Adam(2e-3),
    "adamw": lambda: nn.AdamW(2e-3, clip_norm=1.0),
    "nadam": lambda: nn.NAdam(2e-3, clip_value=0.5),
    "rmsprop": lambda: nn.RMSprop(1e-3),
    "adagrad": lambda: nn.Adagrad(1e-2),
    "lion": lambda: nn.Lion(1e-4),
}
# Largest differences that pass, of outputs over the largest output, of gradients over the largest. A
# kink's two sides may be taken where rounding decides, and in float32 a row's whole part then comes or goes.
FORWARD = {"float32": 2e-4, "float64": 1e-11}
GRADIENT = {"float32": 5e-3, "float64": 1e-9}
KINKED_GRADIENT = {"float32": 0.5, "float64": 1e-9}
TRAINED = {"float32": 1e-3, "float64": 1e-9}
NUDGES, NUDGE, SPREAD = 4, 16, 30  # runs from weights so many roundings off; how many times what they differ passes
BAND = 5e6  # bytes


class Violation(Exception):
    """A result that is not what it must be, or memory that grows."""


@dataclass
class Case:
    """What is drawn for one network and its training."""

    number: int
    layers: Callable[[], list[Any]]
    head: tuple[str, str]
    kinked: bool
    dtype: str
    optimizer: str
    X: Array
    y: Array
    settings: dict[str, Any]
    threads: int
    text: str

    def network(self, backend: str) -> Any:
        """Return the network, untrained."""
        return nn.Sequential(self.layers(), dtype=self.dtype, seed=self.number, backend=backend)

    def train(self, net: Any) -> Any:
        """Train it and return what `fit` does."""
        return net.fit(self.X, self.y, self.head[1], OPTIMIZERS[self.optimizer](), **self.settings)

    def trained(self, net: Any, weights: Array | None) -> Array:
        """Train it with these weights of rows, and return its outputs."""
        replace(self, settings={**self.settings, "sample_weight": weights}).train(net)
        return np.asarray(net.predict(self.X))

    def gradients(self, net: Any, weights: Array | None) -> tuple[float, Array]:
        """Return the loss and all its gradients, one after the other."""
        loss, gradients = net.loss_and_gradients(self.X, self.y, self.head[1], sample_weight=weights)
        return loss, np.concatenate([g.ravel() for g in gradients])


def draw(seed: int, number: int) -> Case:
    """Return the case of this number."""
    rng = np.random.default_rng([seed, number])
    dtype = str(rng.choice(["float32", "float64"]))
    sizes = [int(n) for n in rng.integers(1, rng.choice([6, 20, 70]), rng.integers(2, 6))]
    output, loss = HEADS[rng.integers(len(HEADS))]
    if loss in ("cross_entropy", "cosine"):
        sizes[-1] += 1
    kinked = bool(rng.random() < 0.5)
    activations = rng.choice(KINKED if kinked else SMOOTH, len(sizes) - 2)
    norm = str(rng.choice(["none", "none", "batch", "layer"]))
    if norm == "layer":  # of one number it leaves 0, of two their order; what follows would be rounding errors alone
        sizes[1:-1] = [max(size, 3) for size in sizes[1:-1]]
    dropout, noise = float(rng.choice([0, 0, 0.3])), float(rng.choice([0, 0, 0.1]))

    def layers() -> list[Any]:
        stack: list[Any] = [nn.GaussianNoise(noise)] if noise else []
        for (n, m), activation in zip(pairwise(sizes[:-1]), activations, strict=True):
            stack.append(nn.Dense(n, m, str(activation)))
            if norm != "none":
                stack.append(nn.BatchNorm(m) if norm == "batch" else nn.LayerNorm(m))
            if dropout:
                stack.append(nn.Dropout(dropout))
        return [*stack, nn.Dense(sizes[-2], sizes[-1], output)]

    n = int(rng.choice([1, 2, 7, 33, 120, 700], p=[0.05, 0.05, 0.1, 0.3, 0.3, 0.2]))
    X = rng.standard_normal((n, sizes[0])).astype(dtype)
    shape = (n, sizes[-1])
    y: Array
    if loss == "cross_entropy":
        y = rng.integers(0, sizes[-1], n)
        y = y if rng.random() < 0.5 else np.eye(sizes[-1])[y]
    elif loss in ("bce", "hinge"):
        y = rng.integers(0, 2, shape)
    else:
        y = rng.poisson(1.0, shape) if loss == "poisson" else rng.standard_normal(shape)
    y = y if y.ndim == 1 else y.astype(dtype)
    batch = int(rng.choice([1, 5, 16, 64, n])) if n <= 120 else int(rng.choice([32, 100, 256, n]))
    settings = {
        "batch_size": min(batch, n),
        "epochs": int(rng.integers(1, 4)),
        "shuffle": bool(rng.random() < 0.7),
        "sample_weight": rng.uniform(0.1, 2, n) if rng.random() < 0.3 else None,
    }
    optimizer = str(rng.choice(list(OPTIMIZERS)))
    # Weights and biases in front of a normalisation may have no gradient but rounding, whose sign these would follow.
    if optimizer in ("lion", "adagrad") and norm != "none":
        optimizer = "adam"
    X *= np.asarray(0.3 if output == "exponential" else 1, dtype)  # whose outputs else soon leave float32
    threads = int(rng.integers(1, 4))
    text = (
        f"{sizes} {list(map(str, activations))} {output} {loss} norm={norm} dropout={dropout} noise={noise} {dtype} "
        f"{optimizer} rows={n} {settings | {'sample_weight': settings['sample_weight'] is not None}} threads={threads}"
    )
    kinked = kinked or loss in KINKED_LOSSES
    return Case(number, layers, (output, loss), kinked, dtype, optimizer, X, y, settings, threads, text)


@dataclass
class Deviations:
    """The largest deviations so far, by kind and type."""

    largest: dict[str, float] = field(default_factory=dict)

    def compare(self, kind: str, dtype: str, limit: float, found: Array, right: Array) -> None:
        """Keep the largest difference over the largest right number, above 1e-3; refuse one above the limit."""
        if not (np.isfinite(found).all() and np.isfinite(right).all()):
            raise Violation(f"{kind}: not finite")
        error = float(np.max(np.abs(found - right))) / max(float(np.max(np.abs(right))), 1e-3)
        name = f"{kind} {dtype}"
        self.largest[name] = max(error, self.largest.get(name, 0.0))
        if error > limit:
            raise Violation(f"{kind}: the largest relative difference is {error:.2e}; expected at most {limit:g}")

    def same(self, kind: str, found: list[Array], right: list[Array]) -> None:
        """Refuse what is not the same, bit for bit."""
        if not all(a.tobytes() == b.tobytes() for a, b in zip(found, right, strict=True)):
            raise Violation(f"{kind}: not the same bits")

    def __str__(self) -> str:
        return "  ".join(f"{name} {error:.1e}" for name, error in sorted(self.largest.items()))


def everything(net: Any) -> list[Array]:
    """Return all that a network has learned."""
    return [*net.get_weights(), *net.get_state()]


def nudged(case: Case, nudge: int) -> tuple[Any, Array]:
    """Return the NumPy backend's network, and weights of rows, some roundings away from the case's."""
    net, rng = case.network("numpy"), np.random.default_rng(nudge)
    size = NUDGE * float(np.finfo(case.dtype).eps)
    weights = case.settings["sample_weight"]
    rows = len(case.X)
    weights = (np.ones(rows) if weights is None else weights) * (1 + size * rng.uniform(-1, 1, rows))
    net.set_weights([w * (1 + size * rng.uniform(-1, 1, w.shape)).astype(w.dtype) for w in net.get_weights()])
    return net, weights


def compare(
    case: Case,
    seen: Deviations,
    kind: str,
    limit: float,
    found: Any,
    asked: Callable[[Any, Array | None], Any],
    net: Any,
) -> None:
    """Hold what was found against what NumPy's network says, which roundings alone may move."""
    found, right = np.asarray(found), np.asarray(asked(net, case.settings["sample_weight"]))
    scale = max(float(np.max(np.abs(right))), 1e-3)
    if np.max(np.abs(found - right)) > limit * scale:
        others = (np.asarray(asked(*nudged(case, nudge))) for nudge in range(NUDGES))
        spread = max(float(np.max(np.abs(other - right))) for other in others) / scale
        kind, limit = kind + " (amplified)", max(limit, SPREAD * spread)
    seen.compare(kind, case.dtype, limit, found, right)


def check(case: Case, seen: Deviations, folder: Path) -> None:
    """Put one case to all tests.

    Raises
    ------
    Violation
        Naming the test that failed.
    """
    native, plain, dtype = case.network("native"), case.network("numpy"), case.dtype
    limit = (KINKED_GRADIENT if case.kinked else GRADIENT)[dtype]
    seen.same("initial weights", everything(native), everything(plain))
    compare(case, seen, "outputs", FORWARD[dtype], native.predict(case.X), lambda net, _: net.predict(case.X), plain)
    weights = case.settings["sample_weight"]
    loss, gradients = case.gradients(native, weights)
    compare(case, seen, "loss", FORWARD[dtype], loss, lambda net, w: case.gradients(net, w)[0], plain)
    compare(case, seen, "gradients", limit, gradients, lambda net, w: case.gradients(net, w)[1], plain)

    twin = copy.deepcopy(native)
    with nn.threads(case.threads):
        history = case.train(native)
    with nn.testing.force_threads(3 - min(case.threads, 2)):
        case.train(twin)
    seen.same("threads", everything(twin), everything(native))
    outputs = native.predict(case.X)
    compare(case, seen, "trained", TRAINED[dtype], outputs, case.trained, plain)
    if history.epochs != case.settings["epochs"]:
        raise Violation(f"epochs: {history.epochs} were run; expected {case.settings['epochs']}")
    seen.compare("one row", dtype, FORWARD[dtype], native.predict(case.X[:1]), outputs[:1])

    path = folder / f"{case.number % 7}.npz"  # mostly over an earlier file
    native.save(path)
    loaded = nn.load(path)
    seen.same("saved and loaded", [*everything(loaded), loaded.predict(case.X)], [*everything(native), outputs])


def resident() -> float:
    """Return the bytes of this process that are in memory (Linux), without what the C library keeps for later.

    What it keeps grows with the largest case so far, which is chance; what is in use does not.
    """
    import ctypes
    import resource

    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
    with open("/proc/self/statm", encoding="ascii") as file:
        return float(file.read().split()[1]) * resource.getpagesize()


@dataclass
class Memory:
    """Whether memory stays in a band, from the first reading after the warm-up on."""

    read: Callable[[], float] = resident
    readings: list[float] = field(default_factory=list)

    def watch(self) -> None:
        """Take a reading; refuse one that leaves the band."""
        self.readings.append(self.read())
        if max(self.readings) - self.readings[0] > BAND:
            raise Violation(
                f"memory: {self.readings[0] / 1e6:.1f} MB after the warm-up, {self.readings[-1] / 1e6:.1f} now"
            )


def soak(minutes: float, seed: int) -> int:
    """Run cases for so long, and return the exit status."""
    seen, memory = Deviations(), Memory()
    started = perf_counter()
    warm = 60 * min(minutes / 3, 3)
    next_line, number = 60.0, 0
    with tempfile.TemporaryDirectory() as folder:
        while True:
            case = draw(seed, number)
            try:
                check(case, seen, Path(folder))
                now = perf_counter() - started
                if not memory.readings and now >= warm:
                    memory.watch()
                if now >= min(next_line, 60 * minutes):
                    next_line += 60
                    print(f"{now / 60:5.1f} min  {number + 1:6,} cases  {resident() / 1e6:6.1f} MB  {seen}", flush=True)
                    if now >= warm:
                        memory.watch()
            except Exception as error:
                print(f"VIOLATION in case {number} of seed {seed}: {error!r}\n{case.text}", flush=True)
                return 1
            if now >= 60 * minutes:
                return 0
            number += 1


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    parser = argparse.ArgumentParser(description="Random networks against NumPy, for long.")
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--case", type=int, help="this one alone, with a traceback where it fails")
    options = parser.parse_args(arguments)
    warnings.filterwarnings("ignore", "y has a single class")
    if options.case is None:
        return soak(options.minutes, options.seed)
    case, seen = draw(options.seed, options.case), Deviations()
    print(case.text)
    with tempfile.TemporaryDirectory() as folder:
        check(case, seen, Path(folder))
    print(seen)
    return 0


if __name__ == "__main__":
    sys.exit(main())
