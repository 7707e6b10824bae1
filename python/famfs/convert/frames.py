"""Frames, tables and columns: made into what has the Arrow PyCapsule protocol."""

from __future__ import annotations

from collections.abc import Sized
from typing import TYPE_CHECKING, Any

from famfs._arrow import pyarrow, with_pandas
from famfs.convert.arrays import comes_from, is_masked
from famfs.errors import FamfsError, Unsupported

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

INTERVALS = "famfs.intervals"
"""What a frame's metadata has of a column whose categories are intervals: the ends in them."""

ONE = "values"
"""The column's name where a column without a name is published."""


def take(obj: Any) -> Any:  # noqa: ANN401
    """Takes what stands for a table, or for one column of one.

    Args:
        obj: Anything but a dict.

    Returns:
        Something with the Arrow PyCapsule protocol, its values where they were; None where it is
        no table.

    Raises:
        Unsupported: It is a frame that can't be a table.

    Example:
        >>> import pandas as pd
        >>> from famfs.convert import frames
        >>> frames.take(pd.Series([1, 2, 3], name="n")).column_names
        ['n']
    """
    column = masked(obj)
    if column is not None:
        return pyarrow("a masked array").table({ONE: column})
    for library, table in _OTHERS.items():
        if comes_from(obj, library):
            return _with_dictionaries(table(obj))
    if comes_from(obj, "pyarrow"):
        obj = _with_dictionaries(_pyarrow_column(obj))
    if comes_from(obj, "famfs") and hasattr(obj, "kind"):
        return _dataset(obj)
    if hasattr(obj, "__arrow_c_stream__") or hasattr(obj, "__arrow_c_array__"):
        return obj
    return None


def is_stream(obj: Any) -> bool:  # noqa: ANN401
    """Tells whether a table's rows are yet to come, so that nobody knows how many there are.

    Args:
        obj: Something with the Arrow PyCapsule protocol.

    Returns:
        True for readers and queries; False for what is in memory, and tells its
        length.

    Example:
        >>> import pyarrow as pa
        >>> from famfs.convert import frames
        >>> table = pa.table({"a": [1, 2, 3]})
        >>> frames.is_stream(table), frames.is_stream(table.to_reader())
        (False, True)
    """
    if not hasattr(obj, "__arrow_c_stream__"):
        return False
    # A relation of duckdb tells its length by running its query.
    counted = isinstance(obj, Sized) or hasattr(obj, "num_rows")
    return not counted or comes_from(obj, "duckdb") or comes_from(obj, "_duckdb")


class Checked:
    """A pyarrow reader, each of whose batches is of its schema; pyarrow itself does not look.

    The C stream has no types, so that a batch of another would be read as what it is not.
    """

    def __init__(self, reader: Any) -> None:  # noqa: ANN401
        self.failed: BaseException | None = None
        """What a batch raised that is not for us to translate: an interrupt, or our own error."""
        pa = pyarrow("a reader")
        self._reader = pa.RecordBatchReader.from_batches(reader.schema, self._batches(reader))

    def _batches(self, reader: Any) -> Iterator[Any]:  # noqa: ANN401
        names, types = reader.schema.names, reader.schema.types
        try:
            for batch in reader:
                if (batch.schema.names, batch.schema.types) != (names, types):
                    raise Unsupported(
                        f"a reader with a batch of another schema than its own: {batch.schema} is "
                        f"not {reader.schema}; cast the batch, or give the reader its schema"
                    )
                yield batch
        except (FamfsError, KeyboardInterrupt, SystemExit) as error:
            self.failed = error
            raise

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """Hands the batches on, as the PyCapsule protocol has it."""
        return self._reader.__arrow_c_stream__(requested_schema)


def checked(table: Any) -> Any:  # noqa: ANN401
    """Takes care of a pyarrow reader's batches, which nobody has looked at.

    Args:
        table: Something with the Arrow PyCapsule protocol.

    Returns:
        The reader as `Checked`; anything else as it is.

    Example:
        >>> import pyarrow as pa
        >>> from famfs.convert import frames
        >>> type(frames.checked(pa.table({"a": [1]}).to_reader())).__name__
        'Checked'
    """
    if comes_from(table, "pyarrow") and hasattr(table, "read_next_batch"):
        return Checked(table)
    return table


def _dataset(obj: Any) -> Any:  # noqa: ANN401
    """A dataset that is a table; a column as a table of one, with its name."""
    if obj.kind == "column":
        return pyarrow("a column").table([obj.to_arrow()], names=obj.names)
    return obj if obj.kind == "table" else None


def opened(value: Any) -> Any:  # noqa: ANN401
    """Takes what a dataset hands out in place, where it is one that a dict can hold.

    Args:
        value: Anything.

    Returns:
        A column as a `pyarrow.ChunkedArray`, an array or bytes as NumPy's; anything else as it is.

    Example:
        >>> import famfs
        >>> from famfs.convert import frames
        >>> frames.opened(famfs.open(famfs.publish(np.arange(3), f"{mnt}/three"))).tolist()
        [0, 1, 2]
    """
    if not comes_from(value, "famfs") or not hasattr(value, "kind"):
        return value
    if value.kind == "column":
        return value.to_arrow()
    return value if value.kind == "table" else value.to_numpy()


def masked(obj: object) -> Any:  # noqa: ANN401
    """Takes a masked array of one axis as a column, with nulls where it is masked.

    Args:
        obj: Anything.

    Returns:
        A `pyarrow.Array`; None for anything else, and for masked arrays of several axes.

    Raises:
        Unsupported: Arrow doesn't have its type.

    Example:
        >>> from famfs.convert import frames
        >>> frames.masked(np.ma.masked_array([1, 2], [False, True])).to_pylist()
        [1, None]
    """
    if not is_masked(obj) or obj.ndim != 1:
        return None
    import numpy as np

    pa = pyarrow("a masked array")
    values = obj if obj.dtype.isnative else obj.astype(obj.dtype.newbyteorder("="))
    try:
        return pa.array(values.data, mask=np.ma.getmaskarray(values), from_pandas=False)
    except (pa.ArrowException, ValueError, TypeError) as error:
        raise Unsupported(
            f"a masked array that Arrow refuses: {error}; convert it, or publish "
            "array.filled(value)"
        ) from error


def _pyarrow_column(obj: Any) -> Any:  # noqa: ANN401
    """A column by itself made a table of one; structs are left to be taken as rows."""
    pa = pyarrow()
    if isinstance(obj, pa.Array | pa.ChunkedArray) and not pa.types.is_struct(obj.type):
        return pa.table({ONE: obj})
    return obj


def _with_dictionaries(obj: Any) -> Any:  # noqa: ANN401
    """A table of no rows as a reader of one batch: as a table pyarrow hands no dictionaries out."""
    if not comes_from(obj, "pyarrow") or getattr(obj, "num_rows", None) != 0:
        return obj
    pa = pyarrow()
    if not any(_has_dictionary(kind) for kind in obj.schema.types):
        return obj
    columns = [_first_chunk(column) for column in obj.columns]
    batch = pa.RecordBatch.from_arrays(columns, schema=obj.schema)
    return pa.RecordBatchReader.from_batches(obj.schema, [batch])


def _first_chunk(column: Any) -> Any:  # noqa: ANN401
    pa = pyarrow()
    if not isinstance(column, pa.ChunkedArray):
        return column
    return column.chunk(0) if column.num_chunks else pa.nulls(0, column.type)


def _has_dictionary(kind: Any) -> bool:  # noqa: ANN401
    """Whether a type is, or has within, a dictionary."""
    if pyarrow().types.is_dictionary(kind):
        return True
    kind = getattr(kind, "storage_type", kind)
    return any(_has_dictionary(kind.field(i).type) for i in range(kind.num_fields))


def _pandas_table(obj: Any) -> Any:  # noqa: ANN401
    """A frame with its index and metadata; NaN stays NaN, so that columns come back uncopied."""
    import pandas as pd

    obj = series(obj)
    if isinstance(obj, pd.Series):
        # One without a name would be named 0, and no column's name is a number.
        obj = obj.to_frame(ONE if obj.name is None else obj.name)
    if not isinstance(obj, pd.DataFrame):
        return None
    pa = pyarrow("a pandas frame")
    if not obj.columns.is_unique:
        twice = ", ".join(repr(name) for name in obj.columns[obj.columns.duplicated()].unique())
        raise Unsupported(
            f"a frame with several columns of the name {twice}: frame.set_axis([...], axis=1) "
            "renames them"
        )
    sparse = [repr(name) for name, t in obj.dtypes.items() if isinstance(t, pd.SparseDtype)]
    if sparse:
        raise Unsupported(
            f"a frame with sparse columns ({', '.join(sparse)}), which Arrow hasn't: publish "
            "frame.sparse.to_dense(), or convert those columns"
        )
    swapped = {
        name: t.newbyteorder("=")
        for name, t in obj.dtypes.items()
        if _is_numpy(t) and not t.isnative
    }
    if swapped:
        obj = obj.astype(swapped)
    kind = obj.index.dtype
    if _is_numpy(kind) and not kind.isnative:
        obj = obj.set_axis(obj.index.astype(kind.newbyteorder("=")))
    floats = {
        i: column.to_numpy()
        for i, (_, column) in enumerate(obj.items())
        if _is_numpy(column.dtype) and str(column.dtype) in _FLOATS
    }
    try:
        table = pa.Table.from_pandas(_with_integers(obj, floats) if floats else obj)
    except (pa.ArrowException, ValueError, TypeError, OverflowError) as error:
        raise Unsupported(
            f"a frame with a column that Arrow refuses: {error}; convert that column, for example "
            "to strings"
        ) from error
    return _with_types(_with_floats(table, floats) if floats else table, obj)


def series(obj: Any) -> Any:  # noqa: ANN401
    """Takes an array or index of pandas' own types as a series.

    NumPy makes floats of its integers where some are missing, and integers above 2**53 change.

    Args:
        obj: Anything.

    Returns:
        A `pandas.Series` of it; anything else as it is, and so are those whose type is NumPy's.

    Example:
        >>> import pandas as pd
        >>> from famfs.convert import frames
        >>> frames.series(pd.array([1, None], dtype="Int64")).dtype
        Int64Dtype()
    """
    if not comes_from(obj, "pandas"):
        return obj
    import pandas as pd

    if not isinstance(obj, pd.Index | pd.api.extensions.ExtensionArray) or _is_numpy(obj.dtype):
        return obj
    return pd.Series(obj, name=getattr(obj, "name", None), copy=False)


_FLOATS = {"float16": "i2", "float32": "i4", "float64": "i8"}
"""Integers of the same widths, by the types of floating point."""


def _with_integers(frame: Any, floats: dict[int, Any]) -> Any:  # noqa: ANN401
    """The frame with the bits of some columns as integers, in place.

    pyarrow looks at each floating-point value for NaN, and takes it for a null.
    """
    import pandas as pd

    columns = {
        i: floats[i].view(_FLOATS[str(floats[i].dtype)]) if i in floats else frame.iloc[:, i]
        for i in range(frame.shape[1])
    }
    made = pd.DataFrame(columns, index=frame.index, copy=False)
    made.columns = frame.columns
    made.attrs = frame.attrs
    return made


def _with_floats(table: Any, floats: dict[int, Any]) -> Any:  # noqa: ANN401
    """The table with these values in the place of their bits, and with their types in what it says.

    Columns come first and in order, in the table and in what pandas keeps of them; index levels
    follow.
    """
    pa = pyarrow("a pandas frame")
    columns, fields = list(table.columns), list(table.schema)
    kept = table.schema.pandas_metadata
    for i, values in floats.items():
        columns[i] = pa.array(values, from_pandas=False)
        fields[i] = fields[i].with_type(columns[i].type)
        kept["columns"][i] |= {"pandas_type": str(values.dtype), "numpy_type": str(values.dtype)}
    schema = pa.schema(fields, metadata=table.schema.metadata)
    return with_pandas(pa.Table.from_arrays(columns, schema=schema), kept)


def _with_types(table: Any, frame: Any) -> Any:  # noqa: ANN401
    """The table, which tells of some columns' types what pyarrow leaves out of the metadata.

    Of categories that are intervals, such as `pandas.cut` makes, Arrow has the ends alone: which of
    them are in the intervals is told. Arrow's own decimals are told from Python's.
    """
    import pandas as pd

    closed, decimals = {}, {}
    for i, dtype in enumerate(frame.dtypes):
        if isinstance(dtype, pd.CategoricalDtype):
            if isinstance(dtype.categories.dtype, pd.IntervalDtype):
                closed[i] = dtype.categories.dtype.closed
        elif isinstance(dtype, pd.ArrowDtype) and str(dtype).startswith("decimal"):
            decimals[i] = str(dtype)
    if not closed and not decimals:
        return table
    kept = table.schema.pandas_metadata
    for i, ends in closed.items():
        kept["columns"][i]["metadata"] |= {INTERVALS: ends}
    for i, name in decimals.items():
        kept["columns"][i]["numpy_type"] = name
    return with_pandas(table, kept)


def _polars_table(obj: Any) -> Any:  # noqa: ANN401
    """A polars frame, or a series as one; a series of structs is left to be taken as rows."""
    import polars as pl

    if isinstance(obj, pl.LazyFrame):
        raise Unsupported("a polars LazyFrame has no rows yet: publish frame.collect()")
    if not hasattr(obj, "__arrow_c_stream__"):
        return None
    if isinstance(obj, pl.Series) and not isinstance(obj.dtype, pl.Struct):
        obj = obj.to_frame(obj.name or ONE)
    schema = dict(obj.schema) if hasattr(obj, "schema") else {obj.name: obj.dtype}
    _refuse_objects(schema)
    if any(_holds(dtype, pl.Null) for dtype in schema.values()):
        # What polars hands out of these is not quite Arrow's; pyarrow takes it, and mends it.
        return pyarrow("a polars frame with a column of nulls").table(obj)
    return obj


def _hugging_face_table(obj: Any) -> Any:  # noqa: ANN401
    """A `datasets.Dataset`: the table that it keeps, with its features; rows that it names."""
    import datasets

    if not isinstance(obj, datasets.Dataset):
        raise Unsupported(
            "an object of Hugging Face's datasets that has no table: publish a datasets.Dataset, "
            "such as datasets.Dataset.from_generator makes of what is streamed"
        )
    if obj._indices is None:  # noqa: SLF001 - there is no other word for whether it has any
        return obj.data.table
    return obj.with_format("arrow")[:].replace_schema_metadata(obj.data.table.schema.metadata)


def refuse_objects(name: object, column: Any) -> None:  # noqa: ANN401
    """Refuses a column of Python objects.

    Args:
        name: The column's name.
        column: Anything with the Arrow PyCapsule protocol.

    Raises:
        Unsupported: It is a polars series of them.

    Example:
        >>> import polars as pl
        >>> from famfs.convert import frames
        >>> frames.refuse_objects("n", pl.Series([1, 2]))
    """
    if comes_from(column, "polars"):
        _refuse_objects({str(name): getattr(column, "dtype", None)})


def _refuse_objects(schema: Mapping[str, Any]) -> None:
    """Refuses columns of Python objects, which polars hands out as their addresses."""
    import polars as pl

    for name, dtype in schema.items():
        if _holds(dtype, pl.Object):
            raise Unsupported(
                f"a polars column of Python objects ({name!r}): they are not memory that others "
                "can read; give it a type, for example "
                "pl.Series(name, [str(value) for value in series])"
            )


def _holds(dtype: Any, wanted: Any) -> bool:  # noqa: ANN401
    """Whether a polars type is, or has within, the type that is wanted."""
    if dtype == wanted:
        return True
    parts = [field.dtype for field in getattr(dtype, "fields", ())]
    inner = getattr(dtype, "inner", None)
    return any(_holds(part, wanted) for part in (*parts, *([inner] if inner is not None else [])))


def _is_numpy(dtype: object) -> bool:
    import numpy as np

    return isinstance(dtype, np.dtype)


_OTHERS = {"pandas": _pandas_table, "polars": _polars_table, "datasets": _hugging_face_table}
"""Libraries whose frames are not just asked by the PyCapsule protocol."""
