"""Opening: a published file as a dataset, whose values lie where they were published."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Self, cast

from famfs import _native
from famfs._arrow import Batches, dtype_of, is_arrow, pyarrow, why_not_arrow
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
    return Dataset(file) if file.kind == "table" else _Lent(file)


class Dataset:
    """A published file, open: a table, an array or bytes. `open` makes it.

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
        """What it is: "table", "array", "parquet", "safetensors" or "bytes"."""
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
        """Bytes of an array's items; of anything else, of the file."""
        array = self._file.array
        return self._file.size if array is None else array[4]

    @property
    def num_rows(self) -> int:
        """Rows of a table, or the length of an array's first axis.

        Raises:
            Unsupported: For bytes, and an array of no axes.
        """
        rows = self._file.num_rows
        if rows is None:
            raise self._unsupported("num_rows", "nbytes tells its size")
        return rows

    @property
    def shape(self) -> tuple[int, ...]:
        """The lengths of an array's axes; rows and columns of a table; bytes of anything else."""
        array = self._file.array
        if array is not None:
            return tuple(array[2])
        if self.kind == "table":
            return (self.num_rows, len(self._file.names))
        return (self._file.size,)

    @property
    def dtype(self) -> np.dtype[Any]:
        """An array's type of items.

        Raises:
            Unsupported: For tables, whose types `schema` tells.
        """
        import numpy as np

        if self.kind == "table":
            raise self._unsupported("dtype", "schema tells its columns' types")
        array = self._file.array
        return np.dtype(np.uint8) if array is None else dtype_of(array[0])

    @property
    def schema(self) -> Any:  # noqa: ANN401 - pyarrow has no types
        """A table's schema, a `pyarrow.Schema`.

        Raises:
            Unsupported: For arrays and bytes, whose type `dtype` tells.
        """
        self._table("schema", "dtype and shape tell its type")
        return self._told(lambda: pyarrow().schema(self._file))

    @property
    def batches(self) -> Batches:
        """A table's record batches, in place; each is made when it is asked for.

        Raises:
            Unsupported: For arrays and bytes.
        """
        self._table("batches", "to_numpy() and buffer() work")
        return Batches(self._file)

    def to_arrow(self) -> Any:  # noqa: ANN401
        """Hands a table out as a `pyarrow.Table`, in place; an array or bytes as an Arrow array.

        Returns:
            A `pyarrow.Table`; for an array of one axis and bytes a `pyarrow.Array`. Their buffers
            lie in the volume's memory. Of dates and times that are missing (NaT) Arrow has a
            bitmap, which is made.

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
        array = self._numpy()
        if array.ndim != 1:
            raise self._unsupported("to_arrow()", "it has not exactly one axis; to_numpy() works")
        if not is_arrow(array.dtype):
            raise self._unsupported("to_arrow()", why_not_arrow(array.dtype))
        kind = pa.from_numpy_dtype(array.dtype)
        nulls = self._missing(array)
        return pa.Array.from_buffers(kind, len(array), [nulls, pa.py_buffer(array.view("u1"))])

    def to_numpy(self) -> np.ndarray[Any, Any]:
        """Hands an array out as a NumPy array, in place and read-only; bytes as `uint8`.

        A table of one column without nulls, of a type that NumPy has, works as well.

        Returns:
            The array. Its memory is the volume's.

        Raises:
            Unsupported: For any other table.

        Example:
            >>> import famfs, numpy as np
            >>> array = famfs.open(famfs.publish(np.arange(4), f"{mnt}/four")).to_numpy()
            >>> array.flags.writeable
            False
        """
        if self.kind != "table":
            return self._numpy()
        names = self._file.names
        if len(names) != 1:
            raise self._unsupported(
                "to_numpy()",
                f"it has {len(names)} columns; to_arrow()[name].to_numpy() makes an array of one, "
                "to_pandas() a frame of all",
            )
        pa = pyarrow()
        column = self.to_arrow().column(0)
        # A table of no rows has no batches either.
        chunks = column.chunks or [pa.array([], column.type)]
        if len(chunks) == 1:
            try:
                array = cast("np.ndarray[Any, Any]", chunks[0].to_numpy(zero_copy_only=True))
            except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
                raise self._unsupported(
                    "to_numpy()",
                    f"its column is not memory that NumPy can use ({error}); "
                    "to_arrow().column(0).to_numpy() copies it",
                ) from error
            array.flags.writeable = False
            return array
        raise self._unsupported(
            "to_numpy()",
            f"its column has {column.num_chunks} batches; to_arrow().column(0).to_numpy() joins "
            "them in a copy",
        )

    def to_pandas(self) -> Any:  # noqa: ANN401
        """Hands a table out as a pandas frame, in place where pandas can hold it.

        Numbers without nulls are not copied, and read-only. Strings, booleans and columns with
        nulls are converted. An index that was published is the index again.

        Returns:
            A `pandas.DataFrame`; for an array of one axis a `pandas.Series`, for one of two axes a
            frame.

        Raises:
            Unsupported: For bytes, and arrays of other shapes.

        Example:
            >>> import famfs, numpy as np
            >>> ref = famfs.publish({"a": np.arange(3), "b": np.ones(3)}, f"{mnt}/frame")
            >>> famfs.open(ref).to_pandas()["a"].sum()
            np.int64(3)
        """
        if self.kind == "table":
            return self.to_arrow().to_pandas(split_blocks=True)
        if self.kind != "array" or len(self.shape) not in {1, 2}:
            raise self._unsupported("to_pandas()", "to_numpy() works")
        import pandas as pd

        make = pd.Series if len(self.shape) == 1 else pd.DataFrame
        return make(self._numpy(), copy=False)

    def to_polars(self) -> Any:  # noqa: ANN401
        """Hands a table out as a polars frame, in place where polars can hold it.

        Returns:
            A `polars.DataFrame`.

        Raises:
            Unsupported: For arrays and bytes, and where polars is missing.

        Example:
            >>> import famfs, numpy as np
            >>> famfs.open(famfs.publish({"a": np.arange(3)}, f"{mnt}/t")).to_polars().shape
            (3, 1)
        """
        self._table("to_polars()", "to_numpy() works")
        try:
            import polars as pl
        except ImportError as error:
            raise Unsupported("to_polars() needs polars: pip install polars") from error
        return pl.from_arrow(self.to_arrow())

    def copy(self) -> Any:  # noqa: ANN401
        """Makes a private copy: it can be written to, and holds no memory of the volume.

        Returns:
            A `pyarrow.Table`, a NumPy array, or bytes.

        Raises:
            Corrupt: The file is not what its first bytes say it is.
            MemoryFault: The file's memory is lost.

        Example:
            >>> import famfs, numpy as np
            >>> mine = famfs.open(famfs.publish(np.zeros(2), f"{mnt}/zeros")).copy()
            >>> mine[0] = 5
        """
        if self.kind == "table":
            pa = pyarrow()
            self._file.check()
            whole = pa.py_buffer(self._file.copy_bytes())
            return self._told(lambda: pa.ipc.open_file(whole).read_all())
        return self._own() if self._file.array is not None else self._file.copy_bytes()

    def buffer(self) -> memoryview:
        """Lends all bytes of the file, in place and read-only: an IPC file, an NPY file, bytes.

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
        """The table's schema, for any Arrow library."""
        self._table("__arrow_c_schema__", "to_arrow() makes an array of it")
        return self._file.__arrow_c_schema__()

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """The table, in place, for any Arrow library."""
        self._table("__arrow_c_stream__", "to_arrow() makes an array of it")
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
        return array.copy() if self.kind == "table" else self._own()

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
        return f"{self.kind}, {self._file.size} bytes"

    def _numpy(self) -> np.ndarray[Any, Any]:
        import numpy as np

        whole = np.frombuffer(self.buffer(), np.uint8)
        array = self._file.array
        if array is None:
            return whole
        descr, fortran, shape, start, nbytes = array
        dtype = dtype_of(descr)
        if nbytes == 0:
            empty = np.empty(shape, dtype, order="F" if fortran else "C")
            empty.flags.writeable = False
            return empty
        items = whole[start : start + nbytes].view(dtype)
        return items.reshape(shape, order="F" if fortran else "C")

    def _own(self) -> np.ndarray[Any, Any]:
        """A copy as an array, lost memory noticed."""
        import numpy as np

        bytes_ = ("|u1", False, [self._file.size], 0, self._file.size)
        descr, fortran, shape, start, _ = self._file.array or bytes_
        copy = np.empty(shape, dtype_of(descr), order="F" if fortran else "C")
        if copy.nbytes:
            flat = copy.reshape(-1, order="A").view(np.uint8)
            self._file.copy_into(start, flat)
        return copy

    def _missing(self, array: np.ndarray[Any, Any]) -> Any:  # noqa: ANN401
        """The validity bitmap of dates and times, where any of them is missing."""
        if array.dtype.kind not in "mM":
            return None
        import numpy as np

        self._file.probe()
        missing = np.isnat(array)
        if not missing.any():
            return None
        return pyarrow().py_buffer(np.packbits(~missing, bitorder="little"))

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
