"""What the kernel shows follows the log, whoever wrote it, and whatever came in between."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from lab.guest import Guest, SharedMemory
from media import MIB, add_entry, delete_payload, file_payload, mkdir_payload, patch

from conftest import MNT, Way

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conftest import Lab

FILE, MKDIR, DELETE = 0, 1, 2
NOTHING = {"files": 0, "directories": 0, "retired": 0, "elsewhere": 0}
WAY = Way("6.12", "pmem")


@dataclass
class Volume:
    """A mounted volume whose log is written to from outside of the guest.

    As by another publisher, which is killed before it can tell the kernel.
    """

    guest: Guest
    memory: Path
    #: The slot of each entry, by what it is called here.
    slots: dict[str, int] = field(default_factory=dict)
    units: int = 32

    def file(self, path: str, content: str = "", *, replace: bool = False) -> int:
        """Append a file of one extent, or of none."""
        extents = []
        if content:
            at = self.units * 2 * MIB
            # Far from the next: what is published in between goes beside the last.
            self.units += 8
            patch(self.memory, at, content.encode())
            extents = [(0, at, 2 * MIB)]
        payload = file_payload(path.encode(), len(content), extents, replace=replace)
        return add_entry(self.memory, FILE, payload)

    def mkdir(self, path: str) -> int:
        """Append a directory."""
        return add_entry(self.memory, MKDIR, mkdir_payload(path.encode()))

    def delete(self, path: str, slot: int) -> int:
        """Append that a name is gone."""
        return add_entry(self.memory, DELETE, delete_payload(path.encode(), slot))

    def play(self) -> dict[str, Any]:
        """Let the kernel follow."""
        return json.loads(self.guest.run(f"famfs logplay --json {MNT}"))["kernel"]

    def shown(self) -> dict[str, str]:
        """Give the kernel's names and what is in them, old versions by their slots."""
        output = self.guest.run(
            f"cd {MNT} && for f in $(find . -mindepth 1 ! -path './.meta/.*' ! -path ./.meta "
            "! -path ./.meta/versions | sort); do "
            'echo "$f=$([ -d $f ] && echo directory || cat $f)"; done'
        )
        shown = dict(line.split("=", 1) for line in output.splitlines())
        return {name.removeprefix("./.meta/versions/").removeprefix("./"): text
                for name, text in shown.items()}  # fmt: skip

    def settles_as(self, **expected: str) -> None:
        """Play, look, and play again: nothing is left to be done."""
        self.play()
        assert self.shown() == expected
        again = self.play()
        again.pop("unchanged")
        assert again == NOTHING
        assert self.shown() == expected


@pytest.fixture(scope="module")
def bare(lab: Lab) -> Iterator[tuple[Guest, SharedMemory]]:
    """A guest with a device."""
    lab.close()
    memory = SharedMemory()
    guest = lab.start(WAY, memory)
    yield guest, memory
    guest.close()
    memory.close()


@pytest.fixture
def volume(bare: tuple[Guest, SharedMemory]) -> Iterator[Volume]:
    """A new volume, mounted."""
    guest, memory = bare
    guest.run(f"famfs mkfs --force /dev/pmem0 && famfs mount --kernel /dev/pmem0 {MNT}")
    yield Volume(guest, memory.path)
    guest.run(f"famfs umount {MNT}")
    assert guest.complaints() == ""


def test_replaced_and_removed_between_two_plays(volume: Volume) -> None:
    one = volume.file("f", "one")
    volume.settles_as(f="one")
    two = volume.file("f", "two", replace=True)
    volume.delete("f", two)
    volume.settles_as(**{str(one): "one", str(two): "two"})


def test_a_name_that_was_a_directories_is_a_files(volume: Volume) -> None:
    slot = volume.mkdir("d")
    volume.settles_as(d="directory")
    volume.delete("d", slot)
    volume.file("d", "file")
    volume.settles_as(d="file")


def test_a_name_that_was_a_files_is_a_directories(volume: Volume) -> None:
    slot = volume.file("x", "file")
    volume.settles_as(x="file")
    volume.delete("x", slot)
    volume.mkdir("x")
    volume.file("x/below", "there")
    volume.settles_as(**{"x": "directory", "x/below": "there", str(slot): "file"})


def test_empty_files_are_told_apart(volume: Volume) -> None:
    """Their maps are all the same."""
    one = volume.file("e")
    volume.settles_as(e="")
    two = volume.file("e", replace=True)
    three = volume.file("e", replace=True)
    volume.settles_as(**{"e": "", str(one): "", str(two): ""})
    volume.delete("e", three)
    four = volume.file("e")
    volume.settles_as(**{"e": "", str(one): "", str(two): "", str(three): ""})
    volume.delete("e", four)
    volume.settles_as(**{str(slot): "" for slot in (one, two, three, four)})


def test_what_others_published_is_named_before_what_comes_now(volume: Volume) -> None:
    one = volume.file("f", "one")
    volume.mkdir("d")
    guest = volume.guest
    guest.run(f"echo -n two > /tmp/two; famfs cp --force /tmp/two {MNT}/f")
    volume.file("d/g", "three")
    guest.run(f"famfs cp /tmp/two {MNT}/d/h; famfs mkdir {MNT}/d/e; famfs rm {MNT}/d/g")
    shown = volume.shown()
    gone = [name for name, text in shown.items() if text == "three"]
    assert shown == {str(one): "one", "f": "two", "d": "directory", "d/h": "two",
                     "d/e": "directory", gone[0]: "three"}  # fmt: skip
    volume.settles_as(**shown)


def test_what_cannot_be_followed_keeps_nothing_else_back(volume: Volume) -> None:
    volume.mkdir(".meta")
    volume.file(".meta/other", "bad")
    volume.file("g", "good")
    status, output = volume.guest.attempt(f"famfs logplay {MNT}")
    assert (status, "where mounts by the kernel keep their own files" in output) == (1, True)
    assert volume.shown() == {"g": "good"}
    # And who publishes is not kept from it.
    volume.guest.run(f"echo -n two > /tmp/two; famfs cp /tmp/two {MNT}/h")
    assert volume.shown() == {"g": "good", "h": "two"}
    status, output = volume.guest.attempt(f"famfs cp /tmp/two {MNT}/.meta/mine")
    assert (status, "choose another name" in output) == (1, True)
    # Nor who mounts.
    again = f"famfs umount {MNT}; famfs mount --kernel /dev/pmem0 {MNT} 2>&1"
    assert "warning: .meta: " in volume.guest.run(again)
    assert volume.shown() == {"g": "good", "h": "two"}


def test_what_is_in_the_way_is_told_before_anything_is_published(volume: Volume) -> None:
    guest = volume.guest
    guest.run(f"mkdir {MNT}/f; touch {MNT}/f/inside; famfs mkdir {MNT}/d; echo x > /tmp/x")
    before = guest.run(f"famfs dump {MNT} | sha256sum")
    for command in (f"cp /tmp/x {MNT}/f", f"mkdir {MNT}/f"):
        status, output = guest.attempt(f"famfs {command}")
        assert (status, "is not what the log says" in output) == (1, True), output
    assert guest.run(f"famfs dump {MNT} | sha256sum") == before
    guest.run(f"rm {MNT}/f/inside; rmdir {MNT}/f; famfs cp /tmp/x {MNT}/f; cat {MNT}/f")


def test_a_follower_outlives_an_unmount_that_is_refused(volume: Volume) -> None:
    guest = volume.guest
    guest.run(f"famfs logplay --follow {MNT} > /tmp/follower 2>&1 & sleep 0.5")
    guest.run(f"(cd {MNT} && exec sleep 1000) > /dev/null 2>&1 & sleep 0.2")
    status, output = guest.attempt(f"famfs umount {MNT}")
    assert status == 1
    assert "(sleep) uses it" in output
    volume.file("f", "one")
    guest.run(f"for n in $(seq 50); do [ -e {MNT}/f ] && break; sleep 0.1; done; cat {MNT}/f")
    guest.run("pkill sleep; true")
    guest.run(f"famfs umount {MNT}; ! pgrep -f -- --follow")
    guest.run(f"famfs mount --kernel /dev/pmem0 {MNT}")


def test_a_mount_that_follows_by_itself(volume: Volume) -> None:
    guest = volume.guest
    guest.run(f"famfs umount {MNT}")
    guest.run(
        f"famfs mount --kernel --follow /dev/pmem0 {MNT} > /tmp/follower 2>&1 & "
        f"for n in $(seq 50); do [ -e {MNT}/.meta/.log ] && break; sleep 0.1; done"
    )
    volume.mkdir("d")
    volume.file("d/f", "one")
    guest.run(f"for n in $(seq 50); do [ -e {MNT}/d/f ] && break; sleep 0.1; done; cat {MNT}/d/f")
    guest.run(f"famfs umount {MNT}; ! pgrep -f -- --follow; cat /tmp/follower")
    guest.run(f"famfs mount --kernel /dev/pmem0 {MNT}")


def test_read_by_two_ways(volume: Volume) -> None:
    volume.guest.run(f"famfs creat -s 5000000 --randomize --seed 3 {MNT}/f")
    strips = "-C 2M -N 2 -B 4"
    volume.guest.run(f"famfs creat -s 9000000 --randomize --seed 4 {strips} {MNT}/i")
    output = volume.guest.run(
        f"famfs chkread {MNT}/f; famfs chkread {MNT}/i; famfs chkread -s -l {MNT}; "
        f"famfs verify -S 3 -f {MNT}/f; famfs verify -S 4 -f {MNT}/i; famfs check {MNT}"
    )
    assert "9000000 bytes are the same" in output
    assert "log: 8388608 bytes are the same" in output


def test_a_mount_that_fails_leaves_nothing(volume: Volume) -> None:
    guest, memory = volume.guest, volume.memory
    guest.run(f"famfs umount {MNT}; ln -sfn {MNT} /tmp/link")
    header = memory.open("rb").read(4 * MIB)[2 * MIB :][:8]
    patch(memory, 2 * MIB, b"\0" * 8)
    for place in (MNT, "/tmp/link"):
        status, output = guest.attempt(f"famfs mount --kernel /dev/pmem0 {place}")
        assert (status, "not a volume that can be mounted" in output) == (1, True), output
        assert guest.run("grep -c famfs /proc/self/mountinfo || true") == "0\n"
    patch(memory, 2 * MIB, header)
    # By a link it is the directory that is meant; and a umask is for a user's own files.
    guest.run("umask 077; famfs mount --kernel /dev/pmem0 /tmp/link")
    assert guest.run(f"stat -c %a {MNT}/.meta {MNT}/.meta/versions") == "755\n755\n"
    status, output = guest.attempt(f"famfs mount --library /host/famfs-6.12.ko {MNT}")
    assert status == 1
    status, output = guest.attempt(f"famfs mount --kernel /dev/pmem0 {MNT}")
    assert (status, "is mounted there" in output) == (1, True), output


def test_a_partition_that_ends_within_a_unit(volume: Volume) -> None:
    guest, at = volume.guest, "/tmp/part"
    device = "/dev/pmem0p1"
    megabytes = 2048
    guest.run(
        f"famfs umount {MNT}; addpart /dev/pmem0 1 {2 * megabytes} {101 * megabytes}; mkdir -p {at}"
    )
    output = guest.run(
        f"famfs mkfs --force {device} && famfs mount --kernel {device} {at} && famfs fsck {at} && "
        f"echo there > /tmp/x && famfs cp /tmp/x {at}/f && cat {at}/f && stat -f -c %b {at}"
    )
    assert output.endswith(f"there\n{101 * MIB // 4096}\n")
    status, output = guest.attempt(f"famfs creat -s 91M {at}/large")
    assert (status, "no space" in output) == (1, True)
    guest.run(f"famfs creat -s 88M {at}/large; famfs umount {at}; delpart /dev/pmem0 1")
    guest.run(f"famfs mkfs --force /dev/pmem0 && famfs mount --kernel /dev/pmem0 {MNT}")
