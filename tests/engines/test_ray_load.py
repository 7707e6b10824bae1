"""Ray under load: many tasks, workers that die and come again, and shuffles of lopsided keys."""

from __future__ import annotations

import os
import signal

import numpy as np
import pyarrow as pa
import pytest
import ray
from rays import lies_in, place, volume

import famfs
import famfs.ray

__all__ = ["place", "volume"]

TASKS = 500


@ray.remote(num_cpus=1)
def part_of(dataset, i, table):
    """A sum of a part by reference, and one of a table that is nested in what is passed."""
    ours = dataset.partition(i, TASKS)["x"].to_numpy().sum()
    return int(ours), int(table["list"][0]["x"].chunk(0)[0].as_py())


def test_many_tasks_take_references(ray_cluster, place):
    rows = 50_000
    ref = famfs.publish({"x": pa.array(range(rows))}, f"{place}/x", batch_rows=rows // TASKS)
    dataset = famfs.open(ref)
    nested = {"list": [dataset.to_arrow()]}
    found = ray.get([part_of.remote(dataset, i, nested) for i in range(TASKS)])
    assert sum(ours for ours, _ in found) == rows * (rows - 1) // 2
    assert {first for _, first in found} == {0}


@ray.remote(num_cpus=0, max_restarts=1, max_task_retries=2)
class Holder:
    """Holds what it was made with; dies once when it is asked to."""

    def __init__(self, dataset, array):
        self.dataset, self.array = dataset, array

    def sums(self, died=None):
        if died is not None and not os.path.exists(died):
            open(died, "w").close()
            os.kill(os.getpid(), signal.SIGKILL)
        return int(self.dataset["x"].to_numpy().sum()), int(self.array.sum()), os.getpid()

    def lies(self, mnt):
        return lies_in(self.array, mnt)


def test_an_actor_that_is_started_again_has_what_it_held(ray_cluster, volume, place, tmp_path):
    dataset = famfs.open(famfs.publish({"x": pa.array(range(1000))}, f"{place}/x"))
    array = famfs.open(famfs.publish(np.arange(2000), f"{place}/y")).to_numpy()
    holder = Holder.remote(dataset, array)
    *before, first = ray.get(holder.sums.remote())
    *after, second = ray.get(holder.sums.remote(str(tmp_path / "died")))
    assert before == after == [499_500, 1_999_000]
    assert first != second
    assert ray.get(holder.lies.remote(volume))


LOPSIDED = {
    "one key": pa.array(["same"] * 4000),
    "nearly one key": pa.array([*["same"] * 3990, *map(str, range(10))]),
    "no key at all": pa.nulls(4000, pa.int64()),
    "dictionary": pa.array(
        [f"key {i % 7}" if i % 3 else None for i in range(4000)]
    ).dictionary_encode(),
    "more parts than rows": pa.array([3, 1, 2, 3, 1, 2, None]),
}


@pytest.mark.parametrize("keys", LOPSIDED)
def test_lopsided_shuffles_lose_and_double_nothing(ray_cluster, place, keys):
    key = LOPSIDED[keys]
    given = pa.table({"key": key, "a": range(len(key)), "s": [f"row {i}" for i in range(len(key))]})
    famfs.publish(given, f"{place}/table", batch_rows=500)
    parts = famfs.ray.shuffle(f"{place}/table", "key", 40, f"{place}/out", tasks=3)
    assert len(parts) == 40
    tables = [part.to_arrow() for part in parts]
    values = [set(map(str, table["key"].to_pylist())) for table in tables]
    assert sum(map(len, values)) == len(set(map(str, key.to_pylist())))
    together = pa.concat_tables(
        [table.cast(given.schema) for table in tables], promote_options="permissive"
    )
    rows = sorted(together.to_pylist(), key=lambda row: row["a"])
    assert rows == given.to_pylist()
