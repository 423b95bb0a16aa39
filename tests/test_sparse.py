"""Sparse X: the same as training on X.toarray(), in whatever form it comes; and what is refused.

Most tests bring a matrix of their own, so that they run without SciPy; those of SciPy's classes are at the end.
"""

from __future__ import annotations

import subprocess
import sys
import warnings
from typing import Any

import numpy as np
import pytest
from sparse_rows import K, Matrix, N, assert_same, network

import nncore as nn
from nncore import sparse


@pytest.fixture
def dense(rng: np.random.Generator) -> np.ndarray:
    X = np.where(rng.random((N, K)) < 0.05, rng.standard_normal((N, K)), 0)
    X[[0, 77, N - 1]] = 0  # rows of nothing
    X[3] = rng.standard_normal(K)  # one that is full
    return X


@pytest.fixture
def y(rng: np.random.Generator) -> np.ndarray:
    return rng.integers(0, 3, N)


SETTINGS: dict[str, dict[str, Any]] = {
    "plain": {},
    "all rows": {"batch_size": None},
    "in order": {"shuffle": False, "batch_size": 64},
    "split": {"validation_split": 0.2, "metrics": ["accuracy"]},
    "stopped early": {"validation_split": 0.3, "early_stopping": 1, "epochs": 6, "optimizer": nn.Adam(0.2)},
    "weights": {"sample_weight": np.arange(N) % 4, "class_weight": "balanced"},
    "own loss": {"loss": lambda pred, target: (((pred - np.eye(3)[target]) ** 2).mean(), pred - np.eye(3)[target])},
    "clipped": {"optimizer": nn.Adam(clip_norm=0.1)},
    "clipped numbers": {"optimizer": nn.SGD(0.1, clip_value=1e-3)},
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", SETTINGS)
def test_training_is_that_of_the_dense_matrix(
    name: str, backend: str, dtype: str, dense: np.ndarray, y: np.ndarray
) -> None:
    results = []
    for X in (Matrix(dense), dense):
        net = network(backend, dtype)
        settings = {"epochs": 3, **SETTINGS[name]}
        if isinstance(settings.get("optimizer"), nn.optimizers.Optimizer):
            settings["optimizer"] = type(settings["optimizer"])(**_settings_of(settings["optimizer"]))
        history = net.fit(X, y, **settings)
        results.append((net.get_weights(), list(history.history.values()), [net.predict(X)]))
    for found, expected in zip(*results, strict=True):
        assert_same(found, expected, backend, dtype, case=name)


def _settings_of(optimizer: Any) -> dict[str, Any]:
    names = ("learning_rate", "clip_norm", "clip_value")
    return {name: getattr(optimizer, name) for name in names if getattr(optimizer, name) is not None}


@pytest.mark.parametrize(
    "optimizer",
    [
        nn.SGD,
        lambda: nn.SGD(0.1, momentum=0.9, nesterov=True),
        lambda: nn.SGD(0.1, weight_decay=0.01),
        nn.Adam,
        nn.AdamW,
        nn.NAdam,
        nn.RMSprop,
        nn.Adagrad,
        nn.Lion,
        lambda: nn.Adam(nn.schedules.Step(0.1, every=7, factor=0.5)),
    ],
)
def test_every_optimizer(optimizer: Any, backend: str, dense: np.ndarray, y: np.ndarray) -> None:
    found, expected = network(backend), network(backend)
    trained = optimizer(), optimizer()
    for net, X, opt in ((found, Matrix(dense), trained[0]), (expected, dense, trained[1])):
        net.fit(X, y, epochs=4, batch_size=8, optimizer=opt)
        net.fit(X, y, epochs=1, batch_size=50, optimizer=opt)
    assert_same(found.get_weights(), expected.get_weights(), backend)
    for a, b in zip(trained[0].state()["slots"], trained[1].state()["slots"], strict=True):
        assert_same(a, b, backend)


@pytest.mark.parametrize("sizes", [(1, 1), (3, 2), (65, 40), (128, 33), (200, 7)])
def test_odd_sizes_and_activations(sizes: tuple[int, int], backend: str, rng: np.random.Generator) -> None:
    k, h = sizes
    X = np.where(rng.random((70, k)) < 0.2, rng.standard_normal((70, k)), 0)
    y = rng.standard_normal((70, 2))
    for activation in ("relu", "gelu", "identity"):
        layers = [nn.Dense(k, h, activation), nn.Dense(h, 2)]
        found, expected = network(backend, layers=layers), network(backend, layers=layers)
        found.fit(Matrix(X), y, epochs=3, batch_size=11)
        expected.fit(X, y, epochs=3, batch_size=11)
        assert_same(found.get_weights(), expected.get_weights(), backend, sizes=sizes, activation=activation)
        both = zip(found.forward(Matrix(X), layers=True), expected.forward(X, layers=True), strict=True)
        for a, b in both:
            assert_same([a], [b], backend, sizes=sizes)


def test_layers_above_and_penalties(backend: str, dense: np.ndarray, y: np.ndarray) -> None:
    cases = {
        "one layer": [nn.Dense(K, 3, "softmax")],
        "batch norm": [nn.Dense(K, 20), nn.BatchNorm(20), nn.Dense(20, 3, "softmax")],
        "layer norm, dropout": [nn.Dense(K, 20, "relu"), nn.LayerNorm(20), nn.Dropout(0.3), nn.Dense(20, 3, "softmax")],
        "penalties": [nn.Dense(K, 20, "relu", l1=1e-3, l2=1e-2), nn.Dense(20, 3, "softmax")],
        "bounds": [nn.Dense(K, 20, "relu", max_norm=0.5, weight_decay=0.1), nn.Dense(20, 3, "softmax")],
    }
    for name, layers in cases.items():
        for optimizer in ("adam", "sgd"):
            found, expected = network(backend, layers=layers), network(backend, layers=layers)
            found.fit(Matrix(dense), y, epochs=3, batch_size=40, optimizer=optimizer)
            expected.fit(dense, y, epochs=3, batch_size=40, optimizer=optimizer)
            assert_same(found.get_weights(), expected.get_weights(), backend, case=name)
            assert_same(found.get_state(), expected.get_state(), backend, case=name)
            assert found.evaluate(Matrix(dense), y) == pytest.approx(expected.evaluate(dense, y), rel=1e-9)


def test_large_batches_of_small_networks(backend: str, rng: np.random.Generator) -> None:
    X = np.where(rng.random((1500, 30)) < 0.1, rng.standard_normal((1500, 30)), 0)
    y = rng.standard_normal(1500)
    results = []
    for data in (Matrix(X), X):
        net = nn.MLP([30, 9, 1], seed=1, dtype="float64", backend=backend)
        net.fit(data, y, epochs=3, batch_size=600)  # which the core takes in chunks
        results.append(net.get_weights())
    assert_same(*results, backend)


def test_one_step_and_gradients(backend: str, dense: np.ndarray, y: np.ndarray) -> None:
    X = Matrix(dense)
    found, expected = network(backend), network(backend)
    losses, gradients = zip(found.loss_and_gradients(X, y), expected.loss_and_gradients(dense, y), strict=True)
    assert losses[0] == pytest.approx(losses[1], rel=1e-12)
    assert_same(*gradients, backend)
    assert found.train_step(X, y, "adam") == pytest.approx(expected.train_step(dense, y, "adam"), rel=1e-12)
    assert_same(found.get_weights(), expected.get_weights(), backend)
    nn.testing.gradient_check(network(backend, layers=[nn.Dense(K, 2, "tanh"), nn.Dense(2, 3, "softmax")]), X, y)


def test_both_backends_agree(dense: np.ndarray, y: np.ndarray, backend: str) -> None:
    if backend == "native":
        nn.testing.cross_check(network(backend), Matrix(dense), y)
        nn.testing.cross_check(network(backend, layers=[nn.Dense(K, 3, "softmax")]), Matrix(dense), y)


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("norm", [None, "batch"])
def test_the_number_of_threads_changes_no_bit(
    optimizer: str, norm: str | None, dense: np.ndarray, y: np.ndarray, backend: str
) -> None:
    if backend != "native":
        pytest.skip("NumPy's threads are its BLAS library's")
    results = []
    for threads in (1, 2, 3, 5):
        net = nn.MLP([K, 70, 3], output="softmax", norm=norm, seed=1)
        with nn.testing.force_threads(threads):
            net.fit(Matrix(dense), y, epochs=3, batch_size=40, optimizer=optimizer)
        results.append(net.get_weights())
    for other in results[1:]:
        assert_same(other, results[0], "native")


@pytest.mark.parametrize("optimizer", [nn.Adam, nn.RMSprop, nn.Lion, lambda: nn.SGD(0.1, momentum=0.9)])
def test_columns_that_come_late_and_rarely(optimizer: Any, backend: str, rng: np.random.Generator) -> None:
    X = np.zeros((400, 300))
    X[np.arange(400), rng.integers(0, 20, 400)] = 1
    X[300:, 100:] = rng.random((100, 200)) < 0.01  # not before the fourth part of an epoch
    y = rng.standard_normal(400)
    results = []
    for data in (Matrix(X), X):
        net, opt = nn.MLP([300, 5, 1], dtype="float32", seed=1, backend=backend), optimizer()

        class Changed(nn.callbacks.Callback):
            kept: Any = None

            def on_epoch_end(self, epoch: int, logs: Any, opt: Any = opt) -> None:
                if epoch == 0:
                    self.kept = opt.state()
                if epoch == 2:  # slots that were zero are none, and the other way round
                    state = {**self.kept, "slots": [[abs(a) + 1e-3 for a in slot] for slot in self.kept["slots"]]}
                    opt.load_state(state)

        net.fit(data, y, epochs=5, batch_size=4, shuffle=False, optimizer=opt, callbacks=[Changed()])
        results.append([*net.get_weights(), *(array for slot in opt.state()["slots"] for array in slot)])
    assert_same(*results, backend, "float32")


# ------------------------------------------------------------------------------------------------ how it may come


def test_types_of_indices_and_values(backend: str, dense: np.ndarray, y: np.ndarray) -> None:
    X, expected = Matrix(dense.round(1) * 10), network(backend)
    expected.fit(dense.round(1) * 10, y, epochs=2)
    for index in (np.int32, np.int64, np.int16, np.uint32, np.uint64, ">i4"):
        for value in (np.float64, np.float32, np.int16, ">f8", np.longdouble):
            given = X.having(
                indptr=X.indptr.astype(index), indices=X.indices.astype(index), data=X.data.round().astype(value)
            )
            net = network(backend)
            net.fit(given, y, epochs=2)
            assert_same(net.get_weights(), expected.get_weights(), backend, index=index, value=value)
    net = network(backend)
    net.fit(X.having(indptr=X.indptr.astype(np.int64), indices=X.indices.astype(np.int32)), y, epochs=2)
    assert_same(net.get_weights(), expected.get_weights(), backend)


@pytest.mark.parametrize("index", [np.int32, np.int64])
def test_arrays_that_fit_are_not_copied(index: type, dense: np.ndarray) -> None:
    X = Matrix(dense)
    X = X.having(indptr=X.indptr.astype(index), indices=X.indices.astype(index))
    taken = sparse.csr(X, "X", K, np.dtype(np.float64))
    for a, b in zip((taken.starts, taken.columns, taken.values), (X.indptr, X.indices, X.data), strict=True):
        assert np.shares_memory(a, b)
    part = taken[10:20]
    assert np.shares_memory(part.values, X.data) and np.shares_memory(part.starts, X.indptr)
    assert np.shares_memory(sparse.csr(X, "X", K, np.dtype(np.float32)).columns, X.indices)


def test_read_only_and_strided_arrays(backend: str, dense: np.ndarray, y: np.ndarray) -> None:
    X = Matrix(dense)
    arrays = {"indptr": X.indptr.copy(), "indices": X.indices.repeat(2)[::2], "data": X.data.repeat(2)[::2]}
    for array in arrays.values():
        array.flags.writeable = False
    before = {name: array.copy() for name, array in arrays.items()}
    net, expected = network(backend), network(backend)
    net.fit(X.having(**arrays), y, epochs=2)
    expected.fit(dense, y, epochs=2)
    assert_same(net.get_weights(), expected.get_weights(), backend)
    for name, array in arrays.items():
        np.testing.assert_array_equal(array, before[name])


def test_unsorted_and_repeated_columns_explicit_zeros(backend: str, rng: np.random.Generator, y: np.ndarray) -> None:
    lengths = rng.integers(0, 9, N)
    X = Matrix(
        indptr=np.concatenate([[0], np.cumsum(lengths)]),
        indices=rng.integers(0, K, lengths.sum()) // 3,  # repeated, in no order
        data=np.where(rng.random(lengths.sum()) < 0.2, 0, rng.standard_normal(lengths.sum())),
        shape=(N, K),
    )
    dense = np.zeros((N, K))
    np.add.at(dense, (np.repeat(np.arange(N), lengths), X.indices), X.data)
    net, expected = network(backend), network(backend)
    net.fit(X, y, epochs=3)
    expected.fit(dense, y, epochs=3)
    for a, b in zip(net.get_weights(), expected.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(net.predict(X), net.predict(dense), rtol=1e-12)


def test_more_is_stored_than_the_last_start_says(backend: str, dense: np.ndarray, y: np.ndarray) -> None:
    X = Matrix(dense)
    longer = X.having(indices=np.append(X.indices, [-5, 10**6]), data=np.append(X.data, [np.nan, 1]))
    net, expected = network(backend), network(backend)
    net.fit(longer, y, epochs=2)
    expected.fit(dense, y, epochs=2)
    assert_same(net.get_weights(), expected.get_weights(), backend)


def test_nothing_stored(backend: str, y: np.ndarray) -> None:
    dense = np.zeros((N, K))
    net, expected = network(backend), network(backend)
    net.fit(Matrix(dense), y, epochs=2)
    expected.fit(dense, y, epochs=2)
    assert_same(net.get_weights(), expected.get_weights(), backend)
    np.testing.assert_allclose(net.predict(Matrix(dense[:1])), net.predict(dense[:1]))


def test_rows_of_a_csr(dense: np.ndarray) -> None:
    X = sparse.csr(Matrix(dense), "X", K, np.dtype(np.float64))
    rows = np.array([3, 0, 146, 3, 77])
    for part in (slice(None), slice(10, 20), slice(140, 400), slice(5, 5), slice(9, 4), slice(0, 50, 7), rows):
        np.testing.assert_array_equal(X[part].toarray(), dense[part], err_msg=str(part))
        np.testing.assert_array_equal(X[3:][part].copy().toarray(), dense[3:][part], err_msg=str(part))
    np.testing.assert_array_equal(sparse.joined(X[5:9], X[:3]).toarray(), np.concatenate([dense[5:9], dense[:3]]))
    np.testing.assert_array_equal(sparse.joined(X[5:9], dense[:3]), np.concatenate([dense[5:9], dense[:3]]))


# ------------------------------------------------------------------------------------------ chunks, validation, resume


def chunks_of(X: Any, y: np.ndarray, sizes: list[int], kinds: str) -> Any:
    ends = np.cumsum(sizes)
    for start, end, kind in zip(ends - sizes, ends, kinds, strict=True):
        yield (Matrix(X[start:end]) if kind == "s" else X[start:end]), y[start:end]


@pytest.mark.parametrize("kinds", ["ssss", "sdsd"])
@pytest.mark.parametrize("shuffle", [True, False])
def test_chunks(kinds: str, shuffle: bool, backend: str, dense: np.ndarray, y: np.ndarray) -> None:
    results = []
    for forms in (kinds, "dddd"):
        net = network(backend)
        net.fit(lambda forms=forms: chunks_of(dense, y, [7, 33, 60, 50], forms), epochs=3, shuffle=shuffle)
        results.append(net.get_weights())
    assert_same(*results, backend)


def test_validation_data(backend: str, dense: np.ndarray, y: np.ndarray) -> None:
    results = []
    for form in (Matrix, np.array):
        net = network(backend)
        data = form(dense[100:]), y[100:], np.arange(50.0)
        history = net.fit(form(dense[:100]), y[:100], epochs=3, validation_data=data, metrics=["accuracy"])
        results.append(list(history.history.values()))
    np.testing.assert_allclose(*results, rtol=1e-9)


def test_a_checkpoint_is_resumed(backend: str, dense: np.ndarray, y: np.ndarray, tmp_path: Any) -> None:
    X, path = Matrix(dense), tmp_path / "run.npz"
    whole, first, second = network(backend), network(backend), network(backend)
    whole.fit(X, y, epochs=6, optimizer="adam")
    first.fit(X, y, epochs=3, optimizer="adam", callbacks=nn.callbacks.Checkpoint(path))
    second.fit(X, y, epochs=6, optimizer="adam", resume=path)
    assert_same(second.get_weights(), whole.get_weights(), "native")  # the same bits in either backend


def test_lbfgs(backend: str, dense: np.ndarray, y: np.ndarray) -> None:
    results = []
    for X in (Matrix(dense), dense):
        net = network(backend)
        history = net.fit(X, y, epochs=5, batch_size=None, optimizer="lbfgs", metrics=["accuracy"])
        results.append([*net.get_weights(), history.history["loss"]])
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-9)


# ------------------------------------------------------------------------------------------------------- SciPy's own


def test_scipy_is_not_imported() -> None:
    code = (
        "import sys, numpy as np, nncore as nn\n"
        "class M: format, shape = 'csr', (2, 3); data = np.ones(2); indices = np.arange(2); indptr = np.arange(3)\n"
        "nn.MLP([3, 1], seed=0).fit(M(), [0, 1], epochs=1)\n"
        "assert 'scipy' not in sys.modules\n"
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True)


def test_formats_of_scipy(backend: str, dense: np.ndarray, y: np.ndarray) -> None:
    scipy_sparse = pytest.importorskip("scipy.sparse")
    expected = network(backend)
    expected.fit(dense, y, epochs=2)
    for name in ("csr", "csc", "coo", "lil", "dok", "bsr", "dia"):
        for kind in ("array", "matrix"):
            net = network(backend)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", scipy_sparse.SparseEfficiencyWarning)  # of many diagonals
                X = getattr(scipy_sparse, f"{name}_{kind}")(dense)
            net.fit(X, y, epochs=2)
            assert_same(net.get_weights(), expected.get_weights(), backend, format=name, kind=kind)
            np.testing.assert_allclose(net.predict(X[:9] if name in ("csr", "lil") else X)[:9], net.predict(dense[:9]))
    with pytest.raises(ValueError, match=r"expected 2 dimensions"):
        network(backend).predict(scipy_sparse.csr_array(dense[3]))


def test_repeated_columns_of_scipy(backend: str, rng: np.random.Generator, y: np.ndarray) -> None:
    scipy_sparse = pytest.importorskip("scipy.sparse")
    rows, columns, values = rng.integers(0, N, 600), rng.integers(0, K, 600), rng.standard_normal(600)
    X = scipy_sparse.coo_array((values, (rows, columns)), shape=(N, K))
    net, expected = network(backend), network(backend)
    net.fit(X, y, epochs=2)
    expected.fit(X.toarray(), y, epochs=2)
    for a, b in zip(net.get_weights(), expected.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)


def test_twenty_thousand_columns_take_little_memory(backend: str) -> None:
    code = (
        "import numpy as np, nncore as nn\n"
        "class M: format, shape = 'csr', (20000, 20000)\n"
        "rng = np.random.default_rng(0)\n"
        "M.data, M.indices, M.indptr = rng.random(200000), rng.integers(0, 20000, 200000), np.arange(0, 200001, 10)\n"
        f"net = nn.MLP([20000, 16, 1], output='sigmoid', seed=0, backend={backend!r})\n"
        "y = rng.integers(0, 2, 20000)\n"
        "net.fit(M(), y, epochs=1, batch_size=2000); net.train_step(M(), y, 'adam')\n"
        "net.predict(M()); net.evaluate(M(), y)\n"
        "peak = next(int(line.split()[1]) for line in open('/proc/self/status') if line.startswith('VmHWM'))\n"
        "assert peak < 300e3, f'{peak} KB at the most'\n"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True)
