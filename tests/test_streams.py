"""Tests of the random streams: the published answers, the layout of the counters, and the distributions."""

import numpy as np
import pytest

from nncore import streams

PURPOSES = [streams.SHUFFLE, streams.WEIGHTS, streams.DROPOUT, streams.SPLIT]


def hexes(words):
    return " ".join(f"{word:08x}" for word in words)


@pytest.mark.parametrize(
    ("counter", "key", "answer"),
    [
        ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
    ],
)
def test_known_answers(counter, key, answer):
    counters = np.array([[int(word, 16)] for word in counter.split()], dtype=np.uint64)
    low, high = (int(word, 16) for word in key.split())
    before = counters.copy()
    assert hexes(streams.philox(counters, low | high << 32)[0]) == answer
    np.testing.assert_array_equal(counters, before)


def philox_in_plain_python(counter, seed):
    c, k = list(counter), [seed % 2**32, seed >> 32]
    for _ in range(10):
        a, b = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [(b >> 32) ^ c[1] ^ k[0], b % 2**32, (a >> 32) ^ c[3] ^ k[1], a % 2**32]
        k = [(k[0] + 0x9E3779B9) % 2**32, (k[1] + 0xBB67AE85) % 2**32]
    return c


@pytest.mark.parametrize("first", [0, 4 * 2**32 - 8, 4 * 2**40])
def test_layout_of_the_counter(first):
    seed, purpose, stream = 0x0123456789ABCDEF, streams.DROPOUT, 0xABCDEF00000007
    drawn = streams.words(seed, purpose, stream, first, 16)
    assert drawn.dtype == np.uint32
    for i in range(4):
        block = first // 4 + i
        counter = [block % 2**32, block >> 32, stream % 2**32, purpose | (stream >> 32) << 8]
        assert drawn[4 * i : 4 * i + 4].tolist() == philox_in_plain_python(counter, seed)


@pytest.mark.parametrize(("first", "n"), [(0, 1), (1, 2), (3, 1), (3, 2), (5, 9), (16383, 3), (16384, 40000), (7, 0)])
def test_any_part_of_a_stream_can_be_had_alone(first, n):
    whole = streams.words(5, streams.SHUFFLE, 2, 0, 60000)
    np.testing.assert_array_equal(streams.words(5, streams.SHUFFLE, 2, first, n), whole[first : first + n])


def test_keys_are_pairs_of_words_low_half_first():
    words = streams.words(9, streams.SHUFFLE, 1, 0, 14).astype(object)
    keys = streams.keys(9, streams.SHUFFLE, 1, 7)
    assert keys.dtype == np.uint64
    assert keys.tolist() == [low + 2**32 * high for low, high in zip(words[::2], words[1::2], strict=True)]


@pytest.mark.parametrize("n", [0, 1, 2, 7, 1000])
def test_permutation_is_the_order_of_the_keys(n):
    order = streams.permutation(3, streams.SHUFFLE, 4, n)
    assert order.dtype == np.int64
    np.testing.assert_array_equal(np.sort(order), np.arange(n))
    keys = streams.keys(3, streams.SHUFFLE, 4, n)[order]
    assert (keys[1:] >= keys[:-1]).all()


def test_permutations_are_uniform():
    orders, counts = np.unique(
        [streams.permutation(0, streams.SHUFFLE, i, 4) for i in range(4800)], axis=0, return_counts=True
    )
    assert len(orders) == 24
    chi_squared = ((counts - 200) ** 2 / 200).sum()
    assert chi_squared < 49.7  # of 23 degrees of freedom: one in a thousand is above


def test_seed_purpose_and_stream_each_matter():
    base = streams.keys(1, streams.SHUFFLE, 1, 8)
    others = [streams.keys(1, purpose, 1, 8) for purpose in PURPOSES[1:]]
    others += [streams.keys(seed, streams.SHUFFLE, 1, 8) for seed in (0, 2, 1 + 2**32, 2**64 - 1)]
    others += [streams.keys(1, streams.SHUFFLE, stream, 8) for stream in (0, 2, 1 + 2**32)]
    for other in others:
        assert not (base == other).any()


def test_uniform_is_the_upper_53_bits():
    u = streams.uniform(1, streams.WEIGHTS, 0, 100_000)
    assert u.dtype == np.float64
    assert u.min() >= 0
    assert u.max() < 1
    np.testing.assert_array_equal(u[:100] * 2.0**53, (streams.keys(1, streams.WEIGHTS, 0, 100) >> np.uint64(11)))
    np.testing.assert_allclose(u.mean(), 0.5, atol=4 / np.sqrt(12 * 100_000))
    np.testing.assert_allclose(np.histogram(u, 10, (0, 1))[0], 10_000, atol=400)


def test_normal_is_box_muller():
    u = streams.uniform(1, streams.WEIGHTS, 0, 4)
    expected = []
    for first, second in (u[:2], u[2:]):
        radius = np.sqrt(-2 * np.log(1 - first))
        expected += [radius * np.cos(2 * np.pi * second), radius * np.sin(2 * np.pi * second)]
    np.testing.assert_allclose(streams.normal(1, streams.WEIGHTS, 0, 4), expected, rtol=1e-14)


@pytest.mark.parametrize("n", [0, 1, 3, 7])
def test_normal_takes_odd_counts(n):
    whole = streams.normal(1, streams.WEIGHTS, 0, 8)
    np.testing.assert_array_equal(streams.normal(1, streams.WEIGHTS, 0, n), whole[:n])


def test_normal_moments():
    x = streams.normal(7, streams.WEIGHTS, 3, 100_000)
    assert np.isfinite(x).all()
    np.testing.assert_allclose(x.mean(), 0, atol=4 / np.sqrt(100_000))
    np.testing.assert_allclose(x.var(), 1, atol=4 * np.sqrt(2 / 100_000))
    np.testing.assert_allclose((x**4).mean(), 3, atol=4 * np.sqrt(96 / 100_000))
    np.testing.assert_allclose((np.abs(x) < 1).mean(), 0.6827, atol=0.006)
    np.testing.assert_allclose(np.corrcoef(x[::2], x[1::2])[0, 1], 0, atol=4 / np.sqrt(50_000))
