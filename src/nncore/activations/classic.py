"""The activations of the textbooks: identity, step, sigmoid, tanh, relu, leaky_relu, softmax."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from nncore.activations.base import Activation, checked_alpha, filled, floats

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


class Identity(Activation):
    """The identity: f(z) = z, f'(z) = 1, for outputs that may be any number."""

    __slots__ = ()

    name = "identity"

    def __call__(self, z: ArrayLike) -> Any:
        """Return a copy of `z`, as floats."""
        return floats(z).copy()[()]

    def derivative(self, z: ArrayLike) -> Any:
        """Return 1 for each element of `z`."""
        return filled(floats(z), 1.0)

    def gradient_from_output(self, a: NDArray[Any]) -> Any:
        """Return 1 for each element of `a`."""
        return np.ones_like(a)


class Step(Activation):
    """The Heaviside step: f(z) = 1 for z >= 0, else 0; f' = 0.

    A network with it can run but not train.

    W. S. McCulloch, W. Pitts, "A logical calculus of the ideas immanent in nervous activity", 1943.
    """

    __slots__ = ()

    name = "step"

    def __call__(self, z: ArrayLike) -> Any:
        """Return 1 where `z` is at least 0, else 0."""
        return np.heaviside(floats(z), 1.0)

    def derivative(self, z: ArrayLike) -> Any:
        """Return 0 for each element of `z`, also at the jump."""
        return filled(floats(z), 0.0)

    def gradient_from_output(self, a: NDArray[Any]) -> Any:
        """Return 0 for each element of `a`."""
        return np.zeros_like(a)


class Sigmoid(Activation):
    """The logistic sigmoid: f(z) = 1 / (1 + exp(-z)), f' = f (1 - f), in (0, 1).

    Computed as exp(min(z, 0)) / (1 + exp(-|z|)), where nothing overflows and small values keep their accuracy.

    P.-F. Verhulst, "Recherches mathématiques sur la loi d'accroissement de la population", 1845.
    """

    __slots__ = ()

    name = "sigmoid"

    def __call__(self, z: ArrayLike) -> Any:
        """Return the sigmoid of `z`."""
        z = floats(z)
        with np.errstate(under="ignore"):
            return np.exp(np.minimum(z, 0)) / (1 + np.exp(-np.abs(z)))

    def derivative(self, z: ArrayLike) -> Any:
        """Return f(z) f(-z), which is f (1 - f) without cancellation."""
        z = floats(z)
        with np.errstate(under="ignore"):
            return self(z) * self(-z)

    def gradient_from_output(self, a: NDArray[Any]) -> Any:
        """Return a (1 - a)."""
        return a * (1 - a)


class Tanh(Activation):
    """The hyperbolic tangent: f(z) = tanh(z), f' = 1 - f**2, in (-1, 1).

    Unlike the sigmoid's its values lie around 0, which makes training easier: Y. LeCun, L. Bottou, G. Orr,
    K.-R. Mueller, "Efficient BackProp", 1998.
    """

    __slots__ = ()

    name = "tanh"

    def __call__(self, z: ArrayLike) -> Any:
        """Return the hyperbolic tangent of `z`."""
        return np.tanh(floats(z))

    def derivative(self, z: ArrayLike) -> Any:
        """Return 1 - tanh(z)**2."""
        with np.errstate(under="ignore"):
            return self.gradient_from_output(self(z))

    def gradient_from_output(self, a: NDArray[Any]) -> Any:
        """Return 1 - a**2."""
        derivative = a * -a  # in place from here: training spends its time in such temporaries
        derivative += 1
        return derivative


class ReLU(Activation):
    """The rectified linear unit: f(z) = max(0, z), at least 0; f'(z) = 1 for z > 0, else 0, also at 0.

    V. Nair, G. E. Hinton, "Rectified linear units improve restricted Boltzmann machines", 2010.
    """

    __slots__ = ()

    name = "relu"

    def __call__(self, z: ArrayLike) -> Any:
        """Return the larger of 0 and `z`."""
        return np.maximum(floats(z), 0)

    def derivative(self, z: ArrayLike) -> Any:
        """Return 1 where `z` is above 0, else 0."""
        return np.heaviside(floats(z), 0.0)

    def gradient_from_output(self, a: NDArray[Any]) -> Any:
        """Return 1 where `a` is above 0, else 0."""
        return (a > 0).astype(a.dtype)


class LeakyReLU(Activation):
    """The leaky rectified linear unit: f(z) = z for z > 0, else alpha z; f'(0) = alpha.

    Its values are any numbers, f' is 1 for z > 0, else alpha: A. L. Maas, A. Y. Hannun, A. Y. Ng, "Rectifier
    nonlinearities improve neural network acoustic models", 2013.

    Parameters
    ----------
    alpha : float, default 0.1
        Slope for negative z, at least 0.

    Raises
    ------
    TypeError
        If alpha is not a number.
    ValueError
        If alpha is negative or not finite.

    Examples
    --------
    >>> leaky_relu(-2.0, alpha=0.5)
    np.float64(-1.0)
    >>> LeakyReLU(alpha=0.2)(-2.0)
    np.float64(-0.4)
    """

    __slots__ = ("_alpha",)

    name = "leaky_relu"

    def __init__(self, alpha: float = 0.1) -> None:
        self._alpha = checked_alpha(alpha)

    @property
    def alpha(self) -> float:  # type: ignore[override]
        """Slope for negative z."""
        return self._alpha

    def __call__(self, z: ArrayLike, alpha: float | None = None) -> Any:
        """Return `z` where it is positive, else `alpha` times `z`, with the object's own alpha unless given."""
        z = floats(z)
        slope = self._alpha if alpha is None else checked_alpha(alpha)
        with np.errstate(over="ignore", under="ignore"):
            return np.maximum(z, 0) + slope * np.minimum(z, 0)

    def derivative(self, z: ArrayLike, alpha: float | None = None) -> Any:
        """Return 1 where `z` is positive, else `alpha`, the object's own unless given."""
        z = floats(z)
        slope = self._alpha if alpha is None else checked_alpha(alpha)
        return np.where(np.isnan(z), z, np.where(z > 0, z.dtype.type(1), z.dtype.type(slope)))[()]

    def gradient_from_output(self, a: NDArray[Any]) -> Any:
        """Return 1 where `a` is positive, else alpha: the output has the sign of z."""
        positive = (a > 0).astype(a.dtype)
        return positive + self._alpha * (1 - positive)

    def __repr__(self) -> str:
        """Return the name, and what tells the object from others of that name."""
        return self.name if self == leaky_relu else f"LeakyReLU(alpha={self._alpha!r})"


class Softmax(Activation):
    """The softmax along the last axis: f(z)_i = exp(z_i) / sum_j exp(z_j), in [0, 1], a sum of 1 for each row.

    Its derivative is the Jacobian, df_i / dz_j = f_i (1 if i = j else 0) - f_i f_j. Computed from z minus its largest
    element, so that nothing overflows. A NaN makes its own row NaN.

    J. S. Bridle, "Probabilistic interpretation of feedforward classification network outputs", 1990.
    """

    __slots__ = ()

    name = "softmax"

    def __call__(self, z: ArrayLike) -> Any:
        """Return the softmax of `z`, whose rows are positive and sum to 1.

        Raises
        ------
        ValueError
            If `z` is a scalar, or its last axis is empty.
        """
        z = floats(z)
        if z.ndim == 0 or z.shape[-1] == 0:
            raise ValueError(f"z has shape {z.shape}; softmax takes at least one element along the last axis")
        with np.errstate(over="ignore", under="ignore"):
            p = np.exp(z - z.max(axis=-1, keepdims=True))
            p /= p.sum(axis=-1, keepdims=True)
        return p

    def derivative(self, z: ArrayLike) -> Any:
        """Return the Jacobian, diag(f) - f f^T, of shape (..., k, k) for z of shape (..., k)."""
        return self.gradient_from_output(self(z))

    def gradient_from_output(self, a: NDArray[Any]) -> Any:
        """Return the Jacobian diag(a) - a a^T of each row, of shape (..., k, k)."""
        with np.errstate(under="ignore"):
            return a[..., :, None] * (np.eye(a.shape[-1], dtype=a.dtype) - a[..., None, :])


identity = Identity()
step = Step()
sigmoid = Sigmoid()
tanh = Tanh()
relu = ReLU()
leaky_relu = LeakyReLU()
softmax = Softmax()
