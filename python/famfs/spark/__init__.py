"""Spark over a volume: read and write published tables, or compute on them where they are.

Example:
    >>> import famfs, famfs.spark
    >>> ref = famfs.publish({"a": np.arange(3), "b": np.ones(3)}, f"{mnt}/t")
    >>> table = famfs.spark.read(f"{mnt}/t", columns=["a"])
    >>> table.count()
    3
    >>> table.schema.simpleString()
    'struct<a:bigint>'
"""

from __future__ import annotations

from famfs._extras import engine

engine("pyspark", "spark")
engine("pyarrow", "spark")

from famfs.spark._source import FamfsDataSource  # noqa: E402 - what it needs is there
from famfs.spark._table import (  # noqa: E402
    Table,
    map_batches,
    read,
    register,
    write,
)

__all__ = ["FamfsDataSource", "Table", "map_batches", "read", "register", "write"]
