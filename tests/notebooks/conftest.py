"""A directory of the session's own, in which the notebooks leave nothing."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest

# Short: engines put sockets below it, whose paths have little room.
HOME = pytest.StashKey[Path]()


def pytest_configure(config):
    """Gives the kernels, which inherit the environment, a place for temporary files."""
    config.stash[HOME] = Path(tempfile.mkdtemp(prefix="nb-"))
    os.environ["TMPDIR"] = str(config.stash[HOME])


def pytest_unconfigure(config):
    """Takes it away, with what engines leave there, and the volumes of kernels that were killed."""
    import famfs

    for mount in famfs.mounts():
        if mount.mountpoint.startswith(str(config.stash[HOME])):
            famfs.umount(mount.mountpoint, discard=mount.embedded)
    shutil.rmtree(config.stash[HOME], ignore_errors=True)


@pytest.fixture
def home(request):
    """That directory."""
    return request.config.stash[HOME]
