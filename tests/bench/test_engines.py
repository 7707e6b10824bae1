"""What engines take with a volume beside them, and without.

Ray's two nodes are on this machine: the figures show the path that the data takes, not a fabric.
"""

from __future__ import annotations

import pytest
import services
from inputs import GIB
from sides import Process, took

import famfs

OURS = Process("ours")
# For a shuffle: the shares, the pieces, and those that came from the other node.
MEMORY = 8 * GIB


def test_a_table_between_two_nodes_of_ray(goal, measured, unmeasured, volume, rivals):
    named = "1 GiB table between two nodes of Ray, on one machine"
    ray, why = rivals("ray")
    if not ray:
        unmeasured(named, "ray.get", why)
        return
    mnt = volume(2 * GIB)
    OURS.ask("publish", mnt, "table", GIB, 1)
    ref = str(famfs.open(f"{mnt}/0").ref)
    found = took({"famfs": lambda: ray.ask("taken_over", ref)}, rounds=7)
    found |= took({"ray.get": lambda: ray.ask("hand_over", "table", GIB)}, rounds=3)
    measured(named, found, "ms")
    ratio = found["ray.get"].median / found["famfs"].median
    goal(f"{named}, times faster than ray.get", ratio, ">= 100", "the path, not the fabric")


@pytest.mark.timeout(600)
def test_a_shuffle_among_four_workers_of_ray(goal, measured, unmeasured, volume):
    named = "shuffle of 2 GiB among 4 workers on two nodes of Ray, on one machine"
    if why := services.absent("ray"):
        unmeasured(named, "Ray's objects", why)
        return
    size, rounds = 2 * GIB, 2

    def seconds(answer):
        took, rows = answer
        assert rows == size // 32
        return took

    # One cluster after the other: both, with what they keep, would not fit the memory at once.
    with services.ray(MEMORY) as ray:
        ray.ask("prepare", size)
        sides = {"Ray's objects": lambda: seconds(ray.ask("by_objects"))}
        found = took(sides, rounds)
    # Space of a volume does not come back: there is some for each round, and one to warm up.
    mnt = volume(size * (rounds + 2) + GIB // 2)
    OURS.ask("publish", mnt, "keyed", size, 1)
    into = iter(range(rounds + 1))
    with services.ray(GIB) as ray:
        ask = ("by_volume", f"{mnt}/0")
        sides = {"famfs": lambda: seconds(ray.ask(*ask, f"{mnt}/parts-{next(into)}"))}
        found |= took(sides, rounds)
    measured(named, found, "ms")
    ratio = found["Ray's objects"].median / found["famfs"].median
    goal(f"{named}, times faster than Ray's objects", ratio, ">= 3", "the path, not the fabric")
