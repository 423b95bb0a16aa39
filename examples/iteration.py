"""One training iteration by hand, and binary cross-entropy where its logarithms end.

The network is x -> relu(0.8 x + 0.2) -> sigmoid(-h + 0.5), with x = 0.5, y = 1 and a rate of 0.1. `net.trace` prints
every quantity of the iteration under its textbook name, and changes nothing.

The text that works this example rounds after each line, so that some of its last digits are off by one: dL/dz2 is
-0.524979, which rounds to -0.525 and not -0.524, and dL/dw2 is -0.314988, -0.315 and not -0.314. Its new weights are
right to the digits it shows.
"""

import numpy as np

import nncore as nn

net = nn.MLP([1, 1, 1], activation="relu", output="sigmoid", dtype="float64")
net.set_weights([[[0.8]], [0.2], [[-1.0]], [0.5]])
trace = net.trace(x=0.5, y=1, loss="bce", optimizer=nn.SGD(0.1))
print(trace)

# train_step does what the table says.
loss_before = net.train_step([[0.5]], [1], optimizer=nn.SGD(0.1))
loss_after = net.evaluate([[0.5]], [1])["loss"]
print(f"\nthe loss was {loss_before:.6f} and is now {loss_after:.6f}")

# ------------------------------------------------------------------ binary cross-entropy at exactly 0 and 1
# -y log p - (1 - y) log(1 - p) is infinite where a certain prediction is wrong, and 0 times infinity where it is right.
# The text clips p to [1e-12, 1 - 1e-12]. nncore floors the logarithms' arguments at the smallest normal number:
# a certain and right prediction then costs exactly 0, a certain and wrong one -log(2.2e-308) = 708.4.
bce = nn.losses.get("bce")
ends = {(p, y): (bce([p], [y]), bce.gradient([p], [y])[0]) for p in (0.0, 1.0) for y in (0.0, 1.0)}
for (p, y), (cost, slope) in ends.items():
    print(f"p = {p:g}, y = {y:g}: loss {cost:.4g}, derivative {slope:.4g}")

# With the text's own clipping, which is a line of NumPy, nncore's loss gives the text's numbers.
eps = 1e-12
clipped = {(p, y): bce([np.clip(p, eps, 1 - eps)], [y]) for p in (0.0, 1.0) for y in (0.0, 1.0)}
print(f"clipped to [1e-12, 1 - 1e-12]: wrong {clipped[0.0, 1.0]:.4f}, right {clipped[1.0, 1.0]:.3g}")

# The derivative of the mean over N rows has the factor 1 / N. The text's formula leaves it out, its code has it.
p, y = np.array([0.9, 0.2, 0.6, 0.5]), np.array([1.0, 0.0, 0.0, 1.0])
slopes = bce.gradient(p, y)
print(f"derivatives of the mean of four: {slopes}")

# In training none of this arises: for a sigmoid output the loss is computed from z, and dL/dz is p - y, even where
# p rounds to 1. Here z is 1000, y is 0, and the loss is 1000.
far = nn.Sequential([nn.Dense(1, 1, "sigmoid")], dtype="float64")
far.set_weights([[[1000.0]], [0.0]])
far_loss, far_gradients = far.loss_and_gradients([[1.0]], [0])
print(f"z = 1000, y = 0: loss {far_loss:g}, dL/dW {far_gradients[0][0, 0]:g}")
