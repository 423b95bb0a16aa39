"""An autoencoder: images squeezed through 8 numbers and drawn again; the 8 numbers are learned features.

The network's target is its input. `net.encoder(k)` is the first k layers as a network of their own, which is what
turns an image into features.
"""

import numpy as np

import nncore as nn

X, y = nn.datasets.load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = nn.datasets.train_test_split(X / 16, y, seed=0)

net = nn.MLP([64, 32, 8, 32, 64], activation="tanh", output="sigmoid", seed=0)
net.fit(X_train, X_train, loss="mse", optimizer=nn.Adam(0.003), epochs=60)
error = net.evaluate(X_test, X_test, loss="mse")["loss"]
mean_error = float(np.mean((X_train.mean(axis=0) - X_test) ** 2))  # of always drawing the mean image
print(f"64 pixels through 8 numbers: squared error {error:.4f}; of the mean image {mean_error:.4f}")

# Principal components are the best that 8 numbers can do with linear layers.
centre = X_train.mean(axis=0)
axes = np.linalg.svd(X_train - centre, full_matrices=False)[2][:8]
pca_error = float(np.mean(((X_test - centre) @ axes.T @ axes + centre - X_test) ** 2))
print(f"8 principal components: {pca_error:.4f}")

# The features, without having seen a label, tell the digits apart for a single layer.
encoder = net.encoder(2)
features_train, features_test = encoder.predict(X_train), encoder.predict(X_test)
same = net.forward(X_test, layers=True)[1]  # the second layer's outputs: the same numbers
classifier = nn.Sequential([nn.Dense(8, 10, "softmax")], seed=0)
classifier.fit(features_train, y_train, optimizer=nn.Adam(0.02), epochs=60)
accuracy = classifier.evaluate(features_test, y_test, metrics=["accuracy"])["accuracy"]
print(f"digits from the 8 features: accuracy {accuracy:.3f}")
