"""README.md: its examples are run as they stand there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest

import famfs

README = Path(__file__).parents[2] / "README.md"
BLOCKS = re.findall(r"^```(sh|python)\n(.*?)^```$", README.read_text(), re.MULTILINE | re.DOTALL)
MOUNT = "/tmp/famfs"
# The set-up: what runs these tests ran it.
MAKE = re.compile(r"^make (\w+).*\n", re.MULTILINE)


@pytest.fixture
def home(tmp_path):
    """A directory with the file that the example copies, and the environment that make sets up."""
    table = pa.table({"carrier": ["AA", "UA"]})
    with pa.ipc.new_file(tmp_path / "flights.arrow", table.schema) as writer:
        writer.write_table(table)
    (tmp_path / ".venv").symlink_to(sys.prefix)
    if not (tmp_path / ".venv" / "bin" / "activate").exists():
        pytest.skip("the package is not installed in a virtual environment")
    yield tmp_path
    for mount in famfs.mounts():
        if mount.mountpoint.startswith(str(tmp_path)):
            famfs.umount(mount.mountpoint, discard=True)


def run(home, program, code):
    done = subprocess.run(
        program,
        input=code.replace(MOUNT, f"{home}/mnt"),
        capture_output=True,
        text=True,
        cwd=home,
        timeout=100,
        check=False,
        env=os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_examples_run(home):
    bash = ["bash", "-e", "-u", "-o", "pipefail"]
    said = []
    for language, code in BLOCKS:
        program = [sys.executable, "-"] if language == "python" else bash
        said.append(run(home, program, MAKE.sub("", code)))
    # The first publishes and lists, the next one opens, the last reads in a second terminal.
    assert "ARROW1" in said[0]
    assert "flights" in said[0]
    for shown in (said[1], said[-1]):
        assert "delay" in shown
        assert "2.5" in shown
    assert not [m for m in famfs.mounts() if m.mountpoint.startswith(str(home))]


def test_there_are_two_commands_to_set_up():
    assert [target for _, code in BLOCKS for target in MAKE.findall(code)] == ["demo", "test"]
    makefile = (README.parent / "Makefile").read_text()
    for target in set(re.findall(r"`make ([\w-]+)`", README.read_text())):
        assert f"\n{target}:" in makefile


def test_what_it_links_to_is_there():
    for link in re.findall(r"\]\(([^)#:]+)\)", README.read_text()):
        assert (README.parent / link).exists(), link
