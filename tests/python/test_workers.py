"""How a process that did not mount a volume finds it."""

from __future__ import annotations

import os

import numpy as np
import pytest

import famfs


@pytest.fixture
def apart(tmp_path):
    """A device with an array on it that is mounted nowhere, the array's reference, and its path."""
    device, mnt = tmp_path / "volume", tmp_path / "mnt"
    mnt.mkdir()
    famfs.mkfs(device, size="32MiB")
    famfs.mount(device, mnt)
    ref = famfs.publish(np.arange(100), f"{mnt}/array")
    famfs.umount(mnt)
    return device, ref, f"{mnt}/array"


TOTAL = """
    import sys, famfs
    try:
        print(famfs.open(sys.argv[1]).to_numpy().sum())
    except famfs.NotMounted as error:
        print(error)
"""


def test_the_environment_says_where_a_volume_is(apart, run, monkeypatch):
    device, ref, path = apart
    monkeypatch.setenv("FAMFS_MOUNTS", f"{device}={os.path.dirname(path)}")
    for name in (str(ref), path):
        assert run(TOTAL, name).stdout == "4950\n"


def test_its_mount_point_need_not_be_there(apart, run, monkeypatch):
    device, ref, _ = apart
    monkeypatch.setenv("FAMFS_MOUNTS", f"/dev/null=/mnt/no:{device}=/mnt/nowhere")
    for name in (str(ref), "/mnt/nowhere/array"):
        assert run(TOTAL, name).stdout == "4950\n"


def test_who_lacks_it_is_told_what_to_do(apart, run):
    _, ref, path = apart
    said = run(TOTAL, str(ref)).stdout
    volume = str(ref).removeprefix("famfs://").partition("/")[0]
    for part in (volume, "famfs mount DEV MNT", "FAMFS_MOUNTS=DEV=MNT"):
        assert part in said, part
    assert f"{path}: lies under no famfs mount" in run(TOTAL, path).stdout


def test_a_wrong_list_is_said_to_be_one(apart, run, monkeypatch):
    monkeypatch.setenv("FAMFS_MOUNTS", "/dev/somewhere")
    failed = run(TOTAL, apart[2], check=False)
    assert failed.returncode
    assert "DEV=MNT was expected" in failed.stderr
