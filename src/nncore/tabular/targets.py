"""Targets of tables: classes of any type as numbers from 0 and back, numbers scaled and back."""

from __future__ import annotations

import sys
import warnings
from typing import Any

import numpy as np

from nncore import checks
from nncore.tabular import frames

Array = np.ndarray[Any, Any]


def _array(y: Any) -> Array:
    """Return y as an array; missing values of pandas and polars become NaN, None or NaT."""
    dtype = getattr(y, "dtype", None)
    if hasattr(y, "iloc") and dtype is not None and not isinstance(dtype, np.dtype):
        if getattr(dtype, "kind", "O") in "biuf":
            y = y.to_numpy(dtype=None if not y.isna().any() else np.float64, na_value=np.nan)
        else:
            y = np.asarray(y)
    elif not hasattr(y, "__array__") and hasattr(y, "to_numpy"):
        y = y.to_numpy()
    if isinstance(y, np.ma.MaskedArray) and np.any(y.mask):
        raise ValueError("y has masked values; leave their rows out")
    if hasattr(y, "toarray") and hasattr(y, "nnz"):
        raise TypeError("y is a sparse matrix; expected a dense array, as y.toarray() gives")
    if isinstance(y, list | tuple):
        array = np.asarray(y, dtype=object if any(map(_is_text, y)) else None)
        return array
    array = np.asarray(y)
    return array.astype(object) if array.dtype.kind == "T" else array  # NumPy's strings of any length


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _rows(array: Array, n_rows: int) -> None:
    if array.ndim == 0 or len(array) != n_rows:
        came = "is a single value" if array.ndim == 0 else f"has {len(array)} samples"
        raise ValueError(f"y {came}, X has {n_rows}: inconsistent numbers of samples (rows)")


def classes_of(y: Any, n_rows: int) -> tuple[Array, Array]:
    """Return the classes, sorted, and each row's, counted from 0.

    Parameters
    ----------
    y : array_like of shape (n,) or (n, 1)
        Strings, bools, integers, whole floats, categories or dates.
    n_rows : int
        The rows of X.

    Raises
    ------
    ValueError
        If some are missing, or fractions, or of types that cannot be ordered, or their number is not that of the rows.
    """
    if y is None:
        raise ValueError("requires y to be passed, but the target y is None")
    array = _array(y)
    _rows(array, n_rows)
    if array.ndim == 2 and array.shape[1] == 1:
        _warn("A column-vector y was passed when a 1d array was expected; y.ravel() is one")
        array = array.ravel()
    if array.ndim != 1:
        raise ValueError(f"y should be a 1d array, got an array of shape {array.shape} instead: one class for each row")
    if array.dtype.kind == "O":
        array = _of_one_type(array)
    if array.dtype.kind == "f":
        if not np.isfinite(array).all():
            wrong = array[~np.isfinite(array)][0]
            what = "NaN" if np.isnan(wrong) else "infinity"
            raise ValueError(f"Input y contains {what}: it has no class in some rows")
        if (array != np.floor(array)).any():
            raise ValueError("Unknown label type: continuous. y has fractions; expected classes, or TabularRegressor")
    elif array.dtype.kind == "M" and np.isnat(array).any():
        raise ValueError("Input y contains NaT: it has no class in some rows")
    elif array.dtype.kind not in "biuUSMO":
        raise ValueError(f"Unknown label type: y has dtype {array.dtype}; expected classes")
    try:
        classes, codes = np.unique(array, return_inverse=True)
    except TypeError:
        kinds = sorted({type(value).__name__ for value in array})
        raise ValueError(f"Unknown label type: y has labels of types {', '.join(kinds)}; expected one type") from None
    return classes, codes.astype(np.int32)


def _of_one_type(array: Array) -> Array:
    """Return objects as bools, integers or floats where all of them are."""
    missing = [index for index, value in enumerate(array) if not _is_text(value) and frames.is_missing(value)]
    if missing:
        raise ValueError(f"Input y contains NaN: it has no class in row {missing[0]}")
    kinds = {type(value) for value in array}
    for kind, dtype in (((bool, np.bool_), bool), ((int, np.integer), None), ((int, float, np.number), np.float64)):
        if all(issubclass(found, kind) and (dtype is bool or not issubclass(found, bool)) for found in kinds):
            return np.array(list(array), dtype=dtype)
    return array


def same_labels(predicted: Array, y: Any) -> Array:
    """Say for each row whether the class predicted is the one of y.

    Raises
    ------
    ValueError
        If y has not a class for each row.
    """
    array = _array(y)
    _rows(array, len(predicted))
    given = array.reshape(len(predicted), -1)
    if given.shape[1] != 1:
        raise ValueError(f"y should be a 1d array, got an array of shape {array.shape} instead: one class for each row")
    pairs = zip(predicted.tolist(), given[:, 0].tolist(), strict=True)
    return np.array([label == other for label, other in pairs], bool)


def numbers(y: Any, n_rows: int) -> Array:
    """Return numbers to predict as float64, (n,) or (n, k).

    Raises
    ------
    TypeError, ValueError
        If y is not of numbers, one for each row and output, all finite.
    """
    if y is None:
        raise ValueError("requires y to be passed, but the target y is None")
    array = _array(y)
    if array.dtype.kind in "OUS":
        array = _as_numbers(array)
    array = checks.numeric(array, "y").astype(np.float64)
    _rows(array, n_rows)
    if array.ndim > 2 or (array.ndim == 2 and array.shape[1] == 0):
        raise ValueError(f"y has shape {array.shape}; expected ({n_rows},) or ({n_rows}, outputs)")
    if not np.isfinite(array).all():
        what = "NaN" if np.isnan(array).any() else "infinity"
        raise ValueError(f"Input y contains {what}; expected finite numbers")
    return array


class Scale:
    """Numbers to predict: (y - mean) / standard deviation, and back.

    Attributes
    ----------
    mean, deviation : ndarray of shape (k,)
        The deviation of an output that is constant is 0.
    one_dimension : bool
        Whether y had one.
    """

    def __init__(self, mean: Any, deviation: Any, one_dimension: bool) -> None:
        self.mean, self.deviation = np.array(mean, np.float64), np.array(deviation, np.float64)
        self.one_dimension = bool(one_dimension)

    @classmethod
    def made(cls, y: Any, n_rows: int, weights: Array | None) -> tuple[Scale, Array]:
        """Return the scale of targets (n,) or (n, k), and the targets on it, (n, k).

        Raises
        ------
        TypeError, ValueError
            If y is not of numbers, one for each row and output, all finite.
        """
        array = numbers(y, n_rows)
        table = array.reshape(n_rows, -1)
        unit = np.abs(table).max(axis=0)  # so that nothing overflows
        unit = np.where(unit > 0, unit, 1.0)
        scaled = table / unit
        mean = np.average(scaled, axis=0, weights=weights)
        deviation = np.sqrt(np.average((scaled - mean) ** 2, axis=0, weights=weights))
        deviation = np.where(deviation > 1e-14, deviation, 0.0)  # beneath it is the rounding of a constant's mean
        right = (scaled - mean) / np.where(deviation > 0, deviation, 1.0)
        return cls(mean * unit, deviation * unit, array.ndim == 1), right

    def back(self, outputs: Array) -> Array:
        """Return predictions of a network, (n, k), as y was: (n,) if it was of one dimension."""
        right = outputs * self.deviation + self.mean
        return right[:, 0] if self.one_dimension else right


def _as_numbers(array: Array) -> Array:
    try:
        return array.astype(np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"y has dtype {array.dtype}, with values that are no numbers; expected numbers") from None


def weights_of(sample_weight: Any, n_rows: int) -> Array | None:
    """Return the weights of rows as float64, or None.

    Raises
    ------
    TypeError, ValueError
        If they are no numbers, one for each row, finite and at least 0, and not all 0.
    """
    if sample_weight is None:
        return None
    if isinstance(sample_weight, int | float) and not isinstance(sample_weight, bool):
        sample_weight = np.full(n_rows, sample_weight)
    weights = checks.numeric(sample_weight, "sample_weight").astype(np.float64)
    if weights.shape != (n_rows,):
        raise ValueError(f"sample_weight has shape {weights.shape}; expected ({n_rows},), one for each row of X")
    if not np.isfinite(weights).all() or (weights < 0).any():
        raise ValueError("sample_weight has a value that is negative or not finite; expected finite ones of at least 0")
    if not (weights > 0).any():
        raise ValueError("sample_weight is zero for all rows; expected a weight above zero for at least one")
    return weights


def class_weights(class_weight: Any, classes: Array, codes: Array) -> Array | None:
    """Return what each row weighs by its class, or None.

    Raises
    ------
    TypeError, ValueError
        If it is neither None, "balanced" nor a dict of classes to numbers of at least 0.
    """
    if class_weight is None:
        return None
    if isinstance(class_weight, str):
        if class_weight != "balanced":
            raise ValueError(f"class_weight is {class_weight!r}; expected None, 'balanced' or a dict")
        counts = np.bincount(codes, minlength=len(classes))
        by_class = len(codes) / (len(classes) * np.maximum(counts, 1))
    else:
        if not isinstance(class_weight, dict):
            raise TypeError(f"class_weight is of type {type(class_weight).__name__}; expected 'balanced' or a dict")
        known = {label: index for index, label in enumerate(classes.tolist())}
        by_class = np.ones(len(classes))
        for label, weight in class_weight.items():
            if label not in known:
                raise ValueError(f"class_weight has the class {label!r}, which y has not; y has {sorted(known)[:20]}")
            by_class[known[label]] = checks.finite_float(weight, f"class_weight[{label!r}]", low=0.0)
    weights: Array = by_class[codes]
    return weights


def _warn(message: str) -> None:
    """Warn, as scikit-learn does where it is loaded."""
    module = sys.modules.get("sklearn.exceptions")
    warnings.warn(message, UserWarning if module is None else module.DataConversionWarning, stacklevel=5)
