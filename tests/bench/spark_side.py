"""Spark's side of the comparisons: one session, and the same question asked in several ways."""

from __future__ import annotations

import os
import sys
import time

import numpy as np

COLUMNS = "abcd"


def table(size):
    """Four columns of numbers; of the first, the sum is known."""
    rows = size // 8 // len(COLUMNS)
    return {name: np.arange(rows) + i for i, name in enumerate(COLUMNS)}


def prepare(path, parquet, size):
    """Publishes the table, and writes it as Parquet as pyarrow does by default."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    import famfs

    data = table(size)
    # Batches for the tasks, as publishers of partitions make them.
    famfs.publish(data, path, batch_rows=len(data["a"]) // 8)
    pq.write_table(pa.table(data), parquet)


def session(memory="3g"):
    """Two tasks at a time, as there are cores; its start is not measured."""
    from pyspark.sql import SparkSession

    os.environ["PYSPARK_PYTHON"] = sys.executable
    builder = SparkSession.builder.master("local[2]").config(
        map={
            "spark.driver.memory": memory,
            "spark.ui.enabled": "false",
            "spark.ui.showConsoleProgress": "false",
        }
    )
    return builder.getOrCreate()


def timed(work, expected, rounds):
    """Seconds of each round, after one that is not counted: it starts Python's workers."""
    every = []
    for _ in range(rounds + 1):
        start = time.perf_counter()
        found = work()
        every.append(time.perf_counter() - start)
        assert found == expected, found
    return every[1:]


def asked(path, parquet, rounds):
    """Seconds of counting and of a sum: by our helper, from Parquet, and by our data source."""
    import pyarrow.compute as pc

    import famfs.spark

    spark = session()
    try:
        famfs.spark.register(spark)
        table = famfs.spark.read(path, columns=["a"])
        rows = table.count()
        total = rows * (rows - 1) // 2
        stock = spark.read.parquet(parquet)
        frame = table.to_dataframe()
        return {
            "count": {
                "famfs.spark.read().count()": timed(
                    lambda: famfs.spark.read(path).count(), rows, rounds
                ),
                "Spark, Parquet": timed(stock.count, rows, rounds),
            },
            "sum": {
                "famfs.spark.map_batches": timed(
                    lambda: sum(table.map_batches(lambda batch: pc.sum(batch["a"]).as_py())),
                    total,
                    rounds,
                ),
                "Spark, Parquet": timed(lambda: stock.agg({"a": "sum"}).first()[0], total, rounds),
                "Spark, format famfs": timed(
                    lambda: frame.agg({"a": "sum"}).first()[0], total, rounds
                ),
            },
        }
    finally:
        spark.stop()
