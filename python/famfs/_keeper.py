"""The keeper: a process that owns a transaction which others plan, fill and commit.

A transaction is its owner's process, and some engines have none that lasts from the plan of a write
to its commit. The keeper lives as long as the process that it was told to watch: where that ends,
nothing of the write was ever there.

What it keeps is a write to a directory of tables, `part-GENERATION-PARTITION.arrow`.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import re
import secrets
import select
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client, Listener
from typing import Any

from famfs.errors import AlreadyExists, Busy, FamfsError, NotFound
from famfs.transactions import Transaction, transaction
from famfs.volume import ls, mkdir, remove

PATIENCE = 10.0
"""Seconds that a commit waits for another attempt of a task which is still at it."""

_PART = re.compile(r"part-(\d+)-\d+\.arrow")


@dataclass(frozen=True)
class Kept:
    """A transaction that a keeper owns; it is pickled, and of use on the keeper's host.

    Example:
        >>> import os, famfs, pyarrow as pa
        >>> from famfs import _keeper
        >>> kept = _keeper.start(f"{mnt}/d", pa.schema({"a": pa.int8()}), "append", os.getpid())
        >>> with famfs.transaction(token=kept.token) as part:
        ...     part.publish({"a": np.ones(3, "i1")}, f"{mnt}/d/{kept.name_of(0)}")
        >>> kept.commit({kept.name_of(0)})
        >>> famfs.open(f"{mnt}/d").num_rows
        3
        >>> for entry in famfs.ls(f"{mnt}/d"): famfs.remove(entry.path)
    """

    path: str
    token: str
    overwrite: bool
    generation: int
    address: str
    key: bytes
    pid: int

    def name_of(self, partition: int) -> str:
        """Names the file of a partition: those of later writes come after those of earlier ones.

        Args:
            partition: Its number.

        Returns:
            The name.

        Example:
            >>> from famfs import _keeper
            >>> _keeper.Kept("/mnt/d", "", False, 1, "", b"", 0).name_of(2)
            'part-0001-00002.arrow'
        """
        return f"part-{self.generation:04}-{partition:05}.arrow"

    def commit(self, names: set[str], *, wait: bool = False) -> None:
        """Publishes what was filled, all or none. An overwritten directory has nothing else then.

        Where that fails, all is given up: what the tasks have filled is not what they told of.

        Args:
            names: The files that tasks have filled; where there are none, a table of no rows is
                published.
            wait: Whether some of them may be filled still.

        Raises:
            AlreadyExists: Somebody else has taken a name meanwhile.
            Busy: A file was begun, and not finished; or one that is named was not filled, or one
                was filled that is not named.
            FamfsError: The keeper has ended.

        Example:
            >>> import os, famfs, pyarrow as pa
            >>> from famfs import _keeper
            >>> schema = pa.schema({"a": pa.int8()})
            >>> _keeper.start(f"{mnt}/d", schema, "error", os.getpid()).commit(set())
            >>> famfs.open(f"{mnt}/d").shape
            (0, 1)
            >>> for entry in famfs.ls(f"{mnt}/d"): famfs.remove(entry.path)
        """
        self._ask("commit", names, wait)

    def abandon(self) -> None:
        """Gives the transaction up; one that has ended already is no error.

        Example:
            >>> import os, famfs, pyarrow as pa
            >>> from famfs import _keeper
            >>> schema = pa.schema({"a": pa.int8()})
            >>> _keeper.start(f"{mnt}/d", schema, "error", os.getpid()).abandon()
            >>> famfs.exists(f"{mnt}/d")
            False
        """
        with contextlib.suppress(FamfsError):
            self._ask("abandon")

    def _ask(self, *question: object) -> None:
        try:
            with Client(self.address, "AF_UNIX", self.key) as keeper:
                keeper.send(question)
                answer = keeper.recv()
        except (AuthenticationError, EOFError, OSError) as error:
            raise FamfsError(
                f"{self.path}: process {self.pid}, which held the write together, has ended, and "
                "the transaction with it; nothing was published: write again"
            ) from error
        if answer is not None:
            raise answer


def start(path: str, schema: Any, mode: str, watched: int) -> Kept:  # noqa: ANN401 - pyarrow's
    """Starts a keeper, which begins the transaction.

    Args:
        path: The directory that is written; it is made where it is missing.
        schema: The Arrow schema of its tables.
        mode: "append", "overwrite", or "error" where the directory is there.
        watched: The process that the keeper ends with.

    Returns:
        What tasks and the commit take part by.

    Raises:
        AlreadyExists: The directory is there, and the mode is "error".
        FamfsError: The keeper did not start, or the process that it is to watch has ended.
        NotFound: The directory above is missing.
        NotMaster: Another host publishes to this volume.

    Example:
        >>> import os, famfs, pyarrow as pa
        >>> from famfs import _keeper
        >>> kept = _keeper.start(f"{mnt}/d", pa.schema({"a": pa.int8()}), "append", os.getpid())
        >>> kept.abandon()
    """
    process = subprocess.Popen(
        [sys.executable, "-c", "from famfs import _keeper; _keeper.main()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdin is not None  # noqa: S101 - they are pipes
    assert process.stdout is not None  # noqa: S101
    with process.stdin as task, process.stdout as told:
        with contextlib.suppress(BrokenPipeError):
            pickle.dump((path, schema, mode, watched), task)
            task.flush()
        try:
            answer: Kept | BaseException = pickle.load(told)  # noqa: S301 - of our own child
        except EOFError as error:
            process.wait()
            raise FamfsError(
                f"{path}: the process that is to hold the write together ended at once, with "
                f"{process.returncode}; what it said is in the driver's log"
            ) from error
    if isinstance(answer, Kept):
        return answer
    process.wait()
    raise answer


class _Keeper:
    """What the process does."""

    def __init__(self, path: str, schema: Any, mode: str) -> None:  # noqa: ANN401
        self._path, self._schema, self._mode = path, schema, mode
        self._made = self._make_directory()
        try:
            self._generation = self._next_generation()
            self._tx: Transaction = transaction(path)
            token = self._tx.token
            key = secrets.token_bytes(32)
            # In no directory, so that nothing of it stays; who knows the key is let in.
            address = f"\0famfs-{secrets.token_hex(16)}"
            self.listener = Listener(address, "AF_UNIX", authkey=key)
        except BaseException:
            self._unmake()
            raise
        overwrite = mode == "overwrite"
        self.kept = Kept(path, token, overwrite, self._generation, address, key, os.getpid())
        self._lock = threading.Lock()

    def _make_directory(self) -> bool:
        try:
            mkdir(self._path)
        except AlreadyExists:
            if self._mode == "error":
                raise
            return False
        return True

    def _next_generation(self) -> int:
        if self._mode == "overwrite":
            # The same names again, so that each is a version of the one before.
            return 0
        found = (_PART.fullmatch(entry.name) for entry in ls(self._path))
        return 1 + max((int(match[1]) for match in found if match), default=-1)

    def _unmake(self) -> None:
        if self._made:
            with contextlib.suppress(FamfsError):
                remove(self._path)

    def commit(self, names: set[str], wait: bool) -> None:  # noqa: FBT001 - as it is asked
        try:
            self._commit(names, wait=wait)
        except BaseException:
            self.abandon()
            raise

    def _commit(self, names: set[str], *, wait: bool) -> None:
        with self._lock:
            empty = self._schema.empty_table()
            there = {entry.name for entry in ls(self._path) if entry.kind != "directory"}
            overwrite = self._mode == "overwrite"
            if not names:
                names = {self.kept.name_of(0)}
                there -= names
                self._tx.publish(empty, f"{self._path}/{min(names)}", overwrite=overwrite)
            # A transaction removes nothing: what is not written again is empty from the commit on,
            # and gone right after it.
            rest = there - names if overwrite else set()
            for name in rest:
                self._tx.publish(empty, f"{self._path}/{name}", overwrite=True)
            files = [f"{self._path}/{name}" for name in names | rest]
            end = time.monotonic() + (PATIENCE if wait else 0)
            while True:
                try:
                    self._tx.commit(files=files)
                    break
                except Busy:
                    if time.monotonic() >= end:
                        raise
                    time.sleep(0.05)
            self._made = False
            for name in rest:
                with contextlib.suppress(NotFound):
                    remove(f"{self._path}/{name}")

    def abandon(self) -> None:
        with self._lock:
            self._tx.abandon()
            self._unmake()

    def serve(self) -> None:
        while True:
            try:
                asked = self.listener.accept()
            except (AuthenticationError, EOFError, OSError):
                continue
            with asked:
                try:
                    question, *rest = asked.recv()
                except (EOFError, OSError):
                    continue
                answer = self._answer(question, *rest)
                # It has ended one way or the other, told or not.
                with contextlib.suppress(OSError):
                    asked.send(answer)
                return

    def _answer(self, question: str, *rest: Any) -> Exception | None:  # noqa: ANN401
        try:
            if question == "commit":
                self.commit(*rest)
            else:
                self.abandon()
        except Exception as error:  # noqa: BLE001 - it is told
            return error
        return None

    def end_with(self, watched: int) -> None:
        """Gives up when a process ends, whatever this one is at."""
        poll = select.poll()
        poll.register(watched)
        poll.poll()
        self.abandon()
        os._exit(1)


def _descriptor_of(path: str, watched: int) -> int:
    try:
        return os.pidfd_open(watched)
    except (OSError, TypeError, ValueError, OverflowError) as error:
        raise FamfsError(
            f"{path}: process {watched!r}, which the write is to end with, is not there ({error}): "
            "nothing was begun; write again from a process that lasts"
        ) from error


def main() -> None:
    """What the process runs that `start` starts.

    Example:
        >>> from famfs import _keeper
        >>> callable(_keeper.main)
        True
    """
    path, schema, mode, watched = pickle.load(sys.stdin.buffer)  # noqa: S301 - the starter's
    try:
        descriptor = _descriptor_of(path, watched)
        keeper = _Keeper(path, schema, mode)
    except BaseException as error:
        pickle.dump(error, sys.stdout.buffer)
        raise SystemExit(0) from error
    threading.Thread(target=keeper.end_with, args=(descriptor,), daemon=True).start()
    pickle.dump(keeper.kept, sys.stdout.buffer)
    sys.stdout.flush()
    keeper.serve()
