"""The handwritten digits that the package carries, in ``digits.npz``; ``digits.txt`` says where they are from."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Literal, overload

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

_FOLDER = os.path.dirname(__file__)


class Digits:
    """The handwritten digits. Unpacks as ``X, y``.

    Attributes
    ----------
    data : ndarray of shape (1797, 64), float32
        One image a row, whole numbers from 0 (paper) to 16 (ink).
    target : ndarray of shape (1797,), int64
        The digit that each image shows, 0 to 9.
    images : ndarray of shape (1797, 8, 8), float32
        A view of `data`, as images.
    description : str
        What the data are, their source and their licence.
    """

    __slots__ = ("data", "description", "images", "target")

    def __init__(self, data: NDArray[np.float32], target: NDArray[np.int64], description: str) -> None:
        self.data = data
        self.target = target
        self.images = data.reshape(-1, 8, 8)
        self.description = description

    def __iter__(self) -> Iterator[NDArray[np.float32] | NDArray[np.int64]]:
        """Iterate over data and target."""
        return iter((self.data, self.target))

    def __repr__(self) -> str:
        """Return a summary."""
        return f"<Digits: {len(self.data)} images of 8 x 8 pixels, 10 classes>"


@overload
def load_digits(return_X_y: Literal[False] = ...) -> Digits: ...
@overload
def load_digits(return_X_y: Literal[True]) -> tuple[NDArray[np.float32], NDArray[np.int64]]: ...


def load_digits(return_X_y: bool = False) -> Digits | tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Load 1,797 images of handwritten digits, of 8 x 8 pixels.

    Parameters
    ----------
    return_X_y : bool, default False
        Whether to return the arrays alone.

    Returns
    -------
    Digits or (X, y)
        New arrays at each call. X is (1797, 64) float32 from 0 to 16, y is (1797,) int64 from 0 to 9.

    Notes
    -----
    The test set of "Optical Recognition of Handwritten Digits", E. Alpaydin and C. Kaynak, 1998, UCI Machine Learning
    Repository, https://doi.org/10.24432/C50P49, licence CC BY 4.0.

    Examples
    --------
    >>> X, y = load_digits(return_X_y=True)
    >>> X.shape, y[:3]
    ((1797, 64), array([0, 1, 2]))
    """
    with np.load(os.path.join(_FOLDER, "digits.npz"), allow_pickle=False) as archive:
        data = archive["images"].astype(np.float32)
        target = archive["labels"].astype(np.int64)
    if return_X_y:
        return data, target
    with open(os.path.join(_FOLDER, "digits.txt"), encoding="utf-8") as file:
        description = file.read()
    return Digits(data, target, description)
