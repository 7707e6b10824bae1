"""URLs: what `famfs://...` and plain paths mean, as programs write them that know only names."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote

from famfs import _native
from famfs._arguments import read_path
from famfs.errors import InvalidPath, NotMounted, Unsupported

if TYPE_CHECKING:
    from famfs._native import Ref

SCHEME = "famfs://"

# What stands for itself in a URL's path; patterns' letters don't.
_PLAIN = "!$&'()+,-./:;=@_~"


class Place(NamedTuple):
    """What a name means: a path below a mount point, or a reference."""

    path: str
    """Of a reference, what the file was called."""
    ref: Ref | None = None

    def to_change(self, name: str) -> str:
        """Gives the path, for who publishes there or takes its name away.

        Args:
            name: What was asked for, for the message.

        Returns:
            The path.

        Raises:
            Unsupported: It is a reference, which names what was published and can't be changed.

        Example:
            >>> Place("/mnt/famfs/a").to_change("a")
            '/mnt/famfs/a'
        """
        if self.ref is not None:
            raise Unsupported(
                f"{SCHEME}{name}: a reference names what is published already; name the path, "
                f"{SCHEME}{name.partition('#')[0].partition('?')[0]}, to replace or remove it"
            )
        return self.path


def stripped(text: str) -> str:
    """Leaves the scheme away, and slashes at the end.

    Args:
        text: A URL, `famfs://uuid/path` or `famfs:///mnt/famfs/path`; or a plain path.

    Returns:
        `uuid/path`, or a path that begins with a slash; nothing for the root of all volumes.

    Raises:
        Unsupported: It is no text.

    Example:
        >>> stripped("famfs:///mnt/famfs/a/"), stripped("/mnt/famfs/a"), stripped("famfs://")
        ('/mnt/famfs/a', '/mnt/famfs/a', '')
    """
    if not isinstance(text, str):
        raise Unsupported(f"{text!r} is no name: a path, or a URL such as {SCHEME}uuid/path")
    return text.removeprefix(SCHEME).removeprefix("famfs::").rstrip("/")


def resolve(name: str) -> Place:
    """Finds what a name means. Nothing is looked up but where its volume is mounted.

    Args:
        name: As `stripped` gives it. A plain path is taken as it is; in `uuid/path` what follows
            `%` is decoded, as in the text of a reference.

    Returns:
        The place.

    Raises:
        InvalidPath: No file can have that path, or it is no uuid, or no reference.
        NotMounted: The volume isn't mounted here.

    Example:
        >>> import famfs
        >>> ref = famfs.publish(b"hello", f"{mnt}/a b")
        >>> resolve(f"{ref.uuid}/a%20b").path == f"{mnt}/a b"
        True
        >>> resolve(stripped(str(ref))).ref == ref
        True
    """
    if name.startswith("/"):
        return Place(read_path(name))
    if not name.isascii():
        try:
            name.encode()
        except UnicodeEncodeError as error:
            raise InvalidPath(
                f"{SCHEME}{name!a}: half of a character; bytes of a name are written %FF in a URL"
            ) from error
    if "#" in name:
        ref = _native.Ref(SCHEME + name)
        return Place(ref.path, ref)
    volume, slash, _ = name.partition("/")
    # A reference's text says what is right in such a name: one with an index has all of its rules.
    checked = _native.Ref(f"{SCHEME}{name}#0" if slash else f"{SCHEME}{volume}/x#0")
    if checked.rows is not None or checked.columns is not None:
        raise InvalidPath(
            f"{SCHEME}{name}: rows and columns are selected by a reference, which ends with # and "
            "an index: str(dataset.ref) is one"
        )
    mountpoint = _mount_of(checked.uuid)
    return Place(f"{mountpoint}/{checked.path}" if slash else mountpoint)


def child(directory: str, name: str) -> str:
    """Names what lies in a directory in the way in which the directory was named.

    Args:
        directory: As `stripped` gives it.
        name: Of what lies in it.

    Returns:
        Its name, which `resolve` understands.

    Example:
        >>> child("/mnt/famfs", "a b"), child("6ba7b810-9dad-11d1-80b4-00c04fd430c8", "a b")
        ('/mnt/famfs/a b', '6ba7b810-9dad-11d1-80b4-00c04fd430c8/a%20b')
    """
    if directory.startswith("/"):
        return f"{directory}/{name}"
    return f"{directory}/{quote(os.fsencode(name), safe=_PLAIN)}"


def volumes() -> list[str]:
    """Lists the volumes that are mounted here.

    Returns:
        Their uuids, each once.

    Example:
        >>> import famfs
        >>> famfs.publish(b"hello", f"{mnt}/greeting").uuid in volumes()
        True
    """
    return sorted({mounting[2] for mounting in _native.mounts_list() if mounting[2] is not None})


def _mount_of(uuid: str) -> str:
    for mounting in _native.mounts_list():
        if mounting[2] == uuid:
            return os.fspath(mounting[1])
    raise NotMounted(
        f"{SCHEME}{uuid}: no such volume is mounted here; `famfs mounts` lists those that are, "
        "`famfs mount DEV MNT` adds one"
    )
