"""A pytest plugin: scikit-learn's own test files, with nncore's estimators in the place of its own.

Used as ``pytest -p sklearn_swapped --pyargs sklearn.neural_network.tests.test_mlp`` with this directory on the path, in
a process of its own: the names are swapped in scikit-learn's modules, from which its tests import them.
"""

from __future__ import annotations

import numpy
import pytest
import sklearn.linear_model
import sklearn.neural_network

from nncore import sklearn as estimators

# name of the test: why it is left out
LEFT_OUT = {
    "test_gradient": "calls _unpack and _loss_grad_lbfgs, private methods that take scikit-learn's own buffers",
}

for module, names in (
    (sklearn.neural_network, ("MLPClassifier", "MLPRegressor")),
    (sklearn.linear_model, ("Perceptron",)),
):
    for name in names:
        if hasattr(estimators, name):
            setattr(module, name, getattr(estimators, name))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    left = [item for item in items if getattr(item, "originalname", item.name) in LEFT_OUT]
    if left:
        config.hook.pytest_deselected(items=left)
        items[:] = [item for item in items if item not in left]


def pytest_configure(config: pytest.Config) -> None:
    numpy.random.seed(0)  # some of the tests draw from it without a seed


def pytest_report_header(config: pytest.Config) -> str:
    return "estimators: " + ", ".join(
        c.__module__ for c in (sklearn.neural_network.MLPClassifier, sklearn.linear_model.Perceptron)
    )
