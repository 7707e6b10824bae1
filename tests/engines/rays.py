"""A cluster of Ray for the tests: two nodes on this machine, and what its workers look at."""

from __future__ import annotations

import contextlib
import itertools
import os
import pickle
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from volumes import mapping

# Before Ray is loaded, and for its workers: nothing is told to anybody.
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"

import ray
import ray.data
from ray.cluster_utils import Cluster

import famfs
import famfs.ray

MIB = 1 << 20
HERE = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "python")]
NUMBERS = itertools.count()


@contextlib.contextmanager
def started():
    """Two nodes; of each a resource says so. Workers start with the hook."""
    temporary = tempfile.TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True)
    with temporary as folder, pytest.MonkeyPatch.context() as patch:
        # Not only by a node's own option: the cluster's address is written by this too, and where
        # no Ray has ever run, its usual place isn't there.
        patch.setenv("RAY_TMPDIR", folder)
        # Where workers find the functions of this file.
        patch.setenv("PYTHONPATH", os.pathsep.join(HERE))
        head = {"num_cpus": 2, "object_store_memory": 200 * MIB, "include_dashboard": False}
        made = Cluster(
            initialize_head=True,
            head_node_args=head | {"resources": {"first": 100}},
        )
        try:
            made.add_node(num_cpus=2, object_store_memory=200 * MIB, resources={"second": 100})
            environment = famfs.ray.runtime_env()
            ray.init(address=made.address, runtime_env=environment, log_to_driver=False)
            famfs.ray.register()
            ray.data.DataContext.get_current().enable_progress_bars = False
            yield made
        finally:
            ray.shutdown()
            made.shutdown()


@pytest.fixture(scope="module")
def volume():
    """A volume that the tests of this file share; each has a directory of its own in it."""
    with famfs.embedded(size="512MiB") as mountpoint:
        yield mountpoint


@pytest.fixture
def place(volume):
    """A directory of the volume."""
    path = f"{volume}/{next(NUMBERS)}"
    famfs.mkdir(path)
    return path


def on(node):
    return {"num_cpus": 0, "resources": {node: 1}}


def addresses(thing):
    """Where values lie."""
    if isinstance(thing, np.ndarray):
        return [thing.__array_interface__["data"][0]]
    if isinstance(thing, pd.DataFrame):
        return [place for name in thing for place in addresses(thing[name].to_numpy())]
    if isinstance(thing, pa.Array):
        return [buffer.address for buffer in thing.buffers() if buffer is not None]
    if isinstance(thing, famfs.Dataset):
        return addresses(thing.to_arrow())
    parts = thing.chunks if isinstance(thing, pa.ChunkedArray) else thing.columns
    return [place for part in parts for place in addresses(part)]


def lies_in(thing, mountpoint):
    """Whether all of a thing's memory is the volume's mapping of this process."""
    source = next(mount.source for mount in famfs.mounts() if mount.mountpoint == mountpoint)
    ranges = [(start, end) for start, end, name in mapping() if name == source]
    places = addresses(thing)
    return bool(places) and all(any(a <= each < b for a, b in ranges) for each in places)


def serialised(thing):
    """Bytes that Ray sends or stores."""
    context = ray._private.worker.global_worker.get_serialization_context()
    return context.serialize(thing).total_bytes


@ray.remote
def seen(things, mountpoint):
    """Whether each lies in the volume here, and its bytes by value; from lists and dicts."""
    every = list(things.values()) if isinstance(things, dict) else things
    return [(lies_in(each, mountpoint), pickle.dumps(plain(each))) for each in every]


def plain(thing):
    """Values to compare, which no longer are in a volume."""
    if isinstance(thing, famfs.Dataset):
        thing = thing.to_arrow()
    if isinstance(thing, pd.DataFrame):
        return thing.copy()
    return thing.tolist() if isinstance(thing, np.ndarray) else thing.to_pylist()


def table(rows=5000, **more):
    texts = [f"text {i}" if i % 7 else None for i in range(rows)]
    return pa.table({"a": np.arange(rows), "text": texts, "b": np.arange(rows) * 0.5, **more})
