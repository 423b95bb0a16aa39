from __future__ import annotations

import copy
import threading

import numpy as np
import pytest

from nncore import MLP, SGD, Columns, Dense, LeakyReLU, Sequential, sigmoid


def chain(backend, **kwargs):
    return MLP([5, 8, 3], activation="tanh", output="softmax", backend=backend, **kwargs)


# ----------------------------------------------------------------------------------------------- worked numbers


def test_all_weights_0_1(backend):
    """Two hidden sigmoid units of weights [0, 1] and no bias, on [2, 3]: 0.7216325609518421."""
    net = MLP([2, 2, 1], activation="sigmoid", output="sigmoid", dtype="float64", backend=backend)
    net.set_weights([[[0, 0], [1, 1]], [0, 0], [[0], [1]], [0]])
    assert net.predict([[2, 3]])[0, 0] == pytest.approx(0.7216325609518421, abs=1e-12)


def test_matrices_of_the_other_layout(backend):
    net = MLP([2, 3, 2], activation="relu", output="softmax", dtype="float64", backend=backend)
    w1 = [[0.4, -0.3], [-0.2, 0.5], [0.8, 0.1]]
    w2 = [[0.6, -0.4, 0.2], [-0.1, 0.3, 0.5]]
    net.set_weights([w1, [0.1, -0.1, 0.0], w2, [0.0, 0.1]], layout="out_in")
    hidden, output = net.forward([[1.5, -0.5]], layers=True)
    np.testing.assert_allclose(hidden, [[0.85, 0.0, 1.15]], atol=1e-12)
    # z is [0.74, 0.59].
    np.testing.assert_allclose(output, [[sigmoid(0.15), sigmoid(-0.15)]], atol=1e-12)
    loss, _ = net.loss_and_gradients([[1.5, -0.5]], [0])
    assert loss == pytest.approx(np.log1p(np.exp(-0.15)), abs=1e-12)
    assert net.n_parameters == 17


def test_one_iteration_by_hand(backend):
    """x = 0.5, relu(0.8 x + 0.2), sigmoid(-h + 0.5), y = 1, rate 0.1."""
    net = MLP([1, 1, 1], activation="relu", output="sigmoid", dtype="float64", backend=backend)
    net.set_weights([[[0.8]], [0.2], [[-1.0]], [0.5]])
    p = sigmoid(-0.1)
    loss, gradients = net.loss_and_gradients([[0.5]], [1])
    assert loss == pytest.approx(0.744396660073571, abs=1e-12)
    expected = [-(p - 1) * 0.5, -(p - 1), (p - 1) * 0.6, p - 1]
    np.testing.assert_allclose([g.item() for g in gradients], expected, atol=1e-12)
    before = [w.item() for w in net.get_weights()]
    assert net.train_step([[0.5]], [1], SGD(0.1)) == pytest.approx(loss, abs=1e-12)
    after = [w.item() for w in net.get_weights()]
    np.testing.assert_allclose(after, np.array(before) - 0.1 * np.array(expected), atol=1e-12)
    np.testing.assert_allclose(after, [0.774, 0.148, -0.969, 0.552], atol=1e-3)


# -------------------------------------------------------------------------------------------------- construction


@pytest.mark.parametrize(
    ("layers", "error", "message"),
    [
        ([], ValueError, "layers is empty"),
        (Dense(2, 3), TypeError, "layers"),
        ([Dense(2, 3), 4], TypeError, r"layers\[1\]"),
        ([Dense(2, 3), Dense(4, 1)], ValueError, r"layers\[1\] takes 4 inputs and layers\[0\] has 3"),
        ([Dense(2, 3, "softmax"), Dense(3, 1)], ValueError, "softmax"),
    ],
)
def test_layers_that_do_not_fit(layers, error, message):
    with pytest.raises(error, match=message):
        Sequential(layers, backend="numpy")


@pytest.mark.parametrize(
    ("kwargs", "error"),
    [
        ({"dtype": "float16"}, ValueError),
        ({"seed": -1}, ValueError),
        ({"seed": 2**64}, ValueError),
        ({"seed": 1.5}, TypeError),
        ({"backend": "cuda"}, ValueError),
        ({"activation": "softmax"}, ValueError),
        ({"initializer": "nice"}, ValueError),
    ],
)
def test_refused_settings(kwargs, error):
    with pytest.raises(error):
        MLP([2, 3, 1], **{"backend": "numpy", **kwargs})


@pytest.mark.parametrize(
    ("sizes", "error"),
    [([3], ValueError), (3, TypeError), ([3, 0], ValueError), ([3, 2.5], TypeError), ("34", TypeError)],
)
def test_refused_sizes(sizes, error):
    with pytest.raises(error, match="sizes"):
        MLP(sizes, backend="numpy")


def test_what_cannot_be_afforded(backend):
    with pytest.raises(MemoryError, match="bytes"):
        MLP([2**40, 2**40], backend=backend)


def test_same_seed_same_weights(backend):
    first, again, other = (chain(backend, seed=seed).get_weights() for seed in (4, 4, 5))
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(first[0], other[0])
    assert not first[1].any()


def test_a_bad_initializer_is_refused():
    with pytest.raises(ValueError, match="shape"):
        Sequential([Dense(2, 3, initializer=lambda *_: np.zeros((3, 2)))], backend="numpy")
    for given in ("zeros", [["1", "2"]], None):
        for layer in (Dense(1, 2, initializer=lambda *_, g=given: g), Columns({0: 1}, 1, lambda *_, g=given: g)):
            with pytest.raises(TypeError, match=r"what the initializer gave has dtype .*; expected real numbers"):
                Sequential([layer, Dense(layer.n_out, 1)], backend="numpy")


def test_names_and_summary(backend):
    net = Sequential([Dense(5, 8, LeakyReLU(0.2)), Dense(8, 3)], dtype="float64", backend=backend)
    assert (net.n_in, net.n_out, net.n_parameters, net.seed) == (5, 3, 75, 0)
    assert net.dtype == np.float64
    assert net.backend == backend
    text = net.summary()
    assert "LeakyReLU(alpha=0.2)" in text and "5 -> 8" in text and "75 parameters" in text and backend in text
    assert "Dense(8, 3, activation=identity)" in repr(net)


# ---------------------------------------------------------------------------------------------------------- data


def test_every_kind_of_array_gives_the_same_bits(backend, rng):
    net = chain(backend)
    X = rng.standard_normal((20, 5)).astype(np.float32)
    expected = net.predict(X)
    wide = np.zeros((40, 10), np.float32)
    wide[::2, ::2] = X
    readonly = X.copy()
    readonly.flags.writeable = False
    for kind in (X.T.copy().T, np.asfortranarray(X), wide[::2, ::2], X[::-1].copy()[::-1], X.astype(">f4"), readonly,
                 X.astype(np.float64), X.tolist()):  # fmt: skip
        np.testing.assert_array_equal(net.predict(kind), expected)
    integers = rng.integers(0, 200, (6, 5))
    np.testing.assert_array_equal(net.predict(integers.astype(np.uint8)), net.predict(integers.astype(np.float32)))
    bools = integers > 100
    np.testing.assert_array_equal(net.predict(bools), net.predict(bools.astype(np.float32)))


def test_a_frame_is_taken(backend, rng):
    class Frame:
        def __init__(self, array):
            self.array = array

        def to_numpy(self):
            return self.array

    X = rng.standard_normal((4, 5))
    net = chain(backend)
    np.testing.assert_array_equal(net.predict(Frame(X)), net.predict(X))


@pytest.mark.parametrize(
    ("X", "error", "message"),
    [
        (np.zeros((3, 4)), ValueError, "X has 4 features; this network takes 5"),
        (np.zeros(5), ValueError, r"X\.reshape\(1, -1\)"),
        (np.zeros((2, 3, 5)), ValueError, "3 dimensions"),
        (np.zeros((0, 5)), ValueError, "no rows"),
        (np.zeros((0, 5), np.float32), ValueError, "no rows"),
        (np.zeros((3, 4), np.float32), ValueError, "X has 4 features; this network takes 5"),
        ([["a"] * 5], TypeError, "X"),
        (np.zeros((3, 5), complex), TypeError, "X"),
        (None, (TypeError, ValueError), "X"),
    ],
)
@pytest.mark.parametrize("method", ["predict", "forward", "evaluate", "fit", "loss_and_gradients"])
def test_refused_X(backend, X, error, message, method):
    net = chain(backend)
    y = () if method in ("predict", "forward") else ([0, 1, 2],)
    with pytest.raises(error, match=message):
        getattr(net, method)(X, *y)


def test_nan_passes_through_its_own_row(backend, rng):
    net = chain(backend)
    X = rng.standard_normal((6, 5)).astype(np.float32)
    expected = net.predict(X)
    X[2, 3] = np.nan
    found = net.forward(X)
    assert np.isnan(found[2]).all()
    np.testing.assert_array_equal(np.delete(found, 2, 0), np.delete(expected, 2, 0))


def test_forward_with_layers(backend, rng):
    net = chain(backend)
    X = rng.standard_normal((6, 5))
    outputs = net.forward(X, layers=True)
    assert [a.shape for a in outputs] == [(6, 8), (6, 3)]
    np.testing.assert_allclose(outputs[-1], net.forward(X), rtol=1e-6)
    with pytest.raises(ValueError, match="reshape"):
        net.forward(X[0], layers=True)
    with pytest.raises(TypeError, match="layers is 'yes'; expected True or False"):
        net.forward(X, layers="yes")


# ------------------------------------------------------------------------------------------------------- weights


def test_weights_are_readonly_snapshots(backend, blobs):
    X, y = blobs
    net = chain(backend)
    weights = net.get_weights()
    with pytest.raises(ValueError, match="read-only"):
        weights[0][0, 0] = 1
    kept = [w.copy() for w in weights]
    net.fit(X, y, epochs=1)
    for a, b in zip(weights, kept, strict=True):
        np.testing.assert_array_equal(a, b)
    net.set_weights(weights)
    assert not np.array_equal(net.predict(X), 0)
    for a, b in zip(net.get_weights(), kept, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda ws: ws[:-1], "weights has 3 arrays; this network takes 4"),
        (lambda ws: [ws[0].T, *ws[1:]], r"weights\[0\] has shape \(8, 5\); layer 0 takes \(5, 8\)"),
        (lambda ws: [ws[0], ws[1][:, None], *ws[2:]], r"weights\[1\]"),
        (lambda ws: [ws[0] * np.nan, *ws[1:]], r"weights\[0\] has a value that is not finite"),
        (lambda ws: [*ws[:3], np.full(3, 1e300)], r"weights\[3\] has a value that is not finite in float32"),
    ],
)
def test_refused_weights(backend, change, message):
    net = chain(backend)
    before = net.get_weights()
    with pytest.raises(ValueError, match=message):
        net.set_weights(change(before))
    np.testing.assert_array_equal(net.get_weights()[0], before[0])


def test_refused_layout_and_type(backend):
    net = chain(backend)
    with pytest.raises(ValueError, match="layout"):
        net.set_weights(net.get_weights(), layout="rows")
    with pytest.raises(ValueError, match=r"out_in"):
        net.set_weights(net.get_weights(), layout="out_in")
    with pytest.raises(TypeError, match=r"weights\[0\]"):
        net.set_weights([[["a"]], *net.get_weights()[1:]])


def test_a_copy_is_its_own_network(backend, blobs):
    X, y = blobs
    net = chain(backend)
    net.fit(X, y, epochs=1)
    twin = copy.deepcopy(net)
    expected = net.predict(X)
    np.testing.assert_array_equal(twin.predict(X), expected)
    assert twin.epochs_trained == 1
    twin.fit(X, y, epochs=1)
    np.testing.assert_array_equal(net.predict(X), expected)


# ------------------------------------------------------------------------------------------------------- threads


def test_two_threads_take_turns(backend, blobs):
    X, y = blobs
    nets = [chain(backend), chain(backend)]

    def work(net):
        for _ in range(5):
            net.fit(X, y, optimizer="sgd", epochs=2, batch_size=8)
            net.predict(X)

    failures = []

    def guarded(net):
        try:
            work(net)
        except BaseException as error:
            failures.append(error)

    together = [threading.Thread(target=guarded, args=(nets[0],)) for _ in range(2)]
    for thread in together:
        thread.start()
    for thread in together:
        thread.join()
    assert not failures
    work(nets[1])
    work(nets[1])
    for a, b in zip(nets[0].get_weights(), nets[1].get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


# ------------------------------------------------------------------------------------------------------- encoder


def test_encoder_is_the_first_layers(backend, blobs):
    X, y = blobs
    net = MLP([5, 8, 4, 3], activation="tanh", output="softmax", dtype="float64", seed=9, backend=backend)
    net.fit(X, y, epochs=2)
    outputs = net.forward(X, layers=True)
    for k in (1, 2, 3):
        part = net.encoder(k)
        assert type(part) is Sequential and part.layers == net.layers[:k]
        assert (part.dtype, part.backend, part.seed) == (net.dtype, backend, 9)
        np.testing.assert_array_equal(part.predict(X), outputs[k - 1])
    before = net.get_weights()
    net.encoder(1).fit(X, np.zeros((len(X), 8)), epochs=1)  # copies: training it leaves the network alone
    for a, b in zip(net.get_weights(), before, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("k", "error", "message"),
    [
        (0, ValueError, "k is 0"),
        (-1, ValueError, "k is -1"),
        (3, ValueError, "k is 3; this network has 2 layers"),
        (1.0, TypeError, "k is 1.0"),
        (True, TypeError, "k is True"),
        ("1", TypeError, "k is '1'"),
    ],
)
def test_refused_encoder(backend, k, error, message):
    with pytest.raises(error, match=message):
        chain(backend).encoder(k)
    net = MLP([3, 4, 1], dropout=0.1, input_noise=0.1, backend=backend)
    with pytest.raises(
        ValueError, match="k is 3, and the first 3 of the layers are no network: the last layer is Dropout"
    ):
        net.encoder(3)
    with pytest.raises(
        ValueError, match="k is 1, and the first 1 of the layers are no network: layers has no Dense layer"
    ):
        net.encoder(1)
    assert net.encoder(2).n_out == 4
