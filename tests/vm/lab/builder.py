"""Builds the kernel module for a kernel, with the compiler of the release that the kernel is of."""

from __future__ import annotations

import hashlib
import shutil
from contextlib import nullcontext
from pathlib import Path

from .archive import cache, locked, run, unpack
from .kernels import SERIES, Kernel, archive

KMOD = Path(__file__).resolve().parents[3] / "kmod"
TOOLS = (
    "make",
    "libc6-dev",
    "libelf1t64",
    "dash",
    "coreutils",
    "bash",
    "findutils",
    "sed",
    "grep",
    "mawk",
    "diffutils",
    "base-files",
    "perl-base",
    "binutils",
    "pahole",
    "kmod",
    "libssl3t64",
    "sparse",
)


def root(kernel: Kernel) -> Path | None:
    """The folder whose compiler builds for this kernel; none for this machine's own."""
    series = SERIES[kernel.series]
    if not series.builder:
        return None
    place = cache() / "builders" / "+".join(series.builder)
    # Made again when it is to have other programs.
    complete = place / f"complete-{hashlib.sha256(repr(TOOLS).encode()).hexdigest()[:16]}"
    with locked("builder-" + place.name):
        if not complete.exists():
            shutil.rmtree(place, ignore_errors=True)
            packages = archive(*series.builder)
            unpack(packages.download_with_needs(series.compiler, *TOOLS), place)
            for folder in ("proc", "dev", "tmp"):
                (place / folder).mkdir(exist_ok=True)
            # What the package's script would have chosen among several.
            (place / "usr/bin/awk").symlink_to("mawk")
            complete.touch()
    return place


#: Every warning, and what the checker of address spaces and byte orders says.
CHECKED = ("W=1", "C=2", "CF=-D__CHECK_ENDIAN__")


def build(kernel: Kernel) -> Path:
    """Build ``famfs.ko`` for a kernel and return its path; made again when a source changed.

    What was printed is beside it, in ``build.log``.

    Raises:
        LabError: It doesn't build.
    """
    options = CHECKED + SERIES[kernel.series].checker
    sources = sorted(path for path in KMOD.iterdir() if path.is_file())
    content = hashlib.sha256(repr((options, TOOLS)).encode())
    for path in sources:
        content.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    place = cache() / "modules" / kernel.release / content.hexdigest()[:16]
    with locked(f"build-{kernel.series}"):
        if not (place / "build.log").exists():
            shutil.rmtree(place.parent, ignore_errors=True)
            place.mkdir(parents=True)
            for path in sources:
                shutil.copy2(path, place)
            printed = make(kernel, place, "modules", *options)
            (place / "build.log").write_text(printed)
    return place / "famfs.ko"


def make(kernel: Kernel, place: Path, *words: str) -> str:
    """Run the kernel's build in a folder, as its release would."""
    compiler = SERIES[kernel.series].compiler
    command = ("make", "-C", kernel.headers, f"M={place}", f"CC={compiler}", *words)
    return run_inside(kernel, *command)


def run_inside(kernel: Kernel, *command: str | Path, hidden: tuple[str, ...] = ()) -> str:
    """Run a command with the programs of the kernel's release; what it needs is in the cache.

    What it writes into the folders named as hidden is gone after it, and they are empty before.
    """
    inside = root(kernel)
    if inside is None and not hidden:
        return run(*command)
    top = inside or Path("/")
    places = [top / folder.lstrip("/") for folder in hidden]
    with locked("hidden") if hidden else nullcontext():
        return _run_hidden(inside, places, *command)


def _run_hidden(inside: Path | None, places: list[Path], *command: str | Path) -> str:
    top = inside or Path("/")
    made = [place for place in places if not place.exists()]
    steps = ["set -e; root=$1; cache=$2; shift 2"]
    steps += [f'mount -t tmpfs tmpfs "{place}"' for place in places]
    if inside is not None:
        # The cache keeps its place, as the headers name it by its path.
        (inside / cache().relative_to("/")).mkdir(parents=True, exist_ok=True)
        steps += [
            'mount -t proc proc "$root/proc"',
            'mount --rbind "$cache" "$root$cache"',
            'mount --bind /dev "$root/dev"',
        ]
    steps.append('exec chroot "$root" "$@"')
    words = ["unshare", "--mount", "sh", "-c", "; ".join(steps), "sh", str(top), str(cache())]
    for place in made:
        place.mkdir(parents=True)
    try:
        return run(*words, *command, env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"})
    finally:
        for place in made:
            place.rmdir()
