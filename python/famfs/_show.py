"""What a notebook shows of a dataset: what it is, and where it lies on the device."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

MANY = 40
"""Columns that are listed; a table of thousands is told, not shown."""

_WIDTH = 600
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
        parts.append(_map(places, device))
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


def _map(places: Sequence[tuple[int, int]], device: int) -> str:
    """The device as a bar, with the file's extents in it."""
    scale = _WIDTH / max(device, 1)
    marks = "".join(
        # What is small is seen all the same.
        f'<rect x="{min(at * scale, _WIDTH - 2):.1f}" y="1" width="{max(length * scale, 2):.1f}" '
        f'height="16" fill="#d9480f"><title>{at:#x}, {size(length)}</title></rect>'
        for at, length in places
    )
    return (
        f'<svg width="{_WIDTH}" height="18" viewBox="0 0 {_WIDTH} 18" role="img" '
        f'aria-label="where it lies on the device"><rect x="0.5" y="0.5" width="{_WIDTH - 1}" '
        f'height="17" fill="#f1f3f5" stroke="#868e96"/>{marks}</svg>'
    )
