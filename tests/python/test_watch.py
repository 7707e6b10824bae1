"""famfs.watch: what other processes publish, replace and remove, each told once and in order."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
import time

import pytest

import famfs


def told(events):
    return [(event.what, event.name) for event in events]


def test_each_thing_is_told_once_and_in_order(mnt):
    famfs.publish(b"old", f"{mnt}/old")
    events = famfs.watch(mnt, timeout=0.05)
    first = famfs.publish(b"one", f"{mnt}/a")
    second = famfs.publish(b"three", f"{mnt}/a", overwrite=True)
    famfs.mkdir(f"{mnt}/dir")
    famfs.publish(b"below", f"{mnt}/dir/below")
    famfs.publish(b"", f"{mnt}/empty")
    found = list(events)
    assert told(found) == [
        ("published", "a"),
        ("replaced", "a"),
        ("published", "dir"),
        ("published", "empty"),
    ]
    assert [event.ref for event in found[:3]] == [first, second, None]
    assert [event.size for event in found] == [3, 5, 0, 0]
    assert found[0].path == f"{mnt}/a"
    # What was replaced between two looks is told all the same, and its reference opens it.
    assert bytes(famfs.open(found[0].ref).buffer()) == b"one"
    famfs.remove(f"{mnt}/old")
    famfs.remove(f"{mnt}/empty")
    gone = list(events)
    assert told(gone) == [("removed", "old"), ("removed", "empty")]
    assert bytes(famfs.open(gone[0].ref).buffer()) == b"old"
    famfs.remove(f"{mnt}/a")
    famfs.publish(b"anew", f"{mnt}/a")
    assert told(events) == [("removed", "a"), ("published", "a")]
    famfs.remove(f"{mnt}/a")
    famfs.publish(b"anew", f"{mnt}/a")
    famfs.remove(f"{mnt}/a")
    assert told(events) == [
        ("removed", "a"),
        ("published", "a"),
        ("removed", "a"),
    ]
    assert list(events) == []


def test_a_name_is_watched_before_it_is_there(mnt):
    events = famfs.watch(f"{mnt}/runs/1", timeout=0.05)
    famfs.publish(b"", f"{mnt}/other")
    famfs.mkdir(f"{mnt}/runs")
    famfs.publish(b"x", f"{mnt}/runs/1")
    famfs.publish(b"x", f"{mnt}/runs/10")
    famfs.publish(b"y", f"{mnt}/runs/1", overwrite=True)
    assert told(events) == [("published", "1"), ("replaced", "1")]
    events = famfs.watch(f"{mnt}/later", timeout=0.05)
    famfs.mkdir(f"{mnt}/later")
    famfs.publish(b"x", f"{mnt}/later/a")
    assert told(events) == [("published", "later"), ("published", "a")]


def test_what_is_there_is_told_on_demand(mnt):
    refs = [famfs.publish(b"x", f"{mnt}/{name}") for name in "ba"]
    assert [event.ref for event in famfs.watch(mnt, timeout=0, existing=True)] == refs
    assert [event.ref for event in famfs.watch(f"{mnt}/a", timeout=0, existing=True)] == refs[1:]
    assert list(famfs.watch(mnt, timeout=0)) == []
    assert list(famfs.watch(f"{mnt}/none", timeout=0, existing=True)) == []


def test_what_another_process_publishes_is_told(mnt):
    code = """
        import sys, famfs
        sys.stdin.read(1)
        for i in range(20):
            famfs.publish(b"%d" % i, f"{sys.argv[1]}/{i}")
    """
    with (
        subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(code), mnt], stdin=subprocess.PIPE
        ) as other,
        famfs.watch(mnt, timeout=30) as events,
    ):
        other.communicate(b"x")
        found = [next(events) for _ in range(20)]
    assert told(found) == [("published", str(i)) for i in range(20)]
    assert [bytes(famfs.open(event.ref).buffer()) for event in found[::10]] == [b"0", b"10"]


def test_nothing_is_told_of_a_publisher_that_is_killed(mnt):
    code = """
        import os, signal, sys, famfs
        def die(done, total):
            os.kill(os.getpid(), signal.SIGKILL)
        famfs.publish(b"x" * 1000, f"{sys.argv[1]}/x", progress=die)
    """
    events = famfs.watch(mnt, timeout=0)
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code), mnt], check=False)
    assert done.returncode == -9
    assert list(events) == []
    ref = famfs.publish(b"y", f"{mnt}/x")
    assert [event.ref for event in events] == [ref]


def test_closing_ends_it_from_another_thread(mnt):
    events = famfs.watch(mnt)
    found = []
    thread = threading.Thread(target=lambda: found.extend(events))
    thread.start()
    famfs.publish(b"x", f"{mnt}/x")
    while not found:
        time.sleep(0.001)
    events.close()
    thread.join(5)
    assert not thread.is_alive()
    assert told(found) == [("published", "x")]
    with pytest.raises(StopIteration):
        next(events)


def test_threads_share_the_events(mnt):
    events = famfs.watch(mnt, timeout=0.5)
    found = []
    threads = [threading.Thread(target=lambda: found.extend(events)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for i in range(20):
        famfs.publish(b"x", f"{mnt}/{i}")
    for thread in threads:
        thread.join(30)
    assert sorted(event.name for event in found) == sorted(str(i) for i in range(20))


def test_a_forked_child_watches_on(mnt):
    events = famfs.watch(mnt, timeout=5)
    famfs.publish(b"x", f"{mnt}/x")
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(write, next(events).name.encode())
        os._exit(0)
    assert os.read(read, 10) == b"x"
    assert os.waitpid(child, 0)[1] == 0
    assert next(events).name == "x"


def test_paths_that_cannot_be_watched(mnt, tmp_path):
    with pytest.raises(famfs.NotMounted, match="under no mount|mount"):
        famfs.watch(tmp_path / "x")
    with pytest.raises(famfs.InvalidPath):
        famfs.watch(f"{mnt}/a/../b")


def test_a_volume_that_was_made_anew_is_told(tmp_path):
    (tmp_path / "mnt").mkdir()
    famfs.mkfs(tmp_path / "volume", size="32MiB")
    mnt = famfs.mount(tmp_path / "volume", tmp_path / "mnt").mountpoint
    try:
        famfs.publish(b"x", f"{mnt}/x")
        events = famfs.watch(mnt, timeout=0)
        famfs.mkfs(tmp_path / "volume", force=True)
        with pytest.raises(famfs.VolumeChanged):
            list(events)
    finally:
        famfs.umount(mnt)
