from __future__ import annotations

import numpy as np
import pytest

from nncore import MLP, SGD, Adam, Dense, DivergenceError, Dropout, Sequential
from nncore.callbacks import Callback, Checkpoint


def classifier(backend, **kwargs):
    return MLP([5, 8, 3], activation="tanh", output="softmax", backend=backend, **kwargs)


def assert_same_weights(a, b):
    for x, y in zip(a.get_weights(), b.get_weights(), strict=True):
        np.testing.assert_array_equal(x, y)


def cut(X, y, sizes):
    ends = np.cumsum(sizes)
    assert ends[-1] == len(X)
    return [(X[end - size : end], y[end - size : end]) for end, size in zip(ends, sizes, strict=True)]


@pytest.mark.parametrize("sizes", [[120], [60, 60], [50, 70], [7, 33, 1, 1, 78], [3] * 40, [1] * 120, [119, 1]])
def test_without_shuffle_chunks_are_the_whole(backend, blobs, sizes):
    X, y = blobs
    whole, parts = classifier(backend), classifier(backend)
    optimizers = Adam(), Adam()
    first = whole.fit(X, y, epochs=3, batch_size=16, shuffle=False, metrics=["accuracy"], optimizer=optimizers[0])
    second = parts.fit(
        cut(X, y, sizes), epochs=3, batch_size=16, shuffle=False, metrics=["accuracy"], optimizer=optimizers[1]
    )
    assert_same_weights(whole, parts)
    assert optimizers[0].steps == optimizers[1].steps == 24
    assert second.history["accuracy"] == first.history["accuracy"]
    np.testing.assert_allclose(second.history["loss"], first.history["loss"], rtol=1e-6)
    assert parts.epochs_trained == 3


def test_one_chunk_is_shuffled_as_arrays_are(backend, blobs):
    X, y = blobs
    whole, parts = classifier(backend, seed=3), classifier(backend, seed=3)
    whole.fit(X, y, epochs=3, batch_size=16)
    parts.fit(lambda: iter([(X, y)]), epochs=3, batch_size=16)
    assert_same_weights(whole, parts)


def test_shuffle_acts_within_chunks_and_loses_no_row(backend):
    X = np.arange(48, dtype=np.float32).reshape(48, 1)
    seen = []

    def metric(pred, target):
        seen.append(target[:, 0].copy())
        return 0.0

    net = MLP([1, 1], backend=backend)
    net.fit(cut(X, X, [20, 20, 8]), epochs=2, batch_size=6, metrics=metric, optimizer=SGD(0.0))
    for rows in seen:
        for low, high in ((0, 20), (20, 40), (40, 48)):
            part = rows[low:high]
            np.testing.assert_array_equal(np.sort(part), np.arange(low, high))
            assert not np.array_equal(part, np.arange(low, high))
        assert not np.array_equal(rows[:20], rows[20:40] - 20)  # chunks of one size have orders of their own
    assert not np.array_equal(seen[0], seen[1])


def test_a_chunk_is_a_batch_without_a_batch_size(backend, blobs):
    X, y = blobs
    net, twin = classifier(backend), classifier(backend)
    optimizer, steps = SGD(0.1), SGD(0.1)
    chunks = cut(X, y, [50, 30, 40])
    net.fit(chunks, epochs=1, batch_size=None, shuffle=False, optimizer=optimizer)
    assert optimizer.steps == 3
    for part in chunks:
        twin.train_step(*part, steps)
    assert_same_weights(net, twin)


def test_the_loss_is_the_mean_over_all_rows(backend):
    net = MLP([1, 1], initializer="zeros", dtype="float64", backend=backend)
    chunks = [(np.zeros((2, 1)), [3.0, 3.0]), (np.zeros((1, 1)), [0.0])]
    for size in (None, 1, 2, 100):
        history = net.fit(chunks, optimizer=SGD(0.0), batch_size=size, epochs=1)
        assert history.history["loss"] == [pytest.approx(6.0, rel=1e-14)]


def test_a_generator_may_reuse_its_memory(backend, blobs):
    X, y = blobs
    buffer, labels = np.empty((50, 5), np.float32), np.empty(50, int)

    def chunks():
        for at in range(0, 120, 50):
            n = min(50, 120 - at)
            buffer[:n], labels[:n] = X[at : at + n], y[at : at + n]
            yield buffer[:n], labels[:n]
            buffer[:] = np.nan

    net, twin = classifier(backend), classifier(backend)
    call = {"epochs": 2, "batch_size": 16, "shuffle": False, "metrics": ["accuracy"]}
    assert net.fit(chunks, **call).history["accuracy"] == twin.fit(X, y, **call).history["accuracy"]
    assert_same_weights(net, twin)


def test_callbacks_and_validation_work_as_with_arrays(backend, blobs):
    X, y = blobs
    steps = []

    class Steps(Callback):
        def on_batch_end(self, step, logs):
            steps.append((step, logs["loss"]))

    net = classifier(backend)
    history = net.fit(
        cut(X, y, [50, 70]), epochs=2, batch_size=32, callbacks=Steps(), validation_data=(X, y), early_stopping=5
    )
    assert [step for step, _ in steps] == [0, 1, 2, 3] * 2
    mean = np.average([loss for _, loss in steps[:4]], weights=[32, 32, 32, 24])
    assert history.history["loss"][0] == pytest.approx(mean, rel=1e-6)
    assert len(history.history["val_loss"]) == 2


@pytest.mark.parametrize(
    ("chunks", "error", "message"),
    [
        (lambda X, y: X, TypeError, "y is None; expected a target for each row"),
        (lambda X, y: [], ValueError, "X gave no chunk in epoch 1"),
        (lambda X, y: 3, TypeError, "y is None and X is of type int"),
        (lambda X, y: lambda: 3, TypeError, r"X\(\) returned a int"),
        (lambda X, y: [X], TypeError, "chunk 0 of X is a ndarray; expected a pair"),
        (lambda X, y: [(X, y), (X, y, y, y)], TypeError, "chunk 1 of X is of length 4"),
        (lambda X, y: [(X, y), (X, y, y)], ValueError, "chunk 1 of X has weights and the first one none"),
        (lambda X, y: [(X, y, y), (X, y)], ValueError, "chunk 1 of X has no weights and the first one some"),
        (lambda X, y: [(X, y, -y)], ValueError, "sample_weight of chunk 0 is -"),
        (lambda X, y: [(X, y, y[1:])], ValueError, r"sample_weight of chunk 0 has shape \(119,\)"),
        (lambda X, y: [(X, y, 0 * y)] * 2, ValueError, "the weights of all 240 rows of the chunks are 0"),
        (lambda X, y: [(X, y, np.full(120, 1e308))], ValueError, "the weights of a chunk's rows have no finite sum"),
        (lambda X, y: [(X, y), (X[:, :4], y)], ValueError, "X of chunk 1 has 4 features; this network takes 5"),
        (lambda X, y: [(X, y), (X, y + 1)], ValueError, "y of chunk 1 has label 3"),
        (lambda X, y: [(X, y), (X[:0], y[:0])], ValueError, "X of chunk 1 has no rows"),
    ],
)
def test_refused_chunks_leave_the_network_as_it_was(backend, blobs, chunks, error, message):
    X, y = blobs
    net, other, optimizer = classifier(backend), classifier(backend), Adam()
    with pytest.raises(error, match=message):
        net.fit(chunks(X, y), optimizer=optimizer)
    assert_same_weights(net, other)
    assert net.epochs_trained == 0 == optimizer.steps and net.history is None
    other.fit(X, y, optimizer=optimizer, epochs=1)  # the optimizer is free


def test_an_iterator_lasts_one_epoch(backend, blobs):
    X, y = blobs
    net, twin = classifier(backend), classifier(backend)
    with pytest.raises(ValueError, match=r"no chunk in epoch 2 .*expected a list or a function"):
        net.fit(iter(cut(X, y, [60, 60])), epochs=2)
    assert net.history.epochs == net.epochs_trained == 1
    twin.fit(iter(cut(X, y, [60, 60])), epochs=1)
    assert_same_weights(net, twin)


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("row", [0, 37, 45, 53, 99, 119])
def test_a_bad_row_is_named_by_its_chunk(backend, blobs, row, shuffle):
    X, y = blobs
    X = X.copy()
    X[row, 2] = np.nan
    chunk, within = divmod(row, 40)
    net, fresh = classifier(backend), classifier(backend)
    with pytest.raises(ValueError, match=f"X of chunk {chunk} has a non-finite value .* row {within};"):
        net.fit(cut(X, y, [40, 40, 40]), batch_size=32, shuffle=shuffle)
    assert_same_weights(net, fresh)


@pytest.mark.parametrize("sizes", [[120], [50, 70], [7, 33, 1, 1, 78], [3] * 40, [1] * 120])
@pytest.mark.parametrize("own", [False, True])
def test_weights_of_chunks_are_those_of_the_whole(backend, blobs, rng, sizes, own):
    """Rows that weigh nothing, some chunks and batches of them alone, change nothing here either."""

    def squared(pred, target):
        e = pred - np.eye(3)[target]
        return (e**2).mean(axis=1), 2 * e / e.size

    X, y = blobs
    w = rng.random(120) * 10.0 ** rng.integers(-3, 4, 120)
    w[60:90] = 0
    more = {
        "epochs": 3,
        "batch_size": 16,
        "shuffle": False,
        "metrics": ["accuracy", "f1"],
        "loss": squared if own else None,
    }
    whole, parts = classifier(backend, dtype="float64"), classifier(backend, dtype="float64")
    steps = [[], []]

    class Steps(Callback):
        def __init__(self, kept):
            self.kept = kept

        def on_batch_end(self, step, logs):
            self.kept.append(logs["loss"])

    classes = None if own else {0: 2.0, 2: 0.5}
    first = whole.fit(X, y, sample_weight=w, class_weight=classes, callbacks=Steps(steps[0]), **more)
    ends = np.cumsum(sizes)
    chunks = [(X[e - n : e], y[e - n : e], w[e - n : e]) for e, n in zip(ends, sizes, strict=True)]
    second = parts.fit(chunks, class_weight=classes, callbacks=Steps(steps[1]), **more)
    assert_same_weights(whole, parts)
    for name, values in first.history.items():
        np.testing.assert_allclose(second.history[name], values, rtol=1e-12)
    np.testing.assert_allclose(steps[1], steps[0], rtol=1e-12)


def test_class_weights_alone_go_with_chunks(backend, blobs, tmp_path):
    X, y = blobs
    whole, parts = classifier(backend), classifier(backend)
    more = {"epochs": 2, "batch_size": 16, "shuffle": False, "class_weight": {1: 3.0}}
    whole.fit(X, y, **more)
    parts.fit(cut(X, y, [50, 70]), callbacks=Checkpoint(tmp_path / "c.npz"), **more)
    assert_same_weights(whole, parts)
    resumed = classifier(backend)
    with pytest.raises(ValueError, match="resume was made with class_weight"):
        resumed.fit(cut(X, y, [50, 70]), resume=tmp_path / "c.npz", **{**more, "class_weight": {1: 2.0}})
    resumed.fit(cut(X, y, [50, 70]), resume=tmp_path / "c.npz", **{**more, "epochs": 3})
    assert resumed.epochs_trained == 3


def test_a_chunk_that_weighs_too_much_for_the_loss_is_reported_by_its_weights(backend):
    """As in one array: the batch of y = 1e20, of weight 3, and a row of weight 1: 2e20 times 3/4."""
    net = MLP([1, 1], initializer="zeros", backend=backend)
    y = np.array([0.0, 0.0, 0.0, 1e20])
    with pytest.raises(DivergenceError) as caught:
        net.fit([(np.ones((4, 1)), y, [7.0, 7.0, 2.0, 6.0])], batch_size=2, shuffle=False, optimizer=SGD(0.0))
    assert caught.value.step == 2
    assert caught.value.largest_gradients[0] == pytest.approx(1.5e20, rel=1e-5)


def test_what_does_not_go_with_chunks(backend, blobs, tmp_path):
    X, y = blobs
    with pytest.raises(
        ValueError, match=r"sample_weight is given and X gives chunks; expected chunks \(X, y, sample_w"
    ):
        classifier(backend).fit([(X, y)], sample_weight=np.ones(120))
    with pytest.raises(ValueError, match="class_weight is 'balanced' and X gives chunks; expected a dict"):
        classifier(backend).fit([(X, y)], class_weight="balanced")
    with pytest.raises(ValueError, match="validation_split is given and X gives chunks"):
        classifier(backend).fit([(X, y)], validation_split=0.2)
    with pytest.raises(ValueError, match="Checkpoint's steps"):
        classifier(backend).fit([(X, y)], callbacks=Checkpoint(tmp_path / "c.npz", steps=3))


@pytest.mark.parametrize("n_in", [16_384])
def test_a_mapped_file_larger_than_memory_trains(backend, tmp_path, n_in):
    """A file of 128 GB (sparse, so that it takes no room) is mapped and not read; with shuffle and without."""
    rows = 128 * 10**9 // (4 * n_in)
    path = tmp_path / "large"
    with open(path, "wb") as file:
        file.truncate(rows * n_in * 4)
    X = np.memmap(path, np.float32, "r", shape=(rows, n_in))
    y = np.zeros(rows, np.float32)
    for shuffle in (True, False):
        net, optimizer = MLP([n_in, 1], backend=backend), SGD()
        history = net.fit(X, y, batch_size=8, shuffle=shuffle, max_seconds=0.05, optimizer=optimizer)
        assert history.stopped == "max_seconds" and history.epochs == 0
        assert 0 < optimizer.steps < rows // 8


def test_a_mapped_file_is_not_copied(backend, tmp_path, blobs):
    X, y = blobs
    mapped = np.memmap(tmp_path / "X", np.float32, "w+", shape=X.shape)
    mapped[:] = X
    net, twin = classifier(backend), classifier(backend)
    engine, taken = net._engine, []

    class Spy:
        def __getattr__(self, name):
            return getattr(engine, name)

        def job(self, X, y, **settings):
            taken.append(X)
            return engine.job(X, y, **settings)

    net._engine = Spy()
    net.fit(mapped, y, epochs=2)
    twin.fit(X, y, epochs=2)
    assert np.shares_memory(taken[0], mapped)
    assert_same_weights(net, twin)


@pytest.mark.parametrize("sizes", [[120], [60, 60], [7, 33, 1, 1, 78], [16] * 7 + [8]])
def test_dropout_drops_in_chunks_what_it_drops_in_arrays(backend, blobs, sizes):
    """The masks of each chunk and epoch are its own: by the row's place in the epoch."""
    X, y = blobs
    layers = [Dropout(0.2), Dense(5, 17, "tanh"), Dropout(0.5), Dense(17, 3, "softmax")]
    whole, parts = (Sequential(layers, seed=5, backend=backend) for _ in range(2))
    for net in (whole, parts):
        net.fit(X[:40], y[:40], epochs=1)  # so that the first epoch below has not the number 0
    whole.fit(X, y, epochs=3, batch_size=16, shuffle=False, seed=8)
    parts.fit(cut(X, y, sizes), epochs=3, batch_size=16, shuffle=False, seed=8)
    assert_same_weights(whole, parts)


def test_no_two_chunks_drop_alike(backend):
    """With chunks as batches too, where the arrays have no like: the masks by the loss, as a number in binary."""
    net = Sequential([Dropout(0.5), Dense(24, 1)], dtype="float64", backend=backend)
    net.set_weights([2.0 ** np.arange(24).reshape(24, 1), [0.0]])
    seen = []

    class Losses(Callback):
        def on_batch_end(self, batch, logs):
            seen.append(logs["loss"])

    chunk = np.ones((1, 24)), np.zeros(1)
    net.fit([chunk] * 5, epochs=4, batch_size=None, optimizer=SGD(0.0), callbacks=Losses())
    assert len(seen) == 20 == len(set(seen))
