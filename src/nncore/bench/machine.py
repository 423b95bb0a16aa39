"""What a measurement was made on: processor, instruction set, versions, date."""

from __future__ import annotations

import os
import platform
import re
from datetime import datetime
from importlib import metadata
from pathlib import Path
from typing import Any

# The libraries that a bench may meet, as PyPI calls them.
_LIBRARIES = ("numpy", "torch", "jax", "scikit-learn")
_CPUINFO = Path("/proc/cpuinfo")


def cores() -> int:
    """Return the number of CPUs that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cpu() -> str:
    """Return the processor's name, as well as the system tells it."""
    try:
        text = _CPUINFO.read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    found = re.search(r"^model name\s*:\s*(\S.*?)\s*$", text, re.MULTILINE)
    return found[1] if found else platform.processor() or platform.machine() or "unknown"


def versions() -> dict[str, str]:
    """Return the versions of the libraries that are installed, without importing them."""
    found = {}
    for name in _LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def describe(isa: str | None = None) -> dict[str, Any]:
    """Return what this machine is, and what nncore uses of it.

    Parameters
    ----------
    isa : str, optional
        The instruction set that the bench is told to take, in place of nncore's own choice.

    Returns
    -------
    dict of str to object
        For JSON: strings, numbers, and lists and dicts of them.
    """
    # Here, because the peers' processes do without nncore's core.
    import nncore
    from nncore import engines

    config = engines.config()
    return {
        "cpu": cpu(),
        "cores": cores(),
        "cores of the machine": os.cpu_count(),
        "load average": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "isa": isa or config.get("isa"),
        "isas available": list(config.get("isas_available", [])),
        "core": config.get("core", "loaded"),
        "compiler": config.get("compiler"),
        "openmp": config.get("openmp"),
        "os": platform.platform(),
        "python": platform.python_version(),
        "versions": {"nncore": nncore.__version__, **versions()},
        "date": datetime.now().astimezone().isoformat(timespec="seconds"),
    }


def lines(description: dict[str, Any]) -> list[str]:
    """Return a description as lines of text, aligned.

    Parameters
    ----------
    description : dict
        From `describe`. Entries of None or without anything in them are left out.

    Returns
    -------
    list of str
    """
    said = {}
    for name, value in description.items():
        if isinstance(value, dict):
            said[name] = ", ".join(f"{key} {item}" for key, item in value.items())
        elif isinstance(value, list):
            said[name] = ", ".join(map(str, value))
        elif value is not None:
            said[name] = str(value)
    width = max(map(len, said))
    return [f"{name:{width}s}  {text}" for name, text in said.items() if text]
