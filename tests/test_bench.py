"""The bench's own numbers: what a step costs, and that all contestants of this package do the same work."""

from __future__ import annotations

import baseline_numpy
import bench_train
import numpy as np
import pytest
from workloads import WORKLOADS, Workload

import nncore as nn


def test_flops_of_a_step_counted_by_hand():
    # 5 rows; 2 x 3 and 3 x 4 weights: 12 and 24 operations a row. The first layer has no gradient for its inputs.
    assert Workload((2, 3, 4), "relu", "numbers", 5, "sgd", 20).flops == 5 * (2 * 12 + 3 * 24)
    assert WORKLOADS["digits"].flops == 32 * (2 * 2 * 64 * 64 + 3 * 2 * 64 * 10)
    assert WORKLOADS["wide"].flops == 1024 * (2 + 3 * 3) * 2 * 1024**2


@pytest.mark.parametrize("name", WORKLOADS)
def test_every_workload_has_whole_batches_and_data_that_fit(name):
    work = WORKLOADS[name]
    X, y = work.data()
    assert work.steps * work.batch == work.rows
    assert X.shape == (work.rows, work.sizes[0]) and X.dtype == np.float32
    if work.task == "classes":
        assert y.shape == (work.rows,) and set(np.unique(y)) == set(range(work.sizes[-1]))
    else:
        assert y.shape == (work.rows, work.sizes[-1]) and y.dtype == np.float32


@pytest.mark.parametrize("task", ["classes", "yes_no", "numbers"])
@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_the_baseline_trains_as_the_numpy_backend_does(task, optimizer, activation, rng):
    outputs = 1 if task == "yes_no" else 3
    work = Workload((5, 7, outputs), activation, task, 16, optimizer, 16)
    plain = baseline_numpy.PlainNet(work, rng)
    output = {"classes": "softmax", "yes_no": "sigmoid", "numbers": "identity"}[task]
    net = nn.MLP(work.sizes, activation=activation, output=output, backend="numpy")
    net.set_weights([array for pair in zip(plain.W, plain.b, strict=True) for array in pair])
    rule = nn.Adam(1e-3) if optimizer == "adam" else nn.SGD(1e-2)
    X, y = work.data()
    dense = np.eye(outputs, dtype=np.float32)[y] if task == "classes" else y
    before = net.get_weights()[0]
    for _ in range(5):
        plain.step(X, dense)
        net.train_step(X, y, optimizer=rule)
    assert not np.array_equal(net.get_weights()[0], before)
    for mine, theirs in zip(
        net.get_weights(), [a for pair in zip(plain.W, plain.b, strict=True) for a in pair], strict=True
    ):
        np.testing.assert_allclose(theirs, mine, atol=2e-5)


def test_an_epoch_of_the_backend_goes_through_all_steps(backend, monkeypatch):
    optimizers = []
    monkeypatch.setattr(nn, "Adam", lambda rate: optimizers.append(nn.optimizers.Adam(rate)) or optimizers[-1])
    epoch = bench_train.nncore_epochs(WORKLOADS["iris"], backend)
    epoch()
    epoch()
    assert optimizers[0].steps == 2 * WORKLOADS["iris"].steps


def test_the_median_of_a_call_is_positive_and_the_function_is_called():
    calls = []
    assert bench_train.seconds_per_call(lambda: calls.append(None), 1e-4) > 0
    assert len(calls) >= 2 + bench_train.BATCHES_OF_TIMING


def test_one_row_predictions_agree(monkeypatch):
    np.testing.assert_allclose(bench_train.one_row("numpy")(), bench_train.one_row("nncore")(), atol=1e-5)
