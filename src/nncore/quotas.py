"""How many CPUs the control groups of this process let it use: cpu.max (v2), cpu.cfs_quota_us (v1), as containers do.

A quota counts in whichever group of the process' path it is set, the least of them; half a CPU counts as a whole one.
Read when nncore is imported, so without pathlib, whose own import would take longer than all of this.
"""

from __future__ import annotations

import os
import re
from math import ceil


def cpus(root: str = "/") -> int | None:
    """Return the quota in whole CPUs, at least 1; None where there is none, or nobody says.

    Parameters
    ----------
    root : str
        Where ``proc`` and the mounts are; for tests.

    Returns
    -------
    int or None

    Notes
    -----
    Linux kernel documentation, admin-guide/cgroup-v2 (cpu.max) and scheduler/sched-bwc (cpu.cfs_quota_us).
    """
    try:
        memberships = _memberships(_text(os.path.join(root, "proc/self/cgroup")))
        mounts = _text(os.path.join(root, "proc/self/mountinfo"))
    except (OSError, UnicodeDecodeError):
        return None
    found = []
    for line in mounts.splitlines():
        fields, _, rest = line.partition(" - ")
        if not rest.startswith("cgroup"):
            continue
        kind, _, options = rest.split(" ", 2)
        _, _, _, mounted, at, *_ = fields.split(" ")
        name = "" if kind == "cgroup2" else "cpu"
        if name not in memberships or (name and name not in options.replace(" ", ",").split(",")):
            continue
        folder = os.path.join(root, _unescaped(at).lstrip("/"))
        found += _quotas(folder, _below(memberships[name], _unescaped(mounted)))
    return max(1, ceil(min(found))) if found else None


def _text(path: str) -> str:
    with open(path, encoding="utf-8") as file:
        return file.read()


def _memberships(text: str) -> dict[str, str]:
    """Return the group's path by controller; by "" that of v2."""
    result = {}
    for line in text.splitlines():
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            result[controller] = path
    return result


def _below(path: str, mounted: str) -> list[str]:
    """Return the folders that lead from the mount to the group; none where the mount shows another part of the tree."""
    start = mounted.rstrip("/") + "/"
    inside = path + "/" if path + "/" == start else path
    return [part for part in inside[len(start) :].split("/") if part] if inside.startswith(start) else []


def _quotas(folder: str, below: list[str]) -> list[float]:
    """Return the quotas, in CPUs, of a group and those that it is in."""
    result = []
    for depth in range(len(below) + 1):
        group = os.path.join(folder, *below[:depth])
        pair = _numbers(os.path.join(group, "cpu.max"), 2)
        if not pair:
            pair = tuple(
                n for name in ("quota", "period") for n in _numbers(os.path.join(group, f"cpu.cfs_{name}_us"), 1)
            )
        if len(pair) == 2 and min(pair) > 0:
            result.append(pair[0] / pair[1])
    return result


def _numbers(path: str, n: int) -> tuple[int, ...]:
    """Return the numbers that a file begins with, or none; "max" is -1."""
    try:
        words = _text(path).split()[:n]
        numbers = tuple(-1 if word == "max" else int(word) for word in words)
    except (OSError, ValueError):
        return ()
    return numbers if len(numbers) == n else ()


def _unescaped(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)
