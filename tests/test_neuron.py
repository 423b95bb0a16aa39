"""Tests of the single neuron, with the texts' numbers."""

import numpy as np
import pytest

from nncore.activations import LeakyReLU, relu
from nncore.neuron import Neuron


def test_worked_numbers():
    neuron = Neuron(weights=[0, 1], bias=4, activation="sigmoid")
    assert neuron([2, 3]) == pytest.approx(0.9990889488055994, abs=1e-15)
    assert neuron.feedforward([2, 3]) == neuron([2, 3])
    assert type(neuron([2, 3])) is float
    x, w = [1.5, 2.0, -1.0], [0.5, -0.3, 0.8]
    assert Neuron(w, 0.1, "identity")(x) == pytest.approx(-0.55, abs=1e-15)
    assert Neuron(w, 0.1)(x) == pytest.approx(0.36586440898919936, abs=1e-15)
    assert Neuron(w, 0.1, relu)(x) == 0
    assert Neuron([0.4, -0.1, 0.8], 0.2, "identity")([0.5, 1.2, -0.3]) == pytest.approx(0.04, abs=1e-15)
    assert f"{Neuron([0.4, 0.7], 0.2)([0.5, 0.3]):.4f}" == "0.6479"


def test_neurons_make_a_network():
    hidden = Neuron([0, 1])([2, 3])
    assert hidden == pytest.approx(0.9526, abs=5e-5)
    assert Neuron([0, 1])([hidden, hidden]) == pytest.approx(0.7216325609518421, abs=1e-15)


def test_a_step_neuron_is_an_and_gate():
    gate = Neuron([1, 1], bias=-1.5, activation="step")
    np.testing.assert_array_equal(gate([[0, 0], [1, 0], [0, 1], [1, 1]]), [0, 0, 0, 1])
    np.testing.assert_array_equal(gate([[0.5, 0], [1, 0.6]]), [0, 1])
    z = Neuron([1, 1], bias=-1.5, activation="identity")
    np.testing.assert_array_equal(z([[0, 0], [1, 0], [0, 1], [1, 1]]), [-1.5, -0.5, -0.5, 0.5])
    np.testing.assert_allclose(z([[0.5, 0], [1, 0.6]]), [0.5 - 1.5, 1.6 - 1.5], rtol=1e-15)


def test_rows_give_one_output_each():
    neuron = Neuron([1.0, -2.0], 0.5, LeakyReLU(0.2))
    X = np.random.default_rng(0).standard_normal((5, 2))
    outputs = neuron(X)
    assert outputs.shape == (5,)
    assert outputs.dtype == np.float64
    np.testing.assert_allclose(outputs, [neuron(x) for x in X], rtol=1e-14)
    assert neuron(X[:0]).shape == (0,)
    assert Neuron([2.0], activation="identity")([[1.0], [2.0]]).tolist() == [2.0, 4.0]


def test_integers_and_float32_are_computed_in_float64():
    neuron = Neuron(np.array([200], np.uint8), activation="identity")
    assert neuron(np.array([200], np.uint8)) == 40000.0
    assert neuron(np.array([[0.1]], np.float32)).dtype == np.float64


def test_weights_are_a_read_only_copy():
    weights = np.array([1.0, 2.0])
    neuron = Neuron(weights)
    weights[0] = 5
    assert neuron.weights.tolist() == [1.0, 2.0]
    with pytest.raises(ValueError, match="read-only"):
        neuron.weights[0] = 5


def test_repr():
    assert repr(Neuron([0, 1], 4)) == "Neuron([0.0, 1.0], bias=4.0, activation='sigmoid')"


@pytest.mark.parametrize(
    ("x", "message"),
    [
        ([1, 2, 3], "x has 3 inputs; this neuron takes 2"),
        ([1], "x has 1 input; this neuron takes 2"),
        (np.ones((2, 3)), "x has 3 inputs; this neuron takes 2"),
        (1.0, r"x has 0 dimensions; expected \(2,\) or \(rows, 2\)"),
        (np.ones((1, 1, 2)), "x has 3 dimensions"),
    ],
)
def test_inputs_that_do_not_fit(x, message):
    with pytest.raises(ValueError, match=message):
        Neuron([1, 2])(x)


def test_inputs_of_another_type():
    with pytest.raises(TypeError, match="x has dtype"):
        Neuron([1, 2])(["a", "b"])


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (([[1, 2]],), ValueError, r"weights has shape \(1, 2\); expected \(n,\)"),
        (([],), ValueError, r"weights has shape \(0,\)"),
        (([1, np.nan],), ValueError, "weights is .*; expected finite numbers"),
        ((["a"],), TypeError, "weights has dtype"),
        (([1], np.inf), ValueError, "bias is inf; expected a finite number"),
        (([1], "0"), TypeError, "bias is '0'"),
        (([1], 0, "swish"), ValueError, "activation is 'swish'; expected one of"),
        (([1], 0, "softmax"), ValueError, "activation is softmax"),
    ],
)
def test_parameters_that_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        Neuron(*arguments)
