"""PyTorch's tensors over a dataset's memory, which a tensor may be written to without harm."""

from __future__ import annotations

import mmap
import os
import warnings
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from famfs import _native
from famfs.errors import Unsupported

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np

TYPES = {
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
"""What PyTorch, and ml_dtypes too, call the types of safetensors files."""


def _torch() -> Any:  # noqa: ANN401 - it may be missing
    try:
        import torch
    except ImportError as error:
        raise Unsupported("to_torch() needs torch: pip install 'famfs[torch]'") from error
    return torch


@contextmanager
def _read_only() -> Iterator[None]:
    """Leaves out PyTorch's warnings of memory that is read-only: the documentation says it."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given (NumPy array|buffer) is not writable")
        yield


class _Copied(mmap.mmap):
    """The memory of a published file: what is written to it is a copy of this process's alone."""

    kept: object
    """What holds the file."""


def _writable(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Maps an array's memory again so that it may be written to, and nobody else sees that.

    PyTorch has no read-only tensors, and the volume's memory lies where nothing can be written:
    the first change of a tensor would end the process. Where the memory can't be mapped so (a dax
    device), or not by this process, it is the array itself.
    """
    import numpy as np

    if not array.nbytes:
        return array
    start = array.__array_interface__["data"][0]
    pairs = zip(array.shape, array.strides, strict=True)
    length = array.itemsize + sum((axis - 1) * stride for axis, stride in pairs)
    found = _mapped(start, length)
    if found is None:
        return array
    path, identity, offset = found
    lead = offset % mmap.ALLOCATIONGRANULARITY
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return array
    try:
        about = os.fstat(descriptor)
        if (about.st_dev, about.st_ino) != identity:
            return array
        memory = _Copied(
            descriptor,
            lead + length,
            flags=mmap.MAP_PRIVATE,
            prot=mmap.PROT_READ | mmap.PROT_WRITE,
            offset=offset - lead,
        )
    except (OSError, ValueError):
        return array
    finally:
        os.close(descriptor)
    memory.kept = array
    return np.ndarray(array.shape, array.dtype, memory, lead, array.strides)


def _mapped(start: int, length: int) -> tuple[bytes, tuple[int, int], int] | None:
    """The file that is mapped at a range of addresses, its device and inode, and where in it."""
    with Path("/proc/self/maps").open("rb") as lines:
        for line in lines:
            words = line.rstrip(b"\n").split(None, 5)
            first, end = (int(address, 16) for address in words[0].split(b"-"))
            if not first <= start < end:
                continue
            if start + length > end or len(words) < 6 or not words[5].startswith(b"/"):  # noqa: PLR2004
                return None
            major, minor = (int(number, 16) for number in words[3].split(b":"))
            identity = (os.makedev(major, minor), int(words[4]))
            return words[5], identity, int(words[2], 16) + start - first
    return None


def over(array: np.ndarray[Any, Any], path: str) -> Any:  # noqa: ANN401
    """Lays a torch tensor over an array.

    Args:
        array: The array.
        path: What it is of, for the message.

    Returns:
        The `torch.Tensor`, in place; what is written to it is this process's alone.

    Raises:
        Unsupported: torch is missing, or has no such type.
    """
    torch = _torch()
    with _read_only():
        try:
            return torch.from_numpy(_writable(array))
        except (TypeError, ValueError) as error:
            raise Unsupported(
                f"{path}: PyTorch has no tensor of {array.dtype}: {error}; to_numpy() has it"
            ) from error


def by_name(file: _native.File) -> dict[str, Any]:
    """Lays torch tensors over all that a safetensors file holds.

    Args:
        file: The file.

    Returns:
        The tensors by their names, in place; what is written to them is this process's alone.

    Raises:
        Unsupported: torch is missing, or has not the type of one of them.
    """
    torch = _torch()
    import numpy as np

    lent: Any = _native.Buffer(file, whole=True)
    # NumPy's types don't say that arrays are buffers.
    array: Any = _writable(np.frombuffer(lent, np.uint8))
    memory = memoryview(array)
    tensors = {}
    with _read_only():
        for name, kind, shape, start, end in file.tensors:
            dtype = getattr(torch, TYPES.get(kind, ""), None)
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
