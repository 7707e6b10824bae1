"""Accessors: a dataset's values handed out, in place or as a copy, to each library."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, cast

from famfs import _arrays, _frames, _tensors
from famfs._arrow import is_arrow, pyarrow, why_not_arrow
from famfs.errors import FamfsError, Unsupported

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    import numpy.typing as npt

    from famfs import _native
    from famfs.dataset import Dataset

ARROW = frozenset({"table", "column"})
"""The kinds whose values are Arrow's."""


class Accessors:
    """What each kind of dataset hands out; `famfs.Dataset` has them."""

    _file: _native.File

    @property
    def kind(self) -> str:
        """What it is: "table", "column", "array", "parquet", "safetensors" or "bytes"."""
        return self._file.kind

    @property
    def path(self) -> str:
        """Its path, the mount point first."""
        return os.fspath(self._file.path)

    @property
    def nbytes(self) -> int:
        """Bytes of an array's items; of a part of a table, of its values; else of the file."""
        if self.kind in ARROW and not self._file.is_whole:
            return int(self.to_arrow().nbytes)
        array = self._file.array if self.kind == "array" else None
        first, end = self._file.range
        return end - first if array is None else array[4]

    @property
    def names(self) -> list[str]:
        """The names of a table's columns, or of a safetensors file's tensors; a column's own.

        Raises:
            Unsupported: For arrays and bytes.
        """
        if self.kind not in ARROW and self.kind != "safetensors":
            raise self._unsupported("names", "it is one thing; shape and dtype tell what")
        return self._file.names

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
        if self.kind in ARROW:
            table = self._as_table()

            def frame() -> Any:  # noqa: ANN401
                rows = _frames.range_of(self._file) if self.kind == "table" else None
                return _frames.to_pandas(table, copy=copy, dtype_backend=dtype_backend, rows=rows)

            try:
                made = self._told(frame)
            except (TypeError, ValueError) as error:
                if isinstance(error, FamfsError):
                    raise
                raise self._unsupported(
                    "to_pandas()",
                    f"pandas refuses it ({error}); to_arrow() has it, and "
                    "dtype_backend='pyarrow' most of what pandas has not",
                ) from error
            return made if self.kind == "table" else made.iloc[:, 0]
        if self.kind != "array" or len(self.shape) not in {1, 2}:
            raise self._unsupported("to_pandas()", "to_numpy() works")
        import pandas as pd

        array = _arrays.in_place(self._file)
        if array.dtype.names is not None:
            raise self._unsupported(
                "to_pandas()",
                "pandas keeps fields as columns: pandas.DataFrame(d.to_numpy()) copies them",
            )
        make = pd.Series if len(self.shape) == 1 else pd.DataFrame
        try:
            return make(array, copy=bool(copy))
        except (TypeError, ValueError, OverflowError) as error:
            raise self._unsupported(
                "to_pandas()", f"pandas has no {array.dtype} ({error}); to_numpy() works"
            ) from error

    def to_polars(self) -> Any:  # noqa: ANN401
        """Hands a table out as a polars frame, a column as a series, in place where polars can.

        Returns:
            A `polars.DataFrame` or `polars.Series`.

        Raises:
            Unsupported: For arrays and bytes, where several columns have one name, and where
                polars is missing.

        Example:
            >>> import famfs, numpy as np
            >>> famfs.open(famfs.publish({"a": np.arange(3)}, f"{mnt}/t")).to_polars().shape
            (3, 1)
        """
        if self.kind == "column":
            return _frames.to_polars(self.to_arrow(), self._file.names[0])
        self._table("to_polars()", "to_numpy() works")
        return _frames.to_polars(self.to_arrow(), None)

    def to_datasets(self) -> Any:  # noqa: ANN401
        """Hands a table or column out as a Hugging Face `datasets.Dataset`, in place.

        It pickles as the reference, also after `select`, `rename_column` and the like: the workers
        of `map(num_proc=...)` and of a data loader open it where it is. Columns of types that
        `datasets` keeps in another way (dictionaries, as their values) are converted.

        Returns:
            A `datasets.Dataset`. A published one has its features again.

        Raises:
            Unsupported: For arrays and bytes, types that `datasets` hasn't, and where it is
                missing.

        Example:
            >>> import famfs, numpy as np
            >>> hf = famfs.open(famfs.publish({"a": np.arange(3)}, f"{mnt}/t")).to_datasets()
            >>> hf.select([2, 0])["a"][:]
            [2, 0]
        """
        self._is_arrow("to_datasets()", "to_numpy() works")
        try:
            from famfs import _datasets
        except ImportError as error:
            raise Unsupported(
                "to_datasets() needs Hugging Face's datasets: pip install 'famfs[datasets]'"
            ) from error
        return _datasets.to_datasets(cast("Dataset", self))

    def to_torch(self) -> Any:  # noqa: ANN401
        """Hands an array, a column of numbers or bytes out as a torch tensor, in place.

        Of a safetensors file it hands out all tensors by their names, a state_dict, bfloat16 and
        8-bit floats too. PyTorch has no read-only tensors: what is written to one of these is a
        copy of this process's, page by page, and what is published stays as it is. Where memory
        can't be mapped so (a dax device) never write to one: `clone()` it.

        Returns:
            A `torch.Tensor`, whose memory is the volume's; or a dict of them.

        Raises:
            Unsupported: For what `to_numpy` refuses, types that torch hasn't, and where torch is
                missing.
        """
        if self.kind == "safetensors":
            return _tensors.by_name(self._file)
        return _tensors.over(self.to_numpy(), self.path)

    def to_jax(self, *, dtype: npt.DTypeLike | None = None) -> Any:  # noqa: ANN401
        """Copies an array, a column of numbers or bytes into a JAX array: one copy, through NumPy.

        Of a safetensors file it copies all tensors by their names, bfloat16 and 8-bit floats too.
        JAX writes to arrays where functions may reuse their arguments, so that it never gets the
        volume's memory itself.

        Args:
            dtype: The type that it is to have; by default its own.

        Returns:
            A `jax.Array`, on JAX's default device; or a dict of them.

        Raises:
            Unsupported: For what `to_numpy` refuses, types that JAX hasn't, numbers of 64 bits
                where JAX is not set to keep them, and where JAX is missing.
        """
        from famfs import _jax

        if self.kind == "safetensors":
            return _jax.by_name(self._file, dtype)
        return _jax.of(self.to_numpy(), self.path, dtype)

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
        if self.kind in ARROW:
            return self._copy_table()
        return _arrays.own(self._file) if self.kind == "array" else self._file.copy_bytes()

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
        if self.kind not in ARROW:
            raise self._unsupported(what, instead)

    def _table(self, what: str, instead: str) -> None:
        if self.kind != "table":
            raise self._unsupported(what, instead)

    def _unsupported(self, what: str, instead: str) -> Unsupported:
        return Unsupported(f"{self.path} ({self.kind}) has no {what}: {instead}")
