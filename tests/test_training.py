from __future__ import annotations

import signal
import threading
import warnings

import numpy as np
import pytest

from nncore import MLP, SGD, Adam, Dense, DivergenceError, Sequential, fitting, losses, streams, testing, training


def classifier(backend, **kwargs):
    return MLP([5, 8, 3], activation="tanh", output="softmax", backend=backend, **kwargs)


def assert_same_weights(a, b):
    for x, y in zip(a.get_weights(), b.get_weights(), strict=True):
        np.testing.assert_array_equal(x, y)


# ------------------------------------------------------------------------------------------------------ what it does


def test_it_learns_and_records(backend, blobs):
    X, y = blobs
    net = classifier(backend)
    history = net.fit(X, y, epochs=40, metrics=["accuracy"], validation_data=(X, y), optimizer=Adam(0.01))
    assert net.history is history
    assert history.epochs == 40 == net.epochs_trained
    assert set(history.history) == {"loss", "accuracy", "val_loss", "val_accuracy"}
    assert all(len(values) == 40 and all(type(v) is float for v in values) for values in history.history.values())
    assert history.history["loss"][-1] < 0.5 * history.history["loss"][0]
    assert history.history["val_accuracy"][-1] > 0.9
    last = net.evaluate(X, y, metrics="accuracy")
    assert last == {"loss": history.history["val_loss"][-1], "accuracy": history.history["val_accuracy"][-1]}
    assert "epochs=40" in repr(history)


def test_linear_regression_of_one_column(backend, rng):
    X = rng.standard_normal((100, 2))
    y = 10 + 9 * X[:, 0] - 2 * X[:, 1] + 0.01 * rng.standard_normal(100)
    net = Sequential([Dense(2, 1)], dtype="float64", backend=backend)
    net.fit(X, y, optimizer=SGD(0.1), epochs=200)
    w, b = net.get_weights()
    np.testing.assert_allclose([b[0], w[0, 0], w[1, 0]], [10, 9, -2], atol=0.02)


def test_the_loss_is_the_mean_over_rows(backend):
    net = Sequential([Dense(1, 1, initializer="zeros")], dtype="float64", backend=backend)
    y = [np.sqrt(12), np.sqrt(8), 3.0]  # batch means 10 and 9
    history = net.fit([[0.0]] * 3, y, optimizer=SGD(0.0), batch_size=2, shuffle=False, epochs=1)
    assert history.history["loss"] == [pytest.approx(29 / 3, rel=1e-14)]


def test_rows_come_in_order_without_shuffle(backend, rng):
    X, y = rng.standard_normal((9, 2)), rng.standard_normal(9)
    whole, steps = (MLP([2, 3, 1], "tanh", dtype="float64", backend=backend) for _ in range(2))
    whole.fit(X, y, optimizer=SGD(0.1), epochs=2, batch_size=4, shuffle=False)
    optimizer = SGD(0.1)
    for _ in range(2):
        for start in (0, 4, 8):
            steps.train_step(X[start : start + 4], y[start : start + 4], optimizer)
    for a, b in zip(whole.get_weights(), steps.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("make", [Adam, lambda: SGD(0.05, momentum=0.9, nesterov=True), lambda: SGD(weight_decay=0.1)])
def test_epochs_one_at_a_time_are_the_same(backend, blobs, make):
    X, y = blobs
    once, often = classifier(backend), classifier(backend)
    whole = once.fit(X, y, optimizer=make(), epochs=4, batch_size=16, metrics=["accuracy"])
    optimizer = make()
    parts = [often.fit(X, y, optimizer=optimizer, epochs=1, batch_size=16, metrics=["accuracy"]) for _ in range(4)]
    assert_same_weights(once, often)
    assert whole.history["loss"] == [part.history["loss"][0] for part in parts]
    assert whole.history["accuracy"] == [part.history["accuracy"][0] for part in parts]
    assert optimizer.steps == 4 * 8


def test_short_calls_of_the_engine_change_nothing(backend, blobs, monkeypatch):
    X, y = blobs
    long, short = classifier(backend), classifier(backend)
    long.fit(X, y, epochs=2, batch_size=8)
    monkeypatch.setattr(fitting, "_SECONDS_PER_CALL", 0.0)
    short.fit(X, y, epochs=2, batch_size=8)
    assert_same_weights(long, short)


def test_the_seed_of_fit_orders_the_rows(backend, blobs):
    X, y = blobs
    first, same, other = (classifier(backend) for _ in range(3))
    first.fit(X, y, epochs=1)
    same.fit(X, y, epochs=1, seed=0)
    other.fit(X, y, epochs=1, seed=1)
    assert_same_weights(first, same)
    assert not np.array_equal(first.get_weights()[0], other.get_weights()[0])


def test_metrics_see_the_predictions_before_each_update(backend, blobs):
    X, y = blobs
    net = classifier(backend)
    before = net.predict(X)
    seen = []

    def spread(pred, target):
        seen.append((pred.copy(), target.copy()))
        return np.float32(pred.max())

    history = net.fit(X, y, optimizer=SGD(0.0), epochs=1, batch_size=7, metrics=spread)
    assert type(history.history["spread"][0]) is float
    np.testing.assert_allclose(seen[0][0], before, rtol=1e-5)
    np.testing.assert_array_equal(seen[0][1], y)


def test_nothing_to_do_changes_nothing(backend, blobs):
    X, y = blobs
    net, fresh = classifier(backend), classifier(backend)
    history = net.fit(X, y, epochs=0, metrics=["accuracy"])
    assert history.epochs == 0 == net.epochs_trained
    assert history.history == {"loss": [], "accuracy": []}
    net.fit(X, y, epochs=2, optimizer=SGD(0.0))
    net.fit(X, y, epochs=2, optimizer=Adam(0.0))
    assert_same_weights(net, fresh)
    assert net.epochs_trained == 4


def test_batches_are_capped_and_none_is_all(backend, blobs):
    X, y = blobs
    all_of_it, capped, exact = classifier(backend), classifier(backend), classifier(backend)
    for net, size in ((all_of_it, None), (capped, 10**9), (exact, 120)):
        optimizer = Adam()
        net.fit(X, y, optimizer=optimizer, batch_size=size, epochs=3, threads=1000)
        assert optimizer.steps == 3
    assert_same_weights(all_of_it, capped)
    assert_same_weights(all_of_it, exact)


def test_X_is_neither_copied_nor_changed(backend, blobs):
    X, y = blobs
    X = X.copy()
    kept = X.copy()
    X.flags.writeable = False
    net = classifier(backend)
    taken = []
    engine = net._engine

    class Spy:
        def __getattr__(self, name):
            return getattr(engine, name)

        def job(self, X, y, **settings):
            taken.append(X)
            return engine.job(X, y, **settings)

    net._engine = Spy()
    net.fit(X, y, epochs=1)
    assert taken[0] is X
    np.testing.assert_array_equal(X, kept)


def test_lines_of_progress(backend, blobs, capsys):
    X, y = blobs
    net = classifier(backend)
    net.fit(X, y, epochs=1)
    assert capsys.readouterr().out == ""
    history = net.fit(X, y, epochs=10, verbose=True, metrics=["accuracy"])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 10
    assert lines[2].startswith(f"epoch  3/10  loss {history.history['loss'][2]:.4g}  accuracy ")


# ------------------------------------------------------------------------------------------------------------ labels


def test_forms_of_labels_agree(backend, blobs):
    X, y = blobs
    nets = []
    for labels in (y, y.reshape(-1, 1), y.astype(np.uint8), y.astype(float), y.tolist(), np.eye(3)[y],
                   np.eye(3, dtype=np.int8)[y]):  # fmt: skip
        nets.append(classifier(backend, dtype="float64"))
        nets[-1].fit(X, labels, epochs=2)
    for net in nets[1:]:
        for a, b in zip(nets[0].get_weights(), net.get_weights(), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("as_bool", [True, False])
def test_forms_of_one_column_agree(backend, blobs, as_bool):
    X, y = blobs
    y = (y == 1) if as_bool else (y == 1).astype(np.uint8)
    flat, column = (MLP([5, 4, 1], output="sigmoid", backend=backend) for _ in range(2))
    flat.fit(X, y, epochs=2)
    column.fit(X, y.reshape(-1, 1).astype(np.float32), epochs=2)
    assert_same_weights(flat, column)


def test_bools_are_two_classes_of_softmax(backend, blobs):
    X, y = blobs
    bools, integers = (MLP([5, 4, 2], output="softmax", backend=backend) for _ in range(2))
    bools.fit(X, y == 1, epochs=1)
    integers.fit(X, (y == 1).astype(int), epochs=1)
    assert_same_weights(bools, integers)


def test_labels_with_mse_on_softmax_are_one_hot(backend, blobs):
    X, y = blobs
    net = classifier(backend, dtype="float64")
    value, _ = net.loss_and_gradients(X, y, "mse")
    assert value == pytest.approx(losses.MeanSquaredError()(net.predict(X), np.eye(3)[y]), rel=1e-12)


def test_small_unsigned_targets_do_not_wrap(backend):
    net = Sequential([Dense(1, 1)], dtype="float64", backend=backend)
    net.set_weights([[[1.0]], [0.0]])
    X, y = np.array([[16], [1]], np.uint8), np.array([17, 2], np.uint8)
    assert net.evaluate(X, y)["loss"] == 1.0
    assert net.train_step(X, y, SGD(0.0)) == 1.0


@pytest.mark.parametrize(
    ("y", "error", "message"),
    [
        ([0, 1, 3], ValueError, "y has label 3; this network has 3 outputs, so labels are 0 to 2"),
        ([0, -1, 2], ValueError, "y has label -1"),
        ([0, 1.5, 2], ValueError, "y has label 1.5"),
        ([0, np.nan, 2], ValueError, "y has a non-finite value .* row 1"),
        (["a", "b", "c"], TypeError, "y"),
        ([0, 1], ValueError, "y has 2 rows; expected a row for each of the 3 rows of X"),
        (1, ValueError, "y is a single number"),
        (np.eye(3)[:, :2], ValueError, r"y has shape \(3, 2\); expected \(3, 3\), or labels of shape \(3,\)"),
        (np.ones((3, 3)), ValueError, "y sums to 3 in row 0"),
        (np.eye(3) * 3 - 1, ValueError, "y has the value -1"),
        (np.zeros((3, 1, 1)), ValueError, "y has shape"),
        (None, (TypeError, ValueError), "y"),
    ],
)
@pytest.mark.parametrize("method", ["fit", "train_step", "evaluate", "loss_and_gradients"])
def test_refused_labels(backend, y, error, message, method):
    net = classifier(backend)
    before = classifier(backend)
    kwargs = {"optimizer": "sgd"} if method == "train_step" else {}
    with pytest.raises(error, match=message):
        getattr(net, method)(np.zeros((3, 5)), y, **kwargs)
    assert_same_weights(net, before)


@pytest.mark.parametrize(
    ("output", "loss", "y", "message"),
    [
        ("identity", None, np.zeros((3, 2)), r"y has shape \(3, 2\); expected \(3,\) or \(3, 1\)"),
        ("sigmoid", None, [0, 1, 2], "y has the value 2; bce takes targets from 0 to 1"),
        ("identity", "cross_entropy", [0, 1, 0], "cross_entropy"),
        ("identity", "squared", [0, 1, 0], "mse"),
    ],
)
def test_refused_targets_of_one_output(backend, output, loss, y, message):
    net = MLP([2, 1], output=output, backend=backend)
    with pytest.raises(ValueError, match=message):
        net.fit(np.zeros((3, 2)), y, loss=loss)


@pytest.mark.parametrize("y", [np.ones(12, int), np.eye(3)[np.ones(12, int)]])
def test_one_class_trains_and_says_so(backend, y):
    net = classifier(backend)
    with pytest.warns(UserWarning, match="single class") as caught:
        assert net.fit(np.ones((12, 5)), y, epochs=1).epochs == 1
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        net.fit(np.ones((12, 5)), np.arange(12) % 3, epochs=1)


# -------------------------------------------------------------------------------------------------------- validation


@pytest.mark.parametrize("classes", [True, False])
def test_a_split_is_drawn_by_the_seed(backend, blobs, classes):
    X, y = blobs
    nets = [MLP([5, 8, 3], output="softmax" if classes else "identity", backend=backend) for _ in range(2)]
    y = y if classes else X[:, :3] ** 2
    history = nets[0].fit(X, y, epochs=2, validation_split=0.25)
    order = streams.permutation(0, streams.SPLIT, 0, 120)
    held = np.concatenate([order[order % 3 == label][:10] for label in range(3)]) if classes else order[:30]
    held = np.sort(held)
    kept = np.setdiff1d(np.arange(120), held)
    expected = nets[1].fit(X[kept], y[kept], epochs=2, validation_data=(X[held], y[held]))
    assert history.history == expected.history
    assert_same_weights(*nets)


def test_a_bad_row_of_a_split_keeps_its_number(backend, blobs):
    X, y = blobs
    for row in (17, 101):
        bad = X.copy()
        bad[row, 0] = np.inf
        with pytest.raises(ValueError, match=f"X has a non-finite value .* row {row}"):
            classifier(backend).fit(bad, y, validation_split=0.25)


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


def test_evaluation_counts_logits_and_not_rounded_probabilities(backend):
    """A sure and wrong answer costs its logit, though its float32 probability rounds to 1."""
    net = Sequential([Dense(1, 1, "sigmoid")], backend=backend)
    net.set_weights([[[1.0]], [0.0]])
    assert net.evaluate([[30.0]], [0])["loss"] == pytest.approx(30.0, rel=1e-6)
    assert net.train_step([[30.0]], [0], SGD(0.0)) == pytest.approx(30.0, rel=1e-6)


def test_evaluation_in_parts(backend, blobs, monkeypatch):
    X, y = blobs
    net = classifier(backend)
    whole = net.evaluate(X, y, metrics=["accuracy"])
    monkeypatch.setattr(training, "_ROWS_PER_EVALUATION", 7)
    parts = net.evaluate(X, y, metrics=["accuracy"])
    assert parts["accuracy"] == whole["accuracy"]
    assert parts["loss"] == pytest.approx(whole["loss"], rel=1e-6)


# ---------------------------------------------------------------------------------------------------- what goes wrong


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


def test_both_backends_train_alike(blobs):
    pytest.importorskip("nncore._core")
    X, y = blobs
    nets = [classifier(backend, dtype="float64") for backend in ("native", "numpy")]
    histories = [net.fit(X, y, epochs=5, batch_size=16, metrics=["accuracy"]) for net in nets]
    for a, b in zip(nets[0].get_weights(), nets[1].get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-9 * np.abs(b).max() + 1e-12)
    np.testing.assert_allclose(histories[0].history["loss"], histories[1].history["loss"], rtol=1e-9)


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


def test_a_mean_over_columns_is_finite_where_their_sum_is_not(backend):
    """Sixteen squares of 1e38 exceed float32; their mean does not."""
    net = MLP([1, 16], seed=0, backend=backend)
    y = np.full((4, 16), 1e19, np.float32)
    loss, _ = net.loss_and_gradients(np.ones((4, 1)), y)
    assert loss == pytest.approx(1e38, rel=1e-5)
    assert net.evaluate(np.ones((4, 1)), y)["loss"] == pytest.approx(1e38, rel=1e-5)


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


def test_settings_of_an_optimizer_are_fixed():
    optimizer = SGD(0.1)
    with pytest.raises(AttributeError, match="momentum is fixed"):
        optimizer.momentum = 0.9
    optimizer.learning_rate = 0.2
    assert optimizer.learning_rate == 0.2


def test_one_quick_call_does_not_make_the_next_one_long():
    """The last batch of an epoch may have one row: Ctrl-C must not wait for a thousand full ones after it."""
    pace = fitting.Pace(1)
    pace.took(1, 0.1)
    pace.took(1, 1e-6)
    assert pace.steps() == 1


def test_probabilities_that_sum_to_nearly_one_have_the_right_gradient(backend, rng):
    net = MLP([3, 2], output="softmax", dtype="float64", seed=0, backend=backend)
    y = rng.dirichlet(np.ones(2), 6) * 1.0009
    assert testing.gradient_check(net, rng.standard_normal((6, 3)), y) < 1e-6


def test_a_masked_array_is_refused_everywhere(backend):
    net = MLP([3, 2], backend=backend)
    masked = np.ma.masked_array(np.ones((2, 3), np.float32), mask=np.eye(2, 3))
    for use in (net.predict, net.forward, lambda X: net.fit(X, np.ones((2, 2)))):
        with pytest.raises(ValueError, match="masked"):
            use(masked)
