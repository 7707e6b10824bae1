"""What is drawn: devices as maps, and volumes as things happen in them."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import termios
import time
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Famfs, Volume

MIB = 1 << 20


@pytest.fixture
def filled(famfs: Famfs, volume: Volume) -> Volume:
    """Give a volume with files, one of them dead, one striped."""
    famfs("creat", "-s", "5M", volume.mnt / "five")
    famfs("creat", "-s", "3M", volume.mnt / "dead")
    famfs("rm", volume.mnt / "dead")
    famfs("creat", "-s", "7M", "-N", 2, "-B", 3, "-C", "2M", volume.mnt / "striped")
    return volume


def test_a_map_fits_and_tells_sizes(famfs: Famfs, filled: Volume) -> None:
    """Sixteen rows of the asked width, a legend, and the files."""
    for columns in (50, 80, 120):
        famfs.environment["COLUMNS"] = str(columns)
        for place, name in (
            (filled.mnt, f"{filled.mnt} on {filled.source}"),
            (filled.source, str(filled.source)),
        ):
            lines = famfs("map", place).text.splitlines()
            assert lines[0] == name
            rows = lines[2 : lines.index("")]
            assert len(rows) == 16
            assert all(len(row) <= columns for row in rows)
            assert rows[0].startswith("        0 B S")
            assert "SL" in rows[0]
    text = famfs("map", filled.mnt).text
    assert re.search(r"S superblock +2\.0 MiB +3\.1%", text)
    assert re.search(r"dead +4\.0 MiB +6\.3%", text)
    assert re.search(r"7\.0 MiB  striped in 2 extents", text)
    assert "\x1b" not in text


def test_a_map_for_programs(famfs: Famfs, filled: Volume) -> None:
    """JSON agrees with dump; SVG goes where it is told."""
    dump = json.loads(famfs("dump", filled.mnt).out)
    drawn = json.loads(famfs("map", "--json", filled.mnt).out)
    assert {key: drawn[key] for key in dump["usage"]} == dump["usage"]
    for file in dump["files"]:
        extents = file.get("extents") or file["interleaved"]["strips"]
        found = [part for part in drawn["ranges"] if part.get("path") == file["path"]]
        expected = sorted((extent["offset"], extent["length"]) for extent in extents)
        assert [(part["offset"], part["length"]) for part in found] == expected
    target = famfs.folder / "map.svg"
    famfs("map", filled.mnt, "--svg", target)
    assert target.read_text() == famfs("map", filled.mnt, "--svg", "-").text.strip()
    assert target.read_text().startswith("<svg ")


def test_a_map_of_what_is_none(famfs: Famfs, filled: Volume) -> None:
    """Errors say what is wrong, and with what."""
    noise = famfs.folder / "noise"
    noise.write_bytes(b"\1" * MIB)
    famfs.fails("map", noise, says="superblock")
    famfs.fails("map", famfs.folder / "none", says="none")
    famfs.fails("map", famfs.folder, says="no famfs mount")
    famfs.fails("map", filled.mnt / "none", says="none")
    famfs.fails("map", filled.mnt, "--svg", "/no/such/directory/x", says="/no/such/directory/x")
    famfs("map", filled.mnt, "--svg", "x", "--json", code=2)


def test_one_look(famfs: Famfs, filled: Volume) -> None:
    """What came between two looks is counted, for people and for programs."""
    other = famfs.volume("other")
    process = famfs.start("top", "--once", "--json", "--interval", "1.5", filled.mnt)
    time.sleep(0.5)
    famfs("creat", "-s", "2M", filled.mnt / "new")
    famfs("mkdir", filled.mnt / "directory")
    told = json.loads(famfs.end(process).out)
    assert told["errors"] == []
    (look,) = told["volumes"]
    assert look["mountpoint"] == str(filled.mnt)
    assert (look["published"], look["published_bytes"]) == (1, 2 * MIB)
    assert 0 < look["per_second"] <= 1
    assert look["role"] == "master"
    assert look["entries"] == 6
    assert look["latest"][0]["path"] == "new"
    ages = [file["age"] for file in look["latest"]]
    assert 0 <= ages[0] < 2
    assert ages[1:] == [None, None]
    dump = json.loads(famfs("dump", filled.mnt).out)
    assert {key: look[key] for key in dump["usage"]} == dump["usage"]
    # Without a terminal it is one look.
    text = famfs("top", "--interval", "0.1", filled.mnt, other.mnt).text
    assert str(filled.mnt) in text
    assert str(other.mnt) in text
    assert "6/15420" in text
    famfs.fails("top", "--once", famfs.folder, says="no famfs mount")


def test_looks_as_lines(famfs: Famfs, filled: Volume) -> None:
    """JSON goes on, a line for each look, until nobody reads it or it is interrupted."""
    process = famfs.start("top", "--json", "--interval", "0.05", filled.mnt)
    assert process.stdout is not None
    looks = [json.loads(process.stdout.readline())["volumes"][0] for _ in range(3)]
    assert [look["mountpoint"] for look in looks] == [str(filled.mnt)] * 3
    process.send_signal(signal.SIGINT)
    assert process.wait(10) == -signal.SIGINT


class Terminal:
    """A terminal of 100 columns and 30 rows with `famfs top` on it."""

    def __init__(self, famfs: Famfs, *args: object) -> None:
        """Start it."""
        self.own, self.side = pty.openpty()
        termios.tcsetwinsize(self.side, (30, 100))
        self.before = termios.tcgetattr(self.side)
        self.seen = b""
        self.process = subprocess.Popen(
            [famfs.program, "top", *map(str, args)],
            stdin=self.side,
            stdout=self.side,
            stderr=self.side,
            env={**famfs.env(), "TERM": "xterm-256color"},
        )

    def until(self, text: str) -> str:
        """Read what is drawn until it has a text; what was drawn since the last one."""
        start, end = len(self.seen), time.monotonic() + 20
        while text.encode() not in self.seen[start:]:
            assert time.monotonic() < end, self.seen[start:]
            if select.select([self.own], [], [], 0.1)[0]:
                self.seen += os.read(self.own, 65536)
        return self.seen[start:].decode(errors="replace")

    def ended(self) -> int:
        """Wait for its end: the screen and the terminal's settings are as before."""
        self.until("\x1b[?1049l")
        code = self.process.wait(10)
        while select.select([self.own], [], [], 0.1)[0]:
            self.seen += os.read(self.own, 65536)
        assert self.seen.rstrip().endswith(b"\x1b[?25h")
        assert termios.tcgetattr(self.side) == self.before
        return code

    def close(self) -> None:
        """End it, if it has not ended."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.own)
        os.close(self.side)


@pytest.fixture
def terminal(famfs: Famfs, filled: Volume) -> Iterator[Terminal]:
    """Give a terminal that shows the volume ten times a second."""
    terminal = Terminal(famfs, "--interval", "0.1", filled.mnt)
    yield terminal
    terminal.close()


@pytest.mark.parametrize("key", ["q", "\x03", "\x1b"])
def test_a_key_ends_it(terminal: Terminal, key: str) -> None:
    """With q, Ctrl-C and Escape; the terminal is as it was."""
    drawn = terminal.until("striped")
    assert "\x1b[?1049h" in drawn
    assert "FILES/S" in drawn
    settings = termios.tcgetattr(terminal.side)
    assert settings != terminal.before
    os.write(terminal.own, key.encode())
    assert terminal.ended() == 0


def test_a_signal_ends_it(terminal: Terminal) -> None:
    """The terminal is as it was then, too."""
    terminal.until("striped")
    terminal.process.send_signal(signal.SIGTERM)
    assert terminal.ended() == 0


def test_it_shows_what_happens(famfs: Famfs, filled: Volume, terminal: Terminal) -> None:
    """A file is there soon after it is; a smaller window is drawn anew."""
    terminal.until("striped")
    famfs("creat", "-s", 5, filled.mnt / "just-now")
    terminal.until("just-now")
    termios.tcsetwinsize(terminal.side, (10, 40))
    terminal.process.send_signal(signal.SIGWINCH)
    terminal.until("q ends")
    os.write(terminal.own, b"q")
    assert terminal.ended() == 0


def test_help_pages_and_completions(famfs: Famfs) -> None:
    """Both commands are in all of them, with each option."""
    pages = famfs.folder / "man"
    famfs("man", "--dir", pages)
    script = famfs("completions", "bash").text
    for command, options in (
        ("map", ("--svg", "--json")),
        ("top", ("--interval", "--once", "--json")),
    ):
        told = famfs(command, "--help").text
        page = (pages / f"famfs-{command}.1").read_text().replace("\\-", "-")
        for option in options:
            assert option in told
            assert option in page
        assert f"famfs__subcmd__{command}" in script or f"famfs__{command}" in script
