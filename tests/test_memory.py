"""Memory: nothing is allocated by the core in a step or an epoch, and no array of the data's size is made."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from conftest import HAS_CORE

import nncore as nn

pytestmark = pytest.mark.skipif(not HAS_CORE, reason="nncore._core cannot be imported")

if HAS_CORE:
    from nncore import _core

CASES = {  # sizes, output, rows, batch: steps in tiles, in chunks, full batches, rows beyond one bucket of the shuffle
    "tiles": ((8, 16, 3), "softmax", 100, 16),
    "chunks": ((4, 8, 2), "identity", 2000, 1000),
    "full batch": ((8, 16, 1), "sigmoid", 64, 64),
    "many rows": ((4, 8, 2), "identity", 40_000, 1024),
}


def problem(case: str) -> tuple[nn.MLP, np.ndarray, np.ndarray, int]:
    sizes, output, rows, batch = CASES[case]
    rng = np.random.default_rng(0)
    X = rng.standard_normal((rows, sizes[0]), dtype=np.float32)
    y = rng.integers(0, max(2, sizes[-1]), rows)
    targets = y if output == "softmax" else np.tile(y[:, None] % 2, (1, sizes[-1])).astype(np.float32)
    return nn.MLP(sizes, output=output), X, targets, batch


@pytest.mark.parametrize("case", CASES)
def test_epochs_and_steps_allocate_nothing_in_the_core(case):
    net, X, y, batch = problem(case)
    optimizer = nn.Adam()
    net.fit(X, y, optimizer=optimizer, epochs=1, batch_size=batch)
    counts = []
    for epochs in (1, 2, 9):
        before = _core.allocations()
        net.fit(X, y, optimizer=optimizer, epochs=epochs, batch_size=batch)
        counts.append(_core.allocations() - before)
    assert counts[0] == counts[1] == counts[2]
    assert counts[0] <= 2  # the order of the rows, and room to make it


@pytest.mark.parametrize("case", CASES)
def test_a_call_of_the_engine_allocates_nothing(case):
    net, X, y, batch = problem(case)
    optimizer = nn.SGD(0.01, momentum=0.9)
    net.fit(X, y, optimizer=optimizer, epochs=1, batch_size=batch)
    engine = net._engine
    targets = y.astype(np.int32) if y.ndim == 1 else y
    job = engine.job(
        X, targets, loss=net._default_loss.name, batch_size=batch, shuffle=True, seed=0, first_epoch=0,
        optimizer=optimizer, slots=optimizer._slots, record=False, threads=None,
    )  # fmt: skip
    engine.run(job, 0, 1)
    before = _core.allocations()
    for step in range(1, 50):
        engine.run(job, step, 1)
    assert _core.allocations() == before


def test_allocations_are_counted():
    before = _core.allocations()
    nn.MLP([3, 2])
    assert _core.allocations() > before


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize(
    ("sizes", "batch", "rows", "most"), [((784, 512, 512, 10), 256, 1024, 30), ((784, 32, 10), 128, 63_776, 25)]
)
def test_what_training_adds_to_the_process(sizes, batch, rows, most):
    """Megabytes of the largest resident set; the second case has 200 MB of data."""
    code = f"""
import numpy as np, nncore as nn
def high_water():
    return next(int(line.split()[1]) * 1024 / 1e6 for line in open("/proc/self/status") if line.startswith("VmHWM"))
nn.MLP([4, 3]).fit(np.zeros((8, 4), "f4"), np.zeros((8, 3), "f4"), epochs=1)
X = np.full(({rows}, {sizes[0]}), 0.5, np.float32)
y = np.arange({rows}, dtype=np.int32) % {sizes[-1]}
open("/proc/self/clear_refs", "w").write("5")
before = high_water()
nn.MLP({sizes}, output="softmax").fit(X, y, epochs=2, batch_size={batch})
print(high_water() - before)
"""
    added = float(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout)
    assert 0 < added < most
