"""Whether training takes the right number of threads: each number held fixed, against what training chooses by itself.

    python bench/choice.py [--seconds 0.3]

For networks and batches over five orders of magnitude, a step's time with 1, 2, 4, ... threads and with the core's own
choice, taking turns. The last column is the core's choice over the best fixed number: below 1.1 is the aim.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from itertools import pairwise
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np

import nncore as nn
from nncore import engines

WIDTHS = (4, 16, 46, 47, 64, 128, 257, 512)
BATCHES = (8, 32, 128, 1024)


def trainer(width: int, batch: int) -> Callable[[int], Callable[[], float]]:
    """Return a function of the number of threads (0: the core's choice) that makes what measures a step's seconds."""
    sizes = (width, width, width, max(2, width // 8))
    rng = np.random.default_rng(0)
    X = rng.standard_normal((8 * batch, width), dtype=np.float32)
    y = rng.integers(0, sizes[-1], len(X), dtype=np.int32)

    def make(threads: int) -> Callable[[], float]:
        net: Any = nn.MLP(sizes, output="softmax")
        engine, optimizer = net._engine, nn.Adam(1e-5)
        settings: dict[str, Any] = {"threads": threads, "exact": True} if threads else {"threads": None}
        job = engine.job(
            X, y, loss="cross_entropy", batch_size=batch, shuffle=True, seed=0, first_epoch=0, optimizer=optimizer,
            slots=engine.new_slots(2), record=False, **settings,
        )  # fmt: skip
        flops = 6 * batch * sum(a * b for a, b in pairwise(sizes))
        n_steps = max(1, int(2e-3 / (1e-6 + flops / 2e11)))

        def measure() -> float:
            started = perf_counter()
            engine.run(job, 0, n_steps)
            return (perf_counter() - started) / n_steps

        return measure

    return make


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description="The core's choice of threads against fixed numbers.")
    parser.add_argument("--seconds", type=float, default=0.3, help="of measuring each number (%(default)s)")
    options = parser.parse_args()
    most = engines.core().usable_threads()
    counts = [n for n in (1, 2, 4, 8, 16, 32, 64) if n <= most]
    print("| width | batch | " + " | ".join(f"{n} threads, us" for n in counts) + " | chosen, us | chosen / best |")
    print("|" + "---:|" * (len(counts) + 4))
    worst = []
    for width in WIDTHS:
        for batch in BATCHES:
            make = trainer(width, batch)
            measures = {n: make(n) for n in (*counts, 0)}
            times: dict[int, list[float]] = {n: [] for n in measures}
            began = perf_counter()
            while perf_counter() - began < options.seconds * len(measures):
                for n, measure in measures.items():
                    times[n].append(measure())
            found = {n: median(values[1:] or values) * 1e6 for n, values in times.items()}
            ratio = found[0] / min(found[n] for n in counts)
            worst.append(ratio)
            cells = " | ".join(f"{found[n]:,.4g}" for n in (*counts, 0))
            print(f"| {width} | {batch} | {cells} | {ratio:.2f} |", flush=True)
    above = sum(ratio > 1.1 for ratio in worst)
    print(f"\nworst {max(worst):.2f}, median {median(worst):.2f}, above 1.1: {above} of {len(worst)}")


if __name__ == "__main__":
    main()
