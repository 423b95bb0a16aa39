"""The classifier with scikit-learn's parameters, attributes and meaning."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import ClassifierMixin, _fit_context
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils import column_or_1d
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.class_weight import compute_class_weight, compute_sample_weight
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import _check_partial_fit_first_call, type_of_target, unique_labels
from sklearn.utils.validation import check_array, validate_data

from nncore import losses
from nncore.sklearn._own import check_class_weight
from nncore.sklearn._turns import consistent
from nncore.sklearn.base import BaseMLP

Array = np.ndarray[Any, Any]
_empty = np.empty


class MLPClassifier(ClassifierMixin, BaseMLP):  # type: ignore[misc]
    """A multi-layer perceptron that minimises the log-loss, computed by nncore's core.

    The parameters have scikit-learn's names, defaults and meaning, and the same ``random_state`` gives the same network
    as there, but for rounding.

    Parameters
    ----------
    hidden_layer_sizes : int or array-like of int, default=(100,)
        Units of each hidden layer.
    activation : {"identity", "logistic", "tanh", "relu"} or another of nncore's, default="relu"
        Of the hidden layers: any name or object of `nncore.activations` but softmax.
    solver : {"lbfgs", "sgd", "adam"}, default="adam"
        L-BFGS takes all rows at once, the others batches.
    alpha : float, default=0.0001
        Strength of the penalty alpha / (2 n) |W|^2, n being the rows of a batch or the sum of their weights. It is part
        of ``loss_curve_``.
    batch_size : int or "auto", default="auto"
        "auto" is min(200, number of rows).
    learning_rate : {"constant", "invscaling", "adaptive"}, default="constant"
        Of "sgd".
    learning_rate_init : float, default=0.001
        The first rate, for "sgd" and "adam".
    power_t : float, default=0.5
        Exponent of "invscaling".
    max_iter : int, default=200
        Most epochs, or iterations of L-BFGS.
    shuffle : bool, default=True
        Whether each epoch takes the rows in another order.
    random_state : int, RandomState instance or None, default=None
        Initial weights, the split for early stopping and shuffles, drawn in scikit-learn's order.
    tol : float, default=1e-4
        What counts as an improvement.
    verbose : bool, default=False
        Whether to print a line for each epoch.
    warm_start : bool, default=False
        Whether `fit` begins with the weights there are.
    momentum : float, default=0.9
        Of "sgd".
    nesterovs_momentum : bool, default=True
        Whether that is Nesterov's.
    early_stopping : bool, default=False
        Whether to hold rows out and end when their score no longer improves; the best weights are kept.
    validation_fraction : float, default=0.1
        Part of the rows that is held out.
    beta_1, beta_2, epsilon : float, default=0.9, 0.999, 1e-8
        Of "adam".
    n_iter_no_change : int, default=10
        Epochs without an improvement after which training ends.
    max_fun : int, default=15000
        Most evaluations of the loss, for "lbfgs".
    dropout : float, default=0.0
        Part of each hidden layer's outputs that is left out in each step. This and what follows is nncore's own.
    norm : {"batch", "layer"} or None, default=None
        A normalisation in each hidden layer, between the weighted sums and the activation.
    loss : str, Loss, callable or None, default=None
        None is the log-loss. Of `nncore.losses` "cross_entropy" (three classes or more), "bce" (two, or several labels
        a row), "mse", "mae" and "huber", objects of these, or a function ``loss(pred, target)`` of rows of
        probabilities that returns the loss of each row and the gradient of their mean.
    schedule : callable or None, default=None
        The rate of each update from its number: of `nncore.schedules`, or a function. It takes the place of
        `learning_rate` and `learning_rate_init`.
    class_weight : dict, list of dict, "balanced" or None, default=None
        Factors of the rows' weights in the loss, by class, as everywhere in scikit-learn.
    callbacks : Callback or list or tuple of these, default=()
        Of `nncore.callbacks`, or your own: `fit`, but not `partial_fit`, calls ``on_epoch_end(epoch, logs)``, with
        "loss" and, where rows are held out, "val_loss" and "val_accuracy" in `logs`. What they hold is not copied.
    validation_data : tuple (X, y) or (X, y, sample_weight), default=None
        Rows whose score is recorded after each epoch; with `early_stopping` in place of a part of the training rows.
    threads : int or None, default=None
        Most threads that training takes; None for what `nncore.set_num_threads` says.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The labels; for several labels a row a list of such.
    coefs_, intercepts_ : list of ndarray
        Weights of shape (n_in, n_out) and biases of each layer, in X's dtype. Writing into them changes the network.
    loss_, best_loss_ : float
        The last and the lowest loss; `best_loss_` is None with early stopping.
    loss_curve_ : list of float
        The loss of each epoch.
    validation_scores_, best_validation_score_ : list of float, float
        Accuracies on the rows held out; None where there are none.
    gammas_, betas_ : list of ndarray
        Factors and offsets of the normalised hidden layers; only with `norm`.
    running_means_, running_variances_ : list of ndarray
        What "batch" normalises new rows by.
    n_iter_, t_ : int
        Epochs run by the last `fit`; rows seen in all.
    n_features_in_, feature_names_in_, n_layers_, n_outputs_, out_activation_
        As in scikit-learn.

    Examples
    --------
    >>> X, y = [[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]], [0, 1, 1, 0]
    >>> clf = MLPClassifier(solver="lbfgs", activation="tanh", random_state=1).fit(X, y)
    >>> clf.predict(X).tolist()
    [0, 1, 1, 0]
    """

    _parameter_constraints: dict[str, Any] = {  # noqa: RUF012
        **BaseMLP._parameter_constraints,
        "loss": [StrOptions({"cross_entropy", "bce", "mse", "mae", "huber"}), callable, None],
        "class_weight": [dict, list, StrOptions({"balanced"}), None],
    }
    _score_name = "val_accuracy"

    def __init__(
        self,
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
        loss: Any = None,
        schedule: Any = None,
        class_weight: Any = None,
        callbacks: Any = (),
        validation_data: Any = None,
        threads: int | None = None,
    ) -> None:
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
        self.loss = loss
        self.schedule = schedule
        self.class_weight = class_weight
        self.callbacks = callbacks
        self.validation_data = validation_data
        self.threads = threads

    # ----------------------------------------------------------------------------------------------------- targets

    def _validate(self, X: Any, y: Any, incremental: bool, reset: bool) -> tuple[Any, Array]:
        X, y = validate_data(
            self,
            X,
            y,
            accept_sparse=["csr", "csc"],
            multi_output=True,
            dtype=(np.float64, np.float32),
            reset=reset,
        )
        if hasattr(X, "tocsr"):
            X = X.tocsr()
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        if not hasattr(self, "classes_") or (not self.warm_start and not incremental):
            self._label_binarizer = LabelBinarizer().fit(y)
            self.classes_ = self._label_binarizer.classes_
        else:
            classes = unique_labels(y)
            if self.warm_start:
                if set(classes) != set(self.classes_):
                    raise ValueError(
                        "warm_start can only be used where `y` has the same classes as in the previous call to fit. "
                        f"Previously got {self.classes_}, `y` has {classes}"
                    )
            elif len(np.setdiff1d(classes, self.classes_, assume_unique=True)):
                raise ValueError(
                    f"`y` has classes not in `self.classes_`. `self.classes_` has {self.classes_}. 'y' has {classes}."
                )
        indicators: Array = self._label_binarizer.transform(y)
        return X, indicators.astype(bool)

    def _validation_targets(self, y: Any) -> Array:
        y = check_array(y, ensure_2d=False, dtype=None, input_name="y of validation_data")
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y)
        unknown = np.setdiff1d(unique_labels(y), self.classes_)
        if len(unknown):
            raise ValueError(f"validation_data has the class {unknown[0]}; expected some of {self.classes_}")
        indicators: Array = self._label_binarizer.transform(y)
        return indicators.astype(bool)

    def _row_weights(self, sample_weight: Array | None, y: Array, incremental: bool) -> Array | None:
        if self.class_weight is None:
            return sample_weight
        check_class_weight(self.class_weight, self._label_binarizer.y_type_.startswith("multilabel"))
        if incremental and self.class_weight == "balanced":
            raise ValueError(
                "class_weight 'balanced' is not supported for partial_fit. In order to use 'balanced' weights, use "
                "compute_class_weight('balanced', classes=classes, y=y) over all rows, and pass the resulting weights "
                "as the class_weight parameter."
            )
        if self._label_binarizer.y_type_.startswith("multilabel"):
            factors = compute_sample_weight(self.class_weight, y.astype(int))
        else:
            index = y.argmax(axis=1) if y.shape[1] > 1 else y[:, 0].astype(int)
            labels = self.classes_[index]
            of_classes = np.ones(len(self.classes_))
            there = np.unique(index)
            given = self.classes_ if isinstance(self.class_weight, dict) else self.classes_[there]
            found = compute_class_weight(self.class_weight, classes=given, y=labels, sample_weight=sample_weight)
            of_classes[slice(None) if len(given) == len(of_classes) else there] = found
            factors = of_classes[index]
        weights: Array = factors if sample_weight is None else factors * sample_weight
        return weights

    def _engine_targets(self, y: Array, dtype: np.dtype[Any]) -> Array:
        if self.loss is not None:
            if self.out_activation_ == "softmax" and losses.get(self.loss).name == "cross_entropy":
                return self._own_targets(y.argmax(axis=1).reshape(-1, 1), dtype, self.loss)
            return self._own_targets(y.astype(dtype), dtype, self.loss)
        if self.out_activation_ == "softmax":
            classes: Array = y.argmax(axis=1).astype(np.int32)
            return classes
        numbers: Array = y.astype(dtype)
        return numbers

    def _loss_terms(self, y: Array) -> tuple[Any, float, float, Array | None, bool]:
        if self.loss is not None:
            fits = ("cross_entropy" if self.out_activation_ == "softmax" else "bce", "mse", "mae", "huber", "own")
            name = losses.get(self.loss).name
            if name not in fits:
                raise ValueError(
                    f"loss is {name!r}; these labels take {', '.join(map(repr, fits[:-1]))}, or a function"
                )
            return self.loss, 1.0, 1.0, None, False
        if self.out_activation_ == "softmax":
            return "cross_entropy", 1.0, 1.0, None, True
        n_outputs = float(y.shape[1])
        return "bce", n_outputs, n_outputs, None, True

    def _out_activation(self) -> str:
        return "softmax" if self._label_binarizer.y_type_ == "multiclass" else "logistic"

    def _stratify(self, y: Array) -> Array | None:
        return y if self.n_outputs_ == 1 else None

    def _score_outputs(self, outputs: Array, y: Array, weights: Array | None) -> float:
        if not np.isfinite(outputs).all():
            return float("nan")
        if len(self.classes_) == 1:  # the only answer, whatever the output
            right = np.ones(len(y), bool)
        elif self.out_activation_ == "softmax":
            right = outputs.argmax(axis=1) == y.argmax(axis=1)
        else:
            right = ((outputs > 0.5) == y).all(axis=1)
        return float(np.average(right, weights=weights))

    # ----------------------------------------------------------------------------------------------------- outputs

    def predict(self, X: Any) -> Array:
        """Return the classes of rows.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_classes)
        """
        return consistent(self, lambda: self._classes_of(self._outputs_now(X)))  # type: ignore[no-any-return]

    def _classes_of(self, outputs: Array) -> Array:
        classes: Array = self._label_binarizer.inverse_transform(outputs.ravel() if self.n_outputs_ == 1 else outputs)
        return classes

    def predict_proba(self, X: Any) -> Array:
        """Return the probabilities of the classes, in the order of ``classes_``.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
        """
        outputs = self._outputs_of(X)
        if outputs.shape[1] > 1:
            return outputs
        both: Array = _empty((len(outputs), 2), outputs.dtype)
        both[:, 1:] = outputs
        np.subtract(1, outputs, out=both[:, :1])
        return both

    def predict_log_proba(self, X: Any) -> Array:
        """Return the logarithms of `predict_proba`.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
        """
        probabilities = self.predict_proba(X)
        logarithms: Array = np.log(probabilities, out=probabilities)
        return logarithms

    @available_if(lambda estimator: estimator._check_solver())  # type: ignore[untyped-decorator]
    @_fit_context(prefer_skip_nested_validation=True)  # type: ignore[untyped-decorator]
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None, classes: Any = None) -> MLPClassifier:
        """Train for one epoch over the rows given.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
        y : array-like of shape (n_samples,)
        sample_weight : array-like of shape (n_samples,), default=None
        classes : array-like of shape (n_classes,), default=None
            All classes that any call will have; needed in the first.

        Returns
        -------
        MLPClassifier
            Itself.
        """
        if _check_partial_fit_first_call(self, classes):
            labels = y if type_of_target(y).startswith("multilabel") else classes
            self._label_binarizer = LabelBinarizer().fit(labels)
        fitted: MLPClassifier = self._fit(X, y, sample_weight, incremental=True)
        return fitted

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags
