"""Objects that are handed out by reference, as Ray's own `put` and `get` do."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from famfs._arrow import pyarrow
from famfs.convert import publish
from famfs.dataset import open as open_
from famfs.errors import FamfsError, NotMounted
from famfs.ray._serialize import ByValue

if TYPE_CHECKING:
    from famfs._native import Ref
    from famfs.dataset import Dataset


@dataclass(frozen=True, slots=True)
class Copied:
    """A reference with a node that copies for workers which lack the volume. `put` makes it."""

    ref: Ref
    node: str
    """The node, as Ray names it."""
    mounts: str | None
    """What FAMFS_MOUNTS is there."""


def put(
    obj: object,
    path: str | os.PathLike[str],
    *,
    fallback: str | None = None,
    **options: Any,  # noqa: ANN401
) -> Ref | Copied:
    """Publishes an object, and gives a reference for tasks and actors.

    Unlike an object of Ray's it outlives this process and the cluster, and nothing of it is copied
    to where it is used.

    Args:
        obj: As `famfs.publish`.
        path: As `famfs.publish`.
        fallback: "copy" for a reference by which workers that lack the volume get a copy through
            Ray's object store, made on this node when they ask for it.
        **options: As `famfs.publish`.

    Returns:
        The reference; both sorts are for `get`, and a `Ref` for `famfs.open` too.

    Raises:
        FamfsError: As `famfs.publish`; or there is no such fallback.

    Example:
        >>> import famfs.ray, numpy as np  # doctest: +SKIP
        >>> ref = famfs.ray.put(np.arange(3), f"{mnt}/three")  # doctest: +SKIP
        >>> famfs.ray.get(ref).sum()  # in any task  # doctest: +SKIP
        3
    """
    if fallback not in {None, "copy"}:
        raise FamfsError(f"fallback={fallback!r}: it is 'copy', or None for none")
    ref = publish(obj, path, **options)
    if fallback is None:
        return ref
    node = ray.get_runtime_context().get_node_id()
    return Copied(ref, node, os.environ.get("FAMFS_MOUNTS"))


def get(ref: Ref | Copied | Dataset | str) -> Any:  # noqa: ANN401
    """Gives what a reference stands for, in place.

    Args:
        ref: What `put` or `famfs.publish` gave, its text, or a dataset.

    Returns:
        A `pyarrow.Table` of a table, a `ChunkedArray` of a column, an array of an array, and of
        anything else its bytes, as an array. All are read-only.

    Raises:
        NotMounted: The volume is not mounted here, and the reference has no fallback.

    Example:
        >>> import famfs.ray  # doctest: +SKIP
        >>> ref = famfs.ray.put({"a": [1, 2]}, f"{mnt}/table")  # doctest: +SKIP
        >>> famfs.ray.get(ref).num_rows  # doctest: +SKIP
        2
    """
    wanted: Any = ref.ref if isinstance(ref, Copied) else ref
    try:
        return _values(open_(wanted))
    except NotMounted as error:
        if isinstance(ref, Copied):
            return _copy(ref)
        raise NotMounted(
            f"{error}; for this worker alone: FAMFS_MOUNTS=DEV=MNT in its environment, which "
            "famfs.ray.runtime_env(mounts={DEV: MNT}) sets; or a copy: put(..., fallback='copy')"
        ) from error


def _values(opened: Dataset) -> Any:  # noqa: ANN401
    return opened.to_arrow() if opened.kind in {"table", "column"} else opened.to_numpy()


def _copy(ref: Copied) -> Any:  # noqa: ANN401
    there = NodeAffinitySchedulingStrategy(ref.node, soft=False)
    # No CPU is taken: whoever asks has one, and waits.
    options: dict[str, Any] = {"num_cpus": 0, "scheduling_strategy": there}
    if ref.mounts:
        options["runtime_env"] = {"env_vars": {"FAMFS_MOUNTS": ref.mounts}}
    task = ray.remote(_sent).options(**options)
    found, is_column = ray.get(task.remote(ref.ref))
    return found.column(0) if is_column else found


def _sent(ref: Ref) -> tuple[ByValue, bool]:
    """The values, where the volume is; a column as a table of it."""
    opened = open_(ref)
    values = _values(opened)
    if opened.kind == "column":
        return ByValue(pyarrow().table([values], ["column"])), True
    return ByValue(values), False
