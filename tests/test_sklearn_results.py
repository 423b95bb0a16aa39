"""MLPClassifier and MLPRegressor against scikit-learn's own: the same parameters and seed give the same network."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn")

from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris, make_multilabel_classification
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier as TheirClassifier
from sklearn.neural_network import MLPRegressor as TheirRegressor
from sklearn.preprocessing import scale

from nncore.sklearn import MLPClassifier, MLPRegressor

IRIS = load_iris(return_X_y=True)
RAW = load_breast_cancer(return_X_y=True)
CANCER = scale(RAW[0]), RAW[1]
DIABETES = load_diabetes(return_X_y=True)[0], load_diabetes(return_X_y=True)[1] / 100
COUNTS = DIABETES[0], np.round(DIABETES[1] * 2)
PAIR = DIABETES[0], np.stack([DIABETES[1], DIABETES[1] ** 2], axis=1)
LABELS = make_multilabel_classification(n_samples=120, random_state=0)


def fitted(estimator: Any, data: tuple[Any, Any], **options: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return estimator.fit(*data, **options)


def same(ours: Any, theirs: Any, tolerance: float) -> None:
    assert ours.n_iter_ == theirs.n_iter_
    assert ours.t_ == theirs.t_
    assert (ours.out_activation_, ours.n_layers_, ours.n_outputs_) == (
        theirs.out_activation_,
        theirs.n_layers_,
        theirs.n_outputs_,
    )
    np.testing.assert_allclose(ours.loss_, theirs.loss_, rtol=tolerance)
    for mine, other in zip(ours.coefs_ + ours.intercepts_, theirs.coefs_ + theirs.intercepts_, strict=True):
        assert mine.dtype == other.dtype or theirs.solver == "lbfgs"
        np.testing.assert_allclose(mine, other, atol=tolerance * np.abs(other).max())
    for name in ("loss_curve_", "validation_scores_", "best_loss_", "best_validation_score_"):
        other = getattr(theirs, name, None)
        if other is None:
            assert getattr(ours, name, None) is None, name
        else:
            np.testing.assert_allclose(getattr(ours, name), other, rtol=tolerance, err_msg=name)


def compare(kind: str, data: tuple[Any, Any], tolerance: float = 1e-9, weighted: bool = False, **options: Any) -> Any:
    options = {"random_state": 3, "max_iter": 12, **options}
    mine, other = (MLPClassifier, TheirClassifier) if kind == "classifier" else (MLPRegressor, TheirRegressor)
    weights = np.random.default_rng(0).uniform(0, 5, len(data[0])) if weighted else None
    ours = fitted(mine(**options), data, sample_weight=weights)
    theirs = fitted(other(**options), data, sample_weight=weights)
    same(ours, theirs, tolerance)
    outputs = (ours.predict(data[0]), theirs.predict(data[0]))
    if kind == "regressor":
        np.testing.assert_allclose(*outputs, rtol=100 * tolerance, atol=tolerance)
    else:
        np.testing.assert_array_equal(*outputs)
        both = ours.predict_proba(data[0]), theirs.predict_proba(data[0])
        np.testing.assert_allclose(*both, rtol=1e3 * tolerance, atol=tolerance)
        assert both[0].shape == both[1].shape
    return ours


@pytest.mark.parametrize("activation", ["relu", "logistic", "tanh", "identity"])
@pytest.mark.parametrize("solver", ["sgd", "adam", "lbfgs"])
def test_solvers_and_activations(solver: str, activation: str) -> None:
    compare("classifier", IRIS, solver=solver, activation=activation, hidden_layer_sizes=(7, 5))
    compare("regressor", DIABETES, solver=solver, activation=activation, batch_size=32)


@pytest.mark.parametrize("nesterov", [True, False])
@pytest.mark.parametrize("learning_rate", ["constant", "invscaling", "adaptive"])
def test_learning_rates(learning_rate: str, nesterov: bool) -> None:
    options = {"max_iter": 60, "tol": 1e-2, "n_iter_no_change": 2, "learning_rate_init": 0.05, "batch_size": 20}
    net = compare("classifier", IRIS, solver="sgd", learning_rate=learning_rate, nesterovs_momentum=nesterov, **options)
    assert net.n_iter_ < 60


@pytest.mark.parametrize("solver", ["sgd", "adam", "lbfgs"])
def test_weights_of_rows(solver: str) -> None:
    compare("classifier", IRIS, weighted=True, solver=solver, alpha=0.5, batch_size=40)
    compare("classifier", CANCER, weighted=True, solver=solver, batch_size=100, tolerance=1e-7)
    compare("regressor", DIABETES, weighted=True, solver=solver, batch_size=50)
    compare("regressor", COUNTS, weighted=True, solver=solver, loss="poisson", batch_size=100)


def test_the_kinds_of_targets() -> None:
    compare("classifier", CANCER, tolerance=1e-9)
    compare("classifier", LABELS, batch_size=33, alpha=0.3, max_iter=40)
    compare("regressor", PAIR, batch_size=64)
    compare("regressor", PAIR, batch_size=64, solver="lbfgs", tolerance=1e-7)
    compare("regressor", COUNTS, loss="poisson", batch_size=100)


@pytest.mark.parametrize("weighted", [False, True])
def test_early_stopping(weighted: bool) -> None:
    for data in (IRIS, CANCER, LABELS):
        compare("classifier", data, early_stopping=True, max_iter=40, weighted=weighted, tolerance=1e-8)
    compare("regressor", DIABETES, early_stopping=True, max_iter=40, weighted=weighted, tolerance=1e-8)


def test_probabilities_of_nearly_one() -> None:
    """Data that are not scaled: where 1 - p is rounding, scikit-learn's loss has few digits; both are bounded alike."""
    ours, theirs = (fitted(kind(random_state=3), RAW) for kind in (MLPClassifier, TheirClassifier))
    assert max(ours.loss_curve_) > 10
    np.testing.assert_allclose(ours.loss_curve_, theirs.loss_curve_, rtol=1e-3)
    for mine, other in zip(ours.coefs_, theirs.coefs_, strict=True):
        np.testing.assert_allclose(mine, other, atol=1e-9 * np.abs(other).max())


def test_float32() -> None:
    for kind, (X, y) in (("classifier", IRIS), ("regressor", DIABETES)):
        net = compare(kind, (X.astype(np.float32), y), batch_size=17, tolerance=1e-5)
        assert net.coefs_[0].dtype == np.float32


def test_order_of_rows_and_state_of_the_generator() -> None:
    compare("classifier", IRIS, shuffle=False, batch_size=17)
    ours, theirs = np.random.RandomState(5), np.random.RandomState(5)
    fitted(MLPClassifier(random_state=ours, max_iter=7, early_stopping=True), IRIS)
    fitted(TheirClassifier(random_state=theirs, max_iter=7, early_stopping=True), IRIS)
    assert ours.uniform() == theirs.uniform()


@pytest.mark.parametrize("solver", ["sgd", "adam"])
def test_partial_fit_and_warm_start(solver: str) -> None:
    X, y = IRIS
    nets = []
    for kind in (MLPClassifier, TheirClassifier):
        net = kind(solver=solver, random_state=1, batch_size=16, learning_rate="invscaling", max_iter=4)
        for at in range(0, 150, 50):
            net.partial_fit(X[at : at + 50], y[at : at + 50], classes=[0, 1, 2])
        fitted(net.set_params(warm_start=True), (X, y))
        nets.append(fitted(net, (X, y)))
    same(*nets, 1e-9)


@pytest.mark.parametrize("container", ["csr_matrix", "csc_matrix", "csr_array"])
def test_sparse_rows(container: str) -> None:
    sparse = pytest.importorskip("scipy.sparse")
    rng = np.random.default_rng(1)
    X = rng.normal(size=(90, 40)) * (rng.uniform(size=(90, 40)) < 0.1)
    y = rng.integers(0, 3, 90)
    weights = rng.uniform(size=90)
    for solver in ("adam", "lbfgs"):
        nets = [
            fitted(
                MLPClassifier(solver=solver, batch_size=25, max_iter=15, random_state=0),
                (rows, y),
                sample_weight=weights,
            )
            for rows in (X, getattr(sparse, container)(X))
        ]
        same(*nets, 1e-10)
        np.testing.assert_allclose(nets[0].predict_proba(X), nets[1].predict_proba(getattr(sparse, container)(X)))


def test_the_same_bits_for_any_number_of_threads() -> None:
    import nncore as nn

    fits = []
    for n in (1, 2, 3):
        with nn.testing.force_threads(n):
            fits.append(fitted(MLPClassifier(max_iter=3, batch_size=64, random_state=0, alpha=0.1), CANCER))
    for other in fits[1:]:
        assert other.loss_curve_ == fits[0].loss_curve_
        for a, b in zip(fits[0].coefs_, other.coefs_, strict=True):
            assert a.tobytes() == b.tobytes()
