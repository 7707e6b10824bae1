"""The command's own tools for the system: `famfs kmod` and `famfs dax`, on real kernels."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from lab import builder, kernels
from lab.archive import cache, run
from lab.guest import SHARED_AT

from conftest import MNT, Way, programs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab.guest import Guest

    from conftest import Lab

WAYS = [Way("6.12", "devdax"), Way("7", "devdax")]
SIZE = 512 << 20
DAX = "/sys/bus/dax/drivers"
REMEDY = "daxctl reconfigure-device --mode=devdax --force dax0.0"


@pytest.fixture(scope="module", params=WAYS, ids=str)
def way(request: pytest.FixtureRequest) -> Way:
    """Which guest; tests of one come one after the other."""
    return request.param


def has_fsdev(way: Way) -> bool:
    """Whether the kernel hands out character devices to file systems."""
    return way.series == "7"


def device(guest: Guest) -> dict[str, Any]:
    """What is said of the one device that there is."""
    [found] = json.loads(guest.run("famfs dax list --json"))
    return found


def refused(guest: Guest, command: str) -> str:
    """Run what must fail with one line."""
    status, output = guest.attempt(command)
    assert status == 1, output
    assert output.startswith("famfs: "), output
    return output


@pytest.fixture
def guest(lab: Lab, way: Way) -> Iterator[Guest]:
    """A guest whose device programs can map, before and after."""
    found = lab.guest(way)
    found.run("famfs dax bind dax0.0 device_dax")
    yield found
    found.run("famfs dax bind dax0.0 device_dax")
    assert found.complaints() == ""


def test_a_device_is_listed_as_the_kernel_has_it(guest: Guest) -> None:
    assert device(guest) == {
        "name": "dax0.0",
        "path": "/dev/dax0.0",
        "size": SIZE,
        "start": SHARED_AT,
        "numa_node": 0,
        "target_node": 0,
        "device": [int(n) for n in guest.run("cat /sys/bus/dax/devices/dax0.0/dev").split(":")],
        "driver": "device_dax",
        "system_ram": "no",
        "mountpoints": [],
    }
    table = guest.run("famfs dax list").splitlines()
    assert table[1].split()[:4] == ["/dev/dax0.0", "512.0", "MiB", "device_dax"]


def test_another_driver_and_back(guest: Guest, way: Way) -> None:
    if not has_fsdev(way):
        assert "from Linux 7.0 on" in refused(guest, "famfs dax bind dax0.0 fsdev_dax")
        assert device(guest)["driver"] == "device_dax"
        return
    assert "it was bound to device_dax" in guest.run("famfs dax bind /dev/dax0.0 fsdev_dax")
    assert device(guest)["driver"] == "fsdev_dax"
    assert "bound to fsdev_dax already" in guest.run("famfs dax bind dax0.0")
    # No program can map it now; what can is named.
    assert "famfs dax bind dax0.0 device_dax" in refused(guest, "famfs mkfs /dev/dax0.0")
    guest.run("famfs dax bind dax0.0 device_dax; famfs mkfs --force /dev/dax0.0")
    assert device(guest)["driver"] == "device_dax"


def test_no_driver_at_all(guest: Guest) -> None:
    guest.run("famfs dax unbind dax0.0")
    assert device(guest)["driver"] is None
    assert "famfs dax bind dax0.0 device_dax" in refused(guest, "famfs mkfs /dev/dax0.0")
    assert "no driver already" in guest.run("famfs dax unbind /dev/dax0.0")


def test_a_mount_borrows_it(guest: Guest, way: Way, lab: Lab) -> None:
    guest.run(f"[ -e /sys/module/famfs ] || insmod {lab.module(way.series)}")
    guest.run("famfs mkfs --force /dev/dax0.0")
    if not has_fsdev(way):
        assert "from Linux 7.0 on" in refused(guest, f"famfs mount --kernel /dev/dax0.0 {MNT}")
        assert device(guest)["driver"] == "device_dax"
        return
    guest.run(f"famfs mount --kernel /dev/dax0.0 {MNT}; famfs creat -s 4M {MNT}/file")
    assert device(guest)["driver"] == "fsdev_dax"
    assert device(guest)["mountpoints"] == [MNT]
    assert f"famfs umount {MNT}" in refused(guest, "famfs dax bind dax0.0 device_dax")
    guest.run(f"famfs umount {MNT}")
    assert device(guest)["driver"] == "device_dax"
    # A mount that fails gives it back too; and one that finds it bound leaves it so.
    guest.python(
        "import mmap; f = open('/dev/dax0.0', 'r+b'); m = mmap.mmap(f.fileno(), 2 << 20); "
        "m[:8] = bytes(8)"
    )
    assert "not a volume" in refused(guest, f"famfs mount --kernel /dev/dax0.0 {MNT}")
    assert device(guest)["driver"] == "device_dax"
    guest.run("famfs mkfs --force /dev/dax0.0; famfs dax bind dax0.0")
    guest.run(f"famfs mount --kernel /dev/dax0.0 {MNT}; famfs umount {MNT}")
    assert device(guest)["driver"] == "fsdev_dax"


def test_who_has_it_open_keeps_it(guest: Guest) -> None:
    output = refused(
        guest,
        "sleep 100 3<>/dev/dax0.0 & sleep 0.2; famfs dax unbind dax0.0; s=$?; kill $!; exit $s",
    )
    assert "(sleep) has it open" in output
    assert device(guest)["driver"] == "device_dax"


def test_a_library_mount_keeps_it(guest: Guest, lab: Lab, way: Way) -> None:
    """Nobody has the device open then; a line in a table says that it is wanted."""
    guest.run(f"famfs mkfs --force /dev/dax0.0; famfs mount --library /dev/dax0.0 {MNT}")
    for command in ("unbind dax0.0", "bind /dev/dax0.0 fsdev_dax"):
        assert f"famfs umount {MNT}" in refused(guest, f"famfs dax {command}")
    # Nor does the kernel get it meanwhile, by whatever name.
    guest.run(f"[ -e /sys/module/famfs ] || insmod {lab.module(way.series)}; mkdir -p /tmp/other")
    output = refused(guest, "famfs mount --kernel /dev/dax0.0 /tmp/other")
    assert f"famfs umount {MNT}" in output
    range_ = f"{SHARED_AT:#x}+{SIZE:#x}"
    output = refused(guest, f"famfs mount --kernel --range {range_} none /tmp/other")
    assert "famfs dax unbind" in output
    guest.run(f"famfs umount {MNT}")
    assert device(guest)["driver"] == "device_dax"


def test_a_signal_while_it_is_bound_leaves_things_as_they_were(guest: Guest, way: Way) -> None:
    """The node is kept away, so that the command waits for it."""
    to = "fsdev_dax" if has_fsdev(way) else "device_dax"
    before = "device_dax"
    if to == before:
        guest.run("famfs dax unbind dax0.0")
        before = None
    signal, number = ("INT", 2) if has_fsdev(way) else ("TERM", 15)
    stop = f"timeout --preserve-status -s {signal} 1.5 famfs dax bind /dev/dax0.0 {to}"
    output = guest.run(f"mv /dev/dax0.0 /dev/away; {stop}; echo $?; mv /dev/away /dev/dax0.0")
    assert output.splitlines()[-1] == str(128 + number)
    assert device(guest)["driver"] == before


def test_the_module_is_loaded_and_unloaded(guest: Guest, lab: Lab, way: Way) -> None:
    def status() -> dict[str, Any]:
        return json.loads(guest.run("famfs kmod status --json"))

    release = kernels.kernel(way.series).release
    found = status()
    assert (found["kernel"], found["loaded"], found["kabi"]) == (release, True, 43)
    assert (found["headers"]["present"], found["modules"], found["mounts"]) == (False, [], [])
    assert "was loaded already" in guest.run("famfs kmod load")

    range_ = f"{SHARED_AT:#x}+{SIZE:#x}"
    if has_fsdev(way):
        bind, mount = "famfs dax bind dax0.0", "famfs mount --kernel /dev/dax0.0"
    else:
        bind, mount = "famfs dax unbind dax0.0", f"famfs mount --kernel --range {range_} none"
    guest.run(f"famfs mkfs --force /dev/dax0.0; {bind}; {mount} {MNT}")
    assert f"famfs umount {MNT}" in refused(guest, "famfs kmod unload")
    [mounted] = status()["mounts"]
    assert mounted["mountpoint"] == MNT
    if has_fsdev(way):
        assert device(guest)["mountpoints"] == [MNT]
        assert f"famfs umount {MNT}" in refused(guest, "famfs dax unbind dax0.0")
    guest.run(f"famfs umount {MNT}; famfs kmod unload")
    assert not status()["loaded"]
    assert "was not loaded" in guest.run("famfs kmod unload")
    assert "famfs kmod build" in refused(guest, "famfs kmod load")

    other = lab.module("6.12" if has_fsdev(way) else "7")
    output = refused(guest, f"famfs kmod load --module {other}")
    assert "it was built for" in output
    assert "famfs kmod build" in output
    assert "interface 43" in guest.run(f"famfs kmod load --module {lab.module(way.series)}")
    # As `famfs kmod build` leaves it, with and without modprobe's lists.
    updates = f"/lib/modules/{release}/updates"
    guest.run(
        f"famfs kmod unload; mkdir -p {updates}; cp {lab.module(way.series)} {updates}/famfs.ko"
    )
    guest.run("famfs kmod load; famfs kmod unload; depmod; famfs kmod load")
    [module] = status()["modules"]
    assert module["path"] == f"{updates}/famfs.ko"
    assert module["for_this_kernel"]
    guest.run(f"rm {updates}/famfs.ko; depmod")


def test_memory_of_the_system_is_refused(lab: Lab, way: Way) -> None:
    guest = lab.guest(way)
    guest.run(
        "modprobe kmem; famfs dax unbind dax0.0; "
        f"echo dax0.0 > {DAX}/kmem/bind || echo dax0.0 > {DAX}/kmem/new_id"
    )
    # Debian's kernels make it RAM at once.
    found = device(guest)
    assert (found["driver"], found["system_ram"]) == ("kmem", "online")
    assert REMEDY in found["error"]
    commands = [
        "mkfs --force /dev/dax0.0", "dax bind dax0.0 device_dax", "dax unbind dax0.0",
        f"mount --kernel /dev/dax0.0 {MNT}", f"mount --library /dev/dax0.0 {MNT}",
    ]  # fmt: skip
    for command in commands:
        output = refused(guest, f"famfs {command}")
        assert "the system uses it as its RAM" in output
        assert "daxctl offline-memory dax0.0" in output
        assert REMEDY in output
    assert guest.complaints() == ""
    # The remedy is one.
    guest.run("daxctl offline-memory dax0.0")
    assert device(guest)["system_ram"] == "offline"
    assert "was handed to the system" in refused(guest, "famfs mkfs --force /dev/dax0.0")
    guest.run(REMEDY)
    guest.run("famfs mkfs --force /dev/dax0.0")
    assert device(guest)["system_ram"] == "no"
    lab.drop(way)


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder in the cache, with the command in it: there the builders see both."""
    with tempfile.TemporaryDirectory(prefix="tools-", dir=cache()) as folder:
        shutil.copy(programs()[0], folder)
        yield Path(folder)


def test_the_command_builds_the_module(place: Path) -> None:
    kernel = kernels.kernel("7")
    command = (place / "famfs", "kmod", "build", "--headers", kernel.headers)
    printed = builder.run_inside(kernel, *command, "--output", place / "out")
    assert f"{place}/out/famfs.ko: built for kernel {kernel.release}" in printed
    facts = run("modinfo", place / "out/famfs.ko")
    assert f"vermagic:       {kernel.release} " in facts
    assert [path.name for path in (place / "out").iterdir()] == ["famfs.ko"]


def test_the_command_installs_what_it_builds(place: Path) -> None:
    kernel = kernels.kernel("6.12")
    modules = f"/usr/lib/modules/{kernel.release}"
    script = (
        f"set -e; {place}/famfs kmod build --headers {kernel.headers}; find {modules} -type f; "
        f"grep famfs {modules}/modules.dep; grep fs-famfs {modules}/modules.alias; "
        f"modinfo -k {kernel.release} -F vermagic famfs"
    )
    printed = builder.run_inside(kernel, "sh", "-c", script, hidden=("/usr/lib/modules",))
    assert f"/lib/modules/{kernel.release}/updates/famfs.ko: built and installed" in printed
    assert f"{modules}/updates/famfs.ko\n" in printed
    assert "\nupdates/famfs.ko:" in printed
    assert "\nalias fs-famfs famfs" in printed
    assert f"\n{kernel.release} SMP" in printed


def test_the_command_hands_it_to_dkms(place: Path) -> None:
    kernel = kernels.kernel("6.12")
    build = f"{place}/famfs kmod build --dkms --headers {kernel.headers} --kernel {kernel.release}"
    made = f"mkdir /usr/lib/modules/{kernel.release}"
    found = "find /usr/lib/modules /usr/src -name 'famfs*'"
    script = f"set -e; {made}; {build}; dkms status; {build}; {found}"
    hidden = ("/usr/lib/modules", "/usr/src", "/var/lib/dkms")
    printed = builder.run_inside(kernel, "sh", "-c", script, hidden=hidden)
    assert printed.count("handed to DKMS, built and installed") == 2
    assert f"famfs/0.1.0, {kernel.release}, x86_64: installed" in printed
    assert f"/usr/lib/modules/{kernel.release}/updates/dkms/famfs.ko" in printed
    assert "/usr/src/famfs-0.1.0/famfs_super.c" in printed
