"""What was measured, in the form in which it is written as JSON and from which tables and pictures are made."""

from __future__ import annotations

from statistics import median
from typing import TypedDict


class Entry(TypedDict):
    """A contestant with one number of threads."""

    contestant: str
    threads: int  # 0: its own choice
    seconds: list[float]  # of a step or a prediction, one a round


class Training(TypedDict):
    """Steps of one workload."""

    description: str
    dtype: str
    flops: int  # of a step
    peak_gflops: list[float]  # of all cores, one a round; empty where it could not be measured
    entries: list[Entry]


class Neighbour(TypedDict):
    """Steps of nncore on a network."""

    network: str
    flops: int
    seconds: list[float]


class Neighbours(TypedDict):
    """A workload and networks of nearly its size."""

    dtype: str
    listed: str  # the workload's own network
    networks: list[Neighbour]


class Precision(TypedDict):
    """Steps of nncore on a workload in both types."""

    description: str
    float32: list[float]
    float64: list[float]


def best(entries: list[Entry]) -> dict[str, Entry]:
    """Return of each contestant the entry whose number of threads served it best.

    Parameters
    ----------
    entries : list of Entry
        Those without figures are left out.

    Returns
    -------
    dict of str to Entry
        In the order in which the contestants first come.
    """
    found: dict[str, Entry] = {}
    for entry in entries:
        name = entry["contestant"]
        if entry["seconds"] and (name not in found or median(entry["seconds"]) < median(found[name]["seconds"])):
            found[name] = entry
    return found
