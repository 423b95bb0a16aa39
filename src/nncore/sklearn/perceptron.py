"""The perceptron with scikit-learn's parameters, attributes and meaning: its rule, penalties, shuffles and stopping."""

from __future__ import annotations

import warnings
from inspect import signature
from numbers import Integral, Real
from time import perf_counter
from typing import Any

import numpy as np
from joblib import Parallel, delayed  # scikit-learn's own swap the process's warning filters, which threads share
from sklearn.base import BaseEstimator, ClassifierMixin, _fit_context
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import StratifiedShuffleSplit
from sklearn.utils import check_random_state, compute_class_weight
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.extmath import safe_sparse_dot
from sklearn.utils.multiclass import _check_partial_fit_first_call, check_classification_targets
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from nncore import engines
from nncore.sklearn._turns import Fit, consistent, state_without, under_way

Array = np.ndarray[Any, Any]

_MOST = np.iinfo(np.int32).max
_FROM_1 = Interval(Integral, 1, None, closed="left")
_FROM_0 = Interval(Real, 0, None, closed="left")
_ZEROS_REFUSED = "allow_all_zero_weights" in signature(_check_sample_weight).parameters  # from scikit-learn 1.9 on
_SPARSE_DECAY = 0.01  # of the steps of the intercept, where rows are sparse


class Perceptron(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A linear perceptron: each misjudged row, times its class and the rate, is added to the weights.

    One against the rest for more than two classes. Parameters, attributes, shuffles and the stopping rule are
    scikit-learn's, so that the same ``random_state`` gives the same weights. A row with a decision of 0 is given
    ``classes_[0]``, and counts as misjudged in training.

    Parameters
    ----------
    penalty : {"l2", "l1", "elasticnet"} or None, default=None
        What is taken off the weights at each row.
    alpha : float, default=0.0001
        Its strength.
    l1_ratio : float, default=0.15
        The share of l1 in "elasticnet".
    fit_intercept : bool, default=True
    max_iter : int, default=1000
        Most epochs.
    tol : float or None, default=1e-3
        What counts as an improvement of the mean loss, or of the validation score; None: training goes on to the end.
    shuffle : bool, default=True
    verbose : int, default=0
        Whether to print a line for each epoch.
    eta0 : float, default=1
        The rate.
    n_jobs : int or None, default=None
        How many classes are trained at once, in threads.
    random_state : int, RandomState instance or None, default=0
    early_stopping : bool, default=False
        Whether to hold rows out and end by their score.
    validation_fraction : float, default=0.1
    n_iter_no_change : int, default=5
        Epochs without an improvement after which training ends.
    class_weight : dict, "balanced" or None, default=None
        Factors of the steps of each class.
    warm_start : bool, default=False

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
    coef_ : ndarray of shape (1, n_features) or (n_classes, n_features)
    intercept_ : ndarray of shape (1,) or (n_classes,)
    n_features_in_, feature_names_in_, n_iter_, t_
        As in scikit-learn.

    Examples
    --------
    >>> clf = Perceptron().fit([[0, 0], [0, 1], [1, 0], [1, 1]], [0, 0, 0, 1])
    >>> clf.predict([[1, 1], [0, 1]]).tolist()
    [1, 0]
    """

    _parameter_constraints: dict[str, Any] = {  # noqa: RUF012
        "penalty": [StrOptions({"l2", "l1", "elasticnet"}), None],
        "alpha": [_FROM_0],
        "l1_ratio": [Interval(Real, 0, 1, closed="both")],
        "fit_intercept": ["boolean"],
        "max_iter": [_FROM_1],
        "tol": [_FROM_0, None],
        "shuffle": ["boolean"],
        "verbose": ["verbose"],
        "eta0": [Interval(Real, 0, None, closed="neither")],
        "n_jobs": [Integral, None],
        "random_state": ["random_state"],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "n_iter_no_change": [_FROM_1],
        "class_weight": [StrOptions({"balanced"}), dict, None],
        "warm_start": ["boolean"],
    }

    def __init__(
        self,
        *,
        penalty: str | None = None,
        alpha: float = 0.0001,
        l1_ratio: float = 0.15,
        fit_intercept: bool = True,
        max_iter: int = 1000,
        tol: float | None = 1e-3,
        shuffle: bool = True,
        verbose: int = 0,
        eta0: float = 1.0,
        n_jobs: int | None = None,
        random_state: Any = 0,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 5,
        class_weight: Any = None,
        warm_start: bool = False,
    ) -> None:
        self.penalty = penalty
        self.alpha = alpha
        self.l1_ratio = l1_ratio
        self.fit_intercept = fit_intercept
        self.max_iter = max_iter
        self.tol = tol
        self.shuffle = shuffle
        self.verbose = verbose
        self.eta0 = eta0
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.class_weight = class_weight
        self.warm_start = warm_start

    # --------------------------------------------------------------------------------------------------------- fit

    @_fit_context(prefer_skip_nested_validation=True)  # type: ignore[untyped-decorator]
    def fit(
        self, X: Any, y: Any, coef_init: Any = None, intercept_init: Any = None, sample_weight: Any = None
    ) -> Perceptron:
        """Fit to data.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
        y : array-like of shape (n_samples,)
        coef_init : array-like of shape (n_classes, n_features), default=None
            Weights to begin with.
        intercept_init : array-like of shape (n_classes,), default=None
        sample_weight : array-like of shape (n_samples,), default=None
            Factors of the rows' steps.

        Returns
        -------
        Perceptron
            Itself.

        Raises
        ------
        ValueError
            For what scikit-learn refuses, and where weights leave the finite numbers.
        """
        if self.warm_start:
            self._refuse_sparse()
        with under_way(self, anew=True) as turn:
            if hasattr(self, "classes_"):
                del self.classes_
            y = validate_data(self, y=y)
            check_classification_targets(y)
            classes = np.unique(y)
            if self.warm_start and hasattr(self, "coef_"):
                coef_init = self.coef_ if coef_init is None else coef_init
                intercept_init = self.intercept_ if intercept_init is None else intercept_init
            else:
                self.coef_: Any = None
                self.intercept_: Any = None
            self.t_ = 1.0
            self._train(X, y, self.max_iter, classes, sample_weight, coef_init, intercept_init, turn)
        if self.tol is not None and self.n_iter_ == self.max_iter:
            warnings.warn(
                "Maximum number of iteration reached before convergence. Consider increasing max_iter to improve "
                "the fit.",
                ConvergenceWarning,
                stacklevel=3,
            )
        return self

    @_fit_context(prefer_skip_nested_validation=True)  # type: ignore[untyped-decorator]
    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> Perceptron:
        """Train for one epoch over the rows given.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
        y : array-like of shape (n_samples,)
        classes : array-like of shape (n_classes,), default=None
            All classes that any call will have; needed in the first.
        sample_weight : array-like of shape (n_samples,), default=None

        Returns
        -------
        Perceptron
            Itself.
        """
        self._refuse_sparse()
        if not hasattr(self, "classes_"):
            if self.early_stopping:
                raise ValueError("early_stopping should be False with partial_fit")
            if self.class_weight == "balanced":
                raise ValueError(
                    "class_weight 'balanced' is not supported for partial_fit. In order to use 'balanced' weights, use "
                    "compute_class_weight('balanced', classes=classes, y=y). In place of y you can use a large enough "
                    "sample of the full training set target to properly estimate the class frequency distributions. "
                    "Pass the resulting weights as the class_weight parameter."
                )
        with under_way(self, anew=not hasattr(self, "classes_")) as turn:
            self._train(X, y, 1, classes, sample_weight, None, None, turn)
        return self

    def _refuse_sparse(self) -> None:
        if hasattr(getattr(self, "coef_", None), "toarray"):
            raise ValueError("coef_ is sparse, as sparsify leaves it; call densify before further training")

    def _train(
        self,
        X: Any,
        y: Any,
        max_iter: int,
        classes: Any,
        sample_weight: Any,
        coef_init: Any,
        intercept_init: Any,
        turn: Fit,
    ) -> None:
        first = not hasattr(self, "classes_")
        X, y = validate_data(
            self,
            X,
            y,
            accept_sparse="csr",
            dtype=[np.float64, np.float32],
            order="C",
            accept_large_sparse=False,
            reset=first,
        )
        _check_partial_fit_first_call(self, classes)
        n_classes = len(self.classes_)
        factors = compute_class_weight(self.class_weight, classes=self.classes_, y=y)
        zeros = {"allow_all_zero_weights": True} if self.early_stopping and _ZEROS_REFUSED else {}
        sample_weight = _check_sample_weight(sample_weight, X, dtype=X.dtype, **zeros)
        if n_classes < 2:
            raise ValueError(f"The number of classes has to be greater than one; got {n_classes} class")
        if getattr(self, "coef_", None) is None or coef_init is not None:
            self._allocate(n_classes if n_classes > 2 else 1, X.shape[1], X.dtype, coef_init, intercept_init)
        elif X.shape[1] != self.coef_.shape[-1]:
            raise ValueError(f"Number of features {X.shape[1]} does not match previous data {self.coef_.shape[-1]}.")
        if not hasattr(self, "t_"):
            self.t_ = 1.0
        turn.ready = True
        if n_classes == 2:
            self.n_iter_ = self._fit_one(
                0, X, y == self.classes_[1], max_iter, factors[1], factors[0], sample_weight, None, self.random_state
            )
        else:
            held = self._held_out(y, sample_weight)
            seeds = check_random_state(self.random_state).randint(_MOST, size=n_classes)
            epochs = Parallel(n_jobs=self.n_jobs, verbose=self.verbose, require="sharedmem")(
                delayed(self._fit_one)(
                    k, X, y == self.classes_[k], max_iter, factors[k], 1.0, sample_weight, held, seed
                )
                for k, seed in enumerate(seeds)
            )
            self.n_iter_ = max(epochs)
        self.t_ += self.n_iter_ * X.shape[0]

    def _allocate(self, rows: int, n_features: int, dtype: Any, coef_init: Any, intercept_init: Any) -> None:
        if coef_init is None:
            self.coef_ = np.zeros((rows, n_features), dtype)
        else:
            coef = np.array(coef_init, dtype, order="C")
            if coef.shape != (rows, n_features) and not (rows == 1 and coef.size == n_features):
                raise ValueError("Provided coef_init does not match dataset.")
            self.coef_ = coef.reshape(rows, n_features)
        if intercept_init is None:
            self.intercept_ = np.zeros(rows, dtype)
        else:
            intercept = np.array(intercept_init, dtype)
            if intercept.shape != (rows,) and not (rows == 1 and intercept.shape == ()):
                raise ValueError("Provided intercept_init does not match dataset.")
            self.intercept_ = intercept.reshape(rows)

    def _held_out(self, y: Array, sample_weight: Array) -> Array | None:
        """Return which rows are held out, as bytes."""
        if not self.early_stopping:
            return None
        split = StratifiedShuffleSplit(test_size=self.validation_fraction, random_state=self.random_state)
        train, held = next(split.split(np.zeros((len(y), 1)), y))
        if not np.any(sample_weight[held] > 0):
            raise ValueError(
                "The sample weights for validation set are all zero, consider using a different random state."
            )
        if not len(train) or not len(held):
            raise ValueError(
                f"Splitting {len(y)} samples into a train set and a validation set with validation_fraction="
                f"{self.validation_fraction!r} led to an empty set ({len(train)} and {len(held)} samples). Please "
                "either change validation_fraction, increase number of samples, or disable early_stopping."
            )
        mask = np.zeros(len(y), np.uint8)
        mask[held] = 1
        return mask

    def _fit_one(
        self,
        index: int,
        X: Any,
        positive: Array,
        max_iter: int,
        factor_positive: float,
        factor_negative: float,
        sample_weight: Array,
        held: Array | None,
        random_state: Any,
    ) -> int:
        """Train one row of the weights; return the number of epochs."""
        y = np.where(positive, 1.0, -1.0)
        state = check_random_state(random_state)
        state.randint(1, _MOST)  # scikit-learn's data set draws here
        if held is None:
            held = self._held_out(y, sample_weight)
        seed = int(state.randint(_MOST))
        weights = np.where(positive, factor_positive, factor_negative).astype(X.dtype) * sample_weight
        sparse = hasattr(X, "tocsr")
        w = np.array(self.coef_[index], order="C")  # what others see meanwhile has its scale
        l1_ratio = {"l2": 0.0, "l1": 1.0, "elasticnet": float(self.l1_ratio or 0.0)}.get(str(self.penalty), 0.0)
        run = engines.core().PerceptronRun(
            (X.data, X.indices.astype(np.int32, copy=False), X.indptr.astype(np.int64)) if sparse else X,
            y,
            np.asarray(weights, np.float64),
            w,
            intercept=float(self.intercept_[index]),
            penalty_alpha=float(self.alpha),
            l1_ratio=l1_ratio,
            penalised=self.penalty is not None,
            rate=float(self.eta0),
            fit_intercept=bool(self.fit_intercept),
            shuffle=bool(self.shuffle),
            seed=seed,
            intercept_decay=_SPARSE_DECAY if sparse else 1.0,
            held=held,
        )
        n_train = X.shape[0] if held is None else int((held == 0).sum())
        rows_held = None if held is None else held.astype(bool)
        tol = -np.inf if self.tol is None else self.tol
        best, count, epoch = np.inf, 0, 0
        began = perf_counter()
        for epoch in range(1, max_iter + 1):
            loss = run.epoch() / n_train
            if not np.isfinite(w).all() or not np.isfinite(run.intercept):
                raise ValueError(
                    f"Floating-point under-/overflow occurred at epoch #{epoch}. Scaling input data with "
                    "StandardScaler or MinMaxScaler might help."
                )
            if self.verbose:
                at = w * run.scale
                print(
                    f"-- Epoch {epoch}\nNorm: {np.linalg.norm(at):.2f}, NNZs: {np.count_nonzero(at)}, "
                    f"Bias: {run.intercept:.6f}, T: {epoch * n_train}, Avg. loss: {run.loss / n_train:f}, "
                    f"Objective: {loss:f}",
                    end="\n" if held is None else "",
                )
            if rows_held is not None:  # a score, which is to grow
                scores = safe_sparse_dot(X[rows_held], w) + run.intercept
                loss = -float(np.average((scores > 0) == (y[rows_held] > 0), weights=sample_weight[rows_held]))
                if self.verbose:
                    print(f", Validation score: {-loss:f}")
            if self.verbose:
                print(f"Total training time: {perf_counter() - began:.2f} seconds.")
            count = count + 1 if tol > -np.inf and loss > best - tol else 0
            best = min(best, loss)
            if count >= self.n_iter_no_change:
                if self.verbose:
                    print(f"Convergence after {epoch} epochs took {perf_counter() - began:.2f} seconds")
                break
        self.coef_[index] = w * w.dtype.type(run.scale)
        if len(self.intercept_) == 1:
            self.intercept_ = np.array([run.intercept])  # in float64, as scikit-learn leaves it
        else:
            self.intercept_[index] = run.intercept
        return epoch

    # ----------------------------------------------------------------------------------------------------- outputs

    def decision_function(self, X: Any) -> Array:
        """Return X W + b.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_classes)
        """
        return consistent(self, lambda: self._scores(X))  # type: ignore[no-any-return]

    def _scores(self, X: Any) -> Array:
        check_is_fitted(self)
        X = validate_data(self, X, accept_sparse="csr", reset=False)
        scores: Array = safe_sparse_dot(X, self.coef_.T, dense_output=True) + self.intercept_
        return scores.ravel() if scores.shape[1] == 1 else scores

    def predict(self, X: Any) -> Array:
        """Return the classes of rows; at a decision of 0 it is ``classes_[0]``.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,)
        """
        return consistent(self, lambda: self._classes_of(self._scores(X)))  # type: ignore[no-any-return]

    def _classes_of(self, scores: Array) -> Array:
        indices = (scores > 0).astype(np.intp) if scores.ndim == 1 else scores.argmax(axis=1)
        classes: Array = self.classes_[indices]
        return classes

    def densify(self) -> Perceptron:
        """Make ``coef_`` a dense array again.

        Returns
        -------
        Perceptron
            Itself.
        """
        check_is_fitted(self)
        if hasattr(self.coef_, "toarray"):
            self.coef_ = self.coef_.toarray()
        return self

    def sparsify(self) -> Perceptron:
        """Make ``coef_`` a CSR matrix, which takes less memory where "l1" has left many zeros.

        Returns
        -------
        Perceptron
            Itself.
        """
        from scipy.sparse import csr_matrix

        check_is_fitted(self)
        self.coef_ = csr_matrix(self.coef_)
        return self

    def __getstate__(self) -> Any:
        """Leave out what says that a fit is under way."""
        return state_without(super().__getstate__())

    def __sklearn_is_fitted__(self) -> bool:
        """Say whether there are weights; looking through all attributes is no use beside a fit that adds some."""
        return "coef_" in self.__dict__

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags
