"""Tests of the metrics."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

import nncore as nn
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


# ---------------------------------------------------------------- against scikit-learn

CASES = json.loads((Path(__file__).parent / "data" / "metrics.json").read_text())["cases"]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['kind']}{', weighted' if case['weights'] else ''}")
def test_values_are_those_of_scikit_learn(case):
    assert len(case["values"]) >= 4
    for name, expected in case["values"].items():
        function = name.removesuffix("_macro")
        options = {"average": "macro"} if name.endswith("_macro") else {}
        call = getattr(metrics, function)
        if expected is None:
            with pytest.warns(RuntimeWarning, match="single class"):
                assert math.isnan(call(case["pred"], case["target"], case["weights"], **options))
        else:
            if case["kind"] == "constant, (30, 3)" and case["weights"] and name == "r2":
                assert expected < -1e30  # the rounding of scikit-learn's weighted mean; the others of the kind are 0
                expected = 0.0
            value = call(case["pred"], case["target"], case["weights"], **options)
            assert type(value) is float
            assert value == pytest.approx(expected, rel=1e-12, abs=1e-12), name


def test_one_column_in_other_forms_gives_the_same():
    rng = np.random.default_rng(1)
    p, y, w = rng.uniform(0, 1, 50), rng.integers(0, 2, 50), rng.uniform(0, 1, 50)
    for name in ("accuracy", "precision", "recall", "f1", "roc_auc", "log_loss"):
        function = getattr(metrics, name)
        expected = function(p, y, w)
        assert function(p[:, None], y[:, None], w[:, None]) == expected
        if name != "log_loss":
            assert function(p - 0.5, 2 * y - 1, w) == expected  # as for the loss hinge
        if name in ("precision", "recall", "f1"):
            both = np.column_stack([1 - p, p])
            assert function(both, y, w, average="binary") == expected
            assert function(both, y, w) == function(p, y, w, average="macro")


def test_a_row_counts_as_often_as_it_weighs():
    rng = np.random.default_rng(2)
    p, y, w = rng.dirichlet(np.ones(4), 30), rng.integers(0, 4, 30), rng.integers(0, 3, 30)
    times = np.repeat(np.arange(30), w)
    for name in ("accuracy", "precision", "recall", "f1", "roc_auc", "log_loss"):
        function = getattr(metrics, name)
        assert function(p, y, w) == pytest.approx(function(p[times], y[times]), rel=1e-12)
    t = rng.standard_normal((30, 4))
    for name in ("mse", "mae", "rmse", "r2"):
        function = getattr(metrics, name)
        assert function(p, t, w) == pytest.approx(function(p[times], t[times]), rel=1e-12)


def test_r2_has_no_unit():
    rng = np.random.default_rng(3)
    t = rng.standard_normal((40, 2))
    p = t + rng.standard_normal((40, 2))
    expected = metrics.r2(p, t)
    for unit in (2.0**-1000, 2.0**-600, 2.0**600, 2.0**1000):  # whose squares are no doubles
        assert metrics.r2(p * unit, t * unit) == expected
    assert metrics.r2(p * [2.0**900, 1], t * [2.0**900, 1]) == expected
    assert metrics.r2([0.0, 0.0], [0.0, 0.0]) == 1 and metrics.r2([0.0, 1e-300], [0.0, 0.0]) == 0


def test_degenerate():
    assert metrics.precision([0.1, 0.2], [0, 1]) == 0
    assert metrics.recall([0.1, 0.2], [0, 0]) == 0
    assert metrics.f1([0.1, 0.2], [0, 0]) == 0
    with pytest.warns(RuntimeWarning, match="fewer than two rows"):
        assert math.isnan(metrics.r2([1.0], [2.0]))
    assert math.isnan(metrics.roc_auc([math.nan, 0.5], [0, 1]))
    assert metrics.roc_auc([[0.9, 0.1, 0], [0.2, 0.8, 0]], [0, 1]) == 1.0  # no row of class 2
    assert metrics.accuracy([0.1, 0.9], [0, 0], [1, 0]) == 1.0


def test_r2_of_a_constant_target_whose_weighted_mean_is_rounded():
    """sum(w 0.7) / sum(w) need not be 0.7, and its distance to that is no variance."""
    rng = np.random.default_rng(3)
    constant = np.full(9, 0.7)
    for _ in range(50):
        w = rng.random(9)
        assert metrics.r2(constant, constant, w) == 1.0
        assert metrics.r2(constant + 1, constant, w) == 0.0
    with pytest.warns(RuntimeWarning, match="fewer than two rows"):
        assert math.isnan(metrics.r2([1.0, 2.0], [2.0, 3.0], [1.0, 0.0]))


@pytest.mark.parametrize("value", ["0.5", None, np.ones(2)])
@pytest.mark.parametrize("weights", [None, np.array([1.0, 2.0])])
def test_what_a_function_gives_is_a_number(backend, value, weights):
    def own(pred, target):
        return value

    net = nn.MLP([1, 1], backend=backend)
    before = net.get_weights()
    with pytest.raises(TypeError, match=r"metric own gave .*; expected a number"):
        net.fit([[1.0], [2.0]], [1.0, 2.0], epochs=1, metrics=own, sample_weight=weights)
    assert net.epochs_trained == 0 and all((a == b).all() for a, b in zip(before, net.get_weights(), strict=True))


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([1.0], r"sample_weight has shape \(1,\); expected \(2,\)"),
        ([1.0, -1.0], "sample_weight is -1 in row 1; expected finite numbers of at least 0"),
        ([math.nan, 1.0], "sample_weight is nan in row 0"),
        ([0.0, 0.0], "sample_weight is 0 in every row"),
    ],
)
def test_weights_are_checked(weights, message):
    for name in metrics.ALIASES:
        with pytest.raises(ValueError, match=message):
            getattr(metrics, name)([0.2, 0.8], [0, 1], weights)


def test_average_is_checked():
    with pytest.raises(ValueError, match="average is 'micro'; expected one of 'auto', 'binary', 'macro'"):
        metrics.f1([0.2, 0.8], [0, 1], average="micro")
    with pytest.raises(ValueError, match="average is 'binary' and pred has 3 classes"):
        metrics.f1(SCORES, [0, 1, 2, 0], average="binary")


def test_a_callable_without_a_hash_is_a_metric_with_weights_too(backend, blobs):
    class Largest:
        __hash__ = None

        def __call__(self, pred, target):
            return float(pred.max())

        def __eq__(self, other):
            raise AssertionError("metrics are not compared")

    X, y = blobs
    net = nn.MLP([5, 3], output="softmax", backend=backend)
    weights = np.arange(1.0, 121.0)
    values = net.evaluate(X, y, metrics=[Largest(), "accuracy"], sample_weight=weights)
    assert values["Largest"] == net.predict(X).max()
    assert values["accuracy"] == metrics.accuracy(net.predict(X), y, weights)
    history = net.fit(X, y, epochs=1, metrics=[Largest()], sample_weight=weights, validation_split=0.2)
    assert 0 < history.history["Largest"][0] <= 1 and 0 < history.history["val_Largest"][0] <= 1


@pytest.mark.parametrize("name", sorted(metrics.ALIASES))
def test_a_row_of_weight_0_adds_nothing_even_if_it_is_infinite(name):
    pred, target = np.array([[0.5], [np.inf], [0.2], [0.9]]), np.array([[0.0], [1.0], [1.0], [1.0]])
    kept = [0, 2, 3]
    value = metrics.get(name)(pred, target, [1.0, 0.0, 1.0, 2.0])
    assert value == metrics.get(name)(pred[kept], target[kept], [1.0, 1.0, 2.0])
    assert math.isfinite(value)
