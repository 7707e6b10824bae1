"""Frames of other libraries over a dataset's memory: what each can hold in place, and the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from famfs._arrow import pyarrow
from famfs.errors import Unsupported

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator


def to_pandas(
    table: Any,  # noqa: ANN401
    *,
    copy: bool | None,
    dtype_backend: str | None,
    arrow_too: Collection[str] = (),
) -> Any:  # noqa: ANN401
    """Makes a pandas frame of a table.

    A column stays in place as a NumPy array where it is numbers or times without nulls in one
    batch. Others stay in place as Arrow columns (`pandas.ArrowDtype`), unless the table was a
    pandas frame that had them as something else: then they are that again.

    Args:
        table: A `pyarrow.Table`.
        copy: False makes a column that would be copied an error; True copies all.
        dtype_backend: "pyarrow" makes every column an Arrow column.
        arrow_too: Columns of numbers that are Arrow's, though none is null here: the table is a
            part of one where some are.

    Returns:
        The `pandas.DataFrame`.

    Raises:
        Unsupported: `copy` is False and a column would be copied, or there is no such backend.

    Example:
        >>> from famfs import _frames
        >>> import pyarrow as pa
        >>> table = pa.table({"a": [1, 2], "b": ["x", None]})
        >>> _frames.to_pandas(table, copy=False, dtype_backend=None)["a"].dtype
        dtype('int64')
    """
    try:
        import pandas as pd
    except ImportError as error:
        raise Unsupported("to_pandas() needs pandas: pip install 'famfs[pandas]'") from error
    if dtype_backend not in {None, "pyarrow"}:
        raise Unsupported(f"dtype_backend={dtype_backend!r}: it is 'pyarrow', or None")
    index = index_of(table.schema)
    arrow = []
    for i, field in enumerate(table.schema):
        if field.name in index:
            continue
        if dtype_backend is not None or _is_arrow(table, i, arrow_too):
            arrow.append(i)
        elif copy is False and not _in_place(field.type, table.column(i)):
            raise Unsupported(
                f"column {field.name!r} ({field.type}) would be copied, since it was a pandas "
                "column of another kind or lies in several batches: "
                "to_pandas(dtype_backend='pyarrow') has every column in place"
            )
    frame = _mixed(pd, table, arrow) if arrow else table.to_pandas(split_blocks=True)
    return frame.copy() if copy else frame


def _mixed(pd: Any, table: Any, arrow: list[int]) -> Any:  # noqa: ANN401
    """A frame whose columns `arrow` are Arrow's; pyarrow makes the others, and the index."""
    table = _without_arrow_types(table)
    rest = table.select([i for i in range(table.num_columns) if i not in set(arrow)])
    frame = rest.to_pandas(split_blocks=True)
    others: Iterator[Any] = (frame.iloc[:, i].array for i in range(frame.shape[1]))
    index = index_of(table.schema)
    kept = [i for i in range(table.num_columns) if table.schema.field(i).name not in index]
    if not rest.num_columns and not _metadata(table.schema):
        frame.index = pd.RangeIndex(table.num_rows)
    chosen = set(arrow)
    columns = {
        i: pd.arrays.ArrowExtensionArray(table.column(i)) if i in chosen else next(others)
        for i in kept
    }
    whole = pd.DataFrame(columns, index=frame.index, copy=False)
    if _metadata(table.schema):
        # Names that are no text, or have levels: the metadata says so, and pyarrow reads it.
        whole.columns = table.schema.empty_table().to_pandas().columns
    else:
        whole.columns = [table.schema.field(i).name for i in kept]
    return whole


def _without_arrow_types(table: Any) -> Any:  # noqa: ANN401
    """The table without what its metadata says of Arrow types, not all of which pandas reads."""
    metadata = _metadata(table.schema)
    if not metadata:
        return table
    import json

    columns = [
        entry | {"numpy_type": "object"} if _is_arrow_type(entry.get("numpy_type")) else entry
        for entry in metadata.get("columns", [])
    ]
    pandas = json.dumps(metadata | {"columns": columns}).encode()
    return table.replace_schema_metadata({**table.schema.metadata, b"pandas": pandas})


def _is_arrow_type(numpy_type: object) -> bool:
    return str(numpy_type).endswith("[pyarrow]")


def _metadata(schema: Any) -> dict[str, Any]:  # noqa: ANN401
    found = schema.pandas_metadata
    return found if isinstance(found, dict) else {}


def index_of(schema: Any) -> set[str]:  # noqa: ANN401
    """Finds the fields that are the index of a pandas frame.

    Args:
        schema: A `pyarrow.Schema`.

    Returns:
        Their names; none where there is no metadata, or the index is a range.

    Example:
        >>> import pandas as pd, pyarrow as pa
        >>> frame = pd.DataFrame({"a": [1]}, index=pd.Index([5], name="i"))
        >>> index_of(pa.Schema.from_pandas(frame))
        {'i'}
    """
    columns = _metadata(schema).get("index_columns", [])
    return {name for name in columns if isinstance(name, str)}


def _is_arrow(table: Any, at: int, arrow_too: Collection[str]) -> bool:  # noqa: ANN401
    """Whether a column is Arrow's in the frame: not NumPy's, and not what pandas had otherwise."""
    field = table.schema.field(at)
    if _is_plain(field.type) and field.name not in arrow_too and not table.column(at).null_count:
        return False
    if pyarrow().types.is_dictionary(field.type):
        return False
    was = {
        entry.get("field_name"): entry.get("numpy_type")
        for entry in _metadata(table.schema).get("columns", [])
    }
    return field.name not in was or _is_arrow_type(was[field.name])


def _is_plain(kind: Any) -> bool:  # noqa: ANN401
    """Whether values of a type lie in memory as NumPy's do, as pandas keeps them."""
    types = pyarrow().types
    return bool(
        types.is_integer(kind)
        or types.is_floating(kind)
        or types.is_timestamp(kind)
        or types.is_duration(kind)
    )


def _in_place(kind: Any, column: Any) -> bool:  # noqa: ANN401
    types = pyarrow().types
    if _is_plain(kind):
        return not column.null_count and column.num_chunks <= 1
    return bool(types.is_large_string(kind) or types.is_string_view(kind))


def to_polars(data: Any, name: str | None) -> Any:  # noqa: ANN401
    """Makes a polars frame of a table, or a series of a column.

    Args:
        data: A `pyarrow.Table` or `pyarrow.ChunkedArray`.
        name: The column's.

    Returns:
        The frame or series.

    Raises:
        Unsupported: polars is missing or has not a column's type, or several columns have one name.

    Example:
        >>> from famfs import _frames
        >>> import pyarrow as pa
        >>> _frames.to_polars(pa.table({"a": [1, 2]}), None).shape
        (2, 1)
    """
    try:
        import polars as pl
    except ImportError as error:
        raise Unsupported("to_polars() needs polars: pip install 'famfs[polars]'") from error
    if name is None:
        _refuse_twins(data.column_names)
    try:
        made: Any = pl.from_arrow(data)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        raise Unsupported(
            f"polars has not all of these types: {error}; d[[...]] leaves columns out, and "
            "to_arrow() has them all"
        ) from error
    return made if name is None else made.alias(name)


def _refuse_twins(names: list[str]) -> None:
    """Refuses several columns of one name, which polars doesn't have."""
    seen: set[str] = set()
    for at, name in enumerate(names):
        if name in seen:
            raise Unsupported(
                f"polars has one column of a name, and {name!r} is here again as column {at}: "
                "d[:, [...]] chooses columns by their places, to_arrow().rename_columns([...]) "
                "renames them"
            )
        seen.add(name)
