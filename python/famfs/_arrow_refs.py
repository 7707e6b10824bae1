"""Objects of pyarrow whose memory is a volume's: pickled as references to it.

Owns what such a pickle holds: rows and columns of files where a table is that, and else the places
of an array's buffers.
"""

from __future__ import annotations

import itertools
import os
from typing import TYPE_CHECKING, Any, TypeAlias

from famfs import _native
from famfs._arrow import pyarrow
from famfs._arrow_layouts import bits_of, is_same_layout, layout_of, located, size_of
from famfs._arrow_places import array_at, column_at, place_of, reduced_table, table_at
from famfs.dataset import open as open_

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from famfs._native import Ref

Reduced: TypeAlias = "tuple[Callable[..., Any], tuple[Any, ...]]"
"""What pickle rebuilds an object by: a function, and its arguments."""

LEAST = 1024
"""Bytes; smaller objects are no shorter as a reference."""

_INLINE = 64
"""Bytes of a buffer elsewhere that stand in the pickle itself."""

_PLAIN, _BUFFER = 180, 16
"""About how many bytes an array takes whose buffers are told, and each buffer, but for the path."""

_SHORT = 256
"""Bytes that a pickle should have at most."""


def reduced(pa: Any, obj: Any) -> Reduced | None:  # noqa: ANN401
    """Makes a reference of an object of pyarrow's, if most of its memory is a volume's.

    Args:
        pa: pyarrow.
        obj: A table, batch, column or array.

    Returns:
        What pickle rebuilds it by; None where its memory is elsewhere.

    Example:
        >>> import famfs, pyarrow as pa
        >>> from famfs import _arrow_refs
        >>> table = famfs.open(famfs.publish({"a": np.arange(999)}, f"{mnt}/t")).to_arrow()
        >>> rebuild, arguments = _arrow_refs.reduced(pa, table)
        >>> rebuild.__name__, rebuild(*arguments).equals(table)
        ('table_of', True)
    """
    if isinstance(obj, pa.Table):
        return _reduced_table(obj)
    if isinstance(obj, pa.RecordBatch):
        found = _reduced_table(pa.Table.from_batches([obj]))
        return found and (batch_of, found)
    if isinstance(obj, pa.ChunkedArray):
        return _reduced_column(obj)
    column = _reduced_column(pa.chunked_array([obj])) if isinstance(obj, pa.Array) else None
    return column and (_OF_ONE[column[0]], column[1])


# pyarrow: whole tables, by rows and columns of their files


def _reduced_table(table: Any) -> Reduced | None:  # noqa: ANN401
    if not table.num_rows:
        return None
    parts = _parts(table)
    if parts is not None:
        return table_of, (parts,)
    if all(map(_is_here, table.columns)):
        place = reduced_table(table)
        if place is not None:
            return table_at, place
    return _reduced_columns(table)


def _parts(table: Any) -> tuple[tuple[Ref, int, int], ...] | None:  # noqa: ANN401
    """The rows of files that a table is, one after the other, if it is those and nothing else."""
    key = next((i for i, kind in enumerate(table.schema.types) if bits_of(kind)), None)
    if key is None:
        return None
    # Runs of rows that one file has.
    runs: list[tuple[Ref, int]] = []
    for chunk in table.column(key).iterchunks():
        found = located(chunk.buffers()[1])
        if not found:
            return None
        if runs and runs[-1][0] == found[0]:
            runs[-1] = (found[0], runs[-1][1] + len(chunk))
        else:
            runs.append((found[0], len(chunk)))
    parts = []
    at = 0
    for ref, rows in runs:
        part = _part(ref, table.slice(at, rows), key)
        if part is None:
            return None
        parts.append(part)
        at += rows
    return tuple(parts)


def _part(ref: Ref, table: Any, key: int) -> tuple[Ref, int, int] | None:  # noqa: ANN401
    """The reference whose rows, from one on and so many, are the table; as it lies in memory."""
    file = _native.open_ref(ref)
    if file.kind != "table":
        return None
    places = [file.find_columns(name) for name in table.column_names]
    if any(len(place) != 1 for place in places):
        return None
    indices = [place[0] for place in places]
    first = _first_row(file, indices[key], table.column(key).chunk(0))
    if first is None or first + table.num_rows > (file.num_rows or 0):
        return None
    if indices != list(range(file.num_columns)):
        file = file.columns(indices)
    end = first + table.num_rows
    ends = [0, *itertools.accumulate(file.batch_rows)]
    start = max(each for each in ends if each <= first)
    stop = min(each for each in ends if each >= end)
    # As pyarrow cuts tables, and as famfs does.
    for low, high in ((start, stop), (first, end)):
        part = file if (low, high) == (0, ends[-1]) else file.rows(low, high)
        if _is_same(table, _table_of(part, first - low, table.num_rows)):
            return part.ref, first - low, table.num_rows
        if (low, high) == (first, end):
            break
    return None


def _first_row(file: _native.File, column: int, chunk: Any) -> int | None:  # noqa: ANN401
    """The row of a file at which an array begins, told by where its values lie."""
    bits = bits_of(chunk.type)
    address = chunk.buffers()[1].address
    row = 0
    for batch in pyarrow().chunked_array(file.column(column)).chunks:
        # One of the same name may be of a type that has no such buffer.
        memory = batch.buffers()[1] if batch.type == chunk.type else None
        if memory is not None and memory.address <= address < memory.address + memory.size:
            within, rest = divmod((address - memory.address) * 8, bits)
            return None if rest else row + within + chunk.offset - batch.offset
        row += len(batch)
    return None


def _is_same(one: Any, other: Any) -> bool:  # noqa: ANN401
    """Whether two tables lie in the same memory, bitmaps aside: those have the same bits."""
    if not one.schema.equals(other.schema, check_metadata=True):
        return False
    for here, there in zip(one.columns, other.columns, strict=True):
        if list(map(len, here.chunks)) != list(map(len, there.chunks)):
            return False
        for a, b in zip(here.chunks, there.chunks, strict=True):
            if not is_same_layout(layout_of(a), layout_of(b)):
                return False
    return True


def table_of(parts: Iterable[tuple[Ref, int, int]]) -> Any:  # noqa: ANN401
    """Opens rows of files as one table; for pickle.

    Args:
        parts: References to tables, and of each the first row and how many.

    Returns:
        The `pyarrow.Table`, in place.

    Raises:
        NotMounted: A file's volume is not mounted here.

    Example:
        >>> import famfs
        >>> from famfs import _arrow_refs
        >>> ref = famfs.publish({"a": np.arange(9)}, f"{mnt}/t")
        >>> _arrow_refs.table_of([(ref, 2, 3)])["a"].to_pylist()
        [2, 3, 4]
    """
    tables = [_table_of(_native.open_ref(ref), first, rows) for ref, first, rows in parts]
    return tables[0] if len(tables) == 1 else pyarrow().concat_tables(tables)


def _table_of(file: _native.File, first: int, rows: int) -> Any:  # noqa: ANN401
    table = pyarrow().RecordBatchReader.from_stream(file).read_all()
    return table if (first, rows) == (0, table.num_rows) else table.slice(first, rows)


def batch_of(rebuild: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:  # noqa: ANN401
    """Makes a batch of what rebuilds a table of one; for pickle.

    Args:
        rebuild: `table_of` or `columns_of`.
        arguments: Its arguments.

    Returns:
        The `pyarrow.RecordBatch`, in place.

    Example:
        >>> import famfs
        >>> from famfs import _arrow_refs
        >>> ref = famfs.publish({"a": np.arange(9)}, f"{mnt}/t")
        >>> part = (_arrow_refs.table_of, ([(ref, 2, 3)],))
        >>> _arrow_refs.batch_of(*part)["a"].to_pylist()
        [2, 3, 4]
    """
    return rebuild(*arguments).to_batches()[0]


# pyarrow: arrays, by their buffers


def _reduced_columns(table: Any) -> Reduced | None:  # noqa: ANN401
    """A table some of whose columns are in a volume."""
    columns = [_reduced_column(column) for column in table.columns]
    if not any(columns):
        return None
    # The engine serialises these as it would have.
    others = table.select([i for i, column in enumerate(columns) if column is None])
    return columns_of, (table.schema, columns, others if others.num_columns else None)


def columns_of(schema: Any, columns: Sequence[Any], others: Any) -> Any:  # noqa: ANN401
    """Makes a table of columns in a volume and of others; for pickle.

    Args:
        schema: The table's.
        columns: For each column what rebuilds it, and of what; None for the others.
        others: Those, a table.

    Returns:
        The `pyarrow.Table`.

    Raises:
        NotMounted: A file's volume is not mounted here.

    Example:
        >>> import pyarrow as pa
        >>> from famfs import _arrow_refs
        >>> table = pa.table({"a": [1, 2]})
        >>> _arrow_refs.columns_of(table.schema, [None], table).equals(table)
        True
    """
    rest = iter(others.columns if others is not None else ())
    made = [next(rest) if column is None else column[0](*column[1]) for column in columns]
    return pyarrow().Table.from_arrays(made, schema=schema)


def _is_here(column: Any) -> bool:  # noqa: ANN401
    """Whether some of a column's memory is a volume's, by its first array."""
    # Most columns lie elsewhere as a whole, and this is all that is looked at.
    first = next((chunk for chunk in column.iterchunks() if len(chunk)), None)
    return first is not None and any(map(located, first.buffers()))


def _reduced_column(column: Any) -> Reduced | None:  # noqa: ANN401
    """A column as rows of a file's; else its files, and of each array the layout, with places."""
    if not _is_here(column):
        return None
    plain = [layout_of(each) for each in column.iterchunks()]
    if _is_long(plain):
        place = place_of(plain)
        if place is not None:
            return (column_at, place) if sum(map(size_of, plain)) >= LEAST else None
    files = _Files()
    # One object for all types of the arrays, which pickle writes once.
    layouts = [files.layout((column.type, *each[1:])) for each in plain]
    if files.located < max(LEAST, files.carried):
        return None
    return column_of, (tuple(files.numbers), layouts)


def _is_long(layouts: Sequence[Any]) -> bool:
    """Whether the buffers of arrays, told one by one, take more than their place in a file does."""
    _, _, _, _, buffers, children, dictionary = layouts[0]
    if len(layouts) > 1 or children or dictionary is not None:
        return True
    found = [(buffer.size, located(buffer)) for buffer in buffers if buffer is not None]
    # A bitmap that was made for a selection would stand in the pickle.
    made = any(at is None and size > _INLINE for size, at in found)
    path = max((len(os.fsencode(at[0].path)) for _, at in found if at), default=0)
    return made or _PLAIN + path + _BUFFER * len(found) > _SHORT


class _Files:
    """The files that buffers lie in, in the order they are met, and bytes in them and elsewhere."""

    def __init__(self) -> None:
        self.numbers: dict[Ref, int] = {}
        self.located = self.carried = 0

    def layout(self, layout: Any) -> Any:  # noqa: ANN401
        """The layout with places in files in place of the buffers that lie in one."""
        *plain, buffers, children, dictionary = layout
        placed = (*plain, [self._place(buffer) for buffer in buffers])
        if not children and dictionary is None:
            return placed
        below = [self.layout(child) for child in children]
        return (*placed, below, dictionary and self.layout(dictionary))

    def _place(self, buffer: Any) -> Any:  # noqa: ANN401
        if buffer is None:
            return None
        found = located(buffer)
        if found:
            self.located += buffer.size
            return self.numbers.setdefault(found[0], len(self.numbers)), found[1], buffer.size
        self.carried += buffer.size
        return buffer.to_pybytes() if buffer.size <= _INLINE else buffer


def column_of(refs: Iterable[Ref], layouts: Iterable[Any]) -> Any:  # noqa: ANN401
    """Makes a column of buffers in files; for pickle.

    Args:
        refs: The files.
        layouts: Those of its arrays.

    Returns:
        The `pyarrow.ChunkedArray`, in place.

    Raises:
        NotMounted: A file's volume is not mounted here.

    Example:
        >>> import famfs, pyarrow as pa
        >>> from famfs import _arrow_refs
        >>> ref = famfs.publish(np.arange(9), f"{mnt}/nine")
        >>> layout = (pa.int64(), 2, 0, 0, [None, (0, 136, 16)])
        >>> _arrow_refs.column_of([ref], [layout]).to_pylist()
        [1, 2]
    """
    pa = pyarrow()
    memories = [pa.py_buffer(open_(ref).buffer()) for ref in refs]
    return pa.chunked_array([_array_of(pa, layout, memories) for layout in layouts])


def array_of(refs: Iterable[Ref], layouts: Iterable[Any]) -> Any:  # noqa: ANN401 - as above
    """As `column_of`, of a column of one array, which comes back as it is; for pickle."""
    return column_of(refs, layouts).chunk(0)


def _array_of(pa: Any, layout: Any, memories: Sequence[Any]) -> Any:  # noqa: ANN401
    def restored(layout: Any) -> Any:  # noqa: ANN401
        kind, length, nulls, offset, buffers, *below = layout
        children, dictionary = below or ((), None)
        return (
            kind,
            length,
            nulls,
            offset,
            [buffer_of(buffer) for buffer in buffers],
            [restored(child) for child in children],
            dictionary and restored(dictionary),
        )

    def buffer_of(place: Any) -> Any:  # noqa: ANN401
        if isinstance(place, tuple):
            file, start, size = place
            return memories[file].slice(start, size)
        return pa.py_buffer(place) if isinstance(place, bytes) else place

    return pa.lib._restore_array(restored(layout))  # noqa: SLF001 - what pyarrow's pickles name


_OF_ONE = {column_of: array_of, column_at: array_at}
"""What rebuilds an array in place of a column."""
