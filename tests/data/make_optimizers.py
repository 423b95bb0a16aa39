"""Make optimizers.npz: what PyTorch's optimizers and SciPy's minimisers reach.

For tests/test_adaptive.py, test_schedules.py and test_second_order.py. Run with a Python that has torch and scipy:
``python tests/data/make_optimizers.py``. The file names their versions.
A network 5-7-3 (tanh, linear; mean squared error) in float64 takes 20 steps over all rows. Biases do not decay: they
are in a parameter group of their own.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import scipy
import scipy.optimize
import torch

STEPS = 20
rng = np.random.default_rng(11)
X, y = rng.standard_normal((40, 5)), rng.standard_normal((40, 3))
start = [0.4 * rng.standard_normal(shape) for shape in ((5, 7), (7,), (7, 3), (3,))]

# name: (nncore's class, its settings, torch's class, its settings)
CASES = {
    "sgd": ("SGD", {"learning_rate": 0.1}, "SGD", {"lr": 0.1}),
    "sgd nesterov decay": (
        "SGD",
        {"learning_rate": 0.05, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1},
        "SGD",
        {"lr": 0.05, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1},
    ),
    "adam": ("Adam", {"learning_rate": 0.02}, "Adam", {"lr": 0.02}),
    "adam decay": ("Adam", {"learning_rate": 0.02, "weight_decay": 0.1}, "Adam", {"lr": 0.02, "weight_decay": 0.1}),
    "adamw": ("AdamW", {"learning_rate": 0.02}, "AdamW", {"lr": 0.02}),
    "adamw decay": ("AdamW", {"learning_rate": 0.02, "weight_decay": 0.5}, "AdamW", {"lr": 0.02, "weight_decay": 0.5}),
    "nadam": ("NAdam", {"learning_rate": 0.02}, "NAdam", {"lr": 0.02}),
    "nadam decay": (
        "NAdam",
        {"learning_rate": 0.02, "beta1": 0.8, "momentum_decay": 0.05, "weight_decay": 0.1},
        "NAdam",
        {"lr": 0.02, "betas": (0.8, 0.999), "momentum_decay": 0.05, "weight_decay": 0.1},
    ),
    "rmsprop": ("RMSprop", {"learning_rate": 0.01}, "RMSprop", {"lr": 0.01, "alpha": 0.99}),
    "rmsprop decay": (
        "RMSprop",
        {"learning_rate": 0.01, "rho": 0.9, "epsilon": 1e-3, "weight_decay": 0.1},
        "RMSprop",
        {"lr": 0.01, "alpha": 0.9, "eps": 1e-3, "weight_decay": 0.1},
    ),
    "adagrad": ("Adagrad", {"learning_rate": 0.05}, "Adagrad", {"lr": 0.05, "eps": 1e-10}),
    "adagrad decay": (
        "Adagrad",
        {"learning_rate": 0.05, "weight_decay": 0.1},
        "Adagrad",
        {"lr": 0.05, "eps": 1e-10, "weight_decay": 0.1},
    ),
    "sgd clip norm": (
        "SGD",
        {"learning_rate": 0.3, "momentum": 0.5, "weight_decay": 0.1, "clip_norm": 0.2},
        "SGD",
        {"lr": 0.3, "momentum": 0.5, "weight_decay": 0.1, "clip_norm": 0.2},
    ),
    "adam clip value": (
        "Adam",
        {"learning_rate": 0.02, "weight_decay": 0.1, "clip_value": 0.02},
        "Adam",
        {"lr": 0.02, "weight_decay": 0.1, "clip_value": 0.02},
    ),
    "rmsprop clip both": (
        "RMSprop",
        {"learning_rate": 0.01, "clip_norm": 0.2, "clip_value": 0.04},
        "RMSprop",
        {"lr": 0.01, "alpha": 0.99, "clip_norm": 0.2, "clip_value": 0.04},
    ),
}


def train(name: str, settings: dict[str, object]) -> list[np.ndarray]:
    """Return the weights after 20 steps of torch's optimizer."""
    tensors = [torch.tensor(array, dtype=torch.float64, requires_grad=True) for array in start]
    plain = {key: value for key, value in settings.items() if key not in ("weight_decay", "clip_norm", "clip_value")}
    weights = {"params": tensors[::2], "weight_decay": settings.get("weight_decay", 0.01 if name == "AdamW" else 0.0)}
    optimizer = getattr(torch.optim, name)([weights, {"params": tensors[1::2], "weight_decay": 0.0}], **plain)
    inputs, targets = torch.tensor(X), torch.tensor(y)
    for _ in range(STEPS):
        optimizer.zero_grad()
        out = torch.tanh(inputs @ tensors[0] + tensors[1]) @ tensors[2] + tensors[3]
        torch.nn.functional.mse_loss(out, targets).backward()
        clip_gradients(tensors, settings)
        optimizer.step()
    return [tensor.detach().numpy() for tensor in tensors]


def clip_gradients(tensors: list[torch.Tensor], settings: dict[str, object]) -> None:
    """Bound the gradients: the norm as it is, which clip_grad_norm_ adds 1e-6 to, then each number."""
    if "clip_norm" in settings:
        length = torch.linalg.vector_norm(torch.cat([tensor.grad.flatten() for tensor in tensors]))
        factor = min(1.0, settings["clip_norm"] / float(length))
        for tensor in tensors:
            tensor.grad.mul_(factor)
    if "clip_value" in settings:
        torch.nn.utils.clip_grad_value_(tensors, settings["clip_value"])


def rates(make: object) -> np.ndarray:
    """Return the rates of 30 steps of a schedule of torch's."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.5)
    schedule = make(optimizer)
    found = []
    for _ in range(30):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return np.array(found)


PLATEAU = [3.0, 2.0, 2.0, 1.99995, 1.5, 1.6, 1.7, 1.8, 1.6, 1.6, 1.6, 1.6, 1.4, np.nan, 1.5, 1.5, 1.5]


def plateau_rates() -> np.ndarray:
    """Return the rate after each epoch of ReduceLROnPlateau."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.5)
    schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=1, cooldown=2, min_lr=0.05)
    found = []
    for value in PLATEAU:
        schedule.step(value)
        found.append(optimizer.param_groups[0]["lr"])
    return np.array(found)


# ------------------------------------------------------------------------------------------ a convex problem for L-BFGS

labels = (X[:, 0] + X[:, 1] + rng.standard_normal(40) > 0).astype(float)


def logistic(flat: np.ndarray) -> tuple[float, np.ndarray]:
    """Return the mean binary cross-entropy of a layer 5-1 with a sigmoid, and its gradient."""
    z = X @ flat[:5] + flat[5]
    loss = np.mean(np.logaddexp(0, z) - labels * z)
    slope = (1 / (1 + np.exp(-z)) - labels) / len(z)
    return loss, np.append(X.T @ slope, slope.sum())


def squares(flat: np.ndarray) -> tuple[float, np.ndarray]:
    """Return the mean squared error of the network above, and its gradient."""
    sizes = np.cumsum([array.size for array in start])[:-1]
    w0, b0, w1, b1 = (part.reshape(array.shape) for part, array in zip(np.split(flat, sizes), start, strict=True))
    hidden = np.tanh(X @ w0 + b0)
    residuals = hidden @ w1 + b1 - y
    delta = 2 * residuals / y.size
    back = (delta @ w1.T) * (1 - hidden**2)
    parts = [X.T @ back, back.sum(axis=0), hidden.T @ delta, delta.sum(axis=0)]
    return np.mean(residuals**2), np.concatenate([part.ravel() for part in parts])


def main() -> None:
    """Write the file beside this script."""
    arrays: dict[str, np.ndarray] = {"X": X, "y": y, "labels": labels, "plateau": np.array(PLATEAU)}
    arrays |= {f"start {i}": array for i, array in enumerate(start)}
    for case, (_, _, torch_name, torch_settings) in CASES.items():
        arrays |= {f"{case} {i}": array for i, array in enumerate(train(torch_name, torch_settings))}
    schedulers = torch.optim.lr_scheduler
    arrays["rates step"] = rates(lambda o: schedulers.StepLR(o, step_size=7, gamma=0.3))
    arrays["rates exponential"] = rates(lambda o: schedulers.ExponentialLR(o, gamma=0.9))
    arrays["rates cosine"] = rates(lambda o: schedulers.CosineAnnealingLR(o, T_max=29, eta_min=0.1))
    arrays["rates one cycle"] = rates(lambda o: schedulers.OneCycleLR(o, max_lr=0.5, total_steps=31))[:30]
    arrays["rates plateau"] = plateau_rates()
    tight = {"method": "L-BFGS-B", "jac": True, "options": {"ftol": 1e-15, "gtol": 1e-10, "maxiter": 10_000}}
    convex = scipy.optimize.minimize(logistic, np.zeros(6), **tight)
    arrays["logistic"] = np.append(convex.x, convex.fun)
    flat = np.concatenate([array.ravel() for array in start])
    for iterations in (30, 100):
        options = {"ftol": 0.0, "gtol": 0.0, "maxiter": iterations, "maxcor": 10}
        found = scipy.optimize.minimize(squares, flat, method="L-BFGS-B", jac=True, options=options)
        arrays[f"squares {iterations}"] = np.array(found.fun)
    cases = {case: [kind, settings] for case, (kind, settings, _, _) in CASES.items()}
    made = {"cases": cases, "steps": STEPS, "torch": torch.__version__, "scipy": scipy.__version__}
    np.savez_compressed(Path(__file__).with_name("optimizers.npz"), made=np.array(json.dumps(made)), **arrays)
    print(made["torch"], made["scipy"], sys.version.split()[0], arrays["logistic"][-1], arrays["squares 100"])


if __name__ == "__main__":
    main()
