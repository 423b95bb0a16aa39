"""Tests of the optimizers: the update rules against plain loops, settings, ownership."""

import copy
import gc
import math
import pickle

import numpy as np
import pytest

import nncore as nn
from nncore import optimizers
from nncore.optimizers import SGD, Adagrad, Adam, AdamW, Lion, NAdam, RMSprop

FLOATS = [np.float32, np.float64]
EVERY = [SGD(), SGD(momentum=0.9), SGD(momentum=0.9, nesterov=True), Adam()]
EVERY += [AdamW(), NAdam(), RMSprop(), Adagrad(), Lion(1e-2)]


def run(optimizer, weight, gradients, decay=0.0, rate=None):
    """Update a copy of `weight` once for each gradient, and return it."""
    w = weight.copy()
    slots = [np.zeros_like(w) for _ in range(optimizer.n_slots)]
    for step, gradient in enumerate(gradients, start=1):
        optimizer.update(w, gradient.copy(), slots, optimizer.learning_rate if rate is None else rate, step, decay)
    return w


def sgd_in_plain_python(w, gradients, lr, mu=0.0, nesterov=False, wd=0.0):
    v = 0.0
    for g in gradients:
        g += wd * w
        v = mu * v + g
        w -= lr * ((g + mu * v) if nesterov else v)
    return w


def adam_in_plain_python(w, gradients, lr, b1, b2, eps, wd=0.0):
    m = v = 0.0
    for t, g in enumerate(gradients, start=1):
        g += wd * w
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * g * g
        w -= lr / (1 - b1**t) * m / (math.sqrt(v / (1 - b2**t)) + eps)
    return w


def data(seed=0, steps=25):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((3, 4)), rng.standard_normal((steps, 3, 4))


def expected(rule, w, gradients, *args, **kwargs):
    flat = gradients.reshape(len(gradients), -1)
    return np.reshape([rule(w.flat[i], flat[:, i].tolist(), *args, **kwargs) for i in range(w.size)], w.shape)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"momentum": 0.9},
        {"momentum": 0.5, "nesterov": True},
        {"weight_decay": 0.1},
        {"momentum": 0.9, "nesterov": True, "weight_decay": 0.3},
    ],
    ids=str,
)
def test_sgd(settings):
    w, gradients = data()
    result = run(SGD(0.05, **settings), w, gradients, decay=settings.get("weight_decay", 0.0))
    rule = {"mu": settings.get("momentum", 0.0), "nesterov": settings.get("nesterov", False)}
    rule["wd"] = settings.get("weight_decay", 0.0)
    np.testing.assert_allclose(result, expected(sgd_in_plain_python, w, gradients, 0.05, **rule), rtol=1e-12)


@pytest.mark.parametrize("betas", [(0.9, 0.999), (0.0, 0.5), (0.5, 0.0), (0.0, 0.0)])
@pytest.mark.parametrize("decay", [0.0, 0.2])
def test_adam(betas, decay):
    w, gradients = data(1)
    result = run(Adam(0.01, *betas, epsilon=1e-3, weight_decay=decay), w, gradients, decay=decay)
    np.testing.assert_allclose(
        result, expected(adam_in_plain_python, w, gradients, 0.01, *betas, 1e-3, decay), rtol=1e-12
    )


def test_worked_numbers():
    # One step of the texts' network, learning rate 0.1.
    w = np.array([0.8, 0.2, -1.0, 0.5])
    result = run(SGD(0.1), w, [np.array([0.262, 0.524, -0.314, -0.524])])
    np.testing.assert_allclose(result, [0.774, 0.148, -0.969, 0.552], atol=5e-4)
    # The first step of Adam is the rate, whatever the gradient's size.
    np.testing.assert_allclose(run(Adam(0.1), np.zeros(2), [np.array([1e-3, -1e3])]), [-0.1, 0.1], rtol=1e-4)


@pytest.mark.parametrize("optimizer", EVERY, ids=repr)
@pytest.mark.parametrize("dtype", FLOATS)
def test_updates_keep_the_dtype_and_follow_the_given_decay(optimizer, dtype):
    w, gradients = (a.astype(dtype) for a in data(2))
    result = run(optimizer, w, gradients)
    assert result.dtype == dtype
    np.testing.assert_allclose(result, run(optimizer, w.astype(float), gradients.astype(float)), rtol=2e-5, atol=2e-6)
    assert np.abs(result - run(optimizer, w, gradients, decay=0.5)).max() > 1e-4
    # A rate of 0 changes no bit.
    np.testing.assert_array_equal(run(optimizer, w, gradients, rate=0.0, decay=0.5), w)


@pytest.mark.parametrize("optimizer", EVERY, ids=repr)
def test_updates_are_in_place_and_elementwise(optimizer):
    w, gradients = data(3)
    flat = run(optimizer, w.ravel(), gradients.reshape(len(gradients), -1))
    np.testing.assert_array_equal(run(optimizer, w, gradients).ravel(), flat)
    buffer = np.zeros((3, 4))
    view = buffer[:, 1:3]
    slots = [np.zeros_like(view) for _ in range(optimizer.n_slots)]
    optimizer.update(view, np.ones_like(view), slots, 0.1, 1, 0.0)
    assert (buffer[:, 1:3] < 0).all()
    assert not buffer[:, [0, 3]].any()


def test_defaults_and_attributes():
    sgd, adam = SGD(), Adam()
    assert (sgd.learning_rate, sgd.momentum, sgd.nesterov, sgd.weight_decay) == (1e-2, 0.0, False, 0.0)
    assert (adam.learning_rate, adam.beta1, adam.beta2, adam.epsilon, adam.weight_decay) == (1e-3, 0.9, 0.999, 1e-8, 0)
    assert (sgd.name, sgd.n_slots, sgd.steps) == ("sgd", 0, 0)
    assert (adam.name, adam.n_slots, adam.steps) == ("adam", 2, 0)
    assert repr(AdamW()) == "AdamW(learning_rate=0.001, beta1=0.9, beta2=0.999, epsilon=1e-08, weight_decay=0.01)"
    assert repr(NAdam()) == f"NAdam{repr(Adam())[4:-1]}, momentum_decay=0.004)"
    assert repr(RMSprop()) == "RMSprop(learning_rate=0.001, rho=0.99, epsilon=1e-08, weight_decay=0.0)"
    assert repr(Adagrad()) == "Adagrad(learning_rate=0.01, epsilon=1e-10, weight_decay=0.0)"
    assert repr(Lion()) == "Lion(learning_rate=0.0001, beta1=0.9, beta2=0.99, weight_decay=0.0)"
    assert [kind().n_slots for kind in (AdamW, NAdam, RMSprop, Adagrad, Lion)] == [2, 2, 1, 1, 1]
    assert SGD(momentum=0.9).n_slots == 1
    assert SGD(learning_rate=0).learning_rate == 0
    assert SGD(1e30).learning_rate == 1e30
    assert type(SGD(np.float32(0.5)).learning_rate) is float
    assert repr(SGD(0.1)) == "SGD(learning_rate=0.1, momentum=0.0, nesterov=False, weight_decay=0.0)"
    assert repr(Adam()) == "Adam(learning_rate=0.001, beta1=0.9, beta2=0.999, epsilon=1e-08, weight_decay=0.0)"


def test_learning_rate_may_be_changed():
    optimizer = Adam()
    optimizer.learning_rate = 0.5
    assert optimizer.learning_rate == 0.5
    with pytest.raises(ValueError, match="learning_rate is -1; expected a finite number of at least 0"):
        optimizer.learning_rate = -1
    assert optimizer.learning_rate == 0.5


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        (SGD, {"learning_rate": -0.1}, "learning_rate is -0.1; expected a finite number of at least 0"),
        (SGD, {"learning_rate": math.nan}, "learning_rate is nan"),
        (Adam, {"learning_rate": math.inf}, "learning_rate is inf"),
        (SGD, {"momentum": 1}, "momentum is 1; expected a finite number of at least 0 and below 1"),
        (SGD, {"momentum": -0.1}, "momentum is -0.1"),
        (SGD, {"weight_decay": -1}, "weight_decay is -1"),
        (SGD, {"nesterov": True}, "nesterov is True and momentum is 0"),
        (Adam, {"beta1": 1.0}, "beta1 is 1.0"),
        (Adam, {"beta2": -0.5}, "beta2 is -0.5"),
        (Adam, {"epsilon": 0}, "epsilon is 0; expected a finite number above 0"),
        (Adam, {"weight_decay": math.inf}, "weight_decay is inf"),
        (AdamW, {"weight_decay": -0.1}, "weight_decay is -0.1"),
        (NAdam, {"momentum_decay": -1}, "momentum_decay is -1; expected a finite number of at least 0"),
        (RMSprop, {"rho": 1}, "rho is 1; expected a finite number of at least 0 and below 1"),
        (RMSprop, {"epsilon": 0.0}, "epsilon is 0.0"),
        (Adagrad, {"epsilon": -1e-8}, "epsilon is -1e-08"),
        (Lion, {"beta1": 1}, "beta1 is 1"),
        (Lion, {"beta2": math.nan}, "beta2 is nan"),
    ],
)
def test_values_out_of_range(kind, settings, message):
    with pytest.raises(ValueError, match=message):
        kind(**settings)


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        (SGD, {"learning_rate": "0.1"}),
        (SGD, {"learning_rate": None}),
        (SGD, {"momentum": True}),
        (SGD, {"momentum": 0.9, "nesterov": 1}),
        (Adam, {"beta1": [0.9]}),
        (Adam, {"epsilon": "small"}),
    ],
)
def test_values_of_another_type(kind, settings):
    with pytest.raises(TypeError, match=f"{list(settings)[-1]} is .*; expected"):
        kind(**settings)


class Network:
    """Something to belong to."""


def test_an_optimizer_belongs_to_its_first_network():
    optimizer, first, second = Adam(), Network(), Network()
    optimizer._bind(first)
    optimizer._bind(first)
    with pytest.raises(ValueError, match=r"optimizer has trained another network .*; expected a new Adam"):
        optimizer._bind(second)
    del first
    gc.collect()
    with pytest.raises(ValueError, match=r"optimizer has trained another network .*; expected a new Adam"):
        optimizer._bind(second)


def test_get():
    assert type(optimizers.get("sgd")) is SGD
    assert type(optimizers.get("adam")) is Adam
    for kind in (AdamW, NAdam, RMSprop, Adagrad, Lion, nn.LBFGS, nn.LevenbergMarquardt):
        assert type(optimizers.get(kind.name)) is kind
        assert getattr(nn, kind.__name__) is getattr(optimizers, kind.__name__) is kind
    assert optimizers.get("adam") is not optimizers.get("adam")
    optimizer = SGD(0.5)
    assert optimizers.get(optimizer) is optimizer
    with pytest.raises(ValueError, match="optimizer is 'lamb'; expected one of 'sgd', 'adam'"):
        optimizers.get("lamb")
    with pytest.raises(
        TypeError, match=r"optimizer is the class Adam; expected one of 'sgd', 'adam', .*, or an object of"
    ):
        optimizers.get(Adam)


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda o: pickle.loads(pickle.dumps(o))])
def test_a_new_optimizer_can_be_copied(duplicate):
    optimizer = SGD(0.5, momentum=0.9, nesterov=True, weight_decay=0.1)
    assert repr(duplicate(optimizer)) == repr(optimizer)
