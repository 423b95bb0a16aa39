"""Estimators for scikit-learn: its parameters, attributes and meaning, computed by nncore's core.

The only place that imports scikit-learn, which is an optional dependency: ``pip install nncore[sklearn]``.

>>> from nncore.sklearn import MLPClassifier
>>> clf = MLPClassifier(random_state=0)
"""

from nncore.sklearn._loop import DivergenceError
from nncore.sklearn.classifier import MLPClassifier
from nncore.sklearn.perceptron import Perceptron
from nncore.sklearn.regressor import MLPRegressor

__all__ = ["DivergenceError", "MLPClassifier", "MLPRegressor", "Perceptron"]
