"""Stock kernels of Debian: the newest image and headers of a suite, unpacked, and modules built.

A kernel is known by the series that the project supports; which point release that is today is
asked of the mirror each time the lists are fetched anew, as old ones vanish.
"""

from __future__ import annotations

import re
import shutil
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .archive import Archive, LabError, cache, locked, run, unpack

if TYPE_CHECKING:
    from pathlib import Path

FRESH = 6 * 3600.0
GNU = "x86_64-linux-gnu"


@dataclass(frozen=True)
class Series:
    """Where the kernels of a series come from, and what they are built with."""

    name: str
    suite: str
    pattern: str
    #: The suites that the compiler comes from; none where this machine's own is the one.
    builder: tuple[str, ...] = ()
    compiler: str = "gcc-12"
    #: What the build is told beyond the usual, so that sparse can read the headers.
    checker: tuple[str, ...] = ()


SERIES = {
    series.name: series
    for series in (
        Series("6.1", "bookworm", r"6\.1\."),
        Series("6.12", "bookworm-backports", r"6\.12\."),
        Series(
            "7",
            "trixie-backports",
            r"7\.\d+",
            ("trixie",),
            "gcc-14",
            # The package of headers has no script that would find sparse, which is older than a
            # word of theirs; but for qualifiers it means what another one does.
            ("KBUILD_CHECKSRC=2", "CF=-D__CHECK_ENDIAN__ -D__typeof_unqual__=__typeof__"),
        ),
    )
}


@dataclass(frozen=True)
class Kernel:
    """An unpacked kernel with its headers."""

    series: str
    release: str
    root: Path

    @property
    def image(self) -> Path:
        """What QEMU boots; newer packages keep it with the modules."""
        boot = self.root / "boot" / f"vmlinuz-{self.release}"
        return boot if boot.exists() else self.modules / "vmlinuz"

    @property
    def modules(self) -> Path:
        """Its modules."""
        return self.root / "usr" / "lib" / "modules" / self.release

    @property
    def headers(self) -> Path:
        """Where modules are built for it."""
        return self.root / "usr" / "src" / f"linux-headers-{self.release}"


def archive(*suites: str) -> Archive:
    """The suites' archive, its lists not older than some hours."""
    found = Archive(*suites)
    stamp = found.root / "updated"
    with locked(found.name):
        if not stamp.exists() or time.time() - stamp.stat().st_mtime > FRESH:
            found.update()
            stamp.touch()
    return found


def kernel(name: str) -> Kernel:
    """The newest kernel of a series, fetched and unpacked when it isn't there yet."""
    series = SERIES[name]
    packages = archive(series.suite)
    images = [
        need
        for need in packages.needs("linux-image-amd64")
        if re.match(rf"linux-image-{series.pattern}", need)
    ]
    if not images:
        version = packages.show("linux-image-amd64")["Version"]
        raise LabError(f"{series.suite} has no kernel {name} any more: it is at {version}")
    release = images[0].removeprefix("linux-image-")
    version = packages.show(images[0])["Version"]
    found = Kernel(name, release, cache() / "kernels" / f"{release}_{version}")
    with locked(f"kernel-{name}"):
        if not (found.root / "complete").exists():
            _fetch(packages, found)
            (found.root / "complete").touch()
    return found


def _fetch(packages: Archive, found: Kernel) -> None:
    shutil.rmtree(found.root, ignore_errors=True)
    image, headers = f"linux-image-{found.release}", f"linux-headers-{found.release}"
    # Newer images come in parts.
    parts = [need for need in packages.needs(image) if need.endswith(found.release)]
    sources = [
        need
        for need in packages.needs(headers)
        if need.startswith(("linux-headers-", "linux-kbuild-"))
    ]
    files = packages.download(image, headers, *parts, *sources)
    unpack(files, found.root)
    # The one Makefile that names the place where the packages would have been installed.
    makefile = found.headers / "Makefile"
    text = makefile.read_text()
    makefile.write_text(text.replace("/usr/src/", f"{found.root}/usr/src/"))
    for link in (found.headers / "scripts", found.headers / "tools"):
        _repoint(link, found.root)
    run("depmod", "-b", found.root, found.release)


def _repoint(link: Path, root: Path) -> None:
    """Let a link that leads to where the packages would be installed lead into the folder."""
    if link.is_symlink():
        target = link.readlink()
        if target.is_absolute():
            link.unlink()
            link.symlink_to(root / target.relative_to("/"))
