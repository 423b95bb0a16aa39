"""Sparse X that is refused, what is said of values that are not finite, and sizes beyond int32."""

from __future__ import annotations

import sys
from pathlib import Path
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


def test_levenberg_marquardt_is_refused(backend: str, dense: np.ndarray, y: np.ndarray) -> None:
    net = network(backend, layers=[nn.Dense(K, 1)])
    with pytest.raises(ValueError, match=r"X is sparse; LevenbergMarquardt.*X\.toarray\(\)"):
        net.fit(Matrix(dense), y, batch_size=None, optimizer="levenberg_marquardt")


@pytest.mark.parametrize(
    "layer", [nn.BatchNorm(K), nn.LayerNorm(K), nn.GaussianNoise(0.1), nn.Dropout(0.1), nn.Columns({0: 2}, K)]
)
def test_other_first_layers_are_refused(layer: Any, backend: str, dense: np.ndarray, y: np.ndarray) -> None:
    n = getattr(layer, "n_out", 0) or K
    net = network(backend, layers=[layer, nn.Dense(n, 3, "softmax")])
    X, message = Matrix(dense), rf"sparse Matrix and the first layer is {type(layer).__name__}; .*\.toarray\(\)"
    for call in (
        lambda: net.fit(X, y),
        lambda: net.fit([(X, y)]),
        lambda: net.fit(dense * 0, y, validation_data=(X, y)),
        lambda: net.train_step(X, y, "adam"),
        lambda: net.loss_and_gradients(X, y),
        lambda: net.evaluate(X, y),
        lambda: net.predict(X),
        lambda: net.forward(X, layers=True),
    ):
        with pytest.raises(ValueError, match=message):
            call()


def test_arrays_that_describe_no_matrix_are_refused(backend: str, dense: np.ndarray, y: np.ndarray) -> None:
    X = Matrix(dense)

    def changed(name: str, at: int, value: int) -> np.ndarray:
        array = getattr(X, name).copy()
        array[at] = value
        return array

    falling = X.indptr.copy()
    falling[5] = falling[6] + 1
    cases = {
        r"X\.indices has 90; expected 0 to 89": {"indices": changed("indices", 4, K)},
        r"X\.indices has -1; expected 0 to 89": {"indices": changed("indices", -1, -1)},
        r"X\.indices has 4294967295": {"indices": changed("indices", -1, -1).astype(np.uint32)},
        r"X\.indices has 18446744073709551615": {"indices": changed("indices", -1, -1).astype(np.uint64)},
        r"X\.indptr falls from .* at row 5": {"indptr": falling},
        r"X\.indptr begins with 2; expected 0": {"indptr": changed("indptr", 0, 2)},
        r"X\.indptr ends with \d+; expected at most": {"indptr": changed("indptr", -1, 10**6)},
        r"X\.indptr has 150 numbers; expected 151": {"indptr": X.indptr[:-1]},
        r"X\.data has shape \(\d+,\); expected": {"data": X.data[:-1]},
        r"X\.indices is of float64": {"indices": X.indices.astype(float)},
        r"X\.indptr is of bool": {"indptr": X.indptr > 3},
        r"X\.indices .* has shape \(1, \d+\)": {"indices": X.indices[None]},
        r"X has 91 features; this network takes 90": {"shape": (N, K + 1)},
        r"X has shape \(90,\); expected 2 dimensions": {"shape": (K,)},
        r"X has no rows": {"shape": (0, K), "indptr": X.indptr[:1]},
    }
    net = network(backend)
    before = net.get_weights()
    for message, changes in cases.items():
        for call in (net.predict, lambda X: net.fit(X, y), lambda X: net.evaluate(X, y)):
            with pytest.raises(ValueError, match=message):
                call(X.having(**changes))
    for values in (X.data.astype(complex), X.data.astype(str), X.data.astype(object)):
        with pytest.raises(TypeError, match=r"X has dtype .*; expected real numbers"):
            net.fit(X.having(data=values), y)
    with pytest.raises(TypeError, match=r"X is a Matrix of format 'coo'; expected CSR"):
        net.fit(X.having(format="coo"), y)
    with pytest.raises(ValueError, match=r"validation_data X\.indices has 90"):
        net.fit(X, y, validation_data=(X.having(indices=changed("indices", 0, K)), y))
    with pytest.raises(ValueError, match=r"X of chunk 0\.indices has 90"):
        net.fit([(X.having(indices=changed("indices", 0, K)), y)])
    assert_same(net.get_weights(), before, "native")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite(value: float, backend: str, dense: np.ndarray, y: np.ndarray) -> None:
    X = Matrix(dense)
    row = 100
    data = X.data.copy()
    data[X.indptr[row]] = data[X.indptr[row + 2]] = value
    bad = X.having(data=data)
    net = network(backend)
    before = net.get_weights()
    for call in (
        lambda: net.fit(bad, y, shuffle=False),
        lambda: net.fit(bad, y, batch_size=None),
        lambda: net.train_step(bad, y, "adam"),
        lambda: net.loss_and_gradients(bad, y),
        lambda: net.evaluate(bad, y),
        lambda: net.fit(X, y, validation_data=(bad, y)),
        lambda: net.fit([(bad, y)], shuffle=False),
    ):
        with pytest.raises(ValueError, match=r"row 100"):
            call()
    assert_same(net.get_weights(), before, "native")
    found, right = net.predict(bad), net.predict(X)
    touched = [row, row + 2]
    np.testing.assert_array_equal(np.delete(found, touched, axis=0), np.delete(right, touched, axis=0))
    if np.isnan(value):
        assert np.isnan(found[touched]).all()


@pytest.mark.parametrize(("scale", "rate"), [(1, 1e30), (1e9, 1e3)])
def test_divergence_is_told(scale: float, rate: float, backend: str, dense: np.ndarray, y: np.ndarray) -> None:
    messages = []
    for X in (Matrix(dense * scale), dense * scale):
        net = network(backend, "float32", [nn.Dense(K, 21, "relu"), nn.Dense(21, 3)])
        before = net.get_weights()
        with pytest.raises(nn.DivergenceError) as error:
            net.fit(X, np.eye(3)[y], optimizer=nn.SGD(rate), epochs=3)
        messages.append(str(error.value))
        assert_same(net.get_weights(), before, "native")
    assert messages[0] == messages[1]


# ------------------------------------------------------------------------------------------------------ large matrices


@pytest.mark.skipif(sys.platform != "linux", reason="files with holes")
def test_more_is_stored_than_int32_counts(backend: str, tmp_path: Path) -> None:
    """The last rows of a matrix of 2**31 entries and more, which lie in files that are nearly all hole."""
    before, kept = 2**31 + 5, Matrix(np.array([[0, 2.0, 0], [0, 0, 0], [1.5, 0, -1]], np.float32))
    arrays = {}
    for name, dtype, array in (("columns", np.int64, kept.indices), ("values", np.float32, kept.data)):
        try:
            arrays[name] = np.memmap(tmp_path / name, dtype, "w+", shape=(before + 3,))
        except OSError as error:
            pytest.skip(f"no file of such a size: {error}")
        arrays[name][-3:] = array
    starts = kept.indptr.astype(np.int64) + before
    X = sparse.CSR(starts, np.asarray(arrays["columns"]), np.asarray(arrays["values"]), 3)
    small = sparse.csr(kept, "X", 3, np.dtype(np.float32))
    y = np.array([[1.0], [2], [3]], np.float32)
    found = []
    for rows in (X, small):
        net = nn.MLP([3, 4, 1], backend=backend)
        engine, optimizer = net._engine, nn.RMSprop()
        job = engine.job(rows, y, loss="mse", batch_size=2, shuffle=True, seed=0, first_epoch=0, optimizer=optimizer,
                         slots=engine.new_slots(optimizer.n_slots), record=False, threads=None)  # fmt: skip
        engine.run(job, 0, 4)
        found.append([*engine.get_weights(), engine.predict(rows), *engine.loss_and_gradients(rows, y, "mse")[1]])
    for a, b in zip(*found, strict=True):
        np.testing.assert_array_equal(a, b)
    assert np.abs(found[0][0] - nn.MLP([3, 4, 1], backend=backend).get_weights()[0]).max() > 0


def test_starts_that_would_overflow_are_made_wide() -> None:
    """Of two parts that int32 counts, where the rows joined have more."""

    near = np.array([0, 2**31 - 5], np.int32)
    part = sparse.CSR(near, np.zeros(3, np.int32), np.zeros(3), 2)
    few = sparse.CSR(np.array([0, 3], np.int32), np.zeros(3, np.int32), np.ones(3), 2)
    joined = sparse.joined(part, few)
    assert isinstance(joined, sparse.CSR)
    assert joined.starts.tolist() == [0, 2**31 - 5, 2**31 - 2]
    joined = sparse.joined(part, sparse.CSR(np.array([0, 9], np.int32), np.zeros(9, np.int32), np.ones(9), 2))
    assert isinstance(joined, sparse.CSR)
    assert joined.starts.tolist() == [0, 2**31 - 5, 2**31 + 4] and joined.columns.dtype == np.int64
    assert sparse.joined(few, few).starts.dtype == np.int32
