"""Dropout, batch and layer normalisation, penalties and bounds on weights: in networks, on both backends."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
from conftest import HAS_CORE

import nncore as nn

BACKENDS = ["numpy", pytest.param("native", marks=pytest.mark.skipif(not HAS_CORE, reason="no compiled core"))]
native = pytest.mark.skipif(not HAS_CORE, reason="no compiled core")
each_backend = pytest.mark.parametrize("backend", BACKENDS)
TORCH = np.load(Path(__file__).parent / "data" / "normalization.npz")

D = nn.Dense
LAYERS = {
    "dropout": lambda: [D(12, 20, "relu"), nn.Dropout(0.3), D(20, 4, "softmax")],
    "dropout of the inputs": lambda: [nn.Dropout(0.2), D(12, 20, "tanh"), nn.Dropout(0.5), D(20, 4, "softmax")],
    "batch": lambda: [D(12, 20), nn.BatchNorm(activation="relu"), D(20, 4, "softmax")],
    "batch of the inputs": lambda: [nn.BatchNorm(), D(12, 33, "relu"), nn.BatchNorm(33), D(33, 4, "softmax")],
    "batch at the end": lambda: [D(12, 20, "relu"), D(20, 4), nn.BatchNorm(momentum=0.5)],
    "layer": lambda: [D(12, 20), nn.LayerNorm(activation="tanh"), D(20, 4, "softmax")],
    "layer of the inputs": lambda: [nn.LayerNorm(), D(12, 37, "relu"), nn.LayerNorm(), D(37, 4, "softmax")],
    "penalties": lambda: [
        D(12, 20, "relu", l1=1e-3, l2=1e-2, max_norm=1.1, weight_decay=0.2),
        D(20, 4, "softmax", max_norm=0.9),
    ],
    "all": lambda: [
        D(12, 20, l2=1e-3),
        nn.BatchNorm(activation="relu"),
        nn.Dropout(0.2),
        D(20, 17, "tanh"),
        nn.LayerNorm(),
        D(17, 4, "softmax"),
    ],
}
shapes = pytest.mark.parametrize("shape", LAYERS)


def make(shape: str, backend: str = "native", dtype: str = "float64") -> nn.Sequential:
    return nn.Sequential(LAYERS[shape](), dtype=dtype, seed=3, backend=backend)


def data(shape: str, n: int = 203) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(len(shape))
    X, y = rng.standard_normal((n, 12)), rng.integers(0, 4, n)
    return X, np.eye(4)[y] if "end" in shape else y


@native
@shapes
@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-11), ("float32", 1e-4)])
def test_both_backends_train_alike(shape, dtype, tolerance):
    """203 rows in batches of 29: the last batch is whole; of 101: it is a single row."""
    X, y = data(shape)
    for batch in (29, 101):
        nets = [make(shape, backend, dtype) for backend in ("native", "numpy")]
        losses = [net.fit(X, y, epochs=4, batch_size=batch, optimizer=nn.Adam(3e-3)).history["loss"] for net in nets]
        np.testing.assert_allclose(*losses, rtol=tolerance)
        for parts in (net.get_weights() + net.get_state() for net in nets):
            assert all(np.isfinite(part).all() for part in parts)
        for a, b in zip(nets[0].get_weights(), nets[1].get_weights(), strict=True):
            np.testing.assert_allclose(a, b, atol=tolerance * max(1e-3, np.abs(b).max()))
        for a, b in zip(nets[0].get_state(), nets[1].get_state(), strict=True):
            np.testing.assert_allclose(a, b, atol=tolerance * np.abs(b).max())
        np.testing.assert_allclose(nets[0].predict(X), nets[1].predict(X), atol=tolerance)


@native
@shapes
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_number_of_threads_gives_the_same_bits(shape, dtype):
    X, y = data(shape)
    found = []
    for threads in (1, 2, 3, 4, 7):
        net = make(shape, dtype=dtype)
        with nn.testing.force_threads(threads):
            net.fit(X, y, epochs=3, batch_size=29)
        found.append(b"".join(part.tobytes() for part in net.get_weights() + net.get_state()))
    assert len(set(found)) == 1


@each_backend
@shapes
def test_gradients_are_those_of_differences(shape, backend):
    X, y = data(shape)
    net = make(shape, backend)
    net.fit(X, y, epochs=1)  # away from symmetric values
    if "end" not in shape:  # there a column's sum does not change the loss, and its gradient is rounding alone
        assert nn.testing.gradient_check(net, X[:20], y[:20]) < 1e-5


@native
@shapes
def test_cross_check(shape):
    X, y = data(shape)
    net = make(shape)
    net.fit(X, y, epochs=1)
    nn.testing.cross_check(net, X[:50], y[:50])


@each_backend
@pytest.mark.parametrize("name", ["batch", "layer"])
def test_training_is_that_of_pytorch(backend, name):
    norm = nn.BatchNorm(activation="tanh") if name == "batch" else nn.LayerNorm(activation="tanh")
    net = nn.Sequential([D(5, 6), norm, D(6, 2)], dtype="float64", backend=backend)
    net.set_weights([TORCH[f"{name}.before.{i}"] for i in range(6)])
    X, y = TORCH[f"{name}.X"], TORCH[f"{name}.y"]
    net.fit(X, y, epochs=1, batch_size=8, shuffle=False, optimizer=nn.SGD(0.1, momentum=0.9))
    for i, array in enumerate(net.get_weights()):
        np.testing.assert_allclose(array, TORCH[f"{name}.after.{i}"], rtol=1e-10, atol=1e-12, err_msg=f"weights[{i}]")
    if name == "batch":
        mean, variance = net.get_state()
        np.testing.assert_allclose(mean, TORCH["batch.mean"], rtol=1e-10)
        np.testing.assert_allclose(variance, TORCH["batch.variance"], rtol=1e-10)
    np.testing.assert_allclose(net.predict(X), TORCH[f"{name}.outputs"], rtol=1e-9, atol=1e-12)


@each_backend
def test_a_batch_of_one_row_is_normalised_by_the_running_statistics(backend):
    net = nn.Sequential([nn.BatchNorm(), D(3, 2)], dtype="float64", backend=backend)
    X, y = np.random.default_rng(0).standard_normal((16, 3)) * 3 + 5, np.ones((16, 2))
    net.fit(X, y, epochs=5, batch_size=8)
    state, weights = net.get_state(), net.get_weights()
    expected = net.evaluate(X[:1], y[:1])["loss"]
    loss = net.train_step(X[:1], y[:1], optimizer=nn.SGD(1e-3))
    assert loss == pytest.approx(expected, rel=1e-12)
    for before, after in zip(state, net.get_state(), strict=True):
        np.testing.assert_array_equal(before, after)
    assert any((a != b).any() for a, b in zip(weights, net.get_weights(), strict=True))


@each_backend
def test_dropout_drops_while_training_only_and_keeps_the_mean(backend):
    net = nn.Sequential([D(50, 400), nn.Dropout(0.25), D(400, 1)], seed=1, backend=backend, dtype="float64")
    X = np.ones((64, 50))
    hidden, dropped, _ = net.forward(X, layers=True)
    np.testing.assert_array_equal(hidden, dropped)
    quiet = nn.Sequential([D(50, 400), D(400, 1)], seed=1, backend=backend, dtype="float64")
    np.testing.assert_array_equal(net.predict(X), quiet.predict(X))
    # A linear network on inputs that are all alike: the loss of a first epoch at rate 0 differs by the noise alone.
    y = net.predict(X)
    loss = net.fit(X, y, epochs=1, optimizer=nn.SGD(0.0), batch_size=64).history["loss"][0]
    weights = net.get_weights()[2][:, 0]
    variance = (hidden[0] ** 2 * weights**2).sum() * 0.25 / 0.75
    assert loss == pytest.approx(variance, rel=0.6)
    assert quiet.fit(X, y, epochs=1, optimizer=nn.SGD(0.0)).history["loss"][0] < 1e-20


@each_backend
def test_each_epoch_and_each_seed_drops_others(backend):
    X, y = np.ones((8, 5)), np.zeros((8, 1))
    net = nn.Sequential([D(5, 30), nn.Dropout(0.5), D(30, 1)], seed=1, backend=backend, dtype="float64")
    losses = net.fit(X, y, epochs=6, optimizer=nn.SGD(0.0), batch_size=None).history["loss"]
    assert len(set(losses)) == 6
    again = nn.Sequential([D(5, 30), nn.Dropout(0.5), D(30, 1)], seed=1, backend=backend, dtype="float64")
    one_by_one = [again.fit(X, y, epochs=1, optimizer=nn.SGD(0.0), batch_size=None).history["loss"][0] for _ in losses]
    assert one_by_one == losses
    other = again.fit(X, y, epochs=6, optimizer=nn.SGD(0.0), batch_size=None, seed=9).history["loss"]
    assert not set(other) & set(losses)


@each_backend
def test_columns_of_weights_stay_within_their_bound(backend):
    net = nn.Sequential([D(6, 9, "relu", max_norm=0.5), D(9, 3, max_norm=0.25)], seed=2, backend=backend)
    X, y = np.random.default_rng(1).standard_normal((40, 6)), np.full((40, 3), 50.0)
    net.fit(X, y, epochs=20, optimizer=nn.SGD(0.1))
    for weight, bound in zip(net.get_weights()[::2], (0.5, 0.25), strict=True):
        lengths = np.sqrt((weight.astype(float) ** 2).sum(axis=0))
        assert lengths.max() == pytest.approx(bound, rel=1e-5)


@each_backend
def test_penalties_are_derivatives_of_what_they_say(backend):
    l1, l2, rate = 0.03, 0.2, 0.125
    plain = nn.Sequential([D(4, 3)], dtype="float64", seed=5, backend=backend)
    net = nn.Sequential([D(4, 3, l1=l1, l2=l2)], dtype="float64", seed=5, backend=backend)
    X, y = np.random.default_rng(2).standard_normal((7, 4)), np.ones((7, 3))
    weight = net.get_weights()[0]
    for each in (plain, net):
        each.train_step(X, y, optimizer=nn.SGD(rate))
    expected = plain.get_weights()[0] - rate * (l1 * np.sign(weight) + l2 * weight)
    np.testing.assert_allclose(net.get_weights()[0], expected, rtol=1e-13)
    np.testing.assert_array_equal(net.get_weights()[1], plain.get_weights()[1])


@each_backend
@pytest.mark.parametrize("optimizer", [nn.SGD, nn.Adam, nn.Lion])
def test_decay_of_a_layer_is_decoupled(backend, optimizer):
    rate, decay = 0.125, 0.25
    X, y = np.random.default_rng(2).standard_normal((7, 4)), np.ones((7, 3))
    plain = nn.Sequential([D(4, 3)], dtype="float64", seed=5, backend=backend)
    net = nn.Sequential([D(4, 3, weight_decay=decay)], dtype="float64", seed=5, backend=backend)
    weight = net.get_weights()[0]
    for each in (plain, net):
        each.train_step(X, y, optimizer=optimizer(rate))
    expected = plain.get_weights()[0] - rate * decay * weight
    np.testing.assert_allclose(net.get_weights()[0], expected, rtol=1e-12)
    np.testing.assert_array_equal(net.get_weights()[1], plain.get_weights()[1])


@each_backend
@shapes
def test_networks_are_saved_copied_and_described(shape, backend, tmp_path):
    X, y = data(shape)
    net = make(shape, backend)
    net.fit(X, y, epochs=1)
    net.save(tmp_path / "net.npz")
    for twin in (nn.load(tmp_path / "net.npz", backend=backend), copy.deepcopy(net)):
        assert [repr(layer) for layer in twin.layers] == [repr(layer) for layer in net.layers]
        for a, b in zip(net.get_weights() + net.get_state(), twin.get_weights() + twin.get_state(), strict=True):
            np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(net.predict(X), twin.predict(X))
        for each in (net, twin):
            each.fit(X, y, epochs=0)
    assert all(type(layer).__name__ in net.summary() for layer in net.layers)
    assert len(net.forward(X, layers=True)) == len(net.layers)
    assert "dense" not in str(net.plan(16)) or backend == "numpy"


@each_backend
def test_what_overflows_leaves_the_running_statistics_as_they_were(backend):
    net = nn.Sequential([nn.BatchNorm(), D(3, 2)], backend=backend)
    X, y = np.random.default_rng(0).standard_normal((16, 3)), np.ones((16, 2))
    net.fit(X, y, epochs=2)
    before = net.get_state()
    with pytest.raises(nn.DivergenceError):
        net.fit(X, y, epochs=3, optimizer=nn.SGD(1e30))
    assert all(np.isfinite(part).all() for part in net.get_state())
    with pytest.raises(ValueError, match="X"):
        net.fit(np.full((4, 3), np.nan), y[:4])
    assert len(before) == 2


def test_mlp_has_dropout_and_norm():
    net = nn.MLP([5, 4, 3, 2], dropout=0.1, norm="batch")
    kinds = [type(layer).__name__ for layer in net.layers]
    assert kinds == ["Dense", "BatchNorm", "Dropout", "Dense", "BatchNorm", "Dropout", "Dense"]
    assert net.layers[1].activation.name == "relu" and net.layers[0].activation.name == "identity"
    plain = nn.MLP([5, 4, 3, 2])
    for a, b in zip(plain.get_weights(), nn.MLP([5, 4, 3, 2], dropout=0.5).get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(plain.get_weights()[0], net.get_weights()[0])
    assert net.n_parameters == plain.n_parameters + 2 * (4 + 3)


def test_the_state_can_be_read_and_set():
    net = nn.MLP([5, 4, 2], norm="batch", dtype="float64")
    mean, variance = net.get_state()
    np.testing.assert_array_equal(mean, np.zeros(4))
    np.testing.assert_array_equal(variance, np.ones(4))
    net.set_state([np.arange(4.0), np.full(4, 2.5)])
    np.testing.assert_array_equal(net.get_state()[0], np.arange(4.0))
    assert not net.get_state()[0].flags.writeable
    assert nn.MLP([5, 4, 2]).get_state() == []


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: nn.Dropout(1.0), "rate is 1.0"),
        (lambda: nn.Dropout(-0.1), "rate is -0.1"),
        (lambda: nn.Dropout("half"), "rate"),
        (lambda: nn.BatchNorm(0), "n is 0"),
        (lambda: nn.BatchNorm(3, epsilon=0.0), "epsilon is 0.0"),
        (lambda: nn.BatchNorm(3, momentum=1.5), "momentum is 1.5"),
        (lambda: nn.LayerNorm(3, activation="softmax"), "softmax"),
        (lambda: nn.Sequential([D(3, 4), nn.BatchNorm(5), D(4, 2)]), r"layers\[1\] takes 5 inputs"),
        (lambda: nn.Sequential([D(3, 4), nn.Dropout(0.5)]), "the last layer is Dropout"),
        (lambda: nn.Sequential([nn.Dropout(0.5)]), "no Dense"),
        (lambda: nn.Sequential([D(3, 4), "dropout"]), r"layers\[1\] is of type str"),
        (lambda: nn.MLP([3, 4, 2], norm="group"), "norm is 'group'"),
        (lambda: nn.MLP([3, 4, 2], dropout=1), "dropout is 1"),
        (lambda: D(3, 4, l1=-1.0), "l1 is -1.0"),
        (lambda: D(3, 4, weight_decay=-1.0), "weight_decay is -1.0"),
        (lambda: D(3, 4, max_norm=0), "max_norm is 0"),
        (lambda: nn.MLP([3, 4, 2], norm="batch").set_state([np.zeros(4)]), "state has 1 arrays"),
        (lambda: nn.MLP([3, 4, 2], norm="batch").set_state([np.zeros(4), -np.ones(4)]), r"state\[1\]"),
        (lambda: nn.MLP([3, 4, 2], norm="batch").set_state([np.zeros(3), np.ones(4)]), r"state\[0\] has shape"),
    ],
)
def test_what_does_not_fit_is_refused(call, message):
    with pytest.raises((TypeError, ValueError), match=message):
        call()


@each_backend
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("below", "idle"),
    [
        (lambda: [D(12, 20)], [0]),
        (lambda: [D(12, 20), nn.BatchNorm()], [0, 1]),
        (lambda: [D(12, 20, "relu"), nn.LayerNorm()], [1]),
        (lambda: [D(12, 20, "relu"), nn.BatchNorm(), D(20, 20)], [1, 2]),
        (lambda: [D(12, 9), D(9, 20)], [0, 1]),
        (lambda: [D(12, 20), nn.BatchNorm(activation="tanh")], [0]),
        (lambda: [D(12, 9), nn.LayerNorm(), D(9, 20)], [1, 2]),
        (lambda: [D(12, 20), nn.Dropout(0.5)], []),
        (lambda: [D(12, 20, "tanh")], []),
    ],
)
def test_what_a_batch_normalisation_takes_away_has_no_gradient(backend, dtype, below, idle, rng):
    """A bias, or beta, that only shifts the columns of its input: a rounding error would be a whole step of Adam."""
    layers = [*below(), nn.BatchNorm(activation="relu"), D(20, 3)]
    net = nn.Sequential(layers, dtype=dtype, seed=1, backend=backend)
    with_parameters = [index for index, layer in enumerate(net.layers) if layer.n_parameters]
    X, y = rng.standard_normal((33, 12)), rng.standard_normal((33, 3))
    _, gradients = net.loss_and_gradients(X, y)
    zero = [layer for layer, shift in zip(with_parameters, gradients[1::2], strict=True) if not shift.any()]
    assert zero == idle
    before = net.get_weights()
    net.train_step(X, y, "adam")
    for layer, old, new in zip(with_parameters, before[1::2], net.get_weights()[1::2], strict=True):
        assert np.array_equal(old, new) == (layer in idle)
    assert nn.testing.gradient_check(nn.Sequential(layers, dtype="float64", backend=backend), X, y) < 1e-6
    _, gradients = net.loss_and_gradients(X[:1], y[:1])  # by the running statistics, which take nothing away
    assert all(shift.any() for shift in gradients[1::2])


def dropped(loss):
    """Return the mask as an integer: the loss is the square of twice the sum of 2**i over the columns left."""
    return round(loss**0.5) // 2


@each_backend
def test_each_step_drops_others(backend):
    """train_step: by the optimizer's count, or the network's where the optimizer is forgotten after each call."""
    n = 24
    x, y = np.ones((1, n)), np.zeros(1)

    def network():
        net = nn.Sequential([nn.Dropout(0.5), D(n, 1)], dtype="float64", seed=7, backend=backend)
        net.set_weights([2.0 ** np.arange(n).reshape(n, 1), [0.0]])
        return net

    net, optimizer = network(), nn.SGD(0.0)
    masks = [dropped(net.train_step(x, y, optimizer)) for _ in range(6)]
    for step, mask in enumerate(masks):
        words = nn.streams.words(7, nn.streams.DROPOUT, 1 << 39 | step, 0, n)
        assert mask == sum(1 << i for i in range(n) if words[i] >= 2**31)
    net.fit(x, y, epochs=6, optimizer=nn.SGD(0.0))
    masks += [dropped(loss) for loss in net.history.history["loss"]]
    assert len(set(masks)) == 12
    assert dropped(network().train_step(x, y, nn.SGD(0.0))) == masks[0]  # and the same again from the same start
    forgetting = network()
    named = []
    for _ in range(4):
        before = forgetting.get_weights()
        named.append(dropped(forgetting.train_step(x, y, "sgd")))
        forgetting.set_weights(before)
    assert named == masks[:4]
