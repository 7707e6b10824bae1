"""Publishing, beside the fastest copy that the same memory allows, and beside the alternatives."""

from __future__ import annotations

import pytest
from inputs import GIB
from sides import Process, Took, in_turn

OURS = Process("ours")
ROUNDS = 3
# Of one process: the first publish fills page tables; the least of the others is what is warm.
PUBLISHES = 4


def test_the_first_publish_of_a_process(goal, measured, volume):
    """Before the services are there: ten publishes of 1 GiB take memory."""
    first, tenth = [], []
    for _ in range(ROUNDS):
        mnt = volume(11 * GIB)
        every = OURS.ask("publish", mnt, "array", GIB, 10)
        volume.discard()
        first.append(every[0])
        tenth.append(every[9])
    found = {"famfs, first": Took(tuple(first)), "famfs, tenth": Took(tuple(tenth))}
    measured("publish 1 GiB NumPy, of a process", found, "ms")
    goal(
        "P2 first publish of a process, of the tenth",
        found["famfs, first"].median / found["famfs, tenth"].median,
        "<= 1.1",
        f"{found['famfs, first'].median * 1e3:.0f} ms",
    )


def published(what, size, others, rivals, beside):
    """What each side took, warm: ours with its limit, and the alternatives."""
    sides = {"ours": lambda: OURS.ask("published", what, size, 2)}
    for name, module in others.items():
        side = Process(f"rivals/{module}")
        sides[name] = lambda side=side: side.ask("publish", beside, what, size, PUBLISHES)
    missing = {}
    for name in ("ray", "vineyard"):
        rival, why = rivals(name)
        if not rival:
            missing[name] = why
        elif name == "ray":
            sides["ray.put"] = lambda ray=rival: ray.ask("publish", what, size, PUBLISHES)
        else:
            sides[name] = lambda vineyard=rival: vineyard("publish", what, size, PUBLISHES)
    # No warm-up: each process has its own, which is not counted.
    found = in_turn(sides, ROUNDS, warm_ups=0)
    ours = found.pop("ours")
    took = {
        "copy limit": Took(tuple(each["limit"] for each in ours)),
        "famfs": Took(tuple(each["plain"] for each in ours)),
        "famfs, checksum": Took(tuple(each["checksum"] for each in ours)),
    }
    for name, every in found.items():
        took[name] = Took(tuple(min(each[1:]) for each in every))
        if name == "ray.put":
            took["ray.put, first"] = Took(tuple(each[0] for each in every))
    return took, ours, missing


# What P2 found, which P3 is measured against.
SHARES = {}


@pytest.mark.parametrize(
    ("what", "named", "others"),
    [
        (
            "array",
            "publish 1 GiB NumPy",
            {"np.save": "npy", "SharedMemory": "shared", "pyarrow tensor": "arrow_files"},
        ),
        (
            "table",
            "publish 1.18 GiB Arrow",
            {"pyarrow OSFile": "arrow_files", "polars": "polars_files"},
        ),
        (
            "frame",
            "publish 1 GiB pandas, numbers",
            {"pyarrow OSFile": "arrow_files", "polars": "polars_files"},
        ),
    ],
)
def test_publish(goal, measured, unmeasured, rivals, beside, what, named, others):
    took, ours, missing = published(what, GIB, others, rivals, beside)
    size = GIB // 32 * 38 if what == "table" else GIB
    # The limit was taken with 1 GiB: rates are what compares.
    limit = took.pop("copy limit")
    measured(named, {"copy limit": limit}, "GB/s", GIB)
    measured(named, took, "GB/s", size)
    for name, why in missing.items():
        unmeasured(named, name, why)
    for kind in ("plain", "checksum"):
        shares = sorted(each["limit"] / each[kind] * size / GIB for each in ours)
        SHARES[what, kind] = shares[len(shares) // 2]
    if what == "array":
        goal("P2 publish 1 GiB NumPy, share of the copy limit", SHARES[what, "plain"], ">= 0.95")
        goal("P2 the same with checksum", SHARES[what, "checksum"], ">= 0.85")
        if "ray.put" in took:
            ratio = took["ray.put"].median / took["famfs"].median
            goal("P2 publish 1 GiB NumPy, of warm ray.put's rate", ratio, ">= 1")
    elif ("array", "plain") in SHARES:
        bound, name = (">= 0.9", "Arrow") if what == "table" else (">= 0.8", "pandas")
        ratio = SHARES[what, "plain"] / SHARES["array", "plain"]
        share = f"{SHARES[what, 'plain']:.2f} of the copy limit"
        goal(f"P3 publish {name}, of NumPy's rate", ratio, bound, share)
