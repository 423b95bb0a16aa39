"""Tests of the exceptions: their messages, their attributes, and that they survive pickling."""

import pickle

import pytest

from nncore.errors import ConvergenceWarning, DivergenceError, NonFiniteData, NonFiniteLoss


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            DivergenceError(epoch=3, step=17, layer=0),
            "the loss is not finite at epoch 3, step 17 (layer 0 is the first whose output is not finite); "
            "scale the data or lower the learning rate",
        ),
        (DivergenceError(), "the loss is not finite; scale the data or lower the learning rate"),
        (DivergenceError(epoch=3), "the loss is not finite at epoch 3; scale the data or lower the learning rate"),
        (NonFiniteData("X", 17), "X has a non-finite value (NaN or infinity) in row 17; expected finite numbers"),
        (NonFiniteLoss(4), "the loss is not finite in step 4"),
        (NonFiniteLoss(4, 1), "the loss is not finite in step 4; layer 1 is the first whose output is not finite"),
    ],
)
def test_messages_and_pickling(error, message):
    copy = pickle.loads(pickle.dumps(error))
    assert str(error) == str(copy) == message
    assert vars(copy) == vars(error)
    assert type(copy) is type(error)


def test_attributes_are_none_where_not_known():
    error = DivergenceError(epoch=2)
    assert (error.epoch, error.step, error.layer) == (2, None, None)


@pytest.mark.parametrize(
    ("kind", "base"),
    [
        (DivergenceError, ArithmeticError),
        (NonFiniteLoss, ArithmeticError),
        (NonFiniteData, ValueError),
        (ConvergenceWarning, UserWarning),
    ],
)
def test_bases(kind, base):
    assert issubclass(kind, base)
