"""Building in place: arrays and tables that are computed where they are published."""

from __future__ import annotations

import datetime as dt
import decimal
import faulthandler
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pytest

import famfs

DTYPES = ["i1", "<u2", ">i4", "f2", "f8", "c16", "?", "S5", "U3", "M8[ms]", "m8[s]", "(2,)f4"]


def used(mnt):
    return famfs.df(mnt).allocated


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(), 0, 7, (3, 0), (3, 5), (2, 3, 4)])
def test_an_array_is_what_was_written_to_it(mnt, dtype, shape):
    rng = np.random.default_rng(3)
    building = famfs.create(f"{mnt}/a", shape, dtype)
    with building as array:
        assert array.flags.writeable
        assert not famfs.exists(f"{mnt}/a")
        wanted = rng.integers(0, 100, array.shape).astype(array.dtype)
        array[...] = wanted
    found = famfs.open(building.ref).to_numpy()
    assert (found.dtype, found.shape) == (array.dtype, array.shape)
    assert (found == wanted).all()
    assert np.array_equal(np.load(_as_file(mnt, "a")), wanted)


def _as_file(mnt, name):
    import io

    return io.BytesIO(bytes(famfs.open(f"{mnt}/{name}").buffer()))


@pytest.mark.parametrize("order", ["C", "F"])
def test_an_array_has_its_order(mnt, order):
    with famfs.create(f"{mnt}/a", (30, 20), np.int64, order=order) as array:
        assert array.flags[f"{order}_CONTIGUOUS"]
        array[...] = np.arange(600).reshape(30, 20)
    found = famfs.open(f"{mnt}/a").to_numpy()
    assert found.flags[f"{order}_CONTIGUOUS"]
    assert (found == np.arange(600).reshape(30, 20)).all()


def test_the_window_is_the_volumes_memory_and_nothing_is_copied(mnt, run):
    code = """
        import resource, sys, famfs, numpy as np
        mnt = sys.argv[1]
        source = next(m.source for m in famfs.mounts() if m.mountpoint == mnt)
        def places(address, name):
            for line in open("/proc/self/maps"):
                words = line.split()
                start, end = (int(part, 16) for part in words[0].split("-"))
                if start <= address < end:
                    return words[-1] == name, words[1]
        def private():
            return sum(int(line.split()[1]) for line in open("/proc/self/smaps")
                       if line.startswith("Private_Dirty:"))
        with famfs.create(f"{mnt}/a", 4 << 20, "f8") as array:
            inside, rights = places(array.ctypes.data, source)
            assert inside and rights == "rw-s", rights
            file_at = array.ctypes.data - 128
            assert file_at % (2 << 20) == 0
            array[:] = 1
        # After the block what is there is the same file's, and not to be shared for writing.
        inside, rights = places(array.ctypes.data, source)
        assert inside and rights[3] == "p", rights
        assert array.sum() == 4 << 20
    """
    run(code, mnt)


def test_a_view_that_leaked_alters_nothing(mnt):
    with famfs.create(f"{mnt}/a", 100_000, np.int64) as array:
        array[:] = 5
        leaked = array[10:]
        raw = memoryview(array)
    with pytest.raises(ValueError, match="read-only"):
        array[0] = 6
    leaked[:] = 7
    raw[0] = 8
    # It is a copy of whoever wrote it.
    assert leaked[0] == 7
    found = famfs.open(f"{mnt}/a").to_numpy()
    assert (found == 5).all()


def test_what_is_lent_no_more_is_refused(mnt):
    with famfs.create(f"{mnt}/a", 10, np.int64) as array:
        array[:] = 0
        memory = array.base
    with pytest.raises(BufferError, match="has ended"):
        memoryview(memory)


def test_a_block_that_raises_leaves_nothing_and_its_views_nobodys_memory(mnt):
    before = used(mnt)
    leaked = []
    with pytest.raises(KeyError), famfs.create(f"{mnt}/a", 1 << 20, "u1") as array:
        array[:] = 9
        leaked.append(array)
        raise KeyError
    assert not famfs.exists(f"{mnt}/a")
    assert used(mnt) == before
    assert leaked[0][0] == 0
    # Another file gets the same space, which the view does not reach.
    famfs.publish(np.full((1 << 20) + 5, 4, "u1"), f"{mnt}/b")
    leaked[0][:] = 1
    assert (famfs.open(f"{mnt}/b").to_numpy() == 4).all()
    assert used(mnt) > before


def test_a_killed_process_leaves_nothing(mnt):
    before = used(mnt)
    code = """
import sys, time, famfs
with famfs.create(sys.argv[1], 1 << 20, "u1") as array:
    array[:] = 3
    print("built", flush=True)
    time.sleep(60)
"""
    child = subprocess.Popen(
        [sys.executable, "-c", code, f"{mnt}/a"], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout.readline() == "built\n"
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert not famfs.exists(f"{mnt}/a")
    room = famfs.df(mnt).free
    # All that is free can be had: nobody holds what was reserved.
    famfs.publish(np.zeros(room - (4 << 20), "u1"), f"{mnt}/all")
    assert used(mnt) > before


def test_a_forked_child_has_no_part_in_the_window(mnt):
    with famfs.create(f"{mnt}/a", 1000, np.int64) as array:
        array[:] = 1
        pid = os.fork()
        if pid == 0:
            faulthandler.disable()
            array[:] = 2
            os._exit(0)
        status = os.waitpid(pid, 0)[1]
        assert os.WIFSIGNALED(status)
        assert os.WTERMSIG(status) == signal.SIGSEGV
    assert (famfs.open(f"{mnt}/a").to_numpy() == 1).all()


def test_threads_compute_into_one_array(mnt):
    with famfs.create(f"{mnt}/a", 1 << 20, np.int64) as array, ThreadPoolExecutor(4) as pool:
        parts = np.array_split(np.arange(1 << 20), 16)
        ends = np.array_split(array, 16)
        list(
            pool.map(
                lambda pair: np.multiply(pair[0], 2, out=pair[1]), zip(parts, ends, strict=True)
            )
        )
    assert (famfs.open(f"{mnt}/a").to_numpy() == np.arange(1 << 20) * 2).all()


def test_zeros_are_had_on_request_and_gaps_are_zero(mnt):
    # What was there before: an array that was given up.
    with pytest.raises(KeyError), famfs.create(f"{mnt}/x", 1 << 20, "u1") as array:
        array[:] = 0xAA
        raise KeyError
    with famfs.create(f"{mnt}/a", 1 << 20, "u1", zero=True) as array:
        assert not array.any()
    assert not famfs.open(f"{mnt}/a").to_numpy().any()
    with pytest.raises(KeyError), famfs.create(f"{mnt}/x", 1 << 20, "u1") as array:
        array[:] = 0xAA
        raise KeyError
    gaps = np.dtype([("a", "i1"), ("b", "i8")], align=True)
    with famfs.create(f"{mnt}/g", 1000, gaps) as array:
        array["a"] = 1
        array["b"] = 2
    data = bytes(famfs.open(f"{mnt}/g").buffer())[-16 * 1000 :]
    assert data == (b"\1" + bytes(7) + b"\2" + bytes(7)) * 1000


def test_what_cannot_be_built_says_why(mnt):
    famfs.publish(b"x", f"{mnt}/taken")
    wrong = [
        (famfs.Unsupported, lambda: famfs.create(f"{mnt}/a", 3, object)),
        (famfs.Unsupported, lambda: famfs.create(f"{mnt}/a", -1, "f8")),
        (famfs.Unsupported, lambda: famfs.create(f"{mnt}/a", "3", "f8")),
        (famfs.Unsupported, lambda: famfs.create(f"{mnt}/a", 3, "no type")),
        (famfs.Unsupported, lambda: famfs.create(f"{mnt}/a", 3, "f8", order="K")),
        (famfs.AlreadyExists, lambda: famfs.create(f"{mnt}/taken", 3, "f8")),
        (famfs.NotFound, lambda: famfs.create(f"{mnt}/no/x", 3, "f8")),
        (famfs.NoSpace, lambda: famfs.create(f"{mnt}/a", 1 << 30, "f8")),
        (famfs.NotMounted, lambda: famfs.create("/nowhere/a", 3, "f8")),
    ]
    for error, make in wrong:
        with pytest.raises(error), make():
            pass
    building = famfs.create(f"{mnt}/once", 3, "f8")
    with pytest.raises(famfs.FamfsError, match="no reference yet"):
        _ = building.ref
    with building as array:
        array[:] = 1
    with pytest.raises(famfs.FamfsError, match="built once"), building:
        pass
    assert [entry.name for entry in famfs.ls(mnt)] == ["taken", "once"]


def test_the_name_may_be_taken_meanwhile(mnt):
    before = used(mnt)
    with pytest.raises(famfs.AlreadyExists), famfs.create(f"{mnt}/a", 1000, "f8") as array:
        array[:] = 1
        famfs.publish(b"first", f"{mnt}/a")
        before = used(mnt)
    assert bytes(famfs.open(f"{mnt}/a").buffer()) == b"first"
    assert used(mnt) == before
    with famfs.create(f"{mnt}/a", 3, "f8", overwrite=True, mode=0o600) as array:
        array[:] = 2
    assert famfs.stat(f"{mnt}/a").mode & 0o777 == 0o600
    assert len(famfs.versions(f"{mnt}/a")) == 2


def test_memory_that_is_lost_meanwhile_is_noticed(tmp_path, run):
    code = """
        import os, sys, famfs
        root = sys.argv[1]
        os.mkdir(f"{root}/mnt")
        famfs.mkfs(f"{root}/volume", size="64MiB")
        famfs.mount(f"{root}/volume", f"{root}/mnt")
        try:
            with famfs.create(f"{root}/mnt/a", 1 << 20, "u1") as array:
                array[:] = 1
                os.truncate(f"{root}/volume", 10 << 20)
        except famfs.MemoryFault as error:
            print("noticed")
        os.truncate(f"{root}/volume", 64 << 20)
        assert not famfs.exists(f"{root}/mnt/a")
        famfs.umount(f"{root}/mnt")
    """
    assert "noticed" in run(code, tmp_path).stdout


SCHEMA = {
    "i8": (pa.int8(), [1, None, -3, 4, 5]),
    "u64": (pa.uint64(), [1, 2, None, 4, 1 << 63]),
    "f16": (pa.float16(), [1.0, 2.0, 3.0, None, 5.0]),
    "f64": (pa.float64(), [1.5, None, float("inf"), 4, 5]),
    "flag": (pa.bool_(), [True, None, False, True, True]),
    "d32": (pa.date32(), [dt.date(2020, 1, day) for day in range(1, 6)]),
    "d64": (pa.date64(), [dt.date(2020, 1, day) for day in range(1, 6)]),
    "time": (pa.time64("us"), [dt.time(1, 2, 3, micro) for micro in range(5)]),
    "ts": (pa.timestamp("ns", "UTC"), [0, None, 2, 3, 4]),
    "dur": (pa.duration("ms"), [0, 1, None, 3, 4]),
    "dec": (pa.decimal128(10, 2), [decimal.Decimal(f"{i}.25") for i in range(5)]),
    "bin3": (pa.binary(3), [b"abc", None, b"def", b"ghi", b"jkl"]),
    "vec": (pa.list_(pa.float32(), 2), [[1, 2], None, [3, 4], [5, 6], [7, 8]]),
    "s": (pa.string(), ["a", None, "", "four", "\u00e4\u00f6"]),
    "ls": (pa.large_string(), ["a", "b", None, "dd", ""]),
    "b": (pa.binary(), [b"\0", b"", None, b"xy", b"z"]),
}


def expected():
    return pa.table({name: pa.array(*values[::-1]) for name, values in SCHEMA.items()})


@pytest.mark.parametrize("parts", [[5], [2, 3], [1, 0, 1, 3], [0, 1, 1, 1, 1, 1]])
def test_every_type_is_filled_part_by_part(mnt, parts):
    table = expected()
    sizes = dict.fromkeys(["s", "ls", "b"], 100)
    with famfs.create_table(f"{mnt}/t", table.schema, 5, sizes=sizes) as building:
        at = 0
        for part in parts:
            for name in table.column_names:
                # A slice of a longer array, whose buffers begin before it.
                values = table[name].combine_chunks().slice(at, part)
                assert building.fill(name, values) == at + part
            at += part
    found = famfs.open(f"{mnt}/t")
    found = famfs.open(f"{mnt}/t", verify=True)
    got = found.to_arrow()
    got.validate(full=True)
    assert got.equals(table)
    assert len(found.batches) == 1
    stock = pa.ipc.open_file(_as_file(mnt, "t")).read_all()
    stock.validate(full=True)
    assert stock.equals(table)
    assert pl.read_ipc(_as_file(mnt, "t")).height == 5


def test_columns_are_numpy_arrays_in_the_volume(mnt, inside):
    item = pa.float32()
    types = {"a": pa.int64(), "x": pa.float64(), "v": pa.list_(item, 3), "t": pa.timestamp("us")}
    fields = [pa.field(name, kind, nullable=False) for name, kind in types.items()]
    fields += [pa.field("dec", pa.decimal128(20, 3)), pa.field("d", pa.date32())]
    with famfs.create_table(f"{mnt}/t", pa.schema(fields), 1000) as t:
        for name in [*types, "dec", "d"]:
            assert inside(mnt, t[name].ctypes.data, t[name].nbytes)
            assert t[name].ctypes.data % 64 == 0
        assert (t["v"].shape, t["dec"].shape) == ((1000, 3), (1000, 16))
        assert (t["t"].dtype, t["d"].dtype) == (np.dtype("M8[us]"), np.dtype("i4"))
        t["a"][:] = np.arange(1000)
        np.sqrt(t["a"], out=t["x"])
        t["v"][:] = np.arange(3000).reshape(1000, 3)
        t["t"][:] = np.datetime64("2024-01-01", "us")
        t["dec"][:] = 0
        t["dec"][:, 0] = 7
        t["d"][:] = 1
        t.validity("d")[::2] = False
        leaked = t["a"][:]
    leaked[:] = 0
    table = famfs.open(f"{mnt}/t", verify=True).to_arrow()
    table.validate(full=True)
    assert table.schema == pa.schema(fields)
    assert pc.sum(table["a"]).as_py() == 499500
    assert table["x"][4].as_py() == 2
    assert table["v"][999].as_py() == [2997, 2998, 2999]
    assert table["dec"][5].as_py() == decimal.Decimal("0.007")
    assert table["d"].null_count == 500


def test_a_table_of_nothing(mnt):
    types = {"a": pa.int64(), "f": pa.bool_(), "s": pa.string()}
    with famfs.create_table(f"{mnt}/t", pa.schema(types), 0, sizes={"s": 0}):
        pass
    assert famfs.open(f"{mnt}/t", verify=True).to_arrow().equals(pa.schema(types).empty_table())
    with famfs.create_table(f"{mnt}/none", pa.schema([]), 0):
        pass
    assert famfs.open(f"{mnt}/none").shape == (0, 0)


def test_frames_and_lists_fill_columns(mnt):
    schema = pa.schema({"a": pa.int32(), "s": pa.string(), "f": pa.bool_()})
    with famfs.create_table(f"{mnt}/t", schema, 4, sizes={"s": 8}) as t:
        t.fill("a", np.array([1, 2], np.int64))
        t.fill("a", pl.Series([3, None], dtype=pl.Int32))
        t.fill("s", pl.Series(["p", "q"]))
        t.fill("s", pa.chunked_array([["r"], ["s"]]))
        t.fill("f", [True, None], offset=2)
        t.fill("f", np.array([False, True]), offset=0)
    assert famfs.open(f"{mnt}/t").to_arrow().to_pydict() == {
        "a": [1, 2, 3, None],
        "s": ["p", "q", "r", "s"],
        "f": [False, True, True, None],
    }


def test_threads_fill_one_column(mnt):
    values = pa.array([None if i % 7 == 0 else i for i in range(100_000)])
    with (
        famfs.create_table(f"{mnt}/t", pa.schema({"a": pa.int64()}), 100_000) as t,
        ThreadPoolExecutor(4) as pool,
    ):
        list(pool.map(lambda at: t.fill("a", values.slice(at, 1000), at), range(0, 100_000, 1000)))
    assert famfs.open(f"{mnt}/t").to_arrow()["a"].combine_chunks().equals(values)


def test_a_column_that_was_not_written_is_told(mnt):
    schema = pa.schema({"a": pa.int64(), "s": pa.string(), "f": pa.bool_()})
    full = {"a": [1, 2], "s": ["x", "y"], "f": [True, False]}
    for name in full:
        for values in [[], full[name][:1]]:
            given = {**full, name: values}
            with (
                pytest.raises(famfs.FamfsError, match=f"column '{name}'.* of 2 rows"),
                famfs.create_table(f"{mnt}/t", schema, 2, sizes={"s": 10}) as t,
            ):
                for column, data in given.items():
                    t.fill(column, data)
    assert not famfs.exists(f"{mnt}/t")


def test_what_does_not_fit_a_column_is_told(mnt):
    strict = pa.field("n", pa.int64(), nullable=False)
    schema = pa.schema([strict, pa.field("s", pa.string()), pa.field("f", pa.bool_())])
    vector = pa.field("v", pa.list_(pa.int8(), 2))
    building = famfs.create_table(f"{mnt}/t", schema.append(vector), 3, sizes={"s": 4})
    wrong = [
        (famfs.FamfsError, "no column 'x'", lambda t: t["x"]),
        (famfs.Unsupported, "fill", lambda t: t["f"]),
        (famfs.Unsupported, "fill", lambda t: t["s"]),
        (famfs.Unsupported, "not nullable", lambda t: t.validity("n")),
        (famfs.Unsupported, "not nullable", lambda t: t.fill("n", [None])),
        (famfs.Unsupported, "no such values", lambda t: t.fill("n", ["text"])),
        (famfs.Unsupported, "no such values", lambda t: t.fill("n", pa.array([1.5]))),
        (famfs.FamfsError, "do not fit", lambda t: t.fill("n", [1, 2, 3, 4])),
        (famfs.FamfsError, "do not fit", lambda t: t.fill("n", [1], 3)),
        (famfs.FamfsError, "do not fit", lambda t: t.fill("n", [1], -1)),
        (famfs.FamfsError, "its size is 4", lambda t: t.fill("s", ["12345"])),
        (famfs.Unsupported, "in order", lambda t: t.fill("s", ["1"], 1)),
        (famfs.Unsupported, "nulls within", lambda t: t.fill("v", [[1, None]])),
    ]
    with pytest.raises(KeyError), building as t:
        for error, text, attempt in wrong:
            with pytest.raises(error, match=text) as caught:
                attempt(t)
            assert type(caught.value) is error
        raise KeyError
    assert not famfs.exists(f"{mnt}/t")


def test_types_that_cannot_be_laid_out_are_named(mnt):
    refused = {
        "list": pa.list_(pa.int8()),
        "struct": pa.struct({"x": pa.int8()}),
        "dictionary": pa.dictionary(pa.int8(), pa.string()),
        "view": pa.string_view(),
        "null": pa.null(),
    }
    for name, kind in refused.items():
        with (
            pytest.raises(famfs.Unsupported, match=f'"{name}".*publish a table'),
            famfs.create_table(f"{mnt}/t", pa.schema({name: kind}), 1),
        ):
            pass
    more = [
        (pa.schema({"s": pa.string()}), {}, "sizes="),
        (pa.schema({"s": pa.string()}), {"sizes": {"s": 1 << 31}}, "2147483648"),
        (pa.schema({"a": pa.int8()}), {"sizes": {"a": 1}}, 'size for "a"'),
        (pa.schema([("a", pa.int8()), ("a", pa.int8())]), {}, "two columns"),
        ("nonsense", {}, "no schema"),
    ]
    for schema, options, text in more:
        with (
            pytest.raises(famfs.Unsupported, match=text),
            famfs.create_table(f"{mnt}/t", schema, 1, **options),
        ):
            pass
    with (
        pytest.raises(famfs.Unsupported, match="more bytes than a file"),
        famfs.create_table(f"{mnt}/t", pa.schema({"a": pa.int64()}), 1 << 62),
    ):
        pass
    assert famfs.ls(mnt) == []


def test_pyarrow_takes_no_memory_pool_from_outside():
    """What the documentation says of pyarrow's compute functions rests on this."""
    with pytest.raises(TypeError):
        pa.MemoryPool()


def test_computing_in_place_takes_no_pass_of_its_own(mnt, run):
    """No byte of the values is written by famfs, nor read: only by who computes them."""
    code = """
        import sys, famfs, numpy as np
        mnt = sys.argv[1]
        def faults():
            return int(open("/proc/self/stat").read().rsplit(")")[1].split()[7])
        with famfs.create(f"{mnt}/a", 4 << 20, "f8") as array:
            before = faults()
            array[:] = 1
            during = faults() - before
        # The page tables were filled when it was lent.
        assert during < 100, during
    """
    run(code, mnt)


def test_the_end_waits_for_no_thread_but_refuses(mnt):
    schema = pa.schema({"s": pa.large_string()})
    values = pa.array(["x" * 100] * 100_000, pa.large_string())
    errors = []

    def fill(t):
        try:
            t.fill("s", values)
        except famfs.FamfsError as error:
            errors.append(error)

    building = famfs.create_table(f"{mnt}/t", schema, 100_000, sizes={"s": 10_000_000})
    try:
        with building as t:
            thread = threading.Thread(target=fill, args=(t,))
            thread.start()
    except famfs.FamfsError:
        assert not famfs.exists(f"{mnt}/t")
    thread.join()
    if famfs.exists(f"{mnt}/t"):
        assert famfs.open(f"{mnt}/t", verify=True).to_arrow()["s"].combine_chunks().equals(values)


def test_a_shared_volume_has_what_was_written_in_place(tmp_path, run):
    (tmp_path / "mnt").mkdir()
    mnt = str(tmp_path / "mnt")
    famfs.mkfs(tmp_path / "volume", size="64MiB")
    famfs.mount(tmp_path / "volume", mnt, shared=True)
    with famfs.transaction(mnt) as tx:
        with tx.create(f"{mnt}/a", 100_000, np.int64) as array:
            array[:] = np.arange(100_000)
        code = """
            import sys, famfs
            token, mnt = sys.argv[1:]
            with famfs.transaction(token=token) as part:
                with part.create(f"{mnt}/b", 1000, "f8", zero=True) as array:
                    array[7] = 1
        """
        run(code, tx.token, mnt)
    assert famfs.open(f"{mnt}/a").to_numpy().sum() == 4999950000
    assert famfs.open(f"{mnt}/b").to_numpy().sum() == 1
    famfs.umount(mnt)


def test_rows_that_were_filled_twice_are_no_others(mnt):
    schema = pa.schema({"a": pa.int64(), "f": pa.bool_()})
    with (
        pytest.raises(famfs.FamfsError, match="2 of 4 rows"),
        famfs.create_table(f"{mnt}/t", schema, 4) as table,
    ):
        table.fill("f", [True] * 4)
        table.fill("a", [1, 2], offset=0)
        table.fill("a", [3, 4], offset=0)
    with famfs.create_table(f"{mnt}/t", schema, 4) as table:
        table.fill("f", [True] * 4)
        for at in (2, 0, 1):
            table.fill("a", [at, at + 1], offset=at)
    assert famfs.open(f"{mnt}/t")["a"].to_numpy().tolist() == [0, 1, 2, 3]


def test_a_float_is_no_integer(mnt):
    schema = pa.schema({"a": pa.int64()})
    for values in ([1.5], [None, 1.5], np.array([1.5]), pa.array([1.5])):
        with (
            pytest.raises(famfs.Unsupported, match="'a'"),
            famfs.create_table(f"{mnt}/t", schema, len(values)) as table,
        ):
            table.fill("a", values)
    with famfs.create_table(f"{mnt}/t", schema, 1) as table:
        table.fill("a", [2.0])
    assert famfs.open(f"{mnt}/t")["a"].to_numpy().tolist() == [2]


def test_a_thread_may_still_write_when_the_block_ends(mnt, run):
    """It writes to the file or to a copy, and no signal comes."""
    run(
        """
        import sys, threading, famfs
        stop = threading.Event()
        for turn in range(20):
            with famfs.create(f"{sys.argv[1]}/x{turn}", 1 << 16, "u1", zero=True) as window:
                def write():
                    while not stop.is_set():
                        window[::512] += 1
                writer = threading.Thread(target=write)
                writer.start()
            before = famfs.open(f"{sys.argv[1]}/x{turn}").copy()
            assert (famfs.open(f"{sys.argv[1]}/x{turn}").to_numpy() == before).all()
            stop.set()
            writer.join()
            stop.clear()
        """,
        mnt,
    )


def test_rows_that_could_not_be_opened_are_not_published(mnt):
    rows = 2**31 + 1
    with (
        pytest.raises(famfs.Unsupported, match="2147483649"),
        famfs.create_table(f"{mnt}/t", pa.schema([]), rows),
    ):
        pass
    with pytest.raises(famfs.Unsupported, match="2147483649"):
        famfs.publish(pa.table({"a": pa.nulls(rows)}), f"{mnt}/t")
    assert not famfs.exists(f"{mnt}/t")
