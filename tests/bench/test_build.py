"""Computing into an array that is built in place, beside computing into private memory."""

from __future__ import annotations

import statistics

from sides import Process, Took, in_turn

OURS = Process("ours")
ROWS = 1 << 26
UFUNCS = ("add", "multiply", "sqrt")


def test_compute_into_a_published_array(goal, measured, volume):
    size = ROWS * 8

    def published():
        mnt = volume(len(UFUNCS) * (size + (4 << 20)) + (1 << 30))
        took = OURS.ask("computed", ROWS, UFUNCS, "published", mnt)
        volume.discard()
        return took

    sides = {
        "private memory, touched": lambda: OURS.ask("computed", ROWS, UFUNCS, "touched"),
        "private memory, new": lambda: OURS.ask("computed", ROWS, UFUNCS, "new"),
        "famfs.create": published,
    }
    found = in_turn(sides, rounds=5)
    ratios = []
    for number, ufunc in enumerate(UFUNCS):
        took = {name: Took(tuple(each[number] for each in every)) for name, every in found.items()}
        measured(f"np.{ufunc} into 512 MiB", took, "ms")
        ratios.append(took["famfs.create"].median / took["private memory, touched"].median)
    goal(
        "P1 compute into a published array, of the compute alone",
        statistics.median(ratios),
        "<= 1.05",
        ", ".join(f"{name} {ratio:.2f}" for name, ratio in zip(UFUNCS, ratios, strict=True)),
    )
