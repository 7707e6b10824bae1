"""What the documentation says of machines by hand."""

from __future__ import annotations

import subprocess
import sys

from conftest import HERE, MNT

LINES = f"""\
a famfs mkfs --force /dev/pmem0
a famfs mount --kernel /dev/pmem0 {MNT}
nobody famfs
a famfs creat -s 4M --randomize --seed 1 {MNT}/file
a famfs verify -S 1 -f {MNT}/file; false
"""


def test_a_machine_by_hand() -> None:
    done = subprocess.run(
        [sys.executable, HERE / "by_hand.py", "6.12-pmem"],
        input=LINES, check=True, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert "ready" in done.stdout
    assert "the way is kernel" in done.stdout
    assert "a line is a host (a) and a command" in done.stdout
    assert "(exit status 1)" in done.stdout
