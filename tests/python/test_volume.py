"""Volumes, names and errors, each with the class that the interface gives it."""

from __future__ import annotations

import errno
import os
import shutil
import stat as modes
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest

import famfs


@pytest.fixture
def small(tmp_path):
    """A backing file and its mount, to be broken."""
    (tmp_path / "mnt").mkdir()
    famfs.mkfs(tmp_path / "volume", size="32MiB")
    famfs.mount(tmp_path / "volume", tmp_path / "mnt")
    yield tmp_path
    famfs.umount(tmp_path / "mnt")


def test_the_classes_are_one_tree():
    builtin = {
        "NotFound": FileNotFoundError,
        "AlreadyExists": FileExistsError,
        "NoSpace": OSError,
        "NotMaster": PermissionError,
        "ReadOnlyVolume": PermissionError,
        "Corrupt": ValueError,
        "Unsupported": TypeError,
        "MemoryFault": OSError,
        "InvalidPath": ValueError,
        "PermissionDenied": PermissionError,
        "HostError": OSError,
        "NotMounted": Exception,
        "Busy": Exception,
        "VolumeChanged": Exception,
    }
    for name, base in builtin.items():
        assert issubclass(getattr(famfs, name), famfs.FamfsError)
        assert issubclass(getattr(famfs, name), base)


def test_names(mnt):
    famfs.mkdir(f"{mnt}/d", mode=0o750)
    table = famfs.publish({"a": np.arange(7)}, f"{mnt}/d/table", mode=0o640)
    famfs.publish(np.zeros((3, 2)), f"{mnt}/d/array")
    famfs.publish(b"x", f"{mnt}/bytes")
    root = famfs.ls(mnt)
    assert [(e.name, e.kind, e.rows) for e in root] == [
        ("d", "directory", None),
        ("bytes", "bytes", None),
    ]
    found = famfs.ls(f"{mnt}/d")
    assert [(e.name, e.kind, e.rows) for e in found] == [
        ("table", "table", 7),
        ("array", "array", 3),
    ]
    assert found[0].path == f"{mnt}/d/table"
    assert (found[0].mode, found[0].uid, found[0].gid) == (0o640, os.geteuid(), os.getegid())
    assert found[0].ref == table
    assert found[0].index == table.index
    assert ", mode=0o640, " in repr(found[0])
    assert repr(found[0]).startswith(f"Entry(name='table', path='{mnt}/d/table', kind='table', ")
    assert famfs.open(found[0]).num_rows == 7
    assert famfs.ls(f"{mnt}/bytes")[0].name == "bytes"
    assert famfs.stat(mnt).kind == "directory"
    assert famfs.stat(f"{mnt}/d").mode == 0o750
    with pytest.raises(famfs.Busy, match="not empty"):
        famfs.remove(f"{mnt}/d")
    assert famfs.exists(f"{mnt}/d/table")
    assert famfs.exists(mnt)


def test_the_mode_follows_the_umask(mnt):
    before = os.umask(0o027)
    try:
        famfs.publish(b"x", f"{mnt}/x")
        assert os.umask(0o027) == 0o027
    finally:
        os.umask(before)
    assert famfs.stat(f"{mnt}/x").mode == 0o640


def test_overwriting_makes_a_version(mnt):
    first = famfs.publish(np.arange(3), f"{mnt}/a")
    opened = famfs.open(first)
    with pytest.raises(famfs.AlreadyExists, match="overwrite") as caught:
        famfs.publish(np.arange(4), f"{mnt}/a")
    assert caught.value.errno == errno.EEXIST
    second = famfs.publish(np.arange(4), f"{mnt}/a", overwrite=True)
    assert famfs.versions(f"{mnt}/a") == [second, first]
    assert len(famfs.open(f"{mnt}/a")) == 4
    assert len(famfs.open(first)) == len(opened) == 3
    famfs.remove(f"{mnt}/a")
    assert len(famfs.open(first)) == 3
    assert len(famfs.open(str(second))) == 4
    with pytest.raises(famfs.NotFound):
        famfs.open(f"{mnt}/a")
    third = famfs.publish(b"new", f"{mnt}/a", overwrite=True)
    assert third not in {first, second}


def test_paths_that_are_wrong(mnt, tmp_path):
    famfs.publish(b"x", f"{mnt}/file")
    famfs.mkdir(f"{mnt}/d")
    for path, error in {
        f"{mnt}/nothing": famfs.NotFound,
        # A directory opens as its tables.
        f"{mnt}/d": famfs.NotFound,
        mnt: famfs.Unsupported,
        f"{mnt}/a/../file": famfs.InvalidPath,
        f"{mnt}/a//file": famfs.InvalidPath,
        f"{mnt}/" + "n" * 80: famfs.InvalidPath,
        f"{mnt}/a\0b": famfs.InvalidPath,
        f"{tmp_path}/x": famfs.NotMounted,
        "famfs://nonsense": famfs.InvalidPath,
        "famfs://00000000-0000-0000-0000-000000000000/x#0": famfs.NotMounted,
    }.items():
        with pytest.raises(error):
            famfs.open(path)
    for path, error in {
        f"{mnt}/nothing/x": famfs.NotFound,
        f"{mnt}/file/x": famfs.InvalidPath,
        f"{mnt}/d": famfs.AlreadyExists,
        f"{mnt}/" + "n" * 80: famfs.InvalidPath,
        f"{mnt}/../x": famfs.FamfsError,
        mnt: famfs.InvalidPath,
        f"{tmp_path}/x": famfs.NotMounted,
    }.items():
        with pytest.raises(error):
            famfs.publish(b"y", path)
    with pytest.raises(famfs.InvalidPath):
        famfs.publish(b"y", f"{mnt}/d", overwrite=True)
    with pytest.raises(famfs.NotMounted, match="famfs mount --embedded"):
        famfs.ls(tmp_path)
    with pytest.raises(famfs.NotFound):
        famfs.open(famfs.Ref(f"famfs://{famfs.open(f'{mnt}/file').ref.uuid}/x#999"))


def test_names_that_are_no_text(mnt):
    path = os.fsdecode(mnt.encode() + b"/caf\xe9 #?%")
    ref = famfs.publish(b"x", path)
    assert famfs.ls(mnt)[0].path == path
    assert famfs.open(famfs.Ref(str(ref))).path == path
    assert famfs.open(path).ref.path == os.path.basename(path)


def test_a_full_volume(mnt):
    with pytest.raises(famfs.NoSpace, match="df") as caught:
        famfs.publish(np.zeros(9 << 20), f"{mnt}/large")
    assert caught.value.errno == errno.ENOSPC
    assert famfs.ls(mnt) == []


def test_another_host_is_the_master(tmp_path):
    (tmp_path / "mnt").mkdir()
    host = "6ba7b810-9dad-11d1-80b4-00c04fd430c8"
    famfs.mkfs(tmp_path / "volume", size="32MiB", host_uuid=host)
    mount = famfs.mount(tmp_path / "volume", tmp_path / "mnt")
    try:
        assert mount.role == "client"
        with pytest.raises(famfs.NotMaster, match=host):
            famfs.publish(b"x", tmp_path / "mnt" / "x")
    finally:
        famfs.umount(tmp_path / "mnt")


def test_the_reference_format_cannot_replace(tmp_path):
    (tmp_path / "mnt").mkdir()
    famfs.mkfs(tmp_path / "volume", size="32MiB", omf="2.2")
    famfs.mount(tmp_path / "volume", tmp_path / "mnt")
    try:
        famfs.publish(b"x", tmp_path / "mnt" / "x")
        with pytest.raises(famfs.Unsupported, match="2.2"):
            famfs.publish(b"y", tmp_path / "mnt" / "x", overwrite=True)
        with pytest.raises(famfs.Unsupported, match="2.2"):
            famfs.remove(tmp_path / "mnt" / "x")
    finally:
        famfs.umount(tmp_path / "mnt")
    with pytest.raises(famfs.Unsupported, match="2.3"):
        famfs.mkfs(tmp_path / "other", size="32MiB", omf="3.0")


def test_what_is_no_volume(tmp_path):
    (tmp_path / "mnt").mkdir()
    (tmp_path / "junk").write_bytes(os.urandom(32 << 20))
    (tmp_path / "empty").write_bytes(b"")
    for name in ("junk", "empty"):
        with pytest.raises(famfs.Corrupt, match="mkfs"):
            famfs.mount(tmp_path / name, tmp_path / "mnt")
    with pytest.raises(famfs.FamfsError, match="no such"):
        famfs.mount(tmp_path / "nothing", tmp_path / "mnt")
    with pytest.raises(famfs.FamfsError, match="size"):
        famfs.mkfs(tmp_path / "tiny", size="1MiB")
    famfs.mkfs(tmp_path / "volume", size="32MiB")
    with pytest.raises(famfs.AlreadyExists, match="force"):
        famfs.mkfs(tmp_path / "volume")
    famfs.mkfs(tmp_path / "volume", force=True)
    with pytest.raises(famfs.FamfsError, match="uuid"):
        famfs.mkfs(tmp_path / "other", size="32MiB", host_uuid="me")


def test_mounts_tell_what_memory_an_embedded_volume_got(mnt, small):
    memory = {mount.mountpoint: mount.memory for mount in famfs.mounts()}
    assert memory[mnt].startswith(("a private tmpfs", "a file in "))
    assert memory[str(small / "mnt")] is None


def test_df_tells_what_memory_an_embedded_volume_has(mnt, small):
    words = next(mount.memory for mount in famfs.mounts() if mount.mountpoint == mnt)
    found = famfs.df(mnt)
    assert found.memory == words
    assert 0 <= found.huge <= found.capacity
    if "huge pages" in words:
        assert found.huge == found.capacity
    script = "import famfs, sys; print(famfs.df(sys.argv[1]).huge)"
    run = subprocess.run([sys.executable, "-c", script, mnt], check=True, capture_output=True)
    assert int(run.stdout) == found.huge, "who has touched nothing of it sees the same"
    assert famfs.df(small / "mnt")[-2:] == (None, None)


def test_mounts(small):
    mnt = str(small / "mnt")
    mount = next(mount for mount in famfs.mounts() if mount.mountpoint == mnt)
    assert (mount.role, mount.locality, mount.embedded) == ("master", "local", False)
    with pytest.raises(famfs.Busy):
        famfs.mount(small / "volume", mnt)
    with pytest.raises(famfs.NotMounted):
        famfs.umount(small)
    with pytest.raises(famfs.FamfsError, match="embedded"):
        famfs.umount(mnt, discard=True)


def test_a_volume_made_anew_under_the_mount(small):
    ref = famfs.publish(b"x", small / "mnt" / "x")
    famfs.mkfs(small / "volume", force=True)
    with pytest.raises(famfs.VolumeChanged, match="mount it again"):
        famfs.open(small / "mnt" / "x")
    with pytest.raises(famfs.FamfsError):
        famfs.open(ref)
    with pytest.raises(famfs.VolumeChanged):
        famfs.publish(b"y", small / "mnt" / "y")


def test_a_backing_file_that_was_cut(small):
    table = {"a": np.arange(1000), "b": np.arange(1000.0)}
    famfs.publish(b"x" * (4 << 20), small / "mnt" / "first")
    ref = famfs.publish(table, small / "mnt" / "table")
    opened = famfs.open(ref)
    os.truncate(small / "volume", 14 << 20)
    with pytest.raises(famfs.MemoryFault) as caught:
        famfs.open(ref)
    assert caught.value.errno == errno.EIO
    with pytest.raises(famfs.MemoryFault):
        opened.to_arrow()
    with pytest.raises(famfs.MemoryFault):
        opened._file.verify()
    with pytest.raises(famfs.MemoryFault):
        famfs.ls(small / "mnt")
    with pytest.raises(famfs.FamfsError):
        famfs.publish(b"y", small / "mnt" / "y")


def test_an_embedded_volume_is_gone_at_the_end():
    with famfs.embedded(size="32MiB") as mnt:
        source = next(mount.source for mount in famfs.mounts() if mount.mountpoint == mnt)
        assert modes.S_ISREG(os.stat(source).st_mode)
        kept = famfs.open(famfs.publish(np.arange(100), f"{mnt}/a")).to_numpy()
    assert not os.path.exists(source)
    assert not os.path.exists(os.path.dirname(mnt))
    assert kept.sum() == 4950
    with pytest.raises(ZeroDivisionError), famfs.embedded(size="32MiB") as mnt:
        source = next(mount.source for mount in famfs.mounts() if mount.mountpoint == mnt)
        1 / 0  # noqa: B018
    assert not os.path.exists(source)
    assert all(mount.mountpoint != mnt for mount in famfs.mounts())


def test_an_embedded_volume_without_a_block(run):
    volume = famfs.embedded(size="32MiB")
    mnt = volume.mountpoint
    assert os.fspath(volume) == mnt
    assert mnt in repr(volume)
    assert famfs.ls(volume) == []
    famfs.publish(b"hello", f"{mnt}/x")
    # A forked child ends with its copy of the object, and the volume stays.
    child = os.fork()
    if child == 0:
        try:
            volume.close()
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert [entry.name for entry in famfs.ls(mnt)] == ["x"]
    volume.close()
    volume.close()
    assert "closed" in repr(volume)
    assert not os.path.exists(os.path.dirname(mnt))
    with pytest.raises(famfs.NotMounted):
        famfs.ls(mnt)
    # Neither a process that ends nor an object that is forgotten leaves one.
    for code in ("kept = made()", "made()"):
        make = f"""
            import famfs
            def made():
                volume = famfs.embedded(size="32MiB")
                print(volume.mountpoint)
                return volume
            {code}
        """
        mnt = run(make).stdout.strip()
        assert mnt.endswith("/mnt")
        assert all(mount.mountpoint != mnt for mount in famfs.mounts())
        assert not os.path.exists(os.path.dirname(mnt))


def test_an_embedded_volume_goes_also_while_others_read_it():
    code = "import sys, famfs; d = famfs.open(sys.argv[1]).buffer(); print(1, flush=True); input(); print(bytes(d))"  # noqa: E501
    with famfs.embedded(size="32MiB") as mnt:
        ref = famfs.publish(b"hello", f"{mnt}/x")
        reader = subprocess.Popen(
            [sys.executable, "-c", code, str(ref)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert reader.stdout.readline() == "1\n"
        with pytest.raises(famfs.Busy, match="process"):
            famfs.umount(mnt, discard=True)
        source = next(mount.source for mount in famfs.mounts() if mount.mountpoint == mnt)
    assert not os.path.exists(source)
    assert reader.communicate("\n", timeout=30)[0] == "b'hello'\n"


def test_a_host_that_is_full(tmp_path):
    size = shutil.disk_usage(tmp_path).total * 2
    with pytest.raises(famfs.NoSpace):
        famfs.mkfs(tmp_path / "volume", size=size)
    assert not (tmp_path / "volume").exists()
    with pytest.raises(famfs.NoSpace), famfs.embedded(size="900TiB"):
        pass


def test_importing_is_light(run):
    code = """
        import sys, famfs
        heavy = {"numpy", "pyarrow", "pandas"} & set(sys.modules)
        assert not heavy, heavy
        assert set(famfs.__all__) <= set(dir(famfs))
        assert not hasattr(famfs, "nothing")
        import famfs.errors
        for name in famfs.__all__: getattr(famfs, name)
        assert "pyarrow" not in sys.modules
    """
    run(code)


def test_waiting(mnt, run):
    with pytest.raises(TimeoutError, match="nothing"):
        famfs.wait(f"{mnt}/later", timeout=0.05)
    child = subprocess.Popen(
        [sys.executable, "-c", "import sys, famfs; famfs.wait(sys.argv[1], 30)", f"{mnt}/later"]
    )
    famfs.publish(b"x", f"{mnt}/later")
    assert child.wait(timeout=30) == 0


def famfs_command(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "famfs", *map(str, arguments)],
        capture_output=True,
        timeout=60,
        check=False,
    )


def test_the_command_is_in_the_package(mnt):
    famfs.publish({"a": np.arange(10)}, f"{mnt}/table")
    listed = famfs_command("ls", mnt)
    assert (listed.returncode, listed.stdout.split()) == (0, [b"table"])
    with pa.ipc.open_file(famfs_command("cat", f"{mnt}/table").stdout) as reader:
        assert reader.read_all()["a"].to_pylist() == list(range(10))
    assert famfs_command("fsck", mnt).returncode == 0
    wrong = famfs_command("ls", f"{mnt}/nothing")
    assert wrong.returncode == 1
    assert b"no such file" in wrong.stderr
    assert famfs_command("nonsense").returncode == 2
    famfs_command("rm", f"{mnt}/table")
    assert famfs.ls(mnt) == []


def test_paths_may_be_bytes(mnt):
    path = f"{mnt}/x".encode()
    ref = famfs.publish(b"1", path)
    assert famfs.open(path).ref == ref
    assert famfs.stat(path).size == 1
    famfs.remove(path)
    assert not famfs.exists(path)
