"""What the tests of sparse X share: a matrix as nncore takes it, without SciPy; a network; a comparison."""

from __future__ import annotations

from typing import Any

import numpy as np

import nncore as nn

N, K = 150, 90


class Matrix:
    """What nncore looks for in a sparse matrix, and nothing else."""

    format = "csr"

    def __init__(self, dense: Any = None, **arrays: Any) -> None:
        if dense is not None:
            rows, self.indices = np.nonzero(dense)
            self.data = dense[rows, self.indices]
            self.indptr = np.searchsorted(rows, np.arange(len(dense) + 1))
            self.shape = dense.shape
        self.__dict__.update(arrays)

    def having(self, **changes: Any) -> Matrix:
        """Return a copy with some arrays replaced."""
        return Matrix(None, **{**self.__dict__, **changes})


def network(backend: str, dtype: str = "float64", layers: Any = None) -> nn.Sequential:
    layers = layers or [nn.Dense(K, 21, "tanh"), nn.Dense(21, 3, "softmax")]
    return nn.Sequential(layers, dtype=dtype, seed=3, backend=backend)


def assert_same(found: Any, expected: Any, backend: str, dtype: str = "float64", **why: Any) -> None:
    """Arrays are equal: bit by bit in the core, to rounding in NumPy."""
    for a, b in zip(found, expected, strict=True):
        if backend == "native":
            np.testing.assert_array_equal(a, b, err_msg=str(why))
        else:
            tolerance = 1e-9 if dtype == "float64" else 2e-3
            np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance, err_msg=str(why))
