"""Fixtures: the famfs program, a volume of its own for each test, and checks of each run.

The program is the one that FAMFS_BIN names, or is built once.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

TOP = Path(__file__).resolve().parents[2]
NOBODY = 65534


def pytest_configure() -> None:
    """Have what the tests start end at an interrupt.

    A shell has what it runs in the background ignore them, and that is inherited.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)


def build() -> Path:
    """Build the program, and say where it is."""
    target = Path(os.environ.get("CARGO_TARGET_DIR", TOP / "target"))
    subprocess.run(["cargo", "build", "-q", "-p", "famfs-cli"], cwd=TOP, check=True)
    return target / "debug" / "famfs"


@pytest.fixture(scope="session")
def program() -> Iterator[Path]:
    """Give the program, in a place where any user may run it."""
    found = os.environ.get("FAMFS_BIN")
    with tempfile.TemporaryDirectory(prefix="famfs-bin-") as folder:
        Path(folder).chmod(0o755)
        copy = Path(folder) / "famfs"
        shutil.copy(Path(found) if found else build(), copy)
        copy.chmod(0o755)
        yield copy


@dataclass
class Run:
    """What came of a run."""

    code: int
    out: bytes
    err: str

    @property
    def text(self) -> str:
        """Standard output as text."""
        return self.out.decode()


@dataclass
class Famfs:
    """Runs the program, with mounts of its own."""

    program: Path
    folder: Path
    mounts: dict[Path, Path] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)

    def env(self) -> dict[str, str]:
        """Make the environment of a run."""
        pairs = ":".join(f"{source}={mnt}" for mnt, source in self.mounts.items())
        kept = {key: value for key, value in os.environ.items() if not key.startswith("FAMFS")}
        return {**kept, "FAMFS_MOUNTS": pairs, **self.environment}

    def start(self, *args: object, **options: Any) -> subprocess.Popen[bytes]:
        """Start it, with pipes for what it prints."""
        return subprocess.Popen(
            [str(self.program), *(a if isinstance(a, bytes) else str(a) for a in args)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=self.env(),
            **options,
        )

    def end(self, process: subprocess.Popen[bytes]) -> Run:
        """Wait for a run: it must end by itself and in no panic."""
        out, err = process.communicate(timeout=120)
        run = Run(process.returncode, out, err.decode(errors="replace"))
        assert "panicked" not in run.err, run.err
        assert run.code >= 0, f"ended by signal {-run.code}: {run.err}"
        return run

    def __call__(self, *args: object, code: int = 0, **options: Any) -> Run:
        """Run it, and expect an exit code."""
        run = self.end(self.start(*args, **options))
        assert run.code == code, f"{args}: {run.code}, not {code}: {run.err or run.out[:500]!r}"
        if code == 0:
            assert "famfs: warning" in run.err or not run.err, run.err
        return run

    def fails(self, *args: object, says: str, code: int = 1, **options: Any) -> Run:
        """Run it, and expect it to fail with one line that says what to do."""
        run = self(*args, code=code, **options)
        assert run.err.startswith("famfs: "), run.err
        assert says in run.err, run.err
        return run

    def volume(self, name: str, *options: object, size: str = "64M") -> Volume:
        """Make a volume and mount it."""
        source, mnt = self.folder / name, self.folder / f"{name}.mnt"
        mnt.mkdir()
        self("mkfs", source, "--size", size, "--sparse", *options)
        self.mounts[mnt] = source
        return Volume(source, mnt)


@dataclass(frozen=True)
class Volume:
    """A backing file and the directory that stands for it."""

    source: Path
    mnt: Path

    @property
    def reservations(self) -> Path:
        """Say where its reservations are kept."""
        return self.source.with_name(f".{self.source.name}.famfs-reservations")


@pytest.fixture
def folder() -> Iterator[Path]:
    """Give a directory that every user may enter."""
    with tempfile.TemporaryDirectory(prefix="famfs-test-") as name:
        Path(name).chmod(0o755)
        yield Path(name).resolve()


@pytest.fixture
def famfs(program: Path, folder: Path) -> Famfs:
    """Give the program, without mounts."""
    return Famfs(program, folder)


@pytest.fixture
def volume(famfs: Famfs) -> Volume:
    """Give a new volume of 64 MiB, mounted for `famfs`."""
    return famfs.volume("vol")


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
