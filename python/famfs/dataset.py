"""Opening: a published file as a dataset, whose values lie where they were published."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any, Self, cast

from famfs import _arrays, _frames, _native
from famfs._accessors import ARROW, Accessors
from famfs._arguments import read_count, read_path, whole
from famfs._arrow import Batches, dtype_of, pyarrow
from famfs._select import row_numbers, select
from famfs.errors import FamfsError, InvalidPath, NotFound

if TYPE_CHECKING:
    import os
    from types import TracebackType

    import numpy as np

    from famfs._native import Ref
    from famfs.volume import Entry


def open(path_or_ref: str | os.PathLike[str] | Ref | Entry, *, verify: bool = False) -> Dataset:  # noqa: A001
    """Opens a published file. Nothing is copied, and nothing can be written through it.

    Args:
        path_or_ref: Its path, its reference, the reference's text (`famfs://...`), or an entry of
            `ls`. A directory's path opens the tables in it as one, in the order of their names, and
            so does one whose last part is a pattern, such as `runs/2026-*`.
        verify: Check everything that can be told from the file: its checksum, if it has one, and
            all structure, the strings' UTF-8 too; otherwise only structure is checked, and a
            column's offsets when it is first handed out.

    Returns:
        The dataset: a table, an array or bytes, as the file's first bytes say, and as `ls` lists
        it. Where a table uses what can't be mapped, such as compression, `buffer` lends its bytes
        all the same, and whatever needs the table raises `Unsupported`.

    Raises:
        Corrupt: The file is not what its first bytes say it is; `famfs cat` gives its bytes.
        InvalidPath: No file can have that path, or it is text that is no reference.
        MemoryFault: The file's memory is lost.
        NotFound: There is no such file.
        NotMounted: The path lies under no mount, or the reference's volume isn't mounted here.
        Unsupported: The files of a directory or pattern are not tables of one schema.

    Example:
        >>> import famfs, numpy as np
        >>> ref = famfs.publish(np.ones(3), f"{mnt}/ones")
        >>> famfs.open(ref).to_numpy()
        array([1., 1., 1.])
        >>> famfs.open(str(ref)) == famfs.open(f"{mnt}/ones")
        True
    """
    target: Any = getattr(path_or_ref, "ref", path_or_ref)
    if target is None and hasattr(path_or_ref, "path"):
        # An entry without one is a directory: what is opened by its path says so.
        target = cast("Entry", path_or_ref).path
    if not isinstance(target, _native.Ref):
        target = read_path(target)
        if isinstance(target, str) and target.startswith("famfs://"):
            target = _native.Ref(target)
    if isinstance(target, _native.Ref):
        return _of(_native.open_ref(target, verify=verify))
    return _open(target, verify=verify)


def _open(path: str, *, verify: bool) -> Dataset:
    try:
        return _of(_native.open(path, verify=verify))
    except (InvalidPath, NotFound):
        from famfs._many import Files, names_of

        names = names_of(path)
        if names is None:
            raise
    files = [_native.open(name, verify=verify) for name in names]
    return _of(cast("_native.File", Files.opened(path, files)))


def _of(file: _native.File) -> Dataset:
    if not isinstance(file, _native.File):
        from famfs._many import Many

        return Many(file)
    return Dataset(file) if file.kind in ARROW else _Lent(file)


class Dataset(Accessors):
    """A published file, open: a table, an array or bytes; or a part of one. `open` makes it.

    Selections are in place, and datasets of their own: `d["name"]` is a column, `d[["a", "b"]]` a
    table of two, `d[10:20]` rows of a table, items along an array's first axis, or bytes;
    `d[10:20, ["a"]]` is both at once, `d[3]` one item of an array, and `d["weight"]` of a
    safetensors file an array. `take` copies rows of any choice.

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
    def ref(self) -> Ref:
        """Its reference."""
        return self._file.ref

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
            Unsupported: An array of no axes has none, or they are not whole numbers below 2**63.

        Example:
            >>> import famfs, numpy as np
            >>> ds = famfs.open(famfs.publish({"a": np.arange(10)}, f"{mnt}/t", batch_rows=4))
            >>> [ds.partition(i, 2).num_rows for i in range(2)]
            [4, 6]
        """
        n, i = read_count(n, "n", "parts"), whole(i, "i", "the number of a part")
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
        if not self.shape:
            raise self._unsupported("take()", "it has no axes; to_numpy() gives its value")
        wanted = row_numbers(self._file, indices, len(self))
        if self.kind not in ARROW:
            return _arrays.in_place(self._file)[wanted]
        # pyarrow's own take() knows no views and no runs, and joins all batches first.
        taken = self._file.take(wanted.astype("i8"))
        if self.kind == "column":
            return self._told(lambda: pyarrow().chunked_array(taken))
        table = self._told(lambda: pyarrow().RecordBatchReader.from_stream(taken).read_all())
        return _frames.without_range(table)

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
        same = isinstance(other, Dataset) and type(other).ref is Dataset.ref
        return same and self.ref == cast("Dataset", other).ref

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
        return array.copy() if self.kind in ARROW else _arrays.own(self._file)

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
        """What a notebook shows: what it is, where it lies on the device, a table's columns."""
        from famfs import _show

        try:
            fields = ((f.name, str(f.type)) for f in self.schema) if self.kind == "table" else None
            places, device = self._file.places
            return _show.html(
                self.path, self._summary(), self._file.file_size, places, device, fields
            )
        except FamfsError:
            return f"<p>{escape(repr(self))}</p>"

    def _summary(self) -> str:
        if self.kind == "table":
            rows, columns = self.shape
            return f"table of {rows} rows and {columns} columns"
        if self.kind == "array":
            return f"array of {self.dtype}, shape {self.shape}"
        if self.kind == "column":
            return f"column {self._file.names[0]!r} of {self.num_rows} rows"
        return f"{self.kind}, {self.nbytes} bytes"


class _Lent(Dataset, _native.Buffer):
    """An array or bytes: they export the buffer protocol, which `np.asarray` takes in place."""

    def close(self) -> None:
        super().close()
        self._release()


_Lent.__name__ = _Lent.__qualname__ = "Dataset"
