"""Each library and each Arrow type, in and out: values, and by address whether they were copied.

What comes out in place is what the table in docs/datasets.md says, cell by cell. What goes in is an
object that the library made; it comes back into the same library as it was.
"""

from __future__ import annotations

import datetime as dt
import decimal
import os
import re
from pathlib import Path
from typing import NamedTuple

import arro3.core
import datafusion
import datasets
import duckdb
import nanoarrow
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import famfs

PAGE = Path(__file__).parents[2] / "docs" / "datasets.md"
ROWS = 60


def many(*values):
    return [values[i % len(values)] for i in range(ROWS)]


DAY = dt.date(2026, 1, 2)
CLOCK = dt.time(1, 2, 3)
NOON = dt.datetime.fromisoformat("2026-01-02 12:00")
TEXTS = many("a", "", "a text that is longer than twelve bytes")
NUMBER = decimal.Decimal("1.25")
TAGS = pa.array(many(0, 1), pa.int8())
PARTS = [pa.array(range(ROWS)), pa.array(TEXTS)]

# Of what the documentation calls a type, values.
ARRAYS = {
    "bool": pa.array(many(*[True, False, True])),
    **{
        name: pa.array(range(ROWS), name)
        for name in ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
    },
    "float16": pa.array(np.arange(ROWS, dtype="f2")),
    "float32": pa.array(np.linspace(0, 1, ROWS, dtype="f4")),
    "float64": pa.array(np.linspace(0, 1, ROWS)),
    "with nulls": pa.array(many(1, None, 3)),
    "date32": pa.array(many(DAY), pa.date32()),
    "date64": pa.array(many(DAY), pa.date64()),
    "time32": pa.array(many(CLOCK), pa.time32("s")),
    "time64[us]": pa.array(many(CLOCK), pa.time64("us")),
    "time64[ns]": pa.array(many(CLOCK), pa.time64("ns")),
    "timestamp[s]": pa.array(many(NOON), pa.timestamp("s")),
    "timestamp[ms]": pa.array(many(NOON), pa.timestamp("ms")),
    "timestamp[us]": pa.array(many(NOON), pa.timestamp("us")),
    "timestamp[ns]": pa.array(many(NOON), pa.timestamp("ns")),
    "timestamp with zone": pa.array(many(NOON), pa.timestamp("us", "Europe/Paris")),
    "duration[s]": pa.array(range(ROWS), pa.duration("s")),
    "duration[ms]": pa.array(range(ROWS), pa.duration("ms")),
    "duration[us]": pa.array(range(ROWS), pa.duration("us")),
    "duration[ns]": pa.array(range(ROWS), pa.duration("ns")),
    "interval": pa.array(many((1, 2, 3)), pa.month_day_nano_interval()),
    "decimal32": pa.array(many(NUMBER), pa.decimal32(9, 2)),
    "decimal64": pa.array(many(NUMBER), pa.decimal64(18, 2)),
    "decimal128": pa.array(many(NUMBER), pa.decimal128(30, 2)),
    "decimal256": pa.array(many(NUMBER), pa.decimal256(60, 2)),
    "string": pa.array(TEXTS),
    "large_string": pa.array(TEXTS, pa.large_string()),
    "string_view": pa.array(TEXTS, pa.string_view()),
    "binary": pa.array(TEXTS, pa.binary()),
    "large_binary": pa.array(TEXTS, pa.large_binary()),
    "binary_view": pa.array(TEXTS, pa.binary_view()),
    "fixed_size_binary": pa.array(many(b"abcde", b"fghij"), pa.binary(5)),
    "list": pa.array(many([1], [2, 3], [])),
    "large_list": pa.array(many([1], [2, 3], []), pa.large_list(pa.int64())),
    "list_view": pa.array(many([1], [2, 3], []), pa.list_view(pa.int64())),
    "fixed_size_list": pa.array(many([1.0, 2.0], [3.0, 4.0]), pa.list_(pa.float32(), 2)),
    "struct": pa.array(many({"a": 1, "b": 1.5}, {"a": 2, "b": 2.5})),
    "map": pa.array(many([("k", 1)], []), pa.map_(pa.string(), pa.int64())),
    "dictionary": pa.array(many("a", "b")).dictionary_encode(),
    "null": pa.nulls(ROWS),
    "run_end_encoded": pa.RunEndEncodedArray.from_arrays(
        pa.array([20, 40, ROWS], pa.int32()), pa.array([1, 2, 3])
    ),
    "dense_union": pa.UnionArray.from_dense(
        TAGS, pa.array([i // 2 for i in range(ROWS)], pa.int32()), PARTS
    ),
    "sparse_union": pa.UnionArray.from_sparse(TAGS, PARTS),
    "uuid": pa.ExtensionArray.from_storage(pa.uuid(), pa.array(many(b"x" * 16), pa.binary(16))),
    "fixed_shape_tensor": pa.FixedShapeTensorArray.from_numpy_ndarray(
        np.arange(4.0 * ROWS).reshape(ROWS, 2, 2)
    ),
}


def addresses(array):
    """Where a column's values lie, its dictionaries' and its parts'."""
    if isinstance(array, pa.ChunkedArray):
        for chunk in array.chunks:
            yield from addresses(chunk)
    elif isinstance(array, pa.ExtensionArray):
        yield from addresses(array.storage)
    else:
        yield from (b.address for b in array.buffers() if b is not None and b.size)
        if isinstance(array, pa.DictionaryArray):
            yield from addresses(array.dictionary)


# How each library gets a column and tells of it.


class Library(NamedTuple):
    make: object
    """An object of its own, of a table."""
    read: object
    """What it makes of a dataset."""
    arrow: object
    """The column `x` of that, back in Arrow."""
    places: object = None
    """Where the values of that lie; those of the column in Arrow where it isn't said."""


def pandas_places(frame):
    series = frame["x"]
    if isinstance(series.dtype, pd.CategoricalDtype):
        yield series.cat.codes.to_numpy().ctypes.data
        yield from pandas_places(series.cat.categories.to_frame(name="x"))
    elif hasattr(series.array, "_pa_array"):
        yield from addresses(series.array._pa_array)
    else:
        values = getattr(series.array, "_ndarray", None)
        yield (series.to_numpy() if values is None else values).ctypes.data


def nanoarrow_places(array):
    """What nanoarrow says itself, of which it takes no part."""
    # The last one of a view's buffers are the lengths of the others, which are no values.
    own = array.buffers[:-1] if array.schema.format in {"vu", "vz"} else array.buffers
    yield from (address for address in own if address)
    for child in array.children:
        yield from nanoarrow_places(child)
    if array.dictionary is not None:
        yield from nanoarrow_places(array.dictionary)


def nanoarrow_column(made):
    return (
        pa.table(made)["x"] if "CArrayStream" in type(made).__name__ else pa.record_batch(made)["x"]
    )


def pandas_column(frame):
    return pa.Table.from_pandas(frame, preserve_index=False)["x"]


def hugging_face(table):
    return datasets.Dataset(datasets.table.InMemoryTable(table))


def numpy_column(made):
    array = made["x"] if isinstance(made, dict) else made
    if array.dtype.kind == "V":
        return pa.array([item.tobytes() for item in array])
    return pa.array(list(array) if array.ndim > 1 else array)


LIBRARIES = {
    "pyarrow": Library(lambda t: t, lambda d: d.to_arrow(), lambda o: o["x"]),
    "pandas": Library(
        lambda t: t.to_pandas(), lambda d: d.to_pandas(), pandas_column, pandas_places
    ),
    "pandas, Arrow's types": Library(
        lambda t: t.to_pandas(types_mapper=pd.ArrowDtype),
        lambda d: d.to_pandas(dtype_backend="pyarrow"),
        pandas_column,
        pandas_places,
    ),
    "polars": Library(pl.from_arrow, lambda d: d.to_polars(), lambda o: pa.table(o)["x"]),
    "NumPy": Library(
        lambda t: {"x": t["x"].to_numpy()},
        lambda d: d["x"].to_numpy(),
        numpy_column,
        lambda o: [o.__array_interface__["data"][0]],
    ),
    "nanoarrow": Library(
        nanoarrow.c_array_stream,
        lambda d: next(iter(nanoarrow.c_array_stream(d))),
        nanoarrow_column,
        lambda o: nanoarrow_places(next(iter(o.children))),
    ),
    "arro3": Library(
        arro3.core.Table.from_arrow, arro3.core.Table.from_arrow, lambda o: pa.table(o)["x"]
    ),
    "datafusion": Library(
        lambda t: datafusion.SessionContext().from_arrow(t),
        lambda d: datafusion.SessionContext().from_arrow(d),
        lambda o: o.to_arrow_table()["x"],
    ),
    "datasets": Library(hugging_face, lambda d: d.to_datasets(), lambda o: o.data.table["x"]),
    "duckdb": Library(duckdb.from_arrow, duckdb.from_arrow, lambda o: o.to_arrow_table()["x"]),
}


def cells():
    """The table of the documentation: of each type and library, what is said."""
    text = PAGE.read_text().partition("## Which library has which type in place")[2]
    lines = [line for line in text.partition("\n## ")[0].splitlines() if line.startswith("|")]
    head, _, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    for types, *words in rows:
        for name in re.findall(r"`([^`]+)`", types):
            for libraries, word in zip(head[1:], words, strict=True):
                for library in libraries.split("; "):
                    yield name, library.replace("`", ""), word


SAID = {(name, library): word for name, library, word in cells()}

# Where what a library makes of Arrow's values, published, comes back to it in another way than the
# table says: it is of another type then. "none": it has nothing of the type that can be published.
OWN = {
    # pandas' own booleans, dates and objects are converted both ways: they come back as they were.
    "pandas": {
        "copy": """bool date32 date64 time32 time64[us] time64[ns] interval decimal32 decimal64
            decimal128 decimal256 binary large_binary binary_view fixed_size_binary list
            large_list list_view fixed_size_list struct null uuid fixed_shape_tensor""",
        "none": "map dense_union sparse_union",
    },
    "pandas, Arrow's types": {"none": "dense_union sparse_union fixed_shape_tensor"},
    # Texts are views, lists large ones, and times finer in polars; it reads its own in place.
    "polars": {
        "in place": """time32 time64[us] timestamp[s] duration[s] decimal32 decimal64 string
            large_string binary large_binary fixed_size_binary list uuid""",
        "none": "interval decimal256 list_view run_end_encoded dense_union sparse_union",
    },
    # Most come out of Arrow as Python objects; nulls as NaN, runs one by one.
    "NumPy": {
        "in place": "with_nulls run_end_encoded",
        "none": """bool date32 time32 time64[us] time64[ns] interval decimal32 decimal64 decimal128
            decimal256 string large_string string_view binary large_binary binary_view
            fixed_size_binary list large_list list_view fixed_size_list struct map dictionary null
            dense_union sparse_union uuid fixed_shape_tensor""",
    },
    "datasets": {
        "in place": "dictionary",
        "none": """interval decimal32 decimal64 list_view map run_end_encoded dense_union
            sparse_union uuid fixed_shape_tensor""",
    },
    "duckdb": {"none": "float16 decimal256 dense_union"},
    "nanoarrow": {"none": "string_view binary_view list_view"},
}


if pd.__version__.startswith("2."):
    # Its texts are Python's, and categories of texts too.
    OWN["pandas"]["copy"] += " string large_string string_view"
    OWN["pandas"]["partly"] = "dictionary"


def own(name, library):
    for word, names in OWN.get(library, {}).items():
        if name.replace(" ", "_") in names.split():
            return word
    return SAID[name, library]


class Volume(NamedTuple):
    mnt: str
    ranges: list

    def word(self, places):
        """Whether values lie in the volume's memory of this process."""
        found = {any(start <= place < end for start, end in self.ranges) for place in places}
        if not found:
            return "no values"
        return "partly" if len(found) == 2 else "in place" if found.pop() else "copy"


@pytest.fixture(scope="module")
def volume(tmp_path_factory):
    """A volume for hundreds of files, whose space is taken as it is used."""
    place = tmp_path_factory.mktemp("libraries")
    (place / "mnt").mkdir()
    famfs.mkfs(place / "volume", size="8GiB", sparse=True)
    famfs.mount(place / "volume", place / "mnt")
    mnt = str(place / "mnt")
    for name, array in ARRAYS.items():
        famfs.publish(pa.table({"x": array}), f"{mnt}/{name}")
    with open("/proc/self/maps") as lines:
        parts = [line.split() for line in lines]
    source = str(place / "volume")
    texts = [part[0].split("-") for part in parts if part[-1] == source]
    yield Volume(mnt, [(int(start, 16), int(end, 16)) for start, end in texts])
    famfs.umount(mnt)
    (place / "volume").unlink()


def same(found, expected):
    """Whether a column has the values, maybe of another type that holds them."""
    expected = pa.chunked_array([expected]) if isinstance(expected, pa.Array) else expected
    if found.to_pylist() == expected.to_pylist():
        return True
    return pa.chunked_array(found).cast(expected.type).to_pylist() == expected.to_pylist()


# nanoarrow ends the process where it hands on views, also such as never were famfs's.
UNREADABLE = {("nanoarrow", name) for name in ("string_view", "binary_view", "list_view")}
# DuckDB counts intervals in microseconds, and hands uuids out as texts.
OTHERWISE = {
    ("duckdb", name)
    for name in ("interval", "duration[s]", "duration[ms]", "duration[us]", "duration[ns]", "uuid")
}


def test_the_version_of_pandas_is_the_one_asked_for():
    assert pd.__version__.startswith(os.environ.get("FAMFS_TEST_PANDAS", ""))


def test_the_table_has_every_type_and_library():
    assert set(SAID) == {(name, library) for name in ARRAYS for library in LIBRARIES}


@pytest.mark.parametrize(("name", "library"), list(SAID))
def test_out(volume, name, library):
    way = LIBRARIES[library]
    dataset = famfs.open(f"{volume.mnt}/{name}")
    if SAID[name, library] == "refused":
        # DuckDB is not called by famfs: the error is its own.
        with pytest.raises(duckdb.Error if library == "duckdb" else famfs.Unsupported):
            way.arrow(way.read(dataset))
        return
    found = way.read(dataset)
    column = None if (library, name) in UNREADABLE else way.arrow(found)
    places = way.places(found) if way.places else addresses(column)
    assert volume.word(places) == SAID[name, library]
    if column is not None and (library, name) not in OTHERWISE:
        assert same(column, ARRAYS[name])


@pytest.mark.parametrize(("name", "library"), list(SAID))
def test_in_and_out_again(volume, name, library):
    way, expected = LIBRARIES[library], own(name, library)
    if (library, name) in UNREADABLE:
        assert expected == "none"
        return
    table = pa.table({"x": ARRAYS[name]})
    path = f"{volume.mnt}/{name} by {library}"
    if expected == "none":
        try:
            made = way.make(table)
        except (Exception, pl.exceptions.PanicException):  # noqa: BLE001 - each has its own
            return
        # Told by famfs, or by the library where it is what makes Arrow of its values.
        with pytest.raises((famfs.Unsupported, duckdb.Error, NotImplementedError)):
            way.arrow(way.read(famfs.open(famfs.publish(made, path))))
        return
    found = way.read(famfs.open(famfs.publish(way.make(table), path)))
    column = way.arrow(found)
    assert volume.word(way.places(found) if way.places else addresses(column)) == expected
    # What it was made of may have come to an end: streams are read once.
    assert str(column.to_pylist()) == str(way.arrow(way.make(table)).to_pylist())


# What a process has of its own: pages of the volume are not counted.

LOOK = """
    import sys, famfs
    library, column, path = sys.argv[1:]
    import duckdb, polars as pl, pyarrow.compute as pc

    def private():
        with open("/proc/self/status") as lines:
            return next(int(l.split()[1]) * 1024 for l in lines if l.startswith("RssAnon"))

    # Neither pyarrow nor pandas computes with views.
    look = pc.max if column != "v" else lambda values: values[-1]
    most = (lambda values: values.max()) if column != "v" else lambda values: values.iloc[-1]
    ways = {
        "duckdb": lambda d: duckdb.sql(f"select count({column}), max({column}) from d").fetchall(),
        "polars": lambda d: d[[column]].to_polars().select(pl.col(column).max()).item(),
        "pyarrow": lambda d: look(d[column].to_arrow()).as_py(),
        "numpy": lambda d: d[column].to_numpy().max(),
        "pandas": lambda d: most(d[[column]].to_pandas()[column]),
        "datasets": lambda d: pc.max(d[[column]].to_datasets().data.table[column]).as_py(),
    }
    duckdb.sql("set threads = 1")
    whole = famfs.open(path)
    ways[library](whole[:1000])
    before = private()
    ways[library](whole)
    print(private() - before)
"""


@pytest.mark.parametrize(
    ("library", "column"),
    [
        *((library, "i") for library in ("duckdb", "polars", "pyarrow", "numpy", "pandas")),
        *((library, "f") for library in ("duckdb", "polars", "pyarrow", "numpy", "pandas")),
        *((library, "v") for library in ("duckdb", "polars", "pyarrow", "pandas")),
        *((library, "s") for library in ("duckdb", "pyarrow", "pandas", "datasets")),
    ],
)
def test_reading_takes_no_memory_of_its_own(wide, run, library, column):
    # A copy would take 16 MiB or more; what is left is what a library computes with.
    assert int(run(LOOK, library, column, wide).stdout) < 6 << 20


@pytest.fixture(scope="module")
def wide():
    """A table of columns of 16 MiB and more."""
    rows = 2 << 20
    texts = pa.array([f"a text of more than twelve bytes, {i:06}" for i in range(1 << 16)])
    texts = pa.concat_arrays([texts] * (rows >> 16))
    columns = {
        "i": np.arange(rows),
        "f": np.linspace(0, 1, rows),
        "s": texts,
        "v": texts.cast(pa.string_view()),
    }
    with famfs.embedded(size="384MiB") as mnt:
        yield str(famfs.publish(columns, f"{mnt}/wide"))
