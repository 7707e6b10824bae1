"""Types: what Spark has for each of Arrow's, and arrays made into it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql.pandas.types import from_arrow_schema, to_arrow_schema
from pyspark.sql.types import StructType

from famfs.errors import Unsupported

if TYPE_CHECKING:
    from collections.abc import Iterable

ZONE = "UTC"
"""The zone that Spark expects instants in, of those who hand it Arrow."""

_PRECISION = 38
"""Digits that Spark's decimals have at most."""

_WIDER = {
    pa.uint8(): pa.int16(),
    pa.uint16(): pa.int32(),
    pa.uint32(): pa.int64(),
    pa.uint64(): pa.decimal128(20, 0),
    pa.float16(): pa.float32(),
    pa.large_string(): pa.string(),
    pa.string_view(): pa.string(),
    pa.large_binary(): pa.binary(),
    pa.binary_view(): pa.binary(),
    pa.date64(): pa.date32(),
    pa.time32("s"): pa.time64("ns"),
    pa.time32("ms"): pa.time64("ns"),
    pa.time64("us"): pa.time64("ns"),
}
_SAME = {
    pa.null(),
    pa.bool_(),
    pa.int8(),
    pa.int16(),
    pa.int32(),
    pa.int64(),
    pa.float32(),
    pa.float64(),
    pa.string(),
    pa.binary(),
    pa.date32(),
    pa.time64("ns"),
}


def spark_schema(schema: pa.Schema, path: str) -> StructType:
    """Finds Spark's types for a table's.

    Args:
        schema: The table's.
        path: The table's path, for the message.

    Returns:
        Spark's schema.

    Raises:
        Unsupported: Spark has no such type, or several columns have one name.

    Example:
        >>> import pyarrow as pa
        >>> from famfs.spark import _types
        >>> _types.spark_schema(pa.schema({"a": pa.uint8()}), "t").simpleString()
        'struct<a:smallint>'
    """
    twice = sorted({name for name in schema.names if schema.names.count(name) > 1})
    if twice:
        raise Unsupported(
            f"{path}: several columns are named {twice[0]!r}, and Spark finds columns by their "
            "names: famfs.spark.read(path, columns=[...]) takes some of them, by place"
        )
    fields = []
    for field in schema:
        try:
            fields.append(_field(field))
        except Unsupported as error:
            raise Unsupported(
                f"{path}: column {field.name!r}: {error}; leave it out by "
                "famfs.spark.read(path, columns=[...])"
            ) from None
    made: StructType = from_arrow_schema(pa.schema(fields))
    return made


def arrow_schema(schema: StructType) -> pa.Schema:
    """Makes the schema of Arrow that Spark takes rows of its own schema in.

    Args:
        schema: Spark's.

    Returns:
        Arrow's.

    Example:
        >>> import pyarrow as pa
        >>> from famfs.spark import _types
        >>> spark = _types.spark_schema(pa.schema({"a": pa.large_string()}), "t")
        >>> _types.arrow_schema(spark).field("a").type
        DataType(string)
    """
    return to_arrow_schema(schema, timezone=ZONE)


def same_types(one: StructType, other: StructType) -> str | None:
    """Compares two schemas, as rows of one are to be rows of the other.

    Args:
        one: The first.
        other: The second.

    Returns:
        What is different; None where they have the same names and types.

    Example:
        >>> import pyarrow as pa
        >>> from famfs.spark import _types
        >>> small, large = (
        ...     _types.spark_schema(pa.schema({"a": kind}), "t") for kind in (pa.int8(), pa.int64())
        ... )
        >>> _types.same_types(small, large)
        "'a' is tinyint and not bigint"
    """
    if one.names != other.names:
        return f"{one.names} and not {other.names}"
    differs = [
        f"{a.name!r} is {a.dataType.simpleString()} and not {b.dataType.simpleString()}"
        for a, b in zip(one, other, strict=True)
        if a.dataType.simpleString() != b.dataType.simpleString()
    ]
    return "; ".join(differs) or None


def _field(field: pa.Field) -> pa.Field:
    # Of what is said of a field, Spark knows its own variants by this alone.
    kept = {b"variant": b"true"} if (field.metadata or {}).get(b"variant") == b"true" else None
    return pa.field(field.name, _plain(field.type), field.nullable, metadata=kept)


def _plain(kind: pa.DataType) -> pa.DataType:  # noqa: C901, PLR0911 - families of types
    """The type of those that Spark has which has all values of another one."""
    kind = _WIDER.get(kind, kind)
    if kind in _SAME:
        return kind
    if isinstance(kind, pa.BaseExtensionType):
        return pa.bool_() if kind.extension_name == "arrow.bool8" else _plain(kind.storage_type)
    is_ = pa.types
    if is_.is_dictionary(kind) or is_.is_run_end_encoded(kind):
        return _plain(kind.value_type)
    if is_.is_fixed_size_binary(kind):
        return pa.binary()
    if is_.is_decimal(kind):
        return _decimal(kind)
    if is_.is_timestamp(kind):
        return pa.timestamp("us", None if kind.tz is None else ZONE)
    if is_.is_duration(kind):
        return pa.duration("us")
    if is_.is_map(kind):
        return pa.map_(_field(kind.key_field), _field(kind.item_field))
    if is_.is_struct(kind):
        return pa.struct([_field(field) for field in kind])
    if hasattr(kind, "value_field"):
        return pa.list_(_field(kind.value_field))
    raise Unsupported(f"Spark has no type for {kind}")


def _decimal(kind: pa.DataType) -> pa.DataType:
    if kind.precision > _PRECISION or not 0 <= kind.scale <= kind.precision:
        raise Unsupported(
            f"Spark's decimals have {_PRECISION} digits at most, some of them behind the point, "
            f"and {kind} has not"
        )
    return pa.decimal128(kind.precision, kind.scale)


class Columns:
    """Makes batches of a table into those that Spark takes.

    Example:
        >>> import pyarrow as pa
        >>> from famfs.spark import _types
        >>> spark = _types.spark_schema(pa.schema({"a": pa.uint8()}), "t")
        >>> columns = _types.Columns(_types.arrow_schema(spark), "t")
        >>> columns.batch(pa.record_batch({"a": pa.array([1], pa.uint8())})).schema.types
        [DataType(int16)]
    """

    def __init__(self, schema: pa.Schema, path: str, *, truncate: bool = False) -> None:
        """What to make, of which table; and whether what is less than a microsecond is dropped."""
        self.schema = schema
        self._path = path
        self._truncate = truncate

    def batch(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Makes one batch, whose columns are in the schema's order.

        Args:
            batch: The batch.

        Returns:
            The batch in Spark's types; columns that have them already are not copied.

        Raises:
            Unsupported: A value has no place in Spark's type.
        """
        columns = zip(batch.columns, self.schema, strict=True)
        made = [self.column(column, field) for column, field in columns]
        return pa.RecordBatch.from_arrays(made, schema=self.schema)

    def column(self, column: pa.Array, field: pa.Field) -> pa.Array:
        """Makes one column.

        Args:
            column: The column.
            field: What to make of it.

        Returns:
            The column in the field's type.

        Raises:
            Unsupported: A value has no place there, or it can't be made.
        """
        try:
            made = self._made(column, field.type)
        except (pa.ArrowException, IndexError) as error:
            hint = "option truncate=True drops what is less than a microsecond"
            raise Unsupported(
                f"{self._path}: column {field.name!r}, {column.type}, can't be had as "
                f"{field.type}: {error}; {hint if 'lose' in str(error) else 'leave it out'}, or "
                "take it by famfs.spark.map_batches"
            ) from error
        if not field.nullable and made.null_count:
            raise Unsupported(
                f"{self._path}: column {field.name!r} has nulls, and the table says that it has "
                "none: let it be nullable"
            )
        return made

    def _made(self, array: pa.Array, kind: pa.DataType) -> pa.Array:  # noqa: PLR0911
        is_ = pa.types
        if is_.is_time64(kind) and kind.unit == "ns":
            # Spark's times of day end at microseconds, and are nanoseconds in Arrow.
            return self._cast(array, pa.time64("us")).cast(kind)
        if array.type.equals(kind, check_metadata=True):
            return array
        if isinstance(array, pa.ExtensionArray):
            return self._made(array.storage, kind)
        if is_.is_run_end_encoded(array.type):
            return self._made(pc.run_end_decode(array), kind)
        if is_.is_dictionary(array.type) and not is_.is_dictionary(kind):
            return self._made(array.dictionary, kind).take(array.indices)
        if is_.is_map(kind) and is_.is_map(array.type):
            return self._mapping(array, kind)
        if is_.is_list(kind) and hasattr(array.type, "value_field"):
            return self._list(array, kind)
        if is_.is_struct(kind) and is_.is_struct(array.type):
            parts = [self._made(array.field(i), field.type) for i, field in enumerate(kind)]
            mask = array.is_null() if array.null_count else None
            return pa.StructArray.from_arrays(parts, fields=list(kind), mask=mask)
        return self._cast(array, kind)

    def _cast(self, array: pa.Array, kind: pa.DataType) -> pa.Array:
        options = pc.CastOptions(kind, allow_time_truncate=self._truncate)
        return array.cast(options=options)

    def _list(self, array: pa.Array, kind: pa.DataType) -> pa.Array:
        # By lengths and items, which all kinds of lists have: a cast of views is not valid.
        lengths = pc.fill_null(pc.list_value_length(array), 0).cast(pa.int64())
        ends = pc.cumulative_sum_checked(lengths).cast(pa.int32())
        offsets = pa.concat_arrays([pa.array([0], pa.int32()), ends])
        mask = array.is_null() if array.null_count else None
        values = self._made(array.flatten(), kind.value_type)
        return pa.ListArray.from_arrays(offsets, values, type=kind, mask=mask)

    def _mapping(self, array: pa.Array, kind: pa.DataType) -> pa.Array:
        array = _from_zero(array)
        mask = array.is_null() if array.null_count else None
        keys = self._made(array.keys, kind.key_type)
        items = self._made(array.items, kind.item_type)
        return pa.MapArray.from_arrays(array.offsets, keys, items, type=kind, mask=mask)


def _from_zero(array: pa.Array) -> pa.Array:
    """The same, where it is a slice in memory of its own: pyarrow makes no lists of slices."""
    return pa.concat_arrays([array, array[:0]]) if array.offset else array


def selected(schema: StructType, names: Iterable[str]) -> StructType:
    """Takes some columns of a schema.

    Args:
        schema: The schema.
        names: The columns' names; all are in it.

    Returns:
        The schema of them, in their order.

    Example:
        >>> import pyarrow as pa
        >>> from famfs.spark import _types
        >>> both = _types.spark_schema(pa.schema({"a": pa.int8(), "b": pa.int8()}), "t")
        >>> _types.selected(both, ["b"]).names
        ['b']
    """
    return StructType([schema[name] for name in names])
