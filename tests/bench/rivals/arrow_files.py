"""pyarrow: a tensor, or an IPC file, on /dev/shm; opened through its memory map."""

from __future__ import annotations

import time
from pathlib import Path

import inputs
import pyarrow as pa
import pyarrow.ipc


def publish(where, what, size, rounds):
    data = inputs.made(what, size)
    path = Path(where, "arrow")

    def save():
        with pa.OSFile(str(path), "wb") as sink:
            if what == "array":
                pa.ipc.write_tensor(pa.Tensor.from_numpy(data), sink)
            else:
                written = data if what == "table" else pa.Table.from_pandas(data)
                with pa.ipc.new_file(sink, written.schema) as writer:
                    writer.write_table(written)
        return path.unlink

    return inputs.timed(save, rounds)


def store(where, name, columns, rows, batch_rows):
    table = inputs.small_table(columns, rows)
    with (
        pa.OSFile(str(Path(where, name)), "wb") as sink,
        pa.ipc.new_file(sink, table.schema) as writer,
    ):
        writer.write_table(table, max_chunksize=batch_rows)


def first_value(where, name, column):
    path = str(Path(where, name))
    start = time.perf_counter()
    value = pa.ipc.open_file(pa.memory_map(path)).read_all().column(column)[0].as_py()
    took = time.perf_counter() - start
    assert isinstance(value, int)
    return took
