"""Two Python threads that fit two networks at once, against the same two fits one after the other.

    python bench/two_threads.py

Each fit has one thread of the core (threads=1); the results are compared to the bit. Prints the ratio of the times of
three rounds; 2 is the best that two cores give.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from time import perf_counter

import numpy as np

import nncore as nn

WORK = [([4, 16, 3], 2000, 16), ([64, 64, 10], 5000, 32), ([784, 128, 10], 5000, 128)]  # sizes, rows, batch
SECONDS, ROUNDS = 0.5, 3


def fit(sizes: list[int], rows: int, batch: int, epochs: int) -> bytes:
    """Train a network of its own, and return the bits of its outputs."""
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((rows, sizes[0]), np.float32), rng.integers(0, sizes[-1], rows)
    net = nn.MLP(sizes, output="softmax")
    net.fit(X, y, epochs=epochs, batch_size=batch, threads=1)
    return net.predict(X).tobytes()


def main() -> None:
    """Print a line for each network."""
    for sizes, rows, batch in WORK:
        began = perf_counter()
        fit(sizes, rows, batch, 2)
        epochs = max(2, int(2 * SECONDS / (perf_counter() - began)))
        ratios = []
        for _ in range(ROUNDS):
            began = perf_counter()
            expected = [fit(sizes, rows, batch, epochs) for _ in range(2)]
            one_by_one = perf_counter() - began
            with ThreadPoolExecutor(2) as pool:
                began = perf_counter()
                found = list(pool.map(fit, [sizes] * 2, [rows] * 2, [batch] * 2, [epochs] * 2))
                ratios.append(one_by_one / (perf_counter() - began))
            if found != expected:
                raise SystemExit("the results differ")
        print(
            "-".join(map(str, sizes)), "batch", batch, "times as fast:", *(f"{ratio:.2f}" for ratio in sorted(ratios))
        )


if __name__ == "__main__":
    main()
