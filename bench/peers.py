"""The same training in other libraries, each as its own users would write it for speed. None of them is required."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from workloads import Workload


def torch_epochs(work: Workload) -> Callable[[], object]:
    """PyTorch, eager, with its fused optimizers."""
    import torch
    from torch import nn

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    torch.manual_seed(0)
    X, y = (torch.from_numpy(array) for array in work.data())
    layers: list[Any] = []
    for n_in, n_out in zip(work.sizes, work.sizes[1:], strict=False):
        layers += [nn.Linear(n_in, n_out), nn.ReLU() if work.activation == "relu" else nn.Tanh()]
    net = nn.Sequential(*layers[:-1])
    loss = {"classes": nn.CrossEntropyLoss, "yes_no": nn.BCEWithLogitsLoss, "numbers": nn.MSELoss}[work.task]()
    if work.optimizer == "adam":
        optimizer = torch.optim.Adam(net.parameters(), lr=1e-3, fused=True)
    else:
        optimizer = torch.optim.SGD(net.parameters(), lr=1e-2, fused=True)

    def epoch() -> None:
        for rows in torch.randperm(work.rows).split(work.batch):
            optimizer.zero_grad(set_to_none=True)
            loss(net(X[rows]), y[rows]).backward()
            optimizer.step()

    return epoch


def jax_epochs(work: Workload) -> Callable[[], object]:
    """JAX, a whole epoch compiled into one program."""
    import jax
    import jax.numpy as jnp

    X, y = (jnp.asarray(array) for array in work.data())
    rng = np.random.default_rng(1)
    weights = [
        (jnp.asarray(rng.normal(0.0, np.sqrt(2.0 / n_in), (n_in, n_out)), jnp.float32), jnp.zeros(n_out, jnp.float32))
        for n_in, n_out in zip(work.sizes, work.sizes[1:], strict=False)
    ]
    activate = jax.nn.relu if work.activation == "relu" else jnp.tanh

    def loss(weights: Any, x: Any, target: Any) -> Any:
        for W, b in weights[:-1]:
            x = activate(x @ W + b)
        z = x @ weights[-1][0] + weights[-1][1]
        if work.task == "classes":
            return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(z), target[:, None], axis=1))
        if work.task == "yes_no":
            return jnp.mean(jnp.logaddexp(0.0, z) - target * z)
        return jnp.mean((z - target) ** 2)

    def step(state: Any, rows: Any) -> Any:
        weights, first, second, t = state
        gradient = jax.grad(loss)(weights, X[rows], y[rows])
        if work.optimizer == "sgd":
            return (jax.tree.map(lambda p, g: p - 0.01 * g, weights, gradient), first, second, t), None
        t = t + 1
        first = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, first, gradient)
        second = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, second, gradient)
        rate, correction = 1e-3 / (1 - 0.9**t), 1 - 0.999**t
        moved = jax.tree.map(lambda p, m, v: p - rate * m / (jnp.sqrt(v / correction) + 1e-8), weights, first, second)
        return (moved, first, second, t), None

    def run(state: Any, key: Any) -> Any:
        whole = work.rows // work.batch * work.batch
        batches = jax.random.permutation(key, work.rows)[:whole].reshape(-1, work.batch)
        return jax.lax.scan(step, state, batches)[0]

    compiled = jax.jit(run)
    zeros = jax.tree.map(jnp.zeros_like, weights)
    state: Any = (weights, zeros, zeros, jnp.float32(0))
    key = jax.random.PRNGKey(0)

    def epoch() -> None:
        nonlocal state, key
        key, used = jax.random.split(key)
        state = jax.block_until_ready(compiled(state, used))

    return epoch


def sklearn_epochs(work: Workload) -> Callable[[], object]:
    """scikit-learn's MLP, an epoch being one partial_fit."""
    from sklearn.neural_network import MLPClassifier, MLPRegressor

    warnings.simplefilter("ignore")
    X, y = work.data()
    if y.ndim == 2 and y.shape[1] == 1:
        y = y.ravel()
    settings: dict[str, Any] = {
        "hidden_layer_sizes": work.sizes[1:-1],
        "activation": work.activation,
        "solver": work.optimizer,
        "batch_size": work.batch,
        "learning_rate_init": 1e-3,
        "alpha": 0.0,
        "random_state": 0,
    }
    if work.task == "numbers":
        regressor = MLPRegressor(**settings)
        return lambda: regressor.partial_fit(X, y)
    classifier, classes = MLPClassifier(**settings), np.unique(y)
    return lambda: classifier.partial_fit(X, y, classes=classes)
