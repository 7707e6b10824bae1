"""Debian packages of any suite, fetched and unpacked without being installed.

The mirror is the one that this machine's own apt uses; its configuration is left alone: each
archive has one of its own, in the cache outside the tree.
"""

from __future__ import annotations

import fcntl
import os
import re
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
MINUTES = 60.0


class LabError(Exception):
    """Something that a test needs can't be had; the message says what and why."""


def cache() -> Path:
    """Where fetched and built things are kept: outside the tree, and made again when missing."""
    chosen = os.environ.get("FAMFS_LAB_CACHE")
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    place = Path(chosen) if chosen else home / "famfs-lab"
    place.mkdir(parents=True, exist_ok=True)
    return place


@contextmanager
def locked(name: str) -> Iterator[None]:
    """Keep other processes from making the same thing at the same time."""
    with (cache() / f"{name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def run(
    *command: str | Path,
    env: dict[str, str] | None = None,
    cwd: Path | None = None,
    limit: float = 10 * MINUTES,
) -> str:
    """Run a command and return what it prints; its failure becomes an error with its last words."""
    words = [str(word) for word in command]
    try:
        done = subprocess.run(
            words,
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env={**os.environ, "LC_ALL": "C", **(env or {})},
            cwd=cwd,
            timeout=limit,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise LabError(f"`{' '.join(words)}`: {error}") from error
    if done.returncode != 0:
        last = "\n".join(done.stdout.splitlines()[-25:])
        raise LabError(f"`{' '.join(words)}` exits with {done.returncode}:\n{last}")
    return done.stdout


def mirror() -> str:
    """The address that this machine takes Debian's packages from."""
    targets = run(
        "apt-get",
        "indextargets",
        "--format",
        "$(ORIGIN) $(LABEL) $(CODENAME) $(COMPONENT) $(REPO_URI)",
        "Created-By: Packages",
    )
    for line in targets.splitlines():
        words = line.split()
        if words[:2] == ["Debian", "Debian"] and words[3] == "main":
            return words[4]
    raise LabError("apt has no lists of Debian's main archive: run `apt-get update` as root")


class Archive:
    """The packages of one or more suites, the newest version of each."""

    def __init__(self, *suites: str) -> None:
        self.name = "+".join(suites)
        self.suites = suites
        self.root = cache() / "apt" / self.name

    def __repr__(self) -> str:
        return f"Archive({self.name!r})"

    def _env(self) -> dict[str, str]:
        return {"APT_CONFIG": str(self.root / "apt.conf"), "DEBIAN_FRONTEND": "noninteractive"}

    def update(self) -> None:
        """Fetch the suites' lists of packages."""
        for part in ("lists/partial", "cache/archives/partial", "etc"):
            (self.root / part).mkdir(parents=True, exist_ok=True)
        # No package counts as installed here: what is asked for comes with all that it needs.
        (self.root / "status").touch()
        source = mirror()
        (self.root / "sources.list").write_text(
            "".join(f"deb [signed-by={KEYRING}] {source} {suite} main\n" for suite in self.suites)
        )
        settings = {
            "Dir::Etc": f"{self.root}/etc",
            "Dir::Etc::sourcelist": f"{self.root}/sources.list",
            "Dir::State": str(self.root),
            "Dir::State::lists": f"{self.root}/lists",
            "Dir::State::status": f"{self.root}/status",
            "Dir::Cache": f"{self.root}/cache",
            "Acquire::Languages": "none",
            "Acquire::Retries": "3",
            "APT::Sandbox::User": "root",
            "APT::Install-Recommends": "false",
            "Debug::NoLocking": "true",
            "Binary::apt-get::APT::Keep-Downloaded-Packages": "true",
        }
        # The machine's way to the mirror, a proxy for instance, is kept.
        machine = run("apt-config", "dump").splitlines()
        kept = [line for line in machine if line.startswith("Acquire::http")]
        lines = [*kept, *(f'{name} "{value}";' for name, value in settings.items())]
        (self.root / "apt.conf").write_text("\n".join(lines) + "\n")
        run("apt-get", "update", env=self._env())

    def show(self, package: str) -> dict[str, str]:
        """The fields of the newest version of a package."""
        text = run("apt-cache", "show", "--no-all-versions", package, env=self._env())
        fields: dict[str, str] = {}
        for line in text.splitlines():
            name, colon, value = line.partition(": ")
            if colon and not line.startswith(" "):
                fields.setdefault(name, value)
        if "Version" not in fields:
            raise LabError(f"{self.name} has no package {package}")
        return fields

    def needs(self, package: str) -> list[str]:
        """The names of the packages that a package depends on directly."""
        depends = self.show(package).get("Depends", "")
        parts = (part.strip().split(" ")[0] for part in depends.split(","))
        return [part.split(":")[0] for part in parts if part]

    def download(self, *packages: str) -> list[Path]:
        """Just these packages, as files."""
        place = self.root / "cache" / "archives"
        files = []
        for package in packages:
            fields = self.show(package)
            file = self._file(package, fields["Version"], fields["Architecture"])
            if not file.exists():
                run("apt-get", "download", package, env=self._env(), cwd=place)
            if not file.exists():
                raise LabError(f"apt-get download {package} did not make {file.name}")
            files.append(file)
        return files

    def download_with_needs(self, *packages: str) -> list[Path]:
        """These packages and all that they depend on, as files."""
        install = ("apt-get", "install", "-y")
        plan = run(*install, "--simulate", *packages, env=self._env())
        run(*install, "--download-only", *packages, env=self._env())
        # Inst NAME (VERSION ORIGIN [ARCHITECTURE])
        found = re.findall(r"^Inst (\S+) \((\S+) .*?\[(\w+)\]\)", plan, re.MULTILINE)
        return [self._file(*fields) for fields in found]

    def _file(self, package: str, version: str, architecture: str) -> Path:
        """Where apt keeps what it fetched."""
        name = f"{package}_{version.replace(':', '%3a')}_{architecture}.deb"
        return self.root / "cache" / "archives" / name


def unpack(files: list[Path], root: Path) -> None:
    """Unpack packages into a folder; none of their scripts runs."""
    root.mkdir(parents=True, exist_ok=True)
    # As on every Debian since 12: the top's folders lead into usr.
    for name in ("bin", "sbin", "lib", "lib64"):
        (root / "usr" / name).mkdir(parents=True, exist_ok=True)
        if not (root / name).exists():
            (root / name).symlink_to(f"usr/{name}")
    for file in files:
        # Folders that lead elsewhere are followed, not replaced.
        script = 'dpkg-deb --fsys-tarfile "$1" | tar -x --keep-directory-symlink -C "$2"'
        run("bash", "-o", "pipefail", "-c", script, "unpack", file, root)
