"""Processes and rounds of the bench. The processes are real ones, with tiny times."""

from __future__ import annotations

import json
import os
import sys

import pytest
from conftest import HAS_CORE

from nncore.bench import alone, runner
from nncore.bench.alone import Job
from nncore.bench.runner import Failure

NUMPY = Job("training", "numpy", ("xor", "iris"), "float32", 1)
TINY = 1e-4


def test_a_call_is_measured_by_calling_it():
    calls = []
    assert alone.seconds_per_call(lambda: calls.append(None), TINY) > 0
    assert len(calls) >= 2 + alone.BATCHES


def test_a_call_longer_than_the_time_for_it_is_made_twice(monkeypatch):
    clock = iter([10.0, 12.5])
    monkeypatch.setattr(alone, "perf_counter", lambda: next(clock))
    calls = []
    assert alone.seconds_per_call(lambda: calls.append(None), 1.0) == 2.5
    assert len(calls) == 2


def test_the_median_of_the_batches_counts(monkeypatch):
    # One call takes 0.1, so each of five batches has two calls.
    clock = iter([0.0, 0.1, 0.0, 4.0, 0.0, 2.0, 0.0, 8.0, 0.0, 6.0, 0.0, 10.0])
    monkeypatch.setattr(alone, "perf_counter", lambda: next(clock))
    assert alone.seconds_per_call(lambda: None, 1.0) == 3.0


def test_a_process_measures_all_its_workloads():
    found = dict(runner.run(NUMPY, TINY))
    assert list(found) == ["xor", "iris"]
    assert all(isinstance(figure, float) and figure > 0 for figure in found.values())


@pytest.mark.skipif(not HAS_CORE, reason="nncore._core cannot be imported")
@pytest.mark.parametrize(
    "job",
    [Job("latency", "nncore", ("one row",), "float64", 0), Job("peak", "peak", ("peak",), "float32", 1)],
    ids=["latency", "peak"],
)
def test_the_core_is_measured(job):
    (found,) = runner.run(job, TINY, "baseline")
    assert isinstance(found[1], float) and found[1] > 0


def _modules_of(job, monkeypatch):
    """Return what the process of a job has imported when it starts to measure."""
    tail = "print(*sorted(name for name in sys.modules if name.startswith('nncore')))"
    for start in ("_START", "_START_BARE"):
        code = getattr(runner, start).replace("raise SystemExit(alone.main())", f"import sys\n{tail}")
        monkeypatch.setattr(runner, start, code)
    seen = []
    output = runner._output
    monkeypatch.setattr(runner, "_output", lambda *order: seen.append(output(*order)) or seen[0])
    list(runner.run(job, TINY))
    return seen[0][0].split()


def test_a_peer_s_process_is_without_the_core(monkeypatch):
    modules = _modules_of(NUMPY, monkeypatch)
    assert "nncore.bench.alone" in modules
    assert not [name for name in modules if not name.startswith("nncore.bench") and name != "nncore"]


def test_nncore_s_own_process_has_it(monkeypatch):
    assert "nncore.engines" in _modules_of(NUMPY._replace(contestant="backend=numpy"), monkeypatch)


def test_a_library_s_error_is_the_reason():
    wrong = NUMPY._replace(dtype="float99", works=("xor",))
    ((work, failure),) = runner.run(wrong, TINY)
    assert work == "xor"
    assert str(failure).startswith("xor: numpy with threads=1 is left out: TypeError: ")


def test_a_process_that_dies_is_reported(monkeypatch):
    monkeypatch.setattr(runner, "_START_BARE", "import sys; sys.exit('no luck')")
    assert [str(found[1]).partition("out: ")[2] for found in runner.run(NUMPY, TINY)] == ["no luck", "no luck"]
    monkeypatch.setattr(runner, "_START_BARE", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    assert "SIGKILL" in str(next(runner.run(NUMPY, TINY))[1])


def test_a_process_that_hangs_is_ended_and_what_it_found_counts(monkeypatch):
    monkeypatch.setattr(runner, "_PATIENCE", 1.0)
    line = alone.MARK + '{"work": "xor", "figure": 2.5}'
    monkeypatch.setattr(runner, "_START_BARE", f"import time; print({line!r}, flush=True); time.sleep(60)")
    found = dict(runner.run(NUMPY, TINY))
    assert found["xor"] == 2.5
    assert str(found["iris"]).endswith("its process was not done after 1 seconds")


@pytest.mark.parametrize("figure", ["NaN", "Infinity", "0.0", "-1.0"])
def test_a_figure_that_cannot_be_is_a_failure(figure, monkeypatch):
    line = alone.MARK + '{"work": "xor", "figure": ' + figure + "}"
    monkeypatch.setattr(runner, "_START_BARE", f"print({line!r})")
    found = dict(runner.run(NUMPY, TINY))
    assert "expected a finite number above 0" in str(found["xor"])


def test_what_ended_the_process_is_the_reason_of_what_it_did_not_come_to(monkeypatch):
    line = alone.MARK + '{"work": "xor", "error": "ValueError: odd"}'
    monkeypatch.setattr(runner, "_START_BARE", f"import sys; print({line!r}); sys.exit('no luck')")
    reasons = [failure.reason for _, failure in runner.run(NUMPY, TINY)]
    assert reasons == ["ValueError: odd", "no luck"]


def test_what_a_library_prints_is_no_finding(monkeypatch):
    lines = ["0.5", '{"work": "xor", "figure": 9}', alone.MARK + json.dumps({"work": "xor", "figure": 2.5})]
    monkeypatch.setattr(runner, "_START_BARE", f"print({chr(10).join(lines)!r})")
    assert dict(runner.run(NUMPY, TINY))["xor"] == 2.5


def test_the_environment_of_a_process():
    shell = {"HOME": "/h", "OPENBLAS_CORETYPE": "Haswell", "OPENBLAS_L2_SIZE": "512", "OMP_NUM_THREADS": "7"}
    path = {"HOME": "/h", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    one = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    assert runner.environment(NUMPY, None, shell) == {**path, **one}
    held = runner.environment(NUMPY, "avx2", shell)
    assert held.pop("OPENBLAS_CORETYPE") == "Haswell" and "AVX2" in held.pop("XLA_FLAGS")
    assert "OPENBLAS_L2_SIZE" not in held and "NNCORE_ISA" not in held
    for own in (Job("training", "nncore", ("xor",), "float32", 0), Job("peak", "peak", ("peak",), "float32", 2)):
        assert runner.environment(own, "avx2", shell) == {**path, "OMP_NUM_THREADS": "7", "NNCORE_ISA": "avx2"}
        assert "NNCORE_ISA" not in runner.environment(own, None, shell)


def test_all_take_turns_and_a_failure_leaves_out(monkeypatch, capsys):
    jobs = [NUMPY, NUMPY._replace(threads=2), NUMPY._replace(contestant="torch")]
    order = []

    def run(job, seconds, isa):
        order.append((job.contestant, job.threads, job.works))
        for work in job.works:
            bad = job.threads == 2 and work == "iris" and len(order) > 3
            yield work, Failure(job.contestant, 2, work, "no memory") if bad else float(len(order))

    monkeypatch.setattr(runner, "run", run)
    figures, failures = runner.take_turns(jobs, 3, 1.0, None)
    both = ("xor", "iris")
    assert order == [
        *(("numpy", 1, both), ("numpy", 2, both), ("torch", 1, both)),
        *(("numpy", 2, both), ("torch", 1, both), ("numpy", 1, both)),
        *(("torch", 1, both), ("numpy", 1, both), ("numpy", 2, ("xor",))),
    ]
    assert figures[jobs[0]] == {"xor": [1.0, 6.0, 8.0], "iris": [1.0, 6.0, 8.0]}
    assert figures[jobs[1]] == {"xor": [2.0, 4.0, 9.0]}
    assert failures == [Failure("numpy", 2, "iris", "no memory")]
    assert capsys.readouterr().err == "iris: numpy with threads=2 is left out: no memory\n"
