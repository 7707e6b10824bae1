"""Several processes: mounts, killed publishers, races, memory that goes away under a reader."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from typing import TYPE_CHECKING

import pytest
from media import LOG, MIB, bytes_at

from conftest import NOBODY, needs_root

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conftest import Famfs, Volume

PATIENCE = 60


def reserved(volume: Volume) -> bool:
    """Say whether a publisher has got its space: a record after the table's head."""
    try:
        table = volume.reservations.read_bytes()
    except FileNotFoundError:
        return False
    return any(table[512:])


def wait(condition: object, process: subprocess.Popen[bytes]) -> None:
    """Wait until something is so, while a process runs."""
    end = time.monotonic() + PATIENCE
    while not condition():  # type: ignore[operator]
        assert process.poll() is None, "the process ended too early"
        assert time.monotonic() < end, "it never came to be"


@pytest.mark.parametrize("verb", ["creat", "cp", "multi"])
def test_a_killed_publisher_leaves_nothing(famfs: Famfs, verb: str) -> None:
    """Nothing of it is visible, and its space is free again."""
    volume = famfs.volume("vol", size="512M")
    source = famfs.folder / "source"
    with source.open("wb") as file:
        file.truncate(400 * MIB)
    args = {
        "creat": ["creat", "-s", "400M", "-S", 5, volume.mnt / "f"],
        "cp": ["cp", "-t", 2, source, volume.mnt / "f"],
        "multi": ["creat", "--multi", f"{volume.mnt}/f,8", "--multi", f"{volume.mnt}/g,390M,7"],
    }[verb]
    process = famfs.start(*args)
    wait(lambda: reserved(volume), process)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert bytes_at(volume.source, LOG + 32, 16) == bytes(16)
    assert famfs("ls", volume.mnt).out == b""
    famfs("fsck", volume.source)
    # Only in the killed one's space there is room for this.
    famfs("creat", "-s", "450M", volume.mnt / "f")
    assert bytes_at(volume.source, 10 * MIB, 100 * MIB) == bytes(100 * MIB)


def test_of_many_publishers_of_one_name_one_wins(famfs: Famfs, volume: Volume) -> None:
    """The others are told that the name exists; the content is the winner's."""
    seeds = range(1, 9)
    runs = [famfs.start("creat", "-s", "1M", "-S", seed, volume.mnt / "f") for seed in seeds]
    ended = [famfs.end(run) for run in runs]
    winners = [seed for seed, run in zip(seeds, ended, strict=True) if run.code == 0]
    assert len(winners) == 1
    for run in ended:
        assert run.code == 0 or "exists" in run.err
    famfs("verify", "-S", winners[0], "-f", volume.mnt / "f")
    assert json.loads(famfs("dump", volume.mnt).out)["log"]["entries"] == 1
    famfs("fsck", volume.source)


def test_publishers_of_many_names_all_win(famfs: Famfs, volume: Volume) -> None:
    """Nobody's file is lost, and none overlaps another."""
    runs = [famfs.start("creat", "-s", "2M", "-S", n, volume.mnt / f"f{n}") for n in range(1, 9)]
    for run in runs:
        assert famfs.end(run).code == 0
    for n in range(1, 9):
        famfs("verify", "-S", n, "-f", volume.mnt / f"f{n}")
    famfs("fsck", volume.source)


def test_a_backing_file_cut_under_a_reader(famfs: Famfs, volume: Volume) -> None:
    """The reader gets an error and no signal, and nobody is served zeros."""
    famfs("creat", "-s", "32M", "-S", 6, volume.mnt / "f")
    process = famfs.start("cat", volume.mnt / "f")
    assert process.stdout
    start = os.read(process.stdout.fileno(), 1000)
    # It waits now with a full pipe, and has read no more than its first piece.
    os.truncate(volume.source, 20 * MIB)
    rest, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1, err
    assert b"panicked" not in err
    assert b"lost" in err
    found = start + rest
    assert 0 < len(found) <= 10 * MIB
    with volume.source.open("rb") as file:
        file.seek(10 * MIB)
        assert file.read(len(found)) == found


def test_a_reader_who_goes_away(famfs: Famfs, volume: Volume) -> None:
    """A closed pipe ends it quietly, whatever it prints."""
    famfs("creat", "-s", "32M", "-S", 6, volume.mnt / "f")
    for args in (["cat", volume.mnt / "f"], ["completions", "zsh"], ["man"], ["dump", volume.mnt]):
        process = famfs.start(*args)
        assert process.stdout
        assert process.stderr
        process.stdout.close()
        err = process.stderr.read()
        assert process.wait(PATIENCE) == 0
        assert err == b""
        process.stderr.close()
    with open("/dev/full", "wb") as full:
        run = subprocess.run(
            [famfs.program, "cat", volume.mnt / "f"],
            stdout=full, stderr=subprocess.PIPE, env=famfs.env(), check=False,
        )  # fmt: skip
    assert run.returncode == 1
    assert b"standard output" in run.stderr


def test_a_source_that_shrinks_while_it_is_copied(famfs: Famfs) -> None:
    """It is refused, nothing is published, and its space is free again."""
    volume = famfs.volume("vol", size="512M")
    source = famfs.folder / "source"
    with source.open("wb") as file:
        file.truncate(400 * MIB)
    process = famfs.start("cp", "-t", 1, source, volume.mnt / "f")
    wait(lambda: reserved(volume), process)
    os.truncate(source, 5 * MIB)
    run = famfs.end(process)
    assert run.code == 1
    assert "had 419430400 bytes when the copy began and has 5242880 now" in run.err
    assert famfs("ls", volume.mnt).out == b""
    famfs("creat", "-s", "450M", volume.mnt / "f")


def test_a_source_that_grows_while_it_is_copied(famfs: Famfs) -> None:
    """It is refused too."""
    volume = famfs.volume("vol", size="512M")
    source = famfs.folder / "source"
    with source.open("wb") as file:
        file.truncate(400 * MIB)
    process = famfs.start("cp", source, volume.mnt / "f")
    wait(lambda: reserved(volume), process)
    os.truncate(source, 401 * MIB)
    run = famfs.end(process)
    assert run.code == 1
    assert "nothing was published" in run.err
    assert famfs("ls", volume.mnt).out == b""


def test_a_copy_out_is_whole_or_not_there(famfs: Famfs, volume: Volume) -> None:
    """A reader of the name never sees a part, and a failure leaves nothing."""
    famfs("creat", "-s", "32M", "-S", 6, volume.mnt / "f")
    out = famfs.folder / "out"
    out.mkdir()
    sizes = set()
    stop = threading.Event()

    def watch() -> None:
        while not stop.is_set():
            sizes.update(path.stat().st_size for path in out.glob("f"))

    watcher = threading.Thread(target=watch)
    watcher.start()
    famfs("cp", volume.mnt / "f", out)
    stop.set()
    watcher.join()
    assert sizes <= {32 * MIB}
    famfs.fails("cp", volume.mnt / "f", out, says="--force")
    famfs("cp", "-f", "-m", "0600", volume.mnt / "f", out)
    assert (out / "f").stat().st_mode & 0o777 == 0o600
    os.truncate(volume.source, 64 * MIB)
    assert os.listdir(out) == ["f"]


@pytest.mark.parametrize("options", [[], ["-f"]])
def test_a_copy_out_that_is_killed_leaves_nothing(famfs: Famfs, options: list[str]) -> None:
    """What has no name yet goes with the process."""
    volume = famfs.volume("large", size="2G")
    famfs("creat", "-s", "1G", volume.mnt / "f")
    out = famfs.folder / "out"
    out.mkdir()
    (out / "f").write_bytes(b"old") if options else None
    copy = famfs.start("cp", *options, volume.mnt / "f", out)
    time.sleep(0.1)
    copy.send_signal(signal.SIGINT)
    copy.communicate(timeout=60)
    assert copy.returncode == -signal.SIGINT
    assert os.listdir(out) == (["f"] if options else [])


def test_a_copy_out_takes_the_place_of_plain_files_alone(famfs: Famfs, volume: Volume) -> None:
    """A fifo, a link or a device is not replaced, and any name that a file may have will do."""
    famfs("creat", "-s", "5", volume.mnt / "f")
    os.mkfifo(famfs.folder / "fifo")
    (famfs.folder / "link").symlink_to("elsewhere")
    for name in ("fifo", "link"):
        famfs.fails("cp", "-f", volume.mnt / "f", famfs.folder / name, says="no plain file")
    famfs("cp", "-f", volume.mnt / "f", famfs.folder / ("n" * 250))


def test_a_source_without_a_size_is_refused(famfs: Famfs, volume: Volume) -> None:
    """Files of /proc say that they are empty, those of /sys that they have a page."""
    for path in ("/proc/cpuinfo", "/sys/kernel/mm/transparent_hugepage/enabled"):
        famfs.fails("cp", path, volume.mnt / "f", says="plain file")
    assert famfs("ls", volume.mnt).out == b""


@pytest.fixture
def mnt(famfs: Famfs) -> Iterator[Path]:
    """Give a mount point that is not left behind in the table of mounts."""
    path = famfs.folder / "mnt"
    path.mkdir()
    yield path
    for options in (["--discard"], []):
        subprocess.run(
            [famfs.program, "umount", path, *options],
            env=famfs.env(), stderr=subprocess.DEVNULL, check=False,
        )  # fmt: skip


def test_a_library_mount(famfs: Famfs, mnt: Path) -> None:
    """It is listed, used by path, refused twice and taken away."""
    source = famfs.folder / "vol"
    famfs("mkfs", source, "--size", "32M")
    mode = mnt.stat().st_mode
    mount = json.loads(famfs("mount", "--json", source, mnt).out)
    assert (mount["way"], mount["volume"]["locality"]) == ("library", "local")
    famfs.fails("mount", source, mnt, says="famfs umount")
    (listed,) = [m for m in json.loads(famfs("mounts", "-v", "--json").out)
                 if m["mountpoint"] == str(mnt)]  # fmt: skip
    assert listed["source"] == str(source)
    assert listed["volume"]["role"] == "master"
    assert str(mnt) in famfs("mounts").text
    assert "master" in famfs("mounts", "-v").text
    famfs("creat", "-s", 5, mnt / "f")
    assert famfs("ls", cwd=mnt).text == "f\n"
    assert famfs("cat", "./f", cwd=mnt).out == bytes(5)
    assert mnt.stat().st_mode & 0o222 == 0
    famfs("umount", mnt)
    assert mnt.stat().st_mode == mode
    famfs.fails("ls", mnt, says="famfs mount --embedded")
    famfs.fails("umount", mnt, says="famfs mounts")
    assert "shared" in famfs("mount", "--shared", source, mnt, "--json").text
    assert famfs("cat", mnt / "f").out == bytes(5)
    famfs("flush", mnt / "f")


def test_an_embedded_volume(famfs: Famfs, mnt: Path) -> None:
    """It is made once, says what memory it got, survives umount and goes with --discard."""
    mnt.rmdir()
    told = famfs("mount", "--embedded", "--size", "32M", mnt).text
    assert "made and mounted" in told
    assert "32.0 MiB" in told
    famfs("creat", "-s", 5000, "-S", 8, mnt / "f")
    told = famfs("umount", mnt).text
    assert "stays, in 32.0 MiB" in told
    assert f"famfs umount --discard {mnt}" in told
    told = famfs("mount", "--embedded", mnt).text
    assert "made" not in told
    famfs("verify", "-S", 8, "-f", mnt / "f")
    (df,) = json.loads(famfs("df", "--json", mnt).out)
    assert df["memory"] in famfs("df", mnt).text
    assert df["memory"] in told
    assert 0 <= df["huge"] <= df["capacity"] == 32 << 20
    assert "32.0 MiB are in huge pages" in famfs("df", mnt).text
    mounts = json.loads(famfs("mounts", "--json").out)
    (source,) = [m["source"] for m in mounts if m["mountpoint"] == str(mnt)]
    assert os.path.exists(source)
    famfs("umount", "--discard", mnt)
    assert not os.path.exists(source)
    assert not mnt.exists()
    famfs("mount", "--embedded", "--size", "32M", mnt)
    assert famfs("ls", mnt).out == b""
    famfs("umount", "--discard", mnt)
    assert not mnt.exists()


@needs_root
def test_a_user_mounts_for_himself(famfs: Famfs, mnt: Path) -> None:
    """Without root the mount lies in a table of the user's own."""
    user = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
    own = famfs.folder / "own"
    for path in (own, own / "run", own / "mnt"):
        path.mkdir()
        os.chown(path, NOBODY, NOBODY)
    famfs.environment["XDG_RUNTIME_DIR"] = str(own / "run")
    famfs.environment["HOME"] = str(own)
    famfs("mkfs", own / "vol", "--size", "32M", **user)
    famfs("mount", own / "vol", own / "mnt", **user)
    famfs("creat", "-s", 5, own / "mnt/f", **user)
    assert famfs("stat", "--json", own / "mnt/f", **user).text.count(f'"uid": {NOBODY}') == 1
    famfs.fails("ls", own / "mnt", says="no famfs mount")
    assert str(mnt) not in famfs("mounts", **user).text
    famfs("umount", own / "mnt", **user)


def test_owner_and_mode_are_the_callers(famfs: Famfs, volume: Volume) -> None:
    """0666 and 0777 without the umask, unless told otherwise."""
    for umask, name in ((0o022, "a"), (0o077, "b")):
        famfs("creat", "-s", 5, volume.mnt / name, umask=umask)
        famfs("mkdir", volume.mnt / f"{name}d", umask=umask)
    famfs("creat", "-s", 5, "-m", "4711", "-u", 7, "-g", 8, volume.mnt / "c", umask=0o077)
    found = {e["path"]: e for e in json.loads(famfs("ls", "--json", volume.mnt).out)}
    modes = {name: entry["mode"] for name, entry in found.items()}
    assert modes == {"a": "0644", "ad": "0755", "b": "0600", "bd": "0700", "c": "4711"}
    assert (found["c"]["uid"], found["c"]["gid"]) == (7, 8)
    assert (found["a"]["uid"], found["a"]["gid"]) == (os.geteuid(), os.getegid())


def test_the_other_name_and_the_pages(famfs: Famfs) -> None:
    """mkfs.famfs is famfs mkfs; completions and pages name every command."""
    alias = famfs.folder / "mkfs.famfs"
    alias.symlink_to(famfs.program)
    run = subprocess.run(
        [alias, famfs.folder / "vol", "--size", "32M"], capture_output=True, check=True
    )
    assert b"made volume" in run.stdout
    famfs("fsck", famfs.folder / "vol")
    script = famfs("completions", "bash").text
    pages = famfs.folder / "pages"
    famfs("man", "--dir", pages)
    commands = [path.name.split("-")[1][:-2] for path in pages.glob("famfs-*.1")]
    assert {"mkfs", "mount", "creat", "cp", "fsck", "dump", "chkread"} <= set(commands)
    for command in commands:
        assert command in script
        assert command in famfs("--help").text
    assert ".TH FAMFS 1" in famfs("man").text
    assert "famfs" in famfs("--version").text
