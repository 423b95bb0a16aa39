"""Pictures, by matplotlib: activations, the course of a training, decision boundaries, small networks.

Each function returns a matplotlib Figure or Axes, to be saved with ``figure.savefig(path)`` (of Axes:
``axes.figure.savefig``) or shown with ``matplotlib.pyplot.show()``; none shows anything itself. matplotlib is imported
by the first call: ``pip install "nncore[plot]"``. The colours are M. Okabe's and K. Ito's, which people with any colour
vision can tell apart; markers and dashes say the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil, isfinite
from typing import TYPE_CHECKING, Any

import numpy as np

from nncore import activations as _activations
from nncore import checks
from nncore.columns import Columns
from nncore.history import History
from nncore.layers import Dense
from nncore.network import Sequential

if TYPE_CHECKING:
    from collections.abc import Iterable

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from nncore.activations import Activation
    from nncore.layers import Layer

    Array = np.ndarray[Any, Any]

_BLUE, _RED = "#0072B2", "#D55E00"
_COLOURS = (_BLUE, "#E69F00", "#009E73", "#CC79A7", "#56B4E9", _RED, "#F0E442", "#000000")
_MARKERS = "os^Dv<>P"
_COLUMNS = 4
_MOST_UNITS = 12  # of a layer that are drawn
_MOST_CLASSES = len(_COLOURS)


def activations(names: Iterable[str | Activation] | None = None, span: float = 4.0) -> Figure:
    """Draw activation functions and their derivatives, each in axes of its own.

    Parameters
    ----------
    names : iterable of str or Activation, optional
        Which; None takes all that there are but softmax, which is a function of several numbers.
    span : float, default 4.0
        z goes from -span to span.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    TypeError, ValueError
        If an activation is not known, or is softmax, there are none, or span is not above 0.
    ImportError
        If matplotlib is not installed.
    """
    span = checks.finite_float(span, "span", above=0.0)
    if names is None:
        chosen = [f for name, f in _activations.ALIASES.items() if name != "softmax"]
    elif isinstance(names, str) or not hasattr(names, "__iter__"):
        raise TypeError(f"names is {names!r}; expected a sequence of activations")
    else:
        chosen = [_activations.get(name) for name in names]
    if not chosen:
        raise ValueError("names is empty; expected at least one activation")
    for f in chosen:
        if f.name == "softmax":
            raise ValueError("names has softmax, a function of several numbers; expected elementwise activations")
    pyplot = _pyplot()
    columns = min(_COLUMNS, len(chosen))
    rows = ceil(len(chosen) / columns)
    figure: Figure  # declared: matplotlib's own types are not always there
    figure, grid = pyplot.subplots(
        rows, columns, figsize=(2.6 * columns + 0.4, 2.1 * rows + 0.9), squeeze=False, sharex=True, layout="constrained"
    )
    z = np.linspace(-span, span, 801)
    for axes, f in zip(grid.flat, chosen, strict=False):
        with np.errstate(all="ignore"):
            value, slope = np.asarray(f(z)), np.asarray(f.derivative(z))
        if f.name == "step":  # a jump is no line
            value[np.argmin(np.abs(z))] = np.nan
        axes.axhline(0, color="#bbbbbb", linewidth=0.8)
        axes.axvline(0, color="#bbbbbb", linewidth=0.8)
        axes.plot(z, value, color=_BLUE, linewidth=1.8, label="f(z)")
        axes.plot(z, slope, color=_RED, linewidth=1.4, linestyle="--", label="f'(z)")
        both = np.concatenate([value[~np.isnan(value)], slope])
        axes.set_ylim(max(-2.2, min(-0.3, 1.1 * both.min())), min(3.2, max(1.3, 1.1 * both.max())))
        axes.set_title(repr(f), fontsize=10)
        axes.tick_params(labelsize=8)
        axes.spines[["top", "right"]].set_visible(False)
    for axes in grid.flat[len(chosen) :]:
        axes.set_visible(False)
    for column in range(columns):  # the lowest axes of a column have the numbers
        lowest = grid[(len(chosen) - 1 - column) // columns, column]
        lowest.set_xlabel("z", fontsize=9)
        lowest.xaxis.set_tick_params(labelbottom=True)
    handles, labels = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper right", ncols=2, frameon=False, fontsize=9)
    return figure


def history(h: History | Mapping[str, Iterable[float]]) -> Figure:
    """Draw the loss by epoch, and the metrics below it; what was measured on validation data is dashed.

    Parameters
    ----------
    h : History or mapping of str to numbers
        What ``fit`` returned, or its ``history``. Values that are not finite are left out.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    TypeError
        If `h` is of another type.
    ValueError
        If it has no finished epoch.
    ImportError
        If matplotlib is not installed.
    """
    if not isinstance(h, History | Mapping):
        raise TypeError(f"h is of type {type(h).__name__}; expected what fit returned, or a mapping of lists")
    curves = {name: list(values) for name, values in (h.history if isinstance(h, History) else h).items()}
    if not any(curves.values()):
        raise ValueError("h has no finished epoch; expected at least one")
    pyplot = _pyplot()
    measures = list(dict.fromkeys(name.removeprefix("val_") for name in curves))
    figure: Figure
    figure, grid = pyplot.subplots(
        len(measures), 1, figsize=(6.4, 1.2 + 2.4 * len(measures)), squeeze=False, sharex=True, layout="constrained"
    )
    for axes, measure in zip(grid[:, 0], measures, strict=True):
        for name, style, marker, colour, label in (
            (measure, "-", "o", _BLUE, "training"),
            ("val_" + measure, "--", "s", _RED, "validation"),
        ):
            values = [value if isfinite(value) else np.nan for value in curves.get(name, ())]
            if values:
                few = marker if len(values) <= 30 else ""
                epochs = range(1, len(values) + 1)
                axes.plot(epochs, values, style, marker=few, markersize=4, color=colour, label=label)
        axes.set_ylabel(measure)
        axes.grid(color="#dddddd", linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
        axes.xaxis.get_major_locator().set_params(integer=True)
    grid[-1, 0].set_xlabel("epoch")
    grid[0, 0].legend(frameon=False, fontsize=9)
    return figure


def decision_boundary(net: Sequential, X: Any, y: Any = None, *, resolution: int = 200, ax: Axes | None = None) -> Axes:
    """Draw which class a network of two inputs predicts where, and the data.

    Several outputs: the class is the largest. One output: class 1 where it is at least 1/2 (after a sigmoid) or 0
    (otherwise), with a line where it changes.

    Parameters
    ----------
    net : Sequential
        With two inputs, and at most 8 classes.
    X : array_like of shape (n, 2)
        The data; the picture reaches a little beyond them.
    y : array_like, optional
        Their labels, (n,) or (n, 1), with one output also -1 and 1, or one-hot rows; None draws all points alike.
    resolution : int, default 200
        The network is asked at so many places along each side.
    ax : matplotlib.axes.Axes, optional
        Where to draw; None makes a new figure.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit, or the network has another number of inputs, or too many classes.
    ImportError
        If matplotlib is not installed.
    """
    _require_network(net)
    if net.n_in != 2:
        raise ValueError(f"net has {net.n_in} inputs; decision_boundary takes a network of 2")
    if net.n_out > _MOST_CLASSES:
        raise ValueError(f"net has {net.n_out} outputs; decision_boundary draws at most {_MOST_CLASSES} classes")
    resolution = checks.positive_int(resolution, "resolution")
    points = checks.matrix(X, "X", 2, net.dtype)
    if not np.isfinite(points).all():
        raise ValueError("X has a value that is not finite; expected finite numbers")
    labels = None if y is None else _labels(y, len(points), net.n_out)
    pyplot = _pyplot()
    from matplotlib.colors import ListedColormap, to_rgb

    if ax is None:
        _, ax = pyplot.subplots(figsize=(5.6, 4.8), layout="constrained")
    low, high = points.min(axis=0).astype(float), points.max(axis=0).astype(float)
    margin = 0.08 * (high - low) + 1e-3 * np.maximum(1.0, np.abs(high)) * (high == low)
    sides = [np.linspace(a - m, b + m, max(resolution, 2)) for a, b, m in zip(low, high, margin, strict=True)]
    across, up = np.meshgrid(*sides)
    outputs = net.predict(np.column_stack([across.ravel(), up.ravel()]).astype(net.dtype))
    classes = max(2, net.n_out)
    if net.n_out == 1:
        threshold = 0.5 if net.layers[-1].activation.name in ("sigmoid", "hard_sigmoid") else 0.0
        where = (outputs[:, 0] >= threshold).astype(int).reshape(across.shape)
    else:
        threshold = 0.0
        where = outputs.argmax(axis=1).reshape(across.shape)
    pale = [tuple(0.35 * c + 0.65 for c in to_rgb(colour)) for colour in _COLOURS[:classes]]
    extent = (sides[0][0], sides[0][-1], sides[1][0], sides[1][-1])
    ax.imshow(
        where, origin="lower", extent=extent, aspect="auto", interpolation="nearest", cmap=ListedColormap(pale),
        vmin=-0.5, vmax=classes - 0.5,
    )  # fmt: skip
    if net.n_out == 1 and where.min() < where.max():
        ax.contour(*sides, outputs.reshape(across.shape), levels=[threshold], colors="#333333", linewidths=1.2)
    if labels is None:
        ax.scatter(points[:, 0], points[:, 1], s=16, color="#333333", edgecolor="white", linewidth=0.5)
    else:
        for k in range(classes):
            of_class = points[labels == k]
            ax.scatter(
                of_class[:, 0], of_class[:, 1], s=24, color=_COLOURS[k], marker=_MARKERS[k], edgecolor="white",
                linewidth=0.6, label=f"class {k}",
            )  # fmt: skip
        ax.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), frameon=False, fontsize=9)
    ax.set_xlabel("first input")
    ax.set_ylabel("second input")
    return ax


def network(net: Sequential, *, ax: Axes | None = None) -> Axes:
    """Draw a network: units as circles, weights as lines, blue above 0 and red and dashed below, wider where larger.

    Layers that are not dense have thin grey lines from what goes in to what becomes of it. Of a layer of more than 12
    units the first and the last ones are drawn.

    Parameters
    ----------
    net : Sequential
        Best with few units.
    ax : matplotlib.axes.Axes, optional
        Where to draw; None makes a new figure.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    TypeError
        If `net` is no network.
    ImportError
        If matplotlib is not installed.
    """
    _require_network(net)
    pyplot = _pyplot()
    sizes = [net.n_in, *(layer.n_out for layer in net.layers)]
    shown = [_shown(size) for size in sizes]
    tallest = max(len(units) + (len(units) < size) for units, size in zip(shown, sizes, strict=True))
    if ax is None:
        figsize = (1.6 + 1.8 * len(sizes), max(2.6, 1.3 + 0.42 * tallest))
        _, ax = pyplot.subplots(figsize=figsize, layout="constrained")
    places = [_places(units, size) for units, size in zip(shown, sizes, strict=True)]
    arrays = iter(net.get_weights())
    for layer, described in enumerate(net.layers):
        parameters = [next(arrays) for _ in described.shapes]
        if not isinstance(described, Dense):
            for i, j in _passed_on(described, shown[layer], shown[layer + 1]):
                ends = places[layer][i], places[layer + 1][j]
                ax.plot((layer, layer + 1), ends, color="#999999", linewidth=0.8, zorder=1)
            continue
        part = parameters[0][np.ix_(shown[layer], shown[layer + 1])]
        largest = float(np.abs(part).max()) or 1.0
        for i, low in enumerate(places[layer]):
            for j, high in enumerate(places[layer + 1]):
                share = abs(float(part[i, j])) / largest
                ax.plot(
                    (layer, layer + 1), (low, high), color=_BLUE if part[i, j] >= 0 else _RED,
                    linestyle="-" if part[i, j] >= 0 else (0, (4, 2)), linewidth=0.3 + 2.2 * share,
                    alpha=0.25 + 0.65 * share, zorder=1,
                )  # fmt: skip
    for layer, (at, size) in enumerate(zip(places, sizes, strict=True)):
        ax.scatter([layer] * len(at), at, s=150, color="white", edgecolor="#333333", linewidth=1.2, zorder=2)
        if len(at) < size:
            ax.text(layer, 0, "\u22ee", ha="center", va="center", fontsize=14, zorder=3)
        name = "inputs" if layer == 0 else _name(net.layers[layer - 1])
        ax.text(layer, -tallest / 2 - 0.25, f"{size}\n{name}", ha="center", va="top", fontsize=9)
    ax.plot([], [], color=_BLUE, label="weight above 0")
    ax.plot([], [], color=_RED, linestyle=(0, (4, 2)), label="weight below 0")
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, frameon=False, fontsize=9)
    ax.set_xlim(-0.5, len(sizes) - 0.5)
    ax.set_ylim(-tallest / 2 - 1.6, tallest / 2 + 0.2)
    ax.axis("off")
    return ax


# ----------------------------------------------------------------------------------------------------------- helpers


def _pyplot() -> Any:
    try:
        from matplotlib import pyplot
    except ImportError as error:
        raise ImportError('nncore.plot takes matplotlib, which is not there: pip install "nncore[plot]"') from error
    return pyplot


def _require_network(net: Any) -> None:
    if not isinstance(net, Sequential):
        raise TypeError(f"net is of type {type(net).__name__}; expected Sequential or MLP")


def _labels(y: Any, n: int, n_out: int) -> Array:
    """Return labels (n,), from labels or one-hot rows."""
    given, classes = checks.numeric(y, "y"), max(2, n_out)
    if given.shape == (n, classes):
        classes_of: Array = given.argmax(axis=1)
        return classes_of
    if given.shape not in ((n,), (n, 1)):
        raise ValueError(f"y has shape {given.shape}; expected ({n},), ({n}, 1) or ({n}, {classes})")
    if n_out == 1 and (np.abs(given) == 1).all():  # as the loss hinge takes them
        signs: Array = given.reshape(-1) == 1
        return signs
    return checks.class_labels(given, "y", classes, "net")


def _name(layer: Layer) -> str:
    """Return what is written below a layer: its kind where it is not dense, and its activation."""
    if isinstance(layer, Dense):
        return layer.activation.name
    kind = type(layer).__name__
    return kind if layer.activation.name == "identity" else f"{kind}\n{layer.activation.name}"


def _passed_on(layer: Layer, left: list[int], right: list[int]) -> list[tuple[int, int]]:
    """Return which of the units drawn before a layer goes into which of those drawn after it, by their places."""
    into = list(range(layer.n_out))
    if isinstance(layer, Columns):  # the numeric columns come first, then the numbers of each coded one
        coded = {column for column, _, _ in layer.tables}
        into = [column for column in range(layer.n_in) if column not in coded]
        into += [column for column, _, dim in layer.tables for _ in range(dim)]
    at = {unit: place for place, unit in enumerate(left)}
    return [(at[into[unit]], place) for place, unit in enumerate(right) if into[unit] in at]


def _shown(size: int) -> list[int]:
    """Return the indices of the units that are drawn."""
    if size <= _MOST_UNITS:
        return list(range(size))
    half = _MOST_UNITS // 2
    return [*range(half), *range(size - half, size)]


def _places(units: list[int], size: int) -> list[float]:
    """Return heights from top to bottom around 0, with room in the middle where units are left out."""
    rows = len(units) + (len(units) < size)
    heights = [(rows - 1) / 2 - row for row in range(rows)]
    if len(units) < size:
        del heights[rows // 2]
    return heights
