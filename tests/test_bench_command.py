"""The command line of the bench, run with tiny times."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from conftest import HAS_CORE

import nncore
from nncore import cli
from nncore.bench import command, contestants, measure, picture

TINY = ["--rounds", "1", "--seconds", "1e-4"]
needs_core = pytest.mark.skipif(not HAS_CORE, reason="nncore._core cannot be imported")


def rows(out):
    """Return the cells of the lines of all tables, without their heads."""
    lines = [line for line in out.splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [row for row in cells if row[0] not in ("work", "one-row predict, 64-64-10")]


@needs_core
def test_a_quick_run_of_nncore_and_numpy(capsys, tmp_path):
    file = tmp_path / "found.json"
    arguments = ["--quick", "--seconds", "1e-4", "--contestants", "nncore,numpy", "--work", "xor,iris"]
    assert cli.main(["bench", *arguments, "--json", str(file)]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    assert [row[0] for row in rows(printed.out)] == ["xor", "iris"]
    assert all(row[-1].endswith("(numpy)") and float(row[2]) > 0 for row in rows(printed.out))
    found = json.loads(file.read_text())
    assert found["command"] == f"nncore bench {' '.join(arguments)} --json {file}"
    assert found["machine"]["versions"]["nncore"] == nncore.__version__
    assert f"cpu                   {found['machine']['cpu']}\n" in printed.out
    assert found["failures"] == []
    assert list(found["training"]) == ["xor", "iris"]
    entries = found["training"]["iris"]["entries"]
    assert {(entry["contestant"], len(entry["seconds"])) for entry in entries} == {("nncore", 1), ("numpy", 1)}
    assert len(found["training"]["iris"]["peak_gflops"]) == 1


@needs_core
def test_the_other_measurements_in_one_run(capsys, tmp_path):
    file = tmp_path / "found.json"
    arguments = [*TINY, "--latency", "--neighbours", "--precision", "--work", "iris", "--contestants", "nncore,numpy"]
    assert command.main([*arguments, "--isa", "baseline", "--json", str(file)]) == 0
    found = json.loads(file.read_text())
    assert found["machine"]["isa"] == "baseline"
    assert {entry["contestant"] for entry in found["latency"]} == {"nncore", "numpy"}
    assert [each["network"] for each in found["neighbours"]["iris"]["networks"]] == ["4-16-3", "4-15-3", "4-17-3"]
    assert len(found["precision"]["iris"]["float64"]) == 1
    assert "training" not in found
    assert [row[:2] for row in rows(capsys.readouterr().out)] == [
        *(["nncore", row] for row in [_us(found["latency"], "nncore")]),
        *(["numpy", row] for row in [_us(found["latency"], "numpy")]),
        *(["iris", network] for network in ("4-16-3", "4-15-3", "4-17-3")),
        ["iris", "4-16-3, batch 16"],
    ]


def _us(entries, name):
    from nncore.bench import records, report

    return report.microseconds(records.best(entries)[name]["seconds"])


def test_numpy_alone_needs_no_core(capsys):
    assert command.main([*TINY, "--contestants", "numpy", "--work", "xor"]) == 0
    assert [len(row) for row in rows(capsys.readouterr().out)] == [3]


def test_the_defaults(monkeypatch):
    parser = command._parser("nncore bench")
    full, quick = command._checked(parser, []), command._checked(parser, ["--quick"])
    assert (full.rounds, full.seconds, len(full.work), full.dtype) == (3, 1.0, 12, "float32")
    assert (quick.rounds, quick.work) == (1, ["iris", "digits", "mnist", "mnistb"])
    assert quick.seconds < full.seconds
    assert full.contestants[:2] == ["nncore", "numpy"] and full.training
    given = command._checked(parser, ["--quick", "--rounds", "2", "--work", "xor,xor"])
    assert (given.rounds, given.work) == (2, ["xor"])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--work", "digits,mnits"], "'mnits' is unknown; expected some of xor, iris, digits"),
        (["--contestants", "nncore,theano"], "'theano' is unknown; expected some of nncore, numpy, torch"),
        (["--rounds", "0"], "--rounds: '0' came; expected a whole number of at least 1"),
        (["--rounds", "many"], "--rounds: 'many' came"),
        (["--seconds", "-1"], "--seconds: '-1' came; expected a number above 0"),
        (["--seconds", "nan"], "--seconds: 'nan' came"),
        (["--dtype", "float16"], "'float16'"),
        (["--isa", "mmx"], "--isa: 'mmx' came; expected one that this CPU and build have"),
        (["--json", "no/such/place.json"], "its directory does not exist"),
        (["--json", "."], "'.' is a directory; expected the name of a file"),
        (["--picture", "x.bmp"], "expected a name that ends in .png, .svg, .pdf"),
        (["--picture", "x.png", "--latency"], "so not with --latency"),
        (["--latency", "--contestants", "backend=numpy"], "takes part; expected some of nncore, numpy, torch"),
        (["more"], "unrecognized arguments: more"),
    ],
)
def test_options_that_do_not_fit_are_refused(arguments, said, capsys):
    with pytest.raises(SystemExit) as refused:
        cli.main(["bench", *arguments])
    assert refused.value.code == 2
    err = capsys.readouterr().err
    assert "usage: nncore bench" in err and said in err


def test_a_picture_without_matplotlib_is_refused_before_anything_is_measured(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(picture, "find_spec", lambda name: None)
    with pytest.raises(SystemExit) as refused:
        command.main(["--picture", str(tmp_path / "x.png")])
    assert refused.value.code == 2
    assert "matplotlib is not installed" in capsys.readouterr().err


def test_a_contestant_that_is_not_installed_is_left_out(capsys, monkeypatch):
    monkeypatch.setattr(contestants, "find_spec", lambda name: None if name == "torch" else object())
    options = command._checked(command._parser("nncore bench"), ["--contestants", "torch,numpy"])
    assert options.contestants == ["numpy"]
    assert capsys.readouterr().err == "torch is left out: torch is not installed\n"
    with pytest.raises(SystemExit):
        command._checked(command._parser("nncore bench"), ["--contestants", "torch"])


def test_a_failure_of_nncore_is_the_command_s(capsys, monkeypatch, tmp_path):
    def failing(works, names, settings, failures):
        failures.append(measure.Failure("nncore", 0, "xor", "out of luck"))
        yield "xor", {"description": "", "dtype": "float32", "flops": 1, "peak_gflops": [], "entries": []}

    monkeypatch.setattr(measure, "training", failing)
    file = tmp_path / "found.json"
    assert command.main(["--work", "xor", "--contestants", "nncore,numpy", "--json", str(file)]) == 1
    assert json.loads(file.read_text())["failures"][0]["reason"] == "out of luck"


def test_a_file_that_cannot_be_written_is_said(capsys, monkeypatch, tmp_path):
    directory = tmp_path / "gone"
    directory.mkdir()
    monkeypatch.setattr(measure, "training", lambda *_: directory.rmdir() or iter(()))
    assert command.main(["--work", "xor", "--json", str(directory / "x.json")]) == 1
    assert "nncore bench: " in capsys.readouterr().err


def test_ctrl_c_ends_it_cleanly(monkeypatch):
    # With NNCORE_BACKEND=numpy a core that is not there brings no warning.
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "NNCORE_BACKEND": "numpy"}
    arguments = ["--contestants", "numpy", "--work", "wide", "--seconds", "60"]
    process = subprocess.Popen(
        [sys.executable, "-m", "nncore.bench", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,
    )
    assert process.stdout is not None
    while not process.stdout.readline().startswith("|---"):  # the table's head: from now on it measures
        assert process.poll() is None
    time.sleep(0.2)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert out.endswith("\ninterrupted\n") and err == ""


def test_both_commands_are_the_same(capsys):
    done = subprocess.run(
        [sys.executable, "-m", "nncore.bench", "--help"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    with pytest.raises(SystemExit) as ended:
        cli.main(["bench", "--help"])
    assert ended.value.code == 0
    mine = capsys.readouterr().out
    assert "--neighbours" in mine and "--neighbours" in done.stdout
    assert done.stdout.startswith("usage: python -m nncore.bench ") and mine.startswith("usage: nncore bench ")
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    assert "    bench " in capsys.readouterr().out
