"""What examples in docstrings find: a private volume, and a directory."""

from __future__ import annotations

import importlib.util

import pytest

# What needs an engine where it is imported is run in the engines' environment alone.
collect_ignore = [] if importlib.util.find_spec("ray") else ["python/famfs/ray"]


@pytest.fixture(scope="session")
def volume():
    """A private volume of the session."""
    import famfs

    with famfs.embedded(size="512MiB") as mnt:
        yield mnt


@pytest.fixture(autouse=True)
def examples(request, doctest_namespace):
    """`mnt`, an embedded volume; `tmp`, a directory with `mnt` in it; `np`, NumPy."""
    if type(request.node).__name__ != "DoctestItem":
        return
    import numpy as np

    import famfs

    mnt = request.getfixturevalue("volume")
    for entry in famfs.ls(mnt):
        famfs.remove(entry.path)
    tmp = request.getfixturevalue("tmp_path")
    (tmp / "mnt").mkdir()
    doctest_namespace.update(mnt=mnt, tmp=tmp, np=np)
