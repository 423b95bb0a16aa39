"""Tests of training that fails: what is refused, what diverges, what is interrupted, and what is left then."""

from __future__ import annotations

import signal
import threading

import numpy as np
import pytest

from nncore import MLP, SGD, Adam, Dense, DivergenceError, Sequential


def classifier(backend, **kwargs):
    return MLP([5, 8, 3], activation="tanh", output="softmax", backend=backend, **kwargs)


def assert_same_weights(a, b):
    for x, y in zip(a.get_weights(), b.get_weights(), strict=True):
        np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize(
    ("kwargs", "error", "message"),
    [
        ({"validation_split": 0.001}, ValueError, "leaves 120 to train on and 0 to validate"),
        ({"validation_split": 0.999}, ValueError, "leaves 0 to train on"),
        ({"validation_split": 1.0}, ValueError, "validation_split"),
        ({"validation_split": -0.1}, ValueError, "validation_split"),
        ({"validation_split": np.nan}, ValueError, "validation_split"),
        ({"validation_split": "0.1"}, TypeError, "validation_split"),
        ({"validation_data": 3}, TypeError, "validation_data"),
        ({"validation_data": (np.zeros((2, 4)), [0, 1])}, ValueError, "validation_data X has 4 features"),
        ({"validation_data": (np.zeros((2, 5)), [0, 9])}, ValueError, "validation_data y has label 9"),
        ({"validation_data": (np.full((2, 5), np.nan), [0, 1])}, ValueError, "validation_data X .* row 0"),
        ({"validation_data": (np.zeros((2, 5)), [0, 1]), "validation_split": 0.1}, ValueError, "both"),
        ({"epochs": -1}, ValueError, "epochs"),
        ({"epochs": 1.5}, TypeError, "epochs"),
        ({"batch_size": 0}, ValueError, "batch_size"),
        ({"batch_size": True}, TypeError, "batch_size"),
        ({"threads": 0}, ValueError, "threads"),
        ({"shuffle": "no"}, TypeError, "shuffle"),
        ({"seed": -1}, ValueError, "seed"),
        ({"optimizer": "adamm"}, ValueError, "adam"),
        ({"optimizer": 0.1}, TypeError, "optimizer"),
        ({"metrics": ["acuracy"]}, ValueError, "accuracy"),
        ({"metrics": ["accuracy", "accuracy"]}, ValueError, "twice"),
        ({"loss": "hinge_"}, ValueError, "cross_entropy"),
        ({"verbose": "yes"}, TypeError, "verbose"),
    ],
)
def test_refused_arguments(backend, blobs, kwargs, error, message):
    net = classifier(backend)
    with pytest.raises(error, match=message):
        net.fit(*blobs, **kwargs)
    assert_same_weights(net, classifier(backend))
    assert net.epochs_trained == 0


@pytest.mark.parametrize("where", ["X", "y"])
def test_data_that_are_not_finite_change_nothing(backend, rng, where):
    X, y = rng.standard_normal((40, 2)), rng.standard_normal(40)
    net, twin = (MLP([2, 3, 1], backend=backend) for _ in range(2))
    optimizer, twin_optimizer = Adam(), Adam()
    net.fit(X, y, optimizer=optimizer, epochs=2, batch_size=4)
    twin.fit(X, y, optimizer=twin_optimizer, epochs=2, batch_size=4)
    bad_X, bad_y = X.copy(), y.copy()
    (bad_X if where == "X" else bad_y)[23] = np.nan
    with pytest.raises(ValueError, match=f"{where} has a non-finite value .* row 23"):
        net.fit(bad_X, bad_y, optimizer=optimizer, epochs=2, batch_size=4)
    with pytest.raises(ValueError, match=f"{where} has a non-finite value .* row 23"):
        net.train_step(bad_X, bad_y, optimizer)
    with pytest.raises(ValueError, match=f"{where} has a non-finite value .* row 23"):
        net.evaluate(bad_X, bad_y)
    assert (net.epochs_trained, optimizer.steps) == (2, 20)
    net.fit(X, y, optimizer=optimizer, epochs=1, batch_size=4)
    twin.fit(X, y, optimizer=twin_optimizer, epochs=1, batch_size=4)
    assert_same_weights(net, twin)


def test_divergence_leaves_the_last_finite_epoch(backend, rng):
    X = rng.standard_normal((64, 3))
    y = 1e6 * rng.standard_normal(64)
    net, twin = (MLP([3, 8, 1], backend=backend) for _ in range(2))
    optimizer = SGD(10.0)
    with pytest.raises(DivergenceError, match="lower the learning rate") as caught:
        net.fit(X, y, optimizer=optimizer, epochs=50)
    assert caught.value.epoch == net.epochs_trained + 1 == net.history.epochs + 1
    assert caught.value.step in (1, 2)
    assert all(np.isfinite(w).all() for w in net.get_weights())
    assert optimizer.steps == 2 * net.epochs_trained
    twin.fit(X, y, optimizer=SGD(10.0), epochs=net.epochs_trained)
    assert_same_weights(net, twin)


@pytest.mark.parametrize("optimizer", [SGD, Adam])
def test_an_absurd_rate_diverges(backend, blobs, optimizer):
    X, y = blobs
    net = MLP([5, 8, 8, 1], backend=backend)
    with pytest.raises(DivergenceError):
        net.fit(X, y, optimizer=optimizer(1e30), epochs=20)
    assert all(np.isfinite(w).all() for w in net.get_weights())


def test_a_step_that_diverges_is_undone(backend, blobs):
    X, y = blobs
    net, twin = (MLP([5, 8, 1], backend=backend) for _ in range(2))
    optimizer = SGD(1e308)
    with pytest.raises(DivergenceError):
        net.train_step(X, 100 * y, optimizer)
    assert_same_weights(net, twin)
    assert optimizer.steps == 0


def test_ctrl_c_keeps_what_was_done(backend, blobs):
    X, y = blobs
    net = classifier(backend)

    def metric(pred, target):
        return 0.0

    engine, calls = net._engine, []

    class Interrupted:
        def __getattr__(self, name):
            return getattr(engine, name)

        def run(self, job, first, n):
            calls.append(n)
            if len(calls) == 3:
                engine.run(job, first, 2)
                raise KeyboardInterrupt
            engine.run(job, first, n)

    net._engine = Interrupted()
    optimizer = SGD(0.1)
    with pytest.raises(KeyboardInterrupt):
        net.fit(X, y, optimizer=optimizer, epochs=10, batch_size=30, metrics=metric)
    assert net.history.epochs == 2 == net.epochs_trained
    assert optimizer.steps == 2 * 4 + 2
    assert all(np.isfinite(w).all() for w in net.get_weights())


def test_a_step_activation_runs_but_does_not_train(backend):
    net = Sequential([Dense(2, 3, "step"), Dense(3, 1, "sigmoid")], backend=backend)
    assert net.predict([[1.0, 2.0]]).shape == (1, 1)
    for call in (net.fit, net.loss_and_gradients, lambda X, y: net.train_step(X, y, "sgd")):
        with pytest.raises(ValueError, match="layer 0 has the activation step"):
            call([[1.0, 2.0]], [1])


def test_an_optimizer_belongs_to_one_network(backend, blobs):
    X, y = blobs
    optimizer = Adam()
    first, second = classifier(backend), classifier(backend)
    first.fit(X, y, optimizer=optimizer, epochs=1)
    for call in (lambda: second.fit(X, y, optimizer=optimizer), lambda: second.train_step(X, y, optimizer)):
        with pytest.raises(ValueError, match="another network"):
            call()
    assert_same_weights(second, classifier(backend))


def test_a_real_ctrl_c_is_heard(backend, blobs):
    X, y = blobs
    net = classifier(backend)
    alarm = threading.Timer(0.2, signal.raise_signal, [signal.SIGINT])
    with pytest.raises(KeyboardInterrupt):
        alarm.start()
        net.fit(X, y, epochs=10**9)
    assert net.history.epochs == net.epochs_trained
    assert all(np.isfinite(w).all() for w in net.get_weights())
    assert net.fit(X, y, epochs=1).epochs == 1


def test_a_refused_fit_leaves_history_and_optimizer_free(backend, blobs):
    X, y = blobs
    net, other = (MLP([5, 3], output="softmax", seed=0, backend=backend) for _ in range(2))
    history = net.fit(X, y, epochs=1)
    bad = X.copy()
    bad[100, 2] = np.nan
    optimizer = Adam()
    with pytest.raises(ValueError, match="row 100"):
        net.fit(bad, y, optimizer=optimizer)
    assert net.history is history
    other.fit(X, y, optimizer=optimizer, epochs=1)  # the first network never got to use it


def test_an_optimizer_whose_state_overflows_diverges(backend):
    """The square of the gradient exceeds float32: Adam would stand still for ever, without a word."""
    net = MLP([1, 1], initializer="zeros", backend=backend)
    with pytest.raises(DivergenceError):
        net.fit(np.full((4, 1), 1e15), np.full((4, 1), 1e17), epochs=3)


def test_what_the_users_own_class_would_do_is_not_ignored(backend, blobs):
    class Mine(SGD):
        pass

    X, y = blobs
    with pytest.raises(TypeError, match=r"optimizer is of class Mine; expected one of .*Adam, .*SGD itself"):
        MLP([5, 3], output="softmax", backend=backend).fit(X, y, optimizer=Mine())


def test_a_masked_array_is_refused_everywhere(backend):
    net = MLP([3, 2], backend=backend)
    masked = np.ma.masked_array(np.ones((2, 3), np.float32), mask=np.eye(2, 3))
    for use in (net.predict, net.forward, lambda X: net.fit(X, np.ones((2, 2)))):
        with pytest.raises(ValueError, match="masked"):
            use(masked)
