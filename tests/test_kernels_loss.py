"""Softmax, each row's loss and its gradient by the pre-activations, per ISA against the naive reference."""

from __future__ import annotations

import numpy as np
import pytest
from kernel_layout import (
    ACTIVATIONS,
    EXPONENTIAL,
    LOSSES,
    SENTINEL,
    _core,
    both,
    columns_around,
    every_table,
    from_panels,
    outside,
    to_panels,
)

ROWS = 23  # more than a vector: the logarithms are taken a vector of rows at a time
RANGES = [(0, ROWS), (0, 1), (3, 20), (22, 23), (6, 6)]
RUBBISH = 3.5
HEADS = [  # every pair that the network may ask for
    ("cross_entropy", "softmax"),
    ("bce", "sigmoid"),
    ("mse", "identity"),
    ("mse", "sigmoid"),
    ("mse", "tanh"),
    ("mse", "relu"),
    ("mse", "leaky_relu"),
    ("mse", "softmax"),
    ("mse", "step"),
    ("bce", "softmax"),
    ("bce", "identity"),
    ("cross_entropy", "sigmoid"),
    ("cross_entropy", "identity"),
    ("mae", "identity"),
    ("mae", "tanh"),
    ("huber", "identity"),
    ("huber", "softmax"),
    ("hinge", "identity"),
    ("hinge", "tanh"),
    ("poisson", "identity"),
    ("poisson", "exponential"),
    ("poisson", "softmax"),
    ("quantile", "identity"),
    ("quantile", "leaky_relu"),
    ("cosine", "identity"),
    ("cosine", "sigmoid"),
    ("cosine", "softmax"),
    ("given", "identity"),
    ("given", "tanh"),
]
PARAMETERS = {"huber": 0.7, "quantile": 0.3}
numbers = {"mse", "mae", "huber", "hinge", "quantile", "cosine", "given"}  # losses of numbers of either sign
from_logits = {("cross_entropy", "softmax"), ("bce", "sigmoid"), ("poisson", "exponential")}
from_logits |= {head for head in HEADS if head[1] == "softmax"}
heads = pytest.mark.parametrize(("loss", "activation"), HEADS, ids=["-".join(head) for head in HEADS])


def beyond(head: tuple[str, str]) -> float:
    """Return what the targets' panels hold past the last column; a given gradient has zeros there."""
    return 0.0 if head[0] == "given" else 0.25


class Result:
    """What the loss kernel made of outputs and targets (or labels), as matrices."""

    def __init__(
        self,
        table: _core.Kernels,
        head: tuple[str, str],
        outputs: np.ndarray,
        targets: np.ndarray,
        r0: int = 0,
        r1: int | None = None,
        pieces: int | None = None,
        **options: object,
    ) -> None:
        rows, n = outputs.shape
        r1 = rows if r1 is None else r1
        loss = LOSSES.index(head[0])
        activation = EXPONENTIAL if head[1] == "exponential" else ACTIVATIONS.index(head[1])
        options.setdefault("parameter", PARAMETERS.get(head[0], 1.0))
        self.panels = to_panels(outputs, table.width, RUBBISH), to_panels(targets, table.width, beyond(head))
        if "labels" in options:  # then the gradient's panels hold no targets
            self.panels[1][:] = 0.25
        self.row_loss = np.full(rows, SENTINEL)
        step = pieces or max(r1 - r0, 1)
        for r in range(r0, r1, step):
            end = min(r + step, r1)
            table.loss(*self.panels, self.row_loss, n, r, end, loss, activation, 1 / rows, 0.3, **options)
        self.outputs, self.delta = (from_panels(panels, n) for panels in self.panels)


def operands(
    head: tuple[str, str], dtype: str, rows: int, n: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return what a last layer of this head puts out, and targets that suit its loss."""
    loss, activation = head
    z = 2 * rng.standard_normal((rows, n))
    targets = rng.uniform(0, 1, (rows, n))
    if loss == "hinge":
        targets = rng.choice([-1.0, 1.0], (rows, n))
    elif loss in numbers:
        targets = rng.standard_normal((rows, n))
    elif rng.integers(2):
        targets = np.round(targets)
    if head not in from_logits and (loss not in numbers or activation == "sigmoid"):
        z = rng.uniform(0.05, 0.95, (rows, n))
    elif activation == "tanh":
        z = np.tanh(z)
    elif activation == "step":
        z = np.round(rng.uniform(0, 1, (rows, n)))
    return z.astype(dtype), targets.astype(dtype)


@every_table
@heads
def test_against_the_reference(isa: str, dtype: str, loss: str, activation: str, rng: np.random.Generator) -> None:
    kernels, reference = both(isa, dtype)
    eps = float(np.finfo(dtype).eps)
    head = loss, activation
    for n in columns_around(kernels.width):
        if n == 1 and (head == ("bce", "softmax") or loss == "cosine"):
            continue  # 1 - a is rounding alone, or the gradient is
        for r0, r1 in RANGES:
            outputs, targets = operands(head, dtype, ROWS, n, rng)
            got, want = (Result(table, head, outputs, targets, r0, r1) for table in (kernels, reference))
            rows = slice(r0, r1)
            rtol = (20 + n) * eps
            np.testing.assert_allclose(got.outputs[rows], want.outputs[rows], rtol=16 * eps, atol=eps)
            np.testing.assert_allclose(got.row_loss[rows], want.row_loss[rows], rtol=rtol, atol=rtol)
            scale = np.abs(want.delta[rows]).max(initial=1 / ROWS / n)
            np.testing.assert_allclose(got.delta[rows], want.delta[rows], rtol=rtol, atol=rtol * scale)
            others = np.delete(np.arange(ROWS), np.arange(r0, r1))
            assert (got.row_loss[others] == SENTINEL).all()
            before = to_panels(outputs, kernels.width, RUBBISH), to_panels(targets, kernels.width, beyond(head))
            for panels, untouched in zip(got.panels, before, strict=True):
                np.testing.assert_array_equal(
                    outside(panels, n, kernels.width, r0, r1), outside(untouched, n, kernels.width, r0, r1)
                )


@every_table
@heads
def test_the_gradient_is_zero_past_the_last_column(
    isa: str, dtype: str, loss: str, activation: str, rng: np.random.Generator
) -> None:
    kernels, _ = both(isa, dtype)
    w = kernels.width
    for n in (1, w + 1, 2 * w - 1):
        outputs, targets = operands((loss, activation), dtype, 5, n, rng)
        delta = Result(kernels, (loss, activation), outputs, targets).panels[1]
        assert (delta[0, :, n : -(-n // w) * w] == 0).all()


@every_table
@heads
def test_a_row_has_the_same_bits_however_the_rows_are_cut(
    isa: str, dtype: str, loss: str, activation: str, rng: np.random.Generator
) -> None:
    kernels, _ = both(isa, dtype)
    for n in columns_around(kernels.width):
        outputs, targets = operands((loss, activation), dtype, ROWS, n, rng)
        whole = Result(kernels, (loss, activation), outputs, targets)
        for pieces in (1, 5, 16):
            cut = Result(kernels, (loss, activation), outputs, targets, pieces=pieces)
            assert cut.row_loss.tobytes() == whole.row_loss.tobytes()
            for a, b in zip(cut.panels, whole.panels, strict=True):
                assert a.tobytes() == b.tobytes()


@every_table
@pytest.mark.parametrize(
    "head", [("cross_entropy", "softmax"), ("mse", "softmax"), ("mse", "identity"), ("bce", "sigmoid")]
)
@pytest.mark.parametrize("ordered", [False, True])
def test_labels_are_one_hot_targets(
    isa: str, dtype: str, head: tuple[str, str], ordered: bool, rng: np.random.Generator
) -> None:
    eps = float(np.finfo(dtype).eps)
    for table in both(isa, dtype):
        for n in columns_around(table.width):
            outputs, _ = operands(head, dtype, ROWS, n, rng)
            labels = rng.integers(0, n, 50).astype(np.int32)
            order = rng.permutation(50).astype(np.uint32) if ordered else None
            rows = np.arange(50) if order is None else order
            one_hot = np.eye(n, dtype=dtype)[labels[rows[7 : 7 + ROWS]]]
            got = Result(table, head, outputs, one_hot, labels=labels, order=order, first=7)
            want = Result(table, head, outputs, one_hot)
            np.testing.assert_allclose(got.row_loss, want.row_loss, rtol=8 * eps, atol=4 * eps)
            np.testing.assert_allclose(got.delta, want.delta, rtol=4 * eps, atol=eps)
            assert got.outputs.tobytes() == want.outputs.tobytes()


@every_table
def test_softmax(isa: str, dtype: str, rng: np.random.Generator) -> None:
    kernels, reference = both(isa, dtype)
    eps = float(np.finfo(dtype).eps)
    for n in columns_around(kernels.width):
        for r0, r1 in RANGES:
            for size in (1, 30):
                z = (size * rng.standard_normal((ROWS, n))).astype(dtype)
                got, want = (to_panels(z, kernels.width, SENTINEL) for _ in range(2))
                kernels.softmax(got, n, r0, r1)
                reference.softmax(want, n, r0, r1)
                p = from_panels(got, n)
                rtol = (16 + 5 * size) * eps  # z - max z is rounded, and an error there is the exponent's
                np.testing.assert_allclose(p, from_panels(want, n), rtol=rtol, atol=float(np.finfo(dtype).tiny))
                np.testing.assert_allclose(p[r0:r1].astype(float).sum(axis=1), 1, rtol=(n + 8) * eps)
                before = outside(to_panels(z, kernels.width, SENTINEL), n, kernels.width, r0, r1)
                np.testing.assert_array_equal(outside(got, n, kernels.width, r0, r1), before)


@every_table
def test_softmax_neither_overflows_nor_leaves_its_row(isa: str, dtype: str) -> None:
    kernels, _ = both(isa, dtype)
    huge = float(np.finfo(dtype).max)
    for n in columns_around(kernels.width):
        z = np.zeros((5, n), dtype)
        z[0] = huge
        z[1] = -huge
        z[2, 0], z[2, n - 1] = -huge, huge
        z[3, n // 2] = np.nan
        panels = to_panels(z, kernels.width, SENTINEL)
        kernels.softmax(panels, n, 0, 5)
        p = from_panels(panels, n)
        for row in (0, 1, 4):
            np.testing.assert_allclose(p[row], 1 / n, rtol=8 * float(np.finfo(dtype).eps))
        np.testing.assert_array_equal(p[2], np.arange(n) == n - 1)
        assert np.isnan(p[3]).all()


@every_table
def test_losses_from_logits_are_right_far_out(isa: str, dtype: str) -> None:
    """Neither overflow nor cancellation: what is true is inf where it exceeds the type, and never NaN."""
    kernels, _ = both(isa, dtype)
    eps, huge = float(np.finfo(dtype).eps), float(np.finfo(dtype).max)
    z = np.array([[1e4, 0], [0, 1e4], [1e4 + 1, 1e4], [huge, -huge], [-huge, huge], [huge, -huge], [-30, 0]], dtype)
    y = np.array([[1, 0], [1, 0], [0.5, 0.5], [1, 0], [1, 0], [0.75, 0.25], [1, 0]], dtype)
    result = Result(kernels, ("cross_entropy", "softmax"), z, y)
    true = [0, 1e4, np.log1p(np.exp(-1)) + 0.5, 0, np.inf, np.nan, 30 + np.exp(-30)]
    np.testing.assert_allclose(np.delete(result.row_loss, 5), np.delete(true, 5), rtol=8 * eps)
    assert result.row_loss[5] > huge / 4
    assert np.isfinite(result.delta).all()
    labels = np.array([0, 0, 1, 0, 0, 1, 0], np.int32)
    result = Result(kernels, ("cross_entropy", "softmax"), z, y, labels=labels)
    true = [0, 1e4, np.log1p(np.exp(-1)) + 1, 0, np.inf, np.inf, 30 + np.exp(-30)]
    np.testing.assert_allclose(result.row_loss, true, rtol=8 * eps)

    z = np.array([[1e4], [1e4], [-1e4], [-1e4], [huge], [huge], [-huge], [30], [-30]], dtype)
    y = np.array([[1], [0], [0], [1], [1], [0], [0], [1], [0]], dtype)
    result = Result(kernels, ("bce", "sigmoid"), z, y)
    tail = np.log1p(np.exp(-30.0))
    np.testing.assert_allclose(result.row_loss, [0, 1e4, 0, 1e4, 0, huge, 0, tail, tail], rtol=8 * eps)
    assert np.isfinite(result.delta).all()
    np.testing.assert_array_equal(result.outputs[:7, 0], [1, 1, 0, 0, 1, 1, 0])


@every_table
@heads
def test_a_nan_row_stays_alone(isa: str, dtype: str, loss: str, activation: str, rng: np.random.Generator) -> None:
    kernels, _ = both(isa, dtype)
    for n in columns_around(kernels.width):
        outputs, targets = operands((loss, activation), dtype, ROWS, n, rng)
        clean = Result(kernels, (loss, activation), outputs, targets)
        outputs[9, n // 2] = np.nan
        got = Result(kernels, (loss, activation), outputs, targets)
        assert np.isnan(got.row_loss[9]) or loss == "given"
        for a, b in ((got.row_loss, clean.row_loss), (got.delta, clean.delta), (got.outputs, clean.outputs)):
            a, b = a.copy(), b.copy()
            a[9] = b[9] = 0
            assert a.tobytes() == b.tobytes()


@every_table
def test_probabilities_of_0_and_1_give_finite_losses(isa: str, dtype: str) -> None:
    for table in both(isa, dtype):
        tiny = float(np.finfo(dtype).tiny)
        a = np.array([[0.0, 1.0], [1.0, 0.0]], dtype)
        y = np.array([[1.0, 1.0], [0.0, 0.0]], dtype)
        result = Result(table, ("bce", "identity"), a, y)
        np.testing.assert_allclose(result.row_loss, [-np.log(tiny) / 2] * 2, rtol=1e-6)
        assert np.isfinite(result.delta).all()
        result = Result(table, ("cross_entropy", "identity"), a, y)
        np.testing.assert_allclose(result.row_loss, [-np.log(tiny), 0], rtol=1e-6)
