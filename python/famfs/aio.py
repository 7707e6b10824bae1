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
import functools
from typing import TYPE_CHECKING, Any, ParamSpec, Self, TypeVar

from famfs import _embedded, _watch, build, convert, dataset, pictures, transactions, volume
from famfs._blocks import Block, Transaction, finished, stoppable
from famfs.errors import NotFound

if TYPE_CHECKING:
    import os
    from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
    from types import TracebackType

    import numpy as np
    import numpy.typing as npt

    from famfs._arguments import Size
    from famfs._native import Ref
    from famfs.volume import Entry, Path

__all__ = [
    "create",
    "create_table",
    "df",
    "embedded",
    "exists",
    "ls",
    "mkdir",
    "mkfs",
    "mount",
    "mounts",
    "open",
    "plot_map",
    "publish",
    "remove",
    "stat",
    "transaction",
    "umount",
    "versions",
    "wait",
    "watch",
]

P = ParamSpec("P")
R = TypeVar("R")


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
        return await finished(functools.partial(call, *args, **kwargs))

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
plot_map = _reads(pictures.plot_map)
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
    call = functools.partial(
        convert.publish,
        obj,
        path,
        overwrite=overwrite,
        checksum=checksum,
        batch_rows=batch_rows,
        mode=mode,
    )
    return await stoppable(call, progress)


def create(
    path: str | os.PathLike[str],
    shape: int | tuple[int, ...],
    dtype: npt.DTypeLike,
    *,
    order: str = "C",
    zero: bool = False,
    overwrite: bool = False,
    mode: int | None = None,
) -> Block[np.ndarray[Any, Any]]:
    """Builds an array in place: a NumPy array that is computed into where it is published.

    As `famfs.create`, for `async with`. A task that is cancelled in the block publishes nothing.

    Args:
        path: As `famfs.create`.
        shape: As `famfs.create`.
        dtype: As `famfs.create`.
        order: As `famfs.create`.
        zero: As `famfs.create`.
        overwrite: As `famfs.create`.
        mode: As `famfs.create`.

    Returns:
        An asynchronous context manager that gives the array.

    Raises:
        FamfsError: As `famfs.create`.

    Example:
        >>> import asyncio, famfs
        >>> async def main():
        ...     async with famfs.aio.create(f"{mnt}/ones", 3, "f8") as ones:
        ...         ones[:] = 1
        >>> asyncio.run(main())
        >>> famfs.open(f"{mnt}/ones").to_numpy()
        array([1., 1., 1.])
    """
    options: dict[str, Any] = {"order": order, "zero": zero, "overwrite": overwrite, "mode": mode}
    return Block(build.create(path, shape, dtype, **options))


def create_table(
    path: str | os.PathLike[str],
    schema: object,
    rows: int,
    *,
    sizes: Mapping[str, int] | None = None,
    overwrite: bool = False,
    mode: int | None = None,
) -> Block[build.TableBuilder]:
    """Builds a table in place: columns that are computed into where they are published.

    As `famfs.create_table`, for `async with`. A task that is cancelled in the block publishes
    nothing.

    Args:
        path: As `famfs.create_table`.
        schema: As `famfs.create_table`.
        rows: As `famfs.create_table`.
        sizes: As `famfs.create_table`.
        overwrite: As `famfs.create_table`.
        mode: As `famfs.create_table`.

    Returns:
        An asynchronous context manager that gives the builder.

    Raises:
        FamfsError: As `famfs.create_table`.

    Example:
        >>> import asyncio, famfs, pyarrow as pa
        >>> async def main():
        ...     schema = pa.schema({"a": pa.int64()})
        ...     async with famfs.aio.create_table(f"{mnt}/t", schema, 2) as table:
        ...         table["a"][:] = [1, 2]
        >>> asyncio.run(main())
        >>> famfs.open(f"{mnt}/t")["a"].to_numpy()
        array([1, 2])
    """
    return Block(
        build.create_table(path, schema, rows, sizes=sizes, overwrite=overwrite, mode=mode)
    )


def transaction(
    place: str | os.PathLike[str] | None = None, *, token: str | None = None
) -> Transaction:
    """Begins a transaction, or takes part in one by its token.

    As `famfs.transaction`, for `async with`. A task that is cancelled in the block publishes
    nothing.

    Args:
        place: As `famfs.transaction`.
        token: As `famfs.transaction`.

    Returns:
        The transaction, an asynchronous context manager.

    Raises:
        FamfsError: As `famfs.transaction`.

    Example:
        >>> import asyncio, famfs
        >>> async def main():
        ...     async with famfs.aio.transaction() as tx:
        ...         await tx.publish(b"one", f"{mnt}/one")
        ...         await tx.publish(b"two", f"{mnt}/two")
        ...     return [ref.path for ref in tx.refs]
        >>> asyncio.run(main())
        ['one', 'two']
    """
    return Transaction(transactions.transaction(place, token=token))


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
    made = await finished(functools.partial(_embedded.embedded, size))
    try:
        yield made.mountpoint
    finally:
        await finished(made.close)
