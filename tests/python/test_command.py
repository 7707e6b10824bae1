"""The `famfs` command inside the package: the same program, in an interpreter's process."""

from __future__ import annotations

import hashlib
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import famfs

COMMAND = f"{shlex.quote(sys.executable)} -m famfs"


def shell(line):
    return subprocess.run(
        ["bash", "-c", line], capture_output=True, text=True, timeout=60, check=False
    )


@pytest.fixture
def volume(tmp_path):
    source, mnt = tmp_path / "volume", tmp_path / "mnt"
    mnt.mkdir()
    famfs.mkfs(source, size="32MiB")
    famfs.mount(source, mnt)
    famfs.publish(b"x" * 5000, mnt / "file")
    yield source, mnt
    famfs.umount(mnt)


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize(
    "line",
    [
        "ls {mnt}",
        "df",
        "stat {mnt}/file",
        "cat {mnt}/file",
        "cat {mnt}/none",
        "mounts -v",
        "getmap {mnt}/file",
        "check {mnt}",
        "logplay {mnt}",
        "fsck {mnt}",
        "dump {source}",
    ],
)
def test_what_is_printed_never_goes_into_the_volume(volume, line, closed):
    source, mnt = volume
    before = hashlib.sha256(source.read_bytes()).digest()
    shell(f"{COMMAND} {line.format(mnt=mnt, source=source)} {closed}")
    assert hashlib.sha256(source.read_bytes()).digest() == before


def test_a_library_user_without_standard_streams_keeps_the_volume(volume):
    source, mnt = volume
    code = f"import famfs; d = famfs.open({str(mnt / 'file')!r}); print('over the superblock' * 99)"
    before = source.read_bytes()
    shell(f"{shlex.quote(sys.executable)} -c {shlex.quote(code)} <&- >&- 2>&-")
    assert source.read_bytes() == before


def test_its_other_name_makes_volumes(tmp_path):
    program = Path(sys.executable).parent / "mkfs.famfs"
    done = subprocess.run(
        [program, tmp_path / "v", "--size", "32M"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "v").stat().st_size == 32 << 20
