"""What the bench says of the machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib import metadata

import numpy as np
import pytest

import nncore
from nncore import engines
from nncore.bench import machine


def test_the_description_can_be_written_as_json_and_names_the_versions():
    found = machine.describe()
    assert json.loads(json.dumps(found)) == found
    assert found["versions"]["nncore"] == nncore.__version__
    assert found["versions"]["numpy"] == np.__version__
    assert found["isa"] == engines.config().get("isa")
    assert 1 <= found["cores"] <= os.cpu_count()
    assert machine.describe("avx2")["isa"] == "avx2"


def test_cores_are_those_of_the_process_where_the_system_says(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {3, 5, 8}, raising=False)
    assert machine.cores() == 3
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert machine.cores() == 1


def test_the_processor_s_name(monkeypatch, tmp_path):
    file = tmp_path / "cpuinfo"
    file.write_text("processor\t: 0\nmodel name\t: A CPU  of 3 GHz \nprocessor\t: 1\nmodel name\t: Another\n")
    monkeypatch.setattr(machine, "_CPUINFO", file)
    assert machine.cpu() == "A CPU  of 3 GHz"
    monkeypatch.setattr(machine, "_CPUINFO", tmp_path / "none")
    monkeypatch.setattr(machine.platform, "processor", lambda: "")
    monkeypatch.setattr(machine.platform, "machine", lambda: "riscv64")
    assert machine.cpu() == "riscv64"


def test_a_library_that_is_not_installed_has_no_version(monkeypatch):
    def version(name):
        if name != "torch":
            raise metadata.PackageNotFoundError(name)
        return "9.9"

    monkeypatch.setattr(machine.metadata, "version", version)
    assert machine.versions() == {"torch": "9.9"}


def test_the_lines_are_aligned_and_leave_out_what_is_not_known():
    lines = machine.lines({"cpu": "X", "load": None, "none": [], "isas": ["b", "a"], "versions": {"numpy": "2.0"}})
    assert lines == ["cpu       X", "isas      b, a", "versions  numpy 2.0"]


@pytest.mark.parametrize("module", ["nncore", "nncore.cli"])
def test_importing_nncore_leaves_the_bench_alone(module):
    code = (
        f"import sys; sys.path[:0] = {[p for p in sys.path if p]!r}\nimport warnings; warnings.simplefilter('ignore')"
    )
    code += f"\nimport {module}; print([name for name in sys.modules if 'bench' in name])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
