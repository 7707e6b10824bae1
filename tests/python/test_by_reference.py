"""Objects whose memory is a volume's: what is pickled of them, and what comes back."""

from __future__ import annotations

import copyreg
import io
import pickle

import ml_dtypes
import numpy as np
import pyarrow as pa
import pytest

import famfs
from famfs import _arrow_refs, _by_reference
from famfs._arrow_layouts import layout_of
from test_libraries import ARRAYS, ROWS, addresses

# Of these nothing lies in memory, or less than what a reference is worth.
NOTHING = {"null", "run_end_encoded", "bool"}


def pickled(thing):
    """As engines pickle: registered types are asked for a reference first."""
    out = io.BytesIO()
    pickler = pickle.Pickler(out, 5)
    pickler.dispatch_table = copyreg.dispatch_table.copy()
    for kind in _by_reference.types():
        pickler.dispatch_table[kind] = lambda obj: (
            _by_reference.reduced(obj) or obj.__reduce_ex__(5)
        )
    pickler.dump(thing)
    return out.getvalue()


def back(thing):
    found = pickle.loads(pickled(thing))
    if hasattr(found, "validate"):
        found.validate(full=True)
    return found


@pytest.fixture(scope="module")
def volume(tmp_path_factory):
    folder = tmp_path_factory.mktemp("by-reference")
    (folder / "mnt").mkdir()
    famfs.mkfs(folder / "volume", size="1GiB", sparse=True)
    famfs.mount(folder / "volume", folder / "mnt")
    yield str(folder / "mnt")
    famfs.umount(folder / "mnt")
    (folder / "volume").unlink()


def opened(volume, name, thing, **options):
    path = f"{volume}/{name}".replace(" ", "_")
    if not famfs.exists(path):
        famfs.publish(thing, path, **options)
    return famfs.open(path)


@pytest.mark.parametrize("name", ARRAYS)
@pytest.mark.parametrize("part", [slice(None), slice(8, -8), slice(3, -5)])
def test_every_type_comes_back_equal_and_in_place(volume, inside, name, part):
    wide = pa.table({"x": ARRAYS[name], "n": np.arange(ROWS)}, metadata={"k": "v"})
    # Several times the rows, so that each type has enough to be referred to.
    table = opened(volume, name, pa.concat_tables([wide] * 64).combine_chunks()).to_arrow()
    length = range(table.num_rows)[part]
    table = table.slice(length.start, len(length))
    column = table["x"]
    for thing in (table, column, column.chunk(0), table.to_batches()[0]):
        found = back(thing)
        assert type(found) is type(thing)
        assert found.equals(thing)
        if isinstance(thing, pa.Table | pa.RecordBatch):
            assert found.schema.equals(thing.schema, check_metadata=True)
        values = found if isinstance(found, pa.Array | pa.ChunkedArray) else found.column(0)
        if name not in NOTHING:
            assert _by_reference.reduced(thing) is not None
            # Bitmaps of a few bytes may stand in the pickle.
            outside = [each for each in addresses(values) if not inside(volume, each, 1)]
            assert len(outside) <= 1
            assert len(pickled(thing)) < 1500
    # Of rows that famfs has cut, too.
    cut = famfs.open(f"{volume}/{name}".replace(" ", "_"))[part].to_arrow()
    assert back(cut).equals(table)


def test_tables_of_several_batches_and_files(volume, inside):
    table = pa.table({"a": np.arange(5000), "s": [f"{i}" for i in range(5000)]})
    one = opened(volume, "batches", table, batch_rows=1000)
    opened(volume, "parts-1", table)
    opened(volume, "parts-2", table)
    several = famfs.open(f"{volume}/parts-*")
    for thing in (one.to_arrow(), several.to_arrow(), one.to_arrow().slice(1500, 2000)):
        found = back(thing)
        assert found.equals(thing)
        assert all(inside(volume, each, 1) for c in found.columns for each in addresses(c))
        assert len(pickled(thing)) <= 256
    # What is neither rows of a file nor its columns is told buffer by buffer.
    here = one.to_arrow()
    odd = [here.rename_columns(["x", "y"]), here.replace_schema_metadata({"a": "b"})]
    odd += [pa.table({"a": here["a"], "b": several.to_arrow()["a"].slice(0, 5000)})]
    odd += [here.append_column("s", here["s"]), here.append_column("new", pa.array(range(5000)))]
    odd += [pa.table({"twice": pa.chunked_array(here["a"].chunks * 2)})]
    for thing in odd:
        found = back(thing)
        assert found.equals(thing)
        assert found.schema.equals(thing.schema, check_metadata=True)
        assert all(inside(volume, each, 1) for each in addresses(found.column(0)))


def test_children_that_were_cut_are_not_taken_for_whole(volume):
    array = pa.array([{"a": i, "b": i * 0.5} for i in range(2000)])
    table = opened(volume, "struct", pa.table({"x": array})).to_arrow()
    child = table["x"].chunk(0).field(0)
    # The same buffers as the column's, of which only the children begin elsewhere.
    moved = pa.StructArray.from_arrays([child.slice(5, 1000), child.slice(7, 1000)], ["a", "b"])
    whole = pa.StructArray.from_arrays([child.slice(0, 1000), child.slice(0, 1000)], ["a", "b"])
    for thing in (moved, whole, pa.table({"x": moved})):
        assert _by_reference.reduced(thing) is not None
        assert back(thing).equals(thing)


@pytest.mark.parametrize("dtype", ["i4", "f8", "?", "c16", "M8[ns]", "S5", "U3", ">i4", "f2"])
def test_arrays_of_every_type(volume, inside, dtype):
    array = np.arange(4000).astype(dtype).reshape(40, 100)
    published = opened(volume, f"array{np.dtype(dtype).num}{dtype[0] == '>'}", array).to_numpy()
    parts = [published, published[3:9], published[:, 5], published[::-1, ::2], published.T]
    parts += [np.broadcast_to(published[0], (500, 100)), published.reshape(-1)]
    for thing in parts:
        found = back(thing)
        assert np.array_equal(found, thing)
        if thing.nbytes >= _arrow_refs.LEAST:
            assert (found.dtype, found.strides) == (thing.dtype, thing.strides)
            assert inside(volume, found.__array_interface__["data"][0], 1)
            assert not found.flags.writeable
            assert len(pickled(thing)) <= 256


@pytest.mark.parametrize("dtype", ["bfloat16", "float8_e5m2", "float8_e4m3fn", "int4"])
def test_arrays_of_types_that_another_package_made(volume, inside, dtype):
    kind = np.dtype(getattr(ml_dtypes, dtype))
    bits = opened(volume, dtype, np.arange(8192, dtype="u2") & 0x707).to_numpy()
    thing = bits.view(kind)
    found = back(thing)
    assert found.dtype == kind
    assert found.tobytes() == bits.tobytes()
    assert inside(volume, found.__array_interface__["data"][0], 1)
    assert len(pickled(thing)) <= 256


def test_structured_and_fortran_arrays(volume, inside):
    fields = np.zeros(1000, [("a", "i4"), ("b", "f8", 3)])
    fields["a"] = np.arange(1000)
    fortran = np.asfortranarray(np.arange(6000.0).reshape(60, 100))
    for name, array in (("fields", fields), ("fortran", fortran)):
        thing = opened(volume, name, array).to_numpy()
        found = back(thing)
        assert found.dtype == array.dtype
        assert np.array_equal(found, array)
        assert found.flags.f_contiguous == array.flags.f_contiguous
        assert inside(volume, found.__array_interface__["data"][0], 1)


def test_what_lies_elsewhere_is_left_alone(volume):
    published = opened(volume, "small", np.arange(5000)).to_numpy()
    things = [published.copy(), published[:100], published + 1, np.array([None] * 500)]
    things += [pa.table({"a": range(5000)}), pa.table({}), pa.table({"a": pa.array([], "i8")})]
    things += [pa.array(range(5000)), pa.nulls(5000), pa.record_batch({"a": pa.array(range(999))})]
    for thing in things:
        assert _by_reference.reduced(thing) is None, type(thing)


def test_what_is_built_and_not_published_is_left_alone(volume):
    with pytest.raises(KeyError), famfs.create(f"{volume}/never", 5000, "f8") as window:
        window[:] = 1
        assert _by_reference.reduced(window) is None
        raise KeyError


def test_the_version_that_is_open_is_meant(volume):
    first = opened(volume, "replaced", np.zeros(1000)).to_numpy()
    famfs.publish(np.ones(1000), f"{volume}/replaced", overwrite=True)
    second = famfs.open(f"{volume}/replaced").to_numpy()
    assert back(first).sum() == 0
    assert back(second).sum() == 1000
    famfs.remove(f"{volume}/replaced")
    assert back(first).sum() == 0


def test_another_process_opens_it(volume, run):
    table = opened(volume, "handed", pa.table({"a": np.arange(5000)})).to_arrow()
    code = (
        "import pickle, sys; print(sum(pickle.loads(bytes.fromhex(sys.argv[1]))['a'].to_pylist()))"
    )
    assert run(code, pickled(table).hex()).stdout.strip() == "12497500"


def test_who_lacks_the_volume_is_told():
    with famfs.embedded(size="32MiB") as mnt:
        sent = pickled(famfs.open(famfs.publish(np.arange(5000), f"{mnt}/a")).to_numpy())
    with pytest.raises(famfs.NotMounted, match="famfs mount"):
        pickle.loads(sent)


MANY = 200_000

# As long as a name may be, which a reference holds.
LONG = "long " * 16


def nested():
    """Columns of types that are more than a buffer, all of one file, none small."""
    numbers = np.arange(MANY, dtype="i4")
    missing = numbers % 7 == 3
    ints = pa.array(numbers, mask=missing)
    texts = pa.array([f"text number {i}" for i in range(MANY)])
    offsets = pa.array(np.arange(0, MANY + 1, 2, dtype="i4"))
    views = pa.array([f"a text that is no short one {i}" for i in range(MANY // 2)])
    pairs = pa.StructArray.from_arrays([ints, texts], ["i", "t"])
    half = np.arange(MANY // 2, dtype="i4")
    kinds = pa.array((half % 2).astype("i1"))
    deep = pa.ListArray.from_arrays(offsets, pairs)
    runs = pa.RunEndEncodedArray.from_arrays(np.arange(1, MANY // 2 + 1, dtype="i4"), half)
    return {
        "list": pa.ListArray.from_arrays(offsets, ints),
        "list with nulls": pa.ListArray.from_arrays(offsets, ints, mask=pa.array(half % 5 == 1)),
        "fixed list": pa.FixedSizeListArray.from_arrays(ints, 2),
        "struct": pairs[: MANY // 2],
        "map": pa.MapArray.from_arrays(offsets, texts, ints),
        "dictionary": pa.DictionaryArray.from_arrays(half % 1000, texts[:1000]),
        "list of struct": deep,
        "list of list": pa.ListArray.from_arrays(np.arange(MANY // 2 + 1, dtype="i4"), deep),
        "string view": views.cast(pa.string_view()),
        "runs": runs,
        "sparse union": pa.UnionArray.from_sparse(kinds, [ints[: len(half)], texts[: len(half)]]),
        "dense union": pa.UnionArray.from_dense(kinds, pa.array(half // 2), [ints, texts]),
        "nulls": pa.array(half, mask=half % 3 == 0),
        "texts": texts[: MANY // 2],
    }


@pytest.fixture(scope="module")
def wide(volume):
    """All of them as one table, in one batch and in 1,000."""
    table = pa.table(nested())
    return [
        opened(volume, f"{rows} {LONG}"[:79], table, batch_rows=rows)
        for rows in (table.num_rows, table.num_rows // 1000)
    ]


NESTED = (*nested(),)


def same_memory(one, other):
    """Whether the arrays lie at the same addresses, bitmaps aside, which may be made."""
    if isinstance(one, pa.ChunkedArray):
        return all(map(same_memory, one.chunks, other.chunks))
    return list(data_of(layout_of(one))) == list(data_of(layout_of(other)))


def data_of(layout):
    """Where all lies that is no bitmap: each buffer but the first, and of booleans none."""
    kind, _, _, _, buffers, children, dictionary = layout
    if not pa.types.is_boolean(kind):
        yield from (buffer and buffer.address for buffer in buffers[1:])
    for below in (*children, *([dictionary] if dictionary else [])):
        yield from data_of(below)


@pytest.mark.parametrize("name", NESTED)
@pytest.mark.parametrize(
    ("by", "part"),
    [
        ("pyarrow", slice(None)),
        ("pyarrow", slice(1003, -5)),
        ("famfs", slice(8, -8)),
        ("famfs", slice(1003, -5)),
    ],
)
def test_what_came_from_one_file_takes_256_bytes(wide, name, by, part):
    for dataset in wide:
        rows = range(dataset.num_rows)[part]
        if by == "famfs":
            column = dataset[rows.start : rows.stop, name].to_arrow()
        else:
            column = dataset[name].to_arrow().slice(rows.start, len(rows))
        assert column.num_chunks == 1 or column.num_chunks >= 990
        for thing in (column, column.chunk(0)):
            sent = pickled(thing)
            found = pickle.loads(sent)
            found.validate(full=True)
            assert type(found) is type(thing)
            assert found.equals(thing)
            if isinstance(thing, pa.ChunkedArray):
                assert list(map(len, found.chunks)) == list(map(len, thing.chunks))
            if thing is column or len(thing) > 1000:
                assert len(sent) <= 256
                assert same_memory(found, thing)


def children(table):
    yield table["list"].chunk(0).values
    yield table["list"].chunk(0).slice(5, 20_000).flatten()
    yield table["struct"].chunk(0).field("t")
    yield table["struct"].chunk(0).slice(7, 5000).field(1)
    yield table["map"].chunk(0).keys
    yield table["map"].chunk(0).items
    yield table["dictionary"].chunk(0).dictionary
    yield table["dictionary"].chunk(0).indices
    yield table["list of list"].chunk(0).values.values
    yield table["list of list"].chunk(0).values.values.field("t")
    yield table["dense union"].chunk(0).field(1)
    yield table["runs"].chunk(0).values


def test_children_take_256_bytes(wide):
    for thing in children(wide[0].to_arrow()):
        sent = pickled(thing)
        found = pickle.loads(sent)
        assert found.equals(thing)
        assert len(sent) <= 256, thing.type
        assert same_memory(found, thing)


def tables(table):
    rows = table.num_rows
    yield table.rename_columns([f"c{i}" for i in range(table.num_columns)])
    yield table.select(["list", "texts", "runs"]).rename_columns(["a", "b", "c"])
    yield table.select(["runs", "list"])
    yield table.replace_schema_metadata(None).slice(3, rows - 10)
    yield pa.table({"x": table["struct"].slice(9, 5000), "y": table["map"].slice(9, 5000)})
    # Cut into a thousand chunks, and each second of ten.
    cut = pa.Table.from_batches(table.to_batches(max_chunksize=rows // 1000))
    yield cut
    yield pa.concat_tables([table.slice(i * 1000, 1000) for i in range(0, 10, 2)])


def test_tables_of_one_file_take_256_bytes(wide):
    for thing in tables(wide[0].to_arrow()):
        sent = pickled(thing)
        found = pickle.loads(sent)
        assert found.equals(thing)
        assert found.schema.equals(thing.schema, check_metadata=True)
        # Names that are not the file's have to be told.
        assert len(sent) <= 256 + sum(len(name) + 5 for name in thing.column_names), thing.shape
        assert all(map(same_memory, found.columns, thing.columns))
    for column in wide[1].to_arrow().columns:
        assert len(pickled(column)) <= 256


def test_a_column_of_thousands_is_found(volume):
    names = [f"c{i}" for i in range(3000)]
    numbers = pa.array([[i, i + 1] for i in range(100)])
    table = pa.table({name: numbers if i % 2 else pa.nulls(100) for i, name in enumerate(names)})
    for rows in (100, 10):
        found = opened(volume, f"thousands {rows}", table, batch_rows=rows).to_arrow()
        for name in ("c1", "c1499", "c2999"):
            sent = pickled(found[name])
            assert len(sent) <= 256
            assert same_memory(pickle.loads(sent), found[name])


def test_what_is_cut_without_a_rule_is_cut_as_the_file_is(wide):
    column = wide[0]["list"].to_arrow().chunk(0)
    lengths = [1000 + i * i % 17 for i in range(50)]
    starts = np.cumsum([0, *lengths])
    thing = pa.chunked_array([column.slice(s, n) for s, n in zip(starts, lengths, strict=False)])
    sent = pickled(thing)
    assert len(sent) <= 256
    assert pickle.loads(sent).equals(thing)
    # Out of order they are many references, and are those rows still.
    mixed = pa.chunked_array(thing.chunks[::-1])
    assert pickle.loads(pickled(mixed)).equals(mixed)


def test_what_shares_memory_with_a_column_and_is_none_comes_back_as_it_is(mnt):
    # The child's bitmap is the struct's; a struct of fewer children; another type by a name.
    rows = range(3000)
    structs = pa.table(
        {
            "s": [None if i % 7 == 0 else {"p": i, "q": str(i), "r": i % 2 == 0} for i in rows],
            "n": pa.array(rows, pa.int64()),
            "z": pa.nulls(len(rows)),
        }
    )
    table = famfs.open(famfs.publish(structs, f"{mnt}/t")).to_arrow()
    whole = table["s"].chunk(0)
    fewer = pa.StructArray.from_arrays([whole.field(0), whole.field(1)], ["p", "q"])
    more = pa.StructArray.from_arrays([whole.field(0)] * 4, ["a", "b", "c", "d"])
    things = [
        table.flatten(),
        whole.flatten()[1],
        pa.table({"s": whole, "q": whole.flatten()[1]}),
        fewer,
        more,
        pa.table({"x": more}),
        table.select(["n"]).rename_columns(["z"]),
        table.select(["n", "z"]).rename_columns(["z", "n"]),
    ]
    for thing in things:
        found = _by_reference.reduced(thing)
        back = found[0](*found[1]) if found else pickle.loads(pickle.dumps(thing))
        assert back.equals(thing), thing.type if hasattr(thing, "type") else thing.schema


def test_names_and_metadata_within_types_stay_the_objects_own(mnt):
    theirs = pa.list_(pa.field("element", pa.int64(), metadata={"unit": "m"}))
    lists = pa.array([[i, i + 1] for i in range(2000)], theirs)
    table = famfs.open(famfs.publish(pa.table({"l": lists}), f"{mnt}/t")).to_arrow()
    ours = table["l"].cast(pa.list_(pa.int64()))
    for thing in (ours, ours.chunk(0), table["l"]):
        rebuild, arguments = _by_reference.reduced(thing)
        back = rebuild(*arguments)
        field, expected = back.type.value_field, thing.type.value_field
        assert (field.name, field.metadata) == (expected.name, expected.metadata)
    rebuild, arguments = _by_reference.reduced(pa.table({"l": ours}))
    back = rebuild(*arguments)
    assert back["l"].type.value_field.name == back.schema.field("l").type.value_field.name == "item"


def test_what_can_not_be_looked_at_is_sent_as_before(mnt, monkeypatch):
    array = famfs.open(famfs.publish(np.ones(1000), f"{mnt}/ones")).to_numpy()
    reducer = _by_reference.Reducer(None, 4)
    assert reducer(array)[0] is _by_reference.numpy_of

    def fails(obj):
        raise IndexError(obj)

    monkeypatch.setattr(_by_reference, "reduced", fails)
    rebuild, arguments, state = reducer(array)
    copy = rebuild(*arguments)
    copy.__setstate__(state)
    assert copy.tolist() == array.tolist()


def test_a_damaged_column_leaves_the_others_to_be_sent(mnt):
    words = pa.DictionaryArray.from_arrays(pa.array([0, 1] * 999, pa.int32()), ["a", "b"])
    wild = pa.DictionaryArray.from_arrays(
        pa.array([0, 9] * 999, pa.int32()), ["a", "b"], safe=False
    )
    sink = io.BytesIO()
    good = pa.array([[i] for i in range(1998)])
    both = pa.table({"bad": wild, "words": words, "good": good})
    with pa.ipc.new_file(sink, both.schema) as writer:
        writer.write(both)
    dataset = famfs.open(famfs.publish(sink.getvalue(), f"{mnt}/t"))
    for name in ("words", "good"):
        column = dataset[name].to_arrow()
        rebuild, arguments = _by_reference.reduced(column)
        assert rebuild(*arguments).equals(both[name])
        renamed = pa.table({"x": column})
        rebuild, arguments = _by_reference.reduced(renamed)
        assert rebuild(*arguments).equals(renamed)
    with pytest.raises(famfs.Corrupt):
        dataset["bad"].to_arrow()
