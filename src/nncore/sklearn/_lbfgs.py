"""The solver "lbfgs": scipy's L-BFGS-B, with loss and gradient from the core, in float64.

scipy works in float64 and its line search asks for differences that float32 would round away.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    Array = np.ndarray[Any, Any]


class Objective:
    """Loss and gradient of an estimator's network over all rows, by one vector of ``coefs_``, then ``intercepts_``.

    Parameters
    ----------
    model : Model
        In float64.
    X, y, weights
        As of `DenseRows`; sparse rows become dense a batch at a time.
    loss : str or Loss
    conventions : dict
        For the jobs' `adopt`; its penalty is counted here.
    factor, constant : float
        The loss is factor times the core's, plus the constant.
    batch_size : int
        Of sparse rows.
    threads : int or None
    """

    def __init__(
        self,
        model: Any,
        X: Any,
        y: Array,
        weights: Array | None,
        *,
        loss: Any,
        conventions: dict[str, Any],
        factor: float,
        constant: float,
        batch_size: int,
        threads: int | None,
    ) -> None:
        from nncore import engines

        self.model = model
        self._penalty = conventions["penalty"] / (X.shape[0] if weights is None else float(np.sum(weights)))
        self._factor, self._constant = factor, constant
        shapes = [shape for of_layer in model.engine.shapes for shape in of_layer]
        self._slices: list[tuple[slice, tuple[int, ...], int]] = []
        at = 0
        for first in (0, 1):
            for index in range(first, len(shapes), 2):
                size = int(np.prod(shapes[index]))
                self._slices.append((slice(at, at + size), shapes[index], index))
                at += size
            if first == 0:
                self._n_weights = at
        self.x = np.zeros(at)
        self._gradient = np.zeros(at)
        self.arrays = self._arrays_of(self.x)
        self._weights = engines.core().NativeViews(model.engine, self.arrays)
        self._gradients = engines.core().NativeViews(model.engine, self._arrays_of(self._gradient))
        settings = {"loss": loss, "threads": threads}
        adopted = {**conventions, "penalty": 0.0}
        self._sparse = hasattr(X, "tocsr")
        self._job = None if self._sparse else self._make_job(X, y, weights, settings, adopted)
        self._given = X, y, weights, settings, adopted, batch_size

    def _arrays_of(self, flat: Array) -> list[Array]:
        arrays: list[Any] = [None] * len(self._slices)
        for part, shape, index in self._slices:
            arrays[index] = flat[part].reshape(shape)
        return arrays

    def _make_job(self, X: Array, y: Array, weights: Array | None, settings: Any, adopted: Any) -> Any:
        job = self.model.engine.job(
            X,
            y,
            batch_size=len(X),
            shuffle=False,
            seed=0,
            first_epoch=0,
            optimizer=None,
            slots=None,
            record=False,
            weights=weights,
            **settings,
        )
        job.adopt(**adopted)
        return job

    def _mean(self) -> float:
        """Return the mean loss; its gradient is in `_gradient`."""
        if self._job is not None:
            return float(self._gradients.loss_and_gradient(self._job))
        X, y, weights, settings, adopted, batch = self._given
        total = 0.0
        gradient = np.zeros_like(self._gradient)
        whole = X.shape[0] if weights is None else float(np.sum(weights))
        for at in range(0, X.shape[0], batch):
            part = slice(at, at + batch)
            dense = X[part].toarray()
            of_part = None if weights is None else weights[part]
            share = (len(dense) if of_part is None else float(np.sum(of_part))) / whole
            if share == 0:
                continue
            job = self._make_job(dense, y[part], of_part, settings, adopted)
            total += share * float(self._gradients.loss_and_gradient(job))
            gradient += share * self._gradient
        self._gradient[:] = gradient
        return total

    def __call__(self, x: Array) -> tuple[float, Array]:
        """Return loss and gradient at x."""
        self.x[:] = x
        self._weights.load()
        loss = self._factor * self._mean() + self._constant
        weights = self.x[: self._n_weights]
        loss += 0.5 * self._penalty * float(weights @ weights)
        gradient = self._gradient.copy()
        gradient[: self._n_weights] += self._penalty * weights
        return loss, gradient


def minimise(
    objective: Objective, start: list[Array], *, max_fun: int, max_iter: int, tol: float, verbose: Any
) -> tuple[list[Array], float, Any]:
    """Return weights (as of the engine), loss and scipy's result, from the weights to start with.

    Parameters
    ----------
    objective : Objective
    start : list of ndarray
        ``[W0, b0, W1, b1, ...]``.
    max_fun, max_iter : int
        Limits of evaluations and of iterations.
    tol : float
        Of the largest entry of the projected gradient.
    verbose : bool or int
        Whether scipy prints, where it still does.
    """
    from scipy.optimize import minimize
    from sklearn.utils.fixes import _get_additional_lbfgs_options_dict

    for array, value in zip(objective.arrays, start, strict=True):
        array[...] = value
    printing = _get_additional_lbfgs_options_dict("iprint", 1 if verbose is True or verbose >= 1 else -1)
    result = minimize(
        objective,
        objective.x.copy(),
        method="L-BFGS-B",
        jac=True,
        options={"maxfun": max_fun, "maxiter": max_iter, "gtol": tol, **printing},
    )
    objective.x[:] = result.x
    return objective.arrays, float(result.fun), result
