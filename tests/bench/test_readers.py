"""Reading: the first pass over fresh data, and the memory of several readers."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import numpy as np
import pyarrow as pa
import sides

import famfs

SIZE = 1 << 30

FAMFS = """
array = famfs.open(arguments[0]).to_numpy()
start = time.perf_counter()
total = array.sum()
print(time.perf_counter() - start)
"""
PRIVATE = """
import mmap
# Private memory by 2 MiB, filled, and read again by a process that has all of it mapped.
memory = mmap.mmap(-1, 1 << 30, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
memory.madvise(mmap.MADV_HUGEPAGE)
array = np.frombuffer(memory, np.float64)
array[:] = 1
start = time.perf_counter()
total = array.sum()
print(time.perf_counter() - start)
"""

READER = """
import os, sys, time
import numpy as np, pyarrow as pa, pyarrow.compute, pandas, famfs
way, mnt, device = sys.argv[1:]
def smaps():
    ours = private = 0
    inside = False
    for line in open("/proc/self/smaps"):
        words = line.split()
        if "-" in words[0] and not words[0].endswith(":"):
            inside = words[-1] == device
        elif inside and words[0] == "Pss:":
            ours += int(words[1]) * 1024
        elif not inside and words[0] in {"Private_Dirty:", "Private_Clean:"}:
            private += int(words[1]) * 1024
    return ours, private
before = smaps()[1]
if way == "numpy":
    held = famfs.open(f"{mnt}/array").to_numpy()
    held.sum()
elif way == "pyarrow":
    held = famfs.open(f"{mnt}/table").to_arrow()
    for column in held.columns:
        pa.compute.sum(column)
elif way == "pandas":
    held = famfs.open(f"{mnt}/table").to_pandas()
    for name in held:
        held[name].to_numpy().sum()
else:
    held = famfs.open(f"{mnt}/table").to_pandas(dtype_backend="pyarrow")
    for name in held:
        held[name].sum()
print("ready", flush=True)
sys.stdin.readline()
ours, private = smaps()
print(ours, private - before, flush=True)
sys.stdin.readline()
"""


def test_first_pass_over_1_gib(benchmark, goal, mnt):
    famfs.publish(np.ones(SIZE // 8), f"{mnt}/pass")
    both = {"ours": (FAMFS, f"{mnt}/pass"), "private": (PRIVATE,)}
    found = benchmark.pedantic(lambda: sides.medians(both, rounds=7), rounds=1, iterations=1)
    goal(
        "P6 first pass over 1 GiB, of private memory's rate",
        found["private"] / found["ours"],
        ">= 0.95",
        f"{SIZE / found['ours'] / 1e9:.1f} GB/s, {SIZE / found['private'] / 1e9:.1f} GB/s",
    )
    famfs.remove(f"{mnt}/pass")


def test_four_readers_share_one_copy(benchmark, goal, mnt):
    size = 256 << 20
    famfs.publish(np.ones(size // 8), f"{mnt}/array")
    famfs.publish(pa.table({c: np.ones(size // 32) for c in "abcd"}), f"{mnt}/table")
    device = next(m.source for m in famfs.mounts() if m.mountpoint == mnt)

    def shares(way):
        readers = [
            subprocess.Popen(
                [sys.executable, "-c", textwrap.dedent(READER), way, mnt, device],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for _ in range(4)
        ]
        for reader in readers:
            assert reader.stdout.readline().strip() == "ready"
        told = []
        for reader in readers:
            reader.stdin.write("\n")
            reader.stdin.flush()
            told.append([int(word) for word in reader.stdout.readline().split()])
        for reader in readers:
            reader.communicate("\n")
        return told

    def all_ways():
        return {way: shares(way) for way in ("numpy", "pyarrow", "pandas", "arrow dtypes")}

    found = benchmark.pedantic(all_ways, rounds=1, iterations=1)
    for way, told in found.items():
        # The publisher has it mapped as well: its share is taken by none of the four.
        ours, private = (sum(column) for column in zip(*told, strict=True))
        goal(
            f"P7 4 readers by {way}: memory of the data that is theirs, of one copy",
            ours / size,
            "<= 1.02",
            f"private memory grew by {private / 4 / 2**20:.1f} MiB each",
        )
    famfs.remove(f"{mnt}/array")
    famfs.remove(f"{mnt}/table")
