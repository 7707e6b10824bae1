"""Frames of other libraries over a dataset's memory: what each can hold in place, and the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from famfs import _native
from famfs._arrow import pyarrow, with_pandas
from famfs.convert.frames import INTERVALS
from famfs.errors import Unsupported

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping


def to_pandas(
    table: Any,  # noqa: ANN401
    *,
    copy: bool | None,
    dtype_backend: str | None,
    arrow_too: Collection[str] = (),
    rows: Any = None,  # noqa: ANN401
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
        rows: The frame's index, where the table's own metadata isn't all that is known of it: see
            `range_of`.

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
    intervals = {} if dtype_backend else _intervals(table.schema)
    arrow = []
    for i, field in enumerate(table.schema):
        if field.name in index or (i in intervals and copy is not False):
            continue
        if dtype_backend is not None or _is_arrow(table, i, arrow_too):
            arrow.append(i)
        elif copy is False and not _in_place(field.type, table.column(i)):
            raise Unsupported(
                f"column {field.name!r} ({field.type}) would be copied, since it was a pandas "
                "column of another kind or lies in several batches: "
                "to_pandas(dtype_backend='pyarrow') has every column in place"
            )
    own = {i: _categories(pd, table.column(i), closed) for i, closed in intervals.items()}
    own |= {i: pd.arrays.ArrowExtensionArray(table.column(i)) for i in arrow}
    frame = _mixed(pd, table, own) if own else table.to_pandas(split_blocks=True)
    if rows is not None:
        frame.index = rows
    if _metadata(table.schema):
        frame.columns = _labels(frame.columns, table.schema)
    return frame.copy() if copy else frame


def _mixed(pd: Any, table: Any, own: Mapping[int, Any]) -> Any:  # noqa: ANN401
    """A frame with columns of `own` making; pyarrow makes the others, and the index."""
    table = _without_arrow_types(table)
    rest = table.select([i for i in range(table.num_columns) if i not in own])
    frame = rest.to_pandas(split_blocks=True)
    others: Iterator[Any] = (frame.iloc[:, i].array for i in range(frame.shape[1]))
    index = index_of(table.schema)
    kept = [i for i in range(table.num_columns) if table.schema.field(i).name not in index]
    if not rest.num_columns and not _metadata(table.schema):
        frame.index = pd.RangeIndex(table.num_rows)
    columns = {i: own[i] if i in own else next(others) for i in kept}
    whole = pd.DataFrame(columns, index=frame.index, copy=False)
    if _metadata(table.schema):
        # Names that are no text, or have levels: the metadata says so, and pyarrow reads it.
        whole.columns = table.schema.empty_table().to_pandas().columns
    else:
        whole.columns = [table.schema.field(i).name for i in kept]
    return whole


def _intervals(schema: Any) -> dict[int, str]:  # noqa: ANN401
    """The columns whose categories were intervals, and which of these have which ends in them."""
    told = {
        entry.get("field_name"): (entry.get("metadata") or {}).get(INTERVALS)
        for entry in _metadata(schema).get("columns", [])
    }
    is_dictionary = pyarrow().types.is_dictionary
    return {
        i: closed
        for i, field in enumerate(schema)
        if (closed := told.get(field.name)) and is_dictionary(field.type)
    }


def _categories(pd: Any, column: Any, closed: str) -> Any:  # noqa: ANN401
    """Intervals that `pandas.cut` made categories of, from their ends."""
    import numpy as np

    made = []
    for chunk in column.chunks:
        ends = [pd.Index(chunk.dictionary.field(end).to_pandas()) for end in ("left", "right")]
        intervals = pd.IntervalIndex.from_arrays(*ends, closed=closed)
        codes = chunk.indices.fill_null(-1).to_numpy(zero_copy_only=False)
        made.append(
            pd.Categorical.from_codes(codes, categories=intervals, ordered=column.type.ordered)
        )
    if len(made) == 1:
        return made[0]
    # Files that were cut each by itself: one order for all, without which none are united.
    whole = pd.Categorical([each for part in made for each in part.categories]).categories
    at = {each: i for i, each in enumerate(whole)}
    united = np.empty(0, np.intp)
    for part in made:
        # What is missing has code -1, and so the last place.
        places = np.array([*(at[each] for each in part.categories), -1])
        united = np.concatenate([united, places[part.codes]])
    kind = made[0].categories.dtype if made else pd.IntervalDtype("float64", closed)
    categories = pd.IntervalIndex(whole, dtype=kind)
    return pd.Categorical.from_codes(united, categories=categories, ordered=column.type.ordered)


def _labels(columns: Any, schema: Any) -> Any:  # noqa: ANN401
    """The columns' labels; pyarrow takes the text of a boolean for True, also "False"."""
    kinds = [entry.get("pandas_type") for entry in _metadata(schema).get("column_indexes") or []]
    if kinds != ["bool"]:
        return columns
    index = index_of(schema)
    labels = [name == "True" for name in schema.names if name not in index]
    return type(columns)(labels, dtype=columns.dtype, name=columns.name)


def _without_arrow_types(table: Any) -> Any:  # noqa: ANN401
    """The table without what its metadata says of Arrow types, not all of which pandas reads.

    It reads those of numbers and times, which are to come back as Arrow's.
    """
    metadata = _metadata(table.schema)
    if not metadata:
        return table
    plain = {field.name for field in table.schema if _is_plain(field.type)}
    columns = [
        entry | {"numpy_type": "object"}
        if _is_arrow_type(entry.get("numpy_type")) and entry.get("field_name") not in plain
        else entry
        for entry in metadata.get("columns", [])
    ]
    return with_pandas(table, metadata | {"columns": columns})


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


def without_range(table: Any) -> Any:  # noqa: ANN401
    """Takes a frame's range of rows out of what a table of other rows says, or of another order.

    Args:
        table: A `pyarrow.Table`.

    Returns:
        The table, whose rows pandas counts from 0; what has no range as it is.

    Example:
        >>> import pandas as pd, pyarrow as pa
        >>> frame = pd.DataFrame({"a": [1, 2]}, index=pd.RangeIndex(10, 12))
        >>> without_range(pa.Table.from_pandas(frame).take([1, 0])).to_pandas().index
        RangeIndex(start=0, stop=2, step=1)
    """
    kept = _metadata(table.schema)
    levels = kept.get("index_columns", [])
    if not any(isinstance(level, dict) for level in levels):
        return table
    named = [level for level in levels if not isinstance(level, dict)]
    return with_pandas(table, kept | {"index_columns": named})


def range_of(file: _native.File) -> Any:  # noqa: ANN401
    """Finds the index of a frame's rows, where frames were published whose indices are ranges.

    Each file tells its own range. Those of several files are joined, and that of selected rows is
    cut, as pandas does; but what merely counts from 0 in each of several names no rows, and is
    counted anew.

    Args:
        file: A table, or several as one.

    Returns:
        A `pandas.Index`; None where there is no range that names rows.

    Example:
        >>> import famfs, pandas as pd
        >>> from famfs import _frames
        >>> frame = pd.DataFrame({"a": [1, 2]}, index=pd.RangeIndex(10, 12))
        >>> opened = famfs.open(famfs.publish(frame, f"{mnt}/frame"))
        >>> _frames.range_of(opened[1:]._file)
        RangeIndex(start=11, stop=12, step=1)
    """
    files = getattr(file, "files", [file])
    found = [_range(each) for each in files]
    ranges = [each for each in found if each is not None]
    if len(ranges) < len(found) or (len(files) > 1 and not any(map(_names_rows, ranges))):
        return None
    parts = [index[low:high] for index, low, high in ranges]
    return parts[0].append(parts[1:])


def _range(file: _native.File) -> tuple[Any, int, int] | None:
    """The range that a whole file's rows are, and which of them these are."""
    columns = _metadata(pyarrow().schema(file)).get("index_columns", [])
    if len(columns) != 1 or not isinstance(columns[0], dict) or columns[0].get("kind") != "range":
        return None
    told = columns[0]
    try:
        import pandas as pd

        name = told["name"]
        name = tuple(name) if isinstance(name, list) else name
        index = pd.RangeIndex(told["start"], told["stop"], told["step"], name=name)
    except (ImportError, KeyError, TypeError, ValueError):
        # Not as pandas writes it, which pyarrow judges; or no pandas, which `to_pandas` tells.
        return None
    ref = file.ref
    count = file.num_rows or 0
    if not isinstance(ref.rows, tuple):
        return (index, 0, count) if len(index) == count else None
    whole = _native.open_ref(_native.restore_ref(*ref.__reduce__()[1][:3], None))
    # Who cut the table after it was made of the frame left what it says of all rows.
    return (index, *ref.rows) if len(index) == whole.num_rows else None


def _names_rows(found: tuple[Any, int, int]) -> bool:
    index = found[0]
    return (index.start, index.step, index.name) != (0, 1, None)


def _is_arrow(table: Any, at: int, arrow_too: Collection[str]) -> bool:  # noqa: ANN401
    """Whether a column is Arrow's in the frame: not NumPy's, and not what pandas had otherwise."""
    field = table.schema.field(at)
    if _is_plain(field.type) and field.name not in arrow_too and not table.column(at).null_count:
        return False
    was = {
        entry.get("field_name"): entry.get("numpy_type")
        for entry in _metadata(table.schema).get("columns", [])
    }
    if pyarrow().types.is_dictionary(field.type):
        return _is_arrow_type(was.get(field.name))
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
