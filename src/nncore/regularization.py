"""Layers that make training steadier: dropout, noise, batch and layer normalisation.

They follow other layers, and take their size from them where none is given.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from nncore import activations, checks
from nncore.layers import Layer
from nncore.specs import LayerSpec

if TYPE_CHECKING:
    from nncore.activations import Activation

    Array = np.ndarray[Any, Any]


class Dropout(Layer):
    """While training, sets each number to 0 with probability `rate` and scales the others: a = x m / (1 - rate).

    Predictions and evaluations leave the numbers as they are. What is dropped follows from the seed of ``fit``, the
    epoch, the layer and the row's place in the epoch's order, in both backends alike; in ``train_step`` from the seed
    of the network and how many steps the optimizer has done.

    Parameters
    ----------
    rate : float
        In [0, 1).

    Raises
    ------
    TypeError, ValueError
        If `rate` is no number in that range.

    Notes
    -----
    N. Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting", JMLR 15, 2014; the factor
    1 / (1 - rate) is applied while training, as in Keras and PyTorch.
    """

    __slots__ = ("rate",)

    activation = activations.identity

    def __init__(self, rate: float) -> None:
        self.rate = checks.finite_float(rate, "rate", low=0.0, below=1.0)
        self.n_in = self.n_out = 0

    def sized(self, n: int) -> Layer:
        """Return the layer with n inputs."""
        layer = type(self)(self.rate)
        layer.n_in = layer.n_out = n
        return layer

    def spec(self) -> LayerSpec:
        """Return what an engine is told."""
        return LayerSpec(self.n_in, self.n_out, "identity", 0.0, kind="dropout", rate=self.rate)

    def settings(self) -> dict[str, Any]:
        """Return what a file keeps of the layer, besides its kind."""
        return {"n_in": self.n_in, "rate": self.rate}

    def __repr__(self) -> str:
        return f"Dropout({self.rate})"


class GaussianNoise(Layer):
    """While training, adds normal numbers to its inputs: a = x + stddev z, z of mean 0 and deviation 1.

    Predictions and evaluations leave the numbers as they are. As the first layer it blurs the data, so that a network
    does not rely on details of few rows. What is added follows from the seed of ``fit``, the epoch, the layer and the
    row's place in the epoch's order, in both backends alike, and changes from epoch to epoch.

    Parameters
    ----------
    stddev : float
        The noise's standard deviation, at least 0, the same for all columns: standardise them first.

    Raises
    ------
    TypeError, ValueError
        If `stddev` is no such number.

    Notes
    -----
    C. M. Bishop, "Training with noise is equivalent to Tikhonov regularization", Neural Computation 7, 1995. Keras'
    layer of this name does the same. The transform is that of `nncore.streams.normal_columns`.
    """

    __slots__ = ("stddev",)

    activation = activations.identity

    def __init__(self, stddev: float) -> None:
        self.stddev = checks.finite_float(stddev, "stddev", low=0.0)
        self.n_in = self.n_out = 0

    def sized(self, n: int) -> Layer:
        """Return the layer with n inputs."""
        layer = type(self)(self.stddev)
        layer.n_in = layer.n_out = n
        return layer

    def spec(self) -> LayerSpec:
        """Return what an engine is told."""
        return LayerSpec(self.n_in, self.n_out, "identity", 0.0, kind="noise", rate=self.stddev)

    def settings(self) -> dict[str, Any]:
        """Return what a file keeps of the layer, besides its kind."""
        return {"n_in": self.n_in, "stddev": self.stddev}

    def __repr__(self) -> str:
        return f"GaussianNoise({self.stddev})"


class _Normalization(Layer):
    """What batch and layer normalisation have in common."""

    __slots__ = ("activation", "epsilon")

    kind: str

    def __init__(self, n: int | None, epsilon: float, activation: str | Activation) -> None:
        self.n_in = self.n_out = 0 if n is None else checks.positive_int(n, "n")
        self.epsilon = checks.finite_float(epsilon, "epsilon", low=0.0)
        if self.epsilon < 1e-30:
            raise ValueError(f"epsilon is {epsilon!r}; expected at least 1e-30, or a constant column divides by zero")
        self.activation = activations.get(activation)
        if self.activation.name == "softmax":
            raise ValueError("activation is softmax; a normalisation takes elementwise activations only")

    def settings(self) -> dict[str, Any]:
        """Return what a file keeps of the layer, besides its kind."""
        return {
            "n_in": self.n_in,
            "epsilon": self.epsilon,
            "activation": self.activation.name,
            "alpha": self.activation.alpha,
        }

    def initial(self, seed: int, stream: int) -> list[Array]:
        """Return gamma = 1 and beta = 0."""
        return [np.ones(self.n_out), np.zeros(self.n_out)]

    def _text(self, **more: tuple[Any, Any]) -> str:
        size = f"{self.n_in}" if self.n_in else ""
        parts = [f"{name}={value!r}" for name, (value, default) in more.items() if value != default]
        if self.activation.name != "identity":
            parts.append(f"activation={self.activation!r}")
        return f"{type(self).__name__}({', '.join(filter(None, [size, *parts]))})"


class BatchNorm(_Normalization):
    """Normalises each column over the batch: a = f(gamma (x - mean) / sqrt(variance + epsilon) + beta).

    While training, mean and (biased) variance are the batch's, and running ones are kept,
    ``running = (1 - momentum) * running + momentum * batch``, the variance being the unbiased one there. Predictions
    and evaluations use the running ones; so does a training batch of a single row, which has no variance and leaves
    them as they are. gamma starts at 1, beta at 0, the running mean at 0 and the running variance at 1.

    Parameters
    ----------
    n : int, optional
        Number of columns; None takes that of the layer before.
    epsilon : float, default 1e-5
        At least 1e-30.
    momentum : float, default 0.1
        The batch's share, in [0, 1], as in PyTorch (Keras names the other share).
    activation : str or Activation, default "identity"
        What follows, elementwise.

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit.

    Notes
    -----
    S. Ioffe, C. Szegedy, "Batch normalization: accelerating deep network training by reducing internal covariate
    shift", ICML 2015.
    """

    __slots__ = ("momentum",)

    kind = "batch_norm"

    def __init__(
        self,
        n: int | None = None,
        epsilon: float = 1e-5,
        momentum: float = 0.1,
        activation: str | Activation = "identity",
    ) -> None:
        super().__init__(n, epsilon, activation)
        self.momentum = checks.finite_float(momentum, "momentum", low=0.0)
        if self.momentum > 1:
            raise ValueError(f"momentum is {momentum!r}; expected 0 to 1")

    def sized(self, n: int) -> Layer:
        """Return the layer with n inputs, itself where it has a size."""
        return self if self.n_in else type(self)(n, self.epsilon, self.momentum, self.activation)

    def spec(self) -> LayerSpec:
        """Return what an engine is told."""
        name, alpha = self.activation.name, self.activation.alpha
        return LayerSpec(
            self.n_in, self.n_out, name, alpha, kind=self.kind, epsilon=self.epsilon, momentum=self.momentum
        )

    def settings(self) -> dict[str, Any]:
        """Return what a file keeps of the layer, besides its kind."""
        return {**super().settings(), "momentum": self.momentum}

    def __repr__(self) -> str:
        return self._text(epsilon=(self.epsilon, 1e-5), momentum=(self.momentum, 0.1))


class LayerNorm(_Normalization):
    """Normalises each row over its columns: a = f(gamma (x - mean) / sqrt(variance + epsilon) + beta).

    Mean and (biased) variance are the row's own, while training and after. gamma starts at 1 and beta at 0, one of each
    for a column.

    Parameters
    ----------
    n : int, optional
        Number of columns; None takes that of the layer before.
    epsilon : float, default 1e-5
        At least 1e-30.
    activation : str or Activation, default "identity"
        What follows, elementwise.

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit.

    Notes
    -----
    J. L. Ba, J. R. Kiros, G. E. Hinton, "Layer normalization", 2016, arXiv:1607.06450.
    """

    __slots__ = ()

    kind = "layer_norm"

    def __init__(self, n: int | None = None, epsilon: float = 1e-5, activation: str | Activation = "identity") -> None:
        super().__init__(n, epsilon, activation)

    def sized(self, n: int) -> Layer:
        """Return the layer with n inputs, itself where it has a size."""
        return self if self.n_in else type(self)(n, self.epsilon, self.activation)

    def spec(self) -> LayerSpec:
        """Return what an engine is told."""
        name, alpha = self.activation.name, self.activation.alpha
        return LayerSpec(self.n_in, self.n_out, name, alpha, kind=self.kind, epsilon=self.epsilon)

    def __repr__(self) -> str:
        return self._text(epsilon=(self.epsilon, 1e-5))
