"""Embedded volumes that go with who made them: a block, a notebook, a process."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import weakref
from typing import TYPE_CHECKING

from famfs import _native
from famfs._arguments import Size, read_size
from famfs.errors import NotMounted

if TYPE_CHECKING:
    from types import TracebackType


class Embedded(contextlib.AbstractContextManager[str]):
    """A private volume in this host's memory. `embedded` makes it.

    A path of its own: where a path is asked for, it stands for its mount point.
    """

    mountpoint: str
    """The directory that stands for it, a fresh one."""

    def __init__(self, size: int | None) -> None:
        home = tempfile.mkdtemp(prefix="famfs-")
        self.mountpoint = os.path.join(os.path.realpath(home), "mnt")  # noqa: PTH118 - a str is said
        # First of all: what interrupts the rest is noticed when the volume is made.
        self._end = weakref.finalize(self, _end, home, self.mountpoint, os.getpid())
        try:
            _native.embedded_mount(self.mountpoint, size=size)
        except BaseException:
            self._end()
            raise

    def close(self) -> None:
        """Gives its memory back; its files are lost. Another time it does nothing."""
        self._end()

    def __enter__(self) -> str:
        """Its mount point."""
        return self.mountpoint

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Closes it."""
        self.close()

    def __fspath__(self) -> str:
        """Its mount point."""
        return self.mountpoint

    def __repr__(self) -> str:
        """What it is, and whether it is still there."""
        state = "" if self._end.alive else ", closed"
        return f"<famfs.Embedded: {self.mountpoint}{state}>"


def embedded(size: Size | None = None) -> Embedded:
    """Makes a private volume in this host's memory, which is gone at the end of a block.

    Without a block, as in the cells of a notebook, it is there until `close`, and goes with its
    object or the process at the latest.

    Processes that have it mapped then keep what they have open, and nobody else gets at it. Where
    the process is killed the volume stays: `mounts` lists it, and `umount` with `discard` gives its
    memory back.

    Args:
        size: Its size, as for `mkfs`; by default a quarter of the memory that is available, 4 GiB
            at most.

    Returns:
        The volume. A `with` block gets its mount point, a fresh directory, which `mountpoint` says
        too.

    Raises:
        FamfsError: The size makes no volume.
        NoSpace: The host has no room for it.

    Example:
        >>> import famfs
        >>> with famfs.embedded(size="64MiB") as mnt:
        ...     ref = famfs.publish(b"hello", f"{mnt}/greeting")
        >>> famfs.exists(f"{mnt}/greeting")
        Traceback (most recent call last):
        famfs.errors.NotMounted: ...
        >>> volume = famfs.embedded(size="64MiB")
        >>> famfs.ls(volume.mountpoint)
        []
        >>> volume.close()
    """
    return Embedded(read_size(size))


def _end(home: str, mountpoint: str, maker: int) -> None:
    # A forked child has a copy of the volume's object, and not the volume.
    if os.getpid() != maker:
        return
    try:
        with contextlib.suppress(NotMounted):
            _native.umount(mountpoint, discard=True, force=True)
    finally:
        shutil.rmtree(home, ignore_errors=True)
