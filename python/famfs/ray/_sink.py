"""The sink that Ray Data publishes tables by."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ray.data.block import BlockAccessor
from ray.data.datasource import Datasink

from famfs._arrow import pyarrow
from famfs._many import difference
from famfs.errors import Unsupported
from famfs.transactions import transaction

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from famfs.transactions import Transaction


class Famfs(Datasink):  # type: ignore[misc]
    """Tables of one directory, which the tasks fill and the driver commits."""

    def __init__(self, owner: Transaction, path: str, *, checksum: bool) -> None:
        # The transaction itself stays with the driver; the tasks have its token.
        self._owner: Transaction | None = owner
        self._token = owner.token
        self._path = path
        self._checksum = checksum

    def __getstate__(self) -> dict[str, Any]:
        """Without the driver's part."""
        return self.__dict__ | {"_owner": None}

    @property
    def supports_distributed_writes(self) -> bool:
        """A volume is written by one host, and a transaction is of that host's processes."""
        return False

    @property
    def min_bytes_per_write(self) -> int:
        """Small blocks share a table: each takes a unit of the volume's space, 2 MiB."""
        return 16 << 20

    def write(self, blocks: Iterable[Any], ctx: Any) -> tuple[bytes, str | None] | None:  # noqa: ANN401
        """Publishes a task's blocks as a table; the schema, and the file if there were rows."""
        pa = pyarrow()
        tables = (BlockAccessor.for_block(block).to_arrow() for block in blocks)
        first, schema, rest = _begun(tables)
        if schema is None:
            return None
        name = None
        if first is not None:
            batches = _batches(self._path, schema, first, rest)
            reader = pa.RecordBatchReader.from_batches(schema, batches)
            with transaction(token=self._token) as part:
                name = f"{self._path}/part-{ctx.task_idx:06}"
                part.publish(reader, name, checksum=self._checksum)
        return schema.serialize().to_pybytes(), name

    def on_write_complete(self, write_result: Any) -> None:  # noqa: ANN401
        """Commits what the tasks have filled, if it is one table."""
        pa = pyarrow()
        told = [each for each in write_result.write_returns if each is not None]
        # What has no rows has no say, unless nothing has.
        files = [name for _, name in told if name]
        full = [schema for schema, name in told if name] or [each for each, _ in told[:1]]
        schemas = [pa.ipc.read_schema(pa.py_buffer(each)) for each in full]
        if not schemas:
            raise Unsupported(f"{self._path}: the dataset has no columns, so that it is no table")
        for schema in schemas[1:]:
            _check(self._path, schemas[0], schema)
        owner = self._owner
        assert owner is not None  # noqa: S101 - the driver's own
        if not files:
            files = [f"{self._path}/part-000000"]
            owner.publish(schemas[0].empty_table(), files[0], checksum=self._checksum)
        owner.commit(files=files)


def _begun(tables: Iterator[Any]) -> tuple[Any, Any, Iterator[Any]]:
    """The first table with rows, the schema, and what follows; empty blocks have no say."""
    schema = None
    for table in tables:
        if table.num_rows:
            return table, table.schema, tables
        if schema is None and table.num_columns:
            schema = table.schema
    return None, schema, tables


def _batches(path: str, schema: Any, first: Any, rest: Iterator[Any]) -> Iterator[Any]:  # noqa: ANN401
    yield from first.to_batches()
    for table in rest:
        if table.num_rows:
            _check(path, schema, table.schema)
            yield from table.to_batches()


def _check(path: str, expected: Any, found: Any) -> None:  # noqa: ANN401
    if not found.equals(expected):
        raise Unsupported(
            f"{path}: blocks differ ({difference(expected, found)}): a table has one schema, "
            "which map_batches can give them"
        )
