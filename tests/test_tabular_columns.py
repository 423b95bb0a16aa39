"""Columns of a table as numbers: scaling, quantiles, indicators, one-hot columns and codes, and their states."""

from __future__ import annotations

import json

import numpy as np
import pytest

from nncore.tabular import columns, frames
from nncore.tabular.preparing import Preparer


def column(values):
    return frames.read({"a": values}).columns[0]


def made(values, n_bins=0, min_count=1, max_one_hot=12):
    return columns.made(column(values), n_bins, min_count, max_one_hot)


def test_squashing():
    z = np.array([0.0, 1e-3, -1e-3, 3.0, -3.0, 1e200, -1e308, np.inf, -np.inf])
    with np.errstate(all="raise"):
        found = columns.squashed(z)
    np.testing.assert_allclose(found[:5], [0, 1e-3, -1e-3, 3 / np.sqrt(2), -3 / np.sqrt(2)], rtol=1e-6)
    np.testing.assert_array_equal(found[5:], [3, -3, 3, -3])
    grid = columns.squashed(np.linspace(-50, 50, 1001))
    assert (np.diff(grid) > 0).all() and np.abs(grid).max() < 3


def test_centre_and_scale():
    assert columns.centre_and_scale(np.arange(101.0)) == (50, 50)
    assert columns.centre_and_scale(np.array([0.0] * 9 + [4])) == (0, 2)  # half of the range stands in
    assert columns.centre_and_scale(np.full(5, 7.1)) == (7.1, 0)
    centre, scale = columns.centre_and_scale(np.array([-1.7e308, 0, 1.7e308]))
    assert centre == 0 and 0 < scale < np.inf


@pytest.mark.parametrize("factor", [1e-300, 1e-5, 1.0, 1e8, 1e300])
def test_numbers_are_scaled_whatever_their_unit(factor):
    x = np.random.default_rng(3).standard_t(1.5, 500)  # heavy tails
    encoder = made(x * factor, n_bins=8)
    out = encoder.encoded(column(x * factor))
    assert out.shape == (500, 1 + 8) and np.abs(out).max() <= 3 and 0.3 < out[:, 0].std() < 3
    np.testing.assert_allclose(out, made(x, n_bins=8).encoded(column(x)), atol=1e-9)


def test_quantiles_are_piecewise_linear():
    encoder = made(np.arange(9.0), n_bins=4)
    np.testing.assert_array_equal(encoder.edges, [0, 2, 4, 6, 8])
    out = encoder.encoded(column([-5.0, 0, 1, 5, 8, 99]))[:, 1:]
    expected = [[0, 0, 0, 0], [0, 0, 0, 0], [0.5, 0, 0, 0], [1, 1, 0.5, 0], [1, 1, 1, 1], [1, 1, 1, 1]]
    np.testing.assert_array_equal(out, expected)
    assert made([0.0, 1] * 9, n_bins=4).width == 1  # two values: the number says it all


def test_missing_numbers_have_the_median_and_an_indicator_if_training_has_some():
    encoder = made([1.0, 2, 3, None])
    np.testing.assert_array_equal(encoder.encoded(column([2.0, None])), [[0, 0], [0, 1]])
    encoder = made([1.0, 2, 3])
    np.testing.assert_array_equal(encoder.encoded(column([2.0, None])), [[0], [0]])
    encoder = made([5.0, 5, None])  # constant, but for what is missing
    np.testing.assert_array_equal(encoder.encoded(column([5.0, None, 7])), [[0], [1], [0]])
    infinite = made([1.0, 2, 3, np.inf, -np.inf]).encoded(column([np.inf, -np.inf, np.nan]))
    np.testing.assert_array_equal(infinite, [[3], [-3], [0]])


def test_booleans():
    encoder = made([True, False, None])
    np.testing.assert_array_equal(encoder.encoded(column([True, None, False])), [[1, 0], [0, 1], [-1, 0]])
    np.testing.assert_array_equal(made([True, False]).encoded(column([None])), [[0]])


def test_columns_that_say_nothing():
    for values in ([3, 3, 3], [True, True], ["x", "x"], [None, None], [None, np.nan], ["a", "b", "c"]):
        encoder = made(values, min_count=2)
        assert isinstance(encoder, columns.Nothing) and encoder.width == 0, values
        assert encoder.encoded(column(values)).shape == (len(values), 0)


def test_dates_have_a_trend_and_the_cycles_in_which_they_differ():
    days = np.arange("2023-01-01", "2025-01-01", dtype="M8[D]")
    encoder = made(days)
    assert encoder.cycles == [True, True, False] and encoder.width == 5
    out = encoder.encoded(column(days))
    np.testing.assert_allclose(out[7:, 3:5], out[:-7, 3:5], atol=1e-9)  # the week's
    np.testing.assert_allclose(out[365, 1:3], out[0, 1:3], atol=1e-9)  # the year's: 1 January each
    hours = np.datetime64("2024-01-01", "s") + np.arange(48) * np.timedelta64(3600, "s")
    encoder = made(hours)
    assert encoder.cycles == [False, True, True] or encoder.cycles == [True, True, True]
    assert np.isfinite(encoder.encoded(column(np.array(["NaT"], "M8[s]")))).all()
    assert made(["2024-01-01", "2024-05-02 10:00"]).kind == "datetime"
    old = np.array(["0001-01-01", "9999-12-31"], "M8[D]")
    assert np.abs(made(old).encoded(column(old))).max() <= 3


def test_few_categories_are_one_hot_and_unknown_ones_nothing():
    encoder = made(["b", "a", "b", "c"])
    np.testing.assert_array_equal(encoder.encoded(column(["a", "b", "c", "?", None])), [*np.eye(3), [0] * 3, [0] * 3])
    encoder = made(["a", "a", "b", "b", None, None, "rare"], min_count=2)
    found = encoder.encoded(column(["a", "b", None, "rare", "?"]))  # pooled first, missing last
    np.testing.assert_array_equal(found, [[0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1], [1, 0, 0, 0], [1, 0, 0, 0]])


def test_many_categories_are_codes():
    values = [f"c{index:02}" for index in range(30)] * 2 + ["once", None]
    encoder = made(values, min_count=2)
    assert (encoder.width, encoder.cardinality, encoder.pooled) == (0, 31, True)
    codes = encoder.encoded(column(["c00", "c29", "once", "new", None]))
    np.testing.assert_array_equal(codes, [[1], [30], [0], [0], [0]])
    assert made(values).cardinality == 33 and made(values).encoded(column([None]))[0] == 32


def test_strings_that_are_numbers_are_numbers():
    assert made(["1.5", "2", "", "4"]).kind == "number"
    assert made(["007", "008"]).kind == "category"
    pd = pytest.importorskip("pandas")
    assert made(pd.Categorical(["1", "2", "1"])).kind == "category"  # as its owner says


def test_states_are_plain_and_make_the_same_encoder():
    for values in (
        [1.0, 5, None, 3, 4, 9],
        [True, None, False],
        ["a", "b", None, "a"],
        [1, "a", 2.5],
        np.array(["2024-01-01", "2024-03-05"], "M8[D]"),
        [7, 7],
    ):
        encoder = made(values, n_bins=3)
        again = columns.restored(encoder.kind, json.loads(json.dumps(encoder.state())))
        np.testing.assert_array_equal(again.encoded(column(values)), encoder.encoded(column(values)))
        assert (again.width, again.cardinality, again.expects) == (encoder.width, encoder.cardinality, encoder.expects)


def test_a_table_is_numbers_then_codes():
    X = {"code": [f"c{index}" for index in range(20)], "x": np.arange(20.0), "flag": [True, False] * 10}
    preparer = Preparer.made(frames.read(X), 0, 1)
    assert preparer.width == 3 and preparer.categories == {2: 21}
    matrix = preparer.matrix(frames.read(dict(reversed(X.items()))), "it", "float32")
    assert matrix.dtype == np.float32
    np.testing.assert_array_equal(np.sort(matrix[:, 2]), np.arange(1, 21))
    with pytest.raises(ValueError, match=r"unseen at fit time:\n- y\nFeature names seen at fit time.*missing:\n- x\n"):
        preparer.matrix(frames.read({"code": ["c1"], "flag": [True], "y": [1]}), "it", "float32")
    with pytest.raises(ValueError, match=r"column 'x' of X was of kind 'number' in fit; now .* 'category', with '\?'"):
        preparer.matrix(frames.read({"code": ["c1"], "flag": [True], "x": ["?"]}), "it", "float32")
    with pytest.raises(ValueError, match="X has 2 features, but it is expecting 3 features as input"):
        preparer.matrix(frames.read([[1, 2]]), "it", "float32")
