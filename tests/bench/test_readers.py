"""Reading: the first pass over fresh data, and the memory of several readers."""

from __future__ import annotations

import subprocess
import sys

import pytest
from inputs import GIB
from sides import HERE, Process, took

import famfs

OURS = Process("ours")


def test_first_pass_over_1_gib(goal, measured, volume):
    mnt = volume(2 * GIB)
    OURS.ask("publish", mnt, "ones", GIB, 1)
    found = took(
        {
            "famfs": lambda: OURS.ask("passed_over", f"{mnt}/0"),
            "private memory": lambda: OURS.ask("passed_over_privately", GIB),
        },
        rounds=9,
    )
    measured("first pass over 1 GiB", found, "GB/s", GIB)
    goal(
        "P6 first pass over 1 GiB, of private memory's rate",
        found["private memory"].median / found["famfs"].median,
        ">= 0.95",
    )


# Of each way the file that it reads, of those that `publish_for_readers` makes.
WAYS = {
    "numpy": "array",
    "pyarrow": "table",
    "pandas": "table",
    "arrow_dtypes": "table",
    "duckdb": "table",
    "polars": "table",
    "polars_views": "views",
}


@pytest.fixture(scope="module")
def shared(volumes):
    """A volume with what readers read, whose publisher has ended; and the size of each file."""
    mnt = volumes(4 * GIB)
    return mnt, OURS.ask("publish_for_readers", mnt)


@pytest.mark.parametrize("way", WAYS)
def test_four_readers_share_one_copy(goal, told, shared, way):
    mnt, sizes = shared
    size = sizes[WAYS[way]]
    device = next(m.source for m in famfs.mounts() if m.mountpoint == mnt)
    command = [sys.executable, str(HERE / "reader.py"), way, mnt, device]
    readers = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    try:
        for reader in readers:
            assert reader.stdout.readline().strip() == "ready"
        found = []
        for reader in readers:
            reader.stdin.write("\n")
            reader.stdin.flush()
            found.append([int(word) for word in reader.stdout.readline().split()])
    finally:
        for reader in readers:
            reader.communicate("\n")
    ours, private = (sum(column) for column in zip(*found, strict=True))
    if ours == 0:
        told(f"4 readers by {way}: smaps leaves the pages of {device} out; private bytes count")
    goal(f"P7 4 readers by {way}: their memory of the data, of one copy", ours / size, "<= 1.02")
    goal(
        f"P7 4 readers by {way}: private memory of each, of the data",
        private / 4 / size,
        "<= 0.02",
        f"{private / 4 / 2**20:.1f} MiB",
    )
