"""The module on each kernel and each kind of device, by a client of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from conftest import MNT, WAYS, Way

if TYPE_CHECKING:
    from conftest import Lab

from pathlib import Path

CHECKS = [
    line.removeprefix("def ").partition("(")[0]
    for line in (Path(__file__).parent / "guest_side" / "checks.py").read_text().splitlines()
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
