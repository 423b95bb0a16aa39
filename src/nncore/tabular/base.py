"""What both estimators share: parameters in scikit-learn's manner, training, what is remembered, files."""

from __future__ import annotations

import inspect
import os
import sys
import warnings
from typing import Any, Self

import numpy as np

from nncore import checks, engines
from nncore.activations import Activation
from nncore.activations import get as get_activation
from nncore.network import Sequential
from nncore.tabular import ensemble, frames
from nncore.tabular.columns import Category
from nncore.tabular.preparing import Preparer

Array = np.ndarray[Any, Any]


class TabularBase:
    """The base of `TabularClassifier` and `TabularRegressor`."""

    _estimator_type: str

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
        seed: int = 0,
        threads: int | None = None,
        dtype: str = "float32",
        backend: str | None = None,
        verbose: int = 0,
    ) -> None:
        self.hidden = hidden
        self.members = members
        self.epochs = epochs
        self.batch_size = batch_size
        self.patience = patience
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.dropout = dropout
        self.activation = activation
        self.n_bins = n_bins
        self.min_count = min_count
        self.max_one_hot = max_one_hot
        self.seed = seed
        self.threads = threads
        self.dtype = dtype
        self.backend = backend
        self.verbose = verbose

    # ------------------------------------------------------------------------------------------------- parameters

    @classmethod
    def _parameters(cls) -> dict[str, Any]:
        signature = inspect.signature(cls.__init__).parameters
        return {name: parameter.default for name, parameter in signature.items() if name != "self"}

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters by name, as they were given; `deep` is for scikit-learn and changes nothing."""
        return {name: getattr(self, name) for name in sorted(self._parameters())}

    def set_params(self, **params: Any) -> Self:
        """Set parameters by name, and return the estimator.

        Raises
        ------
        ValueError
            If there is no such parameter.
        """
        known = self._parameters()
        for name in params:
            if name not in known:
                raise ValueError(
                    f"Invalid parameter {name!r} for estimator {self!r}. Valid parameters are: {sorted(known)!r}."
                )
        for name, value in params.items():
            setattr(self, name, value)
        return self

    def __repr__(self) -> str:
        given = {name: getattr(self, name, default) for name, default in self._parameters().items()}
        changed = [
            f"{name}={given[name]!r}" for name, value in self._parameters().items() if _differ(given[name], value)
        ]
        return f"{type(self).__name__}({', '.join(changed)})"

    def _recipe(self, n_rows: int) -> ensemble.Recipe:
        """Return how to train on so many rows.

        Raises
        ------
        TypeError, ValueError
            If a parameter does not fit.
        """
        hidden = self.hidden
        if isinstance(hidden, int | np.integer) and not isinstance(hidden, bool):
            hidden = (hidden,)
        if isinstance(hidden, str) or not hasattr(hidden, "__iter__"):
            raise TypeError(f"hidden is {hidden!r}; expected sizes such as (128, 64)")
        members = ensemble.default_members(n_rows) if self.members is None else self.members
        epochs = ensemble.default_epochs(n_rows) if self.epochs is None else self.epochs
        batch_size = ensemble.default_batch_size(n_rows) if self.batch_size is None else self.batch_size
        return ensemble.Recipe(
            members=checks.positive_int(members, "members"),
            hidden=tuple(checks.positive_int(size, f"hidden[{index}]") for index, size in enumerate(hidden)),
            activation=get_activation(self.activation),
            dropout=checks.finite_float(self.dropout, "dropout", low=0.0, below=1.0),
            epochs=checks.positive_int(epochs, "epochs"),
            batch_size=checks.positive_int(batch_size, "batch_size"),
            patience=checks.positive_int(self.patience, "patience"),
            learning_rate=checks.finite_float(self.learning_rate, "learning_rate", above=0.0),
            weight_decay=checks.finite_float(self.weight_decay, "weight_decay", low=0.0),
            dtype=checks.dtype(self.dtype).name,
            backend=engines.choose(self.backend),
            seed=checks.seed(self.seed),
            threads=None if self.threads is None else checks.positive_int(self.threads, "threads"),
            verbose=self.verbose,
        )

    # --------------------------------------------------------------------------------------------------- training

    def _fit(self, table: frames.Table, encoded: Array, weights: Array | None, n_outputs: int) -> None:
        """Make preparer and members from a training table, and targets as networks take them.

        What a failed call has reached is not seen: everything is remembered together at the end.
        """
        recipe = self._recipe(table.n_rows)
        n_bins = checks.non_negative_int(self.n_bins, "n_bins")
        min_count = max(1, min(checks.positive_int(self.min_count, "min_count"), table.n_rows // 20))
        preparer = Preparer.made(table, n_bins, min_count, checks.non_negative_int(self.max_one_hot, "max_one_hot"))
        members: list[Sequential] = []
        if n_outputs and preparer.width:
            X = preparer.matrix(table, type(self).__name__, recipe.dtype)
            untrained = {}
            for column, index in zip(preparer.categories, preparer.coded, strict=True):
                encoder = preparer.encoders[index]
                if isinstance(encoder, Category) and not encoder.pooled:
                    untrained[column] = np.bincount(X[:, column].astype(np.intp), minlength=encoder.cardinality)
            given = encoded if encoded.ndim == 1 else encoded.astype(recipe.dtype)
            members = ensemble.train(X, given, weights, n_outputs, preparer.categories, untrained, recipe)
        self._remember(preparer, members)

    def _remember(self, preparer: Preparer, members: list[Sequential]) -> None:
        """Take over what has been trained, or loaded."""
        self._preparer, self._members = preparer, members
        self.n_features_in_ = len(preparer.encoders)
        self.__dict__.pop("feature_names_in_", None)
        if preparer.names is not None and all(isinstance(name, str) for name in preparer.names):
            self.feature_names_in_ = np.array(preparer.names, dtype=object)

    def _outputs(self, X: Any) -> tuple[Array | None, int]:
        """Return the members' mean output for a table, or None where there are no members, and its number of rows."""
        self._require_fitted()
        table = frames.read(X)
        named = self._preparer.names is not None
        if named != (table.names is not None):
            what = "X does not have valid feature names, but" if named else "X has feature names, but"
            rest = "was fitted with feature names" if named else "was fitted without feature names"
            warnings.warn(f"{what} {type(self).__name__} {rest}; columns are taken by their places", stacklevel=4)
        dtype = self._members[0].dtype if self._members else np.float32
        matrix = self._preparer.matrix(table, type(self).__name__, dtype)
        return ensemble.mean_output(self._members, matrix) if self._members else None, table.n_rows

    @property
    def networks_(self) -> list[Sequential]:
        """The members of the ensemble; none where y has one value, or no column of X says anything."""
        self._require_fitted()
        return list(self._members)

    def __sklearn_is_fitted__(self) -> bool:
        """Say whether `fit` has been called."""
        return "_preparer" in self.__dict__

    def _require_fitted(self) -> None:
        if "_preparer" not in self.__dict__:
            module = sys.modules.get("sklearn.exceptions")
            error = ValueError if module is None else module.NotFittedError
            raise error(
                f"This {type(self).__name__} instance is not fitted yet. Call 'fit' with appropriate arguments."
            )

    def __sklearn_tags__(self) -> Any:
        """Return what scikit-learn asks for; only it calls this."""
        from sklearn.utils import ClassifierTags, InputTags, RegressorTags, Tags, TargetTags

        classifier = self._estimator_type == "classifier"
        return Tags(
            estimator_type=self._estimator_type,
            target_tags=TargetTags(required=True, multi_output=not classifier),
            transformer_tags=None,
            classifier_tags=ClassifierTags(multi_label=False) if classifier else None,
            regressor_tags=None if classifier else RegressorTags(),
            input_tags=InputTags(allow_nan=True, string=True, categorical=True),
        )

    # scikit-learn's routing of metadata, which only it asks for: whether fit and score want weights

    def get_metadata_routing(self) -> Any:
        """Return what `set_fit_request` and `set_score_request` have set, as scikit-learn's ``MetadataRequest``."""
        from sklearn.utils.metadata_routing import MetadataRequest

        requests = self.__dict__.get("_metadata_request")
        if requests is None:
            requests = MetadataRequest(owner=type(self).__name__)
            for method in (requests.fit, requests.score):
                method.add_request(param="sample_weight", alias=None)
        return requests

    def set_fit_request(self, *, sample_weight: bool | str | None) -> Self:
        """Say whether meta-estimators of scikit-learn are to hand weights to `fit`: True, False, or another name."""
        self._metadata_request = self.get_metadata_routing()
        self._metadata_request.fit.add_request(param="sample_weight", alias=sample_weight)
        return self

    def set_score_request(self, *, sample_weight: bool | str | None) -> Self:
        """Say whether meta-estimators of scikit-learn are to hand weights to `score`: True, False, or another name."""
        self._metadata_request = self.get_metadata_routing()
        self._metadata_request.score.add_request(param="sample_weight", alias=sample_weight)
        return self

    # ------------------------------------------------------------------------------------------------------ files

    def save(self, path: str | os.PathLike[str]) -> None:
        """Save the trained estimator to a file without pickle, which `load` of its class reads.

        Parameters
        ----------
        path : path_like
            Where to; the file is put in place in one go.

        Raises
        ------
        TypeError
            If names of columns or classes are neither strings nor numbers.
        OSError
            If the file cannot be written.
        """
        from nncore.tabular import files

        self._require_fitted()
        files.save(self, path)

    @classmethod
    def load(cls, path: str | os.PathLike[str], backend: str | None = None) -> Self:
        """Load what `save` wrote.

        Parameters
        ----------
        path : path_like
            The file.
        backend : {"native", "numpy"}, optional
            As for `Sequential`; the file does not say.

        Raises
        ------
        OSError
            If the file is not there or cannot be read.
        ValueError
            If it is no such file, of another class, or damaged.
        """
        from nncore.tabular import files

        return files.load(cls, path, backend)


def _differ(a: Any, b: Any) -> bool:
    return a is not b and not (type(a) is type(b) and a == b)


def used(table: frames.Table, encoded: Array, weights: Array | None) -> tuple[frames.Table, Array, Array | None]:
    """Leave out the rows of weight 0, so that they have no part in anything."""
    if weights is None or (weights > 0).all():
        return table, encoded, weights
    kept = weights > 0
    columns = [column._replace(values=column.values[kept]) for column in table.columns]
    columns = [
        frames.Column("empty", np.full(int(kept.sum()), np.nan)) if frames.is_empty(column) else column
        for column in columns
    ]
    return frames.Table(columns, table.names, int(kept.sum())), encoded[kept], weights[kept]
