"""Memory errors, and devices that go away under a mount."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from conftest import Way

if TYPE_CHECKING:
    from conftest import Lab

POISON = [Way("6.12", "pmem"), Way("7", "pmem"), Way("7", "fsdev"), Way("6.12", "range")]
UNBIND = [Way("6.12", "pmem"), Way("7", "pmem"), Way("7", "fsdev")]


@pytest.mark.parametrize("way", POISON, ids=str)
def test_a_bad_page_is_kept_away_from_its_users_alone(lab: Lab, way: Way) -> None:
    lab.check(way, "ras", "check_poison")


@pytest.mark.parametrize("way", UNBIND, ids=str)
def test_a_device_that_goes_away(lab: Lab, way: Way) -> None:
    lab.check(way, "ras", "check_unbind")
