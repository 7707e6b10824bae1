"""Arguments: sizes, modes and paths, and the errors that they come back in."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import famfs
from famfs import _arguments

SIZES = {
    "33554432": 32 << 20,
    "32M": 32 << 20,
    "32m": 32 << 20,
    "32Mi": 32 << 20,
    "32MiB": 32 << 20,
    "32 MiB": 32 << 20,
    "32768k": 32 << 20,
    "1G": 1 << 30,
    "2tib": 2 << 40,
}
NO_SIZES = ["", "lots", "-1", "5X", "64MB", "64 mb", "1.5G", " 8M", "8M ", "M", "99999999999T"]


def command(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "famfs", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_an_odd_path_is_the_filename_too(mnt):
    path = os.fsdecode(mnt.encode() + b"/caf\xe9")
    with pytest.raises(famfs.NotFound) as caught:
        famfs.open(path)
    assert caught.value.filename == path


def test_a_backing_file_is_the_filename(tmp_path):
    famfs.mkfs(tmp_path / "volume", size="32M", sparse=True)
    with pytest.raises(famfs.AlreadyExists) as caught:
        famfs.mkfs(tmp_path / "volume")
    assert caught.value.filename == str(tmp_path / "volume")


def test_an_entry_of_a_directory_is_no_file(mnt):
    famfs.mkdir(f"{mnt}/d")
    (entry,) = famfs.ls(mnt)
    with pytest.raises(famfs.InvalidPath, match=f"{mnt}/d: is a directory"):
        famfs.open(entry)
