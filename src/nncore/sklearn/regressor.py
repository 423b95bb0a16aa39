"""The regressor with scikit-learn's parameters, attributes and meaning."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import xlogy
from sklearn.base import RegressorMixin, _fit_context
from sklearn.metrics import r2_score
from sklearn.utils import column_or_1d
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_array, validate_data

from nncore import losses
from nncore.sklearn.base import BaseMLP

Array = np.ndarray[Any, Any]


class MLPRegressor(RegressorMixin, BaseMLP):  # type: ignore[misc]
    """A multi-layer perceptron for numbers, computed by nncore's core.

    The parameters have scikit-learn's names, defaults and meaning, and the same ``random_state`` gives the same network
    as there, but for rounding.

    Parameters
    ----------
    loss : {"squared_error", "poisson"} or another of nncore's, default="squared_error"
        Half the squared error, or half the Poisson deviance with an exponential output. The gradient is that of the sum
        over the outputs, while the squared error that is recorded is their mean. Of `nncore.losses` "mse", "mae",
        "huber", "quantile" and "cosine", objects of these and of Poisson, with nncore's meaning: the mean over rows and
        outputs; or a function ``loss(pred, target)`` that returns the loss of each row and the gradient of their mean.
    hidden_layer_sizes, activation, solver, alpha, batch_size, learning_rate, learning_rate_init, power_t, max_iter
        As of `MLPClassifier`.
    shuffle, random_state, tol, verbose, warm_start, momentum, nesterovs_momentum, early_stopping, validation_fraction
        As of `MLPClassifier`.
    beta_1, beta_2, epsilon, n_iter_no_change, max_fun
        As of `MLPClassifier`.
    dropout, norm, schedule, callbacks, validation_data, threads
        As of `MLPClassifier`; the validation score is called "val_r2".

    Attributes
    ----------
    coefs_, intercepts_, loss_, best_loss_, loss_curve_, n_iter_, t_, n_features_in_, feature_names_in_, n_layers_
        As of `MLPClassifier`.
    n_outputs_, out_activation_
        As of `MLPClassifier`.
    validation_scores_, best_validation_score_ : list of float, float
        Coefficients of determination on the rows held out; None where there are none.
    gammas_, betas_, running_means_, running_variances_
        As of `MLPClassifier`.

    Examples
    --------
    >>> reg = MLPRegressor(solver="lbfgs", random_state=1).fit([[0.0], [1.0], [2.0]], [1.0, 3.0, 5.0])
    >>> round(float(reg.predict([[1.5]])[0]), 1)
    4.0
    """

    _parameter_constraints: dict[str, Any] = {  # noqa: RUF012
        **BaseMLP._parameter_constraints,
        "loss": [StrOptions({"squared_error", "poisson", "mse", "mae", "huber", "quantile", "cosine"}), callable],
    }
    _score_name = "val_r2"

    def __init__(
        self,
        loss: Any = "squared_error",
        hidden_layer_sizes: Any = (100,),
        activation: str = "relu",
        *,
        solver: str = "adam",
        alpha: float = 0.0001,
        batch_size: int | str = "auto",
        learning_rate: str = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: bool = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float = 10,
        max_fun: int = 15000,
        dropout: float = 0.0,
        norm: str | None = None,
        schedule: Any = None,
        callbacks: Any = (),
        validation_data: Any = None,
        threads: int | None = None,
    ) -> None:
        self.loss = loss
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.solver = solver
        self.alpha = alpha
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.learning_rate_init = learning_rate_init
        self.power_t = power_t
        self.max_iter = max_iter
        self.shuffle = shuffle
        self.random_state = random_state
        self.tol = tol
        self.verbose = verbose
        self.warm_start = warm_start
        self.momentum = momentum
        self.nesterovs_momentum = nesterovs_momentum
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.n_iter_no_change = n_iter_no_change
        self.max_fun = max_fun
        self.dropout = dropout
        self.norm = norm
        self.schedule = schedule
        self.callbacks = callbacks
        self.validation_data = validation_data
        self.threads = threads

    def _validate(self, X: Any, y: Any, incremental: bool, reset: bool) -> tuple[Any, Array]:
        X, y = validate_data(
            self,
            X,
            y,
            accept_sparse=["csr", "csc"],
            multi_output=True,
            y_numeric=True,
            dtype=(np.float64, np.float32),
            reset=reset,
        )
        if hasattr(X, "tocsr"):
            X = X.tocsr()
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        return X, y.reshape(len(y), -1)

    def _validation_targets(self, y: Any) -> Array:
        y = check_array(y, ensure_2d=False, dtype=(np.float64, np.float32), input_name="y of validation_data")
        columns = 1 if y.ndim == 1 else y.shape[1]
        if columns != self.n_outputs_:
            raise ValueError(f"validation_data has {columns} targets a row; expected {self.n_outputs_}")
        numbers: Array = y.reshape(len(y), -1)
        return numbers

    def _own_loss(self) -> bool:
        return not (isinstance(self.loss, str) and self.loss in ("squared_error", "poisson"))

    def _engine_targets(self, y: Array, dtype: np.dtype[Any]) -> Array:
        if self._own_loss():
            return self._own_targets(y, dtype, self.loss)
        return np.ascontiguousarray(y, dtype)

    def _loss_terms(self, y: Array) -> tuple[Any, float, float, Array | None, bool]:
        if self._own_loss():
            name = losses.get(self.loss).name
            if name not in ("mse", "mae", "huber", "quantile", "cosine", "poisson", "own"):
                raise ValueError(f"loss is {name!r}, which is for classes; expected one for numbers, such as 'huber'")
            return self.loss, 1.0, 1.0, None, False
        n_outputs = float(y.shape[1])
        if self.loss == "poisson":
            return "poisson", n_outputs, n_outputs, (xlogy(y, y) - y).sum(axis=1, dtype=np.float64), False
        return "mse", 0.5 * n_outputs, 0.5, None, False

    def _out_activation(self) -> str:
        poisson = losses.get(self.loss).name == "poisson" if self._own_loss() else self.loss == "poisson"
        return "exp" if poisson else "identity"

    def _score_outputs(self, outputs: Array, y: Array, weights: Array | None) -> float:
        if not np.isfinite(outputs).all():
            return float("nan")
        return float(r2_score(y, outputs, sample_weight=weights))

    def predict(self, X: Any) -> Array:
        """Return the outputs for rows.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_outputs)
        """
        outputs = self._outputs_of(X)
        return outputs.ravel() if outputs.shape[1] == 1 else outputs

    @available_if(lambda estimator: estimator._check_solver())  # type: ignore[untyped-decorator]
    @_fit_context(prefer_skip_nested_validation=True)  # type: ignore[untyped-decorator]
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> MLPRegressor:
        """Train for one epoch over the rows given.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        sample_weight : array-like of shape (n_samples,), default=None

        Returns
        -------
        MLPRegressor
            Itself.
        """
        fitted: MLPRegressor = self._fit(X, y, sample_weight, incremental=True)
        return fitted
