"""Beside others in a process: children, threads, other libraries, limits, interpreters.

What could hang or crash runs in a process of its own, with a limit of time.
"""

from __future__ import annotations

import importlib.util
import itertools
import json
import os
import subprocess
import sys
import threading

import numpy as np
import pytest

import nncore as nn

pytest.importorskip("nncore._core")
linux = pytest.mark.skipif(sys.platform != "linux", reason="of Linux")


def run(code, timeout=120, **environment):
    """Run a program and return the JSON that it prints last."""
    program = f"import sys; sys.path[:0] = {[path for path in sys.path if path]!r}\n{code}"
    unset = {k: v for k, v in os.environ.items() if k not in ("OMP_NUM_THREADS", "OMP_THREAD_LIMIT", "NNCORE_BACKEND")}
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True,
                          timeout=timeout, env={**unset, **environment})  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def has(name):
    return importlib.util.find_spec(name) is not None


# ------------------------------------------------------------------------------------------------------------ children

TRAIN = """
import json, os, sys, zlib
import numpy as np, nncore as nn

def train(width):
    X = np.random.default_rng(1).standard_normal((512, width)).astype(np.float32)
    y = X[:, :1].copy()
    net = nn.MLP([width, width, 1], seed=0, backend="native")
    net.fit(X, y, epochs=3, batch_size=256)
    return zlib.crc32(net.predict(X).tobytes())
"""
WIDTHS = [8, 256]  # on either side of the size from which threads pay


@linux
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("how", ["fork", "forkserver", "spawn"])
def test_children_of_multiprocessing_train_to_the_same_bits(tmp_path, width, how):
    """In a pool, after the parent has trained in threads."""
    (tmp_path / "work.py").write_text(f"import sys; sys.path[:0] = {[p for p in sys.path if p]!r}\n{TRAIN}")
    code = f"""
import sys; sys.path.insert(0, {str(tmp_path)!r})
import json, multiprocessing, work
if __name__ == "__main__":
    work.nn.set_num_threads(2)
    here = work.train({width})
    with multiprocessing.get_context({how!r}).Pool(2) as pool:
        there = pool.map(work.train, [{width}] * 4)
    print(json.dumps([here, *there]))
"""
    assert len(set(run(code))) == 1


@linux
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("kind", ["loky", "multiprocessing", "threading"])
def test_children_of_joblib_train_to_the_same_bits(tmp_path, width, kind):
    pytest.importorskip("joblib")
    (tmp_path / "work.py").write_text(f"import sys; sys.path[:0] = {[p for p in sys.path if p]!r}\n{TRAIN}")
    code = f"""
import sys; sys.path.insert(0, {str(tmp_path)!r})
import json, joblib, work
here = work.train({width})
there = joblib.Parallel(n_jobs=2, backend={kind!r})(joblib.delayed(work.train)({width}) for _ in range(4))
print(json.dumps([here, *there, work.train({width})]))
"""
    os.environ.setdefault("PYTHONPATH", "")
    assert len(set(run(code, PYTHONPATH=f"{tmp_path}{os.pathsep}{os.environ['PYTHONPATH']}"))) == 1


@linux
def test_a_pool_trains_on_a_read_only_mapped_file(tmp_path):
    """Which joblib makes of a large array; each child maps it, and none copies it."""
    code = f"""
import json, multiprocessing, zlib, numpy as np, nncore as nn
from nncore import checks
path = {str(tmp_path / "X.npy")!r}
np.save(path, np.random.default_rng(1).standard_normal((4096, 16)).astype(np.float32))
def train(how):
    X = np.load(path, mmap_mode=how)
    assert how is None or np.shares_memory(checks.matrix(X, "X", 16, X.dtype), X) and not X.flags.writeable
    net = nn.MLP([16, 8, 1], backend="native")
    net.fit(X, X[:, :1].copy(), epochs=2)
    return zlib.crc32(net.predict(X).tobytes())
here = train(None)
with multiprocessing.get_context("fork").Pool(2) as pool:
    print(json.dumps([here, *pool.map(train, ["r"] * 4)]))
"""
    assert len(set(run(code))) == 1


@linux
def test_a_child_forked_while_another_thread_trains(backend):
    """Its own networks work; the one that was in the middle of a step says so, and nothing waits for ever."""
    code = (
        TRAIN
        + f"""
import signal, threading, time
signal.alarm(100)
X = np.random.default_rng(1).standard_normal((2048, 256)).astype(np.float32)
busy = nn.MLP([256, 512, 512, 256], backend={backend!r})
thread = threading.Thread(target=lambda: busy.fit(X, X, epochs=10**6), daemon=True)
thread.start()
while busy.history is None:
    time.sleep(0.01)
outcomes = []
for attempt in range(6):
    time.sleep(0.05)
    child = os.fork()
    if child == 0:
        signal.alarm(60)
        try:
            fine = train(8) == train(8)
            try:
                outputs = busy.predict(X[:4])
                busy.fit(X[:64], X[:64], epochs=1)
                busy.get_weights()
                ok = np.isfinite(outputs).all()  # it was between two calls of the core
            except RuntimeError as error:
                ok = "when the process forked" in str(error)
            os._exit(0 if fine and ok else 1)
        except BaseException as error:
            print(error, file=sys.stderr)
            os._exit(2)
    outcomes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
print(json.dumps(outcomes), flush=True)
os._exit(0)
"""
    )
    # With more, OpenBLAS hangs by itself, without nncore, in a child that was forked while another thread multiplied
    assert run(code, OPENBLAS_NUM_THREADS="1") == [0] * 6


@linux
def test_a_child_forked_within_a_fit_goes_on_with_it():
    """By a callback, and by a loss in the middle of a step: parent and child end with the same bits."""
    code = """
import json, os, zlib, numpy as np, nncore as nn
X = np.random.default_rng(1).standard_normal((64, 8)); y = X[:, :1].copy()
results = []
for where in ("callback", "loss"):
    forked = []
    def fork():
        if not forked:
            read, write = os.pipe()
            forked.append((os.fork(), read, write))
    def loss(pred, target):
        if where == "loss":
            fork()
        return np.square(pred - target), 2 * (pred - target) / pred.size
    class Forks(nn.callbacks.Callback):
        def on_epoch_end(self, epoch, logs):
            if where == "callback":
                fork()
    net = nn.MLP([8, 8, 1], backend="native")
    net.fit(X, y, loss=loss, epochs=3, callbacks=Forks())
    bits = str(zlib.crc32(net.predict(X).tobytes()))
    child, read, write = forked[0]
    if child == 0:
        os.write(write, bits.encode())
        os._exit(0)
    os.waitpid(child, 0)
    results.append(os.read(read, 100).decode() == bits)
print(json.dumps(results))
"""
    assert run(code) == [True, True]


# ------------------------------------------------------------------------------------------------------------- threads


def test_one_network_of_two_threads_predicts_and_trains_by_turns(backend):
    """Each prediction is that of weights between two steps; here all rows are alike, and so must be their outputs."""
    X, y = np.ones((5000, 6), np.float32), np.ones((5000, 1), np.float32)
    net = nn.MLP([6, 16, 1], "tanh", backend=backend, seed=3)
    failures = []

    def predict():
        try:
            for _ in range(50):
                outputs = net.predict(X)
                if not (outputs == outputs[0]).all():
                    failures.append("rows of one prediction saw different weights")
                net.get_weights()
        except BaseException as error:  # seen below
            failures.append(error)

    threads = [threading.Thread(target=predict) for _ in range(2)]
    for thread in threads:
        thread.start()
    for _ in range(10):
        net.fit(X[:64], y[:64], epochs=2, batch_size=8)
    for thread in threads:
        thread.join()
    assert not failures


# ----------------------------------------------------------------------------------------------------- other libraries

LIBRARIES = {
    "torch": """
import torch
a = torch.ones(400, 400) @ torch.ones(400, 400)
assert a[0, 0] == 400
layer = torch.nn.Linear(64, 64); layer(torch.ones(512, 64)).sum().backward()
""",
    "sklearn": """
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.neural_network import MLPClassifier
data = np.random.default_rng(0).standard_normal((300, 5)); classes = (data[:, 0] > 0).astype(int)
assert HistGradientBoostingClassifier(max_iter=5).fit(data, classes).score(data, classes) > 0.9
assert MLPClassifier(max_iter=5).fit(data, classes).predict(data).shape == (300,)
""",
    "nncore": "\nassert train(256) == train(256)\n",
}


@linux
@pytest.mark.parametrize("order", list(itertools.permutations(LIBRARIES)), ids="-".join)
def test_every_order_of_import_works(order):
    """And each computes after each: their OpenMP runtimes and BLAS libraries differ."""
    order = [name for name in order if name == "nncore" or has(name)]
    if len(order) < 2:
        pytest.skip("neither torch nor scikit-learn is installed")
    parts = ["import json, zlib, numpy as np"]
    for name in order:
        parts.append(TRAIN if name == "nncore" else f"import {name}")
    parts += [LIBRARIES[name] for name in (*order, *order)]
    parts.append("print(json.dumps([train(8), train(256)]))")
    assert run("\n".join(parts)) == run(TRAIN + "print(json.dumps([train(8), train(256)]))")


@linux
def test_threadpoolctl_sees_and_limits_us():
    pytest.importorskip("threadpoolctl")
    code = """
import json, numpy as np, nncore as nn, threadpoolctl
from nncore import _core
known = [pool for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "openmp"]
X = np.ones((4096, 512), np.float32)
def usable():
    net = nn.MLP([512, 512, 1], backend="native")
    net.fit(X, X[:, :1], epochs=1, batch_size=2048)
    return [nn.get_num_threads(), _core.usable_threads()]
found = {"seen": len(known) > 0, "before": usable()}
with threadpoolctl.threadpool_limits(1):
    found["limited"] = usable()
    nn.set_num_threads(3)
    found["set and limited"] = usable()
    nn._core.set_num_threads(0)
    with nn.threads(2):
        pass
found["after"] = usable()
with nn.threads(1), threadpoolctl.threadpool_limits(2):
    found["set below"] = usable()
print(json.dumps(found))
"""
    found = run(code)
    assert found["seen"]
    assert found["limited"] == found["set and limited"] == found["set below"] == [1, 1]
    assert found["before"] == found["after"]


# -------------------------------------------------------------------------------------------------------------- limits

ASK = """
import json, nncore as nn
from nncore import _core
print(json.dumps([nn.get_num_threads(), _core.usable_threads()]))
"""


@linux
@pytest.mark.parametrize("n", [1, 2])
def test_omp_num_threads_is_the_default(n):
    cpus = len(os.sched_getaffinity(0))
    assert run(ASK, OMP_NUM_THREADS=str(n)) == [min(n, cpus)] * 2


@linux
def test_affinity_is_honoured_before_and_after_the_import():
    cpu = min(os.sched_getaffinity(0))
    before = f"import os; os.sched_setaffinity(0, [{cpu}])\n"
    assert run(before + ASK) == [1, 1]
    assert run(before + ASK, OMP_NUM_THREADS="4") == [1, 1]
    assert run("import nncore\n" + before + ASK) == [1, 1]
    assert run(ASK)[0] <= len(os.sched_getaffinity(0))


def test_a_quota_bounds_the_default_and_not_what_is_set():
    found = run(
        """
import json, nncore.quotas
nncore.quotas.cpus = lambda: 1
import importlib, nncore as nn
from nncore import engines
engines = importlib.reload(engines)
found = [engines.get_num_threads(), engines._core.usable_threads()]
engines.set_num_threads(2)
print(json.dumps([*found, engines.get_num_threads()]))
"""
    )
    assert found == [1, 1, 2]


# -------------------------------------------------------------------------------------------------------- interpreters


@linux
def test_another_interpreter_is_refused_or_works():
    """Whatever NumPy and Cython say to it, the process lives, and the first interpreter goes on."""
    module = next((name for name in ("_interpreters", "_xxsubinterpreters") if has(name)), None)
    if module is None:
        pytest.skip("this Python has no module for interpreters")
    code = (
        TRAIN
        + f"""
import {module} as interpreters
before = train(8)
other = interpreters.create()
read, write = os.pipe()
program = '''
import os, sys
sys.path[:0] = %r
try:
    import warnings; warnings.simplefilter("ignore")
    import nncore as nn
    net = nn.MLP([2, 3, 1]); net.fit([[0.0, 1.0]] * 4, [0.0, 1.0] * 2, epochs=1)
    said = "works: " + net.backend
except ImportError as error:
    said = "refused: " + (str(error) or "without a word")
os.write(%d, said.encode())
''' % (sys.path, write)
try:
    interpreters.run_string(other, program)
except Exception as error:
    os.write(write, ("refused: " + str(error)).encode())
said = os.read(read, 10000).decode()
print(json.dumps([said, train(8) == before]))
"""
    )
    said, same = run(code)
    assert same
    assert said.startswith(("works: ", "refused: ")) and "without a word" not in said, said
