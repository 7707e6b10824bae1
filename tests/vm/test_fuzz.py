"""Ioctls that nobody in his right mind would send, on a live mount."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from lab.archive import run
from lab.builder import KMOD
from lab.guest import COMPLAINTS

from conftest import HERE, MNT, Way

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Lab

SECONDS = 12


@pytest.mark.parametrize("way", [Way("6.12", "pmem"), Way("7", "fsdev")], ids=str)
def test_no_ioctl_harms_the_kernel(lab: Lab, way: Way, tmp_path: Path) -> None:
    program = tmp_path / "ioctl_fuzz"
    run("gcc", "-O2", "-Wall", "-Wextra", "-Werror", "-pthread", "-static", f"-I{KMOD}",
        "-o", program, HERE / "guest_side" / "ioctl_fuzz.c")  # fmt: skip
    (lab.share / "ioctl_fuzz").write_bytes(program.read_bytes())
    (lab.share / "ioctl_fuzz").chmod(0o755)
    guest = lab.guest(way)
    output = guest.run(
        f"set -e; {way.mount} {MNT}; /host/ioctl_fuzz {MNT} 1 {SECONDS}; "
        f"cat /sys/fs/famfs/{way.name}/files; umount {MNT}; {COMPLAINTS}",
        limit=SECONDS + 120,
    )
    # What failed stays so: the next test has other memory.
    lab.drop(way)
    counted, files = output.splitlines()
    calls, accepted, signals, poisoned = (int(word) for word in counted.split() if word.isdigit())
    # Neither all refused nor all taken: the right ones among the wrong ones were found.
    assert calls > 2_000, counted
    assert calls > accepted > 100, counted
    assert signals > 0, counted
    assert poisoned > 0, counted
    assert int(files) > 3, output
