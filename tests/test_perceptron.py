"""Tests of the perceptron: the rule, convergence, and what it refuses."""

import numpy as np
import pytest

from nncore.errors import ConvergenceWarning
from nncore.perceptron import Perceptron

GATES = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])


def rule_in_plain_python(X, y, rate, epochs):
    """The rule with its stop, written out; returns weights, bias and mistakes per epoch."""
    w, b, errors = [0.0] * len(X[0]), 0.0, []
    for _ in range(epochs):
        wrong = 0
        for x, target in zip(X, y, strict=True):
            z = sum(wi * xi for wi, xi in zip(w, x, strict=True)) + b
            update = rate * (target - (1 if z >= 0 else 0))
            w = [wi + update * xi for wi, xi in zip(w, x, strict=True)]
            b += update
            wrong += update != 0
        errors.append(wrong)
        if not wrong:
            break
    return w, b, errors


def separable(seed, n=200, k=5):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, k))
    z = X @ rng.standard_normal(k) + 0.3
    keep = np.abs(z) > 0.3
    return X[keep], (z[keep] > 0).astype(int)


@pytest.mark.parametrize(
    "y", [[0, 0, 0, 1], [0, 1, 1, 1], [1, 1, 1, 0], [1, 0, 0, 0]], ids=["and", "or", "nand", "nor"]
)
def test_gates_converge(y):
    p = Perceptron(learning_rate=0.01, epochs=15)
    assert p.fit(GATES, y) is p
    assert p.converged
    assert len(p.errors) < 10
    assert p.errors[-1] == 0
    assert all(p.errors[:-1])
    assert p.predict(GATES).tolist() == y


def test_xor_does_not_converge():
    with pytest.warns(ConvergenceWarning, match="did not converge in 15 epochs"):
        p = Perceptron().fit(GATES, [0, 1, 1, 0])
    assert not p.converged
    assert len(p.errors) == 15
    assert all(p.errors)


@pytest.mark.parametrize("seed", range(3))
def test_the_rule(seed):
    X, y = separable(seed)
    p = Perceptron(learning_rate=0.5, epochs=500).fit(X, y)
    weights, bias, errors = rule_in_plain_python(X.tolist(), y.tolist(), 0.5, 500)
    assert p.converged
    assert p.errors == errors
    np.testing.assert_allclose(p.weights, weights, rtol=1e-12)
    assert p.bias == pytest.approx(bias, rel=1e-12)
    np.testing.assert_array_equal(p.predict(X), y)


def test_zero_weights_predict_one():
    # At z = 0 the class is 1: so a first epoch of ones only is without a mistake.
    with pytest.warns(UserWarning, match="y has the single class 1"):
        p = Perceptron().fit(GATES, [1, 1, 1, 1])
    assert p.errors == [0]
    assert p.converged
    assert p.weights.tolist() == [0.0, 0.0]
    assert p.bias == 0
    assert p.predict(GATES).tolist() == [1, 1, 1, 1]


def test_fit_starts_anew():
    p = Perceptron().fit(GATES, [0, 0, 0, 1])
    first = p.weights, p.bias, p.errors
    p.fit(GATES, [0, 0, 0, 1])
    np.testing.assert_array_equal(p.weights, first[0])
    assert (p.bias, p.errors) == first[1:]


@pytest.mark.parametrize("y", [[False, False, False, True], [0.0, 0.0, 0.0, 1.0], [[0], [0], [0], [1]]])
@pytest.mark.parametrize(
    "X", [GATES, GATES.astype(bool), GATES.astype(np.float32), np.asfortranarray(GATES), GATES.tolist()]
)
def test_kinds_of_input(X, y):
    p = Perceptron().fit(X, y)
    expected = Perceptron().fit(GATES, [0, 0, 0, 1])
    assert p.weights.tolist() == expected.weights.tolist()
    assert p.predict(X).dtype == np.int64


@pytest.mark.parametrize(("rate", "epochs"), [(0.1, 0), (0.0, 3)])
def test_no_epochs_and_no_rate_change_nothing(rate, epochs):
    with pytest.warns(ConvergenceWarning):
        p = Perceptron(rate, epochs).fit(GATES, [0, 0, 0, 1])
    assert p.weights.tolist() == [0, 0]
    assert len(p.errors) == epochs


@pytest.mark.parametrize(
    ("X", "y", "message"),
    [
        (GATES, [0, 1, 2, 1], "y has the value 2; expected classes 0 and 1"),
        (GATES, [-1, 1, 1, 1], "y has the value -1"),
        (GATES, [0, 1, np.nan, 1], "y has the value nan"),
        (GATES, [0, 1, 1], r"y has shape \(3,\); X has 4 rows, so expected \(4,\)"),
        (GATES, np.zeros((4, 2)), r"y has shape \(4, 2\)"),
        ([[0, 1], [np.nan, 0]], [0, 1], r"X has a non-finite value \(NaN or infinity\) in row 1"),
        ([[0, 1], [np.inf, 0]], [0, 1], "X has a non-finite value"),
        ([1, 2], [0, 1], r"X has 1 dimension, of 2 values; expected 2 \(rows, columns\): X.reshape"),
        (np.ones((0, 2)), [], "X has no rows"),
    ],
)
def test_data_that_are_refused_leave_the_perceptron_as_it_was(X, y, message):
    p = Perceptron().fit(GATES, [0, 0, 0, 1])
    before = p.weights.tolist(), p.bias, p.errors
    with pytest.raises(ValueError, match=message):
        p.fit(X, y)
    assert (p.weights.tolist(), p.bias, p.errors) == before


def test_data_of_another_type():
    with pytest.raises(TypeError, match="y has dtype"):
        Perceptron().fit(GATES, ["a", "b", "a", "b"])
    with pytest.raises(TypeError, match="X has dtype"):
        Perceptron().fit([["a"]], [0])


def test_predict_refuses():
    p = Perceptron()
    with pytest.raises(ValueError, match="the perceptron has no weights yet; call fit first"):
        p.predict(GATES)
    p.fit(GATES, [0, 0, 0, 1])
    with pytest.raises(ValueError, match="X has 3 features; this perceptron takes 2"):
        p.predict(np.ones((2, 3)))


def test_parameters():
    p = Perceptron()
    assert (p.learning_rate, p.epochs, p.weights, p.errors, p.converged) == (0.01, 15, None, [], False)
    assert repr(p) == "Perceptron(learning_rate=0.01, epochs=15)"
    with pytest.raises(ValueError, match="learning_rate is -1"):
        Perceptron(learning_rate=-1)
    with pytest.raises(ValueError, match="epochs is -1"):
        Perceptron(epochs=-1)
    with pytest.raises(TypeError, match=r"epochs is 1\.5"):
        Perceptron(epochs=1.5)
