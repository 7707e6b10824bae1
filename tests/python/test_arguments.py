"""Arguments: sizes, modes and paths, and the errors that they come back in."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
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


@pytest.mark.parametrize("text", SIZES)
def test_a_size_is_the_same_in_python_and_in_the_command(tmp_path, text):
    assert _arguments.read_size(text) == SIZES[text]
    if SIZES[text] > 1 << 30:
        return
    famfs.mkfs(tmp_path / "python", size=text, sparse=True)
    made = command("mkfs", tmp_path / "command", "--size", text, "--sparse")
    assert made.returncode == 0, made.stderr
    sizes = [(tmp_path / name).stat().st_size for name in ("python", "command")]
    assert sizes == [SIZES[text]] * 2


@pytest.mark.parametrize("text", NO_SIZES)
def test_what_is_no_size_is_refused_by_both(tmp_path, text):
    with pytest.raises(famfs.FamfsError, match="size") as caught:
        famfs.mkfs(tmp_path / "volume", size=text)
    done = command("mkfs", tmp_path / "volume", f"--size={text}")
    assert done.returncode == 2
    if "b" in text.lower():
        for said in (str(caught.value), done.stderr):
            assert "write 64M or 64MiB" in said
    assert not (tmp_path / "volume").exists()


@pytest.mark.parametrize(
    "size", [-1, 0, 1, 4096, "1M", "11M", (1 << 50) + 1, 1 << 63, 1 << 80, 2.5]
)
def test_sizes_that_make_no_volume(tmp_path, size):
    for call in (
        lambda: famfs.mkfs(tmp_path / "volume", size=size),
        lambda: famfs.embedded(size=size),
    ):
        with pytest.raises(famfs.FamfsError, match="size") as caught:
            call()
        assert type(caught.value) is famfs.FamfsError
        assert "--size" not in str(caught.value)
        assert "/dev/shm" not in str(caught.value)
    with pytest.raises(famfs.FamfsError, match="log|size"):
        famfs.mkfs(tmp_path / "volume", size="64M", log_size=size)
    assert not (tmp_path / "volume").exists()


@pytest.mark.parametrize("mode", [-1, 0o10000, 1 << 40, 1 << 80, 4.5, "rw"])
def test_modes_that_there_are_not(mnt, mode):
    for call in (
        lambda: famfs.publish(b"x", f"{mnt}/x", mode=mode),
        lambda: famfs.mkdir(f"{mnt}/x", mode=mode),
    ):
        with pytest.raises(famfs.FamfsError, match="mode.*0o640") as caught:
            call()
        assert type(caught.value) is famfs.FamfsError
    assert famfs.ls(mnt) == []


def test_modes_that_there_are(mnt):
    for mode in (0, 0o640, 0o4755, 0o7777, np.int64(0o600)):
        famfs.publish(b"x", f"{mnt}/{mode}", mode=mode)
        famfs.mkdir(f"{mnt}/{mode}d", mode=mode)
        assert famfs.stat(f"{mnt}/{mode}").mode == famfs.stat(f"{mnt}/{mode}d").mode == mode


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


def test_an_entry_of_a_directory_opens_its_files(mnt):
    famfs.mkdir(f"{mnt}/d")
    (entry,) = famfs.ls(mnt)
    with pytest.raises(famfs.NotFound, match=f"{mnt}/d: there is no file in it"):
        famfs.open(entry)


def test_listing_mounts_does_not_make_them_busy(tmp_path, run):
    famfs_mnt = str(tmp_path / "mnt")
    assert command("mount", "--embedded", "--size", "32M", famfs_mnt).returncode == 0
    try:
        mount = next(mount for mount in famfs.mounts() if mount.mountpoint == famfs_mnt)
        assert (mount.role, mount.locality, mount.embedded) == ("master", "local", True)
        assert mount.source not in Path("/proc/self/maps").read_text()
    finally:
        gone = command("umount", "--discard", famfs_mnt)
    assert gone.returncode == 0, gone.stderr
    assert not os.path.exists(mount.source)


def test_a_mount_whose_volume_is_another_now_has_no_role(tmp_path):
    (tmp_path / "mnt").mkdir()
    famfs.mkfs(tmp_path / "volume", size="32M")
    before = famfs.mount(tmp_path / "volume", tmp_path / "mnt")
    try:
        famfs.mkfs(tmp_path / "volume", force=True)
        found = next(m for m in famfs.mounts() if m.mountpoint == before.mountpoint)
        assert (found.uuid, found.role, found.locality) == (before.uuid, None, None)
        (tmp_path / "volume").write_bytes(bytes(32 << 20))
        found = next(m for m in famfs.mounts() if m.mountpoint == before.mountpoint)
        assert (found.uuid, found.role) == (before.uuid, None)
    finally:
        famfs.umount(tmp_path / "mnt")


HUGE = 1 << 70


@pytest.mark.parametrize(
    ("shape", "dtype", "told"),
    [
        (HUGE, "f8", "shape=.*below 2\\*\\*63"),
        ((0, HUGE), "f8", "shape=.*below 2\\*\\*63"),
        (1 << 62, "f8", "too big"),
        ((1 << 40, 1 << 40), [("a", "u1")], "too big"),
        ((1,) * 65, "f8", "dimension"),
        ((1,) * 64, "(2,)f8", "dimension"),
        (1, [("a", "f8"), ("a", "f8")], "more than once"),
        ((1, "x"), "f8", "shape: 'x' is not"),
    ],
    ids=str,
)
def test_arrays_that_there_are_not(mnt, shape, dtype, told):
    with pytest.raises(famfs.Unsupported, match=told), famfs.create(f"{mnt}/a", shape, dtype):
        pass
    assert famfs.ls(mnt) == []


@pytest.mark.parametrize(
    ("rows", "sizes", "told"),
    [
        (HUGE, None, "rows=.*below 2\\*\\*63"),
        ("x", None, "rows: 'x' is not a whole number of rows"),
        (3, {"s": HUGE}, r"sizes\['s'\]=.*below 2\*\*63"),
        (3, {"s": -1}, r"sizes\['s'\]=-1"),
        (3, {"s": "x"}, r"sizes\['s'\]: 'x' is not a whole number of bytes"),
        (3, {5: 7}, "named by strings"),
        (3, [1, 2], "bytes by the column's name"),
        (3, 5, "bytes by the column's name"),
        (3, "ab", "bytes by the column's name"),
    ],
    ids=str,
)
def test_tables_that_there_are_not(mnt, rows, sizes, told):
    schema = pa.schema({"s": pa.string()})
    with (
        pytest.raises(famfs.Unsupported, match=told),
        famfs.create_table(f"{mnt}/t", schema, rows, sizes=sizes),
    ):
        pass
    assert famfs.ls(mnt) == []


@pytest.mark.parametrize("make", [lambda: b"abc", lambda: {"a": [1, 2, 3]}, lambda: np.arange(3)])
def test_parts_that_there_are_not(mnt, make):
    thing = make()
    ds = famfs.open(
        famfs.publish(pa.table(thing) if isinstance(thing, dict) else thing, f"{mnt}/x")
    )
    for i, n in ((0, HUGE), (HUGE, HUGE + 1), (0, None), (0.5, 2), ("a", 2)):
        with pytest.raises(famfs.Unsupported, match="part"):
            ds.partition(i, n)
    with pytest.raises(IndexError):
        ds.partition(HUGE, 3)
    with pytest.raises((IndexError, famfs.Unsupported), match=str(HUGE)):
        ds[HUGE]
    assert len(ds[-HUGE:HUGE]) == 3
    # Of more parts than there are rows some are empty.
    assert sum(len(ds.partition(i, (1 << 63) - 1)) for i in range(3)) <= 3


@pytest.mark.parametrize("rows", [HUGE, 0, -1, "x", 2.5])
def test_partitions_that_there_are_not(mnt, rows):
    with pytest.raises(famfs.Unsupported, match="batch_rows"):
        famfs.publish({"a": np.arange(3)}, f"{mnt}/t", batch_rows=rows)
    assert famfs.ls(mnt) == []


def test_an_offset_that_is_no_row(mnt):
    schema = pa.schema({"a": pa.int8()})
    with famfs.create_table(f"{mnt}/t", schema, 3) as t:
        for offset in (HUGE, -1, "x", 0.5):
            with pytest.raises(famfs.FamfsError, match="offset|do not fit"):
                t.fill("a", [1], offset)
        t.fill("a", [1, 2, 3], np.int64(0))


def test_polars_has_one_column_of_a_name(mnt):
    ds = famfs.open(famfs.publish({"a": np.arange(3), "b": np.ones(3)}, f"{mnt}/t"))
    with pytest.raises(famfs.Unsupported, match="'a' is here again as column 2.*rename_columns"):
        ds[["a", "b", "a"]].to_polars()
    renamed = ds[["a", "b", "a"]].to_arrow().rename_columns(["a", "b", "c"])
    assert famfs.open(famfs.publish(renamed, f"{mnt}/u")).to_polars().shape == (3, 3)


PATH_CALLS = {
    "open": famfs.open,
    "publish": lambda path: famfs.publish(b"x", path),
    "create": lambda path: famfs.create(path, 3, "f8"),
    "create_table": lambda path: famfs.create_table(path, pa.schema({"a": pa.int8()}), 3),
    "transaction": famfs.transaction,
    "commit": lambda path: famfs.transaction().commit(files=[path]),
    "ls": famfs.ls,
    "stat": famfs.stat,
    "exists": famfs.exists,
    "remove": famfs.remove,
    "mkdir": famfs.mkdir,
    "versions": famfs.versions,
    "wait": lambda path: famfs.wait(path, 0),
    "watch": famfs.watch,
    "df": famfs.df,
    "plot_map": famfs.plot_map,
    "umount": famfs.umount,
    "mkfs": lambda path: famfs.mkfs(path, size="64M"),
}


@pytest.mark.parametrize("call", PATH_CALLS)
def test_what_is_no_path_is_said_by_every_call(mnt, call):
    for half in (f"{mnt}/\ud800", "\udfff\ud800", f"{mnt}/a\udc00/b"):
        with pytest.raises(famfs.InvalidPath, match="half of a character.* bytes"):
            PATH_CALLS[call](half)
    with pytest.raises(famfs.InvalidPath, match=r"path is empty.*mounts\(\)"):
        PATH_CALLS[call]("")
    for wrong in (5, 2.5, [mnt], object()):
        with pytest.raises(famfs.Unsupported, match="is no path.*Path"):
            PATH_CALLS[call](wrong)


def test_what_is_no_reference_is_said(mnt):
    for half in ("\ud800", f"famfs://{mnt}/\udc00#0"):
        with pytest.raises(famfs.InvalidPath, match="half a surrogate pair"):
            famfs.Ref(half)
        with pytest.raises(famfs.InvalidPath):
            famfs.open(half)
    for wrong in (5, None, b"famfs://"):
        with pytest.raises(famfs.Unsupported, match="str.ref."):
            famfs.Ref(wrong)
    with pytest.raises(famfs.Unsupported, match="None is no path"):
        famfs.open(None)


def test_a_name_of_any_bytes_is_a_path(mnt):
    name = f"{mnt}/".encode() + b"\xff\xe4"
    famfs.publish(b"x", name)
    assert famfs.open(name).copy() == famfs.open(os.fsdecode(name)).copy() == b"x"
