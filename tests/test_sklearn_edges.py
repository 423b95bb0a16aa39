"""The estimators where scikit-learn's stumble or say little: fits that go on with other settings, odd parameters."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn")

from sklearn.linear_model import Perceptron as TheirPerceptron
from sklearn.neural_network import MLPClassifier as Theirs
from sklearn_data import CANCER, DIABETES, IRIS

from nncore.sklearn import MLPClassifier, MLPRegressor, Perceptron

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def classifier(**options: Any) -> Any:
    given = {"hidden_layer_sizes": (7,), "max_iter": 5, "random_state": 3, **options}
    return MLPClassifier(**given)


@pytest.mark.parametrize("sizes", [(2.5,), [4, 3.0], [[2, 3]]])
def test_sizes_of_layers_are_whole_numbers(sizes: Any) -> None:
    with pytest.raises(TypeError, match=r"hidden_layer_sizes is \[.*expected whole numbers"):
        classifier(hidden_layer_sizes=sizes).fit(*IRIS)
    assert [w.shape for w in classifier(hidden_layer_sizes=(np.int8(3),)).fit(*IRIS).coefs_] == [(4, 3), (3, 3)]


@pytest.mark.parametrize("early", [False, True])
@pytest.mark.parametrize("solver", ["sgd", "adam"])
def test_a_stochastic_fit_goes_on_from_one_by_lbfgs(solver: str, early: bool) -> None:
    net = classifier(solver="lbfgs", warm_start=True).fit(*IRIS)
    begin = [array.copy() for array in net.coefs_]
    net.set_params(solver=solver, early_stopping=early, max_iter=1, learning_rate_init=1e-9).fit(*IRIS)
    assert len(net.loss_curve_) == 1 and (net.validation_scores_ is not None) == early
    for a, b in zip(begin, net.coefs_, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-7)


def test_another_number_of_outputs_is_refused() -> None:
    net = MLPRegressor(hidden_layer_sizes=(5,), max_iter=2, warm_start=True, random_state=0).fit(*DIABETES)
    pair = np.stack([DIABETES[1]] * 2, axis=1)
    for method in (net.fit, net.partial_fit):
        with pytest.raises(ValueError, match="y has 2 outputs; the network that training goes on with has 1"):
            method(DIABETES[0], pair)
    assert net.predict(DIABETES[0]).shape == (442,)


def test_one_class_is_always_right() -> None:
    y = np.full(150, "only")
    for kind in (MLPClassifier, Theirs):
        net = kind((5,), early_stopping=True, max_iter=2, random_state=0).fit(IRIS[0], y)
        assert net.validation_scores_ == [1.0, 1.0] and net.score(IRIS[0], y) == 1


def test_the_best_weights_stay_though_a_later_fit_is_worse() -> None:
    net = classifier(early_stopping=True, warm_start=True, max_iter=40, learning_rate_init=0.05).fit(*CANCER)
    best, coefs = net.best_validation_score_, [array.copy() for array in net.coefs_]
    for again in (net, pickle.loads(pickle.dumps(net))):
        again.set_params(learning_rate_init=1e-9, max_iter=2, tol=0).fit(*CANCER)  # cannot be better
        assert again.best_validation_score_ == best
        for a, b in zip(coefs, again.coefs_, strict=True):
            np.testing.assert_array_equal(a, b)


def test_what_is_written_into_the_weights_is_where_early_stopping_begins() -> None:
    """The best score was that of the weights before; whatever is better than those written replaces them."""
    net = classifier(early_stopping=True, warm_start=True, max_iter=60, learning_rate_init=0.05).fit(*CANCER)
    best = net.best_validation_score_
    net.coefs_[-1][:], net.intercepts_[-1][:] = 0, -3  # one class for all
    assert net.score(*CANCER) < 0.5
    net.set_params(max_iter=1, learning_rate_init=1e-3).fit(*CANCER)
    assert net.best_validation_score_ == net.validation_scores_[-1] < best
    assert np.abs(net.coefs_[-1]).max() > 0  # trained, not those written and not those before
    np.testing.assert_allclose(net.intercepts_[-1], -3, atol=0.1)


@pytest.mark.parametrize(
    ("class_weight", "message"),
    [
        ({0: -1.0}, r"class_weight\[0\] is -1.0; expected a finite number of at least 0"),
        ({0: np.nan, 1: 1.0}, r"class_weight\[0\] is nan"),
        ({2: "much"}, r"class_weight\[2\] is 'much'"),
        ([{0: 1.0}], "class_weight is .*several labels"),
        ({0: 0, 1: 0, 2: 0}, "sample_weight times class_weight is zero for all"),
    ],
)
def test_class_weights_are_checked(class_weight: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        classifier(class_weight=class_weight).fit(*IRIS)


def test_messages_name_the_parameter() -> None:
    for schedule, kind in ((lambda step: -1.0, ValueError), (lambda step: "fast", TypeError)):
        with pytest.raises(kind, match=r"schedule gave .* at step 0"):
            classifier(schedule=schedule).fit(*IRIS)
    X, y = IRIS
    for data, message in (
        ((X[:, :2], y), "^validation_data: X has 2 features"),
        ((np.full_like(X, np.nan), y), "^validation_data: Input X contains NaN"),
        ((X, np.eye(3)[y]), "^validation_data: "),
        ((X, y, np.ones(3)), r"^validation_data: sample_weight.shape == \(3,\)"),
        ((X, y + 5), "^validation_data has the class 5"),
    ):
        with pytest.raises(ValueError, match=message):
            classifier(validation_data=data).fit(X, y)


def test_the_outputs_activation_counts_for_plain_arrays_too() -> None:
    net = MLPRegressor(hidden_layer_sizes=(5,), max_iter=2, random_state=0).fit(*DIABETES)
    before = net.predict(DIABETES[0])
    net.out_activation_ = "logistic"
    np.testing.assert_allclose(net.predict(DIABETES[0]), 1 / (1 + np.exp(-before)), rtol=1e-12)


def test_weights_that_are_set_as_tuples_train() -> None:
    net, other = (classifier().fit(*IRIS) for _ in range(2))
    net.coefs_, net.intercepts_ = tuple(net.coefs_), tuple(net.intercepts_)
    np.testing.assert_array_equal(
        net.partial_fit(*IRIS).predict_proba(IRIS[0]), other.partial_fit(*IRIS).predict_proba(IRIS[0])
    )


def test_a_sparsified_perceptron_is_not_trained() -> None:
    net = Perceptron(penalty="l1").fit(*CANCER).sparsify()
    expected = net.predict(CANCER[0])
    with pytest.raises(ValueError, match=r"coef_ is sparse.*call densify"):
        net.partial_fit(*CANCER)
    with pytest.raises(ValueError, match=r"coef_ is sparse.*call densify"):
        net.set_params(warm_start=True).fit(*CANCER)
    np.testing.assert_array_equal(net.predict(CANCER[0]), expected)
    net.densify().partial_fit(*CANCER)
    assert isinstance(net.coef_, np.ndarray)


@pytest.mark.parametrize("early", [False, True])
@pytest.mark.parametrize("penalty", [None, "l2"])
def test_what_the_perceptron_prints(penalty: str | None, early: bool, capsys: Any) -> None:
    printed = []
    for kind in (Perceptron, TheirPerceptron):
        kind(verbose=1, penalty=penalty, early_stopping=early, max_iter=30).fit(*CANCER)
        lines = capsys.readouterr().out.splitlines()
        printed.append([line.split(" took ")[0] for line in lines if not line.startswith("Total training time")])
    assert printed[0] == printed[1]
    assert printed[0][0] == "-- Epoch 1" and printed[0][1].startswith("Norm: ")


def test_the_perceptron_does_without_what_came_with_scikit_learn_1_9(monkeypatch: Any) -> None:
    from nncore.sklearn import perceptron

    check = perceptron._check_sample_weight
    monkeypatch.setattr(perceptron, "_check_sample_weight", lambda weight, X, dtype: check(weight, X, dtype=dtype))
    monkeypatch.setattr(perceptron, "_ZEROS_REFUSED", False)
    for early in (False, True):
        assert Perceptron(early_stopping=early).fit(*CANCER).score(*CANCER) > 0.9
