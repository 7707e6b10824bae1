"""Selections: rows, columns, items and bytes of a dataset, in place, and their references."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import famfs

ROWS = 100


def table(columns=6):
    numbers = {f"n{i}": np.arange(ROWS) * 1000 + i for i in range(columns - 2)}
    texts = pa.array([None if i % 7 == 0 else f"row {i}" for i in range(ROWS)])
    words = pa.array([f"w{i % 3}" for i in range(ROWS)]).dictionary_encode()
    return pa.table({**numbers, "text": texts, "word": words})


@pytest.fixture(params=[6, 90], ids=["footer", "index"])
def published(request, mnt):
    """A table in batches of 10 rows: of few columns, and of so many that it has an index."""
    source = table(request.param)
    ref = famfs.publish(source, f"{mnt}/table", batch_rows=10)
    return source, famfs.open(ref)


def addresses(array):
    """Where values lie; not their bitmaps, which a slice that begins within a byte shifts."""
    chunks = array.chunks if isinstance(array, pa.ChunkedArray) else [array]
    for chunk in chunks:
        yield from (b.address for b in chunk.buffers()[1:] if b is not None and b.size)


KEYS = [
    (lambda d: d["n1"], lambda t: t["n1"]),
    (lambda d: d["text"], lambda t: t["text"]),
    (lambda d: d["word"], lambda t: t["word"]),
    (lambda d: d[["text", "n0"]], lambda t: t.select(["text", "n0"])),
    (lambda d: d[[]], lambda t: t.select([])),
    (lambda d: d[13:57], lambda t: t.slice(13, 44)),
    (lambda d: d[-15:], lambda t: t.slice(85)),
    (lambda d: d[50:10], lambda t: t.slice(0, 0)),
    (lambda d: d[:1000], lambda t: t),
    (lambda d: d[13:57, ["n3", "word"]], lambda t: t.select(["n3", "word"]).slice(13, 44)),
    (lambda d: d[5:, "n2"], lambda t: t["n2"].slice(5)),
    (lambda d: d[:, 1:3], lambda t: t.select([1, 2])),
    (lambda d: d[:, -1], lambda t: t.column(t.num_columns - 1)),
    (lambda d: d[:, [0, "text"]], lambda t: t.select(["n0", "text"])),
    (lambda d: d["text"][20:40][5:], lambda t: t["text"].slice(25, 15)),
    (lambda d: d[10:90][["n1", "text"]][5:8]["text"], lambda t: t["text"].slice(15, 3)),
]


@pytest.mark.parametrize(("ours", "theirs"), KEYS)
def test_a_selection_is_what_arrow_selects_and_in_place(published, inside, mnt, ours, theirs):
    source, dataset = published
    part, expected = ours(dataset), theirs(source)
    found = part.to_arrow()
    assert found.equals(expected) or found.to_pylist() == expected.to_pylist()
    assert len(part) == len(expected)
    assert part.schema == getattr(expected, "schema", part.schema)
    columns = found.columns if isinstance(found, pa.Table) else [found]
    for column in columns:
        assert all(inside(mnt, address, 1) for address in addresses(column))
    # The same by its reference, in text, and in a pickle.
    pickled = pickle.dumps(part)
    for again in (famfs.open(part.ref), famfs.open(str(part.ref)), pickle.loads(pickled)):
        assert again == part
        assert again.kind == part.kind
        assert again.to_arrow().equals(found)
    assert len(pickled) <= 256
    assert len(pickle.dumps(part.ref)) <= 256


def test_a_column_of_a_table_and_a_table_of_a_column_differ(published):
    _, dataset = published
    column, narrow = dataset["n1"], dataset[["n1"]]
    assert (column.kind, narrow.kind) == ("column", "table")
    assert (column.shape, narrow.shape) == ((ROWS,), (ROWS, 1))
    assert column.ref != narrow.ref
    assert str(column.ref).partition("?")[2].startswith("cols=1#")
    assert str(narrow.ref).partition("?")[2].startswith("cols=1:2#")
    assert column.ref.columns == 1
    assert narrow.ref.columns == [(1, 2)]


def test_what_is_no_column_says_which_are(published):
    _, dataset = published
    with pytest.raises(KeyError, match="no column 'txet'; there is 'text'"):
        dataset["txet"]
    with pytest.raises(KeyError, match="no column"):
        dataset[["n0", "nope"]]
    with pytest.raises(KeyError, match="no column 'n0'"):
        dataset[["n1"]]["n0"]
    with pytest.raises(IndexError, match="column 90"):
        dataset[:, 90]
    for key in (5, [1, 2], np.array([True] * ROWS), slice(0, 10, 2), (1, 2, 3), ["n0", 3], None):
        with pytest.raises(famfs.Unsupported):
            dataset[key]


def test_columns_of_one_name(mnt):
    twice = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"])
    dataset = famfs.open(famfs.publish(twice, f"{mnt}/t"))
    with pytest.raises(KeyError, match="2 columns 'a', at 0, 1"):
        dataset["a"]
    assert dataset[:, 1].to_arrow().to_pylist() == [2]


def test_take_copies_rows_of_any_choice(published, inside, mnt):
    source, dataset = published
    for chosen in (
        [5, 0, -1, 5],
        range(0, ROWS, 3),
        np.arange(ROWS) % 7 == 2,
        [],
        np.array([], "i8"),
    ):
        wanted = np.asarray(list(chosen) if isinstance(chosen, range) else chosen)
        if wanted.dtype.kind == "b":
            wanted = np.flatnonzero(wanted)
        expected = source.take(pa.array(wanted.astype(int) % ROWS))
        found = dataset.take(chosen)
        assert found.to_pylist() == expected.to_pylist()
        for address in addresses(found["n0"]):
            assert not inside(mnt, address, 1)
        assert dataset["n2"].take(chosen).to_pylist() == expected["n2"].to_pylist()
    for chosen in ([ROWS], [-ROWS - 1], np.ones(3, bool)):
        with pytest.raises(IndexError):
            dataset.take(chosen)
    for chosen in ([[1]], [1.5], ["n0"]):
        with pytest.raises(famfs.Unsupported):
            dataset.take(chosen)


def test_take_of_types_that_pyarrow_cannot_gather(mnt):
    texts = [None if i % 7 == 0 else "x" * (i % 30) for i in range(ROWS)]
    ids = pa.array([i % 2 for i in range(ROWS)], pa.int8())
    children = [pa.array(range(ROWS)), pa.array(texts)]
    runs = pa.array([i // 3 for i in range(ROWS)])
    values = pa.array(texts[: ROWS // 3 + 1])
    ends = pa.array([*range(3, ROWS, 3), ROWS], pa.int32())
    source = pa.table(
        {
            "view": pa.array(texts, pa.string_view()),
            "bytes": pa.array(texts).cast(pa.binary()).cast(pa.binary_view()),
            "runs": pa.RunEndEncodedArray.from_arrays(ends, values),
            "sparse": pa.UnionArray.from_sparse(ids, children),
            "dense": pa.UnionArray.from_dense(ids, pa.array(range(ROWS), pa.int32()), children),
            "words": runs.cast(pa.string()).dictionary_encode(),
            "lists": pa.array([[i] * (i % 4) for i in range(ROWS)], pa.list_view(pa.int64())),
        },
        metadata={"kept": "yes"},
    )
    wanted = [99, 0, 7, 50, 50, 3]
    for name, rows in (("whole", None), ("parts", 9)):
        dataset = famfs.open(famfs.publish(source, f"{mnt}/{name}", batch_rows=rows))
        taken = dataset.take(wanted)
        taken.validate(full=True)
        assert taken.schema.equals(source.schema, check_metadata=True)
        for column in source.column_names:
            all_of_it = source[column].to_pylist()
            expected = [all_of_it[i] for i in wanted]
            assert taken[column].to_pylist() == expected, column
            assert dataset[column].take(wanted).to_pylist() == expected, column
            assert dataset[column].take([]).type == source[column].type
        assert dataset[10:20].take([9, 0])["view"].to_pylist() == [texts[19], texts[10]]


def test_partitions_are_all_of_it(published):
    source, dataset = published
    for count in (1, 3, 10, 33, 150):
        parts = [dataset.partition(i, count) for i in range(count)]
        assert pa.concat_tables([part.to_arrow() for part in parts]).equals(source.combine_chunks())
        if count <= 10:
            # On batch boundaries, without cutting one.
            assert all(batch.num_rows == 10 for part in parts for batch in part.batches)
        assert all(len(pickle.dumps(part)) <= 256 for part in parts)
    for i, n in ((3, 3), (-1, 3), (0, 0)):
        with pytest.raises(IndexError):
            dataset.partition(i, n)


def test_a_column_of_one_batch_is_an_array_in_place(mnt, inside):
    data = {"a": np.arange(ROWS), "b": np.linspace(0, 1, ROWS).astype("f4")}
    dataset = famfs.open(famfs.publish(data, f"{mnt}/t"))
    for name, source in data.items():
        column = dataset[name][10:60]
        array = column.to_numpy()
        assert (array == source[10:60]).all()
        assert array.dtype == source.dtype == column.dtype
        assert not array.flags.writeable
        assert inside(mnt, array.ctypes.data, array.nbytes)
        assert np.asarray(column).ctypes.data == array.ctypes.data
        assert inside(mnt, column.to_pandas().to_numpy().ctypes.data, array.nbytes)
        assert column.to_pandas().name == name
        assert inside(mnt, column.to_polars().to_numpy().ctypes.data, array.nbytes)
        assert column.to_polars().name == name
        copy = column.copy()
        assert copy.to_pylist() == source[10:60].tolist()
        assert not any(inside(mnt, address, 1) for address in addresses(copy))


def test_columns_as_numpy_have_their_types(mnt, inside):
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(np.arange(12.0)), 3)
    source = pa.table(
        {
            "when": pa.array([1, 2, 3, 4], pa.timestamp("us", "UTC")),
            "span": pa.array([1, 2, 3, 4], pa.duration("ms")),
            "half": pa.array(np.arange(4, dtype="f2")),
            "vector": vectors,
            "bytes": pa.array([b"abc", b"def", b"ghi", b"jkl"], pa.binary(3)),
            "flag": [True, False, True, True],
            "hole": [1, None, 3, 4],
        }
    )
    dataset = famfs.open(famfs.publish(source, f"{mnt}/t"))
    assert dataset["when"].to_numpy().dtype == "M8[us]"
    assert dataset["span"].to_numpy().dtype == "m8[ms]"
    assert dataset["half"].to_numpy().dtype == "f2"
    assert dataset["bytes"].to_numpy().dtype == "V3"
    part = dataset["vector"][1:3].to_numpy()
    assert part.tolist() == [[3, 4, 5], [6, 7, 8]]
    for name in ("when", "span", "half", "bytes", "vector"):
        array = dataset[name][1:].to_numpy()
        assert inside(mnt, array.ctypes.data, array.nbytes)
    for name, why in (("flag", "copies"), ("hole", "1 of its values are null")):
        with pytest.raises(famfs.Unsupported, match=why):
            dataset[name].to_numpy()
    in_parts = famfs.open(famfs.publish(source, f"{mnt}/parts", batch_rows=2))
    with pytest.raises(famfs.Unsupported, match="2 record batches"):
        in_parts["half"].to_numpy()
    assert in_parts["half"][2:].to_numpy().tolist() == [2, 3]


@pytest.mark.parametrize("order", ["C", "F"])
def test_parts_of_arrays(mnt, inside, order):
    source = np.asarray(np.arange(4 * 3 * 2).reshape(4, 3, 2), order=order)
    dataset = famfs.open(famfs.publish(source, f"{mnt}/a"))
    for key in (slice(1, 3), slice(-2, None), slice(2, 2), 0, -1, np.int64(2)):
        part = dataset[key]
        array = part.to_numpy()
        assert (array == source[key]).all()
        assert part.shape == array.shape == source[key].shape
        assert part.nbytes == source[key].nbytes
        assert array.nbytes == 0 or inside(mnt, array.ctypes.data, 1)
        assert (np.asarray(memoryview(part)) == source[key]).all()
        assert (part.copy() == source[key]).all()
        assert famfs.open(str(part.ref)) == part
        assert len(pickle.dumps(part)) <= 256
    assert (dataset[1:3][1].to_numpy() == source[2]).all()
    assert (dataset.take([3, 0, -1]) == source[[3, 0, -1]]).all()
    for index in (4, -5):
        with pytest.raises(IndexError):
            dataset[index]
    for key in ((1, 2), slice(0, 4, 2), [0, 1], "a", True, 1.5):
        with pytest.raises(famfs.Unsupported):
            dataset[key]
    with pytest.raises(famfs.Unsupported, match="within one item"):
        dataset[0][1]
    item = famfs.open(famfs.publish(np.arange(5), f"{mnt}/one"))[3]
    assert item.shape == ()
    assert item.to_numpy() == 3
    with pytest.raises(famfs.Unsupported, match="no axes"):
        item[0:1]


def test_parts_of_bytes(mnt):
    dataset = famfs.open(famfs.publish(b"0123456789", f"{mnt}/b"))
    part = dataset[2:8]
    assert bytes(part) == part.copy() == b"234567"
    assert bytes(part[1:3].buffer()) == b"34"
    assert part.nbytes == len(part) == 6
    assert (part.kind, part.shape) == ("bytes", (6,))
    assert [bytes(dataset.partition(i, 3)) for i in range(3)] == [b"012", b"345", b"6789"]


def test_a_reference_to_what_is_not_there(mnt):
    ref = famfs.publish({"a": np.arange(3)}, f"{mnt}/t")
    base, _, index = str(ref).partition("#")
    for query, why in (("rows=0:4", "row 4"), ("cols=1", "column 1"), ("rows=1", "one row")):
        with pytest.raises(famfs.FamfsError, match=why):
            famfs.open(f"{base}?{query}#{index}")


def test_selections_of_a_selection_have_equal_references(published):
    _, dataset = published
    assert dataset[10:50][5:10].ref == dataset[15:20].ref
    assert hash(dataset[10:50][5:10]) == hash(dataset[15:20])
    assert dataset[["n0", "n1", "n2"]][["n1", "n2"]].ref == dataset[["n1", "n2"]].ref
    assert dataset[:].ref == dataset.ref


def test_pandas_frames_come_back_as_they_were(mnt, inside):
    frame = pd.DataFrame(
        {
            "number": np.arange(5.0),
            "hole": [1.0, np.nan, 3.0, 4.0, 5.0],
            "flag": [True, False, True, False, True],
            "text": ["a", "b", None, "d", "e"],
            "kind": pd.Categorical(["x", "y", "x", "y", "x"], categories=["y", "x"], ordered=True),
            "when": pd.date_range("2026-01-01", periods=5, tz="Europe/Berlin"),
            "count": pd.array([1, None, 3, 4, 5], dtype="Int64"),
        },
        index=pd.Index(list("vwxyz"), name="letter"),
    )
    dataset = famfs.open(famfs.publish(frame, f"{mnt}/frame"))
    found = dataset.to_pandas()
    pd.testing.assert_frame_equal(found, frame)
    for name in ("number", "hole"):
        assert inside(mnt, found[name].to_numpy().ctypes.data, 1)
    pd.testing.assert_frame_equal(
        dataset[["text", "number"]].to_pandas(), frame[["text", "number"]].reset_index(drop=True)
    )
    with pytest.raises(famfs.Unsupported, match="'flag'.*would be copied"):
        dataset.to_pandas(copy=False)
    copied = dataset.to_pandas(copy=True)
    pd.testing.assert_frame_equal(copied, frame)
    copied["number"] = 7.0
    copied.loc["w", "hole"] = 2.0


def test_columns_that_numpy_has_not_are_arrow_s_in_pandas(mnt, inside):
    source = table()
    dataset = famfs.open(famfs.publish(source, f"{mnt}/t"))
    found = dataset.to_pandas()
    assert found["n0"].dtype == "int64"
    assert found["text"].dtype == pd.ArrowDtype(pa.string())
    assert isinstance(found["word"].dtype, pd.CategoricalDtype)
    assert list(found.columns) == source.column_names
    arrow = dataset.to_pandas(dtype_backend="pyarrow")
    assert all(isinstance(dtype, pd.ArrowDtype) for dtype in arrow.dtypes)
    for frame, names in ((found, ["text"]), (arrow, source.column_names)):
        for name in names:
            column = pa.chunked_array(frame[name].array.__arrow_array__())
            assert all(inside(mnt, address, 1) for address in addresses(column))
    assert dataset["text"].to_pandas(copy=False).dtype == pd.ArrowDtype(pa.string())
    in_parts = famfs.open(famfs.publish(source, f"{mnt}/parts", batch_rows=30))
    with pytest.raises(famfs.Unsupported, match="several batches"):
        in_parts[["n0"]].to_pandas(copy=False)
    with pytest.raises(famfs.Unsupported, match="dtype_backend"):
        dataset.to_pandas(dtype_backend="numpy")


def test_polars_takes_parts(published):
    source, dataset = published
    assert (
        dataset[5:20, ["n0", "text"]]
        .to_polars()
        .equals(pl.from_arrow(source.select(["n0", "text"]).slice(5, 15)))
    )
    assert dataset["text"].to_polars().to_list() == source["text"].to_pylist()


def test_a_table_of_many_columns_is_read_by_us_and_by_others(mnt):
    wide = pa.table({f"c{i}": np.arange(3) + i for i in range(10_000)})
    famfs.publish(wide, f"{mnt}/wide")
    dataset = famfs.open(f"{mnt}/wide")
    column = dataset["c7777"]
    assert column.to_numpy().tolist() == [7777, 7778, 7779]
    assert dataset.shape == (3, 10_000)
    assert dataset[["c1", "c9999"]].to_arrow().to_pylist()[0] == {"c1": 1, "c9999": 9999}
    # Stock pyarrow reads what lies beside the index.
    stock = pa.ipc.open_file(dataset.buffer()).read_all()
    assert stock.equals(wide.combine_chunks())
    assert famfs.open(f"{mnt}/wide", verify=True)["c0"].to_numpy().tolist() == [0, 1, 2]


def test_a_notebook_shows_what_it_is_and_where(mnt):
    ref = famfs.publish({f"<c{i}>": np.arange(1000) for i in range(60)}, f"{mnt}/a<b")
    html = famfs.open(ref)._repr_html_()
    assert "a&lt;b</b>: table of 1000 rows and 60 columns" in html
    assert "<td>&lt;c5&gt;</td><td>int64</td>" in html
    assert "and 20 more" in html
    assert "in 1 extent from 0x" in html
    assert "of a device of 64 MiB" in html
    assert html.count("<rect") == 2
    famfs.publish(np.arange(3), f"{mnt}/two")
    for dataset, what in (
        (famfs.open(ref)["<c1>"], "column '&lt;c1&gt;' of 1000 rows"),
        (famfs.open(f"{mnt}/two"), "array of int64, shape (3,)"),
        (famfs.open(famfs.publish(b"", f"{mnt}/empty")), "bytes, 0 bytes"),
    ):
        # Quotes are escaped as well.
        assert what in dataset._repr_html_().replace("&#x27;", "'")
    closed = famfs.open(ref)
    closed.close()
    assert "the dataset was closed" in closed._repr_html_()


def test_tensors_are_arrays_in_place(mnt, inside):
    weights = {
        "layer.weight": np.arange(12.0, dtype="f4").reshape(3, 4),
        "layer.bias": np.arange(3, dtype="f2"),
        "steps": np.array(7),
        "nothing": np.empty((0, 5), "i8"),
        "flags": np.array([[True, False]]),
    }
    dataset = famfs.open(famfs.publish(weights, f"{mnt}/model"))
    assert dataset.kind == "safetensors"
    assert sorted(dataset.names) == sorted(weights)
    for name, source in weights.items():
        tensor = dataset[name]
        array = tensor.to_numpy()
        assert (tensor.kind, tensor.shape, tensor.dtype) == ("array", source.shape, source.dtype)
        assert (array == source).all()
        assert not array.nbytes or inside(mnt, array.ctypes.data, array.nbytes)
        again = famfs.open(str(tensor.ref))
        assert (again.to_numpy() == source).all()
        assert again == tensor == pickle.loads(pickle.dumps(tensor))
        assert (tensor.copy() == source).all()
        assert tensor.nbytes == source.nbytes
    assert (dataset["layer.weight"][1:].to_numpy() == weights["layer.weight"][1:]).all()
    assert (dataset["layer.weight"][2].to_numpy() == weights["layer.weight"][2]).all()
    with pytest.raises(KeyError, match="no tensor 'layer.weigth'; there is 'layer.weight'"):
        dataset["layer.weigth"]
    base, _, index = str(dataset.ref).partition("#")
    with pytest.raises(famfs.FamfsError, match="column 5 is out of range, there are 5"):
        famfs.open(f"{base}?cols=5#{index}")
    with pytest.raises(famfs.Unsupported, match="one by one"):
        famfs.open(f"{base}?cols=0:2#{index}")
    # What only begins like one is bytes until its tensors are asked for.
    broken = famfs.open(famfs.publish(b"\x10" + bytes(7) + b"{" + bytes(20), f"{mnt}/broken"))
    assert broken.nbytes == 29
    with pytest.raises(famfs.Corrupt):
        broken["x"]


def test_rows_of_any_type_of_number(mnt):
    dataset = famfs.open(famfs.publish({"a": np.arange(1000)}, f"{mnt}/t"))
    for kind in (np.int8, np.uint8, np.uint64):
        assert dataset.take(np.array([1, 100], kind))["a"].to_pylist() == [1, 100]
    for wanted in (3, None, [[1], [2, 3]], [2**70]):
        with pytest.raises((famfs.Unsupported, IndexError)):
            dataset.take(wanted)


def test_one_file_is_not_several(mnt):
    famfs.mkdir(f"{mnt}/d")
    famfs.publish({"a": np.arange(3)}, f"{mnt}/d/t")
    one, several = famfs.open(f"{mnt}/d/t"), famfs.open(f"{mnt}/d")
    assert one != several
    assert several != one
    assert [one, several].count(several) == 1


def test_pandas_keeps_its_range_and_arrow_types(mnt):
    frame = pd.DataFrame({"a": [1, 2, 3]}, index=pd.RangeIndex(10, 16, 2, name="k")).assign(
        b=pd.Series([[1], [2, 3], []], dtype=pd.ArrowDtype(pa.list_(pa.int64()))).array
    )
    dataset = famfs.open(famfs.publish(frame, f"{mnt}/f"))
    pd.testing.assert_frame_equal(dataset.to_pandas(), frame)
    arrow = dataset.to_pandas(dtype_backend="pyarrow")
    assert arrow.index.equals(frame.index)
    assert arrow.index.name == "k"
    assert dataset.to_pandas(copy=False)["b"].tolist() == frame["b"].tolist()


def test_what_has_no_place_in_a_library_says_so(mnt):
    source = pa.table({"none": pa.array([b"", b""], pa.binary(0)), "n": [1, 2]})
    dataset = famfs.open(famfs.publish(source, f"{mnt}/t"))
    with pytest.raises(famfs.Unsupported, match="does not lie in memory"):
        dataset["none"].to_numpy()
    with pytest.raises(KeyError, match="no column"):
        dataset["\ud800"]
    fields = np.zeros(3, [("a", "i4"), ("b", "f8")])
    with pytest.raises(famfs.Unsupported, match="fields as columns"):
        famfs.open(famfs.publish(fields, f"{mnt}/fields")).to_pandas()


@pytest.mark.parametrize("nulls", [False, True])
def test_rows_of_no_width_are_taken(mnt, nulls):
    values = [b"", None if nulls else b"", b""]
    source = pa.table({"none": pa.array(values, pa.binary(0))})
    dataset = famfs.open(famfs.publish(source, f"{mnt}/none", batch_rows=2))
    wanted = [2, 1, 1]
    assert pa.table(dataset.take(wanted)).to_pydict() == source.take(wanted).to_pydict()
    assert pa.chunked_array(dataset["none"].take(wanted)).null_count == 2 * nulls
