from __future__ import annotations

import math
import pickle

import numpy as np
import pytest

from nncore import MLP, SGD, Adam, DivergenceError


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
