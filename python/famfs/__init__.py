"""Publish tables and arrays into memory that several hosts share, and open them without a copy.

A published file's bytes are where every process of every host that mounts the volume reads them:
`open` maps them, read-only, and copies nothing.

Example:
    >>> import famfs, numpy as np
    >>> with famfs.embedded(size="64MiB") as mnt:
    ...     ref = famfs.publish(np.arange(6).reshape(2, 3), f"{mnt}/features")
    ...     print(np.asarray(famfs.open(ref)).sum())
    15
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from famfs import aio as aio
    from famfs import dask as dask
    from famfs import fsspec as fsspec
    from famfs import joblib as joblib
    from famfs import multiprocessing as multiprocessing
    from famfs import polars as polars
    from famfs import ray as ray
    from famfs import spark as spark
    from famfs import torch as torch
    from famfs._embedded import Embedded, embedded
    from famfs._native import Ref
    from famfs._native import __version__ as __version__
    from famfs._watch import Event, Watch, watch
    from famfs.build import create, create_table
    from famfs.convert import publish
    from famfs.dataset import Dataset, open
    from famfs.errors import (
        AlreadyExists,
        Busy,
        Corrupt,
        FamfsError,
        HostError,
        InvalidPath,
        MemoryFault,
        NoSpace,
        NotFound,
        NotMaster,
        NotMounted,
        PermissionDenied,
        ReadOnlyVolume,
        Unsupported,
        VolumeChanged,
    )
    from famfs.pictures import DeviceMap, plot_map
    from famfs.transactions import Transaction, transaction
    from famfs.volume import (
        Entry,
        Mount,
        Usage,
        df,
        exists,
        ls,
        mkdir,
        mkfs,
        mount,
        mounts,
        remove,
        stat,
        umount,
        versions,
        wait,
    )

__all__ = [
    "AlreadyExists",
    "Busy",
    "Corrupt",
    "Dataset",
    "DeviceMap",
    "Embedded",
    "Entry",
    "Event",
    "FamfsError",
    "HostError",
    "InvalidPath",
    "MemoryFault",
    "Mount",
    "NoSpace",
    "NotFound",
    "NotMaster",
    "NotMounted",
    "PermissionDenied",
    "ReadOnlyVolume",
    "Ref",
    "Transaction",
    "Unsupported",
    "Usage",
    "VolumeChanged",
    "Watch",
    "aio",
    "create",
    "create_table",
    "df",
    "embedded",
    "exists",
    "ls",
    "mkdir",
    "mkfs",
    "mount",
    "mounts",
    "open",
    "plot_map",
    "publish",
    "remove",
    "stat",
    "transaction",
    "umount",
    "versions",
    "wait",
    "watch",
]

_MODULES = {
    "famfs._embedded": ("Embedded", "embedded"),
    "famfs._native": ("Ref", "__version__"),
    "famfs.build": ("create", "create_table"),
    "famfs.convert": ("publish",),
    "famfs.dataset": ("Dataset", "open"),
    "famfs.pictures": ("DeviceMap", "plot_map"),
    "famfs.transactions": ("Transaction", "transaction"),
    "famfs.volume": (
        "Entry",
        "Mount",
        "Usage",
        "df",
        "exists",
        "ls",
        "mkdir",
        "mkfs",
        "mount",
        "mounts",
        "remove",
        "stat",
        "umount",
        "versions",
        "wait",
    ),
    "famfs._watch": ("Event", "Watch", "watch"),
}
# Modules that are there by their names, and imported when they are first used.
_SUBMODULES = (
    "aio",
    "dask",
    "fsspec",
    "joblib",
    "multiprocessing",
    "polars",
    "ray",
    "spark",
    "torch",
)
_HOMES = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> object:
    """Imports what a name stands for when it is first used: `import famfs` stays light."""
    import importlib

    if name in _SUBMODULES:
        return importlib.import_module(f"famfs.{name}")
    module = _HOMES.get(name, "famfs.errors" if name in __all__ else None)
    if module is None:
        raise AttributeError(f"module 'famfs' has no attribute {name!r}")
    value: object = getattr(importlib.import_module(module), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """The names that there are, imported or not."""
    return sorted({*globals(), *__all__, *_SUBMODULES})
