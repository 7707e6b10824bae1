"""Writing by Spark: tasks fill the parts of a directory, which appear together or never.

Spark plans, fills and commits in processes that come and go, and a transaction is its owner's
process. So a process of its own, the keeper, owns it from the plan to the commit.
"""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa
from pyspark import TaskContext
from pyspark.sql.datasource import DataSourceArrowWriter, WriterCommitMessage

import famfs
from famfs import _keeper
from famfs.errors import AlreadyExists, FamfsError, NotFound, Unsupported
from famfs.spark import _parts, _types

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyspark.sql.types import StructType

MODES = ("append", "overwrite", "error")


@dataclass(frozen=True)
class Filled(WriterCommitMessage):  # type: ignore[misc]
    """What a task has filled."""

    name: str | None
    """The file's; None where the task had no rows."""
    by_another: bool = False
    """Whether another attempt of the task had it first."""


class FamfsWriter(DataSourceArrowWriter):  # type: ignore[misc]
    """Fills parts of a transaction that the keeper owns."""

    def __init__(self, path: str, schema: pa.Schema, keeper: _keeper.Kept) -> None:
        """Where, in which types, and whose transaction it is."""
        self._path = path
        self._schema = schema
        self._keeper = keeper

    def write(self, iterator: Iterator[pa.RecordBatch]) -> Filled:
        """Fills the file of this task.

        Its name is that of the partition, so that two attempts of one task never both count.

        Args:
            iterator: The rows.

        Returns:
            What was filled.

        Raises:
            NoSpace: The volume is full.
            NotMounted: This worker lacks the volume.
            Unsupported: The rows are not of the table's types.
        """
        batches = (batch for batch in iterator if batch.num_rows)
        first = next(batches, None)
        if first is None:
            return Filled(None)
        name = self._keeper.name_of(TaskContext.get().partitionId())
        columns = _types.Columns(self._schema, self._path)

        def rows() -> Iterator[pa.RecordBatch]:
            yield columns.batch(first)
            for batch in batches:
                yield columns.batch(batch)

        reader = pa.RecordBatchReader.from_batches(self._schema, rows())
        try:
            with _parts.remedied(), famfs.transaction(token=self._keeper.token) as part:
                part.publish(reader, f"{self._path}/{name}", overwrite=self._keeper.overwrite)
        except AlreadyExists:
            # All of it is there by another attempt, or will be: the commit finds out.
            return Filled(name, by_another=True)
        return Filled(name)

    def commit(self, messages: list[WriterCommitMessage | None]) -> None:
        """Publishes all parts in one step.

        Args:
            messages: What the tasks have filled.

        Raises:
            AlreadyExists: Somebody else has appended meanwhile.
            Busy: An attempt that was counted on did not finish.
            FamfsError: The keeper has ended.
        """
        filled = [message for message in messages if isinstance(message, Filled)]
        if len(filled) != len(messages):
            raise FamfsError(
                f"{self._path}: {len(messages) - len(filled)} tasks of {len(messages)} told "
                "nothing of what they wrote; nothing was published: write again"
            )
        names = {message.name for message in filled if message.name is not None}
        self._keeper.commit(names, wait=any(message.by_another for message in filled))

    def abort(self, messages: list[WriterCommitMessage | None]) -> None:  # noqa: ARG002 - Spark's
        """Gives all of it up.

        Args:
            messages: What tasks have filled, which is given up.
        """
        self._keeper.abandon()


def begin(path: str, schema: StructType, mode: str) -> FamfsWriter:
    """Begins to write.

    Args:
        path: A directory, which is made where it is missing.
        schema: The rows' types.
        mode: "append", "overwrite", or "error" where something is there.

    Returns:
        What Spark sends to its tasks.

    Raises:
        AlreadyExists: Something is there, and the mode is "error".
        NotFound: The directory above is missing.
        Unsupported: There is something else than tables at the path, or tables of other types; or
            the rows have types that can't be published.
    """
    if mode not in MODES:
        raise Unsupported(f"option mode={mode!r}: the modes are {', '.join(MODES)}")
    # Executors work in directories of their own.
    path = os.path.abspath(path)  # noqa: PTH100 - paths of volumes are strings
    arrow = _types.arrow_schema(schema)
    # One table may have nulls where another has none: parts are tables of one schema.
    arrow = pa.schema([field.with_nullable(True) for field in arrow])  # noqa: FBT003
    try:
        entry = famfs.stat(path)
    except NotFound:
        return FamfsWriter(path, arrow, _keeper.start(path, arrow, mode, os.getppid()))
    if entry.kind != "directory":
        raise Unsupported(
            f"{path} is a file, and Spark writes a directory of parts: write to another path, or "
            "remove it first with famfs.remove"
        )
    if os.path.realpath(path) in {mount.mountpoint for mount in famfs.mounts()}:
        raise Unsupported(f"{path} is the volume itself: name a directory in it")
    if mode == "error":
        raise AlreadyExists(
            errno.EEXIST, f"{path}: there is something; mode append or overwrite", path
        )
    files = [entry for entry in famfs.ls(path) if entry.kind != "directory"]
    others = [entry.name for entry in files if entry.kind != "table"]
    if others:
        raise Unsupported(
            f"{path}: {others[0]} is no table, and a directory that Spark writes has tables alone: "
            "write to another path, or remove it"
        )
    if files and mode == "append":
        arrow = _as_there(path, schema)
    return FamfsWriter(path, arrow, _keeper.start(path, arrow, mode, os.getppid()))


def _as_there(path: str, schema: StructType) -> pa.Schema:
    """The types of the tables that are there, which those of the rows have to go into."""
    there = famfs.open(path).schema
    differs = _types.same_types(schema, _types.spark_schema(there, path))
    if differs:
        raise Unsupported(
            f"{path}: the rows have other columns than the tables there: {differs}; select them as "
            "they are there, or write with mode overwrite or to another path"
        )
    empty = pa.RecordBatch.from_pylist([], _types.arrow_schema(schema))
    _types.Columns(there, path).batch(empty)
    return there
