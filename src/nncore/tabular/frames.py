"""Tables as people hand them over, read into columns of four kinds, in NumPy.

A column is numbers, booleans (both float64, NaN where missing), moments (seconds since 1970 in UTC, NaN where missing)
or categories (codes of labels, -1 where missing); or it is empty, with no value at all. pandas and polars are known by
what their objects can do: neither is imported here.
"""

from __future__ import annotations

import datetime
import numbers
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

import numpy as np

Array = np.ndarray[Any, Any]

_NUMBER = re.compile(r"[+-]?(0|[1-9]\d*)?(\.\d*)?([eE][+-]?\d+)?")  # no leading zeros: 00501 is a code, no number
_DATE = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d{1,9})?)?Z?)?")
_NO_VALUE = ("NAType", "NaTType")  # pandas' missing values, by their classes' names
_ORDINARY = "numbers, booleans, strings, categories or dates"


class Column(NamedTuple):
    """One column of a table.

    `values` are float64, or for categories codes (intp) of `labels`; `declared` says that their dtype is categorical,
    `mixed` that some labels are no text, or read like numbers, so that a few rows may well be numbers alone. `given`
    are the objects of which numbers, booleans or moments were read.
    """

    kind: str
    values: Array
    labels: tuple[Any, ...] = ()
    declared: bool = False
    mixed: bool = False
    given: Array | None = None


class Table(NamedTuple):
    """The columns of a table, their names, or None where it has none, and its number of rows."""

    columns: list[Column]
    names: list[Any] | None
    n_rows: int


def read(X: Any, name: str = "X") -> Table:
    """Read a table.

    Parameters
    ----------
    X : frame, array_like, or mapping of name to column
        A pandas or polars frame, an Arrow table, a NumPy array of two dimensions (of any dtype, object, masked and
        structured ones included), a list of rows, which may be dicts, or a dict of columns. Never modified.
    name : str
        Name of the argument, for messages.

    Raises
    ------
    TypeError
        If it is no table, or a column holds what is neither number, bool, string, category nor date.
    ValueError
        If it has no rows or columns, columns of different length, or two columns of one name.
    """
    given, names = _columns(X, name)
    if names is not None and len(set(names)) < len(names):
        twice = next(column for index, column in enumerate(names) if column in names[:index])
        raise ValueError(f"{name} has two columns named {twice!r}; expected each name once")
    if not given:
        raise ValueError(f"{name} has no columns: 0 feature(s) (shape={np.shape(X)}) while a minimum of 1 is required.")
    called = range(len(given)) if names is None else names
    columns = [_column(values, f"column {column!r} of {name}") for values, column in zip(given, called, strict=True)]
    lengths = [len(column.values) for column in columns]
    if len(set(lengths)) > 1:
        odd = next(index for index, length in enumerate(lengths) if length != lengths[0])
        raise ValueError(
            f"column {called[odd]!r} of {name} has {lengths[odd]} values, column {called[0]!r} {lengths[0]}; "
            "expected columns of equal length"
        )
    if lengths[0] == 0:
        raise ValueError(f"{name} has no rows: 0 sample(s) while a minimum of 1 is required.")
    return Table(columns, names, lengths[0])


def _columns(X: Any, name: str) -> tuple[list[Any], list[Any] | None]:
    """Return a table's columns as they are given, and their names."""
    if hasattr(X, "toarray") and hasattr(X, "nnz"):
        raise TypeError(f"{name} is a sparse {type(X).__name__}; dense data is required, such as {name}.toarray()")
    if hasattr(X, "iloc") and hasattr(X, "columns"):  # pandas, and what is like it
        return [X.iloc[:, index] for index in range(X.shape[1])], list(X.columns)
    if hasattr(X, "get_columns") and hasattr(X, "schema"):  # polars
        return list(X.get_columns()), list(X.columns)
    if hasattr(X, "collect_schema"):
        raise TypeError(f"{name} is a {type(X).__name__}, whose rows are not there yet; expected {name}.collect()")
    if hasattr(X, "column_names") and hasattr(X, "to_pydict"):  # Arrow
        return [X.column(index).to_pylist() for index in range(X.num_columns)], list(X.column_names)
    if isinstance(X, Mapping):
        return list(X.values()), list(X)
    if isinstance(X, Sequence) and len(X) and all(isinstance(row, Mapping) for row in X):
        keys = list(dict.fromkeys(key for row in X for key in row))
        return [[row.get(key) for row in X] for key in keys], keys
    if isinstance(X, str | bytes) or (not hasattr(X, "__array__") and not isinstance(X, Sequence)):
        raise TypeError(f"{name} is of type {type(X).__name__}; expected a frame, an array or a dict of columns")
    array = _matrix(X, name)
    if array.dtype.names is not None:
        if array.ndim != 1:
            raise ValueError(f"{name} has {array.ndim} dimensions; expected one of records")
        return [array[field] for field in array.dtype.names], list(array.dtype.names)
    if array.ndim != 2:
        raise ValueError(
            f"{name} has {array.ndim} dimension{'s' * (array.ndim != 1)}; expected 2D array, (rows, columns). "
            f"Reshape your data either using {name}.reshape(-1, 1) if it has one column or {name}.reshape(1, -1) if it "
            "is one row."
        )
    return list(array.T), None


def _matrix(X: Any, name: str) -> Array:
    if isinstance(X, np.ma.MaskedArray):
        return _filled_in(X)
    if not hasattr(X, "__array__"):  # rows: NumPy would make strings of numbers beside strings
        rows = [row if hasattr(row, "__array__") or not isinstance(row, Sequence) else list(row) for row in X]
        widths = {len(row) if hasattr(row, "__len__") and not isinstance(row, str | bytes) else -1 for row in rows}
        if len(widths) > 1:
            raise ValueError(f"{name} has rows of different lengths; expected equal ones")
        array = np.asarray(rows)
        if array.dtype.kind in "US":
            array = np.array(rows, dtype=object)
        return array
    array = np.asarray(X)
    if array.dtype.kind == "c":
        raise ValueError(f"Complex data not supported: {name} has dtype {array.dtype}; expected {_ORDINARY}")
    return array


def _filled_in(array: Any) -> Array:
    """Return a masked array as objects, None where it is masked."""
    filled: Array = np.array(array.data, dtype=object)
    filled[np.ma.getmaskarray(array)] = None
    return filled


def _column(values: Any, name: str) -> Column:
    """Return one column, from a pandas or polars series, an array or a sequence."""
    if hasattr(values, "iloc"):
        return _from_pandas(values, name)
    if hasattr(values, "to_physical"):
        return _from_polars(values, name)
    if hasattr(values, "categories") and hasattr(values, "codes"):  # pandas' Categorical without a series
        codes = np.asarray(values.codes, np.intp)
        return _categories(codes, list(values.categories), name)._replace(declared=True)
    if isinstance(values, np.ma.MaskedArray):
        values = _filled_in(values)
    if not isinstance(values, np.ndarray):
        if isinstance(values, str | bytes) or not hasattr(values, "__len__"):
            raise TypeError(f"{name} is of type {type(values).__name__}; expected a sequence of values")
        filled = np.empty(len(values), dtype=object)
        filled[:] = list(values)
        values = filled
    if values.ndim != 1:
        raise ValueError(f"{name} has {values.ndim} dimensions; expected one")
    return _from_array(values, name)


def _from_array(values: Array, name: str) -> Column:
    kind = values.dtype.kind
    if kind == "b":
        return Column("boolean", values.astype(np.float64))
    if kind in "iuf":
        return _checked("number", values.astype(np.float64))
    if kind in "Mm":
        seconds = _seconds(values)
        return _checked("datetime" if kind == "M" else "number", seconds)
    if kind in "OUST":
        return _from_objects(values.astype(object), name)
    if kind == "c":
        raise ValueError(f"Complex data not supported: {name} has dtype {values.dtype}; expected {_ORDINARY}")
    raise TypeError(f"{name} has dtype {values.dtype}; expected {_ORDINARY}")


def _checked(kind: str, values: Array) -> Column:
    """Return the column; empty where all values are missing."""
    return Column("empty" if np.isnan(values).all() else kind, values)


def _seconds(values: Array) -> Array:
    """Return moments or durations as seconds; NaN for NaT."""
    unit = "datetime64[us]" if values.dtype.kind == "M" else "timedelta64[us]"
    missing = np.isnat(values)
    seconds: Array = values.astype(unit).astype(np.int64) / 1e6
    seconds[missing] = np.nan
    return seconds


def _from_pandas(series: Any, name: str) -> Column:
    dtype = series.dtype
    kind, cls = getattr(dtype, "kind", "O"), type(dtype).__name__
    if cls == "CategoricalDtype":
        codes = np.asarray(series.cat.codes, np.intp)
        return _categories(codes, list(series.cat.categories), name)._replace(declared=True)
    if cls == "PeriodDtype":
        series, kind = series.dt.to_timestamp(), "M"
    if kind in "biuf":
        if isinstance(dtype, np.dtype) or cls == "SparseDtype":
            values = np.asarray(series, np.float64)
        else:
            values = series.to_numpy(dtype=np.float64, na_value=np.nan)
        return _checked("boolean" if kind == "b" else "number", values)
    if kind == "M":
        try:
            zone = getattr(series.dt, "tz", None)
        except NotImplementedError:  # of Arrow's days
            return _from_array(np.asarray(series, object), name)
        if zone is not None:
            series = series.dt.tz_convert("UTC").dt.tz_localize(None)
        return _checked("datetime", _seconds(series.to_numpy(dtype="datetime64[us]")))
    if kind == "m":
        return _checked("number", _seconds(series.to_numpy(dtype="timedelta64[us]")))
    return _from_array(np.asarray(series, object) if kind != "c" else np.asarray(series), name)


def _from_polars(series: Any, name: str) -> Column:
    dtype = series.dtype
    kind = type(dtype).__name__
    if kind == "Boolean" or dtype.is_numeric():
        if kind in ("Decimal", "Int128", "UInt128"):  # which NumPy has not
            return _from_array(np.array(series.to_list(), dtype=object), name)
        values = np.array(series.to_list(), np.float64) if series.null_count() else series.to_numpy()
        return _checked("boolean" if kind == "Boolean" else "number", values.astype(np.float64))
    if dtype.is_temporal():
        units = {"ms": 1e3, "us": 1e6, "ns": 1e9}
        per_second = 1 / 86400 if kind == "Date" else units[getattr(dtype, "time_unit", "ns")]
        values = np.array(series.to_physical().to_list(), np.float64) / per_second
        return _checked("datetime" if kind in ("Date", "Datetime") else "number", values)
    if dtype.is_nested():
        raise TypeError(f"{name} has dtype {dtype}; expected {_ORDINARY}")
    values = np.empty(len(series), dtype=object)
    values[:] = series.to_list()
    if kind in ("Categorical", "Enum"):
        missing = np.array([value is None for value in values], bool)
        return _factorised(values, missing, name)._replace(declared=True)
    return _from_objects(values, name)


def is_missing(value: Any) -> bool:
    """Say whether a value is None, NaN, NaT, pandas' NA or an empty string."""
    if type(value) is str:
        return not value or value.isspace()
    if value is None or type(value).__name__ in _NO_VALUE:
        return True
    try:
        return bool(value != value)
    except (TypeError, ValueError, ArithmeticError):  # arrays; signalling NaN
        return isinstance(value, Decimal)


def _from_objects(values: Array, name: str) -> Column:
    """Return a column of Python's objects by what all of them are."""
    missing = np.fromiter(map(is_missing, values), bool, len(values))
    there = values[~missing]
    kinds = set(map(type, there))
    if not kinds:
        return Column("empty", np.full(len(values), np.nan))
    if all(issubclass(kind, bool | np.bool_) for kind in kinds):
        return Column("boolean", _filled(there.astype(np.float64), missing), given=values)
    if all(issubclass(kind, numbers.Real | Decimal | np.bool_) for kind in kinds):
        return Column("number", _filled(np.array([_float(value) for value in there]), missing), given=values)
    if all(issubclass(kind, datetime.date | np.datetime64) for kind in kinds):
        return _checked("datetime", _filled(_moments(there, name), missing))._replace(given=values)
    if all(issubclass(kind, datetime.timedelta | np.timedelta64) for kind in kinds):
        return _checked("number", _filled(_seconds(there.astype("timedelta64[us]")), missing))._replace(given=values)
    if any(issubclass(kind, numbers.Complex) and not issubclass(kind, numbers.Real) for kind in kinds):
        raise ValueError(f"Complex data not supported: {name} has complex numbers; expected {_ORDINARY}")
    return _factorised(values, missing, name)


def _float(value: Any) -> float:
    try:
        return float(value)
    except OverflowError:
        return np.inf if value > 0 else -np.inf


def _filled(there: Array, missing: Array) -> Array:
    values = np.full(len(missing), np.nan)
    values[~missing] = there
    return values


def _moments(there: Array, name: str) -> Array:
    """Return datetimes, dates and NumPy's moments as seconds; with a time zone in UTC, else as if they were."""
    seconds = np.empty(len(there))
    for index, value in enumerate(there):
        if isinstance(value, datetime.datetime) and value.tzinfo is not None:
            value = value.astimezone(datetime.UTC).replace(tzinfo=None)
        try:
            seconds[index] = np.datetime64(value, "us").astype(np.int64) / 1e6
        except (TypeError, ValueError, OverflowError) as error:
            raise ValueError(f"{name} has the date {value!r}, which cannot be read: {error}") from None
    return seconds


def numbers_of(labels: tuple[Any, ...]) -> Array | None:
    """Return labels that are strings of numbers as numbers, or None unless all are; 00501 is a code, no number."""
    found = np.empty(len(labels))
    for index, label in enumerate(labels):
        text = label.strip() if isinstance(label, str) else ""
        if not any(map(str.isdigit, text)) or not _NUMBER.fullmatch(text) or not text.isascii():
            return None
        try:
            found[index] = float(text)
        except ValueError:  # "e5" has no digits before the exponent
            return None
    return found


def dates_of(labels: tuple[Any, ...]) -> Array | None:
    """Return labels that are strings of ISO 8601 dates or times as seconds since 1970, or None unless all are."""
    found = np.empty(len(labels))
    for index, label in enumerate(labels):
        text = label.strip() if isinstance(label, str) else ""
        if not text.isascii() or not _DATE.fullmatch(text):
            return None
        try:
            found[index] = np.datetime64(text.removesuffix("Z"), "us").astype(np.int64) / 1e6
        except ValueError:  # month 13
            return None
    return found


def _factorised(values: Array, missing: Array, name: str) -> Column:
    """Return the column as codes of labels, in the order in which they are met."""
    index: dict[Any, int] = {}
    codes = np.full(len(values), -1, np.intp)
    try:
        codes[~missing] = [index.setdefault(value, len(index)) for value in values[~missing]]
    except TypeError as error:
        raise TypeError(f"{name} holds objects that cannot be labels ({error}); expected {_ORDINARY}") from None
    return _categories(codes, list(index), name)


def _categories(codes: Array, labels: list[Any], name: str) -> Column:
    """Return a column of categories; labels are strings, bools, ints and floats, and others' strings."""
    if not (codes >= 0).any():
        return Column("empty", np.full(len(codes), np.nan))
    places: dict[Any, int] = {}
    renamed = np.array([places.setdefault(_label(label, name), len(places)) for label in labels], np.intp)
    return Column("category", np.where(codes < 0, -1, renamed[codes]), tuple(places), mixed=any(map(is_odd, labels)))


def is_odd(label: Any) -> bool:
    """Say whether a label is no text, or a text that other tables may hold as a number or a bool."""
    if not isinstance(label, str):
        return not isinstance(label, bytes)
    return label in ("True", "False") or (label[:1] in "+-.0123456789" and numbers_of((label,)) is not None)


def text_of(label: Any) -> str:
    """Return a number or bool as files of text have it: 3.0 is "3"."""
    return str(int(label)) if isinstance(label, float) and label.is_integer() else str(label)


def _label(value: Any, name: str) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, str):
        return str(value)
    if isinstance(value, bool | int | float):
        return value
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")
    if isinstance(value, dict | list | set | np.ndarray):
        raise TypeError(f"{name} has a value of type {type(value).__name__}; argument must be a string or a number")
    return str(value)


def is_empty(column: Column) -> bool:
    """Say whether all values of a column are missing."""
    return bool((column.values < 0).all() if column.kind == "category" else np.isnan(column.values).all())


def converted(column: Column, kind: str, name: str, mixed: bool = True) -> Column:
    """Return a column as the kind that it had in `fit`, where that loses nothing.

    Parameters
    ----------
    column : Column
        What came.
    kind : str
        What is expected.
    name : str
        What to call it in messages.
    mixed : bool
        As `Column.mixed`, of the categories in `fit`.

    Raises
    ------
    ValueError
        If it is of another kind that says something else.
    """
    if column.kind in (kind, "empty") or kind == "empty":
        return column
    values = column.values
    there = values[~np.isnan(values)] if column.kind != "category" else values
    if kind == "number" and column.kind == "boolean":
        return Column("number", values)
    if kind == "boolean" and column.kind == "number" and np.isin(there, (0, 1)).all():
        return Column("boolean", values)
    if kind == "category" and mixed and (column.given is not None or column.kind in ("number", "boolean")):
        missing = np.isnan(values)
        plain = (values == 1 if column.kind == "boolean" else values).astype(object)
        return _factorised(plain if column.given is None else column.given, missing, name)
    if column.kind == "category" and kind in ("number", "boolean"):
        table = _as_numbers(column.labels)
        if table is not None and (kind == "number" or np.isin(table, (0, 1)).all()):
            return Column(kind, np.append(table, np.nan)[values])  # code -1 is missing
    if column.kind == "category" and kind == "datetime" and (table := dates_of(column.labels)) is not None:
        return Column(kind, np.append(table, np.nan)[values])
    raise ValueError(f"{name} was of kind {kind!r} in fit; now it is of kind {_described(column)}")


def _as_numbers(labels: tuple[Any, ...]) -> Array | None:
    if all(isinstance(label, bool | int | float) for label in labels):
        return np.array([_float(label) for label in labels])
    return numbers_of(labels)


def _described(column: Column) -> str:
    if column.kind != "category":
        return repr(column.kind)
    odd = next((label for label in column.labels if numbers_of((label,)) is None), column.labels[0])
    return f"'category', with {odd!r} among its values"
