"""Classification: handwritten digits, which come with the package, and the network's own doubts about them."""

import numpy as np

import nncore as nn

X, y = nn.datasets.load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = nn.datasets.train_test_split(X / 16, y, seed=0)

net = nn.MLP([64, 64, 10], activation="relu", output="softmax", seed=0)
net.fit(X_train, y_train, optimizer=nn.Adam(0.003), epochs=20)

probabilities = net.predict(X_test)
predicted = probabilities.argmax(axis=1)
accuracy = float(np.mean(predicted == y_test))
print(f"accuracy on unseen digits {accuracy:.3f}")

confusion = np.zeros((10, 10), int)
np.add.at(confusion, (y_test, predicted), 1)
print(f"rows are the digits, columns what they were taken for:\n{confusion}")

# Where it errs it is mostly unsure: the largest probability is lower.
sure = probabilities.max(axis=1)
sure_right, sure_wrong = float(sure[predicted == y_test].mean()), float(sure[predicted != y_test].mean())
print(f"mean of the largest probability: {sure_right:.3f} where right, {sure_wrong:.3f} where wrong")
