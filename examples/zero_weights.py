"""Why weights that start at zero do not learn: equal units stay equal.

With all weights zero, every hidden unit computes the same and gets the same gradient, so that after any number of
steps the layer is one unit in several copies. With relu it is worse: the hidden outputs are 0, so all gradients of
weights are 0, and only the output's bias moves. Random weights break the symmetry; He's and Glorot's rules say how
large they should be.
"""

import numpy as np

import nncore as nn

X = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], dtype=float)
y = np.array([0, 1, 1, 0])

trained = {}
for activation in ("sigmoid", "relu"):
    for initializer in ("zeros", "auto"):
        net = nn.MLP([2, 4, 1], activation, "sigmoid", initializer=initializer, dtype="float64", seed=3)
        net.fit(X, y, optimizer=nn.SGD(0.5, momentum=0.9), epochs=3000, batch_size=None)
        trained[activation, initializer] = net
        accuracy = net.evaluate(X, y, metrics=["accuracy"])["accuracy"]
        print(f"{activation}, {initializer}: accuracy on XOR {accuracy:.2f}, weights of the four hidden units:")
        print(net.get_weights()[0].round(3))

# The same seen in one step: the columns of dL/dW1 are equal.
half = nn.MLP([2, 4, 1], "sigmoid", "sigmoid", dtype="float64")
half.set_weights([np.full((2, 4), 0.5), np.zeros(4), np.full((4, 1), 0.5), [0.0]])
gradient = half.loss_and_gradients(X, [0, 0, 0, 1])[1][0]
print(f"equal weights of 0.5: dL/dW1 =\n{gradient}")
