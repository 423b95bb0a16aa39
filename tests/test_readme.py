"""The README's Python blocks run, and its commands are where .ci/run looks for them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from conftest import HAS_CORE

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
PYTHON = re.findall(r"^```python\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
COMMANDS = dict(re.findall(r"^<!-- ci: (\w+) -->\n```sh\n(.*?)^```$", README, re.MULTILINE | re.DOTALL))


def test_there_are_two_blocks():
    assert len(PYTHON) == 2


@pytest.mark.parametrize("number", range(2))
def test_a_block_runs(number, tmp_path, monkeypatch, capsys):
    code = PYTHON[number]
    if "cross_check" in code and not HAS_CORE:
        pytest.skip("cross_check needs nncore._core")
    monkeypatch.chdir(tmp_path)
    exec(compile(code, f"README.md, Python block {number}", "exec"), {"__name__": "readme"})
    assert capsys.readouterr().out


def test_the_commands_are_single_lines_that_set_up_all_they_need():
    assert set(COMMANDS) == {"packages", "demo", "tests"}
    for name in ("demo", "tests"):
        assert COMMANDS[name].count("\n") == 1
        assert COMMANDS[name].startswith("python3 -m venv .venv && . .venv/bin/activate && pip install ")
    assert COMMANDS["demo"].endswith("pip install . && nncore demo\n")
    assert COMMANDS["tests"].endswith('pip install ".[test]" && pytest\n')
