"""One neuron: a weighted sum of its inputs, a bias, and an activation function.

A neuron holds a weight for each input and one bias. It computes z = w . x + b, and its output is f(z). In nncore that
is `nn.Neuron`, which takes any activation but softmax; its arithmetic is float64.
"""

import nncore as nn

x = [1.5, 2.0, -1.0]
w = [0.5, -0.3, 0.8]
b = 0.1

# The identity as activation leaves z as it is: 1.5 * 0.5 - 2 * 0.3 - 1 * 0.8 + 0.1.
z = nn.Neuron(w, b, "identity")(x)
print(f"z = {z:.2f}")

# The same z through other activations. relu gives 0, as z is negative: for these inputs the neuron is off.
outputs = {name: nn.Neuron(w, b, name)(x) for name in ("sigmoid", "tanh", "relu", "leaky_relu", "step")}
for name, output in outputs.items():
    print(f"{name:>10s}(z) = {output}")

# Two more neurons: w = [0, 1] ignores its first input, and a bias of 4 makes it say yes to almost anything.
sure = nn.Neuron(weights=[0, 1], bias=4)
sure_output = sure.feedforward([2, 3])  # sigmoid(0 * 2 + 1 * 3 + 4) = sigmoid(7)
print(f"sigmoid(7) = {sure_output}")

unsure = nn.Neuron(weights=[0.4, 0.7], bias=0.2)
unsure_output = unsure([0.5, 0.3])  # sigmoid(0.2 + 0.21 + 0.2) = sigmoid(0.61)
print(f"sigmoid(0.61) = {unsure_output:.4f}")

# A sum worked by hand: 0.4 * 0.5 - 0.1 * 1.2 - 0.8 * 0.3 + 0.2 = 0.20 - 0.12 - 0.24 + 0.2.
by_hand = nn.Neuron([0.4, -0.1, 0.8], 0.2, "identity")([0.5, 1.2, -0.3])
print(f"z by hand = {by_hand:.2f}")

# Rows of inputs give one output for each row.
rows = sure([[2, 3], [0, -4]])
print(rows)
