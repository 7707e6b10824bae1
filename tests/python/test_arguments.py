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


def test_errors_are_about_the_path_as_it_was_written(mnt, monkeypatch):
    famfs.publish(b"x", f"{mnt}/file")
    famfs.mkdir(f"{mnt}/d")
    famfs.publish(b"x", f"{mnt}/d/file")
    monkeypatch.chdir(os.path.dirname(mnt))
    for root in (mnt, "mnt", "./mnt"):
        calls = [
            (famfs.NotFound, f"{root}/no", famfs.open),
            (famfs.NotFound, f"{root}/no", famfs.ls),
            (famfs.NotFound, f"{root}/no", famfs.stat),
            (famfs.NotFound, f"{root}/no", famfs.remove),
            (famfs.NotFound, f"{root}/no", famfs.versions),
            (famfs.NotFound, f"{root}/no/x", famfs.mkdir),
            (famfs.NotFound, f"{root}/no/x", lambda path: famfs.publish(b"y", path)),
            (famfs.AlreadyExists, f"{root}/d", famfs.mkdir),
            (famfs.AlreadyExists, f"{root}/file", lambda path: famfs.publish(b"y", path)),
            (famfs.AlreadyExists, f"{root}/file", lambda path: famfs.publish(np.ones(2), path)),
            (
                famfs.AlreadyExists,
                f"{root}/file",
                lambda path: famfs.publish({"a": np.ones(1)}, path),
            ),
            (famfs.NoSpace, f"{root}/big", lambda path: famfs.publish(bytes(70 << 20), path)),
            (famfs.InvalidPath, f"{root}/d", famfs.open),
            (famfs.InvalidPath, f"{root}/file/x", famfs.mkdir),
            (famfs.InvalidPath, root, famfs.mkdir),
            (famfs.Busy, f"{root}/d", famfs.remove),
        ]
        for kind, path, call in calls:
            with pytest.raises(kind) as caught:
                call(path)
            said = str(caught.value)
            assert said.removeprefix(f"[Errno {getattr(caught.value, 'errno', 0)}] ").startswith(
                f"{path}:"
            ), said
            assert said.count(path) == 1
            if isinstance(caught.value, OSError):
                assert caught.value.filename == path
                again = pickle.loads(pickle.dumps(caught.value))
                assert (str(again), again.filename) == (said, path)


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
