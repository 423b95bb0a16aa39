"""tools/check_dist.py finds what must not be published: left-overs, missing files, wheels that are not portable."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

TOOL = Path(__file__).parent.parent / "tools" / "check_dist.py"
spec = importlib.util.spec_from_file_location("check_dist", TOOL)
assert spec is not None and spec.loader is not None
check_dist = importlib.util.module_from_spec(spec)
spec.loader.exec_module(check_dist)

WHEEL = "nncore-0.1.0-cp311-cp311-manylinux_2_34_x86_64.whl"
MEMBERS = [
    "nncore/_core.cpython-311-x86_64-linux-gnu.so",
    "nncore/_core.pyi",
    "nncore/py.typed",
    "nncore/datasets/digits.npz",
    "nncore.libs/libgomp-24e2ab19.so.1.0.0",
    "nncore-0.1.0.dist-info/licenses/LICENSE",
    "nncore-0.1.0.dist-info/licenses/LICENSE-bundled.txt",
]


def test_a_good_wheel_has_no_fault() -> None:
    assert check_dist.faults_of_wheel(WHEEL, 1_500_000, MEMBERS) == []


@pytest.mark.parametrize(
    ("file", "size", "members", "said"),
    [
        (WHEEL.replace("manylinux_2_34", "linux"), 1, MEMBERS, "platform tag"),
        (WHEEL, 3_000_000, MEMBERS, "3,000,000 bytes"),
        *((WHEEL, 1, [m for m in MEMBERS if m != lost], said) for lost, said in zip(
            MEMBERS, ["_core", "_core.pyi", "py.typed", "digits.npz", "OpenMP", "LICENSE", "LICENSE-bundled"],
            strict=True)),
        (WHEEL, 1, [*MEMBERS, "nncore/_core.cpython-312-x86_64-linux-gnu.so"], "exactly one"),
        (WHEEL, 1, [*MEMBERS, "nncore/_core.pyx"], "holds nncore/_core.pyx"),
        (WHEEL, 1, [*MEMBERS, "tests/test_core.py"], "holds tests/"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_wheel_is_named(file: str, size: int, members: list[str], said: str) -> None:
    faults = check_dist.faults_of_wheel(file, size, members)
    assert len(faults) == 1 and said in faults[0], faults


def test_a_good_sdist_has_no_fault() -> None:
    assert check_dist.faults_of_sdist([*check_dist.NEEDED, "csrc/kernels/outer.c", "docs/building-blocks.md"]) == []


@pytest.mark.parametrize(
    "left",
    [
        "build/x.o", "dist/nncore-0.1.0.tar.gz", ".venv/bin/python", "src/nncore/_core.cpython-311-x86_64-linux-gnu.so",
        "tests/__pycache__/conftest.pyc", ".mypy_cache/x", "docs/_generated/tables.md", ".git/config",
    ],
)  # fmt: skip
def test_leftovers_in_an_sdist_are_named(left: str) -> None:
    faults = check_dist.faults_of_sdist([*check_dist.NEEDED, left])
    assert len(faults) == 1 and left in faults[0], faults


def test_what_an_sdist_lacks_is_named() -> None:
    for lost in check_dist.NEEDED:
        faults = check_dist.faults_of_sdist([name for name in check_dist.NEEDED if name != lost])
        assert faults == [f"it lacks {lost}"]
