"""The state of optimizers: copies, pickles, state() and load_state()."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

import nncore as nn

KINDS = [
    lambda: nn.SGD(0.1),
    lambda: nn.SGD(0.1, momentum=0.9, nesterov=True, weight_decay=0.01),
    lambda: nn.Adam(0.01, beta1=0.8),
    lambda: nn.AdamW(0.01),
    lambda: nn.NAdam(0.01, momentum_decay=0.1),
    lambda: nn.RMSprop(0.01),
    lambda: nn.Adagrad(0.1),
    lambda: nn.Lion(0.01),
    lambda: nn.Adam(nn.schedules.Cosine(0.01, steps=20, warmup=3)),
    lambda: nn.Adam(nn.schedules.ReduceOnPlateau(0.1, patience=0, threshold=0.9)),
    lambda: nn.LBFGS(history=3),
    lambda: nn.LevenbergMarquardt(0.1),
]
every_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: repr(kind()))
COPIES = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda o: pickle.loads(pickle.dumps(o)),
    "state": None,
}


@pytest.fixture
def data(rng):
    X = rng.uniform(-2, 2, (30, 2))
    return X, np.sin(X.sum(axis=1, keepdims=True))


def network(backend, dtype="float32", layers=(2, 5, 1)):
    return nn.MLP(list(layers), activation="tanh", output="identity", dtype=dtype, seed=4, backend=backend)


def train(net, optimizer, data, epochs):
    batch = None if optimizer.second_order else 7
    net.fit(*data, optimizer=optimizer, epochs=epochs, batch_size=batch)
    return [w.tobytes() for w in net.get_weights()]


@every_kind
@pytest.mark.parametrize("way", COPIES)
def test_training_goes_on_from_a_copy_to_the_same_bits(backend, kind, way, data):
    net, optimizer = network(backend), kind()
    train(net, optimizer, data, 4)
    if way == "state":
        twin = kind()
        twin.load_state(optimizer.state())
    else:
        twin = COPIES[way](optimizer)
    assert type(twin) is type(optimizer)
    assert twin.steps == optimizer.steps > 0
    if way != "state":
        assert repr(twin) == repr(optimizer)
    other = copy.deepcopy(net)  # another network, which the copy may train as it belongs to nobody
    second = COPIES["pickle"](twin)  # a copy of what no network has seen yet
    third = copy.deepcopy(net)
    after = train(net, optimizer, data, 4)
    assert train(other, twin, data, 4) == after
    assert train(third, second, data, 4) == after
    with pytest.raises(ValueError, match="optimizer has trained another network"):
        train(net, twin, data, 1)


@every_kind
def test_load_state_into_an_optimizer_that_has_an_owner(backend, kind, data):
    net, optimizer = network(backend), kind()
    train(net, optimizer, data, 3)
    saved, weights, epochs = optimizer.state(), net.get_weights(), net.epochs_trained
    after = train(net, optimizer, data, 3)
    optimizer.load_state(saved)
    net.set_weights(weights)
    net._epochs_trained = epochs
    assert train(net, optimizer, data, 3) == after
    fresh = kind().state()  # and back to the beginning
    optimizer.load_state(fresh)
    assert optimizer.steps == 0
    again = network(backend)
    net.set_weights(again.get_weights())
    net._epochs_trained = 0
    assert train(net, optimizer, data, 2) == train(again, kind(), data, 2)


@every_kind
def test_the_state_is_a_copy_of_arrays_in_the_order_of_the_weights(backend, kind, data):
    net, optimizer = network(backend), kind()
    empty = optimizer.state()
    assert empty["name"] == optimizer.name
    assert empty["steps"] == 0
    assert not empty["slots"]
    train(net, optimizer, data, 4)
    state = optimizer.state()
    shapes = [w.shape for w in net.get_weights()]
    assert [[a.shape for a in slot] for slot in state["slots"]] == [shapes] * len(state["slots"])
    for slot in state["slots"]:
        for array in slot:
            array[...] = np.nan
    assert all(np.isfinite(a).all() for slot in optimizer.state()["slots"] for a in slot)


def test_the_slots_are_what_they_say(backend, data):
    net, optimizer = network(backend, "float64"), nn.SGD(0.1, momentum=0.5)
    _, gradients = net.loss_and_gradients(*data)
    net.train_step(*data, optimizer=optimizer)
    (velocity,) = optimizer.state()["slots"]
    for v, g in zip(velocity, gradients, strict=True):
        np.testing.assert_allclose(v, g, rtol=1e-12, atol=1e-15)


def test_a_state_goes_from_one_backend_to_the_other(data):
    pytest.importorskip("nncore._core")
    native, plain = network("native", "float64"), network("numpy", "float64")
    first, second = nn.Adam(0.01), nn.Adam(0.01)
    train(native, first, data, 3)
    plain.set_weights(native.get_weights())
    plain._epochs_trained = 3
    second.load_state(first.state())
    train(native, first, data, 3)
    train(plain, second, data, 3)
    for a, b in zip(native.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)


def changed(**entries):
    state = {"name": "adam", "steps": 2, "slots": [[np.zeros(s) for s in ((2, 5), (5,), (5, 1), (1,))]] * 2}
    return {key: value for key, value in {**state, **entries}.items() if value is not ...}


@pytest.mark.parametrize(
    ("state", "error", "message"),
    [
        (None, TypeError, "state is of type NoneType; expected a dict"),
        (changed(name="sgd"), ValueError, "state is that of 'sgd'; this optimizer is 'adam'"),
        (changed(steps=...), ValueError, "state has no entry 'steps'"),
        (changed(steps=-1), ValueError, r"state\['steps'\] is -1"),
        (changed(steps=1.5), TypeError, r"state\['steps'\] is 1.5"),
        (changed(slots=None), ValueError, r"state\['slots'\] is None after 2 steps"),
        (changed(slots=3), TypeError, r"state\['slots'\] is no list of lists"),
        (changed(slots=[1, 2]), TypeError, r"state\['slots'\] is no list of lists"),
        (changed(slots=[["a"], ["b"]]), TypeError, r"state\['slots'\]"),
        (changed(slots=[[]]), ValueError, r"state\['slots'\] has 1 slots; Adam with these settings takes 2"),
        (changed(slots=[[np.array([np.nan])]] * 2), ValueError, r"state\['slots'\] has a non-finite value"),
        (changed(slots=[[np.zeros(3)]] * 2), ValueError, r"state\['slots'\]\[0\] has the shapes \[\(3,\)\]"),
    ],
)
def test_a_state_that_does_not_fit_is_refused_and_changes_nothing(backend, state, error, message, data):
    net, optimizer = network(backend), nn.Adam(0.01)
    train(net, optimizer, data, 1)
    before = optimizer.state()
    with pytest.raises(error, match=message):
        optimizer.load_state(state)
    after = optimizer.state()
    assert after["steps"] == before["steps"]
    for slot, same in zip(after["slots"], before["slots"], strict=True):
        for a, b in zip(slot, same, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("kind", [lambda: nn.Adam(), lambda: nn.LBFGS()], ids=["adam", "lbfgs"])
def test_shapes_of_another_network_are_refused_when_they_meet(backend, kind, data):
    net, optimizer = network(backend), kind()
    train(net, optimizer, data, 2)
    twin, other = copy.deepcopy(optimizer), network(backend, layers=(2, 6, 1))
    before = other.get_weights()
    with pytest.raises(ValueError, match=r"state\['slots'\].* has the shapes .*; this network's weights have"):
        train(other, twin, data, 1)
    for a, b in zip(other.get_weights(), before, strict=True):
        np.testing.assert_array_equal(a, b)
    train(network(backend), twin, data, 1)  # it still belongs to nobody


def test_bad_data_leave_a_loaded_state_for_the_next_network(backend, data):
    net, optimizer = network(backend), nn.Adam(0.01)
    train(net, optimizer, data, 2)
    twin, other, steps = copy.deepcopy(optimizer), copy.deepcopy(net), optimizer.steps
    bad = data[0].copy()
    bad[:, 0] = np.nan
    with pytest.raises(ValueError, match="X has a non-finite value"):
        network(backend).fit(bad, data[1], optimizer=twin)
    assert twin.steps == steps
    assert train(other, twin, data, 2) == train(net, optimizer, data, 2)


def test_a_copys_schedule_has_a_state_of_its_own(backend, data):
    optimizer = nn.SGD(nn.schedules.ReduceOnPlateau(0.1, patience=0, threshold=0.9))
    train(network(backend), optimizer, data, 1)
    twin = copy.copy(optimizer)
    train(network(backend), twin, data, 3)
    assert twin.rate < optimizer.rate == 0.1
    with pytest.raises(ValueError, match="state's rate is 3"):
        optimizer.load_state({**optimizer.state(), "schedule": {"best": 1.0, "bad": 0, "cooling": 0, "rate": 3}})
    with pytest.raises(ValueError, match="state of the schedule has no entry 'bad'"):
        optimizer.load_state({**optimizer.state(), "schedule": {"best": 1.0}})
    assert optimizer.rate == 0.1
