"""Where NumPy and Arrow meet: types that both have, record batches in place, pyarrow itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, overload

from famfs.errors import Unsupported

if TYPE_CHECKING:
    import numpy as np

    from famfs import _native

_UNITS = {"s", "ms", "us", "ns"}


class Batches(Sequence[Any]):
    """A table's record batches, in place; each is made when it is asked for.

    Example:
        >>> import famfs, numpy as np
        >>> ref = famfs.publish({"a": np.arange(10)}, f"{mnt}/parts", batch_rows=4)
        >>> [batch.num_rows for batch in famfs.open(ref).batches]
        [4, 4, 2]
    """

    def __init__(self, file: _native.File) -> None:
        self._file = file

    def __len__(self) -> int:
        """How many there are."""
        return self._file.num_batches

    @overload
    def __getitem__(self, index: int) -> Any: ...  # noqa: ANN401

    @overload
    def __getitem__(self, index: slice) -> list[Any]: ...

    def __getitem__(self, index: int | slice) -> Any:
        """One batch, or a list of several."""
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        at = index + len(self) if index < 0 else index
        if not 0 <= at < len(self):
            raise IndexError(f"batch {index}, there are {len(self)}")
        return pyarrow().record_batch(self._file.batch(at))


def dtype_of(descr: str) -> np.dtype[Any]:
    """Reads a type as an NPY header writes it.

    Args:
        descr: Such as "<f8", or a list of fields.

    Returns:
        The type.

    Example:
        >>> from famfs import _arrow
        >>> _arrow.dtype_of("[('a', '<i4'), ('b', '<f8')]").names
        ('a', 'b')
    """
    import ast

    import numpy as np

    if descr[:1] in "[(":
        parsed: Any = ast.literal_eval(descr)
        return np.lib.format.descr_to_dtype(parsed)
    return np.dtype(descr)


def is_arrow(dtype: np.dtype[Any]) -> bool:
    """Whether Arrow has a type whose values lie in memory as this one's do.

    Args:
        dtype: NumPy's type.

    Returns:
        Whether its values can be handed out as an Arrow array in place.

    Example:
        >>> from famfs import _arrow
        >>> _arrow.is_arrow(np.dtype("M8[ms]")), _arrow.is_arrow(np.dtype("?"))
        (True, False)
    """
    import numpy as np

    if not dtype.isnative:
        return False
    if dtype.kind in "mM":
        unit, count = np.datetime_data(dtype)
        return unit in _UNITS and count == 1
    return dtype.kind in "iuf" and dtype.itemsize <= 8  # noqa: PLR2004 - longer floats are NumPy's own


def why_not_arrow(dtype: np.dtype[Any]) -> str:
    """Says why a type is none of Arrow's, and what to do.

    Args:
        dtype: NumPy's type.

    Returns:
        The end of a message.

    Example:
        >>> from famfs import _arrow
        >>> _arrow.why_not_arrow(np.dtype("?")).partition(":")[0]
        'Arrow packs bool into bits'
    """
    if dtype.kind == "b":
        why = "Arrow packs bool into bits"
    elif not dtype.isnative:
        return f"{dtype} is not in this host's byte order; to_numpy() hands it out in place"
    elif dtype.kind in "mM":
        why = f"Arrow counts in s, ms, us and ns, and not as {dtype}"
    else:
        return f"Arrow has nothing that lies in memory as {dtype} does; to_numpy() hands it out"
    return f"{why}: to_numpy() hands it out in place, pyarrow.array(dataset.to_numpy()) copies"


def with_pandas(table: Any, told: dict[str, Any]) -> Any:  # noqa: ANN401
    """Puts another account of the pandas frame that a table was in the place of its own.

    Args:
        table: A `pyarrow.Table`.
        told: What its schema's `pandas_metadata` is to be.

    Returns:
        The table.

    Example:
        >>> import pyarrow as pa
        >>> from famfs import _arrow
        >>> table = _arrow.with_pandas(pa.table({"a": [1]}), {"columns": []})
        >>> table.schema.pandas_metadata
        {'columns': []}
    """
    import json

    kept = table.schema.metadata or {}
    return table.replace_schema_metadata({**kept, b"pandas": json.dumps(told).encode()})


def pyarrow(what: str = "tables") -> Any:  # noqa: ANN401 - pyarrow has no types
    """Imports pyarrow.

    Args:
        what: What needs it.

    Returns:
        The module, with `ipc` in it.

    Raises:
        Unsupported: It is not installed.

    Example:
        >>> from famfs import _arrow
        >>> _arrow.pyarrow().__name__
        'pyarrow'
    """
    try:
        import pyarrow as pa
        import pyarrow.ipc
    except ImportError as error:
        raise Unsupported(f"pyarrow is needed for {what}: pip install 'famfs[arrow]'") from error
    return pa
