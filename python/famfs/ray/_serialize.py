"""What Ray's serialiser asks first: whether an object lies in a volume."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import ray.cloudpickle
import ray.util

from famfs import _by_reference
from famfs._by_reference import Reducer
from famfs.errors import FamfsError

if TYPE_CHECKING:
    from collections.abc import Mapping

_HOOK = "worker_process_setup_hook"
_MOUNTS = "FAMFS_MOUNTS"


_PROTOCOL = 5
"""Of pickle, that Ray speaks."""


class ByValue:
    """A table or NumPy array that is serialised as Ray does, registered or not.

    It arrives as the table or array itself.
    """

    def __init__(self, obj: Any) -> None:  # noqa: ANN401
        self._obj = obj

    def __reduce_ex__(self, _protocol: Any) -> Any:  # noqa: ANN401
        """Of the object itself."""
        reducer = _dispatch().get(type(self._obj))
        if not isinstance(reducer, Reducer):
            reducer = Reducer(reducer, _PROTOCOL)
        return reducer.by_value(self._obj)


def _dispatch() -> Any:  # noqa: ANN401
    """Ray's reducers by type."""
    return ray.cloudpickle.CloudPickler.dispatch


def register() -> None:
    """Makes objects that lie in a volume pass by reference, from this process on.

    These are NumPy's arrays, and pyarrow's tables, batches, columns and arrays; also within others,
    such as pandas frames. Whatever lies elsewhere is serialised as Ray does. Whoever receives them
    needs famfs and the volume, and nothing else. Call it once for each `ray.init`, before or after;
    in workers `runtime_env` does.

    Example:
        >>> import famfs.ray, ray  # doctest: +SKIP
        >>> famfs.ray.register()  # doctest: +SKIP
        >>> table = famfs.open(f"{mnt}/table").to_arrow()  # doctest: +SKIP
        >>> ray.put(table)  # a few bytes  # doctest: +SKIP
    """
    # Ray sets its own reducers when it makes its context, which this is a way to have done.
    ray.util.deregister_serializer(Reducer)
    dispatch = _dispatch()
    for kind in _by_reference.types():
        before = dispatch.get(kind)
        if not isinstance(before, Reducer):
            dispatch[kind] = Reducer(before, _PROTOCOL)


def runtime_env(
    given: Mapping[str, Any] | None = None, *, mounts: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Makes the `runtime_env` whose workers `register` when they start.

    Args:
        given: Another one to add to.
        mounts: Volumes that the workers are told of by FAMFS_MOUNTS, for hosts whose tables of
            mounts lack them: of each device or backing file the directory that stands for it.

    Returns:
        What `ray.init(runtime_env=...)` takes, and so do tasks and actors.

    Raises:
        FamfsError: The other one has a hook of its own, which is then to call `register`.

    Example:
        >>> import famfs.ray, ray  # doctest: +SKIP
        >>> env = famfs.ray.runtime_env(mounts={"/dev/dax0.0": "/mnt/famfs"})  # doctest: +SKIP
        >>> ray.init(runtime_env=env)  # doctest: +SKIP
    """
    env = dict(given or {})
    if _HOOK in env:
        raise FamfsError(f"{_HOOK} is {env[_HOOK]!r}: call famfs.ray.register() there")
    env[_HOOK] = "famfs.ray.register"
    if mounts:
        pairs = ":".join(f"{device}={directory}" for device, directory in mounts.items())
        variables = dict(env.get("env_vars", {}))
        before = variables.get(_MOUNTS)
        variables[_MOUNTS] = f"{before}:{pairs}" if before else pairs
        env["env_vars"] = variables
    return env
