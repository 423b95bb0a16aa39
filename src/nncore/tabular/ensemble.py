"""Members of an ensemble: networks that are trained on parts of a table's rows, each held to the rows that it has not.

Member i of `members` leaves out fold i of the rows, ends with the weights that did best on it, and the mean of the
members' outputs is the prediction, so that every row trains most members. Folds hold each class in its share.

L. Breiman, "Bagging predictors", 1996; A. Krogh, J. Vedelsby, "Neural network ensembles, cross validation, and active
learning", NIPS 1994.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from nncore import streams
from nncore.activations import Activation
from nncore.callbacks import EarlyStopping
from nncore.mlp import MLP
from nncore.network import Sequential
from nncore.optimizers import AdamW
from nncore.schedules import Cosine

Array = np.ndarray[Any, Any]

_FEWEST_FOR_FOLDS = 10  # rows; with fewer nothing is held out
_FOLDS = 5  # at least
_MEMBER_STREAM, _FOLD_STREAM = 1 << 40, 1 << 40  # of the random streams, none that networks use


class Recipe(NamedTuple):
    """How members are made and trained; see the estimators' parameters of these names."""

    members: int
    hidden: tuple[int, ...]
    activation: Activation
    dropout: float
    epochs: int
    batch_size: int
    patience: int
    learning_rate: float
    weight_decay: float
    dtype: str
    backend: str | None
    seed: int
    threads: int | None
    verbose: int


def default_members(n_rows: int) -> int:
    """Return how many members for so many rows: 8, and 4 above 10,000, where one varies less and takes longer."""
    return 8 if n_rows <= 10_000 else 4


def default_epochs(n_rows: int) -> int:
    """Return how many epochs for so many rows: 100 up to 5,000 rows, then as many as see 500,000 rows, but 10."""
    return int(np.clip(500_000 // max(n_rows, 1), 10, 100))


def default_batch_size(n_rows: int) -> int:
    """Return how many rows in a step for so many rows: an eighth of them, from 8 to 64, and 128 above 10,000."""
    return 128 if n_rows > 10_000 else int(np.clip(n_rows // 8, 8, 64))


def folds(groups: Array, n_folds: int, seed: int) -> Array:
    """Return the fold of each row, or -1 where it is to be held out of none, as the only row of its group.

    Parameters
    ----------
    groups : ndarray of int, shape (n,)
        Rows of one group are spread over the folds as evenly as possible.
    n_folds : int
        How many.
    seed : int
        Key of the random stream that orders the rows.
    """
    order = streams.permutation(seed, streams.SPLIT, _FOLD_STREAM, len(groups))
    order = order[np.argsort(groups[order], kind="stable")]
    fold = np.empty(len(groups), np.int64)
    fold[order] = np.arange(len(groups)) % n_folds
    alone = np.bincount(groups)[groups] < 2
    fold[alone & (len(groups) > 1)] = -1
    return fold


def groups_of(targets: Array) -> Array:
    """Return what to spread over folds: classes, or of one column of numbers ten parts by size."""
    if targets.ndim == 1:
        return targets
    if targets.shape[1] > 1:
        return np.zeros(len(targets), np.int64)
    rank = np.empty(len(targets), np.int64)
    rank[np.argsort(targets[:, 0], kind="stable")] = np.arange(len(targets))
    return rank * min(10, max(1, len(targets) // 10)) // len(targets)


def train(
    X: Array,
    targets: Array,
    weights: Array | None,
    n_outputs: int,
    categories: dict[int, int],
    untrained: dict[int, Array],
    recipe: Recipe,
) -> list[Sequential]:
    """Train the members.

    Parameters
    ----------
    X : ndarray of shape (n, width)
        Inputs, the last columns codes.
    targets : ndarray
        Classes (n,), or numbers (n, n_outputs).
    weights : ndarray of shape (n,) or None
        Of the rows, all above 0.
    n_outputs : int
        Outputs of the networks.
    categories : dict
        Columns of codes, and their cardinalities.
    untrained : dict of int to ndarray
        Columns of codes whose code 0 no training row has, with how often each code occurs: their code 0 gets the
        weighted mean of the others' numbers.
    recipe : Recipe
        How.

    Returns
    -------
    list of Sequential
    """
    n = len(X)
    n_folds = max(_FOLDS, recipe.members)
    fold = folds(groups_of(targets), n_folds, recipe.seed) if n >= _FEWEST_FOR_FOLDS else np.full(n, -1)
    seeds = streams.keys(recipe.seed, streams.SPLIT, _MEMBER_STREAM + 1, recipe.members).tolist()
    members: list[Sequential] = []
    for index, seed in enumerate(seeds):
        kept, held = np.flatnonzero(fold != index), np.flatnonzero(fold == index)
        network = MLP(
            [X.shape[1], *recipe.hidden, n_outputs],
            activation=recipe.activation,
            output="softmax" if targets.ndim == 1 else "identity",
            dropout=recipe.dropout,
            dtype=recipe.dtype,
            seed=seed,
            backend=recipe.backend,
            categories=dict(categories) or None,
        )
        _fit(network, X, targets, weights, kept, held, recipe)
        _fill_in(network, untrained)
        members.append(network)
    return members


def _fit(
    network: Sequential, X: Array, targets: Array, weights: Array | None, kept: Array, held: Array, recipe: Recipe
) -> None:
    batch = min(recipe.batch_size, len(kept))
    per_epoch = -(-len(kept) // batch)
    steps = per_epoch * recipe.epochs
    rate = Cosine(recipe.learning_rate, steps=max(1, steps), warmup=min(per_epoch, steps // 10))
    more: dict[str, Any] = {}
    if len(held):
        more["validation_data"] = (X[held], targets[held], None if weights is None else weights[held])[
            : 2 if weights is None else 3
        ]
        more["early_stopping"] = EarlyStopping("val_loss", patience=recipe.patience)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "y has a single class", UserWarning)
        network.fit(
            X[kept],
            targets[kept],
            optimizer=AdamW(rate, weight_decay=recipe.weight_decay),
            epochs=recipe.epochs,
            batch_size=batch,
            sample_weight=None if weights is None else weights[kept],
            threads=recipe.threads,
            verbose=recipe.verbose,
            **more,
        )


def _fill_in(network: Sequential, untrained: dict[int, Array]) -> None:
    """Give codes that training has not met the mean of what the others have learned."""
    if not untrained:
        return
    weights = [array.copy() for array in network.get_weights()]
    for index, (column, _, _) in enumerate(network.layers[0].tables):  # type: ignore[attr-defined]
        if column in untrained:
            counts = untrained[column][1:]
            weights[index][0] = counts @ weights[index][1:] / counts.sum()
    network.set_weights(weights)


def mean_output(members: Sequence[Sequential], X: Array) -> Array:
    """Return the mean of the members' outputs, (n, n_outputs), in float64."""
    total = np.zeros((len(X), members[0].n_out))
    for network in members:
        total += network.predict(X)
    return total / len(members)
