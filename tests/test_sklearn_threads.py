"""Estimators whose fits have company: predictions by callbacks and other threads, a second fit, children of a fork."""

from __future__ import annotations

import copy
import pickle
import sys
import threading
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn")

from test_neighbours import run

import nncore as nn
from nncore.sklearn import MLPClassifier, MLPRegressor, Perceptron

linux = pytest.mark.skipif(sys.platform != "linux", reason="of Linux")
RNG = np.random.default_rng(5)
X = RNG.standard_normal((300, 6))
Y = RNG.integers(0, 3, 300)
NEW = RNG.standard_normal((50, 6))


pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def classifier(**options: Any) -> Any:
    return MLPClassifier(**{"hidden_layer_sizes": (12,), "max_iter": 40, "random_state": 0, "tol": 0.0, **options})


def bits(estimator: Any) -> list[bytes]:
    if isinstance(estimator, Perceptron):
        return [estimator.coef_.tobytes(), estimator.intercept_.tobytes()]
    return [array.tobytes() for array in (*estimator._arrays(), *estimator._state())]


class Each(nn.callbacks.Callback):
    """Calls a function after each epoch."""

    def __init__(self, call: Any) -> None:
        self.call = call

    def on_epoch_end(self, epoch: int, logs: Any) -> None:
        self.call()


@pytest.mark.parametrize("norm", [None, "batch"])
def test_a_callback_that_predicts_sees_the_weights_so_far_and_changes_nothing(norm: Any) -> None:
    """It brought the weights that the estimator showed, those at the start, into the core, and training went on so."""
    plain = classifier(norm=norm).fit(X, Y)
    seen: list[Any] = []
    watched = classifier(norm=norm)
    watched.set_params(callbacks=[Each(lambda: seen.append((watched.predict_proba(NEW), watched.score(X, Y))))])
    watched.fit(X, Y)
    assert bits(watched) == bits(plain)
    assert len(seen) == 40 and len({outputs.tobytes() for outputs, _ in seen}) == 40
    np.testing.assert_array_equal(seen[-1][0], watched.predict_proba(NEW))
    watched.coefs_[0][...] = 0  # whoever writes into them changes what is computed, as before the fit
    assert (watched.predict_proba(NEW) != seen[-1][0]).any()


ESTIMATORS = {
    "adam": classifier,
    "sgd, float32": lambda: classifier(solver="sgd", learning_rate_init=0.05),
    "batch normalisation": lambda: classifier(norm="batch"),
    "early stopping": lambda: classifier(early_stopping=True, norm="batch", max_iter=30),
    "lbfgs": lambda: classifier(solver="lbfgs", max_iter=60),
    "regressor": lambda: MLPRegressor(hidden_layer_sizes=(12,), max_iter=40, random_state=0, tol=0.0),
    "perceptron": lambda: Perceptron(max_iter=40, tol=None, random_state=0),
}


@pytest.mark.parametrize("how", ["fit", "fit again", "warm", "partial"])
@pytest.mark.parametrize("name", ESTIMATORS)
def test_predictions_of_another_thread_beside_a_fit(name: str, how: str) -> None:
    """They give results or say why not, and the fit gives the same bits as without them."""
    if how == "partial" and name in ("lbfgs", "early stopping"):
        pytest.skip("scikit-learn has none")
    rows = X.astype(np.float32) if "float32" in name else X
    quiet, watched = ESTIMATORS[name](), ESTIMATORS[name]()
    if how == "warm":
        quiet.set_params(warm_start=True), watched.set_params(warm_start=True)

    def train(estimator: Any) -> None:
        if how == "partial":
            kwargs = {} if isinstance(estimator, MLPRegressor) else {"classes": [0, 1, 2]}
            for start in range(0, 300, 10):
                estimator.partial_fit(rows[start : start + 10], Y[start : start + 10], **kwargs)
        else:
            for labels in ([Y, Y[::-1].copy()], [Y])[how == "fit"]:
                estimator.fit(rows, labels)

    answers: list[Any] = []
    done = threading.Event()

    def ask() -> None:
        while True:
            last = done.is_set()
            try:
                answers.append(watched.predict(NEW.astype(rows.dtype)))
            except BaseException as error:
                answers.append(error)
            if last:
                return

    train(quiet)
    threads = [threading.Thread(target=ask) for _ in range(2)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for thread in threads:
            thread.start()
        train(watched)
    finally:
        done.set()
        for thread in threads:
            thread.join()
        sys.setswitchinterval(interval)
    assert bits(watched) == bits(quiet)
    np.testing.assert_array_equal(answers[-1], quiet.predict(NEW.astype(rows.dtype)))
    results = [answer for answer in answers if isinstance(answer, np.ndarray)]
    assert all(answer.shape == (50,) and np.isfinite(answer).all() for answer in results)
    if not isinstance(watched, MLPRegressor):
        assert set(np.concatenate(results)) <= {0, 1, 2}
    said = {str(answer) for answer in answers if not isinstance(answer, np.ndarray)}
    said = {text for text in said if "is not fitted yet" not in text}  # before the fit began
    assert said <= {
        "another thread has just begun to fit this estimator, which has no weights of that fit yet; predict before it, "
        "or when its first epoch has begun"
    }


def test_a_second_fit_at_the_same_time_is_refused() -> None:
    begun, go_on = threading.Event(), threading.Event()

    def wait() -> None:
        begun.set()
        go_on.wait(60)

    estimator = classifier(callbacks=[Each(wait)], max_iter=3)
    thread = threading.Thread(target=lambda: estimator.fit(X, Y))
    thread.start()
    assert begun.wait(60)
    try:
        with pytest.raises(RuntimeError, match="fit is called while another thread is fitting this estimator"):
            estimator.fit(X, Y)
        with pytest.raises(RuntimeError, match="fit a clone"):
            estimator.partial_fit(X, Y)
        estimator_copy = copy.copy(estimator)
        estimator_copy.callbacks = ()
        assert bits(estimator_copy.fit(X, Y)) == bits(classifier(max_iter=3).fit(X, Y))  # which is not under way
        assert not {"_fitting", "_model", "_anew"} & set(estimator.__getstate__())
    finally:
        go_on.set()
        thread.join()
    assert bits(estimator) == bits(classifier(max_iter=3).fit(X, Y))
    estimator.callbacks = ()
    assert bits(pickle.loads(pickle.dumps(estimator)).fit(X, Y)) == bits(estimator.fit(X, Y))


def test_a_fit_within_a_fit_is_refused_and_one_after_an_error_is_not() -> None:
    estimator = classifier(max_iter=3)
    estimator.set_params(callbacks=[Each(lambda: estimator.fit(X, Y))])
    for _ in range(2):
        with pytest.raises(RuntimeError, match="fit is called while this thread is fitting this estimator"):
            estimator.fit(X, Y)
    estimator.set_params(callbacks=())
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        estimator.fit(X, Y[:-1])
    assert bits(estimator.fit(X, Y)) == bits(classifier(max_iter=3).fit(X, Y))


START = """
import json, os, signal, sys, threading, time, warnings, zlib
import numpy as np
from nncore.sklearn import MLPClassifier
warnings.simplefilter("ignore")
signal.alarm(100)
rng = np.random.default_rng(1)
X, y = rng.standard_normal((400, 64)), rng.integers(0, 3, 400)

def made(**options):
    return MLPClassifier((128,), random_state=0, **{"max_iter": 3, **options})
def bits(estimator):
    return [zlib.crc32(array.tobytes()) for array in estimator._arrays()] + [zlib.crc32(estimator.predict(X).tobytes())]
def in_child(function):
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        signal.alarm(60)
        try:
            said = function()
        except BaseException as error:
            said = repr(error)
        os.write(write, json.dumps(said).encode())
        os._exit(0)
    os.waitpid(child, 0)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        return json.loads(pipe.read() or b'"the child was killed"')
"""


@linux
def test_a_child_forked_after_training_predicts_and_trains_to_the_same_bits() -> None:
    code = (
        START
        + """
fitted = made().fit(X, y)
here = bits(fitted)
calls = lambda: bits(fitted), lambda: bits(fitted.fit(X, y)), lambda: bits(made().fit(X, y))
print(json.dumps([here, *map(in_child, calls), bits(fitted.fit(X, y))]))
"""
    )
    found = run(code)
    assert len(found) == 5 and all(one == found[0] for one in found), found


@linux
def test_a_child_forked_while_another_thread_fits_or_predicts() -> None:
    """Nothing waits for ever: a fit of its own works there, and what has no weights of a finished fit says so."""
    code = (
        START
        + """
expected = bits(made().fit(X, y))
busy, online, asked = made(max_iter=10**6, tol=0.0, n_iter_no_change=10**6), made(), made().fit(X, y)
online.partial_fit(X, y, classes=[0, 1, 2])
many = np.ones((20000, 64))
def for_ever(call):
    while True:
        call()
for call in (lambda: busy.fit(X, y), lambda: for_ever(lambda: online.partial_fit(X, y)),
             lambda: for_ever(lambda: asked.predict(many))):
    threading.Thread(target=call, daemon=True).start()
while not hasattr(busy, "loss_curve_") or not busy.loss_curve_:
    time.sleep(0.01)
def child():
    try:
        busy.predict(X)
        said = "no word"
    except RuntimeError as error:
        said = str(error)
    probabilities = online.predict_proba(X)
    online.partial_fit(X, y)
    return [said, bits(busy.set_params(max_iter=3).fit(X, y)), bool(np.isfinite(probabilities).all()),
            bool(np.isfinite(online.predict_proba(X)).all()), len(asked.predict(many))]
outcomes = []
for attempt in range(3):
    time.sleep(0.05)
    outcomes.append(in_child(child))
print(json.dumps([expected, *outcomes]), flush=True)
os._exit(0)
"""
    )
    expected, *outcomes = run(code, OPENBLAS_NUM_THREADS="1")
    assert len(outcomes) == 3
    for outcome in outcomes:
        assert "was being fitted by another thread when the process forked" in outcome[0], outcome
        assert outcome[1:] == [expected, True, True, 20000]


@linux
def test_a_child_forked_by_a_callback_goes_on_with_the_fit() -> None:
    code = (
        START
        + """
from nncore.callbacks import Callback
class Forks(Callback):
    child = None
    def on_epoch_end(self, epoch, logs):
        if self.child is None:
            self.read, self.write = os.pipe()
            self.child = os.fork()
forks = Forks()
estimator = made(callbacks=[forks]).fit(X, y)
if forks.child == 0:
    os.write(forks.write, json.dumps(bits(estimator)).encode())
    os._exit(0)
os.waitpid(forks.child, 0)
print(json.dumps([bits(estimator), json.loads(os.read(forks.read, 10000)), bits(made().fit(X, y))]))
"""
    )
    found = run(code)
    assert len(found) == 3 and found[0] == found[1] == found[2]
