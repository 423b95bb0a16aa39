"""An epoch's rows, dense or in CSR form, as the core takes them.

This is the one place that knows how rows reach the core: an epoch in a given order gives the sums of losses and of
penalties.
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


class Rows:
    """Rows of which the core takes whole epochs.

    Parameters
    ----------
    engine
        What computes.
    X : ndarray or CSR of shape (n, n_features)
        As `_model.inputs` gives them.
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
        X: Any,
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


def sum_of_batches(constants: Array, weights: Array | None, order: Array | None, batch_size: int) -> float:
    """Return the sum over batches of their rows times the mean of the constants."""
    if weights is None:
        return float(np.add.reduce(constants))
    if order is not None:
        constants, weights = constants[order], weights[order]
    starts = np.arange(0, len(constants), batch_size)
    sums, counts = np.add.reduceat(weights, starts), np.diff([*starts, len(constants)])
    means = np.divide(np.add.reduceat(constants * weights, starts), sums, out=np.zeros(len(starts)), where=sums > 0)
    return float(means @ counts)


__all__ = ["NonFiniteLoss", "Rows", "sum_of_batches"]
