"""Looking at names: ls -l, show, wait and watch."""

from __future__ import annotations

import io
import json
import struct
import time
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from conftest import Famfs, Volume

MIB = 1 << 20


def npy(descr: str, shape: tuple[int, ...], data: bytes, *, fortran: bool = False) -> bytes:
    """An array's file, of the format's first version."""
    said = f"{{'descr': {descr!r}, 'fortran_order': {fortran}, 'shape': {shape}, }}"
    said = said.ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(said)) + said.encode() + data


def tensors(header: dict[str, Any], data: bytes) -> bytes:
    """A safetensors file."""
    said = json.dumps(header).encode()
    return struct.pack("<Q", len(said)) + said + data


FILES = {
    "array": npy("<f8", (3, 2), struct.pack("<6d", 0, 1, 2, 3, 4, 5)),
    "fortran": npy("<i4", (2, 3), struct.pack("<6i", 0, 3, 1, 4, 2, 5), fortran=True),
    "long": npy("|u1", (1000,), bytes(1000)),
    "scalar": npy("<i8", (), struct.pack("<q", -7)),
    "none": npy("<i8", (0,), b""),
    "bytes": b"hello\n" + bytes(range(250)) * 2,
    "empty": b"",
    "model": tensors(
        {
            "__metadata__": {"format": "pt"},
            "w": {"dtype": "BF16", "shape": [2, 2], "data_offsets": [0, 8]},
            "b": {"dtype": "F32", "shape": [], "data_offsets": [8, 12]},
        },
        bytes(12),
    ),
}


@pytest.fixture
def filled(famfs: Famfs, volume: Volume) -> Volume:
    """A volume with a file of each kind."""
    for name, content in FILES.items():
        (famfs.folder / name).write_bytes(content)
        famfs("cp", famfs.folder / name, volume.mnt)
    famfs("mkdir", volume.mnt / "dir")
    return volume


def test_a_listing_says_what_files_hold(famfs: Famfs, filled: Volume) -> None:
    """Kind, rows and size of each."""
    lines = [line.split() for line in famfs("ls", "-l", filled.mnt).text.splitlines()]
    found = {line[-1]: line for line in lines}
    assert found["NAME"][3:6] == ["KIND", "ROWS", "COLUMNS"]
    assert found["array"][3:6] == ["array", "3", str(len(FILES["array"]))]
    assert found["model"][3:5] == ["safetensors", str(len(FILES["model"]))]
    assert found["dir"][3] == "directory"
    listed = {e["path"]: e for e in json.loads(famfs("ls", "--json", filled.mnt).out)}
    assert (listed["long"]["kind"], listed["long"]["rows"]) == ("array", 1000)
    assert (listed["bytes"]["kind"], listed["bytes"]["rows"]) == ("bytes", None)
    assert json.loads(famfs("stat", "--json", filled.mnt / "array").out)["rows"] == 3


def test_arrays_are_shown_with_their_first_values(famfs: Famfs, filled: Volume) -> None:
    """In C order, whatever order they lie in."""
    shown = famfs("show", filled.mnt / "array").text
    assert "array of <f8 and shape (3, 2), 176 bytes" in shown
    assert shown.splitlines()[2:] == ["0.0  1.0", "2.0  3.0", "4.0  5.0"]
    shown = famfs("show", filled.mnt / "fortran").text.splitlines()
    assert shown[2:] == ["0  1  2", "3  4  5"]
    shown = famfs("show", "--rows", 2, filled.mnt / "long").text.splitlines()
    assert shown[2:] == ["0", "0", "... and 998 more items"]
    assert famfs("show", filled.mnt / "scalar").text.splitlines()[2:] == ["-7"]
    assert len(famfs("show", filled.mnt / "none").text.splitlines()) == 1
    found = json.loads(famfs("show", "--json", filled.mnt / "fortran").out)
    assert (found["dtype"], found["shape"], found["fortran_order"]) == ("<i4", [2, 3], True)
    assert found["values"] == [["0", "1", "2"], ["3", "4", "5"]]


def test_bytes_are_dumped(famfs: Famfs, filled: Volume) -> None:
    """The first 256 of them."""
    shown = famfs("show", filled.mnt / "bytes").text.splitlines()
    assert shown[2].startswith("00000000  68 65 6c 6c 6f 0a 00 01")
    assert shown[2].endswith("|hello...........|")
    assert len(shown) == 2 + 16 + 1
    assert shown[-1] == "... and 250 more bytes"
    assert famfs("show", filled.mnt / "empty").text.endswith("empty: bytes, 0 bytes\n")
    found = json.loads(famfs("show", "--json", filled.mnt / "bytes").out)
    assert bytes.fromhex(found["head"]) == FILES["bytes"][:256]


def test_tensors_are_listed(famfs: Famfs, filled: Volume) -> None:
    """Names, types, shapes and where they lie."""
    shown = famfs("show", filled.mnt / "model").text
    assert "2 tensors" in shown
    assert "format: pt" in shown
    found = json.loads(famfs("show", "--json", filled.mnt / "model").out)
    start = len(FILES["model"]) - 12
    assert found["tensors"] == [
        {"name": "w", "dtype": "BF16", "shape": [2, 2], "offset": start, "size": 8},
        {"name": "b", "dtype": "F32", "shape": [], "offset": start + 8, "size": 4},
    ]
    assert found["metadata"] == {"format": "pt"}


def test_tables_are_shown_with_their_first_rows(famfs: Famfs, volume: Volume) -> None:
    """Schema and values; what a terminal should not see is escaped."""
    pa = pytest.importorskip("pyarrow")
    table = pa.table(
        {
            "n": pa.array(range(100)),
            "text": pa.array(["a\x1b[31m", None, "x" * 100] + ["y"] * 97),
            "at": pa.array(range(100), pa.timestamp("s")),
            "list": pa.array([[1, 2], None, []] + [[3]] * 97),
        }
    )
    sink = io.BytesIO()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=2)
    source = famfs.folder / "table"
    source.write_bytes(sink.getvalue())
    famfs("cp", source, volume.mnt)
    shown = famfs("show", "--rows", 3, volume.mnt / "table").text
    assert "table of 100 rows and 4 columns" in shown
    assert "\x1b" not in shown
    assert "a\\u{1b}[31m" in shown
    assert "1970-01-01T00:00:01" in shown
    assert "x" * 40 + "..." in shown
    assert "... and 97 more rows" in shown
    found = json.loads(famfs("show", "--rows", 3, "--json", volume.mnt / "table").out)
    assert (found["rows"], found["batches"]) == (100, 50)
    assert [column["name"] for column in found["columns"]] == ["n", "text", "at", "list"]
    assert found["values"][1][:2] == [1, None]
    assert found["values"][2][1] == "x" * 100
    assert famfs("show", "--rows", 0, volume.mnt / "table").text.count("more rows") <= 1
    listed = famfs("ls", "-l", volume.mnt).text.splitlines()[1].split()
    assert listed[3:6] == ["table", "100", "4"]


def test_what_is_broken_says_so(famfs: Famfs, volume: Volume) -> None:
    """A typed error, and no half of a picture."""
    for name, content in {
        "npy": FILES["array"][:-1],
        "model": FILES["model"][:-1],
        "table": b"ARROW1\0\0" + bytes(100),
    }.items():
        (famfs.folder / name).write_bytes(content)
        famfs("cp", famfs.folder / name, volume.mnt)
        famfs.fails("show", volume.mnt / name, says=name)
    famfs.fails("show", volume.mnt / "missing", says="missing")
    famfs.fails("show", volume.mnt, says="directory")
    assert len(json.loads(famfs("ls", "--json", volume.mnt).out)) == 3


def test_waiting_ends_when_it_is_there(famfs: Famfs, volume: Volume) -> None:
    """Or when the time is over."""
    famfs.fails("wait", "--timeout", "0.1", volume.mnt / "x", says="0.1 seconds")
    waiting = famfs.start("wait", "--timeout", "60", "--json", volume.mnt / "x")
    time.sleep(0.2)
    assert waiting.poll() is None
    famfs("creat", "-s", MIB, volume.mnt / "x")
    out, _ = waiting.communicate(timeout=30)
    assert waiting.returncode == 0
    assert json.loads(out)["size"] == MIB
    assert famfs("wait", volume.mnt / "x").text.strip() == str(volume.mnt / "x")


def test_watching_tells_each_event_as_it_happens(famfs: Famfs, volume: Volume) -> None:
    """One line each, at once."""
    famfs("creat", "-s", MIB, volume.mnt / "old")
    watching = famfs.start("watch", "--json", "--existing", volume.mnt)
    assert watching.stdout is not None
    try:
        first = json.loads(watching.stdout.readline())
        assert (first["event"], first["path"]) == ("published", "old")
        famfs("creat", "-s", 2 * MIB, volume.mnt / "new")
        found = json.loads(watching.stdout.readline())
        assert (found["event"], found["path"], found["size"]) == ("published", "new", 2 * MIB)
        famfs("creat", "--force", "-s", MIB, volume.mnt / "new")
        assert json.loads(watching.stdout.readline())["event"] == "replaced"
        famfs("mkdir", volume.mnt / "dir")
        assert json.loads(watching.stdout.readline())["kind"] == "directory"
        famfs("rm", volume.mnt / "old")
        assert json.loads(watching.stdout.readline())["event"] == "removed"
    finally:
        watching.kill()
        watching.communicate()
    assert famfs("watch", "--timeout", "0", volume.mnt).text == ""
    lines = famfs("watch", "--timeout", "0", "--existing", volume.mnt).text.splitlines()
    assert lines == [f"published  {volume.mnt}/new", f"published  {volume.mnt}/dir"]
    famfs.fails("watch", famfs.folder, says="mount")
