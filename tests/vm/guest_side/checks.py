"""What must hold on any mount of the module, whatever the kernel and the device."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import mmap
import os
import random
import struct
import subprocess
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import kapi
from kapi import LOG, MIB, SUPERBLOCK, UNIT, publish

if TYPE_CHECKING:
    from collections.abc import Callable

DATA = 32 * MIB  # where files may begin


def refused(wanted: int, call: Callable[..., object], *arguments: object, **named: object) -> None:
    """The call fails, with this error number."""
    try:
        call(*arguments, **named)
    except OSError as error:
        assert error.errno == wanted, (errno.errorcode[error.errno], call, arguments)
    else:
        raise AssertionError((errno.errorcode[wanted], call, arguments))


def libc(name: str, *arguments: object) -> int:
    """Call a function of the C library; Python has checks of its own in front of some."""
    function = getattr(ctypes.CDLL(None, use_errno=True), name)
    if name == "mmap":
        function.restype = ctypes.c_long
    result = function(*arguments)
    if result == -1:
        raise OSError(ctypes.get_errno(), name)
    return int(result)


def nameless(directory: str) -> int:
    """A file without a name."""
    return os.open(directory, kapi.O_TMPFILE, 0o644)


def check_it_is_famfs(mnt: str, device: str) -> None:
    fd = os.open(mnt, os.O_RDONLY)
    assert fcntl.ioctl(fd, kapi.NOP) == 0
    libc = ctypes.CDLL(None, use_errno=True)
    buffer = ctypes.create_string_buffer(120)
    assert libc.statfs(mnt.encode(), buffer) == 0
    assert struct.unpack_from("<Q", buffer)[0] == 0x87B282FE
    assert Path("/sys/fs/famfs/kabi_version").read_text() == "43\n"
    assert Path("/sys/module/famfs/version").exists()
    symbols = Path("/proc/kallsyms").read_text()
    # How the reference's tools find the module.
    assert any(
        line.split()[2].startswith("famfs_create")
        for line in symbols.splitlines()
        if line.endswith("[famfs]")
    )
    assert (Path("/sys/fs/famfs") / device / "size").exists()


def check_meta_files_as_the_reference_makes_them(mnt: str, device: str) -> None:
    os.makedirs(f"{mnt}/.meta")
    with open(
        f"/proc/self/fd/{os.open(mnt + '/.meta/.superblock', os.O_RDWR | os.O_CREAT, 0o444)}"
    ) as file:
        kapi.create(file.fileno(), UNIT, [(0, UNIT)], SUPERBLOCK)
    fd = os.open(f"{mnt}/.meta/.log", os.O_RDWR | os.O_CREAT, 0o644)
    kapi.create(fd, 8 * MIB, [(UNIT, 8 * MIB)], LOG)
    got = bytearray(56)
    fcntl.ioctl(fd, kapi.MAP_GET, got)
    assert struct.unpack("<IIQQ4Q", got) == (0, LOG, 8 * MIB, 1, UNIT, 8 * MIB, 0, 0)
    table = bytearray(16)
    fcntl.ioctl(fd, kapi.MAP_GETEXT, table)
    assert struct.unpack("<QQ", table) == (UNIT, 8 * MIB)
    os.pwrite(fd, b"log", 4096)
    os.close(fd)
    assert Path(f"{mnt}/.meta/.log").stat().st_size == 8 * MIB
    with open(f"{mnt}/.meta/.log", "rb") as file:
        assert os.pread(file.fileno(), 3, 4096) == b"log"


def check_maps_read_back(mnt: str, device: str) -> None:
    simple = [(DATA + i * 4 * MIB, UNIT) for i in range(5)]
    strips = [(DATA + 64 * MIB + i * 8 * MIB, 8 * MIB) for i in range(3)]
    first, second = nameless(mnt), nameless(mnt)
    refused(errno.ENODATA, fcntl.ioctl, first, kapi.MAP_GET, bytearray(56))
    kapi.create_v2(first, 5 * UNIT - 1, simple)
    kapi.create_v2(second, 20 * MIB, strips, UNIT)
    assert kapi.extents_of(first) == (0, simple)
    assert kapi.extents_of(second) == (UNIT, strips)
    out = bytearray(448)
    fcntl.ioctl(first, kapi.MAP_GET_V2, out)
    assert struct.unpack_from("<QIIII", out) == (5 * UNIT - 1, 0, 0, 5, 0)
    # This call can't tell of more than two.
    assert struct.unpack_from("<6Q", out, 32) == (0, *simple[0], 0, *simple[1])
    assert out[80:] == bytes(448 - 80)
    out = bytearray(448)
    fcntl.ioctl(second, kapi.MAP_GET_V2, out)
    assert struct.unpack_from("<QIIII", out) == (20 * MIB, 0, 1, 1, 0)
    assert struct.unpack_from("<QQQQ", out, 32) == (3, UNIT, 20 * MIB, 0)
    assert [struct.unpack_from("<QQQ", out, 64 + 24 * i) for i in range(3)] == [
        (0, *strip) for strip in strips
    ]


def check_bytes_lie_where_the_map_says(mnt: str, device: str) -> None:
    strips = [(DATA, 16 * MIB), (DATA + 32 * MIB, 16 * MIB), (DATA + 16 * MIB, 16 * MIB)]
    size = 11 * UNIT + 12345
    content = random.Random(1).randbytes(size)
    publish(mnt, f"{mnt}/striped", size, strips, UNIT, content)
    assert Path(f"{mnt}/striped").read_bytes() == content
    # The same memory, seen as it lies on the device.
    subprocess.run(["umount", mnt], check=True)
    subprocess.run(MOUNT(mnt, device), check=True)
    publish(mnt, f"{mnt}/raw", 48 * MIB, [(DATA, 48 * MIB)])
    with open(f"{mnt}/raw", "rb") as file:
        memory = mmap.mmap(file.fileno(), 48 * MIB, prot=mmap.PROT_READ)
    for chunk in range(12):
        strip, stripe = strips[chunk % 3], chunk // 3
        at = strip[0] - DATA + stripe * UNIT
        part = content[chunk * UNIT : (chunk + 1) * UNIT]
        assert memory[at : at + len(part)] == part, chunk
    memory.close()


def MOUNT(mnt: str, device: str) -> list[str]:  # noqa: N802
    """The command that mounts this device again."""
    return [*Path("/run/mount-command").read_text().split(), mnt]


def check_faults_are_of_two_mebibytes(mnt: str, device: str) -> None:
    publish(mnt, f"{mnt}/simple", 64 * MIB, [(DATA, 64 * MIB)])
    publish(mnt, f"{mnt}/striped", 64 * MIB,
            [(DATA + 64 * MIB, 32 * MIB), (DATA + 96 * MIB, 32 * MIB)], UNIT)  # fmt: skip
    for name in ("simple", "striped"):
        before = kapi.counters(device)
        assert kapi.faults(f"{mnt}/{name}") == 32, name
        after = kapi.counters(device)
        assert after["faults_2m"] - before["faults_2m"] == 32
        assert after["faults_4k"] == before["faults_4k"]
        assert after["fallbacks"] == before["fallbacks"]
        # With writes from the start too.
        assert kapi.faults(f"{mnt}/{name}", write=True) == 32, name


def check_an_unaligned_end_takes_single_pages(mnt: str, device: str) -> None:
    size = 2 * UNIT + 3 * 4096 + 1
    publish(mnt, f"{mnt}/odd", size, [(DATA, 3 * UNIT)], fill=b"odd")
    assert kapi.faults(f"{mnt}/odd") == 2 + 4
    content = Path(f"{mnt}/odd").read_bytes()
    assert content == (b"odd" * size)[:size]


def check_behind_the_end_is_a_signal(mnt: str, device: str) -> None:
    publish(mnt, f"{mnt}/short", 100, [(DATA, UNIT)], fill=b"\0")
    program = (
        "import mmap, os, sys; f = os.open(sys.argv[1], os.O_RDWR);"
        "m = mmap.mmap(f, 0); m.close();"
        "import ctypes; libc = ctypes.CDLL(None);"
        "libc.mmap.restype = ctypes.c_void_p;"
        "p = libc.mmap(None, 8192, 1, 1, f, 0); ctypes.string_at(p + 4096, 1)"
    )
    assert subprocess.run(["python3", "-c", program, f"{mnt}/short"], check=False).returncode == -7
    with open(f"{mnt}/short", "r+b") as file:
        assert len(file.read()) == 100
        assert os.pread(file.fileno(), 10, 95) == bytes(5)
        assert os.pread(file.fileno(), 10, 100) == b""
        assert os.pwrite(file.fileno(), b"0123456789", 95) == 5
        refused(errno.EFBIG, os.pwrite, file.fileno(), b"x", 100)


def check_rogue_operations_are_refused(mnt: str, device: str) -> None:
    publish(mnt, f"{mnt}/file", 100, [(DATA, UNIT)], fill=b"precious")
    name = f"{mnt}/file"
    refused(errno.EPERM, os.truncate, name, 0)
    refused(errno.EPERM, os.truncate, name, 200)
    os.truncate(name, 100)
    refused(errno.EPERM, os.unlink, name)
    refused(errno.EPERM, os.rename, name, f"{mnt}/other")
    refused(errno.EPERM, os.symlink, "file", f"{mnt}/link")
    refused(errno.EPERM, os.mknod, f"{mnt}/pipe", 0o10644)
    refused(errno.EPERM, os.link, name, f"{mnt}/hard")
    fd = os.open(name, os.O_RDWR)
    refused(errno.EOPNOTSUPP, libc, "fallocate", fd, 0, ctypes.c_long(0), ctypes.c_long(10))
    done = subprocess.run(["cp", "/etc/passwd", name], check=False, capture_output=True, text=True)
    assert done.returncode == 1
    assert "Operation not permitted" in done.stderr, done.stderr
    done = subprocess.run(["cp", "/etc/passwd", f"{mnt}/fresh"], check=False,
                          capture_output=True, text=True)  # fmt: skip
    assert done.returncode == 1
    assert "Operation not supported" in done.stderr, done.stderr
    # What it left has no map: it can go.
    os.unlink(f"{mnt}/fresh")
    assert Path(name).read_bytes() == (b"precious" * 20)[:100]
    os.chmod(name, 0o600)
    os.chown(name, 1, 2)
    os.utime(name, (5, 6))
    fcntl.flock(fd, fcntl.LOCK_EX)
    os.mkdir(f"{mnt}/dir")
    os.rmdir(f"{mnt}/dir")


def check_a_file_without_a_map_refuses_io(mnt: str, device: str) -> None:
    fd = os.open(f"{mnt}/bare", os.O_RDWR | os.O_CREAT)
    refused(errno.EOPNOTSUPP, os.read, fd, 1)
    refused(errno.EOPNOTSUPP, os.write, fd, b"x")
    refused(errno.EOPNOTSUPP, libc, "mmap", None, ctypes.c_size_t(4096), 1, 1, fd, 0)
    os.unlink(f"{mnt}/bare")


def check_users_install_nothing(mnt: str, device: str) -> None:
    os.chmod(mnt, 0o777)
    publish(mnt, f"{mnt}/file", 100, [(DATA, UNIT)])
    fd = nameless(mnt)
    child = os.fork()
    if child == 0:
        try:
            os.setresuid(1000, 1000, 1000)
            refused(errno.EPERM, kapi.create_v2, fd, UNIT, [(2 * DATA, UNIT)])
            refused(errno.EPERM, kapi.create, fd, UNIT, [(2 * DATA, UNIT)])
            refused(errno.EPERM, kapi.retire, mnt, b"file", 1)
            refused(errno.EPERM, os.open, f"{mnt}/mine", os.O_RDWR | os.O_CREAT)
            refused(errno.EOPNOTSUPP, os.open, mnt, kapi.O_TMPFILE)
            refused(errno.EPERM, kapi.bad_ranges, fd)
            refused(errno.EPERM, os.mkdir, f"{mnt}/dir")
            assert Path(f"{mnt}/file").stat().st_size == 100
            assert kapi.extents_of(os.open(f"{mnt}/file", os.O_RDONLY)) == (0, [(DATA, UNIT)])
        except BaseException:  # noqa: BLE001
            import traceback

            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0


def check_wrong_maps_are_refused(mnt: str, device: str) -> None:
    size = kapi.counters(device)["size"]
    fd = nameless(mnt)
    v1, v2 = kapi.create, kapi.create_v2
    bad = [
        (errno.EINVAL, v2, (UNIT, [])),
        (errno.EINVAL, v2, (0, [(DATA, UNIT)])),
        (errno.EINVAL, v2, (UNIT + 1, [(DATA, UNIT)])),
        (errno.EINVAL, v2, (UNIT, [(DATA + 4096, UNIT)])),
        (errno.EINVAL, v2, (4096, [(DATA, 4096)])),
        (errno.EINVAL, v2, (2 * UNIT, [(DATA, UNIT), (DATA, UNIT)])),
        (errno.EINVAL, v2, (3 * UNIT, [(DATA, 2 * UNIT), (DATA + UNIT, UNIT)])),
        (errno.ERANGE, v2, (UNIT, [(size, UNIT)])),
        (errno.ERANGE, v2, (2 * UNIT, [(size - UNIT, 2 * UNIT)])),
        (errno.ERANGE, v2, (UNIT, [(2**64 - UNIT, UNIT)])),
        (errno.ERANGE, v2, (UNIT, [(DATA, 2**64 - UNIT)])),
        (errno.EINVAL, v2, (2**64 - 1, [(DATA, UNIT)])),
        (errno.E2BIG, v2, (UNIT, [(DATA + i * UNIT, UNIT) for i in range(17)])),
        (errno.EINVAL, v2, (UNIT, [(0, UNIT)])),
        (errno.EINVAL, v2, (UNIT, [(UNIT, UNIT)])),
        (errno.EINVAL, v2, (UNIT, [(DATA, UNIT)], 0, SUPERBLOCK)),
        (errno.EINVAL, v2, (UNIT, [(DATA, UNIT)], 0, LOG)),
        (errno.EINVAL, v2, (UNIT, [(DATA, UNIT)], 0, 3)),
        # Interleaved: chunks of a power of two, not too many for their strips.
        (errno.EINVAL, v2, (UNIT, [(DATA, UNIT)], 3 * UNIT)),
        (errno.EINVAL, v2, (UNIT, [(DATA, UNIT)], 4096)),
        (errno.EINVAL, v2, (3 * UNIT, [(DATA, UNIT), (2 * DATA, UNIT)], UNIT)),
        (errno.EINVAL, v2, (2 * UNIT, [(DATA, UNIT), (2 * DATA, UNIT)], 2 * UNIT)),
        (errno.E2BIG, v1, (UNIT, [(DATA, UNIT)] * 2 + [(0, 0)])),
        (errno.EINVAL, v1, (UNIT, [(DATA + 1, UNIT)])),
    ]
    for wanted, call, arguments in bad[:-2]:
        refused(wanted, call, fd, *arguments)
    refused(errno.EINVAL, v1, fd, UNIT, [(DATA + 1, UNIT)])
    many = struct.pack("<IIQQ4Q", 0, 0, UNIT, 2**40, DATA, UNIT, 0, 0)
    refused(errno.E2BIG, fcntl.ioctl, fd, kapi.MAP_CREATE, many)
    lies = struct.pack("<QIIIIQ", UNIT, 0, 0, 1, 0, 0xFFFF_8000_0000_0000)
    refused(errno.EFAULT, fcntl.ioctl, fd, kapi.MAP_CREATE_V2, lies)
    other = struct.pack("<QIIIIQ", UNIT, 0, 2, 1, 0, 0)
    refused(errno.EINVAL, fcntl.ioctl, fd, kapi.MAP_CREATE_V2, other)
    table = ctypes.create_string_buffer(struct.pack("<QQQ", 1, DATA, UNIT))
    elsewhere = struct.pack("<QIIIIQ", UNIT, 0, 0, 1, 0, ctypes.addressof(table))
    refused(errno.ENODEV, fcntl.ioctl, fd, kapi.MAP_CREATE_V2, elsewhere)
    assert kapi.counters(device)["allocated"] == 0
    # Nothing of that is left on the file: a right map is taken, once.
    v2(fd, UNIT, [(DATA, UNIT)])
    refused(errno.EEXIST, v2, fd, UNIT, [(2 * DATA, UNIT)])
    refused(errno.EBUSY, v2, nameless(mnt), UNIT, [(DATA, UNIT)])
    # All or none: the first extent is free, the second isn't.
    refused(errno.EBUSY, v2, nameless(mnt), 2 * UNIT, [(2 * DATA, UNIT), (DATA, UNIT)])
    assert kapi.counters(device)["allocated"] == UNIT
    v2(nameless(mnt), UNIT, [(2 * DATA, UNIT)])
    refused(errno.ENOTTY, fcntl.ioctl, fd, 0x7563)
    refused(errno.ENOTTY, fcntl.ioctl, os.open(mnt, os.O_RDONLY), kapi.MAP_GET, bytearray(56))


def check_an_empty_file(mnt: str, device: str) -> None:
    publish(mnt, f"{mnt}/empty", 0, [])
    assert Path(f"{mnt}/empty").read_bytes() == b""
    assert kapi.extents_of(os.open(f"{mnt}/empty", os.O_RDONLY)) == (0, [])


def check_space_is_counted(mnt: str, device: str) -> None:
    total = os.statvfs(mnt)
    assert total.f_blocks * total.f_bsize == kapi.counters(device)["size"]
    fd = nameless(mnt)
    kapi.create_v2(fd, 1, [(DATA, 3 * UNIT)])
    used = os.statvfs(mnt)
    assert (total.f_bfree - used.f_bfree) * used.f_bsize == 3 * UNIT
    assert kapi.counters(device)["files"] == 1
    # A file that nobody names or holds gives its memory back.
    os.close(fd)
    assert os.statvfs(mnt).f_bfree == total.f_bfree


def check_holes_and_extents_are_told(mnt: str, device: str) -> None:
    extents = [(DATA, 2 * UNIT), (3 * DATA, 2 * UNIT)]
    publish(mnt, f"{mnt}/file", 4 * UNIT - 5, extents)
    fd = os.open(f"{mnt}/file", os.O_RDONLY)
    assert os.lseek(fd, 7, os.SEEK_DATA) == 7
    assert os.lseek(fd, 7, os.SEEK_HOLE) == 4 * UNIT - 5
    refused(errno.ENXIO, os.lseek, fd, 4 * UNIT, os.SEEK_DATA)
    ask = bytearray(struct.pack("<QQIIII", 0, 2**63 - 1, 0, 0, 4, 0) + bytes(4 * 56))
    fcntl.ioctl(fd, 0xC020660B, ask)  # FS_IOC_FIEMAP
    assert struct.unpack_from("<I", ask, 20)[0] == 2
    found = [struct.unpack_from("<QQQ", ask, 32 + 56 * i) for i in range(2)]
    assert [(physical, length) for _, physical, length in found] == extents


def check_names_pass_in_one_step(mnt: str, device: str) -> None:
    os.makedirs(f"{mnt}/.meta/versions")
    os.mkdir(f"{mnt}/dir")
    versions = [(DATA + i * UNIT, UNIT) for i in range(40)]
    publish(mnt, f"{mnt}/dir/name", UNIT, [versions[0]], fill=b"0,")
    stop = threading.Event()
    missing = []

    def look() -> None:
        while not stop.is_set():
            try:
                with open(f"{mnt}/dir/name", "rb") as file:
                    file.read(2)
            except FileNotFoundError as error:
                missing.append(error)

    readers = [threading.Thread(target=look) for _ in range(3)]
    for reader in readers:
        reader.start()
    with open(f"{mnt}/dir/name", "rb") as held:
        memory = mmap.mmap(held.fileno(), UNIT, prot=mmap.PROT_READ)
    for i, extent in enumerate(versions[1:], 1):
        fd = nameless(mnt)
        kapi.create_v2(fd, UNIT, [extent])
        os.pwrite(fd, b"%d," % i, 0)
        kapi.retire(f"{mnt}/dir", b"name", i - 1, fd)
        os.close(fd)
    stop.set()
    for reader in readers:
        reader.join()
    assert not missing
    # Who had it keeps it; each version is there by the slot that made it.
    assert memory[:2] == b"0,"
    assert Path(f"{mnt}/dir/name").read_bytes()[:3] == b"39,"
    assert sorted(os.listdir(f"{mnt}/.meta/versions"), key=int) == [str(i) for i in range(39)]
    assert Path(f"{mnt}/.meta/versions/17").read_bytes()[:3] == b"17,"
    kapi.retire(f"{mnt}/dir", b"name", 39)
    assert os.listdir(f"{mnt}/dir") == []
    refused(errno.ENOENT, kapi.retire, f"{mnt}/dir", b"name", 40)
    kapi.retire(mnt, b"dir", 99)
    assert os.listdir(mnt) == [".meta"]


def check_names_that_cannot_pass(mnt: str, device: str) -> None:
    publish(mnt, f"{mnt}/file", UNIT, [(DATA, UNIT)])
    refused(errno.ENOENT, kapi.retire, mnt, b"file", 1)  # no .meta/versions
    os.makedirs(f"{mnt}/.meta/versions")
    os.makedirs(f"{mnt}/full/inside")
    Path(f"{mnt}/bare").touch()
    named = os.open(f"{mnt}/file", os.O_RDWR)
    refused(errno.EEXIST, kapi.retire, mnt, b"file", 1, named)
    refused(errno.EINVAL, kapi.retire, mnt, b"file", 1, nameless(mnt))
    refused(errno.EXDEV, kapi.retire, mnt, b"file", 1, os.open("/etc/passwd", os.O_RDONLY))
    refused(errno.EBADF, kapi.retire, mnt, b"file", 1, 999)
    refused(errno.ENOTEMPTY, kapi.retire, mnt, b"full", 1)
    refused(errno.EINVAL, kapi.retire, mnt, b"bare", 1)
    for name in (b"", b".", b"..", b"full/inside", b"a\0b", b"x" * 256):
        refused(errno.EINVAL, kapi.retire, mnt, name, 1)
    refused(errno.EINVAL, kapi.retire, f"{mnt}/.meta", b"versions", 1)
    refused(errno.EINVAL, kapi.retire, f"{mnt}/.meta/versions", b"1", 1)
    fresh = nameless(mnt)
    kapi.create_v2(fresh, UNIT, [(2 * DATA, UNIT)])
    refused(errno.EISDIR, kapi.retire, mnt, b"full", 1, fresh)
    refused(errno.ENOENT, kapi.retire, mnt, b"none", 1, fresh)
    kapi.retire(mnt, b"file", 1, fresh)
    again = nameless(mnt)
    kapi.create_v2(again, UNIT, [(3 * DATA, UNIT)])
    refused(errno.EEXIST, kapi.retire, mnt, b"file", 1, again)
    assert kapi.extents_of(os.open(f"{mnt}/file", os.O_RDONLY))[1] == [(2 * DATA, UNIT)]


def check_directories_go_for_good(mnt: str, device: str) -> None:
    os.makedirs(f"{mnt}/.meta/versions")
    os.mkdir(f"{mnt}/dir")
    held = os.open(f"{mnt}/dir", os.O_RDONLY)
    kapi.retire(mnt, b"dir", 1)
    # Whoever has it open makes nothing in it any more, and the name is free.
    refused(errno.ENOENT, os.mkdir, "child", dir_fd=held)
    refused(errno.ENOENT, os.open, "child", os.O_CREAT | os.O_RDWR, dir_fd=held)
    assert os.listdir(mnt) == [".meta"]
    os.mkdir(f"{mnt}/dir")
    os.close(held)
    refused(errno.EINVAL, kapi.retire, mnt, b".meta", 1)
    busy = f"{mnt}/dir"
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", busy], check=True)
    refused(errno.EBUSY, kapi.retire, mnt, b"dir", 1)
    subprocess.run(["umount", busy], check=True)
    kapi.retire(mnt, b"dir", 1)


def check_successors_must_be_free_to_get_a_name(mnt: str, device: str) -> None:
    os.makedirs(f"{mnt}/.meta/versions")
    publish(mnt, f"{mnt}/name", UNIT, [(DATA, UNIT)])
    closed = os.open(mnt, kapi.O_TMPFILE | os.O_EXCL, 0o644)
    kapi.create_v2(closed, UNIT, [(2 * DATA, UNIT)])
    refused(errno.EINVAL, kapi.retire, mnt, b"name", 1, closed)
    unlinked = os.open(f"{mnt}/gone", os.O_RDWR | os.O_CREAT)
    os.unlink(f"{mnt}/gone")
    kapi.create_v2(unlinked, UNIT, [(3 * DATA, UNIT)])
    refused(errno.EINVAL, kapi.retire, mnt, b"name", 1, unlinked)
    assert os.listdir(f"{mnt}/.meta/versions") == []


def check_mounts_that_are_refused(mnt: str, device: str) -> None:
    def refuses(*options: str) -> str:
        done = subprocess.run(["mount", "-t", "famfs", *options, "/mnt/other"], check=False,
                              capture_output=True, text=True)  # fmt: skip
        assert done.returncode != 0, options
        return done.stderr

    os.makedirs("/mnt/other", exist_ok=True)
    # What is mounted is not mounted twice, by whatever name.
    command = MOUNT("/mnt/other", device)
    assert subprocess.run(command, check=False, capture_output=True).returncode != 0
    if device.startswith("pmem"):
        os.makedirs("/tmp/nodes", exist_ok=True)
        if not os.path.exists("/tmp/nodes/version"):
            os.mknod("/tmp/nodes/version", 0o60600, os.stat("/dev/pmem0").st_rdev)
        refuses("/tmp/nodes/version")
    refuses("/dev/null")
    refuses("/etc/passwd")
    refuses("/no/such/device")
    # RAM, a hole, a device's registers, and what makes no sense.
    for range_ in ("0x200000+0x200000", "0x2000000000+0x200000", "0xfee00000+0x200000", "1+1",
                   "0x40000000", "0x40000000+0", "x+y", "0xffffffffffe00000+0x400000"):  # fmt: skip
        refuses("-o", f"range={range_}", "none")
    refuses("-o", "nonsense", "none")
    subprocess.run(["mount", "-o", "remount,ro", mnt], check=True)
    refused(errno.EROFS, os.mkdir, f"{mnt}/dir")
    subprocess.run(["mount", "-o", "remount,rw", mnt], check=True)
    os.mkdir(f"{mnt}/dir")


def check_programs_find_what_they_look_at(mnt: str, device: str) -> None:
    publish(mnt, f"{mnt}/file", UNIT + 5, [(DATA, 2 * UNIT)], fill=b"content")
    stat = os.stat(f"{mnt}/file")
    # A file without blocks is a hole to those who archive it.
    assert stat.st_blocks * 512 == 2 * UNIT
    fd = os.open(f"{mnt}/file", os.O_RDONLY | os.O_DIRECT)
    memory = mmap.mmap(-1, 4096)
    assert os.preadv(fd, [memory], 0) == 4096
    assert memory[:7] == b"content"
    parameter = Path("/sys/module/famfs/parameters/famfs_kabi_version")
    assert parameter.read_text() == "43\n"
    os.sync()


def check_a_killed_publisher_leaves_nothing(mnt: str, device: str) -> None:
    program = (
        "import sys, os, time; sys.path.insert(0, '/host'); import kapi;"
        f"fd = os.open({mnt!r}, kapi.O_TMPFILE);"
        f"kapi.create_v2(fd, 64 << 20, [({DATA}, 64 << 20)]);"
        "print('filling', flush=True); os.write(fd, b'x' * 4096); time.sleep(60)"
    )
    child = subprocess.Popen(["python3", "-c", program], stdout=subprocess.PIPE)
    assert child.stdout.readline() == b"filling\n"
    assert kapi.counters(device)["allocated"] == 64 * MIB
    child.kill()
    child.wait()
    assert os.listdir(mnt) == []
    assert kapi.counters(device)["allocated"] == 0


def check_fsync_and_private_mappings(mnt: str, device: str) -> None:
    publish(mnt, f"{mnt}/file", UNIT, [(DATA, UNIT)], fill=b"public")
    with open(f"{mnt}/file", "r+b") as file:
        private = mmap.mmap(file.fileno(), UNIT, mmap.MAP_PRIVATE)
        private[:6] = b"secret"
        shared = mmap.mmap(file.fileno(), UNIT)
        assert shared[:6] == b"public"
        shared[:6] = b"PUBLIC"
        shared.flush()
        os.fsync(file.fileno())
        assert private[:6] == b"secret"
        assert os.pread(file.fileno(), 6, 0) == b"PUBLIC"


def check_many_at_once(mnt: str, device: str) -> None:
    errors = []

    def work(n: int) -> None:
        try:
            for i in range(6):
                extent = (DATA + (n * 6 + i) * UNIT, UNIT)
                publish(mnt, f"{mnt}/{n}-{i}", UNIT, [extent], fill=b"%d" % n)
                assert Path(f"{mnt}/{n}-{i}").read_bytes()[:1] == b"%d" % n
        except BaseException as error:  # noqa: BLE001
            errors.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors, errors
    assert kapi.counters(device)["files"] == 36
