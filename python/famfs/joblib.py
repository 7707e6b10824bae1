"""joblib: arrays and tables that lie in a volume go to the workers of loky as references.

Datasets and references do so anyhow. This is for what they have handed out, of which joblib would
write a copy into a file of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from famfs import _by_reference
from famfs._by_reference import Reducer
from famfs._extras import engine
from famfs.errors import Unsupported
from famfs.multiprocessing import PROTOCOL

if TYPE_CHECKING:
    from collections.abc import Callable

_ARRAYS = "ArrayMemmapForwardReducer"
"""What joblib pickles NumPy's arrays by for workers, whatever else is registered."""


def register() -> None:
    """Makes objects that lie in a volume pass by reference to the workers of `joblib.Parallel`.

    These are NumPy's arrays, and pyarrow's tables, batches, columns and arrays, from 1 KiB on; also
    within others, such as lists, dicts and pandas frames. Whatever lies elsewhere is passed as
    ever. What workers return is a copy, unless they return a dataset or a reference.

    Raises:
        ImportError: joblib isn't installed; the message names the extra.
        Unsupported: This joblib pickles arrays in another way than those that famfs knows.

    Example:
        >>> import famfs.joblib  # doctest: +SKIP
        >>> famfs.joblib.register()  # doctest: +SKIP
        >>> array = famfs.open(f"{mnt}/array").to_numpy()  # doctest: +SKIP
        >>> joblib.Parallel(2)(joblib.delayed(np.sum)(array) for _ in range(2))  # doctest: +SKIP
    """
    reduction = engine("joblib.externals.loky.backend.reduction", "joblib")
    memmapping = engine("joblib._memmapping_reducer", "joblib")
    arrays = getattr(memmapping, _ARRAYS, None)
    if arrays is None:
        version = engine("joblib", "joblib").__version__
        raise Unsupported(
            f"joblib {version} has no {_ARRAYS}: pass datasets or references, which need no "
            "registration"
        )
    if not hasattr(arrays.__call__, "asks_first"):
        arrays.__call__ = _asking(arrays.__call__)
    known = reduction._dispatch_table  # noqa: SLF001 - there is no getter
    for kind in _by_reference.types()[1:]:
        if not isinstance(known.get(kind), Reducer):
            reduction.register(kind, Reducer(known.get(kind), PROTOCOL))


def _asking(before: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    def reduced(self: Any, array: Any) -> Any:  # noqa: ANN401
        return _by_reference.reduced(array) or before(self, array)

    reduced.asks_first = True  # type: ignore[attr-defined]
    return reduced
