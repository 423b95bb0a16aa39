"""The estimators for tables in scikit-learn's own tools, where that is installed."""

from __future__ import annotations

import pickle
import warnings

import numpy as np
import pytest

import nncore as nn

sklearn = pytest.importorskip("sklearn")

QUICK = {"members": 1, "epochs": 60}
# A batch's loss is a weighted mean, and rows of weight 2 are no two rows in shuffles, folds and quantiles.
EXPECTED = {
    "check_sample_weight_equivalence_on_dense_data": "weights are no repetitions where batches are drawn at random",
}


@pytest.mark.parametrize("cls", [nn.TabularClassifier, nn.TabularRegressor])
def test_check_estimator(cls):
    from sklearn.utils.estimator_checks import check_estimator

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = check_estimator(cls(**QUICK), expected_failed_checks=EXPECTED, on_fail=None)
    failed = {check["check_name"]: check["exception"] for check in found if check["status"] == "failed"}
    assert not failed
    assert {check["check_name"] for check in found if check["status"] == "xfail"} == set(EXPECTED)


def test_its_tools():
    from sklearn.base import clone, is_classifier, is_regressor
    from sklearn.model_selection import GridSearchCV, cross_val_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer

    rng = np.random.default_rng(20240517)
    X, y = rng.standard_normal((60, 3)), rng.integers(0, 2, 60)
    X[:, 0] += 3 * y
    model = nn.TabularClassifier(**QUICK)
    assert is_classifier(model) and is_regressor(nn.TabularRegressor())
    assert repr(clone(model)) == repr(model)
    assert cross_val_score(model, X, y, cv=3).mean() > 0.8
    pipeline = make_pipeline(FunctionTransformer(), model).fit(X, y)
    assert pipeline.score(X, y) > 0.8
    search = GridSearchCV(model, {"members": [1, 2]}, cv=2).fit(X, y)
    assert search.best_params_["members"] in (1, 2)
    with pytest.raises(sklearn.exceptions.NotFittedError):
        nn.TabularClassifier().predict(X)


def test_frames_in_cross_validation():
    pd = pytest.importorskip("pandas")
    from sklearn.model_selection import cross_val_score

    rng = np.random.default_rng(20240517)
    frame = pd.DataFrame({"a": rng.choice(["x", "y", None], 90), "b": rng.standard_normal(90)})
    y = pd.Series(np.where(frame["a"] == "x", 2.0, 0.0) + frame["b"])
    assert cross_val_score(nn.TabularRegressor(**QUICK), frame, y, cv=3).mean() > 0.7


def test_metadata_are_routed():
    from sklearn.model_selection import KFold, cross_validate
    from sklearn.pipeline import make_pipeline

    rng = np.random.default_rng(20240517)
    X = rng.standard_normal((80, 2))
    y = X[:, 0] > 0
    weights = np.where(np.arange(80) % 2, 1.0, 0.0)
    with sklearn.config_context(enable_metadata_routing=True):
        assert make_pipeline(nn.TabularClassifier(**QUICK)).fit(X, y).score(X, y) > 0.8
        model = nn.TabularClassifier(**QUICK)
        with pytest.raises(sklearn.exceptions.UnsetMetadataPassedError):
            cross_validate(model, X, y, cv=2, params={"sample_weight": weights})
        model.set_fit_request(sample_weight=True).set_score_request(sample_weight=False)
        model = pickle.loads(pickle.dumps(model))
        found = cross_validate(model, X, y, cv=KFold(2), params={"sample_weight": weights}, return_estimator=True)
    half = weights[40:] > 0
    alone = nn.TabularClassifier(**QUICK).fit(X[40:][half], y[40:][half])
    np.testing.assert_array_equal(found["estimator"][0].predict_proba(X), alone.predict_proba(X))
