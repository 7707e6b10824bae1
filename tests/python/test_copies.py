"""Private copies: the same values, writable, and lost memory is an error."""

from __future__ import annotations

import threading
import time

import numpy as np
import pyarrow as pa
import pytest

import famfs

THINGS = {
    "array": np.arange(500_000.0).reshape(1000, 500),
    "fortran": np.asfortranarray(np.arange(20_000).reshape(100, 200)),
    "times": np.arange(2000).astype("M8[s]"),
    "fields": np.zeros(1000, [("a", "i4"), ("b", "S3")]),
    "bytes": b"abc" * 100_000,
    "table": pa.table({"a": range(100_000), "b": ["x"] * 100_000}),
}


@pytest.mark.parametrize("name", THINGS)
def test_a_copy_of_memory_that_is_gone_is_an_error(tmp_path, run, name):
    code = """
        import os, sys, famfs
        volume, mnt = sys.argv[1:]
        dataset = famfs.open(f"{mnt}/x")
        os.truncate(volume, (10 << 20) + 4096)
        for call in (dataset.copy, lambda: dataset.__array__(copy=True), dataset.to_arrow):
            try:
                call()
            except famfs.MemoryFault as error:
                assert error.errno == 5
                print("told")
            except famfs.Unsupported:
                print("none")
            else:
                print("went")
    """
    (tmp_path / "mnt").mkdir()
    famfs.mkfs(tmp_path / "volume", size="32MiB")
    famfs.mount(tmp_path / "volume", tmp_path / "mnt")
    try:
        famfs.publish(THINGS[name], tmp_path / "mnt" / "x")
        # Where it isn't noticed the process ends by a signal.
        told = run(code, tmp_path / "volume", tmp_path / "mnt").stdout.split()
    finally:
        famfs.umount(tmp_path / "mnt")
    assert told[0] == "told"
    if isinstance(THINGS[name], np.ndarray):
        assert told[1] == "told"
    # Whose values are not looked at is lent, as it is.
    assert told[2] == {"times": "told", "table": "told", "bytes": "went"}.get(name, "none")


@pytest.mark.parametrize("name", THINGS)
def test_a_copy_is_the_callers_own(mnt, inside, name):
    thing = THINGS[name]
    dataset = famfs.open(famfs.publish(thing, f"{mnt}/x"))
    copy = dataset.copy()
    if isinstance(thing, bytes):
        assert copy == thing
    elif isinstance(thing, np.ndarray):
        np.testing.assert_array_equal(copy, thing)
        assert copy.dtype == thing.dtype
        assert copy.flags.writeable
        assert copy.flags.f_contiguous == thing.flags.f_contiguous
        assert not inside(mnt, copy.ctypes.data, 1)
    else:
        assert copy.equals(thing)
        assert not inside(mnt, copy.column(0).chunk(0).buffers()[1].address, 1)


@pytest.mark.parametrize(
    "array", [np.array(5.5), np.empty((3, 0)), np.zeros(3, "S0"), np.zeros((2, 2), "V3")], ids=str
)
def test_copies_at_the_edge(mnt, array):
    dataset = famfs.open(famfs.publish(array, f"{mnt}/x"))
    for copy in (dataset.copy(), dataset.__array__(copy=True)):
        assert copy.shape == array.shape
        assert copy.tobytes() == array.tobytes()
        assert copy.flags.writeable


def test_other_threads_run_while_it_copies(large):
    dataset = famfs.open(famfs.publish(bytes(256 << 20), f"{large}/x"))
    longest = 0.0
    done = threading.Event()

    def watch():
        nonlocal longest
        last = time.perf_counter()
        while not done.wait(0.001):
            now = time.perf_counter()
            longest, last = max(longest, now - last), now

    thread = threading.Thread(target=watch)
    thread.start()
    started = time.perf_counter()
    into = np.empty(256 << 20, np.uint8)
    dataset._file.copy_into(0, into)
    took = time.perf_counter() - started
    done.set()
    thread.join()
    assert longest < took / 2
