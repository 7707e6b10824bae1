"""multiprocessing: arrays and tables that lie in a volume go to other processes as references.

Datasets and references do so anyhow. This is for what they have handed out.
"""

from __future__ import annotations

from multiprocessing.reduction import ForkingPickler

from famfs import _by_reference
from famfs._by_reference import Reducer

# Bytes out of band, of protocol 5, are for picklers that were asked for them.
PROTOCOL = 4
"""What `multiprocessing` and loky pickle with."""


def register() -> None:
    """Makes objects that lie in a volume pass by reference, from this process to others.

    These are NumPy's arrays, and pyarrow's tables, batches, columns and arrays, from 1 KiB on; also
    within others, such as lists, dicts and pandas frames. Whatever lies elsewhere is pickled as
    ever. Who receives them needs famfs and the volume, and nothing else.

    `multiprocessing` has one way to pickle for `Process`, `Pool` and queues, which
    `concurrent.futures.ProcessPoolExecutor` uses too. What workers return is pickled by them: with
    `initializer=famfs.multiprocessing.register` that is by reference as well.

    Example:
        >>> import famfs.multiprocessing
        >>> from multiprocessing.reduction import ForkingPickler
        >>> array = famfs.open(famfs.publish(np.ones(100_000), f"{mnt}/ones")).to_numpy()
        >>> famfs.multiprocessing.register()
        >>> len(ForkingPickler.dumps(array)) < 300
        True
    """
    known = ForkingPickler._extra_reducers  # type: ignore[attr-defined]  # noqa: SLF001 - no getter
    for kind in _by_reference.types():
        before = known.get(kind)
        if not isinstance(before, Reducer):
            ForkingPickler.register(kind, Reducer(before, PROTOCOL))
