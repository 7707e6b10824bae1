"""What can be published: every kind of object, from every library, as the file it should be."""

from __future__ import annotations

import sys
import threading
import types

import arro3.core
import duckdb
import ml_dtypes
import nanoarrow
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import safetensors.numpy

import famfs
from famfs import convert

ROWS = 1000
NUMBERS = ["?", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8", "c8"]


def published(mnt, thing, **options):
    return convert.publish_counted(thing, f"{mnt}/x", overwrite=True, mode=None, **options)


def loaded(ref):
    """The tensors, as the format's own library reads them."""
    dataset = famfs.open(ref)
    assert dataset.kind == "safetensors"
    return safetensors.numpy.load(bytes(dataset.buffer()))


def offsets(ref):
    """Where each tensor's bytes start in the file."""
    import json

    whole = bytes(famfs.open(ref).buffer())
    length = int.from_bytes(whole[:8], "little")
    said = json.loads(whole[8 : 8 + length])
    return {name: 8 + length + info["data_offsets"][0] for name, info in said.items()}


# Dicts: a table, or tensors.


@pytest.mark.parametrize(
    "arrays",
    [
        {"a": np.arange(6).reshape(2, 3)},
        {"a": np.arange(3), "b": np.arange(4)},
        {"scalar": np.array(5.0), "b": np.float32(3)},
        {"a": np.empty((0, 3)), "b": np.ones((2, 0, 2), "f4")},
        {dtype: np.arange(6).astype(dtype).reshape(2, 3) for dtype in NUMBERS},
        {"f": np.asfortranarray(np.arange(12.0).reshape(3, 4))},
        {"cut": np.arange(24.0).reshape(4, 6)[::2, ::3], "back": np.arange(5)[::-1]},
        {"big": np.arange(6, dtype=">i4").reshape(2, 3), "f": np.ones(3, ">f8")},
    ],
    ids=" ".join,
)
def test_dicts_that_are_no_table_are_safetensors(mnt, arrays):
    done = published(mnt, arrays)
    assert done.kind == famfs.stat(f"{mnt}/x").kind == "safetensors"
    found = loaded(done.ref)
    assert set(found) == set(arrays)
    for name, expected in arrays.items():
        array = np.asarray(expected)
        assert found[name].dtype == array.dtype.newbyteorder("<")
        assert found[name].shape == array.shape
        assert np.array_equal(found[name], array)
    assert done.borrowed == sum(np.asarray(array).nbytes for array in arrays.values())
    assert done.size == done.borrowed + done.owned


def test_tensors_lie_aligned_in_the_file(mnt):
    arrays = {
        "odd": np.ones(3, "u1"),
        "weight": np.ones((8, 8), "f4"),
        "bias": np.ones(3, "f8"),
        "more": np.ones((4, 16), "f8"),
        "half": np.ones(5, "f2"),
    }
    places = offsets(published(mnt, arrays).ref)
    assert min(places.values()) % 64 == 0
    for name, array in arrays.items():
        assert places[name] % array.itemsize == 0, name
        if array.nbytes % 64 == 0:
            assert places[name] % 64 == 0, name
    # Those that are aligned alike stay in the order of the dict.
    assert places["weight"] < places["more"] < places["bias"] < places["half"] < places["odd"]


def test_dicts_that_are_a_table_stay_one(mnt):
    for thing in (
        {"a": np.arange(5), "b": np.ones(5)},
        {"a": np.arange(5), "b": pa.array("vwxyz"), "c": pl.Series([1] * 5)},
        {"a": np.empty(0)},
        {},
    ):
        assert published(mnt, thing).kind == "table"
    with pytest.raises(famfs.Unsupported, match="column 'b'.*beside"):
        published(mnt, {"a": np.ones((2, 2)), "b": pa.array(["x"])})
    with pytest.raises(famfs.Unsupported, match="length is not known"):
        published(mnt, {"a": pa.table({"x": [1]}).to_reader()})


def test_a_dict_of_tensors_that_stops_half_way_leaves_nothing(mnt):
    def stop(done, total):
        if done >= 1 << 20:
            raise KeyError("enough")

    free = famfs.df(mnt).free
    arrays = {str(i): np.ones((1 << 10, 128)) for i in range(4)}
    with pytest.raises(KeyError, match="enough"):
        famfs.publish(arrays, f"{mnt}/x", progress=stop)
    assert famfs.ls(mnt) == []
    assert famfs.df(mnt).free == free
    told = []
    famfs.publish(arrays, f"{mnt}/x", progress=lambda *args: told.append(args))
    assert told == sorted(told)
    assert told[-1][0] == told[-1][1] == famfs.stat(f"{mnt}/x").size


# Types that NumPy hasn't.

RARE = ["bfloat16", "float8_e4m3fn", "float8_e5m2", "float8_e8m0fnu"]


@pytest.mark.parametrize("dtype", RARE)
def test_types_that_numpy_has_not_are_safetensors(mnt, dtype):
    array = np.array([0.5, 1, 2, 4]).astype(getattr(ml_dtypes, dtype))
    # Also where it would be a column by its shape.
    done = published(mnt, {"w": array, "n": np.arange(4)})
    assert done.kind == "safetensors"
    whole = bytes(famfs.open(done.ref).buffer())
    start = offsets(done.ref)["w"]
    assert whole[start : start + array.nbytes] == array.tobytes()
    with pytest.raises(famfs.Unsupported, match="safetensors"):
        published(mnt, array)


class Tensor:
    """As much of PyTorch's tensors as publishing uses: the real ones take gigabytes."""

    layout = "torch.strided"
    is_quantized = False

    def __init__(self, array, dtype=None, device="cpu", *, attached=True):
        self.array, self.attached = array, attached
        self.dtype = dtype or f"torch.{array.dtype.name}"
        self.device = types.SimpleNamespace(type=device)

    def detach(self):
        return Tensor(self.array, self.dtype, attached=False)

    def resolve_conj(self):
        return self

    resolve_neg = resolve_conj

    def element_size(self):
        return self.array.itemsize

    def view(self, dtype):
        return Tensor(self.array.view(dtype), attached=self.attached)

    def numpy(self):
        if self.attached:
            raise RuntimeError("it requires grad")
        if self.dtype in {f"torch.{name}" for name in RARE}:
            raise TypeError("an unsupported type")
        return self.array

    def __array__(self, dtype=None, copy=None):
        return self.numpy()


Tensor.__module__ = "torch"


@pytest.fixture
def torch(monkeypatch):
    module = types.ModuleType("torch")
    module.uint8, module.int16 = np.uint8, np.int16
    monkeypatch.setitem(sys.modules, "torch", module)


@pytest.mark.usefixtures("torch")
def test_state_dicts_are_safetensors(mnt):
    weights = np.arange(12, dtype="f4").reshape(3, 4)
    bits = np.arange(3, dtype="u2")
    state = {
        "weight": Tensor(weights),
        "bias": Tensor(weights[:, 0]),
        "bf16": Tensor(bits, "torch.bfloat16"),
    }
    ref = published(mnt, state).ref
    whole = bytes(famfs.open(ref).buffer())
    places = offsets(ref)
    assert whole[places["weight"] :][:48] == weights.tobytes()
    assert whole[places["bias"] :][:12] == weights[:, 0].tobytes()
    assert whole[places["bf16"] :][:6] == bits.tobytes()
    # Equally long ones too: nobody looks for tensors in a table.
    assert published(mnt, {"a": Tensor(weights[0]), "b": Tensor(weights[1])}).kind == "safetensors"
    # One by itself is an array.
    assert np.array_equal(famfs.open(published(mnt, Tensor(weights)).ref).to_numpy(), weights)
    for thing, hint in (
        (Tensor(bits, "torch.bfloat16"), "safetensors"),
        (Tensor(weights, device="cuda"), "cpu"),
        ({"a": Tensor(weights, device="cuda")}, "cpu"),
    ):
        with pytest.raises(famfs.Unsupported, match=hint):
            published(mnt, thing)


def test_what_has_dlpack_alone_is_an_array(mnt):
    class Lent:
        def __init__(self, array):
            self.array = array

        def __dlpack__(self, **options):
            return self.array.__dlpack__(**options)

        def __dlpack_device__(self):
            return (1, 0)

    array = np.arange(24.0).reshape(4, 6)
    assert np.array_equal(famfs.open(published(mnt, Lent(array)).ref).to_numpy(), array)
    assert np.array_equal(famfs.open(published(mnt, Lent(array[:, ::2])).ref), array[:, ::2])
    assert np.array_equal(loaded(published(mnt, {"a": Lent(array)}).ref)["a"], array)


# Columns by themselves.


def test_masked_arrays_are_columns_with_nulls(mnt):
    array = np.ma.masked_array([1.5, np.nan, 3.5], [False, False, True])
    found = famfs.open(published(mnt, array).ref).to_arrow()
    assert found.column_names == ["values"]
    assert found["values"].null_count == 1
    assert np.isnan(found["values"][1].as_py())
    table = famfs.open(published(mnt, {"a": array, "b": np.arange(3)}).ref).to_arrow()
    assert table["a"].to_pylist()[2] is None
    swapped = np.ma.masked_array(np.array([1, 2], ">i4"), [True, False])
    assert famfs.open(published(mnt, swapped).ref).to_arrow()["values"].to_pylist() == [None, 2]
    plain = np.ma.masked_array([1, 2])
    assert famfs.open(published(mnt, plain).ref).to_arrow()["values"].to_pylist() == [1, 2]


@pytest.mark.parametrize(
    "column",
    [
        pd.Series([1, 2, 3]),
        pl.Series([1, 2, 3]),
        pa.array([1, 2, 3]),
        pa.chunked_array([[1, 2], [3]]),
    ],
    ids=["pandas", "polars", "array", "chunked"],
)
def test_a_column_is_a_table_of_one(mnt, column):
    found = famfs.open(published(mnt, column).ref).to_arrow()
    assert found["values"].to_pylist() == [1, 2, 3]
    if hasattr(column, "rename"):
        named = column.rename("n")
        assert famfs.open(published(mnt, named).ref).to_arrow()["n"].to_pylist() == [1, 2, 3]


def test_a_pandas_series_keeps_index_and_type(mnt):
    series = pd.Series([0.5, np.nan, 2], index=pd.Index(["x", "y", "z"], name="key"), name="n")
    found = famfs.open(published(mnt, series).ref).to_pandas()
    pd.testing.assert_series_equal(found["n"], series)
    categories = pd.Series(["u", "v", None], dtype="category", name="c")
    found = famfs.open(published(mnt, categories).ref).to_pandas()["c"]
    assert isinstance(found.dtype, pd.CategoricalDtype)


# Other libraries, by the PyCapsule protocol.


def expected():
    return pa.table({"a": np.arange(ROWS), "s": [f"text {i}" for i in range(ROWS)]})


@pytest.mark.parametrize(
    "make",
    [
        lambda: duckdb.sql(f"select range as a, 'text ' || range as s from range({ROWS})"),
        lambda: nanoarrow.ArrayStream(expected()),
        lambda: nanoarrow.Array(expected().combine_chunks().to_batches()[0]),
        lambda: arro3.core.Table.from_arrow(expected()),
        lambda: arro3.core.RecordBatch.from_arrow(expected().combine_chunks().to_batches()[0]),
        lambda: arro3.core.Table.from_arrow(expected()).to_reader(),
        lambda: expected().to_reader(max_chunksize=100),
        lambda: expected().to_batches()[0],
        lambda: pl.from_arrow(expected()),
        lambda: expected().to_pandas(),
    ],
    ids=[
        "duckdb",
        "nanoarrow stream",
        "nanoarrow array",
        "arro3 table",
        "arro3 batch",
        "arro3 reader",
        "reader",
        "batch",
        "polars",
        "pandas",
    ],
)
def test_tables_of_every_library_come_back(mnt, make):
    dataset = famfs.open(published(mnt, make()).ref)
    assert dataset.num_rows == ROWS
    assert len(dataset.batches) == 1
    found = dataset.to_arrow()
    assert found["a"].to_pylist() == list(range(ROWS))
    assert [str(text) for text in found["s"].to_pylist()] == expected()["s"].to_pylist()
    back = duckdb.from_arrow(found).aggregate("sum(a) as total").fetchall()
    assert back == [(ROWS * (ROWS - 1) // 2,)]


def test_a_lazy_frame_is_to_be_collected(mnt):
    with pytest.raises(famfs.Unsupported, match="collect"):
        published(mnt, pl.LazyFrame({"a": [1]}))


# Slices: what is published is what is seen, and not what it was cut from.


@pytest.mark.parametrize(
    "cut",
    [
        lambda table: table.slice(500_000, 10),
        lambda table: table.slice(500_000, 10).to_batches()[0],
        lambda table: pl.from_arrow(table).slice(500_000, 10),
        lambda table: table.to_pandas().iloc[500_000:500_010],
        lambda table: {name: table[name].slice(500_000, 10) for name in table.column_names},
    ],
    ids=["table", "batch", "polars", "pandas", "dict"],
)
def test_slices_are_published_trimmed(mnt, cut):
    rows = 1_000_000
    table = pa.table(
        {
            "n": pa.array(np.arange(rows)),
            "s": pa.array(np.arange(rows)).cast(pa.string()),
            "l": pa.array(np.arange(rows).reshape(-1, 2).tolist() * 2),
            "b": pa.array(np.arange(rows) % 2 == 0),
        }
    )
    done = published(mnt, cut(table))
    assert done.borrowed + done.owned < 16 << 10
    assert done.size < 16 << 10
    found = famfs.open(done.ref).to_arrow()
    assert found["n"].to_pylist() == list(range(500_000, 500_010))
    assert [str(text) for text in found["s"].to_pylist()] == [
        str(n) for n in found["n"].to_pylist()
    ]
    assert [list(pair) for pair in found["l"].to_pylist()] == table["l"].slice(
        500_000, 10
    ).to_pylist()


# Sources that misbehave.


def test_a_reader_that_fails_half_way_publishes_nothing(mnt):
    def batches():
        yield from expected().to_batches(max_chunksize=100)[:5]
        raise OSError("the disk is gone")

    free = famfs.df(mnt).free
    for make in (
        lambda: pa.RecordBatchReader.from_batches(expected().schema, batches()),
        lambda: nanoarrow.ArrayStream(
            pa.RecordBatchReader.from_batches(expected().schema, batches())
        ),
    ):
        with pytest.raises(famfs.FamfsError, match="the disk is gone"):
            famfs.publish(make(), f"{mnt}/x")
    assert famfs.ls(mnt) == []
    assert famfs.df(mnt).free == free


@pytest.mark.parametrize(
    "make", [lambda a: a, lambda a: {"a": a.reshape(4, -1)}, lambda a: {"a": a}]
)
def test_a_source_that_changes_meanwhile_breaks_nothing(mnt, make):
    """Some mixture is published; its structure is right."""
    values = np.zeros(500_000)
    done = threading.Event()

    def change():
        while not done.is_set():
            values[:] += 1

    thread = threading.Thread(target=change)
    thread.start()
    try:
        for i in range(3):
            ref = famfs.publish(make(values), f"{mnt}/{i}")
            dataset = famfs.open(ref, verify=True)
            is_file = dataset.kind == "safetensors"
            found = loaded(ref)["a"] if is_file else dataset.to_numpy()
            assert found.size == values.size
            assert np.array_equal(found, np.floor(found))
    finally:
        done.set()
        thread.join()


def test_strings_that_change_meanwhile_are_found_or_right(mnt):
    """Offsets that are changed while they are copied are judged when the column is handed out."""
    starts = np.arange(200_001, dtype="i4")
    column = pa.Array.from_buffers(
        pa.string(), 200_000, [None, pa.py_buffer(starts), pa.py_buffer(b"x" * 200_000)]
    )
    done = threading.Event()

    def change():
        while not done.is_set():
            starts[1:-1] = 10**9
            starts[1:-1] = np.arange(1, 200_000)

    thread = threading.Thread(target=change)
    thread.start()
    try:
        for i in range(20):
            try:
                ref = famfs.publish({"s": column}, f"{mnt}/x", overwrite=i > 0)
                found = famfs.open(ref, verify=True).to_arrow()
            except famfs.FamfsError as error:
                assert isinstance(error, famfs.Corrupt | famfs.Unsupported), error
                if not famfs.exists(f"{mnt}/x"):
                    famfs.publish(b"", f"{mnt}/x")
            else:
                assert set(found["s"].to_pylist()) == {"x"}
    finally:
        done.set()
        thread.join()


# Sizes at the edge.


def test_very_many_columns_come_back(mnt):
    table = pa.table({f"c{i}": pa.array([i]) for i in range(100_000)})
    dataset = famfs.open(published(mnt, table).ref)
    assert dataset.shape == (1, 100_000)
    assert famfs.stat(f"{mnt}/x").rows == 1
    assert dataset.to_arrow().column(99_999).to_pylist() == [99_999]


@pytest.mark.parametrize(
    "thing",
    [
        pa.table({}),
        pa.table({"a": pa.array([], pa.int64()), "d": pa.array([], pa.string())}),
        pd.DataFrame(),
        pd.DataFrame({"a": []}),
        pl.DataFrame(),
        pl.DataFrame({"a": [], "b": []}),
        pa.RecordBatchReader.from_batches(pa.schema([("a", pa.int8())]), []),
    ],
    ids=["none", "no rows", "pandas", "pandas rows", "polars", "polars rows", "reader"],
)
def test_tables_of_nothing_come_back(mnt, thing):
    dataset = famfs.open(published(mnt, thing).ref)
    assert dataset.num_rows == 0
    assert dataset.kind == "table"


@pytest.mark.parametrize(
    ("thing", "hint"),
    [
        (pd.DataFrame({"a": [1, "x", None]}), "convert"),
        (pd.DataFrame({"a": [object()]}), "convert"),
        (pd.DataFrame({"a": [np.zeros(2), np.zeros((2, 2))]}), "convert"),
        ({"a": np.array([1, "x"], object)}, "astype"),
        (pd.DataFrame({"a": [1, 2], "b": [{"x": 1}, 5]}), "convert"),
    ],
    ids=["mixed", "objects", "ragged", "object array", "dicts"],
)
def test_what_has_no_type_says_so(mnt, thing, hint):
    with pytest.raises(famfs.Unsupported, match=hint):
        famfs.publish(thing, f"{mnt}/x")
    assert famfs.ls(mnt) == []


def test_ragged_lists_are_a_column_of_lists(mnt):
    frame = pd.DataFrame({"a": [np.arange(2), np.arange(3), None]})
    found = famfs.open(published(mnt, frame).ref).to_arrow()
    assert found["a"].to_pylist() == [[0, 1], [0, 1, 2], None]


def test_columns_of_the_other_byte_order_are_swapped(mnt):
    array = np.arange(5, dtype=">i4")
    found = famfs.open(published(mnt, {"a": array}).ref).to_arrow()
    assert found["a"].to_pylist() == [0, 1, 2, 3, 4]
    # An array by itself keeps its order: NPY files say it.
    assert famfs.open(published(mnt, array).ref).dtype == array.dtype


def test_datasets_and_parts_of_them(mnt):
    source = pa.table({"n": np.arange(10), "text": [f"row {i}" for i in range(10)]})
    table = famfs.open(famfs.publish(source, f"{mnt}/t"))
    array = famfs.open(famfs.publish(np.arange(10.0), f"{mnt}/a"))
    for name in ("n", "text"):
        again = famfs.open(famfs.publish(table[2:8][name], f"{mnt}/c", overwrite=True))
        assert again.to_arrow().equals(source.select([name]).slice(2, 6))
    both = {"text": table["text"], "a": array, "n": table["n"]}
    again = famfs.open(famfs.publish(both, f"{mnt}/d"))
    assert again.names == ["text", "a", "n"]
    assert again["text"].to_arrow().to_pylist() == source["text"].to_pylist()
    assert again["a"].to_numpy().tolist() == list(range(10))
    tensors = famfs.open(famfs.publish({"a": array[1:4], "m": np.ones((2, 2))}, f"{mnt}/s"))
    assert tensors["a"].to_numpy().tolist() == [1, 2, 3]
    assert famfs.open(famfs.publish(tensors["m"], f"{mnt}/m")).shape == (2, 2)
    part = famfs.open(famfs.publish(array[1:4], f"{mnt}/p"))
    assert part.to_numpy().tolist() == [1, 2, 3]
    whole = famfs.open(famfs.publish(table[3:5], f"{mnt}/w"))
    assert whole.to_arrow().equals(source.slice(3, 2))
