"""The Jacobian of a dense network and the normal equations of least squares, with weights of the rows and without."""

from __future__ import annotations

import numpy as np
import pytest

import nncore as nn
from nncore import activations
from nncore._jacobian import jacobian, normal_equations


def network(backend, layers=(5, 7, 3)):
    return nn.MLP(list(layers), "tanh", dtype="float64", seed=1, backend=backend)


@pytest.mark.parametrize("output", ["identity", "sigmoid", "softmax"])
def test_the_jacobian_against_central_differences(output, rng):
    functions = [activations.get("tanh"), activations.get(output)]
    weights = [rng.standard_normal(shape) for shape in ((3, 4), (4,), (4, 2), (2,))]
    X = rng.standard_normal((5, 3))
    _, found = jacobian(functions, weights, X)
    at = 0
    for array in weights:
        for index in np.ndindex(array.shape):
            outputs = []
            for change in (1e-6, -1e-6):
                array[index] += change
                outputs.append(jacobian(functions, weights, X)[0])
                array[index] -= change
            np.testing.assert_allclose(found[:, :, at], (outputs[0] - outputs[1]) / 2e-6, atol=1e-8)
            at += 1
    assert found.shape == (5, 2, at)


def test_the_normal_equations_go_with_the_gradient(rng, monkeypatch):
    functions = [activations.get("tanh"), activations.get("identity")]
    net, X, y = network("numpy"), rng.standard_normal((9, 5)), rng.standard_normal((9, 3))
    loss, gradients = net.loss_and_gradients(X, y)
    whole = normal_equations(functions, net.get_weights(), X, y)
    assert whole[2] == pytest.approx(loss)
    np.testing.assert_allclose(2 * whole[1], np.concatenate([g.ravel() for g in gradients]), rtol=1e-10, atol=1e-14)
    monkeypatch.setattr("nncore._jacobian._BLOCK_BYTES", 7 * 8 * 66 * 3)  # seven rows at a time
    for a, b in zip(whole, normal_equations(functions, net.get_weights(), X, y), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-15)


def test_levenberg_marquardt_weighs_rows(backend, rng, monkeypatch):
    """A row of weight 2 is two of it, one of 0 is none, whatever it holds; only the weights' ratios count."""
    monkeypatch.setattr("nncore._jacobian._BLOCK_BYTES", 8 * 3 * 21)  # a few rows at a time
    X, y = rng.standard_normal((12, 3)), rng.standard_normal((12, 1))
    weights = np.array([1, 0, 2, 1, 3, 0, 1, 1, 2, 1, 0, 1])
    y[1] = 1e300
    times = np.repeat(np.arange(12), weights)
    weighed, repeated = (network(backend, layers=(3, 4, 1)) for _ in range(2))
    history = weighed.fit(
        X, y, optimizer="levenberg_marquardt", epochs=4, batch_size=None, sample_weight=weights / 7
    ).history["loss"]
    expected = repeated.fit(X[times], y[times], optimizer="levenberg_marquardt", epochs=4, batch_size=None).history[
        "loss"
    ]
    np.testing.assert_allclose(history, expected, rtol=1e-10)
    for a, b in zip(weighed.get_weights(), repeated.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-10)
    assert history[-1] < history[0]


def test_levenberg_marquardt_of_a_line_is_weighted_least_squares(backend, rng):
    """With hardly any damping one iteration is the solution of the weighted normal equations."""
    X, w = rng.standard_normal((20, 2)), rng.random(20)
    y = X @ [2.0, -1.0] + 0.5 + rng.standard_normal(20)
    design = np.column_stack([X, np.ones(20)]) * np.sqrt(w)[:, None]
    right = np.linalg.lstsq(design, y * np.sqrt(w), rcond=None)[0]
    net = network(backend, layers=(2, 1))
    net.train_step(X, y, optimizer=nn.LevenbergMarquardt(1e-12), sample_weight=w)
    np.testing.assert_allclose(np.concatenate([a.ravel() for a in net.get_weights()]), right, rtol=1e-9)


def test_levenberg_marquardt_weighs_classes(backend, rng):
    X, labels = rng.standard_normal((15, 2)), np.arange(15) % 3
    by_class, by_row = (nn.MLP([2, 4, 3], output="softmax", dtype="float64", backend=backend) for _ in range(2))
    call = {"loss": "mse", "optimizer": "levenberg_marquardt", "epochs": 3, "batch_size": None}
    by_class.fit(X, labels, class_weight={1: 4.0}, **call)
    by_row.fit(X, labels, sample_weight=np.where(labels == 1, 4.0, 1.0), **call)
    for a, b in zip(by_class.get_weights(), by_row.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
