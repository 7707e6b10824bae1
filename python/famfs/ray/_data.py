"""Ray Data: datasets of published tables, and published tables of datasets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from famfs._arguments import read_names, read_path
from famfs._directories import filled
from famfs.dataset import Dataset
from famfs.dataset import open as open_
from famfs.errors import FamfsError

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from famfs._native import Ref


def read(
    source: str | os.PathLike[str] | Ref | Dataset,
    columns: Sequence[str] | None = None,
    **options: Any,  # noqa: ANN401
) -> Any:  # noqa: ANN401 - Ray has no types
    """Makes a dataset of Ray Data of a published table, or of a directory of them.

    Tasks read it in parallel, each a part of it, cut where record batches meet. Rows, size and
    schema are known without reading, and columns that are not asked for are not touched. What tasks
    hand on lies in the volume and passes by reference.

    Args:
        source: As `famfs.open`, or a dataset of it.
        columns: The columns to read; all by default.
        **options: As `ray.data.read_datasource`, such as `override_num_blocks`.

    Returns:
        A `ray.data.Dataset`.

    Raises:
        KeyError: There is no such column.
        NotFound: There is no such file.
        Unsupported: It is no table.

    Example:
        >>> import famfs, famfs.ray  # doctest: +SKIP
        >>> ref = famfs.publish({"a": [1, 2, 3]}, f"{mnt}/table")  # doctest: +SKIP
        >>> famfs.ray.read(ref).sum("a")  # doctest: +SKIP
        6
    """
    import ray.data

    from famfs.ray._source import Famfs

    opened = source if isinstance(source, Dataset) else open_(source)
    if columns is not None:
        opened = opened[read_names(columns)]
    return ray.data.read_datasource(Famfs(opened), **options)


def write(
    dataset: Any,  # noqa: ANN401 - Ray has no types
    path: str | os.PathLike[str],
    *,
    checksum: bool = False,
    **options: Any,  # noqa: ANN401
) -> Dataset:
    """Publishes a dataset of Ray Data as a directory of tables, all of it in one step, or none.

    Tasks on this process's node fill the tables, each with the blocks that it gets, and this
    process commits them: a volume is written by one host. Where a task fails, its worker dies, the
    volume is full or blocks differ in their columns, nothing is published, and the space is free
    again.

    Args:
        dataset: A `ray.data.Dataset`.
        path: The directory, below a mount point; it is made, and must not be there.
        checksum: As `famfs.publish`.
        **options: As `write_datasink`: `ray_remote_args` and `concurrency`.

    Returns:
        The tables as one dataset, as `famfs.open(path)` gives it. Where the order of rows matters,
        let `ray.data.DataContext.get_current().execution_options.preserve_order` be set.

    Raises:
        AlreadyExists: The directory is there.
        NoSpace: The volume or its log is full.
        NotMaster: Another host publishes to this volume.
        NotMounted: The path lies under no mount.
        Unsupported: Blocks differ in their columns, or there are none.

    Example:
        >>> import famfs.ray, ray  # doctest: +SKIP
        >>> famfs.ray.write(ray.data.range(10), f"{mnt}/ten").num_rows  # doctest: +SKIP
        10
    """
    from famfs.ray._sink import Famfs

    where = read_path(path)
    with filled(where) as tx:
        sink = Famfs(tx, where, checksum=checksum)
        # A worker that dies ends it all: what it had done may be done already.
        remote = {"max_retries": 0} | dict(options.pop("ray_remote_args", None) or {})
        try:
            dataset.write_datasink(sink, ray_remote_args=remote, **options)
        except Exception as error:
            raise _cause(error) from error
    return open_(where)


def _cause(error: BaseException) -> BaseException:
    """Our own error among those that Ray wraps it in; else Ray's."""
    at: BaseException | None = error
    while at is not None:
        cause = getattr(at, "cause", None)
        if isinstance(cause, FamfsError):
            return cause
        if type(at).__module__ == "famfs.errors":
            return at
        at = cause if isinstance(cause, BaseException) else at.__cause__
    return error
