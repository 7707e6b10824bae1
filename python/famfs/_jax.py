"""JAX's arrays, copied out of a dataset's memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from famfs import _native
from famfs._tensors import TYPES
from famfs.errors import Unsupported

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


def of(array: np.ndarray[Any, Any], path: str, dtype: npt.DTypeLike | None = None) -> Any:  # noqa: ANN401
    """Copies an array into one of JAX's.

    JAX would lay an array over memory that is aligned as it likes, and write to it where a function
    may reuse its arguments, which nobody can do to what is published. So it is always a copy.

    Args:
        array: The array.
        path: What it is of, for the message.
        dtype: The type that it is to have; by default its own.

    Returns:
        The `jax.Array`.

    Raises:
        Unsupported: JAX is missing, or has no such type, or would make another one of it.
    """
    jax = _jax()
    try:
        wanted = jax.numpy.dtype(array.dtype if dtype is None else dtype)
        kept = jax.dtypes.canonicalize_dtype(wanted)
    except TypeError as error:
        raise Unsupported(
            f"{path}: JAX has no array of {array.dtype}: {error}; to_numpy() has it"
        ) from error
    if kept != wanted:
        raise Unsupported(
            f"{path}: JAX would make {kept} of {wanted}, and lose digits: "
            f"jax.config.update('jax_enable_x64', True) keeps 64 bits, to_jax(dtype={kept.name!r}) "
            "says that fewer are enough"
        )
    try:
        return jax.numpy.array(array, dtype=wanted, copy=True)
    except TypeError as error:
        raise Unsupported(
            f"{path}: JAX has no array of {array.dtype}: {error}; to_numpy() has it"
        ) from error


def by_name(file: _native.File, dtype: npt.DTypeLike | None = None) -> dict[str, Any]:
    """Copies all that a safetensors file holds into JAX's arrays.

    Args:
        file: The file.
        dtype: The type that all are to have; by default their own.

    Returns:
        The arrays by their names.

    Raises:
        Unsupported: JAX is missing, or has not the type of one of them.
    """
    jax = _jax()
    import numpy as np

    lent: Any = _native.Buffer(file, whole=True)
    memory = memoryview(lent)
    arrays = {}
    for name, kind, shape, start, end in file.tensors:
        where = f"{file.path}: tensor {name!r}"
        try:
            own = jax.numpy.dtype(TYPES.get(kind, kind))
        except TypeError as error:
            raise Unsupported(
                f"{where} is of type {kind}, which JAX {jax.__version__} hasn't; d[name] hands out "
                "the others one by one"
            ) from error
        arrays[name] = of(np.frombuffer(memory[start:end], own).reshape(shape), where, dtype)
    return arrays


def _jax() -> Any:  # noqa: ANN401 - it may be missing
    try:
        import jax
        import jax.numpy
    except ImportError as error:
        raise Unsupported("to_jax() needs jax: pip install 'famfs[jax]'") from error
    return jax
