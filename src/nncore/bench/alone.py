"""What happens in the process of one contestant: it measures what it was told to and prints what it found.

The order comes as JSON in the first argument; each finding goes out as a line of JSON behind `MARK`, so that what a
library prints is not taken for one.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from statistics import median
from time import perf_counter
from typing import Literal, NamedTuple

from nncore.bench import latency, workloads
from nncore.bench.contestants import CONTESTANTS

MARK = "nncore.bench: "
PEAK = "peak"  # in the place of a contestant's name: the multiply-adds that the cores can do
BATCHES = 5
PEAK_SECONDS = 0.25  # at least, in all bursts together


class Job(NamedTuple):
    """What one process measures."""

    task: Literal["training", "latency", "peak"]
    contestant: str
    works: tuple[str, ...]  # workloads, one after the other
    dtype: str
    threads: int  # 0: the contestant's own choice


def seconds_per_call(function: Callable[[], object], seconds: float) -> float:
    """Measure a function.

    Parameters
    ----------
    function : callable
        Is called once to warm up, and again to see how long it takes.
    seconds : float
        How long a few batches of calls shall take together. If one call takes longer, it is the measurement.

    Returns
    -------
    float
        Median seconds of a call.
    """
    function()
    started = perf_counter()
    function()
    one = perf_counter() - started
    if one > seconds:
        return one
    calls = max(1, int(seconds / BATCHES / max(one, 1e-9)))
    times = []
    for _ in range(BATCHES):
        started = perf_counter()
        for _ in range(calls):
            function()
        times.append((perf_counter() - started) / calls)
    return median(times)


def measure(job: Job, work: str, seconds: float) -> float:
    """Measure one thing in this process.

    Parameters
    ----------
    job : Job
        Who is measured, and how.
    work : str
        A name for `workloads.find`; for predictions and the peak a mere label.
    seconds : float
        Of timing.

    Returns
    -------
    float
        Seconds of a training step or of a prediction; for the peak GFLOP/s.
    """
    if job.task == "peak":
        from nncore import engines

        # What else runs in the machine only lowers a peak: the best of some bursts is nearest to it.
        burst = max(seconds, PEAK_SECONDS) / BATCHES
        return max(float(engines.core().fma_peak(job.dtype, job.threads, burst)) for _ in range(BATCHES))
    if job.task == "latency":
        return seconds_per_call(latency.one_row(job.contestant, job.dtype, job.threads), seconds)
    workload = workloads.find(work)
    training = CONTESTANTS[job.contestant].training(workload, job.dtype, job.threads)
    return seconds_per_call(training.epoch, seconds) / workload.steps


def main() -> int:
    """Do the job in the first argument; the status is 0 also where a contestant failed and said so."""
    order = json.loads(sys.argv[1])
    seconds = order.pop("seconds")
    job = Job(**{**order, "works": tuple(order["works"])})
    for work in job.works:
        finding: dict[str, object] = {"work": work}
        try:
            finding["figure"] = measure(job, work, seconds)
        except Exception as error:  # whatever goes wrong in a library is a finding about it
            text = (str(error).strip().splitlines() or ["no message"])[0]
            finding["error"] = f"{type(error).__name__}: {text}"
        print(MARK + json.dumps(finding), flush=True)
    return 0
