"""Columns of a table as numbers for a network: what each kind is turned into, and what is remembered for that.

Each encoder is made from a training column and gives, for any later column of its kind, either numbers of about unit
size, (n, width), or codes for a table of learned numbers. Its `state` is plain data, from which `restored` makes it
again.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from nncore.tabular import frames

Array = np.ndarray[Any, Any]

LIMIT = 3.0  # numbers are squashed to within this
_DAY = 86400.0


def squashed(z: Array) -> Array:
    """Return z / sqrt(1 + (z / 3)**2): z itself near 0, and never beyond 3 in size (D. Holzmüller et al., 2024)."""
    with np.errstate(over="ignore", invalid="ignore"):
        result = z / np.sqrt(1 + (z / LIMIT) ** 2)
    return np.where(np.isinf(z) | (np.abs(z) > 1e150), np.sign(z) * LIMIT, result)


def centre_and_scale(values: Array) -> tuple[float, float]:
    """Return the median of finite numbers, and the distance of their quartiles, or what stands in where that is 0.

    Where half of the numbers are equal, half of their whole range stands in; where all are, the scale is 0.
    """
    with np.errstate(over="ignore"):
        low, centre, high = np.quantile(values, [0.25, 0.5, 0.75])
        scale = high - low
        if not scale > 1e-12 * np.abs(values).max():
            scale = (values.max() - values.min()) / 2
    return float(centre), float(scale) if np.isfinite(scale) else float(np.finfo(np.float64).max)


class Nothing:
    """A column that says nothing in training: without values, or all of them equal."""

    kind = "nothing"
    cardinality = width = 0

    def __init__(self, expects: str) -> None:
        self.expects = expects

    def encoded(self, column: frames.Column) -> Array:
        """Return no columns."""
        return np.empty((len(column.values), 0))

    def state(self) -> dict[str, Any]:
        """Return what a file keeps."""
        return {"expects": self.expects}


class Number:
    """A column of numbers: (x - median) / interquartile range, squashed; its place among quantiles; whether missing.

    The place is the piecewise-linear encoding of Y. Gorishniy et al., "On embeddings for numerical features in tabular
    deep learning", NeurIPS 2022: for each pair of neighbouring edges the part of the way between them that x has
    gone, 0 to 1. Missing values have the median's place and an indicator of 1, a column that is there only if
    some are missing in training.
    """

    kind = expects = "number"
    cardinality = 0

    def __init__(self, centre: float, scale: float, indicator: bool, edges: list[float]) -> None:
        self.centre, self.scale, self.indicator = float(centre), float(scale), bool(indicator)
        self.edges = np.array(edges, np.float64)
        self.width = (self.scale > 0) + self.indicator + max(0, len(self.edges) - 1)

    @classmethod
    def made(cls, values: Array, n_bins: int) -> Number:
        """Make it from a training column's values, not all missing."""
        finite = values[np.isfinite(values)]
        centre, scale = centre_and_scale(finite) if len(finite) else (0.0, 0.0)
        if scale == 0 and np.isinf(values).any():
            scale = 1.0
        edges = np.unique(finite) if n_bins > 1 and scale > 0 else np.empty(0)
        if len(edges) > n_bins + 1:
            edges = np.unique(np.quantile(finite, np.linspace(0, 1, n_bins + 1)))
        return cls(centre, scale, bool(np.isnan(values).any()), edges.tolist() if len(edges) > 2 else [])

    def encoded(self, column: frames.Column) -> Array:
        """Return the numbers, (n, width)."""
        return self.of(column.values)

    def of(self, values: Array) -> Array:
        """Return what `encoded` does, for an array of numbers."""
        missing = np.isnan(values)
        values = np.where(missing, self.centre, values)[:, None]
        parts = []
        with np.errstate(over="ignore", invalid="ignore"):
            if self.scale > 0:
                parts.append(squashed((values - self.centre) / self.scale))
            if len(self.edges):
                low, high = self.edges[:-1], self.edges[1:]
                parts.append(np.clip((values - low) / (high - low), 0, 1))
        if self.indicator:
            parts.append(missing[:, None])
        return np.concatenate(parts, axis=1, dtype=np.float64) if parts else np.empty((len(values), 0))

    def state(self) -> dict[str, Any]:
        """Return what a file keeps."""
        return {"centre": self.centre, "scale": self.scale, "indicator": self.indicator, "edges": self.edges.tolist()}


class Flag:
    """A column of booleans: -1 and 1, 0 where missing, and an indicator if some are missing in training."""

    kind = expects = "boolean"
    cardinality = 0

    def __init__(self, indicator: bool) -> None:
        self.indicator = bool(indicator)
        self.width = 1 + self.indicator

    def encoded(self, column: frames.Column) -> Array:
        """Return the numbers, (n, width)."""
        missing = np.isnan(column.values)
        sign = np.where(missing, 0, 2 * column.values - 1)
        return np.stack((sign, missing)[: self.width], axis=1)

    def state(self) -> dict[str, Any]:
        """Return what a file keeps."""
        return {"indicator": self.indicator}


class Moment:
    """A column of dates or times: seconds since 1970 as a `Number`, and the cycles that they run through.

    Of year, week and day it has cosine and sine of the part gone, of those in which the training column's moments
    differ.
    """

    kind = expects = "datetime"
    cardinality = 0

    def __init__(self, number: Number, cycles: list[bool]) -> None:
        self.number = number
        self.cycles = [bool(cycle) for cycle in cycles]
        self.width = number.width + 2 * sum(self.cycles)

    @classmethod
    def made(cls, values: Array, n_bins: int) -> Moment:
        """Make it from a training column's values, not all missing."""
        there = values[~np.isnan(values)]
        return cls(Number.made(values, n_bins), [len(np.unique(part)) > 1 for part in _parts_of_cycles(there)])

    def encoded(self, column: frames.Column) -> Array:
        """Return the numbers, (n, width)."""
        values = column.values
        missing = np.isnan(values)
        blocks = [self.number.of(values)]
        for part, wanted in zip(_parts_of_cycles(np.where(missing, 0.0, values)), self.cycles, strict=True):
            if wanted:
                angle = 2 * np.pi * part
                block = np.stack((np.cos(angle), np.sin(angle)), axis=1)
                block[missing] = 0
                blocks.append(block)
        return np.concatenate(blocks, axis=1)

    def state(self) -> dict[str, Any]:
        """Return what a file keeps."""
        return {"number": self.number.state(), "cycles": self.cycles}


def _parts_of_cycles(seconds: Array) -> tuple[Array, Array, Array]:
    """Return which part of its year, week and day each moment is at, 0 to 1; the year's to the day."""
    days = np.floor(seconds / _DAY)
    dates = days.astype(np.int64).astype("datetime64[D]")
    first = dates.astype("datetime64[Y]").astype("datetime64[D]")
    of_year = (dates - first).astype(np.float64) / 365.25
    return of_year, ((days + 3) % 7) / 7, seconds / _DAY - days


class Category:
    """A column of categories: a column for each of few, a code of a table of learned numbers for many.

    Code 0 is for labels that training has not, and for rare ones, which are pooled. Missing values are a label of
    their own where training has enough of them, else code 0. One-hot columns have none for code 0 unless some of
    the training rows have it, so an unknown label is all zeros there.
    """

    kind = expects = "category"

    def __init__(
        self, labels: list[Any], missing: bool, pooled: bool, one_hot: bool, mixed: bool | None = None
    ) -> None:
        self.labels, self.missing, self.pooled, self.one_hot = list(labels), bool(missing), bool(pooled), bool(one_hot)
        # in training, whose rare labels are not kept; files of before do not say
        self.mixed = any(map(frames.is_odd, labels)) if mixed is None else bool(mixed)
        self.codes = {label: code for code, label in enumerate(self.labels, 1)}
        n_codes = 1 + len(self.labels) + self.missing
        self.first = 0 if self.pooled else 1
        self.width = n_codes - self.first if self.one_hot else 0
        self.cardinality = 0 if self.one_hot else n_codes

    @classmethod
    def made(cls, column: frames.Column, min_count: int, max_one_hot: int) -> Category | Nothing:
        """Make it from a training column; `Nothing` where all rows would have one code."""
        counts = np.bincount(column.values + 1, minlength=len(column.labels) + 1)
        kept = [label for label, count in zip(column.labels, counts[1:], strict=True) if count >= min_count]
        missing = counts[0] >= min_count
        pooled = sum(count for count in counts if count < min_count) > 0
        if len(kept) + missing + pooled < 2:
            return Nothing("category")
        kept.sort(key=lambda label: (isinstance(label, str), label))
        return cls(kept, missing, pooled, len(kept) + missing + pooled <= max_one_hot, column.mixed)

    def code_of(self, column: frames.Column) -> Array:
        """Return each row's code, 0 to cardinality - 1."""
        missing = len(self.labels) + 1 if self.missing else 0
        table = np.array([*map(self._code, column.labels), missing], np.intp)
        codes: Array = table[column.values if column.kind == "category" else np.full(len(column.values), -1)]
        return codes

    def _code(self, label: Any) -> int:
        code = self.codes.get(label)
        if code is None and not isinstance(label, str):
            code = self.codes.get(frames.text_of(label))
        return code or 0

    def encoded(self, column: frames.Column) -> Array:
        """Return the one-hot columns, (n, width), or the codes, (n, 1)."""
        codes = self.code_of(column)
        if not self.one_hot:
            return codes[:, None].astype(np.float64)
        one_hot: Array = codes[:, None] == np.arange(self.first, self.first + self.width)
        return one_hot.astype(np.float64)

    def state(self) -> dict[str, Any]:
        """Return what a file keeps."""
        names = ("labels", "missing", "pooled", "one_hot", "mixed")
        return {name: getattr(self, name) for name in names}


Encoder = Nothing | Number | Flag | Moment | Category


def made(column: frames.Column, n_bins: int, min_count: int, max_one_hot: int) -> Encoder:
    """Return the encoder for a training column."""
    if column.kind == "empty":
        return Nothing("empty")
    if column.kind == "category":
        if not column.declared and (numbers := frames.numbers_of(column.labels)) is not None:
            column = frames.Column("number", np.append(numbers, np.nan)[column.values])
        elif not column.declared and (seconds := frames.dates_of(column.labels)) is not None:
            column = frames.Column("datetime", np.append(seconds, np.nan)[column.values])
        else:
            return Category.made(column, min_count, max_one_hot)
    values = column.values
    if len(np.unique(values)) < 2:  # NaN counts once
        return Nothing(column.kind)
    if column.kind == "boolean":
        return Flag(bool(np.isnan(values).any()))
    return (Moment if column.kind == "datetime" else Number).made(values, n_bins)


def restored(kind: str, state: dict[str, Any]) -> Encoder:
    """Return the encoder that `state` is of.

    Raises
    ------
    KeyError, TypeError, ValueError
        If there is no such encoder.
    """
    if kind == "datetime":
        return Moment(Number(**state["number"]), state["cycles"])
    classes: dict[str, Any] = {"nothing": Nothing, "number": Number, "boolean": Flag, "category": Category}
    encoder: Encoder = classes[kind](**state)
    return encoder
