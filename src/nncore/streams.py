"""Random streams: Philox4x32-10, a counter-based generator, in NumPy.

A random number here is a function of (seed, purpose, stream, index) and of nothing else: no state is kept, so that
the C core and NumPy draw the same numbers without sharing any, and any part of a stream can be had alone.

The 64-bit seed is the key, its low half the first word. The four counter words are: the low and the high half of the
block's index, the low 32 bits of the stream's number, and the purpose in the low 8 bits with the next 24 bits of the
stream's number above it. A block is four 32-bit words. What a stream's number means follows from the purpose: the
epoch for shuffles, the layer for weights.

Source: J. K. Salmon, M. A. Moraes, R. O. Dror, D. E. Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

SHUFFLE = 1
WEIGHTS = 2
DROPOUT = 3
SPLIT = 4
NOISE = 5

_MASK = 0xFFFFFFFF
# Rows are counter words 0 and 2, which the two multipliers act on.
_MULTIPLIERS = np.array([[0xD2511F53], [0xCD9E8D57]], dtype=np.uint64)
_WEYL = (0x9E3779B9, 0xBB67AE85)
_ROUNDS = 10
_LOW, _SHIFT = np.uint64(_MASK), np.uint64(32)
_CHUNK = 4096  # blocks worked on at once: few enough for the cache, enough to hide NumPy's cost of a call


def philox(counters: NDArray[np.uint64], seed: int) -> NDArray[np.uint32]:
    """Encrypt blocks of counters: the generator itself.

    Parameters
    ----------
    counters : ndarray of shape (4, n), uint64
        The counter words of n blocks, each below 2**32.
    seed : int
        The key, 0 to 2**64 - 1.

    Returns
    -------
    ndarray of shape (n, 4), uint32
        The words of each block.
    """
    # Two words at a time: `even` is words 0 and 2, `odd` words 1 and 3. Words of 32 bits are kept in 64, so that one
    # multiplication gives both halves of the product.
    even, odd = counters[::2], counters[1::2]
    key = [seed & _MASK, seed >> 32]
    for _ in range(_ROUNDS):
        product = even * _MULTIPLIERS
        even = (product >> _SHIFT)[::-1]
        even ^= odd
        even ^= np.array([[key[0]], [key[1]]], dtype=np.uint64)
        product &= _LOW
        odd = product[::-1]
        key = [(key[0] + _WEYL[0]) & _MASK, (key[1] + _WEYL[1]) & _MASK]
    out = np.empty((counters.shape[1], 4), dtype=np.uint32)
    out[:, ::2] = even.T
    out[:, 1::2] = odd.T
    return out


def words(seed: int, purpose: int, stream: int, first: int, n: int) -> NDArray[np.uint32]:
    """Draw 32-bit words: elements `first` to ``first + n - 1`` of a stream.

    Parameters
    ----------
    seed : int
        The key, 0 to 2**64 - 1.
    purpose : int
        What the numbers are for: SHUFFLE, WEIGHTS, DROPOUT, SPLIT or NOISE.
    stream : int
        Number of the stream, 0 to 2**56 - 1.
    first : int
        Index of the first element.
    n : int
        How many.

    Returns
    -------
    ndarray of shape (n,), uint32
        Element i of the stream is word ``i % 4`` of block ``i // 4``.
    """
    start = first // 4
    stop = -(-(first + n) // 4)
    out = np.empty((stop - start, 4), dtype=np.uint32)
    for low in range(start, stop, _CHUNK):
        high = min(low + _CHUNK, stop)
        block = np.arange(low, high, dtype=np.uint64)
        counters = np.empty((4, high - low), dtype=np.uint64)
        np.bitwise_and(block, _LOW, out=counters[0])
        np.right_shift(block, _SHIFT, out=counters[1])
        counters[2] = stream & _MASK
        counters[3] = purpose | (stream >> 32) << 8
        out[low - start : high - start] = philox(counters, seed)
    skip = first - 4 * start
    return out.reshape(-1)[skip : skip + n]


def keys(seed: int, purpose: int, stream: int, n: int) -> NDArray[np.uint64]:
    """Draw n 64-bit keys: element i is the words 2i (its low half) and 2i + 1 (its high half).

    The parameters are those of `words`.

    Returns
    -------
    ndarray of shape (n,), uint64
    """
    drawn = words(seed, purpose, stream, 0, 2 * n)
    result = drawn[1::2].astype(np.uint64)
    result <<= _SHIFT
    result |= drawn[::2]
    return result


def permutation(seed: int, purpose: int, stream: int, n: int) -> NDArray[np.int64]:
    """Draw a permutation of 0 to n - 1, uniform over all of them: the order of the stream's `keys`.

    The parameters are those of `words`.

    Returns
    -------
    ndarray of shape (n,), int64
        Equal keys, which are hardly ever met, keep their order.
    """
    return np.argsort(keys(seed, purpose, stream, n), kind="stable").astype(np.int64, copy=False)


def uniform(seed: int, purpose: int, stream: int, n: int) -> NDArray[np.float64]:
    """Draw numbers uniform in [0, 1): the upper 53 bits of the stream's `keys`, times 2**-53.

    The parameters are those of `words`.

    Returns
    -------
    ndarray of shape (n,), float64
    """
    return (keys(seed, purpose, stream, n) >> np.uint64(11)) * np.float64(2.0**-53)


def normal(seed: int, purpose: int, stream: int, n: int) -> NDArray[np.float64]:
    """Draw standard normal numbers by the Box-Muller transform of pairs of uniform ones.

    Elements 2i and 2i + 1 are ``r * cos(t)`` and ``r * sin(t)``, where ``r = sqrt(-2 log(1 - u))`` and
    ``t = 2 pi u'``, and u and u' are elements 2i and 2i + 1 of `uniform`. The parameters are those of `words`.

    Returns
    -------
    ndarray of shape (n,), float64
        Finite always, as ``1 - u`` is never 0.
    """
    u = uniform(seed, purpose, stream, n + n % 2).reshape(-1, 2)
    radius = np.sqrt(-2.0 * np.log(1.0 - u[:, 0]))
    angle = 2.0 * np.pi * u[:, 1]
    pairs = np.stack((radius * np.cos(angle), radius * np.sin(angle)), axis=1)
    return pairs.reshape(-1)[:n]


def normal_columns(seed: int, purpose: int, stream: int, first: int, rows: int, columns: int) -> NDArray[np.float64]:
    """Draw standard normal numbers for rows of a matrix, one 32-bit word for each, by the Box-Muller transform.

    Columns go in groups of 32: column j < 16 of a group gets ``r * cos(t)`` and column 16 + j ``r * sin(t)``, where
    ``r = sqrt(-2 log((w + 1/2) / 2**32))`` and ``t = 2 pi w' / 2**32``, w and w' being words j and 16 + j of the group.
    None is beyond 6.8 in size.

    Parameters
    ----------
    seed, purpose, stream
        As for `words`.
    first : int
        Number of the first row. Row i of the stream has the words from ``i * stride`` on, the stride being the number
        of columns rounded up to a multiple of 32.
    rows, columns : int
        How many.

    Returns
    -------
    ndarray of shape (rows, columns), float64
    """
    stride = -(-columns // 32) * 32
    drawn = words(seed, purpose, stream, first * stride, rows * stride).reshape(rows, stride // 32, 2, 16)
    radius = np.sqrt(-2.0 * np.log((drawn[:, :, 0] + 0.5) * 2.0**-32))
    angle = drawn[:, :, 1] * (2.0 * np.pi * 2.0**-32)
    pairs = np.stack((radius * np.cos(angle), radius * np.sin(angle)), axis=2)
    return pairs.reshape(rows, stride)[:, :columns]
