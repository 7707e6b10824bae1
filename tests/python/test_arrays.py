"""Arrays: every dtype and layout comes back the same, in place and read-only."""

from __future__ import annotations

import ctypes
import io
import pickle
import re

import numpy as np
import pyarrow as pa
import pytest

import famfs

OVERLAP = np.dtype({"names": ["a", "b"], "formats": ["i4", "i4"], "offsets": [0, 2]})
SWAPPED = np.dtype({"names": ["a", "b"], "formats": ["i4", "i4"], "offsets": [4, 0]})
STRUCT = np.dtype([("a", "<i4"), ("b", ">f8", (2,)), ("c", "S3")])
DTYPES = [
    "?", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8", "g", "c8", "c16",
    ">i2", ">u8", ">f4", "S5", "U3", "V6", "M8[ns]", "M8[D]", "m8[us]", STRUCT,
    np.dtype({"names": ["x", "y"], "formats": ["i1", "f8"]}, align=True),
]  # fmt: skip


def made(dtype, shape):
    dtype = np.dtype(dtype)
    count = int(np.prod(shape)) * dtype.itemsize
    raw = np.random.default_rng(7).integers(0, 128, count, dtype=np.uint8)
    if dtype.kind == "b":
        raw &= 1
    if dtype.kind == "U":
        raw = np.frombuffer(
            np.array(["a\xf1b", "", "zzz"] * count)[: int(np.prod(shape))].astype(dtype).tobytes(),
            np.uint8,
        )
    return raw.view(dtype).reshape(shape)


def same(a, b):
    assert a.dtype == b.dtype
    assert a.shape == b.shape
    assert a.nbytes == b.nbytes
    if a.dtype.names:  # what lies between fields is nobody's
        assert np.array_equal(a, b)
    else:
        assert a.tobytes() == b.tobytes()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("order", ["C", "F"])
def test_every_dtype_and_order_comes_back(mnt, inside, dtype, order):
    array = np.array(made(dtype, (3, 5)), order=order)
    ref = famfs.publish(array, f"{mnt}/a")
    dataset = famfs.open(ref)
    assert dataset.kind == "array"
    assert dataset.shape == (3, 5)
    assert dataset.dtype == array.dtype
    assert dataset.nbytes == array.nbytes
    for found in (dataset.to_numpy(), np.asarray(dataset)):
        same(found, array)
        assert not found.flags.writeable
        assert found.flags[f"{order}_CONTIGUOUS"]
        assert inside(mnt, found.__array_interface__["data"][0], found.nbytes)
    # The file is NumPy's own.
    expected = io.BytesIO()
    np.save(expected, array)
    if not (array.dtype.names and array.dtype.isalignedstruct):
        assert bytes(dataset.buffer()) == expected.getvalue()
    same(np.load(io.BytesIO(dataset.buffer())), array)


@pytest.mark.parametrize(
    "array",
    [
        np.array(5.5),
        np.array("2020-01-01", "M8[s]"),
        np.empty((0,), "f8"),
        np.empty((3, 0, 2), "i4", order="F"),
        np.empty(3, "S0"),
        np.zeros((2,) * 20, "u1"),
        np.float32(3),
    ],
    ids=lambda array: f"{array.dtype}{array.shape}",
)
def test_shapes_at_the_edge_come_back(mnt, array):
    dataset = famfs.open(famfs.publish(array, f"{mnt}/edge"))
    same(np.asarray(dataset), np.asarray(array))
    same(dataset.to_numpy(), np.asarray(array))


@pytest.mark.parametrize("dtype", ["f8", "i1", "M8[s]", STRUCT, "U3", "?"], ids=str)
@pytest.mark.parametrize(
    "cut",
    [
        np.s_[::2],
        np.s_[::-1],
        np.s_[:, 1:4],
        np.s_[:, ::-3],
        np.s_[:, :, 1],
        np.s_[1:2, ::2, ::2],
    ],
    ids=str,
)
def test_arrays_that_are_not_contiguous_are_copied_right(mnt, dtype, cut):
    array = made(dtype, (6, 7, 4))[cut]
    assert not array.flags.c_contiguous
    same(famfs.open(famfs.publish(array, f"{mnt}/a")).to_numpy(), array)
    same(famfs.open(famfs.publish(array.T, f"{mnt}/t")).to_numpy(), array.T)


def test_a_large_one_that_is_not_contiguous_goes_in_parts(mnt):
    array = np.arange(3_000_000.0).reshape(1000, 3000)[:, ::2]
    same(famfs.open(famfs.publish(array, f"{mnt}/a")).to_numpy(), array)
    swapped = np.arange(2_400_000.0).reshape(100, 200, 120).transpose(1, 0, 2)
    same(famfs.open(famfs.publish(swapped, f"{mnt}/b")).to_numpy(), swapped)
    broadcast = np.broadcast_to(np.arange(1000.0), (1500, 1000))
    same(famfs.open(famfs.publish(broadcast, f"{mnt}/c")).to_numpy(), broadcast)


GAPS = {
    "aligned": np.dtype([("a", "i1"), ("b", "f8")], align=True),
    "nested": np.dtype(
        [("a", "i1"), ("s", np.dtype([("x", "u1"), ("y", "i4")], align=True), (2,))], align=True
    ),
    "at the end": np.dtype({"names": ["a"], "formats": ["u1"], "itemsize": 16}),
    "offsets": np.dtype({"names": ["a", "b"], "formats": ["u1", "u1"], "offsets": [3, 9]}),
}


@pytest.mark.parametrize("dtype", GAPS.values(), ids=GAPS)
def test_no_byte_of_the_heap_gets_into_a_file(mnt, dtype):
    zeros = np.zeros((100, 3), dtype)
    for thing in (zeros[:, ::2], zeros[::-1, 1], zeros[0, 0]):
        for _ in range(5):
            # Memory that is free again holds what was there before.
            np.full(4096, 0xAB, np.uint8)
            dataset = famfs.open(famfs.publish(thing, f"{mnt}/a", overwrite=True))
            start, nbytes = dataset._file.array[3:]
            assert not any(dataset.buffer()[start : start + nbytes])
    # What the caller's fields hold comes all the same.
    filled = np.zeros((5, 4), dtype)
    filled["a"] = np.arange(20).reshape(5, 4)
    same(famfs.open(famfs.publish(filled[:, ::2], f"{mnt}/b")).to_numpy(), filled[:, ::2])


def test_the_buffer_protocol_gives_shape_and_type(mnt):
    array = np.arange(12.0).reshape(3, 4)
    view = memoryview(famfs.open(famfs.publish(array, f"{mnt}/a")))
    assert (view.shape, view.strides, view.format) == ((3, 4), (32, 8), "d")
    assert view.readonly
    assert view.tolist() == array.tolist()
    fortran = memoryview(famfs.open(famfs.publish(np.asfortranarray(array), f"{mnt}/f")))
    assert fortran.f_contiguous
    assert fortran.strides == (8, 24)
    with pytest.raises(TypeError):
        # Whoever doesn't ask for strides takes C order for granted.
        b"".join([famfs.open(f"{mnt}/f")])
    assert b"".join([famfs.open(f"{mnt}/a")]) == array.tobytes()
    with pytest.raises((TypeError, BufferError)):
        io.BytesIO(b"x" * 96).readinto(famfs.open(f"{mnt}/a"))


def test_what_was_handed_out_outlives_the_dataset(mnt):
    array = np.arange(1000)
    with famfs.open(famfs.publish(array, f"{mnt}/a")) as dataset:
        found, view, whole = dataset.to_numpy(), np.asarray(dataset), dataset.buffer()
    famfs.remove(f"{mnt}/a")
    same(found, array)
    same(view, array)
    assert len(whole) == 8128
    with pytest.raises(famfs.FamfsError, match="closed"):
        dataset.to_numpy()
    assert "closed" in repr(dataset)
    with pytest.raises(BufferError, match="closed"):
        memoryview(dataset)


def test_dlpack_and_array_interface(mnt):
    array = np.arange(6, dtype="f4").reshape(2, 3)
    dataset = famfs.open(famfs.publish(array, f"{mnt}/a"))
    found = np.from_dlpack(dataset)
    assert np.shares_memory(found, dataset.to_numpy())
    assert np.array(dataset, dtype="f8").dtype == np.float64
    assert np.array(dataset).flags.writeable
    assert not np.shares_memory(dataset.copy(), found)
    assert float(np.add(dataset, 1).sum()) == 21
    with pytest.raises(ValueError, match="copy"):
        np.asarray(dataset, dtype="f8", copy=False)


def test_accessors_of_an_array(mnt):
    dataset = famfs.open(famfs.publish(np.arange(6).reshape(2, 3), f"{mnt}/a"))
    assert len(dataset) == dataset.num_rows == 2
    for call in (
        lambda: dataset.schema,
        lambda: dataset.batches,
        dataset.to_arrow,
        dataset.to_polars,
        dataset.__arrow_c_stream__,
        dataset.__arrow_c_schema__,
    ):
        with pytest.raises(famfs.Unsupported, match="to_numpy|dtype|to_arrow"):
            call()
    assert dataset.to_pandas().shape == (2, 3)
    line = famfs.open(famfs.publish(np.arange(6), f"{mnt}/line"))
    assert line.to_arrow().to_pylist() == [0, 1, 2, 3, 4, 5]
    assert line.to_pandas().sum() == 15
    assert "array of int64" in repr(line)
    assert "int64" in line._repr_html_()


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("kind", ["M8", "m8"])
def test_times_are_arrow_arrays_in_place(mnt, inside, unit, kind):
    array = np.arange(100).astype(f"{kind}[{unit}]")
    found = famfs.open(famfs.publish(array, f"{mnt}/a")).to_arrow()
    assert found.equals(pa.array(array))
    assert found.null_count == 0
    assert inside(mnt, found.buffers()[1].address, found.buffers()[1].size)
    array[[3, 7, 99]] = "NaT"
    found = famfs.open(famfs.publish(array, f"{mnt}/b")).to_arrow()
    assert found.equals(pa.array(array))
    assert found.null_count == 3
    assert inside(mnt, found.buffers()[1].address, found.buffers()[1].size)
    empty = famfs.open(famfs.publish(array[:0], f"{mnt}/c")).to_arrow()
    assert empty.equals(pa.array(array[:0]))


@pytest.mark.parametrize(
    ("dtype", "why"),
    [
        ("?", "packs bool into bits.*to_numpy.*copies"),
        ("M8[D]", "counts in s, ms, us and ns.*copies"),
        ("M8[10s]", "counts in"),
        (">i4", "byte order.*to_numpy"),
        ("c16", "nothing that lies in memory.*to_numpy"),
        ("S5", "nothing that lies"),
    ],
)
def test_why_an_array_is_none_of_arrows(mnt, dtype, why):
    dataset = famfs.open(famfs.publish(np.zeros(3, dtype), f"{mnt}/a"))
    with pytest.raises(famfs.Unsupported, match=why):
        dataset.to_arrow()
    if "copies" in why:
        assert pa.array(dataset.to_numpy()).to_numpy(zero_copy_only=False).shape == (3,)


@pytest.mark.parametrize(
    ("thing", "hint"),
    [
        (np.array([1, "a", None], dtype=object), "astype"),
        (np.array([("x", None)], dtype=[("a", "S1"), ("b", "O")]), "astype"),
        (np.ma.masked_array([[1], [2]], [[True], [False]]), "filled"),
        (np.ma.masked_array([1j, 2], [True, False]), "filled"),
        (np.array(["a"], dtype=np.dtypes.StringDType()), "astype"),
        ("text", "encode"),
        ([1, 2], "asarray"),
        (5, "asarray"),
        (None, "asarray"),
        (object(), "table, batch"),
        ({"a": np.zeros((2, 2), "S3")}, "one axis"),
        ({"a": np.zeros(2), "b": np.zeros(3, "M8[s]")}, "view.*i8"),
        ({"a": np.zeros(2), "b": np.zeros(3, "c16")}, "astype.*c8"),
        ({"a": {"b": np.zeros(3)}}, "'a.x'"),
        ({"__metadata__": np.zeros((2, 2))}, "another one"),
        ({"a\ud800": np.zeros((2, 2))}, "no text"),
        ({1: np.zeros(2)}, "strings"),
        ({"a": np.array([object()])}, "astype"),
        ({"a": 5}, "asarray"),
        ({"a\ud800": np.zeros(2)}, "another name"),
        (ctypes.c_void_p(5), "table, batch"),
        (np.zeros(2, OVERLAP), "repack_fields"),
        (np.zeros(2, SWAPPED), "repack_fields"),
    ],
    # The same in every process, so that several can share the tests.
    ids=lambda value: re.sub(" at 0x[0-9a-f]+", "", ascii(value)),
)
def test_what_cannot_be_published_says_what_to_do(mnt, thing, hint):
    with pytest.raises(famfs.Unsupported, match=hint) as caught:
        famfs.publish(thing, f"{mnt}/x")
    assert isinstance(caught.value, TypeError)
    assert famfs.ls(mnt) == []


def test_bytes_of_all_sorts(mnt):
    for i, data in enumerate(
        [b"", b"a", bytearray(b"abc"), memoryview(b"abcdef")[::2], b"x" * 9_000_000]
    ):
        dataset = famfs.open(famfs.publish(data, f"{mnt}/{i}"))
        assert dataset.kind == "bytes"
        assert bytes(dataset.buffer()) == bytes(memoryview(dataset)) == bytes(data)
        assert dataset.to_numpy().tobytes() == bytes(data)
        assert dataset.nbytes == len(data)
        assert dataset.copy() == bytes(data)
    floats = memoryview(np.arange(3.0))
    assert famfs.open(famfs.publish(floats, f"{mnt}/floats")).kind == "array"
    with pytest.raises(famfs.Unsupported, match="nbytes"):
        _ = famfs.open(f"{mnt}/0").num_rows
    assert famfs.stat(f"{mnt}/0").size == 0


def test_datasets_can_be_published(mnt):
    for thing in (np.arange(5), {"a": np.arange(5)}, b"hello"):
        first = famfs.open(famfs.publish(thing, f"{mnt}/x", overwrite=True))
        again = famfs.open(famfs.publish(first, f"{mnt}/y", overwrite=True))
        assert again.kind == first.kind
        assert bytes(again.buffer()) == bytes(first.buffer())


def test_pickles_are_references_and_small(mnt):
    ref = famfs.publish(np.arange(5), f"{mnt}/" + "n" * 79)
    dataset = famfs.open(ref)
    for protocol in range(3, pickle.HIGHEST_PROTOCOL + 1):
        for thing in (ref, dataset):
            pickled = pickle.dumps(thing, protocol)
            assert len(pickled) <= 256, len(pickled)
            assert pickle.loads(pickled) == thing
    assert {ref: 1}[famfs.Ref(str(ref))] == 1
    assert famfs.Ref(f"famfs://{ref.uuid}/{ref.path}?rows=0:3&cols=1,4:6#0").rows == (0, 3)
    assert eval(repr(ref), {"Ref": famfs.Ref}) == ref


@pytest.mark.parametrize(
    "thing",
    [
        b"",
        b"abc",
        np.empty((0, 3)),
        np.float64(5),
        np.arange(12).reshape(3, 4)[:, ::2],
        {"a": np.empty(0)},
        {"a": np.arange(5)},
        {"a": np.array(["x", "y"])},
    ],
    ids=ascii,
)
def test_progress_ends_with_all_of_it(mnt, thing):
    told = []
    ref = famfs.publish(thing, f"{mnt}/a", progress=lambda at, of: told.append((at, of)))
    size = famfs.stat(f"{mnt}/a").size
    assert told[-1] == (size, size)
    assert told.count((size, size)) == 1
    with pytest.raises(ZeroDivisionError):
        famfs.publish(thing, f"{mnt}/a", overwrite=True, progress=lambda at, of: 1 / 0)
    assert famfs.versions(f"{mnt}/a") == [ref]


def test_progress_counts_up_and_can_stop(mnt):
    told = []
    famfs.publish(np.zeros(2 << 20), f"{mnt}/a", progress=lambda at, of: told.append((at, of)))
    assert told == sorted(told)
    assert told[-1] == ((16 << 20) + 128, (16 << 20) + 128)

    class StopError(Exception):
        pass

    def stop(at, of):
        raise StopError

    free = famfs.df(mnt).free
    for thing in (np.zeros(100), {"a": np.zeros(100)}, b"abc"):
        with pytest.raises(StopError):
            famfs.publish(thing, f"{mnt}/b", progress=stop)
    assert not famfs.exists(f"{mnt}/b")
    assert famfs.df(mnt).free == free
