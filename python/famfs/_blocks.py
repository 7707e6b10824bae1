"""What `famfs.aio` is made of: calls in threads that end before their task does, and blocks."""

from __future__ import annotations

import asyncio
import contextvars
import functools
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

if TYPE_CHECKING:
    import os
    from collections.abc import Callable
    from types import TracebackType

    from famfs import build, transactions
    from famfs._native import Ref

R = TypeVar("R")
T = TypeVar("T")


class _Stopped(Exception):  # noqa: N818 - it says that nobody wants the result
    """Ends what a thread does."""


async def finished(call: Callable[[], R], stop: Callable[[], object] | None = None) -> R:
    """Runs a call in a thread to its end.

    Args:
        call: The call.
        stop: Told where nobody wants the result any more.

    Returns:
        Its result, also where this was cancelled and the call ended well.

    Example:
        >>> import asyncio
        >>> from famfs import _blocks
        >>> asyncio.run(_blocks.finished(lambda: 5))
        5
    """
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


async def stoppable(call: Callable[..., R], progress: Callable[[int, int], object] | None) -> R:
    """Runs a call that reports its progress, and stops it at the next report where it is cancelled.

    Args:
        call: The call, which takes `progress`.
        progress: Whom to tell.

    Returns:
        Its result.

    Example:
        >>> import asyncio
        >>> from famfs import _blocks
        >>> asyncio.run(_blocks.stoppable(lambda progress: 5, None))
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

    return await finished(functools.partial(call, progress=tell), stop)


class Block(Generic[T]):
    """A file that is built in place, for `async with`."""

    def __init__(self, building: build.Building[T]) -> None:
        self._building = building

    @property
    def ref(self) -> Ref:
        """The reference, once the block has ended well.

        Raises:
            FamfsError: It hasn't.
        """
        return self._building.ref

    async def __aenter__(self) -> T:
        """Reserves the space, and gives what is built."""
        given: T = await _entered(self._building)
        return given

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Publishes it, or forgets it where the block raised."""
        await finished(functools.partial(self._building.__exit__, kind, error, traceback))


class Transaction:
    """Files that appear together, for `async with`."""

    def __init__(self, inner: transactions.Transaction) -> None:
        self._inner = inner

    @property
    def token(self) -> str:
        """What other processes of this host take part by.

        Raises:
            FamfsError: As `famfs.Transaction.token`.
        """
        return self._inner.token

    @property
    def refs(self) -> list[Ref]:
        """The references of all files, once they are committed.

        Raises:
            FamfsError: They are not.
        """
        return self._inner.refs

    async def publish(
        self,
        obj: object,
        path: str | os.PathLike[str],
        *,
        progress: Callable[[int, int], object] | None = None,
        **options: Any,  # noqa: ANN401
    ) -> None:
        """Publishes an object with the others: as `famfs.aio.publish`, but nobody sees it yet.

        Args:
            obj: As `famfs.publish`.
            path: Where, below a mount point of the transaction's volume.
            progress: As `famfs.publish`.
            **options: As `famfs.publish`.

        Raises:
            FamfsError: As the publish of a transaction.
        """
        call = functools.partial(self._inner.publish, obj, path, **options)
        await stoppable(call, progress)

    def create(self, *args: Any, **options: Any) -> Block[Any]:  # noqa: ANN401
        """Builds an array in place, as `famfs.aio.create`.

        Args:
            *args: As `famfs.create`.
            **options: As `famfs.create`.

        Returns:
            An asynchronous context manager that gives the array.
        """
        return Block(self._inner.create(*args, **options))

    def create_table(self, *args: Any, **options: Any) -> Block[Any]:  # noqa: ANN401
        """Builds a table in place, as `famfs.aio.create_table`.

        Args:
            *args: As `famfs.create_table`.
            **options: As `famfs.create_table`.

        Returns:
            An asynchronous context manager that gives the builder.
        """
        return Block(self._inner.create_table(*args, **options))

    async def commit(self) -> list[Ref]:
        """Makes all files appear in one step.

        Returns:
            Their references.

        Raises:
            FamfsError: As the commit of a transaction.
        """
        return await finished(self._inner.commit)

    async def __aenter__(self) -> Self:
        """Itself."""
        await _entered(self._inner)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Commits it, or gives it up where the block raised."""
        await finished(functools.partial(self._inner.__exit__, kind, error, traceback))


async def _entered(block: Any) -> Any:  # noqa: ANN401
    """Enters a block; where that is cancelled it is left again, as if it had raised."""
    cancelled = False

    def cancel() -> None:
        nonlocal cancelled
        cancelled = True

    given = await finished(block.__enter__, cancel)
    if cancelled:
        error = asyncio.CancelledError()
        await finished(functools.partial(block.__exit__, type(error), error, None))
        raise error
    return given
