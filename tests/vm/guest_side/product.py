"""What users do from Python, under a kernel mount: ``product.py CHECK DIRECTORY [ARGUMENT...]``.

Prints ``passed``. Run by root, who places files, and by users for whom the mount's follower does.
"""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

import famfs
import famfs.multiprocessing
from famfs import convert

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MIB = 1 << 20


def refused(kind: type[Exception], call: Callable[..., object], *arguments: object) -> str:
    """Check that a call is refused, and hand back why."""
    try:
        call(*arguments)
    except kind as error:
        return str(error)
    raise AssertionError(f"{call} with {arguments} was not refused")


def batches(count: int) -> Iterator[pa.RecordBatch]:
    """Batches of 2.5 MiB, whose dictionaries differ."""
    rows = 1 << 18
    for i in range(count):
        words = pa.array([f"w{j}" for j in range(i * 10, i * 10 + 20)])
        keys = pa.array((np.arange(rows) % 20).astype("i2"))
        word = pa.DictionaryArray.from_arrays(keys, words)
        yield pa.record_batch({"n": np.arange(i * rows, (i + 1) * rows), "word": word})


def check_a_stream(mnt: str) -> None:
    """A reader is written while it comes, or gathered first where a follower reserves."""
    convert.WINDOW = MIB
    free = famfs.df(mnt).free
    grows = os.geteuid() == 0

    def beside() -> Iterator[pa.RecordBatch]:
        for i, batch in enumerate(batches(6)):
            if i in {2, 4}:
                # The space behind what is there so far is taken: the file goes on elsewhere.
                famfs.publish(b"x", f"{mnt}/between{i}")
            yield batch

    schema = next(batches(1)).schema
    ref = famfs.publish(pa.RecordBatchReader.from_batches(schema, beside()), f"{mnt}/stream")
    dataset = famfs.open(ref, verify=True)
    assert len(dataset.batches) == (6 if grows else 1), dataset
    expected = pa.Table.from_batches(list(batches(6))).unify_dictionaries()
    table = dataset.to_arrow()
    assert table["n"].to_numpy().tolist() == expected["n"].to_numpy().tolist()
    words = table["word"].cast(pa.string()).combine_chunks()
    assert words.equals(expected["word"].cast(pa.string()).combine_chunks())
    # The kernel's file has the same bytes, by read(2).
    size = next(entry.size for entry in famfs.ls(mnt) if entry.name == "stream")
    assert Path(f"{mnt}/stream").stat().st_size == size
    assert Path(f"{mnt}/stream").read_bytes() == bytes(dataset.buffer())
    used = free - famfs.df(mnt).free
    assert used == (2 + -(-size // (2 * MIB))) * 2 * MIB, "what was taken too much is given back"

    def fails() -> Iterator[pa.RecordBatch]:
        yield from batches(3)
        raise RuntimeError("the source is gone")

    free = famfs.df(mnt).free
    source = pa.RecordBatchReader.from_batches(schema, fails())
    assert "is gone" in refused(famfs.FamfsError, famfs.publish, source, f"{mnt}/none")
    assert not famfs.exists(f"{mnt}/none")
    assert famfs.df(mnt).free == free


def check_in_place(mnt: str) -> None:
    """Arrays and tables are built where they stay; what leaked of them changes nothing."""
    with famfs.create(f"{mnt}/array", (1000, 1000), "f8") as array:
        array[:] = np.arange(1_000_000).reshape(1000, 1000)
    found = famfs.open(f"{mnt}/array").to_numpy()
    assert found[999, 999] == 999_999
    before = Path(f"{mnt}/array").read_bytes()
    child = os.fork()
    if child == 0:
        # A signal, or a page of its own: not the file's.
        array[0, 0] = -1
        os._exit(0)
    os.waitpid(child, 0)
    assert Path(f"{mnt}/array").read_bytes() == before
    schema = pa.schema({"n": pa.int64(), "s": pa.string()})
    with famfs.create_table(f"{mnt}/table", schema, 1000, sizes={"s": 10_000}) as table:
        table["n"][:] = np.arange(1000)
        table.fill("s", [f"row {i}" for i in range(1000)])
    back = famfs.open(f"{mnt}/table", verify=True).to_arrow()
    assert back["s"][999].as_py() == "row 999"
    assert pa.ipc.open_file(f"{mnt}/table").read_all().equals(back), "by read(2) too"
    free = famfs.df(mnt).free

    def interrupted() -> None:
        with famfs.create(f"{mnt}/none", 1 << 20, "f8") as array:
            array[:] = 1
            raise InterruptedError

    refused(InterruptedError, interrupted)
    assert not famfs.exists(f"{mnt}/none")
    assert famfs.df(mnt).free == free


def check_a_transaction(mnt: str) -> None:
    """Files appear together, also those that other processes fill."""
    with famfs.transaction(mnt) as tx:
        tx.publish(b"one", f"{mnt}/one")
        with tx.create(f"{mnt}/two", 1000, "i8") as array:
            array[:] = np.arange(1000)
        assert not famfs.exists(f"{mnt}/one")
        if os.geteuid() == 0:
            part = [sys.executable, __file__, "part", mnt, tx.token]
            subprocess.run(part, check=True)
        else:
            assert "run this as root" in refused(famfs.Unsupported, lambda: tx.token)
        assert not famfs.exists(f"{mnt}/two")
    assert famfs.open(f"{mnt}/two").to_numpy()[999] == 999
    assert Path(f"{mnt}/one").read_bytes() == b"one"
    if os.geteuid() == 0:
        assert famfs.open(f"{mnt}/three").to_numpy().sum() == 3000
    free = famfs.df(mnt).free
    killed = [sys.executable, __file__, "killed", mnt]
    with subprocess.Popen(killed, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "filled\n"
        process.send_signal(signal.SIGKILL)
    assert not famfs.exists(f"{mnt}/never")
    assert famfs.df(mnt).free == free
    famfs.publish(b"x", f"{mnt}/never")


def check_by_reference(mnt: str) -> None:
    """What the kernel's mapping shows goes to other processes as a reference, and is drawn."""
    numbers = np.arange(300_000)
    words = pa.array([f"w{i % 9}" for i in range(len(numbers))]).dictionary_encode()
    famfs.publish(pa.table({"n": numbers, "word": words}), f"{mnt}/table")
    famfs.publish(numbers, f"{mnt}/numbers")
    table = famfs.open(f"{mnt}/table").to_arrow()
    things = [famfs.open(f"{mnt}/numbers").to_numpy(), table, table["word"], table[5:9]]
    famfs.multiprocessing.register()
    for thing in things:
        sent = bytes(ForkingPickler.dumps(thing))
        assert len(sent) <= 256, (type(thing), len(sent))
        other = [sys.executable, __file__, "received", mnt]
        subprocess.run(other, input=sent, check=True, stdout=subprocess.DEVNULL)
    mine = numbers.copy()
    assert len(ForkingPickler.dumps(mine)) > mine.nbytes
    volume = next(each for each in famfs.mounts() if mnt.startswith(f"{each.mountpoint}/"))
    command = ["famfs", "map", "--json", volume.mountpoint]
    drawn = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert '"numbers"' in drawn or "/numbers" in drawn, drawn[:300]
    command = ["famfs", "top", "--once", "--json", "-i", "0.2", volume.mountpoint]
    seen = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    assert volume.mountpoint in json.dumps(seen)


def received(mnt: str) -> None:
    """Another process, which gets what was sent and compares it with what is there."""
    thing = pickle.load(sys.stdin.buffer)
    if isinstance(thing, np.ndarray):
        assert thing.sum() == famfs.open(f"{mnt}/numbers").to_numpy().sum()
    else:
        table = famfs.open(f"{mnt}/table").to_arrow()
        parts = [table, table["word"], table[5:9]]
        assert any(type(part) is type(thing) and part.equals(thing) for part in parts)


def part(mnt: str, token: str) -> None:
    """Another process of the transaction."""
    with famfs.transaction(token=token) as tx:
        tx.publish(np.full(1000, 3), f"{mnt}/three")


def killed(mnt: str) -> None:
    """A process that never commits."""
    tx = famfs.transaction(mnt)
    tx.publish(np.zeros(1_000_000), f"{mnt}/never")
    print("filled", flush=True)
    signal.pause()


def main() -> None:
    """Run what is named, in a directory of its own."""
    name, directory, *arguments = sys.argv[1:]
    if name.startswith("check_"):
        directory = f"{directory}/{name}-{os.geteuid()}"
        subprocess.run(["famfs", "mkdir", directory], check=True)
    globals()[name](directory, *arguments)
    print("passed")


main()
