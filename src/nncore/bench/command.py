"""The command line of the bench."""

from __future__ import annotations

import argparse
import math
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nncore.bench import contestants, machine, measure, picture, report
from nncore.bench.contestants import CONTESTANTS
from nncore.bench.runner import Failure
from nncore.bench.workloads import WORKLOADS

QUICK = ("iris", "digits", "mnist", "mnistb")
ROUNDS, SECONDS = 3, 1.0
QUICK_ROUNDS, QUICK_SECONDS = 1, 0.05

_DESCRIPTION = """
Time training steps of nncore, of a NumPy loop written by hand, and of PyTorch, JAX and scikit-learn where they are
installed. A step is shuffle, gather, forward, loss, backward and update on one mini-batch of data in memory; epochs are
timed and divided by their steps. Every contestant runs in a process of its own, they take turns round by round, and a
figure is the median over the rounds. NumPy and PyTorch run with one thread and with all, and the better counts. The FMA
peak is what all cores reach with multiply-adds in registers, measured in the same rounds.
"""


def _names(known: Sequence[str]) -> Any:
    def names(text: str) -> list[str]:
        given = list(dict.fromkeys(text.split(",")))
        for name in given:
            if name not in known:
                raise argparse.ArgumentTypeError(f"{name!r} is unknown; expected some of {', '.join(known)}")
        return given

    return names


def _count(text: str) -> int:
    value = int(text) if text.strip().isdecimal() else 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} came; expected a whole number of at least 1")
    return value


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} came; expected a number above 0")
    return value


def _file(text: str) -> Path:
    path = Path(text)
    # Now, and not after minutes of measuring.
    if path.is_dir():
        raise argparse.ArgumentTypeError(f"{text!r} is a directory; expected the name of a file")
    if not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"{text!r} came, and its directory does not exist; expected one that does")
    return path


def _picture(text: str) -> Path:
    path = _file(text)
    if path.suffix.lower() not in picture.SUFFIXES:
        raise argparse.ArgumentTypeError(f"{text!r} came; expected a name that ends in {', '.join(picture.SUFFIXES)}")
    return path


def _parser(program: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=program, description=_DESCRIPTION)
    add = parser.add_argument
    add("--work", type=_names(list(WORKLOADS)), metavar="A,B", help=f"workloads (all): {', '.join(WORKLOADS)}")
    add(
        "--contestants",
        type=_names(list(CONTESTANTS)),
        metavar="A,B",
        help=f"who takes part (all that are installed, but backend=numpy): {', '.join(CONTESTANTS)}",
    )
    add("--rounds", type=_count, metavar="N", help=f"how often each takes its turn ({ROUNDS})")
    add("--seconds", type=_seconds, metavar="S", help=f"of timing in each process ({SECONDS})")
    add(
        "--quick",
        action="store_true",
        help=f"{QUICK_ROUNDS} round, {QUICK_SECONDS} seconds, {', '.join(QUICK)}, all in one process of each",
    )
    add("--dtype", choices=("float32", "float64"), default="float32", help="of data and weights (%(default)s)")
    add("--isa", metavar="NAME", help="instruction set of nncore and of the FMA peak (the best that the CPU has)")
    add("--json", type=_file, metavar="FILE", help="write there all figures, the machine and the command line")
    add("--picture", type=_picture, metavar="FILE", help="draw the training steps; needs matplotlib")
    group = parser.add_argument_group("in place of training steps", "(several may be given)")
    group.add_argument("--latency", action="store_true", help="one-row predictions")
    group.add_argument("--neighbours", action="store_true", help="nncore's steps on networks of nearly the same size")
    group.add_argument("--precision", action="store_true", help="nncore's steps in float64 against float32")
    return parser


def _checked(parser: argparse.ArgumentParser, arguments: Sequence[str]) -> argparse.Namespace:
    """Return the options, filled in; ends the process where they do not fit."""
    options = parser.parse_args(arguments)
    quick = options.quick
    options.work = options.work or list(QUICK if quick else WORKLOADS)
    options.rounds = options.rounds or (QUICK_ROUNDS if quick else ROUNDS)
    options.seconds = options.seconds or (QUICK_SECONDS if quick else SECONDS)
    options.training = not (options.latency or options.neighbours or options.precision)
    if options.picture and not options.training:
        parser.error("argument --picture: it shows training steps, so not with --latency, --neighbours or --precision")
    if options.picture and not picture.available():
        parser.error("argument --picture: matplotlib is not installed; expected it, as by pip install 'nncore[bench]'")
    if options.isa is not None:
        description = machine.describe()
        if options.isa not in description["isas available"]:
            have = ", ".join(description["isas available"]) or f"none: the core is {description['core']}"
            parser.error(f"argument --isa: {options.isa!r} came; expected one that this CPU and build have: {have}")
    if options.contestants is None:
        options.contestants = contestants.usual()
    for name in [name for name in options.contestants if not contestants.installed(name)]:
        print(f"{name} is left out: {CONTESTANTS[name].module} is not installed", file=sys.stderr)
        options.contestants.remove(name)
    if not options.contestants:
        parser.error("argument --contestants: none of them is installed")
    if options.latency and not any(CONTESTANTS[name].predicts for name in options.contestants):
        able = ", ".join(name for name, who in CONTESTANTS.items() if who.predicts)
        parser.error(f"argument --latency: none of the contestants takes part; expected some of {able}")
    return options


def _run(options: argparse.Namespace, results: dict[str, Any], failures: list[Failure]) -> None:
    """Measure and print what the options ask for; what is found goes into `results`."""
    settings = measure.Settings(options.rounds, options.seconds, options.dtype, options.isa)
    names, works = options.contestants, options.work
    if options.training:
        table, found = report.training_table(names), results.setdefault("training", {})
        _print(table.head)
        for group in [works] if options.quick else [[work] for work in works]:
            for work, training in measure.training(group, names, settings, failures):
                found[work] = training
                _print([table.row(report.training_row(work, training, names))])
    if options.latency:
        results["latency"] = measure.latency(names, settings, failures)
        _print([*report.latency_lines(results["latency"]), ""])
    if options.neighbours:
        table, found = report.neighbours_table(), results.setdefault("neighbours", {})
        _print(table.head)
        for work in works:
            found[work] = measure.neighbours(work, settings, failures)
            _print([table.row(cells) for cells in report.neighbours_rows(work, found[work])])
        _print([""])
    if options.precision:
        table, found = report.precision_table(), results.setdefault("precision", {})
        _print(table.head)
        for work in works:
            found[work] = measure.precision(work, settings, failures)
            _print([table.row(report.precision_row(work, found[work]))])


def _print(lines: Sequence[str]) -> None:
    for line in lines:
        print(line, flush=True)


def main(arguments: Sequence[str] | None = None, program: str = "nncore bench") -> int:
    """Run the command line.

    Parameters
    ----------
    arguments : sequence of str, optional
        In place of the process's own.
    program : str
        What the user typed to come here.

    Returns
    -------
    int
        Exit status: 1 where nncore itself could not be measured or a file not be written, 130 after an interrupt.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    options = _checked(_parser(program), arguments)
    try:
        description = machine.describe(options.isa)
        _print([*machine.lines(description), ""])
        results: dict[str, Any] = {
            "command": shlex.join([*program.split(), *arguments]),
            "machine": description,
            "rounds": options.rounds,
            "seconds": options.seconds,
            "dtype": options.dtype,
            "contestants": options.contestants,
        }
        failures: list[Failure] = []
        _run(options, results, failures)
        results["failures"] = [failure._asdict() for failure in failures]
        if options.json:
            report.write_json(options.json, results)
        if options.picture:
            picture.draw(options.picture, results["training"], options.contestants, description)
    except KeyboardInterrupt:
        print("\ninterrupted")
        return 130
    except OSError as error:
        print(f"{program}: {error}", file=sys.stderr)
        return 1
    return 1 if any(failure.contestant == "nncore" for failure in failures) else 0
