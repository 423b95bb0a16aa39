"""What all tests share: the backends there are, and small data."""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import warnings

import numpy as np
import pytest

with warnings.catch_warnings():
    # Without the compiled core importing nncore warns; the test of that imports it in a process of its own.
    warnings.simplefilter("ignore", RuntimeWarning)
    import nncore  # noqa: F401


with contextlib.suppress(ImportError):
    from hypothesis import settings

    settings.register_profile("stable", deadline=None, derandomize=True, max_examples=25, database=None)
    settings.register_profile("more", deadline=None, max_examples=500, print_blob=True)
    settings.load_profile("stable")


# A shell starts what runs in the background with SIGINT ignored, and tests of Ctrl-C would wait for ever.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _has_core() -> bool:
    try:
        importlib.import_module("nncore._core")
    except ImportError:
        return False
    return True


HAS_CORE = _has_core()


@pytest.fixture(params=["numpy", "native"])
def backend(request: pytest.FixtureRequest) -> str:
    """Name of each backend; NNCORE_REQUIRE_NATIVE=1 makes the native one's absence a failure."""
    if request.param == "native" and not HAS_CORE:
        if os.environ.get("NNCORE_REQUIRE_NATIVE") == "1":
            pytest.fail("NNCORE_REQUIRE_NATIVE is 1 and nncore._core cannot be imported")
        pytest.skip("nncore._core cannot be imported")
    return str(request.param)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20240517)


@pytest.fixture
def blobs(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Three classes that a small network separates: 120 rows of 5 float32 features."""
    y = np.arange(120) % 3
    X = rng.standard_normal((120, 5)) + 3.0 * np.eye(5)[y]
    return X.astype(np.float32), y
