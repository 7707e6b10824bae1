"""Dicts: a table where that is what they are, and else tensors, each by its name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from famfs._arrow import pyarrow
from famfs.convert import arrays, frames
from famfs.errors import Unsupported

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import numpy as np

_FORMAT = {
    "b1": "BOOL",
    "i1": "I8",
    "i2": "I16",
    "i4": "I32",
    "i8": "I64",
    "u1": "U8",
    "u2": "U16",
    "u4": "U32",
    "u8": "U64",
    "f2": "F16",
    "f4": "F32",
    "f8": "F64",
    "c8": "C64",
}
"""What safetensors files call NumPy's types."""


class Tensors(NamedTuple):
    """Tensors that one safetensors file will hold."""

    said: list[tuple[str, str, list[int]]]
    """Of each its name, the format's type, and its shape."""
    parts: list[Iterator[np.ndarray[Any, Any]]]
    """Of each its bytes in order, buffer by buffer."""


class _Value(NamedTuple):
    """A dict's value: a column of a table, or an array."""

    column: Any
    """What Arrow takes as it is; None for an array."""
    array: np.ndarray[Any, Any] | None
    kind: str | None
    """What safetensors files call its type where NumPy has no name for it."""
    is_tensor: bool
    """Whether nobody would look for it in a table."""

    @property
    def length(self) -> int | None:
        """As how long a column it can stand; None where it can't."""
        if self.array is None:
            return len(self.column)
        return self.array.shape[0] if self.array.ndim == 1 and not self.is_tensor else None


def take(values: Mapping[object, object]) -> Any:  # noqa: ANN401
    """Takes a dict: a table if all are columns of one length, tensors otherwise.

    Args:
        values: Arrays or tensors by name.

    Returns:
        A `pyarrow.Table`, or the tensors of a safetensors file.

    Raises:
        Unsupported: It can be neither; the message says what stands in the way.

    Example:
        >>> from famfs.convert import dicts
        >>> dicts.take({"a": np.arange(3)}).num_rows
        3
        >>> dicts.take({"a": np.arange(3), "b": np.ones((2, 2))}).said
        [('a', 'I64', [3]), ('b', 'F64', [2, 2])]
    """
    if arrays.comes_from(values, "datasets"):
        parts = ", ".join(map(repr, values))
        raise Unsupported(
            f"a DatasetDict: publish each of its parts ({parts}) by itself; a famfs.transaction "
            "makes them appear together"
        )
    taken = {_key(name): _value(name, value) for name, value in values.items()}
    lengths = {value.length for value in taken.values()}
    if not lengths or (len(lengths) == 1 and None not in lengths):
        return _table(taken)
    return Tensors(
        [_said(name, value) for name, value in taken.items()],
        [
            iter(()) if value.array is None else arrays.parts(value.array, little=True)
            for value in taken.values()
        ],
    )


def _key(name: object) -> str:
    if not isinstance(name, str):
        raise Unsupported(f"a dict with the key {name!r}: names of columns and tensors are strings")
    return name


def _value(name: object, value: Any) -> _Value:  # noqa: ANN401
    if isinstance(value, dict):
        raise Unsupported(
            f"a dict with a dict in {name!r}: give each array a name of its own, such as "
            f"{f'{name}.x'!r}, in one dict"
        )
    value = frames.series(frames.opened(value))
    masked = frames.masked(value)
    if masked is not None:
        return _Value(masked, None, None, is_tensor=False)
    if hasattr(value, "__arrow_c_array__") or hasattr(value, "__arrow_c_stream__"):
        if not hasattr(value, "__len__"):
            raise Unsupported(
                f"a dict with {arrays.name(value)} in {name!r}, whose length is not known: publish "
                "it by itself, or as a column, pyarrow.table(...)"
            )
        frames.refuse_objects(name, value)
        return _Value(value, None, None, is_tensor=False)
    kind, array = arrays.take_tensor(value)
    is_tensor = kind is not None or arrays.comes_from(value, "torch")
    return _Value(None, array, kind, is_tensor)


def _table(values: Mapping[str, _Value]) -> Any:  # noqa: ANN401
    pa = pyarrow("a dict of arrays")
    try:
        return pa.table({name: _column(pa, value) for name, value in values.items()})
    except (pa.ArrowException, ValueError, TypeError, OverflowError) as error:
        raise Unsupported(
            f"a dict of arrays that Arrow refuses: {error}; convert that column, for example to "
            "strings, or give it another name"
        ) from error


def _column(pa: Any, value: _Value) -> Any:  # noqa: ANN401
    if value.array is None:
        column = value.column
        # NaN stays NaN: a null is said by an Arrow array, not by a float.
        return pa.array(column, from_pandas=False) if hasattr(column, "dtype") else column
    array = value.array
    if not array.dtype.isnative and array.dtype.names is None:
        # Arrow knows one order of bytes.
        array = array.astype(array.dtype.newbyteorder("="))
    return pa.array(array, from_pandas=False)


def _said(name: str, value: _Value) -> tuple[str, str, list[int]]:
    array = value.array
    if array is None:
        raise Unsupported(
            f"a dict whose column {name!r} ({arrays.name(value.column)}) stands beside arrays of "
            "other lengths or several axes: equally long ones of one axis make a table, and plain "
            "arrays of numbers a safetensors file; publish the columns by themselves"
        )
    kind = value.kind or _FORMAT.get(array.dtype.str[1:])
    if kind is None:
        raise Unsupported(
            f"a dict whose array {name!r} is of dtype {array.dtype}, with arrays of different "
            "lengths or several axes: only equally long ones of one axis make a table, and "
            f"safetensors files hold numbers alone; {_instead(array.dtype)}"
        )
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise Unsupported(f"a tensor of the name {name!a}: it is no text; {error}") from error
    return name, kind, list(array.shape)


def _instead(dtype: np.dtype[Any]) -> str:
    if dtype.kind in "mM":
        return "publish array.view('i8')"
    if dtype.kind == "c":
        return "publish array.real and array.imag, or array.astype('c8')"
    return "publish that one by itself"
