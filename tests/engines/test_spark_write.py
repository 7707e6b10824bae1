"""Spark: what is written appears whole or never, whatever ends on the way."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time

import numpy as np
import pyarrow as pa
import pytest
from pyspark.errors import PySparkException
from spark_cluster import MIB, allocated, failing, names, numbers, rows_of
from spark_types import TYPES

import famfs
import famfs.spark
from famfs import _keeper
from famfs.spark import _source, _writer


def test_modes(spark, at):
    path = f"{at}/d"
    four = spark.range(0, 40, 1, 4)
    famfs.spark.write(four, path)
    parts = [f"part-0000-{i:05}.arrow" for i in range(4)]
    assert names(path) == parts
    assert rows_of(path) == list(range(40))
    with pytest.raises(famfs.AlreadyExists, match="append or overwrite"):
        famfs.spark.write(four, path)
    famfs.spark.write(four, path, mode="ignore")
    spark.range(40, 50, 1, 2).write.format("famfs").mode("append").save(path)
    assert names(path) == [*parts, "part-0001-00000.arrow", "part-0001-00001.arrow"]
    assert rows_of(path) == list(range(50))
    before = famfs.open(path)
    # Fewer parts than there were, of other types.
    frame = spark.range(0, 5, 1, 2).selectExpr("cast(id as string) as id")
    frame.write.format("famfs").mode("overwrite").save(path)
    assert names(path) == parts[:2]
    assert rows_of(path) == list("01234")
    assert before.num_rows == 50
    assert len(famfs.versions(f"{path}/{parts[0]}")) == 2
    # No rows at all are a table of none.
    frame.limit(0).write.format("famfs").mode("overwrite").save(f"{path}/")
    assert names(path) == parts[:1]
    assert famfs.open(path).shape == (0, 1)
    with pytest.raises(PySparkException, match="UNSUPPORTED_DATA_SOURCE_SAVE_MODE"):
        frame.write.format("famfs").save(f"{at}/e")
    with pytest.raises(famfs.Unsupported, match="modes are"):
        famfs.spark.write(frame, f"{at}/e", mode="x")


def test_what_was_written_is_read_again(spark, at):
    table = pa.table(
        {name: array for name, (array, kind) in TYPES.items() if not re.match("time|void", kind)}
    )
    famfs.publish(table, f"{at}/t")
    frame = famfs.spark.read(f"{at}/t").to_dataframe()
    famfs.spark.write(frame, f"{at}/d")
    assert famfs.open(f"{at}/d").num_rows == 3
    again = famfs.spark.read(f"{at}/d").to_dataframe()
    assert again.schema.simpleString() == frame.schema.simpleString()
    assert sorted(map(str, again.collect())) == sorted(map(str, frame.collect()))


def test_rows_are_appended_in_the_types_that_are_there(spark, at):
    famfs.mkdir(f"{at}/d")
    there = {"id": pa.array([7]), "s": pa.array(["x"], pa.large_string())}
    famfs.publish(pa.table(there), f"{at}/d/first")
    frame = spark.range(0, 3, 1, 1).selectExpr("id", "'y' as s")
    famfs.spark.write(frame, f"{at}/d", mode="append")
    assert famfs.open(f"{at}/d").schema.field("s").type == pa.large_string()
    assert rows_of(f"{at}/d") == [0, 1, 2, 7]
    before = names(f"{at}/d"), allocated(at)
    for wrong, says in [("id", "not .'id', 's'."), ("id, 5 as s", "'s' is int and not string")]:
        with failing(famfs.Unsupported, f"other columns.*{says}"):
            frame.selectExpr(*wrong.split(", ")).write.format("famfs").mode("append").save(
                f"{at}/d"
            )
    assert (names(f"{at}/d"), allocated(at)) == before


def test_what_can_not_be_written_to(cluster, at):
    spark, mnt, _ = cluster
    famfs.publish(numbers(3), f"{at}/file")
    famfs.mkdir(f"{at}/mixed")
    famfs.publish(b"x", f"{at}/mixed/bytes")
    frame = spark.range(3)
    for path, error, says in [
        (f"{at}/file", famfs.Unsupported, "is a file"),
        (f"{at}/mixed", famfs.Unsupported, "bytes is no table"),
        (f"{at}/none/d", famfs.NotFound, "directory"),
        (mnt, famfs.Unsupported, "the volume itself"),
        ("/nowhere/d", famfs.NotMounted, "famfs mounts"),
    ]:
        with failing(error, says):
            frame.write.format("famfs").mode("overwrite").save(path)
    assert names(at) == ["file", "mixed"]


def test_a_task_that_fails_takes_all_with_it(spark, at):
    before = allocated(at)
    frame = spark.range(0, 30_000, 1, 3).selectExpr("if(id = 29999, raise_error('no'), id) as id")
    with pytest.raises(PySparkException, match="USER_RAISED_EXCEPTION"):
        famfs.spark.write(frame, f"{at}/d")
    assert not famfs.exists(f"{at}/d")
    famfs.spark.write(spark.range(3), f"{at}/d")
    with pytest.raises(PySparkException, match="USER_RAISED_EXCEPTION"):
        famfs.spark.write(frame, f"{at}/d", mode="append")
    assert rows_of(f"{at}/d") == [0, 1, 2]
    assert allocated(at) <= before + 2 * 2 * MIB


def test_a_volume_that_is_too_small_gets_none_of_it(spark, at):
    free = famfs.df(at).free

    def bulk(batches):
        for _ in batches:
            for _ in range(free // (16 * MIB) + 2):
                yield pa.record_batch({"x": pa.array([bytes(8 * MIB)])})

    spark.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", "2")
    try:
        with failing(famfs.NoSpace, "no room|space|full"):
            famfs.spark.write(spark.range(0, 2, 1, 2).mapInArrow(bulk, "x binary"), f"{at}/d")
    finally:
        spark.conf.unset("spark.sql.execution.arrow.maxRecordsPerBatch")
    assert not famfs.exists(f"{at}/d")
    assert famfs.df(at).free == free


def test_a_killed_worker_is_replaced_and_no_row_doubled(spark, at, tmp_path):
    """The worker that fills the file, of more than is gathered before its space is reserved."""

    def bulk(batches):
        for batch in batches:
            first = batch.column(0)[0].as_py()
            for i in range(20):
                ids = pa.array([first * 20 + i])
                yield pa.record_batch({"id": ids, "x": pa.array([bytes(8 * MIB)])})
            if first == 1 and not (tmp_path / "killed").exists():
                (tmp_path / "killed").touch()
                daemon = os.getppid()
                with open(f"/proc/{daemon}/task/{daemon}/children") as children:
                    for child in map(int, children.read().split()):
                        if child != os.getpid():
                            os.kill(child, signal.SIGKILL)
                time.sleep(10)

    spark.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", "2")
    try:
        frame = spark.range(0, 2, 1, 2).mapInArrow(bulk, "id long, x binary")
        famfs.spark.write(frame, f"{at}/d")
    finally:
        spark.conf.unset("spark.sql.execution.arrow.maxRecordsPerBatch")
    assert (tmp_path / "killed").exists()
    assert rows_of(f"{at}/d") == list(range(40))
    for entry in famfs.ls(f"{at}/d"):
        famfs.remove(entry.path)


def test_two_attempts_of_a_task_count_once(spark, at):
    """As where an executor is lost after its task had filled its file: both attempts by hand."""
    schema = spark.range(1).schema
    source = _source.FamfsDataSource({"path": f"{at}/d", "mode": "error"})
    writer = source.writer(schema, overwrite=False)

    def attempts(batches):
        rows = list(batches)
        for _ in range(2):
            made = writer.write(iter(rows))
            yield pa.record_batch({"name": [made.name], "by_another": [made.by_another]})

    frame = spark.range(0, 20, 1, 2).mapInArrow(attempts, "name string, by_another boolean")
    told = [_writer.Filled(*row) for row in frame.collect()]
    assert sorted(message.by_another for message in told) == [False, False, True, True]
    writer.commit(told)
    assert rows_of(f"{at}/d") == list(range(20))


def test_a_driver_that_is_killed_leaves_nothing(at):
    before = allocated(at)
    with subprocess.Popen(["sleep", "60"]) as driver:
        kept = _keeper.start(f"{at}/d", pa.schema({"a": pa.int8()}), "append", driver.pid)
        with famfs.transaction(token=kept.token) as part:
            part.publish(np.zeros(4 * MIB, "i1"), f"{at}/d/{kept.name_of(0)}")
        driver.kill()
    end = time.monotonic() + 20
    while famfs.exists(f"{at}/d") and time.monotonic() < end:
        time.sleep(0.02)
    assert not famfs.exists(f"{at}/d")
    assert allocated(at) == before
    with pytest.raises(famfs.FamfsError, match="write again"):
        kept.commit({kept.name_of(0)})
    kept.abandon()


def test_a_commit_that_lacks_a_file_or_has_another_gives_all_up(at):
    before = allocated(at)
    schema = pa.schema({"id": pa.int64()})
    for filled, told, says in [
        ((0, 1), (0,), "part-0000-00001.arrow is filled, and not told of"),
        ((0,), (0, 1), "part-0000-00001.arrow is not filled"),
        ((0,), (), "AlreadyExists"),
    ]:
        kept = _keeper.start(f"{at}/d", schema, "append", os.getpid())
        for number in filled:
            with famfs.transaction(token=kept.token) as part:
                part.publish({"id": np.array([number])}, f"{at}/d/{kept.name_of(number)}")
        with pytest.raises((famfs.Busy, famfs.AlreadyExists)) as raised:
            kept.commit({kept.name_of(number) for number in told})
        assert says in f"{type(raised.value).__name__} {raised.value}"
        assert not famfs.exists(f"{at}/d")
        assert allocated(at) == before
        # It has ended, and its process with it.
        with pytest.raises(famfs.FamfsError, match="has ended"):
            kept.commit({kept.name_of(number) for number in filled})
    # Where there was something, that stays.
    famfs.mkdir(f"{at}/d")
    famfs.publish({"id": np.arange(3)}, f"{at}/d/part-0000-00000.arrow")
    kept = _keeper.start(f"{at}/d", schema, "overwrite", os.getpid())
    with pytest.raises(famfs.Busy, match="is not filled"):
        kept.commit({kept.name_of(1)})
    assert rows_of(f"{at}/d") == [0, 1, 2]


def test_spark_is_told_of_a_result_that_was_lost(spark, at):
    schema = spark.range(1).schema
    source = _source.FamfsDataSource({"path": f"{at}/d", "mode": "error"})
    writer = source.writer(schema, overwrite=False)

    def attempt(batches):
        yield pa.record_batch({"name": [writer.write(batches).name]})

    frame = spark.range(0, 20, 1, 2).mapInArrow(attempt, "name string")
    told = [_writer.Filled(*row) for row in frame.collect()]
    with pytest.raises(famfs.Busy, match="not told of"):
        writer.commit([told[0], _writer.Filled(None)])
    writer.abort(told)
    assert not famfs.exists(f"{at}/d")


def test_a_keeper_watches_a_process_that_is_there(at):
    with subprocess.Popen(["true"]) as gone:
        gone.wait()
    schema = pa.schema({"a": pa.int8()})
    for watched in (gone.pid, -1, None):
        with pytest.raises(famfs.FamfsError, match="is not there.*write again"):
            _keeper.start(f"{at}/d", schema, "append", watched)
    assert not famfs.exists(f"{at}/d")


def test_two_who_append_at_once_do_not_lose_rows(at):
    schema = pa.schema({"id": pa.int64()})
    famfs.mkdir(f"{at}/d")
    both = [_keeper.start(f"{at}/d", schema, "append", os.getpid()) for _ in range(2)]
    for number, kept in enumerate(both):
        with famfs.transaction(token=kept.token) as part:
            part.publish({"id": np.array([number])}, f"{at}/d/{kept.name_of(0)}")
    both[0].commit({both[0].name_of(0)})
    with pytest.raises(famfs.AlreadyExists):
        both[1].commit({both[1].name_of(0)})
    both[1].abandon()
    assert rows_of(f"{at}/d") == [0]
