"""Several processes: one copy for all of them, forks, threads, and publishers that die."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa
import pytest

import famfs


def test_two_processes_read_the_same_memory(mnt, run):
    ref = famfs.publish({"a": np.arange(100_000), "b": np.ones(100_000)}, f"{mnt}/t")
    array = famfs.publish(np.arange(500_000), f"{mnt}/a")
    code = """
        import sys, famfs, numpy as np, pyarrow.compute as pc
        mnt, ref, array = sys.argv[1:]
        table = famfs.open(famfs.Ref(ref)).to_arrow()
        assert pc.sum(table["a"]).as_py() == 4999950000
        found = np.asarray(famfs.open(array))
        assert found.sum() == 124999750000
        source = next(m.source for m in famfs.mounts() if m.mountpoint == mnt)
        inside, private = False, 0
        for line in open("/proc/self/smaps"):
            if "-" in line.split(" ")[0]:
                inside = line.rstrip().endswith(source)
            elif inside and line.startswith("Private"):
                private += int(line.split()[1])
        # The publisher has these pages too: none of them is private to this process.
        assert private == 0, private
    """
    for _ in range(2):
        run(code, mnt, ref, array)


def test_what_another_process_publishes_is_seen(mnt, run):
    code = "import sys, famfs; print(famfs.publish(b'from there', sys.argv[1]))"
    ref = run(code, f"{mnt}/x").stdout.strip()
    assert bytes(famfs.open(ref).buffer()) == b"from there"
    assert bytes(famfs.open(f"{mnt}/x").buffer()) == b"from there"


def test_one_of_two_that_publish_the_same_name_wins(large):
    code = """
import sys, famfs, numpy as np
path, mine = sys.argv[1], int(sys.argv[2])
won = 0
for i in range(50):
    try:
        famfs.publish(np.full(1000, mine), f"{path}{i}")
        won += 1
    except famfs.AlreadyExists:
        pass
print(won)
"""
    children = [
        subprocess.Popen(
            [sys.executable, "-c", code, f"{large}/n", str(i)], stdout=subprocess.PIPE, text=True
        )
        for i in range(2)
    ]
    assert sum(int(child.communicate(timeout=60)[0]) for child in children) == 50
    names = famfs.ls(large)
    assert len(names) == len({entry.name for entry in names}) == 50
    for entry in names:
        assert len(set(famfs.open(entry).to_numpy().tolist())) == 1


def test_a_forked_child_publishes_and_reads(mnt):
    before = famfs.publish(np.arange(10), f"{mnt}/before")
    opened = famfs.open(before)
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            assert np.asarray(opened).sum() == 45
            assert np.asarray(famfs.open(before)).sum() == 45
            famfs.publish(np.arange(20), f"{mnt}/child")
            famfs.publish(pa.table({"a": [1, 2]}), f"{mnt}/child-table")
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(pid, 0)[1] == 0
    assert famfs.open(f"{mnt}/child").to_numpy().sum() == 190
    famfs.publish(np.arange(30), f"{mnt}/after")
    assert [entry.name for entry in famfs.ls(mnt)] == ["before", "child", "child-table", "after"]


def test_a_fork_in_the_middle_of_publishing(mnt):
    """A child made while the parent has a reservation neither takes nor gives it back."""
    status = []

    def fork(at, of):
        if status:
            return
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                famfs.publish(np.full(100, 7), f"{mnt}/child")
                code = 0
            finally:
                os._exit(code)
        status.append(os.waitpid(pid, 0)[1])

    data = np.random.default_rng(1).integers(0, 255, 5 << 20, dtype=np.uint8)
    parent = famfs.publish(data, f"{mnt}/parent", progress=fork)
    assert status == [0]
    assert np.array_equal(famfs.open(parent), data)
    assert np.array_equal(famfs.open(f"{mnt}/child"), np.full(100, 7))


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_datasets_go_to_other_processes(mnt, method):
    dataset = famfs.open(famfs.publish(np.arange(1000), f"{mnt}/a"))
    context = multiprocessing.get_context(method)
    with context.Pool(2) as pool:
        assert pool.map(np.sum, [dataset, dataset]) == [499500] * 2


@pytest.mark.parametrize("when", ["filling", "committed"])
def test_a_killed_publisher_leaves_nothing_or_all(mnt, when):
    code = """
import os, signal, sys, famfs
mnt, when = sys.argv[1:]
def die(at, of):
    if when == "filling":
        os.kill(os.getpid(), signal.SIGKILL)
famfs.publish(b"x" * (20 << 20), f"{mnt}/x", progress=die)
os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", code, mnt, when], check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL
    assert famfs.exists(f"{mnt}/x") == (when == "committed")
    if when == "committed":
        assert bytes(famfs.open(f"{mnt}/x").buffer()) == b"x" * (20 << 20)
    else:
        # Its space is there again: two of these would not fit.
        for i in range(2):
            famfs.publish(b"y" * (20 << 20), f"{mnt}/y{i}")


def test_publishers_killed_at_any_moment_tear_nothing(large):
    code = """
import sys, famfs, numpy as np
for i in range(10000):
    famfs.publish(np.full(50_000, i), f"{sys.argv[1]}/x", overwrite=True)
"""
    for moment in (0.45, 0.5, 0.55, 0.6):
        child = subprocess.Popen([sys.executable, "-c", code, large], stderr=subprocess.DEVNULL)
        time.sleep(moment)
        child.kill()
        child.wait()
        if famfs.exists(f"{large}/x"):
            for ref in famfs.versions(f"{large}/x"):
                assert len(np.unique(famfs.open(ref).to_numpy())) == 1
    assert famfs.publish(b"still works", f"{large}/y")


def test_threads_share_everything(mnt):
    shared = famfs.open(famfs.publish({"a": np.arange(10_000)}, f"{mnt}/shared", batch_rows=100))

    def work(i):
        array = np.full(1000, i)
        ref = famfs.publish(array, f"{mnt}/{i}")
        assert np.array_equal(famfs.open(ref), array)
        assert shared.to_arrow().num_rows == 10_000
        assert shared.batches[i].num_rows == 100
        return ref

    with ThreadPoolExecutor(8) as pool:
        refs = list(pool.map(work, range(20)))
    assert len(set(refs)) == 20


def test_other_threads_run_while_it_publishes(mnt):
    ticks = []
    done = threading.Event()

    def tick():
        while not done.wait(0.001):
            ticks.append(1)

    thread = threading.Thread(target=tick)
    thread.start()
    famfs.publish(b"x" * (40 << 20), f"{mnt}/x")
    done.set()
    thread.join()
    assert ticks is not None
