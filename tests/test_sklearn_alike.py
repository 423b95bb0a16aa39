"""Random settings, and scikit-learn's meta-estimators, on its classes and on these: the same numbers come out."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn")
sparse = pytest.importorskip("scipy.sparse")

from sklearn.base import is_regressor
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import TransformedTargetRegressor
from sklearn.datasets import load_iris, make_multilabel_classification
from sklearn.ensemble import BaggingRegressor, StackingClassifier, VotingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.linear_model import Perceptron as TheirPerceptron
from sklearn.model_selection import cross_val_predict, learning_curve
from sklearn.multiclass import OneVsOneClassifier, OneVsRestClassifier
from sklearn.multioutput import ClassifierChain, MultiOutputClassifier
from sklearn.neural_network import MLPClassifier as TheirClassifier
from sklearn.neural_network import MLPRegressor as TheirRegressor
from sklearn.preprocessing import StandardScaler
from sklearn_data import DIABETES, IRIS

from nncore.sklearn import MLPClassifier, MLPRegressor, Perceptron

LABELS = make_multilabel_classification(n_samples=60, random_state=0)


pytestmark = pytest.mark.filterwarnings("ignore")


def assert_same(ours: Any, theirs: Any) -> None:
    names = ("n_iter_", "t_", "loss_", "best_loss_", "loss_curve_", "validation_scores_", "best_validation_score_")
    for name in (*names, "coefs_", "intercepts_", "out_activation_", "n_layers_", "n_outputs_"):
        assert hasattr(ours, name) == hasattr(theirs, name), name
        mine, other = getattr(ours, name, None), getattr(theirs, name, None)
        if name in ("coefs_", "intercepts_"):
            for a, b in zip(mine, other, strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6 * np.abs(b).max(), err_msg=name)
        elif other is None or isinstance(other, str):
            assert mine == other, name
        else:
            np.testing.assert_allclose(mine, other, rtol=1e-6, atol=1e-9, err_msg=name)


def drawn(rng: np.random.Generator) -> tuple[str, Any, Any, Any, dict[str, Any]]:
    """Return a kind of targets, rows, targets, weights or None, and parameters."""

    def one(*choices: Any) -> Any:
        return choices[rng.integers(len(choices))]

    n, width = one(7, 20, 50, 130), one(1, 2, 5, 17)
    X = rng.standard_normal((n, width)) * one(1.0, 1.0, 0.01)
    kind = one("two", "four", "labels", "number", "three numbers", "counts")
    y = {
        "two": np.arange(n) % 2,
        "four": rng.permutation(np.arange(n) % 4),
        "labels": rng.integers(0, 2, (n, 3)),
        "number": X[:, 0] + rng.standard_normal(n),
        "three numbers": rng.standard_normal((n, 3)),
        "counts": rng.poisson(2, n) * 1.0,
    }[kind]
    options = {
        "hidden_layer_sizes": one((), (1,), (5,), (9, 4), (3, 3, 3)),
        "activation": one("relu", "tanh", "logistic", "identity"),
        "solver": one("sgd", "sgd", "adam", "adam", "lbfgs"),
        "alpha": one(0, 1e-4, 0.1, 3.0),
        "batch_size": one("auto", 3, 16, 1000),
        "learning_rate": one("constant", "invscaling", "adaptive"),
        "learning_rate_init": one(1e-3, 0.01),
        "power_t": one(0, 0.5, 1.0),
        "max_iter": one(1, 2, 15),
        "shuffle": one(True, True, False),
        "random_state": int(rng.integers(1000)),
        "tol": one(0, 1e-4, 0.5),
        "momentum": one(0, 0.5, 0.9),
        "nesterovs_momentum": one(True, False),
        "early_stopping": n > 40 and one(True, False),
        "validation_fraction": one(0.1, 0.3),
        "beta_1": one(0, 0.5, 0.9),
        "beta_2": one(0.5, 0.999),
        "epsilon": one(1e-8, 1e-3),
        "n_iter_no_change": one(1, 2, np.inf),
        "max_fun": one(10, 15000),
    }
    if kind == "counts":
        options["loss"] = "poisson"
    weights = one(None, rng.uniform(0.1, 3, n))
    rows = sparse.csr_array(np.where(rng.random((n, width)) < 0.4, X, 0)) if one(True, False, False) else X
    return kind, rows, y, weights, options


@pytest.mark.parametrize("seed", range(60))
def test_random_settings(seed: int) -> None:
    kind, X, y, weights, options = drawn(np.random.default_rng(seed))
    numbers = kind in ("number", "three numbers", "counts")
    kinds = (MLPRegressor, TheirRegressor) if numbers else (MLPClassifier, TheirClassifier)
    nets = [each(**options).fit(X, y, weights) for each in kinds]
    assert_same(*nets)
    for method in ("predict",) if numbers else ("predict", "predict_proba"):
        np.testing.assert_allclose(*(getattr(net, method)(X) for net in nets), rtol=1e-5, atol=1e-9)
    if not options["early_stopping"]:  # where scikit-learn forgets the best weights
        again = [deepcopy(net).set_params(warm_start=True).fit(X, y, weights) for net in nets]
        assert_same(*again)
        if options["solver"] != "lbfgs":
            assert_same(*(net.partial_fit(X, y).partial_fit(X[:4], y[:4]) for net in nets))


META = {
    "cross_val_predict": lambda C, R, P: cross_val_predict(C(), *IRIS, method="predict_proba", cv=3),
    "learning_curve": lambda C, R, P: learning_curve(C(), *IRIS, cv=3, train_sizes=[0.5, 1.0])[1],
    "incremental": lambda C, R, P: learning_curve(
        C(), *IRIS, cv=3, train_sizes=[0.5, 1.0], exploit_incremental_learning=True, shuffle=True, random_state=0
    )[1],
    "voting": lambda C, R, P: (
        VotingClassifier([("a", C()), ("b", LogisticRegression())], voting="soft").fit(*IRIS).predict_proba(IRIS[0])
    ),
    "stacking": lambda C, R, P: StackingClassifier([("a", C()), ("b", P())], cv=3).fit(*IRIS).predict_proba(IRIS[0]),
    "one against the rest": lambda C, R, P: OneVsRestClassifier(C()).fit(*IRIS).predict_proba(IRIS[0]),
    "one against one": lambda C, R, P: OneVsOneClassifier(P()).fit(*IRIS).decision_function(IRIS[0]),
    "chain": lambda C, R, P: ClassifierChain(C()).fit(*LABELS).predict_proba(LABELS[0]),
    "several outputs": lambda C, R, P: (
        MultiOutputClassifier(C()).fit(IRIS[0], np.stack([IRIS[1], IRIS[1] % 2], axis=1)).predict(IRIS[0])
    ),
    "bagging": lambda C, R, P: BaggingRegressor(R(), 3, random_state=0).fit(*DIABETES).predict(DIABETES[0]),
    "transformed target": lambda C, R, P: (
        TransformedTargetRegressor(R(), transformer=StandardScaler()).fit(*DIABETES).predict(DIABETES[0])
    ),
    "calibration": lambda C, R, P: CalibratedClassifierCV(C(), cv=3).fit(*IRIS).predict_proba(IRIS[0]),
}


@pytest.mark.parametrize("name", META)
def test_meta_estimators(name: str) -> None:
    options = {"hidden_layer_sizes": (8,), "max_iter": 10, "learning_rate_init": 0.02, "random_state": 0}
    found = [
        META[name](lambda c=c: c(**options), lambda r=r: r(**options), p)
        for c, r, p in (
            (MLPClassifier, MLPRegressor, Perceptron),
            (TheirClassifier, TheirRegressor, TheirPerceptron),
        )
    ]
    assert np.ptp(found[0]) > 0
    np.testing.assert_allclose(*found, rtol=1e-6, atol=1e-9)


def test_metadata_are_routed() -> None:
    import sklearn
    from sklearn.model_selection import cross_validate

    weights = np.linspace(0, 1, 150)
    with sklearn.config_context(enable_metadata_routing=True):
        found = []
        for kind in (MLPClassifier, TheirClassifier):
            net = kind((5,), max_iter=5, random_state=0).set_fit_request(sample_weight=True)
            net.set_score_request(sample_weight=True)
            found.append(cross_validate(net, *IRIS, cv=3, params={"sample_weight": weights})["test_score"])
    np.testing.assert_allclose(*found)
    assert not is_regressor(MLPClassifier()) and is_regressor(MLPRegressor())


@pytest.mark.parametrize(
    "dtype", ["int8", "int64", "uint8", "bool", "float16", "float32", "longdouble", ">f8", "object"]
)
def test_types_of_rows(dtype: str) -> None:
    X = ((load_iris().data * 5).astype(int) % 7).astype(dtype)
    kinds = ((MLPClassifier, TheirClassifier, IRIS[1]), (Perceptron, TheirPerceptron, IRIS[1]))
    for mine, other, y in (*kinds, (MLPRegressor, TheirRegressor, IRIS[1])):
        options = {} if mine is Perceptron else {"max_iter": 5, "random_state": 0}
        ours, theirs = (kind(**options).fit(X, y) for kind in (mine, other))
        method = {MLPClassifier: "predict_proba", Perceptron: "decision_function"}.get(mine, "predict")
        a, b = (getattr(net, method)(X) for net in (ours, theirs))
        assert a.dtype == b.dtype and a.shape == b.shape
        np.testing.assert_allclose(a, b, rtol=1e-4 if a.dtype.itemsize == 4 else 1e-9, atol=1e-5)
        for rows in (X.astype(np.float32), X.astype(np.float64)):  # of another type than in fit
            assert getattr(ours, method)(rows).dtype == getattr(theirs, method)(rows).dtype
