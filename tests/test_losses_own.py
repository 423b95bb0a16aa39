"""Tests of losses of the user's: what is called when, with what, and what may come back, on both backends."""

import math

import numpy as np
import pytest
from conftest import HAS_CORE

import nncore as nn
from nncore import losses

rng = np.random.default_rng(7)
X = rng.standard_normal((50, 4))
NUMBERS = rng.standard_normal((50, 3))
LABELS = rng.integers(0, 3, 50)
WEIGHTS = rng.uniform(0, 2, 50) * (rng.uniform(size=50) < 0.8)


def squared(pred, target):
    e = pred - target
    return (e * e).mean(axis=1), 2 * e / e.size


def squared_mean(pred, target):
    e = pred - target
    return (e * e).mean(), 2 * e / e.size


class Entropy(losses.Loss):
    """Cross-entropy by the methods of a loss, which write into what they get."""

    name = "entropy"

    def rows(self, pred, target):
        p = pred[np.arange(len(pred)), target]
        pred[:] = 0
        return -np.log(p)

    def gradient(self, pred, target):
        at = (np.arange(len(pred)), target)
        slope = np.zeros_like(pred)
        slope[at] = -1 / pred[at] / len(pred)
        pred[:] = 0
        return slope


def network(backend, output="identity", dtype="float64", n_out=3):
    return nn.Sequential([nn.Dense(4, 7, "tanh"), nn.Dense(7, n_out, output)], dtype=dtype, seed=2, backend=backend)


def flat(net):
    return np.concatenate([array.ravel() for array in net.get_weights()])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("own", "built_in", "output", "y"),
    [
        (squared, "mse", "identity", NUMBERS),
        (squared_mean, "mse", "tanh", NUMBERS),
        (Entropy(), "cross_entropy", "softmax", LABELS),
        (squared, "mse", "softmax", np.eye(3)[LABELS]),
    ],
)
def test_it_trains_as_the_loss_that_it_computes(backend, dtype, own, built_in, output, y):
    tolerance = 1e-11 if dtype == "float64" else 1e-4
    pair = [network(backend, output, dtype) for _ in range(2)]
    for net, loss in zip(pair, (own, built_in), strict=True):
        net.fit(X, y, loss, epochs=4, batch_size=16, metrics=["mse"] if y is not LABELS else ["accuracy"])
        net.train_step(X, y, "sgd", loss)
    np.testing.assert_allclose(flat(pair[0]), flat(pair[1]), rtol=tolerance, atol=tolerance)
    for name, values in pair[0].history.history.items():
        np.testing.assert_allclose(values, pair[1].history.history[name], rtol=tolerance)
    values = [net.evaluate(X, y, loss)["loss"] for net, loss in zip(pair, (own, built_in), strict=True)]
    assert values[0] == pytest.approx(values[1], rel=tolerance)
    (value, gradients), (expected, right) = (
        net.loss_and_gradients(X, y, loss) for net, loss in zip(pair, (own, built_in), strict=True)
    )
    assert value == pytest.approx(expected, rel=tolerance)
    for a, b in zip(gradients, right, strict=True):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(("own", "built_in", "output", "y"), [(squared, "mse", "identity", NUMBERS)])
def test_weights(backend, own, built_in, output, y):
    pair = [network(backend, output) for _ in range(2)]
    for net, loss in zip(pair, (own, built_in), strict=True):
        net.fit(X, y, loss, epochs=3, batch_size=16, sample_weight=WEIGHTS)
    np.testing.assert_allclose(flat(pair[0]), flat(pair[1]), rtol=1e-11, atol=1e-11)
    np.testing.assert_allclose(pair[0].history.history["loss"], pair[1].history.history["loss"], rtol=1e-11)
    values = [
        net.evaluate(X, y, f, sample_weight=WEIGHTS)["loss"] for net, f in zip(pair, (own, built_in), strict=True)
    ]
    assert values[0] == pytest.approx(values[1], rel=1e-11)
    for call in (
        lambda net: net.fit(X, y, squared_mean, sample_weight=WEIGHTS),
        lambda net: net.evaluate(X, y, squared_mean, sample_weight=WEIGHTS),
        lambda net: net.loss_and_gradients(X, y, squared_mean, sample_weight=WEIGHTS),
    ):
        with pytest.raises(ValueError, match="squared_mean returned one number; with weights it must return one for"):
            call(pair[0])


def test_gradients_are_those_of_differences(backend):
    net = network(backend, "softmax")
    assert nn.testing.gradient_check(net, X, LABELS, Entropy(), sample_weight=WEIGHTS) < 1e-6
    assert nn.testing.gradient_check(net, X, np.eye(3)[LABELS], squared_mean) < 1e-6


@pytest.mark.skipif(not HAS_CORE, reason="needs the core")
@pytest.mark.parametrize(("n", "batch_size"), [(50, 16), (3000, 1500)])
def test_any_number_of_threads_gives_the_same_bits(n, batch_size):
    inputs, y = np.resize(X, (n, 4)), np.resize(NUMBERS, (n, 3))
    results = []
    for threads in (1, 2, 3):
        net = network("native", "tanh")
        with nn.testing.force_threads(threads):
            net.fit(inputs, y, squared, epochs=2, batch_size=batch_size)
        results.append((flat(net).tobytes(), net.history.history["loss"]))
    assert results[0] == results[1] == results[2]


def test_what_it_gets(backend):
    calls = []

    def loss(pred, target):
        calls.append((pred.copy(), target))
        pred[:] = np.nan  # is the caller's
        return np.zeros(len(pred)), np.zeros_like(pred)

    for y, n_out, shape, dtype in [
        (NUMBERS[:, 0], 1, (1,), "f4"),
        (NUMBERS, 3, (3,), "f4"),
        (LABELS, 3, (), LABELS.dtype),
        (LABELS, 1, (1,), "f4"),
        (NUMBERS, 1, (3,), "f4"),
        (np.arange(300).reshape(50, 2, 3), 2, (2, 3), np.arange(1).dtype),
    ]:
        calls.clear()
        net = network(backend, dtype="float32", n_out=n_out)
        net.fit(X, y, loss, epochs=1, batch_size=20, shuffle=False, optimizer="sgd")
        assert [len(pred) for pred, _ in calls] == [20, 20, 10]
        for i, (pred, target) in enumerate(calls):
            rows = slice(20 * i, 20 * i + 20)
            assert target.shape == (len(pred), *shape)
            assert target.dtype == dtype
            np.testing.assert_array_equal(target.reshape(len(pred), -1), y[rows].reshape(len(pred), -1).astype(dtype))
            np.testing.assert_allclose(pred, net.predict(X)[rows], rtol=1e-6)
        calls.clear()
        net.fit(X, y, loss, epochs=1, batch_size=20, seed=3, optimizer="sgd")
        order = nn.streams.permutation(3, nn.streams.SHUFFLE, 1, 50)
        expected = np.asarray(y, dtype).reshape(50, *shape)[order]
        np.testing.assert_array_equal(np.concatenate([target for _, target in calls]), expected)


@pytest.mark.parametrize(
    ("result", "error", "message"),
    [
        (1.0, TypeError, r"loss own returned a float; expected a pair \(value, gradient\)"),
        ((1.0, 2.0, 3.0), TypeError, "loss own returned a tuple of 3"),
        ((np.zeros(7), np.zeros((50, 3))), ValueError, r"the value of loss own has shape \(7,\)"),
        ((0.0, np.zeros((50, 1))), ValueError, r"gradient of loss own has shape \(50, 1\); expected pred's, \(50, 3\)"),
        (("a", np.zeros((50, 3))), TypeError, "the value of loss own has dtype"),
        ((0.0, np.zeros((50, 3), complex)), TypeError, "the gradient of loss own has dtype complex128"),
    ],
)
def test_what_it_must_return(backend, result, error, message):
    def own(pred, target):
        return result

    net = network(backend)
    before = flat(net)
    for call in (net.evaluate, net.loss_and_gradients):
        with pytest.raises(error, match=message):
            call(X, NUMBERS, own)
    with pytest.raises(error, match=message):
        net.fit(X, NUMBERS, own, batch_size=None)
    np.testing.assert_array_equal(flat(net), before)


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt])
def test_what_it_raises_ends_the_call(backend, error):
    steps = []

    def own(pred, target):
        if len(steps) == 6:
            raise error("seventh")
        steps.append(1)
        return squared(pred, target)

    net, twin = network(backend), network(backend)
    optimizer = nn.Adam(0.01)
    with pytest.raises(error, match="seventh"):
        net.fit(X, NUMBERS, own, optimizer, epochs=3, batch_size=10)
    twin.fit(X, NUMBERS, squared, nn.Adam(0.01), epochs=1, batch_size=10)
    assert net.epochs_trained == 1
    if error is ZeroDivisionError:  # the epoch is undone; Ctrl-C keeps what it did
        np.testing.assert_array_equal(flat(net), flat(twin))
        assert optimizer.steps == 5
    else:
        assert optimizer.steps == 6
        assert np.abs(flat(net) - flat(twin)).max() > 0
    net.fit(X, NUMBERS, squared, optimizer, epochs=1)  # and all is well


@pytest.mark.parametrize("where", ["value", "gradient"])
def test_what_is_not_finite_is_divergence(backend, where):
    def own(pred, target):
        value, gradient = squared(pred, target)
        (value if where == "value" else gradient)[3] = math.inf
        return value, gradient

    net = network(backend)
    before = flat(net)
    with pytest.raises(nn.DivergenceError, match="epoch 1, step 1"):
        net.fit(X, NUMBERS, own)
    with pytest.raises(nn.DivergenceError):
        net.train_step(X, NUMBERS, "sgd", own)
    with pytest.raises(nn.DivergenceError):
        net.loss_and_gradients(X, NUMBERS, own)
    np.testing.assert_array_equal(flat(net), before)


def test_data_that_are_not_finite_are_found(backend):
    net = network(backend)
    for name in ("X", "y"):
        data = {"X": X.copy(), "y": NUMBERS.copy()}
        data[name][17, 1] = math.nan
        with pytest.raises(ValueError, match=f"{name} has a non-finite value .* in row 17"):
            net.fit(data["X"], data["y"], squared, batch_size=10)


@pytest.mark.skipif(not HAS_CORE, reason="needs the core")
def test_the_core_refuses_to_be_used_from_within():
    net = nn.Sequential([nn.Dense(4, 7, "tanh"), nn.BatchNorm(), nn.Dense(7, 3)], dtype="float64", backend="native")
    engine, state = net._engine, [np.full(7, 0.5), np.full(7, 2.0)]
    for use in (
        lambda: net.predict(X),
        lambda: net.forward(X, layers=True),
        lambda: net.evaluate(X, NUMBERS),
        lambda: net.loss_and_gradients(X, NUMBERS),
        net.get_weights,
        lambda: net.set_weights(net.get_weights()),
        net.get_state,
        lambda: net.set_state(state),
        lambda: engine.set_state(state),
        lambda: engine.first_choice(32, nn.SGD(), 2),
        lambda: engine.measured_ns(32, nn.SGD()),
        lambda: engine.restore(engine.snapshot(None), None),
    ):

        def own(pred, target, use=use):
            use()
            return squared(pred, target)

        with pytest.raises(RuntimeError, match="in the middle of a training step, whose loss must not use it"):
            net.fit(X, NUMBERS, own)
    other = network("native")

    def through_another(pred, target):
        other.train_step(X, NUMBERS, "sgd")
        return squared(pred, target)

    net.fit(X, NUMBERS, through_another, epochs=1)


def test_subnormal_numbers_are_as_elsewhere(backend):
    seen = []

    def own(pred, target):
        seen.append(float(np.array(5e-324) * np.array(1.0)))
        return squared(pred, target)

    network(backend).fit(X, NUMBERS, own, epochs=1)
    assert set(seen) == {5e-324}


def test_the_object():
    own = losses.get(squared)
    assert type(own) is losses.OwnLoss
    assert losses.get(own) is own
    assert own == losses.get(squared)
    assert hash(own) == hash(losses.get(squared))
    assert own != losses.get(squared_mean)
    assert own.label == "squared"
    assert own.name == "own"
    assert repr(own) == "OwnLoss(squared)"
    assert own.function is squared
    assert own([[1.0, 2.0]], [[0.0, 0.0]]) == 2.5
    assert losses.get(squared_mean)([1.0, 3.0], [0.0, 0.0]) == 5.0
    np.testing.assert_array_equal(own.gradient([1.0, 2.0], [0.0, 0.0]), [1.0, 2.0])
    for wrong in (3, type):
        with pytest.raises(TypeError, match="function is of type"):
            losses.OwnLoss(wrong)


def test_a_function_with_a_built_in_name_is_no_built_in_loss(backend):
    def mse(pred, target):
        return np.zeros(len(pred)), np.zeros_like(pred)

    net = network(backend)
    before = flat(net)
    net.fit(X, NUMBERS, mse, epochs=1)
    np.testing.assert_array_equal(flat(net), before)


@pytest.mark.parametrize("weighted", [False, True])
def test_through_dropout_and_batch_normalisation(backend, weighted):
    """Whose masks and statistics are those of the step, as for a built-in loss."""
    given = WEIGHTS if weighted else None
    results = []
    for loss in (squared, "mse"):
        layers = [nn.Dense(4, 8), nn.BatchNorm(8), nn.Dense(8, 8, "gelu"), nn.Dropout(0.3), nn.Dense(8, 3, "silu")]
        net = nn.Sequential(layers, dtype="float64", seed=3, backend=backend)
        net.fit(X, NUMBERS, loss, epochs=3, batch_size=20, sample_weight=given)
        results.append((net.predict(X), net.history.history["loss"]))
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-11)


def test_second_order(backend):
    """L-BFGS takes it; what Levenberg-Marquardt cannot take is refused."""
    pair = [network(backend) for _ in range(2)]
    for net, loss in zip(pair, (squared, "mse"), strict=True):
        net.fit(X, NUMBERS, loss, nn.LBFGS(), epochs=3, batch_size=None, sample_weight=WEIGHTS)
    np.testing.assert_allclose(flat(pair[0]), flat(pair[1]), rtol=1e-7, atol=1e-9)
    assert pair[1].history.history["loss"][2] < pair[1].history.history["loss"][0]
    with pytest.raises(ValueError, match="loss is 'own'; LevenbergMarquardt takes 'mse'"):
        pair[0].fit(X, NUMBERS, squared, nn.LevenbergMarquardt(), batch_size=None)


@pytest.mark.skipif(not HAS_CORE, reason="needs the core")
def test_any_number_of_threads_gives_the_same_bits_with_statistics_of_the_batch():
    results = []
    for threads in (1, 2, 3):
        layers = [nn.Dense(4, 8), nn.BatchNorm(8), nn.Dense(8, 3)]
        net = nn.Sequential(layers, seed=3, backend="native")
        with nn.testing.force_threads(threads):
            net.fit(np.resize(X, (900, 4)), np.resize(NUMBERS, (900, 3)), squared, epochs=2, batch_size=400)
        results.append((flat(net).tobytes(), net.history.history["loss"]))
    assert results[0] == results[1] == results[2]
