"""The native core as a whole: the same bits for any number of threads, the streams, the choice of ISA, fork."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import numpy as np
import pytest
from kernel_layout import _core
from sparse_rows import Matrix

import nncore as nn
from nncore import streams, testing

# sizes, hidden activation, output activation, batch, rows: one for each way through train.c
SHAPES = {
    "tiny": ([2, 4, 1], "tanh", "sigmoid", 4, 63),
    "one weight": ([1, 1], "identity", "identity", 1, 5),
    "tiles": ([64, 64, 10], "relu", "softmax", 32, 203),
    "ragged tiles": ([100, 130, 1], "leaky_relu", "identity", 77, 300),
    "several panels": ([300, 257, 33], "relu", "softmax", 100, 250),
    "chunks": ([4, 32, 16, 4], "tanh", "identity", 3000, 7001),
    "a ragged chunk": ([33, 97, 3], "sigmoid", "softmax", 600, 1300),
    "deep": ([7, *[16] * 12, 2], "tanh", "identity", 33, 100),
}


def problem(shape, dtype):
    """A network's sizes, and data drawn from a seed that is the shape's own."""
    sizes, activation, output, batch, n = SHAPES[shape]
    rng = np.random.default_rng(len(shape))
    X = rng.standard_normal((n, sizes[0])).astype(dtype)
    if output == "softmax":
        y = rng.integers(0, sizes[-1], n)
    elif output == "sigmoid":
        y = rng.integers(0, 2, n)
    else:
        y = rng.standard_normal((n, sizes[-1])).astype(dtype)

    def make(backend="native"):
        return nn.MLP(sizes, activation=activation, output=output, dtype=dtype, seed=1, backend=backend)

    return make, X, y, batch


def same_bits(a, b):
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("threads", [2, 3, 4, 7])
def test_every_number_of_threads_gives_the_same_bits(shape, dtype, threads):
    make, X, y, batch = problem(shape, dtype)
    results = []
    for n in (1, threads):
        net = make()
        with testing.force_threads(n):
            history = net.fit(X, y, epochs=2, batch_size=batch)
            loss, gradients = net.loss_and_gradients(X, y)
            prediction = net.predict(X)
        results.append([*net.get_weights(), *gradients, prediction, np.array([*history.history["loss"], loss])])
    for one, many in zip(*results, strict=True):
        assert same_bits(one, many)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    "optimizer",
    [nn.SGD, lambda: nn.SGD(0.01, momentum=0.9), lambda: nn.SGD(0.01, momentum=0.9, nesterov=True), nn.Adam,
     lambda: nn.Adam(weight_decay=0.1)],
    ids=["sgd", "momentum", "nesterov", "adam", "adam with decay"],
)  # fmt: skip
def test_training_agrees_with_numpy(shape, dtype, optimizer):
    make, X, y, batch = problem(shape, dtype)
    native, plain = make("native"), make("numpy")
    for net in (native, plain):
        net.fit(X, y, optimizer=optimizer(), epochs=3, batch_size=batch)
    tolerance = {"float32": 1e-4, "float64": 1e-12}[dtype]
    for found, expected in zip(native.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * max(1, np.abs(expected).max()))


@pytest.mark.parametrize("dtype,tolerance", [("float32", 1e-5), ("float64", 1e-13)])
def test_five_epochs_of_adam_on_the_digits_agree(dtype, tolerance):
    """The design asks for 1e-3 and 1e-9 of max|W|; what holds is two orders better and more."""
    X, y = nn.datasets.load_digits(return_X_y=True)
    weights = []
    for backend in ("native", "numpy"):
        net = nn.MLP([64, 64, 10], output="softmax", dtype=dtype, seed=3, backend=backend)
        net.fit(X / 16, y, epochs=5)
        weights.append(net.get_weights())
    largest = max(np.abs(w).max() for w in weights[1])
    assert max(np.abs(a - b).max() for a, b in zip(*weights, strict=True)) <= tolerance * largest


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_fused_and_separate_updates_give_the_same_bits(shape, dtype):
    """With a rate that is a power of two, w - rate * g rounds once in either way."""
    make, X, y, batch = problem(shape, dtype)
    X, y = X[:batch], y[:batch]
    net = make()
    before = net.get_weights()
    _, gradients = net.loss_and_gradients(X, y)
    net.train_step(X, y, optimizer=nn.SGD(0.5))
    for w, g, found in zip(before, gradients, net.get_weights(), strict=True):
        assert same_bits(w - w.dtype.type(0.5) * g, found)


@pytest.mark.parametrize("n", [1, 2, 3, 7, 100, 1797, 16384, 16385, 100_003])
def test_an_epochs_order_is_that_of_the_streams(n):
    for seed, epoch in ((0, 0), (5, 3), (2**64 - 1, 2**40)):
        expected = streams.permutation(seed, streams.SHUFFLE, epoch, n)
        np.testing.assert_array_equal(_core.permutation(seed, epoch, n), expected)


@pytest.mark.parametrize("n", [1, 2, 5, 300, 5000])
@pytest.mark.parametrize("bits", [1, 3, 10, 13, 30, 64])
def test_keys_that_tie_in_part_or_whole_are_ordered_by_key_then_row(n, bits, rng):
    for shift in sorted({0, (64 - bits) // 2, 64 - bits}):  # where the bits that differ lie in the key
        keys = rng.integers(0, 2**bits, n, dtype=np.uint64, endpoint=bits < 64) << np.uint64(shift)
        np.testing.assert_array_equal(_core.permutation(0, 0, n, keys), np.argsort(keys, kind="stable"))


def test_every_order_of_four_rows_is_as_likely():
    """24 orders, 24,000 draws: chi-squared with 23 degrees of freedom is below 58 but once in 13,000 seeds."""
    counts = {}
    for epoch in range(24_000):
        order = tuple(_core.permutation(11, epoch, 4))
        counts[order] = counts.get(order, 0) + 1
    assert len(counts) == 24
    assert sum((c - 1000) ** 2 / 1000 for c in counts.values()) < 58


def run(code, **environment):
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False,
        env={**os.environ, **environment},
    )  # fmt: skip


@pytest.mark.parametrize("isa", _core.config()["isas_available"])
def test_an_isa_can_be_forced(isa):
    done = run("import nncore as nn; from nncore import _core; print(_core.config()['isa'])", NNCORE_ISA=isa)
    assert done.stdout.strip() == isa, done.stderr


def test_an_unknown_isa_is_an_error():
    done = run("import nncore", NNCORE_ISA="mmx")
    assert done.returncode != 0
    assert "ImportError: NNCORE_ISA is 'mmx'; this build knows" in done.stderr


@pytest.mark.parametrize("isa", _core.config()["isas_available"])
def test_every_isa_trains_alike(isa):
    code = """if True:
        import numpy as np, nncore as nn
        X, y = nn.datasets.load_digits(return_X_y=True)
        net = nn.MLP([64, 33, 10], output="softmax", seed=1, dtype="float64")
        print(repr(net.fit(X / 16, y, epochs=2).history["loss"][-1]))
    """
    done = run(code, NNCORE_ISA=isa)
    assert done.returncode == 0, done.stderr
    X, y = nn.datasets.load_digits(return_X_y=True)
    plain = nn.MLP([64, 33, 10], output="softmax", seed=1, dtype="float64", backend="numpy")
    expected = plain.fit(X / 16, y, epochs=2).history["loss"][-1]
    np.testing.assert_allclose(float(done.stdout), expected, rtol=1e-12)


@pytest.mark.parametrize("width", [8, 256])  # on either side of the point from which threads pay
def test_a_child_trains_after_a_fork(width):
    code = f"""if True:
        import os, numpy as np, nncore as nn
        nn.set_num_threads(2)
        X = np.ones((256, {width}), np.float32); y = np.zeros((256, 1), np.float32)
        def train():
            net = nn.MLP([{width}, {width}, 1], seed=0)
            net.fit(X, y, epochs=3)
            return net.predict(X[:1]).tobytes()
        before = train()
        child = os.fork()
        if child == 0:
            os._exit(0 if train() == before else 1)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    """
    done = run(code)
    assert done.stdout.strip() == "0", done.stderr


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_row_is_predicted_to_the_same_bits_alone_and_among_others(shape, dtype):
    make, X, _, _ = problem(shape, dtype)
    net, X = make(), X[:20]
    together = net.predict(X)
    for i in range(len(X)):
        assert same_bits(net.predict(X[i : i + 1]), together[i : i + 1])
    assert net.predict(X[:1]) is not net.predict(X[:1])


@pytest.mark.parametrize("backend", ["native", "numpy"])
def test_predictions_are_served_while_another_thread_trains(backend):
    """They wait for a call of the core at most, and change nothing in what is trained."""
    make, X, y, batch = problem("tiles", "float32")
    alone, net = make(backend), make(backend)
    epochs = 300 if backend == "native" else 30
    alone.fit(X, y, epochs=epochs, batch_size=batch)
    trainer = threading.Thread(target=lambda: net.fit(X, y, epochs=epochs, batch_size=batch))
    trainer.start()
    served = 0
    while trainer.is_alive():
        outputs = net.predict(X[:3])
        assert np.isfinite(outputs).all()
        np.testing.assert_allclose(outputs.sum(axis=1), 1, rtol=1e-5)
        served += 1
    trainer.join()
    assert served > 1
    for a, b in zip(alone.get_weights(), net.get_weights(), strict=True):
        assert same_bits(a, b)


def test_two_python_threads_train_two_networks():
    from concurrent.futures import ThreadPoolExecutor

    make, X, y, batch = problem("several panels", "float32")

    def train(_):
        net = make()
        net.fit(X, y, epochs=3, batch_size=batch)
        return net.predict(X)

    alone = train(0)
    with ThreadPoolExecutor(2) as pool:
        assert all(same_bits(alone, result) for result in pool.map(train, range(4)))


def test_subnormals_are_flushed_inside_and_the_callers_mode_comes_back():
    tiny = np.float32(1e-40)
    net = nn.MLP([1, 1], output="identity", seed=0, backend="native")
    net.set_weights([np.ones((1, 1), np.float32), np.zeros(1, np.float32)])
    assert net.predict(np.full((1, 1), tiny, np.float32))[0, 0] == 0
    assert tiny * np.float32(0.5) > 0


def test_sizes_that_cannot_be_had_are_a_memory_error_with_the_bytes():
    with pytest.raises(MemoryError, match="bytes"):
        _core.NativeEngine([(2**40, 2**40, "relu", 0.0)], "float32")
    with pytest.raises(ValueError, match="takes 3 inputs"):
        _core.NativeEngine([(2, 4, "relu", 0.0), (3, 1, "relu", 0.0)], "float32")


def test_the_engine_checks_what_it_is_given():
    """The Python layer checks before; the engine must not trust it with pointers all the same."""
    engine = _core.NativeEngine([(3, 2, "softmax", 0.0)], "float32")
    X = np.zeros((4, 3), np.float32)
    for bad in (X.T, X[::2], X.astype("f8"), X[0], X[:, :2].copy(), X[:0], X.astype(">f4"), [[1, 2, 3]], None):
        with pytest.raises((TypeError, ValueError)):
            engine.predict(bad)
    settings = {"loss": "cross_entropy", "batch_size": 2, "shuffle": True, "seed": 0, "first_epoch": 0,
                "optimizer": nn.SGD(), "slots": engine.new_slots(0), "record": False, "threads": None}  # fmt: skip
    for labels in ([0, 1, 2, 0], [0, -1, 0, 0]):
        with pytest.raises(ValueError, match="label outside 0 to 1"):
            engine.job(X, np.array(labels, np.int32), **settings)
    for y in (np.zeros(3, np.int32), np.zeros(4, np.int64), np.zeros((4, 3), np.float32)):
        with pytest.raises(ValueError, match="y must be"):
            engine.job(X, y, **settings)
    with pytest.raises(ValueError, match="batch_size is 5"):
        engine.job(X, np.zeros(4, np.int32), **{**settings, "batch_size": 5})


@pytest.mark.parametrize("threads", [1, 2, 8])
def test_the_layer_that_overflowed_is_the_same_for_any_number_of_threads(threads):
    net = nn.MLP([4, 8, 2], seed=0)
    net.set_weights([np.full((4, 8), 1e12), np.zeros(8), np.ones((8, 2)), np.zeros(2)])
    X = np.ones((2048, 4), np.float32)
    X[10] = 1e30
    with testing.force_threads(threads), pytest.raises(nn.DivergenceError) as caught:
        net.train_step(X, np.zeros((2048, 2)), optimizer=nn.SGD())
    assert caught.value.layer == 0


def test_slots_of_another_network_are_refused():
    """The core would write past their end."""
    small, large = (_core.NativeEngine([(2, n, "identity", 0.0)], "float32") for n in (1, 3000))
    settings = {"loss": "mse", "batch_size": 2, "shuffle": False, "seed": 0, "first_epoch": 0, "record": False,
                "threads": None}  # fmt: skip
    X, y = np.zeros((2, 2), np.float32), np.zeros((2, 3000), np.float32)
    with pytest.raises(ValueError, match="slots"):
        large.job(X, y, optimizer=nn.Adam(), slots=small.new_slots(2), **settings)
    with pytest.raises(ValueError, match="slots"):
        large.job(X, y, optimizer=nn.SGD(momentum=0.9), slots=large.new_slots(0), **settings)
    job = large.job(X, y, optimizer=nn.SGD(), slots=large.new_slots(0), **settings)
    with pytest.raises(ValueError, match="another engine"):
        small.run(job, 0, 1)


def test_any_number_of_threads_may_be_allowed():
    """More than there are cores is capped, however large the number."""
    make, X, y, batch = problem("tiles", "float32")
    with nn.threads(2**40):
        make().fit(X, y, epochs=1, batch_size=batch, threads=2**40)
    with pytest.raises(ValueError, match="1 to 255"), testing.force_threads(300):
        pass


def test_exactly_so_many_threads_run_where_that_is_asked_for():
    make, X, y, _ = problem("tiles", "float32")
    net = make()
    optimizer = nn.SGD(0.1)
    slots = net._engine.new_slots(0)
    _core.force_threads(0)
    for threads in (1, 2, 3):
        job = net._engine.job(
            X, y.astype(np.int32), loss="cross_entropy", batch_size=32, shuffle=True, seed=0, first_epoch=0,
            optimizer=optimizer, slots=slots, record=False, threads=threads, exact=True,
        )  # fmt: skip
        net._engine.run(job, 0, 3)
        assert job.threads == threads


@pytest.mark.parametrize("shape", ["tiles", "chunks"])
def test_the_mean_loss_of_an_epoch_does_not_depend_on_how_its_steps_are_called(shape):
    make, X, y, batch = problem(shape, "float64")
    targets = y.astype(np.int32) if y.ndim == 1 else y
    found = []
    for cuts in ([100], [1, 100], [2, 1, 1, 100]):
        net, optimizer = make(), nn.SGD(0.01)
        job = net._engine.job(
            X, targets, loss=net._default_loss.name, batch_size=batch, shuffle=True, seed=0, first_epoch=0,
            optimizer=optimizer, slots=net._engine.new_slots(0), record=False, threads=None,
        )  # fmt: skip
        for _ in range(2):  # epochs
            first, end = (0, job.steps_per_epoch) if optimizer.steps == 0 else (job.steps_per_epoch,) * 2
            end += first if first else 0
            for n in cuts:
                n = min(n, end - first)
                net._engine.run(job, first, n)
                first += n
        found.append(job.mean_loss)
    assert found[0] == found[1] == found[2]
    history = make().fit(X, y, optimizer=nn.SGD(0.01), epochs=2, batch_size=batch, seed=0)
    assert history.history["loss"][1] == found[0]


def job_in_order(engine, X, y, order, optimizer, **settings):
    """Train an epoch over the rows in an order that is given; return losses and weights."""
    job = engine.job(X, y, loss="mse", batch_size=7, shuffle=False, seed=0, first_epoch=0, optimizer=optimizer,
                     slots=engine.new_slots(optimizer.n_slots), record=True, threads=None, **settings)  # fmt: skip
    if order is not None:
        job.take_order(order)
    engine.run(job, 0, job.steps_per_epoch)
    return [np.array(job.loss_sum), *engine.get_weights()], job.predictions


@pytest.mark.parametrize("kind", ["dense", "sparse"])
@pytest.mark.parametrize("weighted", [False, True])
def test_an_order_that_is_given_trains_as_rows_in_that_order(kind, weighted):
    rng = np.random.default_rng(8)
    X = rng.standard_normal((45, 12)) * (rng.random((45, 12)) < 0.4)
    y, weights, order = rng.standard_normal((45, 3)), rng.random(45), rng.permutation(45).astype(np.uint32)
    rows = [X, np.ascontiguousarray(X[order])]
    if kind == "sparse":
        rows = [nn.sparse.csr(Matrix(x), "X", 12, np.dtype("float64")) for x in rows]
    nets = [nn.MLP([12, 20, 3], dtype="float64", seed=2, backend="native")._engine for _ in rows]
    given, given_outputs = job_in_order(nets[0], rows[0], y, order, nn.Adam(), weights=weights if weighted else None)
    moved, moved_outputs = job_in_order(
        nets[1], rows[1], np.ascontiguousarray(y[order]), None, nn.Adam(), weights=weights[order] if weighted else None
    )
    for a, b in zip([*given, given_outputs[order]], [*moved, moved_outputs], strict=True):
        assert same_bits(a, b)


@pytest.mark.parametrize(
    ("order", "message"),
    [
        ([0, 1, 2, 4], "order has a number outside 0 to 3"),
        ([0, 1, 2, 2**32 - 1], "order has a number outside 0 to 3"),
        ([3, 1, 2, 1], "order has a number twice; expected each of 0 to 3 once"),
        ([0, 1, 2], r"order must be a uint32 array of shape \(4,\)"),
    ],
)
def test_an_order_that_is_none_is_refused(order, message):
    """A row that came twice would have more entries than a sparse batch has room for, which left some out."""
    engine = nn.MLP([2, 1], backend="native")._engine
    X, optimizer = np.ones((4, 2), np.float32), nn.SGD()
    settings = {"loss": "mse", "batch_size": 2, "seed": 0, "first_epoch": 0, "optimizer": optimizer, "record": False,
                "slots": engine.new_slots(0), "threads": None}  # fmt: skip
    job = engine.job(X, X[:, :1].copy(), shuffle=False, **settings)
    with pytest.raises(ValueError, match=message):
        job.take_order(np.array(order, np.uint32))
    for other in (np.array([0, 1, 2, 3]), [0, 1, 2, 3], None):
        with pytest.raises(ValueError, match="order must be a uint32 array"):
            job.take_order(other)
    with pytest.raises(ValueError, match="of a job that does not shuffle"):
        engine.job(X, X[:, :1].copy(), shuffle=True, **settings).take_order(np.arange(4, dtype=np.uint32))
