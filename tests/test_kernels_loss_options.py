"""The loss kernel's options, per ISA: weights of rows, smoothing, weight of the positive, a gradient that is given."""

from __future__ import annotations

import numpy as np
import pytest
from kernel_layout import both, columns_around, every_table
from test_kernels_loss import HEADS, ROWS, Result
from test_kernels_loss import operands as any_operands

SOURCE = 60  # rows that labels and weights are picked from
WEIGHTED = [head for head in HEADS if head[0] != "given"]
weighted_heads = pytest.mark.parametrize("head", WEIGHTED, ids=["-".join(head) for head in WEIGHTED])


def operands(
    head: tuple[str, str], dtype: str, rows: int, n: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    outputs, targets = any_operands(head, dtype, rows, n, rng)
    if head == ("bce", "softmax"):
        outputs *= np.asarray(0.25, dtype)  # where a is nearly 1, 1 - a is rounding
    return outputs, targets


def close(got: Result, want: Result, n: int, eps: float) -> None:
    rtol = (20 + n) * eps
    np.testing.assert_allclose(got.outputs, want.outputs, rtol=16 * eps, atol=eps)
    np.testing.assert_allclose(got.row_loss, want.row_loss, rtol=rtol, atol=rtol)
    np.testing.assert_allclose(
        got.delta, want.delta, rtol=rtol, atol=rtol * np.abs(want.delta).max(initial=1 / ROWS / n)
    )


@every_table
@weighted_heads
def test_weights_are_factors_of_the_rows_gradients(
    isa: str, dtype: str, head: tuple[str, str], rng: np.random.Generator
) -> None:
    eps = float(np.finfo(dtype).eps)
    kernels, reference = both(isa, dtype)
    for ordered in (False, True):
        weights = rng.uniform(0, 1, SOURCE) * (rng.uniform(size=SOURCE) < 0.8)
        order = rng.permutation(SOURCE).astype(np.uint32) if ordered else None
        rows = (np.arange(SOURCE) if order is None else order)[7 : 7 + ROWS]
        for n in columns_around(kernels.width):
            if n == 1 and (head == ("bce", "softmax") or head[0] == "cosine"):
                continue
            outputs, targets = operands(head, dtype, ROWS, n, rng)
            got, want = (
                Result(table, head, outputs, targets, weights=weights, order=order, first=7)
                for table in (kernels, reference)
            )
            close(got, want, n, eps)
            plain = Result(kernels, head, outputs, targets)
            assert got.row_loss.tobytes() == plain.row_loss.tobytes()  # without their weights
            expected = plain.delta.astype(float) * weights[rows][:, None]
            scale = np.abs(plain.delta).max()
            np.testing.assert_allclose(got.delta, expected, rtol=8 * eps, atol=(8 + n) * eps * scale)
            assert (got.delta[weights[rows] == 0] == 0).all()


@every_table
@weighted_heads
def test_weights_of_one_change_no_bit(isa: str, dtype: str, head: tuple[str, str], rng: np.random.Generator) -> None:
    kernels, _ = both(isa, dtype)
    for n in columns_around(kernels.width):
        outputs, targets = operands(head, dtype, ROWS, n, rng)
        plain = Result(kernels, head, outputs, targets)
        for pieces in (ROWS, 5):
            got = Result(kernels, head, outputs, targets, weights=np.ones(ROWS), pieces=pieces)
            assert got.delta.tobytes() == plain.delta.tobytes()
            assert got.row_loss.tobytes() == plain.row_loss.tobytes()


SMOOTHED = [("cross_entropy", "softmax"), ("cross_entropy", "identity"), ("bce", "sigmoid"), ("bce", "identity")]


@every_table
@pytest.mark.parametrize("head", SMOOTHED, ids=["-".join(head) for head in SMOOTHED])
def test_smoothed_targets(isa: str, dtype: str, head: tuple[str, str], rng: np.random.Generator) -> None:
    eps = float(np.finfo(dtype).eps)
    kernels, reference = both(isa, dtype)
    for n in columns_around(kernels.width):
        outputs, targets = operands(head, dtype, ROWS, n, rng)
        labels = rng.integers(0, n, ROWS).astype(np.int32)
        spread = 0.2 / (n if head[0] == "cross_entropy" else 2)
        for options in ({}, {"labels": labels}) if head[0] == "cross_entropy" else ({},):
            got, want = (Result(t, head, outputs, targets, smoothing=0.2, **options) for t in (kernels, reference))
            close(got, want, n, eps)
            hard = np.eye(n, dtype=dtype)[labels] if options else targets
            smooth = (0.8 * hard.astype(float) + spread).astype(dtype)
            close(got, Result(reference, head, outputs, smooth), n, 2 * eps)


@every_table
@pytest.mark.parametrize("activation", ["sigmoid", "identity", "softmax"])
def test_weight_of_the_positive(isa: str, dtype: str, activation: str, rng: np.random.Generator) -> None:
    eps = float(np.finfo(dtype).eps)
    kernels, reference = both(isa, dtype)
    head = "bce", activation
    for n in columns_around(kernels.width):
        if n == 1 and activation == "softmax":
            continue
        outputs, targets = operands(head, dtype, ROWS, n, rng)
        for factor in (0.25, 5.0):
            options = {"parameter": factor, "smoothing": 0.1, "weights": rng.uniform(0, 1, ROWS)}
            got, want = (Result(table, head, outputs, targets, **options) for table in (kernels, reference))
            close(got, want, n, eps * max(1, factor))


@every_table
def test_extremes(isa: str, dtype: str) -> None:
    """Nothing is NaN for finite numbers, kinks have a gradient of 0, and what is too large is infinite."""
    most = float(np.finfo(dtype).max)
    for table in both(isa, dtype):
        for n in (2, 2 * table.width + 2):  # narrow and wide

            def result(head: tuple[str, str], a: list[float], y: list[float], **options: object) -> Result:
                tile = [np.tile(np.array(x, dtype)[:, None], n) for x in (a, y)]  # noqa: B023
                return Result(table, head, *tile, **options)  # noqa: B023

            values = [most, -most, 3.0, 0.0]
            got = result(("mae", "identity"), values, [-most, most, 3.0, 1.0])
            np.testing.assert_array_equal(got.row_loss, [np.inf, np.inf, 0, 1])
            np.testing.assert_allclose(got.delta[:, 0] * 4 * n, [1, -1, 0, -1], rtol=1e-6)
            got = result(("huber", "identity"), values, [-most, most, 3.0, 1.0], parameter=1e300)
            assert not np.isnan(got.row_loss).any()
            assert got.row_loss[2] == 0
            got = result(("quantile", "identity"), values, [-most, most, 3.0, 1.0])
            assert (got.row_loss[:2] > most / 2).all()
            assert got.row_loss[2] == 0
            np.testing.assert_allclose(got.delta[:, 0] * 4 * n, [0.7, -0.3, 0, -0.3], rtol=1e-6)
            got = result(("hinge", "identity"), [most, most / 2, 1.0, 0.0], [1.0, -1.0, 1.0, 1.0])
            np.testing.assert_allclose(got.row_loss, [0, most / 2, 0, 1], rtol=1e-6)
            np.testing.assert_allclose(got.delta[:, 0] * 4 * n, [0, 1, 0, -1], rtol=1e-6)
            got = result(("poisson", "exponential"), [most, -most, 800.0, 0.0], [most, 0.0, 3.0, 2.0])
            np.testing.assert_allclose(got.row_loss, [np.inf, 0, np.inf, 1], rtol=1e-6)
            got = result(("poisson", "identity"), [0.0, 1.0, 2.0, most / 2], [0.0, 0.0, 1.0, 0.0])
            np.testing.assert_allclose(got.row_loss, [0, 1, 2 - np.log(2), most / 2], rtol=1e-6)
            got = result(("cosine", "identity"), [most, -most, 0.0, 1e-30], [most, most, 1.0, 1e-30])
            np.testing.assert_allclose(got.row_loss, [0, 2, 1, 0], atol=4 * float(np.finfo(dtype).eps))
            np.testing.assert_array_equal(got.delta[2], 0)
            assert np.isfinite(got.delta).all()
            got = result(("bce", "sigmoid"), [most / 4, -most / 4, 0.0, 0.0], [1.0, 0.0, 1.0, 0.0], parameter=3.0)
            np.testing.assert_allclose(got.row_loss, [0, 0, 3 * np.log(2), np.log(2)], rtol=1e-6)
            got = result(("bce", "sigmoid"), [most / 4, -most / 4], [0.0, 1.0], parameter=2.0)
            np.testing.assert_allclose(got.row_loss, [most / 4, most / 2], rtol=1e-6)


@every_table
@pytest.mark.parametrize("activation", ["identity", "sigmoid", "tanh", "relu", "leaky_relu", "softmax"])
def test_a_given_gradient_goes_through_the_activation(
    isa: str, dtype: str, activation: str, rng: np.random.Generator
) -> None:
    eps = float(np.finfo(dtype).eps)
    kernels, reference = both(isa, dtype)
    for n in columns_around(kernels.width):
        a = rng.uniform(0.05, 0.95, (ROWS, n))
        if activation == "softmax":
            a /= a.sum(axis=1, keepdims=True)
        a, gradient = a.astype(dtype), rng.standard_normal((ROWS, n)).astype(dtype)
        got, want = (Result(table, ("given", activation), a, gradient) for table in (kernels, reference))
        assert (got.row_loss == 0).all()
        np.testing.assert_array_equal(got.outputs, a)
        np.testing.assert_allclose(got.delta, want.delta, rtol=16 * eps, atol=(8 + n) * eps)
        if activation == "identity":
            np.testing.assert_array_equal(got.delta, gradient)


@every_table
@pytest.mark.parametrize("head", [("cross_entropy", "softmax"), ("bce", "sigmoid")], ids="-".join)
def test_bounds_of_the_loss_leave_the_gradient_alone(
    isa: str, dtype: str, head: tuple[str, str], rng: np.random.Generator
) -> None:
    eps = float(np.finfo(dtype).eps)
    kernels, reference = both(isa, dtype)
    bounds = {"least": 0.25, "most": 1.5}
    for n in columns_around(kernels.width):
        outputs, targets = operands(head, dtype, ROWS, n, rng)
        outputs[0], outputs[1] = np.nan, 0
        if head[0] == "cross_entropy":
            targets = np.eye(n, dtype=dtype)[rng.integers(0, n, ROWS)]
        got, want = (Result(table, head, outputs, targets, **bounds) for table in (kernels, reference))
        plain = Result(kernels, head, outputs, targets)
        rtol = (20 + n) * eps
        np.testing.assert_allclose(got.row_loss, want.row_loss, rtol=rtol, atol=rtol)
        assert got.delta.tobytes() == plain.delta.tobytes()
        assert np.isnan(got.row_loss[0])
        if n == 1 or head[0] == "cross_entropy":
            np.testing.assert_allclose(got.row_loss, np.clip(plain.row_loss, 0.25, 1.5), rtol=2 * eps)
            assert got.row_loss[1:].min() >= 0.25 and got.row_loss[1:].max() <= 1.5
