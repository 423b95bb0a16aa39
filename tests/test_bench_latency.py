"""One-row predictions of the bench."""

from __future__ import annotations

import numpy as np
import pytest

from nncore.bench import latency


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("name", "module"), [("nncore", "nncore._core"), ("numpy", "numpy"), ("torch", "torch")])
def test_a_prediction_is_plain_numpy_s(name, module, dtype):
    pytest.importorskip(module)
    x, weights = latency.parameters(dtype)
    hidden = np.maximum(x[0] @ weights[0] + weights[1], 0)
    z = hidden @ weights[2] + weights[3]
    found = np.asarray(latency.one_row(name, dtype, 1)())
    assert found.shape == (1, 10) and found.dtype == dtype
    np.testing.assert_allclose(found[0], np.exp(z) / np.exp(z).sum(), rtol=1e-5)


def test_a_prediction_that_differs_is_refused(monkeypatch):
    monkeypatch.setattr(latency, "nncore_predict", lambda x, weights: lambda: np.full((1, 10), 0.1))
    with pytest.raises(ArithmeticError, match="nncore differs from plain NumPy's by"):
        latency.one_row("nncore", "float32", 0)
