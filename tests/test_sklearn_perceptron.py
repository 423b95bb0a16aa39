"""The Perceptron against scikit-learn's own: the same updates in the same order, so the same numbers."""

from __future__ import annotations

import sys
import threading
import warnings
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn")
sparse = pytest.importorskip("scipy.sparse")

from sklearn.datasets import load_breast_cancer, load_iris
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.linear_model import Perceptron as Theirs
from sklearn.utils.validation import check_is_fitted

from nncore.sklearn import Perceptron

IRIS, CANCER = load_iris(return_X_y=True), load_breast_cancer(return_X_y=True)


def both(X: Any, y: Any, method: str = "fit", options: Any = None, **arguments: Any) -> tuple[Any, Any]:
    nets = Perceptron(**(options or {})), Theirs(**(options or {}))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        for net in nets:
            getattr(net, method)(X, y, **arguments)
    return nets


def same(ours: Any, theirs: Any, tolerance: float) -> None:
    assert (ours.n_iter_, ours.t_) == (theirs.n_iter_, theirs.t_)
    assert ours.coef_.dtype == theirs.coef_.dtype and ours.intercept_.dtype == theirs.intercept_.dtype
    for name in ("coef_", "intercept_"):
        mine, other = getattr(ours, name), getattr(theirs, name)
        np.testing.assert_allclose(mine, other, rtol=tolerance, atol=tolerance * np.abs(other).max())


@pytest.mark.parametrize("rows", ["dense", "csr"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("penalty", [None, "l2", "l1", "elasticnet"])
def test_penalties_types_and_stopping(penalty: str | None, dtype: str, rows: str) -> None:
    for X, y in (IRIS, CANCER):
        weights = np.random.default_rng(0).uniform(0, 2, len(y))
        X = X.astype(dtype) if rows == "dense" else sparse.csr_matrix(X.astype(dtype))
        for early in (False, True):
            options = {
                "penalty": penalty,
                "max_iter": 30,
                "early_stopping": early,
                "class_weight": "balanced",
                "eta0": 0.3,
            }
            same(*both(X, y, options=options, sample_weight=weights), 1e-12 if dtype == "float64" else 1e-4)


def test_warm_start_and_partial_fit() -> None:
    X, y = IRIS
    for options in ({"tol": None, "max_iter": 7}, {"fit_intercept": False}, {"shuffle": False}):
        same(*both(X, y, options=options), 1e-12)
    same(*both(X, y, coef_init=np.ones((3, 4)), intercept_init=np.ones(3)), 1e-12)
    nets = both(X, y, method="partial_fit", classes=[0, 1, 2])
    for net in nets:
        net.partial_fit(X[::-1], y[::-1])
    same(*nets, 1e-12)
    nets = both(X, y, options={"warm_start": True, "max_iter": 3, "tol": None})
    for net in nets:
        net.fit(X, y)
    same(*nets, 1e-12)


def test_a_decision_of_zero_is_the_first_class() -> None:
    net = Perceptron(max_iter=1, tol=None, shuffle=False).fit([[1.0], [-1.0]], ["b", "a"])
    net.coef_[:], net.intercept_[:] = 0, 0
    assert net.predict([[3.0]]).tolist() == ["a"]


def test_overflow_is_refused() -> None:
    with pytest.raises(ValueError, match="Floating-point under-/overflow occurred at epoch"):
        Perceptron(max_iter=50, eta0=1e308).fit(IRIS[0] * 1e3, IRIS[1])


def test_sparsify_and_densify() -> None:
    net = Perceptron(penalty="l1").fit(*IRIS)
    expected = net.predict(IRIS[0])
    np.testing.assert_array_equal(net.sparsify().predict(IRIS[0]), expected)
    np.testing.assert_array_equal(net.densify().predict(IRIS[0]), expected)


def outcome(net: Any, X: Any, y: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            net.fit(X, y)
        except ValueError as error:
            return str(error)
    return net.coef_, net.intercept_, net.n_iter_


@pytest.mark.parametrize("rows", ["dense", "csr"])
@pytest.mark.parametrize("penalty", [None, "l2", "elasticnet"])
def test_sums_beyond_the_numbers_end_as_in_scikit_learn(penalty: str | None, rows: str) -> None:
    """With an error that says so, or, where only a product overflows, with the same weights."""
    refused = 0
    for scale in (1e30, 1e150, 1e300, 1e307):
        for rate in (1e-300, 1.0, 1e10, 1e300):
            X = IRIS[0] * scale
            X = sparse.csr_matrix(X) if rows == "csr" else X
            options = {"eta0": rate, "penalty": penalty, "max_iter": 20}
            ours, theirs = (outcome(kind(**options), X, IRIS[1]) for kind in (Perceptron, Theirs))
            if isinstance(theirs, str):
                assert ours == theirs
                refused += 1
                continue
            assert ours[2] == theirs[2]
            for mine, other in zip(ours[:2], theirs[:2], strict=True):
                np.testing.assert_allclose(mine, other, rtol=1e-12, atol=1e-12 * np.abs(other).max())
    assert 0 < refused < 16


def test_a_number_of_epochs_beyond_any_integer_of_c() -> None:
    assert Perceptron(max_iter=10**30).fit(*IRIS).n_iter_ == Perceptron(max_iter=1000).fit(*IRIS).n_iter_ < 1000


def test_more_rows_than_int32_counts_are_refused() -> None:
    from nncore import _core

    many = np.broadcast_to(1.0, 2**31)  # one number in memory
    with pytest.raises(ValueError, match="X has 2147483648 rows; the perceptron takes 2147483647 at most"):
        _core.PerceptronRun(
            many[:, None], many, many, np.zeros(1), intercept=0.0, penalty_alpha=0.0, l1_ratio=0.0, penalised=False,
            rate=1.0, fit_intercept=True, shuffle=True, seed=1, intercept_decay=1.0,
        )  # fmt: skip


def test_asking_whether_it_is_fitted_stands_attributes_that_come() -> None:
    """Another thread's partial_fit adds some meanwhile, so that none can be looked through one by one."""
    net = Perceptron()
    with pytest.raises(NotFittedError):
        check_is_fitted(net)
    net.fit([[0.0], [1.0]], [0, 1])
    done = threading.Event()

    def come_and_go() -> None:
        while not done.is_set():
            vars(net)["passing"] = vars(net).pop("passing", 0) + 1

    interval, thread = sys.getswitchinterval(), threading.Thread(target=come_and_go)
    sys.setswitchinterval(1e-6)
    thread.start()
    try:
        for _ in range(20_000):
            check_is_fitted(net)
    finally:
        sys.setswitchinterval(interval)
        done.set()
        thread.join()


def test_a_fit_leaves_the_warning_filters_to_the_other_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise AssertionError("the filters of all threads are cleared")

    monkeypatch.setattr(warnings, "resetwarnings", refuse)
    assert len(Perceptron().partial_fit(*IRIS, classes=[0, 1, 2]).coef_) == 3
