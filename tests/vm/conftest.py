"""Guests for the tests: each kind is started once, and again after it was broken."""

from __future__ import annotations

import os
import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from lab import builder, kernels
from lab.archive import run
from lab.guest import COMPLAINTS, Guest, SharedMemory, take_along

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).resolve().parent
TOP = HERE.parent.parent
MNT = "/mnt/famfs"


@dataclass(frozen=True)
class Way:
    """A kernel, and the way it reaches the shared memory."""

    series: str
    #: ``pmem``, ``fsdev``, ``range``, or ``devdax`` for the library way.
    device: str

    def __str__(self) -> str:
        return f"{self.series}-{self.device}"

    @property
    def memory(self) -> str:
        """How the guest's memory map shows the shared part."""
        if self.device == "pmem":
            return "pmem"
        # 6.1 has the range from its command line, later kernels under a device that is unbound.
        return "reserved" if self.series == "6.1" else "dax"

    @property
    def name(self) -> str:
        """Its name below /sys/fs/famfs."""
        names = {"pmem": "pmem0", "range": "range-0x40000000+0x20000000"}
        return names.get(self.device, "dax0.0")

    @property
    def mount(self) -> str:
        """The command that mounts it, less the mount point."""
        return {
            "pmem": "mount -t famfs /dev/pmem0",
            "fsdev": "mount -t famfs /dev/dax0.0",
            "range": "mount -t famfs -o range=0x40000000+0x20000000 none",
            "devdax": "famfs mount --library /dev/dax0.0",
        }[self.device]

    @property
    def prepare(self) -> str:
        """What makes the device ready."""
        dax = "/sys/bus/dax/drivers"
        if self.device == "pmem":
            return "modprobe -a nd_e820 nd_pmem"
        if self.memory == "reserved":
            return "true"
        bound = f"{dax}/device_dax/dax0.0"
        unbind = (
            "modprobe -a dax_hmem device_dax; "
            f"[ ! -e {bound} ] || echo dax0.0 > {dax}/device_dax/unbind"
        )
        if self.device == "range":
            return unbind
        driver = "fsdev_dax" if self.device == "fsdev" else "device_dax"
        return f"{unbind}; modprobe {driver}; echo dax0.0 > {dax}/{driver}/new_id; sleep 0.2"


WAYS = [
    Way("6.1", "pmem"),
    Way("6.12", "pmem"),
    Way("7", "pmem"),
    Way("7", "fsdev"),
    Way("6.1", "range"),
    Way("6.12", "range"),
    Way("7", "range"),
]


def programs() -> list[Path]:
    """Build the famfs command and an example, and say where they are."""
    target = Path(os.environ.get("CARGO_TARGET_DIR", TOP / "target"))
    run("cargo", "build", "-q", "-p", "famfs-cli", cwd=TOP)
    run("cargo", "build", "-q", "-p", "famfs", "--example", "hand_over", cwd=TOP)
    return [target / "debug" / "famfs", target / "debug" / "examples" / "hand_over"]


def wheel(folder: Path) -> Path:
    """Build the package as pip would install it."""
    maturin = Path(sys.executable).with_name("maturin")
    run(maturin, "build", "-q", "--auditwheel=skip", "--interpreter", sys.executable,
        "--out", folder, cwd=TOP)  # fmt: skip
    [made] = folder.glob("*.whl")
    return made


class Lab:
    """Guests by kind, and what they see of the host."""

    def __init__(self, share: Path) -> None:
        self.share = share
        # Users of the guests look into it too.
        share.chmod(0o755)
        self._guests: dict[Way, tuple[Guest, SharedMemory]] = {}
        take_along(share)
        (share / "bin").mkdir()
        for path in programs():
            shutil.copy(path, share / "bin")
        shutil.unpack_archive(wheel(share), share / "python", "zip")

    def module(self, series: str) -> str:
        """The path of the module for a kernel, as guests see it."""
        kernel = kernels.kernel(series)
        shutil.copy(builder.build(kernel), self.share / f"famfs-{series}.ko")
        return f"/host/famfs-{series}.ko"

    def start(self, way: Way, memory: SharedMemory, machine: int = 1) -> Guest:
        """Start a guest with the module loaded and its device ready."""
        module = self.module(way.series)
        guest = Guest(kernels.kernel(way.series), memory, way.memory, self.share, f"{machine:032x}")
        guest.run(f"mkdir -p {MNT}; echo {way.mount} > /run/mount-command; {way.prepare}")
        guest.run(f"insmod {module}")
        return guest

    def guest(self, way: Way) -> Guest:
        """The guest of this kind."""
        if way not in self._guests:
            # One at a time in each process: tests come sorted by it.
            for other in list(self._guests):
                self.drop(other)
            memory = SharedMemory()
            self._guests[way] = self.start(way, memory), memory
        return self._guests[way][0]

    def check(self, way: Way, module: str, name: str) -> None:
        """Run a check of the guest's side on a fresh mount, which is taken away after it.

        All in one go, as it takes long to start a program in a guest.
        """
        output = self.guest(way).run(
            f"set -e; {way.mount} {MNT}; python3 /host/run.py {module} {name} {MNT} {way.name}; "
            f"umount {MNT}; {COMPLAINTS}"
        )
        assert output == "passed\n"

    def last_words(self) -> list[tuple[str, str]]:
        """What the guests printed last."""
        return [
            (f"console of {way}", guest.last_words()) for way, (guest, _) in self._guests.items()
        ]

    def drop(self, way: Way) -> None:
        """End a guest: it is broken, or no longer wanted."""
        guest, memory = self._guests.pop(way)
        guest.close()
        memory.close()

    def close(self) -> None:
        """End them all."""
        for way in list(self._guests):
            self.drop(way)


#: How the parameters of tests that share a guest begin, or two hosts.
GUESTS = re.compile(r"\[(?P<way>[\d.]+-[a-z]+)(?P<other>\+[\d.]+-[a-z]+)?")


def group(test: str) -> str:
    """What a test shares with others: guests, or those of its module."""
    found = GUESTS.search(test)
    return found.group() if found else test.partition("::")[0]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Tests of one guest stay in one process, in their order: it is started once."""
    from xdist.scheduler import LoadScopeScheduling

    class ByGuest(LoadScopeScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            return group(nodeid)

    return ByGuest(config, log)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """End the guests of a test that failed: the next starts with fresh ones."""
    report = yield
    if report.failed and (lab := item.funcargs.get("lab")):
        report.sections.extend(lab.last_words())
        lab.close()
    return report


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """All guests."""
    found = Lab(tmp_path_factory.mktemp("share"))
    yield found
    found.close()
