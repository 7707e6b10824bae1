"""multiprocessing.shared_memory: a new segment for each array, as its documentation has it."""

from __future__ import annotations

from multiprocessing.shared_memory import SharedMemory

import inputs
import numpy as np


def publish(_where, what, size, rounds):
    data = inputs.made(what, size)

    def put():
        memory = SharedMemory(create=True, size=data.nbytes)
        np.ndarray(data.shape, data.dtype, buffer=memory.buf)[:] = data

        def undo():
            memory.close()
            memory.unlink()

        return undo

    return inputs.timed(put, rounds)
