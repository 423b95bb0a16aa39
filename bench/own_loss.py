"""What a loss of the user's costs: us of a training step with it and with the built-in loss, and of the function alone.

python bench/own_loss.py
"""

from __future__ import annotations

from time import perf_counter
from typing import Any

import numpy as np

import nncore as nn


def squared(pred: Any, target: Any) -> tuple[Any, Any]:
    """Return the squared error of each row, and the gradient of their mean."""
    e = pred - target
    return (e * e).mean(axis=1), 2 * e / e.size


def main() -> None:
    """Print a line for each network: sizes and batch, then the three times."""
    rng = np.random.default_rng(0)
    print(f"{'network, batch':32s}{'mse':>10s}{'own':>10s}{'function':>10s}")
    for sizes, batch, steps in (([2, 4, 1], 4, 200), ([10, 46, 46, 10], 128, 100), ([784, 512, 512, 10], 256, 10)):
        X = rng.standard_normal((batch * steps, sizes[0])).astype(np.float32)
        y = rng.standard_normal((batch * steps, sizes[-1])).astype(np.float32)
        times = []
        for loss in ("mse", squared):
            net, optimizer = nn.MLP(sizes), nn.Adam(1e-4)
            best = float("inf")
            for _ in range(10):
                began = perf_counter()
                net.fit(X, y, loss, optimizer, epochs=1, batch_size=batch, threads=1)
                best = min(best, perf_counter() - began)
            times.append(best / steps)
        outputs = y[:batch]
        began = perf_counter()
        for _ in range(1000):
            squared(outputs, outputs)
        times.append((perf_counter() - began) / 1000)
        cells = "".join(f"{1e6 * seconds:10.2f}" for seconds in times)
        print(f"{'-'.join(map(str, sizes)) + ', ' + str(batch):32s}{cells}")


if __name__ == "__main__":
    main()
