"""The format's bytes, decoded and made by hand: an opinion of its own on what is written."""

from __future__ import annotations

import json
import lzma
import struct
import zlib
from pathlib import Path
from typing import Any

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
MIB = 1 << 20
LOG = 2 * MIB
HEADER = 48
ENTRY = 544


def names() -> list[str]:
    """Name all golden images."""
    return sorted(path.name.removesuffix(".img.xz") for path in GOLDEN.glob("*.img.xz"))


def reading(name: str) -> dict[str, Any]:
    """Give the reference's reading of a golden image."""
    plain = GOLDEN / f"{name}.json"
    if plain.exists():
        return json.loads(plain.read_text())
    return json.loads(lzma.decompress((GOLDEN / f"{name}.json.xz").read_bytes()))


def unpack(name: str, folder: Path) -> Path:
    """Unpack a golden image, as large as its device was."""
    path = folder / name
    path.write_bytes(lzma.decompress((GOLDEN / f"{name}.img.xz").read_bytes()))
    with path.open("r+b") as file:
        file.truncate(reading(name)["upstream"]["superblock"]["daxdev_size"])
    return path


def crc(data: bytes) -> bytes:
    """Give a checksum as it stands on the media."""
    return struct.pack("<Q", zlib.crc32(data))


def patch(path: Path, at: int, data: bytes) -> None:
    """Overwrite bytes of a file."""
    with path.open("r+b") as file:
        file.seek(at)
        file.write(data)


def bytes_at(path: Path, at: int, length: int) -> bytes:
    """Read bytes of a file."""
    with path.open("rb") as file:
        file.seek(at)
        return file.read(length)


def entry_at(slot: int) -> int:
    """Say where an entry lies."""
    return LOG + HEADER + ENTRY * slot


def set_superblock(path: Path, at: int, data: bytes) -> None:
    """Overwrite a field of the superblock, and mend its checksum."""
    patch(path, at, data)
    patch(path, 96, crc(bytes_at(path, 0, 96)))


def add_entry(path: Path, kind: int, payload: bytes) -> int:
    """Append an entry with a valid checksum, whatever it says."""
    _, slot = struct.unpack("<QQ", bytes_at(path, LOG + 32, 16))
    body = struct.pack("<QI4x", slot, kind) + payload.ljust(520, b"\0")
    patch(path, entry_at(slot), body + crc(body))
    patch(path, LOG + 32, struct.pack("<QQ", slot + 1, slot + 1))
    return slot


def file_payload(
    path: bytes, size: int, extents: list[tuple[int, int, int]], *, replace: bool = False
) -> bytes:
    """Make the payload of a file with simple extents."""
    packed = b"".join(struct.pack("<QQQ", *extent) for extent in extents)
    return _file_head(path, size, 0, len(extents), replace=replace) + packed


def striped_payload(
    path: bytes, size: int, chunk: int, strips: list[tuple[int, int, int]], count: int
) -> bytes:
    """Make the payload of an interleaved file that says it has `count` strips."""
    packed = b"".join(struct.pack("<QQQ", *strip) for strip in strips)
    return _file_head(path, size, 1, 1) + struct.pack("<QQ", count, chunk) + packed


def mkdir_payload(path: bytes) -> bytes:
    """Make the payload of a directory."""
    return struct.pack("<III80s", 0, 0, 0o755, path)


def delete_payload(path: bytes, slot: int) -> bytes:
    """Make the payload that takes a name away."""
    return struct.pack("<Q16x80s", slot, path)


def _file_head(path: bytes, size: int, kind: int, count: int, *, replace: bool = False) -> bytes:
    flags = 0x102 if replace else 2
    return struct.pack("<QIIII80sI4xI4x", size, flags, 0, 0, 0o644, path, kind, count)
