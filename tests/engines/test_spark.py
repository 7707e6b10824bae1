"""Spark: published tables read, and computed on in place, by two executors."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from pyspark.errors import PySparkException
from spark_cluster import failing, names, numbers

import famfs
import famfs.spark
import famfs.torch

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "spark.md"


def test_batches_lie_in_the_volume_on_each_executor(cluster, at, inside):
    _, mnt, _ = cluster
    famfs.publish(numbers(), f"{at}/t", batch_rows=100)
    source = next(mount.source for mount in famfs.mounts() if mount.mountpoint == mnt)

    def look(batch):
        with open("/proc/self/maps") as maps:
            lines = [line.split() for line in maps if line.rstrip().endswith(source)]
        ranges = [[int(part, 16) for part in line[0].split("-")] for line in lines]
        buffers = [b for column in batch.columns for b in column.buffers() if b is not None]
        lie = [any(a <= b.address and b.address + b.size <= e for a, e in ranges) for b in buffers]
        # Two tasks at once show that both executors work.
        time.sleep(0.05)
        return os.getppid(), len(lie), all(lie), batch["a"][0].as_py()

    found = famfs.spark.map_batches(look, f"{at}/t")
    assert [first for *_, first in found] == list(range(0, 1000, 100))
    assert {(count, lie) for _, count, lie, _ in found} == {(3, True)}
    # Each executor has a daemon of its own, and none is this process's child.
    assert len({daemon for daemon, *_ in found}) == 2
    # As a slice where there are fewer batches than tasks.
    famfs.publish(numbers(), f"{at}/one")
    halves = famfs.spark.map_batches(look, f"{at}/one", columns=["a"], partitions=2)
    assert [(lie, first) for *_, lie, first in halves] == [(True, 0), (True, 500)]


def test_counting_needs_no_jvm(mnt, run):
    famfs.publish(numbers(), f"{mnt}/t")
    code = """
        import sys, famfs.spark, pyspark
        table = famfs.spark.read(sys.argv[1], columns=["c", "a"])
        print(table.count(), table.columns, table.schema.simpleString())
        assert pyspark.SparkContext._gateway is None
        try:
            table.to_dataframe()
        except famfs.FamfsError as error:
            print(error)
    """
    said = run(code, f"{mnt}/t").stdout.splitlines()
    assert said[0] == "1000 ['c', 'a'] struct<c:int,a:bigint>"
    assert "no Spark session is active" in said[1]


def test_results_come_back_as_values_or_as_rows(spark, at):
    famfs.publish(numbers(), f"{at}/t", batch_rows=250)
    table = famfs.spark.read(f"{at}/t", columns=["b"])
    assert sum(table.map_batches(lambda batch: pc.sum(batch["b"]).as_py())) == 999 * 1000 / 4
    frame = table.map_batches(
        lambda batch: {"rows": [batch.num_rows], "most": [pc.max(batch["b"])]},
        schema="rows int, most double",
    )
    assert sorted(map(tuple, frame.collect())) == [(250, 125 * i - 0.5) for i in range(1, 5)]
    several = table.map_batches(
        lambda batch: [batch[:1], None, pa.table(batch[1:2])], schema="b double"
    )
    assert sorted(row.b for row in several.collect()) == [
        125 * i + j for i in range(4) for j in (0, 0.5)
    ]
    for wrong, says in [(lambda batch: 5, "returned int"), (lambda batch: {"x": [1]}, "has .'b'.")]:
        with failing(famfs.Unsupported, says):
            table.map_batches(wrong, schema="b double").collect()
    with pytest.raises(PySparkException, match="ZeroDivisionError"):
        table.map_batches(lambda batch: 1 // 0)


def test_parts_meet_where_batches_do(spark, at):
    famfs.publish(numbers(), f"{at}/t", batch_rows=300)
    table = famfs.spark.read(f"{at}/t")

    def sizes(frame):
        return [len(part) for part in frame.select("a").rdd.glom().collect()]

    assert sizes(table.to_dataframe(partitions=3)) == [300, 300, 400]
    # As many as there are cores, by default.
    assert sizes(table.to_dataframe()) == [600, 400]
    assert sizes(spark.read.format("famfs").load(f"{at}/t")) == [1000]
    assert sizes(spark.read.format("famfs").option("partitions", 5).load(f"{at}/t")) == [200] * 5
    with pytest.raises(famfs.Unsupported, match="0 partitions"):
        table.to_dataframe(partitions=0)


def test_a_frame_is_of_the_version_that_was_there(spark, at):
    famfs.publish(numbers(10), f"{at}/t")
    frame = spark.read.format("famfs").load(f"{at}/t")
    table = famfs.spark.read(f"{at}/t", columns=["a"])
    famfs.publish({"other": np.arange(3.0)}, f"{at}/t", overwrite=True)
    assert frame.agg({"a": "sum"}).first()[0] == 45
    famfs.remove(f"{at}/t")
    assert table.to_dataframe().agg({"a": "sum"}).first()[0] == 45
    assert sum(table.map_batches(lambda batch: batch.num_rows)) == 10


def test_a_directory_is_one_table(spark, at):
    for i in range(3):
        famfs.publish({"a": np.full(i, i)}, f"{at}/{i}")
    table = famfs.spark.read(at)
    assert table.count() == 3
    assert sorted(row.a for row in table.to_dataframe().collect()) == [1, 2, 2]
    assert spark.read.format("famfs").load(f"{at}/[12]").count() == 3


def test_columns_are_named_by_option_or_schema(spark, at):
    famfs.publish(numbers(3), f"{at}/t")
    reader = spark.read.format("famfs")
    assert reader.option("columns", '["c", "a"]').load(f"{at}/t").columns == ["c", "a"]
    given = spark.read.format("famfs").schema("b double, a long").load(f"{at}/t")
    assert list(map(tuple, given.collect())) == [(0, 0), (0.5, 1), (1, 2)]
    for wrong, says in [("a string", "'a' is string and not bigint"), ("x long", "no column 'x'")]:
        with failing(famfs.Unsupported, says):
            spark.read.format("famfs").schema(wrong).load(f"{at}/t").collect()


@pytest.mark.parametrize(
    ("path", "options", "error", "says"),
    [
        (None, {}, famfs.Unsupported, "takes one path"),
        ("{at}/none", {}, famfs.NotFound, "no such file"),
        ("/nowhere/t", {}, famfs.NotMounted, "famfs mounts"),
        ("famfs://x/../../etc#1", {}, famfs.InvalidPath, "not a reference"),
        ("{at}/array", {}, famfs.Unsupported, "takes tables alone"),
        ("{at}/t", {"columns": "a"}, famfs.Unsupported, "JSON list"),
        ("{at}/t", {"columns": "[]"}, famfs.Unsupported, "no columns"),
        ("{at}/t", {"partitions": "x"}, famfs.Unsupported, "a number"),
        ("{at}/t", {"truncate": "x"}, famfs.Unsupported, "true or false"),
    ],
)
def test_what_can_not_be_read(spark, at, path, options, error, says):
    famfs.publish(numbers(3), f"{at}/t")
    famfs.publish(np.arange(3), f"{at}/array")
    with failing(error, says):
        reader = spark.read.format("famfs").options(**options)
        (reader.load() if path is None else reader.load(path.format(at=at))).collect()


def test_one_name_is_no_list_of_its_letters(mnt):
    ref = famfs.publish({"a": np.arange(3), "b": np.arange(3), "ab": np.arange(3)}, f"{mnt}/t")
    with pytest.raises(famfs.Unsupported, match="a list of names"):
        famfs.spark.read(ref, columns="ab")
    with pytest.raises(famfs.Unsupported, match="a list of names"):
        famfs.torch.Rows(ref, columns="ab")


def test_an_executor_that_lacks_the_volume_is_told(cluster):
    spark, _, other = cluster
    famfs.publish(numbers(5), f"{other}/t")
    table = famfs.spark.read(f"{other}/t", columns=["a"])
    with failing(famfs.NotMounted, r"on a worker of Spark.*spark\.executorEnv\.FAMFS_MOUNTS"):
        table.map_batches(lambda batch: batch.num_rows)
    with failing(famfs.NotMounted, r"spark\.executorEnv\.FAMFS_MOUNTS"):
        table.to_dataframe().collect()
    with failing(famfs.NotMounted, "lies under no famfs mount"):
        famfs.spark.write(spark.range(3), f"{other}/d")
    assert names(other) == ["t"]
    # What the message offers.
    copied = spark.createDataFrame(famfs.open(f"{other}/t").to_arrow())
    assert copied.agg({"a": "sum"}).first()[0] == 10


@pytest.mark.parametrize(
    ("before", "says"),
    [
        (
            "sys.modules['pyspark'] = None",
            "pyspark is not installed here: pip install 'famfs[spark]'",
        ),
        (
            "import pyspark; pyspark.__version__ = '4.0.1'",
            "4.0.1 is too old, 4.1 or later is needed: pip install --upgrade 'famfs[spark]'",
        ),
    ],
)
def test_an_engine_that_is_missing_or_too_old(run, before, says):
    done = run(f"import sys\n{before}\nimport famfs.spark", check=False)
    assert done.returncode == 1
    assert "ImportError" in done.stderr
    assert says in done.stderr


def test_the_examples_in_docstrings():
    root = PAGE.parents[2]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:xdist", "python/famfs/spark"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert int(re.search(r"(\d+) passed", done.stdout)[1]) >= 15


def test_the_page(spark, at, capsys):
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert len(blocks) >= 4
    scope = {}
    for block in blocks:
        exec(compile(block.replace("/mnt/famfs", at), str(PAGE), "exec"), scope)
    assert scope["spark"] is spark
    assert " rows" in capsys.readouterr().out
