"""The same training in other libraries, each as its own users would write it for speed. None of them is required."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from nncore.bench.workloads import Training, Workload


def torch_training(work: Workload, dtype: str, threads: int) -> Training:
    """Return PyTorch's: eager, with its fused optimizers.

    Parameters
    ----------
    work, dtype
        As for `baseline.training`.
    threads : int
        How many to use.

    Returns
    -------
    Training
    """
    import torch
    from torch import nn

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    X, y = (torch.from_numpy(array) for array in work.data(dtype))
    layers: list[Any] = []
    for n_in, n_out in zip(work.sizes, work.sizes[1:], strict=False):
        layers += [nn.Linear(n_in, n_out), nn.ReLU() if work.activation == "relu" else nn.Tanh()]
    net = nn.Sequential(*layers[:-1]).to(X.dtype)
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

    def outputs() -> Any:
        with torch.inference_mode():
            z = net(X)
            if work.task == "classes":
                z = torch.softmax(z, 1)
            elif work.task == "yes_no":
                z = torch.sigmoid(z)
            return z.numpy()

    return Training(epoch, outputs)


def jax_training(work: Workload, dtype: str, threads: int) -> Training:
    """Return JAX's: a whole epoch compiled into one program.

    Parameters
    ----------
    work, dtype
        As for `baseline.training`.
    threads : int
        Not used: JAX chooses.

    Returns
    -------
    Training
    """
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", dtype == "float64")
    X, y = (jnp.asarray(array) for array in work.data(dtype))
    rng = np.random.default_rng(1)
    weights = [
        (jnp.asarray(rng.normal(0.0, np.sqrt(2.0 / n_in), (n_in, n_out)), X.dtype), jnp.zeros(n_out, X.dtype))
        for n_in, n_out in zip(work.sizes, work.sizes[1:], strict=False)
    ]
    activate = jax.nn.relu if work.activation == "relu" else jnp.tanh

    def logits(weights: Any, x: Any) -> Any:
        for W, b in weights[:-1]:
            x = activate(x @ W + b)
        return x @ weights[-1][0] + weights[-1][1]

    def loss(weights: Any, x: Any, target: Any) -> Any:
        z = logits(weights, x)
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

    compiled = jax.jit(run, donate_argnums=0)  # the state is updated in place, as far as the library can
    first, second = (jax.tree.map(jnp.zeros_like, weights) for _ in range(2))
    state: Any = (weights, first, second, jnp.zeros((), X.dtype))
    key = jax.random.PRNGKey(0)

    def epoch() -> None:
        nonlocal state, key
        key, used = jax.random.split(key)
        state = jax.block_until_ready(compiled(state, used))

    def outputs() -> Any:
        z = logits(state[0], X)
        if work.task == "classes":
            z = jax.nn.softmax(z)
        elif work.task == "yes_no":
            z = jax.nn.sigmoid(z)
        return np.asarray(z)

    return Training(epoch, outputs)


def sklearn_training(work: Workload, dtype: str, threads: int) -> Training:
    """Return scikit-learn's MLP, an epoch being one ``partial_fit``.

    Parameters
    ----------
    work, dtype
        As for `baseline.training`.
    threads : int
        Not used: scikit-learn's BLAS chooses.

    Returns
    -------
    Training
    """
    from sklearn.neural_network import MLPClassifier, MLPRegressor

    warnings.simplefilter("ignore")
    X, y = work.data(dtype)
    if y.ndim == 2 and y.shape[1] == 1:
        y = y.ravel()
    settings: dict[str, Any] = {
        "hidden_layer_sizes": work.sizes[1:-1],
        "activation": work.activation,
        "solver": work.optimizer,
        "batch_size": work.batch,
        "learning_rate_init": 1e-3 if work.optimizer == "adam" else 1e-2,
        "momentum": 0.0,
        "alpha": 0.0,
        "random_state": 0,
    }
    if work.task == "numbers":
        regressor = MLPRegressor(**settings)
        return Training(lambda: regressor.partial_fit(X, y), lambda: regressor.predict(X).reshape(work.rows, -1))
    classifier, classes = MLPClassifier(**settings), np.unique(y)

    def outputs() -> Any:
        p = classifier.predict_proba(X)
        return p if work.task == "classes" else p[:, 1:]

    return Training(lambda: classifier.partial_fit(X, y, classes=classes), outputs)
