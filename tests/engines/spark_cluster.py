"""A Spark cluster of two executors for the tests, and what they share.

The volume is one that the executors have by `spark.executorEnv.FAMFS_MOUNTS` alone.
"""

from __future__ import annotations

import sys

import numpy as np
import pytest

import famfs

MIB = 1 << 20
JAVA = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"


@pytest.fixture(scope="session")
def cluster(tmp_path_factory):
    """The session, the volume's mount point, and that of one which executors lack."""
    from pyspark.sql import SparkSession

    import famfs.spark

    folder = tmp_path_factory.mktemp("spark")
    pairs = []
    for name, size in (("volume", "512MiB"), ("other", "32MiB")):
        (folder / f"{name}.mnt").mkdir()
        famfs.mkfs(folder / name, size=size, sparse=True)
        pairs.append(f"{folder / name}={folder / name}.mnt")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FAMFS_MOUNTS", ":".join(pairs))
        patch.setenv("PYSPARK_PYTHON", sys.executable)
        patch.setenv("SPARK_WORKER_DIR", str(folder / "work"))
        patch.setenv("SPARK_LOCAL_IP", "127.0.0.1")
        builder = SparkSession.builder.master("local-cluster[2,1,1024]").config(
            map={
                "spark.driver.memory": "1g",
                "spark.executor.memory": "1g",
                # Short queries end before a compiler that takes its time is done.
                "spark.driver.extraJavaOptions": JAVA,
                "spark.executor.extraJavaOptions": JAVA,
                "spark.executorEnv.FAMFS_MOUNTS": pairs[0],
                "spark.sql.shuffle.partitions": "2",
                "spark.task.maxFailures": "2",
                "spark.sql.warehouse.dir": str(folder / "warehouse"),
                "spark.ui.enabled": "false",
                "spark.ui.showConsoleProgress": "false",
            }
        )
        session = builder.getOrCreate()
        try:
            session.sparkContext.setLogLevel("OFF")
            famfs.spark.register(session)
            yield session, f"{folder}/volume.mnt", f"{folder}/other.mnt"
        finally:
            session.stop()


@pytest.fixture
def spark(cluster):
    return cluster[0]


@pytest.fixture
def at(cluster, request):
    """A directory of the test's own."""
    path = f"{cluster[1]}/{abs(hash(request.node.nodeid)):x}"
    famfs.mkdir(path)
    return path


def names(path):
    return sorted(entry.name for entry in famfs.ls(path))


def allocated(path):
    return famfs.df(path).allocated


def numbers(rows=1000):
    return {"a": np.arange(rows), "b": np.arange(rows) / 2, "c": np.ones(rows, "i4")}


def failing(error, says):
    """What Spark tells of an error of this package: in its own, with the type and the text."""
    from pyspark.errors import PySparkException

    return pytest.raises(PySparkException, match=rf"(?s)famfs\.errors\.{error.__name__}.*{says}")


def rows_of(path):
    return sorted(famfs.open(path).to_arrow().to_pydict()["id"])
