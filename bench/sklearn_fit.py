"""Whole `fit` calls of nncore's estimators beside scikit-learn's, with the same parameters, on the bundled data sets.

Run as ``python bench/sklearn_fit.py``; options: ``--rounds`` and ``--quick`` (without the rows on predictions, sparse
data and grids).
The two take turns, and a figure is the median over the rounds; their ratio is the median of the rounds' ratios.
scikit-learn fits with its BLAS on all cores and on one, and the better counts: on small matrices, or where other work
runs, one is often quicker. Both give the same network, so that both do the same number of epochs.
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import sparse
from sklearn import datasets
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV
from sklearn.neural_network import MLPClassifier as TheirClassifier
from sklearn.neural_network import MLPRegressor as TheirRegressor
from threadpoolctl import threadpool_limits

from nncore.sklearn import MLPClassifier, MLPRegressor

CLASSES = ("iris", "wine", "breast_cancer", "digits")
NUMBERS = ("diabetes", "linnerud")


def seconds(call: Callable[[], Any]) -> float:
    """Return how long a call takes."""
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def on_one_core(call: Callable[[], Any]) -> Callable[[], None]:
    """Return a call with one thread for BLAS."""

    def run() -> None:
        with threadpool_limits(1, user_api="blas"):
            call()

    return run


def in_turn(
    ours: Callable[[], Any], theirs: Callable[[], Any], rounds: int, both: bool = True
) -> tuple[float, float, float]:
    """Return median seconds of each, and the median ratio; `both` has theirs run with one core as well."""
    calls = [theirs, on_one_core(theirs)] if both else [theirs]
    pairs = [(seconds(ours), min(map(seconds, calls))) for _ in range(rounds)]
    mine, other = zip(*pairs, strict=True)
    return statistics.median(mine), statistics.median(other), statistics.median(b / a for a, b in pairs)


def fits(rounds: int) -> None:
    """Print a row for each data set."""
    ratios = []
    print("| data set | estimator | nncore, ms | scikit-learn, ms | times | epochs |\n|---|---|---:|---:|---:|---:|")
    for name in (*CLASSES, *NUMBERS):
        X, y = getattr(datasets, f"load_{name}")(return_X_y=True)
        kinds = (MLPClassifier, TheirClassifier) if name in CLASSES else (MLPRegressor, TheirRegressor)
        nets = [kind(random_state=0) for kind in kinds]
        for net in nets:
            net.fit(X, y)
        mine, other, ratio = in_turn(lambda: nets[0].fit(X, y), lambda: nets[1].fit(X, y), rounds)  # noqa: B023
        ratios.append(ratio)
        epochs = f"{nets[0].n_iter_}" if nets[0].n_iter_ == nets[1].n_iter_ else f"{nets[0].n_iter_}/{nets[1].n_iter_}"
        print(
            f"| {name} | {kinds[0].__name__} | {mine * 1e3:.1f} | {other * 1e3:.1f} | {ratio:.1f} | {epochs} |",
            flush=True,
        )
    print(f"\ngeometric mean {statistics.geometric_mean(ratios):.2f}, least {min(ratios):.2f}")


def predictions(rounds: int) -> None:
    """Print the times of one row and of many."""
    X, y = datasets.load_digits(return_X_y=True)
    many = np.tile(X, (56, 1))[:100_000]
    nets = [kind(random_state=0, max_iter=5).fit(X, y) for kind in (MLPClassifier, TheirClassifier)]
    one = X[:1].copy()

    def single(net: Any) -> Callable[[], None]:
        def run() -> None:
            for _ in range(1000):
                net.predict_proba(one)

        return run

    mine, other, ratio = in_turn(single(nets[0]), single(nets[1]), rounds)
    print(
        f"predict_proba of one row of the digits: {mine * 1e3:.1f} us, scikit-learn {other * 1e3:.1f} us, "
        f"{ratio:.1f} times"
    )
    mine, other, ratio = in_turn(lambda: nets[0].predict_proba(many), lambda: nets[1].predict_proba(many), rounds)
    print(f"of 100,000 rows: {mine * 1e3:.0f} ms, scikit-learn {other * 1e3:.0f} ms, {ratio:.1f} times")


def sparse_rows(rounds: int) -> None:
    """Print the times of fits on sparse rows, beside the same rows as an array and scikit-learn on the sparse ones."""
    X = sparse.random(4000, 4000, 0.01, format="csr", random_state=np.random.default_rng(0))
    y = np.asarray(X[:, :50].sum(axis=1)).ravel() > np.asarray(X[:, 50:100].sum(axis=1)).ravel()
    dense = X.toarray()
    ours, theirs = (kind(random_state=0, max_iter=2) for kind in (MLPClassifier, TheirClassifier))
    mine, other, ratio = in_turn(lambda: ours.fit(X, y), lambda: theirs.fit(X, y), rounds)
    _, as_array, times = in_turn(lambda: ours.fit(X, y), lambda: ours.fit(dense, y), rounds, both=False)
    print(
        f"2 epochs over 4,000 rows of 4,000 columns, 1 % of them filled: {mine * 1e3:.0f} ms, as an array "
        f"{as_array * 1e3:.0f} ms ({times:.1f} times), scikit-learn {other * 1e3:.0f} ms ({ratio:.1f} times)",
        flush=True,
    )


def grids(rounds: int) -> None:
    """Print the time of a grid search over threads and over processes."""
    import joblib

    X, y = datasets.load_digits(return_X_y=True)
    grid = {"alpha": [1e-4, 1e-2], "hidden_layer_sizes": [(50,), (100,)]}

    def search(backend: str) -> Callable[[], None]:
        def run() -> None:
            with joblib.parallel_backend(backend, n_jobs=2):
                GridSearchCV(MLPClassifier(random_state=0, max_iter=60), grid, cv=3, n_jobs=2).fit(X, y)

        return run

    run = search("threading"), search("loky")
    run[1]()  # the processes stay for the next search
    threads, processes, ratio = in_turn(*run, rounds, both=False)
    print(f"GridSearchCV(n_jobs=2), 12 fits: threads {threads:.2f} s, processes {processes:.2f} s, {ratio:.2f} times")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        fits(options.rounds)
        if not options.quick:
            predictions(options.rounds)
            sparse_rows(options.rounds)
            grids(max(1, options.rounds // 2))


if __name__ == "__main__":
    main()
