"""Published files as Python's file objects: one reads in place, one publishes at its end."""

from __future__ import annotations

import io
import sys
import warnings
from typing import TYPE_CHECKING, Any

from famfs import convert
from famfs.errors import FamfsError

if TYPE_CHECKING:
    from types import TracebackType

    from famfs import _native
    from famfs.transactions import Transaction


class Reader(io.BufferedIOBase):
    """Bytes that lie somewhere, as a file. `read` copies, as Python wants it.

    `read_buffer` doesn't, and pyarrow asks for that: what it reads of a file is in place.

    Example:
        >>> file = Reader("greeting", memoryview(b"hello"))
        >>> file.read(2), bytes(file.read_buffer(2)), file.read(), file.seek(-1, 2)
        (b'he', b'll', b'o', 4)
    """

    mode = "rb"

    def __init__(self, name: str, memory: memoryview) -> None:
        self.name = self.path = name
        self._memory = memory
        self._at = 0

    @property
    def size(self) -> int:
        """How many bytes it has."""
        return len(self._memory)

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def tell(self) -> int:
        """Where the next byte is read."""
        self._open()
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Moves to a place, from the beginning, from here, or from the end."""
        self._open()
        if whence not in {io.SEEK_SET, io.SEEK_CUR, io.SEEK_END}:
            raise ValueError(f"whence={whence!r}: 0, 1 and 2 are the beginning, here and the end")
        at = offset + (0, self._at, self.size)[whence]
        if at < 0:
            raise ValueError(f"{self.name}: seek to {at}, before the beginning")
        self._at = at
        return at

    def read_buffer(self, size: int | None = -1, /) -> memoryview:
        """Lends the next bytes, in place and read-only."""
        self._open()
        end = self.size if size is None or size < 0 else min(self._at + size, self.size)
        lent = self._memory[self._at : end]
        self._at += len(lent)
        return lent

    def getbuffer(self) -> memoryview:
        """Lends all bytes, in place and read-only, as `io.BytesIO` does."""
        self._open()
        return self._memory

    def read(self, size: int | None = -1, /) -> bytes:
        """Copies the next bytes."""
        return bytes(self.read_buffer(size))

    def read1(self, size: int = -1, /) -> bytes:
        """As `read`: nothing ever waits."""
        return self.read(size)

    def readinto(self, into: Any, /) -> int:  # noqa: ANN401 - whatever is a buffer
        """Copies the next bytes into memory of the caller's."""
        room = memoryview(into).cast("B")
        lent = self.read_buffer(len(room))
        room[: len(lent)] = lent
        return len(lent)

    def readinto1(self, into: Any, /) -> int:  # noqa: ANN401
        """As `readinto`."""
        return self.readinto(into)

    def close(self) -> None:
        """Holds the memory no longer. What was lent stays valid."""
        self._memory = memoryview(b"")
        super().close()

    def _open(self) -> None:
        if self.closed:
            raise ValueError(f"{self.name}: the file is closed")


class Writer(io.BytesIO):
    """A file that is published, whole and in one step, when it is closed.

    Nothing is published where its block raises, where it is closed while an exception is on its
    way that was raised since it was opened (libraries close their files so), or where it is never
    closed. Until then what is written is in this process's memory.
    """

    mode = "wb"

    def __init__(self, path: str, *, overwrite: bool, waits: bool) -> None:
        """What is written for a path; with `waits` a transaction publishes it, by `commit`."""
        super().__init__()
        self.name = self.path = path
        self._overwrite = overwrite
        self._waits = waits
        self._around = sys.exc_info()[1]
        self._data: bytes | None = None

    def readable(self) -> bool:
        """False: it is written."""
        return False

    def close(self) -> None:
        """Publishes what was written.

        Raises:
            AlreadyExists: The name is taken, and it was not to be replaced.
            NoSpace: The volume is full. Nothing is published.
        """
        if self.closed:
            return
        raised = sys.exc_info()[1]
        try:
            if raised is not None and raised is not self._around:
                warnings.warn(
                    f"{self.path}: closed while {type(raised).__name__} was raised; nothing is "
                    "published",
                    RuntimeWarning,
                    stacklevel=2,
                )
                return
            self._data = self.getvalue()
        finally:
            super().close()
        if not self._waits:
            self.commit()

    def commit(self, transaction: Transaction | None = None) -> None:
        """Publishes what was written before it was closed.

        Args:
            transaction: The one that it appears with.

        Raises:
            FamfsError: As `famfs.publish`.
        """
        data, self._data = self._data, None
        if data is None:
            return
        publish: Any = convert.publish if transaction is None else transaction.publish
        publish(data, self.path, overwrite=self._overwrite)

    def discard(self) -> None:
        """Forgets what was written: nothing is published."""
        self._data = None
        super().close()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Publishes it, or forgets it where the block raised."""
        if error is None:
            self.close()
        else:
            self.discard()

    def __del__(self) -> None:
        """Says that it was forgotten, which whoever never closed it may not expect."""
        if not self.closed:
            warnings.warn(
                f"{self.path}: never closed; nothing is published", ResourceWarning, stacklevel=2
            )


class TextWriter(io.TextIOWrapper):
    """Text for a `Writer`. Python would close it where nobody has; this one publishes nothing."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Publishes it, or forgets it where the block raised."""
        if error is not None and isinstance(self.buffer, Writer):
            self.buffer.discard()
            return
        self.close()

    def __del__(self) -> None:
        """Leaves it to the writer below."""


def whole(file: _native.File) -> Any:  # noqa: ANN401 - bytes, or a view of them
    """Gives the bytes of an open file: in place for all of it, made anew for a selection.

    Args:
        file: The file, or a part of one.

    Returns:
        All bytes of the file, or of a range of bytes; of rows and columns of a table, an Arrow IPC
        file of those; of a part of an array or of a tensor, an NPY file.

    Raises:
        Unsupported: The selection can't be handed out.

    Example:
        >>> from famfs import _native, convert
        >>> file = _native.open_ref(convert.publish(np.arange(8), f"{mnt}/eight"))
        >>> whole(file)[1:6].tobytes(), whole(file.rows(2, 4))[-16:].hex()
        (b'NUMPY', '02000000000000000300000000000000')
    """
    from famfs.dataset import Dataset

    if file.is_whole or file.kind not in {"table", "column", "array"}:
        return Dataset(file).buffer()
    if file.kind == "array":
        import numpy as np

        sink = io.BytesIO()
        np.save(sink, Dataset(file).to_numpy(), allow_pickle=False)
        return sink.getbuffer()
    from famfs._arrow import pyarrow

    pa = pyarrow("an Arrow file of a selection")
    table = Dataset(file)._as_table()  # noqa: SLF001 - of this package
    made = pa.BufferOutputStream()
    try:
        with pa.ipc.new_file(made, table.schema) as writer:
            writer.write_table(table)
    except pa.ArrowException as error:
        raise FamfsError(f"{file.path}: no Arrow file of the selection: {error}") from error
    return memoryview(made.getvalue())
