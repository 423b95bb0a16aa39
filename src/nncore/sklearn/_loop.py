"""The epochs of a stochastic fit: scikit-learn's shuffles, records, stopping rule and early stopping.

A run of the core is an epoch. Shuffles come from the estimator's ``random_state`` in scikit-learn's order, so that each
epoch takes the batches that scikit-learn would take.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from nncore import errors
from nncore.errors import NonFiniteLoss

if TYPE_CHECKING:
    from collections.abc import Callable

    from nncore.sklearn._watch import Validation, Watch

    Array = np.ndarray[Any, Any]


class DivergenceError(errors.DivergenceError, ValueError):
    """The weights left the finite numbers, in the words of scikit-learn. A ``ValueError``."""

    def __str__(self) -> str:
        """Return the message."""
        return (
            "Solver produced non-finite parameter weights. The input data may contain large values and need to be "
            f"preprocessed. In detail: {super().__str__()}"
        )


class Epochs:
    """A stochastic fit of an estimator.

    Parameters
    ----------
    estimator
        Whose parameters say how, and whose attributes are the record.
    model : Model
        The weights, loaded.
    rows : DenseRows or SparseRows
        What runs an epoch.
    solver : Solver
    loss_of : callable
        Returns an epoch's loss from the sums of the losses and of the penalties, and the order of the rows.
    validation : Validation or None
        Rows whose score is recorded.
    early : bool
        Whether that score, in place of the loss, says when to end and which weights are kept.
    watch : Watch or None
        Looks at the record of each epoch; says whether to stop.
    """

    def __init__(
        self,
        estimator: Any,
        model: Any,
        rows: Any,
        solver: Any,
        loss_of: Callable[[float, float, Array | None], float],
        validation: Validation | None,
        early: bool,
        watch: Watch | None = None,
    ) -> None:
        self.estimator = estimator
        self.model = model
        self.rows = rows
        self.solver = solver
        self.loss_of = loss_of
        self.validation = validation
        self.early = early
        self.watch = watch

    def run(self, incremental: bool) -> None:
        """Train until there is a reason to stop, or for one epoch; a KeyboardInterrupt ends it with a warning."""
        est = self.estimator
        est.n_iter_ = 0
        order = np.arange(self.rows.n) if est.shuffle else None
        try:
            for _ in range(est.max_iter):
                if order is not None:
                    indices = np.arange(self.rows.n)
                    est._random_state.shuffle(indices)
                    order = order[indices]
                if not self._epoch(order) or incremental:
                    break
                if est.n_iter_ == est.max_iter:
                    warnings.warn(
                        f"Stochastic Optimizer: Maximum iterations ({est.max_iter}) reached and the optimization "
                        "hasn't converged yet.",
                        ConvergenceWarning,
                        stacklevel=5,
                    )
        except KeyboardInterrupt:
            warnings.warn("Training interrupted by user.", stacklevel=5)

    def _epoch(self, order: Array | None) -> bool:
        """Do an epoch, and say whether to go on."""
        est = self.estimator
        if self.watch is not None:
            self.watch.epoch_begins(est.n_iter_)
        try:
            losses, penalties = self.rows.epoch(None if order is None else order.astype(np.uint32))
        except NonFiniteLoss as error:
            return self._diverged(error)
        est.n_iter_ += 1
        est.loss_ = self.loss_of(losses, penalties, order)
        est.t_ += self.rows.n
        est.loss_curve_.append(est.loss_)
        if est.verbose:
            print(f"Iteration {est.n_iter_}, loss = {est.loss_:.8f}")
        logs = {"loss": est.loss_}
        if self.validation is not None:
            score, loss = self.validation.look()
            if loss is not None:
                logs["val_loss"] = loss
            logs[est._score_name] = score
            self._see_score(score)
        if not self.early:
            self._see_loss()
        self.solver.iteration_ends(est.t_)
        if self.watch is not None and self.watch.epoch_ends(est.n_iter_ - 1, logs):
            return False
        if est._no_improvement_count > est.n_iter_no_change:
            what = "Validation score" if self.early else "Training loss"
            message = f"{what} did not improve more than tol={est.tol:f} for {est.n_iter_no_change} consecutive epochs."
            if self.solver.trigger_stopping(message, est.verbose):
                return False
            est._no_improvement_count = 0
        return True

    def _diverged(self, error: NonFiniteLoss) -> bool:
        """Refuse; with early stopping there are earlier weights to go back to, and the records end in NaN."""
        est = self.estimator
        est._forget_solver()
        if not self.early:
            raise DivergenceError(est.n_iter_ + 1, layer=error.layer, learning_rate=est.learning_rate_init) from None
        est.n_iter_ += 1
        est.t_ += self.rows.n
        est.loss_ = float("nan")
        est.loss_curve_.append(est.loss_)
        est.validation_scores_.append(float("nan"))
        warnings.warn(
            f"The loss is not finite in iteration {est.n_iter_}; the weights are those of the best validation score. "
            "The input data may contain large values and need to be preprocessed.",
            ConvergenceWarning,
            stacklevel=6,
        )
        return False

    def _see_loss(self) -> None:
        est = self.estimator
        if est.loss_ > est.best_loss_ - est.tol:
            est._no_improvement_count += 1
        else:
            est._no_improvement_count = 0
        if est.loss_ < est.best_loss_:
            est.best_loss_ = est.loss_

    def _see_score(self, score: float) -> None:
        est = self.estimator
        est.validation_scores_.append(score)
        if est.verbose:
            print(f"Validation score: {score:f}")
        if self.early:
            worse = score < est.best_validation_score_ + est.tol
            est._no_improvement_count = est._no_improvement_count + 1 if worse else 0
        if score > est.best_validation_score_:
            est.best_validation_score_ = score
            if self.early:
                est._best = [array.copy() for array in self.model.store()], self.model.state()
