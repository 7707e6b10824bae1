"""Volumes, mounts and names."""

from __future__ import annotations

import contextlib
import os
import time
import warnings
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from famfs import _native
from famfs._arguments import Size, read_mode, read_path, read_size
from famfs._watch import end_of, is_over, pauses
from famfs.errors import NotFound, Unsupported

if TYPE_CHECKING:
    from famfs._native import Ref

Path: TypeAlias = str | os.PathLike[str]


@dataclass(frozen=True, slots=True)
class Entry:
    """A file or directory of a volume."""

    name: str
    path: str
    kind: str
    size: int
    rows: int | None
    mode: int
    uid: int
    gid: int
    index: int
    ref: Ref | None
    """A file's reference; None for a directory."""

    def __repr__(self) -> str:
        """The call that makes it, the mode in octal, as modes are read."""
        values = ((field.name, getattr(self, field.name)) for field in fields(self))
        told = (f"{n}={v:#o}" if n == "mode" else f"{n}={v!r}" for n, v in values)
        return f"Entry({', '.join(told)})"


class Mount(NamedTuple):
    """A directory that stands for a volume."""

    source: str
    """The device or backing file."""
    mountpoint: str
    uuid: str | None
    embedded: bool
    role: str | None
    """What this host may do: "master" publishes. None where there is no volume (any more)."""
    locality: str | None
    """Whose caches see the volume: "local" or "shared"."""
    memory: str | None
    """What memory an embedded volume got, in words; None for any other."""


class Usage(NamedTuple):
    """What a volume's space is used for, in bytes; allocated + free = capacity."""

    capacity: int
    allocated: int
    dead: int
    free: int
    entries: int
    """Entries of the log that are used."""
    entries_max: int
    """Entries that fit the log."""
    memory: str | None
    """What memory an embedded volume got, in words; None for any other."""
    huge: int | None
    """Bytes of an embedded volume that huge pages hold, as the kernel says; None for any other."""


def ls(path: Path) -> list[Entry]:
    """Lists a directory of a volume; of a file, the file itself.

    Args:
        path: Below a mount point, or one.

    Returns:
        What is there, in the order it was made.

    Raises:
        NotFound: Nothing has that name.
        NotMounted: The path lies under no mount.

    Example:
        >>> import famfs
        >>> ref = famfs.publish(b"hello", f"{mnt}/greeting")
        >>> [(entry.name, entry.kind, entry.size) for entry in famfs.ls(mnt)]
        [('greeting', 'bytes', 5)]
    """
    return [_entry(found) for found in _native.ls(read_path(path))]


def stat(path: Path) -> Entry:
    """Tells what is at a path.

    Args:
        path: Below a mount point, or one.

    Returns:
        Its entry.

    Raises:
        NotFound: Nothing has that name.
        NotMounted: The path lies under no mount.

    Example:
        >>> import famfs
        >>> ref = famfs.publish(b"hello", f"{mnt}/greeting")
        >>> famfs.stat(f"{mnt}/greeting").size
        5
    """
    return _entry(_native.entry(read_path(path)))


def exists(path: Path) -> bool:
    """Whether there is something at a path.

    Args:
        path: Below a mount point, or one.

    Returns:
        False where nothing has that name.

    Raises:
        InvalidPath: No file can have that path, or it leads through a file.
        NotMounted: The path lies under no mount.

    Example:
        >>> import famfs
        >>> famfs.exists(f"{mnt}/nothing")
        False
    """
    try:
        _native.entry(read_path(path))
    except NotFound:
        return False
    return True


def remove(path: Path) -> None:
    """Takes the name of a file or an empty directory away.

    Who has the file open keeps it, and its reference still opens it. Its space does not come back
    yet.

    Args:
        path: Below a mount point.

    Raises:
        Busy: The directory is not empty.
        NotFound: Nothing has that name.
        NotMaster: Another host publishes to this volume.

    Example:
        >>> import famfs
        >>> ref = famfs.publish(b"hello", f"{mnt}/greeting")
        >>> famfs.remove(f"{mnt}/greeting")
        >>> famfs.exists(f"{mnt}/greeting"), famfs.open(ref).nbytes
        (False, 5)
    """
    _native.remove(read_path(path))


def mkdir(path: Path, *, mode: int | None = None) -> None:
    """Makes a directory of a volume.

    Args:
        path: Below a mount point.
        mode: Permission bits, such as 0o750; by default 0o777 without the umask.

    Raises:
        AlreadyExists: The name is taken.
        FamfsError: The mode has bits that none has.
        NotFound: The directory that it lies in is missing.
        NotMaster: Another host publishes to this volume.

    Example:
        >>> import famfs
        >>> famfs.mkdir(f"{mnt}/runs")
        >>> famfs.stat(f"{mnt}/runs").kind
        'directory'
    """
    _native.mkdir(read_path(path), mode=read_mode(mode))


def versions(path: Path) -> list[Ref]:
    """Lists what was published under a name, the newest first.

    Args:
        path: A file's, below a mount point.

    Returns:
        The references, each of which opens its version.

    Raises:
        NotFound: Nothing has that name.

    Example:
        >>> import famfs
        >>> first = famfs.publish(b"one", f"{mnt}/count")
        >>> second = famfs.publish(b"two", f"{mnt}/count", overwrite=True)
        >>> [bytes(famfs.open(ref).buffer()) for ref in famfs.versions(f"{mnt}/count")]
        [b'two', b'one']
    """
    return _native.versions(read_path(path))


def wait(path: Path, timeout: float | None = None) -> Entry:
    """Waits until something is published under a name.

    Args:
        path: Below a mount point.
        timeout: Seconds to wait at most; None waits forever.

    Returns:
        Its entry.

    Raises:
        NotMounted: The path lies under no mount.
        TimeoutError: It was not there in time.

    Example:
        >>> import famfs
        >>> ref = famfs.publish(b"hello", f"{mnt}/greeting")
        >>> famfs.wait(f"{mnt}/greeting", timeout=1).size
        5
    """
    end, rests = end_of(timeout), pauses()
    while True:
        with contextlib.suppress(NotFound):
            return stat(path)
        if is_over(end):
            raise not_in_time(path, timeout)
        time.sleep(next(rests))


def not_in_time(path: Path, timeout: float | None) -> TimeoutError:
    """Makes the error of a wait that was in vain.

    Args:
        path: What did not come.
        timeout: Seconds that were waited.

    Returns:
        The error.

    Example:
        >>> from famfs import volume
        >>> str(volume.not_in_time("/mnt/a", 3))
        '/mnt/a: nothing was published in 3 seconds'
    """
    return TimeoutError(f"{read_path(path)}: nothing was published in {timeout} seconds")


def df(path: Path) -> Usage:
    """Tells what a volume's space is used for.

    Args:
        path: A mount point, or a path below one.

    Returns:
        Bytes, entries of the log, and what memory an embedded volume has.

    Raises:
        NotMounted: The path lies under no mount.

    Example:
        >>> import famfs
        >>> usage = famfs.df(mnt)
        >>> usage.allocated + usage.free == usage.capacity
        True
        >>> usage.memory is not None and 0 <= usage.huge <= usage.capacity
        True
    """
    return Usage(*_native.df(read_path(path)))


def mkfs(
    device: Path,
    *,
    size: Size | None = None,
    log_size: Size | None = None,
    sparse: bool = False,
    omf: str = "2.3",
    host_uuid: str | None = None,
    force: bool = False,
) -> str:
    """Makes a volume on a device, or in a backing file.

    Args:
        device: A /dev/dax or /dev/pmem device, or a backing file's path.
        size: Make the backing file, of this size: bytes, or text such as "64M" or "64MiB", whose
            units are powers of 1024.
        log_size: Size of the log, a power of two from 8 MiB on.
        sparse: Leave the backing file's space to be taken as it is used.
        omf: The format: "2.3", or "2.2" for the reference implementation.
        host_uuid: The host that publishes; by default this one.
        force: Make it over a volume that is there, whose files are lost.

    Returns:
        The volume's identity.

    Raises:
        AlreadyExists: There is a volume, and `force` is not set.
        FamfsError: The sizes make no volume, or the device may not be written.
        NoSpace: The host has no room for the backing file.

    Example:
        >>> import famfs
        >>> uuid = famfs.mkfs(f"{tmp}/volume", size="32MiB")
        >>> mount = famfs.mount(f"{tmp}/volume", f"{tmp}/mnt")
        >>> mount.uuid == uuid
        True
        >>> famfs.umount(f"{tmp}/mnt")
    """
    if omf not in {"2.2", "2.3"}:
        raise Unsupported(f"omf={omf!r}: the formats are '2.3' and '2.2'")
    return _native.mkfs(
        read_path(device),
        size=read_size(size),
        log_size=read_size(log_size),
        sparse=sparse,
        omf_minor=int(omf[2:]),
        host_uuid=host_uuid,
        force=force,
    )


def mount(device: Path, mountpoint: Path, *, shared: bool | None = None) -> Mount:
    """Makes a directory stand for a volume, in the library way.

    No file system is mounted: paths below the directory are resolved by famfs, and other programs
    see a plain directory.

    Args:
        device: The device or backing file.
        mountpoint: A directory that exists.
        shared: Whether other hosts' caches see the volume; by default a device's are, and a backing
            file's are not.

    Returns:
        The mount.

    Raises:
        Busy: Something is mounted there.
        Corrupt: There is no volume that can be mounted.
        FamfsError: The device or the directory is missing.
        Unsupported: The device can't be mapped.

    Example:
        >>> import famfs
        >>> uuid = famfs.mkfs(f"{tmp}/volume", size="32MiB")
        >>> famfs.mount(f"{tmp}/volume", f"{tmp}/mnt").role
        'master'
        >>> famfs.umount(f"{tmp}/mnt")
    """
    found, said = _native.mount(read_path(device), read_path(mountpoint), shared=shared)
    for text in said:
        warnings.warn(text, stacklevel=2)
    return _mount(found)


def umount(mountpoint: Path, *, discard: bool = False) -> None:
    """Takes a mount away.

    Args:
        mountpoint: The directory.
        discard: Give an embedded volume's memory back; its files are lost.

    Raises:
        Busy: Others use the volume whose memory would be given back.
        NotMounted: Nothing is mounted there.

    Example:
        >>> import famfs
        >>> uuid = famfs.mkfs(f"{tmp}/volume", size="32MiB")
        >>> mount = famfs.mount(f"{tmp}/volume", f"{tmp}/mnt")
        >>> famfs.umount(f"{tmp}/mnt")
    """
    _native.umount(read_path(mountpoint), discard=discard)


def mounts() -> list[Mount]:
    """Lists the mounts that this user sees. No volume is opened for it, nor kept busy.

    Returns:
        Those of the system, the user's own, and those of FAMFS_MOUNTS.

    Example:
        >>> import famfs
        >>> mnt in [mount.mountpoint for mount in famfs.mounts()]
        True
    """
    return [_mount(found) for found in _native.mounts_list()]


def _entry(found: Any) -> Entry:  # noqa: ANN401
    name, path, *rest = found
    return Entry(name, os.fspath(path), *rest)


def _mount(found: Any) -> Mount:  # noqa: ANN401
    source, mountpoint, *rest = found
    return Mount(os.fspath(source), os.fsdecode(mountpoint), *rest)
