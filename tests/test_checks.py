"""Tests of the argument checks: what passes, in what form, and what each refusal says."""

import math
from fractions import Fraction

import numpy as np
import pytest

from nncore import checks

F32 = np.dtype(np.float32)
F64 = np.dtype(np.float64)


class Frame:
    """A data frame as far as the library knows one."""

    def __init__(self, values):
        self.values = values

    def to_numpy(self):
        return np.array(self.values)


class Sparse:
    """A sparse matrix as far as the library knows one."""

    nnz = 1

    def toarray(self):
        return np.eye(2)


# ---------------------------------------------------------------- numbers


@pytest.mark.parametrize("value", [True, False, np.True_, np.False_])
def test_boolean_accepts_both_kinds(value):
    result = checks.boolean(value, "shuffle")
    assert type(result) is bool and result == value


@pytest.mark.parametrize("value", [0, 1, 1.0, np.int64(1), None, "True", [], np.array(True)])
def test_boolean_refuses_others(value):
    with pytest.raises(TypeError, match=r"shuffle is .*; expected True or False"):
        checks.boolean(value, "shuffle")


@pytest.mark.parametrize(
    ("value", "expected"),
    [(2, 2.0), (np.float32(0.5), 0.5), (np.array(3), 3.0), (True, 1.0), (math.inf, math.inf), (Fraction(1, 4), 0.25)],
)
def test_number_given_takes_what_is_a_number(value, expected):
    result = checks.number_given(value, "metric f")
    assert type(result) is float and result == expected


@pytest.mark.parametrize("value", ["0.5", b"1", bytearray(b"1"), np.str_("1"), None, 1j, [1.0], np.ones(2)])
def test_number_given_refuses_what_is_none(value):
    with pytest.raises(TypeError, match=r"metric f gave .*; expected a number"):
        checks.number_given(value, "metric f")


@pytest.mark.parametrize("value", [1, 7, np.int64(7), np.uint8(7)])
def test_positive_int_accepts_integers(value):
    result = checks.positive_int(value, "epochs")
    assert result == value
    assert type(result) is int


@pytest.mark.parametrize("value", [True, np.bool_(True), 1.0, "1", None, np.array([1]), 1j])
def test_positive_int_refuses_other_types(value):
    with pytest.raises(TypeError, match=r"epochs is .*; expected an integer of at least 1"):
        checks.positive_int(value, "epochs")


@pytest.mark.parametrize("value", [0, -1, np.int32(-5)])
def test_positive_int_refuses_small_values(value):
    with pytest.raises(ValueError, match=f"epochs is {value}; expected an integer of at least 1"):
        checks.positive_int(value, "epochs")


def test_non_negative_int():
    assert checks.non_negative_int(0, "epochs") == 0
    with pytest.raises(ValueError, match="epochs is -1; expected an integer of at least 0"):
        checks.non_negative_int(-1, "epochs")


def test_seed_is_a_64_bit_key():
    assert checks.seed(2**64 - 1) == 2**64 - 1
    assert checks.seed(np.uint64(2**64 - 1)) == 2**64 - 1
    for value in (-1, 2**64):
        with pytest.raises(ValueError, match=f"seed is {value}"):
            checks.seed(value)
    with pytest.raises(TypeError, match="seed is None"):
        checks.seed(None)


@pytest.mark.parametrize("value", [0, 0.5, np.float32(0.5), np.int8(1), 1])
def test_finite_float_accepts_numbers(value):
    result = checks.finite_float(value, "rate", low=0, high=1)
    assert result == value
    assert type(result) is float


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 10**400, -0.1, 1.1, np.float32(np.nan)])
def test_finite_float_refuses_values(value):
    with pytest.raises(ValueError, match=r"rate is .*; expected a finite number of at least 0 and of at most 1"):
        checks.finite_float(value, "rate", low=0, high=1)


@pytest.mark.parametrize("value", [True, np.bool_(False), "1", None, 1j, [1.0]])
def test_finite_float_refuses_types(value):
    with pytest.raises(TypeError, match=r"rate is .*; expected a finite number$"):
        checks.finite_float(value, "rate")


def test_finite_float_open_limits():
    assert checks.finite_float(0.5, "momentum", above=0, below=1) == 0.5
    for value in (0, 1):
        with pytest.raises(ValueError, match="expected a finite number above 0 and below 1"):
            checks.finite_float(value, "momentum", above=0, below=1)


def test_one_of():
    assert checks.one_of("a", "mode", ("a", "b")) == "a"
    with pytest.raises(ValueError, match="mode is 'c'; expected one of 'a', 'b'"):
        checks.one_of("c", "mode", ("a", "b"))
    with pytest.raises(TypeError, match="mode is 1, of type int; expected one of 'a', 'b'"):
        checks.one_of(1, "mode", ("a", "b"))


def test_named():
    table = {"one": 1.0}
    assert checks.named("one", "thing", table, float) == 1.0
    assert checks.named(2.0, "thing", table, float) == 2.0
    with pytest.raises(ValueError, match="thing is 'two'; expected one of 'one'"):
        checks.named("two", "thing", table, float)
    with pytest.raises(TypeError, match="thing is of type int; expected one of 'one', or an object of class float"):
        checks.named(2, "thing", table, float)
    with pytest.raises(TypeError, match="thing is the class float"):
        checks.named(float, "thing", table, float)


@pytest.mark.parametrize(
    ("value", "expected"),
    [("float32", F32), (np.float32, F32), (F64, F64), (float, F64), ("<f4", F32), ("d", F64)],
)
def test_dtype(value, expected):
    assert checks.dtype(value) == expected


@pytest.mark.parametrize("value", [None, "float16", int, "complex64", ">f4", "nonsense", 3, np.longdouble])
def test_dtype_refuses_others(value):
    with pytest.raises(ValueError, match=r"dtype is .*; expected 'float32' or 'float64'"):
        checks.dtype(value)


# ---------------------------------------------------------------- matrix


@pytest.mark.parametrize("dtype", [F32, F64])
def test_matrix_returns_the_very_same_array(dtype):
    X = np.ones((3, 2), dtype)
    X.flags.writeable = False
    assert checks.matrix(X, "X", 2, dtype) is X


def test_matrix_does_not_copy_a_memory_map(tmp_path):
    X = np.memmap(tmp_path / "x", dtype=F32, mode="w+", shape=(5, 2))
    X.flush()
    X = np.memmap(tmp_path / "x", dtype=F32, mode="r", shape=(5, 2))
    assert np.shares_memory(checks.matrix(X, "X", 2, F32), X)


VALUES = np.arange(226 * 24).reshape(226, 24) % 251 - 7


def layouts():
    base = VALUES.astype(F32)
    wide = np.zeros((452, 48), F32)
    wide[::2, ::2] = base
    raw = np.zeros(base.nbytes + 1, np.uint8)
    unaligned = raw[1:].view(F32).reshape(base.shape)
    unaligned[...] = base
    read_only = base.copy()
    read_only.flags.writeable = False
    return {
        "transposed": base.T.copy().T,
        "every second row": np.repeat(base, 2, axis=0)[::2],
        "strided": wide[::2, ::2],
        "reversed": base[:, ::-1].copy()[:, ::-1],
        "fortran": np.asfortranarray(base),
        "read-only": read_only,
        "big-endian": base.astype(">f4"),
        "unaligned": unaligned,
        "int64": VALUES,
        "int16, big-endian": VALUES.astype(">i2"),
        "float64": VALUES.astype(F64),
        "float16": VALUES.astype(np.float16),
        "objects": VALUES.astype(object),
        "list": VALUES.tolist(),
        "frame": Frame(VALUES),
        "matrix subclass": np.ma.MaskedArray(base),
    }


@pytest.mark.parametrize("layout", layouts())
@pytest.mark.parametrize("dtype", [F32, F64])
def test_matrix_takes_every_layout(layout, dtype):
    X = layouts()[layout]
    result = checks.matrix(X, "X", 24, dtype)
    assert type(result) is np.ndarray
    assert result.dtype == dtype
    assert result.dtype.isnative
    assert result.flags.c_contiguous
    assert result.flags.aligned
    np.testing.assert_array_equal(result, VALUES)


def test_matrix_takes_bools_and_unsigned():
    np.testing.assert_array_equal(checks.matrix([[True, False]], "X", 2, F32), [[1, 0]])
    np.testing.assert_array_equal(checks.matrix(np.array([[255]], np.uint8), "X", 1, F32), [[255]])


def test_matrix_passes_values_that_are_not_finite(recwarn):
    X = checks.matrix([[np.nan, np.inf, 1e300]], "X", 3, F32)
    assert np.isnan(X[0, 0])
    assert X[0, 1] == X[0, 2] == np.inf
    assert not recwarn.list


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (np.ones((2, 63)), "X has 63 features; this network takes 64"),
        (np.ones((2, 1)), "X has 1 feature; this network takes 64"),
        (
            np.ones(64),
            r"X has 1 dimension, of 64 values; expected 2 \(rows, columns\): "
            r"X.reshape\(1, -1\) makes it one row, X.reshape\(-1, 1\) one column",
        ),
        (1.0, r"X has 0 dimensions; expected 2"),
        (np.ones((2, 8, 8)), r"X has 3 dimensions; expected 2 \(rows, columns\)$"),
        (np.ones((0, 64)), "X has no rows; expected at least one"),
        ([[1.0, 2.0], [3.0]], "X is no array of numbers; expected rows of equal length"),
    ],
)
def test_matrix_refuses_shapes(X, message):
    with pytest.raises(ValueError, match=message):
        checks.matrix(X, "X", 64, F64)


def test_matrix_empty():
    X = np.ones((0, 3), F32)
    assert checks.matrix(X, "X", 3, F32, allow_empty=True) is X
    with pytest.raises(ValueError, match="X has no columns; expected at least one"):
        checks.matrix(np.ones((3, 0)), "X", None, F32)
    assert checks.matrix(np.ones((3, 5)), "X", None, F32).shape == (3, 5)


@pytest.mark.parametrize(
    "X",
    [
        [["1", "2"]],
        [[b"1"]],
        [[1j]],
        [[None]],
        [[object()]],
        np.array([["1.5", 2]], dtype=object),
        np.array([["2020-01-01"]], dtype="M8[D]"),
        np.zeros((1, 1), dtype=[("a", float)]),
        Sparse(),
        Frame([["a", "b"]]),
        {"a": 1},
    ],
    ids=repr,
)
def test_matrix_refuses_what_is_not_real_numbers(X):
    with pytest.raises(TypeError, match=r"X (has dtype|is a)"):
        checks.matrix(X, "X", None, F64)


def test_matrix_refuses_masked_values():
    with pytest.raises(ValueError, match="X has masked values"):
        checks.matrix(np.ma.MaskedArray([[1.0, 2.0]], mask=[[False, True]]), "X", 2, F64)


# ---------------------------------------------------------------- labels and pairs


@pytest.mark.parametrize("y", [[0, 2, 1], [0.0, 2.0, 1.0], [[0], [2], [1]], np.array([0, 2, 1], np.uint8)])
def test_class_labels(y):
    labels = checks.class_labels(np.asarray(y), "y", 3)
    assert labels.dtype == np.intp
    np.testing.assert_array_equal(labels, [0, 2, 1])


def test_class_labels_of_bools():
    np.testing.assert_array_equal(checks.class_labels(np.array([True, False]), "y", 2), [1, 0])


@pytest.mark.parametrize(
    ("y", "message"),
    [
        ([0, 10], "y has label 10; this network has 10 outputs, so labels are 0 to 9"),
        ([-1, 3], "y has label -1; this network"),
        ([0.0, 10.0], "y has label 10; this network"),
        ([0.0, 1.5], "y has label 1.5, no whole number; this network has 10 outputs"),
        ([0.0, np.nan], "y has label nan"),
        ([0.0, np.inf], "y has label inf"),
        (np.array([0, 2**63 + 1], np.uint64), f"y has label {2**63 + 1}; this network"),
    ],
)
def test_class_labels_refuses(y, message):
    with pytest.raises(ValueError, match=message):
        checks.class_labels(np.asarray(y), "y", 10)


@pytest.mark.parametrize(
    ("pred", "target", "dtype"),
    [
        (F32, F32, F32),
        (F32, F64, F64),
        (F64, F32, F64),
        (F32, np.int64, F32),
        (np.uint8, np.uint8, F64),
        (bool, bool, F64),
        (">f4", F32, F32),
        (F32, ">f4", F32),
    ],
)
def test_pair_dtype(pred, target, dtype):
    p, t = checks.pair(np.ones((2, 3), pred), np.ones((2, 3), target))
    assert p.dtype == t.dtype == dtype
    assert p.dtype.isnative
    assert t.dtype.isnative


@pytest.mark.parametrize(
    ("pred", "target", "shape"),
    [((5,), (5, 1), (5, 1)), ((5, 1), (5,), (5, 1)), ((5,), (5,), (5, 1)), ((), (), (1, 1)), ((2, 3), (2, 3), (2, 3))],
)
def test_pair_takes_one_column_either_way(pred, target, shape):
    p, t = checks.pair(np.ones(pred), np.ones(target))
    assert p.shape == t.shape == shape


@pytest.mark.parametrize(
    ("pred", "target"),
    [
        ((100, 2), (100,)),
        ((100,), (100, 2)),
        ((100, 1), ()),
        ((1, 3), (3,)),
        ((3,), (1, 3)),
        ((4, 3), (3,)),
        ((4, 3), (1, 3)),
        ((4, 3), (3, 4)),
        ((4, 1), (4, 1, 1)),
    ],
)
def test_pair_never_broadcasts(pred, target):
    with pytest.raises(ValueError, match=r"target has shape .*; expected that of pred"):
        checks.pair(np.ones(pred), np.ones(target))


def test_pair_refuses_empty_and_deep_predictions():
    with pytest.raises(ValueError, match=r"pred has shape \(0, 2\); expected at least one element"):
        checks.pair(np.ones((0, 2)), np.ones((0, 2)))
    with pytest.raises(ValueError, match="pred has 3 dimensions"):
        checks.pair(np.ones((2, 2, 2)), np.ones((2, 2, 2)))
