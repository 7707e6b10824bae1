"""Ray's object store: a cluster of two nodes on this machine, which answers questions.

`serve` takes them: a question is a line of JSON, [NAME, ARGUMENTS], and so is its answer. It ends,
and its nodes with it, when its input does. Whatever is timed runs in a fresh worker process.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

# Before Ray is loaded, and for its workers: nothing is told to anybody.
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
os.environ["PYTHONPATH"] = str(Path(__file__).resolve().parent.parent)

import inputs
import ray
from ray.cluster_utils import Cluster

from rivals import ray_shuffle

KEPT = {}


@ray.remote(max_calls=1, num_cpus=0, resources={"first": 1})
def publish(what, size, rounds):
    data = inputs.made(what, size)
    every = []
    for _ in range(rounds):
        start = time.perf_counter()
        held = ray.put(data)
        every.append(time.perf_counter() - start)
        del held
        # Space comes back a while after the last reference goes; only then is a put warm.
        time.sleep(0.7)
    return every


@ray.remote(max_calls=1, num_cpus=0, resources={"first": 1})
def first_value(held, column):
    import pyarrow  # noqa: F401, ICN001 - as the other sides have it loaded

    start = time.perf_counter()
    value = ray.get(held[0]).column(column)[0].as_py()
    took = time.perf_counter() - start
    assert isinstance(value, int)
    return took


@ray.remote(max_calls=1, num_cpus=0, resources={"second": 1})
def fetched(held):
    import pyarrow  # noqa: F401, ICN001 - as above

    start = time.perf_counter()
    got = ray.get(held[0])
    assert (got if hasattr(got, "dtype") else got.column(0))[0] is not None
    return time.perf_counter() - start


@ray.remote(max_calls=1, num_cpus=0, resources={"second": 1})
def taken_over(held):
    import pyarrow  # noqa: F401, ICN001 - as above

    import famfs.ray

    start = time.perf_counter()
    got = famfs.ray.get(held[0])
    assert (got if hasattr(got, "dtype") else got.column(0))[0] is not None
    return time.perf_counter() - start


def store(name, columns, rows, batch_rows):
    import pyarrow as pa

    table = inputs.small_table(columns, rows)
    if batch_rows:
        table = pa.Table.from_batches(table.to_batches(max_chunksize=batch_rows))
    KEPT[name] = ray.put(table)


def hand_over(what, size):
    """Seconds until a process on the other node has a value; a new object each time."""
    held = ray.put(inputs.made(what, size))
    took = ray.get(fetched.remote([held]))
    del held
    time.sleep(0.7)
    return took


ANSWERS = {
    "publish": lambda *arguments: ray.get(publish.remote(*arguments)),
    "store": store,
    "first_value": lambda name, column: ray.get(first_value.remote([KEPT[name]], column)),
    "hand_over": hand_over,
    # Our side of the same: a reference, as text, that the task gets.
    "taken_over": lambda ref: ray.get(taken_over.remote([ref])),
    "prepare": ray_shuffle.prepare,
    "by_objects": ray_shuffle.by_objects,
    "by_volume": ray_shuffle.by_volume,
}


def serve(memory, folder):
    """Two nodes, and their answers, until the input ends."""
    # The answers' stream is ours alone: Ray prints too.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    head = {"num_cpus": 2, "object_store_memory": memory, "include_dashboard": False}
    head |= {"resources": {"first": 100}}
    # The cluster's address is written by this too, and Ray's usual place may not be there.
    os.environ["RAY_TMPDIR"] = str(folder)
    cluster = Cluster(initialize_head=True, head_node_args=head)
    try:
        cluster.add_node(num_cpus=2, object_store_memory=memory // 2, resources={"second": 100})
        ray.init(address=cluster.address, log_to_driver=False)
        print(json.dumps("ready"), file=answers, flush=True)
        for line in sys.stdin:
            name, arguments = json.loads(line)
            print(json.dumps(ANSWERS[name](*arguments)), file=answers, flush=True)
    finally:
        KEPT.clear()
        ray_shuffle.KEPT.clear()
        ray.shutdown()
        cluster.shutdown()
    return "ended"
