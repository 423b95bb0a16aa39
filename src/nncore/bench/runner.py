"""Processes and rounds: every contestant runs in a process of its own, and they take turns.

What else goes on in the machine then meets all of them, and no library's threads disturb another's. The process of a
peer does not load nncore's core either: a second OpenMP runtime could slow the peer's own.
"""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from nncore.bench.alone import MARK, PEAK, Job
from nncore.bench.contestants import CONTESTANTS

# A user's NumPy chooses its own kernels; some shells force others.
_STRIPPED = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")
# With --isa the peers are held to the same instruction set, by the switches that they have.
_PEERS_ISA = {
    "avx2": {
        "OPENBLAS_CORETYPE": "Haswell",
        "ATEN_CPU_CAPABILITY": "avx2",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",
        "XLA_FLAGS": "--xla_cpu_max_isa=AVX2",
    },
    "baseline": {
        "OPENBLAS_CORETYPE": "Nehalem",
        "ATEN_CPU_CAPABILITY": "default",
        "ONEDNN_MAX_CPU_ISA": "SSE41",
        "MKL_ENABLE_INSTRUCTIONS": "SSE4_2",
        "XLA_FLAGS": "--xla_cpu_max_isa=SSE4_2",
    },
}
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")

# A process may take this long to start and for its longest epochs, and 20 times the timing asked for. Threads that spin
# beside another busy process can make a library hundreds of times as slow.
_PATIENCE, _PATIENCE_TIMES = 60.0, 20

_START = "from nncore.bench import alone\nraise SystemExit(alone.main())"
# A package nncore with nothing in it, so that nncore.bench is found and nncore/__init__.py does not run.
_START_BARE = f"""
import sys, types
sys.modules["nncore"] = types.ModuleType("nncore")
sys.modules["nncore"].__path__ = [sys.argv.pop()]
{_START}"""


class Failure(NamedTuple):
    """A contestant that could not be measured."""

    contestant: str
    threads: int
    work: str
    reason: str

    def __str__(self) -> str:
        """Return the line for the user."""
        threads = "" if not self.threads or self.contestant == PEAK else f" with threads={self.threads}"
        return f"{self.work}: {self.contestant}{threads} is left out: {self.reason}"


def environment(job: Job, isa: str | None, shell: Mapping[str, str]) -> dict[str, str]:
    """Return the environment variables of a job's process.

    Parameters
    ----------
    job : Job
        What it will do.
    isa : str, optional
        Instruction set for nncore, and for the peers as far as they have a switch; None leaves all as it is in this
        process.
    shell : mapping of str to str
        The variables of this process.

    Returns
    -------
    dict of str to str
    """
    chosen = {key: value for key, value in shell.items() if key not in _STRIPPED}
    # Modules shall be those of this process, also where it runs in another way than the child.
    chosen["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    if job.threads and job.task != "peak":
        chosen |= {key: str(job.threads) for key in _THREADS}
    if isa is not None and _own(job):
        chosen["NNCORE_ISA"] = isa
    elif isa is not None:
        chosen |= _PEERS_ISA.get(isa, {})
    return chosen


def _own(job: Job) -> bool:
    return job.contestant == PEAK or CONTESTANTS[job.contestant].own


def run(job: Job, seconds: float, isa: str | None = None) -> Iterator[tuple[str, float | Failure]]:
    """Run a job in a new process.

    Parameters
    ----------
    job : Job
        What to measure.
    seconds : float
        Of timing, for each workload.
    isa : str, optional
        Instruction set for nncore.

    Yields
    ------
    work : str
        In the job's order.
    figure : float or Failure
        As `alone.measure` returns, or why there is none.
    """
    order = json.dumps({**job._asdict(), "seconds": seconds})
    package = str(Path(__file__).resolve().parent.parent)
    start = [_START, order] if _own(job) else [_START_BARE, order, package]
    limit = _PATIENCE + _PATIENCE_TIMES * seconds * len(job.works)
    output, end = _output([sys.executable, "-P", "-c", *start], environment(job, isa, os.environ), limit)
    findings = {}
    for line in output.splitlines():
        if line.startswith(MARK):
            finding = json.loads(line.removeprefix(MARK))
            findings[finding["work"]] = finding
    for work in job.works:
        finding = findings.get(work, {"error": end})
        figure = finding.get("figure", math.nan)
        if math.isfinite(figure) and figure > 0:
            yield work, figure
        else:
            reason = finding.get("error", f"it measured {figure}; expected a finite number above 0")
            yield work, Failure(job.contestant, job.threads, work, reason)


def _output(command: Sequence[str], variables: Mapping[str, str], limit: float) -> tuple[str, str]:
    """Return what a process printed, and why it did not print more."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=variables) as process:
        try:
            out, err = process.communicate(timeout=limit)
            reason = _reason(process.returncode, err)
        except subprocess.TimeoutExpired:
            process.kill()
            out, _ = process.communicate()
            reason = f"its process was not done after {limit:.0f} seconds"
        except BaseException:  # Ctrl-C
            process.kill()
            raise
    return out.decode(errors="replace"), reason


def _reason(status: int, errors: bytes) -> str:
    """Return why a process ended early."""
    if status < 0:
        name = signal.Signals(-status).name if -status in set(signal.Signals) else f"{-status}"
        return f"its process was ended by signal {name}"
    return (errors.decode(errors="replace").strip().splitlines() or [f"its process ended with status {status}"])[-1]


Figures = dict[Job, dict[str, list[float]]]  # for each job and workload: one figure a round


def take_turns(
    jobs: Sequence[Job], rounds: int, seconds: float, isa: str | None = None
) -> tuple[Figures, list[Failure]]:
    """Run all jobs once a round, each round beginning with another.

    Parameters
    ----------
    jobs : sequence of Job
        All different.
    rounds : int
        How often.
    seconds, isa
        As for `run`.

    Returns
    -------
    figures : dict of Job to dict of str to list of float
        Of each job and workload one figure a round. Where a job failed once, that workload is left out.
    failures : list of Failure
        Each is printed on standard error, too.
    """
    figures: Figures = {job: {work: [] for work in job.works} for job in jobs}
    failures = []
    for round_ in range(rounds):
        turn = round_ % len(jobs)
        for job in (*jobs[turn:], *jobs[:turn]):
            left = job._replace(works=tuple(figures[job]))
            if not left.works:
                continue
            _progress(f"round {round_ + 1} of {rounds}: {job.contestant}, {', '.join(left.works)}")
            for work, found in run(left, seconds, isa):
                if isinstance(found, Failure):
                    failures.append(found)
                    del figures[job][work]
                    _progress("")
                    print(found, file=sys.stderr, flush=True)
                else:
                    figures[job][work].append(found)
    _progress("")
    return figures, failures


def _progress(text: str) -> None:
    """Show on a terminal what goes on, in a line that the next one replaces."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)
