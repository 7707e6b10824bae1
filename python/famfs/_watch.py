"""Watching names: what is published, replaced and removed, as it happens."""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from famfs import _native
from famfs._arguments import read_path
from famfs.errors import FamfsError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from famfs._native import Ref
    from famfs.volume import Path

_SHORTEST = 0.0005
_LONGEST = 0.05


class Event(NamedTuple):
    """News of a name."""

    what: str
    """What happened: "published", "replaced" or "removed"."""
    name: str
    path: str
    size: int
    ref: Ref | None
    """The file's reference, which opens it also where it is gone; None for a directory."""


def pauses() -> Iterator[float]:
    """Tells how long to rest between two looks: short at first, and longer while nothing is new.

    Yields:
        Seconds.

    Example:
        >>> from famfs import _watch
        >>> rests = _watch.pauses()
        >>> next(rests) < next(rests)
        True
    """
    pause = _SHORTEST
    while True:
        yield pause
        pause = min(pause * 2, _LONGEST)


def end_of(timeout: float | None) -> float | None:
    """Tells when a time is over.

    Args:
        timeout: Seconds from now; None for never.

    Returns:
        That time, as `time.monotonic` tells it.

    Example:
        >>> from famfs import _watch
        >>> _watch.end_of(None) is None
        True
    """
    if timeout is None:
        return None
    if timeout != timeout:  # noqa: PLR0124 - only NaN differs from itself
        raise FamfsError("timeout=nan: seconds to wait, or None to wait forever")
    return time.monotonic() + timeout


def is_over(end: float | None) -> bool:
    """Whether a time is over.

    Args:
        end: As `end_of` tells it.

    Returns:
        False for None.

    Example:
        >>> from famfs import _watch
        >>> _watch.is_over(_watch.end_of(0)), _watch.is_over(None)
        (True, False)
    """
    return end is not None and time.monotonic() >= end


def watch(path: Path, timeout: float | None = None, *, existing: bool = False) -> Watch:
    """Watches a name, and what lies in it where it is a directory.

    Nothing is missed: what is published or replaced between two looks is told as well, in the order
    it happened. That a name is gone is told after what came in the meantime.

    Args:
        path: Below a mount point, or one. It need not be there yet.
        timeout: The iteration ends when nothing happened for so many seconds; None goes on forever.
        existing: Tell first what is there already, as published.

    Returns:
        An iterator of events, from the moment of this call on. `close` ends it, from any thread.

    Raises:
        InvalidPath: No file can have that path.
        NotMounted: The path lies under no mount.

    Example:
        >>> import famfs
        >>> with famfs.watch(mnt, timeout=5) as events:
        ...     ref = famfs.publish(b"hello", f"{mnt}/greeting")
        ...     event = next(events)
        >>> event.what, event.name, event.ref == ref
        ('published', 'greeting', True)
    """
    return Watch(read_path(path), timeout, existing=existing)


class Watch:
    """The events of a path, as they happen. `watch` makes it."""

    def __init__(self, path: str, timeout: float | None, *, existing: bool) -> None:
        self._watcher = _native.Watcher(path, existing=existing)
        self._timeout = timeout
        self._news: list[Any] = []
        self._turn = threading.Lock()
        self._closed = threading.Event()

    def __iter__(self) -> Self:
        """Itself."""
        return self

    def __next__(self) -> Event:
        """The next event; waits for it."""
        end, rests = end_of(self._timeout), pauses()
        while not self._closed.is_set():
            event = self.poll()
            if event is not None:
                return event
            if is_over(end):
                break
            self._closed.wait(next(rests))
        raise StopIteration

    def poll(self) -> Event | None:
        """Looks once, and doesn't wait.

        Returns:
            The next event; None where nothing happened.

        Raises:
            VolumeChanged: Another volume was made where this one was.

        Example:
            >>> import famfs
            >>> famfs.watch(mnt).poll() is None
            True
        """
        with self._turn:
            if not self._news:
                self._news = self._watcher.poll()[::-1]
            if not self._news:
                return None
            what, name, path, size, ref = self._news.pop()
            return Event(what, name, os.fspath(path), size, ref)

    def close(self) -> None:
        """Ends the iteration, also where another thread waits in it."""
        self._closed.set()

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Closes it."""
        self.close()
