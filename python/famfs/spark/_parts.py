"""Parts of a table for Spark's tasks: how many there are, and how workers open them."""

from __future__ import annotations

import contextlib
import json
import pickle
from typing import TYPE_CHECKING, Any

import famfs
from famfs._arguments import read_names
from famfs._many import restore
from famfs.errors import NotMounted, Unsupported

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Sequence

    from famfs._native import Ref
    from famfs.dataset import Dataset

PART = 128 << 20
"""Bytes of a table that are one task's where nobody says how many tasks there are."""


def opened(
    source: str | os.PathLike[str] | Ref | Dataset, columns: Sequence[str | int] | None = None
) -> Dataset:
    """Opens a table for Spark.

    Args:
        source: What `famfs.open` takes, or what is open.
        columns: Those that are wanted, by name or place; None for all.

    Returns:
        The table, or what is wanted of it, in place.

    Raises:
        KeyError: There is no such column.
        Unsupported: It is no table, or no column is wanted.

    Example:
        >>> import famfs
        >>> from famfs.spark import _parts
        >>> ref = famfs.publish({"a": np.arange(3), "b": np.arange(3)}, f"{mnt}/t")
        >>> _parts.opened(ref, ["b"]).names
        ['b']
    """
    dataset = source if isinstance(source, famfs.Dataset) else famfs.open(source)
    if dataset.kind == "column":
        raise Unsupported(f"{dataset.path}: Spark takes tables: d[[name]] is a table of one column")
    if dataset.kind != "table":
        raise Unsupported(f"{dataset.path} ({dataset.kind}): Spark takes tables alone")
    if columns is not None:
        dataset = dataset[:, read_names(columns)]
    if not dataset.names:
        raise Unsupported(f"{dataset.path}: no columns; count() tells how many rows there are")
    return dataset


def read_columns(text: str | None) -> list[str | int] | None:
    """Reads the option that names columns.

    Args:
        text: A JSON list of names or places; None where it isn't set.

    Returns:
        The list, or None.

    Raises:
        Unsupported: It is something else.

    Example:
        >>> from famfs.spark import _parts
        >>> _parts.read_columns('["a", 2]')
        ['a', 2]
    """
    if text is None:
        return None
    try:
        found: Any = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, list) or not all(type(item) in {str, int} for item in found):
        raise Unsupported(
            f"option columns={text!r}: a JSON list of columns' names, as json.dumps(names) makes it"
        )
    return found


def of_refs(path: str, text: str) -> Dataset:
    """Opens what `Table.to_dataframe` hands to the data source.

    Args:
        path: What it was opened by.
        text: A JSON list of references' texts.

    Returns:
        The dataset.

    Raises:
        NotMounted: The volume is not mounted here.

    Example:
        >>> import famfs, json
        >>> from famfs.spark import _parts
        >>> ref = famfs.publish({"a": np.arange(3)}, f"{mnt}/t")
        >>> _parts.of_refs("t", json.dumps([str(ref)])).num_rows
        3
    """
    refs = [famfs.Ref(ref) for ref in json.loads(text)]
    with remedied():
        return famfs.open(refs[0]) if len(refs) == 1 else restore(path, refs)


def cut(dataset: Dataset, count: int | None = None, *, at_least: int = 1) -> list[Dataset]:
    """Cuts a table into parts: where its batches meet, if there are enough of them.

    Args:
        dataset: The table.
        count: How many parts; by default one for each 128 MiB.
        at_least: How many at least, where `count` is not said.

    Returns:
        The parts, in order; one of no rows where there are none.

    Raises:
        Unsupported: It is no number of parts.

    Example:
        >>> import famfs
        >>> from famfs.spark import _parts
        >>> ds = famfs.open(famfs.publish({"a": np.arange(9)}, f"{mnt}/t", batch_rows=3))
        >>> [part.num_rows for part in _parts.cut(ds, 2)]
        [3, 6]
    """
    if count is None:
        count = max(at_least, -(-_bytes(dataset) // PART))
    elif count < 1:
        raise Unsupported(f"{dataset.path}: {count} partitions; a table has 1 or more")
    count = max(1, min(count, dataset.num_rows))
    return [dataset.partition(i, count) for i in range(count)]


def _bytes(dataset: Dataset) -> int:
    """Bytes of the file's values, as its first batch tells, without a look at them."""
    batches = dataset.batches
    if not len(batches) or not batches[0].num_rows:
        return 0
    first = batches[0]
    return int(first.nbytes / first.num_rows * dataset.num_rows)


def open_here(part: bytes) -> Dataset:
    """Opens a part on a worker.

    Args:
        part: Its pickle.

    Returns:
        The part.

    Raises:
        NotMounted: This worker lacks the volume; the message says what mends it.

    Example:
        >>> import famfs, pickle
        >>> from famfs.spark import _parts
        >>> ds = famfs.open(famfs.publish({"a": np.arange(3)}, f"{mnt}/t"))
        >>> _parts.open_here(pickle.dumps(ds)).num_rows
        3
    """
    with remedied():
        return pickle.loads(part)  # type: ignore[no-any-return]  # noqa: S301 - the driver's


@contextlib.contextmanager
def remedied() -> Iterator[None]:
    """Tells what mends a worker that lacks a volume which the driver has.

    Yields:
        Nothing.

    Raises:
        NotMounted: The block raised it.

    Example:
        >>> import famfs
        >>> from famfs.spark import _parts
        >>> with _parts.remedied():
        ...     famfs.open("/nowhere/t")
        Traceback (most recent call last):
        famfs.errors.NotMounted: on a worker of Spark: /nowhere/t: ...
    """
    try:
        yield
    except NotMounted as error:
        raise NotMounted(
            f"on a worker of Spark: {error}; every host that runs executors mounts the volume "
            "(`famfs mount`), or the session is made with spark.executorEnv.FAMFS_MOUNTS="
            "DEVICE=MOUNTPOINT; without either, "
            "spark.createDataFrame(famfs.open(path).to_arrow()) sends them a copy"
        ) from error
