"""A column of each type of Arrow that Spark has, and what Spark calls it."""

from __future__ import annotations

import datetime as dt
import decimal

import numpy as np
import pyarrow as pa

NOON = dt.datetime.fromisoformat("2026-01-02 12:00")
UTC = dt.UTC
DAY = dt.date(2026, 1, 2)
DEC = decimal.Decimal("1.25")
LONG = "a text that is longer than twelve bytes"


def runs(values):
    return pa.RunEndEncodedArray.from_arrays(pa.array([1, 2, 3], pa.int32()), values)


# Of each type: the array, what Spark calls it, and the first value there where it is not the same.
TYPES = {
    "bool": (pa.array([True, None, False]), "boolean"),
    **{f"int{n}": (pa.array([1, None, -1], f"int{n}"), name) for n, name in
       {8: "tinyint", 16: "smallint", 32: "int", 64: "bigint"}.items()},
    **{f"uint{n}": (pa.array([2**n - 1, None, 0], f"uint{n}"), name) for n, name in
       {8: "smallint", 16: "int", 32: "bigint", 64: "decimal(20,0)"}.items()},
    "float16": (pa.array([np.float16(1.5), None, np.float16(2)], pa.float16()), "float"),
    "float32": (pa.array([1.5, None, 2], pa.float32()), "float"),
    "float64": (pa.array([1.5, None, 2]), "double"),
    **{f"text{i}": (pa.array([LONG, None, ""], kind), "string") for i, kind in
       enumerate([pa.string(), pa.large_string(), pa.string_view()])},
    **{f"bytes{i}": (pa.array([b"abc", None, b"xyz"], kind), "binary") for i, kind in
       enumerate([pa.binary(), pa.large_binary(), pa.binary_view(), pa.binary(3)])},
    "date32": (pa.array([DAY, None, DAY]), "date"),
    "date64": (pa.array([DAY, None, DAY], pa.date64()), "date"),
    **{f"local_{u}": (pa.array([NOON, None, NOON], pa.timestamp(u)), "timestamp_ntz")
       for u in ("s", "ms", "us", "ns")},
    **{f"instant_{u}": (pa.array([NOON.replace(tzinfo=UTC), None, None],
                                 pa.timestamp(u, "Europe/Berlin")), "timestamp")
       for u in ("s", "ms", "us", "ns")},
    **{f"duration_{u}": (pa.array([dt.timedelta(seconds=5), None, dt.timedelta(0)], pa.duration(u)),
                         "interval day to second") for u in ("s", "ms", "us", "ns")},
    **{f"time{i}": (pa.array([dt.time(1, 2, 3), None, dt.time(0)], kind), "time(6)")
       for i, kind in
       enumerate([pa.time32("s"), pa.time32("ms"), pa.time64("us"), pa.time64("ns")])},
    "decimal32": (pa.array([DEC, None, DEC], pa.decimal32(5, 2)), "decimal(5,2)"),
    "decimal64": (pa.array([DEC, None, DEC], pa.decimal64(15, 2)), "decimal(15,2)"),
    "decimal128": (pa.array([DEC, None, DEC], pa.decimal128(38, 2)), "decimal(38,2)"),
    "decimal256": (pa.array([DEC, None, DEC], pa.decimal256(38, 2)), "decimal(38,2)"),
    **{f"list{i}": (pa.array([[1, None], None, []], kind), "array<bigint>") for i, kind in
       enumerate([pa.list_(pa.int64()), pa.large_list(pa.int64()), pa.list_view(pa.int64()),
                  pa.large_list_view(pa.int64())])},
    "fixed_list": (pa.array([[1.5, 2], None, [3, 4]], pa.list_(pa.float32(), 2)), "array<float>"),
    "list_of_dictionary": (pa.array([["x", "y"], None, ["x"]],
                                    pa.list_(pa.dictionary(pa.int8(), pa.string()))),
                           "array<string>"),
    "struct": (pa.array([{"a": 1, "b": [LONG]}, None, {"a": None, "b": None}],
                        pa.struct({"a": pa.uint16(), "b": pa.list_(pa.string_view())})),
               "struct<a:int,b:array<string>>"),
    "map": (pa.array([[("k", 1)], None, []], pa.map_(pa.string(), pa.uint8())),
            "map<string,smallint>"),
    "dictionary": (pa.array([LONG, None, "b"]).dictionary_encode(), "string"),
    "dictionary_of_views": (pa.DictionaryArray.from_arrays(
        pa.array([0, None, 1], pa.int8()), pa.array([LONG, "b"], pa.string_view())), "string"),
    "runs": (runs(pa.array([1, None, 2])), "bigint"),
    "null": (pa.nulls(3), "void"),
    "uuid": (pa.array([b"0123456789abcdef", None, None], pa.uuid()), "binary"),
    "bool8": (pa.ExtensionArray.from_storage(pa.bool8(), pa.array([1, None, 0], pa.int8())),
              "boolean"),
}  # fmt: skip
