"""famfs.polars.scan: what a query names is read, in place, and the rest isn't."""

from __future__ import annotations

import pickle

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from polars.testing import assert_frame_equal

import famfs
import famfs.polars

ROWS = 10_000
COLUMNS = {
    "a": np.arange(ROWS),
    "b": np.arange(ROWS) % 7 / 2,
    "s": pa.array([f"text {i % 5}" for i in range(ROWS)]),
    "v": pa.array([f"a text that is no small one {i}" for i in range(ROWS)], pa.string_view()),
}


@pytest.fixture
def ref(mnt):
    return famfs.publish(COLUMNS, f"{mnt}/t", batch_rows=3000)


@pytest.fixture
def asked(monkeypatch):
    """What polars asked of sources, and what it got of each: columns, rows, predicate; frames."""
    calls = []
    whole = famfs.polars._Source.__call__

    def watched(self, columns, predicate, rows, batch_rows):
        frames = list(whole(self, columns, predicate, rows, batch_rows))
        calls.append((columns, rows, predicate, frames))
        yield from frames

    monkeypatch.setattr(famfs.polars._Source, "__call__", watched)
    return calls


def address(series):
    return series.to_numpy(allow_copy=False).__array_interface__["data"][0]


def test_all_of_it(mnt, ref):
    expected = famfs.open(ref).to_polars()
    for source in (ref, str(ref), f"{mnt}/t", famfs.stat(f"{mnt}/t"), famfs.open(ref)):
        frame = famfs.polars.scan(source)
        assert frame.collect_schema() == expected.schema
        for engine in ("in-memory", "streaming"):
            assert_frame_equal(frame.collect(engine=engine), expected)


def test_columns_are_chosen_before_they_are_read(ref, asked):
    frame = famfs.polars.scan(ref)
    assert frame.select(pl.col("a").sum()).collect().item() == sum(range(ROWS))
    assert frame.group_by("b").len().collect().height == 7
    assert [call[0] for call in asked] == [["a"], ["b"]]
    assert all(found.width == 1 for *_, frames in asked for found in frames)
    assert frame.select(pl.len()).collect().item() == ROWS


def test_rows_are_kept_batch_by_batch(ref, asked):
    frame = famfs.polars.scan(ref).filter((pl.col("a") > 2500) & (pl.col("s") == "text 3"))
    found = frame.select("a").collect()
    assert found["a"].to_list() == [i for i in range(2501, ROWS) if i % 5 == 3]
    ((_, rows, predicate, frames),) = asked
    assert rows is None
    assert predicate is not None
    # Of each batch the rows that are kept, and none of the others.
    assert [got.height for got in frames] == [100, 600, 600, 200]


def test_first_rows(ref, asked):
    frame = famfs.polars.scan(ref)
    assert frame.head(5).collect()["a"].to_list() == [0, 1, 2, 3, 4]
    assert frame.head(5000).filter(pl.col("a") % 2 == 0).collect().height == 2500
    assert [(call[1], [f.height for f in call[3]]) for call in asked] == [
        (5, [5]),
        (5000, [1500, 1000]),
    ]
    assert frame.filter(pl.col("a") > 7000).head(3).collect()["a"].to_list() == [7001, 7002, 7003]
    assert frame.slice(4998, 4).collect()["a"].to_list() == [4998, 4999, 5000, 5001]
    assert frame.tail(2).collect()["a"].to_list() == [ROWS - 2, ROWS - 1]
    part = famfs.polars.scan(famfs.open(ref)[4998:5002])
    assert part.collect()["a"].to_list() == [4998, 4999, 5000, 5001]
    assert sum(got.height for got in asked[-1][3]) == 4


def test_columns_are_in_place(mnt, ref, inside):
    frame = famfs.polars.scan(ref).select("a", "b").collect()
    for name in ("a", "b"):
        chunks = frame[name].get_chunks()
        assert len(chunks) == 4
        assert all(inside(mnt, address(chunk), 8 * len(chunk)) for chunk in chunks)
    filtered = famfs.polars.scan(ref).filter(pl.col("a") % 2 == 1).select("a").collect()["a"]
    assert not any(inside(mnt, address(chunk), 8) for chunk in filtered.get_chunks())
    one = famfs.polars.scan(famfs.publish(COLUMNS, f"{mnt}/one")).collect()
    assert inside(mnt, address(one["a"]), 8 * ROWS)


def test_joins_and_several_files(mnt, ref):
    famfs.mkdir(f"{mnt}/runs")
    for i in range(3):
        famfs.publish({"a": np.arange(5) + 10 * i, "i": np.full(5, i)}, f"{mnt}/runs/{i}")
    runs = famfs.polars.scan(f"{mnt}/runs/*")
    assert runs.select(pl.col("a").sum(), pl.len()).collect().row(0) == (180, 15)
    joined = famfs.polars.scan(ref).join(runs, on="a").group_by("i").len().sort("i").collect()
    assert joined.rows() == [(0, 5), (1, 5), (2, 5)]
    scanned = famfs.polars.scan(ref)
    assert scanned.join(scanned, on="a").select(pl.len()).collect().item() == ROWS


def test_tables_of_nothing(mnt):
    for name, thing in {
        "no rows": pa.table({"a": pa.array([], pa.int64())}),
        "no columns": pa.table({}),
    }.items():
        frame = famfs.polars.scan(famfs.publish(thing, f"{mnt}/{name}"))
        assert frame.collect().shape == thing.shape
    frame = famfs.polars.scan(f"{mnt}/no rows")
    assert frame.filter(pl.col("a") > 1).head(3).collect().schema == {"a": pl.Int64}


def test_what_was_collected_outlives_the_file(mnt, ref):
    frame = famfs.polars.scan(ref)
    collected = frame.select("a").collect()
    famfs.remove(f"{mnt}/t")
    assert collected["a"].sum() == frame.select("a").collect()["a"].sum() == sum(range(ROWS))


def test_it_goes_to_other_processes(ref, run):
    frame = famfs.polars.scan(ref).select(pl.col("a").sum())
    pickled = pickle.dumps(frame)
    assert len(pickled) < 4096
    code = """
        import pickle, sys
        print(pickle.loads(bytes.fromhex(sys.argv[1])).collect().item())
    """
    assert run(code, pickled.hex()).stdout == f"{sum(range(ROWS))}\n"


def test_what_cannot_be_scanned(mnt, ref):
    for source, error, hint in (
        (f"{mnt}/none", famfs.NotFound, "no such file"),
        (famfs.publish(np.arange(3), f"{mnt}/array"), famfs.Unsupported, "to_numpy"),
        (famfs.open(ref)["a"], famfs.Unsupported, "to_polars"),
        (
            famfs.publish(pa.table([[1], [2]], names=["x", "x"]), f"{mnt}/twins"),
            famfs.Unsupported,
            "'x'",
        ),
        (
            famfs.publish(
                pa.table({"a": [1], "r": pa.RunEndEncodedArray.from_arrays([1], [5])}),
                f"{mnt}/runs",
            ),
            famfs.Unsupported,
            "leaves columns out",
        ),
    ):
        with pytest.raises(error, match=hint):
            famfs.polars.scan(source)
    some = famfs.open(f"{mnt}/runs")[["a"]]
    assert famfs.polars.scan(some).collect().to_dict(as_series=False) == {"a": [1]}


def test_polars_is_missing(run, ref):
    code = """
        import sys
        sys.modules["polars"] = None
        import famfs.polars
        try:
            famfs.polars.scan(sys.argv[1])
        except ImportError as error:
            print(error)
    """
    assert "pip install 'famfs[polars]'" in run(code, ref).stdout


def test_what_is_no_source_is_said():
    for wrong in (5, None, ["a"]):
        with pytest.raises(famfs.Unsupported, match="is no path"):
            famfs.polars.scan(wrong)
