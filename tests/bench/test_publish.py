"""Publishing, beside the fastest copy that the same memory allows."""

from __future__ import annotations

import itertools

import numpy as np

import famfs
from famfs.testing import copy_limit

SIZE = 1 << 30


def test_publish_an_array_of_1_gib(benchmark, goal, mnt):
    array = np.random.default_rng(1).integers(0, 1 << 60, SIZE // 8)
    limit = copy_limit(mnt, array.view(np.uint8))
    numbers = itertools.count()
    # Space does not come back yet: as many rounds as the volume holds.
    benchmark.pedantic(
        lambda: famfs.publish(array, f"{mnt}/array{next(numbers)}"), rounds=3, iterations=1
    )
    limit = min(limit, copy_limit(mnt, array.view(np.uint8)))
    best = benchmark.stats.stats.min
    goal(
        "publish a 1 GiB NumPy array, share of the copy limit",
        limit / best,
        ">= 0.8",
        f"{SIZE / best / 1e9:.1f} GB/s of {SIZE / limit / 1e9:.1f}",
    )
