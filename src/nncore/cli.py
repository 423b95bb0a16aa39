"""The command ``nncore``: ``demo`` trains on real digits and measures, ``bench`` compares, ``info`` says what computes.

Each command imports what it needs when it runs, so that ``nncore --help`` is quick. Also ``python -m nncore.cli``.
"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from nncore.mlp import MLP

    Array = np.ndarray[Any, Any]

# What the demo trains. With these the mean test accuracy over ten seeds is above 0.97, as tests/test_demo.py shows.
SIZES = (64, 64, 10)
EPOCHS = 40
BATCH_SIZE = 32
LEARNING_RATE = 3e-3

_REPETITIONS = 5  # of each backend, in turns
_TIMED_EPOCHS = {"native": 60, "numpy": 6}  # a repetition's, about as long for both


def digits(seed: int) -> tuple[Array, Array, Array, Array]:
    """Return the digits, scaled to 0 to 1, split into four fifths for training and one for testing.

    Parameters
    ----------
    seed : int
        Key of the split.

    Returns
    -------
    X_train, X_test, y_train, y_test : ndarray
    """
    from nncore import datasets

    X, y = datasets.load_digits(return_X_y=True)
    return datasets.train_test_split(X / 16, y, test_fraction=0.2, seed=seed)


def train(
    X: Array, y: Array, *, epochs: int = EPOCHS, seed: int = 0, backend: str | None = None, verbose: bool = False
) -> MLP:
    """Return the demo's network, trained.

    Parameters
    ----------
    X, y : ndarray
        Images of 64 numbers and their digits.
    epochs, seed, backend
        As for `nncore.MLP` and its ``fit``.
    verbose : bool, default False
        Whether to print loss and accuracy of each epoch.

    Returns
    -------
    MLP
    """
    from nncore.mlp import MLP
    from nncore.optimizers import Adam

    net = MLP(SIZES, output="softmax", seed=seed, backend=backend)
    net.fit(
        X,
        y,
        optimizer=Adam(LEARNING_RATE),
        epochs=epochs,
        batch_size=BATCH_SIZE,
        metrics=["accuracy"] if verbose else (),
        verbose=verbose,
    )
    return net


def seconds_per_epoch(X: Array, y: Array, seed: int, backends: Sequence[str]) -> dict[str, float]:
    """Measure ``fit`` on the same work in several backends, in turns.

    Parameters
    ----------
    X, y : ndarray
        What to train on.
    seed : int
        The network's.
    backends : sequence of {"native", "numpy"}
        What to measure.

    Returns
    -------
    dict of str to float
        Median seconds of one epoch, by backend. The nets start alike and see the same batches; metrics are left out.
    """
    from statistics import median
    from time import perf_counter

    from nncore.mlp import MLP
    from nncore.optimizers import Adam

    times: dict[str, list[float]] = {backend: [] for backend in backends}
    for repetition in range(_REPETITIONS + 1):
        for backend in backends:
            net, optimizer = MLP(SIZES, output="softmax", seed=seed, backend=backend), Adam(LEARNING_RATE)
            epochs = _TIMED_EPOCHS[backend]
            started = perf_counter()
            net.fit(X, y, optimizer=optimizer, epochs=epochs, batch_size=BATCH_SIZE)
            if repetition:  # the first is for warming up
                times[backend].append((perf_counter() - started) / epochs)
    return {backend: median(values) for backend, values in times.items()}


def demo(epochs: int, seed: int) -> None:
    """Train on the digits, printing progress, then test and measure.

    Parameters
    ----------
    epochs : int
        At least 0.
    seed : int
        Key of split, initial weights and shuffles.
    """
    from nncore import engines

    X_train, X_test, y_train, y_test = digits(seed)
    backend = engines.choose(None)
    print(
        f"Handwritten digits (UCI): {len(X_train)} images to train on, {len(X_test)} held out.\n"
        f"Network {'-'.join(map(str, SIZES))}, relu and softmax, Adam({LEARNING_RATE}), batches of {BATCH_SIZE}, "
        f"{backend} backend.\n"
    )
    net = train(X_train, y_train, epochs=epochs, seed=seed, verbose=True)
    accuracy = net.evaluate(X_test, y_test, metrics=["accuracy"])["accuracy"]
    print(f"\nTest accuracy: {accuracy:.4f} on the {len(X_test)} images that were held out.\n")

    native = backend == "native"
    seconds = seconds_per_epoch(X_train, y_train, seed, ["native", "numpy"] if native else ["numpy"])
    print(f"Training speed (fit, the same net, data and batches; medians of {_REPETITIONS} runs):")
    for name, value in seconds.items():
        print(f"  {name:6s}  {len(X_train) / value:12,.0f} rows per second")
    if native:
        print(f"The native core was {seconds['numpy'] / seconds['native']:.1f} times as fast as the NumPy backend.")
    else:
        print("The NumPy backend is in use, so there is no native run to compare with; see `nncore info`.")


def info() -> None:
    """Print version, backend, instruction sets, threads, compiler and OpenMP runtime."""
    import nncore

    print(f"nncore {nncore.__version__}")
    nncore.show_config()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="nncore", description="Dense neural networks on the CPU.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    demo_parser = commands.add_parser("demo", help="train on handwritten digits, and measure the speed")
    demo_parser.add_argument(
        "--epochs", type=_count, default=EPOCHS, help="how often to go through the images (%(default)s)"
    )
    demo_parser.add_argument("--seed", type=_count, default=0, help="of split, weights and shuffles (%(default)s)")
    # Only for the list of commands: `main` hands its arguments to nncore.bench, which has its own parser.
    commands.add_parser("bench", help="time training against NumPy, and against other libraries that are installed")
    commands.add_parser("info", help="print version, instruction set, threads, compiler and OpenMP runtime")
    return parser


def _count(text: str) -> int:
    value = int(text)
    if not 0 <= value < 2**64:
        raise argparse.ArgumentTypeError(f"{value} is out of range; expected 0 to 2**64 - 1")
    return value


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    arguments : sequence of str, optional
        In place of the process's own.

    Returns
    -------
    int
        Exit status.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments and arguments[0] == "bench":
        from nncore.bench.command import main as bench

        return bench(arguments[1:])
    options = _parser().parse_args(arguments)
    try:
        if options.command == "demo":
            demo(options.epochs, options.seed)
        else:
            info()
    except KeyboardInterrupt:
        print("\ninterrupted")
        return 130
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
