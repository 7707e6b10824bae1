"""What examples in docstrings find: a private volume, and a directory."""

from __future__ import annotations

import importlib.util

import pytest

# What works with an engine can't be imported without it; its examples run in `make test-engines`.
_ENGINES = {"python/famfs/ray": "ray", "python/famfs/spark": "pyspark"}
collect_ignore = [path for path, name in _ENGINES.items() if not importlib.util.find_spec(name)]


@pytest.fixture(scope="session")
def volume():
    """A private volume of the session."""
    import famfs

    with famfs.embedded(size="512MiB") as mnt:
        yield mnt


def _clear(directory):
    """Takes away what is below a directory of a volume."""
    import famfs

    for entry in famfs.ls(directory):
        if entry.kind == "directory":
            _clear(entry.path)
        famfs.remove(entry.path)


@pytest.fixture(autouse=True)
def examples(request, doctest_namespace):
    """`mnt`, an embedded volume; `tmp`, a directory with `mnt` in it; `np`, NumPy."""
    if type(request.node).__name__ != "DoctestItem":
        return
    import numpy as np

    mnt = request.getfixturevalue("volume")
    _clear(mnt)
    tmp = request.getfixturevalue("tmp_path")
    (tmp / "mnt").mkdir()
    doctest_namespace.update(mnt=mnt, tmp=tmp, np=np)
