"""The errors of famfs: one tree, whose classes are also the built-in ones that fit.

Example:
    >>> import famfs
    >>> try:
    ...     famfs.open(f"{mnt}/nothing")
    ... except FileNotFoundError as error:
    ...     print(type(error).__name__)
    NotFound
"""

from __future__ import annotations

from typing import Self


class FamfsError(Exception):
    """Whatever goes wrong in famfs. What it says ends with the step that mends it.

    Those that are an `OSError` have `errno`, and the path that was asked for as `filename`.
    """

    @classmethod
    def _of(cls, errno: int, message: str, filename: str | None = None) -> Self:
        return cls(errno, message, filename) if issubclass(cls, OSError) else cls(message)

    def __str__(self) -> str:
        """What went wrong. The path is in it; an `OSError` would say it again at the end."""
        if isinstance(self, OSError) and self.errno is not None:
            return f"[Errno {self.errno}] {self.strerror}"
        return super().__str__()


class NotFound(FamfsError, FileNotFoundError):  # noqa: N818 - the interface's names
    """Nothing has that name, or its directory is missing."""


class AlreadyExists(FamfsError, FileExistsError):  # noqa: N818
    """The name is taken, and `overwrite` was not asked for."""


class NoSpace(FamfsError, OSError):  # noqa: N818
    """The volume, its log, or the host's memory is full."""


class NotMounted(FamfsError):  # noqa: N818
    """The path lies under no mount, or the reference's volume is not mounted here."""


class NotMaster(FamfsError, PermissionError):  # noqa: N818
    """Another host is the volume's master: only that one publishes."""


class ReadOnlyVolume(FamfsError, PermissionError):  # noqa: N818
    """The volume's log must not be appended to."""


class PermissionDenied(FamfsError, PermissionError):  # noqa: N818
    """The user may not: the device, the backing file or a directory on the way is not theirs."""


class HostError(FamfsError, OSError):
    """The host's system refused; `errno` says how."""


class Busy(FamfsError):  # noqa: N818
    """Somebody else has it."""


class Corrupt(FamfsError, ValueError):  # noqa: N818
    """The volume or the file is not what it says it is."""


class Unsupported(FamfsError, TypeError):  # noqa: N818
    """The object, or the way of using it, is not supported; the message names what is."""


class VolumeChanged(FamfsError):  # noqa: N818
    """Another volume was made where this one was."""


class MemoryFault(FamfsError, OSError):  # noqa: N818
    """Memory of the volume is lost: poisoned, or its backing file was cut."""


class InvalidPath(FamfsError, ValueError):  # noqa: N818
    """A path that can't be one in a volume, or that leads through a file."""


__all__ = [
    "AlreadyExists",
    "Busy",
    "Corrupt",
    "FamfsError",
    "HostError",
    "InvalidPath",
    "MemoryFault",
    "NoSpace",
    "NotFound",
    "NotMaster",
    "NotMounted",
    "PermissionDenied",
    "ReadOnlyVolume",
    "Unsupported",
    "VolumeChanged",
]
