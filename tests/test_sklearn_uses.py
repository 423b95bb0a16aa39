"""nncore's estimators within scikit-learn: searches, pipelines, frames, copies, calibration, pictures, sparse rows."""

from __future__ import annotations

import io
import pickle
import warnings
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn")

import joblib
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_iris
from sklearn.ensemble import BaggingClassifier, VotingClassifier
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.inspection import permutation_importance
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn_data import CANCER, DIABETES, IRIS

import nncore as nn
from nncore.sklearn import MLPClassifier, MLPRegressor, Perceptron

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def classifier(**options: Any) -> Any:
    given = {"hidden_layer_sizes": (16,), "max_iter": 30, "learning_rate_init": 0.05, "random_state": 0}
    return MLPClassifier(**{**given, **options})


def regressor(**options: Any) -> Any:
    given = {"hidden_layer_sizes": (16,), "max_iter": 60, "learning_rate_init": 0.01, "random_state": 0}
    return MLPRegressor(**{**given, **options})


def same(a: Any, b: Any) -> bool:
    return all(x.tobytes() == y.tobytes() for x, y in zip(a._arrays(), b._arrays(), strict=True))


def test_a_grid_search_gives_the_same_over_threads_and_processes() -> None:
    grid = {"alpha": [1e-4, 1.0], "dropout": [0.0, 0.2], "schedule": [None, nn.schedules.Cosine(0.05, 60)]}
    found = []
    for backend in ("sequential", "threading", "loky"):
        with joblib.parallel_backend(backend, n_jobs=2), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # those of the processes that joblib starts
            found.append(GridSearchCV(classifier(max_iter=8), grid, cv=2).fit(*IRIS))
    for other in found[1:]:
        np.testing.assert_array_equal(other.cv_results_["mean_test_score"], found[0].cv_results_["mean_test_score"])
        assert same(other.best_estimator_, found[0].best_estimator_)
    assert found[0].best_score_ > 0.7


def test_pipelines_and_ensembles() -> None:
    raw = load_iris().data
    pipe = make_pipeline(StandardScaler(), classifier())
    assert cross_val_score(pipe, raw, IRIS[1], cv=3).min() > 0.85
    given = np.ones(150)
    pipe.fit(raw, IRIS[1], mlpclassifier__sample_weight=given)
    assert same(pipe[-1], classifier().fit(*IRIS))
    for ensemble in (
        VotingClassifier([("a", classifier()), ("b", LogisticRegression())], voting="soft"),
        BaggingClassifier(classifier(), n_estimators=3, random_state=0),
        OneVsRestClassifier(classifier()),
    ):
        assert ensemble.fit(*IRIS).score(*IRIS) > 0.9


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_frames_and_set_output(library: str) -> None:
    frames = pytest.importorskip(library)
    names = ["a", "b", "c", "d"]
    frame = frames.DataFrame({name: load_iris().data[:, i] for i, name in enumerate(names)})
    pipe = make_pipeline(StandardScaler(), classifier()).set_output(transform=library).fit(frame, IRIS[1])
    net = pipe[-1]
    assert list(net.feature_names_in_) == names
    np.testing.assert_array_equal(pipe.predict(frame), classifier().fit(*IRIS).predict(IRIS[0]))
    held = frame[:10], IRIS[1][:10]
    own = classifier(validation_data=held, max_iter=2).fit(frame, IRIS[1])
    assert own.validation_scores_[-1] == own.score(*held)
    with pytest.raises(ValueError, match="feature names"):
        own.predict(frame[["b", "a", "c", "d"]])


@pytest.mark.parametrize("make", [classifier, regressor])
def test_copies(make: Any, tmp_path: Any) -> None:
    data = IRIS if make is classifier else DIABETES
    net = make(norm="batch", dropout=0.1, callbacks=[nn.callbacks.EarlyStopping("loss")], warm_start=True).fit(*data)
    joblib.dump(net, tmp_path / "net.joblib")
    file = io.BytesIO()
    joblib.dump(net, file)
    file.seek(0)
    for copy in (pickle.loads(pickle.dumps(net)), joblib.load(tmp_path / "net.joblib"), joblib.load(file)):
        np.testing.assert_array_equal(copy.predict(data[0]), net.predict(data[0]))
        assert same(copy.partial_fit(*data), pickle.loads(pickle.dumps(net)).partial_fit(*data))
    fresh = clone(net)
    assert not hasattr(fresh, "coefs_") and fresh.callbacks[0] is not net.callbacks[0]
    assert fresh.get_params()["dropout"] == 0.1
    assert same(fresh.fit(*data), clone(net).fit(*data))


def test_read_only_files_of_joblib(tmp_path: Any) -> None:
    """Weights that are mapped from a file, as processes of joblib get them, predict and train on."""
    net = classifier(warm_start=True).fit(*IRIS)
    joblib.dump(net, tmp_path / "net.joblib")
    mapped = joblib.load(tmp_path / "net.joblib", mmap_mode="r")
    np.testing.assert_array_equal(mapped.predict_proba(IRIS[0]), net.predict_proba(IRIS[0]))
    assert same(mapped.fit(*IRIS), net.fit(*IRIS))


def test_rows_as_they_come_give_the_same() -> None:
    """The short way of plain arrays and the thorough one: other types, orders, strides, large numbers, and refusals."""
    for dtype in (np.float32, np.float64):
        X = IRIS[0].astype(dtype)
        net = classifier(max_iter=3).fit(X, IRIS[1])
        p = net.predict_proba(X)
        for rows in (np.asfortranarray(X), np.repeat(X, 2, axis=1)[:, ::2], X[::-1][::-1], X.tolist()):
            np.testing.assert_allclose(net.predict_proba(rows), p, rtol=1e-5 if dtype is np.float32 else 1e-12)
        for row in range(5):
            np.testing.assert_allclose(net.predict_proba(X[row : row + 1]), p[row : row + 1], rtol=1e-5)
        large = np.full((1, 4), np.finfo(np.float32).max, dtype)
        assert net.predict(large).shape == (1,)
        for bad in (np.nan, np.inf):
            wrong = X.copy()
            wrong[3, 1] = bad
            with pytest.raises(ValueError, match="contains"):
                net.predict_proba(wrong)


@pytest.mark.parametrize("method", ["sigmoid", "isotonic"])
def test_calibration(method: str) -> None:
    calibrated = CalibratedClassifierCV(classifier(), method=method, cv=3).fit(*CANCER)
    p = calibrated.predict_proba(CANCER[0])
    np.testing.assert_allclose(p.sum(axis=1), 1)
    assert calibrated.score(*CANCER) > 0.95
    assert CalibratedClassifierCV(Perceptron(), cv=3).fit(*CANCER).score(*CANCER) > 0.9


def test_permutation_importance() -> None:
    X = np.random.default_rng(0).normal(size=(200, 3))
    net = regressor().fit(X, 3 * X[:, 1])
    importances = permutation_importance(net, X, 3 * X[:, 1], n_repeats=3, random_state=0, n_jobs=2).importances_mean
    assert importances.argmax() == 1 and importances[1] > 1 > 10 * abs(importances[[0, 2]]).max()


@pytest.mark.parametrize("response_method", ["predict", "predict_proba"])
def test_decision_boundary_display(response_method: str) -> None:
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    from matplotlib import pyplot
    from sklearn.inspection import DecisionBoundaryDisplay

    X, y = CANCER[0][:, :2], CANCER[1]
    net = classifier().fit(X, y)
    shown = DecisionBoundaryDisplay.from_estimator(net, X, response_method=response_method, grid_resolution=20)
    assert shown.response.shape == (20, 20) and np.ptp(shown.response) > 0
    pyplot.close("all")


def test_text() -> None:
    words = ["good fine nice", "bad poor sad", "nice good", "sad bad"] * 20
    labels = ["yes", "no", "yes", "no"] * 20
    for net in (classifier(max_iter=60), classifier(solver="lbfgs"), Perceptron()):
        pipe = make_pipeline(CountVectorizer(), net).fit(words, labels)
        assert pipe.predict(["fine", "poor"]).tolist() == ["yes", "no"]


def test_sparse_rows_are_never_made_dense() -> None:
    """Rows whose dense form would need 32 GB train, predict and are scored."""
    sparse = pytest.importorskip("scipy.sparse")
    n, columns = 2000, 2_000_000
    rng = np.random.default_rng(0)
    at = rng.integers(2, columns, (n, 4))
    y = rng.integers(0, 2, n)
    at[:, 0] = y
    X = sparse.csr_matrix((np.ones(4 * n), at.ravel(), np.arange(0, 4 * n + 1, 4)), shape=(n, columns))
    X.sort_indices()
    net = classifier(hidden_layer_sizes=(4,), max_iter=2, early_stopping=True, learning_rate_init=0.1).fit(X, y)
    assert net.score(X, y) == 1.0
    for kind in (sparse.csc_matrix, sparse.coo_matrix):
        np.testing.assert_array_equal(net.predict_proba(kind(X[:50])), net.predict_proba(X[:50]))


def test_sparse_rows_with_what_is_nncores_own() -> None:
    sparse = pytest.importorskip("scipy.sparse")
    rng = np.random.default_rng(2)
    X = rng.normal(size=(80, 30)) * (rng.uniform(size=(80, 30)) < 0.2)
    y = X.sum(axis=1)
    own: dict[str, Any] = {"norm": "batch", "dropout": 0.1, "loss": "huber", "max_iter": 5, "batch_size": 24}
    nets = []
    for rows in (X, sparse.csr_array(X)):
        net = regressor(**own, validation_data=(rows, y)).fit(rows, y, sample_weight=np.linspace(0, 1, 80))
        net.partial_fit(rows, y)
        nets.append(net)
    for a, b in zip(nets[0]._arrays(), nets[1]._arrays(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(nets[0].validation_scores_, nets[1].validation_scores_, rtol=1e-10)
    for shuffle, alpha, dtype in ((False, 0.0, np.float32), (True, 0.5, np.float32), (False, 0.1, np.float64)):
        options = {"shuffle": shuffle, "alpha": alpha, "max_iter": 4, "batch_size": 17}
        a, b = (classifier(**options).fit(rows.astype(dtype), y > 0) for rows in (X, sparse.csr_matrix(X)))
        assert a.coefs_[0].dtype == b.coefs_[0].dtype == dtype
        for one, other in zip(a._arrays(), b._arrays(), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-4 if dtype is np.float32 else 1e-10, atol=1e-6)
