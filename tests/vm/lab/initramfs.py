"""What a guest boots: a small root in memory that finds the large one on the host."""

from __future__ import annotations

import hashlib
import lzma
import os
import shutil
import stat
from pathlib import Path

from .archive import cache, locked, run, unpack
from .kernels import Kernel, archive

HERE = Path(__file__).resolve().parent
#: With all that they need, in each guest; one that a kernel doesn't have is built in, or not there.
MODULES = (
    "virtio_pci", "virtio_console", "9pnet_virtio", "9p", "overlay",
    "nd_pmem", "nd_e820", "dax_hmem", "device_dax", "fsdev_dax", "kmem", "dax_pmem",
    "hwpoison-inject", "xfs", "ext4", "nfit", "brd",
    # Asked for by its algorithm's name, which no list of what a module needs has.
    "crc32c_generic",
)  # fmt: skip


def busybox() -> Path:
    """A shell and tools in one file that needs no library."""
    place = cache() / "busybox"
    with locked("busybox"):
        if not (place / "complete").exists():
            unpack(archive("bookworm").download("busybox-static"), place)
            (place / "complete").touch()
    return place / "bin" / "busybox"


def closure(kernel: Kernel) -> list[str]:
    """The files of the modules that guests load, below the kernel's modules."""
    needs = {}
    for line in (kernel.modules / "modules.dep").read_text().splitlines():
        path, _, others = line.partition(":")
        needs[path] = others.split()
    by_name = {Path(path).name.split(".")[0].replace("_", "-"): path for path in needs}
    found: set[str] = set()
    for name in MODULES:
        if file := by_name.get(name.replace("_", "-")):
            found.update([file, *needs[file]])
    return sorted(found)


def initramfs(kernel: Kernel) -> Path:
    """The packed root, made again when one of its parts changed."""
    parts = [HERE / "init.sh", HERE / "agent.sh", Path(__file__)]
    content = hashlib.sha256(b"".join(part.read_bytes() for part in parts)).hexdigest()[:16]
    made = kernel.root / f"initramfs-{content}"
    with locked(f"initramfs-{kernel.series}"):
        if not made.exists():
            _make(kernel, made)
    return made


def _make(kernel: Kernel, made: Path) -> None:
    root = made.with_suffix(".d")
    shutil.rmtree(root, ignore_errors=True)
    for folder in ("bin", "proc", "sys", "dev"):
        (root / folder).mkdir(parents=True)
    shutil.copy(busybox(), root / "bin" / "busybox")
    for name, script in (("init", "init.sh"), ("agent.sh", "agent.sh")):
        shutil.copy(HERE / script, root / name)
        (root / name).chmod(0o755)
    modules = root / "lib" / "modules" / kernel.release
    for path in closure(kernel):
        data = (kernel.modules / path).read_bytes()
        to = modules / path.removesuffix(".xz")
        to.parent.mkdir(parents=True, exist_ok=True)
        to.write_bytes(lzma.decompress(data) if path.endswith(".xz") else data)
    for name in ("modules.builtin", "modules.order"):
        shutil.copy(kernel.modules / name, modules)
    run("depmod", "-b", root, kernel.release)
    temporary = made.with_suffix(".new")
    temporary.write_bytes(_pack(root))
    temporary.rename(made)
    shutil.rmtree(root)


def _pack(root: Path) -> bytes:
    """A newc archive, as the kernel's Documentation/driver-api/early-userspace has it."""
    out = bytearray()

    def add(name: str, mode: int, data: bytes) -> None:
        fields = (0, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0)
        out.extend(b"070701" + b"".join(b"%08x" % field for field in fields))
        out.extend(name.encode() + b"\0")
        out.extend(bytes(-len(out) % 4))
        out.extend(data)
        out.extend(bytes(-len(out) % 4))

    for folder, folders, files in os.walk(root):
        folders.sort()
        for name in [*folders, *sorted(files)]:
            path = Path(folder) / name
            mode = path.lstat().st_mode
            data = path.read_bytes() if stat.S_ISREG(mode) else b""
            add(str(path.relative_to(root)), mode, data)
    add("TRAILER!!!", 0, b"")
    return bytes(out)
