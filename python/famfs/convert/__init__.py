"""Publishing: what Python has, made into what a volume keeps, without a copy on the way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from famfs import _native
from famfs._arguments import read_count, read_mode, read_path
from famfs.convert import arrays, frames
from famfs.errors import Unsupported

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

    from famfs._native import Ref
    from famfs.convert.dicts import Tensors


WINDOW = 128 << 20
"""Bytes of a reader's batches that wait in memory before they are written."""


class Published(NamedTuple):
    """What came of publishing."""

    ref: Ref
    kind: str
    size: int
    """Bytes of the file."""
    borrowed: int
    """Bytes of it that were the caller's, copied once, from where they were."""
    owned: int
    """Bytes of it that were made for it: headers, bitmaps and offsets that had to move."""


def publish(
    obj: object,
    path: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    checksum: bool = False,
    batch_rows: int | None = None,
    progress: Callable[[int, int], object] | None = None,
    mode: int | None = None,
) -> Ref:
    """Publishes an object as a file that other processes and hosts open without a copy.

    The bytes are written once, straight to where they stay. The file appears in one step when all
    of it is there, and its bytes are never touched again.

    Args:
        obj: A table, record batch or reader (anything with `__arrow_c_stream__` or
            `__arrow_c_array__`), a pandas or polars frame or series, an array or tensor (anything
            NumPy takes without Python objects), a dict of arrays, or bytes. A dict of equally long
            1-D arrays is a table; one of any other arrays, or of PyTorch's tensors, a safetensors
            file.
        path: Where, below a mount point.
        overwrite: Put it in the place of a file that is there, as its new version. Who has the old
            one open keeps it, and its reference still opens it.
        checksum: Keep a CRC-32 in the file, computed while it is copied: tables and arrays have
            room for one. `open(..., verify=True)` and `famfs verify` compare it.
        batch_rows: Keep partitions of so many rows in a table; otherwise it has as few record
            batches as possible, so that a column is one array. A reader or query of
            more than 128 MiB is written while it comes, and has a record batch for each 128 MiB:
            no more of it, and of one partition, is in memory at any time.
        progress: Called with bytes written and bytes in all: now and then, and at least once, at
            the end with both the same, also where that is 0. Of a reader nobody knows how much
            there will be: bytes in all are those of the space taken so far. What it raises stops
            the publishing, and nothing is published.
        mode: Permission bits, such as 0o640; by default 0o666 without the umask.

    Returns:
        The reference of what was published.

    Raises:
        AlreadyExists: The name is taken, and `overwrite` is not set.
        FamfsError: The mode has bits that none has.
        NoSpace: The volume or its log is full.
        NotFound: The directory is missing.
        NotMaster: Another host publishes to this volume.
        NotMounted: The path lies under no mount.
        Unsupported: The object can't be published as it is; the message says what can.

    Example:
        >>> import famfs
        >>> ref = famfs.publish(b"hello", f"{mnt}/greeting")
        >>> bytes(famfs.open(ref).buffer())
        b'hello'
    """
    options: dict[str, Any] = {"overwrite": overwrite, "mode": mode, "progress": progress}
    return publish_within(None, obj, path, checksum=checksum, batch_rows=batch_rows, **options).ref


def publish_within(
    transaction: _native.Transaction | None,
    obj: object,
    path: str | os.PathLike[str],
    *,
    checksum: bool = False,
    batch_rows: int | None = None,
    mode: int | None = None,
    **options: Any,  # noqa: ANN401
) -> Published:
    """Publishes for a transaction, if there is one: the file appears when that is committed.

    Args:
        transaction: The transaction.
        obj: As `publish`.
        path: As `publish`.
        checksum: As `publish`.
        batch_rows: As `publish`.
        mode: As `publish`.
        **options: As `publish`: overwrite and progress.

    Returns:
        What was published; of a transaction's file there is no reference yet.

    Raises:
        Unsupported: As `publish`.

    Example:
        >>> from famfs import convert
        >>> convert.publish_within(None, b"hello", f"{mnt}/greeting").size
        5
    """
    if batch_rows is not None:
        batch_rows = read_count(batch_rows, "batch_rows", "rows")
        if not batch_rows:
            raise Unsupported(f"batch_rows={batch_rows}: a partition has 1 row or more")
    options["mode"] = read_mode(mode)
    where = read_path(path)
    options |= {"checksum": checksum, "transaction": transaction}
    return publish_counted(obj, where, batch_rows=batch_rows, **options)


def publish_counted(
    obj: object,
    path: str,
    *,
    batch_rows: int | None = None,
    **options: Any,  # noqa: ANN401
) -> Published:
    """Publishes, and counts the bytes.

    Args:
        obj: As `publish`.
        path: As `publish`.
        batch_rows: As `publish`.
        **options: As `publish`: overwrite, mode and progress; and a native transaction.

    Returns:
        The reference, and what was copied.

    Raises:
        Unsupported: As `publish`.

    Example:
        >>> from famfs import convert
        >>> convert.publish_counted(b"hello", f"{mnt}/greeting").borrowed
        5
    """
    table, tensors = _taken(obj)
    if tensors is not None:
        if batch_rows is not None:
            raise Unsupported("batch_rows is for tables, not for a dict of tensors")
        _no_checksum(options, "a safetensors file")
        return Published(*_native.publish_tensors(path, *tensors, **options))
    if table is not None:
        # What is in memory anyhow is joined as a whole; readers are written as they come.
        options["window"] = WINDOW if frames.is_stream(table) else None
        table = frames.checked(table)
        try:
            return Published(*_native.publish_table(path, table, batch_rows=batch_rows, **options))
        except Unsupported:
            if isinstance(table, frames.Checked) and table.failed is not None:
                raise table.failed from None
            raise
    if batch_rows is not None:
        raise Unsupported(f"batch_rows is for tables, not for {arrays.name(obj)}")
    data = arrays.plain_bytes(obj)
    if data is not None:
        _no_checksum(options, "a file of bytes")
        return Published(*_native.publish_bytes(path, data, **options))
    array = arrays.take(obj)
    descr, fortran, shape = arrays.header(array)
    parts = arrays.parts(array, fortran=fortran)
    return Published(*_native.publish_array(path, descr, fortran, shape, parts, **options))


def _no_checksum(options: dict[str, Any], what: str) -> None:
    if options.pop("checksum", False):
        raise Unsupported(
            f"{what} has no room for a checksum; tables and arrays have: publish the bytes as "
            "numpy.frombuffer(data, 'u1')"
        )


def to_table(obj: Any) -> Any:  # noqa: ANN401
    """Makes what stands for a table into something with the Arrow PyCapsule protocol.

    Args:
        obj: Anything.

    Returns:
        The table, its values where they were; None where it is no table.

    Raises:
        Unsupported: It is a frame or dict that can't be a table.

    Example:
        >>> from famfs import convert
        >>> convert.to_table({"a": np.arange(3)}).num_rows
        3
    """
    return _taken(obj)[0]


def _taken(obj: Any) -> tuple[Any, Tensors | None]:  # noqa: ANN401
    """What stands for a table, or a dict's tensors."""
    if not isinstance(obj, dict):
        return frames.take(obj), None
    from famfs.convert import dicts

    taken = dicts.take(obj)
    return (None, taken) if isinstance(taken, dicts.Tensors) else (taken, None)
