"""The module on each kernel and each kind of device, by a client of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from lab import kernels
from lab.guest import RAW_PMEM, Guest, SharedMemory

from conftest import MNT, WAYS, Way

if TYPE_CHECKING:
    from conftest import Lab

from pathlib import Path

CHECKS = [
    line.removeprefix("def ").partition("(")[0]
    for line in (Path(__file__).parent / "guest_side" / "checks.py").read_text().splitlines()
    if line.startswith("def check_")
]
WRONG = [
    line.removeprefix("def ").partition("(")[0]
    for line in (Path(__file__).parent / "guest_side" / "wrong.py").read_text().splitlines()
    if line.startswith("def check_")
]
#: On these everything is tried; on the others, which share all code with them, what shows that
#: they are mounted and answer.
WHOLE = {"6.12-pmem", "7-pmem", "7-fsdev", "6.12-range"}
SHORT = {
    "check_it_is_famfs",
    "check_meta_files_as_the_reference_makes_them",
    "check_bytes_lie_where_the_map_says",
    "check_faults_are_of_two_mebibytes",
    "check_names_pass_in_one_step",
    "check_users_install_nothing",
}
CASES = [
    pytest.param(way, check, id=f"{way}-{check.removeprefix('check_')}")
    for way in WAYS
    for check in CHECKS
    if str(way) in WHOLE or check in SHORT
]


@pytest.mark.parametrize(("way", "check"), CASES)
def test_on_a_fresh_mount(lab: Lab, way: Way, check: str) -> None:
    lab.check(way, "checks", check)


@pytest.mark.parametrize(
    ("way", "check"),
    [
        pytest.param(way, check, id=f"{way}-{check.removeprefix('check_')}")
        for way in WAYS
        for check in WRONG
        if str(way) in WHOLE
    ],
)
def test_wrong_input(lab: Lab, way: Way, check: str) -> None:
    lab.check(way, "wrong", check)


@pytest.mark.parametrize("way", [way for way in WAYS if str(way) in WHOLE], ids=str)
def test_tracepoints_tell_what_is_done(lab: Lab, way: Way) -> None:
    guest = lab.guest(way)
    tracing = "/sys/kernel/tracing"
    trace = guest.run(
        f"set -e; [ -e {tracing}/trace ] || mount -t tracefs none {tracing}; "
        f"echo 1 > {tracing}/events/famfs/enable; {way.mount} {MNT}; "
        "PYTHONPATH=/host python3 -c 'import kapi; "
        f'kapi.publish("{MNT}", "{MNT}/file", kapi.UNIT, [(32 << 20, kapi.UNIT)], fill=b"x")\'; '
        f"umount {MNT}; echo 0 > {tracing}/events/famfs/enable; cat {tracing}/trace; "
        f"echo > {tracing}/trace"
    )
    assert "famfs_install:" in trace
    assert "famfs_fault:" in trace


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_unload_and_load_again(lab: Lab, way: Way) -> None:
    guest = lab.guest(way)
    for _ in range(2):
        guest.run(f"{way.mount} {MNT}")
        status, output = guest.attempt("rmmod famfs")
        assert status != 0
        assert "in use" in output
        guest.run(f"umount {MNT}; rmmod famfs; insmod {lab.module(way.series)}")
    assert guest.complaints() == ""


@pytest.mark.parametrize("series", ["6.1", "6.12", "7"])
def test_devices_that_cannot_be_memory_for_files(lab: Lab, series: str) -> None:
    """A namespace without page structures, and a disk: refused, with what to do."""
    module, memory = lab.module(series), SharedMemory()
    with Guest(kernels.kernel(series), memory, "pmem", lab.share, extra=RAW_PMEM) as guest:
        guest.run(
            f"modprobe -a nfit nd_pmem nd_e820 brd; sleep 0.5; insmod {module}; mkdir -p {MNT}"
        )
        mode = guest.run("ndctl list -n namespace0.0 2> /dev/null | grep mode")
        assert '"mode":"raw"' in mode
        for device in ("/dev/pmem0", "/dev/ram0"):
            status, output = guest.attempt(f"famfs mount --kernel {device} {MNT}")
            assert status == 1
            assert "no page structures" in output
            assert "ndctl create-namespace" in output
        guest.run(f"famfs mkfs --force /dev/pmem1; famfs mount --kernel /dev/pmem1 {MNT}")
        guest.run(f"famfs umount {MNT}")
        assert guest.complaints() == ""
    memory.close()
