"""fsspec: volumes as a file system for pandas, pyarrow and DuckDB, and hostile names in URLs."""

from __future__ import annotations

import io
import json
import pickle
import tomllib
from pathlib import Path

import duckdb
import fsspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset
import pyarrow.feather
import pyarrow.parquet
import pytest

import famfs
from famfs.fsspec import FamfsFileSystem

ROOT = Path(__file__).parents[2]
FRAME = pd.DataFrame({"a": np.arange(1000), "b": np.linspace(0, 1, 1000), "s": ["x", "y"] * 500})


@pytest.fixture
def fs():
    return fsspec.filesystem("famfs")


@pytest.fixture
def url(mnt):
    uuid = next(mount.uuid for mount in famfs.mounts() if mount.mountpoint == mnt)
    return f"famfs://{uuid}"


def start_of(view):
    return np.frombuffer(view, np.uint8).ctypes.data


def test_the_package_declares_it():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["fsspec.specs"] == {"famfs": "famfs.fsspec:FamfsFileSystem"}
    # And is installed as it says: nobody has to register it.
    assert fsspec.get_filesystem_class("famfs") is FamfsFileSystem


# Names.


def test_three_ways_to_name_a_file(mnt, url, fs):
    ref = famfs.publish(b"hello", f"{mnt}/a b%")
    names = [f"{mnt}/a b%", f"famfs://{mnt}/a b%", f"{url}/a%20b%25", str(ref)]
    for name in names:
        assert fs.cat_file(name) == b"hello"
        assert fsspec.open(f"famfs://{name}" if name.startswith("/") else name).open().read()
        assert fs.ukey(name) == str(ref)
        assert fs.info(name)["size"] == 5
        assert fs.unstrip_protocol(fs._strip_protocol(name)).startswith("famfs://")
    assert fs.ls(url, detail=False) == [f"{url}/a%20b%25".removeprefix("famfs://")]
    assert fs.ls(mnt, detail=False) == fs.find(mnt) == [f"{mnt}/a b%"]
    assert url.removeprefix("famfs://") in fs.ls("famfs://", detail=False)
    assert fs.info("famfs://")["type"] == fs.info(url)["type"] == "directory"


def test_a_reference_opens_what_was_replaced(mnt, fs):
    old = famfs.publish(b"old", f"{mnt}/x")
    fs.pipe_file(f"{mnt}/x", b"new")
    assert (fs.cat_file(str(old)), fs.cat_file(f"{mnt}/x")) == (b"old", b"new")
    assert fs.ukey(str(old)) != fs.ukey(f"{mnt}/x")
    for change in (fs.rm_file, lambda name: fs.pipe_file(name, b""), lambda n: fs.open(n, "wb")):
        with pytest.raises(famfs.Unsupported, match="a reference names what is published"):
            change(str(old))


def test_selections_are_files_of_their_own(mnt, fs):
    table = famfs.open(famfs.publish({"a": np.arange(100), "b": np.ones(100)}, f"{mnt}/t"))
    part = str(table[10:20, ["b", "a"]].ref)
    assert pd.read_feather(part).equals(pd.DataFrame({"b": np.ones(10), "a": np.arange(10, 20)}))
    assert pd.read_feather(str(table["a"][5:7].ref))["a"].tolist() == [5, 6]
    assert fs.info(part)["size"] == len(fs.cat_file(part))
    array = famfs.open(famfs.publish(np.arange(12).reshape(3, 4), f"{mnt}/a"))
    assert np.load(fs.open(str(array[1:].ref))).tolist() == [[4, 5, 6, 7], [8, 9, 10, 11]]
    data = famfs.open(famfs.publish(b"0123456789", f"{mnt}/b"))
    assert fs.cat_file(str(data[2:5].ref)) == b"234"
    assert fs.glob(part) == [part.removeprefix("famfs://")]
    assert duckdb.from_arrow(pa.ipc.open_file(fs.open(part)).read_all()).sum("a").fetchall()


HOSTILE = [
    *("{url}/../x", "{url}/a/../../x", "{url}/%2e%2e/x", "{url}/a/%2E%2e", "{url}/./x", "{url}//x"),
    *("{url}/a//x", "{url}/x%00y", "{url}/x\0y", "{url}/a%2f..%2fb", "{mnt}/../x", "{mnt}//x"),
    *("{mnt}/x\0y", "{url}/" + "x" * 300, "{url}/" + "x/" * 4000 + "x", "famfs://volume/x"),
    *("famfs://{short}/x", "famfs://%2e%2e/x", "{url}/x#-1", "{url}/x#99999999999999999999"),
    *("{url}/x#", "{url}/x?rows=1:2", "{url}/x?rows=5:4#0", "{url}/x?cols=a#0", "{url}/x?#"),
    *(
        "{url}/\udcff",
        "{url}/\udcff#0",
        "famfs://\ud800/x",
        "famfs://",
        "relative",
        "{url}/../../../etc/passwd",
        "famfs://#0",
        "famfs://?#0",
    ),
]


@pytest.mark.parametrize("name", HOSTILE, ids=lambda name: ascii(name[:30]))
def test_hostile_names(mnt, url, fs, name):
    famfs.publish(b"x", f"{mnt}/x")
    name = name.format(url=url, mnt=mnt, short=url[8:-1])
    for use in (
        fs.cat_file,
        lambda name: fs.open(name, "rb"),
        lambda name: fs.open(name, "wb").close(),
        lambda name: fs.pipe_file(name, b"y"),
        fs.rm_file,
    ):
        # No file of such a name is an InvalidPath, a wrong uuid or index a NotMounted or NotFound.
        with pytest.raises((famfs.InvalidPath, famfs.NotFound, famfs.Unsupported)):
            use(name)
    assert famfs.open(f"{mnt}/x").copy() == b"x"
    assert len(famfs.ls(mnt)) == 1


def test_what_is_not_there(mnt, url, fs):
    other = "famfs://6ba7b810-9dad-11d1-80b4-00c04fd430c8/x"
    for name, error in (
        (f"{mnt}/x", FileNotFoundError),
        (f"{url}/x", FileNotFoundError),
        (f"{url}/x#123456", FileNotFoundError),
        (f"{mnt}/no/x", FileNotFoundError),
        (other, famfs.NotMounted),
        (f"{other}#0", famfs.NotMounted),
        ("/etc/passwd", famfs.NotMounted),
    ):
        for use in (fs.info, fs.ls, fs.cat_file, fs.open):
            with pytest.raises(error) as told:
                use(name)
            assert isinstance(told.value, famfs.FamfsError)
        assert not fs.exists(name)
    with pytest.raises(FileNotFoundError):
        pd.read_parquet(f"{url}/x")
    with pytest.raises(famfs.InvalidPath, match="directory"):
        fs.open(mnt)
    with pytest.raises(famfs.InvalidPath, match="directory"):
        fs.open(mnt, "wb")


# Reading and writing.


def test_what_is_no_name_is_said(mnt, fs):
    for wrong in (5, None, 2.5):
        for call in (fs.open, fs.info, fs.ls, fs.cat_file):
            with pytest.raises(famfs.Unsupported, match="is no name"):
                call(wrong)
    for call in (fs.open, fs.cat_file, lambda name: fs.pipe_file(name, b"x")):
        with pytest.raises(famfs.InvalidPath, match="half of a character"):
            call(f"{mnt}/\ud800")


def test_a_file_is_read_as_any_other(mnt, fs):
    data = bytes(range(256)) * 10
    fs.pipe_file(f"{mnt}/x", data)
    expected = io.BytesIO(data)
    with fs.open(f"{mnt}/x") as file:
        for offset, whence in ((5, 0), (10, 1), (-7, 2), (0, 0), (9999, 0), (-3, 1)):
            assert file.seek(offset, whence) == expected.seek(offset, whence)
            assert file.read(20) == expected.read(20)
            assert file.tell() == expected.tell()
        into = [bytearray(100), bytearray(100)]
        assert file.seek(2500) == expected.seek(2500)
        assert file.readinto(into[0]) == expected.readinto(into[1]) == 60
        assert into[0] == into[1]
        with pytest.raises(ValueError, match="before"):
            file.seek(-1)
        with pytest.raises(io.UnsupportedOperation):
            file.write(b"x")
    with pytest.raises(ValueError, match="closed"):
        file.read()
    for start, end in ((None, None), (3, None), (3, 7), (-5, None), (3, -5), (9999, None)):
        assert fs.cat_file(f"{mnt}/x", start, end) == data[start:end]
    assert fs.cat([f"{mnt}/x"]) == {f"{mnt}/x": data}
    assert fs.cat_ranges([f"{mnt}/x"] * 2, [0, 5], [2, 7]) == [data[:2], data[5:7]]
    assert fs.head(f"{mnt}/x", 4) == data[:4]


def test_what_is_lent_is_in_place(mnt, fs, inside):
    fs.pipe_file(f"{mnt}/x", bytes(5000))
    with fs.open(f"{mnt}/x") as file:
        file.seek(1000)
        for lent in (file.getbuffer(), file.read_buffer(100)):
            assert inside(mnt, start_of(lent), len(lent))
            assert lent.readonly
        assert not inside(mnt, start_of(file.read(100)), 100)
    assert bytes(lent) == bytes(100)


def test_text_lines_and_json(mnt, fs):
    with fs.open(f"{mnt}/x", "w", encoding="utf-16", newline="\r\n") as file:
        file.write("gr\u00fc\u00dfe\nan alle\n")
    assert fs.cat_file(f"{mnt}/x").decode("utf-16") == "gr\u00fc\u00dfe\r\nan alle\r\n"
    with fs.open(f"{mnt}/x", "r", encoding="utf-16") as file:
        assert file.readlines() == ["gr\u00fc\u00dfe\n", "an alle\n"]
    with fsspec.open(f"famfs://{mnt}/j", "w") as file:
        json.dump({"a": [1, 2]}, file)
    with fsspec.open(f"famfs://{mnt}/j") as file:
        assert json.load(file) == {"a": [1, 2]}
    with fsspec.open(f"famfs://{mnt}/z.gz", "wb", compression="gzip") as file:
        file.write(b"x" * 1000)
    assert fs.size(f"{mnt}/z.gz") < 100
    with fs.open(f"{mnt}/z.gz", compression="infer") as file:
        assert file.read() == b"x" * 1000
    with pytest.raises(famfs.Unsupported, match=r"fsspec\.open"):
        fs.open(f"{mnt}/y.gz", "wb", compression="gzip")


def test_a_file_appears_when_it_is_closed(mnt, fs):
    with fs.open(f"{mnt}/x", "wb") as file:
        file.write(b"hello")
        file.seek(0)
        file.write(b"J")
        assert not fs.exists(f"{mnt}/x")
    assert fs.cat_file(f"{mnt}/x") == b"Jello"
    assert file.closed
    with pytest.raises(famfs.AlreadyExists):
        fs.open(f"{mnt}/x", "xb")
    with fs.open(f"{mnt}/y", "xb") as file:
        fs.pipe_file(f"{mnt}/y", b"first")
        with pytest.raises(famfs.AlreadyExists):
            file.close()
    assert fs.cat_file(f"{mnt}/y") == b"first"
    for mode in ("ab", "r+b", "a", "w+b"):
        with pytest.raises(famfs.Unsupported, match="never changed"):
            fs.open(f"{mnt}/x", mode)
    fs.touch(f"{mnt}/empty")
    assert fs.size(f"{mnt}/empty") == 0
    with pytest.raises(famfs.NotFound), fs.open(f"{mnt}/no/directory", "wb") as file:
        file.write(b"x")


class BreakError(Exception):
    """What a writer's user raises."""


@pytest.mark.parametrize("mode", ["wb", "w"])
def test_nothing_is_published_where_the_block_raises(mnt, fs, mode):
    fs.pipe_file(f"{mnt}/x", b"old")
    data = b"half" if mode == "wb" else "half"
    with pytest.raises(BreakError), fs.open(f"{mnt}/x", mode) as file:
        file.write(data)
        raise BreakError
    opened = fsspec.open(f"famfs://{mnt}/x", mode)
    warns = pytest.warns(RuntimeWarning, match="nothing is published")
    with pytest.raises(BreakError), warns, opened as file:
        file.write(data)
        raise BreakError
    with pytest.warns(ResourceWarning, match="never closed"):
        fs.open(f"{mnt}/x", mode).write(data)
    assert fs.cat_file(f"{mnt}/x") == b"old"
    assert len(famfs.versions(f"{mnt}/x")) == 1
    try:
        int("x")
    except ValueError:
        # What is raised already is not the file's trouble.
        with fs.open(f"{mnt}/x", mode) as file:
            file.write(data)
    assert fs.cat_file(f"{mnt}/x") == b"half"


def test_a_full_volume(mnt, fs):
    with pytest.raises(famfs.NoSpace) as told, fs.open(f"{mnt}/x", "wb") as file:
        file.write(bytes(100 << 20))
    assert isinstance(told.value, OSError)
    assert not fs.exists(f"{mnt}/x")


def test_files_of_a_transaction_appear_together(mnt, fs):
    with fs.transaction:
        for name in "ab":
            with fs.open(f"{mnt}/{name}", "wb") as file:
                file.write(name.encode())
        assert fs.ls(mnt) == []
    assert fs.cat([f"{mnt}/a", f"{mnt}/b"]) == {f"{mnt}/a": b"a", f"{mnt}/b": b"b"}
    with pytest.raises(BreakError), fs.transaction:
        with fs.open(f"{mnt}/c", "wb") as file:
            file.write(b"c")
        raise BreakError
    with pytest.raises(famfs.AlreadyExists), fs.transaction:
        for name, mode in (("d", "wb"), ("e", "xb")):
            with fs.open(f"{mnt}/{name}", mode) as file:
                file.write(b"new")
        famfs.publish(b"e", f"{mnt}/e")
    assert [entry.name for entry in famfs.ls(mnt)] == ["a", "b", "e"]
    with fs.open(f"{mnt}/f", "wb") as file:
        file.write(b"after it")
    assert fs.exists(f"{mnt}/f")


def test_whatever_is_written_in_a_transaction_is_part_of_it(mnt, fs):
    fs.pipe_file(f"{mnt}/a", b"a")

    def write(file_a):
        fs.pipe({f"{mnt}/b": b"b", f"{mnt}/c": b"c"})
        fs.cp_file(file_a, f"{mnt}/d")
        with pytest.raises(famfs.Unsupported, match="after the block"):
            fs.mv(file_a, f"{mnt}/e")
        assert [entry.name for entry in famfs.ls(mnt)] == ["a"]

    with pytest.raises(BreakError), fs.transaction:
        write(f"{mnt}/a")
        raise BreakError
    assert [entry.name for entry in famfs.ls(mnt)] == ["a"]
    with fs.transaction:
        write(f"{mnt}/a")
    found = {entry.name: fs.cat_file(entry.path) for entry in famfs.ls(mnt)}
    assert found == {"a": b"a", "b": b"b", "c": b"c", "d": b"a"}


def test_a_file_that_is_open_when_its_transaction_ends(mnt, fs):
    with pytest.raises(famfs.FamfsError, match="left: is open still"), fs.transaction:
        fs.pipe_file(f"{mnt}/whole", b"whole")
        left = fs.open(f"{mnt}/left", "wb")
        left.write(b"left")
    assert left.closed
    assert fs.ls(mnt) == []


def test_nothing_is_moved_onto_or_into_itself(mnt, url, fs):
    fs.makedirs(f"{mnt}/d/e")
    fs.pipe_file(f"{mnt}/d/e/x", b"x")
    for source, to in (
        (f"{mnt}/d/e/x", f"{url}/d/e/x"),
        (f"{url}/d/e/x", f"{mnt}/d/e"),
        (f"{mnt}/d/e/x", f"{mnt}/d/e/"),
        (f"{mnt}/d", f"{mnt}/d/e/f"),
        (f"{url}/d", f"{mnt}/d/f"),
        (f"{url}", f"{mnt}/d/f"),
    ):
        for do in (fs.mv, fs.cp):
            with pytest.raises(famfs.InvalidPath, match="name another"):
                do(source, to, recursive=True)
        assert fs.find(mnt) == [f"{mnt}/d/e/x"]
        assert fs.cat_file(f"{mnt}/d/e/x") == b"x"
    # What begins alike is another directory; and an old version may come back.
    fs.mv(f"{mnt}/d", f"{mnt}/de", recursive=True)
    old = fs.info(f"{mnt}/de/e/x")["ref"]
    fs.pipe_file(f"{mnt}/de/e/x", b"y")
    fs.cp_file(old, f"{mnt}/de/e/x")
    assert fs.cat_file(f"{mnt}/de/e/x") == b"x"


def test_directories_copies_and_removal(mnt, url, fs):
    fs.makedirs(f"{url}/one/two")
    fs.makedirs(f"{url}/one/two", exist_ok=True)
    with pytest.raises(FileExistsError):
        fs.makedirs(f"{mnt}/one/two")
    with pytest.raises(FileNotFoundError):
        fs.mkdir(f"{mnt}/no/where", create_parents=False)
    fs.pipe({f"{mnt}/one/{i}.csv": b"%d" % i for i in range(3)})
    fs.pipe_file(f"{mnt}/one/two/3.csv", b"3")
    assert fs.glob(f"{mnt}/one/*.csv") == [f"{mnt}/one/{i}.csv" for i in range(3)]
    assert len(fs.glob(f"{url}/**/*.csv")) == len(fs.find(mnt)) == 4
    assert fs.glob(f"{url}/one/[12].csv") == [f"{url[8:]}/one/{i}.csv" for i in (1, 2)]
    assert fs.du(mnt) == 4
    assert [len(files) for _, _, files in fs.walk(mnt)] == [0, 3, 1]
    fs.copy(f"{mnt}/one", f"{mnt}/copy", recursive=True)
    assert fs.cat_file(f"{mnt}/copy/two/3.csv") == b"3"
    fs.mv(f"{mnt}/copy/0.csv", f"{url}/moved")
    assert fs.cat_file(f"{mnt}/moved") == b"0"
    assert not fs.exists(f"{mnt}/copy/0.csv")
    with pytest.raises(famfs.Busy):
        fs.rmdir(f"{mnt}/one")
    with pytest.raises(famfs.InvalidPath, match="is a file"):
        fs.rmdir(f"{mnt}/moved")
    fs.rm(f"{mnt}/one", recursive=True)
    fs.rm(f"{url}/copy", recursive=True)
    assert fs.ls(mnt, detail=False) == [f"{mnt}/moved"]


def test_it_goes_to_other_processes(mnt, fs, run):
    fs.pipe_file(f"{mnt}/x", b"hello")
    assert pickle.loads(pickle.dumps(fs)) is fs
    code = """
        import pickle, sys
        fs = pickle.loads(bytes.fromhex(sys.argv[1]))
        print(fs.cat_file(sys.argv[2]).decode())
    """
    assert run(code, pickle.dumps(fs).hex(), f"{mnt}/x").stdout == "hello\n"


# pandas, pyarrow and DuckDB.


@pytest.mark.parametrize("kind", ["parquet", "feather", "csv", "json", "pickle"])
def test_pandas_by_url(mnt, url, kind):
    options = {"csv": {"index": False}}.get(kind, {})
    for name in (f"{url}/frame.{kind}", f"famfs://{mnt}/again.{kind}"):
        getattr(FRAME, f"to_{kind}")(name, **options)
        # JSON rounds numbers.
        pd.testing.assert_frame_equal(getattr(pd, f"read_{kind}")(name), FRAME)
    assert famfs.stat(f"{mnt}/frame.{kind}").ref is not None


def test_a_frame_that_fails_is_not_published(mnt, url):
    bad = FRAME.assign(o=[object()] * len(FRAME))
    with pytest.raises(pa.ArrowException):
        bad.to_parquet(f"{url}/x.parquet")

    class Breaks:
        def __str__(self):
            raise BreakError

    fails = FRAME.assign(o=pd.Series([*["x"] * 900, Breaks(), *["x"] * 99], dtype=object))
    with pytest.raises(BreakError), pytest.warns(RuntimeWarning, match="nothing is published"):
        fails.to_csv(f"{url}/x.csv", chunksize=100)
    assert famfs.ls(mnt) == []


def test_what_pandas_wrote_plain_is_a_dataset(mnt, url, inside):
    FRAME.to_feather(f"{url}/plain", compression="uncompressed")
    ds = famfs.open(f"{mnt}/plain")
    assert ds.to_pandas().equals(FRAME)
    assert inside(mnt, ds["a"].to_numpy().ctypes.data, ds["a"].nbytes)


def test_pyarrow_reads_in_place(mnt, fs, inside):
    famfs.publish({"a": np.arange(1000), "b": np.ones(1000)}, f"{mnt}/t")
    with fs.open(f"{mnt}/t") as file:
        table = pa.ipc.open_file(file).read_all()
    # The file is closed, and its memory is held by what was read.
    assert table["a"].to_pylist() == list(range(1000))
    buffer = table["a"].chunk(0).buffers()[1]
    assert inside(mnt, buffer.address, buffer.size)
    copied = pa.feather.read_table(fs.open(f"{mnt}/t"), memory_map=False)
    assert copied.equals(table)


def test_pyarrow_with_filesystem(mnt, url, fs):
    arrow_fs = pa.fs.PyFileSystem(pa.fs.FSSpecHandler(fs))
    table = pa.Table.from_pandas(FRAME)
    pa.parquet.write_table(table, f"{mnt}/t.parquet", filesystem=arrow_fs)
    assert pa.parquet.read_table(f"{mnt}/t.parquet", filesystem=fs).equals(table)
    for base in (f"{mnt}/parts", f"{url[8:]}/parts2"):
        pa.dataset.write_dataset(
            table, base, format="ipc", partitioning=["s"], filesystem=fs, max_rows_per_file=300,
            max_rows_per_group=300,
        )  # fmt: skip
        read = pa.dataset.dataset(base, format="ipc", partitioning=["s"], filesystem=arrow_fs)
        assert len(read.files) == 4
        assert read.to_table(filter=pa.dataset.field("s") == "x").num_rows == 500
    assert arrow_fs.get_file_info(f"{mnt}/none").type == pa.fs.FileType.NotFound
    arrow_fs.delete_dir(f"{mnt}/parts")
    assert not fs.exists(f"{mnt}/parts")


def test_duckdb(mnt, url, fs):
    FRAME.to_parquet(f"{url}/t.parquet")
    FRAME.to_csv(f"{url}/t.csv", index=False)
    with duckdb.connect() as connection:
        connection.register_filesystem(fs)
        for name in (f"{url}/t.parquet", f"{url}/t.csv", f"famfs://{mnt}/*.parquet"):
            found = connection.sql(f"select sum(a), count(*) from '{name}'").fetchall()
            assert found == [(sum(range(1000)), 1000)]
        connection.sql(f"copy (select a from '{url}/t.csv') to '{url}/out.parquet'")
        assert pd.read_parquet(f"{url}/out.parquet")["a"].equals(FRAME["a"])
        with pytest.raises(duckdb.Error):
            connection.sql(f"select * from '{url}/../t.parquet'").fetchall()
        with pytest.raises(duckdb.Error):
            connection.sql(
                "copy (select a, case when a > 900 then error('no') end as b from "
                f"'{url}/t.parquet') to '{url}/bad.csv'"
            )
    assert {entry.name for entry in famfs.ls(mnt)} == {"t.parquet", "t.csv", "out.parquet"}
