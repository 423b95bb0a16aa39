"""Tests of runs that would not go on as they were: another network, other arguments, other weights of rows."""

from __future__ import annotations

import numpy as np
import pytest

from nncore import MLP, Adam, BatchNorm, Dense, Dropout, LayerNorm, LeakyReLU, Sequential, validation
from nncore.callbacks import Checkpoint


def classifier(backend, **kwargs):
    return MLP([5, 8, 3], activation="tanh", output="softmax", backend=backend, **kwargs)


def assert_same_weights(a, b):
    for x, y in zip(a.get_weights(), b.get_weights(), strict=True):
        np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch_size": 8}, "resume was made with batch_size 16; this fit has 8"),
        ({"shuffle": False}, "resume was made with shuffle True; this fit has False"),
        ({"seed": 1}, "resume was made with seed 0; this fit has 1"),
        ({"loss": "mse"}, "resume was made with loss"),
        ({"X": 100}, "resume was made with rows 120; this fit has 100"),
        ({"validation_split": 0.5}, "resume was made with rows 120; this fit has 60"),
        ({"metrics": ["mae"]}, "resume records loss; this fit records loss, mae"),
        ({"optimizer": "sgd"}, "resume has the state of 'adam'; optimizer is 'sgd'"),
        ({"optimizer": Adam(beta1=0.5)}, "resume has an optimizer with .*'beta1': 0.9"),
        ({"sizes": [5, 9, 3]}, r"resume has the network .*Dense\(n_in=5, n_out=8, .* this one is .*n_in=5, n_out=9,"),
        ({"dtype": "float64"}, "float32; this one is .*float64"),
    ],
)
def test_what_would_not_go_on_as_it_was_is_refused(backend, blobs, tmp_path, change, message):
    X, y = blobs
    path = tmp_path / "run.npz"
    call, change = {"epochs": 3, "batch_size": 16}, dict(change)
    classifier(backend).fit(X, y, callbacks=Checkpoint(path), **call)
    sizes, dtype = change.pop("sizes", [5, 8, 3]), change.pop("dtype", "float32")
    rows = change.pop("X", 120)
    net, twin = (MLP(sizes, activation="tanh", output="softmax", dtype=dtype, backend=backend) for _ in range(2))
    with pytest.raises(ValueError, match=message):
        net.fit(X[:rows], y[:rows], resume=path, **{**call, **change})
    assert_same_weights(net, twin)
    assert net.epochs_trained == 0 and net.history is None


@pytest.mark.parametrize("initializer", ["auto", "zeros", lambda n_in, n_out, seed, stream: np.ones((n_in, n_out))])
@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"l1": 0.1}, "l1=0.0.*l1=0.1"),
        ({"l2": 0.1}, "l2=0.0.*l2=0.1"),
        ({"max_norm": 2.0}, "max_norm=None.*max_norm=2.0"),
        ({"activation": LeakyReLU(0.3)}, "alpha=0.1.*alpha=0.3"),
    ],
)
def test_a_layer_with_another_setting_is_another_network(backend, blobs, tmp_path, initializer, other, message):
    """Whatever initial weights it had, which are gone."""
    X, y = blobs
    path = tmp_path / "run.npz"

    def network(initializer, **settings):
        first = Dense(5, 4, **{"activation": "leaky_relu", "initializer": initializer, **settings})
        return Sequential([first, Dense(4, 3, "softmax")], backend=backend)

    network(initializer).fit(X, y, epochs=1, callbacks=Checkpoint(path))
    with pytest.raises(ValueError, match=f"resume has the network .*{message}"):
        network(initializer, **other).fit(X, y, epochs=2, resume=path)
    assert network("he_normal").fit(X, y, epochs=2, resume=path).epochs == 2


@pytest.mark.parametrize("normalization", [BatchNorm(momentum=0.2), LayerNorm(epsilon=1e-3), Dropout(0.5)])
def test_a_normalisation_with_another_setting_is_another_network(backend, blobs, tmp_path, normalization):
    X, y = blobs
    path = tmp_path / "run.npz"
    Sequential([Dense(5, 4), normalization, Dense(4, 3, "softmax")], backend=backend).fit(
        X, y, epochs=1, callbacks=Checkpoint(path)
    )
    for other in (BatchNorm(), LayerNorm(), Dropout(0.1), BatchNorm(momentum=0.2, activation="tanh")):
        net = Sequential([Dense(5, 4), other, Dense(4, 3, "softmax")], backend=backend)
        with pytest.raises(ValueError, match="resume has the network"):
            net.fit(X, y, epochs=2, resume=path)


def test_a_run_with_weights_goes_on_with_the_same_ones(backend, blobs, tmp_path):
    X, y = blobs
    path, split, plain = tmp_path / "run.npz", {"validation_split": 0.25}, tmp_path / "plain.npz"
    weights = np.linspace(0, 1, 120)
    other_held = weights.copy()
    probe = classifier(backend)
    probe.fit(X, y, epochs=1, sample_weight=weights, callbacks=Checkpoint(path), **split)
    held = np.setdiff1d(np.arange(120), _kept_rows(y, split["validation_split"]))
    other_held[held[0]] += 0.5
    classifier(backend).fit(X, y, epochs=1, callbacks=Checkpoint(plain), **split)
    for settings, of in [
        ({}, "weights of CRC-32"),
        ({"sample_weight": weights[::-1]}, "weights of CRC-32"),
        ({"sample_weight": weights, "class_weight": {0: 3.0}}, "weights of CRC-32"),
        ({"class_weight": "balanced"}, "weights of CRC-32"),
        ({"sample_weight": other_held}, "weights held out of CRC-32"),
    ]:
        with pytest.raises(ValueError, match=f"resume was made with {of}"):
            classifier(backend).fit(X, y, epochs=2, resume=path, **settings, **split)
    with pytest.raises(ValueError, match="resume was made with weights of CRC-32 None"):
        classifier(backend).fit(X, y, epochs=2, resume=plain, class_weight={0: 2.0}, **split)
    twice = classifier(backend).fit(X, y, epochs=2, resume=path, sample_weight=2 * weights, **split)  # the same weights
    assert twice.epochs == 2


def _kept_rows(y, fraction):
    return validation.split(len(y), y, fraction, 0, False)[0]
