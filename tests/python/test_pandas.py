"""What is pandas' alone: types, labels and indices that NumPy and pyarrow would change."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import famfs

ODD = 2**53 + 1
"""A whole number that no float has."""


def again(mnt, thing):
    return famfs.open(famfs.publish(thing, f"{mnt}/x", overwrite=True))


@pytest.mark.parametrize(
    "values",
    [
        pd.array([ODD, None], dtype="Int64"),
        pd.array([ODD, None], dtype="int64[pyarrow]"),
        pd.Index([ODD, None], dtype="Int64"),
        pd.array([True, None], dtype="boolean"),
        pd.array(["x", None], dtype="string"),
        pd.Categorical(["b", "a", None], categories=["b", "c", "a"], ordered=True),
        pd.CategoricalIndex(["b", "a"], name="n"),
        pd.period_range("2020", periods=2, freq="M").array,
        pd.interval_range(0, 2),
        pd.date_range("2020", periods=2, tz="Europe/Berlin"),
    ],
    ids=lambda values: f"{type(values).__name__} of {values.dtype}",
)
def test_arrays_of_pandas_own_types_keep_them(mnt, values):
    expected = pd.Series(values)
    if values.dtype == "int64[pyarrow]":
        assert again(mnt, values).to_arrow()["values"].to_pylist() == [ODD, None]
    came = again(mnt, values).to_pandas().iloc[:, 0]
    name = getattr(values, "name", None) or "values"
    pd.testing.assert_series_equal(came, expected.rename(name))
    column = again(mnt, {"a": values}).to_arrow()["a"]
    assert column.combine_chunks().equals(pa.array(expected))


def test_arrays_and_indices_of_numpy_types_stay_arrays(mnt):
    for values in (pd.Index([1, 2]), pd.RangeIndex(3), pd.date_range("2020", periods=2)):
        dataset = again(mnt, values)
        assert dataset.kind == "array"
        np.testing.assert_array_equal(dataset.to_numpy(), values.to_numpy())


@pytest.mark.parametrize("labels", [[True, False], [False, True], [False]])
def test_labels_that_are_booleans_stay_apart(mnt, labels):
    frame = pd.DataFrame([list("xy")[: len(labels)]], columns=pd.Index(labels, name="n"))
    pd.testing.assert_frame_equal(again(mnt, frame).to_pandas(), frame)
    numbers = pd.DataFrame([[1.0, 2.0][: len(labels)]], columns=labels, index=["r"])
    pd.testing.assert_frame_equal(again(mnt, numbers).to_pandas(), numbers)


def test_arrow_types_of_a_frame_come_back_beside_each_other(mnt):
    frame = pd.DataFrame(
        {
            "dictionary": pd.array(["x", "y"], dtype=pd.ArrowDtype(pa.dictionary("i1", "str"))),
            "number": pd.array([1, 2], dtype="int64[pyarrow]"),
            "list": pd.array([[1], None], dtype=pd.ArrowDtype(pa.list_(pa.int8()))),
            "plain": [1.5, 2.5],
        }
    )
    pd.testing.assert_frame_equal(again(mnt, frame).to_pandas(), frame)
    alone = frame[["dictionary"]]
    pd.testing.assert_frame_equal(again(mnt, alone).to_pandas(), alone)


def test_what_pandas_refuses_is_unsupported(mnt):
    # A dictionary with a null, which Arrow has.
    values = pa.DictionaryArray.from_arrays(pa.array([0, 1], "i1"), pa.array(["x", None]))
    dataset = again(mnt, pa.table({"a": values}))
    with pytest.raises(famfs.Unsupported, match=r"to_arrow\(\) has it"):
        dataset.to_pandas()
    assert dataset.to_arrow()["a"].to_pylist() == ["x", None]


def test_whole_numbers_that_arrow_has_not_are_unsupported(mnt):
    with pytest.raises(famfs.Unsupported, match="too large"):
        famfs.publish(pd.DataFrame({"a": [2**70, 1]}), f"{mnt}/x")
    assert famfs.ls(mnt) == []


def test_what_lies_about_dlpack_is_unsupported(mnt):
    class Liar:
        def __dlpack__(self, **_options):
            return 7

        def __dlpack_device__(self):
            return (1, 0)

    with pytest.raises(famfs.Unsupported, match="PyCapsule"):
        famfs.publish(Liar(), f"{mnt}/x")


def test_take_of_an_array_of_no_axes_is_unsupported(mnt):
    with pytest.raises(famfs.Unsupported, match="no axes"):
        again(mnt, np.array(5)).take([0])


def test_categories_of_no_rows_come_back(mnt):
    for categories in (["b", "a"], [2, 1]):
        frame = pd.DataFrame({"c": pd.Categorical([], categories, ordered=True), "n": np.ones(0)})
        pd.testing.assert_frame_equal(again(mnt, frame).to_pandas(), frame)
        table = pa.table(frame)
        assert again(mnt, table).to_arrow()["c"].chunk(0).dictionary.to_pylist() == categories
        batch = pa.record_batch(frame)
        assert again(mnt, batch).to_arrow()["c"].chunk(0).dictionary.to_pylist() == categories
    nested = pa.ListArray.from_arrays(pa.array([0], "i4"), table["c"].chunk(0))
    [came] = again(mnt, pa.table({"l": nested})).to_arrow()["l"].chunks
    assert came.flatten().dictionary.to_pylist() == [2, 1]
    # A table that has no chunks has no dictionary either.
    empty = pa.schema([("c", pa.dictionary("i1", "str"))]).empty_table()
    assert again(mnt, empty).to_arrow().schema == empty.schema


def test_space_for_texts_of_any_length_is_unsupported(mnt):
    with (
        pytest.raises(famfs.Unsupported, match="StringDType"),
        famfs.create(f"{mnt}/x", 3, np.dtypes.StringDType()),
    ):
        pass


def test_open_of_nothing_is_a_type_error():
    with pytest.raises(TypeError, match="None is no path"):
        famfs.open(None)


@pytest.mark.parametrize(
    "index",
    [
        pd.RangeIndex(10),
        pd.RangeIndex(100, 120, 2, name="i"),
        pd.RangeIndex(9, -1, -1),
        pd.Index(list("abcdefghij")),
    ],
    ids=repr,
)
def test_rows_keep_their_labels(mnt, index):
    frame = pd.DataFrame({"a": np.arange(10), "b": list("xyzxyzxyzx")}, index=index)
    dataset = famfs.open(famfs.publish(frame, f"{mnt}/x", batch_rows=5))
    for backend in (None, "pyarrow"):

        def labels(part, backend=backend):
            return part.to_pandas(dtype_backend=backend).index

        pd.testing.assert_index_equal(labels(dataset), index)
        pd.testing.assert_index_equal(labels(dataset[2:7]), index[2:7])
        pd.testing.assert_index_equal(labels(dataset[2:7][1:3]), index[3:5])
        if isinstance(index, pd.RangeIndex):
            pd.testing.assert_index_equal(labels(dataset[["a"]]), index)
        pd.testing.assert_index_equal(labels(dataset.partition(1, 2)), index[5:])
        pd.testing.assert_index_equal(labels(dataset[4:4]), index[4:4])
    pd.testing.assert_frame_equal(dataset[3:6].to_pandas(), frame.iloc[3:6])


@pytest.mark.parametrize("right", [True, False])
def test_intervals_that_cut_made_come_back(mnt, right):
    frame = pd.DataFrame(
        {
            "a": [1.5, 2, 3],
            "c": pd.cut([1, 2, np.nan], 2, right=right),
            "t": pd.cut(pd.date_range("2020", periods=3), 2, right=right),
            "s": ["x", "y", None],
        },
        index=[5, 6, 7],
    )
    dataset = famfs.open(famfs.publish(frame, f"{mnt}/cut", batch_rows=2))
    pd.testing.assert_frame_equal(dataset.to_pandas(), frame)
    pd.testing.assert_frame_equal(dataset[1:].to_pandas(), frame[1:])
    assert dataset[:0].to_pandas()["c"].dtype == "category"
    with pytest.raises(famfs.Unsupported, match="would be copied"):
        dataset[:1, ["c"]].to_pandas(copy=False)
    assert dataset.to_pandas(dtype_backend="pyarrow")["c"].dtype.pyarrow_dtype == pa.dictionary(
        pa.int8(), pa.struct({"left": pa.float64(), "right": pa.float64()}), ordered=True
    )


def test_swapped_columns_are_published_in_this_machines_order(mnt):
    frame = pd.DataFrame(
        {"a": np.arange(3, dtype=">i8"), "b": np.arange(3, dtype=">f4"), "c": [1, 2, 3]}
    )
    found = again(mnt, frame).to_pandas()
    pd.testing.assert_frame_equal(found, frame.astype({"a": "<i8", "b": "<f4"}))


def test_decimals_of_arrow_are_told_from_those_of_python(mnt):
    frame = pd.DataFrame(
        {
            "arrow": pd.array([Decimal("1.50"), None], dtype=pd.ArrowDtype(pa.decimal128(5, 2))),
            "python": [Decimal("1.50"), None],
        }
    )
    pd.testing.assert_frame_equal(again(mnt, frame).to_pandas(), frame)


def test_files_that_were_cut_each_by_itself_are_one(mnt):
    famfs.mkdir(f"{mnt}/cut")
    made = []
    for name, values in (("a", [1.0, 2, 3]), ("b", [2.0, np.nan, 9])):
        made.append(pd.cut(values, 2))
        famfs.publish(pd.DataFrame({"c": made[-1]}), f"{mnt}/cut/{name}")
    found = famfs.open(f"{mnt}/cut").to_pandas()["c"]
    assert found.tolist()[:4] == [*made[0], made[1][0]]
    assert pd.isna(found[4])
    assert found.cat.ordered
    assert list(found.cat.categories) == sorted({*made[0].categories, *made[1].categories})
    assert famfs.open(f"{mnt}/cut")[:0].to_pandas()["c"].cat.categories.dtype.subtype == "float64"


def test_a_swapped_index_is_published_too(mnt):
    frame = pd.DataFrame({"a": [1, 2]}, index=pd.Index(np.array([7, 9], ">i8"), name="i"))
    found = again(mnt, frame).to_pandas()
    pd.testing.assert_frame_equal(found, frame.set_axis(frame.index.astype("i8")))


def test_rows_that_were_taken_have_no_range_of_others(mnt):
    frame = pd.DataFrame({"a": np.arange(20)}, index=pd.RangeIndex(100, 120, name="k"))
    order = np.random.default_rng(5).permutation(20)
    taken = again(mnt, frame).take(order)
    assert taken.to_pandas().index.equals(pd.RangeIndex(20))
    assert again(mnt, taken)[3:6].to_pandas()["a"].to_dict() == dict(
        zip(range(3), order[3:6], strict=True)
    )
    named = pd.DataFrame({"a": np.arange(20)}, index=pd.Index(np.arange(20) * 7, name="k"))
    pd.testing.assert_frame_equal(again(mnt, named).take(order).to_pandas(), named.iloc[order])
