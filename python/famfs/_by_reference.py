"""Objects of NumPy and pyarrow whose memory is a volume's: pickled as references to it.

Engines are told by modules of their own to ask here first; what lies elsewhere they serialise as
ever. Owns what the pickle of an array of NumPy's holds; `_arrow_refs` does that for pyarrow.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, cast

from famfs import _arrow_refs, _native
from famfs.dataset import open as open_

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    import numpy.typing as npt

    from famfs._arrow_refs import Reduced
    from famfs._native import Ref


def types() -> list[type]:
    """Lists the types of objects that may lie in a volume.

    Returns:
        NumPy's array, and where pyarrow is installed its tables, batches, columns and arrays.

    Example:
        >>> from famfs import _by_reference
        >>> [kind.__name__ for kind in _by_reference.types()][:2]
        ['ndarray', 'Table']
    """
    import numpy as np

    try:
        import pyarrow as pa
    except ImportError:
        return [np.ndarray]
    arrays: list[type] = []
    below: list[type] = [pa.Array]
    while below:
        kind = below.pop()
        arrays.append(kind)
        below += kind.__subclasses__()
    # Arrays of others' types have ways of their own.
    arrays = [kind for kind in arrays if kind.__module__ == pa.Array.__module__]
    return [np.ndarray, pa.Table, pa.RecordBatch, pa.ChunkedArray, *arrays]


def reduced(obj: object) -> Reduced | None:
    """Makes a reference of an object, if most of its memory is a volume's.

    What is rebuilt equals the object: types, nulls, names and metadata; and lies in the volume.

    Where all of it came from one file, as its columns, children of them, or rows of either that
    follow each other, in arrays as in tables and whatever their chunks, a pickle has 256 bytes or
    less. Longer are those of columns that don't stand together in the file; names and
    metadata that aren't the file's, which are told; rows from many places or files; tables with
    columns that lie elsewhere; and an array's bare offsets. Chunks are as they were, but where they
    have lengths without a rule: these are cut as the file's batches are.

    Args:
        obj: Of one of `types`.

    Returns:
        What pickle rebuilds it by; None where its memory is elsewhere, or where it is small.

    Example:
        >>> import famfs, numpy as np
        >>> from famfs import _by_reference
        >>> _by_reference.reduced(np.ones(1000)) is None
        True
        >>> array = famfs.open(famfs.publish(np.ones(1000), f"{mnt}/ones")).to_numpy()
        >>> rebuild, arguments = _by_reference.reduced(array[::2])
        >>> float(rebuild(*arguments).sum())
        500.0
    """
    import numpy as np

    if type(obj) is np.ndarray:
        return _reduced_array(obj)
    pa = sys.modules.get("pyarrow")
    return _arrow_refs.reduced(pa, obj) if pa is not None else None


class Reducer:
    """Reduces objects of one type to references, and those that lie elsewhere as it was before."""

    def __init__(self, before: Callable[[Any], Any] | None, protocol: int) -> None:
        self._before, self._protocol = before, protocol

    def __call__(self, obj: Any) -> Any:  # noqa: ANN401
        """What pickle rebuilds the object by."""
        try:
            found = reduced(obj)
        except Exception:  # noqa: BLE001 - a shortcut never makes an object that can't be sent
            found = None
        return found or self.by_value(obj)

    def by_value(self, obj: Any) -> Any:  # noqa: ANN401
        """The same by what was registered before, or as pickle does without, in its protocol."""
        return self._before(obj) if self._before else obj.__reduce_ex__(self._protocol)


def _reduced_array(array: np.ndarray[Any, Any]) -> Reduced | None:
    # What can be written is the process's own, and would be read-only where it arrives.
    if array.nbytes < _arrow_refs.LEAST or array.flags.writeable or array.dtype.hasobject:
        return None
    address: int = array.__array_interface__["data"][0]
    steps = [(size - 1) * step for size, step in zip(array.shape, array.strides, strict=True)]
    low = address + sum(step for step in steps if step < 0)
    high = address + sum(step for step in steps if step > 0) + array.itemsize
    found = _native.locate(low, high - low)
    if found is None:
        return None
    ref, start = found
    strides = None if array.flags.c_contiguous else array.strides
    return numpy_of, (ref, start + address - low, _named(array.dtype), array.shape, strides)


def _named(dtype: np.dtype[Any]) -> npt.DTypeLike:
    """A type's short name, where that says all of it."""
    plain = dtype.metadata is None and dtype.fields is None and dtype.subdtype is None
    # Of a type that another package made, such as bfloat16, it says the size alone.
    return dtype.str if plain and dtype.type.__module__ == "numpy" else dtype


def numpy_of(
    ref: Ref,
    start: int,
    dtype: npt.DTypeLike,
    shape: tuple[int, ...],
    strides: tuple[int, ...] | None,
) -> np.ndarray[Any, Any]:
    """Lays an array over bytes of a file; for pickle.

    Args:
        ref: The file.
        start: Where its first item begins.
        dtype: Its type.
        shape: Its shape.
        strides: Its strides; None where it is contiguous.

    Returns:
        The array, in place and read-only.

    Raises:
        NotMounted: The file's volume is not mounted here.

    Example:
        >>> import famfs
        >>> from famfs import _by_reference
        >>> ref = famfs.publish(b"abcdef", f"{mnt}/letters")
        >>> _by_reference.numpy_of(ref, 1, "S1", (2,), (2,)).tolist()
        [b'b', b'd']
    """
    import numpy as np

    return np.ndarray(shape, dtype, cast("Any", open_(ref).buffer()), start, strides)
