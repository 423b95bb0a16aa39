"""The parameters that scikit-learn's classes have not: what each may be, and what does not go together."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import _check_sample_weight, validate_data

from nncore import activations
from nncore.callbacks import Callback

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


def given_validation(estimator: Any) -> tuple[Any, Any, Any]:
    """Return rows, checked targets, and weights or None, of `validation_data`."""
    data = estimator.validation_data
    if len(data) not in (2, 3):
        raise ValueError(f"validation_data has {len(data)} parts; expected (X, y) or (X, y, sample_weight)")
    X = validate_data(estimator, data[0], accept_sparse="csr", dtype=(np.float64, np.float32), reset=False)
    y = estimator._validation_targets(data[1])
    if len(y) != X.shape[0]:
        raise ValueError(f"validation_data has {X.shape[0]} rows of X and {len(y)} of y")
    if len(data) == 2 or data[2] is None:
        return X, y, None
    return X, y, _check_sample_weight(data[2], X, ensure_non_negative=True)
