"""Opening: a published file as a dataset, whose values lie where they were published."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Self, cast

from famfs import _arrays, _frames, _native
from famfs._arrow import Batches, dtype_of, is_arrow, pyarrow, why_not_arrow
from famfs._select import row_numbers, select
from famfs.errors import FamfsError, Unsupported

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    import numpy as np

    from famfs._native import Ref
    from famfs.volume import Entry


def open(path_or_ref: str | os.PathLike[str] | Ref | Entry, *, verify: bool = False) -> Dataset:  # noqa: A001
    """Opens a published file. Nothing is copied, and nothing can be written through it.

    Args:
        path_or_ref: Its path, its reference, the reference's text (`famfs://...`), or an entry of
            `ls`.
        verify: Check everything that can be told from the file, the strings' UTF-8 too; otherwise
            only structure is checked, and a column's offsets when it is first handed out.

    Returns:
        The dataset: a table, an array or bytes, as the file's first bytes say, and as `ls` lists
        it. Where a table uses what can't be mapped, such as compression, `buffer` lends its bytes
        all the same, and whatever needs the table raises `Unsupported`.

    Raises:
        Corrupt: The file is not what its first bytes say it is; `famfs cat` gives its bytes.
        InvalidPath: The path is a directory's, or text that is no reference.
        MemoryFault: The file's memory is lost.
        NotFound: There is no such file.
        NotMounted: The path lies under no mount, or the reference's volume isn't mounted here.

    Example:
        >>> import famfs, numpy as np
        >>> ref = famfs.publish(np.ones(3), f"{mnt}/ones")
        >>> famfs.open(ref).to_numpy()
        array([1., 1., 1.])
        >>> famfs.open(str(ref)) == famfs.open(f"{mnt}/ones")
        True
    """
    target: Any = getattr(path_or_ref, "ref", path_or_ref)
    if target is None:
        # An entry without one is a directory: what is opened by its path says so.
        target = cast("Entry", path_or_ref).path
    if not isinstance(target, _native.Ref):
        target = os.fsdecode(target)
        if isinstance(target, str) and target.startswith("famfs://"):
            target = _native.Ref(target)
    if isinstance(target, _native.Ref):
        file = _native.open_ref(target, verify=verify)
    else:
        file = _native.open(target, verify=verify)
    return _of(file)


def _of(file: _native.File) -> Dataset:
    return Dataset(file) if file.kind in _ARROW else _Lent(file)


_ARROW = {"table", "column"}


class Dataset:
    """A published file, open: a table, an array or bytes; or a part of one. `open` makes it.

    Selections are in place, and datasets of their own: `d["name"]` is a column, `d[["a", "b"]]` a
    table of two, `d[10:20]` rows of a table, items along an array's first axis, or bytes;
    `d[10:20, ["a"]]` is both at once, and `d[3]` one item of an array. `take` copies rows of any
    choice.

    What it hands out lies in the volume's memory, is read-only, and holds that memory: it stays
    valid after the dataset is closed, and after the file was replaced or removed. Two datasets are
    equal where their references are. It pickles as its reference.

    An accessor that a kind doesn't have raises `Unsupported` and names the one that works. Where a
    file only begins like a table or an array, each that needs one raises `Corrupt`; where it is one
    that can't be mapped, such as a compressed table, `Unsupported`. `kind`, `ref`, `path` and
    `buffer` always work.
    """

    _file: _native.File

    def __init__(self, file: _native.File) -> None:
        self._file = file

    @property
    def kind(self) -> str:
        """What it is: "table", "column", "array", "parquet", "safetensors" or "bytes"."""
        return self._file.kind

    @property
    def ref(self) -> Ref:
        """Its reference."""
        return self._file.ref

    @property
    def path(self) -> str:
        """Its path, the mount point first."""
        return os.fspath(self._file.path)

    @property
    def nbytes(self) -> int:
        """Bytes of an array's items; of a part of a table, of its values; else of the file."""
        if self.kind in _ARROW and not self._file.is_whole:
            return int(self.to_arrow().nbytes)
        array = self._file.array if self.kind == "array" else None
        first, end = self._file.range
        return end - first if array is None else array[4]

    @property
    def num_rows(self) -> int:
        """Rows of a table or column, or the length of an array's first axis.

        Raises:
            Unsupported: For bytes, and an array of no axes.
        """
        rows = self._file.num_rows
        if rows is None:
            raise self._unsupported("num_rows", "nbytes tells its size")
        return rows

    @property
    def shape(self) -> tuple[int, ...]:
        """The lengths of an array's axes; rows and columns of a table; rows of a column; bytes."""
        kind = self.kind
        if kind == "table":
            return (self.num_rows, self._file.num_columns)
        if kind == "column":
            return (self.num_rows,)
        array = self._file.array if kind == "array" else None
        return (self.nbytes,) if array is None else tuple(array[1])

    @property
    def dtype(self) -> np.dtype[Any]:
        """An array's type of items; that of a column, where NumPy has it.

        Raises:
            Unsupported: For tables, whose types `schema` tells, and other columns.
        """
        import numpy as np

        if self.kind == "table":
            raise self._unsupported("dtype", "schema tells its columns' types")
        if self.kind == "column":
            kind: np.dtype[Any] = self.to_numpy().dtype
            return kind
        array = self._file.array if self.kind == "array" else None
        return np.dtype(np.uint8) if array is None else dtype_of(array[0])

    @property
    def schema(self) -> Any:  # noqa: ANN401 - pyarrow has no types
        """A table's schema, a `pyarrow.Schema`; a column's field, a `pyarrow.Field`.

        Raises:
            Unsupported: For arrays and bytes, whose type `dtype` tells.
        """
        if self.kind == "column":
            return self._told(lambda: pyarrow().field(self._file))
        self._table("schema", "dtype and shape tell its type")
        return self._told(lambda: pyarrow().schema(self._file))

    @property
    def batches(self) -> Batches:
        """A table's record batches, in place; each is made when it is asked for.

        Raises:
            Unsupported: For columns, arrays and bytes.
        """
        self._table("batches", "to_numpy() and buffer() work")
        return Batches(self._file)

    def partition(self, i: int, n: int) -> Dataset:
        """Gives part `i` of `n`, in place: all parts together are all of it, in order.

        A table of `n` record batches or more is cut where they meet, so that each part has whole
        ones; everything else is cut into even rows, items or bytes.

        Args:
            i: Which part, from 0.
            n: How many there are.

        Returns:
            The part.

        Raises:
            IndexError: There is no such part.
            Unsupported: An array of no axes has none.

        Example:
            >>> import famfs, numpy as np
            >>> ds = famfs.open(famfs.publish({"a": np.arange(10)}, f"{mnt}/t", batch_rows=4))
            >>> [ds.partition(i, 2).num_rows for i in range(2)]
            [4, 6]
        """
        if not 0 <= i < n:
            raise IndexError(f"part {i} of {n}: parts are counted from 0")
        return _of(self._file.partition(i, n))

    def take(self, indices: Any) -> Any:  # noqa: ANN401
        """Copies rows of any choice: what is not in one place can't be had in place.

        Args:
            indices: Rows of a table or column, items along an array's first axis, or bytes: as
                numbers, negative ones from the end; or as a mask of booleans.

        Returns:
            A `pyarrow.Table` or `pyarrow.ChunkedArray`; of arrays and bytes, a NumPy array.

        Raises:
            IndexError: A row is not there, or a mask is of another length.
            Unsupported: An array of no axes has none.

        Example:
            >>> import famfs, numpy as np
            >>> ds = famfs.open(famfs.publish({"a": np.arange(10)}, f"{mnt}/t"))
            >>> ds.take([7, 0, -1])["a"].to_pylist()
            [7, 0, 9]
        """
        wanted = row_numbers(self._file, indices, len(self))
        if self.kind not in _ARROW:
            return _arrays.in_place(self._file)[wanted]
        return self._told(lambda: self.to_arrow().take(pyarrow().array(wanted)))

    def to_arrow(self) -> Any:  # noqa: ANN401
        """Hands a table or column out as Arrow data, in place; an array or bytes as an Arrow array.

        Returns:
            A `pyarrow.Table`; for a column a `pyarrow.ChunkedArray`; for an array of one axis and
            bytes a `pyarrow.Array`. Their buffers lie in the volume's memory. Of dates and times
            that are missing (NaT) Arrow has a bitmap, which is made.

        Raises:
            Corrupt: A column's data is not what its type needs.
            Unsupported: For arrays of several axes, or of types that lie in memory in another way
                in Arrow.

        Example:
            >>> import famfs, numpy as np
            >>> ref = famfs.publish({"a": np.arange(3)}, f"{mnt}/table")
            >>> famfs.open(ref).to_arrow().column_names
            ['a']
        """
        pa = pyarrow()
        if self.kind == "table":
            # Not by pa.table(), which imports pandas.
            return self._told(lambda: pa.RecordBatchReader.from_stream(self._file).read_all())
        if self.kind == "column":
            return self._told(lambda: pa.chunked_array(self._file))
        array = _arrays.in_place(self._file)
        if array.ndim != 1:
            raise self._unsupported("to_arrow()", "it has not exactly one axis; to_numpy() works")
        if not is_arrow(array.dtype):
            raise self._unsupported("to_arrow()", why_not_arrow(array.dtype))
        if not array.flags.c_contiguous:
            raise self._unsupported("to_arrow()", "its items are not next to each other")
        kind = pa.from_numpy_dtype(array.dtype)
        nulls = _arrays.missing(self._file, array)
        return pa.Array.from_buffers(kind, len(array), [nulls, pa.py_buffer(array.view("u1"))])

    def to_numpy(self) -> np.ndarray[Any, Any]:
        """Hands an array out as a NumPy array, in place and read-only; bytes as `uint8`.

        A column without nulls, of a type that NumPy has, in one record batch, works as well, and so
        does a table of one. A column of lists of one length is an array of two axes.

        Returns:
            The array. Its memory is the volume's.

        Raises:
            Unsupported: For any other table or column.

        Example:
            >>> import famfs, numpy as np
            >>> array = famfs.open(famfs.publish(np.arange(4), f"{mnt}/four")).to_numpy()
            >>> array.flags.writeable
            False
        """
        import numpy as np

        file = self._file
        if self.kind == "table":
            if file.num_columns != 1:
                raise self._unsupported(
                    "to_numpy()",
                    f"it has {file.num_columns} columns; d[name].to_numpy() makes an array of one, "
                    "to_pandas() a frame of all",
                )
            file = file.column(0)
        if file.kind != "column":
            return _arrays.in_place(self._file)
        try:
            descr, length, width, memory = file.values()
        except Unsupported as error:
            raise self._unsupported("to_numpy()", str(error)) from None
        shape = (length,) if width is None else (length, width)
        array: np.ndarray[Any, Any] = np.frombuffer(cast("Any", memory), np.dtype(descr))
        return array.reshape(shape)

    def to_pandas(self, *, copy: bool | None = None, dtype_backend: str | None = None) -> Any:  # noqa: ANN401
        """Hands a table out as a pandas frame, a column as a series, in place where pandas can.

        Numbers and times without nulls are NumPy's, others are Arrow's (`pandas.ArrowDtype`), in
        place both. What was published as a pandas frame comes back as it was, its index too; such
        of its columns as pandas keeps in a way of its own (booleans, Python strings) are converted.

        Args:
            copy: False makes an error of a column that would be copied; True copies all.
            dtype_backend: "pyarrow" makes every column Arrow's, which is always in place.

        Returns:
            A `pandas.DataFrame`, or a `pandas.Series` of a column; for an array of one axis a
            series, for one of two axes a frame.

        Raises:
            Unsupported: For bytes, and arrays of other shapes; a column would be copied.

        Example:
            >>> import famfs, numpy as np
            >>> ref = famfs.publish({"a": np.arange(3), "b": np.ones(3)}, f"{mnt}/frame")
            >>> famfs.open(ref).to_pandas()["a"].sum()
            np.int64(3)
        """
        if self.kind in _ARROW:
            table = self._as_table()
            made = self._told(
                lambda: _frames.to_pandas(table, copy=copy, dtype_backend=dtype_backend)
            )
            return made if self.kind == "table" else made.iloc[:, 0]
        if self.kind != "array" or len(self.shape) not in {1, 2}:
            raise self._unsupported("to_pandas()", "to_numpy() works")
        import pandas as pd

        make = pd.Series if len(self.shape) == 1 else pd.DataFrame
        return make(_arrays.in_place(self._file), copy=bool(copy))

    def to_polars(self) -> Any:  # noqa: ANN401
        """Hands a table out as a polars frame, a column as a series, in place where polars can.

        Returns:
            A `polars.DataFrame` or `polars.Series`.

        Raises:
            Unsupported: For arrays and bytes, and where polars is missing.

        Example:
            >>> import famfs, numpy as np
            >>> famfs.open(famfs.publish({"a": np.arange(3)}, f"{mnt}/t")).to_polars().shape
            (3, 1)
        """
        if self.kind == "column":
            return _frames.to_polars(self.to_arrow(), self._file.names[0])
        self._table("to_polars()", "to_numpy() works")
        return _frames.to_polars(self.to_arrow(), None)

    def to_torch(self) -> Any:  # noqa: ANN401
        """Hands an array, a column of numbers or bytes out as a torch tensor, in place.

        PyTorch has no read-only tensors: what writes to this one ends the process. `copy()` and
        `clone()` make one that may be written to.

        Returns:
            A `torch.Tensor`, whose memory is the volume's.

        Raises:
            Unsupported: For what `to_numpy` refuses, types that torch hasn't, and where torch is
                missing.
        """
        return _frames.to_torch(self.to_numpy(), self.path)

    def copy(self) -> Any:  # noqa: ANN401
        """Makes a private copy: it can be written to, and holds no memory of the volume.

        Returns:
            A `pyarrow.Table` or `pyarrow.ChunkedArray`, a NumPy array, or bytes.

        Raises:
            Corrupt: The file is not what its first bytes say it is.
            MemoryFault: The file's memory is lost.

        Example:
            >>> import famfs, numpy as np
            >>> mine = famfs.open(famfs.publish(np.zeros(2), f"{mnt}/zeros")).copy()
            >>> mine[0] = 5
        """
        if self.kind in _ARROW:
            return self._copy_table()
        return _arrays.own(self._file) if self.kind == "array" else self._file.copy_bytes()

    def buffer(self) -> memoryview:
        """Lends all bytes of the file, in place and read-only: an IPC file, an NPY file, bytes.

        Of a part of a table or an array that is all of its file too; of a range of bytes, those.

        Returns:
            A view of them, which holds the memory.

        Example:
            >>> import famfs
            >>> famfs.open(famfs.publish(b"hello", f"{mnt}/hello")).buffer()[0]
            104
        """
        whole: Any = _native.Buffer(self._file, whole=True)
        return memoryview(whole)

    def close(self) -> None:
        """Holds the file no longer. What was handed out stays valid."""
        self._file.close()

    def __enter__(self) -> Self:
        """The dataset itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Closes it."""
        self.close()

    def __eq__(self, other: object) -> bool:
        """Whether both are of one reference."""
        return isinstance(other, Dataset) and self.ref == other.ref

    def __hash__(self) -> int:
        """That of its reference."""
        return hash(self.ref)

    def __reduce__(self) -> tuple[Any, tuple[Ref]]:
        """Pickles as its reference: a few bytes, opened again where they arrive."""
        return (open, (self.ref,))

    def __getitem__(self, key: Any) -> Dataset:  # noqa: ANN401
        """Rows, columns or both, in place; see the class."""
        part = select(self._file, key)
        return self if part is self._file else _of(part)

    # Without these Python would ask for one item after the other.
    __iter__ = None
    __contains__ = None

    def __len__(self) -> int:
        """Rows of a table, length of an array's first axis, or bytes."""
        shape = self.shape
        if not shape:
            raise TypeError("an array of no axes has no length")
        return shape[0]

    def __bool__(self) -> bool:
        """True, also where it is empty."""
        return True

    def __arrow_c_schema__(self) -> object:
        """The table's schema, or the column's, for any Arrow library."""
        self._is_arrow("__arrow_c_schema__", "to_arrow() makes an array of it")
        return self._file.__arrow_c_schema__()

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """The table or column, in place, for any Arrow library."""
        self._is_arrow("__arrow_c_stream__", "to_arrow() makes an array of it")
        return self._file.__arrow_c_stream__(requested_schema)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:  # noqa: ANN401, FBT001
        """The array, for NumPy: in place unless another type is asked for."""
        import numpy as np

        array = self.to_numpy()
        if dtype is not None and np.dtype(dtype) != array.dtype:
            if copy is False:
                raise ValueError(f"{array.dtype} can't be taken for {dtype} without a copy")
            return array.astype(dtype)
        if not copy:
            return array
        return array.copy() if self.kind in _ARROW else _arrays.own(self._file)

    def __dlpack__(self, **options: Any) -> object:  # noqa: ANN401
        """The array's memory, for other array libraries that take read-only memory."""
        return self.to_numpy().__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        """This host's memory."""
        return (1, 0)

    def __repr__(self) -> str:
        """Kind, size and reference."""
        try:
            return f"<famfs.Dataset {self._summary()}, {self.ref}>"
        except FamfsError as error:
            return f"<famfs.Dataset ({error})>"

    def _repr_html_(self) -> str:
        """What a notebook shows: a table's columns with their types, or an array's shape."""
        from html import escape

        try:
            head = f"<b>{escape(self.path)}</b>: {escape(self._summary())}"
            fields = self.schema if self.kind == "table" else ()
        except FamfsError:
            return f"<p>{escape(repr(self))}</p>"
        if self.kind != "table":
            return f"<p>{head}</p>"
        rows = "".join(
            f"<tr><td>{escape(field.name)}</td><td>{escape(str(field.type))}</td></tr>"
            for field in fields
        )
        return f"<p>{head}</p><table><tr><th>column</th><th>type</th></tr>{rows}</table>"

    def _summary(self) -> str:
        if self.kind == "table":
            rows, columns = self.shape
            return f"table of {rows} rows and {columns} columns"
        if self.kind == "array":
            return f"array of {self.dtype}, shape {self.shape}"
        if self.kind == "column":
            return f"column {self._file.names[0]!r} of {self.num_rows} rows"
        return f"{self.kind}, {self.nbytes} bytes"

    def _as_table(self) -> Any:  # noqa: ANN401
        """A table, or the column as a table of one, in place."""
        if self.kind == "table":
            return self.to_arrow()
        return pyarrow().table([self.to_arrow()], names=self._file.names)

    def _copy_table(self) -> Any:  # noqa: ANN401
        """A table or column in memory of its own: all its bytes, or a part, written anew."""
        pa = pyarrow()
        self._file.check()
        if self._file.is_whole:
            whole = pa.py_buffer(self._file.copy_bytes())
            return self._told(lambda: pa.ipc.open_file(whole).read_all())
        self._file.probe()
        table = self._as_table()
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
        copied = pa.ipc.open_stream(sink.getvalue()).read_all()
        return copied if self.kind == "table" else copied.column(0)

    def _told(self, make: Callable[[], Any]) -> Any:  # noqa: ANN401
        """What pyarrow makes of the file, its refusals made those of this package."""
        pa = pyarrow()
        try:
            return make()
        except pa.ArrowException as error:
            if isinstance(error, FamfsError):
                raise
            raise self._unsupported(
                "Arrow table", f"pyarrow refuses it ({error}); buffer() lends its bytes"
            ) from error

    def _is_arrow(self, what: str, instead: str) -> None:
        if self.kind not in _ARROW:
            raise self._unsupported(what, instead)

    def _table(self, what: str, instead: str) -> None:
        if self.kind != "table":
            raise self._unsupported(what, instead)

    def _unsupported(self, what: str, instead: str) -> Unsupported:
        return Unsupported(f"{self.path} ({self.kind}) has no {what}: {instead}")


class _Lent(Dataset, _native.Buffer):
    """An array or bytes: they export the buffer protocol, which `np.asarray` takes in place."""

    def close(self) -> None:
        super().close()
        self._release()


_Lent.__name__ = _Lent.__qualname__ = "Dataset"
