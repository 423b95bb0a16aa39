"""The solver "lbfgs": scipy's L-BFGS-B, with loss and gradient from the core, in float64.

scipy works in float64 and its line search asks for differences that float32 would round away.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    Array = np.ndarray[Any, Any]


class Objective:
    """Loss and gradient of an estimator's network over all rows, by one vector of ``coefs_``, then all else.

    Parameters
    ----------
    model : Model
        In float64.
    X, y, weights
        As of `Rows`.
    loss : str or Loss
    conventions : dict
        For the jobs' `adopt`; its penalty is counted here.
    factor, constant : float
        The loss is factor times the core's, plus the constant.
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
        threads: int | None,
    ) -> None:
        from nncore import engines

        self.model = model
        self._penalty = conventions["penalty"] / (len(X) if weights is None else float(np.sum(weights)))
        self._factor, self._constant = factor, constant
        shapes = [shape for of_layer in model.engine.shapes for shape in of_layer]
        self._slices: list[tuple[slice, tuple[int, ...], int]] = []
        at = 0
        for n_dimensions in (2, 1):  # weights, which are penalised, come first
            for index, shape in enumerate(shapes):
                if len(shape) == n_dimensions:
                    size = int(np.prod(shape))
                    self._slices.append((slice(at, at + size), shape, index))
                    at += size
            if n_dimensions == 2:
                self._n_weights = at
        self.x = np.zeros(at)
        self._gradient = np.zeros(at)
        self.arrays = self._arrays_of(self.x)
        self._weights = engines.core().NativeViews(model.engine, self.arrays)
        self._gradients = engines.core().NativeViews(model.engine, self._arrays_of(self._gradient))
        self._job = model.engine.job(
            X,
            y,
            loss=loss,
            batch_size=len(X),
            shuffle=False,
            seed=0,
            first_epoch=0,
            optimizer=None,
            slots=None,
            record=False,
            threads=threads,
            weights=weights,
        )
        self._job.adopt(**{**conventions, "penalty": 0.0})

    def _arrays_of(self, flat: Array) -> list[Array]:
        arrays: list[Any] = [None] * len(self._slices)
        for part, shape, index in self._slices:
            arrays[index] = flat[part].reshape(shape)
        return arrays

    def __call__(self, x: Array) -> tuple[float, Array]:
        """Return loss and gradient at x."""
        self.x[:] = x
        self._weights.load()
        mean = float(self._gradients.loss_and_gradient(self._job))
        loss = self._factor * mean + self._constant
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
