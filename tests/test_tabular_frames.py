"""Tables as people hand them over: what each kind of frame and column is read as."""

from __future__ import annotations

import datetime
import sys
from decimal import Decimal

import numpy as np
import pytest

from nncore.tabular import frames


def one(values, name="a"):
    return frames.read({name: values}).columns[0]


def test_kinds_of_columns():
    moment = datetime.datetime(2024, 1, 2, 3, 4, 5)
    for values, kind in [
        ([1, 2, 3], "number"),
        ([1.5, None, float("nan")], "number"),
        ([Decimal("1.5"), None, 2], "number"),
        ([True, False, None], "boolean"),
        (np.array([True, False]), "boolean"),
        (["a", "b", None], "category"),
        (["a", float("nan"), ""], "category"),
        ([1, "a", True], "category"),
        ([moment, None], "datetime"),
        ([datetime.date(2024, 1, 2), None], "datetime"),
        (np.array(["2024-01-02", "NaT"], "M8[D]"), "datetime"),
        (np.array([1, 2], "m8[h]"), "number"),
        ([datetime.timedelta(hours=1)], "number"),
        ([None, None], "empty"),
        ([float("nan")], "empty"),
        ([], "empty"),
    ]:
        if len(values):
            assert one(values).kind == kind, values
    np.testing.assert_array_equal(one([1.5, None]).values, [1.5, np.nan])
    np.testing.assert_array_equal(one([10**400, -(10**400)]).values, [np.inf, -np.inf])
    np.testing.assert_array_equal(one(np.array([1, 2], "m8[h]")).values, [3600, 7200])
    assert one([moment]).values[0] == 1704164645.0
    assert one([moment.replace(tzinfo=datetime.timezone(datetime.timedelta(hours=1)))]).values[0] == 1704164645.0 - 3600
    column = one(["b", "", "a", None, "b", " "])
    assert column.labels == ("b", "a")
    np.testing.assert_array_equal(column.values, [0, -1, 1, -1, 0, -1])
    assert one(np.array([b"x", b"y"])).labels == ("x", "y")


def test_strings_of_numbers_and_dates():
    np.testing.assert_array_equal(frames.numbers_of(("1", "-2.5", "1e3", ".5", "+7")), [1, -2.5, 1000, 0.5, 7])
    for labels in (("1", "x"), ("00501",), ("nan",), ("inf",), ("1_000",), ("٣",), ("e5",), (1,), ("0x1",)):
        assert frames.numbers_of(labels) is None, labels
    np.testing.assert_array_equal(frames.dates_of(("1970-01-02", "1970-01-01T00:00:01Z")), [86400, 1])
    for labels in (("1970-13-02",), ("1970-01-02", "x"), ("19700102",), (1970,)):
        assert frames.dates_of(labels) is None, labels


def test_arrays_rows_and_records():
    table = frames.read(np.arange(6).reshape(3, 2))
    assert table.names is None and table.n_rows == 3
    assert [column.kind for column in table.columns] == ["number"] * 2
    table = frames.read([[1, "a", None], [2, "b", True]])  # NumPy alone would make strings of all
    assert [column.kind for column in table.columns] == ["number", "category", "boolean"]
    assert [c.kind for c in frames.read(np.array([[True], [False]])).columns] == ["boolean"]
    assert [c.kind for c in frames.read(np.array([["a"], ["b"]])).columns] == ["category"]
    assert [c.kind for c in frames.read(np.array([["2024-01-01"]], "M8[D]")).columns] == ["datetime"]
    records = np.array([(1, "x"), (2, "y")], dtype=[("n", "i4"), ("s", "U3")])
    for given in (records, records.view(np.recarray)):
        table = frames.read(given)
        assert table.names == ["n", "s"] and [c.kind for c in table.columns] == ["number", "category"]
    rows = [{"n": 1, "s": "x"}, {"s": "y", "extra": True}]
    table = frames.read(rows)
    assert table.names == ["n", "s", "extra"]
    assert [c.kind for c in table.columns] == ["number", "category", "boolean"]
    np.testing.assert_array_equal(table.columns[0].values, [1, np.nan])
    masked = np.ma.array([[1.0, 2.0], [3.0, 4.0]], mask=[[False, True], [False, False]])
    np.testing.assert_array_equal(frames.read(masked).columns[1].values, [np.nan, 4])
    fortran = np.asfortranarray(np.arange(6.0).reshape(2, 3))[::-1]
    np.testing.assert_array_equal(frames.read(fortran).columns[2].values, [5, 2])


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (np.arange(3), "1 dimension; expected 2D array"),
        (np.zeros((2, 2, 2)), "3 dimensions; expected 2D"),
        (np.zeros((0, 2)), "no rows"),
        (np.zeros((2, 0)), r"0 feature\(s\)"),
        ({}, r"0 feature\(s\)"),
        ({"a": []}, "no rows"),
        ({"a": [1, 2], "b": [1]}, "column 'b' of X has 1 values, column 'a' 2"),
        ({"a": "text"}, "column 'a' of X is of type str"),
        ({"a": [[1], [2, 3]]}, "column 'a' of X"),
        ({"a": [{1: 2}]}, "column 'a' of X"),
        ({"a": [1j]}, "Complex data not supported"),
        (np.array([[1j]]), "Complex data not supported"),
        ({"a": np.zeros((2, 2))}, "column 'a' of X has 2 dimensions"),
        ([[1, 2], [3]], "rows of different lengths"),
        ("text", "X is of type str"),
        (7, "X is of type int"),
        (None, "X is of type NoneType"),
    ],
)
def test_refusals(X, message):
    with pytest.raises((ValueError, TypeError), match=message):
        frames.read(X)


def test_strings_of_numpy():
    strings = getattr(np.dtypes, "StringDType", None)
    if strings is None:
        pytest.skip("NumPy 1 has no strings of any length")
    for missing in ({}, {"na_object": None}, {"na_object": np.nan}):
        last = missing.get("na_object", "")
        for given in (
            np.array([["a"], ["b"], [last]], strings(**missing)),
            {"s": np.array(["a", "b", last], strings(**missing))},
        ):
            column = frames.read(given).columns[0]
            assert column.kind == "category" and column.labels == ("a", "b")
            np.testing.assert_array_equal(column.values, [0, 1, -1])


def test_pandas():
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(
        {
            "int": [1, 2, 3],
            "nullable": pd.array([1, None, 3], "Int64"),
            "float": pd.array([1.5, None, 3], "Float64"),
            "flag": pd.array([True, None, False], "boolean"),
            "plain": [True, False, True],
            "text": ["a", None, "b"],
            "string": pd.array(["a", pd.NA, "b"], "string"),
            "cat": pd.Categorical(["x", None, "y"]),
            "numbers": pd.Categorical([3, 4, 3]),
            "when": pd.to_datetime(["2024-01-01", None, "2024-01-03"]),
            "zone": pd.to_datetime(["2024-01-01", None, "2024-01-03"]).tz_localize("Europe/Berlin"),
            "took": pd.to_timedelta(["1h", None, "2h"]),
            "period": pd.period_range("2024-01", periods=3, freq="M"),
            "interval": pd.interval_range(0, 3),
            "sparse": pd.arrays.SparseArray([0.0, 0, 1]),
            "none": [None, None, None],
            "mixed": [1, "a", None],
            "na": [pd.NA, 1, 2],
            "nat": [pd.NaT, pd.Timestamp("2024-01-01"), None],
        }
    )
    before = frame.copy(deep=True)
    table = frames.read(frame)
    pd.testing.assert_frame_equal(frame, before)
    kinds = dict(zip(table.names, [column.kind for column in table.columns], strict=True))
    assert kinds == {
        **dict.fromkeys(("int", "nullable", "float", "took", "sparse", "na"), "number"),
        **dict.fromkeys(("flag", "plain"), "boolean"),
        **dict.fromkeys(("text", "string", "cat", "numbers", "interval", "mixed"), "category"),
        **dict.fromkeys(("when", "zone", "period", "nat"), "datetime"),
        "none": "empty",
    }
    by_name = dict(zip(table.names, table.columns, strict=True))
    np.testing.assert_array_equal(by_name["nullable"].values, [1, np.nan, 3])
    np.testing.assert_array_equal(by_name["flag"].values, [1, np.nan, 0])
    assert by_name["cat"].labels == ("x", "y") and by_name["cat"].declared and not by_name["text"].declared
    np.testing.assert_array_equal(by_name["cat"].values, [0, -1, 1])
    assert by_name["when"].values[0] - by_name["zone"].values[0] == 3600
    np.testing.assert_array_equal(by_name["took"].values, [3600, np.nan, 7200])
    frame.columns = ["int"] * frame.shape[1]
    with pytest.raises(ValueError, match="two columns named 'int'"):
        frames.read(frame)
    with pytest.raises(ValueError, match="Complex"):
        frames.read(pd.DataFrame({"a": [1j]}))
    with pytest.raises(ValueError, match="1 dimension; expected 2D"):
        frames.read(pd.Series([1, 2]))


def test_pandas_backed_by_arrow():
    pd, pa = pytest.importorskip("pandas"), pytest.importorskip("pyarrow")
    frame = pd.DataFrame(
        {
            "i": pd.array([1, None], pd.ArrowDtype(pa.int32())),
            "b": pd.array([True, None], pd.ArrowDtype(pa.bool_())),
            "s": pd.array(["x", None], pd.ArrowDtype(pa.string())),
            "t": pd.array([datetime.datetime(2024, 1, 1), None], pd.ArrowDtype(pa.timestamp("us"))),
            "z": pd.array(
                [datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC), None], pd.ArrowDtype(pa.timestamp("s", "UTC"))
            ),
            "d": pd.array([datetime.date(2024, 1, 1), None], pd.ArrowDtype(pa.date32())),
        }
    )
    columns = frames.read(frame).columns
    assert [c.kind for c in columns] == ["number", "boolean", "category", *["datetime"] * 3]
    for column in columns[3:]:
        np.testing.assert_array_equal(column.values, [1704067200, np.nan])
    table = frames.read(pa.table({"i": [1, None], "s": ["x", None]}))
    assert table.names == ["i", "s"] and [c.kind for c in table.columns] == ["number", "category"]


def test_polars():
    pl = pytest.importorskip("polars")
    frame = pl.DataFrame(
        {
            "i": [1, None, 3],
            "f": [1.5, None, float("nan")],
            "b": [True, None, False],
            "s": ["x", None, "y"],
            "c": pl.Series(["x", None, "y"], dtype=pl.Categorical),
            "e": pl.Series(["x", None, "y"], dtype=pl.Enum(["x", "y", "z"])),
            "d": [datetime.date(1970, 1, 2), None, datetime.date(1970, 1, 1)],
            "t": [datetime.datetime(1970, 1, 2), None, datetime.datetime(1970, 1, 1)],
            "ms": pl.Series([1000, None, 0]).cast(pl.Datetime("ms")),
            "took": [datetime.timedelta(seconds=5), None, None],
            "clock": [datetime.time(1), None, None],
            "dec": pl.Series(["1.5", None, "2"]).cast(pl.Decimal(10, 2)),
            "wide": pl.Series([2**70, None, 3], dtype=pl.Int128),
            "none": [None, None, None],
        }
    )
    table = frames.read(frame)
    assert table.names == frame.columns
    by_name = dict(zip(table.names, table.columns, strict=True))
    assert {name: column.kind for name, column in by_name.items()} == {
        **dict.fromkeys(("i", "f", "took", "clock", "dec", "wide"), "number"),
        "b": "boolean",
        **dict.fromkeys(("s", "c", "e"), "category"),
        **dict.fromkeys(("d", "t", "ms"), "datetime"),
        "none": "empty",
    }
    np.testing.assert_array_equal(by_name["i"].values, [1, np.nan, 3])
    np.testing.assert_array_equal(by_name["wide"].values, [2.0**70, np.nan, 3])
    for name, values in {"d": [86400, 0], "t": [86400, 0], "ms": [1, 0]}.items():
        np.testing.assert_array_equal(by_name[name].values[[0, 2]], values)
    assert by_name["took"].values[0] == 5 and by_name["clock"].values[0] == 3600
    with pytest.raises(TypeError, match=r"X\.collect\(\)"):
        frames.read(frame.lazy())
    with pytest.raises(TypeError, match="column 'l' of X has dtype List"):
        frames.read(pl.DataFrame({"l": [[1], [2]]}))


def test_sparse_matrices_are_refused():
    sparse = pytest.importorskip("scipy.sparse")
    with pytest.raises(TypeError, match="dense data is required"):
        frames.read(sparse.csr_matrix(np.eye(3)))


def test_conversions_keep_what_they_can():
    number = one([1.0, 0.0, None])
    assert frames.converted(number, "boolean", "a").kind == "boolean"
    assert frames.converted(one([True, None]), "number", "a").kind == "number"
    np.testing.assert_array_equal(frames.converted(one(["1.5", None]), "number", "a").values, [1.5, np.nan])
    np.testing.assert_array_equal(frames.converted(one(["1970-01-02"]), "datetime", "a").values, [86400])
    assert frames.converted(one([3, 4]), "category", "a").labels == (3, 4)
    assert frames.converted(one(np.array([3.0, 4.0])), "category", "a").labels == (3, 4)
    day = datetime.date(2024, 1, 2)
    assert frames.converted(one([day, None]), "category", "a").labels == ("2024-01-02",)
    assert frames.converted(one([None]), "datetime", "a").kind == "empty"
    for column, kind, mixed in [
        (one([2.0]), "boolean", True),
        (one(["1", "?"]), "number", True),
        (one([1.0]), "datetime", True),
        (one(["x"]), "datetime", True),
        (one([1.0]), "category", False),
        (one([day]), "category", False),
        (one(np.array(["2024-01-02"], "M8[D]")), "number", True),
    ]:
        with pytest.raises(ValueError, match="column 'a' was of kind"):
            frames.converted(column, kind, "column 'a'", mixed)


def test_frames_are_not_imported():
    if "pandas" not in sys.modules and "polars" not in sys.modules:
        frames.read({"a": [1]})
        assert "pandas" not in sys.modules and "polars" not in sys.modules
