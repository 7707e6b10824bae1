"""Columns of a table that is built in place: what is lent of each, and how it is filled."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from famfs._arguments import whole
from famfs._arrow import pyarrow
from famfs.errors import FamfsError, Unsupported

if TYPE_CHECKING:
    import numpy as np

    from famfs import _native


class Column(ABC):
    """A column, whatever its values are: nulls, and how far it is filled."""

    def __init__(
        self,
        native: _native.Building,
        place: tuple[Any, ...],
        field: Any,  # noqa: ANN401 - pyarrow has no types
        rows: int,
    ) -> None:
        self.native = native
        self.name, _, self.width, self._valid_at, self.data, self.bytes = place
        self.type = _storage(field.type)
        self.rows = rows
        self.lock = threading.Lock()
        self._valid: np.ndarray[Any, Any] | None = None
        self._next = 0
        self._filled: list[list[int]] = []

    def array(self) -> np.ndarray[Any, Any]:
        """The values to be written, where they lie next to each other at one width."""
        raise Unsupported(
            f"column {self.name!r} of type {self.type} is no array of NumPy's: "
            f"fill({self.name!r}, values) fills it"
        )

    def validity(self) -> np.ndarray[Any, Any]:
        """Which values are there."""
        import numpy as np

        if self._valid_at is None:
            raise Unsupported(f"column {self.name!r} is not nullable: all of its values are there")
        with self.lock:
            if self._valid is None:
                self._valid = np.ones(self.rows, np.bool_)
        return self._valid

    def fill(self, values: Any, offset: int | None) -> int:  # noqa: ANN401
        """Copies values in; the row after the last."""
        chunks = self._chunks(values)
        with self.lock:
            # Another thread's rows follow these, also where they are written sooner.
            at = self._next if offset is None else whole(offset, "offset", "a row")
            end = at + sum(map(len, chunks))
            if at < 0 or end > self.rows:
                raise FamfsError(
                    f"column {self.name!r}: rows {at} to {end} do not fit: it has {self.rows}"
                )
            self._next = end
        for chunk in chunks:
            nulls = chunk.null_count
            if nulls and self._valid_at is None:
                raise Unsupported(
                    f"column {self.name!r} is not nullable, and the values have {nulls} nulls"
                )
            self.put(at, chunk)
            if nulls or self._valid is not None:
                self.validity()[at : at + len(chunk)] = _bools(chunk.is_valid())
            with self.lock:
                if self._filled and self._filled[-1][1] == at:
                    self._filled[-1][1] += len(chunk)
                else:
                    self._filled.append([at, at + len(chunk)])
            at += len(chunk)
        return end

    @abstractmethod
    def put(self, at: int, chunk: Any) -> None:  # noqa: ANN401
        """Copies an Arrow array's values to row `at` on."""

    def lacking(self) -> str:
        """What was not written, if anything."""
        written = end = 0
        for first, last in sorted(self._filled):
            written += max(0, last - max(first, end))
            end = max(end, last)
        return "" if written >= self.rows else f"{written} of {self.rows} rows were written"

    def finish(self) -> tuple[int, int]:
        """Puts what was kept aside in its place; nulls, and bytes of strings."""
        import numpy as np

        if self._valid is None or self._valid_at is None:
            return 0, 0
        nulls = self.rows - int(np.count_nonzero(self._valid))
        if nulls:
            bits = np.packbits(self._valid, bitorder="little")
            self.native.put(self._valid_at[0], bits)
        return nulls, 0

    def _chunks(self, values: Any) -> list[Any]:  # noqa: ANN401
        pa = pyarrow("filling a column")
        try:
            if isinstance(values, pa.ChunkedArray | pa.Array):
                array = values
            elif hasattr(values, "__arrow_c_array__"):
                array = pa.array(values)
            elif hasattr(values, "__arrow_c_stream__"):
                array = pa.chunked_array(values)
            else:
                array = self._made(pa, values)
            if _storage(array.type) != self.type:
                array = array.cast(self.type)
        except (pa.ArrowException, ValueError, TypeError, OverflowError) as error:
            raise Unsupported(
                f"column {self.name!r} of type {self.type}: Arrow makes no such values of these: "
                f"{error}"
            ) from error
        chunks = array.chunks if isinstance(array, pa.ChunkedArray) else [array]
        return [getattr(chunk, "storage", chunk) for chunk in chunks if len(chunk)]

    def _made(self, pa: Any, values: Any) -> Any:  # noqa: ANN401
        """An Arrow array of what is none, to be cast to the column's type."""
        if pa.types.is_integer(self.type):
            # Arrow cuts a float to the integer that it is asked for; a cast refuses it.
            found = pa.array(values, from_pandas=False)
            if pa.types.is_floating(found.type) or pa.types.is_integer(found.type):
                return found
        return pa.array(values, type=self.type, from_pandas=False)


class _Fixed(Column):
    """Values of one width, next to each other."""

    def __init__(self, *arguments: Any) -> None:  # noqa: ANN401
        super().__init__(*arguments)
        self._array: np.ndarray[Any, Any] | None = None

    def array(self) -> np.ndarray[Any, Any]:
        """The values, in place."""
        import numpy as np

        if self._array is None:
            dtype, inner = _items(self.type, self.width)
            shape = (self.rows, *inner)
            at, size = self.data
            if size:
                # NumPy's types know no buffers but Python's own.
                memory: Any = self.native.lend(at, size)
                self._array = np.ndarray(shape, dtype, buffer=memory)
            else:
                self._array = np.empty(shape, dtype)
        return self._array

    def put(self, at: int, chunk: Any) -> None:  # noqa: ANN401
        """Copies the values as they lie."""
        bytes_of = _raw(chunk, self.width)
        if len(bytes_of):
            self.native.put(self.data[0] + at * self.width, bytes_of)

    def lacking(self) -> str:
        """What was not written; who has the array answers for it."""
        return "" if self._array is not None else super().lacking()

    def finish(self) -> tuple[int, int]:
        """Ends the lending, as far as NumPy goes."""
        if self._array is not None:
            self._array.flags.writeable = False
        return super().finish()


class _Bits(Column):
    """Booleans, which Arrow packs: they are kept aside, and packed at the end."""

    def __init__(self, *arguments: Any) -> None:  # noqa: ANN401
        super().__init__(*arguments)
        import numpy as np

        self._bools = np.zeros(self.rows, np.bool_)

    def put(self, at: int, chunk: Any) -> None:  # noqa: ANN401
        """Unpacks the values."""
        self._bools[at : at + len(chunk)] = _bools(chunk.fill_null(False))  # noqa: FBT003 - a value

    def finish(self) -> tuple[int, int]:
        """Packs them."""
        import numpy as np

        if self.rows:
            self.native.put(self.data[0], np.packbits(self._bools, bitorder="little"))
        return super().finish()


class _Bytes(Column):
    """Strings or binary: offsets, and the bytes that they lead into. Filled in order."""

    def __init__(self, *arguments: Any) -> None:  # noqa: ANN401
        super().__init__(*arguments)
        import numpy as np

        self._used = 0
        self._end = 0
        memory: Any = self.native.lend(*self.data)
        self._offsets = np.ndarray((self.rows + 1,), f"<i{self.width}", buffer=memory)
        self._offsets[0] = 0

    def put(self, at: int, chunk: Any) -> None:  # noqa: ANN401
        """Copies the bytes after those that are there, and moves the offsets."""
        import numpy as np

        with self.lock:
            if at != self._end:
                raise Unsupported(
                    f"column {self.name!r}: strings and binary are filled in order: row "
                    f"{self._end} is next, not {at}"
                )
            _, offsets, data = chunk.buffers()
            first, last = chunk.offset, chunk.offset + len(chunk)
            found = np.frombuffer(offsets, f"<i{self.width}")[first : last + 1]
            start, size = int(found[0]), int(found[-1]) - int(found[0])
            if self._used + size > self.bytes[1]:
                raise FamfsError(
                    f"column {self.name!r}: {self._used + size} bytes or more, and its size is "
                    f"{self.bytes[1]}: give it more, sizes={{{self.name!r}: bytes}}"
                )
            if size:
                values = np.frombuffer(data, np.uint8)[start : start + size]
                self.native.put(self.bytes[0] + self._used, values)
            moved = self._offsets[at : at + len(chunk) + 1]
            np.add(found, self._used - start, out=moved, casting="same_kind")
            self._used += size
            self._end += len(chunk)

    def finish(self) -> tuple[int, int]:
        """Tells how many bytes there are."""
        return super().finish()[0], self._used


_KINDS: dict[str, type[Column]] = {"fixed": _Fixed, "bits": _Bits, "bytes": _Bytes}


def column_of(
    native: _native.Building,
    place: tuple[Any, ...],
    field: Any,  # noqa: ANN401
    rows: int,
) -> Column:
    """The column that lies at `place`.

    Args:
        native: The file that is being built.
        place: What the native half tells of the column.
        field: Its field, pyarrow's.
        rows: How many rows it has.

    Returns:
        The column.

    Example:
        >>> import pyarrow as pa
        >>> from famfs import _columns
        >>> place = ("a", "fixed", 8, None, (0, 0), (0, 0))
        >>> _columns.column_of(None, place, pa.field("a", pa.int64()), 0).lacking()
        ''
    """
    return _KINDS[place[1]](native, place, field, rows)


def _storage(kind: Any) -> Any:  # noqa: ANN401
    """What an extension type is stored as; any other type itself."""
    return getattr(kind, "storage_type", kind)


def _bools(array: Any) -> np.ndarray[Any, Any]:  # noqa: ANN401
    found: np.ndarray[Any, Any] = array.to_numpy(zero_copy_only=False)
    return found


def _raw(chunk: Any, width: int) -> np.ndarray[Any, Any]:  # noqa: ANN401
    """The bytes of values of one width, as they lie."""
    import numpy as np

    pa = pyarrow()
    count = len(chunk)
    if pa.types.is_fixed_size_list(chunk.type):
        size = chunk.type.list_size
        items = chunk.values.slice(chunk.offset * size, count * size)
        # What stands in a list that is null itself is nobody's.
        if items.null_count and chunk.flatten().null_count:
            raise Unsupported(
                "nulls within lists of a fixed size are not kept in place: publish a table"
            )
        return _raw(items, width // size if size else 0)
    data = chunk.buffers()[1]
    if data is None or not width:
        return np.empty(0, np.uint8)
    start = chunk.offset * width
    return np.frombuffer(data, np.uint8)[start : start + count * width]


def _items(kind: Any, width: int) -> tuple[np.dtype[Any], tuple[int, ...]]:  # noqa: ANN401
    """NumPy's type of a column's values, and the axes within each."""
    import numpy as np

    pa = pyarrow()
    types = pa.types
    if types.is_fixed_size_list(kind):
        size = kind.list_size
        dtype, inner = _items(_storage(kind.value_type), width // size if size else 0)
        return dtype, (size, *inner)
    if types.is_integer(kind) or types.is_floating(kind):
        return np.dtype(kind.to_pandas_dtype()), ()
    if types.is_date32(kind) or types.is_time(kind):
        return np.dtype(f"i{width}"), ()
    if types.is_date64(kind) or types.is_timestamp(kind):
        return np.dtype(f"datetime64[{getattr(kind, 'unit', 'ms')}]"), ()
    if types.is_duration(kind):
        return np.dtype(f"timedelta64[{kind.unit}]"), ()
    return np.dtype(np.uint8), (width,)
