"""Signals while something is computed: they are heard, and what their handlers raise comes out as it is."""

import os
import signal
import sys
import threading
import time

import numpy as np
import pytest

import nncore as nn

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="timers and signals of Linux")
PACKAGE, NUMPY = (os.path.dirname(package.__file__) + os.sep for package in (nn, np))


@linux
@pytest.mark.parametrize("call", ["predict", "forward", "evaluate"])
def test_signals_are_heard_within_a_prediction(backend, call):
    """A timer's handler is called several times while one call computes; it is made longer until it must have been."""
    net = nn.MLP([64, 256, 256, 2], backend=backend)
    calls, rows = [], 1 << 15
    before = signal.signal(signal.SIGALRM, lambda *_: calls.append(time.perf_counter()))
    try:
        while True:
            X = np.zeros((rows, 64), np.float32)
            arguments = (X, np.zeros((rows, 2))) if call == "evaluate" else (X,)
            signal.setitimer(signal.ITIMER_REAL, 0.005, 0.005)
            calls.clear()
            getattr(net, call)(*arguments)
            heard = len(calls)
            signal.setitimer(signal.ITIMER_REAL, 0)
            if heard > 3 or rows >= 1 << 20:
                break
            rows *= 2
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert heard > 3, f"{heard} of the timer's signals were heard in a call of {call} on {rows} rows"


@linux
@pytest.mark.parametrize("call", ["predict", "evaluate", "fit", "train_step"])
def test_ctrl_c_ends_any_call_and_the_network_goes_on(backend, call):
    """Sent by another thread, at different moments of the call."""
    net, twin = (nn.MLP([64, 128, 2], backend=backend, seed=1) for _ in "ab")
    X = np.random.default_rng(2).standard_normal((1 << 16, 64)).astype(np.float32)
    y = X[:, :2].copy()
    calls = {
        "predict": lambda: net.predict(X),
        "evaluate": lambda: net.evaluate(X, y, metrics=["mse"]),
        "fit": lambda: net.fit(X, y, epochs=1, batch_size=64),
        "train_step": lambda: net.train_step(X[:512], y[:512], optimizer=nn.SGD(0.0)),
    }
    for wait in (0.0, 0.01, 0.03):
        timer = threading.Timer(wait, os.kill, (os.getpid(), signal.SIGINT))
        with pytest.raises(KeyboardInterrupt):
            timer.start()
            while True:
                calls[call]()
        timer.join()
        assert all(np.isfinite(array).all() for array in net.get_weights())
    if call in ("predict", "evaluate", "train_step"):
        assert net.predict(X[:100]).tobytes() == twin.predict(X[:100]).tobytes()
    net.fit(X[:100], y[:100], epochs=1)  # no lock is left behind


@linux
def test_a_signals_handler_that_uses_the_network_is_told_and_hangs_nothing():
    net = nn.MLP([64, 256, 256, 2], backend="native")
    X = np.zeros((1 << 16, 64), np.float32)
    said = []

    def handler(*_):
        try:
            net.predict(X[:1])
            said.append("answered")  # between two calls
        except RuntimeError as error:
            said.append(str(error))

    before = signal.signal(signal.SIGALRM, handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.001, 0.002)
        for _ in range(3):
            net.predict(X)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert said and set(said) <= {
        "answered",
        "the network is in the middle of a prediction, and a signal's handler must not use it",
    }


# ------------------------------------------------------------------------------------------- what a handler raises


class Late(ValueError):
    """What is easily mistaken for bad input."""


class LateType(TypeError):
    """The same."""


def raised_within(call, kind, seconds=60.0):
    """Call again and again until a timer's handler, called within nncore's code, has raised; return (raised, come out).

    A call that ends well although the handler raised has swallowed that, and the second is None.
    """
    raised = []

    def handler(_, frame):
        if frame.f_code.co_filename.startswith(NUMPY):  # whose own functions take a TypeError for one of theirs
            return
        while frame is not None and not frame.f_code.co_filename.startswith(PACKAGE):
            frame = frame.f_back
        if frame is not None and not raised:
            raised.append(kind("of the handler"))
            raise raised[0] from LookupError("its cause")

    before = signal.signal(signal.SIGALRM, handler)
    until = time.monotonic() + seconds
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.03, 0.03)
        while not raised and time.monotonic() < until:
            call()
        return raised, None
    except (Late, LateType, nn.DivergenceError) as error:
        return raised, error
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@linux
@pytest.mark.parametrize("kind", [Late, LateType])
@pytest.mark.parametrize(
    "call", ["predict", "layers", "evaluate", "fit", "fit by a loss of one's own", "train_step", "gradients"]
)
def test_what_a_handler_raises_comes_out_as_it_is(backend, call, kind):
    """Not taken for bad input, which would be converted and predicted again, nor for divergence."""
    net, twin = (nn.MLP([64, 128, 2], backend=backend, seed=1) for _ in "ab")
    X = np.random.default_rng(2).standard_normal((1 << 16, 64)).astype(np.float32)
    y = X[:, :2].copy()

    def own(pred, target):
        return ((pred - target) ** 2).mean(axis=1), (pred - target) / len(pred)

    calls = {
        "predict": lambda: net.predict(X),
        "layers": lambda: net.forward(X, layers=True),
        "evaluate": lambda: net.evaluate(X, y, metrics=["mse"]),
        "fit": lambda: net.fit(X, y, epochs=1, batch_size=64, optimizer=nn.SGD(0.0)),
        "fit by a loss of one's own": lambda: net.fit(X, y, own, epochs=1, batch_size=64, optimizer=nn.SGD(0.0)),
        "train_step": lambda: net.train_step(X[:4096], y[:4096], optimizer=nn.SGD(0.0)),
        "gradients": lambda: net.loss_and_gradients(X[:4096], y[:4096]),
    }
    raised, error = raised_within(calls[call], kind)
    assert raised, "no signal came while nncore computed"
    assert error is raised[0], f"{call} gave {error!r}"
    assert isinstance(error.__cause__, LookupError)
    assert net.predict(X[:100]).tobytes() == twin.predict(X[:100]).tobytes()  # a rate of 0 changes nothing
    net.fit(X[:100], y[:100], epochs=1)  # no lock is left behind


@linux
def test_what_a_handler_raises_while_objects_are_looked_through_is_not_their_fault(backend):
    net = nn.MLP([4, 2], backend=backend)
    X = np.ones((200_000, 4)).astype(object)
    raised, error = raised_within(lambda: net.predict(X), Late)
    assert raised and error is raised[0]
