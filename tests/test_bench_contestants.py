"""The contestants: that they do the work that is timed, all the same."""

from __future__ import annotations

import numpy as np
import pytest

import nncore as nn
from nncore.bench import baseline, contestants
from nncore.bench.contestants import CONTESTANTS
from nncore.bench.workloads import WORKLOADS, Workload

OUTPUTS = {"classes": "softmax", "yes_no": "sigmoid", "numbers": "identity"}


def small(task: str, optimizer: str, activation: str = "tanh", rows: int = 64) -> Workload:
    return Workload((6, 24, 1 if task == "yes_no" else 3), activation, task, 16, optimizer, rows)


def mean_loss(work: Workload, outputs: np.ndarray, y: np.ndarray) -> float:
    outputs = np.asarray(outputs, dtype=np.float64)
    if work.task == "numbers":
        return float(np.mean((outputs - y) ** 2))
    if work.task == "classes":
        assert outputs.sum(axis=1) == pytest.approx(1, abs=1e-5)
        return float(-np.mean(np.log(outputs[np.arange(len(y)), y])))
    return float(-np.mean(np.where(y == 1, np.log(outputs), np.log1p(-outputs))))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("task", ["classes", "yes_no", "numbers"])
@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("name", CONTESTANTS)
def test_the_loss_falls(name, task, optimizer, dtype):
    pytest.importorskip(CONTESTANTS[name].module)
    if name == "nncore":
        pytest.importorskip("nncore._core")
    work = small(task, optimizer)
    training = CONTESTANTS[name].training(work, dtype, 1)
    y = work.data(dtype)[1]
    training.epoch()  # scikit-learn has no weights before
    outputs = training.outputs()
    assert outputs.shape == (work.rows, work.sizes[-1]) and outputs.dtype == dtype
    before = mean_loss(work, outputs, y)
    for _ in range(30):
        training.epoch()
    assert mean_loss(work, training.outputs(), y) < 0.99 * before


@pytest.mark.parametrize("task", ["classes", "yes_no", "numbers"])
@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize(("dtype", "atol"), [("float32", 2e-5), ("float64", 1e-12)])
def test_the_baseline_trains_as_the_numpy_backend_does(task, optimizer, activation, dtype, atol, rng):
    work = small(task, optimizer, activation, rows=16)
    plain = baseline.PlainNet(work, rng, dtype)
    net = nn.MLP(work.sizes, activation=activation, output=OUTPUTS[task], dtype=dtype, backend="numpy")
    net.set_weights([array for pair in zip(plain.W, plain.b, strict=True) for array in pair])
    rule = nn.Adam(1e-3) if optimizer == "adam" else nn.SGD(1e-2)
    X, y = work.data(dtype)
    dense = np.eye(work.sizes[-1], dtype=dtype)[y] if task == "classes" else y
    before = net.get_weights()[0]
    for _ in range(5):
        plain.step(X, dense)
        net.train_step(X, y, optimizer=rule)
    assert not np.array_equal(net.get_weights()[0], before)
    mine = [array for pair in zip(plain.W, plain.b, strict=True) for array in pair]
    for theirs, array in zip(net.get_weights(), mine, strict=True):
        assert array.dtype == dtype
        np.testing.assert_allclose(array, theirs, atol=atol, rtol=0)
    np.testing.assert_allclose(plain.activated(plain.layers(X)[-1]), net.predict(X), atol=10 * atol)


def test_an_epoch_of_nncore_goes_through_all_steps(backend, monkeypatch):
    optimizers = []
    monkeypatch.setattr(nn, "Adam", lambda rate: optimizers.append(nn.optimizers.Adam(rate)) or optimizers[-1])
    training = contestants.nncore_training(WORKLOADS["iris"], "float32", 0, backend)
    training.epoch()
    training.epoch()
    assert optimizers[0].steps == 2 * WORKLOADS["iris"].steps


def test_an_epoch_of_the_baseline_goes_through_all_rows(monkeypatch):
    seen = []
    monkeypatch.setattr(baseline.PlainNet, "step", lambda self, x, y: seen.append(x))
    work = WORKLOADS["iris"]
    baseline.training(work, "float32", 1).epoch()
    assert len(seen) == work.steps
    X = work.data()[0]
    assert not np.array_equal(np.concatenate(seen), X)
    np.testing.assert_array_equal(np.sort(np.concatenate(seen), axis=0), np.sort(X, axis=0))


def test_who_takes_part_is_who_is_installed(monkeypatch):
    there = {"nncore", "numpy", "torch"}
    monkeypatch.setattr(contestants, "find_spec", lambda name: object() if name in there else None)
    assert contestants.usual() == ["nncore", "numpy", "torch"]
    assert not contestants.installed("jax")
