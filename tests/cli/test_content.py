"""What is written comes back: seeded content, copies, and the bytes of an OMF 2.2 volume."""

from __future__ import annotations

import hashlib
import json
import random
import struct
import uuid
import zlib
from typing import TYPE_CHECKING

from media import ENTRY, GOLDEN, HEADER, LOG, MIB, bytes_at, entry_at, unpack

if TYPE_CHECKING:
    from conftest import Famfs, Volume


def test_seeded_content_is_the_references(famfs: Famfs) -> None:
    """Each vector's content has the right checksum, and verifies."""
    volume = famfs.volume("seeded", size="512M")
    vectors = json.loads((GOLDEN / "prng_vectors.json").read_text())["vectors"]
    assert len(vectors) > 10
    for index, vector in enumerate(vectors):
        seed, file = vector["seed"], volume.mnt / f"f{index}"
        famfs("creat", "-s", vector["size"], "--randomize", "--seed", seed, file)
        out = famfs("cat", file).out
        assert len(out) == vector["size"]
        assert hashlib.sha256(out).hexdigest() == vector["sha256"]
        assert out.hex().startswith(vector["first16"])
        famfs("verify", "-S", seed, "-f", file)
        famfs.fails("verify", "-S", seed - 1 or 2, "-f", file, says="made with another seed")
    famfs("check", volume.mnt)


def test_several_files_in_one_step(famfs: Famfs, volume: Volume) -> None:
    """All of them or none, and verify takes the same form."""
    a, b, c = (volume.mnt / name for name in ("a", "b,c", "d"))
    famfs("creat", "--multi", f"{a},1M,7", "--multi", f"{b},3000,8", "--multi", f"{c},10")
    famfs("verify", "--multi", f"{a},7", "--multi", f"{b},8")
    assert famfs("cat", c).out == bytes(10)
    run = famfs.fails("verify", "--multi", f"{a},7", "--multi", f"{b},9", says="1 of 2")
    assert "b,c" in run.err
    famfs.fails("creat", "--multi", f"{volume.mnt}/e,5", "--multi", f"{a},5", says="exists")
    famfs.fails("stat", volume.mnt / "e", says="no such file")


def test_a_file_without_content_is_zeros_never_leftovers(famfs: Famfs, volume: Volume) -> None:
    """What a forgotten file left in memory is not seen in the next one."""
    with volume.source.open("r+b") as file:
        file.seek(10 * MIB)
        file.write(b"\xaa" * (54 * MIB))
    for size in (1, 4096, 3 * MIB + 5):
        file = volume.mnt / f"f{size}"
        famfs("creat", "-s", size, file)
        assert famfs("cat", file).out == bytes(size)
        start = json.loads(famfs("getmap", "--json", file).out)["extents"][0]["offset"]
        # What a mapping shows up to the end of the last page is clear too.
        end = -size % 4096
        assert bytes_at(volume.source, start + size, end) == bytes(end)


def test_copies_in_out_and_between(famfs: Famfs) -> None:
    """A tree goes into a volume, into another, and out again, the same."""
    one, two = famfs.volume("one", size="128M"), famfs.volume("two", size="128M")
    tree = famfs.folder / "tree"
    (tree / "sub" / "deep").mkdir(parents=True)
    rng = random.Random(5)
    files = {"a": 10, "empty": 0, "sub/b": 9 * MIB + 3, "sub/deep/c": 4 * MIB}
    for name, size in files.items():
        (tree / name).write_bytes(rng.randbytes(size))
    famfs("cp", "-r", "-t", 3, tree, one.mnt)
    famfs("cp", "-r", one.mnt / "tree", two.mnt / "copy")
    out = famfs.folder / "out"
    copied = json.loads(famfs("cp", "-r", "--json", two.mnt / "copy", out).out)
    assert copied == {"files": 4, "directories": 3, "bytes": sum(files.values()), "failed": 0}
    for name in files:
        assert (out / name).read_bytes() == (tree / name).read_bytes()
        assert famfs("cat", one.mnt / "tree" / name).out == (tree / name).read_bytes()
    names = famfs("ls", "-R", one.mnt / "tree").text.split()
    assert names == ["a", "empty", "sub", "sub/b", "sub/deep", "sub/deep/c"]
    assert sorted(p.name for p in famfs.folder.iterdir() if p.name.startswith(".out")) == []


def test_striped_files(famfs: Famfs, volume: Volume) -> None:
    """Interleaved content reads back, and the map is the one that was asked for."""
    file = volume.mnt / "striped"
    famfs("creat", "-s", "11M", "-S", 9, "-N", 3, "-B", 4, "-C", "2M", file)
    famfs("verify", "-S", 9, "-f", file)
    map_ = json.loads(famfs("getmap", "--json", file).out)["interleaved"]
    assert map_["chunk_size"] == 2 * MIB
    buckets = [strip["offset"] // (16 * MIB) for strip in map_["strips"]]
    assert len(set(buckets)) == 3
    famfs("check", volume.mnt)
    famfs("chkread", file)
    famfs("fsck", volume.source)


def test_an_omf_2_2_volume_is_the_references_to_the_byte(famfs: Famfs) -> None:
    """Superblock, header and entries decode field by field, padding zero, checksums right."""
    host = uuid.UUID("b1e0d9c7-0000-4000-8000-000000000001")
    famfs("mkfs", famfs.folder / "foreign", "--size", "32M", "--host-uuid", host, "--omf", "2.2")
    foreign = bytes_at(famfs.folder / "foreign", 80, 16)
    assert foreign == host.bytes

    volume = famfs.volume("vol", "--omf", "2.2")
    famfs("mkdir", "-m", "0750", "-u", 3, "-g", 4, volume.mnt / "dir")
    famfs("creat", "-s", 5000, "-S", 1, "-m", "0640", "-u", 1, "-g", 2, volume.mnt / "dir/file")
    famfs("creat", "-s", "5M", "-N", 2, "-B", 2, "-C", "2M", volume.mnt / "striped")
    dump = json.loads(famfs("dump", volume.mnt).out)

    superblock = bytes_at(volume.source, 0, 4096)
    fields = struct.unpack("<5Q2I16s16s16sQI4sQ16s64s", superblock[:200])
    magic, version, log_offset, log_len, unit, major, minor = fields[:7]
    assert (magic, version, log_offset, log_len) == (0x87B282FF, 48, LOG, 8 * MIB)
    assert (unit, major, minor) == (2 * MIB, 2, 2)
    shown = dump["superblock"]
    uuids = [uuid.UUID(shown[key]).bytes for key in ("uuid", "device_uuid", "system_uuid")]
    assert list(fields[7:10]) == uuids
    assert fields[10] == zlib.crc32(superblock[:96])
    assert (fields[12], fields[13]) == (bytes(4), 64 * MIB)
    assert fields[15].rstrip(b"\0") == str(volume.source).encode()[:64]
    assert superblock[200:] == bytes(4096 - 200)

    header = struct.unpack("<6Q", bytes_at(volume.source, LOG, HEADER))
    assert header[:3] == (0xBADCAFEF00D, 8 * MIB, 15_419)
    assert header[3] == zlib.crc32(bytes_at(volume.source, LOG, 24))
    assert header[4:] == (3, 3)

    entries = [bytes_at(volume.source, entry_at(slot), ENTRY) for slot in range(4)]
    assert entries[3] == bytes(ENTRY)
    for slot, entry in enumerate(entries[:3]):
        seqnum, kind, pad = struct.unpack_from("<QI4s", entry)
        assert (seqnum, kind, pad) == (slot, 0 if slot else 1, bytes(4))
        assert entry[536:] == struct.pack("<Q", zlib.crc32(entry[:536]))
    assert struct.unpack_from("<3I80s", entries[0], 16) == (3, 4, 0o750, b"dir".ljust(80, b"\0"))
    assert entries[0][108:536] == bytes(428)

    size, flags, uid, gid, mode, path, kind, pad1, count, pad2 = struct.unpack_from(
        "<Q4I80sI4sI4s", entries[1], 16
    )
    assert (size, flags, uid, gid, mode) == (5000, 2, 1, 2, 0o640)
    assert path == b"dir/file".ljust(80, b"\0")
    assert (kind, pad1, count, pad2) == (0, bytes(4), 1, bytes(4))
    assert struct.unpack_from("<3Q", entries[1], 136) == (0, 10 * MIB, 2 * MIB)
    assert entries[1][160:536] == bytes(376)

    kind, count, strips, chunk = struct.unpack_from("<I4xI4xQQ", entries[2], 120)
    assert (kind, count, strips, chunk) == (1, 1, 2, 2 * MIB)
    assert entries[2][152 + 24 * 2 : 536] == bytes(536 - 200)


def test_a_reference_image_is_read_and_not_written(famfs: Famfs) -> None:
    """Another host's volume mounts, lists and refuses to be published to."""
    image = unpack("vfew", famfs.folder)
    mnt = famfs.folder / "mnt"
    mnt.mkdir()
    famfs.mounts[mnt] = image
    before = hashlib.sha256(bytes_at(image, 0, 20 * MIB)).digest()
    listed = json.loads(famfs("ls", "-R", "--json", mnt).out)
    dump = json.loads(famfs("dump", mnt).out)
    assert {e["path"] for e in listed} == {e["path"] for e in dump["files"] + dump["directories"]}
    famfs.fails("creat", "-s", 5, mnt / "new", says="master")
    famfs.fails("mkdir", mnt / "newdir", says="master")
    assert hashlib.sha256(bytes_at(image, 0, 20 * MIB)).digest() == before
