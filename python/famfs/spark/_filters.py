"""Filters that Spark hands down, evaluated by pyarrow on the batches before they leave Python.

A filter that is taken is not evaluated again, so it has to mean exactly what Spark means: null is
neither true nor false, and NaN equals itself and is larger than any other number.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql.datasource import (
    EqualNullSafe,
    EqualTo,
    Filter,
    GreaterThan,
    GreaterThanOrEqual,
    In,
    IsNotNull,
    IsNull,
    LessThan,
    LessThanOrEqual,
    Not,
    StringContains,
    StringEndsWith,
    StringStartsWith,
)

Test: TypeAlias = Callable[[Any], Any]
"""Of a column, which rows are meant: booleans, null where that can't be said."""

_ALONE: dict[type[Filter], Test] = {IsNull: pc.is_null, IsNotNull: pc.is_valid}
_COMPARE = {
    EqualTo: pc.equal,
    EqualNullSafe: pc.equal,
    GreaterThan: pc.greater,
    GreaterThanOrEqual: pc.greater_equal,
    LessThan: pc.less,
    LessThanOrEqual: pc.less_equal,
}
_TEXT = {
    StringStartsWith: pc.starts_with,
    StringEndsWith: pc.ends_with,
    StringContains: pc.match_substring,
}


def column_of(filter: Filter) -> str | None:  # noqa: A002 - what Spark calls it
    """Finds the column that a filter is about.

    Args:
        filter: The filter.

    Returns:
        Its name; None where it is about a part of one.

    Example:
        >>> from famfs.spark import _filters
        >>> from pyspark.sql.datasource import EqualTo, Not
        >>> _filters.column_of(Not(EqualTo(("a",), 1)))
        'a'
    """
    while isinstance(filter, Not):
        filter = filter.child  # noqa: A001
    path: tuple[str, ...] = getattr(filter, "attribute", ())
    return path[0] if len(path) == 1 else None


def test_of(filter: Filter, kind: pa.DataType) -> Test | None:  # noqa: A002, PLR0911
    """Makes what tells which rows a filter lets through.

    Args:
        filter: The filter.
        kind: The type of its column, one of those that Spark has.

    Returns:
        A function of the column; None where Spark is to evaluate the filter by itself.

    Example:
        >>> import pyarrow as pa
        >>> from famfs.spark import _filters
        >>> from pyspark.sql.datasource import GreaterThan
        >>> test = _filters.test_of(GreaterThan(("a",), 1), pa.int64())
        >>> test(pa.array([1, 2, None])).to_pylist()
        [False, True, None]
    """
    if isinstance(filter, Not):
        inner = test_of(filter.child, kind)
        return None if inner is None else lambda column: pc.invert(inner(column))
    if type(filter) in _ALONE:
        return _ALONE[type(filter)]
    if pa.types.is_nested(kind) or pa.types.is_null(kind):
        return None
    if isinstance(filter, In):
        return _among(filter.value, kind)
    value = _value(getattr(filter, "value", None), kind)
    if value is None:
        return None
    text = _TEXT.get(type(filter))
    if text is not None:
        pattern = value.as_py()
        return (lambda column: text(column, pattern)) if pa.types.is_string(kind) else None
    compare = _COMPARE.get(type(filter))
    if compare is None:
        return None
    if pa.types.is_floating(kind):
        compare = _of_floats(compare)
    if isinstance(filter, EqualNullSafe):
        return lambda column: pc.fill_null(compare(column, value), fill_value=False)
    return lambda column: compare(column, value)


def _value(value: object, kind: pa.DataType) -> pa.Scalar | None:
    """A literal in the column's type; None where it is null, or has no place there."""
    if value is None:
        return None
    try:
        made = pa.scalar(value, kind)
    except (pa.ArrowException, OverflowError, TypeError, ValueError):
        return None
    return made if made.is_valid else None


def _among(values: tuple[Any, ...], kind: pa.DataType) -> Test | None:
    wanted = [_value(value, kind) for value in values]
    if pa.types.is_floating(kind) or any(value is None for value in wanted):
        return None
    among = pa.array([value.as_py() for value in wanted if value is not None], kind)

    def test(column: pa.Array) -> pa.Array:
        found = pc.is_in(column, among)
        return pc.if_else(pc.is_null(column), pa.scalar(None, pa.bool_()), found)

    return test


def _of_floats(compare: Callable[..., Any]) -> Callable[..., Any]:
    """The comparison as Spark has it, where NaN is the largest number and equal to itself."""

    def compared(column: pa.Array, value: pa.Scalar) -> pa.Array:
        is_nan = pc.is_nan(column)
        if value.as_py() == value.as_py():  # NaN alone is not
            if compare in {pc.greater, pc.greater_equal}:
                return pc.or_(is_nan, compare(column, value))
            return compare(column, value)
        if compare is pc.less:
            return pc.invert(is_nan)
        if compare is pc.greater:
            return pc.and_(is_nan, pa.scalar(False))  # noqa: FBT003 - a value
        if compare is pc.less_equal:
            return pc.or_(is_nan, pa.scalar(True))  # noqa: FBT003
        return is_nan

    return compared
