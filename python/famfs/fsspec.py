"""fsspec: volumes as a file system that pandas, pyarrow, DuckDB, Dask and others take.

`famfs://uuid/path` names a file of a volume, `famfs:///mnt/famfs/path` the same by its plain path,
and the text of a reference, `famfs://uuid/path?rows=0:10#7`, what it refers to. The package
registers the protocol; nothing has to be imported.

Example:
    >>> import fsspec
    >>> fs = FamfsFileSystem()
    >>> with fs.open(f"{mnt}/greeting", "wb") as file:
    ...     file.write(b"hello")
    5
    >>> fs.cat_file(f"famfs://{mnt}/greeting", 1, 3)
    b'el'
"""

from __future__ import annotations

import contextlib
import zlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from famfs import _native, convert, volume
from famfs._extras import engine
from famfs._streams import Reader, TextWriter, Writer, whole
from famfs._urls import SCHEME, Place, child, resolve, stripped, volumes
from famfs.errors import AlreadyExists, FamfsError, InvalidPath, NotFound, Unsupported
from famfs.transactions import transaction

if TYPE_CHECKING:
    import io
    import os

    from famfs.volume import Entry

_spec = engine("fsspec.spec", "fsspec")
_transaction = engine("fsspec.transaction", "fsspec")
_utils = engine("fsspec.utils", "fsspec")


class Together(_transaction.Transaction):  # type: ignore[misc, name-defined]
    """What is written in a block of `fs.transaction`, published in one step at its end."""

    fs: Any

    def complete(self, commit: bool = True) -> None:  # noqa: FBT001, FBT002 - fsspec's signature
        """Publishes all files together, or none.

        Args:
            commit: False forgets them.

        Raises:
            AlreadyExists: A name is taken that was to be a new one. Nothing is published.
            FamfsError: A file is open still. Nothing is published.
        """
        files = list(self.files)
        try:
            still = next((file.path for file in files if not file.closed), None)
            if commit and still is not None:
                raise FamfsError(
                    f"{still}: is open still, and its transaction has ended: nothing is published; "
                    "close its files within the block"
                )
            if commit and files:
                with transaction() as together:
                    for file in files:
                        file.commit(together)
        finally:
            for file in files:
                file.discard()
            self.files.clear()
            # The instance is everybody's: what is written later is not part of it.
            shared, self.fs = self.fs, None
            shared._intrans, shared._transaction = False, None  # noqa: SLF001 - fsspec's own way


class FamfsFileSystem(_spec.AbstractFileSystem):  # type: ignore[misc, name-defined]
    """Volumes that are mounted here, as a file system of fsspec.

    Reading is in place where the reader allows it: what `open` gives lends its memory by
    `read_buffer` (which pyarrow takes) and `getbuffer`; `read` and `cat` copy. Writing collects a
    file in memory and publishes it, whole and in one step, when it is closed; what is there already
    is replaced, and its readers keep it. Where the block raises nothing is published.

    There are no times of files, no appending, and no renaming: `mv` publishes a copy and takes the
    old name away.

    Example:
        >>> fs = FamfsFileSystem()
        >>> fs.pipe_file(f"{mnt}/data", b"12345")
        >>> fs.info(f"{mnt}/data")["size"], fs.exists(f"{mnt}/nothing")
        (5, False)
    """

    protocol = "famfs"
    root_marker = ""
    transaction_type = Together

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:  # noqa: ANN401 - one, or a list of them
        if isinstance(path, list):
            return [cls._strip_protocol(each) for each in path]
        return stripped(_utils.stringify_path(path))

    def unstrip_protocol(self, name: str | os.PathLike[str]) -> str:
        """Gives a name's URL.

        Args:
            name: A path, or a URL.

        Returns:
            The URL.

        Example:
            >>> FamfsFileSystem().unstrip_protocol("/mnt/famfs/a")
            'famfs:///mnt/famfs/a'
        """
        return SCHEME + str(self._strip_protocol(name))

    # What there is.

    def info(self, path: str | os.PathLike[str], **_: Any) -> dict[str, Any]:  # noqa: ANN401
        """Tells what is at a path.

        Args:
            path: A path or URL.

        Returns:
            `name`, `size` and `type`; `kind` and `rows` as `famfs.stat` has them; `ref`, the text
            of the file's reference; `mode`, `uid` and `gid`.

        Raises:
            InvalidPath: No file can have that path, or it is no reference.
            NotFound: Nothing has that name.
            NotMounted: The volume isn't mounted here.

        Example:
            >>> FamfsFileSystem().info(mnt)["type"]
            'directory'
        """
        name = self._strip_protocol(path)
        place = self._place(name)
        if place is None:
            return _volume("")
        if place.ref is not None:
            file = _native.open_ref(place.ref)
            about = {"kind": file.kind, "rows": file.num_rows, "ref": str(place.ref)}
            return {"name": name, "size": len(whole(file)), "type": "file", **about}
        return _info(name, volume.stat(place.path))

    def ls(
        self,
        path: str | os.PathLike[str],
        detail: bool = True,  # noqa: FBT001, FBT002 - fsspec's signature
        **_: Any,  # noqa: ANN401
    ) -> list[Any]:
        """Lists a directory; of a file, the file itself; of `famfs://`, the volumes.

        Args:
            path: A path or URL.
            detail: False gives names alone.

        Returns:
            What `info` tells of each, or their names.

        Raises:
            InvalidPath: As `info`.
            NotFound: As `info`.
            NotMounted: As `info`.

        Example:
            >>> fs = FamfsFileSystem()
            >>> fs.pipe_file(f"{mnt}/data", b"12345")
            >>> fs.ls(mnt, detail=False) == [f"{mnt}/data"]
            True
        """
        name = self._strip_protocol(path)
        place = self._place(name)
        if place is None:
            found = [_volume(uuid) for uuid in volumes()]
        elif self.info(name)["type"] == "file":
            found = [self.info(name)]
        else:
            found = [_info(child(name, each.name), each) for each in volume.ls(place.path)]
        return found if detail else [each["name"] for each in found]

    def glob(
        self,
        path: str,
        maxdepth: int | None = None,
        **options: Any,  # noqa: ANN401
    ) -> Any:  # noqa: ANN401
        """Lists what a pattern means. A reference's text is none, whatever its letters.

        Args:
            path: A path or URL.
            maxdepth: How deep `**` goes.
            **options: As `fsspec.AbstractFileSystem.glob`: detail.

        Returns:
            The names, or what `info` tells by them.

        Raises:
            NotMounted: The volume isn't mounted here.

        Example:
            >>> fs = FamfsFileSystem()
            >>> fs.pipe_file(f"{mnt}/part-0", b"0")
            >>> fs.glob(f"{mnt}/part-*") == [f"{mnt}/part-0"]
            True
        """
        name = self._strip_protocol(path)
        if "#" not in name or name.startswith("/"):
            return super().glob(path, maxdepth=maxdepth, **options)
        found = {name: self.info(name)} if self.exists(name) else {}
        return found if options.get("detail") else list(found)

    def ukey(self, path: str | os.PathLike[str]) -> str:
        """Names the version of a file, which never changes: a reference.

        Args:
            path: A path or URL.

        Returns:
            The reference's text; of a directory, its name.

        Example:
            >>> fs = FamfsFileSystem()
            >>> fs.pipe_file(f"{mnt}/data", b"12345")
            >>> fs.ukey(f"{mnt}/data") == fs.ukey(fs.info(f"{mnt}/data")["ref"])
            True
        """
        about = self.info(path)
        return str(about.get("ref") or about["name"])

    def modified(self, path: str | os.PathLike[str]) -> datetime:
        """Makes a time of a file's version: another one for another version, and nothing else.

        Volumes keep no times. DuckDB asks for one to tell whether what it has read before is still
        there.

        Args:
            path: A path or URL.

        Returns:
            A time long ago.

        Example:
            >>> fs = FamfsFileSystem()
            >>> fs.pipe_file(f"{mnt}/data", b"12345")
            >>> before = fs.modified(f"{mnt}/data")
            >>> fs.pipe_file(f"{mnt}/data", b"67890")
            >>> fs.modified(f"{mnt}/data") == before
            False
        """
        # Below 2**30 seconds, 2004: caches take what is younger for what may still change.
        return datetime.fromtimestamp(zlib.crc32(self.ukey(path).encode()) >> 2, UTC)

    # Reading.

    def open(
        self,
        path: str | os.PathLike[str],
        mode: str = "rb",
        block_size: int | None = None,
        cache_options: dict[str, Any] | None = None,
        compression: str | None = None,
        **options: Any,  # noqa: ANN401
    ) -> Any:  # noqa: ANN401
        r"""Opens a file: to read it in place, or to write a new one.

        Args:
            path: A path or URL; for writing none with an index, which is a reference.
            mode: "r" reads; "w" publishes at the end what is written, in the place of what is
                there; "x" does so where nothing is. With "b" it is bytes, else text.
            block_size: Ignored: nothing is fetched in blocks.
            cache_options: Ignored.
            compression: As `fsspec.open`; for reading alone.
            **options: Of text: encoding, errors, newline.

        Returns:
            A file object.

        Raises:
            AlreadyExists: The name is taken, with mode "x".
            InvalidPath: As `info`, or it is a directory.
            NotFound: As `info`.
            NotMounted: As `info`.
            Unsupported: There is no such mode, or a reference is to be written.

        Example:
            >>> fs = FamfsFileSystem()
            >>> with fs.open(f"{mnt}/lines", "w") as file: print("hello", file=file)
            >>> with fs.open(f"{mnt}/lines", "r") as file: file.readline()
            'hello\n'
        """
        if "r" in mode and "+" not in mode:
            return super().open(path, mode, block_size, cache_options, compression, **options)
        if compression is not None:
            raise Unsupported(
                f"{path}: written compressed, by what does not close the file below it; "
                f"fsspec.open(url, {mode!r}, compression={compression!r}) closes both"
            )
        if "b" in mode:
            return super().open(path, mode, block_size, cache_options, **options)
        text = {
            key: options.pop(key) for key in ("encoding", "errors", "newline") if key in options
        }
        mode = mode.replace("t", "") + "b"
        return TextWriter(super().open(path, mode, block_size, **options), **text)

    def _open(
        self,
        path: str,
        mode: str = "rb",
        block_size: int | None = None,  # noqa: ARG002 - fsspec's signature
        autocommit: bool = True,  # noqa: FBT001, FBT002
        cache_options: dict[str, Any] | None = None,  # noqa: ARG002
        **_: Any,  # noqa: ANN401
    ) -> io.BufferedIOBase:
        if mode == "rb":
            return Reader(path, self._memory(path))
        if mode not in {"wb", "xb"}:
            raise Unsupported(
                f"{path}: mode {mode!r}: a published file is never changed; 'rb' reads it, 'wb' "
                "puts another one in its place"
            )
        target = self._target(path)
        if self.isdir(path):
            raise InvalidPath(f"{path}: is a directory; name a file in it")
        if mode == "xb" and volume.exists(target):
            raise AlreadyExists._of(17, f"{path}: exists already; 'wb' replaces it", path)  # noqa: SLF001
        return Writer(target, overwrite=mode == "wb", waits=not autocommit)

    def cat_file(
        self,
        path: str | os.PathLike[str],
        start: int | None = None,
        end: int | None = None,
        **_: Any,  # noqa: ANN401
    ) -> bytes:
        """Copies bytes of a file.

        Args:
            path: A path or URL.
            start: The first, from the end where it is negative.
            end: The one after the last, likewise.

        Returns:
            The bytes.

        Raises:
            InvalidPath: As `open`.
            NotFound: As `open`.
            NotMounted: As `open`.

        Example:
            >>> fs = FamfsFileSystem()
            >>> fs.pipe_file(f"{mnt}/data", b"12345")
            >>> fs.cat_file(f"{mnt}/data", -2)
            b'45'
        """
        return bytes(self._memory(self._strip_protocol(path))[start:end])

    # Changing.

    def pipe_file(
        self,
        path: str | os.PathLike[str],
        value: Any,  # noqa: ANN401 - whatever is bytes
        mode: str = "overwrite",
        **_: Any,  # noqa: ANN401
    ) -> None:
        """Publishes bytes, which are copied once; in a transaction at its end.

        Args:
            path: A path or URL.
            value: The bytes.
            mode: "overwrite" replaces what is there, "create" doesn't.

        Raises:
            AlreadyExists: The name is taken, with mode "create".
            NoSpace: The volume is full.
            NotFound: The directory is missing.

        Example:
            >>> fs = FamfsFileSystem()
            >>> fs.pipe_file(f"{mnt}/data", b"12345")
        """
        if self._intrans:
            with self.open(path, "xb" if mode == "create" else "wb") as file:
                file.write(value)
            return
        target = self._target(self._strip_protocol(path))
        convert.publish(memoryview(value).cast("B"), target, overwrite=mode != "create")

    def cp_file(self, path1: str, path2: str, **_: Any) -> None:  # noqa: ANN401
        """Publishes the bytes of one file as another; of a directory, makes another.

        Args:
            path1: What is copied.
            path2: Where to.

        Raises:
            InvalidPath: Both are one file, or the directory would be in itself: `mv` would take
                away what it has just made.
            NotFound: There is no such file, or no directory for the other.

        Example:
            >>> fs = FamfsFileSystem()
            >>> fs.pipe_file(f"{mnt}/data", b"12345")
            >>> fs.cp_file(f"{mnt}/data", f"{mnt}/again")
        """
        name = self._strip_protocol(path1)
        place, target = self._place(name), self._target(self._strip_protocol(path2))
        if self.isdir(path1):
            if place is None or f"{target}/".startswith(f"{place.path}/"):
                raise InvalidPath(f"{path2}: lies in {path1}, which is copied; name another place")
            self.makedirs(path2, exist_ok=True)
            return
        about = self.info(path1)
        if place is not None and place.ref is None:
            with contextlib.suppress(NotFound):
                # One file may have several names: by its uuid, and below each mount point.
                if self.info(path2).get("ref") == about["ref"]:
                    raise InvalidPath(f"{path2}: is the same file as {path1}; name another one")
        self.pipe_file(path2, self._memory(name))

    def mv(
        self,
        path1: str,
        path2: str,
        recursive: bool = False,  # noqa: FBT001, FBT002 - fsspec's signature
        maxdepth: int | None = None,
        **options: Any,  # noqa: ANN401
    ) -> None:
        """Publishes a copy, and takes the old name away.

        Args:
            path1: What is moved.
            path2: Where to.
            recursive: Move directories, with what lies in them.
            maxdepth: As `fsspec.AbstractFileSystem.copy`.
            **options: As `fsspec.AbstractFileSystem.copy`.

        Raises:
            InvalidPath: As `cp_file`.
            NotFound: As `cp_file`.
            Unsupported: A transaction is open, which could not bring the old name back.

        Example:
            >>> fs = FamfsFileSystem()
            >>> fs.pipe_file(f"{mnt}/data", b"12345")
            >>> fs.mv(f"{mnt}/data", f"{mnt}/moved")
        """
        if self._intrans:
            raise Unsupported(
                f"{path1}: a transaction publishes, and takes no names away: copy it there, and "
                "remove it after the block"
            )
        super().mv(path1, path2, recursive=recursive, maxdepth=maxdepth, **options)

    def rm_file(self, path: str) -> None:
        """Takes the name of a file or an empty directory away. Who has it open keeps it.

        Args:
            path: A path or URL.

        Raises:
            Busy: The directory is not empty.
            NotFound: Nothing has that name.

        Example:
            >>> fs = FamfsFileSystem()
            >>> fs.pipe_file(f"{mnt}/data", b"12345")
            >>> fs.rm(f"{mnt}/data")
        """
        volume.remove(self._target(self._strip_protocol(path)))

    def rmdir(self, path: str) -> None:
        """Takes the name of an empty directory away.

        Args:
            path: A path or URL.

        Raises:
            Busy: It is not empty.
            InvalidPath: It is a file.

        Example:
            >>> fs = FamfsFileSystem()
            >>> fs.mkdir(f"{mnt}/runs")
            >>> fs.rmdir(f"{mnt}/runs")
        """
        if not self.isdir(path):
            self.info(path)
            raise InvalidPath(f"{path}: is a file, a directory was expected; rm takes it away")
        self.rm_file(path)

    def mkdir(
        self,
        path: str,
        create_parents: bool = True,  # noqa: FBT001, FBT002 - fsspec's signature
        **_: Any,  # noqa: ANN401
    ) -> None:
        """Makes a directory.

        Args:
            path: A path or URL.
            create_parents: Make those too that it lies in.

        Raises:
            AlreadyExists: The name is taken.
            NotFound: What it lies in is missing.

        Example:
            >>> fs = FamfsFileSystem()
            >>> fs.mkdir(f"{mnt}/runs")
        """
        target = self._target(self._strip_protocol(path))
        try:
            volume.mkdir(target)
        except NotFound:
            if not create_parents:
                raise
            self.makedirs(target.rpartition("/")[0], exist_ok=True)
            volume.mkdir(target)

    def makedirs(self, path: str, exist_ok: bool = False) -> None:  # noqa: FBT001, FBT002
        """Makes a directory, and those that it lies in.

        Args:
            path: A path or URL.
            exist_ok: It may be there already.

        Raises:
            AlreadyExists: The name is taken.

        Example:
            >>> fs = FamfsFileSystem()
            >>> fs.makedirs(f"{mnt}/runs/today")
            >>> fs.rm(f"{mnt}/runs", recursive=True)
        """
        if exist_ok and self.isdir(path):
            return
        try:
            self.mkdir(path)
        except AlreadyExists:
            # Another process may have made it meanwhile.
            if not (exist_ok and self.isdir(path)):
                raise

    def _place(self, name: str) -> Place | None:
        return resolve(name) if name else None

    def _target(self, name: str) -> str:
        place = self._place(name)
        if place is None:
            raise InvalidPath(f"{SCHEME}: names no volume; {SCHEME}uuid/path or a path does")
        return place.to_change(name)

    def _memory(self, name: str) -> memoryview:
        place = self._place(name)
        if place is None:
            raise InvalidPath(f"{SCHEME}: is no file; `ls` lists the volumes in it")
        opened = _native.open(place.path) if place.ref is None else _native.open_ref(place.ref)
        return memoryview(whole(opened)).cast("B")


def _volume(name: str) -> dict[str, Any]:
    return {"name": name, "size": 0, "type": "directory", "kind": "directory"}


def _info(name: str, entry: Entry) -> dict[str, Any]:
    return {
        "name": name,
        "size": entry.size,
        "type": "directory" if entry.kind == "directory" else "file",
        "kind": entry.kind,
        "rows": entry.rows,
        "ref": None if entry.ref is None else str(entry.ref),
        "mode": entry.mode,
        "uid": entry.uid,
        "gid": entry.gid,
    }
