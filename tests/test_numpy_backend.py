"""The NumPy engine against the public losses and activations, and against plain formulas."""

from __future__ import annotations

import numpy as np
import pytest

from nncore import activations, losses, optimizers, streams
from nncore.errors import NonFiniteData, NonFiniteLoss
from nncore.heads import head_for
from nncore.numpy_backend import NumpyEngine

LAYERS = [(4, 5, "tanh", 0.0), (5, 3, "softmax", 0.0)]


def make_engine(layers=LAYERS, dtype="float64", seed=3):
    engine = NumpyEngine(layers, dtype)
    random = np.random.default_rng(seed)
    shapes = [shape for n_in, n_out, *_ in layers for shape in ((n_in, n_out), (n_out,))]
    engine.set_weights([random.standard_normal(shape) for shape in shapes])
    return engine


def make_job(engine, X, y, optimizer, **changes):
    settings = {
        "loss": "cross_entropy",
        "batch_size": 8,
        "shuffle": True,
        "seed": 5,
        "first_epoch": 0,
        "slots": engine.new_slots(optimizer.n_slots),
        "record": True,
        "threads": None,
    }
    return engine.job(X, y, optimizer=optimizer, **{**settings, **changes})


@pytest.fixture
def data(rng):
    return rng.standard_normal((20, 4)), rng.integers(0, 3, 20).astype(np.int32)


def test_weights_are_copied_in_and_out():
    engine = make_engine()
    weights = engine.get_weights()
    assert [w.shape for w in weights] == [(4, 5), (5,), (5, 3), (3,)]
    weights[0][...] = 7
    assert not (engine.get_weights()[0] == 7).any()
    assert engine.n_parameters == sum(w.size for w in weights)


def test_forward_is_the_formula(rng):
    engine = make_engine()
    X = rng.standard_normal((6, 4))
    w0, b0, w1, b1 = engine.get_weights()
    hidden = np.tanh(X @ w0 + b0)
    expected = activations.softmax(hidden @ w1 + b1)
    np.testing.assert_allclose(engine.predict(X), expected, rtol=1e-14)
    outputs = engine.forward_layers(X)
    assert len(outputs) == 2
    np.testing.assert_allclose(outputs[0], hidden, rtol=1e-14)


@pytest.mark.parametrize(
    "X",
    [
        np.zeros((2, 4), np.float32),
        np.zeros((4, 2)).T,
        np.zeros((2, 3)),
        np.zeros(4),
        np.zeros((0, 4)),
        [[0.0] * 4],
    ],
    ids=["dtype", "transposed", "columns", "one dimension", "empty", "list"],
)
def test_predict_takes_only_what_is_ready(X):
    if isinstance(X, np.ndarray) and X.shape == (2, 4) and X.dtype == np.float64:
        assert not X.flags.c_contiguous
    with pytest.raises((TypeError, ValueError)):
        make_engine().predict(X)


def test_nan_stays_in_its_row(rng):
    engine = make_engine([(4, 5, "relu", 0.0), (5, 2, "identity", 0.0)])
    X = rng.standard_normal((3, 4))
    clean = engine.predict(X)
    X[1, 2] = np.nan
    dirty = engine.predict(X)
    assert np.isnan(dirty[1]).all()
    np.testing.assert_array_equal(dirty[[0, 2]], clean[[0, 2]])


@pytest.mark.parametrize("output", ["identity", "sigmoid", "tanh", "relu", "leaky_relu", "softmax"])
@pytest.mark.parametrize("loss", ["mse", "bce", "cross_entropy"])
def test_head_agrees_with_the_loss_classes(output, loss, rng):
    if loss != "mse" and output not in ("sigmoid", "softmax"):
        pytest.skip("the loss takes probabilities")
    activation, function = activations.get(output), losses.get(loss)
    z = rng.standard_normal((7, 3))
    y = rng.dirichlet(np.ones(3), 7)
    a = activation(z)
    rows, predictions, delta = head_for(activation, loss)(z.copy(), y)
    np.testing.assert_allclose(rows, function.rows(a, y), rtol=1e-12)
    np.testing.assert_allclose(predictions, a, rtol=1e-14)
    slope = function.gradient(a, y)
    if output == "softmax":
        expected = np.einsum("nij,ni->nj", activation.derivative(z), slope)
    else:
        expected = slope * activation.derivative(z)
    np.testing.assert_allclose(delta, expected, rtol=1e-10, atol=1e-13)


def test_softmax_head_takes_classes_as_it_takes_one_hot_rows(rng):
    z, y = rng.standard_normal((7, 3)), rng.integers(0, 3, 7)
    head = head_for(activations.softmax, "cross_entropy")
    for found, expected in zip(head(z.copy(), y.astype(np.int32)), head(z.copy(), np.eye(3)[y]), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_heads_keep_the_dtype_and_survive_large_logits(dtype):
    for z, y, expected in (([[100.0]], [[1.0]], 0.0), ([[-100.0]], [[0.0]], 0.0), ([[-100.0]], [[1.0]], 100.0)):
        rows, p, delta = head_for(activations.sigmoid, "bce")(np.array(z, dtype), np.array(y, dtype))
        assert rows.dtype == p.dtype == delta.dtype == dtype
        assert rows[0] == pytest.approx(expected, abs=1e-30)
        assert delta[0, 0] == p[0, 0] - y[0][0]
    z = np.array([[1e4, -1e4, 0.0]], dtype)
    rows, p, delta = head_for(activations.softmax, "cross_entropy")(z, np.array([1], np.int32))
    assert rows.dtype == p.dtype == delta.dtype == dtype
    assert rows[0] == 2e4
    np.testing.assert_array_equal(delta, [[1, -1, 0]])


def test_run_is_plain_gradient_descent_over_the_stream_of_rows(data):
    X, y = data
    engine, twin = make_engine(), make_engine()
    optimizer = optimizers.SGD(0.1)
    job = make_job(engine, X, y, optimizer, first_epoch=2)
    assert job.steps_per_epoch == 3
    engine.run(job, 0, 2)
    engine.run(job, 2, 4)
    row_losses = np.empty(20)
    for epoch in (2, 3):
        order = streams.permutation(5, streams.SHUFFLE, epoch, 20)
        for start in (0, 8, 16):
            rows = order[start : start + 8]
            row_losses[rows] = losses.CrossEntropy().rows(twin.predict(X[rows]), y[rows])
            _, gradients = twin.loss_and_gradients(X[rows], y[rows], "cross_entropy")
            twin.set_weights([w - 0.1 * g for w, g in zip(twin.get_weights(), gradients, strict=True)])
    for found, expected in zip(engine.get_weights(), twin.get_weights(), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(job.mean_loss, row_losses.mean(), rtol=1e-11)
    assert optimizer.steps == 6


def test_weight_decay_spares_the_biases(data):
    X, y = data
    engine = make_engine()
    before = engine.get_weights()
    _, gradients = engine.loss_and_gradients(X, y, "cross_entropy")
    job = make_job(engine, X, y, optimizers.SGD(0.1, weight_decay=0.5), batch_size=20, shuffle=False)
    engine.run(job, 0, 1)
    for after, w, g in zip(engine.get_weights(), before, gradients, strict=True):
        decay = 0.5 if w.ndim == 2 else 0.0
        np.testing.assert_allclose(after, w - 0.1 * (g + decay * w), rtol=1e-13, atol=1e-15)


def test_slots_and_snapshots(data):
    X, y = data
    engine, optimizer = make_engine(), optimizers.Adam()
    slots = engine.new_slots(2)
    job = make_job(engine, X, y, optimizer, slots=slots)
    engine.run(job, 0, 3)
    snapshot = engine.snapshot(slots)
    weights, moments = engine.get_weights(), slots.arrays()
    assert [[a.shape for a in arrays] for arrays in moments] == [[w.shape for w in weights]] * 2
    assert all((v >= 0).all() for v in moments[1]) and any((v > 0).any() for v in moments[1])
    engine.run(job, 3, 3)
    assert not np.array_equal(engine.get_weights()[0], weights[0])
    engine.restore(snapshot, slots)
    for found, expected in zip(engine.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(found, expected)
    other = engine.new_slots(2)
    other.load(moments)
    for a, b in zip(slots.arrays(), other.arrays(), strict=True):
        for x, z in zip(a, b, strict=True):
            np.testing.assert_array_equal(x, z)
    assert engine.snapshot(slots, snapshot) is snapshot


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("shuffle", [True, False])
def test_bad_rows_are_named_and_change_nothing_after_the_steps_before(data, bad, shuffle):
    X, y = data
    X[13, 1] = bad
    engine, optimizer = make_engine(), optimizers.SGD(0.1)
    job = make_job(engine, X, y, optimizer, shuffle=shuffle)
    order = streams.permutation(5, streams.SHUFFLE, 0, 20) if shuffle else np.arange(20)
    step = int(np.flatnonzero(order == 13)[0]) // 8
    twin, twin_optimizer = make_engine(), optimizers.SGD(0.1)
    twin.run(make_job(twin, X, y, twin_optimizer, shuffle=shuffle), 0, step)
    with pytest.raises(NonFiniteData) as caught:
        engine.run(job, 0, 3)
    assert (caught.value.argument, caught.value.row) == ("X", 13)
    assert optimizer.steps == step
    for found, expected in zip(engine.get_weights(), twin.get_weights(), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_bad_targets_are_named(rng):
    engine = make_engine([(4, 2, "identity", 0.0)])
    X, y = rng.standard_normal((10, 4)), rng.standard_normal((10, 2))
    y[7, 1] = np.nan
    with pytest.raises(NonFiniteData, match=r"y .* row 7"):
        engine.loss_and_gradients(X, y, "mse")


def test_large_but_finite_rows_are_data(rng):
    engine = make_engine([(4, 2, "tanh", 0.0)], dtype="float32")
    X = np.full((3, 4), 1e30, np.float32)
    value, _ = engine.loss_and_gradients(X, np.zeros((3, 2), np.float32), "mse")
    assert np.isfinite(value)


def test_an_overflow_names_step_and_layer(rng):
    engine = make_engine([(4, 4, "relu", 0.0), (4, 4, "relu", 0.0), (4, 1, "identity", 0.0)], "float32")
    engine.set_weights([np.full(w.shape, 1e20) for w in engine.get_weights()])
    X = np.ones((4, 4), np.float32)
    job = make_job(engine, X, np.zeros((4, 1), np.float32), optimizers.SGD(), loss="mse", batch_size=4)
    with pytest.raises(NonFiniteLoss) as caught:
        engine.run(job, 5, 1)
    assert (caught.value.step, caught.value.layer) == (5, 1)
    assert (engine.get_weights()[0] == np.float32(1e20)).all()
    assert engine.finite()


def test_finite_sees_one_bad_weight():
    engine = make_engine()
    weights = engine.get_weights()
    weights[3][1] = np.inf
    engine.set_weights(weights)
    assert not engine.finite()
