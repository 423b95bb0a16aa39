"""A little of the fuzzers in tests/fuzz, which `make fuzz` runs at length."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from fuzz import files, targets

import nncore as nn

SEED = 20261129


@pytest.mark.parametrize("name", targets.TARGETS)
def test_random_inputs_are_taken_or_refused_properly(name, tmp_path):
    target = targets.TARGETS[name](str(tmp_path))
    ends = set()
    for index in range(120):
        try:
            ends.add(targets.run_one(target, name, SEED, index))
        except targets.Finding as finding:
            pytest.fail(f"PYTHONPATH=tests python -m fuzz --target {name} --seed {SEED} --index {index}: {finding}")
    assert {"accepted", "ValueError"} <= ends  # else what is made is not what it should be


def test_the_fuzzer_finds_what_is_wrong(tmp_path):
    class Wrong(targets.Target):
        def attempt(self, source: random.Random) -> None:
            raise (KeyError("x"), ValueError(), RuntimeError("y"))[source.randrange(3)]

    found = set()
    for index in range(20):
        with pytest.raises(targets.Finding) as info:
            targets.run_one(Wrong(), "files", 0, index)
        found.add(str(info.value))
    assert found == {"KeyError: 'x'", "ValueError without a message", "RuntimeError: y"}


def test_a_file_that_takes_too_much_memory_is_a_finding(tmp_path):
    target = targets.Files(str(tmp_path))
    before = target.begin()
    kept = bytearray(3 << 20)
    with pytest.raises(targets.Finding, match="took"):
        target.end(before, b"x" * 1000)
    assert len(kept) == 3 << 20


@pytest.mark.parametrize("body", ["os.abort()", "time.sleep(1e9)"])
def test_a_process_that_dies_or_hangs_is_a_finding(body, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import os, sys, time\n"
        "import fuzz.__main__ as main, fuzz.targets as targets\n"
        "class Bad(targets.Target):\n"
        "    def __init__(self, folder): self.n = 0\n"
        "    def attempt(self, source):\n"
        "        self.n += 1\n"
        f"        if self.n == 3: {body}\n"
        "main.TARGETS['files'] = Bad\n"
        "main.HANGS = 3.0\n"
        "if len(sys.argv) > 1: sys.exit(main.main())\n"
        "main.COMMAND = [sys.executable, __file__]\n"
        "print(main.watch('files', 0, 5, 60.0))\n"
    )
    path = os.pathsep.join(filter(None, (str(Path(__file__).parent), os.environ.get("PYTHONPATH"))))
    run = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path}, timeout=60
    )
    assert run.returncode == 0, run.stderr
    assert ("died with -6" if "abort" in body else "hung") in run.stdout
    assert ": 2}" in run.stdout  # the number of the input


# ---- what the fuzzers found


def checkpoint_of(tmp_path: Path) -> tuple[Path, nn.MLP, np.ndarray, np.ndarray]:
    X, y = files.data()
    net = nn.MLP([3, 4, 2], output="softmax", seed=4)
    path = tmp_path / "run.npz"
    stop = nn.callbacks.EarlyStopping(patience=5)
    net.fit(X, y, epochs=2, batch_size=8, callbacks=[stop, nn.callbacks.Checkpoint(path)])
    return path, nn.MLP([3, 4, 2], output="softmax", seed=4), X, y


CHANGES = {
    "epoch": lambda state: state.update(epoch="x"),
    "epoch that the history has not": lambda state: state.update(epoch=7),
    "position": lambda state: state.update(position=99),
    "negative position": lambda state: state.update(position=-1),
    "loss_sum": lambda state: state.update(loss_sum=None),
    "seconds": lambda state: state.update(seconds=float("nan")),
    "predictions": lambda state: state.update(position=1, predictions={"array": 0}),
    "history": lambda state: state.update(history=3),
    "callbacks": lambda state: state.update(callbacks=[3]),
    "steps": lambda state: state["optimizer"]["dict"].update(steps=-3),
    "optimizer's name": lambda state: state["optimizer"]["dict"].pop("name"),
    "optimizer's rate": lambda state: state["optimizer"]["dict"].pop("learning_rate"),
    "slots": lambda state: state["optimizer"]["dict"].update(slots=[]),
    "slot": lambda state: state["optimizer"]["dict"]["slots"][1].__setitem__(0, {"array": 0}),
    "wait": lambda state: state["callbacks"][0][1]["dict"].update(wait="x"),
    "best": lambda state: state["callbacks"][0][1]["dict"].update(best="x"),
    "best weights": lambda state: state["callbacks"][0][1]["dict"].update(weights=[]),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_checkpoint_that_no_run_can_have_left_changes_nothing(what, tmp_path):
    path, net, X, y = checkpoint_of(tmp_path)
    content = files.members(path.read_bytes())
    header = json.loads(files.body(content["checkpoint.json.npy"]))
    CHANGES[what](header["state"]["dict"])
    files.sign(header, "checkpoint.json.npy", content)
    content["checkpoint.json.npy"] = files.npy(np.frombuffer(json.dumps(header).encode(), np.uint8))
    path.write_bytes(files.archive(random.Random(0), content))
    before, optimizer, stop = targets.state_of(net), nn.Adam(), nn.callbacks.EarlyStopping(patience=5)
    with pytest.raises(ValueError, match=r"run\.npz"):
        net.fit(X, y, epochs=4, batch_size=8, optimizer=optimizer, callbacks=[stop], resume=path)
    assert targets.state_of(net) == before
    assert optimizer.steps == 0
    net.fit(X, y, epochs=4, batch_size=8, optimizer=optimizer, callbacks=[stop])  # as if nothing had been
    fresh = nn.MLP([3, 4, 2], output="softmax", seed=4)
    fresh.fit(X, y, epochs=4, batch_size=8, callbacks=[nn.callbacks.EarlyStopping(patience=5)])
    assert targets.state_of(net) == targets.state_of(fresh)


@pytest.mark.parametrize("call", ["fit", "predict", "evaluate"])
def test_an_integer_beyond_float64_is_refused(call):
    net = nn.MLP([2, 1])
    X, y = np.array([[10**400, 1], [2, 3]], object), [0.0, 1.0]
    with pytest.raises(ValueError, match="X has an integer beyond the range of float64"):
        getattr(net, call)(*(X, y)[: 1 if call == "predict" else 2])
    with pytest.raises(ValueError, match="y has an integer beyond the range of float64"):
        net.fit([[0, 1], [1, 2]], [10**400, 1])


def test_loading_draws_no_initial_weights(tmp_path, monkeypatch):
    path = tmp_path / "model.npz"
    nn.Sequential([nn.Dense(4, 3, initializer="orthogonal")], seed=3).save(path)
    monkeypatch.setattr(nn.Sequential, "_initial_weights", lambda self: pytest.fail("they were drawn"))
    net = nn.load(path)
    assert net.layers[0].initializer == "orthogonal"


def test_the_checksum_is_of_header_and_data(tmp_path):
    path = tmp_path / "model.npz"
    nn.MLP([2, 3, 1]).save(path)
    content = files.members(path.read_bytes())
    header = json.loads(files.body(content["nncore.json.npy"]))
    signed = dict(header)
    files.sign(signed, "nncore.json.npy", content)
    assert signed == header, "the fuzzer signs files as they are signed, or it would reach nothing behind the checksum"


def test_weights_below_the_normal_numbers_go_with_those_of_classes():
    X, y = np.eye(3), np.array([0, 1, 2])
    nets = [nn.MLP([3, 3], output="softmax", dtype="float64", seed=1) for _ in range(2)]
    for net, size in zip(nets, (2.0**-1060, 1.0), strict=True):  # whose inverse is beyond float64
        net.fit(X, y, epochs=2, sample_weight=np.array([1.0, 2.0, 3.0]) * size, class_weight={0: 2.0})
    assert targets.state_of(nets[0]) == targets.state_of(nets[1])


@pytest.mark.parametrize("label", [2**63, 2**62, 2**24])
def test_numbers_that_are_none_of_classes_have_no_class_weight(label):
    def own(pred: np.ndarray, target: np.ndarray) -> tuple[float, np.ndarray]:
        return 0.0, np.zeros_like(pred)

    y = np.array([0, 1, label], np.uint64)
    with pytest.raises(ValueError, match="holds no classes"):
        nn.MLP([3, 2]).fit(np.eye(3), y, loss=own, epochs=1, class_weight={0: 2.0})
    with pytest.raises(ValueError, match="holds no classes"):
        nn.MLP([3, 2]).fit(np.eye(3), y, loss=own, epochs=1, class_weight="balanced")


def test_sizes_beyond_the_machine_are_refused_with_the_bytes():
    core = pytest.importorskip("nncore._core")
    large = 2**61 - 1
    before = core.allocations()
    layers = {
        "dense": [(large, large, "identity", 0.0)],
        "wide": [(3, 2**40, "identity", 0.0)],
        "copied": [(large, large + 2, "identity", 0.0, "columns", *[0.0] * 7, ((0, 2, 3),))],
        "tables": [(1, 2**61 - 8, "identity", 0.0, "columns", *[0.0] * 7, ((0, 2**24, 2**61 - 8),))],
        "dropout": [(large, large, "identity", 0.0, "dropout"), (large, 1, "identity", 0.0)],
        "norm": [(2**50, 2**50, "identity", 0.0, "batch_norm")],
    }
    for name, described in layers.items():
        for dtype in ("float32", "float64"):
            with pytest.raises((MemoryError, ValueError), match=r"\d+ bytes are needed|too large"):
                core.NativeEngine(described, dtype)
                pytest.fail(name)
    assert core.allocations() - before < 100


def test_a_workspace_beyond_the_machine_is_refused_and_nothing_changes():
    pytest.importorskip("nncore._core")
    net = nn.MLP([1, 300_000, 1], backend="native")
    X = np.zeros((1_000_000, 1), np.float32)
    before = targets.state_of(net)
    with pytest.raises(MemoryError, match=r"\d{13} bytes are needed and cannot be had"):
        net.fit(X, X, epochs=1, batch_size=None, optimizer=nn.SGD())
    assert targets.state_of(net) == before


def test_a_time_budget_and_numbers_of_updates_without_end(tmp_path):
    X, y = files.data()
    history = nn.MLP([3, 4, 2], output="softmax").fit(X, y, epochs=2, max_seconds=1e308)
    assert history.stopped == "epochs"
    for make in (nn.schedules.OneCycle, nn.schedules.Cosine, nn.schedules.Exponential):
        with pytest.raises(ValueError, match=r"steps is 1000000.* expected at most 2\*\*53"):
            make(0.1, 10**400)
    with pytest.raises(ValueError, match=r"every is .* expected at most 2\*\*53"):
        nn.schedules.Step(0.1, every=10**400)
    with pytest.raises(ValueError, match=r"warmup is .* expected at most 2\*\*53"):
        nn.schedules.Constant(0.1, warmup=10**400)
