"""DuckDB finds datasets by the names of variables, and scans them where they lie."""

from __future__ import annotations

import duckdb
import numpy as np
import pyarrow as pa
import pytest

import famfs

ROWS = 10_000


@pytest.fixture
def ds(mnt):
    columns = {
        "a": np.arange(ROWS),
        "b": np.arange(ROWS) % 7,
        "s": pa.array([f"text {i % 5}" for i in range(ROWS)]),
    }
    return famfs.open(famfs.publish(columns, f"{mnt}/t", batch_rows=3000))


def test_by_name(ds):
    total = [(sum(range(ROWS)),)]
    # Each scan asks the dataset anew, so that it can be repeated, and read twice in one query.
    for _ in range(3):
        assert duckdb.sql("select sum(a) from ds").fetchall() == total
    relation = duckdb.sql("select * from ds")
    assert len(relation.fetchall()) == len(relation.fetchall()) == ROWS
    assert duckdb.sql("select count(*) from ds x join ds y using (a)").fetchall() == [(ROWS,)]


def test_filters_and_projections(ds):
    found = duckdb.sql("select s, count(*) from ds where b = 3 and a < 70 group by s order by s")
    rows = [i for i in range(70) if i % 7 == 3]
    counts = {f"text {k}": sum(i % 5 == k for i in rows) for k in range(5)}
    assert found.fetchall() == sorted((s, n) for s, n in counts.items() if n)
    part = ds[1000:1010, ["b", "a"]]
    assert duckdb.sql("select * from part order by a desc limit 1").fetchall() == [(1009 % 7, 1009)]
    texts = ds["s"]
    assert duckdb.sql("select distinct s from texts order by s limit 1").fetchall() == [("text 0",)]


def test_joins_of_two(mnt, ds):
    names = famfs.open(
        famfs.publish({"b": np.arange(7), "name": pa.array(list("abcdefg"))}, f"{mnt}/names")
    )
    found = duckdb.sql(
        "select name, count(*) as n from ds join names using (b) group by name order by name"
    ).fetchall()
    assert found == [(name, len(range(i, ROWS, 7))) for i, name in enumerate("abcdefg")]


def test_files_of_a_directory(mnt):
    famfs.mkdir(f"{mnt}/runs")
    for i in range(3):
        famfs.publish({"a": np.arange(5) + 10 * i}, f"{mnt}/runs/{i}")
    runs = famfs.open(f"{mnt}/runs")
    assert duckdb.sql("select sum(a), count(*) from runs").fetchall() == [(180, 15)]


def test_registered_and_from_arrow(ds):
    with duckdb.connect() as connection:
        connection.register("t", ds)
        for _ in range(2):
            assert connection.sql("select max(a) from t").fetchall() == [(ROWS - 1,)]
        connection.unregister("t")
    relation = duckdb.from_arrow(ds)
    assert relation.max("a").fetchall() == [(ROWS - 1,)]
    assert relation.filter("b = 1").count("*").fetchall() == [(len(range(1, ROWS, 7)),)]


def test_what_is_no_table_says_so(mnt):
    numbers = famfs.open(famfs.publish(np.arange(3), f"{mnt}/a"))
    with pytest.raises(duckdb.Error, match="to_arrow"):
        duckdb.sql("select * from numbers")
    in_place = numbers.to_numpy()
    assert duckdb.sql("select sum(column0) from in_place").fetchall() == [(3,)]


def test_results_go_back_in(mnt, ds):
    result = duckdb.sql("select b, sum(a) as total from ds group by b order by b")
    back = famfs.open(famfs.publish(result, f"{mnt}/result"))
    assert back.shape == (7, 2)
    assert duckdb.sql("select sum(total) from back").fetchall() == [(sum(range(ROWS)),)]
