"""The guide's Python runs, page by page, and prints what the pages say.

A page's blocks share one namespace. Lines that begin with "#> " after a statement are what it prints, to one in the
last digit of each number, and to rounding where all digits are there; the rest of the text must be equal.
"""

from __future__ import annotations

import ast
import contextlib
import importlib.util
import io
import re
from pathlib import Path

import pytest

import nncore
from nncore import second_order

DOCS = Path(__file__).parent.parent / "docs"
PAGES = sorted(DOCS.glob("*.md"))
_NUMBER = re.compile(r"[-+]?\d+\.?\d*(?:e[-+]?\d+)?|[-+]?\.\d+")


def blocks(text):
    return re.findall(r"^```python\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


def statements(block):
    """Return each statement of a block with what it should print, or None where the page does not say."""
    lines = block.splitlines()
    nodes = ast.parse(block).body
    ends = [node.lineno - 1 for node in nodes[1:]] + [len(lines)]
    for node, end in zip(nodes, ends, strict=True):
        expected = [line[3:] for line in lines[node.end_lineno : end] if line.startswith("#>")]
        yield node, "\n".join(expected) if expected else None


def agrees(found, expected):
    """Say whether two texts are equal but for one in the last digit of a number."""
    if _NUMBER.sub("#", found) != _NUMBER.sub("#", expected):
        return False
    return all(
        abs(float(a) - float(b)) <= 1.01 * _last_digit(b) + 1e-15 * abs(float(b))
        for a, b in zip(_NUMBER.findall(found), _NUMBER.findall(expected), strict=True)
    )


def _last_digit(number):
    mantissa, _, exponent = number.partition("e")
    if "." not in mantissa and not exponent:
        return 0.0  # a whole number
    return 10.0 ** (int(exponent or 0) - len(mantissa.partition(".")[2]))


def run(page, text):
    """Run a page's blocks; return its mistakes."""
    namespace, mistakes = {"__name__": page}, []
    for block in blocks(text):
        for node, expected in statements(block):
            printed = io.StringIO()
            with contextlib.redirect_stdout(printed):
                exec(compile(ast.Module([node], []), page, "exec"), namespace)
            found = "\n".join(line.rstrip() for line in printed.getvalue().rstrip("\n").split("\n"))
            if expected is not None and not agrees(found, expected):
                mistakes.append(f"{ast.unparse(node)}\nprints\n{found}\nand the page says\n{expected}")
    return mistakes


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = page.read_text(encoding="utf-8")
    if "nncore.sklearn" in "".join(blocks(text)):
        pytest.importorskip("sklearn")
    mistakes = run(page.name, text)
    assert not mistakes, "\n\n".join(mistakes)


def test_the_pages_are_there():
    assert len(PAGES) >= 9
    assert sum(page.read_text(encoding="utf-8").count("#> ") for page in PAGES) > 30


@pytest.mark.parametrize(
    ("found", "expected", "same"),
    [
        ("0.12 3", "0.13 3", True),
        ("0.12", "0.14", False),
        ("3", "4", False),
        ("1.5e-07", "1.4e-07", True),
        ("1.5e-07", "1.5e-06", False),
        ("[0 1] True", "[0 1] True", True),
        ("[0 1] True", "[0 1] False", False),
        ("0.1", "0.1 0.1", False),
    ],
)
def test_what_counts_as_equal(found, expected, same):
    assert agrees(found, expected) is same


def test_a_wrong_page_is_found():
    page = "```python\nx = 1.5\nprint(x)\n#> 1.7\nprint(x)\n#> 1.5\n```\n"
    assert len(run("page", page)) == 1


def test_every_name_has_a_line_in_the_tables():
    spec = importlib.util.spec_from_file_location("docs_tables", DOCS / "tables.py")
    tables = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tables)
    made = tables.all_tables()
    page = (DOCS / "building-blocks.md").read_text(encoding="utf-8")
    for module, table in made.items():
        assert f"_generated/{module}.md" in page
        rows = {line.split("|")[1].strip(): line.split(" | ")[-1].strip(" |") for line in table.splitlines()[2:]}
        names = {*getattr(nncore, module).ALIASES, *(second_order.ALIASES if module == "optimizers" else ())}
        assert set(rows) == {f"`{name}`" for name in names}
        assert all(len(text) > 10 for text in rows.values()), rows


def test_every_example_is_listed():
    page = (DOCS / "examples.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"^\| `(\w+\.py)`", page, flags=re.MULTILINE))
    assert listed == {path.name for path in (DOCS.parent / "examples").glob("*.py")}
