"""net.plan: operations, times and the choice of threads. Times are only asked to be there."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import HAS_CORE

import nncore as nn
from nncore import engines

native = pytest.mark.skipif(not HAS_CORE, reason="nncore._core cannot be imported")


@native
def test_each_layer_has_operations_and_times():
    plan = nn.MLP([64, 48, 10], output="softmax").plan(batch_size=32)
    assert [layer.flops for layer in plan.layers] == [
        (2 * 32 * 64 * 48, 0, 2 * 32 * 64 * 48),
        (2 * 32 * 48 * 10,) * 3,
    ]
    assert plan.flops == 2 * 2 * 32 * 64 * 48 + 3 * 2 * 32 * 48 * 10
    for layer in plan.layers:
        for times in (layer.predicted, layer.measured):
            assert times is not None
            assert all((value > 0) == (flops > 0) for value, flops in zip(times, layer.flops, strict=True))
    assert plan.peak is not None and plan.peak > 1e8
    assert plan.threads == min(plan.measured, key=plan.measured.__getitem__)
    assert set(plan.measured) == set(plan.predicted)


@native
def test_the_table_names_layers_threads_and_the_reason():
    text = str(nn.MLP([8, 5, 3], activation="tanh").plan(16))
    assert "8 -> 5" in text and "5 -> 3" in text and "tanh" in text
    assert "of FMA peak" in text and "predicted" in text and "measured" in text
    assert text.splitlines()[-1].lstrip("0123456789").startswith((" thread", " threads"))


@native
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_the_numbers_of_threads_are_those_allowed(threads):
    plan = nn.MLP([8, 5]).plan(16, threads=threads)
    usable = min(threads, nn.get_num_threads())
    assert max(plan.measured) <= usable
    assert 1 in plan.measured
    if usable == 1:
        assert plan.threads == 1 and "1 thread:" in plan.reason


@pytest.mark.parametrize("backend", ["numpy", pytest.param("native", marks=native)])
@pytest.mark.parametrize(
    "optimizer", ["adam", nn.SGD(0.1), nn.SGD(0.1, momentum=0.9, nesterov=True), nn.Adam(1e-2, weight_decay=0.1)]
)
def test_nothing_is_changed(backend, optimizer):
    net = nn.MLP([6, 5, 1], output="sigmoid", seed=3, backend=backend, dtype="float64")
    before = net.get_weights()
    plan = net.plan(7, optimizer)
    for a, b in zip(before, net.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert net.epochs_trained == 0 and net.history is None
    assert all(seconds > 0 for seconds in plan.measured.values())
    if not isinstance(optimizer, str):
        rate = optimizer.learning_rate
        assert optimizer.steps == 0 and rate > 0
        net.fit(np.zeros((4, 6)), np.array([0, 1, 0, 1]), optimizer=type(optimizer)(rate), epochs=1)
    assert "thread" in str(plan)


def test_the_numpy_backend_has_its_steps_measured():
    plan = nn.MLP([6, 5, 2], backend="numpy").plan(8)
    assert list(plan.measured) == [0] and plan.predicted == {} and plan.peak is None
    assert "BLAS" in str(plan)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batch_size": 0}, "batch_size is 0"),
        ({"batch_size": 2.5}, "batch_size"),
        ({"optimizer": "lbfgs2"}, "optimizer"),
        ({"threads": 0}, "threads is 0"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises((TypeError, ValueError), match=message):
        nn.MLP([3, 2]).plan(**arguments)


@native
def test_fewer_threads_for_a_while_are_no_more_than_that():
    with nn.threads(1):
        assert set(nn.MLP([64, 64]).plan(64).measured) == {1}
    assert max(nn.MLP([64, 64]).plan(64).measured) == engines.core().usable_threads()


@native
def test_large_weights_do_not_get_in_the_way():
    net = nn.MLP([3, 4, 2], seed=0)
    net.set_weights([np.full(w.shape, 1e38) for w in net.get_weights()])
    assert net.plan(4).threads >= 1


@native
def test_a_step_too_small_for_two_begins_with_one():
    plan = nn.MLP([2, 2]).plan(4)
    assert plan.begins == 1
