"""Pictures of devices for notebooks: what lies where, as `famfs map` draws it."""

from __future__ import annotations

import html
import json
import pathlib
from typing import TYPE_CHECKING, Any

from famfs import _native
from famfs._arguments import read_path
from famfs.errors import Unsupported

if TYPE_CHECKING:
    import os

_COLUMNS = 100


class DeviceMap:
    """What lies where on a device, as of when it was looked at.

    A notebook shows it as a picture, a terminal as text. What is published later is not in it.

    Example:
        >>> import famfs
        >>> "superblock" in str(famfs.plot_map(mnt))
        True
    """

    def __init__(self, native: _native.DeviceMap) -> None:
        """As `plot_map` makes it."""
        self._native = native

    @property
    def svg(self) -> str:
        """The picture, as the text of an SVG file."""
        return self._native.svg()

    @property
    def ranges(self) -> list[dict[str, Any]]:
        """The device's ranges in their order, without a gap.

        Each has `use` (superblock, log, log-room, file, dead or free), `offset` and `length` in
        bytes; of a file also `path`, `slot`, and `extent`, counted from 1.

        Example:
            >>> import famfs
            >>> first = famfs.plot_map(mnt).ranges[0]
            >>> first["use"], first["offset"], first["length"]
            ('superblock', 0, 2097152)
        """
        ranges: list[dict[str, Any]] = json.loads(self._native.json())["ranges"]
        return ranges

    def save(self, file: str | os.PathLike[str]) -> None:
        """Writes the picture to a file.

        Args:
            file: Its name ends in `.svg`, or in `.html` for a page with nothing else on it.

        Raises:
            Unsupported: The name ends otherwise.
            OSError: The file can't be written.

        Example:
            >>> import famfs
            >>> famfs.plot_map(mnt).save(f"{tmp}/map.svg")
        """
        path = pathlib.Path(file)
        if path.suffix == ".svg":
            text = self.svg
        elif path.suffix == ".html":
            title = html.escape(path.stem)
            text = (
                f'<!doctype html><meta charset="utf-8"><title>{title}</title>'
                f'<meta name="color-scheme" content="light dark">{self.svg}\n'
            )
        else:
            raise Unsupported(f"{path}: a map is saved as .svg or .html")
        path.write_text(text, encoding="utf-8")

    def _repr_svg_(self) -> str:
        return self.svg

    def _repr_html_(self) -> str:
        """The same picture; within a page it tells of each range what the pointer is on."""
        return f"<div>{self.svg}</div>"

    def __str__(self) -> str:
        """The picture as text."""
        return self._native.text(_COLUMNS)

    def __repr__(self) -> str:
        """The picture as text: what a notebook without pictures, or a terminal, shows."""
        return str(self)


def plot_map(path: str | os.PathLike[str]) -> DeviceMap:
    """Draws what lies where on a device: superblock, log, files by extent, dead and free space.

    The volume is read, not mounted or mapped, so it need not be in use, nor sound.

    Args:
        path: A mount point, a device, or a backing file; of a file in a volume, that file stands
            out among the others.

    Returns:
        The picture, which a notebook shows.

    Raises:
        Corrupt: No volume can be made out there.
        NotFound: There is no such file.
        NotMounted: A directory that is no mount point.

    Example:
        >>> import famfs
        >>> ref = famfs.publish(b"x" * 5_000_000, f"{mnt}/five")
        >>> sum(part["length"] for part in famfs.plot_map(mnt).ranges if part["use"] == "file")
        6291456
    """
    return DeviceMap(_native.device_map(read_path(path)))
