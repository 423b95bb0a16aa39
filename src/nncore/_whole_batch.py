"""What the optimizers of second order take: layers whose loss is one function of the weights, and no more than fits."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np

from nncore.layers import Dense
from nncore.sparse import CSR

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Vector = NDArray[np.float64]

_INSTEAD = "expected another optimizer, such as Adam, or a network without it"


def require_smooth(network: Any, optimizer: str) -> None:
    """Refuse layers whose loss is random, has kinks of its own, or hangs on more than the weights.

    Raises
    ------
    ValueError
        If a layer is a dropout, noise or a batch normalisation, or has l1, max_norm or weight_decay.
    """
    for index, layer in enumerate(network.layers):
        spec, name = layer.spec(), type(layer).__name__
        if spec.kind in ("dropout", "noise") and spec.rate:
            raise ValueError(
                f"layer {index} is {layer!r}, which makes the loss random; {optimizer} tries steps out on one that is "
                f"not: {_INSTEAD}"
            )
        if spec.kind == "batch_norm":
            raise ValueError(
                f"layer {index} is {name}, whose running statistics {optimizer}'s steps do not keep: expected "
                "LayerNorm in its place, or another optimizer, such as Adam"
            )
        if spec.l1:
            raise ValueError(
                f"layer {index} has l1={spec.l1!r}, which has kinks; {optimizer} takes smooth losses: expected l2, or "
                "another optimizer, such as Adam"
            )
        for setting, value in (("max_norm", spec.max_norm), ("weight_decay", spec.decay)):
            if value:
                raise ValueError(
                    f"layer {index} has {setting}={value!r}, which would undo what {optimizer}'s steps were tried out "
                    "for: expected l2, or another optimizer, such as Adam"
                )


def require_plain_dense(network: Any, optimizer: str) -> None:
    """Refuse all but dense layers without l1, l2, max_norm and weight_decay.

    Raises
    ------
    ValueError
        If there is another layer.
    """
    for index, layer in enumerate(network.layers):
        if type(layer) is not Dense:
            raise ValueError(
                f"layer {index} is {type(layer).__name__}; {optimizer} takes dense layers only, whose derivatives it "
                "knows: expected another optimizer, such as LBFGS or Adam"
            )
        for setting in ("l1", "l2", "max_norm", "weight_decay"):
            if getattr(layer, setting):
                raise ValueError(
                    f"layer {index} has {setting}={getattr(layer, setting)!r}; {optimizer} lowers a plain sum of "
                    f"squares: expected {'LBFGS' if setting == 'l2' else 'another optimizer'}, or a layer without it"
                )


def require_dense_rows(X: Any) -> None:
    """Refuse sparse rows, with which Levenberg-Marquardt's Jacobian would be dense.

    Raises
    ------
    ValueError
        If `X` is sparse.
    """
    if isinstance(X, CSR):
        raise ValueError(
            "X is sparse; LevenbergMarquardt, for small networks, takes dense rows: expected X.toarray(), or another "
            "optimizer, such as LBFGS or Adam"
        )


def require_jacobian_memory(n_parameters: int) -> None:
    """Raise MemoryError where Levenberg-Marquardt's matrices would not fit in the machine's memory."""
    needed = 3 * 8 * n_parameters**2
    try:
        there = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):  # not every system says
        there = 2**63
    if needed > there:
        raise MemoryError(
            f"LevenbergMarquardt takes {needed:,} bytes for products of the Jacobian by {n_parameters:,} parameters; "
            f"this machine has {there:,}"
        )


def l2_of_parameters(network: Any) -> Vector | None:
    """Return the factor l2 of each parameter, in the order of ``get_weights``; None where all are 0."""
    factors = [
        np.full(shape, layer.spec().l2 if len(shape) == 2 else 0.0).ravel()
        for layer in network.layers
        for shape in layer.shapes
    ]
    joined = np.concatenate(factors)
    return joined if joined.any() else None
