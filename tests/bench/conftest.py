"""What benchmarks share: volumes with the memory that users get, and figures with goals."""

from __future__ import annotations

import pytest

import famfs


@pytest.fixture
def told(capsys):
    """Prints a line, whatever pytest does with the output."""

    def told(line):
        with capsys.disabled():
            print(f"\n{line}")

    return told


@pytest.fixture
def goal(told):
    """Prints a figure and its goal, in the line that `make bench` judges."""

    def goal(name, found, bound, detail=""):
        told(f"goal | {name} | {found:.3f} | {bound} | {detail}")

    return goal


@pytest.fixture(scope="module")
def mnt():
    with famfs.embedded(size="5GiB") as mountpoint:
        yield mountpoint
