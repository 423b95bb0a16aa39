"""One-row predictions by several builds of nncore, taking turns: what a way of building costs a call.

    python bench/one_row.py FOLDER FOLDER ... [--rounds 5] [--seconds 2.5]

Each folder holds an ``nncore`` (``pip install --target FOLDER .``). A figure is the smallest mean of 200 calls in a
process of its own, so that what else runs on the machine counts little; the row and the network are those of
``nncore bench --latency``.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from time import perf_counter

CALLS = 200


def worker(seconds: float) -> None:
    """Print the smallest mean of some calls, in us."""
    from nncore.bench.latency import one_row

    predict = one_row("nncore", "float32", 1)
    best, end = float("inf"), perf_counter() + seconds
    while (started := perf_counter()) < end:
        for _ in range(CALLS):
            predict()
        best = min(best, (perf_counter() - started) / CALLS)
    print(best * 1e6)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description="One-row predictions by several builds.")
    parser.add_argument("folders", nargs="*")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.5)
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        worker(options.seconds)
        return
    figures: dict[str, list[float]] = {folder: [] for folder in options.folders}
    for _ in range(options.rounds):
        for folder, found in figures.items():
            command = [sys.executable, __file__, "--worker", "--seconds", str(options.seconds)]
            environment = {**os.environ, "PYTHONPATH": os.path.abspath(folder), "NNCORE_REQUIRE_NATIVE": "1"}
            run = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
            found.append(float(run.stdout))
    for folder, found in figures.items():
        print(f"{min(found):.3f} to {max(found):.3f} us  {folder}")


if __name__ == "__main__":
    main()
