"""Checks of arguments, shared by the whole library.

Each check returns the value in the form that the caller works with, or raises an error that names the argument,
what came and what was expected. Nothing here broadcasts, and nothing casts where information would be lost without
the user having asked for it. What is cheap is checked first, so that a good array costs about a microsecond.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from nncore.errors import BadCode

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from numpy.typing import NDArray

T = TypeVar("T")

_FLOAT32 = np.dtype(np.float32)
_FLOAT64 = np.dtype(np.float64)
_MAX_SEED = 2**64 - 1


def non_negative_int(value: Any, name: str) -> int:
    """Return `value` as an int of at least 0; bools are not ints, NumPy's integers are.

    Raises
    ------
    TypeError
        If it is not an integer.
    ValueError
        If it is negative.
    """
    return _int_from(value, name, 0)


def positive_int(value: Any, name: str) -> int:
    """Return `value` as an int of at least 1; bools are not ints, NumPy's integers are.

    Raises
    ------
    TypeError
        If it is not an integer.
    ValueError
        If it is less than 1.
    """
    return _int_from(value, name, 1)


def boolean(value: Any, name: str) -> bool:
    """Return `value` as a bool; NumPy's bools are bools, numbers are not.

    Raises
    ------
    TypeError
        If it is anything else.
    """
    if value is True or value is False:
        return value
    if not isinstance(value, np.bool_):
        raise TypeError(f"{name} is {value!r}; expected True or False")
    return bool(value)


def number_given(value: Any, what: str) -> float:
    """Return what a function of the user's gave as a float, which may be NaN or infinite.

    Numbers of other libraries are taken, and arrays of no dimension; strings are no numbers, even "1.5".

    Raises
    ------
    TypeError
        If it is no number.
    """
    try:
        if not isinstance(value, str | bytes | bytearray):
            return float(value)
    except (TypeError, ValueError):
        pass
    raise TypeError(f"{what} gave {value!r}; expected a number")


def seed(value: Any, name: str = "seed") -> int:
    """Return `value` as the 64-bit key of the random streams.

    Raises
    ------
    TypeError
        If it is not an integer.
    ValueError
        If it is not from 0 to 2**64 - 1.
    """
    number = _int_from(value, name, 0)
    if number > _MAX_SEED:
        raise ValueError(f"{name} is {number}; expected at most 2**64 - 1")
    return number


def _int_from(value: Any, name: str, low: int) -> int:
    if type(value) is not int and (isinstance(value, bool) or not isinstance(value, int | np.integer)):
        raise TypeError(f"{name} is {value!r}, of type {type(value).__name__}; expected an integer of at least {low}")
    if value < low:
        raise ValueError(f"{name} is {value}; expected an integer of at least {low}")
    return int(value)


def finite_float(
    value: Any,
    name: str,
    low: float | None = None,
    high: float | None = None,
    *,
    above: float | None = None,
    below: float | None = None,
) -> float:
    """Return `value` as a finite float within its limits.

    Parameters
    ----------
    value : int, float or a NumPy scalar of these kinds
        The number; a bool is not one.
    name : str
        Name of the argument, for messages.
    low, high : float, optional
        Limits that are allowed themselves.
    above, below : float, optional
        Limits that are not.

    Raises
    ------
    TypeError
        If it is not a real number.
    ValueError
        If it is NaN, infinite or outside the limits.
    """
    limits = [
        f"{words} {limit:g}"
        for words, limit in (("of at least", low), ("above", above), ("of at most", high), ("below", below))
        if limit is not None
    ]
    expected = " ".join(["a finite number", " and ".join(limits)]).rstrip()
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        raise TypeError(f"{name} is {value!r}, of type {type(value).__name__}; expected {expected}")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if (
        not math.isfinite(number)
        or (low is not None and number < low)
        or (high is not None and number > high)
        or (above is not None and number <= above)
        or (below is not None and number >= below)
    ):
        raise ValueError(f"{name} is {value}; expected {expected}")
    return number


def one_of(value: Any, name: str, options: Collection[str]) -> str:
    """Return `value` if it is one of the strings `options`.

    Raises
    ------
    TypeError
        If it is not a string.
    ValueError
        If it is none of the options; the message lists them.
    """
    known = ", ".join(repr(option) for option in options)
    if not isinstance(value, str):
        raise TypeError(f"{name} is {value!r}, of type {type(value).__name__}; expected one of {known}")
    if value not in options:
        raise ValueError(f"{name} is {value!r}; expected one of {known}")
    return value


def named(value: Any, name: str, table: Mapping[str, Any], kind: type[T]) -> T:
    """Return the object that `value` is, or that it names in `table`.

    Parameters
    ----------
    value : str or object of type `kind`
        A name, or an object that is returned as it is.
    name : str
        Name of the argument, for messages.
    table : mapping from str
        The known names.
    kind : type
        The objects' class.

    Raises
    ------
    TypeError
        If it is neither.
    ValueError
        If it is an unknown name; the message lists the known ones.
    """
    if isinstance(value, kind):
        own = {option if isinstance(option, type) else type(option) for option in table.values()}
        if type(value) not in own:  # the core would not call what a class of the user's does otherwise
            classes = ", ".join(sorted(option.__name__ for option in own))
            raise TypeError(f"{name} is of class {type(value).__name__}; expected one of {classes} itself, or a name")
        return value
    if not isinstance(value, str):
        known = ", ".join(repr(option) for option in table)
        what = f"the class {value.__name__}" if isinstance(value, type) else f"of type {type(value).__name__}"
        raise TypeError(f"{name} is {what}; expected one of {known}, or an object of class {kind.__name__}")
    found: T = table[one_of(value, name, table)]
    return found


def dtype(value: Any, name: str = "dtype") -> np.dtype[Any]:
    """Return NumPy's dtype for float32 or float64, the two that networks compute in.

    Raises
    ------
    ValueError
        If it is anything else.
    """
    try:
        for result in (_FLOAT32, _FLOAT64):
            if value is not None and result == np.dtype(value):  # NumPy takes None for float64
                return result
    except TypeError:
        pass
    raise ValueError(f"{name} is {value!r}; expected 'float32' or 'float64'")


def numeric(value: Any, name: str) -> NDArray[Any]:
    """Return `value` as an array of bools, integers or floats, of any shape, without a copy where that is possible.

    Parameters
    ----------
    value : array_like or data frame
        What `numpy.asarray` takes, or an object with ``to_numpy``. An array of objects is taken if each of them is a
        real number.
    name : str
        Name of the argument, for messages.

    Raises
    ------
    TypeError
        If it holds anything but real numbers (complex numbers, strings, dates, mixed frames, sparse matrices).
    ValueError
        If its rows differ in length, or some of its values are masked.
    """
    if type(value) is not np.ndarray:
        value = _as_array(value, name)
    if value.dtype.kind in "biuf":
        return value  # type: ignore[no-any-return]
    if value.dtype.kind == "O":
        # NumPy would read "1.5" as a number and None as NaN; neither is a number until its owner says so.
        if not any(item is None or isinstance(item, str | bytes | bytearray) for item in value.flat):
            try:
                return value.astype(_FLOAT64)  # type: ignore[no-any-return]
            except OverflowError:
                raise ValueError(
                    f"{name} has an integer beyond the range of float64; expected finite numbers"
                ) from None
            except (TypeError, ValueError):
                pass
        raise TypeError(f"{name} has dtype object, with values that are not numbers; expected real numbers")
    raise TypeError(f"{name} has dtype {value.dtype}; expected real numbers")


def _as_array(value: Any, name: str) -> NDArray[Any]:
    if isinstance(value, np.ndarray) and np.any(getattr(value, "mask", False)):
        raise ValueError(f"{name} has masked values; fill them or leave their rows out")
    if hasattr(value, "toarray") and hasattr(value, "nnz"):
        raise TypeError(f"{name} is a {type(value).__name__}; expected a dense array, as {name}.toarray() gives")
    try:
        if not hasattr(value, "__array__") and hasattr(value, "to_numpy"):
            value = value.to_numpy()
        return np.asarray(value)
    except ValueError as error:
        raise ValueError(f"{name} is no array of numbers; expected rows of equal length ({error})") from None


def matrix(
    X: Any,
    name: str,
    n_columns: int | None,
    dtype: np.dtype[Any],
    *,
    allow_empty: bool = False,
    taker: str = "this network",
) -> NDArray[Any]:
    """Return `X` as a C-contiguous matrix of `dtype`, the very same array where it is one already.

    Whether the values are finite is not checked; it is found as they are used. Values beyond the range of `dtype`
    become infinite, without a warning.

    Parameters
    ----------
    X : array_like or data frame
        Rows of numbers, of any real dtype, byte order, strides and writability; never modified.
    name : str
        Name of the argument, for messages.
    n_columns : int or None
        The number of columns that is expected; None takes any number but 0.
    dtype : numpy.dtype
        Type of the result.
    allow_empty : bool
        Whether no rows at all are taken.
    taker : str
        Who takes it, for messages.

    Returns
    -------
    ndarray of shape (n, n_columns)
        C-contiguous, aligned, native-endian.

    Raises
    ------
    TypeError
        If it holds anything but real numbers.
    ValueError
        If it has not two dimensions, not the columns that are expected, or no rows.
    """
    array = X if type(X) is np.ndarray and X.dtype == dtype else numeric(X, name)
    if array.ndim != 2:
        raise ValueError(f"{name} has {_dimensions(array)}; expected 2 (rows, columns){_reshaping(array, name)}")
    if array.shape[1] != n_columns:
        if n_columns is not None:
            features = "1 feature" if array.shape[1] == 1 else f"{array.shape[1]} features"
            raise ValueError(f"{name} has {features}; {taker} takes {n_columns}")
        if array.shape[1] == 0:
            raise ValueError(f"{name} has no columns; expected at least one")
    if array.shape[0] == 0 and not allow_empty:
        raise ValueError(f"{name} has no rows; expected at least one")
    return contiguous(array, dtype)


def contiguous(array: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return `array` as the core reads it: C-contiguous, aligned, native-endian, of `dtype`; itself where it is so.

    `numpy.ascontiguousarray` leaves an array unaligned. Values beyond the range of `dtype` become infinite, without a
    warning.
    """
    flags = array.flags
    if array.dtype == dtype and flags.c_contiguous and flags.aligned:
        return array
    with np.errstate(over="ignore"):
        return np.require(array, dtype=dtype, requirements=("C", "A"))


def _dimensions(array: NDArray[Any]) -> str:
    return f"1 dimension, of {array.size} values" if array.ndim == 1 else f"{array.ndim} dimensions"


def _reshaping(array: NDArray[Any], name: str) -> str:
    if array.ndim != 1:
        return ""
    return f": {name}.reshape(1, -1) makes it one row, {name}.reshape(-1, 1) one column"


def class_labels(y: NDArray[Any], name: str, n_classes: int, taker: str = "this network") -> NDArray[np.intp]:
    """Return class labels, given as one value for each row, as an array of indices.

    Parameters
    ----------
    y : ndarray of shape (n,) or (n, 1)
        Bools, integers, or floats that are whole numbers.
    name : str
        Name of the argument, for messages.
    n_classes : int
        Labels are 0 to ``n_classes - 1``.
    taker : str
        Who has the outputs, for messages.

    Returns
    -------
    ndarray of shape (n,), intp

    Raises
    ------
    ValueError
        If a label is not a whole number or out of range.
    """
    labels = y.reshape(-1)
    expected = f"{taker} has {n_classes} outputs, so labels are 0 to {n_classes - 1}"
    if labels.dtype.kind == "f":
        whole = labels == np.floor(labels)
        if not whole.all():
            raise ValueError(f"{name} has label {labels[whole.argmin()]}, no whole number; {expected}")
    wrong = (labels < 0) | (labels >= n_classes)
    if wrong.any():
        label = labels[wrong.argmax()].item()
        raise ValueError(f"{name} has label {f'{label:.17g}' if isinstance(label, float) else label}; {expected}")
    return labels.astype(np.intp, copy=False)


def codes(X: NDArray[Any], name: str, tables: Iterable[tuple[int, int, int]]) -> None:
    """Refuse codes of categories that are no whole numbers or out of range.

    Parameters
    ----------
    X : ndarray of shape (n, n_in)
        The data.
    name : str
        The argument's name.
    tables : iterable of (column, cardinality, dim)
        Which columns hold codes, 0 to cardinality - 1.

    Raises
    ------
    BadCode
        For the first row with one.
    """
    found: tuple[int, int, int] | None = None
    for column, cardinality, _ in tables:
        values = X[:, column]
        right = (values >= 0) & (values < cardinality) & (values == np.floor(values))  # NaN is never right
        row = int(right.argmin())
        if not right[row] and (found is None or row < found[0]):
            found = row, column, cardinality
    if found is not None:
        row, column, cardinality = found
        raise BadCode(name, row, column, float(X[row, column]), cardinality)


def pair(pred: Any, target: Any) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return predictions and targets of one shape as two float matrices of one dtype.

    The dtype is the prediction's, if that is a float, and wider if the target is a wider float; else float64. So
    unsigned integers are cast before any arithmetic.

    Parameters
    ----------
    pred : array_like of shape (n, k), (n,) or ()
        One dimension is one column, no dimension a single number.
    target : array_like
        Of the same shape; (n, 1) and (n,) are the same.

    Returns
    -------
    pred, target : ndarray of shape (n, k)

    Raises
    ------
    TypeError
        If either holds anything but real numbers.
    ValueError
        If the shapes differ, or there are no elements.
    """
    p, t = predictions(pred), numeric(target, "target")
    if (t.shape if t.ndim == 2 else (t.size, 1)) != p.shape or t.ndim > 2:
        raise ValueError(f"target has shape {t.shape}; expected that of pred, {np.shape(pred)}")
    if t.dtype == p.dtype:
        return p, t.reshape(p.shape)
    wide = np.promote_types(p.dtype, t.dtype) if t.dtype.kind == "f" else p.dtype
    return p.astype(wide, copy=False), t.reshape(p.shape).astype(wide, copy=False)


def labels_for(p: NDArray[Any], target: NDArray[Any]) -> NDArray[np.intp]:
    """Return the class labels `target`, of shape (n,) or (n, 1), for predictions `p` of shape (n, k).

    Raises
    ------
    ValueError
        If the shape does not fit, or a label is not a whole number or out of range.
    """
    n, n_classes = p.shape
    if target.shape not in ((n,), (n, 1)):
        raise ValueError(f"target has shape {target.shape}; expected pred's, {p.shape}, or labels of shape ({n},)")
    return class_labels(target, "target", n_classes, "pred")


def predictions(pred: Any) -> NDArray[Any]:
    """Return predictions as a float matrix: one dimension is one column, integers become float64.

    Raises
    ------
    TypeError
        If they hold anything but real numbers.
    ValueError
        If they have more than two dimensions, or no elements.
    """
    p = numeric(pred, "pred")
    if p.ndim > 2:
        raise ValueError(f"pred has {p.ndim} dimensions; expected (rows, columns) or (rows,)")
    if p.size == 0:
        raise ValueError(f"pred has shape {p.shape}; expected at least one element")
    if p.dtype.kind != "f" or not p.dtype.isnative:
        p = p.astype(p.dtype.newbyteorder("=") if p.dtype.kind == "f" else _FLOAT64)
    return p if p.ndim == 2 else p.reshape(-1, 1)
