"""Time whole training steps of nncore, a hand-written NumPy loop, and other libraries where they are installed.

    python bench/bench_train.py                          # all workloads, three rounds
    python bench/bench_train.py --work digits,mnist --rounds 5 --json result.json
    python bench/bench_train.py --latency                # one-row predict against plain NumPy

A step is shuffle, gather, forward, loss, backward and update on one mini-batch of float32 data in memory. Epochs are
timed and divided by their steps. Every contestant runs in a process of its own, and they take turns round by round, so
that what else goes on in the machine meets all of them; a figure is the median over the rounds. NumPy and PyTorch run
with one thread and with all, and the better of the two counts. The peak is that of multiply-adds in registers, on as
many threads as the process has cores, measured in the same rounds.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable
from statistics import median
from time import perf_counter
from typing import Any

import baseline_numpy
import peers
from workloads import WORKLOADS, Workload

CORES = len(os.sched_getaffinity(0))
BATCHES_OF_TIMING = 5


def nncore_epochs(work: Workload, backend: str = "native") -> Callable[[], object]:
    """Return nncore itself: an epoch is one ``fit``."""
    import nncore as nn

    X, y = work.data()
    output = {"classes": "softmax", "yes_no": "sigmoid", "numbers": "identity"}[work.task]
    net = nn.MLP(work.sizes, activation=work.activation, output=output, backend=backend)
    optimizer = nn.Adam(1e-3) if work.optimizer == "adam" else nn.SGD(1e-2)
    return lambda: net.fit(X, y, optimizer=optimizer, epochs=1, batch_size=work.batch)


# name: what makes its epochs, the module it needs, and the numbers of threads to try (0: its own choice)
CONTESTANTS: dict[str, tuple[Callable[[Workload], Callable[[], object]], str, tuple[int, ...]]] = {
    "nncore": (nncore_epochs, "nncore", (0,)),
    "numpy": (baseline_numpy.epochs, "numpy", tuple({1, CORES})),
    "backend=numpy": (lambda work: nncore_epochs(work, "numpy"), "nncore", tuple({1, CORES})),
    "torch": (peers.torch_epochs, "torch", tuple({1, CORES})),
    "jax": (peers.jax_epochs, "jax", (0,)),
    "sklearn": (peers.sklearn_epochs, "sklearn", (0,)),
}


def seconds_per_call(function: Callable[[], object], seconds: float) -> float:
    """Return the median time of a call, from a few batches of calls that take about `seconds` together."""
    function()  # warm-up
    started = perf_counter()
    function()
    calls = max(1, int(seconds / BATCHES_OF_TIMING / max(perf_counter() - started, 1e-9)))
    times = []
    for _ in range(BATCHES_OF_TIMING):
        started = perf_counter()
        for _ in range(calls):
            function()
        times.append((perf_counter() - started) / calls)
    return median(times)


# ------------------------------------------------------------------------------------------------------ one process


def work_alone(name: str, work: str, seconds: float) -> float:
    """Measure in this process: a contestant's seconds per step, or the peak in GFLOP/s, or a one-row predict."""
    if name == "peak":
        from nncore import engines

        return float(engines.core().fma_peak("float32", CORES, seconds))
    if work == "latency":
        return seconds_per_call(one_row(name), seconds)
    epoch = CONTESTANTS[name][0](WORKLOADS[work])
    return seconds_per_call(epoch, seconds) / WORKLOADS[work].steps


def one_row(name: str) -> Callable[[], object]:
    """Return a prediction of one row by a 64-64-10 network: nncore's, or the same in plain NumPy."""
    import numpy as np

    import nncore as nn

    net = nn.MLP([64, 64, 10], output="softmax")
    x = np.random.default_rng(0).standard_normal((1, 64), dtype=np.float32)
    if name == "nncore":
        return lambda: net.predict(x)
    W0, b0, W1, b1 = net.get_weights()

    def predict() -> Any:
        z = np.maximum(x @ W0 + b0, 0) @ W1 + b1
        e = np.exp(z - z.max(axis=1, keepdims=True))
        return e / e.sum(axis=1, keepdims=True)

    if not np.allclose(predict(), net.predict(x), atol=1e-5):
        raise AssertionError("the plain NumPy prediction differs from the network's")
    return predict


def in_process(name: str, work: str, threads: int, seconds: float) -> float | None:
    """Run `work_alone` in a new process; None, with the reason printed, where it fails."""
    # JAX, scikit-learn and nncore use what threads they want; for the others the variables say. OpenBLAS chooses its
    # own kernels, as a user's NumPy does, even where this shell forces some.
    shell = {key: value for key, value in os.environ.items() if key not in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")}
    chosen = {key: str(threads) for key in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS") if threads}
    command = [sys.executable, os.path.abspath(__file__), "--alone", name, work, "--seconds", str(seconds)]
    done = subprocess.run(command, capture_output=True, text=True, env={**shell, **chosen})
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or [f"status {done.returncode}"])[-1]
        print(f"{work}: {name} failed: {reason}", file=sys.stderr, flush=True)
        return None
    return float(done.stdout.split()[-1])


# ------------------------------------------------------------------------------------------------------- the table


def measure(work: str, names: list[str], rounds: int, seconds: float) -> dict[str, list[float]]:
    """Return each contestant's figures, one a round, with the number of threads that served it best."""
    entrants = [(name, threads) for name in names for threads in (CONTESTANTS[name][2] if name != "peak" else (0,))]
    figures: dict[tuple[str, int], list[float]] = {entrant: [] for entrant in entrants}
    for round_ in range(rounds):
        turn = round_ % len(entrants)
        for name, threads in entrants[turn:] + entrants[:turn]:
            figure = in_process(name, work, threads, seconds)
            if figure is not None:
                figures[name, threads].append(figure)
    best: dict[str, list[float]] = {}
    for (name, _), values in figures.items():
        if values and (name not in best or median(values) < median(best[name])):
            best[name] = values
    return best


def train_table(works: list[str], names: list[str], rounds: int, seconds: float) -> dict[str, Any]:
    """Measure and print all rows; returns what was found."""
    print("| work | contestant | us per step | lowest to highest | GFLOP/s | of the FMA peak | times NumPy |")
    print("|---|---|---:|---:|---:|---:|---:|", flush=True)
    found: dict[str, Any] = {}
    for work in works:
        figures = measure(work, [*names, "peak"], rounds, seconds)
        peak = max(figures.pop("peak", [float("nan")]))
        found[work] = {"peak_gflops": peak, "seconds_per_step": figures}
        for name, values in figures.items():
            step = median(values)
            gflops = WORKLOADS[work].flops / step * 1e-9
            ratio = f"{median(figures['numpy']) / step:.2f}" if "numpy" in figures else ""
            print(
                f"| {work} | {name} | {step * 1e6:.4g} | {min(values) * 1e6:.4g} to {max(values) * 1e6:.4g} "
                f"| {gflops:.3g} | {gflops / peak:.1%} | {ratio} |",
                flush=True,
            )
    return found


def latency_table(rounds: int, seconds: float) -> dict[str, Any]:
    """Measure and print one-row predictions; returns what was found."""
    figures: dict[str, list[float]] = {"nncore": [], "numpy": []}
    for round_ in range(rounds):
        for name in sorted(figures, reverse=bool(round_ % 2)):
            figure = in_process(name, "latency", 0, seconds)
            if figure is not None:
                figures[name].append(figure)
    print("| one-row predict, 64-64-10 | us | lowest to highest | times NumPy |\n|---|---:|---:|---:|")
    for name, values in figures.items():
        if values:
            ratio = median(figures["numpy"]) / median(values) if figures["numpy"] else float("nan")
            print(
                f"| {name} | {median(values) * 1e6:.2f} | {min(values) * 1e6:.2f} to {max(values) * 1e6:.2f} "
                f"| {ratio:.2f} |"
            )
    return {"latency": {"seconds": figures}}


def main() -> int:
    """Run the command line; the status is 1 where nncore itself could not be measured."""
    parser = argparse.ArgumentParser(description="Time training steps of nncore and its peers.")
    parser.add_argument("--work", default=",".join(WORKLOADS), help="names of workloads, by commas (all)")
    parser.add_argument(
        "--contestants", default=",".join(CONTESTANTS), help="by commas; those not installed are left out"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=1.0, help="of timing in each process (%(default)s)")
    parser.add_argument("--json", metavar="FILE", help="write all figures there as well")
    parser.add_argument("--latency", action="store_true", help="time one-row predictions instead")
    parser.add_argument("--alone", nargs=2, metavar=("CONTESTANT", "WORK"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.alone:
        contestant, work = options.alone
        print(work_alone(contestant, work, options.seconds))
        return 0
    works, names = options.work.split(","), options.contestants.split(",")
    for given, known in ((works, WORKLOADS), (names, CONTESTANTS)):
        for name in given:
            if name not in known:
                parser.error(f"{name!r} is unknown; expected some of {', '.join(known)}")
    if options.rounds < 1 or options.seconds <= 0:
        parser.error("--rounds and --seconds must be above 0")
    names = [name for name in names if importlib.util.find_spec(CONTESTANTS[name][1])]

    import nncore as nn
    from nncore import engines

    config = engines.config()
    nn.show_config()
    print(f"{CORES} cores\n")
    if options.latency:
        found = latency_table(options.rounds, options.seconds)
        measured = bool(found["latency"]["seconds"]["nncore"])
    else:
        found = train_table(works, names, options.rounds, options.seconds)
        measured = "nncore" not in names or all("nncore" in found[work]["seconds_per_step"] for work in works)
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump({"config": config, "cores": CORES, **found}, file, indent=1)
    return 0 if measured else 1


if __name__ == "__main__":
    raise SystemExit(main())
