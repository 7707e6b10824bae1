"""Arguments that several calls take: paths, sizes, counts and modes, each read in one way."""

from __future__ import annotations

import os
from operator import index
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from famfs import _native
from famfs.errors import FamfsError, InvalidPath, Unsupported

if TYPE_CHECKING:
    from collections.abc import Iterable

Column = TypeVar("Column")

Size: TypeAlias = int | str

_MODES = 0o7777
_SIZES = 1 << 63


def read_path(path: str | bytes | os.PathLike[str] | os.PathLike[bytes]) -> str:
    """Reads a path.

    Args:
        path: Text, bytes, or an object that stands for a path.

    Returns:
        Text; bytes that are no UTF-8 are in it as Python has them in names of files.

    Raises:
        InvalidPath: It is empty, or has half of a character.
        Unsupported: It is no path.

    Example:
        >>> from pathlib import Path
        >>> from famfs import _arguments
        >>> _arguments.read_path(Path("/mnt/famfs") / "a")
        '/mnt/famfs/a'
    """
    try:
        text = os.fsdecode(path)
        encoded = os.fsencode(text)
    except TypeError as error:
        raise Unsupported(
            f"{path!r} is no path: text, bytes or a pathlib.Path name a file below a mount point"
        ) from error
    except UnicodeEncodeError as error:
        raise InvalidPath(
            f"{path!a}: half of a character, which no name has; a name of other bytes than UTF-8 "
            'is given as bytes, b"..."'
        ) from error
    if not encoded:
        raise InvalidPath(
            "the path is empty: name a file below a mount point, such as /mnt/famfs/table; "
            "famfs.mounts() lists the mount points"
        )
    return text


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


def read_count(count: int, name: str, what: str, least: int = 0) -> int:
    """Reads how many there are of something.

    Args:
        count: The number.
        name: What the caller calls it.
        what: What is counted, for the message.
        least: The fewest that there may be.

    Returns:
        The same, to what 63 bits hold.

    Raises:
        Unsupported: It is no such number.

    Example:
        >>> from famfs import _arguments
        >>> _arguments.read_count(np.int8(5), "rows", "rows of the table")
        5
    """
    number = whole(count, name, f"a whole number of {what}")
    if not least <= number < _SIZES:
        raise Unsupported(
            f"{name}={number}: a number of {what} is {least} or more, and below 2**63"
        )
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
