"""Initial weights.

Each initializer is a function of (n_in, n_out, seed, stream) that returns a float64 matrix of shape (n_in, n_out),
drawn from the random streams: the stream's number is the layer's index, so that a layer's weights depend on the
seed, its index and its shape alone. The network casts them to its dtype. Biases start at zero.

The normal distributions are whole ones: unlike in Keras, none is truncated.
"""

from __future__ import annotations

import math
from functools import wraps
from typing import TYPE_CHECKING

import numpy as np

from nncore import activations, checks, streams

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    from numpy.typing import NDArray

    Initializer: TypeAlias = Callable[[int, int, int, int], NDArray[np.float64]]


def _checked(make: Initializer) -> Initializer:
    """Return an initializer that refuses sizes and keys that are none."""

    @wraps(make)
    def checked(n_in: int, n_out: int, seed: int, stream: int) -> NDArray[np.float64]:
        number = checks.non_negative_int(stream, "stream")
        if number >= 1 << 56:
            raise ValueError(f"stream is {number}; expected at most 2**56 - 1")
        sizes = checks.positive_int(n_in, "n_in"), checks.positive_int(n_out, "n_out")
        return make(*sizes, checks.seed(seed), number)

    return checked


@_checked
def zeros(n_in: int, n_out: int, seed: int, stream: int) -> NDArray[np.float64]:
    """Return zeros. Units that start equal stay equal: for single layers only.

    Parameters
    ----------
    n_in, n_out : int
        Numbers of inputs and of units, at least 1.
    seed : int
        Key of the random streams, 0 to 2**64 - 1.
    stream : int
        Which stream, 0 to 2**56 - 1; networks give the layer's index.

    Returns
    -------
    ndarray of shape (n_in, n_out), float64

    Raises
    ------
    TypeError, ValueError
        If a number is of another type or out of its range.

    Notes
    -----
    All initializers have these parameters.
    """
    return np.zeros((n_in, n_out))


@_checked
def normal(n_in: int, n_out: int, seed: int, stream: int) -> NDArray[np.float64]:
    """Return normal numbers of mean 0 and standard deviation 0.05, whatever the shape."""
    return _normal(0.05, n_in, n_out, seed, stream)


@_checked
def glorot_uniform(n_in: int, n_out: int, seed: int, stream: int) -> NDArray[np.float64]:
    """Return numbers uniform in [-r, r), where r = sqrt(6 / (n_in + n_out)).

    X. Glorot, Y. Bengio, "Understanding the difficulty of training deep feedforward neural networks", 2010.
    """
    return _uniform(math.sqrt(6 / (n_in + n_out)), n_in, n_out, seed, stream)


@_checked
def glorot_normal(n_in: int, n_out: int, seed: int, stream: int) -> NDArray[np.float64]:
    """Return normal numbers of standard deviation sqrt(2 / (n_in + n_out)); see `glorot_uniform`."""
    return _normal(math.sqrt(2 / (n_in + n_out)), n_in, n_out, seed, stream)


@_checked
def he_uniform(n_in: int, n_out: int, seed: int, stream: int) -> NDArray[np.float64]:
    """Return numbers uniform in [-r, r), where r = sqrt(6 / n_in).

    K. He, X. Zhang, S. Ren, J. Sun, "Delving deep into rectifiers", 2015.
    """
    return _uniform(math.sqrt(6 / n_in), n_in, n_out, seed, stream)


@_checked
def he_normal(n_in: int, n_out: int, seed: int, stream: int) -> NDArray[np.float64]:
    """Return normal numbers of standard deviation sqrt(2 / n_in); see `he_uniform`."""
    return _normal(math.sqrt(2 / n_in), n_in, n_out, seed, stream)


@_checked
def lecun_normal(n_in: int, n_out: int, seed: int, stream: int) -> NDArray[np.float64]:
    """Return normal numbers of standard deviation sqrt(1 / n_in).

    Y. LeCun, L. Bottou, G. Orr, K.-R. Mueller, "Efficient BackProp", 1998.
    """
    return _normal(math.sqrt(1 / n_in), n_in, n_out, seed, stream)


@_checked
def orthogonal(n_in: int, n_out: int, seed: int, stream: int) -> NDArray[np.float64]:
    """Return a matrix with orthonormal columns, or rows where there are fewer of those, uniform over all of them.

    It is Q of the QR decomposition of a matrix of standard normal numbers, of max(n_in, n_out) rows and the lesser
    number of columns, with the signs that make R's diagonal positive; transposed where n_in < n_out.

    A. M. Saxe, J. L. McClelland, S. Ganguli, "Exact solutions to the nonlinear dynamics of learning in deep linear
    neural networks", 2014.
    """
    tall = _normal(1.0, max(n_in, n_out), min(n_in, n_out), seed, stream)
    q, r = np.linalg.qr(tall)
    q *= np.where(np.diagonal(r) < 0, -1.0, 1.0)
    return q if n_in >= n_out else np.ascontiguousarray(q.T)


def _uniform(limit: float, n_in: int, n_out: int, seed: int, stream: int) -> NDArray[np.float64]:
    drawn = streams.uniform(seed, streams.WEIGHTS, stream, n_in * n_out)
    return (limit * (2 * drawn - 1)).reshape(n_in, n_out)


def _normal(deviation: float, n_in: int, n_out: int, seed: int, stream: int) -> NDArray[np.float64]:
    drawn = streams.normal(seed, streams.WEIGHTS, stream, n_in * n_out)
    return (deviation * drawn).reshape(n_in, n_out)


ALIASES: dict[str, Initializer] = {
    f.__name__: f
    for f in (zeros, normal, glorot_uniform, glorot_normal, he_uniform, he_normal, lecun_normal, orthogonal)
}

# What "auto" takes, glorot_uniform aside: the relu family lets about half of a signal through.
_AUTO: dict[str, Initializer] = {
    **dict.fromkeys(("relu", "leaky_relu", "elu", "gelu", "gelu_tanh", "silu", "mish", "hard_silu"), he_normal),
    "selu": lecun_normal,
}


def get(initializer: str | Initializer, activation: str | activations.Activation = "identity") -> Initializer:
    """Return the initializer of that name, or the function itself.

    Parameters
    ----------
    initializer : str or callable
        A name, ``"auto"``, or a function of (n_in, n_out, seed, stream). ``"auto"`` is he_normal where the activation
        is of the relu family (relu, leaky_relu, elu, gelu, silu, mish, hard_silu), lecun_normal for selu,
        glorot_uniform otherwise.
    activation : str or Activation
        The layer's activation, which ``"auto"`` goes by.

    Raises
    ------
    TypeError
        If it is neither a string nor callable.
    ValueError
        If there is no initializer of that name; the message lists those there are.
    """
    if callable(initializer):
        return initializer
    name = checks.one_of(initializer, "initializer", ("auto", *ALIASES))
    if name == "auto":
        return _AUTO.get(activations.get(activation).name, glorot_uniform)
    return ALIASES[name]
