"""The estimators' parameters that scikit-learn's have not: dropout, norm, losses, schedules, callbacks and the rest."""

from __future__ import annotations

import pickle
import warnings
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn")

from sklearn.base import clone
from sklearn.datasets import make_multilabel_classification
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils._param_validation import InvalidParameterError
from sklearn.utils.class_weight import compute_sample_weight
from sklearn_data import CANCER, DIABETES, IRIS

import nncore as nn
from nncore.sklearn import MLPClassifier, MLPRegressor

LABELS = make_multilabel_classification(n_samples=90, random_state=0)


def fitted(estimator: Any, data: tuple[Any, Any] = IRIS, **options: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return estimator.fit(*data, **options)


def classifier(**options: Any) -> Any:
    return MLPClassifier(**{"max_iter": 12, "batch_size": 32, "learning_rate_init": 0.01, "random_state": 0, **options})


def regressor(**options: Any) -> Any:
    return MLPRegressor(**{"max_iter": 12, "batch_size": 32, "learning_rate_init": 0.01, "random_state": 0, **options})


def weights(net: Any) -> list[Any]:
    names = ("coefs_", "intercepts_", "gammas_", "betas_", "running_means_", "running_variances_")
    return [array for name in names for array in getattr(net, name, [])]


def same_bits(a: Any, b: Any) -> bool:
    pairs = zip(weights(a), weights(b), strict=True)
    return all(x.tobytes() == y.tobytes() for x, y in pairs) and a.loss_curve_ == b.loss_curve_


def test_they_come_after_scikit_learns_by_keyword_and_change_nothing() -> None:
    import inspect

    from sklearn import neural_network

    for kind in (MLPClassifier, MLPRegressor):
        ours = inspect.signature(kind).parameters
        theirs = list(inspect.signature(getattr(neural_network, kind.__name__)).parameters)
        assert list(ours)[: len(theirs)] == theirs
        own = set(ours) - set(theirs)
        assert own >= {"dropout", "norm", "schedule", "callbacks", "validation_data", "threads"}
        assert all(ours[name].kind is inspect.Parameter.KEYWORD_ONLY for name in own)


@pytest.mark.parametrize("norm", [None, "batch", "layer"])
@pytest.mark.parametrize("dropout", [0.0, 0.25])
def test_layers_compute_what_a_network_does(norm: str | None, dropout: float) -> None:
    """An nn.MLP with the weights of the estimator gives its outputs; training changed all of them."""
    net = fitted(classifier(hidden_layer_sizes=(9, 7), norm=norm, dropout=dropout, activation="tanh"))
    other = nn.MLP([4, 9, 7, 3], "tanh", "softmax", norm=norm, dtype="float64")
    other.set_weights(net._arrays())
    if norm == "batch":
        other.set_state(net._state())
        assert all((mean != 0).any() for mean in net.running_means_)
    np.testing.assert_allclose(net.predict_proba(IRIS[0]), other.predict(IRIS[0]), rtol=1e-12)
    assert hasattr(net, "gammas_") is (norm is not None)
    assert hasattr(net, "running_means_") is (norm == "batch")
    if norm is not None:
        assert [g.shape for g in net.gammas_] == [(9,), (7,)]
        assert all((g != 1).any() for g in net.gammas_)
        assert all((b != 0).any() for b in net.betas_)
        before = net.predict_proba(IRIS[0][:1])
        net.gammas_[0][:] = 0  # as with coefs_, writing counts
        assert (net.predict_proba(IRIS[0][:1]) != before).any()


@pytest.mark.parametrize("early", [False, True])
@pytest.mark.parametrize("norm", ["batch", "layer"])
def test_normalisation_survives_copies_and_goes_on(norm: str, early: bool) -> None:
    net = fitted(classifier(norm=norm, early_stopping=early, warm_start=True, dropout=0.1))
    copy = pickle.loads(pickle.dumps(net))
    assert same_bits(net, copy)
    np.testing.assert_array_equal(net.predict_proba(IRIS[0]), copy.predict_proba(IRIS[0]))
    assert same_bits(fitted(net), fitted(copy))
    if not early:
        for part in (net, copy):
            part.partial_fit(*IRIS)
        again = pickle.loads(pickle.dumps(copy))
        assert same_bits(net.partial_fit(*IRIS), again.partial_fit(*IRIS))


def test_early_stopping_brings_running_statistics_back() -> None:
    net = fitted(classifier(norm="batch", early_stopping=True, max_iter=60, n_iter_no_change=3))
    best = int(np.argmax(net.validation_scores_)) + 1
    assert best < net.n_iter_, "the best epoch must not be the last, or nothing is tested"
    short = fitted(classifier(norm="batch", early_stopping=True, max_iter=best))
    assert all(a.tobytes() == b.tobytes() for a, b in zip(weights(net), weights(short), strict=True))


def test_a_changed_norm_begins_anew() -> None:
    net = fitted(classifier(norm="batch", warm_start=True))
    fitted(net.set_params(norm="layer"))
    assert not hasattr(net, "running_means_")
    fitted(net.set_params(norm=None))
    assert not hasattr(net, "gammas_")
    assert net.score(*IRIS) > 0.9


def test_dropout_draws_masks_from_the_seed() -> None:
    nets = [fitted(classifier(dropout=rate, random_state=seed)) for rate, seed in ((0.5, 0), (0.5, 0), (0.0, 0))]
    assert same_bits(*nets[:2])
    assert not same_bits(*nets[1:])
    a, b = (classifier(dropout=0.5, shuffle=False).partial_fit(*IRIS, classes=[0, 1, 2]) for _ in range(2))
    first = np.array(a.coefs_[0])
    assert same_bits(a.partial_fit(*IRIS), b.partial_fit(*IRIS))
    assert (a.coefs_[0] != first).any()


@pytest.mark.parametrize("solver", ["sgd", "adam"])
def test_schedules(solver: str) -> None:
    constant = fitted(classifier(solver=solver))
    given = fitted(classifier(solver=solver, schedule=nn.schedules.Constant(0.01), learning_rate_init=7.0))
    assert same_bits(constant, given)
    seen: list[int] = []
    fitted(classifier(solver=solver, max_iter=2, schedule=lambda step: seen.append(step) or 0.0))
    assert seen == list(range(10))
    still = fitted(classifier(solver=solver, max_iter=2, schedule=lambda step: 0.0))
    assert still.loss_curve_[0] == pytest.approx(still.loss_curve_[1], rel=1e-9)
    with pytest.raises(ValueError, match="at step 0"):
        fitted(classifier(solver=solver, schedule=lambda step: -1.0))


def test_a_plateau_lowers_the_rate_and_the_parameter_stays_as_it_was() -> None:
    schedule = nn.schedules.ReduceOnPlateau(0.01, patience=0, factor=0.5, threshold=0.9)
    net = fitted(classifier(schedule=schedule, max_iter=8, tol=0.0))
    assert net._optimizer.schedule(0) < 0.01
    assert schedule(0) == 0.01
    watched = nn.schedules.ReduceOnPlateau(0.01, monitor="val_accuracy", mode="max")
    fitted(classifier(schedule=watched, early_stopping=True))
    with pytest.raises(ValueError, match="val_accuracy"):
        fitted(classifier(schedule=watched))


@pytest.mark.parametrize("class_weight", ["balanced", {0: 1.0, 1: 3.0, 2: 0.5}])
def test_class_weight_is_a_weight_of_rows(class_weight: Any) -> None:
    X, y = IRIS[0][:120], IRIS[1][:120]
    ours = fitted(classifier(class_weight=class_weight), (X, y))
    rows = fitted(classifier(), (X, y), sample_weight=compute_sample_weight(class_weight, y))
    assert same_bits(ours, rows)
    names = np.array(["b", "c", "a"])[y]
    if class_weight != "balanced":
        class_weight = {"b": 1.0, "c": 3.0, "a": 0.5}
    named = fitted(classifier(class_weight=class_weight), (X, names))
    np.testing.assert_allclose(named.loss_curve_[0], rows.loss_curve_[0], rtol=0.5)
    assert named.score(X, names) > 0.8
    given = np.random.default_rng(0).uniform(size=120)
    both = fitted(classifier(class_weight={0: 1.0, 1: 3.0, 2: 0.5}), (X, y), sample_weight=given)
    product = given * compute_sample_weight({0: 1.0, 1: 3.0, 2: 0.5}, y)
    assert same_bits(both, fitted(classifier(), (X, y), sample_weight=product))


def test_class_weight_of_two_classes_and_of_several_labels() -> None:
    X, y = CANCER
    ours = fitted(classifier(class_weight={0: 5.0, 1: 1.0}), CANCER)
    assert same_bits(ours, fitted(classifier(), CANCER, sample_weight=np.where(y == 0, 5.0, 1.0)))
    labels = [{0: 1.0, 1: 2.0}] * 5
    rows = compute_sample_weight(labels, LABELS[1])
    assert same_bits(fitted(classifier(class_weight=labels), LABELS), fitted(classifier(), LABELS, sample_weight=rows))
    with pytest.raises(ValueError, match="not supported for partial_fit"):
        classifier(class_weight="balanced").partial_fit(X, y, classes=[0, 1])
    once = classifier(class_weight={0: 5.0, 1: 1.0}).partial_fit(X[:32], y[:32], classes=[0, 1])
    assert once.n_iter_ == 1


class Recorder(nn.callbacks.Callback):
    """Keeps what it hears; ends training after some epochs."""

    def __init__(self, last: int | None = None) -> None:
        self.last = last
        self.heard: list[Any] = []

    def on_train_begin(self) -> None:
        self.heard.append("begin")

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        self.heard.append((epoch, sorted(logs), logs["loss"], self.network.get_weights()[0].shape))
        if epoch == self.last:
            self.network.stop_training = True

    def on_train_end(self) -> None:
        self.heard.append("end")


def test_callbacks_hear_of_epochs_and_stop() -> None:
    recorder = Recorder(last=2)
    net = fitted(classifier(callbacks=[recorder]))
    assert net.n_iter_ == 3
    assert recorder.heard[0] == "begin" and recorder.heard[-1] == "end"
    assert [entry[0] for entry in recorder.heard[1:-1]] == [0, 1, 2]
    assert [entry[2] for entry in recorder.heard[1:-1]] == net.loss_curve_
    assert recorder.heard[1][1] == ["loss"] and recorder.heard[1][3] == (4, 100)
    assert same_bits(net, fitted(classifier(max_iter=3)))
    assert not hasattr(recorder, "network")
    pickle.loads(pickle.dumps(net))
    assert clone(net).callbacks[0].last == 2
    held = Recorder()
    fitted(regressor(callbacks=held, validation_data=DIABETES, max_iter=2), DIABETES)
    assert held.heard[1][1] == ["loss", "val_loss", "val_r2"]


def test_callbacks_of_nncore(tmp_path: Any) -> None:
    stop = nn.callbacks.EarlyStopping(monitor="val_accuracy", patience=2)
    net = fitted(
        classifier(callbacks=[stop, nn.callbacks.CSVLogger(tmp_path / "log.csv")], validation_data=IRIS, max_iter=60)
    )
    assert net.n_iter_ == stop.best_epoch + 3
    assert net.score(*IRIS) == stop.best == max(net.validation_scores_)  # the best weights are back
    lines = (tmp_path / "log.csv").read_text().splitlines()
    assert lines[0] == "epoch,loss,val_loss,val_accuracy" and len(lines) == net.n_iter_ + 1
    for bad, words in (
        (nn.callbacks.Checkpoint(tmp_path / "c.npz"), "Checkpoint"),
        (nn.callbacks.EarlyStopping("val_loss"), "val_loss"),
        (type("Batches", (nn.callbacks.Callback,), {"on_batch_end": lambda self, step, logs: None})(), "on_batch_end"),
    ):
        with pytest.raises(ValueError, match=words):
            fitted(classifier(callbacks=[bad]))
    with pytest.raises(TypeError, match="callbacks"):
        fitted(classifier(callbacks=[3]))


def test_an_error_in_a_callback_ends_the_fit() -> None:
    class Fails(Recorder):
        def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
            raise RuntimeError("enough")

    callback = Fails()
    with pytest.raises(RuntimeError, match="enough"):
        fitted(classifier(callbacks=callback))
    assert callback.heard == ["begin", "end"]


def test_validation_data_takes_the_place_of_a_split() -> None:
    X, y = IRIS
    train, held = (X[::2], y[::2]), (X[1::2], y[1::2])
    early = fitted(classifier(early_stopping=True, validation_data=held, max_iter=60, n_iter_no_change=3), train)
    assert early.best_validation_score_ == early.score(*held)
    recorded = fitted(classifier(validation_data=held), train)
    assert same_bits(recorded, fitted(classifier(), train))
    assert len(recorded.validation_scores_) == 12 and recorded.validation_scores_[-1] == recorded.score(*held)
    weighted = fitted(classifier(validation_data=(*held, np.arange(75.0)), max_iter=2), train)
    assert weighted.validation_scores_[-1] == weighted.score(*held, sample_weight=np.arange(75.0))
    numbers = fitted(regressor(validation_data=DIABETES, max_iter=3), DIABETES)
    assert numbers.validation_scores_[-1] == pytest.approx(numbers.score(*DIABETES), rel=1e-12)
    for bad, words in (
        ((X,), "1 parts"),
        ((X[:, :2], y), "2 features"),
        ((X, y[:9]), "150 rows of X and 9 of y"),
        ((X, y + 1), "class 3"),
    ):
        with pytest.raises(ValueError, match=words):
            fitted(classifier(validation_data=bad), train)


def test_the_validation_loss_is_the_loss_without_the_penalty() -> None:
    """With a rate of 0 the loss of all rows is that of the epoch."""
    still = {"schedule": nn.schedules.Constant(0.0), "alpha": 0.0, "max_iter": 1}
    for net, data in (
        (classifier(**still), IRIS),
        (classifier(**still), LABELS),
        (classifier(**still, loss="mse"), IRIS),
        (regressor(**still), DIABETES),
        (regressor(**still, loss="poisson"), DIABETES),
        (regressor(**still, loss="huber"), DIABETES),
    ):
        seen = nn.callbacks.EarlyStopping("val_loss", restore_best=False)
        fitted(net.set_params(callbacks=seen, validation_data=data, batch_size=len(data[0])), data)
        assert seen.best == pytest.approx(net.loss_, rel=1e-10)


@pytest.mark.parametrize(
    "loss",
    ["mse", "mae", "huber", "quantile", nn.losses.Huber(2.0), nn.losses.Quantile(0.9), nn.losses.Poisson()],
    ids=str,
)
def test_losses_for_numbers(loss: Any) -> None:
    net = fitted(regressor(loss=loss, alpha=0.0, max_iter=30), DIABETES)
    assert net.out_activation_ == ("exp" if "oisson" in repr(loss) else "identity")
    still = net.set_params(schedule=nn.schedules.Constant(0.0), warm_start=True, max_iter=1, batch_size=442)
    predictions = net.predict(DIABETES[0])
    expected = nn.losses.get(loss)(predictions, DIABETES[1])
    assert fitted(still, DIABETES).loss_ == pytest.approx(expected, rel=1e-10)
    mean = np.full(442, DIABETES[1].mean())
    assert expected < nn.losses.get(loss)(mean, DIABETES[1])
    one, three = (fitted(regressor(loss=loss, threads=n, max_iter=2), DIABETES) for n in (1, 3))
    assert same_bits(one, three)


def squares(pred: Any, target: Any) -> Any:
    return ((pred - target) ** 2).mean(axis=1), 2 * (pred - target) / pred.size


def test_a_function_as_loss() -> None:
    for kind, data in ((classifier, IRIS), (classifier, CANCER), (classifier, LABELS), (regressor, DIABETES)):
        given = np.linspace(0.5, 1, len(data[0]))
        for rows in (None, given):
            own, named = (fitted(kind(loss=loss, max_iter=3), data, sample_weight=rows) for loss in (squares, "mse"))
            np.testing.assert_allclose(own.loss_curve_, named.loss_curve_, rtol=1e-10)
            np.testing.assert_allclose(own.coefs_[0], named.coefs_[0], rtol=1e-6, atol=1e-10)
    own, named = (fitted(regressor(loss=loss, solver="lbfgs", max_iter=9), DIABETES) for loss in (squares, "mse"))
    np.testing.assert_allclose(own.loss_, named.loss_, rtol=1e-6)
    for solver in ("adam", "lbfgs"):
        with pytest.raises(TypeError, match="expected a pair"):
            fitted(regressor(loss=lambda pred, target: 3, solver=solver), DIABETES)


def test_losses_for_classes() -> None:
    smoothed = fitted(classifier(loss=nn.losses.CrossEntropy(label_smoothing=0.3), max_iter=60))
    assert smoothed.score(*IRIS) > 0.9
    assert smoothed.predict_proba(IRIS[0]).max() < fitted(classifier(max_iter=60)).predict_proba(IRIS[0]).max()
    for loss in ("bce", "mse", "mae", "huber", nn.losses.BinaryCrossEntropy(pos_weight=2.0)):
        assert fitted(classifier(loss=loss), CANCER).score(*CANCER) > 0.9
    plain, named = fitted(classifier(max_iter=3)), fitted(classifier(max_iter=3, loss="cross_entropy"))
    np.testing.assert_allclose(named.coefs_[0], plain.coefs_[0], rtol=1e-12)
    for data, loss, words in (
        (IRIS, "bce", "'cross_entropy', 'mse'"),
        (CANCER, "cross_entropy", "'bce', 'mse'"),
        (IRIS, nn.losses.Hinge(), "hinge"),
    ):
        with pytest.raises(ValueError, match=words):
            fitted(classifier(loss=loss), data)
    with pytest.raises(ValueError, match="bce"):
        fitted(regressor(loss=nn.losses.BinaryCrossEntropy()), DIABETES)
    with pytest.raises(ValueError, match="at least 0"):
        fitted(regressor(loss=nn.losses.Poisson()), (DIABETES[0], -DIABETES[1]))


def test_activations_of_nncore() -> None:
    for activation in ("gelu", "silu", "selu", "leaky_relu", "mish", "sigmoid", nn.activations.LeakyReLU(0.3)):
        net = fitted(classifier(activation=activation, max_iter=40))
        other = nn.MLP([4, 100, 3], activation, "softmax", dtype="float64")
        other.set_weights(net._arrays())
        np.testing.assert_allclose(net.predict_proba(IRIS[0]), other.predict(IRIS[0]), rtol=1e-11)
        assert net.score(*IRIS) > 0.9
        pickle.loads(pickle.dumps(net)).predict(IRIS[0])
    assert same_bits(fitted(classifier(activation="sigmoid")), fitted(classifier(activation="logistic")))
    with pytest.raises(ValueError, match="softmax"):
        fitted(classifier(activation=nn.activations.Softmax()))


def test_what_lbfgs_does_not_do() -> None:
    for name, value in (
        ("dropout", 0.1),
        ("norm", "batch"),
        ("schedule", nn.schedules.Constant(0.1)),
        ("callbacks", [Recorder()]),
        ("validation_data", IRIS),
    ):
        with pytest.raises(ValueError, match=f"{name}.*lbfgs"):
            fitted(classifier(solver="lbfgs", **{name: value}))
    net = fitted(classifier(solver="lbfgs", norm="layer", max_iter=30, alpha=0.1))
    assert net.score(*IRIS) > 0.95 and any((g != 1).any() for g in net.gammas_)
    assert net.loss_ > 0


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("dropout", 1.0),
        ("dropout", -0.1),
        ("dropout", "0.1"),
        ("norm", "group"),
        ("schedule", 0.1),
        ("schedule", "cosine"),
        ("class_weight", "even"),
        ("callbacks", None),
        ("validation_data", 0.2),
        ("threads", 0),
        ("threads", 1.5),
        ("loss", "hinge"),
        ("activation", "softmax"),
        ("activation", "tanhh"),
    ],
)
def test_bad_values(name: str, value: Any) -> None:
    with pytest.raises(InvalidParameterError, match=f"'{name}' parameter of MLPClassifier"):
        fitted(classifier(**{name: value}))
    if name != "class_weight":
        with pytest.raises(InvalidParameterError, match=f"'{name}' parameter of MLPRegressor"):
            fitted(regressor(**{name: value}), DIABETES)
