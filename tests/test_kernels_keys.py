"""Keys of the random streams, per ISA against `nncore.streams`, which is tested against published vectors."""

from __future__ import annotations

import numpy as np
import pytest
from kernel_layout import both, every_table

from nncore import streams

STREAMS = [(0, 0), (5, 3), (2**64 - 1, 2**56 - 1), (2**32 + 7, 2**32 - 1)]


@every_table
@pytest.mark.parametrize(("seed", "stream"), STREAMS)
def test_consecutive_keys(isa: str, dtype: str, seed: int, stream: int) -> None:
    for table in both(isa, dtype):
        for n in (1, 2, 3, 15, 16, 17, 33, 100):
            for first in (0, 2, 512):
                out = np.full(n + 1, 7, np.uint64)
                table.keys(seed, stream, streams.SHUFFLE, out[:n], first=first)
                expected = streams.keys(seed, streams.SHUFFLE, stream, first + n)[first:]
                np.testing.assert_array_equal(out[:n], expected)
                assert out[n] == 7


@every_table
def test_chosen_keys(isa: str, dtype: str, rng: np.random.Generator) -> None:
    drawn = streams.keys(9, streams.DROPOUT, 4, 1000)
    for table in both(isa, dtype):
        for n in (1, 7, 8, 9, 31):
            indices = rng.integers(0, 1000, n).astype(np.uint32)
            out = np.full(n + 1, 7, np.uint64)
            table.keys(9, 4, streams.DROPOUT, out[:n], indices)
            np.testing.assert_array_equal(out[:n], drawn[indices])
            assert out[n] == 7


@every_table
def test_keys_of_blocks_past_32_bits(isa: str, dtype: str) -> None:
    first = 2**34
    drawn = streams.words(3, streams.SHUFFLE, 1, 2 * first, 20)
    expected = drawn[1::2].astype(np.uint64) << np.uint64(32) | drawn[::2]
    for table in both(isa, dtype):
        out = np.empty(10, np.uint64)
        table.keys(3, 1, streams.SHUFFLE, out, first=first)
        np.testing.assert_array_equal(out, expected)
