"""Arguments that several calls take: sizes, counts and modes, each read in one way."""

from __future__ import annotations

from operator import index
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from famfs import _native
from famfs.errors import FamfsError, Unsupported

if TYPE_CHECKING:
    from collections.abc import Iterable

Column = TypeVar("Column")

Size: TypeAlias = int | str

_MODES = 0o7777
_SIZES = 1 << 63


def read_size(size: Size | None) -> int | None:
    """Reads a size.

    Args:
        size: Bytes, or text as the command line takes it: 4096, 8M, 64MiB, 1 GiB. Units are powers
            of 1024.

    Returns:
        Bytes; None where there is none.

    Raises:
        FamfsError: It is no size.

    Example:
        >>> from famfs import _arguments
        >>> _arguments.read_size("8M")
        8388608
    """
    if size is None:
        return None
    if isinstance(size, str):
        return _native.parse_size(size)
    count = whole(size, "size", "a number of bytes, or text such as 8M or 64MiB", FamfsError)
    if not 0 <= count < _SIZES:
        raise FamfsError(f"size: {count} bytes: no volume is that large, or small")
    return count


def read_count(count: int, name: str, what: str) -> int:
    """Reads how many there are of something.

    Args:
        count: The number.
        name: What the caller calls it.
        what: What is counted, for the message.

    Returns:
        The same, from 0 to what 63 bits hold.

    Raises:
        Unsupported: It is no such number.

    Example:
        >>> from famfs import _arguments
        >>> _arguments.read_count(np.int8(5), "rows", "rows of the table")
        5
    """
    number = whole(count, name, f"a whole number of {what}")
    if not 0 <= number < _SIZES:
        raise Unsupported(f"{name}={number}: a number of {what} is 0 or more, and below 2**63")
    return number


def read_mode(mode: int | None) -> int | None:
    """Reads permission bits.

    Args:
        mode: Bits, best written in octal: 0o640.

    Returns:
        The same; None where there are none.

    Raises:
        FamfsError: There are more bits than a mode has.

    Example:
        >>> from famfs import _arguments
        >>> oct(_arguments.read_mode(0o640))
        '0o640'
    """
    if mode is None:
        return None
    bits = whole(mode, "mode", "permission bits such as 0o640", FamfsError)
    if not 0 <= bits <= _MODES:
        raise FamfsError(f"mode: {bits} has bits outside of 0o7777; write it in octal: mode=0o640")
    return bits


def read_names(columns: Iterable[Column]) -> list[Column]:
    """Reads which columns are wanted.

    Args:
        columns: Their names, in order.

    Returns:
        The same.

    Raises:
        Unsupported: It is one name, whose letters may be names too.

    Example:
        >>> from famfs import _arguments
        >>> _arguments.read_names(("a", "b"))
        ['a', 'b']
    """
    if isinstance(columns, str):
        raise Unsupported(f"columns={columns!r}: a list of names is meant, such as [{columns!r}]")
    return list(columns)


def whole(value: int, name: str, expected: str, error: type[FamfsError] = Unsupported) -> int:
    """Reads a whole number, of NumPy's too.

    Args:
        value: The number.
        name: What the caller calls it.
        expected: What it should be, for the message.
        error: What is raised where it is none.

    Returns:
        The same.

    Raises:
        FamfsError: It is none.

    Example:
        >>> from famfs import _arguments
        >>> _arguments.whole(np.int8(-5), "offset", "a row")
        -5
    """
    try:
        return index(value)
    except TypeError as reason:
        raise error(f"{name}: {value!r} is not {expected}") from reason
