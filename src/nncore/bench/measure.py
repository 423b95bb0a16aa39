"""The four measurements: training steps, one-row predictions, neighbouring sizes, precisions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from nncore.bench import machine, workloads
from nncore.bench.alone import PEAK, Job
from nncore.bench.contestants import CONTESTANTS
from nncore.bench.records import Entry, Neighbours, Precision, Training
from nncore.bench.runner import Failure, take_turns


class Settings(NamedTuple):
    """How to measure."""

    rounds: int
    seconds: float  # of timing in each process, for each workload
    dtype: str
    isa: str | None  # of nncore; None: its own choice


def _threads(name: str) -> list[int]:
    return sorted({1, machine.cores()}) if CONTESTANTS[name].tries_threads else [0]


def training(
    works: Sequence[str], names: Sequence[str], settings: Settings, failures: list[Failure]
) -> Iterator[tuple[str, Training]]:
    """Measure training steps of several workloads, and the multiply-add peak in the same rounds.

    Parameters
    ----------
    works : sequence of str
        Keys of `workloads.WORKLOADS`. One process measures them all, which with several saves the time of starting it.
    names : sequence of str
        Keys of `CONTESTANTS`.
    settings : Settings
        How to measure.
    failures : list of Failure
        What fails is added.

    Yields
    ------
    work : str
    found : Training
    """
    jobs = [
        Job("training", name, tuple(works), settings.dtype, threads) for name in names for threads in _threads(name)
    ]
    # The peak is one figure for all workloads of a process.
    peak = Job("peak", PEAK, (PEAK,), settings.dtype, machine.cores())
    if "nncore" in names:
        jobs.insert([job.contestant for job in jobs].index("nncore") + 1, peak)
    figures, failed = take_turns(jobs, settings.rounds, settings.seconds, settings.isa)
    failures += failed
    for work in works:
        entries: list[Entry] = [
            {"contestant": job.contestant, "threads": job.threads, "seconds": figures[job][work]}
            for job in jobs
            if job is not peak and work in figures[job]
        ]
        workload = workloads.find(work)
        yield (
            work,
            {
                "description": workload.description,
                "dtype": settings.dtype,
                "flops": workload.flops,
                "peak_gflops": figures.get(peak, {}).get(PEAK, []),
                "entries": entries,
            },
        )


def latency(names: Sequence[str], settings: Settings, failures: list[Failure]) -> list[Entry]:
    """Measure one-row predictions.

    Parameters
    ----------
    names : sequence of str
        Keys of `CONTESTANTS`; those that take no part in this are passed over.
    settings, failures
        As for `training`.

    Returns
    -------
    list of Entry
    """
    able = [name for name in names if CONTESTANTS[name].predicts]
    jobs = [Job("latency", name, ("one row",), settings.dtype, threads) for name in able for threads in _threads(name)]
    figures, failed = take_turns(jobs, settings.rounds, settings.seconds, settings.isa)
    failures += failed
    return [
        {"contestant": job.contestant, "threads": job.threads, "seconds": values}
        for job in jobs
        for values in figures[job].values()
    ]


def neighbours(work: str, settings: Settings, failures: list[Failure]) -> Neighbours:
    """Measure nncore's steps on a workload and on networks of nearly its size.

    Parameters
    ----------
    work : str
        A key of `workloads.WORKLOADS`.
    settings, failures
        As for `training`.

    Returns
    -------
    Neighbours
        Without those that failed.
    """
    names = [work, *workloads.neighbours(work)]
    jobs = [Job("training", "nncore", (name,), settings.dtype, 0) for name in names]
    figures, failed = take_turns(jobs, settings.rounds, settings.seconds, settings.isa)
    failures += failed
    return {
        "dtype": settings.dtype,
        "listed": workloads.find(work).network,
        "networks": [
            {"network": workloads.find(name).network, "flops": workloads.find(name).flops, "seconds": values}
            for job in jobs
            for name, values in figures[job].items()
        ],
    }


def precision(work: str, settings: Settings, failures: list[Failure]) -> Precision:
    """Measure nncore's steps on a workload in float32 and float64.

    Parameters
    ----------
    work, settings, failures
        As for `neighbours`; the type in the settings is passed over.

    Returns
    -------
    Precision
        Without figures where it failed.
    """
    single, double = (Job("training", "nncore", (work,), dtype, 0) for dtype in ("float32", "float64"))
    figures, failed = take_turns([single, double], settings.rounds, settings.seconds, settings.isa)
    failures += failed
    return {
        "description": workloads.find(work).description,
        "float32": figures[single].get(work, []),
        "float64": figures[double].get(work, []),
    }
