"""scikit-learn's checks of estimators, legacy ones included; what may fail is what it declares for its own."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
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


ARRAY_API = """
import sys
from sklearn.utils.estimator_checks import estimator_checks_generator
from nncore.sklearn import MLPClassifier, MLPRegressor, Perceptron

done = 0
for estimator in (MLPClassifier(max_iter=100), MLPRegressor(max_iter=100), Perceptron()):
    for estimator, check in estimator_checks_generator(estimator, legacy=True):
        if "array_api" in getattr(check, "func", check).__name__:
            check(estimator)
            done += 1
sys.exit(0 if done >= 3 else f"{done} checks")
"""


def test_the_checks_that_scipy_must_be_told_of() -> None:
    """These are skipped above: SciPy reads the variable when it is imported."""
    environment = {**os.environ, "SCIPY_ARRAY_API": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", ARRAY_API], capture_output=True, text=True, env=environment, timeout=600
    )
    assert done.returncode == 0, done.stdout + done.stderr
