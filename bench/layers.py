"""What layers, penalties, clipping and weights of rows add to a training step of 784-512-512-10, batch 256, Adam.

    python bench/layers.py [--threads 1,2] [--rounds 41]

The variants take turns, an epoch of 20 steps each: short ones, as shared machines are faster in one second than in
another. Figures are the median over the rounds and the lowest, each beside that of the plain network.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np

import nncore as nn

SIZES, BATCH, STEPS = [784, 512, 512, 10], 256, 20


def mlp(**settings: Any) -> nn.Sequential:
    """Return the network with settings of `MLP`."""
    return nn.MLP(SIZES, output="softmax", **settings)


def dense(**settings: Any) -> nn.Sequential:
    """Return the network with settings of its hidden layers."""
    hidden = [nn.Dense(n, m, "relu", **settings) for n, m in itertools.pairwise(SIZES[:-1])]
    return nn.Sequential([*hidden, nn.Dense(SIZES[-2], SIZES[-1], "softmax")])


# Name: network, settings of Adam, whether rows have weights
VARIANTS: dict[str, tuple[Callable[[], nn.Sequential], dict[str, float], bool]] = {
    "plain": (mlp, {}, False),
    "dropout=0.2": (lambda: mlp(dropout=0.2), {}, False),
    'norm="batch"': (lambda: mlp(norm="batch"), {}, False),
    'norm="layer"': (lambda: mlp(norm="layer"), {}, False),
    "input_noise=0.1": (lambda: mlp(input_noise=0.1), {}, False),
    "l1, l2": (lambda: dense(l1=1e-5, l2=1e-5), {}, False),
    "weight_decay": (lambda: dense(weight_decay=0.01), {}, False),
    "max_norm": (lambda: dense(max_norm=3.0), {}, False),
    "sample_weight": (mlp, {}, True),
    "clip_value": (mlp, {"clip_value": 0.1}, False),
    "clip_norm": (mlp, {"clip_norm": 1.0}, False),
}


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description="What layers and weights add to a training step.")
    parser.add_argument("--threads", default=None, help="numbers of threads, such as 1,2 (one, and all)")
    parser.add_argument("--rounds", type=int, default=41)
    options = parser.parse_args()
    counts = [int(n) for n in options.threads.split(",")] if options.threads else sorted({1, nn.get_num_threads()})
    rng = np.random.default_rng(0)
    X = rng.standard_normal((BATCH * STEPS, SIZES[0]), dtype=np.float32)
    y = rng.integers(0, SIZES[-1], len(X))
    weights = rng.uniform(0.5, 1.5, len(X))
    for threads in counts:
        runs = {name: (make(), nn.Adam(**adam), weighted) for name, (make, adam, weighted) in VARIANTS.items()}
        times: dict[str, list[float]] = {name: [] for name in runs}
        with nn.testing.force_threads(threads):
            for round_ in range(options.rounds + 1):
                for name, (network, optimizer, weighted) in runs.items():
                    began = perf_counter()
                    network.fit(
                        X,
                        y,
                        optimizer=optimizer,
                        epochs=1,
                        batch_size=BATCH,
                        sample_weight=weights if weighted else None,
                    )
                    if round_:  # the first is for warming up
                        times[name].append((perf_counter() - began) / STEPS)
        print(f"{threads} thread{'s' if threads > 1 else ''}, us a step      median             lowest")
        for name, values in times.items():
            print(f"  {name:16s}", *(
                f"{1e6 * best(values):9,.0f} {100 * (best(values) / best(times['plain']) - 1):+6.1f} %"
                for best in (median, min)
            ))  # fmt: skip


if __name__ == "__main__":
    main()
