"""Tests of targets: what each loss takes, and what it refuses."""

import numpy as np
import pytest

from nncore import activations, losses, targets
from nncore.errors import NonFiniteData

IDENTITY, SOFTMAX = activations.identity, activations.softmax


def prepared(y, n_out, loss, activation=IDENTITY, dtype="float32"):
    return targets.prepare(y, len(y), n_out, activation, loss, np.dtype(dtype))


@pytest.mark.parametrize("loss", ["mse", "mae", losses.Huber(0.5), losses.Quantile(0.1), "cosine"])
def test_losses_of_numbers_take_any(loss):
    y = np.array([[1, -2], [3, 4e9]])
    result = prepared(y, 2, loss)
    assert result.dtype == np.float32
    np.testing.assert_array_equal(result, y.astype("f4"))
    np.testing.assert_array_equal(prepared([1, 0], 2, loss, SOFTMAX), [[0, 1], [1, 0]])
    with pytest.raises(ValueError, match=r"y has shape \(2, 2\); expected \(2, 3\)"):
        prepared(y, 3, loss)
    with pytest.raises(ValueError, match=r"y has shape \(2,\); expected \(2, 2\)"):
        prepared([1, 0], 2, loss)


def test_hinge_takes_signs():
    for y in ([0, 1, 1], [-1, 1, 1], [False, True, True], [[0], [1], [1]]):
        np.testing.assert_array_equal(prepared(y, 1, "hinge"), [[-1], [1], [1]])
    np.testing.assert_array_equal(prepared([[0, 1], [1, 0]], 2, "hinge"), [[-1, 1], [1, -1]])
    np.testing.assert_array_equal(prepared([1, 0], 2, "hinge", SOFTMAX), [[-1, 1], [1, -1]])
    with pytest.raises(ValueError, match=r"y has the value 0\.5; hinge takes targets -1 and 1, or 0 and 1"):
        prepared([0.5, 1], 1, "hinge")
    with pytest.raises(ValueError, match="y has the values -1 and 0; hinge takes"):
        prepared([-1, 0, 1], 1, "hinge")


def test_poisson_takes_numbers_of_at_least_0():
    np.testing.assert_array_equal(prepared([0, 7, 2.5], 1, "poisson"), [[0], [7], [2.5]])
    with pytest.raises(ValueError, match="y has the value -1; poisson takes targets of at least 0"):
        prepared([0, -1, 2], 1, "poisson")


def test_bce_takes_numbers_from_0_to_1():
    np.testing.assert_array_equal(prepared([0, 1, 0.5], 1, losses.BinaryCrossEntropy(2.0)), [[0], [1], [0.5]])
    with pytest.raises(ValueError, match="y has the value 2; bce takes targets from 0 to 1"):
        prepared([0, 2], 1, losses.BinaryCrossEntropy(2.0))


def test_cosine_and_cross_entropy_need_several_outputs():
    with pytest.raises(ValueError, match="loss is 'cosine' and the network has 1 output; expected at least 2"):
        prepared([1, 2], 1, "cosine")
    with pytest.raises(ValueError, match="loss is 'cross_entropy' and the network has 1 output; expected 'bce'"):
        prepared([1, 2], 1, losses.CrossEntropy(0.1))


def test_labels_stay_labels_for_smoothed_cross_entropy():
    result = prepared([2, 0], 3, losses.CrossEntropy(0.1), SOFTMAX)
    assert result.dtype == np.int32
    np.testing.assert_array_equal(result, [2, 0])


def test_a_loss_of_the_users_takes_rows():
    own = losses.get(lambda pred, target: (0.0, pred))
    assert prepared([1, 2], 1, own).shape == (2, 1)
    assert prepared([1, 2], 3, own).dtype.kind == "i"
    assert prepared(np.zeros((2, 5, 4)), 3, own).shape == (2, 5, 4)
    with pytest.raises(ValueError, match="y has 3 rows; expected a row for each of the 2 rows of X"):
        targets.prepare([1, 2, 3], 2, 1, IDENTITY, own, np.dtype("f4"))
    with pytest.raises(NonFiniteData, match="row 1"):
        prepared([[0.0, 1.0], [np.nan, 1.0]], 3, own)
