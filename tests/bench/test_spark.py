"""Spark: a count and a sum over a published table, against Spark's own reading of Parquet."""

from __future__ import annotations

import importlib.util
import shutil

import pytest
from inputs import GIB
from sides import Process, Took

SPARK = Process("spark_side")


@pytest.mark.timeout(600)
def test_count_and_sum_over_1_gib(goal, measured, unmeasured, volume, beside):
    missing = "" if importlib.util.find_spec("pyspark") else "no package of it here"
    missing = missing or ("" if shutil.which("java") else "no Java here: openjdk-17-jre-headless")
    if missing:
        unmeasured("count and sum over 1 GiB", "Spark", missing)
        return
    mnt = volume(2 * GIB)
    SPARK.ask("prepare", f"{mnt}/t", f"{beside}/t.parquet", GIB)
    found = SPARK.ask("asked", f"{mnt}/t", f"{beside}/t.parquet", 3)
    for what, sides in found.items():
        took = {name: Took(tuple(every)) for name, every in sides.items()}
        measured(f"{what} over 1 GiB, Spark", took, "ms")
        ours, parquet, *_ = took.values()
        goal(
            f"Spark {what} over 1 GiB by our helper, times faster than from Parquet",
            parquet.median / ours.median,
            ">= 1",
        )
