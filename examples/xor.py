"""One hidden layer learns XOR, which no single neuron can, by batch gradient descent.

Four sigmoid units and a sigmoid output; each step takes all four rows (`batch_size=None`), with plain SGD.

Two slips of the text whose network this is. It names the mean squared error as its loss, but the gradient it starts
from, dL/dz2 = a2 - y, is that of the binary cross-entropy; the squared error's is 2 (a2 - y) a2 (1 - a2). And its
printed loss subtracts y of shape (n,) from an output of shape (n, 1), which NumPy broadcasts to a matrix (n, n), so
that it is the mean over all pairs of rows. nncore never broadcasts: it takes y as the column that it is.
"""

import numpy as np

import nncore as nn

X = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], dtype=float)
y = np.array([0, 1, 1, 0])

net = nn.MLP([2, 4, 1], activation="sigmoid", output="sigmoid", initializer="glorot_normal", dtype="float64", seed=3)

# The text's backward pass, once, to see that nncore's gradients are the same.
W1, b1, W2, b2 = net.get_weights()
a1 = nn.sigmoid(X @ W1 + b1)
a2 = nn.sigmoid(a1 @ W2 + b2)
dz2 = a2 - y.reshape(-1, 1)
dz1 = dz2 @ W2.T * a1 * (1 - a1)
by_hand = [X.T @ dz1 / 4, dz1.sum(axis=0) / 4, a1.T @ dz2 / 4, dz2.sum(axis=0) / 4]
loss, gradients = net.loss_and_gradients(X, y, loss="bce")
largest_difference = max(np.abs(g - h).max() for g, h in zip(gradients, by_hand, strict=True))
print(f"gradients by hand and by nncore differ by {largest_difference:.1e}")

history = net.fit(X, y, loss="bce", optimizer=nn.SGD(1.0), epochs=5000, batch_size=None)
losses = history.history["loss"]
for epoch in range(0, 5000, 1000):
    print(f"epoch {epoch:4d}, loss {losses[epoch]:.4f}")
output = net.predict(X)
print(f"output {output[:, 0].round(3)} for {y}")

# The same by the squared error, which the text meant: it learns too, more slowly from the same start.
squared = nn.MLP(
    [2, 4, 1], activation="sigmoid", output="sigmoid", initializer="glorot_normal", dtype="float64", seed=3
)
squared_history = squared.fit(X, y, loss="mse", optimizer=nn.SGD(4.0), epochs=5000, batch_size=None)
squared_output = squared.predict(X)
print(f"by mse: output {squared_output[:, 0].round(3)}")

# The broadcast mistake, on the trained network's output.
mistaken = np.mean((output - y) ** 2)
right = nn.losses.get("mse")(output, y)
print(f"mean squared error {right:.1e}; broadcast to 4 x 4 it would seem to be {mistaken:.2f}")
