"""Checksums: computed while copying, kept in the file, and compared on request."""

from __future__ import annotations

import io
import subprocess
import sys
import zlib

import numpy as np
import pyarrow as pa
import pytest

import famfs

COMMAND = sys.executable.rpartition("/")[0] + "/famfs"


def table(rows):
    return pa.table(
        {
            "n": np.arange(rows),
            "text": [None if i % 5 == 0 else f"row {i}" for i in range(rows)],
            "empty": pa.nulls(rows, pa.int32()),
        }
    )


def things():
    yield "small table", table(10), {}
    yield "no rows", table(0), {}
    yield "batches", table(1000), {"batch_rows": 100}
    yield "wide table", pa.table({f"c{i}": [i] for i in range(200)}), {}
    # More than one window, and several threads.
    yield "large table", {"a": np.arange(10_000_000)}, {}
    yield "array", np.arange(1000.0), {}
    yield "large array", np.arange(20_000_000), {}
    yield "strided", np.arange(3_000_000).reshape(1000, 3000)[:, ::2], {}
    yield "Fortran", np.asfortranarray(np.arange(60).reshape(3, 4, 5)), {}
    yield "0-d", np.float64(5), {}
    yield "empty array", np.empty((0, 3)), {}


THINGS = [(thing, options) for _, thing, options in things()]
NAMES = [name for name, _, _ in things()]


def crc_of(file):
    """The checksum as docs/format.md says, by zlib."""
    data = bytes(file.buffer())
    if file.kind == "array":
        assert data[-16:-8] == b"FAMFSCRC"
        return int.from_bytes(data[-8:-4], "little"), zlib.crc32(data[:-16])
    metadata = pa.ipc.open_file(file.buffer()).metadata
    digits = metadata[b"famfs.crc32"]
    at = data.rindex(digits)
    return int(digits, 16), zlib.crc32(data[:at] + b"00000000" + data[at + 8 :])


def verify(*paths):
    command = [COMMAND, "verify", *paths]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize(("thing", "options"), THINGS, ids=NAMES)
def test_it_is_the_crc_of_the_file_and_found_right(large, thing, options):
    ref = famfs.publish(thing, f"{large}/x", checksum=True, **options)
    kept, computed = crc_of(famfs.open(ref))
    assert kept == computed
    dataset = famfs.open(ref, verify=True)
    plain = famfs.open(famfs.publish(thing, f"{large}/plain", **options))
    if dataset.kind == "table":
        assert dataset.to_arrow().equals(plain.to_arrow())
    else:
        assert (dataset.to_numpy() == plain.to_numpy()).all()
        # NumPy's own reader leaves the trailer alone.
        stock = np.load(io.BytesIO(bytes(dataset.buffer())))
        assert (stock == plain.to_numpy()).all()
        assert stock.flags.f_contiguous == plain.to_numpy().flags.f_contiguous
    done = subprocess.run(
        [COMMAND, "verify", f"{large}/x", f"{large}/plain"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "its checksum is right" in done.stdout
    assert "it has no checksum" in done.stdout


@pytest.fixture
def backing(tmp_path):
    (tmp_path / "mnt").mkdir()
    famfs.mkfs(tmp_path / "volume", size="32MiB")
    famfs.mount(tmp_path / "volume", tmp_path / "mnt")
    yield str(tmp_path / "mnt"), tmp_path / "volume"
    famfs.umount(tmp_path / "mnt")


@pytest.mark.parametrize("kind", ["table", "array"])
def test_every_flipped_bit_is_found(backing, kind):
    """In the memory itself, as another host's bug or a bad line would flip it."""
    mnt, volume = backing
    thing = table(40) if kind == "table" else np.arange(40)
    dataset = famfs.open(famfs.publish(thing, f"{mnt}/x", checksum=True))
    size = len(dataset.buffer())
    content = bytes(dataset.buffer())
    footer = int.from_bytes(content[-10:-6], "little")
    end_of_data = size - 16 if kind == "array" else size - 10 - footer
    with open(volume, "r+b") as file:
        whole = file.read()
        start = whole.index(content)
        for at in range(0, size, 7):
            for flip in (1, 0x80):
                file.seek(start + at)
                file.write(bytes([content[at] ^ flip]))
                file.flush()
                try:
                    opened = famfs.open(f"{mnt}/x", verify=True)
                except famfs.FamfsError:
                    pass
                else:
                    # Then it is no table or array any more, or doesn't say that it has a checksum:
                    # the name of it is damaged. Nothing that a checksum is of is lost to it.
                    known = opened.kind != kind or not opened._file.verify()
                    assert known or (kind == "array" and at >= size - 4), at
                    assert at < 9 or at >= end_of_data, at
                file.seek(start + at)
                file.write(bytes([content[at]]))
                file.flush()
    assert famfs.open(f"{mnt}/x", verify=True).kind == kind


def test_what_has_no_room_says_so(mnt):
    for thing in (b"bytes", {"a": np.ones((2, 3))}):
        with pytest.raises(famfs.Unsupported, match="no room for a checksum"):
            famfs.publish(thing, f"{mnt}/x", checksum=True)
    assert not famfs.exists(f"{mnt}/x")
    famfs.publish(b"bytes", f"{mnt}/x")
    famfs.open(f"{mnt}/x", verify=True)
    done = subprocess.run(
        [COMMAND, "verify", f"{mnt}/x"], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"{mnt}/x: bytes, 5 bytes, it has no checksum\n"


def test_in_a_transaction_and_as_another_version(mnt):
    with famfs.transaction() as tx:
        tx.publish(table(5), f"{mnt}/t", checksum=True)
        tx.publish(np.arange(5), f"{mnt}/a", checksum=True)
    for ref in tx.refs:
        kept, computed = crc_of(famfs.open(ref, verify=True))
        assert kept == computed
    told = []
    ref = famfs.publish(
        np.arange(6), f"{mnt}/a", checksum=True, overwrite=True, progress=lambda *x: told.append(x)
    )
    assert famfs.open(ref, verify=True).to_numpy().tolist() == list(range(6))
    assert told[-1] == (len(famfs.open(ref).buffer()),) * 2


def test_a_header_that_says_less_is_found(backing):
    """The trailer stands at the end of the file, wherever the header says that the data end."""
    mnt, volume = backing
    dataset = famfs.open(famfs.publish(np.arange(512), f"{mnt}/x", checksum=True))
    content = bytes(dataset.buffer())
    with open(volume, "r+b") as file:
        start = file.read().index(content)
        for shape in (b"(112,)", b"(510,)", b"(513,)"):
            file.seek(start)
            file.write(content.replace(b"(512,)", shape))
            file.flush()
            with pytest.raises(famfs.Corrupt):
                famfs.open(f"{mnt}/x", verify=True)
