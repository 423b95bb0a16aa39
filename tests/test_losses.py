"""Tests of the losses: worked numbers, gradients, the forms from logits, extremes, shapes and dtypes."""

import math
import warnings

import numpy as np
import pytest

from nncore import activations, losses
from nncore.losses import (
    BinaryCrossEntropy,
    Cosine,
    CrossEntropy,
    Hinge,
    Huber,
    MeanAbsoluteError,
    MeanSquaredError,
    Poisson,
    Quantile,
)

mse, bce, cross_entropy = MeanSquaredError(), BinaryCrossEntropy(), CrossEntropy()
NEW = [
    MeanAbsoluteError(),
    Huber(),
    Huber(0.2),
    Hinge(),
    Poisson(),
    Quantile(),
    Quantile(0.9),
    Cosine(),
    BinaryCrossEntropy(pos_weight=3.0),
    BinaryCrossEntropy(0.5, 0.2),
    CrossEntropy(0.1),
]
ALL = [mse, bce, cross_entropy, *NEW]
FLOATS = [np.float32, np.float64]


@pytest.fixture(autouse=True)
def no_warnings():
    with warnings.catch_warnings(), np.errstate(all="warn"):
        warnings.simplefilter("error")
        yield


def numeric_gradient(function, x, h=1e-6):
    gradient = np.empty_like(x)
    for index in np.ndindex(x.shape):
        up, down = x.copy(), x.copy()
        up[index] += h
        down[index] -= h
        gradient[index] = (function(up) - function(down)) / (2 * h)
    return gradient


def example(loss, shape=(6, 4), seed=0):
    """Return predictions and targets that a loss takes, away from the ends."""
    rng = np.random.default_rng(seed)
    pred = rng.uniform(0.05, 0.95, shape)
    target = rng.uniform(0.0, 1.0, shape)
    if loss.name == "hinge":
        target = np.where(target < 0.5, -1.0, 1.0)
    if loss.name == "cross_entropy":
        pred /= pred.sum(axis=1, keepdims=True)
        target /= target.sum(axis=1, keepdims=True)
    return pred, target


# ---------------------------------------------------------------- worked numbers


def test_worked_numbers():
    assert bce(activations.sigmoid([-0.1]), [1]) == pytest.approx(0.744, abs=5e-4)
    assert bce.gradient(0.475, 1) == pytest.approx(-2.105, abs=5e-4)
    assert bce.gradient_from_logits(-0.1, 1) == pytest.approx(-0.525, abs=5e-4)
    assert cross_entropy([[0.538, 0.463]], [0]) == pytest.approx(0.620, abs=5e-4)
    assert cross_entropy.from_logits_rows([[0.74, 0.59]], [0])[0] == pytest.approx(math.log(1 + math.exp(-0.15)))
    assert mse([1.0, 2.0, 3.0], [1.0, 4.0, 0.0]) == pytest.approx(13 / 3)
    np.testing.assert_allclose(mse.gradient([1.0, 2.0, 3.0], [1.0, 4.0, 0.0]), [0, -4 / 3, 2])


def test_means_are_over_elements_or_rows():
    pred, target = np.array([[0.5, 0.2], [0.9, 0.4]]), np.array([[1.0, 0.0], [1.0, 0.0]])
    assert mse(pred, target) == pytest.approx((0.25 + 0.04 + 0.01 + 0.16) / 4)
    assert bce(pred, target) == pytest.approx(-np.log([0.5, 0.8, 0.9, 0.6]).sum() / 4)
    assert cross_entropy(pred, target) == pytest.approx(-np.log([0.5, 0.9]).sum() / 2)


@pytest.mark.parametrize("loss", ALL, ids=repr)
@pytest.mark.parametrize("dtype", FLOATS)
def test_the_loss_is_the_mean_of_its_rows(loss, dtype):
    pred, target = (a.astype(dtype) for a in example(loss, (7, 3)))
    rows = loss.rows(pred, target)
    assert rows.shape == (7,)
    assert rows.dtype == np.float64
    result = loss(pred, target)
    assert type(result) is float
    assert result == pytest.approx(rows.mean(), rel=1e-15)
    for i in range(7):
        assert loss(pred[i : i + 1], target[i : i + 1]) == pytest.approx(rows[i], rel=1e-6)


# ---------------------------------------------------------------- gradients


@pytest.mark.parametrize("loss", ALL, ids=repr)
@pytest.mark.parametrize("shape", [(6, 4), (1, 2), (5, 2)])
def test_gradient(loss, shape):
    pred, target = example(loss, shape, seed=1)
    gradient = loss.gradient(pred, target)
    assert gradient.shape == shape
    np.testing.assert_allclose(gradient, numeric_gradient(lambda p: loss(p, target), pred), rtol=1e-6, atol=1e-8)


def test_gradient_for_labels():
    pred, _ = example(cross_entropy)
    labels = np.array([0, 3, 1, 1, 2, 0])
    one_hot = np.eye(4)[labels]
    np.testing.assert_array_equal(cross_entropy.gradient(pred, labels), cross_entropy.gradient(pred, one_hot))
    np.testing.assert_array_equal(cross_entropy.rows(pred, labels), cross_entropy.rows(pred, one_hot))


@pytest.mark.parametrize(("loss", "output"), [(bce, activations.sigmoid), (cross_entropy, activations.softmax)])
@pytest.mark.parametrize("soft", [False, True])
def test_from_logits_agrees_with_probabilities(loss, output, soft):
    _, target = example(loss, seed=2)
    if not soft:
        target = np.eye(4)[target.argmax(axis=1)]
    z = np.random.default_rng(3).standard_normal((6, 4)) * 3
    np.testing.assert_allclose(loss.from_logits_rows(z, target), loss.rows(output(z), target), rtol=1e-12)
    gradient = numeric_gradient(lambda z: loss(output(z), target), z)
    np.testing.assert_allclose(loss.gradient_from_logits(z, target), gradient, rtol=1e-6, atol=1e-9)


def test_logits_and_labels():
    z = np.random.default_rng(4).standard_normal((6, 4))
    labels = np.array([0, 3, 1, 1, 2, 0])
    for given in (labels, labels[:, None], labels.astype(np.uint8), labels.astype(float)):
        one_hot = np.eye(4)[labels]
        rows, gradient = cross_entropy.from_logits_rows(z, one_hot), cross_entropy.gradient_from_logits(z, one_hot)
        np.testing.assert_allclose(cross_entropy.from_logits_rows(z, given), rows, rtol=1e-14)
        np.testing.assert_allclose(cross_entropy.gradient_from_logits(z, given), gradient, rtol=1e-14, atol=1e-17)


def test_targets_that_do_not_sum_to_one_have_the_true_gradient_too():
    z, target = np.random.default_rng(5).standard_normal((2, 3, 4))
    expected = numeric_gradient(lambda z: cross_entropy.from_logits_rows(z, target).mean(), z)
    np.testing.assert_allclose(cross_entropy.gradient_from_logits(z, target), expected, rtol=1e-6, atol=1e-8)


# ---------------------------------------------------------------- extremes


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("value", [0, 1])
def test_certain_and_right_costs_nothing(dtype, value):
    p, y = np.array([value], dtype), np.array([value], dtype)
    assert bce(p, y) == 0
    assert not np.signbit(bce(p, y))
    gradient = bce.gradient(p, y)
    assert gradient.dtype == dtype
    assert gradient == (-1 if value else 1)
    assert str(cross_entropy(np.array([[1, 0]], dtype), [0])) == "0.0"
    assert str(cross_entropy(np.array([[1, 0]], dtype), [[1, 0]])) == "0.0"


@pytest.mark.parametrize("dtype", FLOATS)
def test_certain_and_wrong_costs_the_floor(dtype):
    floor = -math.log(np.finfo(dtype).tiny)
    p = np.array([[0, 1], [1, 0]], dtype)
    assert bce(p, 1 - p) == pytest.approx(floor, rel=1e-6)
    assert cross_entropy(p, 1 - p) == pytest.approx(floor, rel=1e-6)
    assert cross_entropy(p, [0, 1]) == pytest.approx(floor, rel=1e-6)
    for loss in (bce, cross_entropy):
        assert np.isfinite(loss.gradient(p, 1 - p)).all()
    assert np.isfinite(cross_entropy.gradient(p, [0, 1])).all()


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(
    ("z", "y", "cost", "slope"),
    [(100, 1, 0, 0), (-100, 0, 0, 0), (-100, 1, 100, -1), (1e4, 0, 1e4, 1), (-1e4, 0, 0, 0)],
)
def test_bce_of_large_logits(dtype, z, y, cost, slope):
    z, y = np.array([[z]], dtype), np.array([[y]], dtype)
    np.testing.assert_allclose(bce.from_logits_rows(z, y), cost, atol=1e-40)
    gradient = bce.gradient_from_logits(z, y)
    assert gradient.dtype == dtype
    np.testing.assert_allclose(gradient, slope, atol=1e-40)


@pytest.mark.parametrize("dtype", FLOATS)
def test_cross_entropy_of_large_logits(dtype):
    z = np.array([[1e4, -1e4, 0], [100, 0, 0]], dtype)
    for target in ([0, 0], np.eye(3)[[0, 0]]):
        np.testing.assert_allclose(cross_entropy.from_logits_rows(z, target), 0, atol=1e-40)
        np.testing.assert_allclose(cross_entropy.gradient_from_logits(z, target), 0, atol=1e-40)
    for target in ([1, 1], np.eye(3)[[1, 1]]):
        np.testing.assert_allclose(cross_entropy.from_logits_rows(z, target), [2e4, 100])
        np.testing.assert_allclose(cross_entropy.gradient_from_logits(z, target), [[0.5, -0.5, 0]] * 2, atol=1e-40)


@pytest.mark.parametrize("dtype", FLOATS)
def test_the_largest_numbers_give_infinity_and_never_nan(dtype):
    most = np.finfo(dtype).max
    z = np.array([[most, -most], [-most, most]], dtype)
    assert mse(z, -z) == math.inf
    assert mse(z, z) == 0
    np.testing.assert_array_equal(mse.gradient(z, -z), np.sign(z) * np.inf)
    one_hot = np.array([[1, 0], [1, 0]], dtype)
    for target in ([0, 0], one_hot):
        np.testing.assert_array_equal(cross_entropy.from_logits_rows(z, target), [0, np.inf])
        np.testing.assert_array_equal(cross_entropy.gradient_from_logits(z, target), [[0, 0], [-0.5, 0.5]])
    np.testing.assert_array_equal(bce.from_logits_rows(z, one_hot), [0, most])
    np.testing.assert_array_equal(bce.gradient_from_logits(z, one_hot), [[0, 0], [-0.25, 0.25]])


@pytest.mark.parametrize("dtype", FLOATS)
def test_a_mean_is_infinite_only_where_it_is_itself(dtype):
    # Each square is within the type, and their sum is not.
    pred = np.full((8, 8), math.sqrt(np.finfo(dtype).max) / 2, dtype)
    assert mse(pred, np.zeros_like(pred)) == pytest.approx(float(np.finfo(dtype).max) / 4, rel=1e-6)


@pytest.mark.parametrize("loss", ALL, ids=repr)
def test_nan_stays_in_its_row(loss):
    pred, target = example(loss)
    pred[2, 1] = np.nan
    np.testing.assert_array_equal(np.isnan(loss.rows(pred, target)), np.arange(6) == 2)
    assert math.isnan(loss(pred, target))


# ---------------------------------------------------------------- shapes and dtypes


@pytest.mark.parametrize("loss", [mse, bce], ids=repr)
def test_one_column_in_either_shape(loss):
    pred, target = example(loss, (100, 1))
    expected = loss(pred, target)
    gradient = loss.gradient(pred, target)
    for p, t in [(pred, target[:, 0]), (pred[:, 0], target), (pred[:, 0], target[:, 0])]:
        assert loss(p, t) == expected
        assert loss.gradient(p, t).shape == p.shape
        np.testing.assert_array_equal(loss.gradient(p, t).ravel(), gradient.ravel())


@pytest.mark.parametrize("loss", [mse, bce], ids=repr)
def test_scalars(loss):
    assert loss(0.25, 1.0) == loss([0.25], [1.0])
    assert np.ndim(loss.gradient(0.25, 1.0)) == 0


@pytest.mark.parametrize("loss", ALL, ids=repr)
@pytest.mark.parametrize(
    ("pred", "target"), [((100, 2), (50,)), ((100, 2), (100, 3)), ((4, 3), (3, 4)), ((4, 3), (1, 3)), ((4, 3), ())]
)
def test_other_shapes_are_refused(loss, pred, target):
    for f in (loss, loss.rows, loss.gradient):
        with pytest.raises(ValueError, match=r"target has shape .*; expected"):
            f(np.full(pred, 0.5), np.zeros(target))


@pytest.mark.parametrize("loss", [mse, bce], ids=repr)
def test_a_vector_is_not_spread_over_columns(loss):
    with pytest.raises(ValueError, match=r"target has shape \(100,\); expected that of pred, \(100, 2\)"):
        loss(np.full((100, 2), 0.5), np.zeros(100))


@pytest.mark.parametrize("shape", [(3,), (3, 1), ()])
def test_cross_entropy_takes_several_columns(shape):
    with pytest.raises(
        ValueError, match=r"pred has shape .*; cross_entropy takes \(rows, classes\), at least 2 classes"
    ):
        cross_entropy(np.full(shape, 0.5), np.zeros(shape))


@pytest.mark.parametrize("label", [3, -1, 1.5])
def test_labels_out_of_range(label):
    for f in (
        cross_entropy.rows,
        cross_entropy.gradient,
        cross_entropy.from_logits_rows,
        cross_entropy.gradient_from_logits,
    ):
        with pytest.raises(ValueError, match=f"target has label {label}.*pred has 3 outputs, so labels are 0 to 2"):
            f(np.full((2, 3), 0.3), [0, label])


@pytest.mark.parametrize("loss", ALL, ids=repr)
def test_empty_data_are_refused(loss):
    with pytest.raises(ValueError, match="expected at least one element"):
        loss(np.ones((0, 2)), np.ones((0, 2)))


@pytest.mark.parametrize("loss", ALL, ids=repr)
def test_what_is_not_real_is_refused(loss):
    with pytest.raises(TypeError, match="target has dtype"):
        loss([[0.5, 0.5]], [["a", "b"]])
    with pytest.raises(TypeError, match="pred has dtype complex128"):
        loss([[0.5j, 0.5]], [[0, 1]])


def test_unsigned_integers_are_cast_before_arithmetic():
    pred, target = np.array([16, 1], np.uint8), np.array([17, 2], np.uint8)
    assert mse(pred, target) == 1
    np.testing.assert_array_equal(mse.gradient(pred, target), [-1, -1])
    assert mse(np.array([1.0], np.float32), np.array([2], np.uint8)) == 1


@pytest.mark.parametrize("loss", ALL, ids=repr)
@pytest.mark.parametrize("dtype", FLOATS)
def test_gradients_keep_the_dtype_and_arguments_are_left_alone(loss, dtype):
    pred, target = (a.astype(dtype) for a in example(loss))
    before = pred.copy(), target.copy()
    results = [loss.gradient(pred, target)]
    loss(pred, target)
    if loss.logits_of:
        results.append(loss.gradient_from_logits(pred, target))
        loss.from_logits_rows(pred, target)
    for result in results:
        assert result.dtype == dtype
    np.testing.assert_array_equal(pred, before[0])
    np.testing.assert_array_equal(target, before[1])


# ---------------------------------------------------------------- the registry


def test_get():
    for name, kind in [("mse", MeanSquaredError), ("bce", BinaryCrossEntropy), ("cross_entropy", CrossEntropy)]:
        loss = losses.get(name)
        assert type(loss) is kind
        assert loss.name == name
        assert loss == kind()
        assert hash(loss) == hash(kind())
        assert losses.get(loss) is loss
        assert repr(loss) == f"{kind.__name__}()"
    assert mse != bce
    for loss in NEW:
        assert losses.get(loss) is loss
        assert type(losses.get(loss.name)) is type(loss)
        assert loss == eval(repr(loss))
        assert hash(loss) == hash(eval(repr(loss)))
    assert Huber(0.2) != Huber()
    assert CrossEntropy(0.1) != cross_entropy
    with pytest.raises(ValueError, match="loss is 'l2'; expected one of 'mse', 'bce', 'cross_entropy'"):
        losses.get("l2")
    with pytest.raises(TypeError, match="loss is the class CrossEntropy; expected one of 'mse'"):
        losses.get(CrossEntropy)


@pytest.mark.parametrize(
    ("activation", "loss"), [("softmax", cross_entropy), ("sigmoid", bce), ("identity", mse), (activations.tanh, mse)]
)
def test_default_for(activation, loss):
    assert losses.default_for(activation) == loss


# ---------------------------------------------------------------- absolute, Huber, hinge, Poisson, quantile, cosine


def test_worked_numbers_of_the_others():
    assert MeanAbsoluteError()([1.0, 2.0, 3.0], [1.0, 4.0, 0.0]) == pytest.approx(5 / 3)
    assert Huber(2.0)([0.0, 1.0, 5.0], [0.0, 0.0, 0.0]) == pytest.approx((0 + 0.5 + 2 * (5 - 1)) / 3)
    assert Hinge()([0.5, 2.0, -0.5, 3.0], [1, 1, -1, -1]) == pytest.approx((0.5 + 0 + 0.5 + 4) / 4)
    assert Poisson()([2.0, 0.5], [3.0, 0.0]) == pytest.approx((2 - 3 * math.log(2) + 0.5) / 2)
    assert Quantile(0.9)([1.0, 3.0], [2.0, 2.0]) == pytest.approx((0.9 + 0.1) / 2)
    assert Cosine()([[1.0, 1.0], [3.0, 0.0]], [[1.0, 0.0], [-2.0, 0.0]]) == pytest.approx((1 - 0.5**0.5 + 2) / 2)
    p, y = [0.25, 0.75], [1, 0]
    assert BinaryCrossEntropy(pos_weight=3)(p, y) == pytest.approx(-(3 * math.log(0.25) + math.log(0.25)) / 2)
    assert BinaryCrossEntropy(label_smoothing=0.2)(p, y) == pytest.approx(bce(p, [0.9, 0.1]))
    p = [[0.5, 0.3, 0.2]]
    for target in ([0], [[1, 0, 0]]):
        assert CrossEntropy(0.3)(p, target) == pytest.approx(cross_entropy(p, [[0.8, 0.1, 0.1]]))
        np.testing.assert_allclose(
            CrossEntropy(0.3).gradient_from_logits(p, target),
            cross_entropy.gradient_from_logits(p, [[0.8, 0.1, 0.1]]),
            rtol=1e-14,
        )
        assert CrossEntropy(0.3).from_logits_rows(p, target)[0] == pytest.approx(
            cross_entropy.from_logits_rows(p, [[0.8, 0.1, 0.1]])[0]
        )


def test_half_the_absolute_error_is_the_quantile_loss_of_the_median():
    pred, target = np.random.default_rng(8).standard_normal((2, 9, 3))
    assert 2 * Quantile()(pred, target) == pytest.approx(MeanAbsoluteError()(pred, target))


def test_kinks_have_a_gradient_of_zero():
    for loss in (MeanAbsoluteError(), Huber(), Quantile(0.3)):
        np.testing.assert_array_equal(loss.gradient([1.0, 2.0], [1.0, 2.0]), 0)
    np.testing.assert_array_equal(Hinge().gradient([1.0, -1.0], [1, -1]), 0)


def test_hinge_reads_0_and_1_as_signs():
    pred = [0.3, -0.2, 2.0]
    for target in ([0, 1, 0], [False, True, False]):
        assert Hinge()(pred, target) == Hinge()(pred, [-1, 1, -1])
        np.testing.assert_array_equal(Hinge().gradient(pred, target), Hinge().gradient(pred, [-1, 1, -1]))
    with pytest.raises(ValueError, match="target has the values -1 and 0; hinge takes targets -1 and 1, or 0 and 1"):
        Hinge()(pred, [-1, 0, 1])
    with pytest.raises(ValueError, match="target has the value 2; hinge takes"):
        Hinge()(pred, [2, 0, 1])


@pytest.mark.parametrize("settings", [(3.0, 0.0), (0.2, 0.1)])
def test_weighted_bce_from_logits(settings):
    loss = BinaryCrossEntropy(*settings)
    z, (_, y) = np.random.default_rng(3).standard_normal((6, 4)) * 3, example(loss)
    np.testing.assert_allclose(loss.from_logits_rows(z, y), loss.rows(activations.sigmoid(z), y), rtol=1e-12)
    gradient = numeric_gradient(lambda z: loss(activations.sigmoid(z), y), z)
    np.testing.assert_allclose(loss.gradient_from_logits(z, y), gradient, rtol=1e-6, atol=1e-9)


def test_poisson_from_logits():
    loss, rng = Poisson(), np.random.default_rng(4)
    z, y = rng.standard_normal((6, 4)), rng.poisson(2.0, (6, 4)).astype(float)
    np.testing.assert_allclose(loss.from_logits_rows(z, y), loss.rows(np.exp(z), y), rtol=1e-12)
    gradient = numeric_gradient(lambda z: loss(np.exp(z), y), z)
    np.testing.assert_allclose(loss.gradient_from_logits(z, y), gradient, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("dtype", FLOATS)
def test_extremes_of_the_others(dtype):
    most, tiny = np.finfo(dtype).max, np.finfo(dtype).tiny
    a, b = np.array([[most, -most]], dtype), np.array([[-most, most]], dtype)
    assert MeanAbsoluteError()(a, b) == math.inf
    np.testing.assert_array_equal(MeanAbsoluteError().gradient(a, b), [[0.5, -0.5]])
    for loss in (Huber(), Huber(1e300), Quantile(0.1)):
        assert loss(a, b) > most / 4
        assert loss(a, a) == 0
        assert not np.isnan(loss.gradient(a, b)).any()
    assert Hinge()(a, [[1, 1]]) == pytest.approx(float(most) / 2, rel=1e-6)
    assert Hinge()(a, [[1, -1]]) == 0
    poisson = Poisson()
    assert np.isfinite(poisson(np.zeros((1, 2), dtype), np.array([[0, 3]], dtype)))
    np.testing.assert_array_equal(poisson.from_logits_rows(a, np.array([[most, 1]], dtype)), np.inf)
    np.testing.assert_array_equal(poisson.from_logits_rows(-np.abs(a), np.zeros((1, 2), dtype)), 0)
    assert poisson.gradient_from_logits(-np.abs(a), np.zeros((1, 2), dtype)).tolist() == [[0, 0]]
    cosine = Cosine()
    zero = np.zeros((1, 2), dtype)
    assert cosine(a, a) == pytest.approx(0, abs=1e-6)
    assert cosine(a, b) == 2
    assert cosine(np.full((1, 2), tiny, dtype), np.full((1, 2), most, dtype)) == pytest.approx(0, abs=1e-6)
    for pair in ((zero, a), (a, zero), (zero, zero)):
        assert cosine(*pair) == 1
        np.testing.assert_array_equal(cosine.gradient(*pair), 0)
    weighted = BinaryCrossEntropy(pos_weight=2.0)
    np.testing.assert_allclose(weighted.from_logits_rows(a / 4, np.array([[1, 0]], dtype)), 0)
    np.testing.assert_allclose(weighted.from_logits_rows(a / 4, np.array([[0, 1]], dtype)), most * 0.375, rtol=1e-6)


def test_cosine_takes_several_columns():
    with pytest.raises(ValueError, match=r"pred has shape \(3,\); cosine takes \(rows, columns\), at least 2 columns"):
        Cosine()([1.0, 2.0, 3.0], [1.0, 2.0, 3.0])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Huber(0), "delta is 0; expected a finite number above 0"),
        (lambda: Quantile(1.0), "q is 1.0; expected a finite number above 0 and below 1"),
        (lambda: BinaryCrossEntropy(pos_weight=0.0), "pos_weight is 0.0; expected a finite number above 0"),
        (
            lambda: BinaryCrossEntropy(label_smoothing=1.0),
            "label_smoothing is 1.0; expected a finite number of at least 0",
        ),
        (lambda: CrossEntropy(-0.1), "label_smoothing is -0.1; expected"),
    ],
)
def test_settings_are_checked(make, message):
    with pytest.raises(ValueError, match=message):
        make()
