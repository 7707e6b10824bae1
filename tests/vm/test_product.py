"""The package under a kernel mount: for root, and for users whom a follower serves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from lab.guest import Guest, SharedMemory

from conftest import MNT, Way

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Lab

WAY = Way("7", "pmem")
ANN = "setpriv --reuid 1000 --regid 1000 --groups 990"


@pytest.fixture(scope="module")
def guest(lab: Lab) -> Iterator[Guest]:
    """A host with a mount that is followed."""
    lab.close()
    memory = SharedMemory()
    guest = lab.start(WAY, memory)
    guest.run(
        f"famfs mkfs --force /dev/pmem0 && famfs mount --kernel /dev/pmem0 {MNT}; "
        f"famfs mkdir -m 1777 {MNT}/pub; "
        f"famfs logplay --follow {MNT} > /tmp/follower 2>&1 & "
        "for n in $(seq 50); do ls /run/famfs/follow/*.socket && break; sleep 0.1; done"
    )
    yield guest
    guest.close()
    memory.close()


@pytest.mark.parametrize("user", ["", ANN], ids=["root", "user"])
@pytest.mark.parametrize("check", ["a_stream", "in_place", "a_transaction", "by_reference"])
def test_the_package(guest: Guest, user: str, check: str) -> None:
    output = guest.run(f"{user} python3 /host/product.py check_{check} {MNT}/pub")
    assert output.splitlines()[-1] == "passed", output
    assert guest.complaints() == ""
