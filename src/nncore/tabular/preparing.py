"""A table as the inputs of a network: an encoder for each column, and what must come again for predictions."""

from __future__ import annotations

from typing import Any

import numpy as np

from nncore.tabular import columns, frames

Array = np.ndarray[Any, Any]

MAX_BINS = 48
MAX_ONE_HOT = 12


class Preparer:
    """Turns tables into matrices of numbers of about unit size, then codes; made from a training table.

    Parameters
    ----------
    names : list or None
        The names of the columns, or None where they have none.
    encoders : list of Encoder
        One for each column.

    Attributes
    ----------
    width : int
        Columns of the matrices.
    categories : dict of int to int
        Which of them are codes, the last ones, with their cardinalities.
    """

    def __init__(self, names: list[Any] | None, encoders: list[columns.Encoder]) -> None:
        self.names, self.encoders = names, encoders
        self.numeric = [index for index, encoder in enumerate(encoders) if not encoder.cardinality]
        self.coded = [index for index, encoder in enumerate(encoders) if encoder.cardinality]
        n_numbers = sum(encoders[index].width for index in self.numeric)
        self.width = n_numbers + len(self.coded)
        self.categories = {n_numbers + at: encoders[index].cardinality for at, index in enumerate(self.coded)}

    @classmethod
    def made(cls, table: frames.Table, n_bins: int, min_count: int, max_one_hot: int = MAX_ONE_HOT) -> Preparer:
        """Make it from a training table."""
        return cls(table.names, [columns.made(column, n_bins, min_count, max_one_hot) for column in table.columns])

    def matrix(self, table: frames.Table, taker: str, dtype: Any) -> Array:
        """Return the inputs for the rows of a table, (n, width).

        Raises
        ------
        ValueError
            If columns are missing or too many, or of another kind than in training.
        """
        given = self._in_order(table, taker)
        called = range(len(given)) if self.names is None else self.names
        right = [
            frames.converted(column, encoder.expects, f"column {name!r} of X", getattr(encoder, "mixed", True))
            for column, encoder, name in zip(given, self.encoders, called, strict=True)
        ]
        out = np.empty((table.n_rows, self.width), dtype)
        at = 0
        for index in [*self.numeric, *self.coded]:
            block = self.encoders[index].encoded(right[index])
            out[:, at : at + block.shape[1]] = block
            at += block.shape[1]
        return out

    def _in_order(self, table: frames.Table, taker: str) -> list[frames.Column]:
        """Return a table's columns in the order of training: by name where both have names, else by place."""
        expected = self.names
        if expected is not None and table.names is not None:
            missing = [name for name in expected if name not in set(table.names)]
            known = set(expected)
            odd = [name for name in table.names if name not in known]
            if missing or odd:
                raise ValueError(_names_message(missing, odd))
            place = {name: index for index, name in enumerate(table.names)}
            return [table.columns[place[name]] for name in expected]
        if len(table.columns) != len(self.encoders):
            raise ValueError(
                f"X has {len(table.columns)} features, but {taker} is expecting {len(self.encoders)} features as input"
            )
        return table.columns


def _names_message(missing: list[Any], odd: list[Any]) -> str:
    parts = ["The feature names should match those that were passed during fit."]
    if odd:
        parts.append("Feature names unseen at fit time:\n" + _listed(odd))
    if missing:
        parts.append("Feature names seen at fit time, yet now missing:\n" + _listed(missing))
    return "\n".join(parts) + "\n"


def _listed(names: list[Any]) -> str:
    more = ["- ..."] if len(names) > 20 else []
    return "\n".join([*(f"- {name}" for name in names[:20]), *more])
