"""Arguments that several calls take: sizes and modes, each read in one way."""

from __future__ import annotations

from operator import index
from typing import TypeAlias

from famfs import _native
from famfs.errors import FamfsError

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
    count = _whole(size, "size", "a number of bytes, or text such as 8M or 64MiB")
    if not 0 <= count < _SIZES:
        raise FamfsError(f"size: {count} bytes: no volume is that large, or small")
    return count


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
    bits = _whole(mode, "mode", "permission bits such as 0o640")
    if not 0 <= bits <= _MODES:
        raise FamfsError(f"mode: {bits} has bits outside of 0o7777; write it in octal: mode=0o640")
    return bits


def _whole(value: int, name: str, expected: str) -> int:
    try:
        return index(value)
    except TypeError as error:
        raise FamfsError(f"{name}: {value!r} is not {expected}") from error
