"""Writes normalization.npz: three training steps of networks with normalisation in PyTorch 2.13.0, float64.

    python tests/data/make_normalization.py

Batches of 8 rows in order, SGD with momentum 0.9 at 0.1, mean squared error; then outputs in evaluation mode.
"""

from pathlib import Path

import numpy as np
import torch

torch.set_default_dtype(torch.float64)


def weights(net):
    """Return W0, b0, gamma, beta, W1, b1."""
    first, norm, _, last = net
    parts = (first.weight.T, first.bias, norm.weight, norm.bias, last.weight.T, last.bias)
    return [part.detach().numpy().copy() for part in parts]


found = {"torch": np.array(torch.__version__)}
for name in ("batch", "layer"):
    torch.manual_seed(0)
    norm = torch.nn.BatchNorm1d(6) if name == "batch" else torch.nn.LayerNorm(6)
    net = torch.nn.Sequential(torch.nn.Linear(5, 6), norm, torch.nn.Tanh(), torch.nn.Linear(6, 2))
    X, y = torch.randn(24, 5), torch.randn(24, 2)
    for index, array in enumerate(weights(net)):
        found[f"{name}.before.{index}"] = array
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    for start in range(0, 24, 8):
        optimizer.zero_grad()
        torch.nn.functional.mse_loss(net(X[start : start + 8]), y[start : start + 8]).backward()
        optimizer.step()
    net.eval()
    for index, array in enumerate(weights(net)):
        found[f"{name}.after.{index}"] = array
    found |= {f"{name}.X": X.numpy(), f"{name}.y": y.numpy(), f"{name}.outputs": net(X).detach().numpy()}
    if name == "batch":
        found |= {"batch.mean": norm.running_mean.numpy(), "batch.variance": norm.running_var.numpy()}
np.savez(Path(__file__).with_name("normalization.npz"), **found)
