"""Wrong input of every kind: each ends in the right error, and nothing is changed by it."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import mmap
import os
import struct
import subprocess
from pathlib import Path

import kapi
from checks import DATA, MOUNT, libc, nameless, refused
from kapi import UNIT, publish

MNT_DETACH = 2
#: What reads through its argument, and what also reads through a pointer in it.
READERS = (kapi.MAP_CREATE, kapi.MAP_CREATE_V2, kapi.MAP_EXTENTS, kapi.BAD_RANGES)
WRITERS = (kapi.MAP_GET, kapi.MAP_GETEXT, kapi.MAP_GET_V2)
#: Pages that nobody has, of a user and of the kernel.
NOWHERE = (16, 0x7FFF_FFFF_F000, 0xFFFF_8880_0000_0000)


def pointed(number: int, pointer: int) -> bytes:
    """An argument that is right but for a pointer in it."""
    if number == kapi.MAP_CREATE_V2:
        return struct.pack("<QIIIIQ", UNIT, kapi.REGULAR, kapi.SIMPLE, 1, 0, pointer)
    if number == kapi.MAP_EXTENTS:
        return struct.pack("<IIQQ", 16, 0, 0, pointer)
    return struct.pack("<IIQ", 4, 0, pointer)


def as_user(work: str, mnt: str) -> str:
    """What a user's program prints."""
    command = ["setpriv", "--reuid", "1000", "--regid", "1000", "--clear-groups", "sh", "-c", work]
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=mnt)
    return done.stdout + done.stderr


def check_pointers_that_lead_nowhere(mnt: str, device: str) -> None:
    publish(mnt, f"{mnt}/file", UNIT, [(DATA, UNIT)])
    bare, placed = nameless(mnt), os.open(f"{mnt}/file", os.O_RDWR)
    call = ctypes.CDLL(None, use_errno=True).ioctl
    call.argtypes = [ctypes.c_int, ctypes.c_ulong, ctypes.c_void_p]

    def told(fd: int, number: int, argument: int) -> int:
        return 0 if call(fd, number, argument) == 0 else ctypes.get_errno()

    directory = os.open(mnt, os.O_RDONLY)
    for nowhere in NOWHERE:
        for number in READERS:
            fd = placed if number == kapi.MAP_EXTENTS else bare
            assert told(fd, number, nowhere) == errno.EFAULT, hex(number)
        for number in WRITERS:
            assert told(placed, number, nowhere) == errno.EFAULT, hex(number)
        assert told(directory, kapi.RETIRE, nowhere) == errno.EFAULT
        name = struct.pack("<QiIQ", 3, -1, 4, nowhere)
        refused(errno.EFAULT, fcntl.ioctl, directory, kapi.RETIRE, name)
        refused(errno.EFAULT, fcntl.ioctl, bare, kapi.MAP_CREATE_V2,
                pointed(kapi.MAP_CREATE_V2, nowhere))  # fmt: skip
        refused(errno.EFAULT, fcntl.ioctl, placed, kapi.MAP_EXTENTS,
                bytearray(pointed(kapi.MAP_EXTENTS, nowhere)))  # fmt: skip
    # Nothing was installed by any of it.
    refused(errno.ENODATA, fcntl.ioctl, bare, kapi.MAP_GET, bytearray(56))
    # On what is none: a file is no directory, and a directory no file.
    name = ctypes.create_string_buffer(b"file")
    ask = struct.pack("<QiIQ", 3, -1, 4, ctypes.addressof(name))
    refused(errno.ENOTDIR, fcntl.ioctl, placed, kapi.RETIRE, ask)
    refused(errno.EBADF, fcntl.ioctl, directory, kapi.RETIRE,
            struct.pack("<QiIQ", 3, 999, 4, ctypes.addressof(name)))  # fmt: skip
    for number in (0x7556, 0x4020_75FF, 0x8010_7500):
        refused(errno.ENOTTY, fcntl.ioctl, placed, number, bytearray(64))


def check_an_unmount_while_it_is_mapped(mnt: str, device: str) -> None:
    publish(mnt, f"{mnt}/file", UNIT, [(DATA, UNIT)], fill=b"content")
    fd = os.open(f"{mnt}/file", os.O_RDONLY)
    memory = mmap.mmap(fd, UNIT, prot=mmap.PROT_READ)
    os.close(fd)
    refused(errno.EBUSY, libc, "umount2", mnt.encode(), 0)
    assert memory[:7] == b"content"
    # Out of sight it stays until the last one lets go, and its device is nobody else's so long.
    libc("umount2", mnt.encode(), MNT_DETACH)
    assert memory[:7] == b"content"
    refused_again = subprocess.run(MOUNT(mnt, device), check=False, capture_output=True)
    assert refused_again.returncode != 0
    memory.close()
    subprocess.run(MOUNT(mnt, device), check=True)
    assert os.listdir(mnt) == []


def check_what_is_taken(mnt: str, device: str) -> None:
    """The memory of a mount, or of a driver, is not given to another."""
    os.makedirs("/mnt/other", exist_ok=True)
    ranges = ("0x40000000+0x20000000", "0x40000000+0x400000", "0x50000000+0x200000")
    for command in (MOUNT("/mnt/other", device),
                    *(["mount", "-t", "famfs", "-o", f"range={r}", "none", "/mnt/other"]
                      for r in ranges)):  # fmt: skip
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        assert done.returncode != 0, command
        # Both are how mount(8) tells of EBUSY.
        told = ("busy", "already mounted")
        assert any(word in done.stderr for word in told), (command, done.stderr)
    publish(mnt, f"{mnt}/file", UNIT, [(DATA, UNIT)], fill=b"content")
    with open(f"{mnt}/file", "rb") as file:
        assert file.read(7) == b"content"


def check_sysfs(mnt: str, device: str) -> None:
    folder = Path(f"/sys/fs/famfs/{device}")
    for path in folder.iterdir():
        if path.name == "bad_pages":
            for word in ("", "clean", "clear all", "0+4096", "\0", "x" * 5000):
                if word:
                    refused(errno.EINVAL, path.write_bytes, word.encode())
            assert "ermission denied" in as_user(f"echo clear > {path}", "/")
        else:
            # Root's rights don't make what is only told writable.
            assert path.stat().st_mode & 0o222 == 0, path
            refused(errno.EACCES, os.open, path, os.O_WRONLY)
            assert path.read_text()


def check_users_change_nothing(mnt: str, device: str) -> None:
    publish(mnt, f"{mnt}/file", UNIT, [(DATA, UNIT)], fill=b"content")
    os.chmod(f"{mnt}/file", 0o444)
    os.chmod(mnt, 0o777)
    for work in ("echo x > file", "echo x >> file", "truncate -s 1 file", "rm -f file",
                 "mv file other", "ln file other", "ln -s file other", "mkdir dir",
                 "touch other", "mknod p p"):  # fmt: skip
        said = as_user(work, mnt)
        assert "denied" in said or "not permitted" in said, (work, said)
    assert os.listdir(mnt) == ["file"]
    assert "content" in as_user("head -c 7 file", mnt)
