"""net.trace against the network's own gradients and steps, and the table that it prints."""

from __future__ import annotations

import copy
import re

import numpy as np
import pytest

from nncore import (
    MLP,
    SGD,
    Adam,
    BatchNorm,
    Columns,
    Dense,
    DivergenceError,
    Dropout,
    GaussianNoise,
    LayerNorm,
    LeakyReLU,
    Sequential,
    losses,
    relu,
    sigmoid,
)


def by_hand(backend="numpy", dtype="float64"):
    net = MLP([1, 1, 1], activation="relu", output="sigmoid", dtype=dtype, backend=backend)
    net.set_weights([[[0.8]], [0.2], [[-1.0]], [0.5]])
    return net


NETS = {
    "softmax, labels": ([Dense(2, 3, "relu"), Dense(3, 2, "softmax")], [1, 0, 1], None),
    "softmax, rows": ([Dense(2, 3, "tanh"), Dense(3, 3, "softmax")], np.eye(3), None),
    "softmax, mse": ([Dense(2, 3, "sigmoid"), Dense(3, 2, "softmax")], [1, 0, 1], "mse"),
    "sigmoid, bce": ([Dense(2, 3, LeakyReLU(0.2)), Dense(3, 2, "sigmoid")], [[0, 1], [1, 1], [0, 0]], None),
    "sigmoid, mse": ([Dense(2, 4, "tanh"), Dense(4, 4, "relu"), Dense(4, 1, "sigmoid")], [0, 1, 1], "mse"),
    "identity, mse": ([Dense(2, 3, "tanh"), Dense(3, 2)], [[0.5, -1], [2, 0.1], [0, 3]], None),
}
OPTIMIZERS = {
    "plain": lambda: SGD(0.1),
    "nesterov": lambda: SGD(0.1, momentum=0.9, nesterov=True, weight_decay=0.01),
    "adam": lambda: Adam(0.01),
}


@pytest.fixture(params=NETS)
def case(request, backend, rng):
    layers, y, loss = NETS[request.param]
    net = Sequential(layers, dtype="float64", seed=3, backend=backend)
    weights = [rng.standard_normal(array.shape) for array in net.get_weights()]
    net.set_weights(weights)
    return net, rng.standard_normal((3, 2)), y, loss


def flat(trace, W, b):
    return [array for pair in zip(getattr(trace, W), getattr(trace, b), strict=True) for array in pair]


# ----------------------------------------------------------------------------------------------- the right numbers


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_equals_gradients_and_a_step_on_a_copy(case, optimizer):
    net, X, y, loss = case
    opt = OPTIMIZERS[optimizer]()
    for round_ in range(3):  # the second and third trace meet an optimizer with a state
        trace = net.trace(X, y, loss=loss, optimizer=opt)
        value, gradients = net.loss_and_gradients(X, y, loss)
        assert trace.loss == pytest.approx(value, rel=1e-13)
        for found, expected in zip(flat(trace, "dL_dW", "dL_db"), gradients, strict=True):
            np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-14)
        for found, expected in zip(flat(trace, "W", "b"), net.get_weights(), strict=True):
            np.testing.assert_array_equal(found, expected)
        assert opt.steps == round_
        net.train_step(X, y, opt, loss)
        for found, expected in zip(flat(trace, "new_W", "new_b"), net.get_weights(), strict=True):
            np.testing.assert_array_equal(found, expected)


def test_the_chain_holds(case):
    """What trace computes itself: z and a from the layers, dL/dz and dL/da by the chain rule and by differences."""
    net, X, y, loss = case
    trace = net.trace(X, y, loss=loss)
    before = X
    for k, (layer, outputs) in enumerate(zip(net.layers, net.forward(X, layers=True), strict=True)):
        np.testing.assert_allclose(trace.z[k], before @ trace.W[k] + trace.b[k], rtol=1e-13, atol=1e-15)
        np.testing.assert_allclose(trace.a[k], layer.activation(trace.z[k]), rtol=1e-13)
        np.testing.assert_allclose(trace.a[k], outputs, rtol=1e-12, atol=1e-14)
        np.testing.assert_allclose(before.T @ trace.dL_dz[k], trace.dL_dW[k], rtol=1e-11, atol=1e-14)
        np.testing.assert_allclose(trace.dL_dz[k].sum(axis=0), trace.dL_db[k], rtol=1e-11, atol=1e-14)
        before = outputs
    for k in range(len(net.layers) - 1):
        np.testing.assert_allclose(trace.dL_da[k], trace.dL_dz[k + 1] @ trace.W[k + 1].T, rtol=1e-13)
        slope = net.layers[k].activation.derivative(trace.z[k])
        np.testing.assert_allclose(trace.dL_dz[k], trace.dL_da[k] * slope, rtol=1e-13)
    cost = losses.get(loss or losses.default_for(net.layers[-1].activation))
    for at in np.ndindex(trace.a[-1].shape):
        step = np.zeros(trace.a[-1].shape)
        step[at] = 1e-6
        slope = (cost(trace.a[-1] + step, trace.y) - cost(trace.a[-1] - step, trace.y)) / 2e-6
        assert trace.dL_da[-1][at] == pytest.approx(slope, rel=1e-6, abs=1e-8)


NORMS = {
    "batch": (BatchNorm, 3),
    "batch, one row": (BatchNorm, 1),  # by the running statistics
    "layer": (LayerNorm, 3),
}


@pytest.mark.parametrize("kind", NORMS)
def test_normalisations(backend, rng, kind):
    """Against the formulas by hand, and the engine's gradients and step."""
    make, n = NORMS[kind]
    layers = [Dense(2, 4, "tanh"), make(activation="relu"), Dense(4, 2, "softmax")]
    net = Sequential(layers, dtype="float64", seed=3, backend=backend)
    net.fit(rng.standard_normal((20, 2)), rng.integers(0, 2, 20), epochs=2)  # running statistics of its own
    net.set_weights([rng.standard_normal(array.shape) for array in net.get_weights()])
    state = net.get_state()
    X, y = rng.standard_normal((n, 2)), [1, 0, 1][:n]
    trace = net.trace(X, y, optimizer=SGD(0.1))
    assert trace.norms == [False, True, False] and trace.xhat[0] is None is trace.xhat[2]
    _, gamma, _ = trace.W
    before = trace.a[0]
    if kind == "batch, one row":
        mean, variance = state
    else:
        axis = 0 if make is BatchNorm else 1
        mean, variance = before.mean(axis, keepdims=True), before.var(axis, keepdims=True)
    np.testing.assert_allclose(trace.xhat[1], (before - mean) / np.sqrt(variance + 1e-5), rtol=1e-12)
    np.testing.assert_allclose(trace.z[1], trace.xhat[1] * gamma + trace.b[1], rtol=1e-13)
    np.testing.assert_allclose(trace.dL_dz[1], trace.dL_da[1] * (trace.z[1] > 0), rtol=1e-13)
    np.testing.assert_allclose(trace.dL_dW[1], (trace.dL_dz[1] * trace.xhat[1]).sum(axis=0), rtol=1e-11, atol=1e-14)
    np.testing.assert_allclose(trace.dL_db[1], trace.dL_dz[1].sum(axis=0), rtol=1e-11, atol=1e-14)
    # The way back through the normalisation ends in the engine's gradients of the layer below.
    np.testing.assert_allclose(trace.dL_dz[0], trace.dL_da[0] * (1 - before**2), rtol=1e-12)
    np.testing.assert_allclose(trace.dL_dW[0], X.T @ trace.dL_dz[0], rtol=1e-10, atol=1e-13)
    value, gradients = net.loss_and_gradients(X, y)
    assert trace.loss == value and abs(trace.dL_dW[0]).max() > 1e-3
    for found, expected in zip(flat(trace, "dL_dW", "dL_db"), gradients, strict=True):
        np.testing.assert_array_equal(found, expected)
    for a, b in zip(net.get_state(), state, strict=True):
        np.testing.assert_array_equal(a, b)
    net.train_step(X, y, SGD(0.1))
    for found, expected in zip(flat(trace, "new_W", "new_b"), net.get_weights(), strict=True):
        np.testing.assert_array_equal(found, expected)
    lines = [re.split("  +", line.strip())[0] for line in str(trace).splitlines()]
    rows = "" if n == 1 else "sum over rows of "
    for label in (
        "gamma2", "beta2", "xhat2 = (a1 - mean) / deviation", "z2 = xhat2 * gamma2 + beta2", "a2 = relu(z2)",
        "W3", f"dL/dgamma2 = {rows}dL/dz2 * xhat2", f"dL/dbeta2 = {rows}dL/dz2",
        "dL/da1 = dL/dz2 * gamma2 * dxhat2/da1", "new gamma2", "new beta2", "new W3",
        "Update: W - 0.1 dL/dW, and so for b, gamma and beta",
    ):  # fmt: skip
        assert label in lines, label
    assert lines[0].startswith("One training iteration: 2-4-2, ")


@pytest.mark.parametrize("layer", [Dropout(0.1), GaussianNoise(0.1), Columns({0: 3}, 2)])
def test_other_layers_are_refused(backend, layer):
    net = Sequential([layer, Dense(2 if layer.n_out < 3 else layer.n_out, 1)], backend=backend)
    with pytest.raises(
        ValueError, match=r"layer 0 is .*; trace takes networks of Dense layers and normalisations only"
    ):
        net.trace([1.0, 2.0], 1)


def test_one_iteration_by_hand(backend):
    trace = by_hand(backend).trace(0.5, 1, loss="bce", optimizer=SGD(0.1))
    p = 1 / (1 + np.exp(0.1))
    found = [trace.z[0], trace.a[0], trace.z[1], trace.a[1], trace.dL_da[1], trace.dL_dz[1], trace.dL_dW[1],
             trace.dL_db[1], trace.dL_da[0], trace.dL_dz[0], trace.dL_dW[0], trace.dL_db[0]]  # fmt: skip
    expected = [0.6, 0.6, -0.1, p, -1 / p, p - 1, 0.6 * (p - 1), p - 1, 1 - p, 1 - p, 0.5 * (1 - p), 1 - p]
    np.testing.assert_allclose([array.item() for array in found], expected, rtol=1e-13)
    assert trace.loss == pytest.approx(0.744396660073571, rel=1e-13)
    new = [array.item() for array in flat(trace, "new_W", "new_b")]
    expected = [0.8 - 0.05 * (1 - p), 0.2 - 0.1 * (1 - p), -1 + 0.06 * (1 - p), 0.5 + 0.1 * (1 - p)]
    np.testing.assert_allclose(new, expected, rtol=1e-13)


@pytest.mark.parametrize("y", [0, 1])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("z", [-1000.0, 1000.0])
def test_certain_outputs_have_finite_gradients(backend, dtype, y, z):
    net = Sequential([Dense(1, 1, "sigmoid")], dtype=dtype, backend=backend)
    net.set_weights([[[z]], [0.0]])
    trace = net.trace(1.0, y)
    assert trace.dL_dz[0].item() == float(z > 0) - y
    assert np.isfinite(trace.dL_da[0]).all()
    assert trace.loss == (0 if (z > 0) == y else 1000)
    net = Sequential([Dense(1, 2, "softmax")], dtype=dtype, backend=backend)
    net.set_weights([[[z, 0.0]], [0.0, 0.0]])
    trace = net.trace([1.0], y)
    p = np.array([[z > 0, z < 0]], float)
    np.testing.assert_array_equal(trace.dL_dz[0], p - np.eye(2)[[y]])
    assert np.isfinite(trace.dL_da[0]).all()
    assert trace.loss == (0 if p[0, y] else 1000)
    assert "nan" not in str(trace) and "inf" not in str(trace)


def test_float32(backend):
    trace = by_hand(backend, "float32").trace([0.5], [1], optimizer=SGD(0.1))
    assert {array.dtype for array in [*trace.z, *trace.dL_dz, *trace.dL_dW, *trace.new_W]} == {np.dtype("float32")}
    assert trace.dL_dz[1].item() == pytest.approx(sigmoid(-0.1) - 1, rel=1e-6)
    assert "0.773751" in str(trace)


# ---------------------------------------------------------------------------------------------- nothing is changed


def test_network_and_optimizer_stay(case):
    net, X, y, loss = case
    opt = Adam(0.01)
    net.train_step(X, y, opt, loss)
    twin, twin_opt = copy.deepcopy(net), Adam(0.01)
    twin_opt._bind(twin)
    twin_opt.steps = 1
    twin_opt._slots = twin._engine.new_slots(2)
    twin_opt._slots.load(opt._slots.arrays())
    kept = X.copy()
    for _ in range(2):
        trace = net.trace(X, y, loss=loss, optimizer=opt)
    assert opt.steps == 1 and net.epochs_trained == 0
    np.testing.assert_array_equal(X, kept)
    assert net.train_step(X, y, opt, loss) == twin.train_step(X, y, twin_opt, loss)
    for a, b in zip(net.get_weights(), twin.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.shares_memory(trace.x, X)


def test_a_fresh_optimizer_stays_free(backend):
    opt = SGD(0.1, momentum=0.5)
    by_hand(backend).trace(0.5, 1, optimizer=opt)
    other = by_hand(backend)
    other.train_step([[0.5]], [1], opt)  # no owner yet, so that this is not refused
    assert opt.steps == 1


def test_the_default_is_plain_descent(backend):
    net = by_hand(backend)
    trace = net.trace(0.5, 1)
    np.testing.assert_allclose(trace.new_W[0], trace.W[0] - 0.01 * trace.dL_dW[0], rtol=1e-14)
    assert "W - 0.01 dL/dW" in str(trace)


# --------------------------------------------------------------------------------------------------------- arguments


def test_a_row_in_every_form(backend):
    net = MLP([2, 3, 2], output="softmax", dtype="float64", seed=1, backend=backend)
    expected = str(net.trace([[1.5, -0.5]], [1]))
    for x, y in (([1.5, -0.5], 1), ([1.5, -0.5], [1]), ([[1.5, -0.5]], 1), ([1.5, -0.5], [[1]])):
        assert str(net.trace(x, y)) == expected
    np.testing.assert_array_equal(net.trace([1.5, -0.5], [0, 1]).dL_dz[0], net.trace([1.5, -0.5], 1).dL_dz[0])


@pytest.mark.parametrize(
    ("args", "error", "message"),
    [
        (([1.0, 2.0, 3.0], 1), ValueError, "x has 3 features; this network takes 2"),
        (([[1.0, 2.0]] * 2, 1), ValueError, "y is a single number"),
        (([1.0, 2.0], 2), ValueError, "y has label 2"),
        (([1.0, 2.0], [1, 0, 0]), ValueError, "y has 3 rows"),
        (([1.0, np.nan], 1), ValueError, "x has a non-finite value"),
        ((["a", "b"], 1), TypeError, "x"),
        ((None, 1), (TypeError, ValueError), "x"),
        (([1.0, 2.0], 1, "nice"), ValueError, "loss"),
        (([1.0, 2.0], 1, None, "nice"), ValueError, "optimizer"),
        (([1.0, 2.0], 1, None, 0.1), TypeError, "optimizer"),
    ],
)
def test_refused(backend, args, error, message):
    with pytest.raises(error, match=message):
        MLP([2, 3, 2], output="softmax", backend=backend).trace(*args)


def test_refused_limit_step_and_foreign_optimizer(backend):
    net = by_hand(backend)
    with pytest.raises(ValueError, match="limit is 1; expected at least 2"):
        net.trace(0.5, 1, limit=1)
    with pytest.raises(TypeError, match="limit"):
        net.trace(0.5, 1, limit=2.5)
    with pytest.raises(ValueError, match="step"):
        Sequential([Dense(1, 1, "step")], backend=backend).trace(0.5, 1)
    opt = SGD(0.1)
    by_other = by_hand(backend)
    by_other.train_step([[0.5]], [1], opt)
    with pytest.raises(ValueError, match="has trained another network"):
        net.trace(0.5, 1, optimizer=opt)


def test_divergence(backend):
    net = Sequential([Dense(1, 1)], backend=backend)
    net.set_weights([[[1.0]], [0.0]])
    with pytest.raises(DivergenceError):
        net.trace(1e10, -1e10, optimizer=SGD(1e38))
    np.testing.assert_array_equal(net.get_weights()[0], [[1.0]])


# --------------------------------------------------------------------------------------------------------- the table

TABLE = """\
One training iteration: 1-1-1, 1 row, bce
SGD(learning_rate=0.1)

Forward
  a0 = x                                  0.5
  W1                                      0.8
  b1                                      0.2
  z1 = a0 W1 + b1                         0.6
  a1 = relu(z1)                           0.6
  W2                                     -1
  b2                                      0.5
  z2 = a1 W2 + b2                        -0.1
  a2 = sigmoid(z2)                        0.475021

Loss
  y                                       1
  L = bce(a2, y)                          0.744397

Backward
  dL/da2 = (a2 - y) / (a2 (1 - a2))      -2.10517
  dL/dz2 = a2 - y                        -0.524979
  dL/dW2 = a1' dL/dz2                    -0.314988
  dL/db2 = dL/dz2                        -0.524979
  dL/da1 = dL/dz2 W2'                     0.524979
  dL/dz1 = dL/da1 * relu'(z1)             0.524979
  dL/dW1 = a0' dL/dz1                     0.26249
  dL/db1 = dL/dz1                         0.524979

Update: W - 0.1 dL/dW, and so for b
  new W1                                  0.773751
  new b1                                  0.147502
  new W2                                 -0.968501
  new b2                                  0.552498"""


@pytest.mark.parametrize("setting", ["l1", "l2", "weight_decay", "max_norm"])
def test_the_rule_is_that_of_the_numbers(backend, setting):
    """With what a layer adds to the update, new W is not W - 0.1 dL/dW, and the table must not say so."""
    plain = Sequential([Dense(1, 1)], seed=1, dtype="float64", backend=backend)
    trace = plain.trace(0.5, 1, optimizer=SGD(lambda step: 0.1 / (1 + step)))
    assert trace.rule == "W - 0.1 dL/dW"
    np.testing.assert_allclose(trace.new_W[0], trace.W[0] - 0.1 * trace.dL_dW[0], rtol=1e-15)
    other = Sequential([Dense(1, 1, **{setting: 0.01})], seed=1, dtype="float64", backend=backend)
    trace = other.trace(0.5, 1, optimizer=SGD(0.1))
    assert trace.rule == "" and "Update\n" in str(trace)
    assert abs(trace.new_W[0] - (trace.W[0] - 0.1 * trace.dL_dW[0])).max() > 1e-5
    optimizer = SGD(lambda step: 0.1 / (1 + step))
    plain.train_step([[0.5]], [1], optimizer)
    assert plain.trace(0.5, 1, optimizer=optimizer).rule == "W - 0.05 dL/dW"


def test_the_table_of_1_1_1(backend):
    text = str(by_hand(backend).trace(0.5, 1, optimizer=SGD(0.1)))
    squeezed = [re.sub(" +", " ", line) for line in text.splitlines()]
    assert squeezed == [re.sub(" +", " ", line) for line in TABLE.splitlines()]
    points = {line.index(".") for line in text.splitlines() if line.startswith("  ") and "." in line}
    assert len(points) == 1, text


def test_the_table_of_2_3_2(backend):
    net = MLP([2, 3, 2], output="softmax", dtype="float64", backend=backend)
    w1, w2 = [[0.4, -0.3], [-0.2, 0.5], [0.8, 0.1]], [[0.6, -0.4, 0.2], [-0.1, 0.3, 0.5]]
    net.set_weights([w1, [0.1, -0.1, 0.0], w2, [0.0, 0.1]], layout="out_in")
    lines = str(net.trace([[1.5, -0.5], [0.0, 1.0]], [0, 1], optimizer=SGD(0.1))).splitlines()
    assert lines[0] == "One training iteration: 2-3-2, 2 rows, cross_entropy" and lines[1] == "SGD(learning_rate=0.1)"
    at = next(index for index, line in enumerate(lines) if line.startswith("  z1 = a0 W1 + b1"))
    assert lines[at].split()[-3:] == ["0.85", "-0.65", "1.15"] and lines[at + 1].split() == ["-0.20", "0.40", "0.10"]
    assert any(line.startswith("  dL/dz2 = (a2 - onehot(y)) / 2 ") for line in lines)
    assert any(line.startswith("  dL/da2 = -onehot(y) / a2 / 2 ") for line in lines)
    assert any(line.startswith("  dL/db1 = sum over rows of dL/dz1 ") for line in lines)
    assert max(map(len, lines)) <= 120


def test_every_number_has_four_digits(case):
    net, X, y, loss = case
    trace = net.trace(X * 1e-3, y, loss=loss)
    tables = {"dL/dW1": trace.dL_dW[0], "z1": trace.z[0], "new W1": trace.new_W[0]}
    lines = str(trace).splitlines()
    for label, array in tables.items():
        at = next(index for index, line in enumerate(lines) if line.strip().startswith(label))
        width = array.shape[1]
        shown = [[float(cell) for cell in line.split()[-width:]] for line in lines[at : at + len(array)]]
        np.testing.assert_allclose(shown, array, rtol=5e-4)


def test_wide_networks_are_cut_short(backend, rng):
    net = MLP([30, 40, 10], output="softmax", backend=backend)
    X, y = rng.standard_normal((20, 30)), rng.integers(0, 10, 20)
    trace = net.trace(X, y, limit=4)
    lines = str(trace).splitlines()
    assert len(lines) < 120 and max(map(len, lines)) < 120
    at = next(index for index, line in enumerate(lines) if line.startswith("  W1 "))
    assert [line.split()[-3] for line in lines[at : at + 2]] == ["...", "..."]
    assert set(lines[at + 2].split()) == {"..."}
    assert float(lines[at].split()[1]) == pytest.approx(trace.W[0][0, 0], rel=1e-4)
    assert float(lines[at + 4].split()[-1]) == pytest.approx(trace.W[0][-1, -1], rel=1e-4)
    assert trace.W[0].shape == (30, 40)  # the arrays are whole


def test_activations_by_their_objects(backend):
    net = Sequential([Dense(1, 2, LeakyReLU(0.25)), Dense(2, 1, relu)], backend=backend)
    assert "LeakyReLU(alpha=0.25)(z1)" in str(net.trace(1.0, 1.0))


def test_large_and_tiny_numbers(backend):
    net = Sequential([Dense(2, 2)], dtype="float64", backend=backend)
    net.set_weights([[[1.25e-12, 0.0], [3e9, 1.0]], [0, 0]])
    text = str(net.trace([1.0, 0.0], [0.0, 0.0]))
    assert "1.25000e-12" in text and "3.00000e+09" in text


def test_the_smallest_of_an_array_has_four_digits_too(backend):
    net = Sequential([Dense(2, 2)], dtype="float64", backend=backend)
    net.set_weights([[[12.5, 0.0], [0.00012344, 1.0]], [0, 0]])
    text = str(net.trace([1.0, 0.0], [0.0, 0.0]))
    assert re.search(r" W1 +12\.5000000 +0\.0000000\n +0\.0001234 +1\.0000000\n", text), text
