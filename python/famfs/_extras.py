"""Engines and libraries that only parts of the package need: what to install is said in one way."""

from __future__ import annotations

import functools
import importlib
import re
import sys
from typing import Any


def engine(module: str, extra: str) -> Any:  # noqa: ANN401 - of packages that have no types, too
    """Imports what a module of ours works with.

    Args:
        module: Its name.
        extra: The extra of ours that brings it along.

    Returns:
        The module.

    Raises:
        ImportError: It isn't installed, or older than the extra asks for; the message names that.

    Example:
        >>> engine("json", "none").loads("1")
        1
        >>> engine("no_such_engine", "ray")
        Traceback (most recent call last):
        ...
        ImportError: no_such_engine is not installed here: pip install 'famfs[ray]'
    """
    try:
        found = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            # It is there, and misses something of its own.
            raise
        install = f"pip install 'famfs[{extra}]'"
        raise ImportError(f"{module} is not installed here: {install}", name=module) from error
    _check_age(module.partition(".")[0], extra)
    return found


def _check_age(package: str, extra: str) -> None:
    """Refuses what is older than the extra asks for: it would fail later, and say less."""
    least = _least(extra).get(package)
    version = getattr(sys.modules[package], "__version__", None)
    if least is not None and isinstance(version, str) and _numbers(version) < _numbers(least):
        raise ImportError(
            f"{package} {version} is too old, {least} or later is needed: "
            f"pip install --upgrade 'famfs[{extra}]'",
            name=package,
        )


@functools.cache
def _least(extra: str) -> dict[str, str]:
    """The least version of each package that an extra asks for, by the metadata of ours."""
    from importlib import metadata

    try:
        wanted = metadata.requires("famfs") or []
    except metadata.PackageNotFoundError:
        # Run from its sources, which were never installed.
        return {}
    found = {}
    for each in wanted:
        requirement, _, marker = each.partition(";")
        name = re.match(r"[\w.-]+", requirement)
        least = re.search(r">=\s*([\d.]+)", requirement)
        if name and least and re.search(rf"extra\s*==\s*['\"]{extra}['\"]", marker):
            found[name[0]] = least[1]
    return found


def _numbers(version: str) -> tuple[int, ...]:
    """The numbers that a version begins with; 4.1 is 4.1.0.

    >>> _numbers("4.1.0.dev0") == _numbers("4.1") < _numbers("4.10.1+cpu")
    True
    """
    numbers = list(map(int, re.findall(r"\d+", re.split(r"[^\d.]", version)[0])))
    while numbers and not numbers[-1]:
        numbers.pop()
    return tuple(numbers)
