"""Publishing: what Python has, made into what a volume keeps, without a copy on the way."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, NamedTuple

from famfs import _native
from famfs._arguments import read_mode
from famfs._arrow import pyarrow
from famfs.errors import FamfsError, Unsupported

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import numpy as np

    from famfs._native import Ref

_CHUNK = 1 << 23
"""Bytes that are gathered at once of an array that is not contiguous."""

_WHAT = "a table, batch, reader, frame, array, dict of arrays, or bytes"


class Published(NamedTuple):
    """What came of publishing."""

    ref: Ref
    kind: str
    size: int
    """Bytes of the file."""
    borrowed: int
    """Bytes of it that were the caller's, copied once, from where they were."""
    owned: int
    """Bytes of it that were made for it: headers, bitmaps and offsets that had to move."""


def publish(
    obj: object,
    path: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    checksum: bool = False,
    batch_rows: int | None = None,
    progress: Callable[[int, int], object] | None = None,
    mode: int | None = None,
) -> Ref:
    """Publishes an object as a file that other processes and hosts open without a copy.

    The bytes are written once, straight to where they stay. The file appears in one step when all
    of it is there, and its bytes are never touched again.

    Args:
        obj: A table, record batch or reader (anything with `__arrow_c_stream__` or
            `__arrow_c_array__`), a pandas frame, an array (anything NumPy takes without Python
            objects), a dict of equally long 1-D arrays, or bytes.
        path: Where, below a mount point.
        overwrite: Put it in the place of a file that is there, as its new version. Who has the old
            one open keeps it, and its reference still opens it.
        checksum: Not there yet.
        batch_rows: Keep partitions of so many rows in a table; otherwise it has as few record
            batches as possible, so that a column is one array.
        progress: Called with bytes written and bytes in all: now and then, and at least once, at
            the end with both the same, also where that is 0. What it raises stops the publishing,
            and nothing is published.
        mode: Permission bits, such as 0o640; by default 0o666 without the umask.

    Returns:
        The reference of what was published.

    Raises:
        AlreadyExists: The name is taken, and `overwrite` is not set.
        FamfsError: The mode has bits that none has.
        NoSpace: The volume or its log is full.
        NotFound: The directory is missing.
        NotMaster: Another host publishes to this volume.
        NotMounted: The path lies under no mount.
        Unsupported: The object can't be published as it is; the message says what can.

    Example:
        >>> import famfs
        >>> ref = famfs.publish(b"hello", f"{mnt}/greeting")
        >>> bytes(famfs.open(ref).buffer())
        b'hello'
    """
    options: dict[str, Any] = {"overwrite": overwrite, "mode": mode, "progress": progress}
    return publish_within(None, obj, path, checksum=checksum, batch_rows=batch_rows, **options).ref


def publish_within(
    transaction: _native.Transaction | None,
    obj: object,
    path: str | os.PathLike[str],
    *,
    checksum: bool = False,
    batch_rows: int | None = None,
    mode: int | None = None,
    **options: Any,  # noqa: ANN401
) -> Published:
    """Publishes for a transaction, if there is one: the file appears when that is committed.

    Args:
        transaction: The transaction.
        obj: As `publish`.
        path: As `publish`.
        checksum: As `publish`.
        batch_rows: As `publish`.
        mode: As `publish`.
        **options: As `publish`: overwrite and progress.

    Returns:
        What was published; of a transaction's file there is no reference yet.

    Raises:
        Unsupported: As `publish`.

    Example:
        >>> from famfs import convert
        >>> convert.publish_within(None, b"hello", f"{mnt}/greeting").size
        5
    """
    if checksum:
        raise Unsupported("checksum: not there yet; publish without it")
    if batch_rows is not None and batch_rows < 1:
        raise Unsupported(f"batch_rows={batch_rows}: a partition has 1 row or more")
    options["mode"] = read_mode(mode)
    where = os.fsdecode(path)
    return publish_counted(obj, where, batch_rows=batch_rows, transaction=transaction, **options)


def publish_counted(
    obj: object,
    path: str,
    *,
    batch_rows: int | None = None,
    **options: Any,  # noqa: ANN401
) -> Published:
    """Publishes, and counts the bytes.

    Args:
        obj: As `publish`.
        path: As `publish`.
        batch_rows: As `publish`.
        **options: As `publish`: overwrite, mode and progress; and a native transaction.

    Returns:
        The reference, and what was copied.

    Raises:
        Unsupported: As `publish`.

    Example:
        >>> from famfs import convert
        >>> convert.publish_counted(b"hello", f"{mnt}/greeting").borrowed
        5
    """
    table = to_table(obj)
    if table is not None:
        return Published(*_native.publish_table(path, table, batch_rows=batch_rows, **options))
    if batch_rows is not None:
        raise Unsupported(f"batch_rows is for tables, not for {_name(obj)}")
    data = _plain_bytes(obj)
    if data is not None:
        return Published(*_native.publish_bytes(path, data, **options))
    array = _array(obj)
    descr, fortran, shape = _header(array)
    parts = _parts(array, fortran=fortran)
    return Published(*_native.publish_array(path, descr, fortran, shape, parts, **options))


def to_table(obj: Any) -> Any:  # noqa: ANN401
    """Makes what stands for a table into something with the Arrow PyCapsule protocol.

    Args:
        obj: Anything.

    Returns:
        The table, its values where they were; None where it is no table.

    Raises:
        Unsupported: It is a frame or dict that can't be a table.

    Example:
        >>> from famfs import convert
        >>> convert.to_table({"a": np.arange(3)}).num_rows
        3
    """
    return _table(obj)


def _table(obj: Any) -> Any:  # noqa: ANN401
    """What has the Arrow PyCapsule protocol and stands for a table; None for anything else."""
    if isinstance(obj, dict):
        return _dict_table(obj)
    module = type(obj).__module__.partition(".")[0]
    if module == "pandas":
        return _pandas_table(obj)
    if module == "polars":
        return _polars_table(obj)
    if hasattr(obj, "__arrow_c_stream__") or hasattr(obj, "__arrow_c_array__"):
        if module == "famfs" and getattr(obj, "kind", None) != "table":
            return None
        return obj
    return None


def _dict_table(arrays: Mapping[object, object]) -> Any:  # noqa: ANN401
    columns: dict[str, Any] = {}
    for name, value in arrays.items():
        if not isinstance(name, str):
            raise Unsupported(f"a dict with the key {name!r}: columns' names are strings")
        if hasattr(value, "__arrow_c_array__") or hasattr(value, "__arrow_c_stream__"):
            if _is_polars(value):
                _refuse_objects({name: getattr(value, "dtype", None)})
            columns[name] = value
            continue
        array = _array(value)
        if array.ndim != 1:
            raise Unsupported(
                f"a dict with {array.ndim} axes in {name!r}: only equally long arrays of one axis "
                "make a table; publish the others one by one"
            )
        columns[name] = array
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        raise Unsupported(
            f"a dict of arrays of different lengths ({lengths}): only equally long ones make a "
            "table; publish them one by one"
        )
    pa = pyarrow("a dict of arrays")
    try:
        return pa.table({name: _column(pa, column) for name, column in columns.items()})
    except (pa.ArrowException, ValueError, TypeError) as error:
        raise Unsupported(
            f"a dict of arrays that Arrow refuses: {error}; convert that column, for example to "
            "strings, or give it another name"
        ) from error


def _column(pa: Any, column: Any) -> Any:  # noqa: ANN401
    # NaN stays NaN: a null is said by an Arrow array, not by a float.
    return pa.array(column, from_pandas=False) if hasattr(column, "dtype") else column


def _pandas_table(obj: Any) -> Any:  # noqa: ANN401
    """A frame with its index and metadata; NaN stays NaN, so that columns come back uncopied."""
    import pandas as pd

    if isinstance(obj, pd.Series):
        raise Unsupported(
            "a pandas Series: publish series.to_frame(), which keeps its index, or "
            "series.to_numpy()"
        )
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
    try:
        table = pa.Table.from_pandas(obj)
    except (pa.ArrowException, ValueError, TypeError) as error:
        raise Unsupported(
            f"a frame with a column that Arrow refuses: {error}; convert that column, for example "
            "to strings"
        ) from error
    for i, dtype in enumerate(obj.dtypes):
        # Columns come first and in order; index levels follow.
        if table.column(i).null_count and getattr(dtype, "kind", "") == "f" and _is_numpy(dtype):
            values = pa.array(obj.iloc[:, i].to_numpy(), from_pandas=False)
            table = table.set_column(i, table.field(i), values)
    return table


def _is_polars(obj: object) -> bool:
    return type(obj).__module__.partition(".")[0] == "polars"


def _polars_table(obj: Any) -> Any:  # noqa: ANN401
    """A polars frame; a series of structs is left to be taken as one."""
    if not hasattr(obj, "__arrow_c_stream__"):
        return None
    schema = dict(obj.schema) if hasattr(obj, "schema") else {obj.name: obj.dtype}
    _refuse_objects(schema)
    import polars as pl

    if any(_holds(dtype, pl.Null) for dtype in schema.values()):
        # What polars hands out of these is not quite Arrow's; pyarrow takes it, and mends it.
        return pyarrow("a polars frame with a column of nulls").table(obj)
    return obj


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


def _plain_bytes(obj: object) -> Any:  # noqa: ANN401
    """Something that is bytes and nothing else; None for anything that has a type or a shape."""
    if isinstance(obj, bytes | bytearray):
        return obj
    if type(obj).__module__.startswith("numpy") or hasattr(obj, "__array_interface__"):
        return None
    if type(obj).__module__.startswith("famfs") and getattr(obj, "kind", None) == "array":
        return None
    try:
        view = memoryview(obj)  # type: ignore[arg-type]
    except TypeError:
        return None
    if view.ndim != 1 or view.format not in {"B", "b", "c"}:
        return None
    return view.cast("B") if view.contiguous else bytes(view)


def _array(obj: Any) -> np.ndarray[Any, Any]:  # noqa: ANN401
    import numpy as np

    if isinstance(obj, np.ma.MaskedArray):
        raise Unsupported(
            "a masked array: publish array.filled(value), or a table whose column has nulls"
        )
    if isinstance(obj, np.ndarray):
        return _checked(np.asarray(obj), obj)
    if isinstance(obj, np.generic):
        # An array of it is a copy, where bytes between fields would be whatever was there.
        return _clean(_checked(np.asarray(obj), obj))
    if isinstance(obj, str | int | float | complex | list | tuple | set | type(None)):
        hint = "obj.encode()" if isinstance(obj, str) else "numpy.asarray(obj)"
        raise Unsupported(f"{_name(obj)} can't be published: publish {hint}, or {_WHAT}")
    if hasattr(obj, "__array__") or _has_buffer(obj):
        try:
            array = np.asarray(obj)
        except (BufferError, NotImplementedError, RuntimeError, TypeError, ValueError) as error:
            if isinstance(error, FamfsError):
                raise
            raise Unsupported(
                f"{_name(obj)}: NumPy can't take it: {error}; what can be published is {_WHAT}"
            ) from error
        return _checked(array, obj)
    if hasattr(obj, "__dlpack__"):
        try:
            return _checked(np.from_dlpack(obj), obj)
        except (BufferError, RuntimeError, TypeError) as error:
            raise Unsupported(
                f"{_name(obj)}: {error}; bring it to this host's memory first (tensor.cpu())"
            ) from error
    raise Unsupported(f"{_name(obj)} can't be published; what can is {_WHAT}")


def _has_buffer(obj: Any) -> bool:  # noqa: ANN401
    try:
        memoryview(obj).release()
    except TypeError:
        return False
    return True


def _checked(array: np.ndarray[Any, Any], obj: object) -> np.ndarray[Any, Any]:
    dtype = array.dtype
    if dtype.hasobject or dtype.kind in "OT":
        raise Unsupported(
            f"{_name(obj)} of dtype {dtype}: Python objects are not memory that others can read; "
            "give it a type, array.astype(...), or publish it as a column of a table, "
            "pyarrow.table({'name': array})"
        )
    if dtype.isbuiltin not in {0, 1}:
        raise Unsupported(
            f"{_name(obj)} of dtype {dtype}: NPY files can't say it; publish array.view(...) of an "
            "unsigned integer of the same size"
        )
    return array


def header_of(dtype: np.dtype[Any]) -> str:
    """What an NPY header says of a type.

    Args:
        dtype: The type.

    Returns:
        NumPy's description of it, as text.

    Raises:
        Unsupported: Arrays of it can't be published.

    Example:
        >>> from famfs import convert
        >>> convert.header_of(np.dtype("f8"))
        '<f8'
    """
    import numpy as np

    array = np.empty(0, dtype)
    return _header(_checked(array, array))[0]


def _header(array: np.ndarray[Any, Any]) -> tuple[str, bool, list[int]]:
    """What an NPY header says of an array: type, order, shape."""
    import numpy as np

    try:
        descr = np.lib.format.dtype_to_descr(array.dtype)
    except ValueError as error:
        raise Unsupported(
            f"an array whose fields overlap or are not in the order they lie in ({error}): publish "
            "numpy.lib.recfunctions.repack_fields(array)"
        ) from error
    fortran = bool(array.flags.f_contiguous and not array.flags.c_contiguous)
    return descr if isinstance(descr, str) else repr(descr), fortran, list(array.shape)


def _parts(array: np.ndarray[Any, Any], *, fortran: bool) -> Iterator[Any]:
    """The array's bytes in order; gathered part by part where they are not next to each other."""
    import numpy as np

    if array.nbytes == 0:
        return
    flat = array.T if fortran else array
    if flat.flags.c_contiguous:
        yield flat.reshape(-1).view(np.uint8)
        return
    items = max(1, _CHUNK // array.itemsize)
    # NumPy's own types don't know "contig".
    flags: Any = ["readonly", "contig"]
    parts = np.nditer(
        array,
        flags=["external_loop", "buffered", "zerosize_ok"],
        op_flags=flags,
        order="C",
        buffersize=items,
    )
    part: Any
    for part in parts:
        yield np.ascontiguousarray(_clean(part)).reshape(-1).view(np.uint8)


def _clean(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The array, copied where NumPy leaves bytes as they were that belong to no field."""
    import numpy as np

    if not has_gaps(array.dtype):
        return array
    clean = np.zeros(array.shape, array.dtype)
    _copy_fields(clean, array)
    return clean


def has_gaps(dtype: np.dtype[Any]) -> bool:
    """Whether items of a type have bytes that belong to no field.

    Args:
        dtype: The type.

    Returns:
        Whether they have.

    Example:
        >>> from famfs import convert
        >>> convert.has_gaps(np.dtype([("a", "i1"), ("b", "i4")], align=True))
        True
    """
    if dtype.subdtype is not None:
        return has_gaps(dtype.base)
    if dtype.fields is None or dtype.names is None:
        return False
    fields = [dtype.fields[name][0] for name in dtype.names]
    return sum(field.itemsize for field in fields) != dtype.itemsize or any(map(has_gaps, fields))


def _copy_fields(to: np.ndarray[Any, Any], array: np.ndarray[Any, Any]) -> None:
    if to.dtype.names is None:
        to[...] = array
        return
    for name in to.dtype.names:
        _copy_fields(to[name], array[name])


def _name(obj: object) -> str:
    return f"{type(obj).__module__}.{type(obj).__qualname__}".removeprefix("builtins.")
