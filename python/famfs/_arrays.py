"""Arrays and bytes as NumPy's: over a volume's memory, or copied out of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from famfs import _native
from famfs._arrow import dtype_of, pyarrow
from famfs.errors import Unsupported

if TYPE_CHECKING:
    import numpy as np


def in_place(file: _native.File) -> np.ndarray[Any, Any]:
    """Lays a NumPy array over an array's items, or over bytes.

    Args:
        file: An array or bytes.

    Returns:
        The array, in place and read-only.

    Raises:
        Unsupported: NumPy has no such type, or no array of such a shape.

    Example:
        >>> import famfs
        >>> from famfs import _arrays, _native
        >>> ref = famfs.publish(b"abc", f"{mnt}/abc")
        >>> _arrays.in_place(_native.open_ref(ref)).tolist()
        [97, 98, 99]
    """
    import numpy as np

    whole = memoryview(cast("Any", _native.Buffer(file, whole=True)))
    array = file.array if file.kind == "array" else None
    if array is None:
        return np.frombuffer(whole, np.uint8)
    descr, shape, strides, start, nbytes = array
    try:
        dtype = dtype_of(descr)
        if nbytes == 0:
            fortran = strides[:1] < strides[-1:]
            empty = np.empty(shape, dtype, order="F" if fortran else "C")
            empty.flags.writeable = False
            return empty
        return np.ndarray(shape, dtype, cast("Any", whole), start, strides)
    except (MemoryError, TypeError, ValueError) as error:
        # Items of no bytes, more axes than NumPy has: well-formed, and not to be had here.
        raise Unsupported(
            f"{file.path} ({file.kind}): NumPy has no array of {descr} and of shape {shape}: "
            f"{error}; buffer() lends its bytes"
        ) from error


def own(file: _native.File) -> np.ndarray[Any, Any]:
    """Copies an array's items, or bytes; lost memory is noticed.

    Args:
        file: An array or bytes.

    Returns:
        The array, in memory of its own.

    Raises:
        MemoryFault: The file's memory is lost.

    Example:
        >>> import famfs
        >>> from famfs import _arrays, _native
        >>> ref = famfs.publish(b"abc", f"{mnt}/abc")
        >>> _arrays.own(_native.open_ref(ref)).flags.writeable
        True
    """
    import numpy as np

    view = in_place(file)
    if not view.nbytes:
        return np.array(view, order="K")
    copy = np.empty_like(view, order="K")
    if not (view.flags.c_contiguous or view.flags.f_contiguous):
        # Every so many bytes of the file: looked through first, as each page may be lost.
        file.probe()
        np.copyto(copy, view)
        return copy
    array = file.array if file.kind == "array" else None
    start = file.range[0] if array is None else array[3]
    file.copy_into(start, copy.reshape(-1, order="A").view(np.uint8))
    return copy


def missing(file: _native.File, array: np.ndarray[Any, Any]) -> Any:  # noqa: ANN401
    """Makes the validity bitmap of dates and times, where any of them is missing.

    Args:
        file: What the array lies over.
        array: The array.

    Returns:
        A `pyarrow.Buffer`, or None where nothing is missing.

    Raises:
        MemoryFault: The file's memory is lost.

    Example:
        >>> import famfs
        >>> from famfs import _arrays, _native
        >>> when = np.array(["2026-01-01", "NaT"], "M8[s]")
        >>> file = _native.open_ref(famfs.publish(when, f"{mnt}/when"))
        >>> _arrays.missing(file, when).to_pybytes()[0]
        1
    """
    if array.dtype.kind not in "mM":
        return None
    import numpy as np

    file.probe()
    missing = np.isnat(array)
    if not missing.any():
        return None
    return pyarrow().py_buffer(np.packbits(~missing, bitorder="little"))
