"""scikit-learn's checks of estimators, legacy ones included; what may fail is what it declares for its own."""

from __future__ import annotations

import importlib
from typing import Any

import pytest

pytest.importorskip("sklearn")

from sklearn.utils.estimator_checks import parametrize_with_checks

from nncore.sklearn import MLPClassifier, MLPRegressor, Perceptron


def expected_failures(estimator: Any) -> dict[str, str]:
    """Return what scikit-learn declares for its own class of this name."""
    tables = importlib.import_module("sklearn.utils._test_common.instance_generator")
    for module in ("neural_network", "linear_model"):
        own = getattr(importlib.import_module(f"sklearn.{module}"), type(estimator).__name__, None)
        if own is not None:
            given = estimator.get_params()
            theirs = {name: given[name] for name in own().get_params()}
            return dict(tables._get_expected_failed_checks(own(**theirs)))
    raise AssertionError(f"scikit-learn has no {type(estimator).__name__}")


def test_only_the_perceptron_may_fail_two() -> None:
    assert expected_failures(MLPClassifier()) == expected_failures(MLPRegressor()) == {}
    assert sorted(expected_failures(Perceptron())) == [
        "check_sample_weight_equivalence_on_dense_data",
        "check_sample_weight_equivalence_on_sparse_data",
    ]


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
@parametrize_with_checks(
    [MLPClassifier(max_iter=100), MLPRegressor(max_iter=100), Perceptron()],
    legacy=True,
    expected_failed_checks=expected_failures,
)
def test_estimator_checks(estimator: Any, check: Any) -> None:
    check(estimator)
