"""Directories that engines fill: all of the files appear in one step, or nothing is left."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from famfs import volume
from famfs.errors import AlreadyExists, FamfsError, NotFound
from famfs.transactions import transaction

if TYPE_CHECKING:
    from collections.abc import Iterator

    from famfs.transactions import Transaction


@contextlib.contextmanager
def filled(path: str, *, may_be_empty: bool = False) -> Iterator[Transaction]:
    """Makes a directory, whose files a block publishes in one transaction.

    Where the block raises, nothing is published, and the directory is removed if it was made here.

    Args:
        path: The directory.
        may_be_empty: An empty one that is there already is taken too.

    Yields:
        The transaction.

    Raises:
        AlreadyExists: There is something of that name.
        FamfsError: As `famfs.mkdir` and `famfs.transaction`.

    Example:
        >>> import famfs
        >>> from famfs import _directories
        >>> with _directories.filled(f"{mnt}/runs") as together:
        ...     _ = together.publish(b"x", f"{mnt}/runs/1")
        >>> [entry.name for entry in famfs.ls(f"{mnt}/runs")]
        ['1']
    """
    made = _make(path, may_be_empty=may_be_empty)
    try:
        with transaction(path) as together:
            yield together
    except BaseException:
        if made:
            # Somebody else may have put something there.
            with contextlib.suppress(FamfsError):
                volume.remove(path)
        raise


def _make(path: str, *, may_be_empty: bool) -> bool:
    """Makes the directory; whether it wasn't there."""
    try:
        there = volume.stat(path)
    except NotFound:
        volume.mkdir(path)
        return True
    if there.kind != "directory":
        what = "is a file"
    elif volume.ls(path):
        what = "has files in it"
    elif may_be_empty:
        return False
    else:
        what = "is there"
    raise AlreadyExists._of(  # noqa: SLF001 - of this package
        17, f"{path}: {what} already; choose another name, or remove it", path
    )
