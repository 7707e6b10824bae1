"""Dask: collections over published data on every scheduler, and frames that appear all at once."""

from __future__ import annotations

import pickle

import dask
import dask.array as da
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from dask.distributed import Client, LocalCluster
from work import array_inside, break_off, die_once, places

import famfs
import famfs.dask

ROWS = 1000
TABLE = pa.table(
    {
        "a": np.arange(ROWS),
        "b": np.linspace(0, 1, ROWS),
        "s": [f"text {i % 3}" for i in range(ROWS)],
        # Null in the last partition alone.
        "n": pa.array([*range(ROWS - 1), None], pa.int32()),
    }
)


@pytest.fixture
def ref(mnt):
    return famfs.publish(TABLE, f"{mnt}/t", batch_rows=300)


@pytest.fixture(scope="module")
def cluster():
    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
    with LocalCluster(**options) as cluster, Client(cluster) as client:
        yield client


@pytest.fixture(params=["threads", "processes", "distributed"])
def scheduler(request):
    if request.param == "distributed":
        return request.getfixturevalue("cluster")
    return request.param


# Frames.


def test_partitions_are_in_place_on_every_scheduler(mnt, ref, scheduler):
    frame = famfs.dask.read(ref)
    assert frame.npartitions == 4
    meta = {"a": bool, "b": bool, "s": bool, "n": bool, "pid": int}
    # Optimized, a partition's steps are one task: processes hand frames over by copying them.
    found = frame.map_partitions(places, meta=meta).optimize().compute(scheduler=scheduler)
    assert len(found) == 4
    assert found[["a", "b", "s", "n"]].to_numpy().all()
    total = frame.groupby("s")["a"].sum().compute(scheduler=scheduler)
    assert total.sum() == sum(range(ROWS))


def test_what_comes_of_it_is_what_was_published(mnt, ref):
    expected = famfs.open(ref).to_pandas()
    for source in (ref, str(ref), f"{mnt}/t", famfs.open(ref)):
        frame = famfs.dask.read(source)
        assert (frame.dtypes == expected.dtypes).all()
        found = frame.compute().reset_index(drop=True)
        pd.testing.assert_frame_equal(found, expected)
    # All partitions agree about the column that has nulls in one.
    assert {str(part["n"].dtype) for part in dask.compute(*frame.to_delayed())} == {
        "int32[pyarrow]"
    }
    arrow = famfs.dask.read(ref, dtype_backend="pyarrow")
    assert all(isinstance(dtype, pd.ArrowDtype) for dtype in arrow.dtypes)
    assert arrow["a"].sum().compute() == sum(range(ROWS))


def test_making_one_reads_nothing(ref, monkeypatch):
    made = []
    whole = famfs.dask.Part.__call__

    def watched(self, dataset, columns=None):
        made.append(columns)
        return whole(self, dataset, columns)

    monkeypatch.setattr(famfs.dask.Part, "__call__", watched)
    frame = famfs.dask.read(ref)
    kept = frame[frame["a"] > 10]["b"].sum()
    assert made == []
    kept.compute(scheduler="synchronous")
    # And of the columns that are not used nothing is opened.
    assert [sorted(columns) for columns in made] == [["a", "b"]] * 4


def test_columns_and_partitions(ref, mnt):
    frame = famfs.dask.read(ref, columns=["s", "a"], npartitions=2)
    assert list(frame.columns) == ["s", "a"]
    assert frame.npartitions == 2
    assert [len(part) for part in dask.compute(*frame.to_delayed())] == [600, 400]
    one = famfs.publish(TABLE, f"{mnt}/one")
    assert famfs.dask.read(one).npartitions == 1
    parts = famfs.dask.read(one, npartitions=7)
    assert parts.npartitions == 7
    assert len(parts) == ROWS
    part = famfs.dask.read(famfs.open(one)[100:200, ["b", "n"]])
    assert part.compute().shape == (100, 2)
    assert part["n"].sum().compute() == sum(range(100, 200))
    assert famfs.dask.read(famfs.open(one)[:0]).compute().shape == (0, 4)
    assert famfs.dask.read(one)[["n"]].compute().shape == (ROWS, 1)


def test_frames_of_pandas_keep_what_they_were(mnt):
    frame = pd.DataFrame(
        {
            "c": pd.Categorical(["x", "y"] * 50),
            "t": pd.date_range("2026-01-01", periods=100, tz="UTC"),
            "o": pd.array([True, None] * 50, dtype="boolean"),
        },
        index=pd.Index(np.arange(100) * 10, name="i"),
    )
    ref = famfs.publish(frame, f"{mnt}/f", batch_rows=30)
    read = famfs.dask.read(ref)
    assert read.index.name == "i"
    pd.testing.assert_frame_equal(read.compute(), frame)
    pd.testing.assert_series_equal(read["t"].compute(), frame["t"])
    assert read.loc[read["o"].fillna(value=False)]["c"].compute().tolist() == ["x"] * 50


def test_a_range_of_rows_reaches_over_partitions(mnt):
    famfs.mkdir(f"{mnt}/frames")
    index = pd.RangeIndex(100, 300, 2, name="k")
    frame = pd.DataFrame({"a": np.arange(100), "b": np.ones(100)}, index)
    for i in range(2):
        half = frame.iloc[50 * i : 50 * (i + 1)]
        famfs.publish(half, f"{mnt}/frames/{i}", batch_rows=20)
    read = famfs.dask.read(f"{mnt}/frames")
    assert (read.npartitions, read.index.name) == (6, "k")
    pd.testing.assert_frame_equal(read.compute(), frame, check_index_type=False)
    assert read["a"].compute().loc[298] == 99


def test_several_files_are_one(mnt):
    famfs.mkdir(f"{mnt}/runs")
    for i in range(3):
        famfs.publish({"a": np.arange(5) + 10 * i}, f"{mnt}/runs/{i}")
    runs = famfs.dask.read(f"{mnt}/runs/*")
    assert runs.npartitions == 3
    assert runs["a"].sum().compute() == 180


@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_dask_itself_by_url(ref, mnt, kind):
    frame = famfs.dask.read(ref)[["a", "b"]]
    where = f"famfs://{ref.uuid}/files"
    if kind == "csv":
        frame.to_csv(f"{where}/*.csv", index=False)
        found = dd.read_csv(f"{where}/*.csv")
    else:
        frame.to_parquet(where)
        found = dd.read_parquet(where)
    assert found["a"].sum().compute() == sum(range(ROWS))
    assert len(famfs.ls(f"{mnt}/files")) == 4


def test_partitions_travel_as_references(ref):
    parts = [famfs.open(ref).partition(i, 4) for i in range(4)]
    assert all(len(pickle.dumps(part)) <= 256 for part in parts)
    graph = famfs.dask.read(ref).optimize().__dask_graph__()
    assert len(pickle.dumps(dict(graph))) < 20_000


# Arrays.


def test_arrays(mnt, scheduler):
    array = np.arange(60.0).reshape(20, 3)
    ref = famfs.publish(array, f"{mnt}/x")
    blocks = famfs.dask.read(ref, npartitions=4)
    assert blocks.chunks == ((5, 5, 5, 5), (3,))
    assert blocks.dtype == array.dtype
    assert blocks.sum().compute(scheduler=scheduler) == array.sum()
    assert (blocks[3:12:2, ::-1].compute(scheduler=scheduler) == array[3:12:2, ::-1]).all()
    inside = blocks.map_blocks(lambda b: np.array([[array_inside(b)]]), chunks=(1, 1), dtype=bool)
    assert inside.compute(scheduler=scheduler).all()


def test_arrays_of_every_form(mnt, inside):
    for name, array in {
        "fortran": np.asfortranarray(np.arange(12).reshape(3, 4)),
        "one": np.arange(5).astype("M8[s]"),
        "none": np.array(7),
        "empty": np.empty((0, 3)),
        "fields": np.zeros(4, [("x", "f4"), ("y", "i2")]),
    }.items():
        ref = famfs.publish(array, f"{mnt}/{name}")
        for parts in (None, 2):
            found = famfs.dask.read(ref, npartitions=parts).compute()
            assert found.dtype == array.dtype
            assert np.array_equal(found, array)
    assert famfs.dask.read(f"{mnt}/fortran", npartitions=2).chunks == ((3,), (2, 2))


# Writing.


def test_a_frame_appears_all_at_once(mnt, ref, scheduler):
    frame = famfs.dask.read(ref)
    late = frame[frame["a"] >= 250]
    found = famfs.dask.write(late, f"{mnt}/late", scheduler=scheduler)
    assert len(found.files) == 4
    assert found == famfs.open(f"{mnt}/late")
    assert found["a"].to_arrow().to_pylist() == list(range(250, ROWS))
    names = {entry.name for entry in famfs.ls(f"{mnt}/late")}
    assert names == {f"part-{i:05}" for i in range(4)}
    assert famfs.dask.read(f"{mnt}/late")["n"].sum().compute() == sum(range(250, ROWS - 1))


def test_nothing_is_there_before_the_end(mnt, ref):
    seen = []

    def look(frame):
        seen.append([entry.name for entry in famfs.ls(f"{mnt}/out")])
        return frame

    frame = famfs.dask.read(ref)
    frame = frame.map_partitions(look, meta=frame._meta)
    famfs.dask.write(frame, f"{mnt}/out", scheduler="synchronous")
    assert seen[-4:] == [[], [], [], []]


@pytest.mark.parametrize("scheduler", ["threads", "distributed"], indirect=True)
def test_a_task_that_fails_leaves_nothing(mnt, ref, scheduler):
    free = famfs.df(mnt).free
    frame = famfs.dask.read(ref)
    bad = frame.map_partitions(break_off, 650, meta=frame._meta)
    with pytest.raises(ZeroDivisionError):
        famfs.dask.write(bad, f"{mnt}/out", scheduler=scheduler)
    assert not famfs.exists(f"{mnt}/out")
    # The same place can be had afterwards, and the space as well.
    assert famfs.dask.write(frame, f"{mnt}/out", scheduler=scheduler).num_rows == ROWS
    assert famfs.df(mnt).free >= free - 5 * (2 << 20)


def test_a_worker_that_is_killed_is_replaced(mnt, ref, cluster, tmp_path):
    frame = famfs.dask.read(ref)
    frame = frame.map_partitions(die_once, 650, str(tmp_path / "died"), meta=frame._meta)
    found = famfs.dask.write(frame, f"{mnt}/out", scheduler=cluster)
    assert (tmp_path / "died").exists()
    assert found["a"].to_arrow().to_pylist() == list(range(ROWS))


KILLED = """
    import os, sys, famfs, famfs.dask, pandas as pd, pyarrow as pa
    frame = pd.DataFrame({"a": range(5)})
    if sys.argv[3] == "before":
        with famfs.transaction(token=sys.argv[2]) as mine:
            mine.publish(frame, sys.argv[1])
            os._exit(0)
    famfs.dask._fill(frame, sys.argv[1], sys.argv[2], pa.schema([]))
    os._exit(0)
"""


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_task_is_run_again(mnt, run, when):
    # Its worker ended before its block did, or after it and before Dask knew.
    with famfs.transaction(mnt) as together:
        run(KILLED, f"{mnt}/x", together.token, when)
        famfs.dask._fill(pd.DataFrame({"a": range(5)}), f"{mnt}/x", together.token, pa.schema([]))
    assert famfs.open(f"{mnt}/x").num_rows == 5


@pytest.mark.parametrize("scheduler", ["threads", "distributed"], indirect=True)
def test_a_full_volume(mnt, ref, scheduler):
    frame = famfs.dask.read(ref).map_partitions(
        lambda part: pd.DataFrame({"x": np.zeros(3 << 20)}), meta={"x": float}
    )
    with pytest.raises(famfs.NoSpace):
        famfs.dask.write(frame, f"{mnt}/out", scheduler=scheduler)
    assert not famfs.exists(f"{mnt}/out")


def test_partitions_of_different_columns(mnt):
    def part(i):
        return pd.DataFrame({"a": [i], "b": [1.5 if i == 2 else 1]})

    frame = dd.from_map(part, range(4), meta={"a": int, "b": int})
    with pytest.raises(famfs.Unsupported, match="partition 2 .*'b' is double and not int64"):
        famfs.dask.write(frame, f"{mnt}/out")
    assert famfs.ls(mnt) == []


def test_partitions_of_missing_values_are_what_the_others_are(mnt):
    def part(i):
        return pd.DataFrame({"o": pd.Series([None, None if i else "x"], dtype=object)})

    frame = dd.from_map(part, range(3), meta=pd.DataFrame({"o": pd.Series([], dtype=object)}))
    with dask.config.set({"dataframe.convert-string": False}):
        found = famfs.dask.write(frame, f"{mnt}/out")
    assert found["o"].to_arrow().to_pylist() == [None, "x", None, None, None, None]


def test_empty_partitions_and_series(mnt, ref):
    frame = famfs.dask.read(ref)
    found = famfs.dask.write(frame[frame["a"] < 3], f"{mnt}/few")
    assert [file.num_rows for file in found.files] == [3, 0, 0, 0]
    series = famfs.dask.write(frame["b"], f"{mnt}/series")
    assert series.names[0] == "b"
    famfs.mkdir(f"{mnt}/empty")
    assert famfs.dask.write(frame, f"{mnt}/empty").num_rows == ROWS


def test_what_cannot_be_read_or_written(mnt, ref):
    read, write = famfs.dask.read, famfs.dask.write
    frame = read(ref)
    famfs.publish(b"x", f"{mnt}/bytes")
    famfs.publish(np.arange(3), f"{mnt}/array")
    for use, error, hint in (
        (lambda: read(f"{mnt}/none"), famfs.NotFound, "no such file"),
        (lambda: read(f"{mnt}/bytes"), famfs.Unsupported, "tables and arrays"),
        (lambda: read(famfs.open(ref)["a"]), famfs.Unsupported, "tables and arrays"),
        (lambda: read(f"{mnt}/array", columns=["a"]), famfs.Unsupported, "for tables"),
        (lambda: read(ref, columns=["no"]), KeyError, "no"),
        (lambda: read(ref, npartitions=1.5), famfs.Unsupported, "npartitions"),
        (lambda: read(ref, columns="ab"), famfs.Unsupported, r"a list of names .* \['ab'\]"),
        (lambda: read(ref, npartitions=-1), famfs.Unsupported, "npartitions"),
        (lambda: read(ref, npartitions=0), famfs.Unsupported, "npartitions=0.* 1 or more"),
        (lambda: write(da.ones(3), f"{mnt}/x"), famfs.Unsupported, "Array is no frame"),
        (lambda: write(frame.compute(), f"{mnt}/x"), famfs.Unsupported, r"famfs\.publish"),
        (lambda: write(frame, f"{mnt}/t"), famfs.AlreadyExists, "is a file"),
        (lambda: write(frame, mnt), famfs.AlreadyExists, "has files in it"),
        (lambda: write(frame, f"{mnt}/no/where"), famfs.NotFound, "directory"),
        (lambda: write(frame, f"{mnt}/a/../b"), famfs.InvalidPath, r"\.\."),
        (lambda: write(frame, "/nowhere/x"), famfs.NotMounted, "no famfs mount"),
    ):
        with pytest.raises(error, match=hint):
            use()
    assert len(famfs.ls(mnt)) == 3


def test_dask_is_missing(run, ref):
    code = """
        import sys
        sys.modules["dask"] = None
        import famfs.dask
        for use in (famfs.dask.read, lambda ref: famfs.dask.write(None, ref)):
            try:
                use(sys.argv[1])
            except ImportError as error:
                print(error)
    """
    assert run(code, ref).stdout.count("pip install 'famfs[dask]'") == 2
