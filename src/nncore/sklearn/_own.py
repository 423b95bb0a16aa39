"""The parameters that scikit-learn's classes have not: what each may be, and what does not go together."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import _check_sample_weight, validate_data

from nncore import activations
from nncore.callbacks import Callback
from nncore.checks import finite_float

OWN_CONSTRAINTS: dict[str, Any] = {
    "dropout": [Interval(Real, 0, 1, closed="left")],
    "norm": [StrOptions({"batch", "layer"}), None],
    "schedule": [callable, None],
    "callbacks": [tuple, list, Callback],
    "validation_data": [tuple, list, None],
    "threads": [Interval(Integral, 1, None, closed="left"), None],
}


def has_callbacks(estimator: Any) -> bool:
    """Say whether there are callbacks, in a list or one alone."""
    return isinstance(estimator.callbacks, Callback) or len(estimator.callbacks) > 0


def check_own(estimator: Any) -> None:
    """Refuse what does not go together, with a ValueError."""
    activation = estimator.activation
    if isinstance(activation, activations.Activation) and activation.name == "softmax":
        raise ValueError("activation is softmax, which is for outputs; expected one for hidden layers")
    if estimator.solver != "lbfgs":
        return
    given = {
        "dropout": estimator.dropout > 0,
        "norm='batch'": estimator.norm == "batch",
        "schedule": estimator.schedule is not None,
        "callbacks": has_callbacks(estimator),
        "validation_data": estimator.validation_data is not None,
    }
    for name, there in given.items():
        if there:
            raise ValueError(f"{name} is given and solver is 'lbfgs', which does without; expected 'adam' or 'sgd'")


def check_class_weight(class_weight: Any, several: bool) -> None:
    """Refuse factors that are no finite numbers of at least 0, and a list unless there are several labels a row."""
    if isinstance(class_weight, list) and not several:
        raise ValueError(
            f"class_weight is {class_weight!r}; expected a dict or 'balanced', a list being for several labels a row"
        )
    for factors in class_weight if isinstance(class_weight, list) else [class_weight]:
        if isinstance(factors, str):
            continue
        if not isinstance(factors, dict):
            raise TypeError(f"class_weight has {factors!r} for a column of y; expected a dict or 'balanced'")
        for label, factor in factors.items():
            finite_float(factor, f"class_weight[{label!r}]", low=0.0)


def given_validation(estimator: Any) -> tuple[Any, Any, Any]:
    """Return rows, checked targets, and weights or None, of `validation_data`."""
    data = estimator.validation_data
    if len(data) not in (2, 3):
        raise ValueError(f"validation_data has {len(data)} parts; expected (X, y) or (X, y, sample_weight)")
    try:
        return _checked(estimator, *data)
    except (TypeError, ValueError) as error:
        if str(error).startswith("validation_data"):
            raise
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"validation_data: {error}") from error


def _checked(estimator: Any, X: Any, y: Any, sample_weight: Any = None) -> tuple[Any, Any, Any]:
    X = validate_data(estimator, X, accept_sparse="csr", dtype=(np.float64, np.float32), reset=False)
    y = estimator._validation_targets(y)
    if len(y) != X.shape[0]:
        raise ValueError(f"validation_data has {X.shape[0]} rows of X and {len(y)} of y")
    if sample_weight is None:
        return X, y, None
    return X, y, _check_sample_weight(sample_weight, X, ensure_non_negative=True)
