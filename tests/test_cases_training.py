"""Runs that other libraries have got wrong, by public reports: divergence, order, splits, endings, odd sizes.

Each situation is asked of both backends in both types. Of the others of the same origin: a child after a fork is in
test_neighbours.py; strings and classes met later are the estimators', in tests/sklearn; what one unit more costs is
measured by ``nncore bench --neighbours`` and no test, as tests assert no time.
"""

from __future__ import annotations

import numpy as np
import pytest

import nncore as nn
from nncore import testing
from nncore.callbacks import Callback, EarlyStopping


@pytest.fixture(params=["float32", "float64"])
def dtype(request):
    return request.param


def assert_same(a, b):
    for x, y in zip(a.get_weights(), b.get_weights(), strict=True):
        np.testing.assert_array_equal(x, y)


def finite(net):
    return all(np.isfinite(array).all() for array in [*net.get_weights(), *net.get_state()])


# ------------------------------------------------------------------------------------------------------- divergence


def test_large_targets_and_a_large_rate_with_and_without_early_stopping(backend, dtype):
    rng = np.random.default_rng(1)
    X, y = rng.standard_normal((64, 3)), 1e6 * rng.standard_normal(64)
    said = []
    for stop in (None, EarlyStopping("loss", patience=100), EarlyStopping("loss", patience=100, restore_best=False)):
        net = nn.MLP([3, 8, 1], dtype=dtype, backend=backend)
        with pytest.raises(nn.DivergenceError, match=r"not finite at epoch \d+, step \d+") as caught:
            net.fit(X, y, optimizer=nn.SGD(10.0), epochs=200, early_stopping=stop)
        assert "scale y" in str(caught.value) and "lower the learning rate, which is 10" in str(caught.value)
        assert finite(net)
        said.append(str(caught.value))
    assert said[0] == said[1] == said[2]


def test_divergence_with_a_split_for_early_stopping(backend, dtype):
    rng = np.random.default_rng(1)
    X, y = rng.standard_normal((64, 3)), 1e6 * rng.standard_normal(64)
    net = nn.MLP([3, 8, 1], dtype=dtype, backend=backend)
    with pytest.raises(nn.DivergenceError, match="scale y"):
        net.fit(X, y, optimizer=nn.SGD(10.0), epochs=200, validation_split=0.2, early_stopping=100)
    assert finite(net)


@pytest.mark.parametrize("optimizer", [nn.SGD, nn.Adam, nn.AdamW, nn.NAdam, nn.RMSprop, nn.Adagrad, nn.Lion])
def test_rates_of_0_and_1e30(backend, dtype, optimizer):
    X, y = np.random.default_rng(2).standard_normal((20, 3)), np.arange(20.0)
    net = nn.MLP([3, 8, 1], dtype=dtype, backend=backend)
    twin = nn.MLP([3, 8, 1], dtype=dtype, backend=backend)
    net.fit(X, y, optimizer=optimizer(0.0), epochs=2)
    assert_same(net, twin)
    try:
        history = net.fit(X, y, optimizer=optimizer(1e30), epochs=40)
    except nn.DivergenceError:
        pass
    else:  # weights of 1e30 and their products are numbers in float64
        assert dtype == "float64" and np.isfinite(history.history["loss"]).all()
    assert finite(net)


# ------------------------------------------------------------------------------------------------ order and counting


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_one_epoch_n_times_is_n_epochs(backend, dtype, dropout):
    rng = np.random.default_rng(3)
    X, y = rng.standard_normal((50, 4)), rng.integers(0, 3, 50)
    whole, parts = (nn.MLP([4, 8, 3], output="softmax", dropout=dropout, dtype=dtype, backend=backend) for _ in "ab")
    together = whole.fit(X, y, optimizer=nn.Adam(), epochs=5, batch_size=16)
    optimizer = nn.Adam()
    losses = [parts.fit(X, y, optimizer=optimizer, epochs=1, batch_size=16).history["loss"][0] for _ in range(5)]
    assert losses == together.history["loss"]
    assert_same(whole, parts)


def test_without_shuffle_rows_come_in_their_order_each_epoch(backend, dtype):
    """Seen by a loss of our own, and by the weights."""
    seen = []

    def loss(pred, target):
        seen.append(target[:, 0].tolist())
        return np.square(pred - target), 2 * (pred - target) / pred.size

    X, y = np.arange(7.0)[:, None] / 7, np.arange(7.0)
    net = nn.MLP([1, 1], dtype=dtype, backend=backend)
    net.fit(X, y, loss=loss, epochs=3, batch_size=3, shuffle=False, optimizer=nn.SGD(0.01))
    assert seen == [[0, 1, 2], [3, 4, 5], [6]] * 3
    seen.clear()
    net.fit(X, y, loss=loss, epochs=3, batch_size=3, optimizer=nn.SGD(0.01))
    epochs = [[row for batch in seen[i : i + 3] for row in batch] for i in (0, 3, 6)]
    assert all(sorted(epoch) == list(range(7)) for epoch in epochs) and len(set(map(tuple, epochs))) == 3


# --------------------------------------------------------------------------------------------- splits and endings


@pytest.mark.parametrize(("rows", "fraction"), [(2, 0.1), (2, 0.5), (3, 0.2), (1, 0.5)])
def test_too_few_rows_for_a_split_are_refused_before_training(backend, dtype, rows, fraction):
    net = nn.MLP([1, 4, 2], output="softmax", dtype=dtype, backend=backend)
    before = net.get_weights()
    with pytest.raises(ValueError, match=rf"X has {rows} row"):
        net.fit(np.ones((rows, 1)), np.zeros(rows, int), validation_split=fraction, early_stopping=True, epochs=3)
    assert net.epochs_trained == 0 and net.history is None
    for a, b in zip(before, net.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


class Weights(Callback):
    def on_train_begin(self):
        self.kept = []

    def on_epoch_end(self, epoch, logs):
        self.kept.append([*self.network.get_weights(), *self.network.get_state()])


@pytest.mark.parametrize("norm", [None, "batch"])
@pytest.mark.parametrize("patience", [2, 50])
def test_the_best_weights_also_where_the_last_epoch_ends_the_run(backend, dtype, norm, patience):
    """A rate that is too large lets the loss of validation go up and down."""
    rng = np.random.default_rng(4)
    X, y = rng.standard_normal((40, 3)), rng.standard_normal(40)
    for epochs in (1, 5, 12):
        net = nn.MLP([3, 16, 1], norm=norm, dtype=dtype, backend=backend)
        stop, weights = EarlyStopping(patience=patience), Weights()
        held = rng.standard_normal((30, 3)), rng.standard_normal(30)
        history = net.fit(X, y, epochs=epochs, optimizer=nn.Adam(0.05), batch_size=8, validation_data=held,
                          early_stopping=stop, callbacks=weights)  # fmt: skip
        values = history.history["val_loss"]
        best = int(np.argmin(values))
        assert stop.best_epoch == best and stop.best == values[best]
        for a, b in zip([*net.get_weights(), *net.get_state()], weights.kept[best], strict=True):
            np.testing.assert_array_equal(a, b)
        assert net.evaluate(*held)["loss"] == values[best]


def test_a_users_own_validation_set_is_used_as_given(backend, dtype):
    rng = np.random.default_rng(6)
    X, y = rng.standard_normal((30, 2)), rng.standard_normal(30)
    held = rng.standard_normal((7, 2)), rng.standard_normal(7)
    kept = held[0].copy(), held[1].copy()
    net = nn.MLP([2, 4, 1], dtype=dtype, backend=backend)
    twin = nn.MLP([2, 4, 1], dtype=dtype, backend=backend)
    history = net.fit(X, y, epochs=3, validation_data=held, early_stopping=EarlyStopping(restore_best=False))
    twin.fit(X, y, epochs=3)
    assert_same(net, twin)  # on all rows of X, in the same order
    assert history.history["val_loss"][-1] == net.evaluate(*held)["loss"]
    np.testing.assert_array_equal(held[0], kept[0])
    np.testing.assert_array_equal(held[1], kept[1])


# ------------------------------------------------------------------------------------------------------- odd sizes

ODD = {
    "one row": (1, [3, 5, 2], {}),
    "one feature": (20, [1, 5, 2], {}),
    "one unit": (20, [3, 1, 2], {}),
    "a batch larger than the data": (5, [3, 5, 2], {"batch_size": 1000}),
    "200 layers": (20, [3, *[5] * 199, 2], {}),
    "threads above rows": (3, [3, 300, 300, 2], {"threads": 64}),
    "one thread": (40, [30, 64, 2], {"threads": 1}),
}


@pytest.mark.parametrize("name", ODD)
def test_odd_sizes_train_as_they_do_in_numpy(backend, dtype, name):
    rows, sizes, call = ODD[name]
    rng = np.random.default_rng(7)
    X, y = rng.standard_normal((rows, sizes[0])), np.arange(rows) % 2
    makes = {"output": "softmax", "activation": "tanh", "dtype": dtype}
    net, plain = nn.MLP(sizes, backend=backend, **makes), nn.MLP(sizes, backend="numpy", **makes)
    for each in (net, plain):
        with np.errstate(all="raise", under="ignore"):
            history = each.fit(X, y, epochs=3, **call)
        assert np.isfinite(history.history["loss"]).all()
    tolerance = 2e-4 if dtype == "float32" else 1e-7
    for a, b in zip(net.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=tolerance * max(1, np.abs(b).max()))
    np.testing.assert_allclose(net.predict(X).sum(1), 1, rtol=1e-5)


@pytest.mark.parametrize("norm", [None, "batch", "layer"])
def test_constant_columns_and_constant_rows(backend, dtype, norm):
    X = np.ones((40, 4))
    X[:, 1] = np.arange(40) / 40
    X[:, 2] = 1e6
    net = nn.MLP([4, 8, 1], norm=norm, dtype=dtype, backend=backend)
    history = net.fit(X / [1, 1, 1e6, 1], X[:, 1], epochs=5)
    assert np.isfinite(history.history["loss"]).all() and finite(net)
    net = nn.Sequential([nn.BatchNorm(4), nn.Dense(4, 1)], dtype=dtype, backend=backend)  # also far from zero
    history = net.fit(X, X[:, 1], epochs=20, optimizer=nn.Adam(0.05))
    assert np.isfinite(history.history["loss"]).all() and finite(net)
    assert history.history["loss"][-1] < history.history["loss"][0]


def test_dead_units_stay_dead_and_harm_nothing(backend, dtype):
    net = nn.MLP([2, 3, 1], dtype=dtype, backend=backend)
    w0, b0, w1, b1 = (array.copy() for array in net.get_weights())
    b0[:2] = -100
    net.set_weights([w0, b0, w1, b1])
    X = np.random.default_rng(8).standard_normal((30, 2))
    _, gradients = net.loss_and_gradients(X, X[:, 0])
    assert (gradients[0][:, :2] == 0).all() and (gradients[1][:2] == 0).all() and (gradients[2][:2] == 0).all()
    history = net.fit(X, X[:, 0], epochs=10, optimizer=nn.SGD(0.05))
    np.testing.assert_array_equal(net.get_weights()[0][:, :2], w0[:, :2])
    assert history.history["loss"][-1] < history.history["loss"][0]


def test_one_class_and_one_output(backend, dtype):
    X = np.random.default_rng(9).standard_normal((20, 2))
    for output, sizes in (("softmax", [2, 4, 3]), ("sigmoid", [2, 4, 1])):
        net = nn.MLP(sizes, output=output, dtype=dtype, backend=backend)
        with pytest.warns(UserWarning, match="y has a single class"):
            net.fit(X, np.ones(20, int), epochs=100, optimizer=nn.Adam(0.05))
        answer = net.predict(X)[:, 1 if output == "softmax" else 0]
        assert (answer > 0.9).all()


@pytest.mark.parametrize("labels", [["a", "b"], ["3", "7"], [3, 7], [0.5, 1], [-1, 1], [None, 1]])
def test_labels_that_are_no_classes_are_refused(backend, labels):
    """A network's classes are 0 to k - 1; names are for the estimators."""
    net = nn.MLP([1, 2], output="softmax", backend=backend)
    with pytest.raises((TypeError, ValueError), match="y has"):
        net.fit(np.zeros((2, 1)), labels)
    assert net.epochs_trained == 0


def test_bools_are_the_classes_0_and_1(backend, dtype):
    X = np.random.default_rng(10).standard_normal((20, 2))
    y = X[:, 0] > 0
    nets = [nn.MLP([2, 4, 2], output="softmax", dtype=dtype, backend=backend) for _ in range(4)]
    for net, labels in zip(nets, (y, y.astype(int), y.astype(float)[:, None], y.tolist()), strict=True):
        net.fit(X, labels, epochs=2)
        assert_same(net, nets[0])


# --------------------------------------------------------------------------------------------------------- threads


@pytest.mark.parametrize("rows", [1, 2, 3, 5])
@pytest.mark.parametrize("threads", [1, 2, 7, 16])
def test_more_threads_than_rows(dtype, rows, threads):
    pytest.importorskip("nncore._core")
    X, y = np.random.default_rng(11).standard_normal((rows, 40)), np.arange(rows) % 3
    alone, net = (nn.MLP([40, 70, 3], output="softmax", norm="batch", dtype=dtype, backend="native") for _ in "ab")
    for each, n in ((alone, 1), (net, threads)):
        with testing.force_threads(n):
            for _ in range(3):
                each.train_step(X, y, optimizer="sgd")
    assert_same(alone, net)
    with nn.threads(threads):
        np.testing.assert_array_equal(net.predict(X), alone.predict(X))
