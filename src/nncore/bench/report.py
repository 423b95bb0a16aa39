"""Tables in Markdown, and the JSON file."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from nncore.bench.contestants import CONTESTANTS
from nncore.bench.records import Entry, Neighbours, Precision, Training, best

_NUMBER = 7  # characters that a column of numbers has at least
NOTHING = "-"  # in the cell of what was not measured


class Table:
    """A Markdown table whose rows are printed as they come.

    Parameters
    ----------
    titles : sequence of str
        Of the columns.
    widths : sequence of int
        How many columns stand at the left and are aligned left, and how wide each is; the others are aligned right.
    """

    def __init__(self, titles: Sequence[str], widths: Sequence[int]) -> None:
        self._left = len(widths)
        least = [*widths, *[_NUMBER] * (len(titles) - len(widths))]
        self._widths = list(map(max, map(len, titles), least))
        self.head = [
            self.row(titles),
            f"|{'|'.join('-' * (w + 1) + '-:'[i >= self._left] for i, w in enumerate(self._widths))}|",
        ]

    def row(self, cells: Sequence[str]) -> str:
        """Return a line of the table."""
        padded = [
            f" {cell:{'<' if index < self._left else '>'}{width}} "
            for index, (cell, width) in enumerate(zip(cells, self._widths, strict=True))
        ]
        return f"|{'|'.join(padded)}|"


def number(value: float) -> str:
    """Return a number with three significant digits, or all digits of the whole part.

    Examples
    --------
    >>> [number(x) for x in (0.28123, 3.687, 130.2, 54619.8)]
    ['0.281', '3.69', '130', '54,620']
    """
    digits = 0 if value <= 0 else 2 - math.floor(math.log10(value))
    return f"{value:,.{min(max(digits, 0), 9)}f}"


def microseconds(seconds: Sequence[float]) -> str:
    """Return the median, or `NOTHING` where there are no figures."""
    return number(median(seconds) * 1e6) if seconds else NOTHING


def _spread(seconds: Sequence[float]) -> str:
    return f"{number(min(seconds) * 1e6)} to {number(max(seconds) * 1e6)}" if seconds else NOTHING


def _gflops(flops: int, seconds: Sequence[float]) -> float:
    return flops / median(seconds) * 1e-9


def training_table(names: Sequence[str]) -> Table:
    """Return the table of training steps, without rows.

    Parameters
    ----------
    names : sequence of str
        The contestants.

    Returns
    -------
    Table
    """
    titles = ["work", "network"]
    if "nncore" in names:
        titles += ["nncore, us/step", "lowest to highest", "GFLOP/s", "of FMA peak"]
    titles += [f"{name}, us/step" for name in names if name != "nncore"]
    if _has_ratio(names):
        titles.append("best peer / nncore")
    return Table(titles, (7, 34))


def _has_ratio(names: Sequence[str]) -> bool:
    return "nncore" in names and any(not CONTESTANTS[name].own for name in names)


def training_row(work: str, found: Training, names: Sequence[str]) -> list[str]:
    """Return a workload's cells.

    Parameters
    ----------
    work : str
        Its name.
    found : Training
        What was measured.
    names : sequence of str
        As for `training_table`.

    Returns
    -------
    list of str
    """
    entries = best(found["entries"])
    seconds = {name: entries[name]["seconds"] if name in entries else [] for name in names}
    cells = [work, found["description"]]
    if "nncore" in names:
        mine = seconds["nncore"]
        gflops = _gflops(found["flops"], mine) if mine else 0.0
        share = f"{gflops / max(found['peak_gflops']):.0%}" if mine and found["peak_gflops"] else NOTHING
        cells += [microseconds(mine), _spread(mine), number(gflops) if mine else NOTHING, share]
    cells += [microseconds(values) for name, values in seconds.items() if name != "nncore"]
    if _has_ratio(names):
        peers = {name: median(values) for name, values in seconds.items() if values and not CONTESTANTS[name].own}
        if peers and seconds["nncore"]:
            fastest = min(peers, key=lambda name: peers[name])
            cells.append(f"{peers[fastest] / median(seconds['nncore']):.2f} ({fastest})")
        else:
            cells.append(NOTHING)
    return cells


def latency_lines(entries: list[Entry]) -> list[str]:
    """Return the table of one-row predictions.

    Parameters
    ----------
    entries : list of Entry
        What was measured.

    Returns
    -------
    list of str
    """
    table = Table(["one-row predict, 64-64-10", "us", "lowest to highest", "time / nncore's"], (0,))
    found = best(entries)
    mine = median(found["nncore"]["seconds"]) if "nncore" in found else math.nan
    return table.head + [
        table.row(
            [
                name,
                microseconds(entry["seconds"]),
                _spread(entry["seconds"]),
                f"{median(entry['seconds']) / mine:.2f}" if "nncore" in found else NOTHING,
            ]
        )
        for name, entry in found.items()
    ]


def neighbours_table() -> Table:
    """Return the table of neighbouring sizes, without rows."""
    return Table(["work", "network", "us/step", "GFLOP/s", "GFLOP/s / the listed size's"], (7, 24))


def neighbours_rows(work: str, found: Neighbours) -> list[list[str]]:
    """Return the cells of a workload and of its neighbours.

    Parameters
    ----------
    work : str
        Its name.
    found : Neighbours
        What was measured.

    Returns
    -------
    list of list of str
    """
    rates = {each["network"]: _gflops(each["flops"], each["seconds"]) for each in found["networks"]}
    rows = []
    for each in found["networks"]:
        rate = rates[each["network"]]
        ratio = f"{rate / rates[found['listed']]:.2f}" if found["listed"] in rates else NOTHING
        rows.append([work, each["network"], microseconds(each["seconds"]), number(rate), ratio])
    return rows


def precision_table() -> Table:
    """Return the table of precisions, without rows."""
    return Table(["work", "network", "float32, us/step", "float64, us/step", "float64 speed / float32 speed"], (7, 34))


def precision_row(work: str, found: Precision) -> list[str]:
    """Return a workload's cells.

    Parameters
    ----------
    work : str
        Its name.
    found : Precision
        What was measured.

    Returns
    -------
    list of str
    """
    single, double = found["float32"], found["float64"]
    ratio = f"{median(single) / median(double):.2f}" if single and double else NOTHING
    return [work, found["description"], microseconds(single), microseconds(double), ratio]


def write_json(path: str | Path, results: dict[str, Any]) -> None:
    """Write everything as JSON.

    Parameters
    ----------
    path : path_like
        Where to.
    results : dict
        Records, and what else describes the run.

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    Path(path).write_text(json.dumps(results, indent=1, allow_nan=False) + "\n", encoding="utf-8")
