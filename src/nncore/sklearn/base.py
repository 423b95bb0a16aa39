"""What the classifier and the regressor share: parameters, one fit after scikit-learn's rules, outputs for new rows.

The order of everything that draws from ``random_state`` is scikit-learn's: initial weights layer by layer (weights,
then biases), the split for early stopping, and a shuffle for each epoch.
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from contextlib import nullcontext
from copy import deepcopy
from itertools import pairwise
from math import isfinite
from numbers import Integral, Real
from operator import index
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, _fit_context
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, Options, StrOptions
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from nncore import activations, losses, targets
from nncore.errors import NonFiniteData
from nncore.sklearn._loop import DivergenceError, Epochs
from nncore.sklearn._model import NAMES, Model, inputs
from nncore.sklearn._own import OWN_CONSTRAINTS, check_own, given_validation, has_callbacks
from nncore.sklearn._rows import Rows, sum_of_batches
from nncore.sklearn._solver import SGD, Adam
from nncore.sklearn._turns import Fit, consistent, state_without, under_way
from nncore.sklearn._watch import Validation, Watch, mean_loss

Array = np.ndarray[Any, Any]

STOCHASTIC = ("sgd", "adam")
_UNIT = Interval(Real, 0, 1, closed="left")
_FROM_0 = Interval(Real, 0, None, closed="left")
_ABOVE_0 = Interval(Real, 0, None, closed="neither")
_FROM_1 = Interval(Integral, 1, None, closed="left")
_ndarray, _float64 = np.ndarray, np.float64
_add = np.add.reduce


class BaseMLP(BaseEstimator, ABC):  # type: ignore[misc]
    """The base of `MLPClassifier` and `MLPRegressor`; not to be used itself."""

    _parameter_constraints: dict[str, Any] = {  # noqa: RUF012
        "hidden_layer_sizes": ["array-like", _FROM_1],
        "activation": [StrOptions({"logistic", *activations.ALIASES} - {"softmax"}), activations.Activation],
        "solver": [StrOptions({"lbfgs", "sgd", "adam"})],
        "alpha": [_FROM_0],
        "batch_size": [StrOptions({"auto"}), _FROM_1],
        "learning_rate": [StrOptions({"constant", "invscaling", "adaptive"})],
        "learning_rate_init": [_ABOVE_0],
        "power_t": [_FROM_0],
        "max_iter": [_FROM_1],
        "shuffle": ["boolean"],
        "random_state": ["random_state"],
        "tol": [_FROM_0],
        "verbose": ["verbose"],
        "warm_start": ["boolean"],
        "momentum": [Interval(Real, 0, 1, closed="both")],
        "nesterovs_momentum": ["boolean"],
        "early_stopping": ["boolean"],
        "validation_fraction": [_UNIT],
        "beta_1": [_UNIT],
        "beta_2": [_UNIT],
        "epsilon": [_ABOVE_0],
        "n_iter_no_change": [_FROM_1, Options(Real, {np.inf})],
        "max_fun": [_FROM_1],
        **OWN_CONSTRAINTS,
    }
    _score_name: str  # of the validation score in what callbacks see

    # -------------------------------------------------------------------------------------- what the two differ in

    @abstractmethod
    def _validate(self, X: Any, y: Any, incremental: bool, reset: bool) -> tuple[Any, Array]:
        """Return X and y as checked, y as it is split for early stopping, of two dimensions."""

    @abstractmethod
    def _engine_targets(self, y: Array, dtype: np.dtype[Any]) -> Array:
        """Return checked targets as the core takes them."""

    @abstractmethod
    def _loss_terms(self, y: Array) -> tuple[Any, float, float, Array | None, bool]:
        """Return the core's loss, factors of the gradient and of the loss, constants by row, whether p is clipped."""

    @abstractmethod
    def _out_activation(self) -> str:
        """Return the name of the output's activation."""

    @abstractmethod
    def _score_outputs(self, outputs: Array, y: Array, weights: Array | None) -> float:
        """Return the validation score."""

    @abstractmethod
    def _validation_targets(self, y: Any) -> Array:
        """Return checked targets of `validation_data`, as `_validate` gives those of the training."""

    def _row_weights(self, sample_weight: Array | None, y: Array, incremental: bool) -> Array | None:
        """Return the weights of the rows, those of their classes included."""
        return sample_weight

    def _stratify(self, y: Array) -> Array | None:
        return None

    # --------------------------------------------------------------------------------------------------------- fit

    @_fit_context(prefer_skip_nested_validation=True)  # type: ignore[untyped-decorator]
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
        """Fit to data.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Float32 is computed in float32, anything else in float64.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Targets.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows, none below 0.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For what scikit-learn refuses, and `DivergenceError` where the weights leave the finite numbers.
        """
        return self._fit(X, y, sample_weight, incremental=False)

    def _check_solver(self) -> bool:
        if self.solver not in STOCHASTIC:
            raise AttributeError(
                f"partial_fit is only available for stochastic optimizers. {self.solver} is not stochastic."
            )
        return True

    def _hidden(self) -> list[int]:
        sizes = self.hidden_layer_sizes
        sizes = list(sizes) if hasattr(sizes, "__iter__") else [sizes]
        if np.any(np.array(sizes) <= 0):
            raise ValueError(f"hidden_layer_sizes must be > 0, got {sizes}.")
        try:
            return [index(size) for size in sizes]
        except TypeError:
            raise TypeError(f"hidden_layer_sizes is {sizes}; expected whole numbers") from None

    def _fit(self, X: Any, y: Any, sample_weight: Any, incremental: bool) -> Any:
        hidden = self._hidden()
        check_own(self)
        first = not hasattr(self, "coefs_") or (not self.warm_start and not incremental)
        anew = first or self.norm != self.__dict__.get("_norm")
        with under_way(self, anew) as turn:
            X, y = self._validate(X, y, incremental, reset=first)
            if sample_weight is not None:
                sample_weight = _check_sample_weight(sample_weight, X, ensure_non_negative=True)
            if not first and y.shape[1] != self.coefs_[-1].shape[1]:
                there = self.coefs_[-1].shape[1]
                raise ValueError(f"y has {y.shape[1]} outputs; the network that training goes on with has {there}")
            self.n_outputs_ = y.shape[1]
            sizes = [X.shape[1], *hidden, self.n_outputs_]
            self._random_state = check_random_state(self.random_state)
            if first:
                self._initialize(sizes, X.dtype)
            if anew:
                self._initialize_norm(hidden)
            try:
                if self.solver == "lbfgs":
                    self._fit_lbfgs(X, y, self._row_weights(sample_weight, y, incremental), turn)
                else:
                    self._fit_stochastic(X, y, sample_weight, incremental, turn)
            except NonFiniteData:
                self._forget_solver()
                raise
        if not all(np.isfinite(array).all() for array in (*self._arrays(), *self._state())):
            raise DivergenceError(self.n_iter_, learning_rate=self.learning_rate_init)
        return self

    def _initialize(self, sizes: list[int], dtype: np.dtype[Any]) -> None:
        self.n_iter_ = 0
        self.t_ = 0
        self.n_layers_ = len(sizes)
        self.out_activation_ = self._out_activation()
        self.coefs_: list[Array] = []
        self.intercepts_: list[Array] = []
        activation: Any = self.activation
        factor = 2.0 if activation in ("logistic", "sigmoid", activations.sigmoid) else 6.0
        for n_in, n_out in pairwise(sizes):
            bound = np.sqrt(factor / (n_in + n_out))
            self.coefs_.append(self._random_state.uniform(-bound, bound, (n_in, n_out)).astype(dtype, copy=False))
            self.intercepts_.append(self._random_state.uniform(-bound, bound, n_out).astype(dtype, copy=False))
        if self.solver in STOCHASTIC:
            self._begin_records()

    def _begin_records(self) -> None:
        self.loss_curve_: list[float] = []
        self._no_improvement_count = 0
        validated = bool(self.early_stopping) or self.validation_data is not None
        self.validation_scores_: list[float] | None = [] if validated else None
        self.best_validation_score_ = -np.inf if validated else None
        self.best_loss_ = None if self.early_stopping else np.inf

    def _initialize_norm(self, hidden: list[int]) -> None:
        """Give each hidden layer its gamma and beta, and its running statistics, or take them away."""
        for name in ("gammas_", "betas_", "running_means_", "running_variances_"):
            self.__dict__.pop(name, None)
        self._norm = self.norm
        self._forget_solver()
        dtype = self.coefs_[0].dtype
        if self.norm is not None:
            self.gammas_ = [np.ones(size, dtype) for size in hidden]
            self.betas_ = [np.zeros(size, dtype) for size in hidden]
        if self.norm == "batch":
            self.running_means_ = [np.zeros(size, dtype) for size in hidden]
            self.running_variances_ = [np.ones(size, dtype) for size in hidden]

    def _arrays(self) -> list[Any]:
        """Return the weights in the order of the core."""
        if self.__dict__.get("_norm") is None:
            return [array for pair in zip(self.coefs_, self.intercepts_, strict=True) for array in pair]
        layers = zip(self.coefs_, self.intercepts_, [*self.gammas_, None], [*self.betas_, None], strict=True)
        return [array for layer in layers for array in layer if array is not None]

    def _state(self) -> list[Any]:
        """Return the running means and variances in the order of the core."""
        if self.__dict__.get("_norm") != "batch":
            return []
        return [array for pair in zip(self.running_means_, self.running_variances_, strict=True) for array in pair]

    def _set_arrays(self, arrays: list[Array], state: list[Array]) -> None:
        if isinstance(self.coefs_, tuple) or isinstance(self.intercepts_, tuple):  # as somebody has set them
            self.coefs_, self.intercepts_ = list(self.coefs_), list(self.intercepts_)
        per_layer = 2 if self.__dict__.get("_norm") is None else 4
        for layer in range(len(self.coefs_)):
            at = per_layer * layer
            self.coefs_[layer], self.intercepts_[layer] = arrays[at : at + 2]
            if per_layer == 4 and layer < len(self.gammas_):
                self.gammas_[layer], self.betas_[layer] = arrays[at + 2 : at + 4]
        if state:
            self.running_means_, self.running_variances_ = state[::2], state[1::2]

    def _model_for(self, dtype: np.dtype[Any]) -> Model:
        """Return the network in the core: the one of before, where nothing has changed but weights."""
        sizes = (len(self.coefs_[0]), *(array.shape[1] for array in self.coefs_))
        key = (sizes, self.activation, self.out_activation_, self.dropout, self.__dict__.get("_norm"))
        model: Model | None = self.__dict__.get("_model")
        if model is None or model.key != key or model.dtype != dtype:
            model = self._model = Model(key, dtype)
        return model

    def _forget_solver(self) -> None:
        self.__dict__.pop("_optimizer", None)

    def _solver(self, incremental: bool) -> Any:
        if incremental and hasattr(self, "_optimizer"):
            return self._optimizer
        schedule = deepcopy(self.schedule)  # what it gathers is this fit's
        if self.solver == "sgd":
            self._optimizer: Any = SGD(
                self.learning_rate_init,
                self.learning_rate,
                self.momentum,
                self.nesterovs_momentum,
                self.power_t,
                schedule,
            )
        else:
            self._optimizer = Adam(self.learning_rate_init, self.beta_1, self.beta_2, self.epsilon, schedule)
        return self._optimizer

    def _conventions(self, y: Array, weights: Array | None, dtype: np.dtype[Any]) -> tuple[Any, ...]:
        """Return the core's loss, what its jobs adopt, the loss's factor, constants by row, and weights up to 1."""
        loss, gradient_factor, factor, constants, clipped = self._loss_terms(y)
        largest = 1.0
        if weights is not None:
            weights = np.asarray(weights, np.float64)
            largest = float(weights.max())
            if not largest > 0:
                raise ValueError(
                    "sample_weight times class_weight is zero for all samples; expected at least one above zero"
                )
            weights = weights / largest
        adopted: dict[str, Any] = {"gradient_factor": gradient_factor, "penalty": float(self.alpha) / largest}
        if clipped:
            eps = float(np.finfo(dtype).eps)
            adopted.update(least=-float(np.log1p(-eps)), most=-float(np.log(eps)))
        return loss, adopted, factor, constants, weights

    def _split(self, X: Any, y: Array, weights: Array | None) -> tuple[Any, ...]:
        """Return training rows, targets and weights, then those held out."""
        given = (X, y) if weights is None else (X, y, weights)
        parts = train_test_split(
            *given,
            random_state=self._random_state,
            test_size=self.validation_fraction,
            stratify=self._stratify(y),
        )
        if parts[1].shape[0] < 2:
            raise ValueError(
                "The validation set is too small. Increase 'validation_fraction' or the size of your dataset."
            )
        train, held = parts[::2], parts[1::2]
        return (*train, None, *held, None) if weights is None else (*train, *held)

    def _fit_stochastic(self, X: Any, y: Array, weights: Array | None, incremental: bool, turn: Fit) -> None:
        if self.early_stopping and incremental:
            raise ValueError("partial_fit does not support early_stopping=True")
        solver = self._solver(incremental)
        early = bool(self.early_stopping)
        held: tuple[Any, Any, Any] | None = None
        if self.validation_data is not None:
            held = given_validation(self)
        elif early:
            X, y, weights, *parts = self._split(X, y, weights)
            held = (parts[0], parts[1], parts[2])
        seed = int(self._random_state.randint(np.iinfo(np.int32).max)) if self.dropout else 0
        weights = self._row_weights(weights, y, incremental)
        n = X.shape[0]
        if self.batch_size == "auto":
            batch_size = min(200, n)
        else:
            if self.batch_size > n:
                warnings.warn(
                    "Got `batch_size` less than 1 or larger than sample size. It is going to be clipped", stacklevel=5
                )
            batch_size = int(np.clip(self.batch_size, 1, n))
        dtype = self.coefs_[0].dtype if self.coefs_[0].dtype == np.float32 else np.dtype(np.float64)
        loss, adopted, factor, constants, shares = self._conventions(y, weights, dtype)
        model = self._model_for(dtype)
        turn.hold(model)
        model.load(self._arrays(), self._state())
        rows = Rows(
            model.engine,
            inputs(X, dtype),
            self._engine_targets(y, dtype),
            shares,
            loss=loss,
            conventions=adopted,
            batch_size=batch_size,
            solver=solver,
            threads=self.threads,
            seed=seed,
        )

        def loss_of(losses: float, penalties: float, order: Array | None) -> float:
            total = factor * losses + penalties
            if constants is not None:
                total += sum_of_batches(constants, shares, order, batch_size)
            return float(total / n)

        watched = not incremental and has_callbacks(self)
        watched = watched or hasattr(solver.schedule, "on_epoch_end")
        validation = watch = None
        if not hasattr(self, "loss_curve_"):  # the fit before was by lbfgs
            self._begin_records()
        if held is not None:
            self._record_scores()
            loss_held = self._validation_loss(held[1], dtype) if watched or self.validation_data is not None else None
            validation = Validation(model, *held, self._score_outputs, loss_held)
        elif self.best_loss_ is None:
            self.best_loss_ = np.inf
        if watched:
            names = ["loss"] if held is None else ["loss", "val_loss", self._score_name]
            callbacks = () if incremental else self.callbacks
            steps = -(-n // batch_size)
            watch = Watch(callbacks, model.engine, solver, epochs=self.max_iter, steps=steps, names=names)
        epochs = Epochs(self, model, rows, solver, loss_of, validation, early, watch)
        turn.ready = True
        with nullcontext() if watch is None else watch:
            epochs.run(incremental)
        if early:
            arrays, state = self._best
            self._set_arrays([array.copy() for array in arrays], [array.copy() for array in state])
        else:
            self._set_arrays(model.store(), model.state())

    def _record_scores(self) -> None:
        """Begin the records that an earlier fit, without validation, has not; look at what there is to beat."""
        if self.validation_scores_ is None:
            self.validation_scores_, self.best_validation_score_ = [], -np.inf
        if self.early_stopping:
            now = [np.array(array) for array in (*self._arrays(), *self._state())]
            best = [array for arrays in self.__dict__.get("_best", ()) for array in arrays]
            if len(best) != len(now) or not all(map(np.array_equal, best, now)):
                self.best_validation_score_ = -np.inf  # the best score was that of other weights
            self._best = now[: len(self._arrays())], now[len(self._arrays()) :]
        if not self.early_stopping and self.best_loss_ is None:
            self.best_loss_ = np.inf

    def _validation_loss(self, y: Array, dtype: np.dtype[Any]) -> Any:
        """Return what gives the mean loss of outputs for the rows that are held out."""
        loss, _, factor, constants, clipped = self._loss_terms(y)
        eps = float(np.finfo(dtype).eps) if clipped else 0.0
        aims = self._engine_targets(y, dtype)
        return lambda outputs, _, weights: mean_loss(
            outputs, aims, weights, loss=loss, factor=factor, constants=constants, eps=eps
        )

    def _own_targets(self, y: Array, dtype: np.dtype[Any], loss: Any) -> Array:
        """Return checked targets for a loss of nncore's."""
        name = NAMES.get(self.out_activation_, self.out_activation_)
        return targets.prepare(y, len(y), self.n_outputs_, activations.get(name), losses.get(loss), dtype)

    def _fit_lbfgs(self, X: Any, y: Array, weights: Array | None, turn: Fit) -> None:
        from sklearn.utils.optimize import _check_optimize_result

        from nncore.sklearn._lbfgs import Objective, minimise

        double = np.dtype(np.float64)
        loss, adopted, factor, constants, shares = self._conventions(y, weights, double)
        constant = 0.0 if constants is None else float(np.average(constants, weights=shares))
        model = Model(self._model_for(double).key, double)
        objective = Objective(
            model,
            inputs(X, double),
            self._engine_targets(y, double),
            shares,
            loss=loss,
            conventions=adopted,
            factor=factor,
            constant=constant,
            threads=self.threads,
        )
        turn.ready = True
        arrays, self.loss_, result = minimise(
            objective,
            self._arrays(),
            max_fun=self.max_fun,
            max_iter=self.max_iter,
            tol=self.tol,
            verbose=self.verbose,
        )
        self.n_iter_ = _check_optimize_result("lbfgs", result, self.max_iter)
        dtype = self.coefs_[0].dtype
        self._set_arrays([array.astype(dtype) for array in arrays], [])

    # ----------------------------------------------------------------------------------------------------- outputs

    def _outputs(self, X: Any, check_input: bool = True) -> Array:
        """Return the network's outputs of shape (n, n_outputs), as `predict` of many rows does."""
        if check_input:
            X = validate_data(self, X, accept_sparse=["csr", "csc"], reset=False)
        dtype = self.coefs_[0].dtype if self.coefs_[0].dtype == np.float32 else np.dtype(np.float64)
        model = self._model_for(dtype)
        model.load(self._arrays(), [], training=False)
        if "running_means_" in self.__dict__:  # read after the weights: where a fit ends between the two, both are its
            model.engine.set_state(self._state(), False)
        outputs = model.outputs(X)
        wanted = np.result_type(outputs.dtype, X.dtype)
        return outputs if wanted == outputs.dtype else outputs.astype(wanted)

    def _quick_outputs(self, X: Any) -> Array | None:
        """Return the outputs for a plain array of the right type and shape, else None: it takes the thorough way.

        A sum that is finite says that all numbers are, as in scikit-learn's own first look.
        """
        own = self.__dict__
        model: Model | None = own.get("_model")
        if (
            model is None
            or type(X) is not _ndarray
            or X.ndim != 2
            or X.dtype != model.dtype
            or not X.shape[0]
            or X.shape[1] != own.get("n_features_in_")
            or "feature_names_in_" in own
            or own.get("out_activation_") != model.key[2]
        ):
            return None
        if not X.flags.c_contiguous:
            X = np.ascontiguousarray(X)
        if not isfinite(_add(X.ravel(), dtype=_float64)):  # of one dimension, for which NumPy takes half the time
            return None
        arrays = self._arrays()
        if model.key[0][0] != X.shape[1] or model.key[1] != self.activation or not model.holds(arrays):
            return None
        model.views.load(False)
        if "running_means_" in own:
            model.engine.set_state(self._state(), False)
        return model.engine.predict(X)  # type: ignore[no-any-return]

    def _outputs_of(self, X: Any) -> Array:
        return consistent(self, lambda: self._outputs_now(X))  # type: ignore[no-any-return]

    def _outputs_now(self, X: Any) -> Array:
        outputs = self._quick_outputs(X)
        if outputs is None:
            check_is_fitted(self, "coefs_")
            outputs = self._outputs(X)
        return outputs

    # ------------------------------------------------------------------------------------------------------ pickle

    def __getstate__(self) -> Any:
        """Leave the core's buffers out; what they hold is in ``coefs_`` and ``intercepts_``."""
        return state_without(super().__getstate__())

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags
