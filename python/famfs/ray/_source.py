"""The source that Ray Data reads published tables from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ray.data import Datasource, ReadTask
from ray.data.block import BlockMetadata

from famfs._arrow import pyarrow
from famfs.errors import Unsupported
from famfs.ray._serialize import register

if TYPE_CHECKING:
    from collections.abc import Iterator

    from famfs.dataset import Dataset


class Famfs(Datasource):  # type: ignore[misc]
    """A published table, or several as one."""

    def __init__(self, opened: Dataset) -> None:
        super().__init__()
        if opened.kind != "table":
            raise Unsupported(
                f"{opened.path} ({opened.kind}): Ray Data reads tables; of an array, "
                "ray.data.from_numpy(famfs.ray.get(ref))"
            )
        self._opened = opened
        # Ray's, for columns that are pushed down to here.
        self._projection_map: dict[str, str] | None = None

    def _selected(self) -> Dataset:
        names = self._get_data_columns()
        # A table of no columns has no rows that Ray would count.
        return self._opened[names] if names else self._opened

    def estimate_inmemory_data_size(self) -> int:
        """Bytes of the files' columns that are read; nothing is looked at for it."""
        return _size(self._selected(), self._opened)

    def supports_projection_pushdown(self) -> bool:
        """Columns that are not asked for are not touched."""
        return True

    def get_read_tasks(
        self,
        parallelism: int,
        per_task_row_limit: int | None = None,
        data_context: Any = None,  # noqa: ANN401, ARG002 - Ray's
    ) -> list[Any]:
        """A task for each part: as many as asked for, where there are rows for them."""
        opened = self._selected()
        rows = len(opened)
        schema = opened.schema
        size = _size(opened, self._opened)
        tasks = []
        count = max(1, min(parallelism, rows))
        for i in range(count):
            part = opened.partition(i, count)
            share = size * len(part) // max(1, rows)
            about = BlockMetadata(
                num_rows=len(part), size_bytes=share, input_files=None, exec_stats=None
            )
            task = ReadTask(_Part(part), about, schema, per_task_row_limit=per_task_row_limit)
            tasks.append(task)
        return tasks


class _Part:
    """What a task reads; it pickles as a reference."""

    def __init__(self, part: Dataset) -> None:
        self._part = part
        # Ray tells tasks apart by this.
        self.__name__ = "famfs"

    def __call__(self) -> Iterator[Any]:
        # So that the block goes on by reference.
        register()
        yield self._part.to_arrow()


def _size(part: Dataset, whole: Dataset) -> int:
    """Bytes of a table's columns, as far as their types tell; of the others, their share."""
    columns = len(whole.names)
    fixed = [_width(kind) for kind in part.schema.types]
    rest = whole.nbytes - len(whole) * sum(_width(kind) or 0 for kind in whole.schema.types)
    others = sum(1 for kind in whole.schema.types if _width(kind) is None) or columns or 1
    told = len(part) * sum(width or 0 for width in fixed)
    return int(told + max(0, rest) * sum(width is None for width in fixed) / others)


def _width(kind: Any) -> float | None:  # noqa: ANN401
    """Bytes of a row, where they are the same for all."""
    if pyarrow().types.is_dictionary(kind):
        return None
    try:
        return float(kind.bit_width) / 8
    except ValueError:
        return None
