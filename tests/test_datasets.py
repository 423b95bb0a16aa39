"""Tests of the data that the package carries, and of the split."""

import os
import zlib

import numpy as np
import pytest

from nncore import datasets
from nncore.datasets import load_digits, train_test_split

# ---------------------------------------------------------------- digits


def test_digits():
    digits = load_digits()
    assert digits.data.shape == (1797, 64)
    assert digits.data.dtype == np.float32
    assert digits.target.shape == (1797,)
    assert digits.target.dtype == np.int64
    assert digits.images.shape == (1797, 8, 8)
    assert np.shares_memory(digits.images, digits.data)
    assert digits.data.flags.c_contiguous
    assert digits.data.min() == 0
    assert digits.data.max() == 16
    assert np.bincount(digits.target).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]


def test_digits_are_the_published_numbers():
    # Sums of the bytes of scikit-learn's copy, in its order.
    X, y = load_digits(return_X_y=True)
    assert zlib.crc32(X.astype(np.uint8).tobytes()) == 0xF3A2533C
    assert zlib.crc32(y.astype(np.uint8).tobytes()) == 0xF86FC929
    assert X[0, :8].tolist() == [0, 0, 5, 13, 9, 1, 0, 0]


def test_digits_unpack_either_way():
    X, y = load_digits(return_X_y=True)
    data, target = load_digits()
    np.testing.assert_array_equal(X, data)
    np.testing.assert_array_equal(y, target)


def test_digits_are_new_at_each_call():
    first, second = load_digits(), load_digits()
    first.data[:] = -1
    first.target[:] = -1
    assert second.data.min() == 0
    assert second.target.min() == 0
    assert load_digits().data.min() == 0


def test_digits_name_their_source_and_licence():
    description = load_digits().description
    for words in ("E. Alpaydin, C. Kaynak", "UCI Machine Learning", "10.24432/C50P49", "CC BY 4.0"):
        assert words in description
    assert "1797 images" in repr(load_digits())


def test_digits_are_small_and_without_pickle():
    path = os.path.join(os.path.dirname(datasets.__file__), "digits.npz")
    assert os.path.getsize(path) < 100_000
    with np.load(path, allow_pickle=False) as archive:
        assert {name: archive[name].dtype.name for name in archive} == {"images": "uint8", "labels": "uint8"}


# ---------------------------------------------------------------- the split


def numbered(n, n_classes=3):
    return np.arange(2 * n).reshape(n, 2), np.arange(n) % n_classes


def test_split_divides_the_rows_and_keeps_pairs():
    X, y = numbered(100)
    X_train, X_test, y_train, y_test = train_test_split(X, y)
    assert (len(X_train), len(X_test), len(y_train), len(y_test)) == (80, 20, 80, 20)
    rows = np.concatenate([X_train, X_test])[:, 0] // 2
    np.testing.assert_array_equal(np.sort(rows), np.arange(100))
    np.testing.assert_array_equal(np.concatenate([y_train, y_test]), rows % 3)
    assert X_train.dtype == X.dtype
    assert not (np.diff(rows[:80]) > 0).all()  # shuffled


def test_split_follows_the_seed():
    X, y = numbered(50)
    same = [train_test_split(X, y, seed=1)[1].tolist() for _ in range(2)]
    assert same[0] == same[1]
    assert same[0] != train_test_split(X, y, seed=2)[1].tolist()


@pytest.mark.parametrize("fraction", [0.1, 0.2, 0.5, 0.73])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_split_keeps_the_shares_of_classes(fraction, seed):
    y = np.repeat([3, 7, 100], [200, 50, 10])
    _, _, y_train, y_test = train_test_split(np.zeros((260, 1)), y, fraction, seed)
    assert len(y_test) == round(260 * fraction)
    for label, count in [(3, 200), (7, 50), (100, 10)]:
        assert abs((y_test == label).sum() - count * fraction) <= 1
        assert (y_train == label).sum() + (y_test == label).sum() == count


def test_split_of_the_digits_holds_each_class_in_its_share():
    X, y = load_digits(return_X_y=True)
    _, X_test, _, y_test = train_test_split(X, y)
    assert X_test.shape == (359, 64)
    np.testing.assert_allclose(np.bincount(y_test), np.bincount(y) / 5, atol=1)


@pytest.mark.parametrize("container", ["csr_array", "csc_matrix", "coo_array"])
def test_split_keeps_sparse_rows_sparse(container):
    sparse = pytest.importorskip("scipy.sparse")
    X, y = np.eye(30, 7), np.arange(30) % 3
    found = train_test_split(getattr(sparse, container)(X), y, seed=4)
    expected = train_test_split(X, y, seed=4)
    for part, dense in zip(found[:2], expected[:2], strict=True):
        assert part.format == "csr"
        np.testing.assert_array_equal(part.toarray(), dense)
    np.testing.assert_array_equal(found[3], expected[3])


@pytest.mark.parametrize("y", [np.linspace(0, 1, 40), np.eye(40), np.arange(40), np.array(list("ab" * 20))])
def test_split_takes_any_targets(y):
    _, X_test, _, y_test = train_test_split(np.arange(40), y, 0.25, seed=3)
    assert len(X_test) == 10
    np.testing.assert_array_equal(y_test, y[X_test])
    assert y_test.dtype == y.dtype


def test_every_row_is_as_likely_to_be_tested():
    counts = np.zeros(12)
    for seed in range(600):
        counts[train_test_split(np.arange(12), np.arange(12) % 2, 0.25, seed)[1]] += 1
    np.testing.assert_allclose(counts, 150, atol=5 * np.sqrt(150 * 0.75))


@pytest.mark.parametrize(
    ("X", "y", "fraction", "message"),
    [
        (np.ones(10), np.ones(9), 0.2, "y has 9 rows; X has 10"),
        (np.ones(2), np.ones(2), 0.2, "test_fraction is 0.2, which of 2 rows leaves 2 for training and 0 for testing"),
        (np.ones(2), np.ones(2), 0.8, "leaves 0 for training and 2 for testing"),
        (np.ones(0), np.ones(0), 0.5, "of 0 rows"),
        (1.0, 1.0, 0.5, "X has shape .* expected rows"),
        (np.ones(10), np.ones(10), 0, "test_fraction is 0; expected a finite number above 0 and below 1"),
        (np.ones(10), np.ones(10), 1.0, "test_fraction is 1.0"),
        (np.ones(10), np.ones(10), np.nan, "test_fraction is nan"),
    ],
)
def test_split_refuses(X, y, fraction, message):
    with pytest.raises(ValueError, match=message):
        train_test_split(X, y, fraction)


def test_split_refuses_types():
    with pytest.raises(TypeError, match=r"test_fraction is '0\.2'"):
        train_test_split(np.ones(10), np.ones(10), "0.2")
    with pytest.raises(TypeError, match="seed is None"):
        train_test_split(np.ones(10), np.ones(10), seed=None)
