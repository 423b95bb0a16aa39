"""Targets: from what users pass as y to what the engines take.

The engines take classes, int32 of shape (n,), or numbers of shape (n, n_out) in the network's dtype. Nothing is
broadcast, and what does not fit is refused. Values that are not finite pass: the engine finds them as it reads them.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from nncore import checks, losses
from nncore.errors import NonFiniteData

if TYPE_CHECKING:
    from nncore.activations import Activation
    from nncore.losses import Loss

    Array = np.ndarray[Any, Any]


def prepare(
    y: Any,
    n_rows: int,
    n_out: int,
    activation: Activation,
    loss: str | Loss,
    dtype: np.dtype[Any],
    name: str = "y",
) -> Array:
    """Return targets as the engines take them.

    Parameters
    ----------
    y : array_like
        Numbers (n, n_out), or (n,) for one output; for softmax or cross_entropy class labels (n,) or (n, 1), or
        rows of probabilities (one-hot among them). With bce numbers from 0 to 1, with poisson of at least 0, with hinge
        -1 and 1 or 0 and 1. With a loss of the user's what it takes, a row for each row of X.
    n_rows : int
        Number of rows of X.
    n_out : int
        The network's outputs.
    activation : Activation
        That of the output.
    loss : str or Loss
        The loss, or its name.
    dtype : numpy.dtype
        That of the network.
    name : str
        Name of the argument, for messages.

    Returns
    -------
    ndarray
        int32 of shape (n,), for cross_entropy only, or of `dtype` and shape (n, n_out), C-contiguous; -1 and 1 for
        hinge. For a loss of the user's see `losses.OwnLoss`.

    Raises
    ------
    TypeError
        If it holds anything but real numbers.
    ValueError
        If the shape or a value does not fit the network and the loss.
    """
    given: Array = checks.numeric(y, name)
    if given.ndim == 0 or len(given) != n_rows:
        came = "is a single number" if given.ndim == 0 else f"has {len(given)} rows"
        raise ValueError(f"{name} {came}; expected a row for each of the {n_rows} rows of X")
    if isinstance(loss, losses.OwnLoss):
        return _for_own_loss(given, n_rows, n_out, dtype, name)
    loss = losses.get(loss).name
    if loss == "cosine" and n_out == 1:
        raise ValueError("loss is 'cosine' and the network has 1 output; expected at least 2, which have a direction")
    if loss == "cross_entropy" and n_out == 1:
        raise ValueError("loss is 'cross_entropy' and the network has 1 output; expected 'bce', or at least 2 outputs")
    takes_labels = n_out > 1 and (loss == "cross_entropy" or activation.name == "softmax")
    if takes_labels and given.shape in ((n_rows,), (n_rows, 1)):
        classes = _classes(given, name, n_out)
        if loss == "cross_entropy":
            return classes
        one_hot: Array = np.full((n_rows, n_out), -1 if loss == "hinge" else 0, dtype)
        one_hot[np.arange(n_rows), classes] = 1
        return one_hot
    if given.shape != (n_rows, n_out) and not (n_out == 1 and given.shape == (n_rows,)):
        raise ValueError(f"{name} has shape {given.shape}; expected {_expected(n_rows, n_out, takes_labels)}")
    numbers = checks.contiguous(given.reshape(n_rows, n_out), dtype)
    if loss in ("bce", "cross_entropy"):
        _require_probabilities(numbers, name, loss)
    elif loss == "hinge":
        return losses.signs(numbers, name)
    elif loss == "poisson" and numbers.min() < 0:
        raise ValueError(f"{name} has the value {numbers.min():g}; poisson takes targets of at least 0")
    return numbers


def _for_own_loss(y: Array, n_rows: int, n_out: int, dtype: np.dtype[Any], name: str) -> Array:
    if n_out == 1 and y.ndim == 1:
        y = y.reshape(-1, 1)
    if y.dtype.kind == "f" or y.shape == (n_rows, n_out):
        with np.errstate(over="ignore"):
            y = y.astype(dtype, copy=False)
        wrong = ~np.isfinite(y).reshape(n_rows, -1).all(axis=1)
        if wrong.any():
            raise NonFiniteData(name, int(wrong.argmax()))
    return y


def single_class(y: Array) -> bool:
    """Say whether all of several rows are the same."""
    if len(y) < 2 or (y.ndim == 1 and y[0] != y[-1]):  # as it mostly is, and quickly seen
        return False
    return bool((y[0] == y[-1]).all() and (y == y[0]).all())


_UNSIGNED = {size: np.dtype(f"u{size}") for size in (1, 2, 4, 8)}


def _classes(y: Array, name: str, n_classes: int) -> Array:
    labels = y.reshape(-1)
    if labels.dtype.kind == "f":
        wrong = ~np.isfinite(labels)
        if wrong.any():
            raise NonFiniteData(name, int(wrong.argmax()))
    elif (
        labels.dtype.kind == "i"
        and labels.dtype.isnative
        and n_classes < 1 << 8 * labels.itemsize - 1
        and np.maximum.reduce(labels.view(_UNSIGNED[labels.itemsize])) < n_classes  # those below 0 are then the largest
    ):
        return labels.astype(np.int32)
    return checks.class_labels(labels, name, n_classes).astype(np.int32)


def _expected(n_rows: int, n_out: int, takes_labels: bool) -> str:
    if n_out == 1:
        return f"({n_rows},) or ({n_rows}, 1)"
    return f"({n_rows}, {n_out})" + (f", or labels of shape ({n_rows},)" if takes_labels else "")


def _require_probabilities(y: Array, name: str, loss: str) -> None:
    low, high = float(y.min()), float(y.max())
    if not (math.isfinite(low) and math.isfinite(high)):
        return
    if low < 0 or high > 1:
        raise ValueError(f"{name} has the value {low if low < 0 else high:g}; {loss} takes targets from 0 to 1")
    if loss == "cross_entropy":
        sums = y.sum(axis=1, dtype=np.float64)
        wrong = np.abs(sums - 1) > 1e-3
        if wrong.any():
            row = int(wrong.argmax())
            raise ValueError(
                f"{name} sums to {sums[row]:g} in row {row}; cross_entropy takes rows of probabilities, which sum to 1"
            )
