"""Our side of the comparisons: functions that `side.py` calls in processes of their own."""

from __future__ import annotations

import mmap
import pickle
import time

import inputs
import numpy as np

import famfs
import famfs.dataset  # what a program has loaded that has worked with datasets before
from famfs.testing import copy_limit


def published(what, size, rounds):
    """Seconds of a publish into memory that the process has mapped already.

    With a checksum, without, and of the fastest copy: in turn, on one volume.
    """
    data = inputs.made(what, size)
    raw = np.empty(size, np.uint8)
    raw[:] = 1
    # Two more than the rounds: what comes first fills the page tables, and isn't counted.
    with famfs.embedded(size=int(size * 1.2) * (2 * rounds + 2) + (1 << 30)) as mnt:
        inputs.warm(mnt)
        limit = copy_limit(mnt, raw, rounds=2)
        famfs.publish(data, f"{mnt}/first")
        plain, summed = [], []
        for number in range(rounds):
            for kept, checksum in ((plain, False), (summed, True)):
                start = time.perf_counter()
                famfs.publish(data, f"{mnt}/{checksum}{number}", checksum=checksum)
                kept.append(time.perf_counter() - start)
        limit = min(limit, copy_limit(mnt, raw, rounds=2))
    return {"limit": limit, "plain": min(plain), "checksum": min(summed)}


def warm(where):
    """Writes to all memory of a volume."""
    inputs.warm(where)


def huge(where):
    """How much of a volume's memory is in huge pages, and how much there is."""
    found = famfs.df(where)
    return found.huge or 0, found.capacity


def publish(where, what, size, rounds):
    """Seconds of each publish of a process that has never seen the volume."""
    data = inputs.made(what, size)
    numbers = iter(range(rounds))
    return inputs.timed(lambda: famfs.publish(data, f"{where}/{next(numbers)}") and None, rounds)


def store(where, name, columns, rows, batch_rows):
    table = inputs.small_table(columns, rows)
    famfs.publish(table, f"{where}/{name}", batch_rows=batch_rows)


def first_value(where, name, column):
    path = f"{where}/{name}"
    start = time.perf_counter()
    value = famfs.open(path)[column][:1].to_numpy()[0]
    took = time.perf_counter() - start
    assert isinstance(value, np.integer)
    return took


def first_value_again(where, name, column, before):
    """As above, of a process that has worked with the volume before: its mapping is kept."""
    famfs.open(f"{where}/{before}")["c5"][:1].to_numpy()[0]
    return first_value(where, name, column)


def _to_a_value(name):
    start = time.perf_counter()
    found = famfs.open(name)
    value = found.to_numpy()[0] if found.kind == "array" else found["int"][:1].to_numpy()[0]
    took = time.perf_counter() - start
    assert value is not None
    return took


def taken_over(reference):
    """Seconds from a pickled reference to the first value of the array or table."""
    return _to_a_value(pickle.loads(bytes.fromhex(reference)))


def opened(path):
    """The same, from a path."""
    return _to_a_value(path)


def _pass_before():
    """A pass over other memory: it wakes the processor, and the caches hold nothing else then."""
    np.ones(1 << 25).sum()


def passed_over(path):
    """Seconds of the first pass over an array."""
    array = famfs.open(path).to_numpy()
    _pass_before()
    start = time.perf_counter()
    array.sum()
    return time.perf_counter() - start


def passed_over_privately(size):
    """The same over memory of the process: by 2 MiB, filled, and all of it mapped."""
    memory = mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    memory.madvise(mmap.MADV_HUGEPAGE)
    array = np.frombuffer(memory, np.float64)
    array[:] = 1
    _pass_before()
    start = time.perf_counter()
    array.sum()
    return time.perf_counter() - start


def _operands(rows, ufunc):
    # What is loaded when a function is first called is there already, on all sides.
    getattr(np, ufunc)(*[np.ones(1)] * (1 if ufunc == "sqrt" else 2))
    numbers = np.arange(1.0, rows + 1)
    return (numbers,) if ufunc == "sqrt" else (numbers, numbers[::-1].copy())


def computed(rows, ufuncs, memory, where=None):
    """Seconds of each ufunc into memory of the process, "touched" before or "new"; or "published".

    What is published is an array that is built in place, all of its block counted. Each process
    has the same in memory when the clock starts.
    """
    if memory == "published":
        # What is loaded at the first block is there already, as in a program that works with it.
        with famfs.create(f"{where}/first-{time.time_ns()}", 1, np.float64) as window:
            window[0] = 0
    every = []
    for ufunc in ufuncs:
        operands = _operands(rows, ufunc)
        out = np.empty(rows)
        out[:] = 0
        compute = getattr(np, ufunc)
        start = time.perf_counter()
        if memory == "published":
            with famfs.create(f"{where}/{ufunc}-{time.time_ns()}", rows, np.float64) as window:
                compute(*operands, out=window)
        elif memory == "new":
            compute(*operands, out=np.empty(rows))
        else:
            compute(*operands, out=out)
        every.append(time.perf_counter() - start)
    return every


def publish_for_readers(where):
    """An array and two tables, of 1 GiB each, which four readers share.

    The log is mapped by 8 MiB and more: of less data it would be a part that counts.
    """
    import pyarrow as pa

    size = 1 << 30
    famfs.publish(np.ones(size // 8), f"{where}/array")
    famfs.publish(pa.table({c: np.ones(size // 32) for c in "abcd"}), f"{where}/table")
    # 16 bytes of a view, and 16 of its text, which is too long to stand in it.
    texts = pa.array(np.arange(size // 32) + 10**15).cast(pa.string()).cast(pa.string_view())
    famfs.publish(pa.table({"text": texts}), f"{where}/views")
    return {name: famfs.stat(f"{where}/{name}").size for name in ("array", "table", "views")}
