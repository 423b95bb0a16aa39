"""Tests of what training does: which rows in which order, what is recorded, and what it is held out for."""

from __future__ import annotations

import numpy as np
import pytest

from nncore import LBFGS, MLP, SGD, Adam, Dense, Sequential, fitting, streams, training


def classifier(backend, **kwargs):
    return MLP([5, 8, 3], activation="tanh", output="softmax", backend=backend, **kwargs)


def assert_same_weights(a, b):
    for x, y in zip(a.get_weights(), b.get_weights(), strict=True):
        np.testing.assert_array_equal(x, y)


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


def test_both_backends_train_alike(blobs):
    pytest.importorskip("nncore._core")
    X, y = blobs
    nets = [classifier(backend, dtype="float64") for backend in ("native", "numpy")]
    histories = [net.fit(X, y, epochs=5, batch_size=16, metrics=["accuracy"]) for net in nets]
    for a, b in zip(nets[0].get_weights(), nets[1].get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-9 * np.abs(b).max() + 1e-12)
    np.testing.assert_allclose(histories[0].history["loss"], histories[1].history["loss"], rtol=1e-9)


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


def test_a_mean_over_columns_is_finite_where_their_sum_is_not(backend):
    """Sixteen squares of 1e38 exceed float32; their mean does not."""
    net = MLP([1, 16], seed=0, backend=backend)
    y = np.full((4, 16), 1e19, np.float32)
    loss, _ = net.loss_and_gradients(np.ones((4, 1)), y)
    assert loss == pytest.approx(1e38, rel=1e-5)
    assert net.evaluate(np.ones((4, 1)), y)["loss"] == pytest.approx(1e38, rel=1e-5)


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


@pytest.mark.parametrize(
    ("n_rows", "batch_size", "epochs"),
    [(16, 32, 200), (120, 32, 150), (400, 32, 62), (800, 32, 64), (5000, 32, 13), (10**6, 32, 10), (1000, 1000, 200)],
)
def test_the_default_number_of_epochs(n_rows, batch_size, epochs):
    """At least 600 updates, 2 for each row up to 2,000; from 10 to 200 epochs."""
    assert training.default_epochs(n_rows, batch_size, Adam()) == epochs
    assert training.default_epochs(n_rows, batch_size, LBFGS()) == 200
