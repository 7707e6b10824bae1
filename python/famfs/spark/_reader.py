"""Reading by Spark: a table's parts as Arrow batches, in types that Spark has."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING

from pyspark.sql.datasource import DataSourceReader, Filter, InputPartition

from famfs.errors import Unsupported
from famfs.spark import _filters, _parts, _types

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import pyarrow as pa
    from pyspark.sql.types import StructType

    from famfs.dataset import Dataset

WINDOW = 8 << 20
"""Bytes of a batch on its way to the JVM, which keeps each in memory outside of its heap."""


class FamfsReader(DataSourceReader):  # type: ignore[misc]
    """Reads the parts of a table that was opened when the DataFrame was made."""

    def __init__(
        self, dataset: Dataset, schema: StructType, *, partitions: int | None, truncate: bool
    ) -> None:
        """What of it is wanted: columns of the table's types, by their names."""
        self._path = str(dataset.path)
        there = _types.spark_schema(dataset.schema, self._path)
        wanted = schema.names
        missing = [name for name in wanted if name not in there.names]
        if missing:
            raise Unsupported(
                f"{self._path} has no column {missing[0]!r}, which the schema that was given has; "
                "leave the schema away, or name columns of the table"
            )
        differs = _types.same_types(schema, _types.selected(there, wanted))
        if differs:
            raise Unsupported(
                f"{self._path}: the schema that was given is not the table's: {differs}; leave it "
                "away, or name columns of the table in its types"
            )
        self._columns = schema.names
        self._schema = _types.arrow_schema(schema)
        self._truncate = truncate
        dataset = dataset if wanted == there.names else dataset[wanted]
        # As they travel: a worker that lacks the volume is told what mends it.
        self._pickled = [pickle.dumps(part) for part in _parts.cut(dataset, partitions)]

    def partitions(self) -> list[InputPartition]:
        """The parts' references."""
        return [InputPartition(part) for part in self._pickled]

    def read(self, partition: InputPartition) -> Iterator[pa.RecordBatch]:
        """The batches of a part."""
        dataset = _parts.open_here(partition.value)
        columns = _types.Columns(self._schema, self._path, truncate=self._truncate)
        for batch in dataset.batches:
            for part in _windows(batch):
                kept = self._kept(columns.batch(part))
                if kept.num_rows:
                    yield kept

    def _kept(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        return batch


class FilteringReader(FamfsReader):
    """Reads with filters, which Spark hands down where it is told to."""

    _taken: tuple[Filter, ...] = ()

    def pushFilters(self, filters: list[Filter]) -> Iterable[Filter]:  # noqa: N802 - Spark's name
        """Takes what pyarrow evaluates as Spark does, and gives back the rest."""
        taken: list[Filter] = []
        rest: list[Filter] = []
        for filter in filters:  # noqa: A001 - what Spark calls it
            (rest if self._test(filter) is None else taken).append(filter)
        self._taken = tuple(taken)
        return rest

    def _test(self, filter: Filter) -> _filters.Test | None:  # noqa: A002
        name = _filters.column_of(filter)
        if name not in self._columns:
            return None
        return _filters.test_of(filter, self._schema.field(name).type)

    def _kept(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        # Of Spark's types: pyarrow filters no views, and would compare others by other rules.
        for filter in self._taken:  # noqa: A001
            name, test = _filters.column_of(filter), self._test(filter)
            assert name is not None  # noqa: S101 - such filters were not taken
            assert test is not None  # noqa: S101
            batch = batch.filter(test(batch.column(name)))
        return batch


def _windows(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    rows = batch.num_rows
    if rows == 0:
        return
    step = max(1, int(rows * WINDOW / max(batch.nbytes, 1)))
    for start in range(0, rows, step):
        yield batch.slice(start, step)
