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
