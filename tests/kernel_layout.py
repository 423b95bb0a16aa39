"""What the tests of the kernels share: the tables to test, and matrices to panels and back (csrc/kernels.h)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

try:
    from nncore import _core
except ImportError:
    if os.environ.get("NNCORE_REQUIRE_NATIVE") == "1":
        raise
    pytest.skip("nncore._core cannot be imported", allow_module_level=True)

# the order of nncore.h's enumerations
ACTIVATIONS = (
    *("identity", "step", "sigmoid", "tanh", "relu", "leaky_relu", "softmax", "elu", "selu", "softplus", "exponential"),
    *("hard_sigmoid", "hard_tanh", "gelu", "gelu_tanh", "silu", "mish", "hard_silu"),
)
KEEPING = ACTIVATIONS[ACTIVATIONS.index("gelu") :]  # those whose slopes training keeps
LOSSES = ("mse", "bce", "cross_entropy", "mae", "huber", "hinge", "poisson", "quantile", "cosine", "given")
# poisson starts from its logits
EXPONENTIAL = ACTIVATIONS.index("exponential")
OPTIMIZERS = ("sgd", "momentum", "adam", "adamw", "nadam", "rmsprop", "adagrad", "lion")
ELEMENTARY = ("exp", "log", "log1p", "log up to 1", "sine", "cosine")  # the last two of right angles

SENTINEL = 777.0
TABLES = [(isa, dtype) for isa in _core.config()["isas_available"] for dtype in ("float32", "float64")]

every_table = pytest.mark.parametrize(("isa", "dtype"), TABLES, ids=["-".join(table) for table in TABLES])


def both(isa: str, dtype: str) -> tuple[_core.Kernels, _core.Kernels]:
    """Return the kernels of an ISA and the reference for the same layout."""
    kernels = _core.Kernels(isa, dtype)
    return kernels, _core.Kernels("reference", dtype, width=kernels.width)


def columns_around(width: int) -> list[int]:
    """Return numbers of columns that end before, at and after a vector and a panel, and some odd ones."""
    edges = {
        1,
        2,
        3,
        4,
        width - 1,
        width,
        width + 1,
        2 * width - 1,
        2 * width,
        2 * width + 2,
        2 * width + 4,
        2 * width + 1,
        3 * width,
        3 * width + 1,
        7,
        33,
        97,
    }
    return sorted(edges - {0})


def panel_starts(n: int, width: int) -> Iterator[tuple[int, int, int]]:
    """Yield (first column, past last column, width as stored in weights) of each panel of n columns."""
    for start in range(0, n, 2 * width):
        yield start, min(start + 2 * width, n), 2 * width if n - start > width else width


def to_panels(matrix: np.ndarray, width: int, fill: float = 0.0, rows: int | None = None) -> np.ndarray:
    """Return activations' panels, shape (panels, rows, 2 width); what the matrix does not cover holds `fill`."""
    given, n = matrix.shape
    panels = np.full((-(-n // (2 * width)), given if rows is None else rows, 2 * width), fill, matrix.dtype)
    for p, (start, end, _) in enumerate(panel_starts(n, width)):
        panels[p, :given, : end - start] = matrix[:, start:end]
    return panels


def from_panels(panels: np.ndarray, n: int) -> np.ndarray:
    """Return the n columns of activations' panels as a matrix of all their rows."""
    return np.ascontiguousarray(panels.transpose(1, 0, 2).reshape(panels.shape[1], -1)[:, :n])


def outside(panels: np.ndarray, n: int, width: int, r0: int, r1: int) -> np.ndarray:
    """Return all numbers of panels that a kernel of rows [r0, r1) and n columns must leave alone."""
    untouchable = np.ones(panels.shape, bool)
    for p, (_, _, stored) in enumerate(panel_starts(n, width)):
        untouchable[p, r0:r1, :stored] = False
    return panels[untouchable]


def to_weights(matrix: np.ndarray, width: int) -> np.ndarray:
    """Return weight panels, flat: of W with b as its last row, or of the transposed W; padding is zero."""
    rows, n = matrix.shape
    parts = []
    for start, end, stored in panel_starts(n, width):
        panel = np.zeros((rows, stored), matrix.dtype)
        panel[:, : end - start] = matrix[:, start:end]
        parts.append(panel.ravel())
    return np.concatenate(parts)


def from_weights(flat: np.ndarray, rows: int, n: int, width: int) -> np.ndarray:
    """Return the matrix of weight panels."""
    matrix = np.empty((rows, n), flat.dtype)
    for start, end, stored in panel_starts(n, width):
        panel = flat[start * rows : start * rows + rows * stored].reshape(rows, stored)
        matrix[:, start:end] = panel[:, : end - start]
    return matrix


def wider(dtype: str) -> type[np.floating]:
    """Return the type in which a result of this dtype is judged."""
    return np.float64 if dtype == "float32" else np.longdouble


def worst_ulp(got: np.ndarray, want: np.ndarray) -> tuple[float, int]:
    """Return the largest error in units of the last place of `got`'s type, where `want` is wider; and its index."""
    spacing = np.spacing(np.abs(want).astype(got.dtype)).astype(want.dtype)
    error = np.abs(got.astype(want.dtype) - want) / spacing
    at = int(np.argmax(np.where(np.isnan(error), np.inf, error)))
    return float(error[at]), at
