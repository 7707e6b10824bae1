"""What a notebook shows of a dataset: what it is, and where it lies on the device."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from famfs import _native

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

MANY = 40
"""Columns that are listed; a table of thousands is told, not shown."""

_UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB")


def size(count: float) -> str:
    """Writes a number of bytes as people read it.

    Args:
        count: The bytes.

    Returns:
        Such as "1.5 MiB".

    Example:
        >>> from famfs import _show
        >>> _show.size(1536), _show.size(5)
        ('1.5 KiB', '5 bytes')
    """
    unit = 0
    while count >= 1024 and unit < len(_UNITS) - 1:  # noqa: PLR2004 - binary units
        count /= 1024
        unit += 1
    return f"{count:.1f} {_UNITS[unit]}".replace(".0 ", " ")


def html(
    path: str,
    what: str,
    nbytes: int,
    places: Sequence[tuple[int, int]],
    device: int,
    fields: Iterable[tuple[str, str]] | None,
) -> str:
    """Draws a dataset.

    Args:
        path: The file.
        what: What it is, in words.
        nbytes: Bytes of the file.
        places: Where its extents lie on the device, as offset and length.
        device: Bytes of the device.
        fields: Names and types of a table's columns; None for anything else.

    Returns:
        HTML.

    Example:
        >>> from famfs import _show
        >>> "2 extents" in _show.html("/mnt/a", "array", 10, [(0, 5), (9, 5)], 100, None)
        True
    """
    count = "1 extent" if len(places) == 1 else f"{len(places)} extents"
    where = f" from {places[0][0]:#x} on" if places else ""
    said = f"{size(nbytes)} in {count}{where}, of a device of {size(device)}"
    parts = [f"<p><b>{escape(path)}</b>: {escape(what)}<br><small>{said}</small></p>"]
    if places:
        parts.append(_native.strip(places, device))
    if fields is not None:
        listed = list(fields)
        rows = "".join(
            f"<tr><td>{escape(name)}</td><td>{escape(kind)}</td></tr>"
            for name, kind in listed[:MANY]
        )
        more = (
            f"<tr><td colspan=2>and {len(listed) - MANY:,} more</td></tr>"
            if len(listed) > MANY
            else ""
        )
        parts.append(f"<table><tr><th>column</th><th>type</th></tr>{rows}{more}</table>")
    return "".join(parts)
