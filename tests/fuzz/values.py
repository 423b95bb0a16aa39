"""Wild values: of the right type and out of range, of the wrong type, huge, tiny, not finite, strange."""

from __future__ import annotations

import random
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np

import nncore as nn

ODD: list[Any] = [
    None, True, False, "", "x", "relu", "softmax", "auto", "adam", "float32", b"bytes", (), [], {}, [1], [[1]],
    {"a": 1}, object(), Ellipsis, NotImplemented, int, len, lambda *a: a, 1j, Decimal("0.1"), Fraction(1, 3), range(3),
    set(), np.float32(0.5), np.int8(3), np.bool_(True), np.array(1), np.array([1, 2]), np.datetime64("2020"),
    np.str_("relu"),
]  # fmt: skip
# Nothing between: what would be an honest large network is not what is looked for.
INTEGERS = [-(2**200), -(2**63) - 1, -(2**63), -(2**31), -1, 0, 1, 2, 3, 4, 5, 7, 8, 16, 17, 33, 2**40, 2**53 + 1,
            2**58, 2**60, 2**61, 2**62 - 1, 2**62, 2**63 - 1, 2**63, 2**64 - 1, 2**64, 2**200, 10**400]  # fmt: skip
FLOATS = [0.0, -0.0, 1e-320, 1e-38, 1e-8, 0.1, 0.5, 0.999, 1.0, 1.5, 2.0, 30.0, 1e8, 3e38, 1e308, -1e-320, -0.5, -1.0,
          -1e308, float("inf"), float("-inf"), float("nan")]  # fmt: skip
LOSSES: list[Any] = [
    None, "mse", "mae", "huber", "bce", "cross_entropy", "hinge", "poisson", "quantile", "cosine", "x", 3, nn.Dense,
    nn.losses.Huber(1e-300), nn.losses.CrossEntropy(label_smoothing=0.3), lambda p, t: (0.0, np.zeros_like(p)),
    lambda p, t: (float("nan"), p), lambda p, t: p, lambda p, t: (1.0, p[:1]), lambda p, t: (0, None),
]  # fmt: skip
DTYPES = ["bool", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8", ">f4", ">i4", ">i8", "<u2", "c8",
          "O", "U3", "S2", "M8[s]", "m8[s]", "V4"]  # fmt: skip


def wild(source: random.Random) -> Any:
    kind = source.random()
    if kind < 0.35:
        return source.choice(INTEGERS)
    if kind < 0.65:
        return source.choice(FLOATS)
    if kind < 0.95:
        return source.choice(ODD)
    return [wild(source) for _ in range(source.randrange(4))]


def array_like(source: random.Random, right: np.ndarray) -> Any:
    """Something near `right`: another dtype, shape, order or container, a few wild values; or not near at all."""
    if source.random() < 0.05:
        return wild(source)
    array = np.array(right)
    for _ in range(source.choice((0, 1, 1, 1, 2, 5))):
        value = source.choice(source.choice((INTEGERS, FLOATS)))
        place = tuple(source.randrange(n) for n in array.shape)
        if array.dtype.kind != "O" and source.random() < 0.3:
            array = array.astype(source.choice(("f8", "O")))
        try:
            array[place] = value
        except (OverflowError, ValueError):
            array = array.astype("f8")
            array[place] = float(value) if abs(value) < 1e300 or value != value else np.inf
    if source.random() < 0.4:
        try:
            with np.errstate(all="ignore"):
                array = array.astype(source.choice(DTYPES))
        except (TypeError, ValueError, OverflowError):
            pass
    change = source.randrange(14)
    if change == 0:
        array = array[: source.randrange(len(array) + 1)]
    elif change == 1:
        array = array.reshape(-1, 1)
    elif change == 2:
        array = array[None]
    elif change == 3:
        array = np.asfortranarray(array)
    elif change == 4:
        array = np.repeat(array, 2, axis=0)[::2]
    elif change == 5:
        array = np.broadcast_to(array[:1], array.shape)
    elif change == 6:
        array.flags.writeable = False
    elif change == 7:
        return array.tolist()
    elif change == 8:
        return np.ma.masked_array(array, source.random() < 0.5)
    elif change == 9 and array.ndim:
        array = array[..., : source.randrange(array.shape[-1] + 1)]
    elif change == 10:
        return memoryview(array) if array.dtype.kind in "biuf" and array.dtype.isnative else array
    elif change == 11 and array.dtype.kind in "iuf":
        array = np.frombuffer(b"\0" + array.tobytes(), np.uint8)[1:].view(array.dtype).reshape(array.shape)  # unaligned
    return array


def class_weight(source: random.Random) -> Any:
    if source.random() < 0.3:
        return source.choice(["balanced", "x", *ODD])
    return {wild_key(source): wild(source) for _ in range(source.randrange(4))}


def wild_key(source: random.Random) -> Any:
    key = source.choice((*INTEGERS, *FLOATS, None, "a", True, (1, 2)))
    return source.choice((0, 1, 2, key))


_ACTIVATIONS = ["relu", "tanh", "softmax", "sigmoid", "leaky_relu", "gelu", "exponential", "step", nn.LeakyReLU(0.3)]
_SMALL = [1, 2, 3, 4, 7]
# name, callable, right arguments by name
_MAKERS: list[tuple[Any, dict[str, list[Any]]]] = [
    (nn.Dense, {"n_in": [3], "n_out": _SMALL, "activation": _ACTIVATIONS, "initializer": ["auto", "orthogonal"],
                "l1": [0.0, 0.1], "l2": [0.1], "max_norm": [None, 1.0], "weight_decay": [0.0, 0.1]}),
    (nn.BatchNorm, {"n": [3, None], "epsilon": [1e-5], "momentum": [0.1], "activation": _ACTIVATIONS}),
    (nn.LayerNorm, {"n": [3, None], "epsilon": [1e-5], "activation": _ACTIVATIONS}),
    (nn.Dropout, {"rate": [0.0, 0.5]}),
    (nn.GaussianNoise, {"stddev": [0.0, 1.0]}),
    (nn.Columns, {"categories": [{0: 4}, {1: (5, 2), 2: 3}, {0: (2, 2**62)}, {0: 2**24}, {-1: 2}, {2**70: 1}, {"a": 3}],
                  "n_in": [3]}),
    (nn.MLP, {"sizes": [(3, 4, 3), [3, 3], (3, 2**40, 3), (3, 2**61, 2**61), (2**62, 1), [3] * 30, (3, 0), (3.0, 2)],
              "activation": _ACTIVATIONS, "output": _ACTIVATIONS, "dropout": [0.0, 0.3],
              "norm": [None, "batch", "layer"], "dtype": ["float32", "float64"], "seed": [0, 2**64 - 1],
              "backend": ["native", "numpy", None],
              "categories": [None, {1: 2}], "input_noise": [0.0, 0.2]}),
    (nn.SGD, {"learning_rate": [0.1], "momentum": [0.9], "nesterov": [True, False], "weight_decay": [0.0]}),
    (nn.Adam, {"learning_rate": [0.1], "beta1": [0.9], "beta2": [0.99], "epsilon": [1e-8], "clip_norm": [None, 1.0],
               "clip_value": [None, 0.1]}),
    (nn.NAdam, {"learning_rate": [0.1], "momentum_decay": [0.1]}),
    (nn.RMSprop, {"learning_rate": [0.1], "rho": [0.9], "epsilon": [1e-8]}),
    (nn.Adagrad, {"learning_rate": [0.1], "epsilon": [1e-8]}),
    (nn.Lion, {"learning_rate": [0.1], "beta1": [0.9]}),
    (nn.losses.Huber, {"delta": [1.0]}),
    (nn.losses.Quantile, {"q": [0.5]}),
    (nn.losses.CrossEntropy, {"label_smoothing": [0.1]}),
    (nn.losses.BinaryCrossEntropy, {"pos_weight": [2.0]}),
    (nn.schedules.Cosine, {"learning_rate": [0.1], "steps": [10], "end": [0.0], "warmup": [0, 3]}),
    (nn.schedules.Step, {"learning_rate": [0.1], "every": [10], "factor": [0.5]}),
    (nn.schedules.OneCycle, {"learning_rate": [0.1], "steps": [10], "rise": [0.3]}),
    (nn.callbacks.EarlyStopping, {"patience": [2], "min_delta": [0.0], "mode": ["auto"]}),
    (nn.Neuron, {"weights": [[0, 1]], "bias": [4], "activation": _ACTIVATIONS}),
    (nn.Perceptron, {"learning_rate": [0.1], "epochs": [3]}),
]  # fmt: skip


def construct(source: random.Random) -> Any:
    """Make an object with some of its arguments wild."""
    make, arguments = source.choice(_MAKERS)
    given = {name: source.choice(right) for name, right in arguments.items() if source.random() < 0.6}
    for name in arguments:
        if name not in given and name in ("n_in", "n_out", "sizes", "categories", "rate", "stddev", "weights", "bias"):
            given[name] = source.choice(arguments[name])
    for name in source.sample(sorted(arguments), min(len(arguments), source.choice((0, 1, 1, 2)))):
        given[name] = wild(source)
    return make(**given)


def fit_arguments(source: random.Random) -> dict[str, Any]:
    right: dict[str, list[Any]] = {
        "loss": LOSSES, "optimizer": ["adam", "sgd", "lbfgs", "levenberg_marquardt", "x"], "epochs": [0, 1, 3],
        "batch_size": [None, 1, 4, 2**62, 2**70], "shuffle": [True, False], "validation_split": [0.0, 0.5, 0.1],
        "validation_data": [None], "early_stopping": [None, True, 2], "metrics": [(), "accuracy", ["mse", "r2"]],
        "callbacks": [()], "verbose": [0], "seed": [None, 1, 2**64 - 1], "threads": [None, 1, 2, 2**31, 2**70],
        "max_seconds": [None, 1.0], "resume": [None, "/nonexistent", "/", "/dev/null"],
    }  # fmt: skip
    chosen = source.sample(sorted(right), source.choice((1, 2, 3)))
    given = {name: source.choice(right[name]) for name in chosen}
    name = source.choice(sorted(right))
    value = wild(source)
    if name not in ("epochs", "verbose") or not isinstance(value, int) or value < 9:  # honest long runs are none
        given[name] = value
    return given
