"""Data to try a network on, which come with the package, and a split for it."""

from __future__ import annotations

from nncore.datasets.digits import Digits, load_digits
from nncore.datasets.split import train_test_split

__all__ = ["Digits", "load_digits", "train_test_split"]
