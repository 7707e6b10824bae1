"""Ray itself: two nodes on this machine, whose workers find a volume and pass references."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import ray
from rays import lies_in, on, place, plain, seen, serialised, table, volume

import famfs
import famfs.ray

__all__ = ["place", "volume"]
NODES = ("first", "second")


# References


@pytest.mark.parametrize("node", NODES)
def test_datasets_and_references_pass_by_reference(ray_cluster, volume, place, node):
    ds = famfs.open(famfs.publish(table(), f"{place}/table"))
    array = famfs.open(famfs.publish(np.arange(10_000), f"{place}/array"))
    things = [ds, array, ds["a"], ds[100:300, ["a", "b"]], array[50:90]]
    for thing in (*things, ds.ref, array[3:5].ref):
        assert len(ray.cloudpickle.dumps(thing)) <= 256
    # Nested, and as an object of Ray's own.
    for sent in (things, dict(enumerate(things)), ray.put(things)):
        found = ray.get(seen.options(**on(node)).remote(sent, volume))
        assert [inside for inside, _ in found] == [True] * len(things)
        assert [pickle.loads(values) for _, values in found] == [plain(each) for each in things]


def test_actors_keep_and_return_references(ray_cluster, volume, place):
    @ray.remote
    class Keeper:
        def __init__(self, kept):
            self.kept = kept

        def part(self, first, last):
            return {"part": [self.kept["table"][first:last]]}

    ds = famfs.open(famfs.publish(table(), f"{place}/table"))
    keeper = Keeper.options(**on("second")).remote({"table": ds})
    found = ray.get(keeper.part.remote(8, 24))["part"][0]
    assert found == ds[8:24]
    assert lies_in(found, volume)
    ray.kill(keeper)


@pytest.mark.parametrize("node", NODES)
def test_registered_types_pass_by_reference(ray_cluster, volume, place, node):
    ds = famfs.open(famfs.publish(table(), f"{place}/table"))
    array = famfs.open(famfs.publish(np.arange(30_000).reshape(100, 300), f"{place}/array"))
    numbers = pd.DataFrame({"x": np.arange(3000.0), "y": np.arange(3000.0)})
    frame = famfs.open(famfs.publish(numbers, f"{place}/frame")).to_pandas()
    whole, rows = ds.to_arrow(), array.to_numpy()
    short = [whole, whole.slice(100, 2000), ds[104:4000].to_arrow(), whole.select(["b", "a"])]
    short += [whole["a"], whole["text"].chunk(0), ds.batches[0], rows, rows[3:50:2, ::-1]]
    for thing in short:
        assert serialised(thing) <= 512, type(thing)
        assert len(ray.cloudpickle.dumps(thing)) <= 256, type(thing)
    things = [*short, frame]
    assert serialised(frame) < 2000
    found = ray.get(seen.options(**on(node)).remote(things, volume))
    assert [inside for inside, _ in found] == [True] * len(things)
    for (_, values), thing in zip(found, things, strict=True):
        there, here = pickle.loads(values), plain(thing)
        assert here.equals(there) if isinstance(here, pd.DataFrame) else here == there


def test_results_come_back_by_reference(ray_cluster, volume, place):
    ds = famfs.open(famfs.publish(table(), f"{place}/table"))

    @ray.remote(**on("second"))
    def filtered(ds):
        found = ds.to_arrow()
        return found, found["a"].to_numpy()[10:]

    whole, numbers = ray.get(filtered.remote(ds))
    assert whole.equals(ds.to_arrow())
    assert lies_in(whole, volume)
    assert lies_in(numbers, volume)


def test_what_lies_elsewhere_is_serialised_as_ray_does(ray_cluster, volume, place):
    whole = table()
    published = famfs.open(famfs.publish(whole, f"{place}/table")).to_arrow()
    mixed = published.append_column("new", pa.array(np.arange(5000)))
    renamed = published.rename_columns(["x", "y", "z"]).replace_schema_metadata({"k": "v"})
    objects = np.array([{"a": 1}, None, "x"], object)
    fields = np.zeros(1000, [("a", "i4"), ("b", "f8")])
    things = [whole, whole.slice(7, 900), whole["text"], mixed, renamed, fields, np.arange(9.0)]

    @ray.remote
    def back(things):
        assert all(thing is not None for thing in things)
        return things

    for here, there in zip(things, ray.get(back.remote(things)), strict=True):
        same = np.array_equal if isinstance(here, np.ndarray) else type(here).equals
        assert same(here, there)
    assert ray.get(back.remote([objects]))[0].tolist() == objects.tolist()
    assert ray.get(ray.put(renamed)).schema.equals(renamed.schema, check_metadata=True)
    # The columns that are published go as references, and only the new one as values.
    assert serialised(mixed) < 5000 * 8 + 4096
    again = ray.get(ray.put(mixed))
    assert lies_in(again.select(["a", "b"]), volume)
    # A slice does not take along what it was cut from.
    assert serialised(whole.slice(7, 90)) < whole.nbytes / 10


def test_registering_twice_changes_nothing(ray_cluster):
    dispatch = ray.cloudpickle.CloudPickler.dispatch
    before = dict(dispatch)
    famfs.ray.register()
    assert dict(dispatch) == before


def test_a_hook_of_ones_own_is_not_replaced():
    with pytest.raises(famfs.FamfsError, match="register"):
        famfs.ray.runtime_env({"worker_process_setup_hook": "mine"})
    env = famfs.ray.runtime_env({"env_vars": {"A": "1"}}, mounts={"/dev/dax0.0": "/mnt/a"})
    assert env["env_vars"] == {"A": "1", "FAMFS_MOUNTS": "/dev/dax0.0=/mnt/a"}


# put and get


def test_put_and_get(ray_cluster, volume, place):
    @ray.remote
    def of(ref):
        found = famfs.ray.get(ref)
        return type(found).__name__, lies_in(found, volume), famfs.ray.put(b"there", f"{place}/t")

    kinds = {"Table": table(), "ndarray": np.ones(1000)}
    for kind, thing in kinds.items():
        ref = famfs.ray.put(thing, f"{place}/{kind}")
        got = ray.get(of.options(**on("second")).remote(ref))
        assert got[:2] == (kind, True)
        assert bytes(famfs.ray.get(got[2])) == b"there"
        famfs.remove(f"{place}/t")
    assert famfs.ray.get(famfs.open(f"{place}/Table")["a"]).equals(table()["a"])
    with pytest.raises(famfs.FamfsError, match="'copy'"):
        famfs.ray.put(b"x", f"{place}/x", fallback="network")


@pytest.fixture
def lacking(tmp_path, monkeypatch, ray_cluster):
    """A mount that this process alone knows of: its environment says so, workers' does not."""
    device, mountpoint = tmp_path / "volume", tmp_path / "mnt"
    mountpoint.mkdir()
    famfs.mkfs(device, size="64MiB")
    monkeypatch.setenv("FAMFS_MOUNTS", f"{device}={mountpoint}")
    return str(device), str(mountpoint)


@ray.remote
def got(ref):
    found = famfs.ray.get(ref)
    return pickle.dumps(found.to_pylist() if hasattr(found, "to_pylist") else found.tolist())


def test_a_worker_without_the_volume_is_told_what_to_do(lacking):
    device, mountpoint = lacking
    ref = famfs.ray.put(table(), f"{mountpoint}/table")
    with pytest.raises(famfs.NotMounted, match=r"FAMFS_MOUNTS=DEV=MNT.*fallback='copy'"):
        ray.get(got.remote(ref))
    # A dataset that is an argument is opened before the task runs; the error is the same class.
    with pytest.raises(ray.exceptions.RayError, match="NotMounted"):
        ray.get(seen.remote([famfs.open(ref)], mountpoint))
    # The remedy, as it is told.
    env = famfs.ray.runtime_env(mounts={device: mountpoint})
    values = ray.get(got.options(runtime_env=env).remote(ref))
    assert pickle.loads(values) == table().to_pylist()


def test_a_worker_without_the_volume_gets_a_copy_if_asked(lacking):
    device, mountpoint = lacking
    env = famfs.ray.runtime_env(mounts={device: mountpoint})

    @ray.remote(**on("first"), runtime_env=env)
    class Owner:
        """The node's workers have the volume, where its objects are put."""

        def put(self, thing, name):
            return famfs.ray.put(thing, f"{mountpoint}/{name}", fallback="copy")

    owner = Owner.remote()
    things = {"table": table(), "array": np.arange(5000)}
    for name, thing in things.items():
        held = ray.get(owner.put.remote(thing, name))
        assert isinstance(held, famfs.ray.Copied)
        values = ray.get(got.options(**on("second")).remote(held))
        assert pickle.loads(values) == plain(thing)
        # Who has the volume needs no copy.
        assert lies_in(famfs.ray.get(held), mountpoint)
    ray.kill(owner)


@pytest.mark.parametrize(
    ("before", "says"),
    [
        ("sys.modules['ray'] = None", "pip install 'famfs[ray]'"),
        ("import ray; ray.__version__ = '2.9.3'", "ray 2.9.3 is too old, 2.60 or later"),
    ],
)
def test_the_import_says_what_to_install(run, before, says):
    done = run(f"import sys\n{before}\nimport famfs.ray", check=False)
    assert done.returncode == 1
    assert "ImportError" in done.stderr
    assert says in done.stderr
