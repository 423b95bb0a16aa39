"""What is left of the speed where twice as many processes train as there are cores, each left to its defaults.

    python bench/contention.py [--seconds 3] [--rounds 3] [--json FILE]

Compared with one process a core, each with one thread: what those reach together is the most that can be asked for. Two
networks: one whose step takes about 10 us with one thread, one whose step takes about 1 ms.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from statistics import median
from time import perf_counter, sleep

CORES = len(os.sched_getaffinity(0))
SIZES = {"10 us": ((32, 64, 64, 8), 64), "1 ms": ((256, 256, 256, 256), 256)}  # layers, batch


def worker(work: str, threads: int, start: float, seconds: float) -> None:
    """Train from the time `start` on for `seconds`; print steps a second."""
    import numpy as np

    import nncore as nn

    sizes, batch = SIZES[work]
    rng = np.random.default_rng(0)
    X = rng.standard_normal((32 * batch, sizes[0]), dtype=np.float32)
    y = rng.standard_normal((32 * batch, sizes[-1]), dtype=np.float32)
    net, optimizer = nn.MLP(sizes), nn.Adam(1e-5)

    def epoch() -> None:
        net.fit(X, y, optimizer=optimizer, epochs=1, batch_size=batch, threads=threads or None)

    epoch()
    sleep(max(0.0, start - perf_counter()))
    began, epochs = perf_counter(), 0
    while perf_counter() - began < seconds:
        epoch()
        epochs += 1
    print(32 * epochs / (perf_counter() - began))


def together(work: str, processes: int, threads: int, seconds: float) -> float:
    """Return the steps a second of all processes together; `threads` 0 leaves them to their defaults."""
    start = perf_counter() + 2.0  # the clock is the system's, the same for all processes
    command = [sys.executable, os.path.abspath(__file__), "--worker", work, str(threads), str(start), str(seconds)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(processes)]
    return sum(float(process.communicate()[0]) for process in running)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description="Throughput with more training processes than cores.")
    parser.add_argument("--seconds", type=float, default=3.0, help="of training in each run (%(default)s)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--worker", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        work, threads, start, seconds = options.worker
        worker(work, int(threads), float(start), float(seconds))
        return
    print(f"| step | {CORES} processes, 1 thread each: steps/s | {2 * CORES} processes, defaults: steps/s | share |")
    print("|---|---:|---:|---:|")
    found = {}
    for work in SIZES:
        fair, crowded = [], []
        for _ in range(options.rounds):
            fair.append(together(work, CORES, 1, options.seconds))
            crowded.append(together(work, 2 * CORES, 0, options.seconds))
        found[work] = {"fair": fair, "crowded": crowded}
        print(
            f"| {work} | {median(fair):,.0f} | {median(crowded):,.0f} | {median(crowded) / median(fair):.0%} |",
            flush=True,
        )
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(found, file, indent=1)


if __name__ == "__main__":
    main()
