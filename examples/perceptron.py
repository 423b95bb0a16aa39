"""The perceptron: one neuron with a step, which learns from its mistakes what a line can separate.

AND and OR it learns in a few passes over the four rows. XOR it cannot: no line has (0, 1) and (1, 0) on one side and
(0, 0) and (1, 1) on the other. `fit` says so by a warning, and `converged` is False.
"""

import warnings

import nncore as nn

X = [[0, 0], [0, 1], [1, 0], [1, 1]]
AND, OR, XOR = [0, 0, 0, 1], [0, 1, 1, 1], [0, 1, 1, 0]

learned = {}
for name, y in (("AND", AND), ("OR", OR)):
    p = learned[name] = nn.Perceptron(learning_rate=0.01, epochs=15).fit(X, y)
    print(f"{name}: mistakes by epoch {p.errors}, w = {p.weights}, b = {p.bias:g}, predicts {p.predict(X)}")

with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    p = learned["XOR"] = nn.Perceptron(learning_rate=0.01, epochs=15).fit(X, XOR)
print(f"XOR: mistakes by epoch {p.errors}, converged {p.converged}")
print(f"     {caught[0].category.__name__}: {caught[0].message}")

# AND needs no training if one looks at it: x1 + x2 is 2 for (1, 1) and at most 1 elsewhere, so the line
# x1 + x2 = 1.5 lies between. It goes on to sort points that are in no table.
neuron = nn.Neuron(weights=[1, 1], bias=-1.5, activation="step")
by_eye = neuron(X)
others = neuron([[0.5, 0], [1, 0.6]])
print(f"by eye: AND {by_eye}; (0.5, 0) and (1, 0.6) give {others}")
