"""What an engine is told of a layer: numbers and names, for C and NumPy alike."""

from __future__ import annotations

from typing import NamedTuple


class LayerSpec(NamedTuple):
    """One layer. The first four may stand alone, for a dense layer.

    `kind` is "dense", "columns", "dropout", "noise", "batch_norm" or "layer_norm"; all but the first two have as many
    outputs as inputs. `activation` is a name, `alpha` its slope or other number. `rate` is dropout's probability of a
    zero or the noise's standard deviation; `epsilon` and `momentum` are normalisation's; `l1`, `l2`, `max_norm` and
    `decay` are a dense layer's, 0 for none; `tables` are (column, cardinality, dim) of the columns with codes, by
    column, for the kind "columns".
    """

    n_in: int
    n_out: int
    activation: str
    alpha: float
    kind: str = "dense"
    rate: float = 0.0
    epsilon: float = 1e-5
    momentum: float = 0.1
    l1: float = 0.0
    l2: float = 0.0
    max_norm: float = 0.0
    decay: float = 0.0
    tables: tuple[tuple[int, int, int], ...] = ()

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """Shapes of the layer's parameters: W and b, gamma and beta, the tables, or none."""
        if self.kind == "columns":
            return [(cardinality, dim) for _, cardinality, dim in self.tables]
        if self.kind == "dense":
            return [(self.n_in, self.n_out), (self.n_out,)]
        return [] if self.kind in ("dropout", "noise") else [(self.n_out,), (self.n_out,)]
