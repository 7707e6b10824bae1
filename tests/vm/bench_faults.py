"""Page faults of famfs beside those of xfs with dax, on one pmem device in one guest.

A guest is run so that its clock counts instructions; what a pass over a mapping takes is exact
then, but for the kernel's own clock, which the least of several rounds leaves out. The fault path
is the first pass over a fresh mapping less the second, which has all pages. How long it takes is
asked of another guest, where clocks tell the time: under emulation that says little, and has no
goal.

Names of series on the command line choose kernels.

Prints figures in the form that scripts/bench.py reads.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from lab import builder, kernels
from lab.archive import LabError
from lab.guest import COMPLAINTS, COUNTING, MIB, Guest, SharedMemory, take_along

MNT = "/mnt/bench"
FILE = f"{MNT}/file"
SIZE = 256 * MIB
#: Room for xfs, which wants two groups, to have the file in one extent.
DEVICE = 1024 * MIB
HUGE = 2 * MIB
SERIES = ("6.1", "6.12", "7")
#: Each begins with inodes that no process has touched; the first round of a mount is the cold one.
MOUNTS = 3
ROUNDS = 5
#: Where a pass by 2 MiB is timed: it takes a millisecond, and other programs come in between.
TIMED_ROUNDS = 60
#: The ways to touch, and how many faults there should be at least, were all pages as large as can
#: be: both sides are held to it, so that no rival is worse than it must be.
MODES = {"read": SIZE // HUGE, "write": SIZE // HUGE, "single": SIZE // 4096}

FILL = f"dd if=/dev/zero of={FILE} bs=2M count={SIZE // HUGE} conv=notrunc status=none"
PUBLISH = f'import kapi; kapi.publish("{MNT}", "{FILE}", {SIZE}, [({16 * MIB}, {SIZE})])'


@dataclass(frozen=True)
class Side:
    """A file system: commands that make the file, and that mount it when it is there."""

    make: str
    mount: str


FAMFS_MOUNT = f"mount -t famfs /dev/pmem0 {MNT}; (cd /host; python3 -c '{PUBLISH}')"
XFS_MOUNT = f"mount -o dax=always,noatime /dev/pmem0 {MNT}"
SIDES = {
    "famfs": Side(f"{FAMFS_MOUNT}; {FILL}", FAMFS_MOUNT),
    # As good as it gets: 2 MiB alignment of all that is allocated, nothing shared between files,
    # one extent, and that written, so that no fault has to convert or zero anything.
    "xfs": Side(
        "mkfs.xfs -q -f -m reflink=0,rmapbt=0 -d su=2m,sw=1,agcount=2 /dev/pmem0; "
        f"{XFS_MOUNT}; xfs_io -f -c 'extsize 2m' -c 'falloc 0 {SIZE}' {FILE}; {FILL}; sync; "
        f"xfs_io -r -c statx {FILE} | grep -q 'nextents = 1$'",
        XFS_MOUNT,
    ),
}


@dataclass(frozen=True)
class Passes:
    """The least of what several rounds took."""

    faults: int
    #: Of a first pass over the first mapping since the mount, over a later one, and of a second
    #: pass: ticks, which are instructions or nothing that means anything.
    cold: int
    first: int
    again: int
    #: Of a first pass over a later mapping, nanoseconds.
    time: int

    @property
    def paths(self) -> dict[str, int]:
        """The fault path alone, by whether the file had been mapped before."""
        return {"cold": self.cold - self.again, "warm": self.first - self.again}


def passes(outputs: list[str], scale: int) -> Passes:
    """Read what the program printed on each mount, and find the least.

    Raises:
        LabError: A million instructions are not the ticks that they should be.
    """
    rounds: list[list[list[int]]] = []
    for output in outputs:
        lines = [line.split() for line in output.splitlines()]
        ticks = int(lines[0][1])
        if scale and abs(ticks - scale) > scale // 10_000:
            raise LabError(f"a million instructions are {ticks} ticks and not {scale}")
        rounds.append([[int(word) for word in words[1:]] for words in lines[1:]])
    later = [each for mount in rounds for each in mount[1:]]
    every = [each for mount in rounds for each in mount]
    return Passes(
        faults=max(minor + major for minor, major, *_ in every),
        cold=min(mount[0][2] for mount in rounds),
        first=min(each[2] for each in later),
        again=min(each[3] for each in every),
        time=min(each[4] for each in later),
    )


def measure(series: str, share: Path, *, count: bool) -> dict[tuple[str, str], Passes]:
    """Touch files of both sides in one guest, every way there is."""
    memory = SharedMemory(DEVICE)
    found = {}
    try:
        extra = COUNTING if count else ()
        with Guest(kernels.kernel(series), memory, "pmem", share, extra=extra) as guest:
            guest.run(
                f"set -e; modprobe -a nd_e820 nd_pmem xfs; insmod /host/famfs-{series}.ko; "
                f"mkdir -p {MNT}"
            )
            for name, side in SIDES.items():
                guest.run(f"set -e; {side.make}; umount {MNT}")
                for mode in MODES:
                    rounds = ROUNDS if count or mode == "single" else TIMED_ROUNDS
                    touch = f"/host/touch {FILE} {mode} {rounds}"
                    mounted = f"set -e; {side.mount}; {touch}; umount {MNT}"
                    outputs = [guest.run(mounted, limit=300) for _ in range(MOUNTS)]
                    found[name, mode] = passes(outputs, 1_000_000 if count else 0)
            complaints = guest.run(COMPLAINTS)
            if complaints:
                raise LabError(f"{series}: {complaints}")
    finally:
        memory.close()
    return found


def compare(series: str, mode: str, counted: list[Passes], timed: list[Passes]) -> None:
    """Print the figures of one way to touch: of ours and the rival's."""
    ours, rival = counted
    least = MODES[mode]
    if rival.faults != least:
        raise LabError(f"{series} {mode}: xfs takes {rival.faults} faults, and could {least}")

    def goal(what: str, a: int, b: int, detail: str) -> None:
        print(f"goal | vm {series} {mode}: {what} | {a / b:.4f} | <= 1 | {detail}", flush=True)

    goal("faults, of xfs's", ours.faults, rival.faults, f"{ours.faults} and {rival.faults}")
    for state, path in ours.paths.items():
        other = rival.paths[state]
        detail = f"{path / ours.faults:.0f} and {other / rival.faults:.0f} a fault"
        if state == "warm":
            time = timed[0].time / timed[1].time
            detail += f"; the pass's time under emulation {time:.2f} of xfs's"
        goal(f"{state} fault path's instructions", path, other, detail)
    goal("instructions of a second pass", ours.again, rival.again,
         f"{ours.again} and {rival.again}")  # fmt: skip


def main() -> int:
    """Measure on each kernel, or on those named."""
    with tempfile.TemporaryDirectory(prefix="famfs-bench-") as folder:
        share = Path(folder)
        take_along(share)
        for series in sys.argv[1:] or SERIES:
            module = builder.build(kernels.kernel(series))
            shutil.copy(module, share / f"famfs-{series}.ko")
            counted = measure(series, share, count=True)
            timed = measure(series, share, count=False)
            for mode in MODES:
                both = [[found[name, mode] for name in SIDES] for found in (counted, timed)]
                compare(series, mode, *both)
    return 0


if __name__ == "__main__":
    sys.exit(main())
