"""Memory that fails under a mount, and a device that goes away."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import signal
import subprocess
import time
from pathlib import Path

import kapi
from checks import DATA, MOUNT, refused
from kapi import UNIT, publish

SIZE = 4 * UNIT
BAD = UNIT + 5 * 4096  # the page of the file that fails
MADV_HWPOISON = 100


def child(body: str, path: str) -> subprocess.Popen[bytes]:
    """A process that maps the file, says so, and goes on when it is told."""
    program = f"""
import mmap, os, sys
fd = os.open({path!r}, os.O_RDONLY)
memory = mmap.mmap(fd, {SIZE}, mmap.MAP_SHARED, mmap.PROT_READ)
print(sum(memory[i] for i in range(0, {SIZE}, 4096)), flush=True)
sys.stdin.readline()
{body}
"""
    started = subprocess.Popen(
        ["python3", "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert started.stdout.readline()
    return started


def early(path: str, at: int) -> subprocess.Popen[bytes]:
    """A process that maps one page of the file, and is to be told at once when that fails."""
    program = f"""
import ctypes, mmap, os, sys
PR_MCE_KILL, PR_MCE_KILL_SET, PR_MCE_KILL_EARLY = 33, 1, 1
assert ctypes.CDLL(None).prctl(PR_MCE_KILL, PR_MCE_KILL_SET, PR_MCE_KILL_EARLY, 0, 0) == 0
fd = os.open({path!r}, os.O_RDONLY)
memory = mmap.mmap(fd, 4096, mmap.MAP_SHARED, mmap.PROT_READ, offset={at})
print(memory[0], flush=True)
sys.stdin.readline()
"""
    started = subprocess.Popen(
        ["python3", "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert started.stdout.readline()
    return started


def finish(process: subprocess.Popen[bytes]) -> int:
    """Tell it to go on, and wait for its end; it may have been signalled before."""
    try:
        process.communicate(b"go\n", timeout=30)
    except BrokenPipeError:
        process.wait()
    return process.returncode


def poison(path: str, at: int) -> None:
    """Let a page of a file fail, as a memory error would."""
    fd = os.open(path, os.O_RDWR)
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
    libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    base = libc.mmap(None, SIZE, mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_SHARED, fd, 0)
    ctypes.string_at(base + at, 1)
    # Whoever injects it maps the page too, and is signalled where the kernel finds it fit.
    signal.signal(signal.SIGBUS, signal.SIG_IGN)
    assert libc.madvise(base + at, 4096, MADV_HWPOISON) == 0, os.strerror(ctypes.get_errno())
    os.close(fd)


def check_poison(mnt: str, device: str) -> None:
    strips = [(DATA, 2 * UNIT), (2 * DATA, 2 * UNIT)]
    path = f"{mnt}/striped"
    publish(mnt, path, SIZE, strips, UNIT, fill=b"data")
    publish(mnt, f"{mnt}/other", SIZE, [(3 * DATA, SIZE)], fill=b"data")
    # Of those who want to be told at once, only who maps the page itself is.
    maps_bad, maps_beside = early(path, BAD), early(path, BAD + 4096)
    reads_bad = child(f"memory[{BAD}]", path)
    reads_beside = child(
        f"assert memory[{BAD} - 4096:{BAD}] == memory[{BAD} + 4096:{BAD} + 8192] == b'data' * 1024",
        path,
    )
    reads_other = child(f"assert memory[{BAD}:{BAD} + 4] == b'data'", f"{mnt}/other")
    before = kapi.counters(device)["failed"]
    injector = os.fork()
    if injector == 0:
        poison(path, BAD)
        os._exit(0)
    status = os.waitpid(injector, 0)[1]
    assert status in (0, signal.SIGBUS), status
    # The chunk with the bad page is the first of the second strip.
    place = 2 * DATA + BAD - UNIT
    fd = os.open(path, os.O_RDWR)
    assert kapi.bad_ranges(fd) == [(place, 4096)]
    bad_pages = Path(f"/sys/fs/famfs/{device}/bad_pages")
    assert bad_pages.read_text() == f"{place}+4096\n"
    assert finish(maps_bad) == -signal.SIGBUS
    assert finish(maps_beside) == 0
    assert finish(reads_bad) == -signal.SIGBUS
    assert finish(reads_beside) == 0
    assert finish(reads_other) == 0
    assert kapi.counters(device)["failed"] > before
    refused(errno.EIO, os.pread, fd, 4096, BAD)
    refused(errno.EIO, os.pwrite, fd, b"x", BAD + 1)
    assert os.pread(fd, 4096, BAD - 4096) == b"data" * 1024
    assert os.pread(fd, 4096, BAD + 4096) == b"data" * 1024
    # A read that runs into it ends in front of it.
    assert len(os.pread(fd, 3 * 4096, BAD - 4096)) == 4096
    os.close(fd)
    # A new mount knows of it too, whoever's the memory is then.
    subprocess.run(["umount", mnt], check=True)
    subprocess.run(MOUNT(mnt, device), check=True)
    publish(mnt, f"{mnt}/later", SIZE, [(2 * DATA, SIZE)])
    fd = os.open(f"{mnt}/later", os.O_RDONLY)
    refused(errno.EIO, os.pread, fd, 1, BAD - UNIT)
    assert os.pread(fd, 4, 0) == b"data"
    refused(errno.EINVAL, bad_pages.write_text, "what")
    bad_pages.write_text("clear")
    assert kapi.bad_ranges(fd) == []


def check_unbind(mnt: str, device: str) -> None:
    path = f"{mnt}/file"
    publish(mnt, path, SIZE, [(DATA, SIZE)], fill=b"data")
    mapped = child("memory[0]", path)
    fd = os.open(path, os.O_RDONLY)
    if device.startswith("pmem"):
        driver, name = Path("/sys/bus/nd/drivers/nd_pmem"), "namespace0.0"
    else:
        driver, name = Path("/sys/bus/dax/drivers/fsdev_dax"), device
    (driver / "unbind").write_text(name)
    assert kapi.counters(device)["dead"] == 1
    assert finish(mapped) == -signal.SIGBUS
    refused(errno.EIO, os.pread, fd, 1, 0)
    refused(errno.EIO, mmap.mmap, fd, SIZE, mmap.MAP_SHARED, mmap.PROT_READ)
    fresh = os.open(mnt, kapi.O_TMPFILE)
    refused(errno.EIO, kapi.create_v2, fresh, UNIT, [(2 * DATA, UNIT)])
    os.close(fresh)
    os.close(fd)
    subprocess.run(["umount", mnt], check=True)
    # With its driver back the memory is as it was.
    (driver / "bind").write_text(name)
    time.sleep(0.5)
    subprocess.run(MOUNT(mnt, device), check=True)
    assert kapi.counters(device)["dead"] == 0
    publish(mnt, path, SIZE, [(DATA, SIZE)])
    assert Path(path).read_bytes() == b"data" * (SIZE // 4)
