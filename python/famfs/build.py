"""Building in place: arrays and tables whose values are computed where they stay."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

from famfs import _native
from famfs._arguments import read_count, read_mode, read_path
from famfs._arrow import pyarrow
from famfs._columns import Column, column_of
from famfs.convert import arrays
from famfs.errors import FamfsError, Unsupported

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping
    from types import TracebackType

    import numpy as np
    import numpy.typing as npt

    from famfs._native import Ref

T = TypeVar("T")


class Building(Generic[T]):
    """A file that is built in place, a context manager. `create` and `create_table` make it.

    Its space is reserved when the block begins. The file appears, whole, when the block ends well;
    when it raises, or the process dies, nothing is left. Afterwards what was lent is read-only:
    views that leaked out of the block lead to the same bytes, and what is written through them is
    a copy of this process alone, or ends it where the memory can't be mapped so (a dax device).
    """

    def __init__(self, begin: Callable[[], _native.Building], build: Callable[..., Any]) -> None:
        self._begin = begin
        self._build = build
        self._native: _native.Building | None = None
        self._made: Any = None
        self._ref: Ref | None = None

    @property
    def ref(self) -> Ref:
        """The reference of what was published, once the block has ended.

        Raises:
            FamfsError: It hasn't, or not well, or a transaction is to publish it.
        """
        if self._ref is None:
            raise FamfsError(
                "no reference yet: the block has not ended well, or the file is a transaction's, "
                "whose commit returns it"
            )
        return self._ref

    def __enter__(self) -> T:
        """Reserves the space, and lends it."""
        if self._native is not None:
            raise FamfsError("a file is built once: call create again for another one")
        self._native = self._begin()
        try:
            self._made = self._build(self._native)
        except BaseException:
            self._native.abandon()
            raise
        made: T = self._made.handed
        return made

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Publishes the file, or forgets it where the block raised."""
        native, made = self._native, self._made
        self._made = None
        if native is None or made is None:
            return
        if error is not None:
            native.abandon()
            return
        try:
            self._ref = native.commit(made.finish())
        except BaseException:
            native.abandon()
            raise


def create(
    path: str | os.PathLike[str],
    shape: int | tuple[int, ...],
    dtype: npt.DTypeLike,
    *,
    order: str = "C",
    zero: bool = False,
    overwrite: bool = False,
    mode: int | None = None,
) -> Building[np.ndarray[Any, Any]]:
    """Builds an array in place: a NumPy array that is computed into where it is published.

    Nothing is copied, neither during the block nor at its end. What the array holds at first is
    arbitrary, as of `numpy.empty`: write all of it, or ask for zeros. In a forked child its memory
    is not there; other processes take part by a transaction.

    Args:
        path: Where, below a mount point.
        shape: Its shape.
        dtype: Its type, without Python objects.
        order: "C" or "F", as for `numpy.empty`.
        zero: Begin with zeros, which costs a pass over the memory.
        overwrite: Put it in the place of a file that is there, as its new version.
        mode: Permission bits, such as 0o640; by default 0o666 without the umask.

    Returns:
        A context manager that gives the array, writable until the block ends. Its `ref` is the
        reference afterwards.

    Raises:
        AlreadyExists: When the block begins or ends: the name is taken.
        MemoryFault: When the block ends: memory of the file was lost.
        NoSpace: When the block begins: the volume is full, or the host.
        NotFound: The directory is missing.
        NotMounted: The path lies under no mount.
        Unsupported: The type can't be published.

    Example:
        >>> import famfs, numpy as np
        >>> with famfs.create(f"{mnt}/squares", 4, np.int64) as squares:
        ...     np.multiply(np.arange(4), np.arange(4), out=squares)
        array([0, 1, 4, 9])
        >>> famfs.open(f"{mnt}/squares").to_numpy()
        array([0, 1, 4, 9])
    """
    options = {"order": order, "zero": zero, "overwrite": overwrite, "mode": mode}
    return array_within(None, path, shape, dtype, **options)


def array_within(
    transaction: _native.Transaction | None,
    path: str | os.PathLike[str],
    shape: int | tuple[int, ...],
    dtype: npt.DTypeLike,
    **options: Any,  # noqa: ANN401
) -> Building[np.ndarray[Any, Any]]:
    """Builds an array in place for a transaction, if there is one.

    Args:
        transaction: The transaction.
        path: As `create`.
        shape: As `create`.
        dtype: As `create`.
        **options: As `create`: order, zero, overwrite and mode.

    Returns:
        As `create`.

    Raises:
        Unsupported: As `create`.

    Example:
        >>> from famfs import build
        >>> with build.array_within(None, f"{mnt}/none", 0, "f8") as nothing:
        ...     nothing.size
        0
    """
    order = options.pop("order", "C")
    if order not in {"C", "F"}:
        raise Unsupported(f"order={order!r}: an array is in C or in F order")
    where, kind, axes = read_path(path), *_checked(shape, dtype)
    descr = arrays.descr_of(kind)
    options["mode"] = read_mode(options.get("mode"))
    # Bytes between fields are nobody's to write, and would be what was there before.
    options["zero"] = options.get("zero", False) or arrays.has_gaps(kind)

    def begin() -> _native.Building:
        fortran = order == "F" and len(axes) > 1
        return _native.create_array(
            where, descr, fortran, list(axes), transaction=transaction, **options
        )

    return Building(begin, lambda native: _Array(native, axes, kind, order))


class _Array:
    """An array in a file that is being built."""

    def __init__(
        self,
        native: _native.Building,
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
        order: Any,  # noqa: ANN401 - NumPy's type for it names two words
    ) -> None:
        import numpy as np

        nbytes = dtype.itemsize
        for axis in shape:
            nbytes *= axis
        if nbytes:
            # NumPy's types know no buffers but Python's own.
            memory: Any = native.lend(native.data_at, nbytes)
            self.handed = np.ndarray(shape, dtype, buffer=memory, order=order)
        else:
            self.handed = np.empty(shape, dtype, order=order)

    def finish(self) -> list[tuple[int, int]]:
        """Ends the lending, as far as NumPy goes."""
        self.handed.flags.writeable = False
        return []


def _checked(
    shape: int | tuple[int, ...], dtype: npt.DTypeLike
) -> tuple[np.dtype[Any], tuple[int, ...]]:
    """A type that can be published, and its shape, into which arrays within the type go."""
    import numpy as np

    lengths = shape if isinstance(shape, tuple | list) else (shape,)
    axes = tuple(read_count(length, "shape", "items along an axis") for length in lengths)
    try:
        kind = np.dtype(dtype)
    except (TypeError, ValueError) as error:
        raise Unsupported(f"dtype={dtype!r}: {error}") from error
    # Of no items: what NumPy makes of types that hold arrays is seen by what it makes.
    like = np.empty((0,), kind)
    axes += like.shape[1:]
    try:
        # How many axes and bytes an array can have is NumPy's to say: of one item that stands for
        # all of them, so that nothing is allocated.
        item = np.empty((), like.dtype)
        np.lib.stride_tricks.as_strided(item, axes, (0,) * len(axes))
    except (TypeError, ValueError, MemoryError) as error:
        raise Unsupported(f"shape={shape!r}, dtype={dtype!r}: {error}") from error
    return like.dtype, axes


class TableBuilder:
    """A table that is built in place, as its block sees it. `create_table` makes it.

    Columns of values of one width are NumPy arrays over the file; all columns can be filled from
    Arrow arrays, part by part.
    """

    def __init__(self, columns: Mapping[str, Column]) -> None:
        self._columns = columns

    def __getitem__(self, name: str) -> np.ndarray[Any, Any]:
        """A column's values, to be written: its memory is the file's.

        Dates of days and times of day are their integers, and types that NumPy hasn't (decimals,
        fixed-size binary) rows of bytes. Lists of a fixed size are an axis.

        Raises:
            FamfsError: There is no such column.
            Unsupported: Its values don't lie next to each other at one width; `fill` works.
        """
        return self._column(name).array()

    def validity(self, name: str) -> np.ndarray[Any, Any]:
        """Which values of a nullable column are there: booleans, all true at first, to be written.

        Args:
            name: The column.

        Returns:
            An array of booleans, which becomes the column's bitmap at the end of the block.

        Raises:
            FamfsError: There is no such column.
            Unsupported: The column is not nullable.

        Example:
            >>> import famfs, numpy as np, pyarrow as pa
            >>> with famfs.create_table(f"{mnt}/gaps", pa.schema({"a": pa.int8()}), 3) as t:
            ...     t["a"][:] = 7
            ...     t.validity("a")[1] = False
            >>> famfs.open(f"{mnt}/gaps").to_arrow()["a"].to_pylist()
            [7, None, 7]
        """
        return self._column(name).validity()

    def fill(self, name: str, values: object, offset: int | None = None) -> int:
        """Copies values, and which of them are null, into a column.

        Several threads may fill parts of a column of one width at the same time.

        Args:
            name: The column.
            values: An Arrow array, or anything that is one (polars, pandas); or a NumPy array or
                list, of which Arrow makes one.
            offset: The row to begin at; by default after the part that was filled last. Strings
                and binary come in order.

        Returns:
            The row after the last.

        Raises:
            FamfsError: There is no such column, or they are more than there is room for.
            Unsupported: They are not of the column's type, or null where it is not nullable.

        Example:
            >>> import famfs, pyarrow as pa
            >>> schema = pa.schema({"s": pa.string()})
            >>> with famfs.create_table(f"{mnt}/s", schema, 3, sizes={"s": 100}) as t:
            ...     t.fill("s", ["a", None]), t.fill("s", ["bcd"])
            (2, 3)
            >>> famfs.open(f"{mnt}/s").to_arrow()["s"].to_pylist()
            ['a', None, 'bcd']
        """
        return self._column(name).fill(values, offset)

    def _column(self, name: str) -> Column:
        column = self._columns.get(name)
        if column is None:
            names = ", ".join(map(repr, self._columns))
            raise FamfsError(f"no column {name!r}: there are {names or 'none'}")
        return column


def create_table(
    path: str | os.PathLike[str],
    schema: object,
    rows: int,
    *,
    sizes: Mapping[str, int] | None = None,
    overwrite: bool = False,
    mode: int | None = None,
) -> Building[TableBuilder]:
    """Builds a table in place: columns that are computed into where they are published.

    It is one record batch of a standard Arrow IPC file. pyarrow takes no memory pool from outside,
    so its compute functions can't put their results there: `TableBuilder.fill` copies them once.
    NumPy's can: `np.add(a, b, out=t["sum"])`.

    Args:
        path: Where, below a mount point.
        schema: A `pyarrow.Schema`, or what `pyarrow.schema` makes one of. Numbers, dates, times,
            decimals, fixed-size binary and lists of these of a fixed size, booleans, strings and
            binary can be built in place.
        rows: How many rows it has.
        sizes: For each column of strings or binary the bytes that it has room for.
        overwrite: Put it in the place of a file that is there, as its new version.
        mode: Permission bits, such as 0o640; by default 0o666 without the umask.

    Returns:
        A context manager that gives a `TableBuilder`. Its `ref` is the reference afterwards.

    Raises:
        AlreadyExists: When the block begins or ends: the name is taken.
        FamfsError: When the block ends: a column was not written.
        NoSpace: When the block begins: the volume is full, or the host.
        NotFound: The directory is missing.
        NotMounted: The path lies under no mount.
        Unsupported: The schema has a column that can't be built in place, or whose size is missing.

    Example:
        >>> import famfs, numpy as np, pyarrow as pa
        >>> schema = pa.schema({"a": pa.float64(), "even": pa.bool_()})
        >>> with famfs.create_table(f"{mnt}/t", schema, 4) as t:
        ...     _ = np.sqrt([0, 1, 4, 9], out=t["a"])
        ...     _ = t.fill("even", [True, False, True, False])
        >>> famfs.open(f"{mnt}/t").to_arrow().to_pydict()
        {'a': [0.0, 1.0, 2.0, 3.0], 'even': [True, False, True, False]}
    """
    options: dict[str, Any] = {"sizes": sizes, "overwrite": overwrite, "mode": mode}
    return table_within(None, path, schema, rows, **options)


def table_within(
    transaction: _native.Transaction | None,
    path: str | os.PathLike[str],
    schema: Any,  # noqa: ANN401 - pyarrow has no types
    rows: int,
    *,
    sizes: Mapping[str, int] | None = None,
    **options: Any,  # noqa: ANN401
) -> Building[TableBuilder]:
    """Builds a table in place for a transaction, if there is one.

    Args:
        transaction: The transaction.
        path: As `create_table`.
        schema: As `create_table`.
        rows: As `create_table`.
        sizes: As `create_table`.
        **options: As `create_table`: overwrite and mode.

    Returns:
        As `create_table`.

    Raises:
        Unsupported: As `create_table`.

    Example:
        >>> from famfs import build
        >>> with build.table_within(None, f"{mnt}/nothing", [], 0):
        ...     pass
    """
    pa = pyarrow("a table that is built in place")
    try:
        types = schema if isinstance(schema, pa.Schema) else pa.schema(schema)
    except (pa.ArrowException, ValueError, TypeError) as error:
        raise Unsupported(f"schema={schema!r}: pyarrow makes no schema of it: {error}") from error
    count, rooms = read_count(rows, "rows", "rows"), _rooms(sizes)
    where = read_path(path)
    options["mode"] = read_mode(options.get("mode"))

    def begin() -> _native.Building:
        return _native.create_table(where, types, count, rooms, transaction=transaction, **options)

    return Building(begin, lambda native: _Table(native, types, count, where))


def _rooms(sizes: Mapping[str, int] | None) -> dict[str, int]:
    """The bytes that columns have room for, by their names."""
    try:
        rooms = dict(sizes or {})
    except (TypeError, ValueError) as error:
        raise Unsupported(
            f"sizes={sizes!r}: bytes by the column's name, such as {{'name': 4096}}"
        ) from error
    if not all(isinstance(name, str) for name in rooms):
        raise Unsupported(f"sizes={sizes!r}: columns are named by strings")
    return {name: read_count(size, f"sizes[{name!r}]", "bytes") for name, size in rooms.items()}


class _Table:
    """The columns of a table in a file that is being built."""

    def __init__(self, native: _native.Building, types: Any, rows: int, path: str) -> None:  # noqa: ANN401
        self._path = path
        pairs = zip(native.columns, types, strict=True)
        self._columns = {place[0]: column_of(native, place, field, rows) for place, field in pairs}
        self.handed = TableBuilder(self._columns)

    def finish(self) -> list[tuple[int, int]]:
        """Ends the lending, and tells what was filled.

        Raises:
            FamfsError: A column was not written.
        """
        for name, column in self._columns.items():
            lacking = column.lacking()
            if lacking:
                raise FamfsError(f"{self._path}: column {name!r}: {lacking}; nothing was published")
        return [column.finish() for column in self._columns.values()]
