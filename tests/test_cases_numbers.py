"""Values that other libraries have got wrong, by public reports: saturation, certain predictions, columns.

Each situation is asked of both backends in both types; what a single kernel or loss makes of it is in test_losses.py,
test_activations.py and test_kernels_loss.py.
"""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import nncore as nn


@pytest.fixture(params=["float32", "float64"])
def dtype(request):
    return request.param


@pytest.fixture
def unit(backend, dtype):
    """Return a function that makes a network of one layer, whose logits are its inputs."""

    def make(activation, n=1):
        net = nn.Sequential([nn.Dense(n, n, activation)], dtype=dtype, backend=backend)
        net.set_weights([np.eye(n), np.zeros(n)])
        return net

    return make


def gradient_of_logits(net, z, y, loss=None):
    """Return loss and dL/dz of one row: that of the biases."""
    value, (_, slope) = net.loss_and_gradients(np.atleast_2d(z), y, loss=loss)
    return value, slope


# ------------------------------------------------------------------------------------------------- far from zero


def test_sigmoid_of_a_far_number(unit, dtype):
    z = np.array([0.12, 0.34, -1234.1], dtype)
    with warnings.catch_warnings(), np.errstate(all="raise"):
        warnings.simplefilter("error")
        outputs = nn.sigmoid(z)
        through = unit("sigmoid").predict(z[:, None])
    for found in (outputs, through[:, 0]):
        assert found.dtype == dtype
        np.testing.assert_allclose(found, [0.52996, 0.58419, 0.0], atol=5e-6)
    assert outputs[2] == 0 == through[2, 0]


@pytest.mark.parametrize("size", [100.0, 1234.1, 1e4, 1e30])
@pytest.mark.parametrize("label", [0, 1])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_large_logit_of_bce(unit, size, label, sign):
    """The loss is max(z, 0) - z y, and dL/dz is p - y: exactly so, as log(1 + exp(-100)) is below every ulp."""
    net = unit("sigmoid")
    value, slope = gradient_of_logits(net, sign * size, [label])
    p = float(sign > 0)
    wrong = p != label
    assert value == pytest.approx(size if wrong else 0, rel=1e-6, abs=1e-40)
    assert slope[0] == pytest.approx(p - label, abs=1e-40)
    assert net.evaluate([[sign * size]], [label])["loss"] == pytest.approx(value, rel=1e-6, abs=1e-40)


@pytest.mark.parametrize("size", [100.0, 1e4, 1e30])
@pytest.mark.parametrize("label", [0, 1, 2])
def test_a_large_logit_of_cross_entropy(unit, size, label):
    net = unit("softmax", 3)
    z = np.array([size, 0, -size])
    value, slope = gradient_of_logits(net, z, [label])
    assert value == pytest.approx(size - z[label], rel=1e-6, abs=1e-40)
    np.testing.assert_allclose(slope, np.array([1.0, 0, 0]) - np.eye(3)[label], atol=1e-40)
    assert net.evaluate([z], [label])["loss"] == pytest.approx(value, rel=1e-6, abs=1e-40)
    np.testing.assert_allclose(net.predict([z]), [[1, 0, 0]], atol=1e-40)


def test_large_logits_train(unit):
    """And the step that follows is finite."""
    for activation, n in (("sigmoid", 1), ("softmax", 2)):
        net = unit(activation, n)
        net.fit(np.full((4, n), 1e4), [0, 1, 0, 1], optimizer=nn.SGD(1e-3), epochs=2)
        assert all(np.isfinite(w).all() for w in net.get_weights())


@pytest.mark.parametrize("certain", [0.0, 1.0])
@pytest.mark.parametrize("loss", ["bce", "cross_entropy"])
def test_a_certain_and_right_prediction(backend, dtype, certain, loss):
    """Also where the output is not the one from whose logits the loss is taken."""
    pred = np.array([[certain, 1 - certain]], dtype)
    calculated = nn.losses.get(loss)
    assert calculated(pred, pred) == 0
    assert np.isfinite(calculated.gradient(pred, pred)).all()
    net = nn.Sequential([nn.Dense(2, 2, "relu")], dtype=dtype, backend=backend)
    net.set_weights([np.eye(2), np.zeros(2)])
    value, gradients = net.loss_and_gradients(pred, pred, loss=loss)
    assert value == 0
    assert all(np.isfinite(g).all() for g in gradients)


# ----------------------------------------------------------------------------------------------- columns and means


def test_a_column_against_a_vector(backend, dtype):
    rng = np.random.default_rng(5)
    X = rng.standard_normal((100, 2))
    y = 10 + 9 * X[:, 0] - 2 * X[:, 1] + 0.01 * rng.standard_normal(100)
    nets = [nn.Sequential([nn.Dense(2, 1)], dtype=dtype, backend=backend) for _ in range(2)]
    for net, target in zip(nets, (y, y[:, None]), strict=True):
        net.fit(X, target, optimizer=nn.SGD(0.1), epochs=60)
        w, b = net.get_weights()
        np.testing.assert_allclose([b[0], w[0, 0], w[1, 0]], [10, 9, -2], atol=0.02)
        assert net.predict(X).shape == (100, 1)
    for a, b in zip(nets[0].get_weights(), nets[1].get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    pred = nets[0].predict(X)
    assert nn.losses.get("mse")(pred, y) == nn.losses.get("mse")(pred, y[:, None]) < 0.01  # of the vector's spread, 170
    assert nets[0].evaluate(X, y, metrics=["r2"])["r2"] > 0.99


@pytest.mark.parametrize("method", ["fit", "train_step", "evaluate", "loss_and_gradients"])
@pytest.mark.parametrize("shape", [(100,), (100, 1), (1, 100), (100, 3), (200,), (100, 2, 1), (2, 100)])
def test_two_columns_against_anything_else(backend, method, shape):
    net = nn.MLP([2, 2], output="identity", backend=backend)
    more = {"optimizer": nn.SGD()} if method == "train_step" else {}
    with pytest.raises(ValueError, match="y has"):
        getattr(net, method)(np.zeros((100, 2)), np.zeros(shape), **more)
    with pytest.raises(ValueError, match="target has shape"):
        nn.losses.get("mse")(np.zeros((100, 2)), np.zeros(shape))


@pytest.mark.parametrize("batch_size", [1, 2, 3, None])
def test_an_epochs_loss_is_the_mean_over_rows(backend, dtype, batch_size):
    net = nn.Sequential([nn.Dense(1, 1, initializer="zeros")], dtype=dtype, backend=backend)
    y = np.sqrt([12, 8, 9])  # the means of batches of 2 are 10 and 9
    history = net.fit([[0.0]] * 3, y, optimizer=nn.SGD(0.0), batch_size=batch_size, shuffle=False, epochs=1)
    assert history.history["loss"][0] == pytest.approx(29 / 3, rel=1e-6)


def test_small_unsigned_integers(backend, dtype):
    """16 and 17 differ by 1, and 1 - 2 is -1."""
    net = nn.Sequential([nn.Dense(1, 1)], dtype=dtype, backend=backend)
    net.set_weights([[[1.0]], [0.0]])
    X, y = np.array([[16], [1]], np.uint8), np.array([17, 2], np.uint8)
    value, (dw, db) = net.loss_and_gradients(X, y, loss="mse")
    assert value == 1 and db[0] == -2 and dw[0, 0] == -17
    assert net.evaluate(X, y, metrics=["mae", "mse"]) == {"loss": 1, "mae": 1, "mse": 1}
    assert nn.losses.get("mse")(X, y) == 1
    for loss in ("mae", "huber", "quantile"):
        assert nn.losses.get(loss)(X, y) == pytest.approx({"mae": 1, "huber": 0.5, "quantile": 0.5}[loss])
    net.fit(X, y, optimizer=nn.SGD(1e-3), epochs=1)
    assert net.predict(np.array([[1]], np.uint8))[0, 0] > 1  # up, to 2
    np.testing.assert_array_equal(nn.relu(np.array([1], np.uint8) - 2.0), [0])


# ------------------------------------------------------------------------------------------------ tiny numbers


def test_subnormal_data_and_weights(backend, dtype):
    """They cost nothing extra as the core reads them as 0; the caller's own arithmetic goes on as before."""
    tiny = np.finfo(dtype).smallest_subnormal
    X = np.full((64, 8), tiny, dtype)
    net = nn.MLP([8, 8, 1], "tanh", dtype=dtype, backend=backend, seed=1)
    zero = net.predict(np.zeros_like(X))
    np.testing.assert_allclose(net.predict(X), zero, atol=1e-30)
    net.fit(X, np.zeros(64), epochs=2)
    assert np.isfinite(net.predict(X)).all()
    assert tiny > 0 and (X * dtype_one(dtype) == tiny).all()  # neither flushed nor treated as zero here


def dtype_one(dtype):
    return np.ones((), dtype)


def test_weights_that_decay_end_at_zero(backend, dtype):
    """Through the subnormals: weights that stayed there would make each product a hundred times slower."""
    net = nn.Sequential([nn.Dense(4, 4)], dtype=dtype, backend=backend)
    net.set_weights([np.full((4, 4), 10 * np.finfo(dtype).tiny, dtype), np.zeros(4)])
    net.fit(np.zeros((8, 4)), np.zeros((8, 4)), optimizer=nn.SGD(0.1, weight_decay=5.0), epochs=10, batch_size=1)
    weights = net.get_weights()[0]
    if backend == "native":
        assert (weights == 0).all(), weights
    else:
        assert (np.abs(weights) < np.finfo(dtype).tiny).all()
