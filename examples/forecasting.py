"""Forecasting: tomorrow's value of a seasonal series from the latest 24.

The series is made up: a trend, a season of 12 steps whose height varies slowly, and noise. The network sees windows of
24 values, less their mean, and predicts the next; it is trained on the first part of the series and judged on the last.
"""

import numpy as np

import nncore as nn

rng = np.random.default_rng(0)
t = np.arange(600)
series = 0.02 * t + (2 + np.sin(t / 60)) * np.sin(2 * np.pi * t / 12) + rng.normal(0, 0.2, t.size)

WINDOW = 24
windows = np.lib.stride_tricks.sliding_window_view(series, WINDOW + 1)
level = windows[:, :WINDOW].mean(axis=1, keepdims=True)
X, y = (windows - level)[:, :WINDOW], (windows - level)[:, WINDOW]
n_train = 450  # in time's order: no shuffling of past and future

net = nn.MLP([WINDOW, 32, 1], activation="tanh", seed=0)
net.fit(X[:n_train], y[:n_train], optimizer=nn.Adam(0.005), epochs=100)

predicted = net.predict(X[n_train:])[:, 0]
truth = y[n_train:]
error = float(np.sqrt(np.mean((predicted - truth) ** 2)))
naive = float(np.sqrt(np.mean((X[n_train:, -12] - truth) ** 2)))  # as one season ago
print(f"error of the network {error:.3f}, of 'as one season ago' {naive:.3f}; the noise alone 0.2")

# Several steps ahead: each forecast becomes part of the next window.
history = series[: n_train + WINDOW].copy()
for _ in range(12):
    window = history[-WINDOW:]
    history = np.append(history, net.predict((window - window.mean()).reshape(1, -1))[0, 0] + window.mean())
ahead = history[n_train + WINDOW :]
ahead_error = float(np.sqrt(np.mean((ahead - series[n_train + WINDOW : n_train + WINDOW + 12]) ** 2)))
print(f"a whole season ahead: error {ahead_error:.3f}")
