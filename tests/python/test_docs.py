"""docs/datasets.md: every cell of its table is tried."""

from __future__ import annotations

import re
from pathlib import Path

import datasets
import duckdb
import ml_dtypes
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import famfs

PAGE = Path(__file__).parents[2] / "docs" / "datasets.md"
NAMES = {"np": np, "pa": pa, "pd": pd, "pl": pl, "pickle": __import__("pickle")}
ROWS = 1000
THINGS = {
    "table": {"a": np.arange(ROWS), "b": np.ones(ROWS), "s": np.array(["x"] * ROWS)},
    "column": None,
    "array": np.arange(ROWS),
    "bytes": b"x" * ROWS,
}


def table(text):
    lines = [line for line in text.splitlines() if line.startswith("|")]
    head, _, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [head, *rows]


def things():
    head, *rows = table(PAGE.read_text().partition("## What can be published")[2])
    assert head[1:3] == ["for example", "kind"]
    for _, examples, kind, *_ in rows:
        for example in re.findall(r"`([^`]+)`", examples):
            yield example, kind


def cells():
    head, *rows = table(PAGE.read_text().partition("## What can be published")[0])
    assert head == ["accessor", *THINGS]
    for accessors, *row in rows:
        for accessor in re.findall(r"`([^`]+)`", accessors):
            for kind, cell in zip(head[1:], row, strict=True):
                yield accessor, kind, cell


def addresses(found, *, numbers):
    """Where the values of what was handed out lie."""
    if isinstance(found, np.ndarray):
        yield found.__array_interface__["data"][0]
    elif isinstance(found, bytes | memoryview):
        yield np.frombuffer(memoryview(found).cast("B"), np.uint8).ctypes.data
    elif isinstance(found, pa.Array):
        yield from (buffer.address for buffer in found.buffers() if buffer is not None)
    elif isinstance(found, pd.Series) and isinstance(found.dtype, pd.ArrowDtype):
        yield from addresses(pa.chunked_array(found.array.__arrow_array__()), numbers=numbers)
    elif isinstance(found, pd.Series | pl.Series):
        yield from addresses(found.to_numpy(), numbers=numbers)
    else:
        for part in parts(found, numbers=numbers):
            yield from addresses(part, numbers=numbers)


def parts(found, *, numbers):
    """The chunks of a column, the columns of a table; of a frame, those in question."""
    if isinstance(found, pa.ChunkedArray):
        return found.chunks
    if isinstance(found, pa.Table | pa.RecordBatch):
        return found.columns
    if isinstance(found, datasets.Dataset):
        return [found.data.table]
    return [found[name] for name in found.columns if name in {"a", "b"} or not numbers]


@pytest.fixture(scope="module")
def volume():
    with famfs.embedded(size="64MiB") as mnt:
        for kind, thing in THINGS.items():
            if thing is not None:
                famfs.publish(thing, f"{mnt}/{kind}")
        yield mnt


def dataset_of(volume, kind):
    if kind == "column":
        return famfs.open(f"{volume}/table")["a"]
    return famfs.open(f"{volume}/{kind}")


@pytest.mark.parametrize(("accessor", "kind", "cell"), list(cells()))
def test_the_table_of_accessors_is_true(volume, inside, accessor, kind, cell):
    dataset = dataset_of(volume, kind)
    assert dataset.kind == kind
    word, _, way = cell.partition(", ")
    errors = {
        "Unsupported": famfs.Unsupported,
        "TypeError": TypeError,
        "ArrowInvalid": pa.ArrowInvalid,
        "SchemaError": pl.exceptions.SchemaError,
    }
    if word in errors:
        error = errors[word]
        with pytest.raises(error) as caught:
            eval(accessor, NAMES, {"d": dataset})
        assert type(caught.value) is error
        return
    found = eval(accessor, NAMES, {"d": dataset})
    assert type(found).__name__ == word
    assert way in {"", "copy", "in place", "numbers in place"}
    if way:
        places = list(addresses(found, numbers=way.startswith("numbers")))
        assert places
        assert {inside(volume, place, 1) for place in places} == {way != "copy"}


def test_every_accessor_is_in_the_table():
    told = " ".join(accessor for accessor, _, _ in cells())
    public = {name for name in dir(famfs.Dataset) if not name.startswith("_")}
    missing = {name for name in public if f"d.{name}" not in told}
    # What needs torch is tried where torch is, and what needs jax where jax is.
    assert missing == {"close", "to_jax", "to_torch"}


@pytest.mark.parametrize(("example", "kind"), list(things()))
def test_what_can_be_published(mnt, example, kind):
    names = {
        **NAMES,
        "datasets": datasets,
        "duckdb": duckdb,
        "famfs": famfs,
        "ml_dtypes": ml_dtypes,
        "mnt": mnt,
    }
    thing = eval(example, names)
    assert famfs.open(famfs.publish(thing, f"{mnt}/x")).kind == kind
    assert famfs.stat(f"{mnt}/x").kind == kind
