"""Nested fields declared to have no nulls: refused where they have, taken where none shows."""

from __future__ import annotations

import io

import pyarrow as pa
import pyarrow.ipc
import pytest

import famfs

DICTIONARY = pa.DictionaryArray.from_arrays(pa.array([0, 1], pa.int8()), pa.array(["a", None]))
RUNS = pa.RunEndEncodedArray.from_arrays(pa.array([1, 2], pa.int32()), pa.array([1, None]))
IDS = pa.array([0, 1], pa.int8())
SPARSE = pa.UnionArray.from_sparse(IDS, [pa.array([1, 2]), pa.array(["x", None])])
DENSE = pa.UnionArray.from_dense(
    IDS, pa.array([0, 1], pa.int32()), [pa.array([1]), pa.array(["x", None])]
)
#: Each has a value in its first row and, as a reader meets it, a null in its second.
WITH_A_NULL = {
    "numbers": pa.array([1, None]),
    "strings": pa.array(["a", None]),
    "lists": pa.array([[1], None]),
    "structs": pa.array([{"x": 1}, None]),
    "dictionary": DICTIONARY,
    "runs": RUNS,
    "sparse": SPARSE,
    "dense": DENSE,
    "union of dictionaries": pa.UnionArray.from_sparse(IDS, [DICTIONARY, DICTIONARY]),
    "runs of a dictionary": pa.RunEndEncodedArray.from_arrays(
        pa.array([1, 2], pa.int32()), DICTIONARY
    ),
}
#: The same, with the null in no bitmap.
IN_BITMAPS = ("numbers", "strings", "lists", "structs")


def strict(child):
    return pa.field("inner", child.type, nullable=False)


def struct(child, mask=None):
    return pa.StructArray.from_arrays([child], fields=[strict(child)], mask=mask)


def lists(child):
    offsets = pa.array([0, 1, len(child)], pa.int32())
    return pa.ListArray.from_arrays(offsets, child, type=pa.list_(strict(child)))


def large_lists(child):
    offsets = pa.array([0, 1, len(child)], pa.int64())
    return pa.LargeListArray.from_arrays(offsets, child, type=pa.large_list(strict(child)))


def fixed_lists(child):
    return pa.FixedSizeListArray.from_arrays(child, type=pa.list_(strict(child), 2))


def maps(child):
    kind = pa.map_(pa.string(), strict(child))
    keys = pa.array(["k", "l"])
    return pa.MapArray.from_arrays(pa.array([0, 1, 2], pa.int32()), keys, child, type=kind)


BROKEN = [
    *(pytest.param(struct(child), id=f"struct of {name}") for name, child in WITH_A_NULL.items()),
    *(
        pytest.param(make(WITH_A_NULL[name]), id=f"{make.__name__} of {name}")
        for make in (lists, large_lists, fixed_lists, maps)
        for name in IN_BITMAPS
    ),
    pytest.param(lists(struct(pa.array([1, None]))), id="lists of structs"),
]


@pytest.mark.parametrize("array", BROKEN)
def test_what_breaks_its_own_schema_is_not_published(mnt, array):
    with pytest.raises(famfs.Unsupported, match=r"column .a.*field .*not nullable.*: declare"):
        famfs.publish(pa.table({"a": array}), f"{mnt}/x")
    assert famfs.ls(mnt) == []


@pytest.mark.parametrize("array", BROKEN)
def test_files_of_others_that_break_their_schema_are_corrupt(mnt, array):
    """pyarrow writes them, and arrow's functions in Rust panic at them."""
    file = io.BytesIO()
    with pa.ipc.new_file(file, pa.schema([pa.field("a", array.type)])) as writer:
        writer.write_batch(pa.record_batch({"a": array}))
    path = famfs.publish(file.getvalue(), f"{mnt}/x")
    dataset = famfs.open(path)
    uses = (dataset.to_arrow, lambda: dataset.take([0, 0]), lambda: famfs.open(path, verify=True))
    for use in uses:
        with pytest.raises(famfs.Corrupt, match=r"field .*found nulls.*not nullable"):
            use()


@pytest.mark.parametrize("name", WITH_A_NULL)
def test_nulls_below_a_null_are_nobodys(mnt, name):
    """Also in rows that a slice leaves out."""
    child = WITH_A_NULL[name]
    masked = struct(child, mask=pa.array([False, True]))
    tables = (
        pa.table({"a": masked}),
        pa.table({"a": pa.chunked_array([masked, masked])}),
        pa.table({"a": struct(child).slice(0, 1)}),
        pa.table({"a": struct(pa.concat_arrays([child, child]) if name != "dense" else child)})[:1],
    )
    for i, table in enumerate(tables):
        dataset = famfs.open(famfs.publish(table, f"{mnt}/{i}"), verify=True)
        found = dataset.to_arrow()
        assert found.to_pylist() == table.to_pylist()
        assert found.schema == table.schema
        assert dataset.take([0, 0]).to_pylist() == [table.to_pylist()[0]] * 2


def test_lists_that_use_other_rows_are_published(mnt):
    array = lists(pa.array([1, None]))[:1]
    dataset = famfs.open(famfs.publish(pa.table({"a": array}), f"{mnt}/x"))
    assert dataset.to_arrow().to_pylist() == [{"a": [1]}]
    fixed = pa.FixedSizeListArray.from_arrays(
        pa.array([1, 2, None, None]),
        type=pa.list_(pa.field("inner", pa.int64(), nullable=False), 2),
        mask=pa.array([False, True]),
    )
    dataset = famfs.open(famfs.publish(pa.table({"a": fixed}), f"{mnt}/y"))
    assert dataset.take([1, 0]).to_pylist() == [{"a": None}, {"a": [1, 2]}]


def test_indices_out_of_range_are_no_crash(mnt):
    wild = pa.DictionaryArray.from_arrays(
        pa.array([0, 9, -1], pa.int8()), pa.array(["a", None]), safe=False
    )
    with pytest.raises(famfs.FamfsError):
        famfs.open(famfs.publish(pa.table({"a": struct(wild)}), f"{mnt}/x")).to_arrow()
