"""Tables: whatever Arrow has comes back the same, in place, and stock pyarrow reads the file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import famfs

GOLDEN = Path(__file__).parents[1] / "arrow-golden"
STREAMS = sorted(GOLDEN.glob("*.stream"))
HOSTILE = sorted((GOLDEN / "hostile").iterdir())


def buffers(array):
    if isinstance(array, pa.Table | pa.RecordBatch):
        for column in array.columns:
            yield from buffers(column)
    elif isinstance(array, pa.ChunkedArray):
        for chunk in array.chunks:
            yield from buffers(chunk)
    else:
        yield from (buffer for buffer in array.buffers() if buffer is not None and buffer.size)
        if isinstance(array, pa.DictionaryArray):
            yield from buffers(array.dictionary)


def table():
    rows = 1000
    return pa.table(
        {
            "ints": pa.array(range(rows)),
            "floats": pa.array(np.linspace(0, 1, rows)),
            "texts": pa.array([f"row {i}" if i % 3 else None for i in range(rows)]),
            "lists": pa.array([[i] * (i % 4) for i in range(rows)]),
            "days": pa.array(np.arange(rows).astype("M8[s]")),
            "words": pa.array(["a", "b", None, "c"] * (rows // 4)).dictionary_encode(),
        },
        metadata={"made": "here"},
    )


def unified(table):
    """One dictionary for all batches, as a file has it."""
    return table.unify_dictionaries()


@pytest.mark.parametrize("path", STREAMS, ids=lambda path: path.stem)
def test_golden_streams_survive(mnt, path):
    with pa.ipc.open_stream(path) as reader:
        expected = reader.read_all()
    dataset = famfs.open(famfs.publish(expected, f"{mnt}/golden"), verify=True)
    assert dataset.kind == "table"
    assert dataset.schema.equals(expected.schema, check_metadata=True)
    assert dataset.num_rows == expected.num_rows
    found = dataset.to_arrow()
    found.validate()
    assert same(found, expected)
    with pa.ipc.open_file(pa.py_buffer(dataset.buffer())) as stock:
        assert same(stock.read_all(), expected)
    readers = pa.RecordBatchReader.from_stream(expected)
    assert same(famfs.open(famfs.publish(readers, f"{mnt}/again")).to_arrow(), expected)


def same(found, expected):
    if found.num_columns != expected.num_columns or found.num_rows != expected.num_rows:
        return False
    if not found.schema.equals(expected.schema, check_metadata=True):
        return False
    # Dictionaries may be joined: values count.
    return all(
        a.equals(b) or a.to_pylist() == b.to_pylist()
        for a, b in zip(found.columns, expected.columns, strict=True)
    )


@pytest.mark.parametrize("path", HOSTILE, ids=lambda path: path.name[-16:])
@pytest.mark.parametrize("verify", [False, True])
def test_hostile_files_are_errors_or_tables(mnt, path, verify):
    famfs.publish(path.read_bytes(), f"{mnt}/hostile")
    famfs.ls(mnt)
    try:
        dataset = famfs.open(f"{mnt}/hostile", verify=verify)
        if dataset.kind == "table":
            repr(dataset)
            for batch in dataset.batches:
                batch.num_rows  # noqa: B018
            dataset.to_arrow()
    except famfs.FamfsError as error:
        assert isinstance(error, famfs.Corrupt | famfs.Unsupported)
        assert "hostile" in str(error)


def test_everything_lies_in_the_volume(mnt, inside):
    expected = table()
    dataset = famfs.open(famfs.publish(expected, f"{mnt}/t"))
    found = dataset.to_arrow()
    assert found.equals(expected, check_metadata=True)
    seen = list(buffers(found))
    assert len(seen) >= 10
    assert all(inside(mnt, buffer.address, buffer.size) for buffer in seen)
    assert not any(buffer.is_mutable for buffer in seen)
    assert all(buffer.address % 64 == 0 for buffer in seen)
    for batch in dataset.batches:
        assert all(inside(mnt, buffer.address, buffer.size) for buffer in buffers(batch))
    assert dataset._file.bytes_copied == 0


@pytest.mark.parametrize(
    "make",
    [
        lambda t: t,
        lambda t: t.to_batches()[0],
        lambda t: t.to_reader(max_chunksize=77),
        lambda t: pa.RecordBatchReader.from_batches(t.schema, iter(t.to_batches(max_chunksize=99))),
        lambda t: pa.concat_tables([t.slice(0, 501), t.slice(501)]),
        lambda t: t.to_batches()[0].to_struct_array(),
    ],
    ids=["table", "batch", "reader", "generator", "chunks", "structs"],
)  # fmt: skip
def test_all_sources_make_one_batch(mnt, make):
    expected = table().replace_schema_metadata(None)
    dataset = famfs.open(famfs.publish(make(expected), f"{mnt}/t"))
    assert len(dataset.batches) == 1
    assert same(dataset.to_arrow(), expected)


def test_partitions_are_kept_where_asked_for(mnt):
    dataset = famfs.open(famfs.publish(table(), f"{mnt}/t", batch_rows=300))
    assert [batch.num_rows for batch in dataset.batches] == [300, 300, 300, 100]
    assert [batch.num_rows for batch in dataset.batches[1:]] == [300, 300, 100]
    assert dataset.batches[-1].num_rows == 100
    with pytest.raises(IndexError):
        dataset.batches[4]
    assert dataset.to_arrow().equals(table())
    with pytest.raises(famfs.Unsupported, match="row"):
        famfs.publish(table(), f"{mnt}/x", batch_rows=0)
    with pytest.raises(famfs.Unsupported, match="tables"):
        famfs.publish(b"abc", f"{mnt}/x", batch_rows=5)


def test_a_sliced_table_takes_only_its_rows(mnt):
    part = table().slice(100, 7)
    dataset = famfs.open(famfs.publish(part, f"{mnt}/t"))
    assert same(dataset.to_arrow(), part)
    assert dataset.nbytes < 8192


def test_tables_without_rows_or_columns(mnt):
    for i, expected in enumerate(
        [table().slice(0, 0), pa.table({}), pa.schema([("a", "int8")]).empty_table()]
    ):
        dataset = famfs.open(famfs.publish(expected, f"{mnt}/{i}"))
        assert dataset.to_arrow().equals(expected)
        assert dataset.shape == expected.shape
        assert bool(dataset)


def test_a_failing_producer_is_told(mnt):
    def batches():
        yield table().to_batches()[0]
        raise ValueError("the source broke")

    reader = pa.RecordBatchReader.from_batches(table().schema, batches())
    with pytest.raises(famfs.FamfsError, match="the source broke"):
        famfs.publish(reader, f"{mnt}/t")
    assert famfs.ls(mnt) == []


@pytest.mark.parametrize(
    "thing",
    [pa.array([{"a": 1}, None]), pa.chunked_array([pa.array([{"a": 1}, None])])],
    ids=["structs", "chunked structs"],
)
def test_what_is_no_table_says_how_to_make_one(mnt, thing):
    with pytest.raises(famfs.Unsupported, match="table|frame"):
        famfs.publish(thing, f"{mnt}/x")


def frame():
    return pd.DataFrame(
        {
            "a": np.arange(5),
            "b": [0.5, np.nan, 1.5, np.inf, -0.0],
            "c": ["x", "y", None, "z", ""],
            "d": pd.date_range("2020-01-01", periods=5, tz="Europe/Berlin"),
            "e": pd.Categorical(["u", "v", "u", None, "v"]),
            "f": np.arange(5, dtype="f4"),
            "g": [True, False, True, True, False],
        }
    )


@pytest.mark.parametrize(
    "make",
    [
        lambda f: f,
        lambda f: f.set_index("a"),
        lambda f: f.set_index(["a", "c"]),
        lambda f: f.set_index("b"),
        lambda f: f.set_index("d").sort_index(ascending=False),
        lambda f: f.iloc[1:4],
        lambda f: f.set_axis(pd.RangeIndex(10, 20, 2, name="step")),
        lambda f: f[["b", "f"]].set_axis([1, 2], axis=1),
        lambda f: f[["a"]].iloc[:0],
    ],
    ids=["plain", "index", "levels", "nan index", "times", "rows", "range", "numbers", "empty"],
)
def test_frames_come_back_with_their_index(mnt, make):
    expected = make(frame())
    found = famfs.open(famfs.publish(expected, f"{mnt}/f")).to_pandas()
    pd.testing.assert_frame_equal(found, expected)


def test_nan_stays_nan_and_columns_are_not_copied(mnt, inside):
    dataset = famfs.open(famfs.publish(frame(), f"{mnt}/f"))
    assert dataset.to_arrow().column("b").null_count == 0
    found = dataset.to_pandas()
    for name in "abf":
        values = found[name].to_numpy()
        assert not values.flags.writeable
        assert inside(mnt, values.__array_interface__["data"][0], values.nbytes), name


def test_frames_that_arrow_refuses_say_which(mnt):
    mixed = pd.DataFrame({"a": [1, "x", object()]})
    with pytest.raises(famfs.Unsupported, match="convert that column"):
        famfs.publish(mixed, f"{mnt}/f")


def test_dicts_of_arrays_are_tables(mnt, inside):
    arrays = {"a": np.arange(10), "b": np.linspace(0, 1, 10), "c": pa.array(list("abcdefghij"))}
    dataset = famfs.open(famfs.publish(arrays, f"{mnt}/d"))
    found = dataset.to_arrow()
    assert found.column_names == ["a", "b", "c"]
    assert np.array_equal(found["b"].to_numpy(), arrays["b"])
    nan = famfs.open(famfs.publish({"a": np.array([np.nan, 1])}, f"{mnt}/nan"))
    assert nan.to_arrow().column(0).null_count == 0
    one = nan.to_numpy()
    assert inside(mnt, one.__array_interface__["data"][0], one.nbytes)
    assert np.asarray(nan).shape == (2,)


def test_polars_both_ways(mnt):
    expected = pl.DataFrame({"a": [1, 2, None], "b": ["x", None, "zz"], "c": [[1], [], None]})
    dataset = famfs.open(famfs.publish(expected, f"{mnt}/p"))
    assert dataset.to_polars().equals(expected)
    assert pl.DataFrame(dataset).equals(expected)


class Thing:
    pass


@pytest.mark.parametrize(
    "make",
    [
        lambda: pl.DataFrame({"a": [1], "odd": pl.Series([Thing()], dtype=pl.Object)}),
        lambda: pl.Series("odd", [Thing()], dtype=pl.Object),
        lambda: {"odd": pl.Series([Thing()], dtype=pl.Object)},
    ],
    ids=["frame", "series", "dict"],
)
def test_addresses_of_objects_are_not_published(mnt, make):
    with pytest.raises(famfs.Unsupported, match="'odd'.*str"):
        famfs.publish(make(), f"{mnt}/x")
    assert famfs.ls(mnt) == []


def test_polars_nulls_of_no_type(mnt):
    expected = pl.DataFrame(
        {
            "a": [None, None],
            "b": pl.Series([[None], [None, None]], dtype=pl.List(pl.Null)),
            "c": [{"x": None, "y": 1}, {"x": None, "y": 2}],
        }
    )
    dataset = famfs.open(famfs.publish(expected, f"{mnt}/x"))
    assert dataset.to_polars().equals(expected)
    assert dataset.to_arrow().column("a").null_count == 2
    structs = expected["c"]
    assert famfs.open(famfs.publish(structs, f"{mnt}/y")).to_arrow().column_names == ["x", "y"]


def refused():
    schema = pa.schema([pa.field("a", pa.int64(), nullable=False)])
    nulls = pa.Table.from_arrays([pa.array([1, None])], schema=schema)
    return {
        "nulls": (nulls, "nullable"),
        "batch": (nulls.to_batches()[0], "nullable"),
        "metadata": (table().replace_schema_metadata({b"k": b"\xff"}), "[Uu]tf-?8|UTF-8"),
        "int128": (pl.DataFrame({"a": pl.Series([1], dtype=pl.Int128)}), "convert"),
        "twice": (pd.DataFrame([[1, 2]], columns=["a", "a"]), "'a'.*set_axis"),
        "sparse": (pd.DataFrame({"s": pd.arrays.SparseArray([0, 0, 1])}), "'s'.*to_dense"),
        "mixed": (pd.DataFrame({"a": [1, "x", object()]}), "strings"),
        "index": (pd.DataFrame({"a": [1]}, index=pd.Index([object()])), "strings"),
    }


@pytest.mark.parametrize("name", refused())
def test_tables_that_are_refused_say_what_to_do(mnt, name):
    thing, hint = refused()[name]
    with pytest.raises(famfs.Unsupported, match=hint):
        famfs.publish(thing, f"{mnt}/x")
    assert famfs.ls(mnt) == []


def test_what_a_producer_raises_by_itself_is_told(mnt):
    class Broken:
        def __arrow_c_stream__(self, requested_schema=None):
            raise KeyError("no such source")

    with pytest.raises(famfs.Unsupported, match="no such source") as caught:
        famfs.publish(Broken(), f"{mnt}/x")
    assert isinstance(caught.value.__cause__, KeyError)

    class Stopped:
        def __arrow_c_array__(self, requested_schema=None):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        famfs.publish(Stopped(), f"{mnt}/x")


def test_a_name_that_cannot_be_handed_out(mnt):
    odd = pa.table({"a\0b": [1, 2]})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, odd.schema) as writer:
        writer.write_table(odd)
    dataset = famfs.open(famfs.publish(sink.getvalue().to_pybytes(), f"{mnt}/x"))
    assert dataset.num_rows == 2
    for access in (
        lambda: dataset.schema,
        dataset.to_arrow,
        dataset.to_pandas,
        dataset.to_polars,
        lambda: dataset.batches[0],
        lambda: pa.table(dataset),
        lambda: pa.schema(dataset),
    ):
        with pytest.raises(famfs.Unsupported, match="buffer"):
            access()
    assert "<p>" in dataset._repr_html_()
    assert pa.ipc.open_file(dataset.buffer()).read_all().equals(odd)


@pytest.mark.parametrize(
    "kind", [pa.int8(), pa.float64(), pa.timestamp("us"), pa.float16(), pa.string(), pa.bool_()]
)
def test_a_column_of_no_rows_is_an_array(mnt, kind):
    empty = pa.table({"a": pa.array([], kind)})
    dataset = famfs.open(famfs.publish(empty, f"{mnt}/x"))
    if kind in {pa.string(), pa.bool_()}:
        with pytest.raises(famfs.Unsupported, match="copies"):
            dataset.to_numpy()
        return
    found = dataset.to_numpy()
    assert found.shape == (0,)
    assert not found.flags.writeable
    assert found.dtype == pa.array([], kind).to_numpy().dtype


def test_opening_does_not_import_pandas(mnt, run):
    famfs.publish({"a": np.arange(5)}, f"{mnt}/x")
    code = """
        import sys, famfs
        dataset = famfs.open(sys.argv[1])
        assert dataset.to_arrow().num_rows == 5
        assert dataset.batches[0].num_rows == 5
        dataset.schema, dataset.copy(), dataset.buffer()
        assert "pandas" not in sys.modules
    """
    run(code, f"{mnt}/x")


def test_accessors_of_a_table(mnt):
    dataset = famfs.open(famfs.publish(table(), f"{mnt}/t"))
    assert dataset.shape == (1000, 6)
    assert len(dataset) == 1000
    for call in (lambda: dataset.dtype, dataset.to_numpy, lambda: np.asarray(dataset)):
        with pytest.raises(famfs.Unsupported, match="to_pandas|schema"):
            call()
    with pytest.raises(TypeError):
        memoryview(dataset)
    assert pa.table(dataset).equals(table())
    assert pa.schema(dataset).equals(table().schema)
    assert dataset.copy().equals(table())
    assert "1000 rows" in repr(dataset)
    assert "<td>floats</td><td>double</td>" in dataset._repr_html_()
    texts = famfs.open(famfs.publish({"a": pa.array(["x"])}, f"{mnt}/texts"))
    with pytest.raises(famfs.Unsupported, match="copies"):
        texts.to_numpy()
    parts = famfs.open(famfs.publish({"a": np.arange(4)}, f"{mnt}/parts", batch_rows=2))
    with pytest.raises(famfs.Unsupported, match="2 record batches"):
        parts.to_numpy()


def test_many_columns_and_threads(mnt):
    wide = pa.table({f"c{i}": np.full(50, i) for i in range(3000)})
    assert famfs.open(famfs.publish(wide, f"{mnt}/wide")).to_arrow().equals(wide)
    tall = pa.table({f"c{i}": np.arange(i, i + 400_000) for i in range(10)})
    assert famfs.open(famfs.publish(tall, f"{mnt}/tall")).to_arrow().equals(tall)


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"ARROW1\0\0" + b"x" * 100, "table"),
        (b"ARROW1", "table"),
        (b"\x93NUMPY\x01\0v\0garbage", "array"),
        (b"\x93NUMPY", "array"),
    ],
    ids=["table", "magic", "array", "array magic"],
)
def test_a_file_that_only_begins_like_one_is_corrupt(mnt, data, kind):
    famfs.publish(data, f"{mnt}/x")
    (entry,) = famfs.ls(mnt)
    assert (entry.kind, entry.rows) == (kind, None)
    for verify in (False, True):
        with pytest.raises(famfs.Corrupt, match="x.*famfs cat"):
            famfs.open(entry, verify=verify)


def test_a_compressed_table_is_a_table_that_cannot_be_mapped(mnt):
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression="lz4")
    with pa.ipc.new_file(sink, table().schema, options=options) as writer:
        writer.write_table(table())
    famfs.publish(sink.getvalue().to_pybytes(), f"{mnt}/x")
    dataset = famfs.open(f"{mnt}/x")
    assert famfs.stat(f"{mnt}/x").kind == dataset.kind == "table"
    with pytest.raises(famfs.Unsupported, match="x:.*compress"):
        dataset.to_arrow()
    assert pa.ipc.open_file(dataset.buffer()).read_all().equals(table())


def nested(i):
    return {"u": {"v": i, "t": [{"w": i}, {"w": i + 1}]}}


NESTED = {
    "struct in struct": pa.array([nested(i) for i in range(10)]),
    "struct in fixed list": pa.array(
        [[nested(i), nested(i + 1)] for i in range(10)],
        pa.list_(pa.array([nested(0)]).type, 2),
    ),
    "sparse union of structs": pa.UnionArray.from_sparse(
        pa.array([0, 1] * 5, pa.int8()),
        [pa.array([nested(i) for i in range(10)]), pa.array(range(10))],
    ),
    "list of a sliced struct": pa.ListArray.from_arrays(
        pa.array([0, 2, 4, 8]), pa.array([nested(i) for i in range(10)]).slice(1, 8)
    ),
}


@pytest.mark.parametrize("name", NESTED)
def test_slices_of_nested_structs(mnt, name):
    whole = NESTED[name]
    for start, length in ((0, 3), (1, 2), (2, 1), (len(whole), 0)):
        part = whole.slice(start, length)
        table = pa.table({"x": whole}).slice(start, length)
        batch = pa.record_batch({"x": whole}).slice(start, length)
        both = pa.concat_tables([pa.table({"x": whole})] * 2).slice(start, length)
        for source in (pa.table({"x": part}), table, batch, both):
            famfs.publish(source, f"{mnt}/x", overwrite=True)
            found = famfs.open(f"{mnt}/x", verify=True).to_arrow()
            assert found["x"].to_pylist() == part.to_pylist()
            found.validate(full=True)
