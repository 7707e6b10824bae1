"""Hugging Face datasets over a volume's memory, which pickle as references."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

from datasets import Dataset as HuggingFace
from datasets.table import InMemoryTable, TableBlock

from famfs._arrow import pyarrow
from famfs.errors import FamfsError, Unsupported

if TYPE_CHECKING:
    from famfs.dataset import Dataset

Step: TypeAlias = tuple[str, tuple[Any, ...], dict[str, Any]]
"""What was done to a table: the method's name, and what it was given."""

Source: TypeAlias = tuple[Callable[..., Any], tuple[Any, ...]]
"""What opens a dataset again, and the references that it does so by: what pickle makes of one."""


def _step(name: str) -> Callable[..., Lent]:
    """A method of tables that is kept, to be taken again where the table is unpickled."""

    def take(self: Lent, *args: Any, **options: Any) -> Lent:  # noqa: ANN401
        made = getattr(InMemoryTable(self.table), name)(*args, **options)
        return Lent(made.table, self._source, (*self._steps, (name, args, options)))

    take.__name__ = name
    take.__doc__ = f"As `InMemoryTable.{name}`; the step is kept."
    return take


class Lent(TableBlock):  # type: ignore[misc]
    """A table in a volume's memory, as Hugging Face's `datasets` keeps tables.

    It pickles as the dataset's reference and what was done to the table since, so that workers open
    it where it is; `datasets` does the same with files that it maps. What it is named in the cache
    of `datasets` comes of that pickle: it is the same in every process, and costs no pass over the
    data.
    """

    def __init__(self, table: Any, source: Source, steps: tuple[Step, ...] = ()) -> None:  # noqa: ANN401
        super().__init__(table)
        self._source = source
        self._steps = steps

    def __getstate__(self) -> dict[str, Any]:
        """The reference, and the steps."""
        return {"source": self._source, "steps": self._steps}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Opens it where it is, and takes the same steps."""
        opens, references = state["source"]
        table = InMemoryTable(opens(*references)._as_table())  # noqa: SLF001 - of this package
        for name, args, options in state["steps"]:
            table = getattr(table, name)(*args, **options)
        Lent.__init__(self, table.table, state["source"], state["steps"])

    add_column = _step("add_column")
    append_column = _step("append_column")
    cast = _step("cast")
    combine_chunks = _step("combine_chunks")
    drop = _step("drop")
    filter = _step("filter")
    flatten = _step("flatten")
    remove_column = _step("remove_column")
    rename_columns = _step("rename_columns")
    replace_schema_metadata = _step("replace_schema_metadata")
    select = _step("select")
    set_column = _step("set_column")
    slice = _step("slice")


def to_datasets(dataset: Dataset) -> HuggingFace:
    """Makes a `datasets.Dataset` of a table or column, in place where it has the types.

    Args:
        dataset: The table or column.

    Returns:
        The `datasets.Dataset`.

    Raises:
        Unsupported: It has a type that `datasets` hasn't, or several columns of one name.

    Example:
        >>> import famfs
        >>> from famfs import _datasets
        >>> ds = famfs.open(famfs.publish({"a": np.arange(3)}, f"{mnt}/t"))
        >>> _datasets.to_datasets(ds)[1]
        {'a': 1}
    """
    pa = pyarrow("a datasets.Dataset")
    table = dataset._as_table()  # noqa: SLF001 - of this package
    try:
        # Its reference and not itself: it may be closed, and what it handed out stays valid.
        return HuggingFace(Lent(table, dataset.__reduce__()))
    except (pa.ArrowException, KeyError, NotImplementedError, TypeError, ValueError) as error:
        if isinstance(error, FamfsError):
            raise
        raise Unsupported(
            f"{dataset.path}: datasets refuses it: {error}; d[[...]] leaves columns out, and "
            "to_arrow() has them all"
        ) from error
