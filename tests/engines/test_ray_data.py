"""Ray Data over a volume, shuffles, and what workers share: two nodes on this machine."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import ray
from rays import lies_in, on, place, table, volume

import famfs
import famfs.ray
from famfs.ray import _exchange

__all__ = ["place", "volume"]


# The source


def test_read_in_parts_and_in_place(ray_cluster, volume, place):
    ref = famfs.publish(table(8000), f"{place}/table", batch_rows=1000)
    ds = famfs.ray.read(ref, override_num_blocks=4)

    def looked_at(found):
        inside = lies_in(found.select(["a", "b"]), volume)
        return pa.table({"rows": [found.num_rows], "first": found["a"][:1], "inside": [inside]})

    found = ds.map_batches(looked_at, batch_format="pyarrow", batch_size=None).to_pandas()
    # Parts end where batches do.
    assert sorted(found["first"]) == [0, 2000, 4000, 6000]
    assert set(found["rows"]) == {2000}
    assert found["inside"].all()
    everything = pa.concat_tables(ray.get(ds.to_arrow_refs()))
    assert everything.sort_by("a").equals(table(8000))


def test_rows_size_and_schema_are_known_without_reading(ray_cluster, place, monkeypatch):
    famfs.publish(table(8000), f"{place}/one")
    famfs.publish(table(2000), f"{place}/two")
    ds = famfs.ray.read(place, columns=["b", "a"])

    def refuse(*_):
        raise AssertionError("something was read")

    monkeypatch.setattr("famfs.ray._source._Part.__call__", refuse)
    assert ds.count() == 10_000
    assert ds.schema().names == ["b", "a"]
    assert ds.schema().base_schema.equals(pa.schema({"b": pa.float64(), "a": pa.int64()}))
    assert ds.size_bytes() == 10_000 * 16


def test_columns_are_pushed_down(ray_cluster, place):
    ref = famfs.publish(table(1000), f"{place}/table")
    ds = famfs.ray.read(ref).select_columns(["b"])
    assert ds.sum("b") == table(1000)["b"].to_numpy().sum()
    assert famfs.ray.read(ref).limit(5).take_all()[4]["a"] == 4


def test_what_is_no_table_is_no_source(ray_cluster, place):
    with pytest.raises(famfs.Unsupported, match="array"):
        famfs.ray.read(famfs.publish(np.arange(9), f"{place}/array"))
    ref = famfs.publish(table(), f"{place}/table")
    with pytest.raises(KeyError, match="nothing"):
        famfs.ray.read(ref, columns=["nothing"])
    with pytest.raises(famfs.Unsupported, match="a list of names"):
        famfs.ray.read(ref, columns="ab")
    with pytest.raises(famfs.NotFound):
        famfs.ray.read(f"{place}/missing")


# The sink


def test_write_and_read_again(ray_cluster, place):
    rows = 6_000_000
    ds = ray.data.range(rows, override_num_blocks=4)
    written = famfs.ray.write(ds, f"{place}/out")
    # Blocks of 12 MB: two to a table.
    assert [each.name for each in famfs.ls(f"{place}/out")] == ["part-000000", "part-000001"]
    found = famfs.open(f"{place}/out").to_arrow().sort_by("id")
    assert found.equals(pa.table({"id": np.arange(rows)}))
    assert written.num_rows == rows
    # What was read from a volume goes into it again, from where it is.
    again = famfs.ray.write(famfs.ray.read(f"{place}/out"), f"{place}/again", checksum=True)
    assert again.to_arrow().sort_by("id").equals(found)
    assert famfs.open(again.files[0].path, verify=True).num_rows
    with pytest.raises(famfs.AlreadyExists):
        famfs.ray.write(ds, f"{place}/out")


def test_write_of_no_rows(ray_cluster, place):
    ds = ray.data.range(10).map_batches(lambda rows: rows.slice(0, 0), batch_format="pyarrow")
    empty = famfs.ray.write(ds, f"{place}/none")
    assert empty.num_rows == 0
    assert empty.names == ["id"]
    # Ray forgets the columns where it looks at rows one by one.
    with pytest.raises(famfs.Unsupported, match="no columns"):
        famfs.ray.write(ray.data.range(10).filter(lambda _: False), f"{place}/nothing")
    assert not famfs.exists(f"{place}/nothing")


def nothing_is_left(place, free):
    assert not famfs.exists(f"{place}/out")
    # Also what the tasks had filled is free again.
    assert famfs.df(place).free >= free
    assert famfs.ray.write(ray.data.range(10), f"{place}/out").num_rows == 10


def test_a_full_volume_aborts_a_write(ray_cluster, mnt):
    def grown(batch):
        return {"data": np.zeros((len(batch["id"]), 1 << 20), np.uint8)}

    free = famfs.df(mnt).free
    # Some parts are filled before there is no room for the others.
    ds = ray.data.range(free // (1 << 20) + 8, override_num_blocks=12).map_batches(grown)
    with pytest.raises(famfs.NoSpace):
        famfs.ray.write(ds, f"{mnt}/out")
    nothing_is_left(mnt, free)


def test_a_killed_worker_aborts_a_write(ray_cluster, place, tmp_path):
    free = famfs.df(place).free

    class Killed(famfs.ray._sink.Famfs):
        """Its worker dies when it has published, and before it has told."""

        def write(self, blocks, ctx):
            told = super().write(blocks, ctx)
            if ctx.task_idx == 1:
                os.kill(os.getpid(), signal.SIGKILL)
            return told

    ds = ray.data.range(4_000_000, override_num_blocks=4)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("famfs.ray._sink.Famfs", Killed)
        with pytest.raises(ray.exceptions.RayError):
            famfs.ray.write(ds, f"{place}/out")
    nothing_is_left(place, free)


def test_a_result_that_is_lost_aborts_a_write(ray_cluster, place):
    free = famfs.df(place).free

    class Lost(famfs.ray._sink.Famfs):
        """A task has published what it doesn't tell of."""

        def write(self, blocks, ctx):
            told = super().write(blocks, ctx)
            return None if ctx.task_idx == 1 else told

    ds = ray.data.range(4_000_000, override_num_blocks=4)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("famfs.ray._sink.Famfs", Lost)
        with pytest.raises(famfs.Busy, match="part-000001 is filled, and not told of"):
            famfs.ray.write(ds, f"{place}/out")
    nothing_is_left(place, free)


@pytest.mark.parametrize("rows", [100, 6_000_000])
def test_mixed_schemas_abort_a_write(ray_cluster, place, rows):
    def mixed(batch):
        first = batch["id"][0] == 0
        return {"id": batch["id"]} if first else {"id": batch["id"].astype("f8")}

    # Few rows are one task's, which sees that they differ; of more the driver does.
    free = famfs.df(place).free
    ds = ray.data.range(rows, override_num_blocks=2).map_batches(mixed, batch_size=None)
    with pytest.raises(famfs.Unsupported, match="'id' is"):
        famfs.ray.write(ds, f"{place}/out")
    nothing_is_left(place, free)


# A shuffle


@pytest.mark.parametrize("rows", [0, 20_000])
def test_shuffle(ray_cluster, volume, place, rows):
    given = table(
        rows,
        key=pa.array([None if i % 11 == 0 else f"key {i % 100}" for i in range(rows)], pa.string()),
    )
    famfs.publish(given, f"{place}/table", batch_rows=3000)
    parts = famfs.ray.shuffle(f"{place}/table", "key", 4, f"{place}/shuffled", tasks=3)
    assert len(parts) == 4
    whole = pa.concat_tables([part.to_arrow() for part in parts])
    assert whole.schema.equals(given.schema)
    assert whole.sort_by("a").equals(given)
    keys = [set(part["key"].to_arrow().to_pylist()) for part in parts]
    for i, mine in enumerate(keys):
        assert not any(mine & others for others in keys[i + 1 :])
    if rows:
        assert all(0 < part.num_rows < rows / 2 for part in parts)

        @ray.remote(num_cpus=0)
        def sums(part):
            return lies_in(part["a"].to_arrow(), volume), int(part["a"].to_arrow().to_numpy().sum())

        # Each part is opened where it is, on both nodes.
        nodes = ["first", "second"] * 2
        found = [
            sums.options(**on(node)).remote(part) for node, part in zip(nodes, parts, strict=True)
        ]
        found = ray.get(found)
        assert all(inside for inside, _ in found)
        assert sum(each for _, each in found) == rows * (rows - 1) // 2


def test_shuffles_into_as_many_parts_agree(ray_cluster, place):
    rows = 3000
    numbers = np.arange(rows) % 500
    left = famfs.publish({"k": numbers, "f": numbers / 2, "x": np.arange(rows)}, f"{place}/left")
    right = famfs.publish({"k": np.arange(500), "f": np.arange(500) / 2}, f"{place}/right")
    for by in ("k", "f", ["k", "f"]):
        name = "".join(by)
        ours = famfs.ray.shuffle(left, by, 3, f"{place}/left-{name}")
        theirs = famfs.ray.shuffle(famfs.open(right), by, 3, f"{place}/right-{name}", tasks=1)
        for one, other in zip(ours, theirs, strict=True):
            assert set(one["k"].to_arrow().to_pylist()) == set(other["k"].to_numpy().tolist())


NUMBERS = pa.array(range(-64, 64))


@pytest.mark.parametrize(
    "keys",
    [
        NUMBERS,
        pa.array(np.array(NUMBERS, "f8")),
        NUMBERS.cast(pa.timestamp("ms")),
        NUMBERS.cast(pa.int32()).cast(pa.date32()),
        NUMBERS.cast(pa.string()),
        NUMBERS.cast(pa.decimal128(21, 2)),
        pa.DictionaryArray.from_arrays(pa.array(range(128), pa.int8()), NUMBERS),
    ],
    ids=lambda keys: str(keys.type),
)
def test_keys_are_hashed_alike_with_nulls_beside_them_and_without(mnt, keys):
    # The first task's share has no null, the second one's has.
    with_null = keys.take(pa.array([*range(128), None]))
    batches = [pa.record_batch({"k": each}) for each in (keys, with_null)]
    shares = famfs.open(famfs.publish(pa.Table.from_batches(batches), f"{mnt}/t", batch_rows=128))
    (one, _), (other, _) = (
        _exchange._parts_of(shares.partition(i, 2), ["k"], 1 << 15) for i in range(2)
    )
    assert one.tolist() == other.tolist()[:128]
    assert len(set(one)) > 100


def test_what_is_no_number_is_one_key(mnt):
    values = [np.nan, -np.nan, 0.0, -0.0]
    for name, given in (("plain", values), ("nullable", [*values, None])):
        ref = famfs.publish(pa.table({"k": pa.array(given, pa.float64())}), f"{mnt}/{name}")
        parts, _ = _exchange._parts_of(famfs.open(ref), ["k"], 1 << 15)
        assert parts[0] == parts[1] != parts[2] == parts[3]


def test_bad_shuffles_leave_nothing(ray_cluster, place):
    ref = famfs.publish({"a": np.arange(10)}, f"{place}/table")
    lists = famfs.publish(pa.table({"a": [[1], [2]]}), f"{place}/lists")
    with pytest.raises(KeyError, match="nothing"):
        famfs.ray.shuffle(ref, "nothing", 2, f"{place}/out")
    with pytest.raises(famfs.Unsupported, match="can't be a key"):
        famfs.ray.shuffle(lists, "a", 2, f"{place}/out")
    with pytest.raises(famfs.AlreadyExists):
        famfs.ray.shuffle(ref, "a", 2, place)
    for n, tasks in [(0, None), (-1, None), (2, 0), (2.5, None)]:
        with pytest.raises(famfs.Unsupported, match="number of"):
            famfs.ray.shuffle(ref, "a", n, f"{place}/out", tasks=tasks)
    with pytest.raises(famfs.Unsupported, match="array"):
        famfs.ray.shuffle(famfs.publish(np.arange(9), f"{place}/x"), "a", 2, f"{place}/out")
    assert not famfs.exists(f"{place}/out")


def test_a_full_volume_aborts_a_shuffle(ray_cluster, mnt):
    ref = famfs.publish({"a": np.arange(famfs.df(mnt).free // 12)}, f"{mnt}/table")
    free = famfs.df(mnt).free
    with pytest.raises(famfs.NoSpace):
        famfs.ray.shuffle(ref, "a", 4, f"{mnt}/out")
    nothing_is_left(mnt, free)


# What workers share


def test_four_workers_load_one_copy_of_a_model(ray_cluster, volume, place):
    weights = {"embedding": np.random.default_rng(1).random((1000, 64), np.float32)}
    weights |= {f"layer{i}.weight": np.full((64, 64), i, np.float32) for i in range(4)}
    model = famfs.open(famfs.publish(weights, f"{place}/model.safetensors"))

    @ray.remote(num_cpus=0.5)
    class Worker:
        def __init__(self, model):
            self.layers = {name: model[name].to_numpy() for name in model.names}

        def inside(self):
            return all(lies_in(each, volume) for each in self.layers.values())

        def run(self, tokens):
            hidden = self.layers["embedding"][tokens]
            for i in range(4):
                hidden = hidden @ self.layers[f"layer{i}.weight"]
            return hidden.sum()

    workers = [
        Worker.options(resources={node: 1}).remote(model) for node in ("first", "second") * 2
    ]
    assert all(ray.get([worker.inside.remote() for worker in workers]))
    hidden = weights["embedding"][:10]
    for i in range(4):
        hidden = hidden @ weights[f"layer{i}.weight"]
    found = ray.get([worker.run.remote(np.arange(10)) for worker in workers])
    assert np.allclose(found, hidden.sum())
    for worker in workers:
        ray.kill(worker)


def test_eight_readers_of_a_feature_table(ray_cluster, volume, place):
    features = {"user": np.arange(80_000), "score": np.random.default_rng(1).random(80_000)}
    ds = famfs.open(famfs.publish(features, f"{place}/features"))

    @ray.remote(num_cpus=0.5)
    def total(ds, i):
        frame = ds.partition(i, 8).to_pandas(copy=False)
        return lies_in(frame, volume), frame["score"].sum()

    found = ray.get([total.options(scheduling_strategy="SPREAD").remote(ds, i) for i in range(8)])
    assert all(inside for inside, _ in found)
    assert np.isclose(sum(each for _, each in found), features["score"].sum())


def test_publish_and_subscribe(ray_cluster, volume, place):
    famfs.mkdir(f"{place}/steps")

    @ray.remote(num_cpus=0, resources={"first": 1})
    def publisher(steps):
        for step in range(steps):
            famfs.publish(np.full(1000, step), f"{place}/steps/{step}")

    @ray.remote(num_cpus=0, resources={"second": 1})
    def subscriber(steps):
        found = []
        for step in range(steps):
            entry = famfs.wait(f"{place}/steps/{step}", timeout=20)
            array = famfs.open(entry).to_numpy()
            found.append((lies_in(array, volume), int(array[-1])))
        return found

    waiting = subscriber.remote(5)
    ray.get(publisher.remote(5))
    assert ray.get(waiting) == [(True, step) for step in range(5)]


# The how-to page


def test_the_page_runs_and_its_data_outlives_the_driver_and_the_cluster(run):
    page = Path(__file__).parents[2] / "docs" / "how-to" / "ray.md"
    blocks = re.findall(r"^```python\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)
    assert len(blocks) == 6
    options = "address='local', num_cpus=2, object_store_memory=100 << 20, include_dashboard=False"
    options += ", log_to_driver=False, "
    with famfs.embedded(size="256MiB") as mnt:
        code = "\n".join(blocks).replace("/mnt/famfs", mnt)
        code = code.replace("ray.init(", f"ray.init({options}")
        assert (
            run("import os\nos.environ['RAY_USAGE_STATS_ENABLED'] = '0'\n" + code).returncode == 0
        )
        # Of a task, and of the driver; both have ended, and so has the cluster.
        assert famfs.open(f"{mnt}/step-2").to_numpy()[0] == 2
        assert famfs.ray.get(f"{mnt}/weights").sum() == 100_000
