"""Hugging Face datasets: over the volume's memory, pickled as references, and published."""

from __future__ import annotations

import copy
import pickle

import datasets
import numpy as np
import pyarrow as pa
import pytest

import famfs

ROWS = 50_000


@pytest.fixture
def ds(mnt):
    columns = {"a": np.arange(ROWS), "s": pa.array([f"text {i}" for i in range(ROWS)])}
    return famfs.open(famfs.publish(columns, f"{mnt}/t"))


def lies(inside, mnt, hf):
    """Whether all values of a dataset lie in the volume."""
    buffers = [
        buffer
        for column in hf.data.table.columns
        for chunk in column.chunks
        for buffer in chunk.buffers()
        if buffer is not None
    ]
    assert buffers
    return {inside(mnt, buffer.address, buffer.size) for buffer in buffers}


def test_values_and_features(ds, mnt, inside):
    hf = ds.to_datasets()
    assert lies(inside, mnt, hf) == {True}
    assert hf.features == {"a": datasets.Value("int64"), "s": datasets.Value("string")}
    assert hf[ROWS - 1] == {"a": ROWS - 1, "s": f"text {ROWS - 1}"}
    assert ds["s"].to_datasets()[3] == {"s": "text 3"}
    assert ds[10:20, ["a"]].to_datasets()["a"][:] == list(range(10, 20))


def test_it_stays_valid_when_the_dataset_is_closed(ds, mnt, inside):
    with ds:
        hf = ds.to_datasets()
    back = pickle.loads(pickle.dumps(hf.select(range(3))))
    assert lies(inside, mnt, back) == {True}
    assert back["a"][:] == [0, 1, 2]


CHANGES = {
    "nothing": lambda hf: hf,
    "rename": lambda hf: hf.rename_column("a", "b"),
    "remove": lambda hf: hf.remove_columns(["a"]),
    "columns": lambda hf: hf.select_columns(["s", "a"]),
    "range": lambda hf: hf.select(range(7, 700)),
    "range of a range": lambda hf: hf.select(range(7, 700)).select(range(3, 60)),
    "both": lambda hf: hf.rename_column("a", "b").select(range(5)).remove_columns(["s"]),
    "shard": lambda hf: hf.shard(10, 3, contiguous=True),
    "concatenated": lambda hf: datasets.concatenate_datasets([hf, hf.select(range(5))]),
    "deep copy": copy.deepcopy,
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_is_made_of_one_pickles_small(ds, mnt, inside, name):
    hf = CHANGES[name](ds.to_datasets())
    assert lies(inside, mnt, hf) == {True}
    pickled = pickle.dumps(hf)
    assert len(pickled) < 2500
    back = pickle.loads(pickled)
    assert lies(inside, mnt, back) == {True}
    assert back.features == hf.features
    assert back.data.table.equals(hf.data.table)
    # Also what was unpickled is pickled as what it was.
    assert len(pickle.dumps(back)) < 2500


def test_steps_that_compute_are_taken_again(ds):
    hf = ds[:100].to_datasets()
    added = hf.add_column("c", list(range(100)))
    cast = added.cast_column("a", datasets.Value("int32"))
    back = pickle.loads(pickle.dumps(cast))
    assert back.features["a"] == datasets.Value("int32")
    assert back[:] == cast[:]


def test_workers_open_it_where_it_is(ds, mnt, tmp_path, run):
    code = """
        import sys, famfs
        hf = famfs.open(sys.argv[1]).to_datasets()
        def twice(row):
            source = next(m.source for m in famfs.mounts() if sys.argv[1].startswith(m.mountpoint))
            mapped = any(source in line for line in open("/proc/self/maps"))
            return {"c": row["a"] * 2, "mapped": mapped}
        mapped = hf.select(range(1000)).map(
            twice, num_proc=2, cache_file_name=sys.argv[2] + "/cache.arrow"
        )
        print(mapped["c"][999], all(mapped["mapped"]))
    """
    ran = run(code, ds.path, tmp_path)
    assert ran.stdout.split() == ["1998", "True"]


def test_the_name_in_the_cache_is_the_references(mnt, ds):
    again = famfs.open(ds.ref).to_datasets()
    assert again._fingerprint == ds.to_datasets()._fingerprint
    famfs.publish({"a": np.arange(3)}, ds.path, overwrite=True)
    assert famfs.open(ds.path).to_datasets()._fingerprint != again._fingerprint


def test_several_files(mnt, inside):
    famfs.mkdir(f"{mnt}/runs")
    for i in range(3):
        famfs.publish({"a": np.arange(5) + 10 * i}, f"{mnt}/runs/{i}")
    hf = famfs.open(f"{mnt}/runs").to_datasets()
    assert lies(inside, mnt, hf) == {True}
    assert pickle.loads(pickle.dumps(hf))["a"][:][-1] == 24


FEATURES = datasets.Features(
    {
        "x": datasets.Value("int32"),
        "label": datasets.ClassLabel(names=["no", "yes"]),
        "pixels": datasets.Array2D((2, 2), "float32"),
        "words": datasets.List(datasets.Value("string")),
    }
)
ROW = {"label": 1, "pixels": [[1.0, 2.0], [3.0, 4.0]], "words": ["a", "b"]}


@pytest.mark.parametrize(
    "change",
    [
        lambda hf: hf,
        lambda hf: hf.select([2, 0]),
        lambda hf: hf.shuffle(seed=5),
        lambda hf: hf.select(range(1, 3)),
        lambda hf: hf.with_format("numpy"),
    ],
    ids=["whole", "rows", "shuffled", "range", "format"],
)
def test_published_ones_come_back(mnt, inside, change):
    rows = [{"x": i, **ROW} for i in range(4)]
    hf = change(datasets.Dataset.from_list(rows, features=FEATURES))
    back = famfs.open(famfs.publish(hf, f"{mnt}/hf")).to_datasets()
    assert back.features == FEATURES
    assert back[:] == hf.with_format(None)[:]
    assert lies(inside, mnt, back) == {True}


def test_what_has_no_table_is_refused(mnt, ds):
    hf = datasets.Dataset.from_list([{"x": 1}])
    for thing, hint in (
        (datasets.DatasetDict(train=hf, test=hf), "'train', 'test'.*transaction"),
        (hf.to_iterable_dataset(), "publish a datasets.Dataset"),
    ):
        with pytest.raises(famfs.Unsupported, match=hint):
            famfs.publish(thing, f"{mnt}/x")
    with pytest.raises(famfs.Unsupported, match="2 times"):
        ds[["a", "a"]].to_datasets()
    with pytest.raises(famfs.Unsupported, match="to_numpy"):
        famfs.open(famfs.publish(np.arange(3), f"{mnt}/array")).to_datasets()
    assert not famfs.exists(f"{mnt}/x")


def test_opening_does_not_import_it(ds, run):
    code = "import sys, famfs; famfs.open(sys.argv[1]).to_arrow(); print('datasets' in sys.modules)"
    assert run(code, ds.path).stdout.split() == ["False"]
