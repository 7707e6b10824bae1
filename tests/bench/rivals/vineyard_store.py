"""Vineyard: its daemon, and clients. It has an environment of its own, which may lack famfs."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from pathlib import Path

import inputs
import vineyard


def publish(where, what, size, rounds):
    data = inputs.made(what, size)
    client = vineyard.connect(where)

    def put():
        held = client.put(data)
        return lambda: client.delete(held)

    return inputs.timed(put, rounds)


def store(where, _name, columns, rows, batch_rows):
    import pyarrow as pa

    table = inputs.small_table(columns, rows)
    if batch_rows:
        table = pa.Table.from_batches(table.to_batches(max_chunksize=batch_rows))
    client = vineyard.connect(where)
    held = client.put(table)
    client.persist(held)
    return repr(held)


def first_value(where, name, column):
    client = vineyard.connect(where)
    held = vineyard.ObjectID(name)
    start = time.perf_counter()
    value = client.get(held).column(column)[0].as_py()
    took = time.perf_counter() - start
    assert isinstance(value, int)
    return took


def serve(folder, size):
    """The daemon, until the input ends; tells when it listens."""
    program = Path(vineyard.__file__).parent / "bdist" / "vineyardd"
    socket = Path(folder, "socket")
    options = ["-socket", socket, "-size", size, "-meta", "local", "-rpc=false"]
    command = [str(part) for part in (program, *options)]
    with (
        Path(folder, "log").open("w") as log,
        subprocess.Popen(command, cwd=folder, stdout=log, stderr=subprocess.STDOUT) as daemon,
        contextlib.suppress(KeyboardInterrupt),
    ):
        while not socket.exists() and daemon.poll() is None:
            time.sleep(0.02)
        print(socket, flush=True)
        sys.stdin.read()
        daemon.terminate()
    return "ended"
