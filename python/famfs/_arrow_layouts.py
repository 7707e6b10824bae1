"""Arrays of pyarrow taken apart: their buffers, children and dictionaries, and where these lie."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from famfs import _native
from famfs._arrow import pyarrow

if TYPE_CHECKING:
    from collections.abc import Iterator

    from famfs._native import Ref

DICTIONARY, BARE = -1, -2
"""The steps of a way that lead to a dictionary, and to what a type is made of: a dictionary array's
indices, an extension's storage. Others count children."""

_BITS = (
    (("string", "binary", "list", "map"), 32),
    (("large_string", "large_binary", "large_list"), 64),
    (("string_view", "binary_view"), 128),
    (("union",), 8),
)
"""Bits of a row in the second buffer: offsets, views and numbers of children."""


def located(buffer: Any) -> tuple[Ref, int] | None:  # noqa: ANN401
    """Finds the file that an Arrow buffer lies in, and where.

    Args:
        buffer: A `pyarrow.Buffer`, or None.

    Returns:
        The file, and the buffer's place in it; None where it lies elsewhere.

    Example:
        >>> import famfs, pyarrow as pa
        >>> from famfs import _arrow_layouts
        >>> ref = famfs.publish(b"hello", f"{mnt}/hello")
        >>> _arrow_layouts.located(pa.py_buffer(famfs.open(ref).buffer())[1:]) == (ref, 1)
        True
    """
    if buffer is None or not buffer.size:
        return None
    return _native.locate(buffer.address, buffer.size)


def bits_of(kind: Any) -> int:  # noqa: ANN401
    """Tells how many bits a row has in the second buffer of an array.

    Args:
        kind: The array's type.

    Returns:
        The bits; 0 where that buffer tells no row.

    Example:
        >>> import pyarrow as pa
        >>> from famfs import _arrow_layouts
        >>> [_arrow_layouts.bits_of(kind) for kind in (pa.int16(), pa.string(), pa.bool_())]
        [16, 32, 0]
    """
    types = pyarrow().types
    if isinstance(kind, pyarrow().BaseExtensionType):
        return bits_of(kind.storage_type)
    if types.is_dictionary(kind):
        return bits_of(kind.index_type)
    if types.is_primitive(kind) or types.is_decimal(kind) or types.is_fixed_size_binary(kind):
        # A boolean's address tells eight rows.
        bits: int = kind.bit_width
        return bits if bits % 8 == 0 else 0
    for names, width in _BITS:
        if any(getattr(types, f"is_{name}")(kind) for name in names):
            return width
    return 0


def is_same_layout(one: Any, other: Any) -> bool:  # noqa: ANN401
    """Tells whether two arrays lie in the same memory, bitmaps aside: those have the same bits.

    Args:
        one: The layout of an array.
        other: That of another.

    Returns:
        Whether they do.

    Example:
        >>> import pyarrow as pa
        >>> from famfs._arrow_layouts import is_same_layout, layout_of
        >>> array = pa.array([1, 2, 3])
        >>> [is_same_layout(*map(layout_of, pair)) for pair in ((array, array), (array, array[1:]))]
        [True, False]
    """
    kind, length, _, offset, buffers, children, dictionary = one
    kind2, length2, _, offset2, buffers2, children2, dictionary2 = other
    if (length, offset, len(buffers)) != (length2, offset2, len(buffers2)):
        return False
    # With the names and metadata of what is in them, which `==` leaves out.
    if not kind.equals(kind2, check_metadata=True):
        return False
    if len(children) != len(children2) or (dictionary is None) != (dictionary2 is None):
        return False
    for a, b in zip(buffers, buffers2, strict=True):
        if (a is None) != (b is None):
            return False
        if a is None or (a.address, a.size) == (b.address, b.size):
            continue
        # Made for a selection whose rows begin within a byte.
        if a.size > length // 8 + 1 or not a.equals(b):
            return False
    pairs = zip(children, children2, strict=True)
    return all(is_same_layout(a, b) for a, b in pairs) and (
        dictionary is None or is_same_layout(dictionary, dictionary2)
    )


def layout_of(array: Any) -> Any:  # noqa: ANN401
    """Takes an array apart: type, length, nulls, offset, buffers, children and dictionary.

    It is what pyarrow itself pickles: all of it, whatever the type.

    Args:
        array: The array.

    Returns:
        The parts; children and dictionary are taken apart as the array is.

    Example:
        >>> import pyarrow as pa
        >>> from famfs import _arrow_layouts
        >>> _arrow_layouts.layout_of(pa.array([1, 2, 3]))[:4]
        (DataType(int64), 3, 0, 0)
    """
    return array.__reduce__()[1][0]


def size_of(layout: Any) -> int:  # noqa: ANN401
    """Counts the bytes of the buffers that an array and all below it look at.

    Args:
        layout: The array's.

    Returns:
        The bytes, of rows before and after it too.

    Example:
        >>> import pyarrow as pa
        >>> from famfs._arrow_layouts import layout_of, size_of
        >>> size_of(layout_of(pa.array(["ab", "c"], pa.large_string())))
        27
    """
    return sum(buffer.size for _, buffer in buffers_of(layout))


def buffers_of(layout: Any, way: tuple[int, ...] = ()) -> Iterator[tuple[tuple[int, ...], Any]]:  # noqa: ANN401
    """Lists the buffers of an array and of what is below it.

    Args:
        layout: The array's.
        way: What leads to it, where it is below another.

    Yields:
        The way to each buffer that has bytes, and the buffer.

    Example:
        >>> import pyarrow as pa
        >>> from famfs._arrow_layouts import buffers_of, layout_of
        >>> [way for way, _ in buffers_of(layout_of(pa.array([["a"], ["b"]])))]
        [(), (0,), (0,)]
    """
    _, _, _, _, buffers, children, dictionary = layout
    for buffer in buffers:
        if buffer is not None and buffer.size:
            yield way, buffer
    for i, child in enumerate(children):
        yield from buffers_of(child, (*way, i))
    if dictionary is not None:
        yield from buffers_of(dictionary, (*way, DICTIONARY))
