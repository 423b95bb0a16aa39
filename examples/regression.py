"""Regression: a made-up price of houses from their area, age and distance to the centre.

Inputs and target are brought to mean 0 and deviation 1, with the training rows' numbers, as networks like them best.
"""

import numpy as np

import nncore as nn

rng = np.random.default_rng(0)
area, age, distance = rng.uniform(40, 200, 600), rng.uniform(0, 80, 600), rng.uniform(0, 30, 600)
price = 2.5 * area * np.exp(-distance / 25) * (1 - 0.3 * np.sin(age / 25)) + 40 + rng.normal(0, 8, 600)
X = np.column_stack([area, age, distance])

X_train, X_test, y_train, y_test = nn.datasets.train_test_split(X, price, seed=0)
mean, deviation = X_train.mean(axis=0), X_train.std(axis=0)
y_mean, y_deviation = y_train.mean(), y_train.std()

net = nn.MLP([3, 32, 32, 1], activation="tanh", seed=0)  # the identity as output, and so mse as loss
history = net.fit(
    (X_train - mean) / deviation,
    (y_train - y_mean) / y_deviation,
    optimizer=nn.Adam(0.01),
    epochs=100,
    validation_split=0.2,
)
predicted = net.predict((X_test - mean) / deviation)[:, 0] * y_deviation + y_mean

error = float(np.sqrt(np.mean((predicted - y_test) ** 2)))
r2 = float(1 - np.mean((predicted - y_test) ** 2) / np.var(y_test))

# What a straight line (least squares, which is a network of one linear layer) reaches.
line = np.linalg.lstsq(np.column_stack([X_train, np.ones(len(X_train))]), y_train, rcond=None)[0]
line_error = float(np.sqrt(np.mean((np.column_stack([X_test, np.ones(len(X_test))]) @ line - y_test) ** 2)))
print(f"error on unseen houses {error:.1f}, R2 {r2:.3f}; a linear model's error {line_error:.1f}; the noise in it 8.0")
