"""Estimators for tables as they come: `TabularClassifier` and `TabularRegressor`, in scikit-learn's manner."""

from __future__ import annotations

from nncore.tabular.estimators import TabularClassifier, TabularRegressor

__all__ = ["TabularClassifier", "TabularRegressor"]
