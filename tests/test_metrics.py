"""Tests of the metrics."""

import math

import numpy as np
import pytest

from nncore import metrics

SCORES = np.array([[0.1, 0.7, 0.2], [0.5, 0.4, 0.1], [0.2, 0.2, 0.6], [0.3, 0.4, 0.3]])


@pytest.mark.parametrize("pred", [[0.2, 0.5, 0.9, 0.4], [[0.2], [0.5], [0.9], [0.4]]])
@pytest.mark.parametrize(
    "target", [[0, 1, 0, 0], [[0], [1], [0], [0]], [False, True, False, False], [0.0, 1.0, 0.0, 0.0]]
)
def test_accuracy_of_one_column(pred, target):
    result = metrics.accuracy(pred, target)
    assert type(result) is float
    assert result == 0.75


@pytest.mark.parametrize(
    "labels", [[1, 0, 2, 0], [[1], [0], [2], [0]], [1.0, 0.0, 2.0, 0.0], np.array([1, 0, 2, 0], "u1")]
)
def test_accuracy_of_classes(labels):
    assert metrics.accuracy(SCORES, labels) == 0.75


def test_accuracy_of_one_hot_rows():
    assert metrics.accuracy(SCORES, np.eye(3)[[1, 0, 2, 0]]) == 0.75
    assert metrics.accuracy(SCORES.astype(np.float32), np.eye(3, dtype=int)[[1, 0, 2, 1]]) == 1.0
    assert metrics.accuracy(SCORES, [[0.2, 0.6, 0.2]] * 4) == 0.5


def test_a_row_with_nan_is_wrong():
    assert metrics.accuracy([math.nan, 0.1], [0, 0]) == 0.5
    assert metrics.accuracy([[math.nan, 0.1], [0.9, 0.1]], [0, 0]) == 0.5


@pytest.mark.parametrize(
    ("pred", "target", "message"),
    [
        ([0.1, 0.9], [0, 2], "target has the value 2; with one column, classes are 0 and 1"),
        ([0.1, 0.9, 0.5], [-1, 1, 0], "target has the value 0; with one column, classes are -1 and 1"),
        ([0.1, 0.9], [math.nan, 1], "target has the value nan"),
        ([0.1, 0.9], [0, 1, 1], r"target has shape \(3,\); expected that of pred, \(2,\)"),
        (SCORES, [0, 1, 3, 1], "target has label 3; pred has 3 outputs, so labels are 0 to 2"),
        (SCORES, [0, 1, 1], r"target has shape \(3,\); expected pred's, \(4, 3\), or labels of shape \(4,\)"),
        (SCORES, np.ones((4, 2)), r"target has shape \(4, 2\)"),
        (np.ones((0, 3)), [], "expected at least one element"),
    ],
)
def test_accuracy_refuses(pred, target, message):
    with pytest.raises(ValueError, match=message):
        metrics.accuracy(pred, target)


def test_mse_and_mae():
    pred, target = np.array([[1, 2], [3, 4]], np.uint8), np.array([[2, 2], [0, 4]], np.uint8)
    assert metrics.mse(pred, target) == 2.5
    assert metrics.mae(pred, target) == 1.0
    assert type(metrics.mae(pred, target)) is float
    for metric in (metrics.mse, metrics.mae):
        assert metric(np.ones((3, 1)), np.ones(3)) == 0
        with pytest.raises(ValueError, match="target has shape"):
            metric(np.ones((3, 2)), np.ones(3))


def test_get():
    for name in ("accuracy", "mse", "mae"):
        assert metrics.get(name) is getattr(metrics, name)
    assert metrics.get(max) is max
    with pytest.raises(ValueError, match="metric is 'f2'; expected one of 'accuracy', 'precision', 'recall', 'f1'"):
        metrics.get("f2")
    with pytest.raises(TypeError, match="metric is 1"):
        metrics.get(1)
