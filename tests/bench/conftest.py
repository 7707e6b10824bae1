"""What benchmarks share: volumes with the memory that users get, and figures with goals."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

import pytest
import services
from sides import Process

import famfs

# The package's modules are compiled when it is installed; of a tree, by the first process.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

GIB = 1 << 30
OURS = Process("ours")


@pytest.fixture
def told(capsys):
    """Prints a line, whatever pytest does with the output."""

    def told(line):
        with capsys.disabled():
            print(f"\n{line}", flush=True)

    return told


@pytest.fixture
def goal(told):
    """Prints a figure and its goal, in the line that `make bench` judges."""

    def goal(name, found, bound, detail=""):
        told(f"goal | {name} | {found:.3f} | {bound} | {detail}")

    return goal


@pytest.fixture
def measured(told):
    """Prints what the sides of a measure took, in the lines that `make bench` shows and keeps.

    `unit` is ms, us or GB/s; of the latter, `size` is what each round moved.
    """

    def measured(measure, sides, unit, size=None):
        for side, took in sides.items():
            figures = (took.median, min(took.every), max(took.every))
            if unit == "GB/s":
                median, most, least = (size / each / 1e9 for each in figures)
            else:
                scale = {"ms": 1e3, "us": 1e6}[unit]
                median, least, most = (each * scale for each in figures)
            told(f"side | {measure} | {side} | {median:.4g} | {unit} | {least:.4g} .. {most:.4g}")

    return measured


@pytest.fixture
def unmeasured(told):
    """Prints that a side can't be measured here, and why: the table names it too."""

    def unmeasured(measure, side, why):
        told(f"side | {measure} | {side} | - | not measured | {why}")

    return unmeasured


def _compact():
    """Joins free memory, which what was measured before has left in pieces, to huge pages."""
    with contextlib.suppress(OSError):
        Path("/proc/sys/vm/compact_memory").write_text("1")


class Volumes:
    """Makes volumes in processes that end, so that nobody but the sides maps them."""

    def __init__(self):
        self._made = []

    def __call__(self, size):
        folder = tempfile.mkdtemp(prefix="famfs-bench-")
        mnt = f"{folder}/mnt"
        self._made.append((folder, mnt))
        command = [sys.executable, "-m", "famfs", "mount", "--embedded", "--size", str(size), mnt]
        _compact()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        OURS.ask("warm", mnt)
        huge, capacity = OURS.ask("huge", mnt)
        if huge < capacity:
            pytest.fail(
                f"{huge} of {capacity} bytes are in huge pages, for which the goals are: free "
                "memory, and run this again"
            )
        return mnt

    def discard(self):
        """Give the memory back of all that were made."""
        while self._made:
            folder, mnt = self._made.pop()
            # Here, and not by the command: this process may have it mapped.
            famfs.umount(mnt, discard=True)
            shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def volume():
    """Volumes of this test."""
    made = Volumes()
    try:
        yield made
    finally:
        made.discard()


@pytest.fixture(scope="module")
def volumes():
    """Volumes of a whole file."""
    made = Volumes()
    try:
        yield made
    finally:
        made.discard()


@pytest.fixture
def beside():
    """A folder on /dev/shm, where rivals keep their files."""
    with tempfile.TemporaryDirectory(dir="/dev/shm", prefix="famfs-bench-") as folder:
        yield folder


@pytest.fixture(scope="module")
def rivals():
    """The services, started when they are first asked for: their call, or None and why."""
    started = {}
    with ExitStack() as stack:

        def rival(name):
            if name not in started:
                if why := services.absent(name):
                    started[name] = (None, why)
                else:
                    start = {"ray": services.ray, "vineyard": services.vineyard}[name]
                    started[name] = (stack.enter_context(start(services.MEMORY[name])), "")
            return started[name]

        yield rival
