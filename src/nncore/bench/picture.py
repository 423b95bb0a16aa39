"""The training steps as a picture, with matplotlib."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

from nncore.bench.records import Training, best
from nncore.bench.report import number

# M. Okabe's and K. Ito's colours, which people with any colour vision can tell apart: https://jfly.uni-koeln.de/color/
_COLOURS = {
    "nncore": "#D55E00",
    "numpy": "#0072B2",
    "torch": "#E69F00",
    "jax": "#009E73",
    "sklearn": "#CC79A7",
    "backend=numpy": "#56B4E9",
}
_LABELS = {"numpy": "NumPy", "torch": "PyTorch", "jax": "JAX", "sklearn": "scikit-learn"}
_BAR = 0.17  # inches
_WIDTH = 9.5
SUFFIXES = (".png", ".svg", ".pdf")


def available() -> bool:
    """Return whether matplotlib is installed."""
    return find_spec("matplotlib") is not None


def subtitle(machine: Mapping[str, Any]) -> str:
    """Return what the figures were measured on, in one line.

    Parameters
    ----------
    machine : mapping
        From `machine.describe`.

    Returns
    -------
    str
    """
    cores = "1 core" if machine["cores"] == 1 else f"{machine['cores']} cores"
    versions = ", ".join(f"{_LABELS.get(name, name)} {version}" for name, version in machine["versions"].items())
    return f"{machine['cpu']}, {cores}; nncore on {machine['isa'] or 'NumPy'}; {versions}; {machine['date'][:10]}"


def draw(path: str | Path, results: Mapping[str, Training], names: Sequence[str], machine: Mapping[str, Any]) -> None:
    """Draw horizontal bars of the microseconds of a step, for each workload and contestant.

    Parameters
    ----------
    path : path_like
        Where to; the suffix says the format, one of `SUFFIXES`.
    results : mapping of str to Training
        By workload.
    names : sequence of str
        Contestants, in the order of the bars.
    machine : mapping
        From `machine.describe`.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    OSError
        If the file cannot be written.
    """
    # pyplot is left out: it looks for a display.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch
    from matplotlib.ticker import NullFormatter

    places, ticks, place = [], [], 0.0
    for work, found in results.items():
        entries = best(found["entries"])
        present = [name for name in names if name in entries]
        start = place
        for name in present:
            places.append((place, name, median(entries[name]["seconds"]) * 1e6))
            place += 1
        ticks.append(((start + place - 1) / 2, f"{work}\n{found['description']}"))
        place += 1
    head, foot = 1.15, 0.55
    height = max(1.0, place * _BAR) + head + foot
    figure = Figure(figsize=(_WIDTH, height))
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0.27, foot / height, 0.70, (height - head - foot) / height))
    if places:
        axes.barh(
            [at for at, _, _ in places],
            [value for _, _, value in places],
            height=0.86,
            color=[_COLOURS[name] for _, name, _ in places],
        )
        for at, _, value in places:
            axes.annotate(number(value), (value, at), (3, 0), textcoords="offset points", va="center", fontsize=7)
        values = [value for _, _, value in places]
        # Bars of a logarithmic axis begin where one likes: here well below the shortest. The numbers need the right.
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.10g}")
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_xlim(min(values) / 3, max(values) * 3)
    axes.set_ylim(max(place, 2) - 2 + 0.7, -0.7)  # downwards: the first workload on top
    axes.set_yticks([at for at, _ in ticks], [label for _, label in ticks], fontsize=8)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel("microseconds for a training step, logarithmic: shorter is faster", fontsize=9)
    axes.grid(axis="x", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    dtype = "/".join(sorted({found["dtype"] for found in results.values()}))
    figure.text(0.02, 1 - 0.12 / height, f"Training steps on the CPU, {dtype}", fontsize=13, weight="bold", va="top")
    lines = textwrap.fill(subtitle(machine), 140)
    figure.text(0.02, 1 - 0.40 / height, lines, fontsize=8, color="#444444", va="top")
    shown = [name for name in names if any(name == other for _, other, _ in places)]
    figure.legend(
        handles=[Patch(color=_COLOURS[name], label=_LABELS.get(name, name)) for name in shown],
        loc="upper left",
        bbox_to_anchor=(0.26, 1 - (head - 0.36) / height),
        ncols=max(1, len(shown)),
        frameon=False,
        fontsize=9,
    )
    figure.savefig(path, dpi=150)
