from __future__ import annotations

import io
import json
import os
import signal
import stat
import subprocess
import sys
import time
import zipfile

import numpy as np
import pytest

from nncore import MLP, SGD, Adam, load
from nncore.callbacks import Callback, Checkpoint, CSVLogger, EarlyStopping


def classifier(backend, **kwargs):
    return MLP([5, 8, 3], activation="tanh", output="softmax", backend=backend, **kwargs)


def assert_same_weights(a, b):
    for x, y in zip(a.get_weights(), b.get_weights(), strict=True):
        np.testing.assert_array_equal(x, y)


def assert_same_state(a, b):
    assert (a.steps, a.learning_rate) == (b.steps, b.learning_rate)
    for slot, other in zip(a._slots.arrays(), b._slots.arrays(), strict=True):
        for x, y in zip(slot, other, strict=True):
            np.testing.assert_array_equal(x, y)


class StopAfter(Callback):
    """Ends a run as a power cut would: without a word, after so many epochs or in an epoch after so many steps."""

    def __init__(self, epochs, steps=None):
        self.epochs, self.steps = epochs, steps

    def on_epoch_begin(self, epoch):
        if self.steps is None and epoch == self.epochs:
            raise SystemExit

    def on_batch_end(self, step, logs):
        if self.steps is not None and self.network.history.epochs == self.epochs and step + 1 == self.steps:
            raise SystemExit


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("make", [Adam, lambda: SGD(0.1, momentum=0.9), lambda: SGD(0.1)])
def test_a_run_that_goes_on_ends_with_the_same_bits(backend, blobs, tmp_path, make, dtype):
    X, y = blobs
    path = tmp_path / "run.npz"
    call = {"epochs": 7, "batch_size": 16, "metrics": ["accuracy"], "validation_split": 0.2, "seed": 5}
    whole, cut, resumed = (classifier(backend, dtype=dtype) for _ in range(3))
    kept, first, second = make(), make(), make()
    for net, optimizer in ((whole, kept), (cut, first), (resumed, second)):
        net.fit(X, y, epochs=2, optimizer=optimizer)  # the count of epochs is not that of the call
    expected = whole.fit(X, y, optimizer=kept, **call)
    with pytest.raises(SystemExit):
        cut.fit(X, y, optimizer=first, callbacks=[StopAfter(5), Checkpoint(path, every=2)], **call)
    other = classifier(backend, dtype=dtype, seed=1)  # what it has is replaced
    fresh = make()
    history = other.fit(X, y, optimizer=fresh, resume=path, callbacks=[Checkpoint(path)], **call)
    assert history.history == expected.history
    assert history.stopped == "epochs" and history.epochs == 7
    assert other.epochs_trained == whole.epochs_trained == 9
    assert_same_weights(other, whole)
    assert_same_state(fresh, kept)
    again = classifier(backend, dtype=dtype)
    assert again.fit(X, y, optimizer=make(), resume=path, **call).history == expected.history  # all is done
    assert_same_weights(again, whole)
    more = whole.fit(X, y, optimizer=kept, **{**call, "epochs": 2})
    longer = again.fit(X, y, optimizer=make(), resume=path, **{**call, "epochs": 9})
    assert longer.history["loss"][7:] == more.history["loss"]
    assert_same_weights(again, whole)


@pytest.mark.parametrize("steps", [1, 3, 4, 7])
def test_a_run_goes_on_within_an_epoch(backend, blobs, tmp_path, steps):
    X, y = blobs
    path = tmp_path / "run.npz"
    call = {"epochs": 4, "batch_size": 16, "metrics": ["accuracy"]}
    whole, cut, resumed = (classifier(backend) for _ in range(3))
    expected = whole.fit(X, y, **call)
    with pytest.raises(SystemExit):
        cut.fit(X, y, callbacks=[StopAfter(2, 6), Checkpoint(path, steps=steps)], **call)
    seen = []

    class Steps(Callback):
        def on_batch_end(self, step, logs):
            seen.append(step)

    history = resumed.fit(X, y, resume=path, callbacks=[Steps()], **call)
    assert seen[0] == {1: 5, 3: 3, 4: 4, 7: 0}[steps]  # of the sixth step there is no checkpoint: it was cut off
    assert history.history == expected.history
    assert_same_weights(resumed, whole)


def test_early_stopping_goes_on_as_if_nothing_had_been(backend, blobs, tmp_path):
    X, y = blobs
    path = tmp_path / "run.npz"
    call = {"epochs": 60, "validation_data": (X[:30], (y[:30] + 1) % 3), "optimizer": "sgd"}
    whole = classifier(backend)
    expected = whole.fit(X, y, early_stopping=3, **call)
    assert expected.stopped == "early stopping" and expected.epochs > 3
    for cut_at in range(1, expected.epochs + 1):
        cut, resumed = classifier(backend), classifier(backend)
        with pytest.raises(SystemExit):
            # The callbacks in another order: checkpoints see what early stopping made of the epoch.
            cut.fit(X, y, callbacks=[Checkpoint(path), EarlyStopping(patience=3), Cut(cut_at)], **call)
        history = resumed.fit(X, y, resume=path, early_stopping=3, **call)
        assert history.history == expected.history and history.stopped == "early stopping"
        assert_same_weights(resumed, whole)


class Cut(Checkpoint):
    """Called after the other checkpoints."""

    def __init__(self, epochs):
        super().__init__("never")
        self.epochs = epochs

    def on_epoch_end(self, epoch, logs):
        if epoch + 1 == self.epochs:
            raise SystemExit


def test_the_users_own_state_comes_back(backend, blobs, tmp_path):
    X, y = blobs
    path = tmp_path / "run.npz"
    state = {
        "none": None, "true": True, "number": 2**60, "float": 0.1, "text": "ä", "list": [1, [np.arange(3)]],
        "dict": {"array": np.arange(24.0).reshape(2, 3, 4), "empty": {}}, "inf": float("inf"),
        "scalar": np.float32(0.1),
    }  # fmt: skip

    class Mine(Callback):
        loaded = None

        def state(self):
            return state

        def load_state(self, state):
            self.loaded = state

    classifier(backend).fit(X, y, epochs=1, callbacks=[Mine(), Checkpoint(path)])
    mine = Mine()
    classifier(backend).fit(X, y, epochs=1, callbacks=mine, resume=path)
    assert mine.loaded.keys() == state.keys()
    for key in ("none", "true", "number", "float", "text", "inf", "scalar"):
        assert mine.loaded[key] == state[key]
    np.testing.assert_array_equal(mine.loaded["dict"]["array"], state["dict"]["array"])
    np.testing.assert_array_equal(mine.loaded["list"][1][0], np.arange(3))
    with pytest.raises(ValueError, match="resume has the state of Mine; expected one in callbacks"):
        classifier(backend).fit(X, y, epochs=1, resume=path)
    state["bad"] = object()
    with pytest.raises(TypeError, match=r"'bad'.* is of type object; a checkpoint keeps numbers"):
        classifier(backend).fit(X, y, epochs=1, callbacks=[Mine(), Checkpoint(path)])


def test_a_log_has_each_epoch_once(backend, blobs, tmp_path):
    X, y = blobs
    path, log, other = tmp_path / "run.npz", tmp_path / "log.csv", tmp_path / "other.csv"
    classifier(backend).fit(X, y, epochs=6, callbacks=CSVLogger(other))
    with pytest.raises(SystemExit):
        classifier(backend).fit(X, y, epochs=6, callbacks=[StopAfter(5), Checkpoint(path, every=3), CSVLogger(log)])
    assert len(log.read_text().splitlines()) == 6
    classifier(backend).fit(X, y, epochs=6, callbacks=CSVLogger(log), resume=path)
    assert log.read_text() == other.read_text()


def test_only_the_best_is_kept_where_that_is_asked_for(backend, blobs, tmp_path):
    X, y = blobs
    path = tmp_path / "best.npz"
    kept = []

    class Weights(Callback):
        def on_epoch_end(self, epoch, logs):
            kept.append(self.network.get_weights())

    net = classifier(backend)
    history = net.fit(
        X, y, epochs=30, validation_data=(X[:30], (y[:30] + 1) % 3), callbacks=[Weights(), Checkpoint(path, 1, True)]
    )
    best = int(np.argmin(history.history["val_loss"]))
    assert best < 29
    for a, b in zip(load(path).get_weights(), kept[best], strict=True):
        np.testing.assert_array_equal(a, b)
    assert load(path).epochs_trained == best + 1


def test_permissions_and_links_stay_and_nothing_is_left_over(backend, blobs, tmp_path):
    X, y = blobs
    path, link = tmp_path / "run.npz", tmp_path / "link.npz"
    classifier(backend).fit(X, y, epochs=1, callbacks=Checkpoint(path))
    os.chmod(path, 0o640)
    os.symlink(path, link)
    before = path.read_bytes()
    classifier(backend).fit(X, y, epochs=2, callbacks=Checkpoint(link))
    assert stat.S_IMODE(path.stat().st_mode) == 0o640 and link.is_symlink() and path.read_bytes() != before
    assert sorted(os.listdir(tmp_path)) == ["link.npz", "run.npz"]


def test_a_learning_rate_that_was_changed_goes_on_changed(backend, blobs, tmp_path):
    X, y = blobs
    path = tmp_path / "run.npz"

    class Halve(Callback):
        def on_epoch_end(self, epoch, logs):
            self.optimizer.learning_rate /= 2

    whole, resumed = classifier(backend), classifier(backend)
    whole.fit(X, y, epochs=6, callbacks=Halve())
    with pytest.raises(SystemExit):
        classifier(backend).fit(X, y, epochs=6, callbacks=[Halve(), Checkpoint(path), StopAfter(3)])
    resumed.fit(X, y, epochs=6, callbacks=Halve(), resume=path)
    assert_same_weights(whole, resumed)


def test_chunks_go_on_at_an_epochs_start(backend, blobs, tmp_path):
    X, y = blobs
    path = tmp_path / "run.npz"
    chunks = [(X[:50], y[:50]), (X[50:], y[50:])]
    whole, resumed = classifier(backend), classifier(backend)
    expected = whole.fit(chunks, epochs=5)
    with pytest.raises(SystemExit):
        classifier(backend).fit(chunks, epochs=5, callbacks=[Checkpoint(path), StopAfter(2)])
    assert resumed.fit(chunks, epochs=5, resume=path).history == expected.history
    assert_same_weights(whole, resumed)


def test_what_a_killed_writer_left_is_removed_and_nothing_else(backend, blobs, tmp_path):
    X, y = blobs
    path = tmp_path / "run.npz"
    others = ["other.npz.999999999.ab.tmp", f"run.npz.{os.getpid()}.ab.tmp", "run.npz.old", "run.npz.mine.tmp"]
    for name in ["run.npz.999999999.ab.tmp", *others]:
        (tmp_path / name).touch()
    classifier(backend).fit(X, y, epochs=1, callbacks=Checkpoint(path))
    assert sorted(os.listdir(tmp_path)) == sorted([*others, "run.npz"])


# ------------------------------------------------------------------------------------------------------ damaged files


def test_what_is_no_checkpoint(backend, blobs, tmp_path):
    X, y = blobs
    net = classifier(backend)
    with pytest.raises(FileNotFoundError):
        net.fit(X, y, resume=tmp_path / "none.npz")
    net.save(tmp_path / "net.npz")
    with pytest.raises(ValueError, match=r"net\.npz is not a checkpoint .* a network without a run"):
        net.fit(X, y, resume=tmp_path / "net.npz")
    (tmp_path / "text").write_text("text")
    with pytest.raises(ValueError, match="is not a checkpoint"):
        net.fit(X, y, resume=tmp_path / "text")


def test_every_flipped_byte_and_every_cut_is_seen(blobs, tmp_path):
    """A damaged file is refused, or (where the zip format does not care about a byte) goes on as it should."""
    X, y = blobs
    path, bad = tmp_path / "run.npz", tmp_path / "bad.npz"
    net, call = MLP([5, 3], output="softmax", backend="numpy"), {"epochs": 1, "batch_size": 60}
    net.fit(X, y, early_stopping=3, callbacks=Checkpoint(path), **call)
    data = path.read_bytes()
    refused = 0
    for at in range(0, len(data), 17):
        for damaged in (data[:at] + bytes([data[at] ^ 0x41]) + data[at + 1 :], data[:at]):
            bad.write_bytes(damaged)
            again = MLP([5, 3], output="softmax", backend="numpy")
            try:
                again.fit(X, y, early_stopping=3, resume=bad, **call)
            except ValueError as error:
                assert "bad.npz" in str(error)
                refused += 1
            else:
                assert_same_weights(again, net)
    assert refused > len(data) // 17


def with_header(path, change):
    with zipfile.ZipFile(path) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    arrays = [np.load(io.BytesIO(content[f"checkpoint.{i}.npy"])) for i in range(len(content))
              if f"checkpoint.{i}.npy" in content]  # fmt: skip
    header = json.loads(np.load(io.BytesIO(content["checkpoint.json.npy"])).tobytes())
    buffer = io.BytesIO()
    np.save(buffer, np.frombuffer(json.dumps(change(header, arrays)).encode(), np.uint8))
    content["checkpoint.json.npy"] = buffer.getvalue()
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in content.items():
            archive.writestr(name, data)


def test_an_entry_that_the_format_does_not_have_is_not_passed_over(blobs, tmp_path):
    """With the right checksum."""
    from nncore.io import _checksum

    X, y = blobs
    path = tmp_path / "run.npz"
    net = MLP([5, 3], output="softmax", backend="numpy")
    net.fit(X, y, epochs=1, callbacks=Checkpoint(path))
    with_header(path, lambda h, arrays: {**h, "more": 1, "crc32": _checksum({**h, "more": 1}, arrays)})
    with pytest.raises(ValueError, match="the header has the entry 'more', which format 1 does not have"):
        net.fit(X, y, epochs=2, resume=path)


@pytest.mark.parametrize(
    "change",
    [
        lambda h: {**h, "format": 2},
        lambda h: {**h, "arrays": [[[10**9, 10**9], "float64"], *h["arrays"][1:]]},
        lambda h: {**h, "arrays": [[[-1], "float64"], *h["arrays"][1:]]},
        lambda h: {**h, "arrays": [[h["arrays"][0][0], "object"], *h["arrays"][1:]]},
        lambda h: {**h, "state": []},
        lambda h: {**h, "crc32": 0},
        lambda h: [h],
    ],
)
def test_headers_that_do_not_fit(blobs, tmp_path, change):
    X, y = blobs
    path = tmp_path / "run.npz"
    net = MLP([5, 3], output="softmax", backend="numpy")
    net.fit(X, y, epochs=1, callbacks=Checkpoint(path))
    with_header(path, lambda header, arrays: change(header))
    with pytest.raises(ValueError, match=r"run\.npz is not a checkpoint"):
        net.fit(X, y, epochs=1, resume=path)


# ------------------------------------------------------------------------------------------------------------ SIGKILL

PROGRAM = """
import sys, pathlib, warnings
warnings.simplefilter("ignore")
import numpy as np, nncore as nn
backend, path, steps, out = sys.argv[1], pathlib.Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
rng = np.random.default_rng(0)
X, y = rng.standard_normal((400, 6)), rng.integers(0, 3, 400)
net, optimizer = nn.MLP([6, 16, 3], output="softmax", backend=backend), nn.Adam()
checkpoint = nn.callbacks.Checkpoint(path, steps=steps or None)
print("ready", flush=True)
history = net.fit(X, y, epochs=40, optimizer=optimizer, batch_size=16, validation_split=0.2, metrics=["accuracy"],
                  early_stopping=35, callbacks=[checkpoint] if path.name != "none" else [],
                  resume=path if path.exists() else None)
np.savez(out, *net.get_weights(), *sum(optimizer._slots.arrays(), []), steps=optimizer.steps,
         loss=history.history["loss"], val=history.history["val_accuracy"])
"""


@pytest.mark.parametrize("steps", [0, 3])
def test_a_run_that_is_killed_again_and_again_ends_with_the_same_bits(backend, tmp_path, steps):
    paths = [path for path in sys.path if path]
    program = f"import sys; sys.path[:0] = {paths!r}\n{PROGRAM}"

    def start(path, out):
        command = [sys.executable, "-c", program, backend, str(tmp_path / path), str(steps), str(tmp_path / out)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout.readline() == "ready\n"
        return process

    reference = start("none", "whole.npz")
    assert reference.wait(timeout=60) == 0
    kills = 0
    for attempt in range(4):
        process = start("run.npz", "killed.npz")
        time.sleep(0.004 * (1 + 3 * attempt))  # another moment each time, for what it is worth
        process.send_signal(signal.SIGKILL)
        kills += process.wait(timeout=60) != 0
        process.stdout.close()
    assert kills
    last = start("run.npz", "killed.npz")
    assert last.wait(timeout=60) == 0
    for process in (reference, last):
        process.stdout.close()
    assert not [name for name in os.listdir(tmp_path) if name.endswith(".tmp")]
    with np.load(tmp_path / "whole.npz") as whole, np.load(tmp_path / "killed.npz") as killed:
        assert whole.files == killed.files
        for name in whole.files:
            np.testing.assert_array_equal(whole[name], killed[name], err_msg=name)
