"""The names of famfs as async functions: the event loop goes on while threads do the work.

Cancelling leaves nothing behind. A `publish` that is cancelled stops at its next report of
progress, and nothing is published; `wait` and `watch` end at once, and so does whatever only reads.
What can't be stopped any more, because it is done or changes a volume in one step, is finished, and
its result comes back in spite of the cancelling.

Example:
    >>> import asyncio, famfs, numpy as np
    >>> async def main():
    ...     ref = await famfs.aio.publish(np.arange(6), f"{mnt}/six")
    ...     return (await famfs.aio.open(ref)).num_rows
    >>> asyncio.run(main())
    6
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import functools
from typing import TYPE_CHECKING, Any, ParamSpec, Self, TypeVar

from famfs import _watch, convert, dataset, volume
from famfs.errors import NotFound

if TYPE_CHECKING:
    import os
    from collections.abc import AsyncIterator, Callable, Coroutine
    from types import TracebackType

    from famfs._arguments import Size
    from famfs._native import Ref
    from famfs.volume import Entry, Path

__all__ = [
    "df",
    "embedded",
    "exists",
    "ls",
    "mkdir",
    "mkfs",
    "mount",
    "mounts",
    "open",
    "publish",
    "remove",
    "stat",
    "umount",
    "versions",
    "wait",
    "watch",
]

P = ParamSpec("P")
R = TypeVar("R")


class _Stopped(Exception):  # noqa: N818 - it says that nobody wants the result
    """Ends what a thread does."""


async def _finished(call: Callable[[], R], stop: Callable[[], object] | None = None) -> R:
    """Runs a call in a thread to its end; `stop` tells it that nobody wants it any more."""
    loop = asyncio.get_running_loop()
    # A future and no task: what ends the loop cancels all tasks, and this one has to be waited for.
    run = functools.partial(contextvars.copy_context().run, call)
    work = loop.run_in_executor(None, run)
    cancelled = False
    while not work.done():
        try:
            await asyncio.wait([work])
        except asyncio.CancelledError:
            cancelled = True
            if stop is not None:
                stop()
    if cancelled and work.exception() is not None:
        raise asyncio.CancelledError
    return work.result()


def _told(call: Callable[P, R], wrapper: Callable[P, Coroutine[Any, Any, R]], how: str) -> None:
    functools.update_wrapper(wrapper, call)
    first = (call.__doc__ or "").partition("\n")[0]
    wrapper.__module__ = __name__
    wrapper.__doc__ = f"{first}\n\n    As `famfs.{call.__name__}`, in a thread; {how}.\n    "


def _reads(call: Callable[P, R]) -> Callable[P, Coroutine[Any, Any, R]]:
    """Makes a function async that only reads: who is cancelled doesn't wait for its end."""

    async def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        return await asyncio.to_thread(call, *args, **kwargs)

    _told(call, wrapper, "cancelling doesn't wait for it")
    return wrapper


def _changes(call: Callable[P, R]) -> Callable[P, Coroutine[Any, Any, R]]:
    """Makes a function async that changes something in one step: once begun it is finished."""

    async def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        return await _finished(functools.partial(call, *args, **kwargs))

    _told(call, wrapper, "what has begun is finished, also where it is cancelled")
    return wrapper


df = _reads(volume.df)
exists = _reads(volume.exists)
ls = _reads(volume.ls)
mkdir = _changes(volume.mkdir)
mkfs = _changes(volume.mkfs)
mount = _changes(volume.mount)
mounts = _reads(volume.mounts)
open = _reads(dataset.open)  # noqa: A001
remove = _changes(volume.remove)
stat = _reads(volume.stat)
umount = _changes(volume.umount)
versions = _reads(volume.versions)


async def publish(
    obj: object,
    path: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    checksum: bool = False,
    batch_rows: int | None = None,
    progress: Callable[[int, int], object] | None = None,
    mode: int | None = None,
) -> Ref:
    """Publishes an object as a file that other processes and hosts open without a copy.

    As `famfs.publish`, in a thread. Where it is cancelled before the file appeared, nothing is
    published.

    Args:
        obj: As `famfs.publish`. It must not be changed before this is done.
        path: As `famfs.publish`.
        overwrite: As `famfs.publish`.
        checksum: As `famfs.publish`.
        batch_rows: As `famfs.publish`.
        progress: As `famfs.publish`; it is called in the thread that does the work.
        mode: As `famfs.publish`.

    Returns:
        The reference of what was published.

    Raises:
        FamfsError: As `famfs.publish`.

    Example:
        >>> import asyncio, famfs
        >>> ref = asyncio.run(famfs.aio.publish(b"hello", f"{mnt}/greeting"))
        >>> famfs.open(ref).nbytes
        5
    """
    stopped = False

    def stop() -> None:
        nonlocal stopped
        stopped = True

    def tell(done: int, total: int) -> None:
        if stopped:
            raise _Stopped
        if progress is not None:
            progress(done, total)

    call = functools.partial(
        convert.publish,
        obj,
        path,
        overwrite=overwrite,
        checksum=checksum,
        batch_rows=batch_rows,
        progress=tell,
        mode=mode,
    )
    return await _finished(call, stop)


async def wait(path: Path, timeout: float | None = None) -> Entry:  # noqa: ASYNC109
    """Waits until something is published under a name.

    As `famfs.wait`. Cancelling ends it at once.

    Args:
        path: Below a mount point.
        timeout: Seconds to wait at most; None waits forever.

    Returns:
        Its entry.

    Raises:
        NotMounted: The path lies under no mount.
        TimeoutError: It was not there in time.

    Example:
        >>> import asyncio, famfs
        >>> ref = famfs.publish(b"hello", f"{mnt}/greeting")
        >>> asyncio.run(famfs.aio.wait(f"{mnt}/greeting", timeout=1)).size
        5
    """
    end, rests = _watch.end_of(timeout), _watch.pauses()
    while True:
        with contextlib.suppress(NotFound):
            return await stat(path)
        if _watch.is_over(end):
            raise volume.not_in_time(path, timeout)
        await asyncio.sleep(next(rests))


def watch(path: Path, timeout: float | None = None, *, existing: bool = False) -> Watch:
    """Watches a name, and what lies in it where it is a directory.

    As `famfs.watch`, for `async for`. Cancelling ends it at once.

    Args:
        path: Below a mount point, or one. It need not be there yet.
        timeout: The iteration ends when nothing happened for so many seconds; None goes on forever.
        existing: Tell first what is there already, as published.

    Returns:
        An asynchronous iterator of events, from the moment of this call on.

    Raises:
        InvalidPath: No file can have that path.
        NotMounted: The path lies under no mount.

    Example:
        >>> import asyncio, famfs
        >>> async def main():
        ...     async with famfs.aio.watch(mnt, timeout=5) as events:
        ...         await famfs.aio.publish(b"hello", f"{mnt}/greeting")
        ...         async for event in events:
        ...             return event.name
        >>> asyncio.run(main())
        'greeting'
    """
    return Watch(_watch.watch(path, timeout, existing=existing), timeout)


class Watch:
    """The events of a path, as they happen, for `async for`. `watch` makes it."""

    def __init__(self, watch: _watch.Watch, timeout: float | None) -> None:
        self._watch = watch
        self._timeout = timeout
        self._closed = False

    def __aiter__(self) -> Self:
        """Itself."""
        return self

    async def __anext__(self) -> _watch.Event:
        """The next event; waits for it."""
        end, rests = _watch.end_of(self._timeout), _watch.pauses()
        while not self._closed:
            # A look reads two lines of memory: no thread is worth it, and none is left behind that
            # would take an event along.
            event = self._watch.poll()
            if event is not None:
                return event
            if _watch.is_over(end):
                break
            await asyncio.sleep(next(rests))
        raise StopAsyncIteration

    def close(self) -> None:
        """Ends the iteration at the next look."""
        self._closed = True

    async def __aenter__(self) -> Self:
        """Itself."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Closes it."""
        self.close()


@contextlib.asynccontextmanager
async def embedded(size: Size | None = None) -> AsyncIterator[str]:
    """Makes a private volume in this host's memory, which is gone at the end of the block.

    As `famfs.embedded`, for `async with`.

    Args:
        size: Its size, as for `mkfs`.

    Yields:
        Its mount point, a fresh directory.

    Raises:
        FamfsError: The size makes no volume.
        NoSpace: The host has no room for it.

    Example:
        >>> import asyncio, famfs
        >>> async def main():
        ...     async with famfs.aio.embedded(size="64MiB") as mnt:
        ...         return await famfs.aio.exists(f"{mnt}/nothing")
        >>> asyncio.run(main())
        False
    """
    made = volume.embedded(size)
    mountpoint = await _finished(made.__enter__)
    try:
        yield mountpoint
    finally:
        await _finished(functools.partial(made.__exit__, None, None, None))
