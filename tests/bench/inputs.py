"""What all sides publish and open: the same data, made from the same seed."""

from __future__ import annotations

import contextlib
import time

import numpy as np

GIB = 1 << 30


def array(size=GIB):
    """Numbers without a pattern."""
    return np.random.default_rng(1).integers(0, 1 << 60, size // 8)


def ones(size=GIB):
    """As many numbers, of which sums tell whether they are right."""
    return np.ones(size // 8)


def table(size=GIB):
    """Ints, floats and strings: 1.18 times the size in bytes, half of it numbers."""
    import pyarrow as pa

    rows = size // 32
    numbers = np.arange(rows, dtype=np.int64)
    columns = {"int": numbers, "float": numbers * 0.5}
    # 18 characters and their offset a row: one buffer, as a reader of files makes them.
    texts = pa.array(numbers % 1000 + 10**17).cast(pa.string())
    return pa.table({**columns, "text": texts})


def frame(size=GIB):
    """Numbers of three types, as pandas keeps them after reading: a block for each type."""
    import pandas as pd

    rows = size // 32
    numbers = np.arange(rows, dtype=np.int64)
    return pd.DataFrame({"a": numbers, "b": numbers * 0.5, "c": numbers // 2, "d": numbers * 0.25})


def keyed(size=GIB, seed=1):
    """Numbers of two types, and a key without a pattern, as an Arrow table."""
    import pyarrow as pa

    rows = size // 32
    numbers = np.arange(rows, dtype=np.int64)
    key = np.random.default_rng(seed).integers(0, 1 << 40, rows)
    return pa.table({"key": key, "a": numbers, "b": numbers * 0.5, "c": numbers * 0.25})


def made(what, size=GIB):
    """One of the above, by its name."""
    every = {"array": array, "ones": ones, "table": table, "frame": frame, "keyed": keyed}
    return every[what](size)


def small_table(columns, rows):
    """A table of so many columns, of numbers."""
    import pyarrow as pa

    return pa.table({f"c{i}": np.arange(rows) + i for i in range(columns)})


def timed(work, rounds):
    """Seconds of each round; what the work returns is called afterwards, and not counted."""
    every = []
    for _ in range(rounds):
        start = time.perf_counter()
        undo = work()
        every.append(time.perf_counter() - start)
        if undo:
            undo()
    return every


class _GivenUp(Exception):  # noqa: N818 - nothing is wrong
    """Ends a block whose file nobody wants."""


def warm(mnt):
    """Writes to all memory of a volume once: a virtual machine may come by it at the first touch.

    The memory that the other sides write to was just used, and given back to the system.
    """
    import famfs

    free = famfs.df(mnt).free - (8 << 20)
    with contextlib.suppress(_GivenUp), famfs.create(f"{mnt}/warm", free, "u1") as memory:
        memory.fill(1)
        raise _GivenUp
