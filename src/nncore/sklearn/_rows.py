"""An epoch's rows, dense or sparse, as the core takes them. Sparse rows become dense a batch at a time.

This is the one place that knows how rows reach the core: `rows_of` chooses, and what it returns runs an epoch in a
given order and gives the sums of losses and of penalties.
"""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from nncore.errors import NonFiniteLoss
from nncore.fitting import Pace

if TYPE_CHECKING:
    from nncore.sklearn._solver import Solver

    Array = np.ndarray[Any, Any]


class DenseRows:
    """Rows in an array, of which the core takes whole epochs.

    Parameters
    ----------
    engine
        What computes.
    X : ndarray of shape (n, n_features)
        C-contiguous, of the engine's dtype.
    y : ndarray
        int32 classes, or numbers of the engine's dtype, of shape (n, n_out).
    weights : ndarray of shape (n,) or None
        From 0 to 1.
    loss : str or Loss
    conventions : dict
        For the job's `adopt`.
    batch_size : int
    solver : Solver
    threads : int or None
    seed : int
        Of dropout's masks.
    """

    def __init__(
        self,
        engine: Any,
        X: Array,
        y: Array,
        weights: Array | None,
        *,
        loss: Any,
        conventions: dict[str, Any],
        batch_size: int,
        solver: Solver,
        threads: int | None,
        seed: int,
    ) -> None:
        self.engine = engine
        self.n = len(X)
        self.job = engine.job(
            X,
            y,
            loss=loss,
            batch_size=batch_size,
            shuffle=False,
            seed=seed,
            first_epoch=solver.steps,
            optimizer=solver,
            slots=solver.slots_for(engine),
            record=False,
            threads=threads,
            weights=weights,
        )
        self.job.adopt(**conventions, **solver.conventions)
        self._steps = int(self.job.steps_per_epoch)
        self._pace = Pace(engine.n_parameters * batch_size)
        self._done = 0

    def epoch(self, order: Array | None) -> tuple[float, float]:
        """Train for an epoch, and return the sums over its batches of their rows times mean loss, and penalty.

        Raises
        ------
        NonFiniteLoss
            If a loss is not finite.
        """
        job, engine, pace = self.job, self.engine, self._pace
        # all rows in one batch add up to the same in any order, but for rounding
        if order is not None and self._steps > 1:
            job.take_order(order)
        first, end = self._done, self._done + self._steps
        while first < end:
            n_steps = min(end - first, pace.steps())
            began = perf_counter()
            engine.run(job, first, n_steps)
            pace.took(n_steps, perf_counter() - began)
            first += n_steps
        self._done = end
        return job.loss_sum, job.penalty_sum


class SparseRows:
    """Rows in a CSR matrix, made dense batch by batch. Parameters as of `DenseRows`."""

    def __init__(
        self, engine: Any, X: Any, y: Array, weights: Array | None, *, batch_size: int, solver: Solver, **settings: Any
    ) -> None:
        self.n = X.shape[0]
        self._X, self._y, self._weights = X, y, weights
        self._parts: dict[int, tuple[DenseRows, Array, Array, Array | None]] = {}
        for size in {batch_size, self.n % batch_size} - {0}:
            rows = np.zeros((size, X.shape[1]), engine.dtype)
            targets = np.zeros((size, *y.shape[1:]), y.dtype)
            shares = None if weights is None else np.ones(size)
            part = DenseRows(engine, rows, targets, shares, batch_size=size, solver=solver, **settings)
            self._parts[size] = part, rows, targets, shares
        self._batch = batch_size

    def epoch(self, order: Array | None) -> tuple[float, float]:
        """Train for an epoch; see `DenseRows.epoch`."""
        losses = penalties = 0.0
        for first in range(0, self.n, self._batch):
            end = min(first + self._batch, self.n)
            part, rows, targets, shares = self._parts[end - first]
            at: Any = slice(first, end) if order is None else order[first:end]
            self._X[at].toarray(out=rows)
            targets[:] = self._y[at]
            if shares is not None and self._weights is not None:
                shares[:] = self._weights[at]
            loss, penalty = part.epoch(None)
            losses += loss
            penalties += penalty
        return losses, penalties


def rows_of(engine: Any, X: Any, *args: Any, **settings: Any) -> DenseRows | SparseRows:
    """Return what runs epochs over dense or CSR rows."""
    return (SparseRows if hasattr(X, "tocsr") else DenseRows)(engine, X, *args, **settings)


__all__ = ["DenseRows", "NonFiniteLoss", "SparseRows", "rows_of"]
