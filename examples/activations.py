"""Activation functions: their values, their derivatives, and their picture.

    python examples/activations.py [picture.png]

Without an activation between them, two layers are only one: W2 (W1 x + b1) + b2 is again a matrix times x plus a
vector. Every activation of nncore is an object that is called for its value, and has `.derivative`.

One text prints the sigmoid as 1 / (1 - exp(-z)). That cannot be: at z = 0 it divides by zero, below 0 it is negative,
and above 0 it exceeds 1. Right is 1 / (1 + exp(-z)), which is also what the code of that text computes.
"""

import sys

import numpy as np

import nncore as nn

for z in (-2.5, 0.0, 3.1):
    print(f"relu({z:g}) = {nn.relu(z):g}, relu'({z:g}) = {nn.relu.derivative(z):g}")
for z in (-3.0, 0.0, 3.0):
    print(f"sigmoid({z:g}) = {nn.sigmoid(z):.4f}, sigmoid'({z:g}) = {nn.sigmoid.derivative(z):.4f}")
for z in (-2.0, 0.0, 2.0):
    print(f"tanh({z:g}) = {nn.tanh(z):.4f}, tanh'({z:g}) = {nn.tanh.derivative(z):.4f}")
print(f"leaky_relu(-2) = {nn.leaky_relu(-2.0):g}, and with alpha = 0.3 {nn.leaky_relu(-2.0, alpha=0.3):g}")
print(f"softmax([1, 2, 3]) = {nn.softmax([1.0, 2.0, 3.0])}, which sums to 1")

# The misprint beside the right formula. Only one of them stays between 0 and 1.
grid = np.array([-3.0, -1.0, 1.0, 3.0])
misprint = 1 / (1 - np.exp(-grid))
right = nn.sigmoid(grid)
print(f"1 / (1 - exp(-z)) at {grid}: {misprint}")
print(f"1 / (1 + exp(-z)) at {grid}: {right}")

# The derivatives, from their formulas in f itself, and from a small difference.
step = 1e-6
for f in (nn.sigmoid, nn.tanh, nn.leaky_relu):
    slope = (f(grid + step) - f(grid - step)) / (2 * step)
    print(f"{f.name}': {f.derivative(grid)}, by differences {slope}")


def draw(path):
    """Save a picture of four activations and their derivatives between -5 and 5. Needs matplotlib."""
    from matplotlib.figure import Figure

    z = np.linspace(-5, 5, 200)
    figure = Figure(figsize=(7, 3.2), layout="constrained")
    value, slope = figure.subplots(1, 2)
    for f, line in ((nn.sigmoid, "-"), (nn.tanh, "-"), (nn.leaky_relu, "-"), (nn.relu, "--")):
        value.plot(z, f(z), line, label=f.name)
        slope.plot(z, f.derivative(z), line, label=f.name)
    value.set(title="activation", xlabel="z", ylim=(-1.2, 3))
    slope.set(title="derivative", xlabel="z", ylim=(-0.1, 1.1))
    for axes in (value, slope):
        axes.axhline(0, color="0.6", linewidth=0.6)
        axes.legend()
    figure.savefig(path, dpi=120)


if __name__ == "__main__" and len(sys.argv) > 1:
    draw(sys.argv[1])
