"""Dask: published tables and arrays as its collections, and its frames published all at once.

A partition goes to workers as a reference and is opened where it is, by the threads of one process
and by the processes of a cluster on this host alike.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from famfs import _frames, convert
from famfs import open as open_dataset
from famfs._arguments import read_count, read_names, read_path
from famfs._arrow import pyarrow
from famfs._directories import filled
from famfs._extras import engine
from famfs._many import difference
from famfs.dataset import Dataset
from famfs.errors import AlreadyExists, Unsupported
from famfs.transactions import transaction

if TYPE_CHECKING:
    import os
    from collections.abc import Collection, Sequence

    import numpy as np

    from famfs._native import Ref
    from famfs.volume import Entry

PARTITION = 128 << 20
"""Bytes of a partition of a table that lies in one record batch, where nothing else is said."""


def read(
    source: str | os.PathLike[str] | Ref | Entry | Dataset,
    *,
    columns: Sequence[str] | None = None,
    npartitions: int | None = None,
    dtype_backend: str | None = None,
) -> Any:  # noqa: ANN401
    """Makes a Dask collection of what is published; its values are read where a task uses them.

    A table's partitions are pandas frames as `Dataset.to_pandas` makes them, in place where pandas
    can hold a column. A column of which any value is null is Arrow's in all partitions, which is
    told by the file, not by reading it. Columns that a computation doesn't use are not opened.

    Args:
        source: What `famfs.open` takes, directories and patterns too; or a dataset that is open.
        columns: Of a table, those that are wanted.
        npartitions: How many parts, at least one; by default a table's record batches, or where it
            is one batch parts of 128 MiB. An array's are rows of Dask's own chunk size.
        dtype_backend: "pyarrow" makes every column of a table Arrow's, as for `to_pandas`.

    Returns:
        A `dask.dataframe.DataFrame` of a table, a `dask.array.Array` of an array.

    Raises:
        ImportError: Dask isn't installed; the message names the extra.
        KeyError: There is no such column.
        NotFound: There is no such file.
        NotMounted: The path lies under no mount, or the reference's volume isn't mounted here.
        Unsupported: It is neither a table nor an array, or there are to be no parts.

    Example:
        >>> import famfs.dask
        >>> ref = famfs.publish({"a": np.arange(10)}, f"{mnt}/t", batch_rows=4)
        >>> famfs.dask.read(ref)["a"].sum().compute()  # doctest: +SKIP
        np.int64(45)
    """
    dataset = source if isinstance(source, Dataset) else open_dataset(source)
    if npartitions is not None:
        npartitions = read_count(npartitions, "npartitions", "partitions", 1)
    if dataset.kind == "table":
        return _frame(dataset, columns, npartitions, dtype_backend)
    if columns is not None or dtype_backend is not None:
        raise Unsupported(
            f"{dataset.path} ({dataset.kind}): columns and dtype_backend are for tables"
        )
    if dataset.kind == "array":
        return _array(dataset, npartitions)
    raise Unsupported(
        f"{dataset.path} ({dataset.kind}) is no collection of Dask: tables and arrays are; "
        'd[["a"]] is a table of a column, and dask.delayed(famfs.open)(ref) opens anything'
    )


def _frame(
    dataset: Dataset,
    columns: Sequence[str] | None,
    npartitions: int | None,
    dtype_backend: str | None,
) -> Any:  # noqa: ANN401
    frames = engine("dask.dataframe", "dask")
    utils = engine("dask.dataframe.utils", "dask")
    schema = dataset.schema
    if columns is not None:
        dataset = _chosen(dataset, read_names(columns), _frames.index_of(schema))
        schema = dataset.schema
    count = _how_many(dataset) if npartitions is None else npartitions
    nullable = _nullable(dataset) if dtype_backend is None else frozenset()
    part = Part(dtype_backend, nullable)
    # What categories there are is in the files, and may differ between them.
    rows = _frames.range_of(dataset._file)  # noqa: SLF001 - of this package
    empty = part.frame(schema.empty_table(), None if rows is None else rows[:0])
    meta = utils.clear_known_categories(empty)
    parts = [dataset.partition(i, count) for i in range(count)]
    return frames.from_map(part, parts, meta=meta, label="famfs")


class Part:
    """What makes a frame of a partition, wherever it is called."""

    def __init__(self, dtype_backend: str | None, nullable: frozenset[str]) -> None:
        self._dtype_backend = dtype_backend
        self._nullable = nullable

    def __call__(self, dataset: Dataset, columns: Collection[str] | None = None) -> Any:  # noqa: ANN401
        """Opens the part's columns. Dask says here which of them are used."""
        part = dataset
        if columns is not None:
            part = _chosen(dataset, columns, _frames.index_of(dataset.schema))
        rows = _frames.range_of(part._file)  # noqa: SLF001 - of this package
        made = self.frame(part.to_arrow(), rows)
        return made if columns is None else made[list(columns)]

    def frame(self, table: Any, rows: Any) -> Any:  # noqa: ANN401
        """Makes a frame of an Arrow table, in place where pandas can."""
        return _frames.to_pandas(
            table, copy=None, dtype_backend=self._dtype_backend, arrow_too=self._nullable, rows=rows
        )

    def __dask_tokenize__(self) -> tuple[Any, ...]:
        """Names it: the same table has the same keys in Dask's graphs."""
        return (type(self).__name__, self._dtype_backend, sorted(self._nullable))


def _chosen(dataset: Dataset, columns: Collection[str], index: Collection[str]) -> Dataset:
    """Columns of a table in the order they are asked for, and its index."""
    return dataset[[*columns, *(name for name in index if name not in columns)]]


def _how_many(dataset: Dataset) -> int:
    batches = len(dataset.batches)
    if batches > 1:
        return batches
    return max(1, min(dataset.num_rows, -(-dataset.nbytes // PARTITION)))


def _nullable(dataset: Dataset) -> frozenset[str]:
    """Columns with nulls: how many there are stands beside the data, unless rows were selected."""
    table = dataset.to_arrow()
    pairs = zip(table.column_names, table.columns, strict=True)
    return frozenset(name for name, column in pairs if column.null_count)


class _Rows:
    """An array that Dask takes pieces of; it goes to workers as the reference."""

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset
        self.shape = dataset.shape
        self.ndim = len(dataset.shape)
        self.dtype = dataset.dtype

    def __getitem__(self, index: Any) -> np.ndarray[Any, Any]:  # noqa: ANN401
        """A piece of it, in place."""
        piece: np.ndarray[Any, Any] = self._dataset.to_numpy()[index]
        return piece


def _array(dataset: Dataset, npartitions: int | None) -> Any:  # noqa: ANN401
    arrays = engine("dask.array", "dask")
    rows = _Rows(dataset)
    chunks: list[int | str] = list(rows.shape)
    if chunks:
        # Along the axis whose parts lie one after the other.
        axis = -1 if dataset.to_numpy().flags.fnc else 0
        length = rows.shape[axis]
        chunks[axis] = "auto" if npartitions is None else max(1, -(-length // npartitions))
    name = f"famfs-{dataset.ref}-{npartitions}"
    return arrays.from_array(
        rows, chunks=tuple(chunks), name=name, asarray=False, fancy=False, inline_array=True
    )


def write(frame: Any, path: str | os.PathLike[str], **options: Any) -> Dataset:  # noqa: ANN401
    """Publishes a Dask frame: a file for each partition, which appear together or not at all.

    Tasks fill the files where they run, on threads or processes of this host, and this process
    commits them in one step. The directory is made first, and taken away again where that fails.

    Args:
        frame: A `dask.dataframe.DataFrame`.
        path: A directory that is empty or isn't there; the one that it lies in is.
        **options: What `dask.compute` takes, such as scheduler.

    Returns:
        All files as one table, as `famfs.open(path)` gives it.

    Raises:
        AlreadyExists: There is a file of that name, or something in the directory.
        Busy: A task was lost, while it filled a file or before, and Dask didn't run it again.
        ImportError: Dask isn't installed; the message names the extra.
        NoSpace: The volume is full. Nothing is published.
        NotMounted: The path lies under no mount.
        Unsupported: It is no frame of Dask's, a partition can't be published, or two of them have
            different columns. Nothing is published.

    Example:
        >>> import famfs.dask
        >>> ref = famfs.publish({"a": np.arange(10)}, f"{mnt}/t", batch_rows=4)
        >>> late = famfs.dask.read(ref).query("a > 5")  # doctest: +SKIP
        >>> famfs.dask.write(late, f"{mnt}/late").num_rows  # doctest: +SKIP
        4
    """
    dask = engine("dask", "dask")
    frames = engine("dask.dataframe", "dask")
    if not isinstance(frame, (frames.DataFrame, frames.Series, frames.Index)):
        raise Unsupported(
            f"{type(frame).__name__} is no frame of Dask's: famfs.publish takes what is in memory"
        )
    if not hasattr(frame, "columns"):
        frame = frame.to_frame()
    where = read_path(path)
    with filled(where, may_be_empty=True) as together:
        parts = frame.to_delayed()
        digits = max(5, len(str(len(parts))))
        names = [f"{where}/part-{i:0{digits}}" for i in range(len(parts))]
        fill = dask.delayed(_fill, pure=False)
        expected = convert.to_table(frame._meta_nonempty).schema  # noqa: SLF001 - Dask's own way
        tasks = [
            fill(part, name, together.token, expected)
            for part, name in zip(parts, names, strict=True)
        ]
        _alike(where, dask.compute(*tasks, **options))
        together.commit(files=names)
    return open_dataset(where)


def _fill(part: Any, path: str, token: str, expected: Any) -> Any:  # noqa: ANN401
    """Publishes a partition in the transaction of who writes; in a task. What schema it has."""
    pa = pyarrow("a frame of Dask's")
    table = convert.to_table(part)
    # Nothing but missing values: what the column is the others say.
    fields = [
        expected.field(field.name)
        if pa.types.is_null(field.type) and expected.get_field_index(field.name) >= 0
        else field
        for field in table.schema
    ]
    table = table.cast(pa.schema(fields, table.schema.metadata))
    # Dask runs a task again whose worker was lost, perhaps after it was done here.
    with transaction(token=token) as mine, contextlib.suppress(AlreadyExists):
        mine.publish(table, path)
    return table.schema.remove_metadata()


def _alike(path: str, found: Sequence[Any]) -> None:
    for i, schema in enumerate(found):
        if not schema.equals(found[0]):
            raise Unsupported(
                f"{path}: partition {i} has other columns than partition 0 "
                f"({difference(found[0], schema)}): nothing is published; frame.astype(...) makes "
                "them alike"
            )
