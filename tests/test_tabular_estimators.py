"""The estimators for tables: messy frames in, classes and numbers out, in both backends."""

from __future__ import annotations

import copy
import datetime
import pickle
import warnings

import numpy as np
import pytest

import nncore as nn

SEED = 20240517
QUICK = {"members": 2, "epochs": 30, "hidden": (16,)}


def messy(n=120, seed=SEED):
    """Return a dict of columns of all kinds, with missing values, and what follows from them: a number, a class."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(n)
    colour = rng.choice(["red", "green", "blue"], n)
    many = rng.integers(0, 20, n)
    flag = rng.random(n) < 0.5
    days = rng.integers(0, 700, n)
    number = 2 * x + 3 * (colour == "red") - 2 * flag + 0.1 * many
    X = {
        "x": np.where(rng.random(n) < 0.1, np.nan, x),
        "colour": [None if rng.random() < 0.1 else str(value) for value in colour],
        "many": [f"shop {value}" for value in many],
        "flag": [None if rng.random() < 0.1 else bool(value) for value in flag],
        "day": np.datetime64("2022-01-01") + days.astype("m8[D]"),
        "constant": np.full(n, 3.0),
        "nothing": [None] * n,
        "tail": np.exp(5 * rng.standard_normal(n)),
    }
    return X, number, np.where(number > 0.5, "yes", "no")


def rows(X, which):
    return {name: np.asarray(values, dtype=object)[which] for name, values in X.items()}


def test_they_are_loaded_on_demand():
    assert nn.TabularClassifier is nn.tabular.TabularClassifier
    assert {"TabularClassifier", "TabularRegressor", "tabular"} <= set(dir(nn))


def test_a_messy_table(backend):
    X, number, label = messy(300)
    train, test = np.arange(200), np.arange(200, 300)
    model = nn.TabularClassifier(backend=backend, members=2, epochs=60).fit(rows(X, train), label[train])
    assert model.score(rows(X, test), label[test]) > 0.8
    shares = model.predict_proba(rows(X, test))
    assert shares.shape == (100, 2) and list(model.classes_) == ["no", "yes"]
    np.testing.assert_allclose(shares.sum(axis=1), 1, rtol=1e-12)
    assert set(model.predict(rows(X, test))) <= {"yes", "no"}
    assert model.n_features_in_ == 8 and list(model.feature_names_in_) == list(X)
    assert len(model.networks_) == 2 and model.networks_[0].backend == backend
    model = nn.TabularRegressor(backend=backend, members=2, epochs=60).fit(rows(X, train), 1e6 * number[train] - 7e6)
    assert model.score(rows(X, test), 1e6 * number[test] - 7e6) > 0.7
    assert model.predict(rows(X, test)).shape == (100,)


def test_both_backends_learn_alike():
    pytest.importorskip("nncore._core")
    X, number, _ = messy()
    found = [
        nn.TabularRegressor(backend=backend, dtype="float64", members=1, epochs=3).fit(X, number).predict(X)
        for backend in ("native", "numpy")
    ]
    np.testing.assert_allclose(*found, rtol=1e-8)


def test_all_kinds_of_tables_give_the_same_model():
    X, number, _ = messy()
    X["day"] = X["day"].astype("M8[us]")
    expected = nn.TabularRegressor(**QUICK).fit(X, number).predict(X)
    records = [list(row) for row in zip(*(np.asarray(v, dtype=object) for v in X.values()), strict=True)]
    for given in (np.array(records, dtype=object), records):
        np.testing.assert_array_equal(nn.TabularRegressor(**QUICK).fit(given, number).predict(given), expected)


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_frames(library):
    module = pytest.importorskip(library)
    X, number, label = messy()
    expected = nn.TabularRegressor(**QUICK).fit(X, number).predict(X)
    frame = module.DataFrame({name: list(values) if name != "day" else values for name, values in X.items()})
    before = frame.clone() if library == "polars" else frame.copy(deep=True)
    model = nn.TabularRegressor(**QUICK).fit(frame, module.Series(number))
    np.testing.assert_array_equal(model.predict(frame), expected)
    assert before.equals(frame)
    shuffled = frame[list(reversed(frame.columns))]
    np.testing.assert_array_equal(model.predict(shuffled), expected)
    np.testing.assert_array_equal(model.predict(X), expected)
    with pytest.raises(ValueError, match="yet now missing:\n- x\n"):
        model.predict(frame[[name for name in frame.columns if name != "x"]])
    more = frame.with_columns(module.Series("z", number)) if library == "polars" else frame.assign(z=number)
    with pytest.raises(ValueError, match="unseen at fit time:\n- z\n"):
        model.predict(more)
    classifier = nn.TabularClassifier(**QUICK).fit(frame, module.Series(label))
    assert list(classifier.classes_) == ["no", "yes"]


def test_integer_names_and_arrays_after_frames():
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(np.random.default_rng(SEED).standard_normal((40, 3)))
    y = frame[0] - frame[2]
    model = nn.TabularRegressor(**QUICK).fit(frame, y)
    assert not hasattr(model, "feature_names_in_")
    np.testing.assert_array_equal(model.predict(frame[[2, 0, 1]]), model.predict(frame))
    with pytest.warns(UserWarning, match="X does not have valid feature names"):
        np.testing.assert_array_equal(model.predict(frame.to_numpy()), model.predict(frame))
    model.fit(frame.to_numpy(), y)
    with pytest.warns(UserWarning, match="X has feature names, but TabularRegressor was fitted without"):
        model.predict(frame)
    with pytest.raises(ValueError, match="X has 2 features, but TabularRegressor is expecting 3"):
        model.predict(frame.to_numpy()[:, :2])


def test_missing_values_in_training_only_and_in_prediction_only():
    X, number, label = messy()
    whole = {name: X[name] for name in ("many", "day", "tail")}
    whole["x"], whole["colour"] = np.nan_to_num(X["x"]), [value or "red" for value in X["colour"]]
    for given, later in ((X, whole), (whole, {name: [None] * 5 for name in whole})):
        model = nn.TabularRegressor(**QUICK).fit({name: given[name] for name in whole}, number)
        assert np.isfinite(model.predict(later)).all()
    model = nn.TabularClassifier(**QUICK).fit(whole, label)
    assert np.isfinite(model.predict_proba({name: [None] for name in whole})).all()


def test_an_activation_keeps_its_setting(tmp_path):
    X = {"x": np.linspace(-2, 2, 60)}
    given = {name: nn.TabularRegressor(activation=name, **QUICK).fit(X, X["x"]) for name in ("leaky_relu", "gelu")}
    for activation in (nn.activations.LeakyReLU(0.1), nn.activations.LeakyReLU(0.9), nn.gelu):
        model = nn.TabularRegressor(activation=activation, **QUICK).fit(X, X["x"])
        assert model.networks_[0].layers[0].activation == activation
        same = np.array_equal(model.predict(X), given[activation.name].predict(X))
        assert same == (activation.alpha != 0.9)
        model.save(tmp_path / "model.npz")
        loaded = nn.TabularRegressor.load(tmp_path / "model.npz")
        assert loaded.activation == activation
        np.testing.assert_array_equal(loaded.predict(X), model.predict(X))


def test_targets_of_numpys_strings():
    strings = getattr(np.dtypes, "StringDType", None)
    if strings is None:
        pytest.skip("NumPy 1 has no strings of any length")
    X = {"x": np.linspace(-2, 2, 60)}
    y = np.where(X["x"] > 0, "above", "below").astype(strings())
    model = nn.TabularClassifier(**QUICK).fit(X, y)
    assert model.classes_.tolist() == ["above", "below"] and model.score(X, y) > 0.9
    with pytest.raises(ValueError, match="no class in row 1"):
        nn.TabularClassifier(**QUICK).fit(X, np.array(["a", None, *["b"] * 58], strings(na_object=None)))


def test_a_few_rows_of_a_mixed_column_are_read_as_in_training(tmp_path):
    """Rows that hold numbers, booleans or dates alone belong to a column of labels all the same."""
    kinds = [1, "a", 2.5, None, True, datetime.date(2024, 1, 2), datetime.timedelta(1)]
    X = {"mixed": kinds * 20, "rare": ["x", "y"] * 69 + [3, 4]}  # 3 and 4 are pooled, and not kept as labels
    model = nn.TabularRegressor(members=1, epochs=5).fit(X, np.arange(140.0) % 7)
    whole = model.predict(X)
    model.save(tmp_path / "model.npz")
    for each in (model, pickle.loads(pickle.dumps(model)), nn.TabularRegressor.load(tmp_path / "model.npz")):
        for row in (*range(7), 138, 139):
            one = each.predict({name: [values[row]] for name, values in X.items()})
            np.testing.assert_allclose(one, whole[row], rtol=1e-5)
    with pytest.raises(ValueError, match="column 's' of X was of kind 'category'"):
        nn.TabularRegressor(members=1, epochs=1).fit({"s": ["x", "y"] * 9}, range(18)).predict({"s": [1]})


def test_rows_of_a_file_whose_codes_are_numbers_in_part():
    """Read alone, rows with "1" or "True" in a column of text are numbers and bools."""
    codes = ["1", "2.5", "A", "30", "True", "", "01"] * 20
    X = {"code": codes}
    model = nn.TabularRegressor(members=1, epochs=5).fit(X, np.arange(140.0) % 7)
    whole = model.predict(X)[:7]
    for index, alone in enumerate([[1], [2.5], ["A"], np.array([30.0]), [True], [np.nan], ["01"]]):
        np.testing.assert_allclose(model.predict({"code": alone}), whole[index], rtol=1e-5)
    np.testing.assert_allclose(model.predict({"code": np.array([1, 30])}), whole[[0, 3]], rtol=1e-5)
    np.testing.assert_allclose(model.predict({"code": np.array([True])}), whole[4], rtol=1e-5)
    assert len(set(whole.tolist())) == 7
    unknown = model.predict({"code": ["elsewhere", "77"]})
    np.testing.assert_allclose(model.predict({"code": [77]}), unknown[1], rtol=1e-5)


def test_unseen_categories_are_the_mean_of_those_seen(backend):
    rng = np.random.default_rng(SEED)
    shop = rng.integers(0, 30, 300)
    effect = np.linspace(-3, 3, 30)
    X = {"shop": [f"s{index}" for index in shop]}
    settings = {"members": 1, "epochs": 60, "hidden": (16,), "dropout": 0.0, "learning_rate": 0.02}
    model = nn.TabularRegressor(backend=backend, **settings).fit(X, effect[shop])
    assert model.score(X, effect[shop]) > 0.9
    table = model.networks_[0].get_weights()[0]
    counts = np.bincount(shop)
    order = [int(label[1:]) for label in model._preparer.encoders[0].labels]
    np.testing.assert_allclose(table[0], counts[order] @ table[1:] / len(shop), rtol=1e-4, atol=1e-6)
    seen = model.predict({"shop": ["s0", "s29", "elsewhere"]})
    assert seen[0] < seen[2] < seen[1]


@pytest.mark.parametrize(
    ("y", "dtype"),
    [
        (["b", "a"], object),
        (np.array(["b", "a"]), np.dtype("<U1")),
        ([3, 1], np.int64),
        (np.array([3, 1], np.uint8), np.uint8),
        ([True, False], bool),
        ([1.0, 0.0], np.float64),
        (np.array(["2024-01-02", "2024-01-01"], "M8[D]"), np.dtype("M8[D]")),
        (np.array([True, False], object), bool),
        (np.array([3, 1], object), np.int64),
    ],
)
def test_classes_of_any_type(y, dtype, tmp_path):
    values = [y[0], y[1]] * 20 if isinstance(y, list) else np.tile(y, 20)
    X = np.tile([[0.0], [1.0]], (20, 1))
    model = nn.TabularClassifier(**QUICK, learning_rate=0.01).fit(X, values)
    assert model.classes_.dtype == dtype and model.classes_[1] == y[0]
    predicted = model.predict(X)
    assert predicted.dtype == dtype and list(predicted) == list(values) and model.score(X, values) == 1
    model.save(tmp_path / "m.npz")
    again = nn.TabularClassifier.load(tmp_path / "m.npz")
    assert again.classes_.dtype == dtype and list(again.predict(X)) == list(predicted)


def test_pandas_targets():
    pd = pytest.importorskip("pandas")
    X = pd.DataFrame({"a": [0.0, 1.0] * 20})
    for y in (
        pd.Series(pd.Categorical(["b", "a"] * 20)),
        pd.Series(["b", "a"] * 20, dtype="string"),
        pd.Series([1, 0] * 20, dtype="Int64"),
        pd.Series([True, False] * 20, dtype="boolean"),
    ):
        model = nn.TabularClassifier(**QUICK).fit(X, y)
        assert len(model.classes_) == 2
    with pytest.raises(ValueError, match="Input y contains NaN"):
        nn.TabularClassifier().fit(X, pd.Series([1, None] * 20, dtype="Int64"))
    many = nn.TabularRegressor(**QUICK).fit(X, pd.DataFrame({"u": X["a"], "v": -X["a"]}))
    assert many.predict(X).shape == (40, 2)


def test_targets_of_several_outputs_and_odd_scales():
    X = np.linspace(-1, 1, 60)[:, None]
    y = np.concatenate([1e12 * X, 1e-12 * X, 0 * X + 5], axis=1)
    model = nn.TabularRegressor(members=2, epochs=80).fit(X, y)
    found = model.predict(X)
    assert found.shape == (60, 3)
    np.testing.assert_array_equal(found[:, 2], 5)
    for column in (0, 1):
        assert np.corrcoef(found[:, column], y[:, column])[0, 1] > 0.99
    assert nn.TabularRegressor(**QUICK).fit(X, y[:, :1]).predict(X).shape == (60, 1)
    large = nn.TabularRegressor(**QUICK).fit(X, 1e308 * X[:, 0]).predict(X)
    assert np.isfinite(large).all() and np.abs(large).max() > 1e307


def test_degenerate_tables():
    X = np.arange(12.0).reshape(6, 2)
    with pytest.warns(UserWarning, match="single class"):
        model = nn.TabularClassifier().fit(X, ["a"] * 6)
    assert list(model.predict(X)) == ["a"] * 6 and model.networks_ == []
    np.testing.assert_array_equal(model.predict_proba(X), np.ones((6, 1)))
    np.testing.assert_array_equal(nn.TabularRegressor().fit(X, np.full(6, 0.1)).predict(X), 0.1)
    np.testing.assert_array_equal(nn.TabularRegressor().fit([[1, "a"]], [4]).predict([[2, "b"]]), [4])
    model = nn.TabularClassifier().fit({"a": [7] * 9, "b": [None] * 9}, [0, 1, 1] * 3)
    np.testing.assert_allclose(model.predict_proba({"a": [1], "b": [2]}), [[1 / 3, 2 / 3]])
    two = nn.TabularClassifier(**QUICK).fit([[0], [1]], ["a", "b"])
    assert two.predict_proba([[0]]).shape == (1, 2)
    lone = nn.TabularClassifier(**QUICK).fit(np.arange(21)[:, None], [0] * 20 + [1])
    assert lone.predict_proba([[20]]).shape == (1, 2)
    wide = np.random.default_rng(SEED).standard_normal((20, 300))
    assert nn.TabularRegressor(**QUICK).fit(wide, wide[:, 0]).predict(wide).shape == (20,)


def test_weights_of_rows_and_classes():
    X, _, label = messy(80)
    weights = np.ones(80)
    weights[60:] = 0
    kept = rows(X, np.arange(60))
    a = nn.TabularClassifier(**QUICK).fit(kept, label[:60]).predict_proba(X)
    b = nn.TabularClassifier(**QUICK).fit(X, label, sample_weight=weights).predict_proba(X)
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
    rng = np.random.default_rng(SEED)
    x, y = rng.standard_normal((200, 1)), (rng.random(200) < 0.1).astype(int)
    plain = nn.TabularClassifier(**QUICK).fit(x, y).predict_proba(x)[:, 1].mean()
    even = nn.TabularClassifier(**QUICK, class_weight="balanced").fit(x, y).predict_proba(x)[:, 1].mean()
    given = nn.TabularClassifier(**QUICK, class_weight={1: 9}).fit(x, y).predict_proba(x)[:, 1].mean()
    assert plain < 0.25 and even > 0.35 and given > 0.35
    heavy = nn.TabularRegressor(**QUICK).fit(x, y, sample_weight=np.where(y, 9.0, 1.0)).predict(x).mean()
    assert heavy > nn.TabularRegressor(**QUICK).fit(x, y).predict(x).mean() + 0.1


def test_the_same_seed_gives_the_same_bits():
    X, number, _ = messy()
    changes = ({}, {}, {"threads": 1}, {"seed": 1})
    fits = [nn.TabularRegressor(**QUICK, **more).fit(X, number).predict(X) for more in changes]
    np.testing.assert_array_equal(fits[0], fits[1])
    np.testing.assert_array_equal(fits[0], fits[2])
    assert (fits[0] != fits[3]).any()


def test_nothing_that_is_handed_over_changes():
    X, number, _ = messy()
    before, state = copy.deepcopy(X), np.random.get_state()[1].copy()
    y = number.copy()
    y.flags.writeable = False
    for values in X.values():
        if isinstance(values, np.ndarray):
            values.flags.writeable = False
    nn.TabularRegressor(**QUICK).fit(X, y, sample_weight=np.ones(len(y))).predict(X)
    for name, values in X.items():
        assert [repr(value) for value in values] == [repr(value) for value in before[name]], name
    np.testing.assert_array_equal(np.random.get_state()[1], state)


def test_pickles_copies_and_files(tmp_path, backend):
    X, number, label = messy()
    for cls, y in ((nn.TabularClassifier, label), (nn.TabularRegressor, number)):
        model = cls(**QUICK, backend=backend).fit(X, y)
        model.save(tmp_path / "model.npz")
        others = [pickle.loads(pickle.dumps(model)), copy.deepcopy(model), cls.load(tmp_path / "model.npz", backend)]
        for other in others:
            np.testing.assert_array_equal(other.predict(X), model.predict(X))
            assert repr(other) == repr(model) and list(other.feature_names_in_) == list(X)
    with pytest.raises(ValueError, match="no TabularClassifier, or damaged: it is a TabularRegressor"):
        nn.TabularClassifier.load(tmp_path / "model.npz")
    content = (tmp_path / "model.npz").read_bytes()
    for at in range(40, len(content), len(content) // 40):
        damaged = bytearray(content)
        damaged[at] ^= 0x55
        (tmp_path / "bad.npz").write_bytes(damaged)
        try:
            found = nn.TabularRegressor.load(tmp_path / "bad.npz").predict(X)
        except ValueError:
            continue
        np.testing.assert_array_equal(found, model.predict(X))  # what is not read, such as a time
    for cut in (0, 10, len(content) // 2, len(content) - 1):
        (tmp_path / "bad.npz").write_bytes(content[:cut])
        with pytest.raises(ValueError, match="damaged"):
            nn.TabularRegressor.load(tmp_path / "bad.npz")
    with pytest.raises(TypeError, match="which a file cannot keep"):
        nn.TabularRegressor(**QUICK).fit({("a", 1): np.arange(20)}, np.arange(20)).save(tmp_path / "m.npz")


def test_parameters():
    model = nn.TabularClassifier(members=3, class_weight="balanced")
    assert repr(model) == "TabularClassifier(members=3, class_weight='balanced')"
    assert model.get_params()["members"] == 3 and "class_weight" not in nn.TabularRegressor().get_params()
    assert model.set_params(seed=4) is model and model.seed == 4
    with pytest.raises(ValueError, match="Invalid parameter 'nonsense'"):
        model.set_params(nonsense=1)
    X, number, label = messy(30)
    for name, value, error in [
        ("members", 0, ValueError),
        ("epochs", 1.5, TypeError),
        ("hidden", "64", TypeError),
        ("hidden", (0,), ValueError),
        ("dropout", 1.0, ValueError),
        ("learning_rate", 0, ValueError),
        ("n_bins", -1, ValueError),
        ("min_count", 0, ValueError),
        ("seed", -1, ValueError),
        ("backend", "cuda", ValueError),
        ("activation", "nonsense", ValueError),
        ("threads", 0, ValueError),
        ("patience", 0, ValueError),
    ]:
        with pytest.raises(error, match=name):
            nn.TabularRegressor(**{name: value}).fit(X, number)
    for weight, error in ((3, TypeError), ("even", ValueError), ({"maybe": 1}, ValueError), ({"yes": -1}, ValueError)):
        with pytest.raises(error, match="class_weight"):
            nn.TabularClassifier(class_weight=weight).fit(X, label)


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (None, "y is None"),
        ([1, 2], "y has 2 samples, X has 4"),
        (["a", "b", None, "a"], "Input y contains NaN"),
        ([1.0, 2.0, np.nan, 1.0], "Input y contains NaN"),
        ([1.0, 2.0, np.inf, 1.0], "Input y contains infinity"),
        ([1.5, 2.0, 2.5, 1.0], "Unknown label type: continuous"),
        (np.eye(4), "1d array"),
        (np.array([1, "a", 2, "b"], object), "labels of types int, str"),
    ],
)
def test_bad_classes(y, message):
    with pytest.raises(ValueError, match=message):
        nn.TabularClassifier().fit(np.arange(4)[:, None], y)


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (None, "y is None"),
        ([1, 2], "y has 2 samples, X has 4"),
        ([1, 2, np.nan, 4], "Input y contains NaN"),
        ([1, 2, np.inf, 4], "Input y contains infinity"),
        (["a", "b", "c", "d"], "no numbers"),
        (np.zeros((4, 1, 1)), "shape"),
    ],
)
def test_bad_numbers(y, message):
    with pytest.raises(ValueError, match=message):
        nn.TabularRegressor().fit(np.arange(4)[:, None], y)


def test_weights_that_do_not_fit_and_a_failed_fit_changes_nothing():
    X = np.arange(20.0)[:, None]
    model = nn.TabularRegressor(**QUICK).fit(X, X[:, 0])
    before = model.predict(X)
    for weights in ([1], -np.ones(20), np.zeros(20), np.full(20, np.nan)):
        with pytest.raises(ValueError, match="sample_weight"):
            model.fit(X, X[:, 0], sample_weight=weights)
    with pytest.raises(ValueError, match="not fitted yet"):
        nn.TabularRegressor().predict(X)
    with pytest.raises(ValueError, match="not fitted yet"):
        nn.TabularClassifier().predict(X)
    np.testing.assert_array_equal(model.predict(X), before)


def test_warnings_are_not_many():
    X, number, label = messy(60)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        nn.TabularRegressor(**QUICK).fit(X, number).predict(X)
        nn.TabularClassifier(**QUICK).fit(X, label).predict(X)
