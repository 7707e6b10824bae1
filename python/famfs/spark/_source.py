"""The data source that Spark knows as `famfs`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql.datasource import DataSource

from famfs.errors import Unsupported
from famfs.spark import _parts, _types
from famfs.spark._reader import FamfsReader, FilteringReader

if TYPE_CHECKING:
    from pyspark.sql.types import StructType

    from famfs.dataset import Dataset
    from famfs.spark._writer import FamfsWriter


class FamfsDataSource(DataSource):  # type: ignore[misc]
    """Tables in a volume, for `spark.read.format("famfs")` and `df.write.format("famfs")`.

    `register` tells a session of it, and has filters handed down to it;
    `spark.dataSource.register(FamfsDataSource)` does the first alone. What is read is the version
    that was there when the DataFrame was made.

    Options for reading: `columns`, a JSON list of columns' names; `partitions`, how many tasks
    there are; `truncate`, whether what is less than a microsecond is dropped, or an error.
    """

    _reader = FamfsReader
    _dataset: Dataset | None = None

    @classmethod
    def name(cls) -> str:
        """What Spark knows it as."""
        return "famfs"

    def schema(self) -> StructType:
        """The table's, without a look at its values.

        Raises:
            Unsupported: It is no table, or has types that Spark hasn't.
        """
        dataset = self._opened()
        return _types.spark_schema(dataset.schema, str(dataset.path))

    def reader(self, schema: StructType) -> FamfsReader:
        """Reads columns of the table.

        Args:
            schema: Which, in the table's types.

        Returns:
            The reader.

        Raises:
            Unsupported: The table has other types.
        """
        return self._reader(
            self._opened(),
            schema,
            partitions=self._number("partitions"),
            truncate=self._is_set("truncate"),
        )

    def writer(self, schema: StructType, overwrite: bool) -> FamfsWriter:  # noqa: FBT001 - Spark's
        """Begins to write a directory of tables.

        Args:
            schema: The rows' types.
            overwrite: Whether what is there is replaced.

        Returns:
            The writer.

        Raises:
            Unsupported: There is something else at the path, or a table of other types.
        """
        from famfs.spark._writer import begin

        mode = self.options.get("mode", "overwrite" if overwrite else "append")
        return begin(self._path(), schema, mode)

    def _opened(self) -> Dataset:
        # Kept, and pickled as its reference: all tasks of a DataFrame read one version.
        if self._dataset is None:
            columns = _parts.read_columns(self.options.get("columns"))
            refs = self.options.get("refs")
            source = self._path() if refs is None else _parts.of_refs(self._path(), refs)
            self._dataset = _parts.opened(source, columns)
        return self._dataset

    def _path(self) -> str:
        path: str | None = self.options.get("path")
        if path is None:
            raise Unsupported(
                "the source famfs takes one path: load(path) and save(path); a directory or a "
                "pattern opens several tables"
            )
        return path

    def _number(self, name: str) -> int | None:
        text = self.options.get(name)
        try:
            return None if text is None else int(text)
        except ValueError:
            raise Unsupported(f"option {name}={text!r}: a number") from None

    def _is_set(self, name: str) -> bool:
        text = self.options.get(name, "false").lower()
        if text not in {"true", "false"}:
            raise Unsupported(f"option {name}={text!r}: true or false")
        return bool(text == "true")


class FilteringDataSource(FamfsDataSource):
    """The same where the session hands filters down: Spark refuses readers of such elsewhere."""

    _reader = FilteringReader
