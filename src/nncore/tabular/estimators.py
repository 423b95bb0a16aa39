"""The estimators for tables: raw frames in, classes or numbers out."""

from __future__ import annotations

import warnings
from typing import Any, Self

import numpy as np

from nncore.activations import Activation
from nncore.metrics import r2
from nncore.tabular import frames, targets
from nncore.tabular.base import TabularBase, used

Array = np.ndarray[Any, Any]


class TabularClassifier(TabularBase):
    """Classes from raw tables: an ensemble of small networks that prepares its columns itself.

    Numbers are scaled by median and interquartile range, squashed, and encoded by quantiles; booleans, dates and
    times, categories and strings are turned into numbers, missing values filled in and marked; all of it is remembered
    from `fit`, columns by name. Strings that are all numbers or ISO dates are read as such.

    Parameters
    ----------
    hidden : int or sequence of int, default (128, 64)
        Sizes of the hidden layers.
    members : int, optional
        Networks whose mean output is the prediction: None takes 8, and 4 above 10,000 rows. Member i is trained without
        fold i of max(5, members) folds of the rows, and ends with the weights that did best on it; with under 10 rows
        nothing is held out.
    epochs : int, optional
        At most so many. None takes 100, and above 5,000 rows as many as see 500,000 rows, but 10.
    batch_size : int, optional
        Rows of a step. None takes an eighth of the rows, but 8 to 64, and 128 above 10,000 rows.
    patience : int, default 25
        After how many epochs without improvement on the rows held out a member ends.
    learning_rate : float, default 3e-3
        Of AdamW, lowered to 0 along a cosine.
    weight_decay : float, default 0.05
        Of AdamW.
    dropout : float, default 0.1
        Rate of the dropout behind each hidden layer.
    activation : str or Activation, default "relu"
        Of the hidden layers: a name or an object of `nncore.activations`.
    n_bins : int, default 16
        Into how many quantiles columns of numbers and dates are cut for a piecewise-linear encoding; under 2 for none.
    min_count : int, default 5
        Categories with fewer rows are pooled, and stand for those that training has not met; with under 100 rows, those
        with fewer than a twentieth of them.
    max_one_hot : int, default 12
        Up to how many categories a column is made one-hot; above them their numbers are learned (`nn.Columns`).
    seed : int, default 0
        Key of all random numbers: the same seed and data give the same bits, for any number of threads.
    threads : int, optional
        Upper bound for the number of threads.
    dtype, backend
        As for `nn.Sequential`.
    verbose : int, default 0
        Whether to print a line for each epoch.
    class_weight : dict of class to float, or "balanced", optional
        Weights of the classes, times `sample_weight`; a class that is not named weighs 1. "balanced" is n / (k count)
        for n rows of k classes.

    Attributes
    ----------
    classes_ : ndarray
        The classes, sorted.
    n_features_in_ : int
        Columns of X.
    feature_names_in_ : ndarray of str
        Their names, where all have one that is a string.
    networks_ : list of Sequential
        The members; none where y has a single class.

    Examples
    --------
    >>> import nncore as nn
    >>> X = {"size": [1.0, 2, None, 8, 9, 9] * 5, "colour": ["red", "red", "blue", "blue", None, "blue"] * 5}
    >>> y = ["a", "a", "a", "b", "b", "b"] * 5
    >>> model = nn.TabularClassifier().fit(X, y)
    >>> model.predict({"colour": ["green"], "size": [9]})
    array(['b'], dtype=object)
    """

    _estimator_type = "classifier"

    def __init__(
        self,
        hidden: Any = (128, 64),
        *,
        members: int | None = None,
        epochs: int | None = None,
        batch_size: int | None = None,
        patience: int = 25,
        learning_rate: float = 3e-3,
        weight_decay: float = 0.05,
        dropout: float = 0.1,
        activation: str | Activation = "relu",
        n_bins: int = 16,
        min_count: int = 5,
        max_one_hot: int = 12,
        class_weight: Any = None,
        seed: int = 0,
        threads: int | None = None,
        dtype: str = "float32",
        backend: str | None = None,
        verbose: int = 0,
    ) -> None:
        super().__init__(
            hidden,
            members=members,
            epochs=epochs,
            batch_size=batch_size,
            patience=patience,
            learning_rate=learning_rate,
            weight_decay=weight_decay,
            dropout=dropout,
            activation=activation,
            n_bins=n_bins,
            min_count=min_count,
            max_one_hot=max_one_hot,
            seed=seed,
            threads=threads,
            dtype=dtype,
            backend=backend,
            verbose=verbose,
        )
        self.class_weight = class_weight

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train anew.

        Parameters
        ----------
        X : frame, array_like, or mapping of name to column
            A pandas or polars frame, an Arrow table, an array of two dimensions and any dtype, a list of rows, or a
            dict of columns; never modified.
        y : array_like of shape (n,)
            Classes: strings, bools, whole numbers, categories or dates.
        sample_weight : array_like of shape (n,), optional
            A weight for each row, at least 0; rows of weight 0 have no part in anything.

        Returns
        -------
        TabularClassifier
            Itself.

        Raises
        ------
        TypeError, ValueError
            If an argument or a parameter does not fit; what was trained before stays.

        Warns
        -----
        UserWarning
            If y has a single class, which is then always the answer.
        """
        table = frames.read(X)
        classes, codes = targets.classes_of(y, table.n_rows)
        weights = targets.weights_of(sample_weight, table.n_rows)
        table, codes, weights = used(table, codes, weights)
        by_class = targets.class_weights(self.class_weight, classes, codes)
        if by_class is not None:
            weights = by_class if weights is None else weights * by_class
            if not (weights > 0).any():
                raise ValueError("class_weight and sample_weight leave all rows with weight 0; expected some above 0")
            table, codes, weights = used(table, codes, weights)
        counts = np.bincount(codes, weights, minlength=len(classes))
        single = int((counts > 0).sum()) < 2
        if single:
            warnings.warn("y has a single class; it is always the answer", UserWarning, stacklevel=2)
        self._fit(table, codes, weights, 0 if single else len(classes))
        self._prior = counts / counts.sum()
        self.classes_ = classes
        return self

    def predict_proba(self, X: Any) -> Array:
        """Return each class's probability, (n, k) in the order of `classes_`, float64.

        Parameters
        ----------
        X : frame, array_like, or mapping of name to column
            As for `fit`. Columns are taken by name where both tables have names.

        Raises
        ------
        ValueError
            If columns are missing, unknown or of another kind, or `fit` has not been called.
        """
        outputs, n_rows = self._outputs(X)
        if outputs is None:
            return np.tile(self._prior, (n_rows, 1))
        shares: Array = outputs / outputs.sum(axis=1, keepdims=True)
        return shares

    def predict(self, X: Any) -> Array:
        """Return each row's most probable class, (n,); see `predict_proba`."""
        chosen = self.predict_proba(X).argmax(axis=1)
        return np.asarray(self.classes_[chosen])

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return the accuracy: the part of the rows, by weight, whose class is predicted."""
        predicted = self.predict(X)
        right = targets.same_labels(predicted, y)
        return float(np.average(right, weights=targets.weights_of(sample_weight, len(predicted))))


class TabularRegressor(TabularBase):
    """Numbers from raw tables: an ensemble of small networks that prepares its columns itself.

    Columns are prepared as by `TabularClassifier`; y is standardised for training and predictions are in its units.
    The mean squared error is minimised.

    Parameters
    ----------
    hidden, members, epochs, batch_size, patience, learning_rate, weight_decay, dropout, activation, n_bins, min_count,
    max_one_hot, seed, threads, dtype, backend, verbose
        As for `TabularClassifier`.

    Attributes
    ----------
    n_features_in_ : int
        Columns of X.
    feature_names_in_ : ndarray of str
        Their names, where all have one that is a string.
    networks_ : list of Sequential
        The members; none where y is constant.

    Examples
    --------
    >>> import nncore as nn
    >>> X = {"size": [1.0, 2, None, 8, 9, 9] * 5, "colour": ["red", "red", "blue", "blue", None, "blue"] * 5}
    >>> model = nn.TabularRegressor().fit(X, [1.0, 2, 4, 8, 9, 9] * 5)
    >>> model.predict({"colour": ["green"], "size": [9]}).shape
    (1,)
    """

    _estimator_type = "regressor"

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train anew.

        Parameters
        ----------
        X : frame, array_like, or mapping of name to column
            A pandas or polars frame, an Arrow table, an array of two dimensions and any dtype, a list of rows, or a
            dict of columns; never modified.
        y : array_like of shape (n,) or (n, k)
            Finite numbers, of one output or several.
        sample_weight : array_like of shape (n,), optional
            A weight for each row, at least 0; rows of weight 0 have no part in anything.

        Returns
        -------
        TabularRegressor
            Itself.

        Raises
        ------
        TypeError, ValueError
            If an argument or a parameter does not fit; what was trained before stays.
        """
        table = frames.read(X)
        weights = targets.weights_of(sample_weight, table.n_rows)
        scale, scaled = targets.Scale.made(y, table.n_rows, weights)
        table, scaled, weights = used(table, scaled, weights)
        self._fit(table, scaled, weights, scaled.shape[1] if scale.deviation.any() else 0)
        self._scale = scale
        return self

    def predict(self, X: Any) -> Array:
        """Return predictions, float64 of shape (n,) or (n, k) as y was.

        Parameters
        ----------
        X : frame, array_like, or mapping of name to column
            As for `fit`. Columns are taken by name where both tables have names.

        Raises
        ------
        ValueError
            If columns are missing, unknown or of another kind, or `fit` has not been called.
        """
        outputs, n_rows = self._outputs(X)
        if outputs is None:
            outputs = np.zeros((n_rows, len(self._scale.mean)))
        return self._scale.back(outputs)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return R2, 1 - sum(w (y - pred)**2) / sum(w (y - mean)**2), of several outputs the mean."""
        predicted = self.predict(X)
        weights = targets.weights_of(sample_weight, len(predicted))
        return r2(predicted, targets.numbers(y, len(predicted)), weights)
