"""Spark: each type of Arrow, and filters that mean what Spark means by them."""

from __future__ import annotations

import datetime as dt
import decimal

import pyarrow as pa
import pytest
from pyspark.sql import datasource as ds
from spark_cluster import failing, numbers
from spark_types import DAY, DEC, NOON, TYPES, UTC

import famfs
import famfs.spark
from famfs.spark import _filters, _types


def plain(value):
    """A value as Python has it: what Spark and pyarrow wrap in types of their own."""
    if hasattr(value, "asDict"):
        return value.asDict()
    if isinstance(value, bytearray):
        return bytes(value)
    return value.bytes if hasattr(value, "bytes") and hasattr(value, "hex") else value


def test_each_type_of_arrow_in_spark(spark, at):
    famfs.publish(pa.table({name: array for name, (array, _) in TYPES.items()}), f"{at}/t")
    table = famfs.spark.read(f"{at}/t")
    with pytest.raises(famfs.Unsupported, match="'time0' is of times of day.*timeType"):
        table.to_dataframe()
    spark.conf.set("spark.sql.timeType.enabled", "true")
    # An instant is the same whatever the zone that it is shown in.
    spark.conf.set("spark.sql.session.timeZone", "America/New_York")
    try:
        frame = table.to_dataframe(partitions=1)
        told = {field.name: field.dataType.simpleString() for field in frame.schema}
        rows = frame.collect()
        zoned = frame.selectExpr("cast(instant_ns as string)", "cast(local_ns as string)").first()
    finally:
        spark.conf.unset("spark.sql.timeType.enabled")
        spark.conf.unset("spark.sql.session.timeZone")
    assert told == {name: kind for name, (_, kind) in TYPES.items()}
    assert tuple(zoned) == ("2026-01-02 07:00:00", "2026-01-02 12:00:00")
    for name, (array, _) in TYPES.items():
        expected = [plain(value) for value in array.to_pylist()]
        if name == "map":
            expected = [None if value is None else dict(value) for value in expected]
        found = [plain(row[name]) for row in rows]
        if name.startswith("instant"):
            # collect() makes local times of this process's zone.
            found = [value and value.astimezone(UTC) for value in found]
        assert found == expected, name


@pytest.mark.parametrize("part", [slice(0, 3), slice(1, 3), slice(1, 1)])
def test_slices_of_each_type(part):
    for name, (array, _) in TYPES.items():
        array = array[part]  # noqa: PLW2901
        target = _types.arrow_schema(_types.spark_schema(pa.schema({name: array.type}), "t"))
        made = _types.Columns(target, "t").column(array, target.field(0))
        made.validate(full=True)
        expected = [plain(value) for value in array.to_pylist()]
        assert list(map(plain, made.to_pylist())) == expected, name


@pytest.mark.parametrize(
    "kind",
    [
        pa.sparse_union([pa.field("x", pa.int8())]),
        pa.month_day_nano_interval(),
        pa.decimal256(40, 2),
        pa.decimal128(5, -2),
        pa.list_(pa.decimal256(40, 2)),
        pa.struct({"deep": pa.month_day_nano_interval()}),
    ],
)
def test_types_that_spark_has_not(spark, mnt, kind):
    empty = pa.table({"a": pa.array([1]), "b": pa.nulls(1, kind)})
    famfs.publish(empty, f"{mnt}/t")
    table = famfs.spark.read(f"{mnt}/t")
    with pytest.raises(famfs.Unsupported, match=r"column 'b'.*columns="):
        table.to_dataframe()
    # Python's side has them all.
    assert table.count() == 1
    assert famfs.spark.read(f"{mnt}/t", columns=["a"]).schema.names == ["a"]


def test_columns_of_one_name_are_taken_by_place(spark, at):
    famfs.publish(pa.table([[1], [2]], names=["a", "a"]), f"{at}/t")
    with pytest.raises(famfs.Unsupported, match="several columns are named 'a'"):
        famfs.spark.read(f"{at}/t").to_dataframe()
    assert famfs.spark.read(f"{at}/t", columns=[1]).to_dataframe().first().a == 2


def test_what_is_less_than_a_microsecond(spark, at):
    times = pa.array([1001, None], pa.timestamp("ns"))
    famfs.publish(
        pa.table({"t": times, "far": pa.array([2**60, None], pa.timestamp("s"))}), f"{at}/t"
    )
    table = famfs.spark.read(f"{at}/t", columns=["t"])
    with failing(famfs.Unsupported, "column 't'.*truncate=True"):
        table.to_dataframe().collect()
    cut = table.to_dataframe(truncate=True).orderBy("t").collect()
    assert [row.t for row in cut] == [None, dt.datetime(1970, 1, 1, microsecond=1)]  # noqa: DTZ001
    with failing(famfs.Unsupported, "column 'far'"):
        famfs.spark.read(f"{at}/t", columns=["far"]).to_dataframe().collect()


VALUES = pa.table(
    {
        "i": pa.array([1, 2, None, 3]),
        "f": pa.array([1.0, float("nan"), None, -0.0]),
        "s": pa.array(["abc", "", None, "xbc"]),
        "d": pa.array([DEC, None, decimal.Decimal(0), DEC], pa.decimal128(5, 2)),
        "l": pa.array([[1], None, [], [2]]),
    }
)
NAN = float("nan")
FILTERS = [
    ("i = 2", ds.EqualTo(("i",), 2)),
    ("i <> 2", ds.Not(ds.EqualTo(("i",), 2))),
    ("i <=> 2", ds.EqualNullSafe(("i",), 2)),
    ("not (i <=> 2)", ds.Not(ds.EqualNullSafe(("i",), 2))),
    ("i > 1", ds.GreaterThan(("i",), 1)),
    ("i >= 2", ds.GreaterThanOrEqual(("i",), 2)),
    ("i in (1, 3)", ds.In(("i",), (1, 3))),
    ("not (i in (1, 3))", ds.Not(ds.In(("i",), (1, 3)))),
    ("i is null", ds.IsNull(("i",))),
    ("l is not null", ds.IsNotNull(("l",))),
    ("f = 0", ds.EqualTo(("f",), 0.0)),
    ("f > 0", ds.GreaterThan(("f",), 0.0)),
    ("f <= 0", ds.LessThanOrEqual(("f",), 0.0)),
    ("not (f < 1)", ds.Not(ds.LessThan(("f",), 1.0))),
    ("f = double('NaN')", ds.EqualTo(("f",), NAN)),
    ("f <=> double('NaN')", ds.EqualNullSafe(("f",), NAN)),
    ("f < double('NaN')", ds.LessThan(("f",), NAN)),
    ("f <= double('NaN')", ds.LessThanOrEqual(("f",), NAN)),
    ("f > double('NaN')", ds.GreaterThan(("f",), NAN)),
    ("f >= double('NaN')", ds.GreaterThanOrEqual(("f",), NAN)),
    ("s like 'ab%'", ds.StringStartsWith(("s",), "ab")),
    ("s like '%bc'", ds.StringEndsWith(("s",), "bc")),
    ("not (s like '%b%')", ds.Not(ds.StringContains(("s",), "b"))),
    ("s < 'b'", ds.LessThan(("s",), "b")),
    ("d = 1.25", ds.EqualTo(("d",), DEC)),
]


def test_filters_mean_what_spark_means(spark):
    frame = spark.createDataFrame(VALUES).coalesce(1)
    expected = frame.selectExpr(
        *(f"{text} as f{i}" for i, (text, _) in enumerate(FILTERS))
    ).collect()
    for i, (text, filter_) in enumerate(FILTERS):
        column = VALUES[_filters.column_of(filter_)].combine_chunks()
        found = _filters.test_of(filter_, column.type)(column)
        assert found.to_pylist() == [row[i] for row in expected], text


@pytest.mark.parametrize(
    ("filter_", "kind"),
    [
        (ds.EqualTo(("i",), None), pa.int64()),
        (ds.EqualTo(("i",), 300), pa.int8()),
        (ds.EqualTo(("i",), "x"), pa.int64()),
        (ds.In(("i",), (1, None)), pa.int64()),
        (ds.In(("f",), (1.0, NAN)), pa.float64()),
        (ds.EqualTo(("l",), [1]), pa.list_(pa.int64())),
        (ds.StringContains(("b",), "x"), pa.binary()),
    ],
)
def test_filters_that_are_left_to_spark(filter_, kind):
    assert _filters.test_of(filter_, kind) is None
    assert _filters.column_of(ds.EqualTo(("a", "b"), 1)) is None


def test_filters_are_handed_down(spark, at, capsys):
    day = pa.array([DAY, None] * 50)
    instant = pa.array([NOON.replace(tzinfo=UTC)] * 100, pa.timestamp("ns", "Asia/Tokyo"))
    local = pa.array([NOON] * 100, pa.timestamp("s"))
    parts = pa.array([{"x": i} for i in range(100)])
    text = pa.array([str(i) for i in range(100)], pa.string_view())
    columns = {"i": pa.array(range(100), pa.uint8()), "day": day, "instant": instant, "text": text}
    famfs.publish(pa.table({**columns, "local": local, "part": parts}), f"{at}/t", batch_rows=30)
    frame = famfs.spark.read(f"{at}/t").to_dataframe(partitions=2).filter(
        "i > 50 and i <> 54 and day = date'2026-01-02' and text like '%4' and "
        "instant >= timestamp'2026-01-02 12:00:00 UTC' and "
        "local < timestamp_ntz'2026-01-02 12:00:01'"
    )  # fmt: skip
    frame.explain()
    assert "Filter (" not in capsys.readouterr().out
    assert sorted(row.i for row in frame.select("i").collect()) == [64, 74, 84, 94]
    rest = frame.filter("part.x = 74 or i = 3")
    rest.explain()
    assert "Filter (" in capsys.readouterr().out
    assert [row.text for row in rest.collect()] == ["74"]


def test_a_session_that_hands_no_filters_down_reads_too(spark, at):
    famfs.publish(numbers(), f"{at}/t")
    spark.conf.unset("spark.sql.python.filterPushdown.enabled")
    assert spark.conf.get("spark.sql.python.filterPushdown.enabled") == "false"
    spark.dataSource.register(famfs.spark.FamfsDataSource)
    try:
        assert spark.read.format("famfs").load(f"{at}/t").filter("a < 7").count() == 7
    finally:
        famfs.spark.register(spark)
