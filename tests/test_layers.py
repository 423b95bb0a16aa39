from __future__ import annotations

import numpy as np
import pytest

from nncore import activations, initializers
from nncore.layers import Dense


def test_defaults_and_repr():
    layer = Dense(3, 4)
    assert layer.activation is activations.identity
    assert repr(layer) == "Dense(3, 4, activation=identity)"
    assert repr(Dense(3, 4, "relu", "zeros")) == "Dense(3, 4, activation=relu, initializer='zeros')"
    assert Dense(3, 4).n_parameters == 16


def test_takes_objects_and_numpy_integers():
    layer = Dense(np.int64(3), np.int32(4), activations.LeakyReLU(0.2), initializers.zeros)
    assert (layer.n_in, layer.n_out, layer.activation.alpha) == (3, 4, 0.2)
    assert type(layer.n_in) is int


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((0, 4), ValueError, "n_in is 0"),
        ((3, -1), ValueError, "n_out is -1"),
        ((True, 4), TypeError, "n_in"),
        ((3.0, 4), TypeError, "n_in"),
        ((3, 4, "rleu"), ValueError, "relu"),
        ((3, 4, None), TypeError, "activation"),
        ((3, 4, "relu", "he"), ValueError, "he_normal"),
        ((3, 1, "softmax"), ValueError, "n_out is 1"),
    ],
)
def test_refusals(arguments, error, message):
    with pytest.raises(error, match=message):
        Dense(*arguments)
