"""What is fuzzed, and what must hold: only the errors that are documented, and weights unchanged after a refusal."""

from __future__ import annotations

import random
import tracemalloc
import warnings
from typing import Any

import numpy as np

import nncore as nn

from . import files, values

REFUSALS = (ValueError, TypeError, MemoryError)
# Bytes that may be taken: for Python's own objects, whatever the file's size; for each byte of it; and for each of a
# header in JSON, as Python's object for a pair of brackets takes 64 bytes and more.
ALLOWANCE, PER_BYTE, PER_HEADER_BYTE = 1 << 20, 10, 30


class Finding(Exception):
    """What must hold does not."""


def state_of(net: nn.Sequential) -> list[bytes]:
    return [a.tobytes() for a in (*net.get_weights(), *net.get_state())] + [str(net.epochs_trained).encode()]


class Target:
    """One kind of input; `one` makes an input from a random source, and returns how it ended."""

    refusals: tuple[type[BaseException], ...] = REFUSALS

    def one(self, source: random.Random) -> str:
        try:
            self.attempt(source)
        except self.refusals as error:
            self.check_refusal(error)
            return type(error).__name__
        return "accepted"

    def attempt(self, source: random.Random) -> None:
        raise NotImplementedError

    def check_refusal(self, error: BaseException) -> None:
        if not str(error):
            raise Finding(f"{type(error).__name__} without a message") from error


class Files(Target):
    """`nn.load` on mutated model files."""

    refusals = (ValueError,)

    def __init__(self, folder: str) -> None:
        self.path = f"{folder}/model.npz"
        self.bases = files.models(folder)

    def attempt(self, source: random.Random) -> None:
        content = files.mutated(source, self.bases)
        with open(self.path, "wb") as file:
            file.write(content)
        before = self.begin()
        try:
            net = nn.load(self.path)
        finally:
            self.end(before, content)
        for array in net.get_weights():
            if not np.isfinite(array).all():
                raise Finding("a network with weights that are not finite was loaded")
        net.predict(np.zeros((1, net.n_in), net.dtype))

    def begin(self) -> tuple[int, int]:
        tracemalloc.start()
        tracemalloc.reset_peak()
        return tracemalloc.get_traced_memory()[0], bytes_asked()

    def end(self, before: tuple[int, int], content: bytes) -> None:
        taken = tracemalloc.get_traced_memory()[1] - before[0]
        tracemalloc.stop()
        core = bytes_asked() - before[1]
        size, most = len(content), ALLOWANCE + PER_BYTE * len(content)
        if taken > most or core > most:
            most += PER_HEADER_BYTE * files.header_bytes(content)
        if taken > most or core > most:
            raise Finding(f"a file of {size} bytes took {taken} bytes of Python's memory and {core} of the core's")


def bytes_asked() -> int:
    try:
        from nncore import _core
    except ImportError:
        return 0
    return int(_core.bytes_asked())


class Checkpoints(Files):
    """`fit(resume=)` on mutated checkpoints."""

    refusals = (ValueError, nn.DivergenceError)

    def __init__(self, folder: str) -> None:
        self.path = f"{folder}/run.npz"
        self.runs = files.checkpoints(folder)
        self.bases = [content for content, _ in self.runs]
        self.X, self.y = files.data()

    def attempt(self, source: random.Random) -> None:
        which = source.randrange(len(self.runs))
        content = files.mutated(source, self.bases, which)
        with open(self.path, "wb") as file:
            file.write(content)
        net, optimizer, callbacks = self.runs[which][1]()
        before, held = state_of(net), self.begin()
        try:
            net.fit(self.X, self.y, optimizer=optimizer, epochs=3, batch_size=8, callbacks=callbacks, resume=self.path)
        except ValueError:
            if state_of(net) != before:
                raise Finding("a checkpoint was refused, and the network has changed") from None
            raise
        finally:
            self.end(held, content)
        for array in net.get_weights():
            if not np.isfinite(array).all():
                raise Finding("after a checkpoint that was taken weights are not finite")


class Labels(Target):
    """Targets, weights of rows and classes, codes, and rows of data of wild types, shapes and values."""

    refusals = (*REFUSALS, nn.DivergenceError)

    def __init__(self, folder: str) -> None:
        self.nets = [
            nn.MLP([3, 4, 3], output="softmax", seed=1),
            nn.MLP([3, 4, 40], output="softmax", dtype="float64", seed=1),
            nn.MLP([3, 4, 1], output="sigmoid", seed=2),
            nn.MLP([3, 2], seed=3),
            nn.MLP([3, 4, 3], output="softmax", categories={1: (5, 2)}, norm="batch", seed=4),
            nn.Sequential([nn.Columns({0: (2, 1), 2: (300, 2)}, 3), nn.Dense(4, 1)], seed=5),
        ]
        self.X = np.array([[0, 1, 2], [1, 0, 1], [0, 2, 0], [1, 3, 2], [0, 1, 1]], np.float32)
        self.y = [np.array([0, 1, 2, 1, 0]), np.array([0, 1, 2, 1, 39]), np.array([0, 1, 1, 0, 1.0]),
                  np.ones((5, 2), np.float32), np.array([2, 2, 1, 0, 1]), np.arange(5.0)]  # fmt: skip

    def attempt(self, source: random.Random) -> None:
        which = source.randrange(len(self.nets))
        net, X, y = self.nets[which], self.X, self.y[which]
        wild = source.sample(["X", "y", "sample_weight", "class_weight", "loss"], source.choice([1, 1, 1, 2, 3]))
        X = values.array_like(source, X) if "X" in wild else X
        y = values.array_like(source, y) if "y" in wild else y
        more: dict[str, Any] = {}
        if "sample_weight" in wild:
            more["sample_weight"] = values.array_like(source, np.ones(5))
        if "loss" in wild:
            more["loss"] = source.choice(values.LOSSES)
        given = [np.array(a) if isinstance(a, np.ndarray) else None for a in (X, y)]
        before = state_of(net)
        try:
            call = source.choice(("fit", "fit", "train_step", "evaluate", "loss_and_gradients", "predict"))
            if "class_weight" in wild and call not in ("evaluate", "predict"):
                more["class_weight"] = values.class_weight(source)
            if call == "fit":
                net.fit(X, y, epochs=1, batch_size=source.choice((None, 1, 2, 99)), **more)
            elif call == "train_step":
                net.train_step(X, y, "sgd", **more)
            elif call == "predict":
                net.predict(X)
            else:
                getattr(net, call)(X, y, **more)
        except self.refusals as error:
            if state_of(net) != before and not isinstance(error, nn.DivergenceError):
                raise Finding(f"{call} refused, and the network has changed") from error
            raise
        finally:
            for array, copy in zip((X, y), given, strict=True):
                if copy is not None and copy.tobytes() != np.array(array).tobytes():
                    raise Finding("X or y was modified")
        if not all(np.isfinite(a).all() for a in (*net.get_weights(), *net.get_state())):
            raise Finding("weights or running statistics are not finite")
        if net.epochs_trained > 50:
            fresh = type(self)("")
            self.nets = fresh.nets


class Configurations(Target):
    """Arguments of layers, networks, optimizers, losses, schedules and `fit` of wild types and values."""

    refusals = (*REFUSALS, nn.DivergenceError, OSError)

    def __init__(self, folder: str) -> None:
        self.folder = folder
        rng = np.random.default_rng(0)
        self.X, self.y = rng.standard_normal((6, 3)), np.array([0, 1, 2, 0, 1, 2])

    def attempt(self, source: random.Random) -> None:
        made = values.construct(source)
        if source.random() < 0.5 or made is None:
            return
        if isinstance(made, nn.Sequential):
            self.use(made, source, {})
        elif isinstance(made, nn.optimizers.Optimizer):
            self.use(nn.MLP([3, 4, 3], output="softmax"), source, {"optimizer": made})
        elif isinstance(made, nn.losses.Loss):
            self.use(nn.MLP([3, 4, 3], output="softmax"), source, {"loss": made})
        elif callable(getattr(made, "spec", None)):
            self.use(nn.Sequential([made, nn.Dense(made.n_out or 3, 3, "softmax")]), source, {})
        elif isinstance(made, nn.schedules.Schedule):
            self.use(nn.MLP([3, 4, 3], output="softmax"), source, {"optimizer": nn.Adam(made)})
        else:
            self.use(nn.MLP([3, 4, 3], output="softmax"), source, values.fit_arguments(source))

    def use(self, net: nn.Sequential, source: random.Random, arguments: dict[str, Any]) -> None:
        before = state_of(net)
        try:
            net.fit(self.X, self.y, **{"epochs": 2, "batch_size": 4, **arguments})
        except self.refusals as error:
            if state_of(net) != before and not isinstance(error, nn.DivergenceError):
                raise Finding("fit refused, and the network has changed") from error
            raise
        if not all(np.isfinite(a).all() for a in (*net.get_weights(), *net.get_state())):
            raise Finding("weights or running statistics are not finite")


TARGETS = {"files": Files, "checkpoints": Checkpoints, "labels": Labels, "configurations": Configurations}


def run_one(target: Target, name: str, seed: int, index: int) -> str:
    """Try input `index`; the same for the same seed. An error that must not come out becomes a Finding."""
    source = random.Random(f"{name} {seed} {index}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return target.one(source)
        except Finding:
            raise
        except Exception as error:
            raise Finding(f"{type(error).__name__}: {error}") from error


__all__ = ["TARGETS", "Finding", "Target", "run_one"]
