from __future__ import annotations

import math
import pickle

import numpy as np
import pytest

from nncore import (
    LBFGS,
    MLP,
    SGD,
    Adam,
    BatchNorm,
    Columns,
    Dense,
    DivergenceError,
    Dropout,
    LevenbergMarquardt,
    Sequential,
    divergence,
    losses,
    schedules,
)
from nncore.errors import NonFiniteLoss


def test_large_targets_and_a_large_step(backend, rng):
    """The report names what was seen, and what is wrong first."""
    X = rng.standard_normal((64, 3))
    y = 1e6 * rng.standard_normal(64)
    net = MLP([3, 8, 1], backend=backend)
    with pytest.raises(DivergenceError) as caught:
        net.fit(X, y, optimizer=SGD(10.0), epochs=50)
    error = caught.value
    assert error.epoch >= 1 and error.step in (1, 2) and error.learning_rate == 10
    assert set(error.largest_weights) == {0, 1} == set(error.largest_gradients)
    assert max(error.largest_weights.values()) > 1e6
    assert error.largest_target == pytest.approx(np.abs(y).max(), rel=0.9)
    assert error.largest_input < 5
    text = str(error)
    assert f"at epoch {error.epoch}, step {error.step}" in text
    assert "the largest gradients by layer: 0: " in text and "the largest weights by layer: 0: " in text
    advice = text.partition("try to ")[2]
    assert advice.startswith("scale y, whose values reach ")
    assert "lower the learning rate, which is 10; clip the gradients" in advice and "scale X" not in advice


def test_the_sizes_are_those_of_the_step_that_failed(backend):
    """A linear unit, by hand: y = 1e19 has an infinite square in float32, and the gradient is -2e19."""
    net = MLP([1, 1], initializer="zeros", backend=backend)
    net.set_weights([[[0.25]], [-0.5]])
    y = np.array([1.0, 1.0, 1.0, 1e20])
    with pytest.raises(DivergenceError) as caught:
        net.fit(np.ones((4, 1)), y, batch_size=1, shuffle=False, optimizer=SGD(0.0))
    error = caught.value
    assert (error.epoch, error.step, error.layer) == (1, 4, None)
    assert error.largest_weights == {0: 0.5}
    assert error.largest_gradients[0] == pytest.approx(2e20, rel=1e-5)
    assert error.largest_target == pytest.approx(1e20)


def test_a_step_among_shuffled_ones_is_found(backend, rng):
    y = np.zeros(50)
    y[17] = 1e20
    net = MLP([2, 1], backend=backend)
    with pytest.raises(DivergenceError) as caught:
        net.fit(rng.standard_normal((50, 2)), y, batch_size=4, optimizer=SGD(0.0))
    assert caught.value.largest_target == pytest.approx(1e20)
    with pytest.raises(DivergenceError) as caught:
        net.fit([(np.ones((30, 2)), y[:30]), (np.ones((20, 2)), y[30:])], batch_size=4, optimizer=SGD(0.0))
    assert caught.value.largest_target == pytest.approx(1e20)


def test_weights_that_overflow_with_the_last_step(backend, blobs):
    X, y = blobs
    net = MLP([5, 8, 1], backend=backend)
    optimizer = SGD(1e300)
    with pytest.raises(DivergenceError) as caught:
        net.fit(X, y, optimizer=optimizer, batch_size=None)
    assert caught.value.epoch == 1 == caught.value.step
    assert math.inf in caught.value.largest_weights.values()
    with pytest.raises(DivergenceError) as caught:
        net.train_step(X, y, optimizer)
    assert caught.value.epoch is None and math.inf in caught.value.largest_weights.values()
    assert optimizer.steps == 0 and all(np.isfinite(w).all() for w in net.get_weights())


def test_classes_have_no_size(backend, blobs):
    X, y = blobs
    net = MLP([5, 8, 3], output="softmax", backend=backend)
    with pytest.raises(DivergenceError) as caught:
        net.fit(1e6 * X, y, optimizer=Adam(1e300), epochs=9)
    error = caught.value
    assert error.largest_target is None
    assert "try to scale X, whose values reach " in str(error)
    copy = pickle.loads(pickle.dumps(error))
    assert vars(copy) == vars(error) and str(copy) == str(error)


def squared(pred, target):
    with np.errstate(all="ignore"):
        return ((pred - target) ** 2).mean(axis=1), 2 * (pred - target) / pred.size


@pytest.mark.parametrize("weights", [None, np.array([0.5, 0.0, 1.0, 0.25])])
@pytest.mark.parametrize(
    ("loss", "output"),
    [
        (losses.Huber(5.0), "identity"),
        (losses.Quantile(0.9), "identity"),
        (losses.BinaryCrossEntropy(pos_weight=30.0), "sigmoid"),
        (losses.BinaryCrossEntropy(label_smoothing=0.5), "sigmoid"),
        (losses.OwnLoss(squared), "identity"),
    ],
)
def test_the_gradients_are_those_of_the_loss_and_the_weights(backend, rng, loss, output, weights):
    net = MLP([3, 4, 1], output=output, dtype="float64", backend=backend)
    X, y = rng.standard_normal((4, 3)), np.array([[1.0], [0.0], [1.0], [1.0]])
    error = divergence.report(net, NonFiniteLoss(0), X, y, weights, loss, SGD())
    _, gradients = net.loss_and_gradients(X, y, loss, sample_weight=weights)
    sizes = [max(np.abs(w).max(), np.abs(b).max()) for w, b in zip(gradients[::2], gradients[1::2], strict=True)]
    assert error.largest_gradients == {0: pytest.approx(sizes[0]), 1: pytest.approx(sizes[1])}


@pytest.mark.parametrize("shuffle", [False, True])
def test_weights_count_in_the_gradients_of_the_step_that_failed(backend, shuffle):
    """The batch of y = 1e20, of weight 3, and a row of weight 1: 2e20 times 3/4."""
    net = MLP([1, 1], initializer="zeros", backend=backend)
    y, weights = np.zeros(6), np.ones(6)
    y[4], weights[4] = 1e20, 3
    for call in (
        lambda: net.fit(
            np.ones((6, 1)), y, batch_size=2, shuffle=shuffle, sample_weight=weights, optimizer=SGD(0.0), epochs=1
        ),
        lambda: net.train_step(np.ones((2, 1)), y[4:], SGD(0.0), sample_weight=weights[4:]),
    ):
        with pytest.raises(DivergenceError) as caught:
            call()
        assert caught.value.largest_gradients[0] == pytest.approx(1.5e20, rel=1e-5)


@pytest.mark.parametrize("again", [math.inf, RuntimeError("not twice")])
def test_a_loss_of_the_users_that_cannot_be_asked_again(backend, blobs, again):
    """The report is shorter then; it is still a report."""
    X, y = blobs
    calls = []

    def own(pred, target):
        calls.append(1)
        if len(calls) > 1 and isinstance(again, Exception):
            raise again
        return np.full(len(pred), math.inf), np.zeros_like(pred)

    net = MLP([5, 1], backend=backend)
    with pytest.raises(DivergenceError) as caught:
        net.fit(X, y, own, batch_size=50)
    assert len(calls) == 2 and caught.value.largest_gradients is None
    assert caught.value.largest_weights is not None and caught.value.step == 1
    assert "; try to look into loss own, which gave no finite number; lower the learning rate, which is 0.001" in str(
        caught.value
    )


def test_columns_have_sizes_too(backend):
    """A layer with as many arrays as it has tables: here the target is 1e20 and its weight 1, so the gradient 2e20."""
    net = Sequential([Columns({0: (3, 1), 1: (2, 1), 2: (2, 1)}, 3), Dense(3, 1)], backend=backend)
    tables = [[[0.0], [5.0], [0.0]], [[7.0], [0.0]], [[0.0], [0.0]]]
    net.set_weights([*tables, [[1.0], [0.5], [0.25]], [0.0]])
    with pytest.raises(DivergenceError) as caught:
        net.fit([[0, 1, 0], [2, 1, 1]], [0.0, 1e20], batch_size=1, shuffle=False, optimizer=SGD(0.0))
    error = caught.value
    assert error.largest_weights == {0: 7.0, 1: 1.0}
    assert error.largest_gradients == {0: pytest.approx(2e20, rel=1e-5), 1: pytest.approx(2e20, rel=1e-5)}


@pytest.mark.parametrize(
    ("optimizer", "advice"),
    [
        (lambda: SGD(schedules.Exponential(1e25, steps=1, factor=0.5)),
         "lower the learning rate, which is 1.25e+24; clip the gradients"),
        (lambda: SGD(0.0, clip_norm=2.0), "lower the learning rate, which is 0; lower clip_norm, which is 2"),
        (lambda: Adam(0.0, clip_norm=2.0, clip_value=0.5),
         "lower the learning rate, which is 0; lower clip_norm, which is 2; lower clip_value, which is 0.5"),
        (LBFGS, "start from smaller weights"),
        (LevenbergMarquardt, "start from smaller weights"),
    ],
)  # fmt: skip
def test_the_advice_is_what_the_optimizer_has(backend, optimizer, advice):
    """What has no learning rate, or is clipped already, is told something else to try."""
    net = MLP([1, 1], initializer="zeros", backend=backend)
    second_order = optimizer in (LBFGS, LevenbergMarquardt)
    X, y = np.zeros((4, 1)), np.array([0.0, 0.0, 0.0, 1e20])
    with pytest.raises(DivergenceError) as caught:
        net.fit(X, y, optimizer=optimizer(), batch_size=None if second_order else 1, shuffle=False)
    assert caught.value.step == (1 if second_order else 4)
    assert str(caught.value).endswith(f"; try to scale y, whose values reach 1e+20; {advice}")
    copy = pickle.loads(pickle.dumps(caught.value))
    assert vars(copy) == vars(caught.value) and str(copy) == str(caught.value)


@pytest.mark.parametrize("loss", ["mse", squared])
def test_the_layer_is_that_of_the_step_and_not_of_an_evaluation(backend, rng, loss):
    """By the running statistics of a fresh batch normalisation, layer 2 would overflow; by those of the batch not."""
    X, y = rng.standard_normal((8, 3)), rng.standard_normal((8, 2))

    for gamma, large, layer in ((1.0, 1e30, None), (3e38, 1.0, 1)):
        net = Sequential([Dense(3, 4), BatchNorm(), Dense(4, 4), Dense(4, 2)], seed=1, backend=backend)
        W0, b0, _, beta, W2, b2, W3, b3 = net.get_weights()
        net.set_weights([1e15 * W0, b0, np.full(4, gamma), beta, 1e25 * W2, b2, 1e-25 * W3, b3])
        targets = y.copy()
        targets[1] *= large
        with pytest.raises(DivergenceError) as caught:
            net.fit(X, targets, loss, SGD(0.0), batch_size=4, shuffle=False)
        assert caught.value.layer == layer
        assert caught.value.step == 1


def test_the_layer_is_that_of_the_first_row_whose_loss_is_not_finite(backend):
    """Row 1 has a hidden number that overflows and an output, 1, that does not; it is row 2 whose loss is infinite."""
    net = Sequential([Dense(1, 1), Dense(1, 1, "tanh")], dtype="float32", backend=backend)
    net.set_weights([[[1e20]], [0.0], [[1.0]], [0.0]])
    with pytest.raises(DivergenceError) as caught:
        net.fit([[0.0], [1e20], [0.0]], [0.0, 0.0, 1e30], "mse", SGD(0.0), batch_size=None)
    assert caught.value.layer is None


def test_what_dropout_has_dropped_does_not_overflow(backend):
    """Half of the inputs are dropped: the layer above overflows in other rows than in an evaluation."""
    net = Sequential([Dropout(0.5), Dense(1, 1)], seed=3, backend=backend)
    net.set_weights([[[1e30]], [0.0]])
    y = np.full(1, 1e30)
    layers = set()
    for _ in range(12):
        with pytest.raises(DivergenceError) as caught:
            net.train_step(np.full((1, 1), 1e20), y, (optimizer := SGD(0.0)))
        layers.add(caught.value.layer)
        net._steps_forgotten += 1
        assert optimizer.steps == 0
    assert layers == {None, 1}
