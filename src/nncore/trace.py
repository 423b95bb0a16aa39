"""One training iteration in full: every z, a and gradient, and the new weights, as arrays and as a table to read.

Weights, gradients and the loss are the engine's own; what the engine does not hand out, the layers' z and the gradients
with respect to z and a, is computed here in NumPy. The update runs on copies.
"""

from __future__ import annotations

import copy
import inspect
from dataclasses import dataclass
from math import floor, log10
from typing import TYPE_CHECKING, Any

import numpy as np

from nncore import checks, losses, numpy_layers, optimizers, training
from nncore.errors import NonFiniteData
from nncore.layers import Dense
from nncore.regularization import BatchNorm, LayerNorm

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nncore.losses import Loss
    from nncore.network import Sequential
    from nncore.optimizers import Optimizer

    Array = np.ndarray[Any, Any]
    Norm = numpy_layers.NumpyBatchNorm | numpy_layers.NumpyLayerNorm

_DIGITS = 6  # significant ones of an array's largest number
_FEWEST_DIGITS = 4  # and of its smallest
_MOST_DECIMALS = 9  # beyond them numbers are written with exponents
_FROM_LOGITS = (("softmax", "cross_entropy"), ("sigmoid", "bce"))  # dL/dz = p - y, without cancellation


@dataclass(frozen=True, eq=False, repr=False)
class Trace:
    """What ``net.trace`` found; its ``str`` is a table. Lists have one array for each layer, the first layer's first.

    Attributes
    ----------
    x : ndarray of shape (n, n_in)
        The rows.
    y : ndarray of shape (n, n_out) or (n,)
        The targets, or for cross_entropy the labels, if labels were given.
    W, b : list of ndarray of shape (n_in, n_out) and (n_out,)
        The weights before the update; of a normalisation gamma and beta, both (n_out,).
    z, a : list of ndarray of shape (n, n_out)
        ``z = a_before W + b`` and ``a = f(z)`` of each layer; of a normalisation ``z = xhat gamma + beta``.
    xhat : list of ndarray of shape (n, n_out), or None
        Of a normalisation ``(a_before - mean) / deviation``, by the batch's own statistics, as in training; None for
        dense layers.
    loss : float
        The mean loss, L, before the update.
    dL_da, dL_dz : list of ndarray of shape (n, n_out)
        Gradients of the mean loss. For softmax with cross_entropy and sigmoid with bce the last layer's dL/dz is
        ``(p - y) / n``, and its dL/da has denominators floored at the smallest normal number: both are finite.
    dL_dW, dL_db : list of ndarray
        Of the shapes of `W` and `b`; what ``net.loss_and_gradients`` returns.
    new_W, new_b : list of ndarray
        The weights that ``net.train_step`` would leave.
    activations : list of str
        Names of the layers' activations.
    loss_name : str
        Name of the loss; with settings of its own, the call that makes it.
    optimizer : str
        The optimizer, as the call that makes it, less what has its default.
    rule : str
        How the optimizer gets from W to the new W; empty where that takes more than a line.
    limit : int
        How many rows and columns of an array the table shows.
    """

    x: Array
    y: Array
    W: list[Array]
    b: list[Array]
    z: list[Array]
    a: list[Array]
    xhat: list[Array | None]
    loss: float
    dL_da: list[Array]
    dL_dz: list[Array]
    dL_dW: list[Array]
    dL_db: list[Array]
    new_W: list[Array]
    new_b: list[Array]
    activations: list[str]
    loss_name: str
    optimizer: str
    rule: str
    limit: int = 8

    @property
    def norms(self) -> list[bool]:
        """Which layers are normalisations."""
        return [xhat is not None for xhat in self.xhat]

    def __str__(self) -> str:
        """Return the table: forward, loss, backward from the last layer to the first, update."""
        return _table(self)

    __repr__ = __str__


def trace(
    network: Sequential,
    x: Any,
    y: Any,
    loss: Any = None,
    optimizer: str | Optimizer | None = None,
    *,
    limit: int = 8,
) -> Trace:
    """Compute one training iteration of a network of dense layers and normalisations, and change nothing.

    Parameters
    ----------
    network : Sequential
        Of any size; the table is for small ones.
    x : array_like of shape (n_in,) or (n, n_in)
        One row or a few, which make one batch. A single number is one row of one input.
    y : array_like
        The rows' targets, as for `Sequential.fit`. For one row also a single number or label, or (n_out,).
    loss : str or Loss, optional
        As for `Sequential.fit`.
    optimizer : str or Optimizer, optional
        What makes the new weights. One that has trained this network goes on from its state, which stays as it is.
        None takes ``SGD(0.01)``, the textbooks' rule: each weight less 0.01 times its gradient.
    limit : int, default 8
        The table shows at most this many rows and columns of an array, and "..." for those left out from its middle;
        the attributes have all. At least 2.

    Returns
    -------
    Trace

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit, `x` or `y` is not finite, the optimizer has trained another network, or a layer is
        another one than `Dense`, `BatchNorm` and `LayerNorm`.
    DivergenceError
        If the loss or the new weights overflow.
    """
    for index, layer in enumerate(network.layers):
        if not isinstance(layer, Dense | BatchNorm | LayerNorm):
            raise ValueError(
                f"layer {index} is {layer!r}; trace takes networks of Dense layers and normalisations only: expected "
                "one without it (forward(X, layers=True) and loss_and_gradients show any network)"
            )
    limit = checks.positive_int(limit, "limit")
    if limit < 2:
        raise ValueError(f"limit is {limit}; expected at least 2, one row from each end")
    loss = training.trainable_loss(network, loss)
    chosen = optimizers.get(optimizers.SGD() if optimizer is None else optimizer)
    rows = _rows(x, network)
    given = _targets(y, len(rows), network.n_out)
    twin = copy.deepcopy(network)  # one state of the weights for all that follows, whatever other threads do
    try:
        value, gradients = twin.loss_and_gradients(rows, given, loss)
    except NonFiniteData as error:
        raise NonFiniteData(error.argument.lower(), error.row) from None
    prepared = training._targets(network, given, len(rows), loss).copy()
    weights = twin.get_weights()
    with np.errstate(all="ignore"):
        norms = _norms(network, weights, twin.get_state())
        z, a = _forward(network, norms, weights, rows)
        dL_da, dL_dz = _backward(network, norms, weights, z, a, prepared, loss)
    own = _copied(chosen, network, twin)
    twin.train_step(rows, given, own, loss)
    new = twin.get_weights()
    name = loss.name if loss == losses.ALIASES.get(loss.name) else repr(loss)
    return Trace(
        x=rows, y=prepared, W=weights[::2], b=weights[1::2], z=z, a=a,
        xhat=[None if norm is None else norm.xhat for norm in norms], loss=value, dL_da=dL_da, dL_dz=dL_dz,
        dL_dW=list(gradients[::2]), dL_db=list(gradients[1::2]), new_W=new[::2], new_b=new[1::2],
        activations=[repr(layer.activation) for layer in network.layers], loss_name=name,
        optimizer=_call(chosen), rule=_rule(chosen, network), limit=limit,
    )  # fmt: skip


# --------------------------------------------------------------------------------------------------------- arguments


def _rows(x: Any, network: Sequential) -> Array:
    array = checks.numeric(x, "x")
    if array.ndim < 2:
        array = array.reshape(1, -1)
    return checks.matrix(array, "x", network.n_in, network.dtype).copy()


def _targets(y: Any, n_rows: int, n_out: int) -> Array:
    """Return y with a first axis, where that of a single row was left out."""
    array = checks.numeric(y, "y")
    if n_rows == 1 and (array.ndim == 0 or (n_out > 1 and array.shape == (n_out,))):
        return array.reshape(1, *array.shape)
    return array


def _copied(optimizer: Optimizer, network: Sequential, twin: Sequential) -> Optimizer:
    """Return a copy of the optimizer, its state included, for `twin`; refuse one that has trained another network."""
    if optimizer._owner is not None and optimizer._owner() is not network:
        optimizer._bind(network)  # refuses, with the reason
    if hasattr(optimizer, "load_state"):  # its copies take the state along, and have no owner
        return copy.deepcopy(optimizer)
    own = copy.copy(optimizer)
    slots = own._slots
    own._slots = own._owner = None
    own = copy.deepcopy(own)
    if slots is not None:
        own._bind(twin)
        own._slots = twin._engine.new_slots(own.n_slots)
        own._slots.load(slots.arrays())
    return own


def _call(optimizer: Optimizer) -> str:
    """Return the call that makes an optimizer, with its rate and what differs from the defaults."""
    settings = []
    for name, parameter in inspect.signature(type(optimizer)).parameters.items():
        value = getattr(optimizer, name, parameter.default)
        if name == "learning_rate" or value != parameter.default:
            settings.append(f"{name}={value!r}")
    return f"{type(optimizer).__name__}({', '.join(settings)})"


def _rule(optimizer: Optimizer, network: Sequential) -> str:
    """Return the update of plain gradient descent; what others do takes more than a line, and what layers add."""
    clips = optimizer.clip_value is not None or optimizer.clip_norm is not None
    if type(optimizer) is not optimizers.SGD or optimizer.momentum or optimizer.weight_decay or clips:
        return ""
    specs = [layer.spec() for layer in network.layers]
    if any(spec.l1 or spec.l2 or spec.decay or spec.max_norm for spec in specs):
        return ""
    return f"W - {optimizer.rate:g} dL/dW"


# ---------------------------------------------------------------------------------------------------- the iteration


def _norms(network: Sequential, weights: list[Array], state: Sequence[Array]) -> list[Norm | None]:
    """Return for each layer what normalises in NumPy, with the running statistics of the network; None for dense ones.

    Every layer here has two arrays among the weights.
    """
    running = iter(state)
    norms: list[Norm | None] = []
    for index, layer in enumerate(network.layers):
        if isinstance(layer, Dense):
            norms.append(None)
            continue
        pair = weights[2 * index : 2 * index + 2]
        scratch = [np.empty_like(array) for array in pair]
        if isinstance(layer, LayerNorm):
            norms.append(numpy_layers.NumpyLayerNorm(layer.spec(), pair, scratch))
        else:
            norm = numpy_layers.NumpyBatchNorm(layer.spec(), pair, scratch)
            norm.state = [next(running), next(running)]
            norms.append(norm)
    return norms


def _forward(
    network: Sequential, norms: Sequence[Norm | None], weights: list[Array], x: Array
) -> tuple[list[Array], list[Array]]:
    z, a = [], []
    before = x
    for index, (layer, norm) in enumerate(zip(network.layers, norms, strict=True)):
        if norm is None:
            z.append(before @ weights[2 * index] + weights[2 * index + 1])
        else:
            z.append(norm.logits(before, numpy_layers.Rows(0, 0, 0, False)))
        before = np.asarray(layer.activation(z[-1]))
        a.append(before)
    return z, a


def _backward(
    network: Sequential, norms: Sequence[Norm | None], weights: list[Array], z: list[Array], a: list[Array], y: Array,
    loss: Loss,
) -> tuple[list[Array], list[Array]]:  # fmt: skip
    """Return the gradients of the mean loss with respect to each layer's a and z."""
    layers = network.layers
    slope = np.asarray(loss.gradient(a[-1], y))
    dL_da, dL_dz = [], []
    for index in range(len(layers) - 1, -1, -1):
        activation = layers[index].activation
        dL_da.append(slope)
        if index == len(layers) - 1 and _from_logits(activation.name, loss):
            delta = np.asarray(loss.gradient_from_logits(z[index], y))
        elif activation.name == "softmax":
            delta = (slope[:, None, :] @ np.asarray(activation.derivative(z[index])))[:, 0, :]
        else:
            delta = slope * np.asarray(activation.derivative(z[index]))
        dL_dz.append(delta)
        norm = norms[index]
        slope = delta @ weights[2 * index].T if norm is None else np.asarray(norm.backward(delta, True))
    return dL_da[::-1], dL_dz[::-1]


def _from_logits(activation: str, loss: Loss) -> bool:
    return getattr(loss, "logits_of", "") == activation or (activation, loss.name) in _FROM_LOGITS


# --------------------------------------------------------------------------------------------------------- the table

_Block = tuple[str, list[list[str]]]  # a label, and the cells of its rows


def _table(t: Trace) -> str:
    last, n = len(t.z), len(t.x)
    labels = t.y.ndim == 1
    W_of = {k: "gamma" if norm else "W" for k, norm in enumerate(t.norms, 1)}
    b_of = {k: "beta" if norm else "b" for k, norm in enumerate(t.norms, 1)}
    blocks: list[_Block | str] = []

    def show(label: str, array: Any) -> None:
        blocks.append((label, _cells(np.asarray(array), t.limit)))

    def per_row(array: Array) -> Array:  # one column, not one row
        return array.reshape(len(array), -1)

    blocks.append("Forward")
    show("a0 = x", t.x)
    for k, (W, b, z, a, f) in enumerate(zip(t.W, t.b, t.z, t.a, t.activations, strict=True), 1):
        show(f"{W_of[k]}{k}", W)
        show(f"{b_of[k]}{k}", b)
        if t.norms[k - 1]:
            show(f"xhat{k} = (a{k - 1} - mean) / deviation", t.xhat[k - 1])
            show(f"z{k} = xhat{k} * gamma{k} + beta{k}", z)
        else:
            show(f"z{k} = a{k - 1} W{k} + b{k}", z)
        show(f"a{k} = {f}(z{k})", a)
    blocks.append("Loss")
    show("y (labels)" if labels else "y", per_row(t.y))
    show(f"L = {t.loss_name}(a{last}, y)", t.loss)
    blocks.append("Backward")
    for k in range(last, 0, -1):
        f = t.activations[k - 1]
        if k == last:
            by_a = _loss_slope(t, k, labels)
        else:
            by_a = f" = dL/dz{k + 1} " + (f"* gamma{k + 1} * dxhat{k + 1}/da{k}" if t.norms[k] else f"W{k + 1}'")
        show(f"dL/da{k}{by_a}", t.dL_da[k - 1])
        if k == last and (f, t.loss_name) in _FROM_LOGITS:
            show(f"dL/dz{k} = {_difference(t, k, labels)}", t.dL_dz[k - 1])
        elif f == "softmax":
            show(f"dL/dz{k} = dL/da{k} softmax'(z{k})", t.dL_dz[k - 1])
        else:
            show(f"dL/dz{k} = dL/da{k} * {f}'(z{k})", t.dL_dz[k - 1])
        rows = "" if n == 1 else "sum over rows of "
        by_W = f"{rows}dL/dz{k} * xhat{k}" if t.norms[k - 1] else f"a{k - 1}' dL/dz{k}"
        show(f"dL/d{W_of[k]}{k} = {by_W}", t.dL_dW[k - 1])
        show(f"dL/d{b_of[k]}{k} = {rows}dL/dz{k}", t.dL_db[k - 1])
    others = "b, gamma and beta" if any(t.norms) else "b"
    blocks.append("Update" + (f": {t.rule}, and so for {others}" if t.rule else ""))
    for k, (W, b) in enumerate(zip(t.new_W, t.new_b, strict=True), 1):
        show(f"new {W_of[k]}{k}", W)
        show(f"new {b_of[k]}{k}", b)
    sizes = "-".join(map(str, [t.x.shape[1], *(len(b) for b, norm in zip(t.b, t.norms, strict=True) if not norm)]))
    head = f"One training iteration: {sizes}, {n} row{'s' if n > 1 else ''}, {t.loss_name}"
    return "\n".join([head, t.optimizer, *_laid_out(blocks)])


def _difference(t: Trace, k: int, labels: bool) -> str:
    count = len(t.x) if t.loss_name == "cross_entropy" else t.z[-1].size
    inner = f"a{k} - {'onehot(y)' if labels else 'y'}"
    return inner if count == 1 else f"({inner}) / {count}"


def _loss_slope(t: Trace, k: int, labels: bool) -> str:
    """Return the formula of the loss's gradient, for the losses whose formula fits a line."""
    count = len(t.x) if t.loss_name == "cross_entropy" else t.z[-1].size
    y = "onehot(y)" if labels else "y"
    formulas = {
        "mse": f"2 (a{k} - {y})",
        "bce": f"(a{k} - {y}) / (a{k} (1 - a{k}))",
        "cross_entropy": f"-{y} / a{k}",
    }
    if t.loss_name not in formulas:
        return ""
    return f" = {formulas[t.loss_name]}" + ("" if count == 1 else f" / {count}")


def _cells(array: Array, limit: int) -> list[list[str]]:
    """Return an array's numbers as text: a row for each of a matrix's rows, those beyond the limit as "..."."""
    matrix = array.reshape(1, -1) if array.ndim < 2 else array
    text = _formatted(matrix[np.ix_(*(_shown(length, limit) for length in matrix.shape))])
    for axis, length in enumerate(matrix.shape):
        if length > limit:
            at = (limit + 1) // 2
            if axis == 0:
                text.insert(at, ["..." for _ in text[0]])
            else:
                for row in text:
                    row.insert(at, "...")
    return text


def _shown(length: int, limit: int) -> list[int]:
    if length <= limit:
        return list(range(length))
    first = (limit + 1) // 2
    return [*range(first), *range(length - (limit - first), length)]


def _formatted(matrix: Array) -> list[list[str]]:
    """Return all numbers with as many decimals as they need, less the zeros at the end of all of them."""
    if matrix.dtype.kind in "iu":
        return [[str(value) for value in row] for row in matrix.tolist()]
    sizes = np.abs(matrix[np.isfinite(matrix) & (matrix != 0)].astype(np.float64))
    decimals = 0
    if sizes.size:
        largest, smallest = floor(log10(sizes.max())), floor(log10(sizes.min()))
        decimals = max(0, _DIGITS - 1 - largest, _FEWEST_DIGITS - 1 - smallest)
        if decimals > _MOST_DECIMALS or largest >= _DIGITS:
            return [[f"{value:.{_DIGITS - 1}e}" if value else "0" for value in row] for row in matrix.tolist()]
    rows = [[f"{value:.{decimals}f}" for value in row] for row in matrix.tolist()]
    surplus = min((len(cell) - len(cell.rstrip("0")) for row in rows for cell in row if "." in cell), default=0)
    if surplus:
        keep = decimals - surplus
        rows = [[f"{value:.{keep}f}" for value in row] for row in matrix.tolist()]
    return rows


def _laid_out(blocks: Sequence[_Block | str]) -> list[str]:
    """Return the lines: labels on the left, numbers in columns whose decimal points stand below each other."""
    tables = [block for block in blocks if not isinstance(block, str)]
    label_width = max(len(label) for label, _ in tables)
    whole: dict[int, int] = {}
    rest: dict[int, int] = {}
    for _, rows in tables:
        for row in rows:
            for column, cell in enumerate(row):
                left, right = _split(cell)
                whole[column] = max(whole.get(column, 0), len(left))
                rest[column] = max(rest.get(column, 0), len(right))
    lines: list[str] = []
    for block in blocks:
        if isinstance(block, str):
            lines += ["", block]
            continue
        label, rows = block
        for index, row in enumerate(rows):
            cells = []
            for column, cell in enumerate(row):
                left, right = _split(cell)
                cells.append(left.rjust(whole[column]) + right.ljust(rest[column]))
            lines.append(f"  {label if index == 0 else '':{label_width}}  {'  '.join(cells)}".rstrip())
    return lines


def _split(cell: str) -> tuple[str, str]:
    """Cut a number before its decimal point, which "..." and whole numbers have at their end."""
    if cell == "..." or "." not in cell:
        return cell, ""
    at = cell.index(".")
    return cell[:at], cell[at:]
