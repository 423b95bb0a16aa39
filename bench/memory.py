"""What training adds to a process's memory: weights, optimizer, workspace, and what grows with the number of rows.

    python bench/memory.py [--json FILE]

Each figure is of a process of its own: the growth of its largest resident set (VmHWM, Linux) from before the network is
made to the end of two epochs. The data are there before; X is C-contiguous and of the network's dtype.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys

CASES = {  # sizes, batch, rows
    "784-512-512-10, batch 256, 2,560 rows": ((784, 512, 512, 10), 256, 2560),
    "784-64-10, batch 128, 400 MB of X": ((784, 64, 10), 128, 127_551),
    "16-64-64-1, batch 512, 400 MB of X": ((16, 64, 64, 1), 512, 6_250_000),
}


def high_water() -> float:
    """Return the largest resident set of this process so far, in MB (10^6 bytes)."""
    with open("/proc/self/status", encoding="ascii") as status:
        for line in status:
            if line.startswith("VmHWM"):
                return int(line.split()[1]) * 1024 / 1e6
    raise OSError("/proc/self/status has no VmHWM")


def worker(case: str) -> None:
    """Print the growth in MB."""
    import numpy as np

    import nncore as nn

    sizes, batch, rows = CASES[case]
    rng = np.random.default_rng(0)
    X = np.empty((rows, sizes[0]), np.float32)
    for start in range(0, rows, 65536):  # without a copy of its own
        X[start : start + 65536] = rng.standard_normal((min(65536, rows - start), sizes[0]), dtype=np.float32)
    y = rng.integers(0, sizes[-1], rows, dtype=np.int32) if sizes[-1] > 1 else X[:, 0].copy()
    nn.MLP([4, 3], seed=0).fit(np.zeros((8, 4), np.float32), np.zeros((8, 3), np.float32), epochs=1)  # loads the rest
    with open("/proc/self/clear_refs", "w", encoding="ascii") as file:
        file.write("5")  # the high-water mark begins anew: what made the data shall not hide what training takes
    before = high_water()
    net = nn.MLP(sizes, output="softmax" if sizes[-1] > 1 else "identity")
    net.fit(X, y, epochs=2, batch_size=batch)
    print(high_water() - before)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description="Memory that training adds.")
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        worker(options.worker)
        return
    found = {}
    print("| training | adds to the process |\n|---|---:|")
    for case in CASES:
        command = [sys.executable, os.path.abspath(__file__), "--worker", case]
        found[case] = float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        print(f"| {case} | {found[case]:.1f} MB |", flush=True)
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(found, file, indent=1)


if __name__ == "__main__":
    main()
