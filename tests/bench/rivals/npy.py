"""NumPy's own file on /dev/shm."""

from __future__ import annotations

from pathlib import Path

import inputs
import numpy as np


def publish(where, what, size, rounds):
    data = inputs.made(what, size)
    path = Path(where, "array.npy")

    def save():
        np.save(path, data)
        return path.unlink

    return inputs.timed(save, rounds)
