"""Many Python threads at once, with the GIL and without it: nothing is torn, nothing is claimed twice; subinterpreters.

On a free-threaded CPython these tests run truly in parallel; with the GIL the core, which lets it go, still does.
"""

from __future__ import annotations

import copy
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from functools import partial
from threading import Barrier, Thread
from typing import Any

import numpy as np
import pytest
from conftest import HAS_CORE

import nncore as nn

FREE = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
SIZES = [6, 24, 16, 3]


def together(*work: Callable[[], Any]) -> list[Any]:
    """Run each function in a thread of its own, all begun at once; return their results, or the exceptions raised."""
    results: list[Any] = [None] * len(work)
    start = Barrier(len(work))

    def run(i: int) -> None:
        start.wait()
        try:
            results[i] = work[i]()
        except BaseException as error:
            results[i] = error

    threads = [Thread(target=run, args=(i,), daemon=True) for i in range(len(work))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)
    assert not any(thread.is_alive() for thread in threads), "threads wait for each other"
    return results


def raise_any(results: list[Any]) -> None:
    for result in results:
        if isinstance(result, BaseException):
            raise result


@pytest.fixture
def data(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    return rng.standard_normal((400, 6)).astype(np.float32), rng.integers(0, 3, 400)


def network(backend: str, seed: int = 0, **settings: Any) -> nn.MLP:
    return nn.MLP(SIZES, output="softmax", seed=seed, backend=backend, **settings)


@pytest.mark.skipif(not FREE, reason="this Python has a GIL")
def test_the_gil_stays_off() -> None:
    code = "import sys, nncore; print(sys._is_gil_enabled(), nncore.engines.choose(None))"
    run = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert run.stdout.split()[0] == "False", run.stdout
    assert run.stdout.split()[1] == "native" or not HAS_CORE


def test_networks_that_train_side_by_side_are_as_one_after_the_other(backend: str, data: Any) -> None:
    X, y = data

    def train(seed: int) -> list[Any]:
        net = network(backend, seed, dropout=0.1, norm="batch")
        net.fit(X, y, epochs=3, optimizer=nn.Adam(1e-2), metrics=["accuracy"], validation_split=0.2)
        return [*net.get_weights(), *net.get_state(), net.predict(X)]

    expected = [train(seed) for seed in range(4)]
    found = together(*(lambda seed=seed: train(seed) for seed in range(4)))
    raise_any(found)
    for seed in range(4):
        for a, b in zip(found[seed], expected[seed], strict=True):
            assert a.tobytes() == b.tobytes(), f"seed {seed}"


def test_one_network_used_by_many_threads_is_never_seen_torn(backend: str, data: Any, tmp_path: Any) -> None:
    X, y = data
    net = network(backend)
    weights = net.get_weights()
    expected, row = net.predict(X), net.predict(X[:1])
    optimizer = nn.SGD(0.0)  # all that training does, but for the change of weights
    rounds = 25

    def repeat(action: Callable[[int], Any], right: Any = None) -> Callable[[], None]:
        def work() -> None:
            for i in range(rounds):
                result = action(i)
                if right is not None:
                    for a, b in zip(result, right, strict=True):
                        assert a.tobytes() == b.tobytes()

        return work

    path = tmp_path / "net.npz"
    raise_any(
        together(
            repeat(lambda i: net.fit(X, y, epochs=1, optimizer=optimizer, batch_size=50)),
            repeat(lambda i: net.train_step(X[:20], y[:20], optimizer=optimizer)),
            repeat(lambda i: [net.predict(X)], [expected]),
            repeat(lambda i: [net.predict(X[:1])], [row]),
            repeat(lambda i: [net.predict(X[:1])], [row]),
            repeat(lambda i: net.get_weights(), weights),
            repeat(lambda i: net.set_weights(weights)),
            repeat(lambda i: copy.deepcopy(net).get_weights(), weights),
            repeat(lambda i: net.evaluate(X, y, metrics=["accuracy"])),
            repeat(lambda i: net.loss_and_gradients(X, y)),
            repeat(lambda i: net.save(path)),
        )
    )
    for a, b in zip(nn.load(path).get_weights(), weights, strict=True):
        assert a.tobytes() == b.tobytes()
    assert optimizer.steps == rounds * 9  # 8 batches a fit, and a single step: none counted twice, none lost


def test_an_optimizer_is_claimed_once(backend: str, data: Any) -> None:
    X, y = data
    for _ in range(20):
        optimizer = nn.Adam()
        networks = [network(backend, seed) for seed in range(4)]
        results = together(*(partial(net.train_step, X[:8], y[:8], optimizer=optimizer) for net in networks))
        refused = [result for result in results if isinstance(result, BaseException)]
        assert len(refused) == 3, results
        assert all(isinstance(r, ValueError) and "another network" in str(r) for r in refused), refused
        assert optimizer.steps == 1


def test_threads_share_what_measures_the_machine(data: Any) -> None:
    """The first fits of a process, which measure barriers and kernels for the cost model, all at once."""
    code = """
import threading, numpy as np, nncore as nn
X = np.random.default_rng(0).standard_normal((512, 40)).astype("f")
nets = [nn.MLP([40, 64, 4], seed=3) for _ in range(6)]
threads = [threading.Thread(target=net.fit, args=(X, X[:, :4]), kwargs={"epochs": 2}) for net in nets]
[t.start() for t in threads]; [t.join() for t in threads]
print(len({w.tobytes() for net in nets for w in net.get_weights()[:1]}))
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)
    assert run.stdout.strip() == "1", run.stderr


SUBINTERPRETER = """
import nncore
try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters
other = interpreters.create()
run = interpreters.exec if hasattr(interpreters, "exec") else interpreters.run_string
run(other, '''
try:
    import nncore
except ImportError as error:
    print("refused", len(str(error)) > 0, flush=True)
else:
    print("loaded", flush=True)
''')
interpreters.destroy(other)
print(nncore.MLP([2, 2], seed=0).predict([[1.0, 2.0]]).shape)
"""


def test_a_subinterpreter_is_refused_and_the_main_one_goes_on() -> None:
    run = subprocess.run(
        [sys.executable, "-c", SUBINTERPRETER], capture_output=True, text=True, check=False, timeout=60
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.split("\n")[:2] == ["refused True", "(1, 2)"], run.stdout + run.stderr
