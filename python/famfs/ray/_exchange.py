"""A shuffle: workers exchange the rows of a table by their keys, through a volume."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from famfs import _many
from famfs._arguments import read_count, read_path
from famfs._arrow import pyarrow
from famfs._directories import filled
from famfs.dataset import Dataset
from famfs.dataset import open as open_
from famfs.errors import FamfsError, Unsupported
from famfs.transactions import transaction

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator, Sequence

    import numpy as np

    from famfs._native import Ref
    from famfs.transactions import Transaction

_BLOCK = 1 << 16
"""Rows that are worked on at once; 512 KiB of a column."""

_OF_NULL = 0x9AE16A3B2F90404F
"""The hash of null."""


def shuffle(
    source: str | os.PathLike[str] | Ref | Dataset,
    by: str | Sequence[str],
    n: int,
    path: str | os.PathLike[str],
    *,
    tasks: int | None = None,
    num_cpus: float = 1,
) -> list[Dataset]:
    """Cuts a table into parts by the hash of its keys: rows of equal keys are in one part.

    Each of several tasks orders its share of the rows by part, straight to where they are
    published; all of that appears in one step. A part is then a range of rows of each task's file:
    whoever gets one opens it in place, on any host, and nothing is sent. Equal values are in parts
    of the same number in every shuffle into as many, so that two tables can be joined part by part.

    Args:
        source: A table, or a directory of them, as `famfs.open`; or a dataset of it.
        by: The key's column, or several.
        n: How many parts to make.
        path: A directory for the tasks' files, below a mount point; it is made, and must not be
            there.
        tasks: How many tasks there are, on the nodes of this host, the one that publishes; as many
            as parts by default.
        num_cpus: What each of them takes, as Ray counts.

    Returns:
        The parts, in place. A dataset pickles as its references: hand one to each worker.

    Raises:
        AlreadyExists: The directory is there.
        KeyError: There is no such column.
        NoSpace: The volume is full. Nothing is published, nor is it of any other error.
        Unsupported: It is no table, there are to be no parts or tasks, or a key's values can't be
            told apart by hashing.

    Example:
        >>> import famfs, famfs.ray  # doctest: +SKIP
        >>> ref = famfs.publish({"key": [1, 2, 1, 3]}, f"{mnt}/table")  # doctest: +SKIP
        >>> parts = famfs.ray.shuffle(ref, "key", 2, f"{mnt}/by-key")  # doctest: +SKIP
        >>> sum(part.num_rows for part in parts)  # doctest: +SKIP
        4
    """
    opened = source if isinstance(source, Dataset) else open_(source)
    if opened.kind != "table":
        raise Unsupported(f"{opened.path} ({opened.kind}): tables are shuffled by their columns")
    keys = [by] if isinstance(by, str) else list(by)
    opened[keys]  # names what is not there
    count = read_count(n, "n", "parts", 1)
    shares = count if tasks is None else read_count(tasks, "tasks", "tasks", 1)
    where = read_path(path)
    with filled(where) as tx:
        named = [f"{where}/{i:06}" for i in range(shares)]
        given = [(opened.partition(i, shares), named[i]) for i in range(shares)]
        ends = _run(tx, given, keys, count, num_cpus)
        tx.commit(files=named)
    files = [open_(name) for name in named]
    return [_part(where, files, ends, i) for i in range(count)]


def _run(
    tx: Transaction, given: list[tuple[Dataset, str]], keys: list[str], n: int, num_cpus: float
) -> list[list[int]]:
    """Where each task's rows of each part end."""
    nodes = _nodes_here()
    pending = []
    for i, (share, name) in enumerate(given):
        node = NodeAffinitySchedulingStrategy(nodes[i % len(nodes)], soft=False)
        task = ray.remote(_ordered).options(
            num_cpus=num_cpus, scheduling_strategy=node, max_retries=0
        )
        pending.append(task.remote(share, keys, n, name, tx.token))
    try:
        found: list[list[int]] = ray.get(pending)
    except Exception as error:
        # What the others fill is given up with the transaction. They aren't cancelled: that ends
        # an import half-way, and the next task in that worker finds what is left of it.
        ray.wait(pending, num_returns=len(pending), fetch_local=False)
        cause = getattr(error, "cause", None)
        if isinstance(cause, FamfsError):
            raise cause from error
        raise
    return found


def _nodes_here() -> list[str]:
    """The nodes on this process's host: a volume is written by one host alone."""
    own = ray.get_runtime_context().get_node_id()
    alive = [node for node in ray.nodes() if node["Alive"]]
    host = next(node["NodeManagerHostname"] for node in alive if node["NodeID"] == own)
    return [node["NodeID"] for node in alive if node["NodeManagerHostname"] == host]


def _ordered(share: Dataset, keys: list[str], n: int, name: str, token: str) -> list[int]:
    """Publishes a share of the rows in the order of their parts; where each part ends."""
    parts, ends = _parts_of(share, keys, n)
    with transaction(token=token) as tx:
        _place(tx, share, parts, ends, name)
    found: list[int] = ends.tolist()
    return found


def _place(
    tx: Transaction,
    share: Dataset,
    parts: np.ndarray[Any, Any],
    ends: np.ndarray[Any, Any],
    name: str,
) -> None:
    """Publishes rows in the order of their parts; numbers are gathered where they stay."""
    import numpy as np

    schema = share.schema
    rows = len(parts)
    if not rows or len(set(schema.names)) < len(schema.names):
        tx.publish(share.take(np.argsort(parts, kind="stable")), name)
        return
    columns = {column: _numbers(share[column]) for column in schema.names}
    numbers = {column: values for column, values in columns.items() if values is not None}
    others: dict[str, Any] = {}
    if len(numbers) < len(columns):
        # Of small integers numpy's stable sort counts, and takes one pass.
        order = np.argsort(parts, kind="stable")
        others = {name: share[name].take(order) for name in columns if name not in numbers}
    sizes = {column: size for column, values in others.items() if (size := _texts(values))}
    with contextlib.ExitStack() as stack:
        try:
            table = stack.enter_context(tx.create_table(name, schema, rows, sizes=sizes))
        except Unsupported:
            # Of types that aren't built in place.
            tx.publish(share.take(np.argsort(parts, kind="stable")), name)
            return
        _scatter(numbers, parts, ends, {column: table[column] for column in numbers})
        for column in list(others):
            table.fill(column, others.pop(column))


def _scatter(
    columns: dict[str, np.ndarray[Any, Any]],
    parts: np.ndarray[Any, Any],
    ends: np.ndarray[Any, Any],
    into: dict[str, np.ndarray[Any, Any]],
) -> None:
    """Copies values to their parts, block by block: what is read and written stays in caches."""
    import numpy as np

    at = np.concatenate([[0], ends[:-1]])
    for start, end in _blocks(len(parts), len(ends)):
        # Of small integers numpy's stable sort counts.
        order = np.argsort(parts[start:end], kind="stable")
        counts = np.bincount(parts[start:end], minlength=len(ends))
        stops = counts.cumsum()
        for name, values in columns.items():
            block, out = values[start:end], into[name]
            for part in np.flatnonzero(counts):
                rows = order[stops[part] - counts[part] : stops[part]]
                place = out[at[part] : at[part] + counts[part]]
                np.take(block, rows, out=place, mode="clip")
        at += counts


def _blocks(rows: int, parts: int) -> Iterator[tuple[int, int]]:
    """Rows that are worked on at once: few enough for the caches, and many for each part."""
    step = max(_BLOCK, parts << 10)
    for start in range(0, rows, step):
        yield start, min(rows, start + step)


def _numbers(column: Dataset) -> np.ndarray[Any, Any] | None:
    """A column's values, where they are one array."""
    try:
        values: np.ndarray[Any, Any] = column.to_numpy()
    except Unsupported:
        return None
    return values if values.ndim == 1 and values.dtype.kind in "iuf" else None


def _texts(column: Any) -> int | None:  # noqa: ANN401
    """Bytes of texts; None for what has none."""
    import numpy as np

    types = pyarrow().types
    kind = column.type
    large = types.is_large_string(kind) or types.is_large_binary(kind)
    if not (large or types.is_string(kind) or types.is_binary(kind)):
        return None
    size = 0
    for chunk in column.chunks:
        if len(chunk):
            offsets = np.frombuffer(chunk.buffers()[1], "<i8" if large else "<i4")
            size += int(offsets[chunk.offset + len(chunk)]) - int(offsets[chunk.offset])
    return size


def _parts_of(
    share: Dataset, keys: list[str], n: int
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """The part of each row, by the hash of its keys, and where each part ends."""
    import numpy as np

    rows = len(share)
    counts = np.zeros(n, np.intp)
    parts = np.empty(rows, np.min_scalar_type(n - 1))
    hashes = [_hashes(key, share[key].to_arrow()) for key in keys]
    for start, end in _blocks(rows, n):
        found = hashes[0](start, end)
        for each in hashes[1:]:
            found = found * np.uint64(0x9E3779B97F4A7C15) + each(start, end)
        # The upper half, in proportion: n need not be a power of two.
        parts[start:end] = (found >> np.uint64(32)) * np.uint64(n) >> np.uint64(32)
        counts += np.bincount(parts[start:end], minlength=n)
    return parts, counts.cumsum()


def _hashes(key: str, column: Any) -> Callable[[int, int], np.ndarray[Any, Any]]:  # noqa: ANN401
    """What hashes some rows of a column, alike in every process and beside any other rows.

    A share of the rows may have nulls where another has none. All nulls have one hash.
    """
    import numpy as np

    pa = pyarrow()
    kind = column.type
    if _is_plain(kind) and not column.null_count:
        values = column.to_numpy()
        return lambda start, end: _hash_plain(values[start:end])
    try:
        encoded = column.combine_chunks().dictionary_encode()
        encoded = encoded.combine_chunks() if isinstance(encoded, pa.ChunkedArray) else encoded
        # The last is that of nulls, which a dictionary may have among its values too.
        of_values = np.full(len(encoded.dictionary) + 1, _OF_NULL, np.uint64)
        valid = encoded.dictionary.is_valid().to_numpy(zero_copy_only=False)
        of_values[:-1][valid] = _hash_values(encoded.dictionary.drop_null())
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise Unsupported(f"column {key!r} of type {kind} can't be a key: {error}") from error
    # Of few bits the indices may have no number for it.
    indices = encoded.indices.cast(pa.int64())
    places = indices.fill_null(len(of_values) - 1).to_numpy(zero_copy_only=False)
    return lambda start, end: of_values[places[start:end]]


def _is_plain(kind: Any) -> bool:  # noqa: ANN401
    """Whether values of a type are hashed as NumPy has them."""
    types = pyarrow().types
    return bool(types.is_integer(kind) or types.is_floating(kind) or types.is_temporal(kind))


def _hash_plain(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    import numpy as np
    from pandas.util import hash_array

    if values.dtype.kind == "f":
        # There are two zeros, and they are equal; and what is no number has many forms.
        values = values + values.dtype.type(0)
        values[np.isnan(values)] = np.nan
    found: np.ndarray[Any, Any] = hash_array(values)
    return found


def _hash_values(values: Any) -> np.ndarray[Any, Any]:  # noqa: ANN401
    """The hashes of an array that has no nulls."""
    import numpy as np
    from pandas.util import hash_array

    if _is_plain(values.type):
        return _hash_plain(pyarrow().chunked_array([values]).to_numpy())
    objects = np.empty(len(values), object)
    objects[:] = values.to_pylist()
    found: np.ndarray[Any, Any] = hash_array(objects, categorize=False)
    return found


def _part(path: str, files: list[Dataset], ends: list[list[int]], i: int) -> Dataset:
    """The rows of one part, of all files."""
    ranges = [(each[i - 1] if i else 0, each[i]) for each in ends]
    pairs = zip(files, ranges, strict=True)
    found = [file[first:end] for file, (first, end) in pairs if first < end]
    found = found or [files[0][0:0]]
    return found[0] if len(found) == 1 else _many.restore(path, [each.ref for each in found])
