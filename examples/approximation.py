"""The universal approximation theorem as a picture: one hidden layer of 2, 8 and 64 units fits a curve.

    python examples/approximation.py [picture.png]

The theorem (G. Cybenko, 1989; K. Hornik, 1991) says that one hidden layer with enough units comes as close as one
likes to any continuous function on a bounded set. It says neither how many units that takes nor how to find their
weights; here training finds some, and more units come closer.
"""

import sys

import numpy as np

import nncore as nn

x = np.linspace(-1, 1, 200).reshape(-1, 1)
y = np.sin(3 * np.pi * x) * np.exp(-x) / 2

fits, errors = {}, {}
for units in (2, 8, 64):
    net = nn.MLP([1, units, 1], activation="tanh", dtype="float64", seed=1)
    # Glorot's weights make all units bend at x = 0; wider ones, and biases of their own, spread them over the interval.
    W, b, V, c = net.get_weights()
    rng = np.random.default_rng(1)
    net.set_weights([rng.uniform(-8, 8, W.shape), rng.uniform(-8, 8, b.shape), V, c])
    net.fit(x, y, optimizer=nn.Adam(0.01), epochs=2000, batch_size=None)
    fits[units] = net.predict(x)
    errors[units] = float(np.sqrt(np.mean((fits[units] - y) ** 2)))
    print(f"{units:2d} hidden units: root mean squared error {errors[units]:.4f}")


def draw(path):
    """Save a picture of the function and the three fits. Needs matplotlib."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3), layout="constrained")
    for axes, (units, fit) in zip(figure.subplots(1, 3, sharey=True), fits.items(), strict=True):
        axes.plot(x, y, color="0.7", linewidth=4, label="function")
        axes.plot(x, fit, color="C3", label="network")
        axes.set_title(f"{units} hidden units, error {errors[units]:.3f}")
        axes.set_xlabel("x")
    figure.axes[0].legend()
    figure.savefig(path, dpi=120)


if __name__ == "__main__" and len(sys.argv) > 1:
    draw(sys.argv[1])
