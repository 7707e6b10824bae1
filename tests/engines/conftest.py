"""Volumes and processes for the tests with engines: those of the package's tests."""

from __future__ import annotations

import sys
from pathlib import Path

# Where workers find what they unpickle, and where the fixtures are.
sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "python")]

import pytest  # noqa: E402
from spark_cluster import at, cluster, spark  # noqa: E402

from volumes import inside, mnt, run  # noqa: E402

__all__ = ["at", "cluster", "inside", "mnt", "run", "spark"]


@pytest.fixture(scope="session")
def ray_cluster():
    """Ray, of two nodes."""
    from rays import started

    with started() as made:
        yield made
