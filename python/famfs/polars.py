"""polars: published tables as lazy frames, of which a query reads the rows and columns it needs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from famfs import _frames
from famfs import open as open_dataset
from famfs._arrow import pyarrow
from famfs._extras import engine
from famfs.dataset import Dataset
from famfs.errors import Unsupported

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

    from famfs._native import Ref
    from famfs.volume import Entry


def scan(source: str | os.PathLike[str] | Ref | Entry | Dataset) -> Any:  # noqa: ANN401
    """Makes a lazy frame of a published table: nothing is read before it is collected.

    A query gets the columns that it names, the first rows where it wants no more (`head`), and
    the rows that its filter keeps, record batch by record batch. Columns of types that polars reads
    in place stay in the volume's memory; of texts that are not views it makes the views.

    A slice that doesn't begin at the start is polars's to take, of columns in place; `scan(d[a:b])`
    doesn't look at other rows at all.

    Args:
        source: What `famfs.open` takes, patterns and directories too; or a table that is open.

    Returns:
        A `polars.LazyFrame`. It pickles as the reference.

    Raises:
        ImportError: polars isn't installed; the message names the extra.
        NotFound: There is no such file.
        NotMounted: The path lies under no mount, or the reference's volume isn't mounted here.
        Unsupported: It is no table, or has types that polars hasn't, or several columns of one
            name: a table of some of its columns, `d[["a", "b"]]`, can be scanned.

    Example:
        >>> import famfs.polars, polars as pl
        >>> ref = famfs.publish({"a": np.arange(5), "b": np.ones(5)}, f"{mnt}/t")
        >>> famfs.polars.scan(ref).filter(pl.col("a") > 2).select("b").collect().shape
        (2, 1)
    """
    plugins = engine("polars.io.plugins", "polars")
    dataset = source if isinstance(source, Dataset) else open_dataset(source)
    if dataset.kind != "table":
        raise Unsupported(
            f"{dataset.path} ({dataset.kind}) is no table to scan: to_polars() has a column's "
            "series, to_numpy() an array"
        )
    schema = _frames.to_polars(dataset.schema.empty_table(), None).schema
    return plugins.register_io_source(_Source(dataset), schema=schema)


class _Source:
    """A table that polars reads a part of; it goes to other processes as the reference."""

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset

    def __call__(
        self,
        columns: list[str] | None,
        predicate: Any,  # noqa: ANN401
        rows: int | None,
        batch_rows: int | None,  # noqa: ARG002 - batches are what they are, and nothing is copied
    ) -> Iterator[Any]:
        """Hands out frames: of the first `rows` rows the columns, and of these what is kept."""
        part = self._dataset if columns is None else self._dataset[columns]
        if rows is not None:
            part = part[:rows]
        pa = pyarrow()
        for i in range(len(part.batches)) or [None]:
            # Of no batches there is one frame, which has the columns.
            table = part.to_arrow() if i is None else pa.Table.from_batches([part.batches[i]])
            frame = _frames.to_polars(table, None)
            yield frame if predicate is None else frame.filter(predicate)
