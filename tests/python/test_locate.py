"""From memory back to the file: `famfs._native.locate`, on which passing by reference rests."""

from __future__ import annotations

import multiprocessing
import pickle
import sys

import numpy as np
import pyarrow as pa
import pytest

import famfs
from famfs._native import locate

DATA = np.arange(100_000, dtype=np.int64)


def place(array):
    return array.__array_interface__["data"][0], array.nbytes


def same(array):
    """Whether what is found of the array in its file is the array."""
    ref, at = locate(*place(array))
    found = np.frombuffer(famfs.open(ref).buffer(), array.dtype, array.size, at)
    return place(found) == place(array)


def test_arrays_and_parts_of_them(mnt):
    ref = famfs.publish(DATA, f"{mnt}/array")
    array = famfs.open(ref).to_numpy()
    address, size = place(array)
    found, at = locate(address, size)
    assert found == ref
    assert found.path == "array"
    assert 0 < at < 4096  # behind the .npy header
    assert locate(address + 80, 8) == (ref, at + 80)
    assert same(array[10:20])
    assert same(array[-1:])


def test_each_buffer_of_a_table(mnt):
    table = pa.table({"x": DATA, "s": [f"row {i}" for i in range(len(DATA))]})
    ref = famfs.publish(table, f"{mnt}/table")
    found = famfs.open(ref).to_arrow()
    offsets = set()
    for column in found.columns:
        for chunk in column.chunks:
            for buffer in chunk.buffers():
                if buffer is not None:
                    located, at = locate(buffer.address, buffer.size)
                    assert located == ref
                    assert famfs.open(ref).buffer()[at : at + 5] == memoryview(buffer)[:5]
                    offsets.add(at)
    assert len(offsets) == 3
    assert locate(table["x"].chunk(0).buffers()[1].address, 8) is None


def test_what_is_nobodys(mnt):
    ref = famfs.publish(DATA, f"{mnt}/array")
    address, size = place(famfs.open(ref).to_numpy())
    at = locate(address, 1)[1]
    assert locate(address, 0) is None
    assert locate(0, 1) is None
    assert locate(2**64 - 1, 2) is None
    assert locate(address, size + 1) is None
    assert locate(address - at, size + at) == (ref, 0)
    assert locate(address - at - 1, 2) is None
    assert locate(*place(DATA)) is None
    assert locate(*place(famfs.open(ref).copy())) is None
    with pytest.raises(OverflowError):
        locate(-1, 1)


def test_versions_that_are_replaced_or_removed(mnt):
    old = famfs.open(famfs.publish(DATA, f"{mnt}/array")).to_numpy()
    new = famfs.open(famfs.publish(DATA + 1, f"{mnt}/array", overwrite=True)).to_numpy()
    famfs.remove(f"{mnt}/array")
    refs = [locate(*place(array))[0] for array in (old, new)]
    assert refs[0] != refs[1]
    assert [famfs.open(ref).to_numpy()[0] for ref in refs] == [0, 1]
    assert all(same(array) for array in (old, new))


def test_what_is_built_in_place_once_it_is_opened(mnt):
    with famfs.create(f"{mnt}/built", DATA.shape, DATA.dtype) as out:
        out[:] = DATA
        assert locate(*place(out)) is None
    # The window is a copy of this process's own now.
    assert locate(*place(out)) is None
    assert same(famfs.open(f"{mnt}/built").to_numpy())


def test_a_file_in_pieces(mnt, run, tmp_path):
    (tmp_path / "bytes").write_bytes(bytes(range(251)) * (7 << 20 >> 8))
    famfs_cp = [sys.executable, "-m", "famfs", "cp", "-N", "2", "-B", "3", "-C", "2M"]
    done = run(
        "import subprocess, sys; sys.exit(subprocess.run(sys.argv[1:]).returncode)",
        *famfs_cp,
        tmp_path / "bytes",
        f"{mnt}/striped",
    )
    assert done.returncode == 0
    dataset = famfs.open(f"{mnt}/striped")
    array = np.frombuffer(dataset.buffer(), np.uint8)
    address, size = place(array)
    assert locate(address, size) == (dataset.ref, 0)
    assert locate(address + (2 << 20) - 1, 2) == (dataset.ref, (2 << 20) - 1)
    assert locate(address, size + 1) is None


def test_two_mounts_of_one_volume(tmp_path):
    famfs.mkfs(tmp_path / "volume", size="64MiB")
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    famfs.mount(tmp_path / "volume", tmp_path / "a")
    famfs.mount(tmp_path / "volume", tmp_path / "b")
    try:
        ref = famfs.publish(DATA, tmp_path / "a" / "array")
        arrays = [famfs.open(tmp_path / name / "array").to_numpy() for name in "ab"]
        assert all(locate(*place(array))[0] == ref for array in arrays)
        famfs.umount(tmp_path / "a")
        assert locate(*place(arrays[0]))[0] == ref, "the other mount serves it"
        assert famfs.open(ref).to_numpy()[1] == 1
    finally:
        famfs.umount(tmp_path / "b")
    assert locate(*place(arrays[0])) is None, "nobody could open a reference"
    famfs.mount(tmp_path / "volume", tmp_path / "a")
    try:
        assert locate(*place(arrays[0]))[0] == ref, "the same file, mounted again"
    finally:
        famfs.umount(tmp_path / "a")


def in_child(queue, array, refs):
    queue.put([locate(*place(array))[0] == refs[0], same(array), locate(*place(DATA)) is None])


def test_a_forked_child_finds_what_it_inherited(mnt):
    ref = famfs.publish(DATA, f"{mnt}/array")
    array = famfs.open(ref).to_numpy()
    assert locate(*place(array)) is not None
    fork = multiprocessing.get_context("fork")
    queue = fork.SimpleQueue()
    child = fork.Process(target=in_child, args=(queue, array, [ref]))
    child.start()
    child.join()
    assert child.exitcode == 0
    found, same_address, nobodys = queue.get()
    assert found
    assert nobodys
    # A child opens a mapping of its own: the bytes are the same, at other addresses.
    assert not same_address


def test_another_process_opens_what_was_found(mnt, run):
    array = famfs.open(famfs.publish(DATA, f"{mnt}/array")).to_numpy()
    ref, at = locate(*place(array[500:]))
    code = """
        import pickle, sys, numpy as np, famfs
        ref, at = pickle.loads(bytes.fromhex(sys.argv[1]))
        print(np.frombuffer(famfs.open(ref).buffer(), "i8", 1, at)[0])
    """
    assert run(code, pickle.dumps((ref, at)).hex()).stdout == "500\n"


def test_many_files_and_views(mnt):
    arrays = []
    for i in range(20):
        ref = famfs.publish(np.full(1000, i), f"{mnt}/{i}")
        arrays.append((ref, famfs.open(ref).to_numpy()))
        assert all(locate(*place(array))[0] == ref for ref, array in arrays)
