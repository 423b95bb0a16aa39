"""Batch and layer normalisation, dropout, penalties and bounds, per ISA against the naive reference."""

from __future__ import annotations

import numpy as np
import pytest
from kernel_layout import ACTIVATIONS, SENTINEL, both, columns_around, every_table, from_panels, to_panels, to_weights

from nncore import _core, streams

ROWS = 21


def flat(values: np.ndarray, width: int, dtype: str) -> np.ndarray:
    """Return numbers of the columns as kernels take them: whole vectors, zeros past the last."""
    out = np.zeros(-(-values.size // width) * width, dtype)
    out[: values.size] = values
    return out


class Norm:
    """Operands of a normalisation of `n` columns: panels and flat arrays."""

    def __init__(self, width: int, dtype: str, n: int, rng: np.random.Generator) -> None:
        self.n = n
        self.x = to_panels((3 + rng.standard_normal((ROWS, n))).astype(dtype), width, 2.5)
        self.d = to_panels(rng.standard_normal((ROWS, n)).astype(dtype), width)
        self.weights = to_weights(rng.uniform(0.5, 2, (2, n)).astype(dtype), width)
        self.mean = flat(rng.standard_normal(n), width, dtype)
        self.variance = flat(rng.uniform(0.1, 3, n), width, dtype)
        self.sums = np.concatenate([flat(rng.standard_normal(n), width, dtype) for _ in range(2)])
        self.length = self.mean.size

    def run(self, table, kernel: str, r0: int = 0, r1: int = ROWS, **more: object) -> np.ndarray:
        out = np.full_like(self.x, SENTINEL)
        table.normalize(kernel, self.x, self.n, r0, r1, out=out, weights=self.weights, **more)
        return from_panels(out, self.n)


@every_table
def test_moments_of_parts_and_of_all(isa: str, dtype: str, rng: np.random.Generator) -> None:
    kernels, reference = both(isa, dtype)
    eps = float(np.finfo(dtype).eps)
    for n in columns_around(kernels.width):
        norm = Norm(kernels.width, dtype, n, rng)
        x = from_panels(norm.x, n).astype(float)
        for part_rows in (4, 16, ROWS):
            results = []
            for table in (kernels, reference):
                parts = []
                for r in range(0, ROWS, part_rows):
                    mean, square = (np.zeros(norm.length, dtype) for _ in range(2))
                    table.normalize("moments", norm.x, n, r, min(r + part_rows, ROWS), mean=mean, variance=square)
                    parts += [mean, square]
                mean, variance = (np.zeros(norm.length, dtype) for _ in range(2))
                table.merge_moments(n, ROWS, part_rows, np.concatenate(parts), mean, variance)
                results.append((mean[:n], variance[:n]))
            for got, want in zip(*results, strict=True):
                np.testing.assert_allclose(got, want, rtol=30 * eps)
            np.testing.assert_allclose(results[0][0], x.mean(axis=0), rtol=10 * eps)
            np.testing.assert_allclose(results[0][1], x.var(axis=0), rtol=30 * eps)


@every_table
def test_moments_of_a_column_far_from_zero_do_not_cancel(isa: str, dtype: str, rng: np.random.Generator) -> None:
    kernels, _ = both(isa, dtype)
    far = 1e3 if dtype == "float32" else 1e6
    x = (far + rng.standard_normal((48, 3))).astype(dtype)
    panels = to_panels(x, kernels.width)
    parts = [np.zeros(-(-3 // kernels.width) * kernels.width, dtype) for _ in range(6)]
    for part in range(3):
        kernels.normalize(
            "moments", panels, 3, 16 * part, 16 * part + 16, mean=parts[2 * part], variance=parts[2 * part + 1]
        )
    mean, variance = np.zeros_like(parts[0]), np.zeros_like(parts[0])
    kernels.merge_moments(3, 48, 16, np.concatenate(parts), mean, variance)
    np.testing.assert_allclose(variance[:3], x.astype(float).var(axis=0), rtol=1e-3 if dtype == "float32" else 1e-9)


@every_table
@pytest.mark.parametrize("activation", ["identity", "relu", "tanh", "leaky_relu"])
def test_batch_norm_there_and_back(isa: str, dtype: str, activation: str, rng: np.random.Generator) -> None:
    kernels, reference = both(isa, dtype)
    eps, index = float(np.finfo(dtype).eps), ACTIVATIONS.index(activation)
    for n in columns_around(kernels.width):
        norm = Norm(kernels.width, dtype, n, rng)
        stats = {"mean": norm.mean, "variance": norm.variance}
        for r0, r1 in ((0, ROWS), (3, 17), (20, 21), (5, 5)):
            rows = slice(r0, r1)
            got, want = (norm.run(t, "batch_norm", r0, r1, activation=index, **stats) for t in (kernels, reference))
            np.testing.assert_allclose(got[rows], want[rows], rtol=30 * eps, atol=30 * eps)
            others = np.delete(got, np.arange(r0, r1), axis=0)
            assert (others == SENTINEL).all()
            back = [
                norm.run(
                    t, "batch_norm_backward", r0, r1, d=norm.d, sums=norm.sums, share=0.1, activation=index, **stats
                )
                for t in (kernels, reference)
            ]
            np.testing.assert_allclose(back[0][rows], back[1][rows], rtol=200 * eps, atol=200 * eps)
            sums = [np.zeros(2 * norm.length, dtype) for _ in range(2)]
            for table, found in zip((kernels, reference), sums, strict=True):
                table.normalize("norm_sums", norm.x, n, r0, r1, d=norm.d, sums=found, **stats)
            np.testing.assert_allclose(*sums, rtol=100 * eps, atol=400 * eps)


@every_table
@pytest.mark.parametrize("activation", ["identity", "relu", "tanh"])
def test_layer_norm_there_and_back(isa: str, dtype: str, activation: str, rng: np.random.Generator) -> None:
    kernels, reference = both(isa, dtype)
    eps, index = float(np.finfo(dtype).eps), ACTIVATIONS.index(activation)
    for n in columns_around(kernels.width):
        norm = Norm(kernels.width, dtype, n, rng)
        for r0, r1 in ((0, ROWS), (3, 17), (20, 21)):
            rows, stats = slice(r0, r1), [np.zeros((ROWS, 2), dtype) for _ in range(2)]
            got, want = (
                norm.run(table, "layer_norm", r0, r1, row_stats=s, activation=index)
                for table, s in zip((kernels, reference), stats, strict=True)
            )
            if n > 1:  # one column is its own mean, and what is left of it is rounding
                np.testing.assert_allclose(got[rows], want[rows], rtol=200 * eps, atol=200 * eps)
                np.testing.assert_allclose(stats[0], stats[1], rtol=100 * eps)
            back = [
                norm.run(table, "layer_norm_backward", r0, r1, d=norm.d, row_stats=stats[1], activation=index)
                for table in (kernels, reference)
            ]
            scale = np.abs(back[1][rows]).max() + 1
            np.testing.assert_allclose(back[0][rows], back[1][rows], rtol=1e3 * eps, atol=1e3 * eps * scale)
            for panel, start in enumerate(range(0, n, 2 * kernels.width)):
                stored = 2 * kernels.width if n - start > kernels.width else kernels.width
                sums = [np.zeros((2, stored), dtype) for _ in range(2)]
                for table, found in zip((kernels, reference), sums, strict=True):
                    table.normalize(
                        "gradient", norm.x, n, r0, r1, d=norm.d, row_stats=stats[1], sums=found, panel=panel
                    )
                columns = min(stored, n - start)
                magnitude = np.abs(sums[1]).max() + 1
                np.testing.assert_allclose(
                    sums[0][:, :columns], sums[1][:, :columns], rtol=300 * eps, atol=300 * eps * magnitude
                )


@every_table
def test_a_row_is_normalised_to_the_same_bits_alone_and_among_others(
    isa: str, dtype: str, rng: np.random.Generator
) -> None:
    kernels, _ = both(isa, dtype)
    norm = Norm(kernels.width, dtype, 2 * kernels.width + 3, rng)
    for kernel in ("layer_norm", "batch_norm"):
        stats = {"mean": norm.mean, "variance": norm.variance} if kernel == "batch_norm" else {}
        whole = norm.run(kernels, kernel, **stats)
        for r in range(ROWS):
            assert norm.run(kernels, kernel, r, r + 1, **stats)[r].tobytes() == whole[r].tobytes()


@every_table
def test_gradients_past_the_last_column_are_zero(isa: str, dtype: str, rng: np.random.Generator) -> None:
    kernels, reference = both(isa, dtype)
    n = kernels.width + 1
    norm, stats = Norm(kernels.width, dtype, n, rng), np.zeros((ROWS, 2), dtype)
    norm.run(reference, "layer_norm", row_stats=stats)
    settings = {
        "layer_norm_backward": {"row_stats": stats},
        "batch_norm_backward": {"mean": norm.mean, "variance": norm.variance, "sums": norm.sums, "share": 0.1},
    }
    for kernel, more in settings.items():
        out = np.full_like(norm.x, SENTINEL)
        kernels.normalize(kernel, norm.x, n, 0, ROWS, out=out, weights=norm.weights, d=norm.d, **more)
        assert (out[0, :, n:] == 0).all()


@every_table
@pytest.mark.parametrize("rate", [0.0, 0.2, 0.5, 0.99])
def test_dropout_draws_the_streams_words(isa: str, dtype: str, rate: float, rng: np.random.Generator) -> None:
    kernels, reference = both(isa, dtype)
    for n in (*columns_around(kernels.width), 64, 65, 130):
        x = rng.standard_normal((ROWS, n)).astype(dtype)
        panels, stride = to_panels(x, kernels.width, 2.5), -(-n // 16) * 16
        words = streams.words(7, streams.DROPOUT, 5 | 3 << 40, 11 * stride, ROWS * stride).reshape(ROWS, stride)[:, :n]
        scale = np.dtype(dtype).type(1 / (1 - rate))
        expected = np.where(words >= int(rate * 2**32), x * scale, 0)
        for table in (kernels, reference):
            out = np.full_like(panels, SENTINEL)
            table.dropout(panels, out, n, 2, 19, rate, 7, 5 | 3 << 40, streams.DROPOUT, first=11)
            found = from_panels(out, n)
            np.testing.assert_array_equal(found[2:19], expected[2:19])
            assert (found[:2] == SENTINEL).all() and (found[19:] == SENTINEL).all()
        outputs = to_panels(rng.uniform(-0.9, 0.9, (ROWS, n)).astype(dtype), kernels.width, 0.5)
        back = []
        for table in (kernels, reference):
            out = np.zeros_like(panels)
            table.dropout(
                panels,
                out,
                n,
                0,
                ROWS,
                rate,
                7,
                1,
                streams.DROPOUT,
                outputs=outputs,
                activation=ACTIVATIONS.index("tanh"),
            )
            back.append(from_panels(out, n))
        np.testing.assert_allclose(*back, rtol=30 * float(np.finfo(dtype).eps))


@every_table
def test_penalties_and_bounds(isa: str, dtype: str, rng: np.random.Generator) -> None:
    kernels, reference = both(isa, dtype)
    eps = float(np.finfo(dtype).eps)
    for vectors in (1, 2, 5):
        n = vectors * kernels.width
        p, g = rng.standard_normal((2, n)).astype(dtype)
        p[0], g[-1] = 0, 100
        for l1, l2 in ((0.1, 0.0), (0.0, 0.3), (0.2, 0.4)):
            got, want = g.copy(), g.copy()
            kernels.regularize(l1, l2, p, got)
            reference.regularize(l1, l2, p, want)
            np.testing.assert_allclose(got, want, rtol=4 * eps, atol=2 * eps)
        for factor, limit in ((1.0, 0.5), (0.25, 0.0), (0.5, 0.3)):
            got, want = g.copy(), g.copy()
            kernels.clip(factor, limit, got)
            reference.clip(factor, limit, want)
            np.testing.assert_array_equal(got, want)
        assert kernels.sum_of_squares(g) == pytest.approx(reference.sum_of_squares(g), rel=1e-13)
        nan = np.full(n, np.nan, dtype)
        kernels.clip(1.0, 0.5, nan)
        assert np.isnan(nan).all()
        w = rng.standard_normal((37, n)).astype(dtype)
        w[:, 0] = 0
        got, want = w.copy(), w.copy()
        kernels.limit_norms(5.5, got)
        reference.limit_norms(5.5, want)
        np.testing.assert_allclose(got, want, rtol=20 * eps)
        lengths = np.sqrt((got.astype(float) ** 2).sum(axis=0))
        assert lengths.max() <= 5.5 * (1 + 20 * eps)
        unchanged = np.sqrt((w.astype(float) ** 2).sum(axis=0)) < 5.4
        np.testing.assert_array_equal(got[:, unchanged], w[:, unchanged])


def test_squares_overflow_only_where_their_sum_does() -> None:
    kernels, _ = both(_core.config()["isas_available"][-1], "float32")
    assert kernels.sum_of_squares(np.full(8, 1e30, np.float32)) == pytest.approx(8e60, rel=1e-6)
