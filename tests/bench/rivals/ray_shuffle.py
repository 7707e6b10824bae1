"""A shuffle among Ray's workers on two nodes: through Ray's objects, and through a volume.

Both sides hash, order and cut in the same way, and both read all of each part at the end.
"""

from __future__ import annotations

import time

import inputs
import numpy as np
import ray

WORKERS = 4
NODES = ("first", "second")
KEPT = []


def on(i):
    """The node of a worker: they take turns."""
    return {"num_cpus": 1, "resources": {NODES[i % 2]: 1}}


@ray.remote
def share(size, seed):
    """A worker's share of the table, an object of its node's store."""
    return inputs.keyed(size, seed)


@ray.remote
def cut(table):
    from pandas.util import hash_array

    parts = ((hash_array(table["key"].to_numpy()) >> 32) * WORKERS >> 32).astype(np.uint8)
    ends = np.bincount(parts, minlength=WORKERS).cumsum()
    ordered = table.take(np.argsort(parts, kind="stable"))
    return [
        ordered.slice(end - n, n) for end, n in zip(ends, np.diff(ends, prepend=0), strict=True)
    ]


@ray.remote
def summed(*pieces):
    """The rows of a part, all of whose values are read."""
    for piece in pieces:
        for column in piece.columns:
            for chunk in column.chunks:
                chunk.to_numpy().sum()
    return sum(piece.num_rows for piece in pieces)


@ray.remote
def summed_in_place(part):
    """The same of a dataset."""
    for column in part.to_arrow().columns:
        for chunk in column.chunks:
            chunk.to_numpy().sum()
    return part.num_rows


def prepare(size):
    """Puts the shares where they are cut: no part of what is timed."""
    KEPT[:] = [share.options(**on(i)).remote(size // WORKERS, i) for i in range(WORKERS)]
    ray.wait(KEPT, num_returns=WORKERS, fetch_local=False)


def by_objects():
    """Seconds until all parts are read."""
    start = time.perf_counter()
    cuts = [cut.options(num_returns=WORKERS, **on(i)).remote(KEPT[i]) for i in range(WORKERS)]
    parts = [[pieces[i] for pieces in cuts] for i in range(WORKERS)]
    rows = ray.get([summed.options(**on(i)).remote(*part) for i, part in enumerate(parts)])
    took = time.perf_counter() - start
    del cuts, parts
    # Space comes back a while after the last reference goes.
    time.sleep(1)
    return took, sum(rows)


def by_volume(source, into):
    """The same through a volume, whose space a new one takes each time."""
    import famfs.ray

    start = time.perf_counter()
    parts = famfs.ray.shuffle(source, "key", WORKERS, into)
    rows = ray.get([summed_in_place.options(**on(i)).remote(part) for i, part in enumerate(parts)])
    return time.perf_counter() - start, sum(rows)
