"""The demo's promise: what it trains reads the digits it has not seen."""

from __future__ import annotations

import numpy as np
import pytest

from nncore import cli, engines


def test_ten_seeds_reach_a_mean_test_accuracy_of_097():
    accuracies = []
    for seed in range(10):
        X_train, X_test, y_train, y_test = cli.digits(seed)
        net = cli.train(X_train, y_train, seed=seed)
        assert net.backend == engines.choose(None)
        accuracies.append(float(np.mean(net.predict(X_test).argmax(axis=1) == y_test)))
    assert np.mean(accuracies) >= 0.97, accuracies


@pytest.mark.parametrize("seed", [0, 1])
def test_a_fifth_of_every_class_is_held_out(seed):
    X_train, X_test, y_train, y_test = cli.digits(seed)
    assert X_train.shape == (1438, 64) and X_test.shape == (359, 64)
    assert X_train.min() == 0.0 and X_train.max() == 1.0
    shares = np.bincount(y_test) / (np.bincount(y_train) + np.bincount(y_test))
    assert np.all(np.abs(shares - 0.2) < 0.01), shares


def test_speeds_are_measured_on_the_backends_asked_for(backend, monkeypatch):
    monkeypatch.setattr(cli, "_REPETITIONS", 2)
    monkeypatch.setattr(cli, "_TIMED_EPOCHS", {backend: 1})
    X_train, _, y_train, _ = cli.digits(0)
    seconds = cli.seconds_per_epoch(X_train, y_train, 0, [backend])
    assert list(seconds) == [backend]
    assert seconds[backend] > 0
