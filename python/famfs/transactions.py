"""Transactions: several files that appear together, from several threads or processes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Self

from famfs import _native, build, convert
from famfs._arguments import read_path
from famfs.errors import FamfsError, Unsupported

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping
    from types import TracebackType

    import numpy as np
    import numpy.typing as npt

    from famfs._native import Ref


def transaction(
    place: str | os.PathLike[str] | None = None, *, token: str | None = None
) -> Transaction:
    """Begins a transaction, or takes part in one by its token.

    All files that are published through it appear in one step when its block ends well, or when it
    is committed; when the block raises or the process dies, none was ever there. All are in one
    volume.

    Threads share it. Other processes of this host take part by `Transaction.token`: what they
    publish in a block of their own waits for the owner's commit, also when they have ended by then.
    Where one fails or dies before its block has ended, the commit is refused until what it had
    begun was published in the transaction by another.

    Args:
        place: A path in the volume; by default the first file says which it is.
        token: The token of the transaction of another process to take part in.

    Returns:
        The transaction, a context manager.

    Raises:
        FamfsError: The token is none, or its transaction has ended.
        NotMounted: The place lies under no mount, or the token's volume is not mounted here.

    Example:
        >>> import famfs
        >>> with famfs.transaction() as tx:
        ...     tx.publish(b"one", f"{mnt}/one")
        ...     tx.publish(b"two", f"{mnt}/two")
        ...     famfs.exists(f"{mnt}/one")
        False
        >>> [ref.path for ref in tx.refs]
        ['one', 'two']
    """
    where = None if place is None else read_path(place)
    if where is not None and token is not None:
        raise FamfsError("a token says where the transaction is: give one of the two")
    return Transaction(_native.Transaction(place=where, token=token), takes_part=token is not None)


class Transaction:
    """Files that appear together. `transaction` makes it."""

    def __init__(self, native: _native.Transaction, *, takes_part: bool) -> None:
        self._native = native
        self._takes_part = takes_part
        self._refs: list[Ref] | None = None

    @property
    def token(self) -> str:
        """What other processes of this host take part by: `famfs.transaction(token=...)`.

        Raises:
            FamfsError: Several volumes are mounted, and nothing has said yet which one is meant:
                `famfs.transaction(mountpoint)` does.
            Unsupported: A mount whose follower publishes for its users knows transactions of one
                process alone.
        """
        return self._native.token

    @property
    def refs(self) -> list[Ref]:
        """The references of all files, once they are committed; none for who takes part.

        Raises:
            FamfsError: They are not.
        """
        if self._refs is None:
            raise FamfsError("no references yet: the transaction was not committed")
        return self._refs

    def publish(
        self,
        obj: object,
        path: str | os.PathLike[str],
        *,
        overwrite: bool = False,
        checksum: bool = False,
        batch_rows: int | None = None,
        progress: Callable[[int, int], object] | None = None,
        mode: int | None = None,
    ) -> None:
        """Publishes an object with the others: as `famfs.publish`, but nobody sees it yet.

        Args:
            obj: As `famfs.publish`.
            path: Where, below a mount point of the transaction's volume.
            overwrite: As `famfs.publish`.
            checksum: As `famfs.publish`.
            batch_rows: As `famfs.publish`.
            progress: As `famfs.publish`.
            mode: As `famfs.publish`.

        Raises:
            AlreadyExists: The name is taken, or the transaction has a file for it already.
            FamfsError: The transaction has ended.
            Unsupported: The path is in another volume, or the object can't be published.

        Example:
            >>> import famfs
            >>> with famfs.transaction() as tx:
            ...     tx.publish(b"hello", f"{mnt}/greeting")
            >>> famfs.open(tx.refs[0]).copy()
            b'hello'
        """
        options: dict[str, Any] = {"overwrite": overwrite, "mode": mode, "progress": progress}
        convert.publish_within(
            self._native, obj, path, checksum=checksum, batch_rows=batch_rows, **options
        )

    def create(
        self,
        path: str | os.PathLike[str],
        shape: int | tuple[int, ...],
        dtype: npt.DTypeLike,
        *,
        order: str = "C",
        zero: bool = False,
        overwrite: bool = False,
        mode: int | None = None,
    ) -> build.Building[np.ndarray[Any, Any]]:
        """Builds an array in place, as `famfs.create`; it appears with the others.

        Args:
            path: As `famfs.create`.
            shape: As `famfs.create`.
            dtype: As `famfs.create`.
            order: As `famfs.create`.
            zero: As `famfs.create`.
            overwrite: As `famfs.create`.
            mode: As `famfs.create`.

        Returns:
            As `famfs.create`; its block ends before the transaction does.

        Example:
            >>> import famfs
            >>> with famfs.transaction() as tx, tx.create(f"{mnt}/ones", 3, "f8") as ones:
            ...     ones[:] = 1
        """
        options = {"order": order, "zero": zero, "overwrite": overwrite, "mode": mode}
        return build.array_within(self._native, path, shape, dtype, **options)

    def create_table(
        self,
        path: str | os.PathLike[str],
        schema: object,
        rows: int,
        *,
        sizes: Mapping[str, int] | None = None,
        overwrite: bool = False,
        mode: int | None = None,
    ) -> build.Building[build.TableBuilder]:
        """Builds a table in place, as `famfs.create_table`; it appears with the others.

        Args:
            path: As `famfs.create_table`.
            schema: As `famfs.create_table`.
            rows: As `famfs.create_table`.
            sizes: As `famfs.create_table`.
            overwrite: As `famfs.create_table`.
            mode: As `famfs.create_table`.

        Returns:
            As `famfs.create_table`; its block ends before the transaction does.

        Example:
            >>> import famfs, pyarrow as pa
            >>> schema = pa.schema({"a": pa.int64()})
            >>> with famfs.transaction() as tx, tx.create_table(f"{mnt}/t", schema, 3) as t:
            ...     t["a"][:] = 1
        """
        options: dict[str, Any] = {"sizes": sizes, "overwrite": overwrite, "mode": mode}
        return build.table_within(self._native, path, schema, rows, **options)

    def commit(self, *, files: Iterable[str | os.PathLike[str]] | None = None) -> list[Ref]:
        """Publishes all files in one step, or none. The end of the block does so too.

        For who takes part: leaves what was published here to the owner's commit.

        Args:
            files: The paths that the transaction must have, those and no others, of which other
                processes have told that they have published them. A task that was lost, or that
                nobody was told of, is found so.

        Returns:
            Their references: first those of this process, then the others'.

        Raises:
            AlreadyExists: A name was taken meanwhile. Nothing is published.
            Busy: Another process still fills a file, or ended before it had, or there are other
                files than `files`: then nothing is published, and the transaction goes on.
            FamfsError: The transaction has ended.

        Example:
            >>> import famfs
            >>> tx = famfs.transaction()
            >>> tx.publish(b"one", f"{mnt}/one")
            >>> [ref.path for ref in tx.commit()]
            ['one']
        """
        if files is not None and self._takes_part:
            raise FamfsError("files: who takes part leaves the commit to the owner, who names them")
        many = isinstance(files, Iterable) and not isinstance(files, str | bytes)
        if files is not None and not many:
            raise Unsupported(f"files={files!r}: a list of paths is meant, such as [{files!r}]")
        told = None if files is None else [read_path(path) for path in files]
        self._refs = self._native.commit(told)
        return self._refs

    def abandon(self) -> None:
        """Gives up what was not committed: nothing of it was ever there.

        Example:
            >>> import famfs
            >>> tx = famfs.transaction()
            >>> tx.publish(b"one", f"{mnt}/one")
            >>> tx.abandon()
            >>> famfs.exists(f"{mnt}/one")
            False
        """
        self._native.abandon()

    def __enter__(self) -> Self:
        """The transaction itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Commits it, unless that was done; gives it up where the block raised."""
        if error is None and self._refs is None:
            try:
                self.commit()
            except BaseException:
                self._native.abandon()
                raise
        else:
            self._native.abandon()

    def __reduce__(self) -> Any:  # noqa: ANN401
        """Refuses to be pickled: other processes get the token."""
        raise FamfsError("a transaction can't be pickled: hand over its token")

    def __repr__(self) -> str:
        """Whose it is, and how far it is."""
        role = "part of one" if self._takes_part else "owner"
        state = "under way"
        if self._refs is not None:
            state = f"committed, {len(self._refs)} {'file' if len(self._refs) == 1 else 'files'}"
        return f"<famfs.Transaction: {role}, {state}>"
