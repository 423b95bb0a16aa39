"""The loop: budgets, interrupts at any place, the record."""

from __future__ import annotations

import gc
import re
import signal
import sys
import threading
import time
import types
import weakref

import numpy as np
import pytest

from nncore import MLP, SGD, Adam, History, callbacks, fitting
from nncore.callbacks import Callback


def classifier(backend, **kwargs):
    return MLP([5, 8, 3], activation="tanh", output="softmax", backend=backend, **kwargs)


def assert_same_weights(a, b):
    for x, y in zip(a.get_weights(), b.get_weights(), strict=True):
        np.testing.assert_array_equal(x, y)


class SlowSteps(Callback):
    """Makes each step take long, so that a budget ends within an epoch."""

    def on_batch_end(self, step, logs):
        time.sleep(0.02)


def test_a_budget_ends_after_the_step_that_exceeds_it(backend, blobs):
    X, y = blobs
    net, optimizer = classifier(backend), Adam()
    history = net.fit(X, y, epochs=10**6, batch_size=10, optimizer=optimizer, max_seconds=0.1, callbacks=SlowSteps())
    assert history.stopped == "max_seconds"
    assert 0 < optimizer.steps < 12  # the budget has room for five, an epoch has twelve
    assert history.epochs == net.epochs_trained == 0
    assert history.seconds >= 0.1


def test_a_budget_that_suffices_changes_nothing(backend, blobs):
    X, y = blobs
    net, twin = classifier(backend), classifier(backend)
    history = net.fit(X, y, epochs=3, max_seconds=1000)
    twin.fit(X, y, epochs=3)
    assert history.stopped == "epochs" and history.epochs == 3
    assert_same_weights(net, twin)


def test_a_budget_ends_a_long_run(backend, blobs):
    X, y = blobs
    net = classifier(backend)
    history = net.fit(X, y, epochs=10**9, max_seconds=0.1, validation_data=(X, y))
    assert history.stopped == "max_seconds" and history.epochs == net.epochs_trained > 0
    assert len(history.history["val_loss"]) == history.epochs


def test_lines_say_how_long_it_will_take(backend, blobs, capsys):
    X, y = blobs

    class Slow(Callback):
        def on_epoch_begin(self, epoch):
            time.sleep(0.02)

    classifier(backend).fit(X, y, epochs=1000, max_seconds=0.1, callbacks=Slow(), verbose=1)
    assert "left" not in capsys.readouterr().out  # less than a second
    with pytest.raises(KeyboardInterrupt):
        classifier(backend).fit(X, y, epochs=1000, callbacks=[Slow(), Interrupt(2)], verbose=1)
    lines = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"epoch    1/1000  loss \S+  (\d+ s|\d+:\d\d|\d+:\d\d:\d\d) left", lines[0]), lines[0]


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (59.4, "59 s"), (59.6, "1:00"), (125, "2:05"), (3600, "1:00:00")]
)
def test_how_times_are_written(seconds, text):
    assert fitting.duration(seconds) == text


class Interrupt(Callback):
    """Ctrl-C at the end of an epoch."""

    def __init__(self, epoch):
        self.epoch = epoch

    def on_epoch_end(self, epoch, logs):
        if epoch == self.epoch:
            raise KeyboardInterrupt


@pytest.mark.parametrize("kind", [KeyboardInterrupt, RuntimeError])
@pytest.mark.parametrize("where", ["metric", "validation"])
def test_what_ends_an_epoch_between_its_steps_and_its_record(backend, blobs, where, kind):
    X, y = blobs
    net, twin, whole = classifier(backend), classifier(backend), classifier(backend)
    optimizer, calls = Adam(), []
    each = 1 if where == "metric" else 2  # calls of the metric in an epoch

    def metric(pred, target):
        calls.append(0)
        if len(calls) == 3 * each:
            raise kind
        return 0.0

    validation = None if where == "metric" else (X, y)
    with pytest.raises(kind):
        net.fit(X, y, epochs=9, optimizer=optimizer, metrics=metric, validation_data=validation)
    assert net.history.epochs == net.epochs_trained == 2
    assert all(len(values) == 2 for values in net.history.history.values())
    assert net.history.stopped == ("interrupt" if kind is KeyboardInterrupt else None)
    twin.fit(X, y, epochs=2)
    whole.fit(X, y, epochs=3)
    # An interrupt keeps the steps that were done, an error does not.
    assert_same_weights(net, whole if kind is KeyboardInterrupt else twin)
    assert optimizer.steps == (12 if kind is KeyboardInterrupt else 8)


def test_an_interrupt_between_two_entries_of_the_record(backend, blobs):
    X, y = blobs
    net = classifier(backend)

    class Rude(list):
        def append(self, value):
            super().append(value)
            if len(self) == 2:
                raise KeyboardInterrupt

    class Swap(Callback):
        def on_train_begin(self):
            self._run.history.history["accuracy"] = Rude()

    with pytest.raises(KeyboardInterrupt):
        net.fit(X, y, epochs=9, metrics=["accuracy"], validation_data=(X, y), callbacks=Swap())
    assert {len(values) for values in net.history.history.values()} == {1} == {net.epochs_trained}


@pytest.mark.parametrize("optimizer", [Adam, lambda: SGD(0.1, momentum=0.9, nesterov=True, weight_decay=0.01)])
def test_numpy_interrupted_at_any_line_of_an_update_leaves_whole_steps(blobs, optimizer):
    """The weights and the optimizer are always those after so many whole steps, and the count says how many."""
    X, y = blobs
    nets = [MLP([5, 4, 3], output="softmax", backend="numpy") for _ in range(9)]
    states = []
    for steps, net in enumerate(nets):
        kept = optimizer()
        engine_run(net, X, y, kept, steps)
        states.append((net.get_weights(), kept._slots.arrays(), kept.steps))
    update = type(optimizer()).update.__code__
    last = max(line for *_, line in update.co_lines() if line)
    first = update.co_firstlineno
    hits = 0
    for line in range(first, last + 1):
        net, kept = MLP([5, 4, 3], output="softmax", backend="numpy"), optimizer()
        engine_run(net, X, y, kept, 3)
        seen = 0

        def tracer(frame, event, argument, line=line):
            nonlocal seen
            if frame.f_code is not update:
                return None if frame.f_code.co_name != "run" else tracer
            if event == "line" and frame.f_lineno == line:
                seen += 1
                if seen == 3:
                    raise KeyboardInterrupt
            return tracer

        sys.settrace(tracer)
        try:
            engine_run(net, X, y, kept, 5)
        except KeyboardInterrupt:
            hits += 1
        finally:
            sys.settrace(None)
        weights, slots, steps = states[kept.steps]
        for a, b in zip(net.get_weights(), weights, strict=True):
            np.testing.assert_array_equal(a, b, err_msg=f"line {line}")
        for slot, expected in zip(kept._slots.arrays(), slots, strict=True):
            for a, b in zip(slot, expected, strict=True):
                np.testing.assert_array_equal(a, b, err_msg=f"line {line}")
    assert hits > 5


def engine_run(net, X, y, optimizer, steps):
    """Do some steps on batches of 16, in one call of the engine."""
    if optimizer._slots is None:
        optimizer._bind(net)
        optimizer._slots = net._engine.new_slots(optimizer.n_slots)
    job = net._engine.job(
        X, y.astype(np.int32), loss="cross_entropy", batch_size=16, shuffle=False, seed=0, first_epoch=0,
        optimizer=optimizer, slots=optimizer._slots, record=False, threads=None,
    )  # fmt: skip
    net._engine.run(job, optimizer.steps, steps)


def test_steps_of_a_call_that_ctrl_c_ends_are_counted(backend, blobs):
    """Ctrl-C is raised at the first line of Python after the core's call: the steps were done and must count."""
    X, y = np.tile(blobs[0], (300, 1)), np.tile(blobs[1], 300)
    net, twin, optimizer = classifier(backend), classifier(backend), SGD(0.01)
    alarm = threading.Timer(0.1, signal.raise_signal, [signal.SIGINT])
    with pytest.raises(KeyboardInterrupt):
        alarm.start()
        net.fit(X, y, epochs=10**6, batch_size=8, shuffle=False, optimizer=optimizer)
    again = SGD(0.01)
    twin._epochs_trained = 0
    engine_slots(twin, again)
    job = twin._engine.job(
        X, y.astype(np.int32), loss="cross_entropy", batch_size=8, shuffle=False, seed=0, first_epoch=0,
        optimizer=again, slots=again._slots, record=False, threads=None,
    )  # fmt: skip
    twin._engine.run(job, 0, optimizer.steps)
    assert optimizer.steps > 0
    assert_same_weights(net, twin)


def engine_slots(net, optimizer):
    optimizer._bind(net)
    optimizer._slots = net._engine.new_slots(optimizer.n_slots)


def test_a_history_is_drawn_by_the_module_for_that(monkeypatch):
    history = History(["loss"])
    assert (history.stopped, history.seconds, history.epochs) == (None, 0.0, 0)
    module = types.ModuleType("nncore.plot")
    module.history = lambda *args, **kwargs: (args, kwargs)
    monkeypatch.setitem(sys.modules, "nncore.plot", module)
    assert history.plot(1, names=2) == ((history, 1), {"names": 2})


def test_the_data_are_not_kept_after_training(backend, blobs):
    X, y = blobs
    X = X.copy()
    bar, net = callbacks.ProgressBar(), classifier(backend)
    net.fit(X, y, epochs=1, callbacks=[bar])
    gone = weakref.ref(X)
    del X
    gc.collect()
    assert gone() is None
