"""Properties that hold of every network and all data, on examples that hypothesis draws.

The examples are the same in each run; ``pytest --hypothesis-profile=more tests/test_properties.py`` draws twenty times
as many, other ones each time, and prints how to have a failing one again.
"""

from __future__ import annotations

import ctypes
import os
import platform
import random
import signal
import sys
import tempfile
import threading
import warnings
from pathlib import Path

import numpy as np
import pytest

hypothesis = pytest.importorskip("hypothesis")
pytest.importorskip("nncore._core")

from hypothesis import given  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from problems import OPTIMIZERS, SMOOTH, problems, views  # noqa: E402

import nncore as nn  # noqa: E402
from nncore import testing  # noqa: E402

optimizers = st.sampled_from(OPTIMIZERS)
backends = st.sampled_from(["native", "numpy"])


def bits(net):
    return [array.tobytes() for array in (*net.get_weights(), *net.get_state())]


def agree(a, b, tolerance):
    for x, y in zip(a, b, strict=True):
        np.testing.assert_allclose(x, y, rtol=0, atol=tolerance * max(1.0, float(np.abs(y).max(initial=0))))


@given(problem=problems())
def test_native_predicts_as_numpy_does(problem):
    native, plain = problem.make("native"), problem.make("numpy")
    for a, b in zip(native.get_weights(), plain.get_weights(), strict=True):
        assert a.tobytes() == b.tobytes()
    tolerance = 2e-5 if problem.dtype == "float32" else 1e-12
    agree(native.forward(problem.X, layers=True), plain.forward(problem.X, layers=True), tolerance)
    given = {"loss": problem.loss, "sample_weight": problem.call["sample_weight"]}
    a, b = (net.evaluate(problem.X, problem.y, **given)["loss"] for net in (native, plain))
    assert a == pytest.approx(b, rel=10 * tolerance, abs=tolerance)


@given(problem=problems(activations=SMOOTH), optimizer=optimizers)
def test_native_trains_as_numpy_does(problem, optimizer):
    """Where nothing has a kink, at which rounding decides."""
    single = problem.dtype == "float32"
    if single:  # what divides by the gradient's own size makes much of its rounding
        optimizer = OPTIMIZERS[1]
    nets = problem.make("native"), problem.make("numpy")
    losses = [problem.fit(net, optimizer(), 2).history["loss"] for net in nets]
    np.testing.assert_allclose(losses[0], losses[1], rtol=2e-3 if single else 1e-7)
    agree(nets[0].get_weights(), nets[1].get_weights(), 2e-3 if single else 1e-7)


@given(problem=problems(), backend=backends, ending=st.sampled_from(["npz", "safetensors"]), optimizer=optimizers)
def test_saving_and_loading_is_the_identity(problem, backend, ending, optimizer):
    """Also for what comes after: the loaded network trains on to the same bits."""
    net = problem.make(backend)
    problem.fit(net, optimizer(), 1)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"net.{ending}"
        net.save(path)
        again = nn.load(path, backend=backend)
        content = path.read_bytes()
        again.save(path)
        assert ending == "npz" or path.read_bytes() == content  # a zip has the time in it
    assert bits(again) == bits(net)
    assert again.predict(problem.X).tobytes() == net.predict(problem.X).tobytes()
    assert (again.seed, again.dtype, again.epochs_trained) == (net.seed, net.dtype, net.epochs_trained)
    assert list(map(repr, again.layers)) == list(map(repr, net.layers))
    for each in (net, again):
        problem.fit(each, optimizer(), 1)
    assert bits(again) == bits(net)


@given(data=st.data(), problem=problems(), backend=backends)
def test_every_layout_gives_the_bits_of_the_contiguous_copy(data, problem, backend):
    X, y = data.draw(views(problem.X)), data.draw(views(problem.y))
    net, other = problem.make(backend), problem.make(backend)
    assert net.predict(problem.X).tobytes() == other.predict(X).tobytes()
    a = problem.fit(net, nn.SGD(0.05), 1)
    b = problem.fit(other, nn.SGD(0.05), 1, X, y)
    assert a.history == b.history
    assert bits(net) == bits(other)
    np.testing.assert_array_equal(X, problem.X)
    np.testing.assert_array_equal(y, problem.y)


@given(problem=problems(rows=600, width=70), optimizer=optimizers, threads=st.integers(2, 9))
def test_every_number_of_threads_gives_the_same_bits(problem, optimizer, threads):
    results = []
    for n in (1, threads):
        net = problem.make("native")
        with testing.force_threads(n):
            history = problem.fit(net, optimizer(), 1, batch_size=problem.call["batch_size"] and 64)
            outputs = net.predict(problem.X)
        results.append((history.history, outputs.tobytes(), bits(net)))
    assert results[0] == results[1]


@given(problem=problems(), optimizer=optimizers, backend=backends, epochs=st.integers(1, 4))
def test_one_epoch_n_times_is_n_epochs(problem, optimizer, backend, epochs):
    whole, parts = problem.make(backend), problem.make(backend)
    at_once = problem.fit(whole, optimizer(), epochs).history["loss"]
    kept = optimizer()
    assert [problem.fit(parts, kept, 1).history["loss"][0] for _ in range(epochs)] == at_once
    assert bits(whole) == bits(parts)


# -------------------------------------------------------------------------------------------------- nothing is changed


def float_mode():
    """Return rounding, masks, flush-to-zero and denormals-are-zero of this thread, by libm."""
    buffer = ctypes.create_string_buffer(64)
    ctypes.CDLL("libm.so.6").fegetenv(buffer)
    if platform.machine() == "x86_64":  # the x87's control word, and MXCSR without the flags, which NumPy raises too
        return buffer.raw[:2], int.from_bytes(buffer.raw[28:32], "little") & 0xFFC0
    return buffer.raw[:4]


def surroundings():
    """Return what a fit must leave as it was."""
    name, words, *rest = np.random.get_state()
    return {
        "numpy.random": (name, words.tobytes(), *rest),
        "random": random.getstate(),
        "warnings.filters": list(warnings.filters),
        "numpy.errstate": np.geterr(),
        "numpy.printoptions": repr(np.get_printoptions()),
        "float mode": float_mode() if sys.platform == "linux" else None,
        "environment": dict(os.environ),
        "folder": os.getcwd(),
        "signals": [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD)],
        "threads of Python": threading.active_count(),
        "number of threads": nn.get_num_threads(),
        "affinity": os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None,
        "recursion": sys.getrecursionlimit(),
        "trace": (sys.gettrace() is None, sys.getprofile()),
    }


@given(problem=problems(), optimizer=optimizers, backend=backends, ending=st.sampled_from(["well", "badly", "early"]))
def test_fit_changes_neither_its_data_nor_the_process(problem, optimizer, backend, ending):
    """However it ends: with its epochs, by divergence, or refused because of a NaN in the last row."""
    if ending == "early":
        problem.X[-1, 0] = np.nan
    given = [array for array in (problem.X, problem.y, problem.call["sample_weight"]) if array is not None]
    kept = [array.tobytes() for array in given]
    before = surroundings()
    with np.errstate(all="raise"):  # the caller's own; no operation of ours may meet it
        try:
            net = problem.make(backend)
            problem.fit(net, nn.SGD(1e30) if ending == "badly" else optimizer(), 3)
            net.predict(problem.X)
            net.evaluate(problem.X, problem.y, loss=problem.loss)
        except nn.DivergenceError:
            assert ending == "badly"
        except ValueError:
            assert ending == "early"
    after = surroundings()
    assert [array.tobytes() for array in given] == kept
    for what, value in before.items():
        assert after[what] == value, what


@pytest.mark.skipif(sys.platform != "linux" or platform.machine() != "x86_64", reason="reads MXCSR by libm")
@pytest.mark.parametrize("rounding", [0x400, 0x800, 0xC00])
def test_the_callers_rounding_changes_no_bit_and_comes_back(rounding):
    """Some libraries leave it set: the first thread would else compute otherwise than its helpers."""
    libm = ctypes.CDLL("libm.so.6")
    X = np.random.default_rng(1).standard_normal((300, 70)).astype(np.float32)
    y = X[:, :3].copy()
    for threads in (1, 2):
        results = []
        for mode in (0, rounding):
            net = nn.MLP([70, 80, 3], backend="native")
            engine, optimizer = net._engine, nn.SGD(0.1)  # the core alone: NumPy computes as the mode says
            job = engine.job(X, y, loss="mse", batch_size=100, shuffle=True, seed=0, first_epoch=0, optimizer=optimizer,
                             slots=engine.new_slots(0), record=False, threads=None)  # fmt: skip
            with testing.force_threads(threads):
                assert libm.fesetround(mode) == 0
                try:
                    engine.run(job, 0, 3)
                    outputs = engine.predict(X)
                    assert libm.fegetround() == mode
                finally:
                    libm.fesetround(0)
            results.append((outputs.tobytes(), bits(net)))
        assert results[0] == results[1]
