"""The same networks as in Keras and PyTorch: shapes, parameters, training.

Keras:    Sequential([Dense(64, "relu", input_shape=(4,)), Dense(32, "relu"), Dense(1, "sigmoid")]),
          compile(optimizer="adam", loss="mse")
PyTorch:  Linear(4, 8), Linear(8, 4), Linear(4, 1) with relu, relu and sigmoid

Keras keeps W as (inputs, outputs), as nncore does. PyTorch's Linear keeps (outputs, inputs), which
`set_weights(..., layout="out_in")` takes. Initial weights differ between the libraries: Keras draws Glorot's uniform
ones, PyTorch uniform ones within 1 / sqrt(inputs), nncore He's normal ones before relu and Glorot's elsewhere.
"""

import numpy as np

import nncore as nn

keras_like = nn.Sequential(
    [
        nn.Dense(4, 64, activation="relu", initializer="glorot_uniform"),
        nn.Dense(64, 32, activation="relu", initializer="glorot_uniform"),
        nn.Dense(32, 1, activation="sigmoid", initializer="glorot_uniform"),
    ]
)
print(keras_like.summary())  # 4 * 64 + 64, 64 * 32 + 32, 32 + 1

torch_like = nn.MLP([4, 8, 4, 1], activation="relu", output="sigmoid", seed=1)
print(torch_like.summary())  # 4 * 8 + 8, 8 * 4 + 4, 4 + 1

# Made-up data: is the sum of the squares of four numbers above its median?
rng = np.random.default_rng(0)
X = rng.standard_normal((400, 4))
y = (np.sum(X**2, axis=1) > 3.36).astype(int)
X_train, X_test, y_train, y_test = nn.datasets.train_test_split(X, y, seed=0)

keras_like.fit(X_train, y_train, loss="mse", optimizer=nn.Adam(0.001), epochs=60, batch_size=32)
torch_like.fit(X_train, y_train, optimizer=nn.Adam(0.01), epochs=60, batch_size=32)
accuracies = [net.evaluate(X_test, y_test, metrics=["accuracy"])["accuracy"] for net in (keras_like, torch_like)]
print(f"test accuracies {accuracies[0]:.2f} and {accuracies[1]:.2f}")

# Weights in PyTorch's layout, as [parameter.numpy() for parameter in model.parameters()] would give them.
as_torch = [array.T if array.ndim == 2 else array for array in torch_like.get_weights()]
print([array.shape for array in as_torch])
torch_like.set_weights(as_torch, layout="out_in")
