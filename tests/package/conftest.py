"""What is handed out, built once; and the scripts that build it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT / "tests" / "python")]

import package  # noqa: E402


@pytest.fixture(scope="session")
def sdist(tmp_path_factory):
    """The source distribution."""
    return package.sdist(tmp_path_factory.mktemp("sdist"))


@pytest.fixture(scope="session")
def wheel(sdist, tmp_path_factory):
    """A wheel built from it, quickly; what is in it is what the one that is handed out has."""
    return package.wheel(sdist, tmp_path_factory.mktemp("wheel"), "packed")


@pytest.fixture(scope="session")
def command():
    """The native command, as other tests have it."""
    if found := os.environ.get("FAMFS_BIN"):
        return Path(found)
    subprocess.run(["cargo", "build", "-q", "-p", "famfs-cli"], cwd=ROOT, check=True)
    return Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "debug" / "famfs"


@pytest.fixture
def staged(command, tmp_path):
    """A tree as a system's package has it."""
    package.stage(command, tmp_path / "tree", "/usr")
    return tmp_path / "tree"
