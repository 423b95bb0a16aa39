"""The NumPy engine's layers: forward and backward of each kind, over views of the engine's flat buffers.

``forward(x, rows)`` returns the layer's outputs; ``rows`` says which rows of which epoch these are while training, and
is None otherwise: then nothing is kept, as another thread may be between its own forward and backward.
``backward(d, needed)`` takes the gradient by what the activation gets, fills the views of the
parameters' gradients and returns the gradient by the layer's inputs, where that is needed, for the same rows.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from nncore import activations, streams
from nncore.sparse import CSR

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from nncore.activations import Activation
    from nncore.sparse import Inputs
    from nncore.specs import LayerSpec

    Array = np.ndarray[Any, Any]


class Rows(NamedTuple):
    """A batch: seed and number of its epoch, its first row's place in that, and whether dropout and noise act."""

    seed: int
    epoch: int
    first: int
    dropping: bool


def activation_of(spec: LayerSpec) -> Activation:
    """Return the activation object of a spec."""
    return activations.restored(spec.activation, spec.alpha)


class _Activated:
    """What layers have in common: an activation of their own, and its derivative for the rows of the latest forward."""

    activation: Activation
    gradients: Sequence[Array] = ()
    idle_bias = False
    z: Array | None = None  # kept where the derivative does not follow from the outputs

    def activated(self, z: Array, rows: Rows | None) -> Array:
        """Return f(z)."""
        if rows is not None:
            self.z = z if self.activation.keeps_slope else None
        return self.activation(z)  # type: ignore[no-any-return]

    def slope(self, a: Array) -> Array:
        """Return f'(z) for the outputs a = f(z)."""
        return self.activation.slope(a if self.z is None else self.z, a)  # type: ignore[no-any-return]

    def kept(self) -> list[Array | None]:
        """Return what was kept of each row of the latest forward, for the way back."""
        return [self.z]

    def discount(self, idle: Array, output: Array | None) -> None:
        """Make finite what the rows `idle`, whose gradient is zero, will multiply that with; `output` among it."""
        for array in (output, *self.kept()):
            if array is not None and not np.isfinite(part := array[idle]).all():
                array[idle] = np.where(np.isfinite(part), part, 0)

    def still_idle(self, n_rows: int) -> None:
        """Set the gradient of a bias, or beta, to zero where a batch normalisation takes it away again.

        Worked out, it would be rounding errors, which Adam makes as large as any other. A batch of one row is
        normalised by the running statistics, which take nothing away.
        """
        if self.idle_bias and n_rows > 1:
            self.gradients[1][...] = 0


class NumpyDense(_Activated):
    """z = x W + b."""

    def __init__(self, spec: LayerSpec, parameters: Sequence[Array], gradients: Sequence[Array]) -> None:
        self.activation = activation_of(spec)
        self.weight, self.bias = parameters
        self.gradients = gradients
        self.spec = spec

    def linear(self, x: Inputs) -> Array:
        """Return z."""
        z: Array = x @ self.weight
        z += self.bias
        return z

    def forward(self, x: Inputs, rows: Rows | None) -> Array:
        """Return f(z)."""
        return self.activated(self.logits(x, rows), rows)

    def logits(self, x: Inputs, rows: Rows | None) -> Array:
        """Return z."""
        if rows is not None:
            self.x = x
        return self.linear(x)

    def backward(self, d: Array, needed: bool) -> Array | None:
        """Return d W^T; dW = x^T d, db = sum of d."""
        if isinstance(self.x, CSR):
            self.x.transposed_product(d, self.gradients[0])
        else:
            np.matmul(self.x.T, d, out=self.gradients[0])
        np.add.reduce(d, axis=0, out=self.gradients[1])
        self.still_idle(len(d))
        return d @ self.weight.T if needed else None


class NumpyColumns(_Activated):
    """Columns passed on, then the rows of the tables that codes stand for; see `nncore.columns.Columns`."""

    def __init__(self, spec: LayerSpec, parameters: Sequence[Array], gradients: Sequence[Array]) -> None:
        self.activation = activations.identity
        self.spec = spec
        self.parameters, self.gradients = parameters, gradients
        self.coded = [column for column, _, _ in spec.tables]
        self.passed = [column for column in range(spec.n_in) if column not in set(self.coded)]

    def forward(self, x: Array, rows: Rows | None) -> Array:
        """Return the outputs."""
        codes = x[:, self.coded].astype(np.intp)
        if rows is not None:
            self.codes = codes
        embedded = [table[codes[:, t]] for t, table in enumerate(self.parameters)]
        return np.concatenate([x[:, self.passed], *embedded], axis=1)

    logits = forward

    def backward(self, d: Array, needed: bool) -> Array | None:
        """Add up each code's deltas; nothing below takes a gradient."""
        at = len(self.passed)
        for t, gradient in enumerate(self.gradients):
            gradient[...] = 0
            np.add.at(gradient, self.codes[:, t], d[:, at : at + gradient.shape[1]])
            at += gradient.shape[1]
        return None


class NumpyDropout(_Activated):
    """x m / (1 - rate), m drawn from the streams; see `nncore.regularization.Dropout`."""

    def __init__(self, spec: LayerSpec, index: int) -> None:
        self.activation = activations.identity
        self.spec = spec
        self.index = index
        self.stride = -(-spec.n_out // 16) * 16
        self.threshold = int(spec.rate * 2.0**32)

    def forward(self, x: Array, rows: Rows | None) -> Array:
        """Return what is left of x."""
        if rows is None:
            return x
        self.mask: Array | None = None
        if not rows.dropping:
            return x
        n, stream = len(x), rows.epoch | self.index << 40
        words = streams.words(rows.seed, streams.DROPOUT, stream, rows.first * self.stride, n * self.stride)
        kept = words.reshape(n, self.stride)[:, : self.spec.n_out] >= self.threshold
        self.mask = kept * x.dtype.type(1 / (1 - self.spec.rate))
        dropped: Array = x * self.mask
        return dropped

    logits = forward

    def backward(self, d: Array, needed: bool) -> Array | None:
        """Return d m / (1 - rate)."""
        return d if self.mask is None else d * self.mask


class NumpyNoise(_Activated):
    """x + stddev z, z drawn from the streams; see `nncore.regularization.GaussianNoise`."""

    gradients: Sequence[Array] = ()

    def __init__(self, spec: LayerSpec, index: int) -> None:
        self.activation = activations.identity
        self.spec = spec
        self.index = index

    def forward(self, x: Array, rows: Rows | None) -> Array:
        """Return x with noise on it."""
        if rows is None or not rows.dropping or not self.spec.rate:
            return x
        stream = rows.epoch | self.index << 40
        z = streams.normal_columns(rows.seed, streams.NOISE, stream, rows.first, *x.shape).astype(x.dtype)
        noisy: Array = x + z * x.dtype.type(self.spec.rate)
        return noisy

    logits = forward

    def backward(self, d: Array, needed: bool) -> Array | None:
        """Return d: what is added has no gradient."""
        return d


class NumpyBatchNorm(_Activated):
    """gamma xhat + beta, xhat by column; see `nncore.regularization.BatchNorm`."""

    def __init__(self, spec: LayerSpec, parameters: Sequence[Array], gradients: Sequence[Array]) -> None:
        self.activation = activation_of(spec)
        self.spec = spec
        self.gamma, self.beta = parameters
        self.gradients = gradients
        self.state = [np.zeros_like(self.beta), np.ones_like(self.beta)]  # running mean and variance

    def logits(self, x: Array, rows: Rows | None) -> Array:
        """Return gamma xhat + beta."""
        by_batch = rows is not None and len(x) > 1
        mean: Array = x.mean(axis=0) if by_batch else self.state[0]
        variance: Array = x.var(axis=0) if by_batch else self.state[1]
        scale = 1 / np.sqrt(variance + x.dtype.type(self.spec.epsilon))
        xhat = (x - mean) * scale
        if rows is not None:
            self.by_batch, self.mean, self.variance, self.scale, self.xhat = by_batch, mean, variance, scale, xhat
        z: Array = xhat * self.gamma + self.beta
        return z

    def kept(self) -> list[Array | None]:
        """Return what was kept of each row."""
        return [self.z, self.xhat]

    def forward(self, x: Array, rows: Rows | None) -> Array:
        """Return f(gamma xhat + beta)."""
        return self.activated(self.logits(x, rows), rows)

    def backward(self, d: Array, needed: bool) -> Array | None:
        """Return gamma / sqrt(variance + epsilon) (d - mean of d - xhat mean of (d xhat))."""
        d_gamma, d_beta = self.gradients
        np.add.reduce(d * self.xhat, axis=0, out=d_gamma)
        np.add.reduce(d, axis=0, out=d_beta)
        share = d.dtype.type(1 / len(d) if self.by_batch else 0)
        dx: Array = self.gamma * self.scale * (d - d_beta * share - self.xhat * (d_gamma * share))
        self.still_idle(len(d))
        return dx

    def keep_running(self, n_rows: int) -> None:
        """Take the latest batch's statistics into the running ones, once its update is sure."""
        if not self.by_batch:
            return
        momentum = self.spec.momentum
        for running, batch, factor in zip(
            self.state, (self.mean, self.variance), (1, n_rows / (n_rows - 1)), strict=True
        ):
            running *= 1 - momentum
            running += momentum * factor * batch


class NumpyLayerNorm(_Activated):
    """gamma xhat + beta, xhat by row; see `nncore.regularization.LayerNorm`."""

    def __init__(self, spec: LayerSpec, parameters: Sequence[Array], gradients: Sequence[Array]) -> None:
        self.activation = activation_of(spec)
        self.spec = spec
        self.gamma, self.beta = parameters
        self.gradients = gradients

    def logits(self, x: Array, rows: Rows | None) -> Array:
        """Return gamma xhat + beta."""
        variance = x.var(axis=1, keepdims=True)
        scale = 1 / np.sqrt(variance + x.dtype.type(self.spec.epsilon))
        xhat = (x - x.mean(axis=1, keepdims=True)) * scale
        if rows is not None:
            self.scale, self.xhat = scale, xhat
        z: Array = xhat * self.gamma + self.beta
        return z

    def kept(self) -> list[Array | None]:
        """Return what was kept of each row."""
        return [self.z, self.xhat, self.scale]

    def forward(self, x: Array, rows: Rows | None) -> Array:
        """Return f(gamma xhat + beta)."""
        return self.activated(self.logits(x, rows), rows)

    def backward(self, d: Array, needed: bool) -> Array | None:
        """Return (g - mean of g - xhat mean of (g xhat)) / sqrt(variance + epsilon), g = gamma d, means by row."""
        np.add.reduce(d * self.xhat, axis=0, out=self.gradients[0])
        np.add.reduce(d, axis=0, out=self.gradients[1])
        self.still_idle(len(d))
        g = d * self.gamma
        product = (g * self.xhat).mean(axis=1, keepdims=True)
        dx: Array = self.scale * (g - g.mean(axis=1, keepdims=True) - self.xhat * product)
        return dx


NumpyLayer = NumpyDense | NumpyColumns | NumpyDropout | NumpyNoise | NumpyBatchNorm | NumpyLayerNorm


def make(spec: LayerSpec, index: int, parameters: Sequence[Array], gradients: Sequence[Array]) -> NumpyLayer:
    """Return the layer of a spec, the network's `index`-th."""
    if spec.kind == "dropout":
        return NumpyDropout(spec, index)
    if spec.kind == "noise":
        return NumpyNoise(spec, index)
    kinds: dict[str, type[NumpyDense] | type[NumpyColumns] | type[NumpyBatchNorm] | type[NumpyLayerNorm]] = {
        "columns": NumpyColumns,
        "dense": NumpyDense,
        "batch_norm": NumpyBatchNorm,
        "layer_norm": NumpyLayerNorm,
    }
    return kinds[spec.kind](spec, parameters, gradients)


def find_idle_biases(layers: Sequence[NumpyLayer]) -> None:
    """Mark the layers whose bias, or beta, a batch normalisation above them takes away again."""
    for layer, above in reversed(list(pairwise(layers))):  # a shift goes through a linear layer as a shift
        takes_away = isinstance(above, NumpyBatchNorm) or (isinstance(above, NumpyDense) and above.idle_bias)
        layer.idle_bias = takes_away and not isinstance(layer, NumpyDropout) and layer.activation.name == "identity"
