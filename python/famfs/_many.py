"""Several files as one table: what a directory or a pattern opens."""

from __future__ import annotations

import fnmatch
import itertools
import os
from typing import TYPE_CHECKING, Any, cast

from famfs import _native
from famfs._arrow import pyarrow
from famfs.dataset import Dataset
from famfs.errors import NotFound, Unsupported

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from famfs._native import Ref

_PATTERN = frozenset("*?[")


def names_of(path: str) -> list[str] | None:
    """Finds the files that a path means, where it means several.

    Args:
        path: A directory's, or one whose last part is a pattern such as `*.arrow`.

    Returns:
        Their paths in the order of their names; None where the path is a file's, or nothing's.

    Raises:
        NotFound: There is no file in the directory, or none that the pattern means.
        Unsupported: A pattern stands in for a directory.

    Example:
        >>> import famfs
        >>> from famfs import _many
        >>> for part in "ab": ref = famfs.publish({"x": np.arange(3)}, f"{mnt}/{part}.arrow")
        >>> [path.removeprefix(mnt) for path in _many.names_of(f"{mnt}/*.arrow")]
        ['/a.arrow', '/b.arrow']
    """
    try:
        found = _native.entry(path)
    except NotFound:
        # A name that is there is meant, whatever its letters; a pattern names nothing by itself.
        directory, _, pattern = path.rpartition("/")
        if not _PATTERN & set(pattern):
            if _PATTERN & set(directory):
                raise Unsupported(
                    f"{path}: a pattern stands for names of files, in the last part of a path; "
                    "open each directory by itself"
                ) from None
            return None
    else:
        if found[2] != "directory":
            return None
        directory, pattern = path, "*"
    entries = _native.ls(directory or ("/" if path.startswith("/") else "."))
    files = [os.fsdecode(entry[1]) for entry in entries if entry[2] != "directory"]
    names = [file for file in files if fnmatch.fnmatchcase(file.rpartition("/")[2], pattern)]
    if not names:
        what = "no file in it" if pattern == "*" else "no file of such a name"
        raise NotFound(f"{path}: there is {what}; `famfs ls {directory}` lists what there is")
    return sorted(names, key=os.fsencode)


class Files:
    """Tables of one schema, one after the other, where a `_native.File` is expected."""

    def __init__(self, path: str, files: Sequence[_native.File]) -> None:
        """What is selected of files that were looked at by `opened`."""
        self.path = path
        self.files = list(files)

    @classmethod
    def opened(cls, path: str, files: Sequence[_native.File]) -> Files:
        """Whole files, or parts by their references: tables of one schema, or it is told."""
        made = cls(path, files)
        for file in made.files:
            if file.kind not in {"table", "column"}:
                raise Unsupported(
                    f"{path}: {file.path} is {file.kind}; only tables are one dataset together: "
                    "open the files one by one"
                )
        if len(made.files) > 1:
            made._check()
        return made

    def _check(self) -> None:
        pa = pyarrow()
        first = self.files[0]
        schema: Any = pa.field if first.kind == "column" else pa.schema
        expected = schema(first)
        for file in self.files[1:]:
            found = schema(file)
            if not found.equals(expected):
                raise Unsupported(
                    f"{self.path}: {file.path} has other columns than {first.path} "
                    f"({difference(expected, found)}); only tables of one schema are one dataset"
                )

    @property
    def kind(self) -> str:
        return self.files[0].kind

    @property
    def is_whole(self) -> bool:
        return False

    @property
    def num_rows(self) -> int:
        return sum(file.num_rows or 0 for file in self.files)

    @property
    def num_columns(self) -> int:
        return self.files[0].num_columns

    @property
    def num_batches(self) -> int:
        return sum(file.num_batches for file in self.files)

    @property
    def names(self) -> list[str]:
        return self.files[0].names

    @property
    def file_size(self) -> int:
        return sum(file.file_size for file in self.files)

    @property
    def places(self) -> tuple[list[tuple[int, int]], int]:
        found = [file.places for file in self.files]
        return ([place for places, _ in found for place in places], found[0][1])

    @property
    def batch_rows(self) -> list[int]:
        return [rows for file in self.files for rows in file.batch_rows]

    def find_columns(self, name: str) -> list[int]:
        return self.files[0].find_columns(name)

    def rows(self, start: int, end: int) -> Files:
        parts = []
        first = 0
        for file in self.files:
            count = file.num_rows or 0
            low, high = max(start, first), min(end, first + count)
            if low < high:
                parts.append(file.rows(low - first, high - first))
            first += count
        return Files(self.path, parts or [self.files[0].rows(0, 0)])

    def column(self, index: int) -> Files:
        return Files(self.path, [file.column(index) for file in self.files])

    def columns(self, indices: Sequence[int]) -> Files:
        return Files(self.path, [file.columns(indices) for file in self.files])

    def partition(self, index: int, count: int) -> Files:
        batches = self.batch_rows
        if len(batches) < count:
            total = sum(batches)
            return self.rows(total * index // count, total * (index + 1) // count)
        ends = [0, *itertools.accumulate(batches)]
        low, high = len(batches) * index // count, len(batches) * (index + 1) // count
        return self.rows(ends[low], ends[high])

    def values(self) -> Any:  # noqa: ANN401
        full = [file for file in self.files if file.num_rows] or self.files[:1]
        if len(full) > 1:
            raise Unsupported(
                f"its rows lie in {len(full)} files, so that they are not one array: "
                "to_arrow().to_numpy() joins them in a copy, files has each by itself"
            )
        return full[0].values()

    def batch(self, index: int) -> _native.Batch:
        for file in self.files:
            count = file.num_batches
            if index < count:
                return file.batch(index)
            index -= count
        raise IndexError(f"batch {index}")

    def take(self, rows: object) -> _native.Taken:
        return _native.take(self.files, rows)

    def check(self) -> None:
        for file in self.files:
            file.check()

    def probe(self) -> None:
        for file in self.files:
            file.probe()

    def close(self) -> None:
        for file in self.files:
            file.close()

    def __arrow_c_schema__(self) -> Any:  # noqa: ANN401
        return self.files[0].__arrow_c_schema__()

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> Any:  # noqa: ANN401
        pa = pyarrow("several files as one table")
        if self.kind == "column":
            chunks = itertools.chain.from_iterable(
                pa.chunked_array(file).chunks for file in self.files
            )
            whole = pa.chunked_array(list(chunks), pa.field(self.files[0]).type)
            return whole.__arrow_c_stream__(requested_schema)
        schema = pa.schema(self.files[0])
        reader = pa.RecordBatchReader.from_batches(schema, self._batches(pa))
        return reader.__arrow_c_stream__(requested_schema)

    def _batches(self, pa: Any) -> Iterator[Any]:  # noqa: ANN401
        for file in self.files:
            yield from pa.RecordBatchReader.from_stream(file)


class Many(Dataset):
    """Several published tables as one; `famfs.open` makes it of a directory or a pattern.

    It has no reference of its own, and pickles as those of its files.
    """

    @property
    def files(self) -> list[Dataset]:
        """Its files, or what is selected of each, in order."""
        return [Dataset(file) for file in self._files.files]

    @property
    def ref(self) -> Ref:
        """It has none.

        Raises:
            Unsupported: Always; `files` have references.
        """
        raise self._unsupported("ref", "it is of several files: [file.ref for file in d.files]")

    @property
    def nbytes(self) -> int:
        """Bytes of all files."""
        return sum(file.nbytes for file in self.files)

    def buffer(self) -> memoryview:
        """It has none.

        Raises:
            Unsupported: Always; `files` have buffers.
        """
        raise self._unsupported("buffer()", "it is of several files: d.files[0].buffer()")

    @property
    def _files(self) -> Files:
        return cast("Files", self._file)

    def _refs(self) -> tuple[Ref, ...]:
        return tuple(file.ref for file in self._files.files)

    def __eq__(self, other: object) -> bool:
        """Whether both are of the same references in the same order."""
        return isinstance(other, Many) and self._refs() == other._refs()

    def __hash__(self) -> int:
        """That of its references."""
        return hash(self._refs())

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        """Pickles as its references."""
        return (restore, (self.path, self._refs()))

    def __repr__(self) -> str:
        """Kind, size, and how many files."""
        return f"<famfs.Dataset {self._summary()} in {len(self._files.files)} files, {self.path}>"


def restore(path: str, refs: Iterable[Ref]) -> Dataset:
    """Opens several references as one dataset; for pickle.

    Args:
        path: What it was opened by.
        refs: The references.

    Returns:
        The dataset.

    Raises:
        NotMounted: A volume is not mounted here.

    Example:
        >>> import famfs
        >>> from famfs import _many
        >>> refs = [famfs.publish({"a": np.arange(2)}, f"{mnt}/{i}") for i in range(3)]
        >>> _many.restore("all", refs).num_rows
        6
    """
    return Many(cast("_native.File", Files.opened(path, [_native.open_ref(ref) for ref in refs])))


def difference(expected: Any, found: Any) -> str:  # noqa: ANN401
    """Says how a schema, or a column's field, differs from the one that was expected.

    Args:
        expected: A `pyarrow.Schema` or `pyarrow.Field`.
        found: Another.

    Returns:
        Words for a message.

    Example:
        >>> import pyarrow as pa
        >>> from famfs import _many
        >>> _many.difference(pa.schema({"a": pa.int64()}), pa.schema({"a": pa.int8()}))
        "'a' is int8 and not int64"
    """
    if not hasattr(expected, "names"):
        return f"{found} and not {expected}"
    if expected.names != found.names:
        return f"{found.names} and not {expected.names}"
    both = zip(expected, found, strict=True)
    differs = [f"{a.name!r} is {b.type} and not {a.type}" for a, b in both if a.type != b.type]
    return "; ".join(differs) or "which of them may be null"
