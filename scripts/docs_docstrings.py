"""Docstrings as the documentation takes them.

Those of the extension's classes are in the extension alone; they are read from its stubs, which
have the types. An example is written under "Example:", which Griffe would take for a note.
"""

from __future__ import annotations

import importlib
import inspect
import re
from typing import Any

import griffe

EXAMPLE = re.compile(r"^Example:$", re.MULTILINE)


class Docstrings(griffe.Extension):
    """Completes what was read of `famfs` before it is shown."""

    def on_package(self, *, pkg: griffe.Module, **_: object) -> None:
        """Look through all of the package; others are not ours to change."""
        if pkg.path == "famfs":
            fill(pkg["_native"], importlib.import_module("famfs._native"))
            name_awaited(pkg)
            polish(pkg)


def fill(stub: griffe.Object, thing: Any) -> None:  # noqa: ANN401 - whatever a module holds
    """Give an object of the stubs, and what is in it, the docstring that it has when imported."""
    for name, member in stub.members.items():
        if member.is_alias or name.startswith("_"):
            continue
        found = inspect.getattr_static(thing, name, None)
        if found is not None and (text := inspect.getdoc(found)):
            member.docstring = griffe.Docstring(text, parent=member)
            fill(member, found)


def name_awaited(package: griffe.Module) -> None:
    """Say of what `famfs.aio` makes of a function which one that is."""
    for name in package["aio"].exports or ():
        member = package["aio"].members[str(name)]
        if not member.is_alias and not member.docstring:
            text = f"As [`famfs.{name}`][famfs.{name}], and to be awaited."
            member.docstring = griffe.Docstring(text, parent=member)


def polish(parent: griffe.Object) -> None:
    """Make examples of all objects code that is shown as such, and leave out what Python calls."""
    if parent.docstring:
        parent.docstring.value = EXAMPLE.sub("Examples:", parent.docstring.value)
    for name, member in list(parent.members.items()):
        if name.startswith("__") and name not in {"__init__", "__all__"}:
            del parent.members[name]
        elif not member.is_alias:
            polish(member)
