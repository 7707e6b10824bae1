"""Opening and handing over, to the first value, beside the alternatives."""

from __future__ import annotations

import pickle
import tempfile
import timeit

import pytest
import services
from inputs import GIB, small_table
from sides import Process, took

import famfs

OURS = Process("ours")
PYARROW = Process("rivals/arrow_files")
# Name, columns, rows, rows of a batch, and the column that is read.
TABLES = {
    "ten": ("10 columns", 10, 100_000, None, "c5"),
    "thousand": ("1,000 columns", 1_000, 1_000, None, "c500"),
    "wide": ("10,000 columns", 10_000, 100, None, "c5000"),
    "batches": ("1,000 batches", 10, 100_000, 100, "c5"),
}


def test_open_to_the_first_value(goal, measured, unmeasured, volume, beside, rivals):
    mnt = volume(GIB // 2)
    (ray, no_ray), (vineyard, no_vineyard) = rivals("ray"), rivals("vineyard")
    found = {}
    for name, (_, columns, rows, batch_rows, column) in TABLES.items():
        given = (columns, rows, batch_rows)
        OURS.ask("store", mnt, name, *given)
        PYARROW.ask("store", beside, name, *given)
        sides = {
            "famfs": lambda name=name, column=column: OURS.ask("first_value", mnt, name, column),
            "famfs, again": lambda name=name, column=column: OURS.ask(
                "first_value_again", mnt, name, column, "ten"
            ),
            "pyarrow mmap": lambda name=name, column=column: PYARROW.ask(
                "first_value", beside, name, column
            ),
        }
        # The slow ones take fewer turns.
        slow, missing = {}, {"ray.get": no_ray, "vineyard": no_vineyard}
        if ray:
            ray.ask("store", name, *given)
            slow["ray.get"] = lambda name=name, column=column: ray.ask("first_value", name, column)
        if vineyard:
            try:
                held = vineyard("store", name, *given)
            except AssertionError as error:
                # What a rival can't do is told, and doesn't end the comparison.
                missing["vineyard"] = str(error).splitlines()[-1].partition(":")[0]
            else:
                slow["vineyard"] = lambda held=held, column=column: vineyard(
                    "first_value", held, column
                )
        quick = took(sides, rounds=11)
        found[name] = quick | took(slow, rounds=3)
        measured(f"open to the first value, {TABLES[name][0]}", found[name], "ms")
        for side, why in missing.items():
            if why:
                unmeasured(f"open to the first value, {TABLES[name][0]}", side, why)
    median = {
        name: {side: each.median for side, each in sides.items()} for name, sides in found.items()
    }
    ten, wide, batches = (median[name] for name in ("ten", "wide", "batches"))
    micro = f"{ten['famfs'] * 1e6:.0f} us; opened again {ten['famfs, again'] * 1e6:.0f} us"
    goal(
        "P4 open a table of 10 columns, of pyarrow's memory map",
        ten["famfs"] / ten["pyarrow mmap"],
        "<= 0.25",
        f"{micro}; pyarrow {ten['pyarrow mmap'] * 1e6:.0f} us",
    )
    goal("P4 open one of 10,000 columns, of ours of 10", wide["famfs"] / ten["famfs"], "<= 1.5")
    rival = min(each for side, each in wide.items() if not side.startswith("famfs"))
    goal(
        "P4 open one of 10,000 columns, times faster than the best alternative",
        rival / wide["famfs"],
        ">= 20",
        f"{wide['famfs'] * 1e3:.2f} ms, {rival * 1e3:.1f} ms",
    )
    goal("P4 open one of 1,000 batches, of ours of one", batches["famfs"] / ten["famfs"], "<= 1.2")


@pytest.mark.parametrize("what", ["array", "table"])
def test_hand_over(goal, measured, unmeasured, volume, rivals, what):
    named = f"hand over 1 GiB, {what}"
    mnt = volume(2 * GIB)
    OURS.ask("publish", mnt, what, GIB, 1)
    ref = pickle.dumps(famfs.open(f"{mnt}/0").ref).hex()
    found = took({"famfs, local": lambda: OURS.ask("taken_over", ref)})
    # Mounted a second time, as if the caches of other hosts saw the volume too.
    source = next(each.source for each in famfs.mounts() if each.mountpoint == mnt)
    with tempfile.TemporaryDirectory() as other:
        famfs.mount(source, other, shared=True)
        try:
            found |= took({"famfs, shared": lambda: OURS.ask("opened", f"{other}/0")})
        finally:
            famfs.umount(other)
    ray, why = rivals("ray")
    with services.flight(what, GIB) as fetch:
        slow = {"Flight": fetch}
        if ray:
            slow["Ray, two nodes"] = lambda: ray.ask("hand_over", what, GIB)
        else:
            unmeasured(named, "Ray, two nodes", why)
        found |= took(slow, rounds=3)
    measured(named, found, "ms")
    ours, theirs = found["famfs, local"].median, found["famfs, shared"].median
    detail = f"{theirs * 1e3:.2f} ms in shared mode"
    goal(f"P5 {named}, local mode, ms", ours * 1e3, "<= 1", detail)
    rival = min(each.median for name, each in found.items() if not name.startswith("famfs"))
    goal(f"P5 {named}, times faster than Flight and Ray", rival / ours, ">= 1000")


def test_pickle_a_reference(goal, volume):
    mnt = volume(64 << 20)
    famfs.publish(small_table(10_000, 100), f"{mnt}/wide")
    dataset = famfs.open(f"{mnt}/wide")
    part = dataset[10:90, [f"c{i}" for i in range(100, 9_000)]]
    for name, thing in (("Ref", dataset.ref), ("Dataset", dataset), ("selection", part)):
        least = min(timeit.repeat(lambda thing=thing: pickle.dumps(thing), number=1, repeat=300))
        goal(f"P8 pickle a {name}, us", least * 1e6, "<= 25")
        goal(f"P8 pickle of a {name}, bytes", len(pickle.dumps(thing)), "<= 256")
