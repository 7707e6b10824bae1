"""Engines and libraries that only parts of the package need: what to install is said in one way."""

from __future__ import annotations

import importlib
from typing import Any


def engine(module: str, extra: str) -> Any:  # noqa: ANN401 - of packages that have no types, too
    """Imports what a module of ours works with.

    Args:
        module: Its name.
        extra: The extra of ours that brings it along.

    Returns:
        The module.

    Raises:
        ImportError: It isn't installed; the message names the extra.

    Example:
        >>> engine("json", "none").loads("1")
        1
        >>> engine("no_such_engine", "ray")
        Traceback (most recent call last):
        ...
        ImportError: no_such_engine is not installed here: pip install 'famfs[ray]'
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            # It is there, and misses something of its own.
            raise
        install = f"pip install 'famfs[{extra}]'"
        raise ImportError(f"{module} is not installed here: {install}", name=module) from error
