"""A directory or a pattern: several tables as one dataset."""

from __future__ import annotations

import multiprocessing
import os
import pickle

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import famfs


def part(i, rows=20):
    numbers = np.arange(i * rows, (i + 1) * rows)
    return pa.table({"n": numbers, "text": [f"row {n}" for n in numbers]})


@pytest.fixture
def parts(mnt):
    """Three tables of 20 rows in batches of 5, in a directory with another one in it."""
    famfs.mkdir(f"{mnt}/all")
    famfs.mkdir(f"{mnt}/all/other")
    for i in (2, 0, 1):
        famfs.publish(part(i), f"{mnt}/all/part-{i}", batch_rows=5)
    return f"{mnt}/all"


WHOLE = pa.concat_tables([part(i) for i in range(3)])


def test_a_directory_is_its_files_in_name_order(parts, inside, mnt, monkeypatch):
    for path in (parts, f"{parts}/part-*", f"{parts}/part-[0-2]"):
        dataset = famfs.open(path, verify=True)
        assert (dataset.kind, dataset.shape) == ("table", (60, 2))
        found = dataset.to_arrow()
        assert found.equals(WHOLE)
        for chunk in found["n"].chunks:
            assert inside(mnt, chunk.buffers()[1].address, 1)
        assert len(dataset.batches) == 12
        assert dataset.batches[5].equals(part(1).slice(5, 5).to_batches()[0])
        assert dataset.schema == WHOLE.schema
        assert dataset.to_pandas()["n"].tolist() == list(range(60))
        assert dataset.copy().equals(WHOLE)
        assert [file.path.rpartition("/")[2] for file in dataset.files] == [
            "part-0",
            "part-1",
            "part-2",
        ]
    assert famfs.open(f"{parts}/part-[12]").num_rows == 40
    monkeypatch.chdir(os.path.dirname(mnt))
    assert famfs.open("mnt/all/*").num_rows == 60
    assert famfs.open(f"{parts}/part-1").kind == "table"
    assert famfs.open(f"{parts}/part-1").ref


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (lambda d: d[15:45], lambda t: t.slice(15, 30)),
        (lambda d: d[25:30], lambda t: t.slice(25, 5)),
        (lambda d: d[50:40], lambda t: t.slice(0, 0)),
        (lambda d: d[["text"]], lambda t: t.select(["text"])),
        (lambda d: d["n"], lambda t: t["n"]),
        (lambda d: d[10:50, "text"][5:], lambda t: t["text"].slice(15, 35)),
        (lambda d: d[33:44]["n"], lambda t: t["n"].slice(33, 11)),
    ],
)
def test_selections_reach_over_files(parts, ours, theirs):
    selected = ours(famfs.open(parts))
    expected = theirs(WHOLE)
    assert selected.to_arrow().to_pylist() == expected.to_pylist()
    assert len(selected) == len(expected)
    again = pickle.loads(pickle.dumps(selected))
    assert again == selected
    assert hash(again) == hash(selected)
    assert again.to_arrow().to_pylist() == expected.to_pylist()


def test_partitions_are_cut_where_batches_meet(parts):
    dataset = famfs.open(parts)
    for count in (1, 5, 12, 40):
        found = [dataset.partition(i, count).to_arrow() for i in range(count)]
        assert pa.concat_tables(found).to_pylist() == WHOLE.to_pylist()
        if count <= 12:
            assert all(table.num_rows % 5 == 0 for table in found)


def test_a_column_in_one_file_is_an_array(parts, mnt, inside):
    dataset = famfs.open(parts)
    array = dataset["n"][20:25].to_numpy()
    assert array.tolist() == [20, 21, 22, 23, 24]
    assert inside(mnt, array.ctypes.data, array.nbytes)
    with pytest.raises(famfs.Unsupported, match="3 files"):
        dataset["n"].to_numpy()
    assert dataset.take([59, 0]).to_pylist() == WHOLE.take([59, 0]).to_pylist()
    with pytest.raises(famfs.Unsupported, match="of several files"):
        _ = dataset.ref
    with pytest.raises(famfs.Unsupported, match="of several files"):
        dataset.buffer()
    assert "table of 60 rows and 2 columns in 3 files" in repr(dataset)
    assert "60 rows" in dataset._repr_html_()


def test_what_is_not_one_table_says_why(mnt):
    famfs.mkdir(f"{mnt}/empty")
    for path in (f"{mnt}/empty", f"{mnt}/empty/*", f"{mnt}/none/*", f"{mnt}/*.none"):
        with pytest.raises(famfs.NotFound):
            famfs.open(path)
    famfs.publish(part(0), f"{mnt}/a1")
    famfs.publish(part(0).select(["n"]), f"{mnt}/a2")
    with pytest.raises(famfs.Unsupported, match="a2 has other columns than .*a1"):
        famfs.open(f"{mnt}/a*")
    famfs.publish(pa.table({"n": [1.5], "text": ["x"]}), f"{mnt}/b1")
    famfs.publish(part(0), f"{mnt}/b2")
    with pytest.raises(famfs.Unsupported, match="'n' is int64 and not double"):
        famfs.open(f"{mnt}/b*")
    famfs.publish(np.arange(3), f"{mnt}/c1")
    with pytest.raises(famfs.Unsupported, match="c1 is array"):
        famfs.open(f"{mnt}/c*")
    with pytest.raises(famfs.Unsupported, match="in the last part"):
        famfs.open(f"{mnt}/e*/x")
    # A name is a name, whatever its letters.
    famfs.publish(b"star", f"{mnt}/a*")
    assert bytes(famfs.open(f"{mnt}/a*")) == b"star"


def extend(path, i):
    famfs.publish(part(i), f"{path}/part-{i:02}")


def test_many_processes_extend_a_table(mnt):
    famfs.mkdir(f"{mnt}/grows")
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=extend, args=(f"{mnt}/grows", i)) for i in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert famfs.open(f"{mnt}/grows")["n"].to_arrow().to_pylist() == list(range(80))


def test_rows_of_dictionaries_that_are_too_many_for_one(mnt):
    """Their indices are of 8 bits: the two have more values than one of them tells apart."""
    expected = []
    for part in range(2):
        words = [f"{part}-{i}" for i in range(100)]
        column = pa.DictionaryArray.from_arrays(pa.array(range(100), pa.int8()), pa.array(words))
        famfs.publish(pa.table({"word": column}), f"{mnt}/part-{part}")
        expected += words
    rows = [*range(200)]
    taken = famfs.open(f"{mnt}/part-*").take(rows)
    found = pa.table(taken)["word"].cast(pa.string()).to_pylist()
    assert found == [expected[row] for row in rows]


def frames(mnt, *indices):
    """Frames of these indices as a directory's files, and what pandas joins of them."""
    famfs.mkdir(f"{mnt}/frames")
    made = [pd.DataFrame({"a": np.arange(len(index)) + 0.5}, index=index) for index in indices]
    for i, frame in enumerate(made):
        famfs.publish(frame, f"{mnt}/frames/{i}", batch_rows=3)
    return famfs.open(f"{mnt}/frames"), pd.concat(made)


@pytest.mark.parametrize(
    "indices",
    [
        (pd.RangeIndex(100, 110, name="k"), pd.RangeIndex(110, 130, name="k")),
        (pd.RangeIndex(100, 110), pd.RangeIndex(300, 310), pd.RangeIndex(5, 0, -1)),
        (pd.RangeIndex(10), pd.RangeIndex(10, 15), pd.RangeIndex(15, 15)),
        (pd.RangeIndex(10, 30, 2, name="k"), pd.RangeIndex(4, name="other")),
        (pd.Index([5, 3, 1], name="i"), pd.Index([3, 9], name="i")),
        (pd.date_range("2026-01-01", periods=3), pd.date_range("2026-02-01", periods=4)),
    ],
)
def test_frames_are_joined_with_their_indices_as_pandas_joins_them(mnt, indices):
    dataset, expected = frames(mnt, *indices)
    for backend in (None, "pyarrow"):
        found = dataset.to_pandas(dtype_backend=backend)
        pd.testing.assert_index_equal(found.index, expected.index, exact=True)
        assert found["a"].tolist() == expected["a"].tolist()
    for rows in (slice(2, 4), slice(8, 13), slice(0, 0), slice(len(indices[0]), None)):
        part = pickle.loads(pickle.dumps(dataset[rows])).to_pandas()
        if len(part):
            assert part.index.tolist() == expected.index[rows].tolist()
            assert part.index.name == expected.index.name or rows != slice(8, 13)


def test_frames_that_only_count_their_rows_are_counted_together(mnt):
    dataset, _ = frames(mnt, pd.RangeIndex(10), pd.RangeIndex(7))
    index = pd.RangeIndex(17)
    pd.testing.assert_index_equal(dataset.to_pandas().index, index, exact=True)
    pd.testing.assert_index_equal(dataset[5:15].to_pandas().index, index[:10], exact=True)
    # What lies within one file has that file's.
    for part in (dataset[12:14], pickle.loads(pickle.dumps(dataset[12:14]))):
        pd.testing.assert_index_equal(part.to_pandas().index, index[2:4], exact=True)
    first = dataset.files[0].to_arrow()
    # What is cut off a frame's table says of itself what the whole frame was.
    ranged = pd.DataFrame({"a": np.ones(10)}, index=pd.RangeIndex(100, 110))
    metadata = pa.Table.from_pandas(ranged).schema.metadata
    stale = first.slice(2, 5).replace_schema_metadata(metadata)
    cut = famfs.open(famfs.publish(stale, f"{mnt}/stale"))
    for part in (cut, cut[1:3]):
        assert part.to_pandas().index.equals(pd.RangeIndex(len(part)))


def test_rows_of_one_frame_keep_their_range(mnt):
    frame = pd.DataFrame({"a": np.arange(10)}, index=pd.RangeIndex(100, 120, 2, name="k"))
    dataset = famfs.open(famfs.publish(frame, f"{mnt}/f"))
    for rows in (slice(3, 7), slice(9, None), slice(4, 4)):
        pd.testing.assert_frame_equal(dataset[rows].to_pandas(), frame.iloc[rows])
