"""PyTorch: published rows for its data loaders, whose workers share them, and weights in place.

Tensors are as `Dataset.to_torch` makes them: over the volume's memory, and what is written to one
is this process's own.
"""

from __future__ import annotations

import bisect
import functools
import itertools
from typing import TYPE_CHECKING, Any

from famfs import convert
from famfs import open as open_dataset
from famfs._arguments import read_count, read_names
from famfs._extras import engine
from famfs.convert import arrays
from famfs.dataset import Dataset
from famfs.errors import Unsupported

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Mapping, Sequence

    from famfs._native import Ref
    from famfs.volume import Entry


def save(
    state: Mapping[str, Any],
    path: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    mode: int | None = None,
) -> Ref:
    """Publishes a model's state_dict as a safetensors file.

    Each tensor is copied once, straight to where it stays. Two names of one tensor are two tensors.

    Args:
        state: Tensors of the CPU by their names, as `model.state_dict()` gives them.
        path: Where, below a mount point.
        overwrite: As `famfs.publish`: put it in the place of what is there, as its new version.
        mode: Permission bits, such as 0o640.

    Returns:
        Its reference.

    Raises:
        AlreadyExists: The name is taken, and `overwrite` is not set.
        NoSpace: The volume is full.
        Unsupported: It holds anything but tensors, or nothing.

    Example:
        >>> import famfs.torch, torch  # doctest: +SKIP
        >>> model = torch.nn.Linear(3, 2)  # doctest: +SKIP
        >>> ref = famfs.torch.save(model.state_dict(), f"{mnt}/model")  # doctest: +SKIP
    """
    if not isinstance(state, dict) or not state:
        raise Unsupported(
            f"{arrays.name(state)} is no state_dict: a dict of tensors is, as model.state_dict() "
            "gives it; famfs.publish takes anything else"
        )
    for name, tensor in state.items():
        if not arrays.comes_from(tensor, "torch"):
            raise Unsupported(
                f"{name!r} is {arrays.name(tensor)} and no tensor: an optimizer's state is nested, "
                "give each of its tensors a name of its own"
            )
    return convert.publish(state, path, overwrite=overwrite, mode=mode)


def load(source: str | os.PathLike[str] | Ref | Entry | Dataset) -> dict[str, Any]:
    """Opens a published state_dict: its tensors lie in the volume, and nothing is read.

    `model.load_state_dict(state, assign=True)` uses them where they are, so that several processes
    share them; without `assign` they are copied into the model's own.

    Args:
        source: What `famfs.open` takes; or a dataset that is open. Also a safetensors file that
            others wrote.

    Returns:
        Tensors by their names.

    Raises:
        NotFound: There is no such file.
        NotMounted: The path lies under no mount, or the reference's volume isn't mounted here.
        Unsupported: It is no safetensors file, or torch is missing.

    Example:
        >>> import famfs.torch, torch  # doctest: +SKIP
        >>> model = torch.nn.Linear(3, 2)  # doctest: +SKIP
        >>> model.load_state_dict(famfs.torch.load(ref), assign=True)  # doctest: +SKIP
    """
    dataset = source if isinstance(source, Dataset) else open_dataset(source)
    if dataset.kind != "safetensors":
        raise Unsupported(
            f"{dataset.path} ({dataset.kind}) is no state_dict: famfs.torch.save publishes one, "
            "and to_torch() has an array's tensor"
        )
    state: dict[str, Any] = dataset.to_torch()
    return state


class Rows:
    """Published rows, one by one: a map-style dataset for `torch.utils.data.DataLoader`.

    A row of a table is a dict of tensors by the columns' names; of an array a tensor; of a
    safetensors file whose tensors are equally long a dict of their items. It goes to workers as the
    reference, and they open it where it is: all share one copy.

    Example:
        >>> import famfs, famfs.torch
        >>> rows = Rows(famfs.publish({"x": np.ones((5, 2)), "y": np.arange(5)}, f"{mnt}/rows"))
        >>> len(rows)
        5
        >>> rows[0]["x"].shape  # doctest: +SKIP
        torch.Size([2])
    """

    def __init__(
        self,
        source: str | os.PathLike[str] | Ref | Entry | Dataset,
        *,
        columns: Sequence[str] | None = None,
    ) -> None:
        """Opens the rows.

        Args:
            source: What `famfs.open` takes, directories and patterns too; or a dataset.
            columns: Of a table or safetensors file those that are wanted; by default all.

        Raises:
            KeyError: There is no such column.
            NotFound: There is no such file.
            Unsupported: It has no rows, or tensors of different lengths.
        """
        dataset = source if isinstance(source, Dataset) else open_dataset(source)
        self._columns = None if columns is None else read_names(columns)
        self._dataset, lengths = _rows_of(dataset, self._columns)
        # Of a table the rows of each record batch, whose columns are one array each.
        self._ends = list(itertools.accumulate(lengths))
        self._open: dict[int, Any] = {}

    def __len__(self) -> int:
        """How many rows there are."""
        return self._ends[-1] if self._ends else 0

    def __getitem__(self, index: int) -> Any:  # noqa: ANN401 - a tensor, or a dict of them
        """A row; from the end where the index is negative."""
        at = index + len(self) if index < 0 else index
        if not 0 <= at < len(self):
            raise IndexError(f"row {index}, there are {len(self)}")
        part = bisect.bisect_right(self._ends, at)
        return _of(self.tensors(part), at - self._start(part))

    def tensors(self, part: int) -> Any:  # noqa: ANN401
        """Opens the tensors of a record batch; of anything but a table there is one.

        Args:
            part: Which, from 0.

        Returns:
            A tensor, or a dict of them, all rows of it; in place.

        Raises:
            Unsupported: A column isn't one of numbers without nulls; or torch is missing.
        """
        if part not in self._open:
            self._open[part] = self._opened(part)
        return self._open[part]

    def _opened(self, part: int) -> Any:  # noqa: ANN401
        dataset = self._dataset
        if dataset.kind == "array":
            return dataset.to_torch()
        if dataset.kind == "safetensors":
            state = dataset.to_torch()
            return state if self._columns is None else {name: state[name] for name in self._columns}
        rows = dataset[self._start(part) : self._ends[part]]
        return {name: rows[name].to_torch() for name in rows.names}

    def _start(self, part: int) -> int:
        return self._ends[part - 1] if part else 0

    @property
    def lengths(self) -> list[int]:
        """How many rows each record batch has."""
        return [end - self._start(part) for part, end in enumerate(self._ends)]

    def __getstate__(self) -> dict[str, Any]:
        """Without the tensors: who unpickles it opens them."""
        return self.__dict__ | {"_open": {}}


def batches(
    source: str | os.PathLike[str] | Ref | Entry | Dataset,
    size: int,
    *,
    columns: Sequence[str] | None = None,
) -> Any:  # noqa: ANN401
    """Makes an iterable dataset of batches of rows: slices, that nobody has to put together.

    Give it to a loader that makes no batches itself, `DataLoader(batches(...), batch_size=None)`.
    Its workers share the batches out, each gets every n-th. Where there are none the batches are in
    place; workers hand theirs over in memory that PyTorch shares. A batch ends where a table's
    record batch does.

    Args:
        source: As `Rows`.
        size: Rows of a batch.
        columns: As `Rows`.

    Returns:
        A `torch.utils.data.IterableDataset`; its length is the number of batches.

    Raises:
        ImportError: torch isn't installed; the message names the extra.
        KeyError: There is no such column.
        Unsupported: As `Rows`; or the size is no number of rows.

    Example:
        >>> import famfs.torch, torch  # doctest: +SKIP
        >>> rows = famfs.torch.batches(f"{mnt}/rows", 256)  # doctest: +SKIP
        >>> loader = torch.utils.data.DataLoader(rows, batch_size=None)  # doctest: +SKIP
    """
    kind = _batches_type()
    count = read_count(size, "size", "rows of a batch")
    if not count:
        raise Unsupported(f"size={size}: a batch has 1 row or more")
    return kind(Rows(source, columns=columns), count)


def ranges(
    lengths: Sequence[int], size: int, worker: int = 0, workers: int = 1
) -> Iterator[tuple[int, int, int]]:
    """Shares batches of rows out.

    Args:
        lengths: Rows of each record batch.
        size: Rows of a batch.
        worker: Who asks, from 0.
        workers: How many share them.

    Yields:
        Of each batch the record batch, its first row and the one after its last.

    Example:
        >>> list(ranges([5, 2], 3))
        [(0, 0, 3), (0, 3, 5), (1, 0, 2)]
        >>> list(ranges([5, 2], 3, worker=1, workers=2))
        [(0, 3, 5)]
    """
    every = (
        (part, start, min(start + size, length))
        for part, length in enumerate(lengths)
        for start in range(0, length, size)
    )
    return itertools.islice(every, worker, None, workers)


def _rows_of(dataset: Dataset, columns: Sequence[str] | None) -> tuple[Dataset, list[int]]:
    """What has the rows, and how many are in each of its parts."""
    if dataset.kind == "table":
        dataset = dataset if columns is None else dataset[list(columns)]
        return dataset, dataset._file.batch_rows  # noqa: SLF001 - of this package
    if dataset.kind == "safetensors":
        # By the file's own account: types that NumPy hasn't are PyTorch's all the same.
        shapes = {name: tuple(shape) for name, _, shape, _, _ in dataset._file.tensors}  # noqa: SLF001
        if columns is not None:
            # Who asks the dataset for a tensor that it hasn't is told which it has.
            shapes = {name: shapes.get(name) or dataset[name].shape for name in columns}
        lengths = {shape[0] if shape else None for shape in shapes.values()}
        if len(lengths) != 1 or None in lengths:
            raise Unsupported(
                f"{dataset.path}: tensors of shapes {shapes} are no rows: columns chooses some "
                "that are equally long"
            )
        return dataset, [length for length in lengths if length is not None]
    if dataset.kind == "array" and dataset.shape and columns is None:
        return dataset, [len(dataset)]
    what = "columns are those of a table" if columns is not None else "tables and arrays have rows"
    raise Unsupported(f"{dataset.path} ({dataset.kind}, {dataset.shape}): {what}")


def _of(tensors: Any, rows: int | slice) -> Any:  # noqa: ANN401
    """A row, or several, of a tensor or of each of a dict of them."""
    if isinstance(tensors, dict):
        return {name: tensor[rows] for name, tensor in tensors.items()}
    return tensors[rows]


@functools.cache
def _batches_type() -> Any:  # noqa: ANN401
    """The class of `batches`, made when torch is there to inherit from."""
    data = engine("torch.utils.data", "torch")

    class Batches(data.IterableDataset):  # type: ignore[misc, name-defined]
        """Batches of published rows."""

        def __init__(self, rows: Rows, size: int) -> None:
            super().__init__()
            self._rows, self._size = rows, size

        def __iter__(self) -> Iterator[Any]:
            """The batches of this worker."""
            asked = data.get_worker_info()
            share = (0, 1) if asked is None else (asked.id, asked.num_workers)
            for part, start, end in ranges(self._rows.lengths, self._size, *share):
                yield _of(self._rows.tensors(part), slice(start, end))

        def __len__(self) -> int:
            """How many batches there are."""
            return sum(-(-length // self._size) for length in self._rows.lengths)

    # Found by this name where it is unpickled.
    Batches.__qualname__ = "Batches"
    return Batches


def __getattr__(name: str) -> Any:  # noqa: ANN401
    """The class of `batches`, for pickle."""
    if name == "Batches":
        return _batches_type()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
