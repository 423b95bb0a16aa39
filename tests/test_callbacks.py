from __future__ import annotations

import copy
import csv
import pickle
import signal

import numpy as np
import pytest

from nncore import MLP, SGD, Adam, DivergenceError, callbacks, streams
from nncore.callbacks import Callback, Checkpoint, CSVLogger, EarlyStopping


def classifier(backend, **kwargs):
    return MLP([5, 8, 3], activation="tanh", output="softmax", backend=backend, **kwargs)


def assert_same(a, b):
    for x, y in zip(a, b, strict=True):
        np.testing.assert_array_equal(x, y)


class Recorder(Callback):
    def __init__(self):
        self.calls = []

    def on_train_begin(self):
        self.calls.append("begin")

    def on_epoch_begin(self, epoch):
        self.calls.append(("epoch", epoch))

    def on_epoch_end(self, epoch, logs):
        self.calls.append(("end", epoch, dict(logs)))

    def on_train_end(self):
        self.calls.append("over")


class Weights(Callback):
    """Keeps the weights at each epoch's end."""

    def __init__(self):
        self.kept = []

    def on_epoch_end(self, epoch, logs):
        self.kept.append(self.network.get_weights())


def count_runs(net):
    """Return a list that gets the number of steps of each call of the engine."""
    engine, calls = net._engine, []

    class Spy:
        def __getattr__(self, name):
            return getattr(engine, name)

        def run(self, job, first, n):
            calls.append(n)
            engine.run(job, first, n)

    net._engine = Spy()
    return calls


# ------------------------------------------------------------------------------------------------------------ calls


def test_calls_come_in_order(backend, blobs):
    X, y = blobs
    net, recorder = classifier(backend), Recorder()
    history = net.fit(X, y, epochs=2, callbacks=recorder, metrics=["accuracy"], batch_size=50)
    logs = [{name: values[epoch] for name, values in history.history.items()} for epoch in range(2)]
    assert recorder.calls == [
        "begin", ("epoch", 0), ("end", 0, logs[0]), ("epoch", 1), ("end", 1, logs[1]), "over"
    ]  # fmt: skip
    assert recorder.network is net and recorder.params == {"epochs": 2, "steps": 3, "names": ["loss", "accuracy"]}
    assert history.stopped == "epochs" and history.seconds > 0


def test_callbacks_change_no_bits_and_no_calls_unless_they_want_steps(backend, blobs):
    X, y = blobs
    plain, watched, stepped = classifier(backend), classifier(backend), classifier(backend)
    losses = []

    class Steps(Callback):
        def on_batch_end(self, step, logs):
            losses.append((step, logs["loss"]))

    calls = count_runs(watched)
    first = plain.fit(X, y, epochs=2, batch_size=50)
    second = watched.fit(X, y, epochs=2, batch_size=50, callbacks=[Recorder()])
    assert calls == [3, 3]
    calls = count_runs(stepped)
    third = stepped.fit(X, y, epochs=2, batch_size=50, callbacks=[Steps()])
    assert calls == [1] * 6
    assert_same(plain.get_weights(), watched.get_weights())
    assert_same(plain.get_weights(), stepped.get_weights())
    assert first.history == second.history == third.history
    assert [step for step, _ in losses] == [0, 1, 2, 0, 1, 2]
    means = [np.average([loss for _, loss in losses[3 * e : 3 * e + 3]], weights=[50, 50, 20]) for e in (0, 1)]
    np.testing.assert_allclose(means, first.history["loss"], rtol=1e-6)


def test_the_losses_of_steps_are_those_of_train_step(backend, blobs):
    X, y = blobs
    net, twin = (classifier(backend, dtype="float64") for _ in range(2))
    seen = []

    class Steps(Callback):
        def on_batch_end(self, step, logs):
            seen.append(logs["loss"])

    net.fit(X, y, epochs=1, batch_size=50, shuffle=False, optimizer=SGD(0.1), callbacks=[Steps()])
    optimizer = SGD(0.1)
    expected = [twin.train_step(X[at : at + 50], y[at : at + 50], optimizer) for at in (0, 50, 100)]
    np.testing.assert_allclose(seen, expected, rtol=1e-12)


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("own", [False, True])
def test_the_loss_of_a_step_is_its_weighted_mean(backend, blobs, shuffle, own):
    X, y = blobs
    y = y.astype(float)
    weights = np.where(np.arange(120) % 3 == 0, 0.0, 700.0 + np.arange(120))
    weights[40:80] = 0
    seen = []

    class Steps(Callback):
        def on_batch_end(self, step, logs):
            seen.append(logs["loss"])

    def squared(pred, target):
        return ((pred - target) ** 2).mean(axis=1), 2 * (pred - target) / pred.size

    net = MLP([5, 4, 1], dtype="float64", backend=backend)
    loss = squared if own else "mse"
    net.fit(X, y, loss, SGD(0.0), epochs=2, batch_size=20, shuffle=shuffle, sample_weight=weights, callbacks=[Steps()])
    losses = (net.predict(X)[:, 0] - y) ** 2
    orders = [streams.permutation(0, streams.SHUFFLE, e, 120) if shuffle else np.arange(120) for e in (0, 1)]
    parts = [order[at : at + 20] for order in orders for at in range(0, 120, 20)]
    expected = [np.average(losses[p], weights=weights[p]) if weights[p].any() else 0.0 for p in parts]
    np.testing.assert_allclose(seen, expected, rtol=1e-12)
    assert expected.count(0.0) == (0 if shuffle else 4)


@pytest.mark.parametrize("within", [False, True])
def test_a_callback_stops_training(backend, blobs, within):
    X, y = blobs

    class Stop(Callback):
        def on_epoch_end(self, epoch, logs):
            self.network.stop_training = not within and epoch == 1

    class StopWithin(Stop):
        def on_batch_end(self, step, logs):
            if self.network.history.epochs == 2 and step == 1:
                self.network.stop_training = True

    net, optimizer = classifier(backend), Adam()
    history = net.fit(
        X, y, epochs=9, batch_size=50, optimizer=optimizer, callbacks=[StopWithin() if within else Stop()]
    )
    assert history.stopped == "callback"
    assert history.epochs == net.epochs_trained == 2
    assert optimizer.steps == (8 if within else 6)
    assert net.fit(X, y, epochs=1, callbacks=[Recorder()]).epochs == 1  # the next call is not stopped


def test_an_error_in_a_callback_ends_training_and_all_are_told(backend, blobs):
    X, y = blobs

    class Broken(Callback):
        def on_epoch_end(self, epoch, logs):
            if epoch == 1:
                raise RuntimeError("broken")

        def on_train_end(self):
            raise RuntimeError("broken at the end")

    class BrokenWithin(Callback):
        def on_batch_end(self, step, logs):
            if step == 1 and self.network.history.epochs == 1:
                raise RuntimeError("broken")

    net, recorder = classifier(backend), Recorder()
    with pytest.raises(RuntimeError, match="broken at the end"):
        net.fit(X, y, epochs=5, callbacks=[Broken(), recorder])
    assert recorder.calls[-1] == "over" and net.epochs_trained == net.history.epochs == 2
    net, twin, optimizer = classifier(backend), classifier(backend), Adam()
    with pytest.raises(RuntimeError, match="broken"):
        net.fit(X, y, epochs=5, callbacks=[BrokenWithin()], optimizer=optimizer)
    twin.fit(X, y, epochs=1)
    assert_same(net.get_weights(), twin.get_weights())
    assert optimizer.steps == 4 and net.epochs_trained == 1 == net.history.epochs
    assert net.history.stopped is None


def test_a_callback_may_change_the_rate_and_the_weights(backend, blobs):
    X, y = blobs

    class Freeze(Callback):
        def on_epoch_begin(self, epoch):
            self.optimizer.learning_rate = 0.0
            self.network.set_weights(start)

    net = classifier(backend)
    net.fit(X, y, epochs=1)
    start = net.get_weights()
    net.fit(X, y, epochs=2, callbacks=[Freeze()], optimizer=SGD(1.0))
    assert_same(net.get_weights(), start)


@pytest.mark.parametrize("by", [copy.copy, copy.deepcopy, lambda each: pickle.loads(pickle.dumps(each))])
def test_callbacks_can_be_copied_before_within_and_after_a_fit(backend, blobs, tmp_path, by):
    """A copy has what was gathered, and neither the run under way nor open files; it serves the next fit."""
    path = tmp_path / "log.csv"
    made = [EarlyStopping(patience=50), Checkpoint(tmp_path / "run.npz"), CSVLogger(path), callbacks.ProgressBar(True)]
    copies = [[by(each) for each in made]]

    class Copier(Callback):
        def on_epoch_end(self, epoch, logs):
            if epoch == 1:
                copies.append([by(each) for each in made])

    net = classifier(backend)
    history = net.fit(*blobs, epochs=4, callbacks=[*made, Copier()]).history
    copies.append([by(each) for each in made])
    assert len(copies) == 3
    best = [min(history["loss"][:2]), min(history["loss"])]
    assert [each[0].best for each in copies] == [None, *best]
    for each in copies:
        assert [repr(callback) for callback in each] == [repr(callback) for callback in made]
        assert not any(hasattr(callback, "_run") for callback in each)
        again = classifier(backend)
        again.fit(*blobs, epochs=3, callbacks=each)
        assert again.history.history["loss"] == history["loss"][:3]
        assert each[0].best == min(history["loss"][:3])
        assert len(path.read_text().splitlines()) == 4


@pytest.mark.parametrize(
    ("kwargs", "error", "message"),
    [
        ({"callbacks": 3}, TypeError, "callbacks is of type int"),
        ({"callbacks": [print]}, TypeError, "callbacks has a builtin"),
        ({"callbacks": [EarlyStopping]}, TypeError, "callbacks has the class EarlyStopping"),
        ({"callbacks": [r := Recorder(), r]}, ValueError, "twice"),
        ({"early_stopping": 0}, ValueError, "early_stopping is 0"),
        ({"early_stopping": 2.5}, TypeError, "early_stopping is 2.5"),
        ({"early_stopping": "yes"}, TypeError, "early_stopping is 'yes'"),
        ({"early_stopping": EarlyStopping("val_loss")}, ValueError, "'val_loss'; this fit records 'loss' "),
        ({"early_stopping": EarlyStopping("spread"), "metrics": [lambda p, t: 0.0]}, ValueError, "'spread'"),
        ({"early_stopping": np.int64(0)}, ValueError, "early_stopping is 0"),
        ({"shuffle": 1}, TypeError, "shuffle is 1; expected True or False"),
        ({"validation_split": False}, TypeError, "validation_split is False, of type bool"),
        ({"validation_split": "0"}, TypeError, "validation_split is '0'"),
        ({"validation_split": -0.5}, ValueError, "validation_split is -0.5"),
        ({"max_seconds": 0}, ValueError, "max_seconds is 0"),
        ({"max_seconds": "1"}, TypeError, "max_seconds"),
        ({"resume": 3}, TypeError, "resume is of type int"),
    ],
)
def test_refused_arguments(backend, blobs, kwargs, error, message):
    net = classifier(backend)
    with pytest.raises(error, match=message):
        net.fit(*blobs, **kwargs)
    assert net.epochs_trained == 0 and net.history is None
    assert_same(net.get_weights(), classifier(backend).get_weights())


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: EarlyStopping(patience=0), ValueError, "patience"),
        (lambda: EarlyStopping(monitor=3), TypeError, "monitor"),
        (lambda: EarlyStopping(min_delta=-1.0), ValueError, "min_delta"),
        (lambda: EarlyStopping(mode="most"), ValueError, "mode"),
        (lambda: EarlyStopping(restore_best=1), TypeError, "restore_best"),
        (lambda: Checkpoint(3), TypeError, "path"),
        (lambda: Checkpoint("a", every=0), ValueError, "every"),
        (lambda: Checkpoint("a", save_best_only="no"), TypeError, "save_best_only"),
        (lambda: Checkpoint("a", save_best_only=True, steps=3), ValueError, "both given"),
        (lambda: CSVLogger(None), TypeError, "path"),
        (lambda: callbacks.ProgressBar("yes"), TypeError, "show"),
    ],
)
def test_refused_parameters(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_numpys_bools_are_bools(backend, blobs):
    assert EarlyStopping(restore_best=np.False_).restore_best is False
    assert Checkpoint("a", save_best_only=np.True_).save_best_only is True
    assert callbacks.ProgressBar(np.False_).show is False
    one, other = classifier(backend), classifier(backend)
    one.fit(*blobs, epochs=2, shuffle=np.False_, early_stopping=np.True_)
    other.fit(*blobs, epochs=2, shuffle=False, early_stopping=True)
    assert_same(one.get_weights(), other.get_weights())


# ---------------------------------------------------------------------------------------------------- early stopping


class Scripted(Callback):
    """Replaces what is recorded by given values, before early stopping sees them; for tests only."""

    def __init__(self, stop, values):
        self.values, inner = values, stop.on_epoch_end
        stop.on_epoch_end = lambda epoch, logs: inner(epoch, {**logs, stop._watched: values[epoch]})


@pytest.mark.parametrize(
    ("values", "kwargs", "epochs", "best"),
    [
        ([5, 4, 3, 3, 3, 3, 1], {"patience": 3}, 6, 2),
        ([5, 4, 3, 2.95, 2.92, 2.91, 1], {"patience": 3, "min_delta": 0.1}, 6, 2),
        ([5, 4, 4.5, 3, 9, 9], {"patience": 2}, 6, 3),
        ([1, 2, 3, 3, 3, 9], {"patience": 2, "mode": "max"}, 5, 2),
        ([np.nan, 4, np.nan, 5, 6, 1], {"patience": 3}, 5, 1),
        ([5, 4, 3, 2, 1, 0], {"patience": 1}, 6, 5),
        ([5, 9, 0], {"patience": 1}, 2, 0),
    ],
)
def test_when_it_stops(backend, blobs, values, kwargs, epochs, best):
    X, y = blobs
    net, stop, weights = classifier(backend), EarlyStopping("loss", **kwargs), Weights()
    Scripted(stop, values)
    history = net.fit(X, y, epochs=len(values), callbacks=[weights], early_stopping=stop)
    assert history.epochs == epochs == net.epochs_trained
    stopped = stop._wait >= kwargs["patience"]
    assert history.stopped == ("early stopping" if stopped else "epochs")
    assert stop.best_epoch == best and stop.best == values[best]
    assert_same(net.get_weights(), weights.kept[best])


def test_a_metric_that_is_better_when_higher(backend, blobs):
    X, y = blobs
    net, stop = classifier(backend), EarlyStopping("val_accuracy", patience=3)
    history = net.fit(X, y, epochs=50, validation_split=0.2, metrics=["accuracy"], early_stopping=stop)
    accuracies = history.history["val_accuracy"]
    assert stop.best == max(accuracies) and stop.best_epoch == accuracies.index(max(accuracies))


def test_without_validation_the_loss_of_training_is_watched(backend, blobs):
    X, y = blobs
    net = classifier(backend)
    history = net.fit(X, y, epochs=30, early_stopping=2, optimizer=SGD(0.0))
    assert history.epochs == 3 and history.stopped == "early stopping"
    assert net.fit(X, y, epochs=12, early_stopping=True, optimizer=SGD(0.0)).epochs == 11
    assert net.fit(X, y, epochs=12, early_stopping=False, optimizer=SGD(0.0)).epochs == 12


def test_with_validation_its_loss_is_watched(backend, blobs):
    X, y = blobs
    net, stop = classifier(backend), EarlyStopping(patience=2)
    history = net.fit(X, y, epochs=100, validation_data=(X, (y + 1) % 3), early_stopping=stop)
    assert history.history["loss"][-1] < history.history["loss"][0]
    assert history.stopped == "early stopping" and stop.best == min(history.history["val_loss"])


def test_the_best_weights_come_back_however_training_ends(backend, blobs):
    X, y = blobs

    class End(Callback):
        def __init__(self, how):
            self.how = how

        def on_batch_end(self, step, logs):
            if self.network.history.epochs == 3 and step == 1:
                if self.how == "interrupt":
                    signal.raise_signal(signal.SIGINT)
                if self.how == "error":
                    raise RuntimeError
                if self.how == "divergence":
                    self.optimizer.learning_rate = 1e300
                if self.how == "callback":
                    self.network.stop_training = True

    for how, expected in (
        ("interrupt", KeyboardInterrupt),
        ("error", RuntimeError),
        ("divergence", DivergenceError),
        ("callback", None),
        ("epochs", None),
    ):
        net, stop, weights = classifier(backend), EarlyStopping("loss", patience=9), Weights()
        Scripted(stop, [5, 4, 9, 9, 9])
        call = {"epochs": 5, "batch_size": 30, "callbacks": [stop, weights, End(how)], "optimizer": SGD(0.1)}
        if expected is None:
            net.fit(X, y, **call)
        else:
            with pytest.raises(expected):
                net.fit(X, y, **call)
        assert net.history.stopped == (how if how in ("interrupt", "callback", "epochs") else None)
        assert stop.best_epoch == 1
        assert_same(net.get_weights(), weights.kept[1])


def test_the_last_weights_stay_where_that_is_wanted(backend, blobs):
    X, y = blobs
    net, twin = classifier(backend), classifier(backend)
    stop = EarlyStopping("loss", patience=2, restore_best=False)
    Scripted(stop, [1, 2, 3, 4])
    net.fit(X, y, epochs=4, early_stopping=stop)
    twin.fit(X, y, epochs=3)
    assert_same(net.get_weights(), twin.get_weights())


def test_an_object_begins_anew_with_each_call(backend, blobs):
    X, y = blobs
    stop = EarlyStopping("loss", patience=2)
    for _ in range(2):
        net = classifier(backend)
        assert net.fit(X, y, epochs=9, optimizer=SGD(0.0), early_stopping=stop).epochs == 3


# ------------------------------------------------------------------------------------------------------------- files


def test_the_csv_has_what_the_history_has(backend, blobs, tmp_path):
    X, y = blobs
    path = tmp_path / "log.csv"
    net = classifier(backend)
    history = net.fit(X, y, epochs=3, validation_split=0.2, metrics=["accuracy"], callbacks=CSVLogger(path))
    with open(path, newline="") as file:
        head, *rows = csv.reader(file)
    assert head == ["epoch", *history.history]
    assert [[float(value) for value in row] for row in rows] == [
        [epoch, *(values[epoch] for values in history.history.values())] for epoch in range(3)
    ]


@pytest.mark.parametrize("hook", ["on_train_begin", "on_epoch_begin", "on_batch_end", "on_epoch_end", "on_train_end"])
@pytest.mark.parametrize("method", ["fit", "train_step"])
def test_a_callback_must_not_train_the_network(backend, blobs, hook, method):
    """It would overwrite what the epoch under way goes back to."""
    X, y = blobs
    net, twin, other = classifier(backend), classifier(backend), classifier(backend)

    def train(network):
        network.fit(X, y, epochs=1) if method == "fit" else network.train_step(X, y, "sgd")

    net.fit(X, y, epochs=1)
    twin.fit(X, y, epochs=1)
    nested = type("Nested", (Callback,), {hook: lambda self, *args: train(self.network)})
    with pytest.raises(RuntimeError, match=f"{method} is called while this network is being trained"):
        net.fit(X, y, epochs=1, callbacks=nested())
    if hook in ("on_epoch_end", "on_train_end"):  # after the epoch, which counts
        twin.fit(X, y, epochs=1)
    assert_same(net.get_weights(), twin.get_weights())
    assert net.epochs_trained == twin.epochs_trained
    harmless = type(
        "Other", (Callback,), {hook: lambda self, *args: (train(other), train(copy.deepcopy(self.network)))}
    )
    net.fit(X, y, epochs=1, callbacks=harmless())
    twin.fit(X, y, epochs=1)
    assert_same(net.get_weights(), twin.get_weights())


@pytest.mark.parametrize("where", ["metric", "loss", "chunks", "rate"])
def test_nothing_that_fit_calls_may_train_the_network(backend, blobs, where):
    X, y = blobs
    net = MLP([5, 3], backend=backend)
    y = np.eye(3)[y]

    def train(*args):
        net.train_step(X, y, "sgd")
        return 0.0

    def loss(pred, target):
        train()
        return 0.0, np.zeros_like(pred)

    def chunks():
        yield X, y
        train()

    call = {
        "metric": lambda: net.fit(X, y, epochs=1, metrics=train),
        "loss": lambda: net.train_step(X, y, "sgd", loss),
        "chunks": lambda: net.fit(chunks, epochs=1),
        "rate": lambda: net.fit(X, y, epochs=1, optimizer=SGD(train)),
    }[where]
    before = net.get_weights()
    with pytest.raises(RuntimeError, match="train_step is called while this network is being trained"):
        call()
    assert_same(net.get_weights(), before)
    assert net.fit(X, y, epochs=1).epochs == 1
