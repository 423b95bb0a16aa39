"""The command line: what it prints, and what it refuses."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib import metadata

import pytest
from conftest import HAS_CORE

import nncore
from nncore import cli, engines


def test_info_names_what_computes(capsys):
    assert cli.main(["info"]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"nncore {nncore.__version__}\n")
    names = [line.split()[0] for line in out.splitlines()[1:]]
    expected = {"backend", "threads", "numpy", "python"}
    if HAS_CORE:
        expected |= {"isa", "isas_available", "compiler", "openmp"}
    assert expected <= set(names)


@pytest.mark.skipif(not HAS_CORE, reason="nncore._core cannot be imported")
def test_info_gives_the_chosen_isa_among_those_available(capsys):
    cli.main(["info"])
    lines = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert lines["isa"] in lines["isas_available"].split(", ")
    assert int(lines["threads"]) == nncore.get_num_threads()


def test_demo_shows_progress_accuracy_and_speed(capsys, monkeypatch):
    monkeypatch.setattr(cli, "_REPETITIONS", 1)
    monkeypatch.setattr(cli, "_TIMED_EPOCHS", {"native": 1, "numpy": 1})
    assert cli.main(["demo", "--epochs", "3", "--seed", "7"]) == 0
    out = capsys.readouterr().out
    assert len(re.findall(r"^epoch [123]/3 .*loss \S+ .*accuracy \S+$", out, re.MULTILINE)) == 3
    accuracy = re.search(r"Test accuracy: (\d\.\d{4}) on the 359 images", out)
    assert accuracy is not None and 0.5 < float(accuracy[1]) <= 1.0
    assert re.search(r"^  numpy +[\d,]+ rows per second$", out, re.MULTILINE)
    if engines.choose(None) == "native":
        assert re.search(r"^  native +[\d,]+ rows per second$", out, re.MULTILINE)
        assert re.search(r"native core was \d+\.\d times as fast", out)


def test_demo_without_the_native_backend_says_so(capsys, monkeypatch):
    monkeypatch.setenv("NNCORE_BACKEND", "numpy")
    monkeypatch.setattr(cli, "_REPETITIONS", 1)
    monkeypatch.setattr(cli, "_TIMED_EPOCHS", {"numpy": 1})
    cli.main(["demo", "--epochs", "1"])
    out = capsys.readouterr().out
    assert "NumPy backend is in use" in out
    assert "times as fast" not in out


@pytest.mark.parametrize(
    "arguments",
    [[], ["train"], ["demo", "--epochs", "-1"], ["demo", "--epochs", "many"], ["demo", "--seed", str(2**64)]],
)
def test_arguments_that_do_not_fit_are_refused(arguments, capsys):
    with pytest.raises(SystemExit) as refused:
        cli.main(arguments)
    assert refused.value.code == 2
    assert "usage: nncore" in capsys.readouterr().err


def test_an_interrupt_ends_the_command_with_its_status(capsys, monkeypatch):
    def interrupted(epochs, seed):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "demo", interrupted)
    assert cli.main(["demo"]) == 130
    assert "interrupted" in capsys.readouterr().out


def test_runs_as_a_module():
    done = subprocess.run([sys.executable, "-m", "nncore.cli", "info"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"nncore {nncore.__version__}\n")


def test_the_installed_version_is_the_package_s():
    assert metadata.version("nncore") == nncore.__version__
