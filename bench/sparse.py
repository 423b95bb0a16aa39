"""Training on sparse X against the same rows dense: time of a step, and what it adds to the process's memory.

    python bench/sparse.py [--work NAME] [--seconds S] [--json FILE]

Rows have columns drawn at random, in two ways: all alike, and by Zipf's law (column j as often as 1 / (j + 1), as words
are). The dense figures are the same network on X.toarray(). Times are of whole epochs of `fit`, medians; memory is the
growth of the largest resident set (VmHWM, Linux) of a process of its own, from the data on. SciPy is not needed.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from time import perf_counter
from typing import Any

import numpy as np

import nncore as nn

# name: rows, columns, values in a row, hidden units, batch, optimizer, the law of the columns
WORKS: dict[str, tuple[int, int, int, int, int, str, str]] = {
    "2,000 columns, 1 %": (20_000, 2000, 20, 64, 256, "adam", "alike"),
    "2,000 columns, 1 %, SGD": (20_000, 2000, 20, 64, 256, "sgd", "alike"),
    "2,000 columns, 1 %, Zipf": (20_000, 2000, 20, 64, 256, "adam", "zipf"),
    "10,000 columns, 1 %": (5000, 10_000, 100, 64, 256, "adam", "alike"),
    "10,000 columns, 1 %, batch 32": (5000, 10_000, 100, 64, 32, "adam", "alike"),
    "20,000 columns, 10 a row, batch 32": (20_000, 20_000, 10, 64, 32, "adam", "alike"),
    "20,000 columns, 10 a row": (20_000, 20_000, 10, 64, 256, "adam", "alike"),
    "20,000 columns, 10 a row, SGD": (20_000, 20_000, 10, 64, 256, "sgd", "alike"),
    "20,000 columns, 10 a row, Zipf": (20_000, 20_000, 10, 64, 256, "adam", "zipf"),
}
MOST_DENSE = 1e9  # bytes: dense rows are measured on as many as these hold, and their time is that of a step


class Rows:
    """A sparse matrix as nncore takes it, without SciPy."""

    format = "csr"

    def __init__(self, n: int, columns: int, each: int, law: str) -> None:
        rng = np.random.default_rng(0)
        chances = 1 / np.arange(1, columns + 1) if law == "zipf" else np.ones(columns)
        ends = np.cumsum(chances / chances.sum())
        self.shape = n, columns
        drawn = [np.unique(np.searchsorted(ends, rng.random(each))) for _ in range(n)]
        self.indices = np.minimum(np.concatenate(drawn), columns - 1).astype(np.int32)
        self.indptr = np.concatenate([[0], np.cumsum([len(row) for row in drawn])]).astype(np.int32)
        self.data = rng.standard_normal(len(self.indices), np.float32)

    def dense(self, n: int) -> Any:
        """Return the first n rows as an array."""
        X = np.zeros((n, self.shape[1]), np.float32)
        for row in range(n):
            part = slice(self.indptr[row], self.indptr[row + 1])
            X[row, self.indices[part]] = self.data[part]
        return X


def high_water() -> float:
    """Return the largest resident set of this process so far, in MB (10^6 bytes)."""
    with open("/proc/self/status", encoding="ascii") as status:
        for line in status:
            if line.startswith("VmHWM"):
                return int(line.split()[1]) * 1024 / 1e6
    raise OSError("/proc/self/status has no VmHWM")


def worker(work: str, kind: str, seconds: float) -> None:
    """Print microseconds of a step and the growth of memory in MB."""
    n, columns, each, hidden, batch, optimizer, law = WORKS[work]
    rows = Rows(n, columns, each, law)
    y = np.random.default_rng(1).integers(0, 2, n).astype(np.float32)
    X: Any = rows
    if kind == "dense":
        n = min(n, int(MOST_DENSE / (4 * columns)))
        X, y = rows.dense(n), y[:n]
    nn.MLP([4, 1], seed=0).fit(np.zeros((8, 4), np.float32), np.zeros(8), epochs=1)  # loads the rest
    with open("/proc/self/clear_refs", "w", encoding="ascii") as file:
        file.write("5")  # the high-water mark begins anew
    before = high_water()
    net = nn.MLP([columns, hidden, 1], output="sigmoid", seed=0)
    trained = nn.optimizers.get(optimizer)
    steps = -(-n // batch)
    times: list[float] = []
    net.fit(X, y, epochs=1, batch_size=batch, optimizer=trained)
    while sum(times) < seconds or len(times) < 3:
        began = perf_counter()
        net.fit(X, y, epochs=1, batch_size=batch, optimizer=trained)
        times.append(perf_counter() - began)
    print(statistics.median(times) / steps * 1e6, high_water() - before)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description="Training on sparse X against dense X.")
    parser.add_argument("--work", choices=list(WORKS), action="append")
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--worker", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        worker(options.worker[0], options.worker[1], options.seconds)
        return
    found: dict[str, Any] = {}
    print("| rows, hidden units, batch | dense, us/step | sparse, us/step | times | dense adds | sparse adds |")
    print("|---|---:|---:|---:|---:|---:|")
    for work in options.work or WORKS:
        figures = {}
        for kind in ("dense", "sparse"):
            command = [sys.executable, os.path.abspath(__file__), "--seconds", str(options.seconds)]
            command += ["--worker", work, kind]
            output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            figures[kind] = [float(word) for word in output.split()]
        found[work] = figures
        (dense, dense_memory), (sparse, memory) = figures["dense"], figures["sparse"]
        n, _, _, hidden, batch, _, _ = WORKS[work]
        print(
            f"| {work}; {n:,}, {hidden}, {batch} | {dense:,.0f} | {sparse:,.0f} | {dense / sparse:.1f} | "
            f"{dense_memory:,.0f} MB | {memory:,.0f} MB |",
            flush=True,
        )
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(found, file, indent=1)


if __name__ == "__main__":
    main()
