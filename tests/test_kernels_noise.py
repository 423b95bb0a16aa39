"""Gaussian noise, per ISA against the naive reference and against `nncore.streams`."""

from __future__ import annotations

import numpy as np
import pytest
from kernel_layout import ACTIVATIONS, SENTINEL, both, columns_around, every_table, from_panels, to_panels

from nncore import streams

ROWS = 21
KEY = (7, streams.NOISE, 5 | 3 << 40)


@every_table
@pytest.mark.parametrize("stddev", [0.25, 1e-3, 1e3])
def test_noise_is_that_of_the_streams(isa: str, dtype: str, stddev: float, rng: np.random.Generator) -> None:
    kernels, reference = both(isa, dtype)
    seed, purpose, stream = KEY
    eps = float(np.finfo(dtype).eps)
    for n in (*columns_around(kernels.width), 31, 32, 33, 127, 128, 129, 300):
        x = rng.standard_normal((ROWS, n)).astype(dtype)
        panels = to_panels(x, kernels.width, 2.5)
        noise = streams.normal_columns(seed, purpose, stream, 11, ROWS, n)
        for table in (kernels, reference):
            out = np.full_like(panels, SENTINEL)
            table.noise(panels, out, n, 2, 19, stddev, seed, stream, purpose, first=11)
            found = from_panels(out, n)
            np.testing.assert_allclose(found[2:19], (x + stddev * noise)[2:19], atol=30 * eps * max(1, stddev), rtol=0)
            assert (found[:2] == SENTINEL).all() and (found[19:] == SENTINEL).all()


@every_table
def test_the_numbers_themselves_to_a_few_last_places(isa: str, dtype: str) -> None:
    """On zeros the noise alone is seen, also where it is tiny: u near 1, angles near 0."""
    kernels, reference = both(isa, dtype)
    seed, purpose, stream = KEY
    zeros = to_panels(np.zeros((700, 96), dtype), kernels.width)
    noise = streams.normal_columns(seed, purpose, stream, 0, 700, 96)
    for table in (kernels, reference):
        out = np.zeros_like(zeros)
        table.noise(zeros, out, 96, 0, 700, 1.0, seed, stream, purpose)
        found = from_panels(out, 96).astype(float)
        if dtype == "float32":
            assert (np.abs(found - noise) / np.spacing(np.abs(noise).astype(dtype))).max() < 5
        else:  # the angles of streams are rounded: an absolute error of theirs
            np.testing.assert_allclose(found, noise, rtol=1e-15, atol=1e-14)
    exact = np.zeros_like(zeros)
    reference.noise(zeros, exact, 96, 0, 700, 1.0, seed, stream, purpose)
    kernels.noise(zeros, out, 96, 0, 700, 1.0, seed, stream, purpose)
    ulp = (np.abs(out - exact) / np.spacing(np.abs(exact)))[exact != 0].max()
    print(f"noise {isa} {dtype}: {ulp:.2f} ulp")
    assert ulp <= 5


@every_table
@pytest.mark.parametrize("activation", ["identity", "tanh", "mish"])
def test_the_way_back_is_the_derivative_below(isa: str, dtype: str, activation: str, rng: np.random.Generator) -> None:
    kernels, reference = both(isa, dtype)
    for n in columns_around(kernels.width):
        d = to_panels(rng.standard_normal((ROWS, n)).astype(dtype), kernels.width)
        outputs = to_panels(rng.uniform(-0.9, 0.9, (ROWS, n)).astype(dtype), kernels.width, 0.5)
        back = []
        for table in (kernels, reference):
            out = np.full_like(d, SENTINEL)
            table.noise(d, out, n, 3, ROWS, 0.0, *KEY[::2], KEY[1], outputs=outputs,
                        activation=ACTIVATIONS.index(activation))  # fmt: skip
            back.append(from_panels(out, n))
        np.testing.assert_allclose(*back, rtol=10 * float(np.finfo(dtype).eps))
        assert (back[0][:3] == SENTINEL).all()
        if activation == "identity":
            np.testing.assert_array_equal(back[0][3:], from_panels(d, n)[3:])
