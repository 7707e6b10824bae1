"""Bad input: a typed error or the right result, and never half a file.

Where else what is asked for is tested:

* object columns, mixed types, ragged lists: test_inputs, test_tables (`..._has_no_type_says_so`,
  `addresses_of_objects_are_not_published`, `ragged_lists_are_a_column_of_lists`)
* the other byte order, no rows, no columns, a source that changes meanwhile, a reader that raises
  half-way: test_inputs, test_tables, test_arrays
* the files under tests/arrow-golden: test_tables; bytes of any kind: rust/famfs-data/fuzz
* other threads run during copies: test_processes (`other_threads_run_while_it_publishes`),
  test_copies; a fork while others publish: test_processes
"""

from __future__ import annotations

import contextlib
import io
import os
import random
import struct
import threading
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import safetensors.numpy

import famfs

UNIT = 2 << 20


def left(mnt):
    return famfs.df(mnt).free


def exactly(mnt, size):
    """Publishes as much as leaves `size` bytes free."""
    famfs.publish(bytes(left(mnt) - size), f"{mnt}/rest")
    assert left(mnt) == size


def header_of(array):
    file = io.BytesIO()
    np.save(file, array)
    return len(file.getvalue()) - array.nbytes


def an_array(size):
    header = header_of(np.zeros(size, "u1"))
    return np.zeros(size - header, "u1")


@pytest.mark.parametrize("make", [bytes, an_array], ids=["bytes", "array"])
def test_a_volume_too_full_by_one_byte(mnt, make):
    exactly(mnt, UNIT)
    before = famfs.df(mnt)
    with pytest.raises(famfs.NoSpace, match="df"):
        famfs.publish(make(UNIT + 1), f"{mnt}/x")
    assert famfs.df(mnt) == before
    assert [entry.name for entry in famfs.ls(mnt)] == ["rest"]
    famfs.publish(make(UNIT), f"{mnt}/x")
    assert (left(mnt), famfs.stat(f"{mnt}/x").size) == (0, UNIT)


def test_a_table_too_large_by_one_row(mnt):
    def fits(rows):
        table = pa.table({"a": np.zeros(rows, "u8")})
        tx = famfs.transaction(mnt)
        try:
            tx.publish(table, f"{mnt}/x")
        except famfs.NoSpace:
            return False
        finally:
            tx.abandon()
        return True

    exactly(mnt, UNIT)
    low, high = 0, UNIT // 8
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    before = famfs.df(mnt)
    with pytest.raises(famfs.NoSpace):
        famfs.publish({"a": np.zeros(high, "u8")}, f"{mnt}/x")
    assert famfs.df(mnt) == before
    famfs.publish({"a": np.zeros(low, "u8")}, f"{mnt}/x")
    size = famfs.stat(f"{mnt}/x").size
    # A row more would have been a cache line more.
    assert (left(mnt), UNIT - size < 64) == (0, True)


def test_what_is_built_in_place_has_no_room(mnt):
    exactly(mnt, UNIT)
    before = famfs.df(mnt)
    header = header_of(np.zeros(UNIT, "u1"))
    with pytest.raises(famfs.NoSpace), famfs.create(f"{mnt}/x", UNIT - header + 1, "u1"):
        pass
    with pytest.raises(famfs.NoSpace):
        famfs.create_table(f"{mnt}/x", pa.schema({"a": pa.int64()}), UNIT // 8).__enter__()
    assert famfs.df(mnt) == before
    with famfs.create(f"{mnt}/x", UNIT - header, "u1") as out:
        out[:] = 1
    assert left(mnt) == 0


@pytest.mark.parametrize("shape", [2**62, (2**40, 2**40), 2**60, 2**55])
def test_an_array_larger_than_anything(mnt, shape):
    with (
        pytest.raises((famfs.Unsupported, famfs.NoSpace), match="array|space|free"),
        famfs.create(f"{mnt}/x", shape, "f8"),
    ):
        pass
    schema = pa.schema({"a": pa.int64()})
    if isinstance(shape, int):
        with (
            pytest.raises((famfs.Unsupported, famfs.NoSpace)),
            famfs.create_table(f"{mnt}/x", schema, shape),
        ):
            pass
    assert famfs.ls(mnt) == []


def test_space_that_blocks_gave_back_is_taken_first(mnt):
    for _ in range(3):
        with pytest.raises(KeyError), famfs.create(f"{mnt}/x", 40 << 20, "u1"):
            raise KeyError
        famfs.publish(b"x", f"{mnt}/small", overwrite=True)
    # Had the small files stood behind the gaps, there would be no place for it.
    with famfs.create(f"{mnt}/x", 44 << 20, "u1", zero=True):
        pass


def index_of(file):
    """Where the index's trailer stands."""
    footer = len(file) - 10 - struct.unpack_from("<i", file, len(file) - 10)[0]
    assert file[footer - 8 : footer] == b"FAMFSIX1"
    return footer - 40


def sealed(file):
    at = index_of(file)
    file[at + 28 : at + 32] = bytes(4)
    file[at + 28 : at + 32] = struct.pack("<I", zlib.crc32(file[at : at + 40]))
    return bytes(file)


@pytest.mark.parametrize("rows", [2**63, 2**64 - 1, 2**63 - 1, 1 << 40, 101, 99, 0])
def test_an_index_that_claims_other_rows(mnt, rows):
    ref = famfs.publish({f"c{i}": np.arange(100) for i in range(100)}, f"{mnt}/t")
    file = bytearray(famfs.open(ref).buffer())
    struct.pack_into("<Q", file, index_of(file) + 8, rows)
    famfs.publish(sealed(file), f"{mnt}/bad")
    calls = (
        len,
        lambda ds: ds[-5:].to_arrow(),
        lambda ds: ds.take([-1]),
        lambda ds: ds.partition(0, 3).to_arrow(),
        lambda ds: famfs.ls(ds.path),
    )
    for call in calls:
        with contextlib.suppress(famfs.Corrupt, IndexError):
            call(famfs.open(f"{mnt}/bad"))
    with pytest.raises(famfs.Corrupt):
        famfs.open(f"{mnt}/bad", verify=True)


def use(path):
    """Everything that a dataset hands out; what it refuses, it refuses by this package's errors."""
    calls = (
        lambda ds: ds.to_arrow().validate(full=True),
        lambda ds: ds.to_numpy().tobytes(),
        lambda ds: ds.to_pandas(),
        lambda ds: ds.take([0, -1]),
        lambda ds: ds[1:3].to_arrow(),
        lambda ds: ds[ds.names[0]].to_arrow(),
        lambda ds: ds[ds.names[-1]].to_numpy(),
        lambda ds: [len(batch) for batch in ds.batches],
        lambda ds: ds.partition(1, 3).copy(),
        lambda ds: (ds.schema, ds.shape, ds.dtype, ds.nbytes, repr(ds), ds._repr_html_()),
        lambda ds: bytes(ds.buffer()),
    )
    read = 0
    for call in calls:
        try:
            with famfs.open(path) as ds:
                call(ds)
        except (famfs.Corrupt, famfs.Unsupported) as error:
            assert str(error), path
        except (LookupError, pa.ArrowInvalid):
            # No such row, two columns of a name; and strings that are no UTF-8, which only
            # verify=True looks for.
            pass
        else:
            read += 1
    return read


def files_of(mnt):
    words = pa.array(["a", None, "cc"] * 9).dictionary_encode()
    small = pa.table({"n": range(27), "s": ["x" * i for i in range(27)], "w": words})
    wide = pa.table({f"c{i}": range(27) for i in range(70)})
    for name, thing, rows in (("small", small, None), ("wide", wide, 10)):
        ref = famfs.publish(thing, f"{mnt}/{name}", batch_rows=rows, checksum=True)
        yield name, bytes(famfs.open(ref).buffer())
    for name, array in (
        ("f8", np.arange(12.0).reshape(3, 4)),
        ("fields", np.zeros(3, [("a", "<i4"), ("b", "S3", (2,))])),
        ("empty", np.zeros((0, 5), "M8[ns]")),
    ):
        file = io.BytesIO()
        np.save(file, array)
        yield name, file.getvalue()
    yield "tensors", safetensors.numpy.save({"a": np.ones((2, 3)), "b": np.arange(4)})


def test_damaged_files_are_refused_or_right(large):
    rng = random.Random(4)
    read = refused = 0
    for name, file in list(files_of(large)):
        assert use(f"{large}/{name}") if name in {"small", "wide"} else True
        table = file.startswith(b"ARROW1")
        for i in range(60):
            bad = bytearray(file)
            # Of tables the metadata at the end, of others the header.
            low, high = (len(file) * 2 // 3, len(file)) if table else (0, min(len(file), 128))
            at = rng.randrange(low, high)
            bad[at] = rng.choice([0, 1, 0x7F, 0x80, 0xFF, bad[at] ^ 1 << rng.randrange(8), 0x39])
            if name == "wide" and rng.randrange(2):
                with contextlib.suppress(AssertionError):
                    bad = sealed(bad)
            path = f"{large}/{name}-{i}"
            famfs.publish(bytes(bad), path)
            found = use(path)
            read, refused = read + found, refused + (found == 0)
    assert read > 100
    assert refused > 10


def test_an_array_that_pandas_has_no_type_for(mnt):
    source = np.arange(3).astype("M8[9s]")
    dataset = famfs.open(famfs.publish(source, f"{mnt}/x"))
    with pytest.raises(famfs.Unsupported, match="to_numpy"):
        dataset.to_pandas()
    assert (dataset.to_numpy() == source).all()


NPY = "{'descr': %s, 'fortran_order': False, 'shape': %s, }"


@pytest.mark.parametrize(
    ("descr", "shape"),
    [
        ("'<f8'", "(1 << 60,)"),
        ("'<f8'", "(9223372036854775807,)"),
        ("'<f8'", "(18446744073709551616,)"),
        ("'<f8'", "(9223372036854775807, 0)"),
        ("'<f8'", "(-1,)"),
        ("'<f8'", "(0, 4294967296, 4294967296)"),
        ("'|V9223372036854775807'", "(2,)"),
        ("'|O'", "(2,)"),
        ("'<q9'", "(2,)"),
        ("'|S0'", "(4611686018427387904,)"),
        ("[('a', '<f8', (1 << 30,))]", "(1,)"),
        ("[" * 50 + "]" * 50, "(1,)"),
        ("__import__('os').abort()", "(1,)"),
        ("'<f8'", "(" + "1," * 65 + ")"),
    ],
)
def test_hostile_npy_headers(mnt, descr, shape):
    header = (NPY % (descr, shape)).encode() + b"\n"
    file = b"\x93NUMPY\x02\x00" + struct.pack("<I", len(header)) + header + bytes(16)
    famfs.publish(file, f"{mnt}/x")
    try:
        found = famfs.open(f"{mnt}/x", verify=True).to_numpy()
    except (famfs.Corrupt, famfs.Unsupported) as error:
        assert f"{mnt}/x" in str(error) or "x" in str(error)
    else:
        assert found.nbytes <= 16
    assert [entry.size for entry in famfs.ls(mnt)] == [len(file)]


def test_threads_publish_and_open_at_once(large):
    ready = threading.Barrier(8)

    def work(k):
        ready.wait()
        for i in range(12):
            column = np.arange(1000) + k * 100 + i
            things = (column, pa.table({"a": column, "t": column.astype(str)}), column.tobytes())
            famfs.publish(things[i % 3], f"{large}/{k}-{i}")
            found = famfs.open(f"{large}/{k}-{i}")
            kind = ("array", "table", "bytes")[i % 3]
            assert found.kind == kind
            if kind == "table":
                assert found.take([999])["a"].to_pylist() == [999 + k * 100 + i]
            else:
                assert bytes(found) == column.tobytes()
        return len(famfs.ls(large))

    with ThreadPoolExecutor(8) as pool:
        seen = list(pool.map(work, range(8)))
    assert max(seen) == len({entry.name for entry in famfs.ls(large)}) == 96


def test_a_child_of_many_threads_publishes_and_opens(large):
    famfs.publish(np.arange(1000), f"{large}/known")
    stop = threading.Event()

    def busy(k):
        count = 0
        while not stop.is_set():
            famfs.publish(np.arange(1000), f"{large}/busy{k}", overwrite=True)
            famfs.open(f"{large}/known").to_arrow()
            count += 1
        return count

    with ThreadPoolExecutor(3) as pool:
        busies = [pool.submit(busy, k) for k in range(3)]
        try:
            for i in range(6):
                child = os.fork()
                if child == 0:
                    code = 1
                    with contextlib.suppress(BaseException):
                        total = int(famfs.open(f"{large}/known").to_numpy().sum())
                        famfs.publish(np.arange(i + 1), f"{large}/child{i}")
                        table = pa.table({"a": [total]})
                        famfs.publish(table, f"{large}/child{i}-table")
                        code = 0 if total == 499_500 else 2
                    os._exit(code)
                assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
                assert famfs.open(f"{large}/child{i}").shape == (i + 1,)
                assert famfs.open(f"{large}/child{i}-table").take([0])["a"].to_pylist() == [499_500]
        finally:
            stop.set()
    assert all(one.result() > 0 for one in busies)


@pytest.mark.parametrize(
    "table",
    [
        pa.table(
            {"a": pa.DictionaryArray.from_arrays(pa.array([0, 1]), pa.array([{"x": 1}, {"x": 2}]))}
        ),
        pd.DataFrame([[1, 2]], columns=pd.CategoricalIndex(["a", "b"])),
    ],
    ids=["structs", "categories"],
)
def test_what_pandas_refuses_says_what_has_it(mnt, table):
    dataset = famfs.open(famfs.publish(table, f"{mnt}/t"))
    with pytest.raises(famfs.Unsupported, match="to_arrow"):
        dataset.to_pandas()
    assert dataset.to_arrow().num_rows > 0
