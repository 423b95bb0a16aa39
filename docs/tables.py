"""What of the guide is made from the code: tables of names, with settings and defaults, and parts of the reference."""

import importlib.util
import inspect
import re

import nncore as nn
import nncore.second_order


def first_sentence(obj):
    """Return the first paragraph of a docstring, on one line."""
    return " ".join(inspect.getdoc(obj).split("\n\n")[0].split())


def escaped(text):
    """Return text in which Markdown sees no markup."""
    parts = text.replace("``", "`").split("`")  # those of odd index are code
    parts[::2] = [re.sub(r"([|*_<])", r"\\\1", part) for part in parts[::2]]
    return "`".join(parts)


def table(head, rows):
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def objects(aliases):
    """Return a table of names of objects: activations, losses."""
    rows = [
        [f"`{name}`", f"`{type(obj).__name__}`", escaped(first_sentence(type(obj)))] for name, obj in aliases.items()
    ]
    return table(["name", "class", "what it is"], rows)


def classes(aliases):
    """Return a table of names of classes that are called with settings: optimizers.

    Settings that only their name can give, such as those of clipping, are the same for all, and left out.
    """
    rows = []
    for name, cls in aliases.items():
        given = [p for p in inspect.signature(cls).parameters.values() if p.kind is not p.KEYWORD_ONLY]
        settings = ", ".join(f"{p.name}={p.default!r}" for p in given)
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
    aliases = {name: getattr(nn, name).ALIASES for name in kinds}
    aliases["optimizers"] = {**aliases["optimizers"], **nncore.second_order.ALIASES}
    return {name: kind(aliases[name]) for name, kind in kinds.items()}


def further_modules():
    """Return the reference of the modules that need no more than their docstrings, of those that there are."""
    wanted = {
        "Layers that regularise": "regularization",
        "Optimizers of second order": "second_order",
        "Schedules": "schedules",
        "Callbacks": "callbacks",
        "Chunks": "chunks",
        "Pictures": "plot",
    }
    only = {"second_order": " LBFGS, LevenbergMarquardt"}
    parts = [
        f"## {title}\n\n```{{eval-rst}}\n.. automodule:: nncore.{name}\n   :members:{only.get(name, '')}\n```\n"
        for title, name in wanted.items()
        if importlib.util.find_spec(f"nncore.{name}")
    ]
    return "\n".join(parts)
