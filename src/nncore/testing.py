"""Checks that users can run on their own networks: of gradients, of one backend against the other, of threads."""

from __future__ import annotations

import copy
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from nncore import checks, engines, sparse
from nncore.layers import Dense
from nncore.network import Sequential

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nncore.losses import Loss

    Array = np.ndarray[Any, Any]

# The best step of central differences is about the cube root of the rounding error.
_STEP = 6e-6
# Differences of a loss of size 1 resolve gradients down to about 1e-11; what is smaller than this is compared
# absolutely, so that a gradient of zero can pass.
_SMALLEST_GRADIENT = 1e-4


def gradient_check(
    net: Sequential,
    X: Any,
    y: Any,
    loss: str | Loss | None = None,
    tolerance: float = 1e-6,
    *,
    sample_weight: Any = None,
) -> float:
    """Compare the gradients with central differences of the loss.

    Each weight is moved up and down a little, and where the two differ half as far, with Richardson's extrapolation:
    two or four passes for each parameter, for small networks. Where a unit of the relu family is within about 1e-5 of
    its kink the two differ, rightly.

    Parameters
    ----------
    net : Sequential
        Of dtype float64; it is not changed.
    X, y, loss, sample_weight
        As for `Sequential.fit`.
    tolerance : float, default 1e-6
        The largest relative error that passes.

    Returns
    -------
    float
        The largest relative error: of each array, its largest difference over its largest gradient.

    Raises
    ------
    AssertionError
        If the error is above the tolerance; the message names the array.
    TypeError, ValueError
        If an argument does not fit, or the network's dtype is float32, whose rounding hides the differences.
    """
    _require_network(net)
    if net.dtype != np.float64:
        raise ValueError(f"net has dtype {net.dtype}; gradient_check takes float64")
    tolerance = checks.finite_float(tolerance, "tolerance", low=0.0)
    value, gradients = net.loss_and_gradients(X, y, loss, sample_weight=sample_weight)
    probe = copy.deepcopy(net)
    weights = [array.copy() for array in net.get_weights()]
    smallest = _SMALLEST_GRADIENT * max(1.0, abs(value))
    worst = 0.0

    def difference(array: Array, at: tuple[int, ...], step: float) -> float:
        kept = float(array[at])
        values = []
        for moved in (kept + step, kept - step):
            array[at] = moved
            probe.set_weights(weights)
            values.append(probe.loss_and_gradients(X, y, loss, sample_weight=sample_weight)[0])
        array[at] = kept
        return (values[0] - values[1]) / (kept + step - (kept - step))

    for index, (array, gradient) in enumerate(zip(weights, gradients, strict=True)):
        numeric = np.empty_like(array)
        enough = tolerance * max(float(np.abs(gradient).max()), smallest)
        for at in np.ndindex(array.shape):
            step = _STEP * max(1.0, abs(float(array[at])))
            numeric[at] = difference(array, at, step)
            if not abs(numeric[at] - gradient[at]) <= enough:  # where the loss bends much: without the error in step**2
                numeric[at] = (4 * difference(array, at, step / 2) - numeric[at]) / 3
        worst = max(worst, _compare(f"gradient {index}", gradient, numeric, tolerance, smallest))
    return worst


def cross_check(
    net: Sequential,
    X: Any,
    y: Any,
    loss: str | Loss | None = None,
    tolerance: float | None = None,
    *,
    sample_weight: Any = None,
) -> float:
    """Compare the native backend with the NumPy one, on the same weights: every layer's output, loss and gradients.

    Parameters
    ----------
    net : Sequential
        Of either backend; it is not changed.
    X, y, loss, sample_weight
        As for `Sequential.fit`.
    tolerance : float, optional
        The largest relative error that passes; None takes 1e-4 for float32 and 1e-10 for float64.

    Returns
    -------
    float
        The largest relative error: of each array, its largest difference over its largest value.

    Raises
    ------
    AssertionError
        If the error is above the tolerance; the message says where it first was.
    ImportError
        If the compiled core is not there.
    """
    _require_network(net)
    if tolerance is None:
        tolerance = 1e-4 if net.dtype == np.float32 else 1e-10
    tolerance = checks.finite_float(tolerance, "tolerance", low=0.0)
    weights = net.get_weights()
    results = []
    for backend in ("native", "numpy"):
        twin = Sequential(net.layers, dtype=net.dtype.name, seed=net.seed, backend=backend)
        twin.set_weights(weights)
        twin.set_state(net.get_state())
        value, gradients = twin.loss_and_gradients(X, y, loss, sample_weight=sample_weight)
        named = {f"output of layer {index}": array for index, array in enumerate(twin.forward(X, layers=True))}
        named["loss"] = np.array(value)
        named.update({f"gradient {index}": array for index, array in enumerate(gradients)})
        results.append(named)
    native, plain = results
    # What is small by cancellation has the rounding errors of what it came from: of the last layer's z in the loss,
    # of that times the inputs in the gradients.
    outputs = [array for name, array in plain.items() if name.startswith("output")]
    inputs = [sparse.inputs(net.layers, X, "X", net.dtype), *outputs[:-1]]
    stored = [array.stored() if isinstance(array, sparse.CSR) else array for array in inputs]
    with np.errstate(all="ignore"):
        z = inputs[-1] @ weights[-2] + weights[-1] if isinstance(net.layers[-1], Dense) else outputs[-1]
        largest = float(np.abs(z).max())
        widest = max(1.0, *(float(np.abs(array).max(initial=0)) for array in stored))
    floors = {"output": float(np.finfo(net.dtype).tiny), "loss": 1e-3 * largest, "gradient": 1e-3 * largest * widest}
    return max(_compare(name, native[name], plain[name], tolerance, floors[name.split()[0]]) for name in plain)


@contextmanager
def force_threads(n: int) -> Iterator[None]:
    """Have the native backend run with exactly `n` threads in a ``with`` block, and assert that it did.

    Parameters
    ----------
    n : int
        At least 1; may exceed the number of CPUs.

    Raises
    ------
    AssertionError
        At the block's end, if another number of threads ran, or nothing did.
    ImportError
        If the compiled core is not there.
    """
    n = checks.positive_int(n, "n")
    core = engines.core()
    core.force_threads(n)
    try:
        yield
        ran = set(core.thread_log())
    finally:
        core.force_threads(0)
    if ran != {n}:
        came = f"{sorted(ran)} threads" if ran else "nothing"
        raise AssertionError(f"{came} ran in the native backend; expected {n} threads")


def _require_network(net: Any) -> None:
    if not isinstance(net, Sequential):
        raise TypeError(f"net is of type {type(net).__name__}; expected Sequential or MLP")


def _compare(name: str, found: Array, expected: Array, tolerance: float, smallest: float) -> float:
    """Return the largest difference over the largest value, or raise AssertionError."""
    scale = max(float(np.abs(found).max()), float(np.abs(expected).max()), smallest)
    error = float(np.abs(found - expected).max()) / scale
    if not error <= tolerance:  # also where it is NaN
        at = np.unravel_index(np.abs(found - expected).argmax(), found.shape)
        raise AssertionError(
            f"{name} differs: relative error {error:.3g} above {tolerance:.3g}; at {tuple(map(int, at))} it is "
            f"{float(found[at])!r} and should be {float(expected[at])!r}"
        )
    return error
