"""Tables for Spark whose values stay in the volume: what is asked of them is computed there."""

from __future__ import annotations

import errno
import json
import pickle
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeAlias

import pyarrow as pa
from pyspark import cloudpickle
from pyspark.sql import SparkSession
from pyspark.sql.types import StructType

import famfs
from famfs._arguments import read_path
from famfs.errors import AlreadyExists, FamfsError, Unsupported
from famfs.spark import _parts, _types

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Sequence

    from pyspark.sql import DataFrame

    from famfs._native import Ref
    from famfs.dataset import Dataset

_TIMES = "spark.sql.timeType.enabled"

Work: TypeAlias = Callable[[pa.RecordBatch], Any]
"""Called on a worker with a record batch that lies in the volume."""


class Table:
    """A published table, as Spark is to see it; `read` makes it. Nothing of it is read before.

    It is the version that was there when it was made.
    """

    def __init__(self, dataset: Dataset) -> None:
        """What was opened, or the columns of it that are wanted."""
        self._dataset = dataset

    @property
    def dataset(self) -> Dataset:
        """The columns that are wanted, open in this process."""
        return self._dataset

    @property
    def columns(self) -> list[str]:
        """Their names."""
        return self._dataset.names

    @property
    def schema(self) -> StructType:
        """Their types in Spark.

        Raises:
            Unsupported: Spark has no type for one of them.
        """
        return _types.spark_schema(self._dataset.schema, str(self._dataset.path))

    def count(self) -> int:
        """Counts the rows, as the file's metadata has them: no task is run, no JVM asked.

        Returns:
            How many there are.

        Example:
            >>> import famfs, famfs.spark
            >>> ref = famfs.publish({"a": np.arange(3)}, f"{mnt}/t")
            >>> famfs.spark.read(ref).count()
            3
        """
        return self._dataset.num_rows

    def to_dataframe(
        self,
        *,
        partitions: int | None = None,
        truncate: bool = False,
        spark: Any = None,  # noqa: ANN401
    ) -> DataFrame:
        """Makes a DataFrame, whose values Spark copies when it is evaluated.

        Args:
            partitions: How many tasks read it; by default as many as the session has cores, or
                more where one would read more than 128 MiB. They meet where record batches do, if
                there are enough of these.
            truncate: Drop what is less than a microsecond, which Spark has not; otherwise it is an
                error.
            spark: The session; by default the active one.

        Returns:
            The DataFrame.

        Raises:
            FamfsError: No session is active.
            Unsupported: Spark has no type for a column.

        Example:
            >>> import famfs, famfs.spark
            >>> ref = famfs.publish({"a": np.arange(3)}, f"{mnt}/t")
            >>> df = famfs.spark.read(ref).to_dataframe()  # doctest: +SKIP
        """
        spark = session(spark)
        # Looked at here, so that what is wrong is one of this package's errors.
        times = [field.name for field in self.schema if "time(" in field.dataType.simpleString()]
        if times and spark.conf.get(_TIMES) == "false":
            raise Unsupported(
                f"{self._dataset.path}: column {times[0]!r} is of times of day, which this Spark "
                f'has only by spark.conf.set("{_TIMES}", "true"); set it, or leave the column out'
            )
        register(spark)
        parts = self._cut(spark, partitions)
        files = getattr(self._dataset, "files", [self._dataset])
        options = {
            "path": str(self._dataset.path),
            "refs": json.dumps([str(file.ref) for file in files]),
            "partitions": len(parts),
            "truncate": truncate,
        }
        return spark.read.format("famfs").options(**options).load()

    def map_batches(
        self,
        fn: Work,
        *,
        schema: StructType | str | None = None,
        partitions: int | None = None,
        spark: Any = None,  # noqa: ANN401
    ) -> Any:  # noqa: ANN401 - of what the function returns
        """Calls a function on Spark's workers with each record batch, in place.

        What it gets is a `pyarrow.RecordBatch` of all of Arrow's types, whose values are the
        volume's memory: nothing passes through the JVM but what it returns, which should be small.
        A batch that several tasks share is cut into a slice for each.

        Args:
            fn: The function.
            schema: Spark's schema of what it returns: a table, a record batch, several of them in
                a list or generator, or a dict of columns. Without one, anything that pickles.
            partitions: As `to_dataframe`.
            spark: As `to_dataframe`.

        Returns:
            A list of what was returned, in the order of the batches; or, with a schema, a
            DataFrame.

        Raises:
            FamfsError: No session is active.

        Example:
            >>> import famfs, famfs.spark, pyarrow.compute as pc
            >>> ref = famfs.publish({"a": np.arange(3)}, f"{mnt}/t")
            >>> work = lambda batch: pc.sum(batch["a"]).as_py()
            >>> sum(famfs.spark.map_batches(work, ref))  # doctest: +SKIP
            3
        """
        spark = session(spark)
        # As they travel: a worker that lacks the volume is told what mends it.
        parts = [pickle.dumps(part) for part in self._cut(spark, partitions)]
        frame = spark.range(0, len(parts), 1, len(parts))
        if schema is not None:
            if isinstance(schema, str):
                schema = StructType.fromDDL(schema)
            return frame.mapInArrow(_frames(fn, parts, _types.arrow_schema(schema)), schema)
        found = frame.mapInArrow(_answers(fn, parts), "part long, answer binary").collect()
        found.sort(key=lambda row: row["part"])
        return [answer for row in found for answer in cloudpickle.loads(row["answer"])]

    def _cut(self, spark: Any, partitions: int | None) -> list[Dataset]:  # noqa: ANN401
        # Spark Connect has no context to ask.
        context = getattr(spark, "_sc", None)
        cores = 1 if context is None else context.defaultParallelism
        return _parts.cut(self._dataset, partitions, at_least=cores)

    def __repr__(self) -> str:
        """What it is of."""
        return f"<famfs.spark.Table of {self._dataset!r}>"


def _frames(fn: Work, parts: list[bytes], schema: pa.Schema) -> Callable[..., Iterator[Any]]:
    """What a task does whose results are rows."""

    def work(numbers: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        columns = _types.Columns(schema, "what the function returned")
        for part in _opened(numbers, parts):
            for batch in part.batches:
                for made in _batches(fn(batch)):
                    if made.schema.names != schema.names:
                        raise Unsupported(
                            f"the function returned columns {made.schema.names}, and the schema "
                            f"has {schema.names}: return these, in this order"
                        )
                    yield columns.batch(made)

    return work


def _answers(fn: Work, parts: list[bytes]) -> Callable[..., Iterator[Any]]:
    """What a task does whose results are anything."""

    def work(numbers: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for number in numbers:
            for place in number.column(0).to_pylist():
                part = _parts.open_here(parts[place])
                answers = [cloudpickle.dumps([fn(batch) for batch in part.batches])]
                yield pa.record_batch({"part": pa.array([place]), "answer": answers})

    return work


def _opened(numbers: Iterator[pa.RecordBatch], parts: list[bytes]) -> Iterator[Dataset]:
    for number in numbers:
        for place in number.column(0).to_pylist():
            yield _parts.open_here(parts[place])


def _batches(made: Any) -> Iterator[pa.RecordBatch]:  # noqa: ANN401
    """What a function returned, as record batches."""
    if made is None:
        return
    if isinstance(made, dict):
        made = pa.table(made)
    if isinstance(made, pa.RecordBatch):
        yield made
    elif isinstance(made, pa.Table):
        yield from made.to_batches()
    elif isinstance(made, Iterable):
        for part in made:
            yield from _batches(part)
    else:
        raise Unsupported(
            f"the function returned {type(made).__name__}; with a schema it returns tables, record "
            "batches or dicts of columns"
        )


def session(spark: Any = None) -> Any:  # noqa: ANN401 - classic sessions, and Connect's
    """Finds the session.

    Args:
        spark: One that is given.

    Returns:
        It, or the active one.

    Raises:
        FamfsError: None is active.

    Example:
        >>> from famfs.spark import _table
        >>> _table.session("one that is given")
        'one that is given'
    """
    found = SparkSession.getActiveSession() if spark is None else spark
    if found is None:
        raise FamfsError(
            "no Spark session is active in this thread: make one by SparkSession.builder"
            ".getOrCreate(), or hand it over as spark="
        )
    return found


def register(spark: Any = None) -> None:  # noqa: ANN401
    """Tells a session of the format `famfs`, and has it hand filters down.

    Filters are handed down to all Python data sources of the session that take them
    (`spark.sql.python.filterPushdown.enabled`).

    Args:
        spark: The session; by default the active one.

    Raises:
        FamfsError: No session is active.

    Example:
        >>> import famfs.spark
        >>> famfs.spark.register(spark)  # doctest: +SKIP
    """
    from famfs.spark._source import FilteringDataSource

    spark = session(spark)
    spark.conf.set("spark.sql.python.filterPushdown.enabled", "true")
    spark.dataSource.register(FilteringDataSource)


def read(
    source: str | os.PathLike[str] | Ref | Dataset, columns: Sequence[str | int] | None = None
) -> Table:
    """Opens a published table for Spark. Nothing is read, and no session is needed.

    Spark's Python data sources are not told which columns a query needs, and hand over all: those
    that are named here are all that `to_dataframe` has.

    Args:
        source: A path, a directory or pattern of tables, a reference or its text, or a dataset.
        columns: Names of columns, or their places; by default all.

    Returns:
        The table.

    Raises:
        KeyError: There is no such column.
        NotFound: There is no such file.
        NotMounted: The path lies under no mount.
        Unsupported: It is no table.

    Example:
        >>> import famfs, famfs.spark
        >>> ref = famfs.publish({"a": np.arange(3), "b": np.ones(3)}, f"{mnt}/t")
        >>> famfs.spark.read(f"{mnt}/t", columns=["b"]).columns
        ['b']
    """
    return Table(_parts.opened(source, columns))


def map_batches(
    fn: Work,
    source: str | os.PathLike[str] | Ref | Dataset,
    *,
    columns: Sequence[str | int] | None = None,
    schema: StructType | str | None = None,
    partitions: int | None = None,
    spark: Any = None,  # noqa: ANN401
) -> Any:  # noqa: ANN401
    """Calls a function on Spark's workers with each record batch of a table, in place.

    Args:
        fn: As `Table.map_batches`.
        source: As `read`.
        columns: As `read`.
        schema: As `Table.map_batches`.
        partitions: As `Table.map_batches`.
        spark: As `Table.map_batches`.

    Returns:
        As `Table.map_batches`.

    Raises:
        FamfsError: No session is active.
        NotFound: There is no such file.

    Example:
        >>> import famfs, famfs.spark, pyarrow.compute as pc
        >>> ref = famfs.publish({"a": np.arange(3)}, f"{mnt}/t")
        >>> work = lambda batch: pc.sum(batch["a"]).as_py()
        >>> sum(famfs.spark.map_batches(work, ref))  # doctest: +SKIP
        3
    """
    table = read(source, columns)
    return table.map_batches(fn, schema=schema, partitions=partitions, spark=spark)


def write(frame: DataFrame, path: str | os.PathLike[str], *, mode: str = "error") -> None:
    """Writes a DataFrame as a directory of tables, which appear together or never.

    As `frame.write.format("famfs")`, with the modes that Spark doesn't hand to Python data sources.

    Args:
        frame: The DataFrame.
        path: A directory below a mount point, which is made where it is missing.
        mode: "error" where something is there, "ignore" to leave it then, "append", or "overwrite".

    Raises:
        AlreadyExists: Something is there, and the mode is "error".
        Unsupported: There is something else than tables, or the mode is none.

    Example:
        >>> import famfs.spark
        >>> famfs.spark.write(df, f"{mnt}/d", mode="append")  # doctest: +SKIP
    """
    where = read_path(path)
    if mode not in {"append", "overwrite", "error", "ignore"}:
        raise Unsupported(f"mode={mode!r}: the modes are error, ignore, append and overwrite")
    if mode in {"error", "ignore"} and famfs.exists(where):
        if mode == "ignore":
            return
        raise AlreadyExists(
            errno.EEXIST, f"{where}: there is something; mode append or overwrite", where
        )
    register(frame.sparkSession)
    how = "overwrite" if mode == "overwrite" else "append"
    writer = frame.write.format("famfs").mode(how)
    writer.option("mode", "error" if mode == "ignore" else mode).save(where)
