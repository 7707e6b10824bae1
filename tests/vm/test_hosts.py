"""Two hosts on one memory: what one publishes, the other has."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from lab.guest import COMPLAINTS, CommandError, Guest, SharedMemory

from conftest import MNT, Way

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Lab

#: Who publishes, and who joins: other kernels, other kinds of device, another way.
PAIRS = [
    (Way("6.12", "pmem"), Way("7", "fsdev")),
    (Way("7", "pmem"), Way("6.12", "pmem")),
    (Way("7", "pmem"), Way("6.12", "devdax")),
    (Way("7", "fsdev"), Way("7", "pmem")),
]
DEVICE = {"pmem": "/dev/pmem0", "fsdev": "/dev/dax0.0", "devdax": "/dev/dax0.0"}


@dataclass
class Hosts:
    """Two guests on one memory."""

    lab: Lab
    memory: SharedMemory
    ways: tuple[Way, Way]
    a: Guest
    b: Guest

    @property
    def by_kernel(self) -> bool:
        """Whether the second host has the volume by the kernel too."""
        return self.ways[1].device != "devdax"

    def mount(self, guest: Guest, way: Way) -> str:
        """Mount the volume by the project's own command."""
        how = "--library" if way.device == "devdax" else "--kernel"
        return guest.run(f"famfs mount {how} {DEVICE[way.device]} {MNT}")

    def follow(self) -> dict[str, object]:
        """Let the second host follow the log."""
        return json.loads(self.b.run(f"famfs logplay --json {MNT}"))

    def digest(self) -> str:
        """Of all bytes of the shared memory, as the machine below the guests has them."""
        with self.memory.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()


@pytest.fixture(scope="module", params=PAIRS, ids=lambda pair: f"{pair[0]}+{pair[1]}")
def hosts(lab: Lab, request: pytest.FixtureRequest) -> Iterator[Hosts]:
    """Both hosts, with a volume mounted on both before anything is published."""
    ways = request.param
    # Others would only take the processor's time.
    lab.close()
    memory = SharedMemory()
    a = lab.start(ways[0], memory, 1)
    b = lab.start(ways[1], memory, 2)
    found = Hosts(lab, memory, ways, a, b)
    try:
        # Programs can map the device still: it is bound for the mount.
        if ways[0].device == "fsdev":
            a.run("famfs dax bind dax0.0 device_dax")
        a.run(f"famfs mkfs {DEVICE[ways[0].device]}")
        found.mount(a, ways[0])
        found.mount(b, ways[1])
        yield found
    finally:
        a.close()
        b.close()
        memory.close()


@pytest.fixture(autouse=True)
def quiet(hosts: Hosts) -> Iterator[None]:
    """After each test neither kernel has anything to complain of."""
    yield
    for guest in (hosts.a, hosts.b):
        assert guest.complaints() == ""


PUBLISH = """
import famfs, pyarrow as pa, sys
table = pa.table({"number": range(300_000), "text": [f"row {n}" for n in range(300_000)]})
ref = famfs.publish(table, sys.argv[1], overwrite=len(sys.argv) > 2)
print(ref)
"""
READ = """
import famfs, sys
dataset = famfs.open(sys.argv[1])
table = dataset.to_arrow()
numbers = table.column("number").chunk(0)
print(table.num_rows, table.column("text")[299_999], sum(numbers.to_numpy()[::1000]))
print(all(not buffer.is_mutable for chunk in table.column("text").chunks
          for buffer in chunk.buffers() if buffer))
"""


def test_roles(hosts: Hosts) -> None:
    for guest, role in ((hosts.a, "master"), (hosts.b, "client")):
        (mount,) = json.loads(guest.run("famfs mounts -v --json"))
        assert mount["volume"]["role"] == role
        assert mount["volume"]["locality"] == "shared"


def test_a_table_is_read_on_the_other_host(hosts: Hosts) -> None:
    path = f"{MNT}/table"
    ref = hosts.a.python(PUBLISH, path).strip()
    expected = hosts.a.run(f"sha256sum < {path}")
    if hosts.by_kernel:
        # The name is the kernel's there, and it has not heard of it.
        assert hosts.b.run(f"ls {MNT}") == ""
        played = hosts.follow()
        assert played["kernel"]["files"] == 1
        assert hosts.b.run(f"sha256sum < {path}") == expected
        assert hosts.b.run(f"stat -c %a {path}") == "444\n"
        # Again, and nothing is left to be done.
        assert hosts.follow()["kernel"] == {
            "files": 0, "directories": 0, "retired": 0, "unchanged": 1, "elsewhere": 0,
        }  # fmt: skip
    assert hosts.b.run(f"famfs cat {path} | sha256sum") == expected
    for name in (path, ref):
        output = hosts.b.python(READ, name).split("\n")
        assert output[0] == f"300000 row 299999 {sum(range(0, 300_000, 1000))}"
        assert output[1] == "True"
    # What a stock pyarrow reads on the publisher's host is an Arrow file.
    program = (
        "import pyarrow as pa, sys; print(pa.ipc.open_file(pa.memory_map(sys.argv[1])).schema)"
    )
    assert "number: int64" in hosts.a.python(program, path)


def test_replaced_and_removed(hosts: Hosts) -> None:
    name = f"{MNT}/name"
    hosts.a.run(f"echo one > /tmp/one; famfs cp /tmp/one {name}")
    hosts.follow()
    if hosts.by_kernel:
        # Somebody has the file open all the time.
        wait = "while [ ! -e /tmp/go ]; do sleep 0.1; done"
        hosts.b.run(f"(exec 5< {name}; {wait}; cat <&5 > /tmp/held) > /dev/null 2>&1 & sleep 0.3")
    assert hosts.b.run(f"famfs cat {name}") == "one\n"
    hosts.a.run(f"echo two > /tmp/two; famfs cp --force /tmp/two {name}")
    assert hosts.a.run(f"cat {name}") == "two\n"
    slots = [
        version["slot"] for version in json.loads(hosts.a.run(f"famfs versions --json {name}"))
    ]
    hosts.follow()
    assert hosts.b.run(f"famfs cat {name}") == "two\n"
    if hosts.by_kernel:
        old = f"{MNT}/.meta/versions/{slots[1]}"
        shown = hosts.b.run(f"touch /tmp/go; sleep 0.5; cat /tmp/held {name} {old}")
        assert shown == "one\ntwo\none\n"
    hosts.a.run(f"famfs rm {name}")
    assert hosts.a.attempt(f"cat {name}")[0] == 1
    hosts.follow()
    status, output = hosts.b.attempt(f"famfs cat {name}")
    assert (status, "no such file" in output) == (1, True)
    if hosts.by_kernel:
        assert "name" not in hosts.b.run(f"ls {MNT}")


def test_directories_and_many_files(hosts: Hosts) -> None:
    make = "for n in $(seq 20); do echo $n > below/$n; done"
    hosts.a.run(
        f"famfs mkdir -p {MNT}/dir/sub; mkdir -p /tmp/tree/below; cd /tmp/tree; {make}; "
        f"famfs cp -r . {MNT}/dir/sub"
    )
    hosts.follow()
    listing = f"famfs ls -R --json {MNT}/dir"
    assert hosts.a.run(listing) == hosts.b.run(listing)
    if hosts.by_kernel:
        sums = f"cd {MNT}/dir && find . -type f | sort | xargs sha256sum"
        assert hosts.a.run(sums) == hosts.b.run(sums)


def test_only_the_master_publishes(hosts: Hosts) -> None:
    with pytest.raises(CommandError) as refused:
        hosts.b.run(f"famfs creat -s 4096 {MNT}/mine")
    assert "is not the volume's master" in refused.value.output
    assert "mine" not in hosts.a.run(f"famfs ls {MNT}")
    if hosts.by_kernel:
        # Not even the owner of a file changes a byte of it there.
        owner = "setpriv --reuid 1000 --regid 1000 --clear-groups"
        hosts.a.run(f"echo theirs > /tmp/owned; famfs cp --uid 1000 -m 644 /tmp/owned {MNT}/owned")
        hosts.follow()
        status, output = hosts.b.attempt(f"{owner} sh -c 'echo x >> {MNT}/owned'")
        assert (status != 0, "ermission denied" in output) == (True, True), output
        assert hosts.b.run(f"cat {MNT}/owned") == "theirs\n"


def test_users_are_told_what_it_takes(hosts: Hosts) -> None:
    """Where nobody follows the log only root places files; the error says so."""
    status, output = hosts.a.attempt(
        f"chmod 777 {MNT}; setpriv --reuid 1000 --regid 1000 --clear-groups "
        f"famfs creat -s 4096 {MNT}/theirs"
    )
    assert status == 1
    assert "placing files takes root" in output
    assert "theirs" not in hosts.a.run(f"ls {MNT}; famfs ls {MNT}")


def test_faults_are_counted_exactly(hosts: Hosts) -> None:
    hosts.a.run(f"famfs creat -s 32M --randomize --seed 3 {MNT}/large")
    hosts.follow()
    guests = [hosts.a, hosts.b] if hosts.by_kernel else [hosts.a]
    for guest in guests:
        program = "import sys; sys.path.insert(0, '/host'); import kapi; "
        counted = guest.python(f"{program}print(kapi.faults('{MNT}/large'))")
        assert counted == "16\n"
        guest.run(f"famfs verify -S 3 -f {MNT}/large")


def test_names_come_by_themselves_where_somebody_follows(hosts: Hosts) -> None:
    if not hosts.by_kernel:
        status, output = hosts.b.attempt(f"famfs logplay --follow {MNT}")
        assert (status, "not a kernel mount" in output) == (2, True)
        return
    hosts.b.run(f"famfs logplay --follow --json {MNT} > /tmp/follower 2>&1 & sleep 0.5")
    hosts.a.run(f"famfs creat -s 4M --randomize --seed 9 {MNT}/followed")
    wait = f"for n in $(seq 50); do [ -e {MNT}/followed ] && break; sleep 0.1; done"
    hosts.b.run(f"{wait}; famfs verify -S 9 -f {MNT}/followed")
    # One follower a mount; and an unmount, in the next test, ends it.
    status, output = hosts.b.attempt(f"famfs logplay --follow {MNT}")
    assert (status, "follows its log already" in output) == (1, True)
    plays = [json.loads(line) for line in hosts.b.run("cat /tmp/follower").splitlines()]
    assert plays[-1]["files"] == 1


def test_trouble_on_one_host_is_not_the_others(hosts: Hosts) -> None:
    """Memory that fails for one, and a module that is taken out: the other goes on."""
    if not hosts.by_kernel:
        return
    before = hosts.a.run(f"sha256sum < {MNT}/large")
    hosts.follow()
    hosts.b.run(
        f"cd /tmp; PYTHONPATH=/host python3 -c 'import ras; ras.poison(\"{MNT}/large\", ras.BAD)'; "
        f"dd if={MNT}/large bs=4096 skip=1 count=1 status=none > /dev/null"
    )
    status, output = hosts.b.attempt(f"cat {MNT}/large > /dev/null")
    assert (status, "Input/output error" in output) == (1, True), output
    module = hosts.lab.module(hosts.ways[1].series)
    hosts.b.run(f"famfs umount {MNT}; rmmod famfs")
    hosts.a.run(f"famfs creat -s 2M --randomize --seed 6 {MNT}/meanwhile")
    hosts.b.run(f"insmod {module}")
    hosts.mount(hosts.b, hosts.ways[1])
    hosts.b.run(f"famfs verify -S 6 -f {MNT}/meanwhile")
    assert hosts.a.run(f"sha256sum < {MNT}/large") == before


def test_who_joins_late_leaves_the_memory_as_it_was(hosts: Hosts) -> None:
    hosts.b.run(f"famfs umount {MNT}")
    assert hosts.b.run("pgrep -f follow || true") == ""
    before = hosts.digest()
    assert hosts.b.complaints() == ""
    hosts.b.close()
    hosts.b = hosts.lab.start(hosts.ways[1], hosts.memory, 3)
    hosts.mount(hosts.b, hosts.ways[1])
    assert hosts.b.run(f"famfs verify -S 3 -f {MNT}/large")
    assert hosts.digest() == before


def test_nobody_complained(hosts: Hosts) -> None:
    """The last: both let go of the volume, and the kernels have nothing to say."""
    for guest in (hosts.a, hosts.b):
        assert guest.run(f"famfs umount {MNT}; {COMPLAINTS}") == ""
        assert json.loads(guest.run("famfs mounts --json")) == []
