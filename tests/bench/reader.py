"""A reader: holds data WAY, of the volume at MNT, which lies in DEVICE; tells what it takes.

It says that it has read, waits for a line, prints what smaps counts as its own of the data and by
how much its private memory has grown, in bytes, and waits for another line.
"""

from __future__ import annotations

import sys
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.compute

import famfs


def smaps(device):
    """Bytes of the device that count as this process's, and its private bytes elsewhere."""
    ours = private = 0
    inside = False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        words = line.split()
        if "-" in words[0] and not words[0].endswith(":"):
            inside = words[-1] == device
        elif inside and words[0] == "Pss:":
            ours += int(words[1]) * 1024
        elif not inside and words[0] in {"Private_Dirty:", "Private_Clean:"}:
            private += int(words[1]) * 1024
    return ours, private


def through_numpy(mnt):
    held = famfs.open(f"{mnt}/array").to_numpy()
    held.sum()
    return held


def through_pyarrow(mnt):
    held = famfs.open(f"{mnt}/table").to_arrow()
    for column in held.columns:
        pa.compute.sum(column)
    return held


def through_pandas(mnt):
    held = famfs.open(f"{mnt}/table").to_pandas()
    for name in held:
        held[name].to_numpy().sum()
    return held


def through_arrow_dtypes(mnt):
    held = famfs.open(f"{mnt}/table").to_pandas(dtype_backend="pyarrow")
    for name in held:
        held[name].sum()
    return held


def through_duckdb(mnt):
    held = famfs.open(f"{mnt}/table")
    # Its own memory stays as it is with one thread, and without what it would keep to sort.
    connection = duckdb.connect(config={"threads": 1})
    connection.sql("select sum(a), sum(b), sum(c), sum(d) from held").fetchall()
    return held, connection


def through_polars(mnt):
    held = famfs.open(f"{mnt}/table").to_polars()
    for name in held.columns:
        held[name].sum()
    return held


def through_polars_views(mnt):
    held = famfs.open(f"{mnt}/views").to_polars()
    held["text"].max()
    return held


def warmed_up():
    """What a library takes for itself once is no part of the data's cost."""
    small = pa.table({c: np.ones(1000) for c in "abcd"})
    duckdb.connect(config={"threads": 1}).sql("select sum(a) from small").fetchall()
    pl.from_arrow(small)["a"].sum()
    text = pa.table({"t": pa.array(["a text that is longer than a view"]).cast(pa.string_view())})
    pl.from_arrow(text)["t"].max()
    pd.DataFrame({"a": pd.array([1.0], dtype=pd.ArrowDtype(pa.float64()))})["a"].sum()
    pa.compute.sum(small["a"])


def main():
    way, mnt, device = sys.argv[1:]
    warmed_up()
    before = smaps(device)[1]
    held = globals()[f"through_{way}"](mnt)
    print("ready", flush=True)
    sys.stdin.readline()
    ours, private = smaps(device)
    print(ours, private - before, flush=True)
    sys.stdin.readline()
    del held


main()
