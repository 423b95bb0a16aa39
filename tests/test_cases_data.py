"""Arrays that other libraries have got wrong, by public reports: views, orders, types, mapped files, many calls."""

from __future__ import annotations

import gc

import numpy as np
import pytest

import nncore as nn


@pytest.fixture(params=["float32", "float64"])
def dtype(request):
    return request.param


def layouts(array):
    """Yield names and arrays of the same values that lie in memory in other ways."""
    n, k = array.shape
    yield "transposed", np.ascontiguousarray(array.T).T
    yield "Fortran", np.asfortranarray(array)
    rows = np.zeros((2 * n, k), array.dtype)
    rows[::2] = array
    yield "every second row", rows[::2]
    columns = np.zeros((n, 3 * k + 1), array.dtype)
    columns[:, 1::3] = array
    yield "every third column", columns[:, 1::3]
    yield "columns backwards", np.ascontiguousarray(array[:, ::-1])[:, ::-1]
    yield "rows backwards", np.ascontiguousarray(array[::-1])[::-1]
    fixed = array.copy()
    fixed.flags.writeable = False
    yield "read-only", fixed
    yield "big-endian", array.astype(array.dtype.newbyteorder(">"))
    odd = np.zeros(array.nbytes + 1, np.uint8)[1:].view(array.dtype).reshape(n, k)
    odd[:] = array
    yield "unaligned", odd
    structured = np.zeros((n, k), [("pad", np.int8), ("value", array.dtype)])
    structured["value"] = array
    yield "a field of records", structured["value"]
    yield "a list", array.astype(np.float64).tolist()
    yield "objects", array.astype(object)
    yield "wider", array.astype(np.float64 if array.dtype == np.float32 else np.longdouble)
    yield "a subclass", array.view(np.matrix) if n else array


def test_every_layout_is_the_contiguous_copy_to_the_bit(backend, dtype):
    rng = np.random.default_rng(12)
    X = rng.standard_normal((226, 1024)).astype(dtype)
    y = rng.standard_normal((226, 2)).astype(dtype)

    def everything(X, y):
        net = nn.Sequential([nn.Dense(1024, 8, "relu"), nn.Dense(8, 2)], dtype=dtype, backend=backend)
        results = [net.predict(X), *net.forward(X, layers=True), net.evaluate(X, y)["loss"]]
        loss, gradients = net.loss_and_gradients(X, y)
        results += [loss, *gradients, net.train_step(X, y, optimizer="adam")]
        results += net.fit(X, y, epochs=1, batch_size=64, validation_data=(X, y)).history["val_loss"]
        return [np.asarray(result).tobytes() for result in (*results, *net.get_weights())]

    expected = everything(X, y)
    kept = X.tobytes(), y.tobytes()
    for (name, given), (_, targets) in zip(layouts(X), layouts(y), strict=True):
        if name in ("a list", "objects") and backend == "numpy":
            continue  # the same code as for native, and slow
        assert everything(given, targets) == expected, name
    assert (X.tobytes(), y.tobytes()) == kept


def test_weights_in_every_layout(backend, dtype):
    """As they are set, of the network and of its running statistics, and as weights of rows."""
    rng = np.random.default_rng(15)
    arrays = [rng.random((30, 6)), rng.random((1, 6)), rng.random((1, 6)), rng.random((1, 6)), rng.random((1, 6))]
    w, b, gamma, mean, variance = (array.astype(dtype) for array in arrays)
    X, y, rows = rng.random((40, 30)), rng.random((40, 6)), rng.random((40, 1))

    def everything(w, b, gamma, mean, variance, rows):
        net = nn.Sequential([nn.Dense(30, 6), nn.BatchNorm(6)], dtype=dtype, backend=backend)
        flat = [np.asarray(array).reshape(6) if isinstance(array, list | np.matrix) else array[0]
                for array in (b, gamma, mean, variance)]  # fmt: skip
        net.set_weights([w, flat[0], flat[1], flat[0]])
        net.set_state(flat[2:])
        loss = net.evaluate(X, y, sample_weight=np.asarray(rows))["loss"]
        return [loss, *(array.tobytes() for array in (*net.get_weights(), *net.get_state()))]

    expected = everything(w, b, gamma, mean, variance, rows)
    for given in zip(*map(layouts, (w, b, gamma, mean, variance, rows)), strict=True):
        assert everything(*(array for _, array in given)) == expected, given[0][0]


@pytest.mark.parametrize("kind", ["bool", "uint8", "int8", "uint16", "int64", "uint64", "float16", "longdouble"])
def test_every_type_is_the_float_of_its_values(backend, dtype, kind):
    rng = np.random.default_rng(13)
    X, y = rng.integers(0, 2, (30, 5)), rng.integers(0, 2, 30)
    nets = [nn.MLP([5, 6, 1], dtype=dtype, backend=backend) for _ in "ab"]
    nets[0].fit(X.astype(dtype), y.astype(dtype), epochs=2)
    nets[1].fit(X.astype(kind), y.astype(kind), epochs=2)
    for a, b in zip(nets[0].get_weights(), nets[1].get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_read_only_mapped_file_is_taken_as_it_is(backend, dtype, tmp_path):
    rng = np.random.default_rng(14)
    X, y = rng.standard_normal((64, 5)).astype(dtype), rng.integers(0, 2, 64)
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    from nncore import checks

    assert np.shares_memory(checks.matrix(mapped, "X", 5, np.dtype(dtype)), mapped)
    nets = [nn.MLP([5, 6, 2], output="softmax", dtype=dtype, backend=backend) for _ in "ab"]
    for net, given in zip(nets, (X, mapped), strict=True):
        net.fit(given, y, epochs=2, batch_size=16)
    np.testing.assert_array_equal(nets[0].predict(X), nets[1].predict(mapped))
    np.testing.assert_array_equal(np.load(tmp_path / "X.npy"), X)


def test_ten_thousand_calls_leave_memory_flat():
    """Of fit, which is where a reference that is kept, or a buffer, would add up."""
    pytest.importorskip("nncore._core")
    resource = pytest.importorskip("resource")  # not on Windows
    X, y = np.zeros((8, 2), np.float32), np.zeros((8, 1), np.float32)
    net, optimizer = nn.MLP([2, 4, 1], backend="native"), nn.Adam()

    def calls(n):
        for _ in range(n):
            net.fit(X, y, optimizer=optimizer, epochs=1, batch_size=8)
            net.predict(X)
        gc.collect()
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, len(gc.get_objects())

    calls(2000)
    kib, objects = calls(100)
    more_kib, more_objects = calls(10_000)
    assert more_kib - kib < 2048, f"{more_kib - kib} KiB more after 10,000 calls"
    assert more_objects - objects < 100
