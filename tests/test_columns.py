"""Tables with categories: the layer Columns, in both backends."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from conftest import HAS_CORE

import nncore as nn

needs_core = pytest.mark.skipif(not HAS_CORE, reason="no compiled core")
BACKENDS = [pytest.param("native", marks=needs_core), "numpy"]
both_backends = pytest.mark.parametrize("backend", BACKENDS)
CATEGORIES = {1: (5, 3), 4: 300, 2: (1, 2)}


def table(n: int = 200, dtype: str = "float64", seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, 6))
    X[:, 1], X[:, 4], X[:, 2] = rng.integers(0, 5, n), rng.integers(0, 300, n), 0
    y = X[:, :1] + np.array([3.0, -1, 0, 1, 2])[X[:, 1].astype(int)][:, None]
    return X.astype(dtype), y.astype(dtype)


def network(backend: str = "native", dtype: str = "float64", **more) -> nn.Sequential:
    # A normalisation takes away what is constant, whose gradient is then rounding errors.
    categories = {1: (5, 3), 4: 300} if more else CATEGORIES
    return nn.MLP([6, 20, 12, 1], dtype=dtype, backend=backend, seed=3, categories=categories, **more)


def test_shapes_and_sizes():
    layer = nn.Columns(CATEGORIES, 6)
    assert layer.tables == ((1, 5, 3), (2, 1, 2), (4, 300, 39))
    assert (layer.n_in, layer.n_out) == (6, 3 + 3 + 2 + 39)
    assert repr(layer) == "Columns({1: (5, 3), 2: (1, 2), 4: (300, 39)}, 6)"
    assert nn.Columns({0: 1, 1: 10**6}, 2).tables == ((0, 1, 2), (1, 10**6, 50))
    assert [w.shape for w in network("numpy").get_weights()][:4] == [(5, 3), (1, 2), (300, 39), (47, 20)]
    assert network("numpy").n_parameters == 15 + 2 + 300 * 39 + 47 * 20 + 20 + 20 * 12 + 12 + 12 + 1
    assert "Columns" in network("numpy").summary()


@both_backends
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_outputs_are_the_columns_and_the_rows_of_the_tables(backend, dtype):
    X, _ = table(50, dtype)
    net = network(backend, dtype)
    weights = net.get_weights()
    first = net.forward(X, layers=True)[0]
    parts = [X[:, [0, 3, 5]], *(E[X[:, c].astype(int)] for E, c in zip(weights, (1, 2, 4), strict=False))]
    np.testing.assert_array_equal(first, np.concatenate(parts, axis=1))
    with np.errstate(over="ignore"):
        z = np.maximum(first @ weights[3] + weights[4], 0)
        z = np.maximum(z @ weights[5] + weights[6], 0) @ weights[7] + weights[8]
    np.testing.assert_allclose(net.predict(X), z, rtol=0, atol=1e-5 if dtype == "float32" else 1e-12)
    for E in weights[:3]:
        assert np.abs(E).max() <= 1 / np.sqrt(E.shape[1]) and np.abs(E).min() > 0


@both_backends
def test_the_gradient_is_right(backend):
    X, y = table(40)
    nn.testing.gradient_check(network(backend), X, y)


@needs_core
@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw", "rmsprop", "lion"])
@pytest.mark.parametrize("more", [{}, {"norm": "batch", "dropout": 0.2}])
def test_native_and_numpy_train_alike(optimizer, more):
    X, y = table()
    nets = [network(backend, **more) for backend in ("native", "numpy")]
    for net in nets:
        chosen = nn.AdamW(1e-2, weight_decay=0.1) if optimizer == "adamw" else optimizer
        net.fit(X, y, epochs=3, batch_size=33, optimizer=chosen)
    for a, b in zip(*(net.get_weights() for net in nets), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-11)


@needs_core
@pytest.mark.parametrize("rows", [7, 200, 3000])  # the last in chunks
def test_the_same_bits_for_any_number_of_threads(rows):
    X, y = table(rows, "float32")
    found = []
    for n in (1, 2, 3, 4, 7):
        net = nn.MLP([6, 8, 1], seed=3, categories={1: (5, 3), 4: (300, 2)})
        with nn.testing.force_threads(n):
            net.fit(X, y, epochs=3, batch_size=min(rows, 1500))
        found.append(net.get_weights())
    for other in found[1:]:
        for a, b in zip(found[0], other, strict=True):
            np.testing.assert_array_equal(a, b)
    like = nn.MLP([6, 8, 1], seed=3, categories={1: (5, 3), 4: (300, 2)}, backend="numpy")
    like.fit(X, y, epochs=3, batch_size=min(rows, 1500))
    for a, b in zip(found[0], like.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-4)


@both_backends
def test_it_learns_what_the_categories_mean(backend):
    X, y = table(400)
    net = network(backend)
    net.fit(X, y, epochs=60, batch_size=32, optimizer=nn.Adam(1e-2))
    assert net.evaluate(X, y)["loss"] < 0.02 * y.var()


@both_backends
def test_only_the_rows_of_codes_that_occur_change(backend):
    X, y = table(100)
    X[:, 4] = X[:, 4] % 7
    net = network(backend)
    before = net.get_weights()
    net.fit(X, y, epochs=2, optimizer=nn.SGD(0.01))
    after = net.get_weights()
    assert (before[2][:7] != after[2][:7]).all()
    np.testing.assert_array_equal(before[2][7:], after[2][7:])
    net.fit(X, y, epochs=1, optimizer=nn.SGD(0.01, weight_decay=0.1))
    assert (after[2][7:] != net.get_weights()[2][7:]).all()  # tables decay like other weights


@both_backends
def test_dense_weights_do_not_depend_on_the_tables(backend):
    plain = nn.MLP([47, 20, 12, 1], seed=3, dtype="float64")
    for a, b in zip(plain.get_weights(), network(backend).get_weights()[3:], strict=True):
        np.testing.assert_array_equal(a, b)


@both_backends
def test_weights_go_in_and_out_in_both_layouts(backend):
    net = network(backend)
    weights = net.get_weights()
    turned = [w.T if w.ndim == 2 and index > 2 else w for index, w in enumerate(weights)]
    other = network(backend)
    other.set_weights([w * 0 for w in weights])
    other.set_weights(turned, layout="out_in")
    for a, b in zip(weights, other.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@both_backends
def test_files_copies_and_encoders(backend, tmp_path):
    X, y = table(60)
    net = network(backend)
    net.fit(X, y, epochs=1)
    net.save(tmp_path / "net.npz")
    for other in (nn.load(tmp_path / "net.npz", backend=backend), copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        np.testing.assert_array_equal(net.predict(X), other.predict(X))
        assert other.layers[0].tables == net.layers[0].tables


@both_backends
@pytest.mark.parametrize("value", [5, -1, 1.5, np.nan, np.inf, 1e30])
def test_a_bad_code_is_refused_before_anything_happens(backend, value):
    X, y = table(30)
    net = network(backend)
    before = net.get_weights()
    X[17, 1] = value
    message = rf"X.* has {value:g} in row 17, column 1; expected a whole number, 0 to 4".replace("+", r"\+")
    if not np.isfinite(value):
        message += "|X.* has a non-finite value .* in row 17"
    for call in (
        lambda: net.fit(X, y),
        lambda: net.fit(X, y, validation_split=0.3),
        lambda: net.train_step(X, y, "adam"),
        lambda: net.predict(X),
        lambda: net.forward(X, layers=True),
        lambda: net.evaluate(X, y),
        lambda: net.loss_and_gradients(X, y),
        lambda: net.fit([(X, y)]),
    ):
        with pytest.raises(ValueError, match=message):
            call()
    with pytest.raises(ValueError, match="validation_data X has"):
        net.fit(*table(30), validation_data=(X, y))
    for a, b in zip(before, net.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nn.Columns([3], 4), "categories is of type list"),
        (lambda: nn.Columns({}, 4), "categories is empty"),
        (lambda: nn.Columns({4: 3}, 4), "categories has column 4; expected 0 to 3"),
        (lambda: nn.Columns({-1: 3}, 4), "column in categories is -1"),
        (lambda: nn.Columns({1: 0}, 4), r"categories\[1\] is 0"),
        (lambda: nn.Columns({1: (3, 0)}, 4), r"dim of categories\[1\] is 0"),
        (lambda: nn.Columns({1: (3, 1, 2)}, 4), r"categories\[1\] has 3 numbers"),
        (lambda: nn.Columns({1: 2**24 + 1}, 4), "expected at most 16777216"),
        (lambda: nn.Columns({1: 3.5}, 4), r"categories\[1\] is 3.5"),
        (lambda: nn.Columns({1: 3}, 0), "n_in is 0"),
        (lambda: nn.Columns({1: 3}, 4, "he_normal"), "initializer is 'he_normal'"),
        (lambda: nn.Columns({True: 3}, 4), "column in categories is True"),
        (lambda: nn.Columns({"1": 3}, 4), "column in categories is '1'"),
        (lambda: nn.Sequential([nn.Dense(4, 4), nn.Columns({1: 3}, 4)]), r"layers\[1\] is Columns"),
        (lambda: nn.Sequential([nn.Columns({1: (3, 2)}, 4)]), "no Dense layer"),
        (lambda: nn.Sequential([nn.Columns({1: (3, 2)}, 4), nn.Dense(4, 1)]), "takes 4 inputs"),
    ],
)
def test_refusals(make, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make()


def test_plan_takes_it():
    net = nn.MLP([3, 8, 1], categories={1: 4})
    assert net.plan(8).layers[0].n_out == net.layers[0].n_out
