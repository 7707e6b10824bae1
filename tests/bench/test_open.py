"""Opening and handing over, beside pyarrow's memory map: to the first value."""

from __future__ import annotations

import pickle
import timeit

import numpy as np
import pyarrow as pa
import pytest
import sides

import famfs

OURS = """
path, column = arguments
start = time.perf_counter()
value = famfs.open(path)[column][:1].to_numpy()[0]
print(time.perf_counter() - start)
"""
PYARROW = """
path, column = arguments
start = time.perf_counter()
value = pa.ipc.open_file(pa.memory_map(path)).read_all().column(column)[0].as_py()
print(time.perf_counter() - start)
"""
# What a program that has worked with the volume before pays: its mapping is kept.
WARM = """
path, column, before = arguments
famfs.open(before)["c5"][:1].to_numpy()[0]
start = time.perf_counter()
value = famfs.open(path)[column][:1].to_numpy()[0]
print(time.perf_counter() - start)
"""
HAND_OVER = """
ref = pickle.loads(bytes.fromhex(arguments[0]))
start = time.perf_counter()
array = famfs.open(ref).to_numpy()
value = array[0]
print(time.perf_counter() - start)
"""


def least(work, rounds=300):
    return min(timeit.repeat(work, number=1, repeat=rounds))


@pytest.fixture(scope="module")
def paths(mnt, tmp_path_factory):
    """Tables of 10 and of 10,000 columns, of one batch and of 1,000; and each beside, as a file."""
    beside = tmp_path_factory.mktemp("beside")
    found = {}
    for name, columns, rows, batch_rows in (
        ("ten", 10, 100_000, None),
        ("wide", 10_000, 100, None),
        ("batches", 10, 100_000, 100),
    ):
        table = pa.table({f"c{i}": np.arange(rows) + i for i in range(columns)})
        famfs.publish(table, f"{mnt}/{name}", batch_rows=batch_rows)
        (beside / name).write_bytes(famfs.open(f"{mnt}/{name}").buffer())
        found[name] = (f"{mnt}/{name}", str(beside / name))
    return found


def test_open_to_the_first_value(benchmark, goal, told, paths):
    every = {}
    for name, column in (("ten", "c5"), ("wide", "c5000"), ("batches", "c5")):
        ours, theirs = paths[name]
        every |= {
            f"{name} ours": (OURS, ours, column),
            f"{name} pyarrow": (PYARROW, theirs, column),
            f"{name} warm": (WARM, ours, column, paths["ten"][0]),
        }
    found = benchmark.pedantic(lambda: sides.medians(every), rounds=1, iterations=1)
    for name, took in found.items():
        told(f"open to the first value, {name}: {took * 1e6:.0f} us")
    micro = {name: f"{took * 1e6:.0f} us" for name, took in found.items()}
    goal(
        "P4 open a table of 10 columns to the first value, of pyarrow's memory map",
        found["ten ours"] / found["ten pyarrow"],
        "<= 0.25",
        f"{micro['ten ours']}, {micro['ten pyarrow']}",
    )
    goal(
        "P4 the same of 10,000 columns, of ours of 10",
        found["wide ours"] / found["ten ours"],
        "<= 1.5",
        f"{micro['wide ours']}, {micro['ten ours']}",
    )
    goal(
        "P4 open one of 10,000 columns, times faster than pyarrow's memory map",
        found["wide pyarrow"] / found["wide ours"],
        ">= 20",
        f"{micro['wide ours']}, {micro['wide pyarrow']}",
    )
    goal(
        "P4 open one of 1,000 batches, of ours of one",
        found["batches ours"] / found["ten ours"],
        "<= 1.2",
        f"{micro['batches ours']}, {micro['ten ours']}; pyarrow {micro['batches pyarrow']}",
    )


def test_open_a_table_of_10_columns_again(benchmark, goal, paths):
    ours_path, theirs_path = paths["ten"]
    benchmark(famfs.open, ours_path)
    ours = least(lambda: famfs.open(ours_path).to_arrow())
    theirs = least(lambda: pa.ipc.open_file(pa.memory_map(theirs_path)).read_all())
    goal(
        "open a table of 10 columns, warm, of pyarrow's memory map",
        ours / theirs,
        "<= 0.5",
        f"{ours * 1e6:.0f} us, {theirs * 1e6:.0f} us",
    )


def test_hand_over_1_gib(benchmark, goal, mnt):
    ref = famfs.publish(np.ones(1 << 27), f"{mnt}/gib")
    side = {"ours": (HAND_OVER, pickle.dumps(ref).hex())}
    found = benchmark.pedantic(lambda: sides.medians(side), rounds=1, iterations=1)["ours"]
    goal("P5 hand 1 GiB to another process, local mode, ms", found * 1e3, "<= 1", "")
    famfs.remove(f"{mnt}/gib")


def test_pickle_a_reference(benchmark, goal, paths):
    dataset = famfs.open(paths["wide"][0])
    part = dataset[10:90, [f"c{i}" for i in range(100, 9_000)]]
    benchmark(pickle.dumps, part)
    for name, thing in (("Ref", dataset.ref), ("Dataset", dataset), ("selection", part)):
        took = least(lambda thing=thing: pickle.dumps(thing)) * 1e6
        goal(f"P8 pickle a {name}, us", took, "<= 25", f"{len(pickle.dumps(thing))} bytes")
        goal(f"P8 pickle of a {name}, bytes", len(pickle.dumps(thing)), "<= 256", "")
