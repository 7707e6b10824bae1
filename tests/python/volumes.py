"""Volumes for tests, and processes that use them."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

import famfs


@pytest.fixture
def mnt():
    with famfs.embedded(size="64MiB") as mountpoint:
        yield mountpoint


@pytest.fixture
def large(tmp_path):
    """A mount of 8 GiB that takes space only as it is used."""
    (tmp_path / "mnt").mkdir()
    famfs.mkfs(tmp_path / "volume", size="8GiB", sparse=True)
    famfs.mount(tmp_path / "volume", tmp_path / "mnt")
    yield str(tmp_path / "mnt")
    famfs.umount(tmp_path / "mnt")
    (tmp_path / "volume").unlink()


@pytest.fixture
def run():
    """Runs Python code in a fresh process, and hands its output back."""

    def run(code, *arguments, check=True):
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        if check and done.returncode:
            raise AssertionError(f"ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
        return done

    return run


def mapping():
    """The mapped ranges of this process, with the files that they map."""
    with open("/proc/self/maps") as lines:
        for line in lines:
            words = line.split()
            start, end = (int(part, 16) for part in words[0].split("-"))
            yield start, end, words[-1]


@pytest.fixture
def inside():
    """Whether addresses lie in the volume's mapping of this process."""

    def inside(mnt, address, size):
        source = next(mount.source for mount in famfs.mounts() if mount.mountpoint == mnt)
        ranges = [(start, end) for start, end, name in mapping() if name == source]
        return any(start <= address and address + size <= end for start, end in ranges)

    return inside
