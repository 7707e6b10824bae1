"""Readers: written while they come, in bounded memory, whole or not at all."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import textwrap

import duckdb
import numpy as np
import pyarrow as pa
import pytest

import famfs
from famfs import convert

MIB = 1 << 20


@pytest.fixture
def window(monkeypatch):
    """Readers are written from 1 MiB on."""
    monkeypatch.setattr(convert, "WINDOW", MIB)


def batch(i, rows=1 << 16):
    start = i * rows
    words = pa.array([f"w{j}" for j in range(i * 10, i * 10 + 20)])
    keys = pa.array(np.arange(rows) % 20, pa.int32())
    return pa.record_batch(
        {
            "n": np.arange(start, start + rows),
            "text": pa.array([f"row {j}" if j % 7 else None for j in range(start, start + rows)]),
            "word": pa.DictionaryArray.from_arrays(keys, words),
        }
    )


def reader(count, **options):
    def batches():
        for i in range(count):
            yield batch(i, **options)

    return pa.RecordBatchReader.from_batches(batch(0).schema, batches())


def plain(table):
    """With words instead of their indices, which differ with the dictionary."""
    at = table.schema.get_field_index("word")
    return table.set_column(at, "word", table["word"].cast(pa.string())).combine_chunks()


def expected(count, **options):
    return plain(
        pa.Table.from_batches([batch(i, **options) for i in range(count)]).unify_dictionaries()
    )


@pytest.mark.usefixtures("window")
def test_a_reader_is_written_in_parts_of_a_window(mnt):
    dataset = famfs.open(famfs.publish(reader(8), f"{mnt}/t"), verify=True)
    assert len(dataset.batches) == 8, "each batch is larger than a window"
    table = dataset.to_arrow()
    assert plain(table).equals(expected(8))
    # One dictionary for all: what grew is where it was.
    dictionaries = {chunk.dictionary.buffers()[2].address for chunk in table["word"].chunks}
    assert len(dictionaries) == 1
    assert table["word"].chunk(0).dictionary.to_pylist() == [f"w{i}" for i in range(90)]


@pytest.mark.usefixtures("window")
def test_stock_readers_read_what_was_streamed(mnt):
    data = bytes(famfs.open(famfs.publish(reader(4), f"{mnt}/t")).buffer())
    assert plain(pa.ipc.open_file(data).read_all()).equals(expected(4))
    import polars as pl

    frame = pl.read_ipc(data)
    assert frame["word"].cast(pl.String).to_list() == expected(4)["word"].to_pylist()
    assert frame["n"].sum() == expected(4)["n"].to_numpy().sum()


def test_a_short_reader_is_one_batch(mnt):
    dataset = famfs.open(famfs.publish(reader(3), f"{mnt}/t"))
    assert len(dataset.batches) == 1, "it ended before a window was full"


@pytest.mark.usefixtures("window")
def test_partitions_are_kept_across_windows(mnt):
    rows = 50_000
    dataset = famfs.open(famfs.publish(reader(6), f"{mnt}/t", batch_rows=rows))
    counts = [part.num_rows for part in dataset.batches]
    assert counts[:-1] == [rows] * (len(counts) - 1)
    assert sum(counts) == 6 << 16
    assert plain(dataset.to_arrow()).equals(expected(6))


@pytest.mark.usefixtures("window")
def test_a_slow_reader_of_slices_fills_whole_windows(mnt):
    # Slices share their parent's memory: each counts as what it has, not as the whole.
    table = pa.table({"n": np.arange(1 << 20)})
    ref = famfs.publish(table.to_reader(max_chunksize=1000), f"{mnt}/t")
    dataset = famfs.open(ref)
    assert len(dataset.batches) in {8, 9}, "a batch takes a little besides its values"
    assert dataset.to_arrow().equals(table)


@pytest.mark.usefixtures("window")
def test_the_checksum_of_a_stream_is_that_of_its_bytes(mnt):
    ref = famfs.publish(reader(4), f"{mnt}/t", checksum=True)
    famfs.open(ref, verify=True)
    source = next(mount.source for mount in famfs.mounts() if mount.mountpoint == mnt)
    with open(source, "r+b") as device:
        image = device.read()
        at = image.index(b"row 65537")
        device.seek(at)
        device.write(b"ROW")
    with pytest.raises(famfs.Corrupt, match="checksum"):
        famfs.open(ref, verify=True)


@pytest.mark.usefixtures("window")
def test_progress_of_a_stream(mnt):
    told = []
    ref = famfs.publish(
        reader(6), f"{mnt}/t", progress=lambda done, total: told.append((done, total))
    )
    size = famfs.open(ref).nbytes
    assert told[-1][0] == told[-1][1] == famfs.ls(mnt)[0].size >= size
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert all(done <= total for done, total in told)
    assert len(told) >= 6


@pytest.mark.usefixtures("window")
@pytest.mark.parametrize("stop", ["reader", "progress", "space"])
def test_a_stream_that_stops_half_way_leaves_nothing(mnt, stop):
    free = famfs.df(mnt).free

    def batches():
        for i in range(64 if stop == "space" else 6):
            if stop == "reader" and i == 4:
                raise RuntimeError("the source is gone")
            yield batch(i, rows=1 << 17)

    told = []

    def progress(done, _total):
        told.append(done)
        if stop == "progress" and len(told) == 3:
            raise KeyboardInterrupt

    source = pa.RecordBatchReader.from_batches(batch(0).schema, batches())
    expected = {
        "reader": (famfs.Unsupported, "the source is gone"),
        "progress": (KeyboardInterrupt, None),
        "space": (famfs.NoSpace, "famfs df"),
    }
    error, words = expected[stop]
    with pytest.raises(error, match=words):
        famfs.publish(source, f"{mnt}/t", progress=progress)
    assert told, "some was written by then"
    assert famfs.ls(mnt) == []
    assert famfs.df(mnt).free == free


@pytest.mark.usefixtures("window")
def test_a_stream_takes_no_more_than_it_needs(mnt):
    free = famfs.df(mnt).free
    ref = famfs.publish(reader(6), f"{mnt}/t")
    size = famfs.ls(mnt)[0].size
    assert free - famfs.df(mnt).free == -(-size // (2 * MIB)) * 2 * MIB
    assert famfs.open(ref).num_rows == 6 << 16


@pytest.mark.usefixtures("window")
def test_a_stream_beside_others_lies_in_pieces(large):
    mnt = large
    sources = [f"{mnt}/a", f"{mnt}/b"]
    beside = iter(range(100))

    def batches():
        for i in range(8):
            # What others publish meanwhile takes the space behind what it has so far.
            famfs.publish(b"x", f"{mnt}/x{next(beside)}")
            yield batch(i)

    for path in sources:
        famfs.publish(pa.RecordBatchReader.from_batches(batch(0).schema, batches()), path)
    for path in sources:
        assert plain(famfs.open(path).to_arrow()).equals(expected(8))
    command = [sys.executable, "-m", "famfs", "dump", mnt]
    dump = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert dump["findings"] == []
    pieces = {file["path"]: len(file["extents"]) for file in dump["files"]}
    assert pieces["a"] > 2
    assert pieces["b"] > 2


@pytest.mark.usefixtures("window")
def test_streams_of_a_transaction_appear_together(mnt):
    with famfs.transaction() as tx:
        for name in "ab":
            tx.publish(reader(3), f"{mnt}/{name}")
        assert famfs.ls(mnt) == []
    for name in "ab":
        assert plain(famfs.open(f"{mnt}/{name}").to_arrow()).equals(expected(3))


@pytest.mark.usefixtures("window")
def test_a_query_of_duckdb_is_streamed(mnt):
    relation = duckdb.sql("select range as n, range % 3 as m from range(1000000)")
    dataset = famfs.open(famfs.publish(relation, f"{mnt}/t"))
    assert dataset.num_rows == 1_000_000
    assert len(dataset.batches) > 1
    assert dataset["n"].to_arrow().to_numpy().sum() == 499_999_500_000


@pytest.mark.usefixtures("window")
def test_what_is_in_memory_stays_one_array(mnt):
    table = pa.Table.from_batches([batch(i) for i in range(6)])
    assert len(famfs.open(famfs.publish(table, f"{mnt}/t")).batches) == 1


@pytest.mark.parametrize(
    "other",
    [
        pa.record_batch({"a": pa.array([1] * 8, pa.int8())}),
        pa.record_batch({"a": pa.array([1.5])}),
        pa.record_batch({"a": [1], "b": [2]}),
        pa.record_batch({"b": [1]}),
    ],
    ids=["narrower", "floats", "more", "renamed"],
)
@pytest.mark.parametrize("before", [0, 1, 20])
@pytest.mark.usefixtures("window")
def test_a_batch_of_another_schema_is_refused(mnt, other, before):
    schema = pa.schema({"a": pa.int64()})
    right = pa.record_batch({"a": np.arange(20_000)})
    source = pa.RecordBatchReader.from_batches(schema, iter([*[right] * before, other]))
    with pytest.raises(famfs.Unsupported, match="another schema"):
        famfs.publish(source, f"{mnt}/t")
    assert famfs.ls(mnt) == []


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, famfs.NoSpace])
def test_what_ends_a_program_is_not_translated(mnt, error):
    def batches():
        yield batch(0)
        raise error

    with pytest.raises(error):
        famfs.publish(pa.RecordBatchReader.from_batches(batch(0).schema, batches()), f"{mnt}/t")
    assert famfs.ls(mnt) == []


def bits(kind):
    """Readers whose batches are small, or lie in larger ones."""
    rows = 1 << 18
    numbers = pa.array(np.arange(rows))
    lists = pa.ListArray.from_arrays(np.arange(rows + 1, dtype="i4"), numbers)
    texts = numbers.cast(pa.string()).cast(pa.string_view())
    array = {"lists": lists, "views": texts, "numbers": numbers}[kind]
    table = pa.table({"a": array})
    if kind == "views":
        # Of their own each: what a slice of views keeps is all of its texts.
        parts = [table.slice(at, 4096) for at in range(0, rows, 4096)]
        made = [
            pa.table({"a": part["a"].cast(pa.string()).cast(pa.string_view())}) for part in parts
        ]
        return table, [part.combine_chunks().to_batches()[0] for part in made]
    return table, table.to_batches(max_chunksize=1000)


@pytest.mark.usefixtures("window")
@pytest.mark.parametrize("kind", ["lists", "views", "numbers"])
def test_windows_are_full_whatever_the_type(mnt, kind):
    table, parts = bits(kind)
    source = pa.RecordBatchReader.from_batches(table.schema, iter(parts))
    dataset = famfs.open(famfs.publish(source, f"{mnt}/t"))
    size = famfs.stat(f"{mnt}/t").size
    assert 0.5 * size / MIB <= len(dataset.batches) <= 2 * size / MIB + 1
    assert dataset.to_arrow().column(0).to_pylist() == table.column(0).to_pylist()


@pytest.mark.usefixtures("window")
def test_partitions_larger_than_a_window_are_gathered_at_once(mnt):
    rows = 8000 * 200
    parts = (pa.record_batch({"a": np.arange(i * 200, (i + 1) * 200)}) for i in range(8000))
    source = pa.RecordBatchReader.from_batches(pa.schema({"a": pa.int64()}), parts)
    dataset = famfs.open(famfs.publish(source, f"{mnt}/t", batch_rows=rows // 2))
    assert [part.num_rows for part in dataset.batches] == [rows // 2] * 2


def test_memory_is_bounded(large, run):
    """A GiB comes by in batches; no more than a window and a batch of it is there at any time."""
    code = """
        import sys
        import numpy as np, pyarrow as pa
        import famfs
        def anonymous():
            with open("/proc/self/status") as status:
                line = next(line for line in status if line.startswith("RssAnon"))
            return int(line.split()[1]) >> 10
        peak = 0
        def batches():
            global peak
            for i in range(64):
                peak = max(peak, anonymous())
                yield pa.record_batch({"a": np.full(1 << 21, i, "i8")})
        schema = pa.schema({"a": pa.int64()})
        def reader(batches):
            return pa.RecordBatchReader.from_batches(schema, batches)
        # What is needed once is there before it is measured.
        famfs.publish(reader(iter([])), sys.argv[1] + "/warm")
        before = anonymous()
        ref = famfs.publish(reader(batches()), sys.argv[1] + "/t")
        dataset = famfs.open(ref)
        assert dataset.num_rows == 64 << 21
        last = [part["a"].to_numpy()[-1] for part in dataset.batches]
        assert last == [*range(7, 64, 8)], "whole windows"
        print(peak - before)
    """
    grown = int(run(code, large).stdout)
    assert grown < 128 + 3 * 16 + 32, f"{grown} MiB"


def test_a_publisher_killed_in_mid_stream_leaves_nothing(mnt):
    free = famfs.df(mnt).free
    code = """
        import sys, time
        import numpy as np, pyarrow as pa
        import famfs
        from famfs import convert
        convert.WINDOW = 1 << 20
        def batches():
            for i in range(4):
                yield pa.record_batch({"a": np.full(1 << 18, i, "i8")})
            print("half", flush=True)
            time.sleep(60)
        source = pa.RecordBatchReader.from_batches(pa.schema({"a": pa.int64()}), batches())
        famfs.publish(source, sys.argv[1])
    """
    child = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), f"{mnt}/t"], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout.readline() == "half\n"
    with pytest.raises(famfs.NoSpace):
        famfs.publish(bytes(free), f"{mnt}/all")
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert famfs.ls(mnt) == []
    assert famfs.df(mnt).free == free
    # All of it can be published again.
    famfs.publish(bytes(free), f"{mnt}/all")
