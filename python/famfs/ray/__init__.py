"""Ray: what lies in a volume passes between tasks and actors by reference.

A `famfs.Ref` and a `famfs.Dataset` do so by themselves, also nested in lists and dicts, on all
nodes whose host mounts the volume. After `register`, so do plain pyarrow tables and NumPy arrays
that lie in one.

Example:
    >>> import famfs.ray, ray  # doctest: +SKIP
    >>> ray.init(runtime_env=famfs.ray.runtime_env())  # doctest: +SKIP
    >>> famfs.ray.register()  # doctest: +SKIP
"""

from __future__ import annotations

from famfs._extras import engine

engine("ray", "ray")

from famfs.ray._data import read, write  # noqa: E402 - without Ray, what to install is said first
from famfs.ray._exchange import shuffle  # noqa: E402
from famfs.ray._held import Copied, get, put  # noqa: E402
from famfs.ray._serialize import register, runtime_env  # noqa: E402

__all__ = ["Copied", "get", "put", "read", "register", "runtime_env", "shuffle", "write"]
