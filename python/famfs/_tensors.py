"""PyTorch's tensors over a dataset's memory."""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

from famfs import _native
from famfs.errors import Unsupported

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np

_TYPES = {
    "BOOL": "bool",
    "U8": "uint8",
    "I8": "int8",
    "U16": "uint16",
    "I16": "int16",
    "U32": "uint32",
    "I32": "int32",
    "U64": "uint64",
    "I64": "int64",
    "F16": "float16",
    "BF16": "bfloat16",
    "F32": "float32",
    "F64": "float64",
    "C64": "complex64",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E4M3FNUZ": "float8_e4m3fnuz",
    "F8_E5M2": "float8_e5m2",
    "F8_E5M2FNUZ": "float8_e5m2fnuz",
    "F8_E8M0": "float8_e8m0fnu",
}
"""What PyTorch calls the types of safetensors files."""


def _torch() -> Any:  # noqa: ANN401 - it may be missing
    try:
        import torch
    except ImportError as error:
        raise Unsupported("to_torch() needs torch: pip install 'famfs[torch]'") from error
    return torch


@contextmanager
def _read_only() -> Iterator[None]:
    """PyTorch's warnings that memory is read-only, left out: users are told where they read."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given (NumPy array|buffer) is not writable")
        yield


def over(array: np.ndarray[Any, Any], path: str) -> Any:  # noqa: ANN401
    """Lays a torch tensor over an array.

    Args:
        array: The array.
        path: What it is of, for the message.

    Returns:
        The `torch.Tensor`, in place.

    Raises:
        Unsupported: torch is missing, or has no such type.
    """
    torch = _torch()
    with _read_only():
        try:
            return torch.from_numpy(array)
        except (TypeError, ValueError) as error:
            raise Unsupported(
                f"{path}: PyTorch has no tensor of {array.dtype}: {error}; to_numpy() has it"
            ) from error


def by_name(file: _native.File) -> dict[str, Any]:
    """Lays torch tensors over all that a safetensors file holds.

    Args:
        file: The file.

    Returns:
        The tensors by their names, in place.

    Raises:
        Unsupported: torch is missing, or has not the type of one of them.
    """
    torch = _torch()
    memory = memoryview(cast("Any", _native.Buffer(file, whole=True)))
    tensors = {}
    with _read_only():
        for name, kind, shape, start, end in file.tensors:
            dtype = getattr(torch, _TYPES.get(kind, ""), None)
            if dtype is None:
                raise Unsupported(
                    f"{file.path}: tensor {name!r} is of type {kind}, which PyTorch "
                    f"{torch.__version__} hasn't; d[name] hands out the others one by one"
                )
            flat = (
                torch.frombuffer(memory[start:end], dtype=dtype)
                if start < end
                else torch.empty(0, dtype=dtype)
            )
            tensors[name] = flat.reshape(shape)
    return tensors
