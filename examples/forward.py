"""Layers and networks with given weights: the same numbers in both conventions, row by row and in batches.

Textbooks write a layer either as W @ x with W of shape (outputs, inputs), or as X @ W with W of shape
(inputs, outputs). nncore keeps the second; `set_weights(..., layout="out_in")` takes weights of the first.

One text sets a network of 2 inputs, 3 relu units and 2 softmax outputs, and rounds on the way. What is right:
its probabilities are 0.537430 and 0.462570 (it has 0.538 and 0.463, which sum to 1.001), its loss is 0.620957 (it has
0.620), and it has 17 parameters and not 14: 2 * 3 weights and 3 biases, 3 * 2 weights and 2 biases.
"""

import numpy as np

import nncore as nn

# ------------------------------------------------------------------ one layer: 3 inputs, 2 relu units, W @ x
layer = nn.Sequential([nn.Dense(3, 2, "relu")], dtype="float64")
layer.set_weights([[[0.5, -0.2, 0.1], [-0.3, 0.4, 0.7]], [0.1, -0.2]], layout="out_in")
layer_trace = layer.trace([1.0, 2.0, -1.0], [0.0, 0.0])
print(f"a layer: z = {layer_trace.z[0][0]}, a = {layer_trace.a[0][0]}; the second unit is off")

# ------------------------------------------------------------------ 2-3-2, relu and softmax, W @ x
W1 = [[0.4, -0.3], [-0.2, 0.5], [0.8, 0.1]]
b1 = [0.1, -0.1, 0.0]
W2 = [[0.6, -0.4, 0.2], [-0.1, 0.3, 0.5]]
b2 = [0.0, 0.1]
net = nn.MLP([2, 3, 2], activation="relu", output="softmax", dtype="float64")
net.set_weights([W1, b1, W2, b2], layout="out_in")
x = [1.5, -0.5]
trace = net.trace(x, 0)  # class 0 is right; fit and trace take cross_entropy where the output is softmax
print(f"2-3-2: z1 = {trace.z[0][0]}, a1 = {trace.a[0][0]}, z2 = {trace.z[1][0]}")
print(f"       probabilities {trace.a[1][0]}, cross-entropy {trace.loss:.6f}, {net.n_parameters} parameters")

# The same weights transposed are those of X @ W.
same = nn.MLP([2, 3, 2], activation="relu", output="softmax", dtype="float64")
same.set_weights([np.transpose(W1), b1, np.transpose(W2), b2])
print(f"       as X @ W: {same.predict([x])[0]}")

# A batch of four rows is one product of matrices. forward(X, layers=True) gives the hidden layer too.
batch = [[1.5, -0.5], [0.0, 1.0], [-1.0, 2.0], [0.5, 0.5]]
hidden, probabilities = net.forward(batch, layers=True)
print(f"the batch's hidden layer:\n{hidden}")

# ------------------------------------------------------------------ 3-4-2, relu and sigmoid, X @ W, drawn weights
# NumPy's generator of old with seed 42, so that the numbers can be compared with those of the text.
old = np.random.RandomState(42)
drawn = nn.MLP([3, 4, 2], activation="relu", output="sigmoid", dtype="float64")
drawn.set_weights([old.randn(3, 4) * 0.5, np.zeros(4), old.randn(4, 2) * 0.5, np.zeros(2)])
drawn_hidden, drawn_output = drawn.forward([[1.5, 2.0, -1.0]], layers=True)
print(f"3-4-2: hidden {drawn_hidden[0]}, output {drawn_output[0]}")
three_rows = drawn.predict([[1.5, 2.0, -1.0], [-0.5, 1.0, 0.5], [0.0, -1.5, 2.0]])
print(f"three rows:\n{three_rows}")

# ------------------------------------------------------------------ 2-2-1 of three equal neurons
# Each neuron has w = [0, 1] and b = 0, so that a column of W is [0, 1]. h1 = h2 = sigmoid(3), o1 = sigmoid(h2).
equal = nn.MLP([2, 2, 1], activation="sigmoid", output="sigmoid", dtype="float64")
equal.set_weights([[[0, 0], [1, 1]], [0, 0], [[0], [1]], [0]])
equal_hidden, equal_output = equal.forward([[2, 3]], layers=True)
print(f"2-2-1: hidden {equal_hidden[0]}, output {equal_output[0, 0]}")

# ------------------------------------------------------------------ layers without an activation are one layer
two = nn.MLP([3, 4, 2], activation="identity", dtype="float64", seed=5)
A0, c0, A1, c1 = two.get_weights()
one = nn.Sequential([nn.Dense(3, 2)], dtype="float64")
one.set_weights([A0 @ A1, c0 @ A1 + c1])
rows = np.eye(3)
print(f"two linear layers and the one that equals them:\n{two.predict(rows)}\n{one.predict(rows)}")
