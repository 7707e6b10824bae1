"""The kernel interface as a program of its own sees it: numbers and layouts, written down again.

Runs in guests. It shares nothing with the project's tools, so that a mistake there shows here.
"""

from __future__ import annotations

import ctypes
import fcntl
import mmap
import os
import struct
import subprocess
from pathlib import Path

MIB = 1 << 20
UNIT = 2 * MIB

MAP_CREATE = 0x40387550
MAP_GET = 0x80387551
MAP_GETEXT = 0x80107552
NOP = 0x00007553
MAP_CREATE_V2 = 0x40207554
MAP_GET_V2 = 0x81C07555
MAP_EXTENTS = 0xC0187560
BAD_RANGES = 0xC0107561
RETIRE = 0x40187562

REGULAR, SUPERBLOCK, LOG = 0, 1, 2
SIMPLE, INTERLEAVED = 0, 1

O_TMPFILE = os.O_TMPFILE | os.O_RDWR


def map_v1(size: int, extents: list[tuple[int, int]], kind: int = REGULAR) -> bytes:
    """A map of the reference's first version."""
    flat = [number for extent in extents for number in extent]
    flat += [0] * (4 - len(flat))
    return struct.pack("<IIQQ4Q", SIMPLE, kind, size, len(extents), *flat)


def create(fd: int, size: int, extents: list[tuple[int, int]], kind: int = REGULAR) -> None:
    """Install a map by the first version's call."""
    fcntl.ioctl(fd, MAP_CREATE, map_v1(size, extents, kind))


def create_v2(
    fd: int,
    size: int,
    extents: list[tuple[int, int]],
    chunk: int = 0,
    kind: int = REGULAR,
) -> None:
    """Install a map by the second version's call; with a chunk size, an interleaved one."""
    table = b"".join(struct.pack("<QQQ", 0, *extent) for extent in extents)
    strips = ctypes.create_string_buffer(table, max(len(table), 1))
    kind_of, count, pointer = SIMPLE, len(extents), ctypes.addressof(strips)
    if chunk:
        packed = struct.pack("<QQQQ", len(extents), chunk, size, pointer)
        interleave = ctypes.create_string_buffer(packed, len(packed))
        kind_of, count, pointer = INTERLEAVED, 1, ctypes.addressof(interleave)
    fcntl.ioctl(fd, MAP_CREATE_V2, struct.pack("<QIIIIQ", size, kind, kind_of, count, 0, pointer))


def extents_of(fd: int) -> tuple[int, list[tuple[int, int]]]:
    """The chunk size, or 0, and all extents, or strips."""
    room = 16
    table = ctypes.create_string_buffer(room * 24)
    ask = bytearray(struct.pack("<IIQQ", room, 0, 0, ctypes.addressof(table)))
    fcntl.ioctl(fd, MAP_EXTENTS, ask)
    _, count, chunk, _ = struct.unpack("<IIQQ", ask)
    found = [struct.unpack_from("<QQQ", table, 24 * i) for i in range(count)]
    return chunk, [(offset, length) for _, offset, length in found]


def bad_ranges(fd: int) -> list[tuple[int, int]]:
    """The ranges of bad pages: offset and length on the device, bytes."""
    room = 64
    table = ctypes.create_string_buffer(room * 16)
    ask = bytearray(struct.pack("<IIQ", room, 0, ctypes.addressof(table)))
    fcntl.ioctl(fd, BAD_RANGES, ask)
    _, count, _ = struct.unpack("<IIQ", ask)
    return [struct.unpack_from("<QQ", table, 16 * i) for i in range(count)]


def retire(directory: str, name: bytes, slot: int, successor: int = -1) -> None:
    """Take a name away, or pass it to another file."""
    text = ctypes.create_string_buffer(name, len(name) + 1)
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        ask = struct.pack("<QiIQ", slot, successor, len(name), ctypes.addressof(text))
        fcntl.ioctl(fd, RETIRE, ask)
    finally:
        os.close(fd)


def link(fd: int, path: str) -> None:
    """Give a file without a name its name."""
    os.link(f"/proc/self/fd/{fd}", path, src_dir_fd=0, follow_symlinks=True)


def publish(directory: str, path: str, size: int, extents: list[tuple[int, int]], chunk: int = 0,
            fill: bytes | None = None) -> None:  # fmt: skip
    """Publish as POSIX does it: no name, map, fill, name."""
    fd = os.open(directory, O_TMPFILE, 0o644)
    try:
        create_v2(fd, size, extents, chunk)
        if fill is not None:
            with mmap.mmap(fd, size) as memory:
                memory[:] = (fill * (size // len(fill) + 1))[:size]
        link(fd, path)
    finally:
        os.close(fd)


def faults(path: str, *, write: bool = False) -> int:
    """Touch every page of a mapping, and count the faults that it took.

    The kernel counts those of the whole process, so the process is a small one that has all its own
    pages before and asks for no more: an interpreter may need memory at any time.
    """
    command = ["/host/touch", path, "write" if write else "read", "1"]
    printed = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    [minor, major, *_] = map(int, printed.partition("round ")[2].split())
    return minor + major


def counters(device: str) -> dict[str, int]:
    """What the module counted for a mount."""
    folder = Path("/sys/fs/famfs") / device
    return {
        path.name: int(path.read_text()) for path in folder.iterdir() if path.name != "bad_pages"
    }
