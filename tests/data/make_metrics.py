"""Make metrics.json: metrics on random and degenerate data, as scikit-learn computes them. Needs scikit-learn."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np
import sklearn
from sklearn import metrics


def classification(rng: np.random.Generator, n: int, k: int, kind: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return scores, labels and weights."""
    y = rng.integers(0, k, n)
    if k == 2:
        p = rng.uniform(0, 1, n)
        p = np.round(p, 1) if kind == "ties" else p
    else:
        p = rng.dirichlet(np.ones(k), n)
        p = np.round(p * 4) / 4 + 0.05 * np.eye(k)[y] if kind == "ties" else p
        p /= p.sum(axis=1, keepdims=True)
    w = rng.uniform(0, 3, n) * (rng.uniform(size=n) < 0.8)
    if kind == "no positives":
        y[:] = 0
    elif kind == "all positive":
        y[:] = k - 1
    elif kind == "none predicted" and k == 2:
        p = p / 3
    elif kind == "perfect":
        p = np.where(y == 1, 0.75, 0.25) if k == 2 else np.eye(k)[y] * 0.7 + 0.3 / k
    elif kind == "a class missing" and k > 2:
        y[y == 1] = 0
    return p, y, w


def scores_of_classes(p: np.ndarray, y: np.ndarray, w: np.ndarray | None, k: int) -> dict[str, float]:
    """Return all metrics of classes; None stands for one that scikit-learn refuses or gives as NaN."""
    predicted = (p >= 0.5).astype(int) if k == 2 else p.argmax(axis=1)
    found = {"accuracy": metrics.accuracy_score(y, predicted, sample_weight=w)}
    for name in ("precision", "recall", "f1"):
        function = getattr(metrics, f"{name}_score")
        if k == 2:
            found[name] = function(y, predicted, sample_weight=w)
        found[f"{name}_macro"] = function(y, predicted, sample_weight=w, average="macro")
    columns = np.column_stack([1 - p, p]) if k == 2 else p
    try:
        if k == 2:
            found["roc_auc"] = metrics.roc_auc_score(y, p, sample_weight=w)
        elif len(np.unique(y)) == k:
            found["roc_auc"] = metrics.roc_auc_score(y, p, sample_weight=w, multi_class="ovr", average="macro")
    except ValueError:
        found["roc_auc"] = float("nan")
    found["log_loss"] = metrics.log_loss(y, columns, sample_weight=w, labels=range(k))
    return found


def scores_of_numbers(p: np.ndarray, t: np.ndarray, w: np.ndarray | None) -> dict[str, float]:
    """Return all metrics of numbers."""
    return {
        "r2": metrics.r2_score(t, p, sample_weight=w),
        "mae": metrics.mean_absolute_error(t, p, sample_weight=w),
        "mse": metrics.mean_squared_error(t, p, sample_weight=w),
        "rmse": metrics.root_mean_squared_error(t, p, sample_weight=w),
    }


def main() -> None:
    """Write the file beside this script."""
    warnings.simplefilter("ignore")
    rng = np.random.default_rng(5)
    cases = []
    for k in (2, 3, 5):
        for kind in ("random", "ties", "no positives", "all positive", "none predicted", "perfect", "a class missing"):
            p, y, w = classification(rng, 41, k, kind)
            for weights in (None, w):
                cases.append(
                    {
                        "kind": f"{kind}, {k} classes",
                        "pred": p.tolist(),
                        "target": y.tolist(),
                        "weights": None if weights is None else weights.tolist(),
                        "values": scores_of_classes(p, y, weights, k),
                    }
                )
    for shape in ((30,), (30, 3)):
        for kind in ("random", "constant", "exact", "constant and exact"):
            t = rng.standard_normal(shape)
            if "constant" in kind:
                t[:] = 2.0
            p = t.copy() if "exact" in kind else t + rng.standard_normal(shape)
            for weights in (None, rng.uniform(0, 2, 30)):
                cases.append(
                    {
                        "kind": f"{kind}, {shape}",
                        "pred": p.tolist(),
                        "target": t.tolist(),
                        "weights": None if weights is None else weights.tolist(),
                        "values": scores_of_numbers(p, t, weights),
                    }
                )
    for case in cases:
        case["values"] = {name: None if np.isnan(value) else float(value) for name, value in case["values"].items()}
    content = {"made by": f"tests/data/make_metrics.py with scikit-learn {sklearn.__version__}", "cases": cases}
    Path(__file__).with_name("metrics.json").write_text(json.dumps(content) + "\n")


if __name__ == "__main__":
    main()
