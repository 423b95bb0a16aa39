"""Sphinx configuration of the user guide. `make docs` builds it into build/docs.

Before anything is read, the tables of names and the pictures are made into docs/_generated, from the code and by the
examples, so that neither can fall behind.
"""

import contextlib
import io
import re
import runpy
import sys
from pathlib import Path

import nncore

HERE = Path(__file__).parent
EXAMPLES = HERE.parent / "examples"
GENERATED = HERE / "_generated"
sys.path.insert(0, str(HERE))

project = "nncore"
author = "The nncore developers"
version = release = nncore.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.mathjax", "numpydoc"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_generated/*.md"]
root_doc = "index"
html_theme = "furo"
html_title = "nncore"
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3

# Single backticks in docstrings are names in code, of this package or of others.
default_role = "code"
autodoc_typehints = "none"  # numpydoc's sections say the types, in words
autodoc_member_order = "bysource"
autosummary_generate = False  # numpydoc loads autosummary, whose files are not needed
smartquotes = False
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False

_CODE = re.compile(r"(^ *>>> .*?(?:\n *\n|\Z)|``.*?``|`[^`]*`)", re.DOTALL | re.MULTILINE)
_MARKUP = re.compile(r"[*|]|(?<=\w)_(?!\w)")


def plain(app, what, name, obj, options, lines):
    """Escape what reStructuredText would take for markup: docstrings have formulas such as log(1 + exp(-|z|))."""
    parts = _CODE.split("\n".join(lines))
    parts[::2] = [_MARKUP.sub(r"\\\g<0>", part) for part in parts[::2]]
    lines[:] = "".join(parts).split("\n")


def generate(app):
    """Write the tables and draw the pictures."""
    import tables

    GENERATED.mkdir(exist_ok=True)
    for name, text in {**tables.all_tables(), "api": tables.further_modules()}.items():
        (GENERATED / f"{name}.md").write_text(text, encoding="utf-8")
    for name in ("activations", "approximation"):
        with contextlib.redirect_stdout(io.StringIO()):
            example = runpy.run_path(str(EXAMPLES / f"{name}.py"))
        example["draw"](GENERATED / f"{name}.png")


def setup(app):
    """Connect the above."""
    app.connect("builder-inited", generate)
    app.connect("autodoc-process-docstring", plain, priority=1)
