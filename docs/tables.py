"""The guide's tables of names, made from the code: what each name is, its settings and their defaults."""

import inspect
import re

import nncore as nn


def first_sentence(obj):
    """Return the first paragraph of a docstring, on one line."""
    return " ".join(inspect.getdoc(obj).split("\n\n")[0].split())


def escaped(text):
    """Return text in which Markdown sees no markup."""
    return re.sub(r"([|*_<])", r"\\\1", text.replace("``", "`"))


def table(head, rows):
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def objects(aliases):
    """Return a table of names of objects: activations, losses."""
    rows = [[f"`{name}`", f"`{type(obj).__name__}`", escaped(first_sentence(type(obj)))] for name, obj in aliases.items()]
    return table(["name", "class", "what it is"], rows)


def classes(aliases):
    """Return a table of names of classes that are called with settings: optimizers."""
    rows = []
    for name, cls in aliases.items():
        settings = ", ".join(str(p).split(":")[0] + f"={p.default!r}" for p in inspect.signature(cls).parameters.values())
        rows.append([f"`{name}`", f"`{cls.__name__}({settings})`", escaped(first_sentence(cls))])
    return table(["name", "class and defaults", "what it is"], rows)


def functions(aliases):
    """Return a table of names of functions: initializers, metrics."""
    return table(["name", "what it is"], [[f"`{name}`", escaped(first_sentence(f))] for name, f in aliases.items()])


def all_tables():
    """Return each table by its name; those of modules that there are."""
    kinds = {
        "activations": objects,
        "losses": objects,
        "optimizers": classes,
        "initializers": functions,
        "metrics": functions,
    }
    return {name: kind(getattr(nn, name).ALIASES) for name, kind in kinds.items()}
