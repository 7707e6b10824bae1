"""Selections: what stands in the brackets of a dataset, made into rows and columns of its file."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any

from famfs.errors import Unsupported

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy as np

    from famfs import _native

_TAKE = "take(indices) copies rows of any choice"


def select(file: _native.File, key: object) -> _native.File:
    """Selects rows, columns or both, in place.

    Args:
        file: What is selected from.
        key: A column's name, a list of names, a slice of rows with step 1, rows and columns as a
            pair, or one index along an array's first axis.

    Returns:
        The part.

    Raises:
        IndexError: An array has no such item.
        KeyError: There is no such column.
        Unsupported: What is asked for is not in one place, or this kind doesn't have it.

    Example:
        >>> import famfs, numpy as np
        >>> from famfs import _select
        >>> ref = famfs.publish({"a": np.arange(9), "b": np.ones(9)}, f"{mnt}/table")
        >>> famfs.open(ref)[2:5, ["b"]].shape
        (3, 1)
    """
    kind = file.kind
    if isinstance(key, tuple):
        if kind != "table" or len(key) != 2:  # noqa: PLR2004 - rows and columns
            raise Unsupported(
                f"{file.path} ({kind}): a selection along {len(key)} axes; "
                + (
                    "d[rows, columns] selects of a table"
                    if kind == "table"
                    else "select along the first, and of to_numpy() along the others"
                )
            )
        rows, columns = key
        return _columns(_rows(file, rows), columns)
    if kind == "safetensors" and isinstance(key, str):
        return _columns(file, key)
    if kind == "table" and (isinstance(key, str) or _are_names(key)):
        return _columns(file, key)
    return _rows(file, key)


def _are_names(key: object) -> bool:
    return isinstance(key, list) and all(isinstance(name, str) for name in key)


def _rows(file: _native.File, key: Any) -> _native.File:  # noqa: ANN401
    kind = file.kind
    if isinstance(key, slice):
        length = _length(file)
        start, stop, step = key.indices(length)
        if step != 1:
            raise Unsupported(
                f"{file.path} ({kind}): a slice with step {step} is not in one place; {_TAKE}, "
                f"such as take(range({start}, {stop}, {step}))"
            )
        if (start, stop) == (0, length):
            return file
        return file.rows(start, max(start, stop))
    if isinstance(key, str):
        raise Unsupported(f"{file.path} ({kind}) has no columns to be named: it has one part")
    index = _index(key)
    if index is None:
        what = "a mask or list of rows" if hasattr(key, "__len__") else f"rows by {key!r}"
        raise Unsupported(f"{file.path} ({kind}): {what} is not in one place; {_TAKE}")
    if kind != "array":
        raise Unsupported(
            f"{file.path} ({kind}): one row is a range of rows here: d[{index}:{index + 1}]"
        )
    length = _length(file)
    at = index + length if index < 0 else index
    if not 0 <= at < length:
        raise IndexError(f"{file.path}: item {index}, there are {length}")
    return file.item(at)


def _length(file: _native.File) -> int:
    rows = file.num_rows
    if rows is not None:
        return rows
    if file.kind == "array":
        raise Unsupported(f"{file.path}: an array of no axes has no parts; to_numpy() gives it")
    first, end = file.range
    return end - first


def _columns(table: _native.File, key: Any) -> _native.File:  # noqa: ANN401
    if isinstance(key, slice):
        start, stop, step = key.indices(table.num_columns)
        return table.columns(list(range(start, stop, step)))
    if isinstance(key, str):
        return table.column(_column(table, key))
    index = _index(key)
    if index is not None:
        return table.column(_place(table, index))
    if not isinstance(key, list):
        raise Unsupported(
            f"{table.path}: columns by {key!r}; they are selected by name, by index, or by a list "
            "of either"
        )
    return table.columns(list(_places(table, key)))


def _places(table: _native.File, keys: Iterable[Any]) -> Iterable[int]:
    for key in keys:
        index = _index(key)
        if isinstance(key, str):
            yield _column(table, key)
        elif index is not None:
            yield _place(table, index)
        else:
            raise Unsupported(f"{table.path}: a column by {key!r}; names and indices select")


def _index(key: Any) -> int | None:  # noqa: ANN401
    """A number that counts something; True and False don't, and arrays of one would."""
    if isinstance(key, bool) or hasattr(key, "__len__"):
        return None
    try:
        return operator.index(key)
    except TypeError:
        return None


def _place(table: _native.File, index: int) -> int:
    count = table.num_columns
    at = index + count if index < 0 else index
    if not 0 <= at < count:
        raise IndexError(f"{table.path}: column {index}, there are {count}")
    return at


def _column(table: _native.File, name: str) -> int:
    try:
        found = table.find_columns(name)
    except UnicodeEncodeError:
        # No file can have such a name.
        found = []
    if len(found) == 1:
        return found[0]
    if found:
        places = ", ".join(map(str, found))
        raise KeyError(
            f"{table.path} has {len(found)} columns {name!r}, at {places}: d[:, {found[0]}] is the "
            "first"
        )
    import difflib

    names = table.names
    near = difflib.get_close_matches(name, names, n=3) if len(names) <= 1000 else []  # noqa: PLR2004
    hint = f"; there is {' and '.join(map(repr, near))}" if near else "; names lists them"
    what = "tensor" if table.kind == "safetensors" else "column"
    raise KeyError(f"{table.path} has no {what} {name!r}{hint}")


def row_numbers(file: _native.File, indices: Any, length: int) -> np.ndarray[Any, Any]:  # noqa: ANN401
    """Reads rows that are named one by one.

    Args:
        file: What they are rows of, for the message.
        indices: Numbers, negative ones from the end, or a mask.
        length: How many rows there are.

    Returns:
        Their numbers, from 0.

    Raises:
        IndexError: A row is not there, or a mask is of another length.
        Unsupported: It is neither.

    Example:
        >>> import famfs
        >>> from famfs import _native, _select
        >>> file = _native.open_ref(famfs.publish(b"abc", f"{mnt}/abc"))
        >>> _select.row_numbers(file, [True, False, True], 3).tolist()
        [0, 2]
    """
    import numpy as np

    try:
        wanted = np.asarray(indices if hasattr(indices, "__len__") else list(indices))
    except (TypeError, ValueError) as error:
        raise Unsupported(
            f"{file.path} ({file.kind}): take() by {indices!r}: {error}; rows are chosen by "
            "numbers or by a mask"
        ) from error
    wanted = wanted.astype(np.intp) if wanted.size == 0 else wanted
    if wanted.dtype.kind not in "iub" or wanted.ndim != 1:
        raise Unsupported(
            f"{file.path} ({file.kind}): take() by {wanted.dtype} along {wanted.ndim} axes; rows "
            "are chosen by numbers or by a mask, along one axis"
        )
    if wanted.dtype.kind == "b":
        if len(wanted) != length:
            raise IndexError(f"{file.path}: a mask of {len(wanted)}, there are {length} rows")
        return np.flatnonzero(wanted)
    if wanted.size and not -length <= int(wanted.min()) <= int(wanted.max()) < length:
        raise IndexError(f"{file.path}: rows {wanted.min()} to {wanted.max()} of {length}")
    wanted = wanted.astype(np.intp)
    return np.where(wanted < 0, wanted + length, wanted)
