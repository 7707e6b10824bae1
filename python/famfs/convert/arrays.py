"""Arrays and bytes: what has a type and a shape, made into parts that lie in memory."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, TypeGuard

from famfs.errors import FamfsError, Unsupported

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np

WHAT = "a table, batch, reader, frame, column, array, tensor, dict of arrays, or bytes"
"""What can be published."""

_CHUNK = 1 << 23
"""Bytes that are gathered at once of an array that is not contiguous."""

RARE = {
    "bfloat16": "BF16",
    "float8_e4m3fn": "F8_E4M3",
    "float8_e4m3fnuz": "F8_E4M3FNUZ",
    "float8_e5m2": "F8_E5M2",
    "float8_e5m2fnuz": "F8_E5M2FNUZ",
    "float8_e8m0fnu": "F8_E8M0",
}
"""Types that NumPy hasn't, as PyTorch and ml_dtypes name them, and as safetensors files do."""


def name(obj: object) -> str:
    """Names an object's type, for a message.

    Args:
        obj: Anything.

    Returns:
        Module and class; the class alone for Python's own.

    Example:
        >>> from famfs.convert import arrays
        >>> arrays.name(np.zeros(2)), arrays.name(5)
        ('numpy.ndarray', 'int')
    """
    return f"{type(obj).__module__}.{type(obj).__qualname__}".removeprefix("builtins.")


def comes_from(obj: object, module: str) -> bool:
    """Whether an object's type is of a library, told without importing it.

    Args:
        obj: Anything.
        module: The library.

    Returns:
        Whether its class was made there.

    Example:
        >>> from famfs.convert import arrays
        >>> arrays.comes_from(np.zeros(2), "numpy"), arrays.comes_from(5, "numpy")
        (True, False)
    """
    return type(obj).__module__.partition(".")[0] == module


def is_masked(obj: object) -> TypeGuard[np.ma.MaskedArray[Any, Any]]:
    """Whether an object is a masked array, told without importing `numpy.ma`, which takes 10 ms.

    Args:
        obj: Anything.

    Returns:
        Whether it is a `numpy.ma.MaskedArray`.

    Example:
        >>> from famfs.convert import arrays
        >>> arrays.is_masked(np.ma.masked_array([1, 2])), arrays.is_masked(np.zeros(2))
        (True, False)
    """
    masked = sys.modules.get("numpy.ma")
    return masked is not None and isinstance(obj, masked.MaskedArray)


def plain_bytes(obj: object) -> Any:  # noqa: ANN401
    """Takes something that is bytes and nothing else.

    Args:
        obj: Anything.

    Returns:
        A buffer of its bytes; None for anything that has a type or a shape.

    Example:
        >>> from famfs.convert import arrays
        >>> arrays.plain_bytes(b"hello"), arrays.plain_bytes(np.zeros(2, "u1"))
        (b'hello', None)
    """
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


def take(obj: Any) -> np.ndarray[Any, Any]:  # noqa: ANN401
    """Takes what stands for an array, its values where they are.

    Args:
        obj: A NumPy array or scalar, a tensor, or what has the buffer protocol, `__array__` or
            `__dlpack__`.

    Returns:
        The array.

    Raises:
        Unsupported: It stands for none, or for one that others can't read.

    Example:
        >>> from famfs.convert import arrays
        >>> arrays.take(memoryview(np.zeros(2))).shape
        (2,)
    """
    kind, array = take_tensor(obj)
    if kind is not None:
        raise Unsupported(
            f"{name(obj)} of type {kind}, which NumPy hasn't: publish {{'name': array}}, which "
            "makes a safetensors file, or convert it, for example to 32 bits"
        )
    return array


def take_tensor(obj: Any) -> tuple[str | None, np.ndarray[Any, Any]]:  # noqa: ANN401
    """Takes what stands for an array, also of types that NumPy hasn't.

    Args:
        obj: As for `take`.

    Returns:
        What safetensors files call a type that NumPy hasn't, and the array, as whole numbers of
        the same size; None, and the array, for any other.

    Raises:
        Unsupported: As `take`.

    Example:
        >>> from famfs.convert import arrays
        >>> arrays.take_tensor(np.zeros(2))
        (None, array([0., 0.]))
    """
    import numpy as np

    if comes_from(obj, "torch") and hasattr(obj, "detach"):
        return _take_torch(obj)
    array = _array(obj)
    rare = RARE.get(array.dtype.name)
    return rare, array if rare is None else array.view(np.dtype(f"u{array.dtype.itemsize}"))


def _take_torch(tensor: Any) -> tuple[str | None, np.ndarray[Any, Any]]:  # noqa: ANN401
    """A tensor of PyTorch's: its values alone, without what it is for gradients."""
    if tensor.device.type != "cpu":
        raise Unsupported(
            f"a tensor on {tensor.device}: bring it to this host's memory first, tensor.cpu()"
        )
    if str(tensor.layout) != "torch.strided" or getattr(tensor, "is_quantized", False):
        raise Unsupported(
            f"a tensor of layout {tensor.layout} and type {tensor.dtype}: publish "
            "tensor.to_dense(), or tensor.dequantize()"
        )
    values = tensor.detach().resolve_conj().resolve_neg()
    kind = RARE.get(str(values.dtype).removeprefix("torch."))
    if kind is not None:
        torch = sys.modules["torch"]
        values = values.view(torch.uint8 if values.element_size() == 1 else torch.int16)
    return kind, _array(values.numpy())


def _array(obj: Any) -> np.ndarray[Any, Any]:  # noqa: ANN401
    import numpy as np

    if is_masked(obj):
        raise Unsupported(
            f"a masked array of {obj.ndim} axes: publish array.filled(value), or its values and "
            "its mask, {'values': array.data, 'mask': numpy.ma.getmaskarray(array)}"
        )
    if isinstance(obj, np.ndarray):
        return _checked(np.asarray(obj), obj)
    if isinstance(obj, np.generic):
        # An array of it is a copy, where bytes between fields would be whatever was there.
        return _clean(_checked(np.asarray(obj), obj))
    if isinstance(obj, str | int | float | complex | list | tuple | set | type(None)):
        hint = "obj.encode()" if isinstance(obj, str) else "numpy.asarray(obj)"
        raise Unsupported(f"{name(obj)} can't be published: publish {hint}, or {WHAT}")
    if hasattr(obj, "__array__") or _has_buffer(obj):
        try:
            array = np.asarray(obj)
        except (BufferError, NotImplementedError, RuntimeError, TypeError, ValueError) as error:
            if isinstance(error, FamfsError):
                raise
            raise Unsupported(
                f"{name(obj)}: NumPy can't take it: {error}; what can be published is {WHAT}"
            ) from error
        return _checked(array, obj)
    if hasattr(obj, "__dlpack__"):
        try:
            return _checked(np.from_dlpack(obj), obj)
        except (BufferError, RuntimeError, TypeError, ValueError) as error:
            raise Unsupported(
                f"{name(obj)}: {error}; bring it to this host's memory first (tensor.cpu())"
            ) from error
    hint = "publish its state_dict(); " if hasattr(obj, "state_dict") else ""
    raise Unsupported(f"{name(obj)} can't be published: {hint}what can be is {WHAT}")


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
            f"{name(obj)} of dtype {dtype}: Python objects are not memory that others can read; "
            "give it a type, array.astype(...), or publish it as a column of a table, "
            "pyarrow.table({'name': array})"
        )
    if dtype.isbuiltin not in {0, 1} and dtype.name not in RARE:
        raise Unsupported(
            f"{name(obj)} of dtype {dtype}: files can't say it; publish array.view(...) of an "
            "unsigned integer of the same size"
        )
    return array


def descr_of(dtype: np.dtype[Any]) -> str:
    """What an NPY header says of a type.

    Args:
        dtype: The type.

    Returns:
        NumPy's description of it, as text.

    Raises:
        Unsupported: Arrays of it can't be published.

    Example:
        >>> from famfs.convert import arrays
        >>> arrays.descr_of(np.dtype("f8"))
        '<f8'
    """
    import numpy as np

    array = np.empty(0, dtype)
    return header(_checked(array, array))[0]


def header(array: np.ndarray[Any, Any]) -> tuple[str, bool, list[int]]:
    """Tells what an NPY header says of an array.

    Args:
        array: The array.

    Returns:
        Type, whether it is in Fortran order, and shape.

    Raises:
        Unsupported: The format can't say its type.

    Example:
        >>> from famfs.convert import arrays
        >>> arrays.header(np.zeros((2, 3)))
        ('<f8', False, [2, 3])
    """
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


def parts(
    array: np.ndarray[Any, Any], *, fortran: bool = False, little: bool = False
) -> Iterator[np.ndarray[Any, Any]]:
    """Gives an array's bytes in order, part by part where they are not next to each other.

    Args:
        array: The array.
        fortran: The first axis is the one that runs fastest, as it lies in memory.
        little: Bytes are swapped where they are big-endian.

    Yields:
        Its bytes: the array itself where they are in order.

    Example:
        >>> from famfs.convert import arrays
        >>> [part.size for part in arrays.parts(np.zeros((4, 4))[:, ::2])]
        [64]
    """
    import numpy as np

    if array.nbytes == 0:
        return
    flat = array.T if fortran else array
    swaps = little and array.dtype.newbyteorder("<") != array.dtype
    if flat.flags.c_contiguous and not swaps:
        yield flat.reshape(-1).view(np.uint8)
        return
    items = max(1, _CHUNK // array.itemsize)
    # NumPy's own types don't know "contig".
    flags: Any = ["readonly", "contig"]
    gathered: Any = np.nditer(
        flat,
        flags=["external_loop", "buffered", "zerosize_ok"],
        op_flags=flags,
        op_dtypes=[array.dtype.newbyteorder("<")] if swaps else None,
        order="C",
        buffersize=items,
    )
    for part in gathered:
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
        >>> from famfs.convert import arrays
        >>> arrays.has_gaps(np.dtype([("a", "i1"), ("b", "i4")], align=True))
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
