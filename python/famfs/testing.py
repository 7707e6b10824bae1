"""What benchmarks measure against."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from famfs import _native

if TYPE_CHECKING:
    import numpy as np


def copy_limit(
    mnt: str | os.PathLike[str], data: np.ndarray[tuple[int], np.dtype[np.uint8]], rounds: int = 3
) -> float:
    """Measures the fastest copy of data into a volume's memory: the limit of publishing.

    Args:
        mnt: A mount point.
        data: Contiguous bytes.
        rounds: How often each way is tried: memcpy and streaming stores, with one thread and with
            several. The memory is mapped already, and reserved meanwhile; nothing is published.

    Returns:
        Seconds that the best took.

    Raises:
        NoSpace: The volume has no room for the data.
        NotMaster: Another host publishes to this volume.
        NotMounted: The path lies under no mount.

    Example:
        >>> import famfs.testing, numpy as np
        >>> famfs.testing.copy_limit(mnt, np.zeros(1 << 20, np.uint8)) > 0
        True
    """
    return _native.copy_limit(os.fspath(mnt), data, rounds=rounds)
