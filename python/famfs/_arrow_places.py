"""Where arrays of pyarrow lie that came from one published table: in which column, and which rows.

Owns what says so in few bytes, whatever the type and into however many chunks it is cut: a column
of a file, the way to one of its children, rows, and where they are cut. It finds that by comparing
the memory of an array with what the file's own column has there.
"""

from __future__ import annotations

import itertools
from bisect import bisect_right
from typing import TYPE_CHECKING, Any, TypeAlias

from famfs import _native
from famfs._arrow import pyarrow
from famfs._arrow_layouts import (
    BARE,
    DICTIONARY,
    bits_of,
    buffers_of,
    is_same_layout,
    layout_of,
    located,
)
from famfs.errors import FamfsError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from famfs._native import Ref

Spans: TypeAlias = "tuple[tuple[int, int], ...]"
"""Rows that follow each other, each time the first and how many."""

Place: TypeAlias = "tuple[Ref, int, tuple[int, ...], Spans, tuple[tuple[int, int], ...] | None]"
"""A file, one of its columns, the way to a child of it, rows, and the lengths of their chunks."""

_MOST = 8
"""Entries of a list of lengths that are written; more are cut as the file's batches are."""

_PROBED = 256
"""Arrays that are looked at one by one, where their file doesn't say which it is."""


def place_of(layouts: Sequence[Any], near: Place | None = None) -> Place | None:
    """Finds the rows of a file's column that arrays are, if they are those and nothing else.

    Args:
        layouts: Those of arrays that are one column together, as `layout_of` gives them.
        near: The place of the column before it in its table, which is looked behind first.

    Returns:
        Their place; None where they are of several files or columns, or no file's.

    Example:
        >>> import famfs, pyarrow as pa
        >>> from famfs import _arrow_places
        >>> from famfs._arrow_layouts import layout_of
        >>> lists = pa.table({"n": range(9), "l": [[i, i] for i in range(9)]})
        >>> column = famfs.open(famfs.publish(lists, f"{mnt}/t")).to_arrow()["l"]
        >>> part = layout_of(column.chunk(0).slice(2, 3))
        >>> _arrow_places.place_of([part])[1:]
        (1, (), ((2, 3),), None)
        >>> values = layout_of(column.chunk(0).values)
        >>> _arrow_places.place_of([values])[1:]
        (1, (0,), ((0, 18),), None)
    """
    full = [layout for layout in layouts if layout[1]]
    own = ((way, buffer, located(buffer)) for way, buffer in buffers_of(full[0]))
    anchor = next(((way, buffer.address, *at) for way, buffer, at in own if at), None)
    if anchor is None:
        return None
    below, address, ref, at = anchor
    file = _native.open_ref(ref)
    if file.kind != "table":
        return None
    for column in _candidates(file, at, near):
        try:
            nodes = [layout_of(chunk) for chunk in _chunks(file, column)]
        except FamfsError:
            # Nobody could have had arrays of it.
            continue
        ways = (_way_to(node, address) for node in nodes)
        found = next((way for way in ways if way is not None), None)
        if found is None:
            continue
        way = found[: len(found) - len(below)]
        if way + below != found:
            return None
        there = _down(nodes[0], way)
        if full[0][0] != there[0] and full[0][0] == _bare(there)[0]:
            way = (*way, BARE)
        rows = _rows(full, [_down(node, way) for node in nodes])
        if rows is not None:
            return (ref, column, way, *rows)
        return None if way else _selected(file, column, full, nodes)
    return None


def _way_to(layout: Any, address: int) -> tuple[int, ...] | None:  # noqa: ANN401
    for way, buffer in buffers_of(layout):
        if buffer.address <= address < buffer.address + buffer.size:
            return way
    return None


def _down(layout: Any, way: Sequence[int]) -> Any:  # noqa: ANN401
    """What a way leads to."""
    for step in way:
        if step == BARE:
            layout = _bare(layout)
        else:
            layout = layout[6] if step == DICTIONARY else layout[5][step]
    return layout


def _bare(layout: Any) -> Any:  # noqa: ANN401
    """What an array of a type is made of; of most the array itself."""
    kind, *rest, dictionary = layout
    if isinstance(kind, pyarrow().BaseExtensionType):
        return (kind.storage_type, *rest, dictionary)
    return layout if dictionary is None else (kind.index_type, *rest, None)


def _chunks(file: _native.File, column: int) -> list[Any]:
    chunks: list[Any] = pyarrow().chunked_array(file.column(column)).chunks
    return chunks


def _candidates(file: _native.File, at: int, near: Place | None) -> Iterator[int]:
    """Columns that may have a byte of the file, the likely ones first."""
    count = file.num_columns
    if near is not None and near[1] + 1 < count:
        yield near[1] + 1
    column = file.column_at(at)
    if column is not None:
        yield column
        return
    # A dictionary's, of which nothing says which column has it.
    yield from range(min(count, _PROBED // max(1, file.num_batches)))


def _rows(layouts: Sequence[Any], nodes: Sequence[Any]) -> tuple[Spans, Any] | None:
    """The rows that arrays are of what a file has: those and how they are cut."""
    firsts = [0, *itertools.accumulate(node[1] for node in nodes)]
    places: dict[int, int] = {}
    for i, node in enumerate(nodes):
        places.setdefault(_first_address(node), i)
    spans: list[tuple[int, int]] = []
    lengths: list[int] = []
    for layout in layouts:
        at = places.get(_first_address(layout))
        if at is None:
            return None
        node = nodes[at]
        _, length, nulls, offset, *_ = layout
        first = offset - node[3]
        if first < 0 or first + length > node[1]:
            return None
        if not is_same_layout(layout, (node[0], length, nulls, offset, *node[4:])):
            return None
        row = firsts[at] + first
        lengths.append(length)
        if spans and sum(spans[-1]) == row:
            spans[-1] = (spans[-1][0], spans[-1][1] + length)
        else:
            spans.append((row, length))
    found = tuple(spans)
    natural = [len(each) for each in _cut(range(firsts[-1]), firsts, found)]
    if natural == lengths:
        return found, None
    runs = tuple((length, len(list(same))) for length, same in itertools.groupby(lengths))
    return found, runs if len(runs) <= _MOST else None


def _first_address(layout: Any) -> int:  # noqa: ANN401
    return next((buffer.address for _, buffer in buffers_of(layout)), 0)


def _cut(whole: Any, firsts: Sequence[int], spans: Spans) -> list[Any]:  # noqa: ANN401
    """Rows of spans, cut where batches end."""
    cut = []
    for first, length in spans:
        row, end = first, first + length
        at = bisect_right(firsts, row) - 1
        while row < end:
            stop = min(end, firsts[at + 1])
            if row < stop:
                cut.append(whole[row:stop])
            row, at = stop, at + 1
    return cut


def _selected(
    file: _native.File, column: int, layouts: Sequence[Any], nodes: Sequence[Any]
) -> Place | None:
    """As rows that a dataset has selected: its bitmaps may be memory of their own."""
    # Others have other buffers and children.
    if layouts[0][0] != nodes[0][0]:
        return None
    first = _first_row(layouts[0], nodes)
    rows = sum(layout[1] for layout in layouts)
    if first is None or first + rows > (file.num_rows or 0):
        return None
    part = file.rows(first, first + rows)
    found = [layout_of(chunk) for chunk in _chunks(part, column)]
    if len(found) != len(layouts) or not all(map(is_same_layout, layouts, found)):
        return None
    return (part.ref, column, (), ((0, rows),), None)


def _first_row(layout: Any, nodes: Sequence[Any]) -> int | None:  # noqa: ANN401
    """The row of a file's column at which an array begins, told by where its values lie."""
    row = 0
    for node in nodes:
        within = _row_within(layout, node)
        if within is not None:
            return row + within
        row += node[1]
    return None


def _row_within(layout: Any, node: Any) -> int | None:  # noqa: ANN401
    """The row of an array at which another of the same type begins."""
    kind, _, _, offset, buffers, children, _ = layout
    bits = bits_of(kind)
    if bits:
        one, other = buffers[1], node[4][1]
        if one is None or other is None:
            return None
        if not other.address <= one.address < other.address + other.size:
            return None
        row, rest = divmod((one.address - other.address) * 8, bits)
        return None if rest else row + offset - node[3]
    types = pyarrow().types
    scale = kind.list_size if types.is_fixed_size_list(kind) else 1
    if not (types.is_struct(kind) or types.is_fixed_size_list(kind)):
        return None
    for child, there in zip(children, node[5], strict=True):
        within = _row_within(child, there)
        if within is not None:
            return None if within % scale else within // scale + offset - node[3]
    return None


def column_at(ref: Ref, column: int, way: tuple[int, ...], spans: Spans, cut: Any) -> Any:  # noqa: ANN401
    """Opens rows of a file's column, or of a child of it; for pickle.

    Args:
        ref: The file.
        column: Its number.
        way: The child; nothing for the column itself.
        spans: The rows.
        cut: The lengths of chunks and how many there are of each; None as the batches are.

    Returns:
        The `pyarrow.ChunkedArray`, in place.

    Raises:
        NotMounted: The file's volume is not mounted here.

    Example:
        >>> import famfs, pyarrow as pa
        >>> from famfs import _arrow_places
        >>> ref = famfs.publish(pa.table({"l": [[1, 2], [3], [4, 5]]}), f"{mnt}/t")
        >>> _arrow_places.column_at(ref, 0, (), ((1, 2),), None).to_pylist()
        [[3], [4, 5]]
        >>> _arrow_places.column_at(ref, 0, (0,), ((1, 4),), ((2, 2),)).to_pylist()
        [2, 3, 4, 5]
    """
    return _column_of(_native.open_ref(ref), column, way, spans, cut)


def _column_of(
    file: _native.File,
    column: int,
    way: tuple[int, ...],
    spans: Spans,
    cut: Any,  # noqa: ANN401
) -> Any:  # noqa: ANN401
    pa = pyarrow()
    chunks = _chunks(file, column)
    if way:
        restore = pa.lib._restore_array  # noqa: SLF001 - what pyarrow's pickles name
        chunks = [restore(_down(layout_of(chunk), way)) for chunk in chunks]
    firsts = [0, *itertools.accumulate(map(len, chunks))]
    parts = _cut(range(firsts[-1]), firsts, spans) if cut is None else _cut_by(cut, spans)
    made = []
    for part in parts:
        at = bisect_right(firsts, part.start) - 1
        made.append(chunks[at].slice(part.start - firsts[at], len(part)))
    return pa.chunked_array(made, chunks[0].type)


def _cut_by(cut: Sequence[tuple[int, int]], spans: Spans) -> Iterator[range]:
    """Rows of spans, cut by lengths, none of which reaches over the end of a span."""
    rest = iter(spans)
    first = left = 0
    for length, count in cut:
        for _ in range(count):
            if not left:
                first, left = next(rest)
            yield range(first, first + length)
            first, left = first + length, left - length


def array_at(*place: Any) -> Any:  # noqa: ANN401
    """As `column_at`, of a column of one array, which comes back as it is; for pickle."""
    return column_at(*place).chunk(0)


def table_at(
    ref: Ref,
    columns: Sequence[tuple[int, int]],
    ways: Sequence[tuple[int, ...]] | None,
    spans: Spans,
    cut: Any,  # noqa: ANN401
    named: Any,  # noqa: ANN401
) -> Any:  # noqa: ANN401
    """Opens rows of a file's columns as a table, under names of its own; for pickle.

    Args:
        ref: The file.
        columns: Those columns, each time the first and how many follow it.
        ways: For each the child that is meant; None where none is.
        spans: As `column_at`.
        cut: As `column_at`.
        named: Columns of other names than the file's, and whether its metadata is kept; or a
            schema.

    Returns:
        The `pyarrow.Table`, in place.

    Raises:
        NotMounted: The file's volume is not mounted here.

    Example:
        >>> import famfs, pyarrow as pa
        >>> from famfs import _arrow_places
        >>> ref = famfs.publish(pa.table({"a": [1, 2], "b": ["x", "y"]}), f"{mnt}/t")
        >>> named = ({1: "c"}, True)
        >>> _arrow_places.table_at(ref, [(0, 2)], None, ((1, 1),), None, named).to_pylist()
        [{'a': 2, 'c': 'y'}]
    """
    file = _native.open_ref(ref)
    indices = [first + i for first, count in columns for i in range(count)]
    schema = _named(file, indices, named) if isinstance(named, tuple) else named
    chosen = zip(indices, ways or itertools.repeat(()), strict=ways is not None)
    made = [_column_of(file, index, way, spans, cut) for index, way in chosen]
    return pyarrow().Table.from_arrays(made, schema=schema)


def _named(file: _native.File, indices: list[int], named: tuple[dict[int, str], bool]) -> Any:  # noqa: ANN401
    whole = pyarrow().schema(file)
    names, keeps = named
    fields = [whole.field(index) for index in indices]
    fields = [field.with_name(names.get(i, field.name)) for i, field in enumerate(fields)]
    return pyarrow().schema(fields, whole.metadata if keeps else None)


def reduced_table(table: Any) -> tuple[Any, ...] | None:  # noqa: ANN401
    """Finds the rows and columns of one file that a table is, whatever their names.

    Args:
        table: A `pyarrow.Table`.

    Returns:
        What `table_at` takes; None where it is of several files, or not all of it is a file's.

    Example:
        >>> import famfs, pyarrow as pa
        >>> from famfs import _arrow_places
        >>> ref = famfs.publish({"a": np.arange(9), "b": np.ones(9)}, f"{mnt}/t")
        >>> table = famfs.open(ref).to_arrow().rename_columns(["a", "c"])
        >>> _arrow_places.reduced_table(table)[1:]
        (((0, 2),), None, ((0, 9),), None, ({1: 'c'}, True))
    """
    places: list[Place] = []
    for column in table.columns:
        place = place_of(list(map(layout_of, column.chunks)), places[-1] if places else None)
        if place is None or (places and (place[0], *place[3:]) != (places[0][0], *places[0][3:])):
            return None
        places.append(place)
    if not places:
        return None
    ref, _, _, spans, cut = places[0]
    indices = [place[1] for place in places]
    ways = [place[2] for place in places]
    runs: list[tuple[int, int]] = []
    for index in indices:
        if runs and sum(runs[-1]) == index:
            runs[-1] = (runs[-1][0], runs[-1][1] + 1)
        else:
            runs.append((index, 1))
    named: Any = table.schema
    if not any(ways):
        file = _native.open_ref(ref)
        theirs = _named(file, indices, ({}, True)).names
        pairs = enumerate(zip(table.column_names, theirs, strict=True))
        names = {i: ours for i, (ours, other) in pairs if ours != other}
        for keeps in (False, True):
            if _named(file, indices, (names, keeps)).equals(table.schema, check_metadata=True):
                named = (names, keeps)
    return ref, tuple(runs), ways if any(ways) else None, spans, cut, named
