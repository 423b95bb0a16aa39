"""The networks that the benches train, and random data for them.

Each names a kind of use: a toy, a small classifier, a policy, a table, images, a wide net that is all matrix product.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np

Array = np.ndarray[Any, Any]


class Workload(NamedTuple):
    """What is trained: one epoch goes through `rows` rows in batches of `batch`, in float32."""

    sizes: tuple[int, ...]
    activation: Literal["relu", "tanh"]  # of the hidden layers
    task: Literal["classes", "yes_no", "numbers"]  # softmax, sigmoid, or identity with the mean squared error
    batch: int
    optimizer: Literal["adam", "sgd"]
    rows: int

    @property
    def steps(self) -> int:
        """Steps in an epoch."""
        return -(-self.rows // self.batch)

    @property
    def flops(self) -> int:
        """Floating-point operations of the matrix products in one step.

        A layer of n_in x n_out takes 2 * n_in * n_out for each row, three times: outputs, gradient of the weights, and
        gradient of the inputs, which the first layer does without.
        """
        layers = [2 * n_in * n_out for n_in, n_out in zip(self.sizes, self.sizes[1:], strict=False)]
        return self.batch * (3 * sum(layers) - layers[0])

    def data(self, seed: int = 0) -> tuple[Array, Array]:
        """Return X, and y: labels for classes, a column of 0 and 1, or numbers."""
        rng = np.random.default_rng(seed)
        X = rng.standard_normal((self.rows, self.sizes[0]), dtype=np.float32)
        if self.task == "classes":
            return X, rng.integers(0, self.sizes[-1], self.rows)
        if self.task == "yes_no":
            return X, rng.integers(0, 2, (self.rows, 1)).astype(np.float32)
        return X, rng.standard_normal((self.rows, self.sizes[-1]), dtype=np.float32)


WORKLOADS = {
    "xor": Workload((2, 4, 1), "tanh", "yes_no", 4, "sgd", 4000),
    "iris": Workload((4, 16, 3), "relu", "classes", 16, "adam", 1440),
    "digits": Workload((64, 64, 10), "relu", "classes", 32, "adam", 1792),
    "width46": Workload((10, 46, 46, 10), "relu", "numbers", 128, "adam", 12800),
    "policy": Workload((17, 64, 64, 6), "tanh", "numbers", 64, "adam", 6400),
    "higgs": Workload((28, 300, 300, 300, 300, 300, 1), "tanh", "yes_no", 100, "adam", 10000),
    "tabular": Workload((100, 256, 128, 1), "relu", "numbers", 256, "adam", 16384),
    "mnist": Workload((784, 128, 10), "relu", "classes", 128, "adam", 12800),
    "mnistb": Workload((784, 512, 512, 10), "relu", "classes", 256, "adam", 12800),
    "wide": Workload((1024, 1024, 1024, 1024, 1024), "relu", "numbers", 1024, "adam", 4096),
    "chains": Workload((4, 32, 16, 4), "tanh", "numbers", 10000, "adam", 10000),
    "tanhnet": Workload((256, 256, 256, 256), "tanh", "numbers", 256, "adam", 8192),
}
