"""Polars: its own IPC file on /dev/shm."""

from __future__ import annotations

from pathlib import Path

import inputs
import polars as pl


def publish(where, what, size, rounds):
    data = (
        pl.from_arrow(inputs.table(size)) if what == "table" else pl.from_pandas(inputs.frame(size))
    )
    path = Path(where, "polars")

    def save():
        data.write_ipc(path, compression="uncompressed")
        return path.unlink

    return inputs.timed(save, rounds)
