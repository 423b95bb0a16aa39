"""Which engine computes: the compiled core where it loads, else NumPy; and the number of threads.

The core is looked for once, when nncore is imported. Where it cannot be loaded there is one warning, unless the user
chose NumPy by ``NNCORE_BACKEND=numpy``; an ``NNCORE_ISA`` that this CPU lacks is an error and not a reason to fall
back.
"""

from __future__ import annotations

import importlib
import os
import sys
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from nncore import checks, quotas

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from nncore.specs import LayerSpec

    Engine = Any  # NumpyEngine or _core.NativeEngine, which have the same interface

_BACKENDS = ("native", "numpy")


def _load_core() -> tuple[Any, str]:
    """Return the compiled core, or None and why it could not be loaded."""
    try:
        return importlib.import_module("nncore._core"), ""
    except ImportError as error:
        if str(error).startswith("NNCORE_ISA"):
            raise
        reason = str(error)
    if os.environ.get("NNCORE_BACKEND") != "numpy":
        warnings.warn(
            f"the compiled core of nncore could not be loaded ({reason}); NumPy is used instead, which is slower",
            RuntimeWarning,
            stacklevel=4,  # the line that imports nncore
        )
    return None, reason


_core, _why_not = _load_core()


def core() -> Any:
    """Return the compiled core.

    Raises
    ------
    ImportError
        If it could not be loaded.
    """
    if _core is None:
        raise ImportError(f"the compiled core of nncore could not be loaded: {_why_not}")
    return _core


def _available_cpus() -> int:
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cpus, _quota or cpus)


_quota = quotas.cpus()
if _core is not None and _quota is not None:
    _core.limit_default_threads(_quota)
_fallback_threads = 0  # what was set where there is no core


def choose(backend: str | None) -> str:
    """Return the name of the backend to use.

    Parameters
    ----------
    backend : {"native", "numpy"} or None
        None goes by the environment variable ``NNCORE_BACKEND``, and without it takes the native one where it loads.

    Returns
    -------
    str

    Raises
    ------
    TypeError, ValueError
        If it is no name of a backend.
    ImportError
        If the native backend was asked for and is not there.
    """
    if backend is not None:
        backend = checks.one_of(backend, "backend", _BACKENDS)
    elif os.environ.get("NNCORE_BACKEND"):
        backend = checks.one_of(os.environ["NNCORE_BACKEND"], "NNCORE_BACKEND", _BACKENDS)
    else:
        return "numpy" if _core is None else "native"
    if backend == "native":
        core()
    return backend


def make(layers: Sequence[LayerSpec], dtype: np.dtype[Any], backend: str) -> Engine:
    """Return a new engine, with weights of zero, of a backend that `choose` gave."""
    if backend == "native":
        return core().NativeEngine(list(layers), dtype.name)
    from nncore.numpy_backend import NumpyEngine  # many programs go without

    return NumpyEngine(list(layers), dtype.name)


def set_num_threads(n: int) -> None:
    """Set how many threads the native backend may use.

    An upper bound: small work takes fewer. The NumPy backend is not concerned, its threads are those of NumPy's BLAS
    library.

    Parameters
    ----------
    n : int
        At least 1.

    Raises
    ------
    TypeError, ValueError
        If it is not an integer of at least 1.
    """
    n = checks.positive_int(n, "n")
    if _core is not None:
        _core.set_num_threads(n)
    else:
        global _fallback_threads
        _fallback_threads = n


def get_num_threads() -> int:
    """Return how many threads the native backend may use.

    Where none is set, it is as many as there are CPUs for this process: the least of ``OMP_NUM_THREADS`` (or what
    `threadpoolctl` has made of it), the CPUs that the process may run on, and the quota of its control group, which is
    read when nncore is imported.
    """
    if _core is not None:
        return int(_core.get_num_threads())
    return _fallback_threads or _available_cpus()


@contextmanager
def threads(n: int) -> Iterator[None]:
    """Set the number of threads for the time of a ``with`` block.

    Parameters
    ----------
    n : int
        As for `set_num_threads`.

    Examples
    --------
    >>> with threads(1):
    ...     get_num_threads()
    1
    """
    global _fallback_threads
    before = _fallback_threads if _core is None else _core.num_threads_set()
    set_num_threads(n)
    try:
        yield
    finally:
        if _core is None:
            _fallback_threads = before
        else:
            _core.set_num_threads(before)


def config() -> dict[str, Any]:
    """Return what computes here: the default backend, and of the core its ISA, threads, compiler and OpenMP runtime."""
    core = {"core": f"not loaded: {_why_not}", "threads": get_num_threads()} if _core is None else dict(_core.config())
    return {
        "backend": choose(None),
        **core,
        "numpy": np.__version__,
        "python": sys.version.split()[0],
    }


def show_config() -> None:
    """Print what computes here: the default backend, the instruction set, threads, compiler and OpenMP runtime."""
    entries = config()
    width = max(map(len, entries))
    for name, value in entries.items():
        text = ", ".join(map(str, value)) if isinstance(value, list | tuple) else value
        print(f"{name:{width}s}  {text}")
