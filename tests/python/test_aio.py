"""famfs.aio: the same names, and cancelling leaves nothing behind."""

from __future__ import annotations

import asyncio
import inspect
import threading
import time

import numpy as np
import pyarrow as pa
import pytest

import famfs

FUNCTIONS = sorted(name for name in famfs.__all__ if inspect.isfunction(getattr(famfs, name)))


def test_the_names_are_those_of_famfs():
    assert sorted(famfs.aio.__all__) == FUNCTIONS
    assert "publish" in FUNCTIONS


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_signatures_are_those_of_famfs(name):
    ours, theirs = getattr(famfs.aio, name), getattr(famfs, name)
    assert inspect.signature(ours).parameters == inspect.signature(theirs).parameters
    if name not in {"watch", "embedded", "create", "create_table", "transaction"}:
        assert inspect.signature(ours) == inspect.signature(theirs)
        assert inspect.iscoroutinefunction(ours)
    assert ours.__doc__
    assert ours.__module__ == "famfs.aio"


def test_all_of_it_works(tmp_path):
    async def main():
        (tmp_path / "mnt").mkdir()
        uuid = await famfs.aio.mkfs(tmp_path / "volume", size="32MiB")
        mount = await famfs.aio.mount(tmp_path / "volume", tmp_path / "mnt")
        assert mount.uuid == uuid
        assert mount in await famfs.aio.mounts()
        mnt = mount.mountpoint
        await famfs.aio.mkdir(f"{mnt}/runs")
        told = []
        ref = await famfs.aio.publish(
            np.arange(5), f"{mnt}/runs/a", mode=0o600, progress=lambda *args: told.append(args)
        )
        assert told[-1] == (168, 168)
        assert (await famfs.aio.stat(f"{mnt}/runs/a")).mode == 0o600
        assert (await famfs.aio.ls(f"{mnt}/runs"))[0].ref == ref
        dataset = await famfs.aio.open(ref, verify=True)
        assert dataset.to_numpy().sum() == 10
        with pytest.raises(famfs.AlreadyExists):
            await famfs.aio.publish(b"", f"{mnt}/runs/a")
        again = await famfs.aio.publish(b"x", f"{mnt}/runs/a", overwrite=True)
        assert await famfs.aio.versions(f"{mnt}/runs/a") == [again, ref]
        await famfs.aio.remove(f"{mnt}/runs/a")
        assert not await famfs.aio.exists(f"{mnt}/runs/a")
        assert (await famfs.aio.df(mnt)).entries == 4
        await famfs.aio.umount(mnt)

    asyncio.run(main())


def test_the_loop_goes_on_while_a_thread_publishes(mnt):
    async def main():
        turn = threading.Event()
        task = asyncio.create_task(
            famfs.aio.publish(b"x", f"{mnt}/x", progress=lambda *_: turn.wait(30))
        )
        for _ in range(5):
            await asyncio.sleep(0.01)
        assert not task.done()
        assert not await famfs.aio.exists(f"{mnt}/x")
        turn.set()
        assert await task == (await famfs.aio.stat(f"{mnt}/x")).ref

    asyncio.run(main())


@pytest.mark.parametrize(
    "make",
    [
        lambda: b"x" * 1000,
        lambda: np.arange(1000),
        lambda: {"a": np.arange(1000)},
        lambda: {"a": np.ones((10, 10))},
    ],
    ids=["bytes", "array", "table", "tensors"],
)
def test_a_publish_that_is_cancelled_publishes_nothing(mnt, make):
    async def main():
        begun, turn = threading.Event(), threading.Event()

        def progress(*_):
            begun.set()
            turn.wait(30)

        # Progress is told once more, at the end, if this one doesn't stop it.
        task = asyncio.create_task(famfs.aio.publish(make(), f"{mnt}/x", progress=progress))
        assert await asyncio.to_thread(begun.wait, 30)
        task.cancel()
        await asyncio.sleep(0.05)
        # The thread has not ended, and so the task has not.
        assert not task.done()
        turn.set()
        return await asyncio.gather(task, return_exceptions=True)

    free = famfs.df(mnt).free
    (found,) = asyncio.run(main())
    if isinstance(found, asyncio.CancelledError):
        assert famfs.ls(mnt) == []
        assert famfs.df(mnt).free == free
    else:
        # What was written to its end when it was cancelled is there, and was told.
        assert famfs.stat(f"{mnt}/x").ref == found


def test_a_large_publish_stops_at_the_next_report(large):
    async def main():
        begun = threading.Event()
        seen = []

        def progress(done, total):
            seen.append(done)
            begun.set()
            if len(seen) == 1:
                time.sleep(0.2)

        array = np.zeros(1 << 25)
        task = asyncio.create_task(famfs.aio.publish(array, f"{large}/x", progress=progress))
        assert await asyncio.to_thread(begun.wait, 30)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return seen

    free = famfs.df(large).free
    assert len(asyncio.run(main())) == 1
    assert famfs.ls(large) == []
    assert famfs.df(large).free == free


def test_a_publish_is_waited_for_when_the_loop_ends(mnt):
    """Who ends the loop cancels all tasks: no thread goes on behind it."""
    ended = []

    async def main():
        begun = threading.Event()

        def progress(*_):
            begun.set()
            time.sleep(0.2)
            ended.append(True)

        task = asyncio.create_task(famfs.aio.publish(b"x", f"{mnt}/x", progress=progress))
        assert await asyncio.to_thread(begun.wait, 30)
        return task

    task = asyncio.run(main())
    assert ended
    assert task.done()
    assert task.cancelled() != famfs.exists(f"{mnt}/x")


def test_wait_and_watch_end_at_once(mnt):
    async def cancelled(task):
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(asyncio.shield(task), 5)

    async def main():
        await cancelled(asyncio.create_task(famfs.aio.wait(f"{mnt}/never")))
        events = famfs.aio.watch(mnt)
        await cancelled(asyncio.create_task(anext(events)))
        # No event went with the one that was cancelled.
        ref = await famfs.aio.publish(b"x", f"{mnt}/x")
        assert (await anext(events)).ref == ref
        with pytest.raises(TimeoutError, match="never.*0.05"):
            await famfs.aio.wait(f"{mnt}/never", 0.05)
        assert [event async for event in famfs.aio.watch(mnt, timeout=0.05)] == []
        async with famfs.aio.watch(mnt) as events:
            pass
        assert [event async for event in events] == []
        assert (await famfs.aio.wait(f"{mnt}/x")).ref == ref

    asyncio.run(main())


def test_an_embedded_volume_is_gone_after_a_cancelled_block():
    seen = []

    async def block(begun):
        async with famfs.aio.embedded(size="32MiB") as mnt:
            seen.append(mnt)
            begun.set()
            await asyncio.sleep(60)

    async def main():
        begun = asyncio.Event()
        task = asyncio.create_task(block(begun))
        await begun.wait()
        assert seen[0] in [mount.mountpoint for mount in famfs.mounts()]
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert seen[0] not in [mount.mountpoint for mount in famfs.mounts()]


def test_blocks_publish_when_they_end_well(mnt):
    async def main():
        async with famfs.aio.create(f"{mnt}/a", 3, "i8") as array:
            array[:] = [1, 2, 3]
            assert not await famfs.aio.exists(f"{mnt}/a")
        async with famfs.aio.transaction() as tx:
            await tx.publish(b"b", f"{mnt}/b")
            async with tx.create(f"{mnt}/c", 2, "f8") as array:
                array[:] = 5
            schema = pa.schema({"n": pa.int64()})
            async with tx.create_table(f"{mnt}/d", schema, 2) as table:
                table["n"][:] = [7, 8]
            assert not await famfs.aio.exists(f"{mnt}/b")
        assert [ref.path for ref in tx.refs] == ["b", "c", "d"]
        async with famfs.aio.transaction(token=None) as tx:
            await tx.publish(b"e", f"{mnt}/e")
            (ref,) = await tx.commit()
            assert bytes(famfs.open(ref)) == b"e"

    asyncio.run(main())
    assert famfs.open(f"{mnt}/a").to_numpy().tolist() == [1, 2, 3]
    assert famfs.open(f"{mnt}/d")["n"].to_numpy().tolist() == [7, 8]


@pytest.mark.parametrize("how", ["cancelled", "raised"])
def test_blocks_that_end_otherwise_leave_nothing(mnt, how):
    async def main():
        async def work():
            async with famfs.aio.transaction(mnt) as tx:
                await tx.publish(b"x", f"{mnt}/x")
                async with famfs.aio.create(f"{mnt}/y", 1000, "f8") as array:
                    array[:] = 1
                    begun.set()
                    if how == "raised":
                        raise ZeroDivisionError
                    await asyncio.sleep(60)

        begun = asyncio.Event()
        before = await famfs.aio.df(mnt)
        task = asyncio.ensure_future(work())
        await begun.wait()
        if how == "cancelled":
            task.cancel()
        with pytest.raises((asyncio.CancelledError, ZeroDivisionError)):
            await task
        assert await famfs.aio.df(mnt) == before

    asyncio.run(main())
    assert famfs.ls(mnt) == []
