"""PyTorch's tensors, in and out: values, addresses, and what must not happen to either."""

from __future__ import annotations

import pickle
import warnings

import numpy as np
import pyarrow as pa
import pytest
import safetensors.torch
import torch
from rows import Rows
from torch.utils.data import DataLoader

import famfs

PLAIN = [
    *(torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64),
    *(torch.uint16, torch.uint32, torch.uint64, torch.float16, torch.float32, torch.float64),
    *(torch.complex64, torch.complex128),
]
RARE = [
    *(torch.bfloat16, torch.float8_e4m3fn, torch.float8_e4m3fnuz, torch.float8_e5m2),
    *(torch.float8_e5m2fnuz, torch.float8_e8m0fnu),
]


@pytest.fixture(autouse=True)
def _warnings_are_errors():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def of(dtype, *shape):
    """A tensor of a type, its values one after the other."""
    values = torch.arange(1, int(np.prod(shape)) + 1).reshape(shape)
    return values.to(torch.float32).to(dtype) if dtype.is_floating_point else values.to(dtype)


def same(found, expected):
    """Whether two tensors are the same, bit by bit."""
    assert found.dtype == expected.dtype
    assert found.shape == expected.shape
    expected = expected.detach().contiguous()
    bits = [t.contiguous().reshape(-1).view(torch.uint8) for t in (found, expected)]
    return torch.equal(*bits)


def in_place(inside, mnt, tensor):
    return inside(mnt, tensor.data_ptr(), tensor.nbytes)


# One tensor by itself.


@pytest.mark.parametrize("dtype", PLAIN, ids=str)
def test_every_type_that_numpy_has(mnt, inside, dtype):
    tensor = of(dtype, 3, 4)
    found = famfs.open(famfs.publish(tensor, f"{mnt}/x")).to_torch()
    assert same(found, tensor)
    assert in_place(inside, mnt, found)


@pytest.mark.parametrize("dtype", RARE, ids=str)
def test_the_other_types_are_told_where_to_go(mnt, dtype):
    with pytest.raises(famfs.Unsupported, match="'name': array"):
        famfs.publish(of(dtype, 3, 4), f"{mnt}/x")


ODD = {
    "transposed": lambda: torch.arange(12).reshape(3, 4).T,
    "every other": lambda: torch.arange(12)[::2],
    "inner": lambda: torch.arange(60).reshape(3, 4, 5)[:, 1:3, ::2],
    "expanded": lambda: torch.ones(1).expand(5),
    "flipped": lambda: torch.arange(12).flip(0),
    "no axes": lambda: torch.tensor(5.5),
    "empty": lambda: torch.empty(3, 0, 2),
    "conjugate": lambda: torch.conj(torch.arange(3) * 1j),
    "negative": lambda: (torch.arange(3) * 1j).conj().imag,
    "with gradient": lambda: torch.ones(3, requires_grad=True) * 2,
    "parameter": lambda: torch.nn.Parameter(torch.ones(2, 2)),
    "channels last": lambda: torch.rand(2, 3, 4, 5).to(memory_format=torch.channels_last),
}


@pytest.mark.parametrize("name", ODD)
def test_tensors_of_every_form(mnt, inside, name):
    tensor = ODD[name]()
    found = famfs.open(famfs.publish(tensor, f"{mnt}/x")).to_torch()
    assert same(found, tensor.detach().resolve_conj().resolve_neg())
    assert not found.requires_grad
    assert found.numel() == 0 or in_place(inside, mnt, found)


def test_tensors_that_others_cannot_read(mnt):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        refused = {
            "cpu": torch.empty(3, device="meta"),
            "to_dense": torch.eye(3).to_sparse(),
            "dense": torch.eye(3).to_sparse_csr(),
            "dequantize": torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8),
            "state_dict": torch.nn.Linear(2, 2),
            "dict in 'state'": torch.optim.SGD([torch.ones(2)], lr=1).state_dict(),
        }
        for hint, thing in refused.items():
            with pytest.raises(famfs.Unsupported, match=hint):
                famfs.publish(thing, f"{mnt}/x")
    assert famfs.ls(mnt) == []


# Datasets of every kind as tensors.


def test_parts_columns_and_bytes(mnt, inside):
    array = famfs.open(famfs.publish(np.arange(12.0).reshape(3, 4), f"{mnt}/a"))
    columns = {"x": np.arange(5), "v": pa.array([[1.0, 2.0]] * 5, pa.list_(pa.float64(), 2))}
    table = famfs.open(famfs.publish(pa.table(columns), f"{mnt}/t"))
    data = famfs.open(famfs.publish(b"abc", f"{mnt}/b"))
    for found, expected in (
        (array[1].to_torch(), [4.0, 5.0, 6.0, 7.0]),
        (array[1:2].to_torch(), [[4.0, 5.0, 6.0, 7.0]]),
        (table["x"].to_torch(), [0, 1, 2, 3, 4]),
        (table["v"][3:].to_torch(), [[1.0, 2.0]] * 2),
        (data.to_torch(), [97, 98, 99]),
        (torch.from_dlpack(array), np.arange(12.0).reshape(3, 4).tolist()),
    ):
        assert found.tolist() == expected
        assert in_place(inside, mnt, found)
    assert famfs.open(famfs.publish(b"", f"{mnt}/none")).to_torch().shape == (0,)
    own = torch.tensor(array.to_numpy())
    own += 1
    assert not in_place(inside, mnt, own)


@pytest.mark.parametrize(
    "thing",
    [
        np.arange(3).astype(">i4"),
        np.arange(3).astype("M8[s]"),
        np.zeros(3, "S5"),
        np.zeros(3, [("a", "f4")]),
    ],
    ids=["big-endian", "dates", "texts", "fields"],
)
def test_types_that_torch_has_not(mnt, thing):
    with pytest.raises(famfs.Unsupported, match="PyTorch has no tensor of.*to_numpy"):
        famfs.open(famfs.publish(thing, f"{mnt}/x")).to_torch()


WRITE = """
    import sys, famfs
    ds = famfs.open(sys.argv[1])
    tensor = ds.to_torch() if sys.argv[2] == "x" else ds.to_torch()["x"]
    tensor.add_(1)
    published = bytes(famfs.open(sys.argv[1]).buffer()[-4000:])
    print(int(tensor.sum()), int(published == bytes(4000)))
"""


@pytest.mark.parametrize("name", ["x", "dict"])
def test_what_is_written_to_one_is_nobody_elses(mnt, run, name):
    thing = torch.zeros(1000)
    ref = famfs.publish(thing if name == "x" else {"x": thing}, f"{mnt}/{name}")
    # In another process, and in the one that published it.
    assert run(WRITE, ref, name).stdout.split() == ["1000", "1"]
    found = famfs.open(ref).to_torch()
    mine = found if name == "x" else found["x"]
    assert mine.sum() == 0
    mine.add_(1)
    again = famfs.open(ref).to_torch()
    assert (again if name == "x" else again["x"]).sum() == 0
    assert bytes(famfs.open(ref).buffer()[-4000:]) == bytes(4000)


def test_many_tensors_share_one_copy(mnt, run):
    ref = famfs.publish(torch.ones(8 << 20), f"{mnt}/x")
    code = """
        import sys, famfs, torch

        def private():
            with open("/proc/self/status") as lines:
                return next(int(l.split()[1]) * 1024 for l in lines if l.startswith("RssAnon"))

        ds = famfs.open(sys.argv[1])
        ds[:1000].to_torch().sum()
        before = private()
        total = sum(ds.to_torch().sum() for _ in range(3))
        print(int(total), private() - before)
    """
    total, taken = map(int, run(code, ref).stdout.split())
    assert total == 3 * (8 << 20)
    assert taken < 4 << 20


# State dicts.


def model():
    torch.manual_seed(5)
    return torch.nn.Sequential(
        torch.nn.Linear(8, 16), torch.nn.BatchNorm1d(16), torch.nn.Linear(16, 4)
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_state_dicts(mnt, inside, dtype):
    trained = model().to(dtype).eval()
    state = famfs.open(famfs.publish(trained.state_dict(), f"{mnt}/m")).to_torch()
    assert list(state) != []
    for name, tensor in trained.state_dict().items():
        assert same(state[name], tensor)
        assert in_place(inside, mnt, state[name])
    inputs = torch.rand(5, 8).to(dtype)
    # Copied into a model's own memory, where it can be trained on.
    copied = model().to(dtype)
    copied.load_state_dict(state)
    assert not any(in_place(inside, mnt, p) for p in copied.parameters())
    # Or used where it is.
    shared = model().to(dtype).eval()
    shared.load_state_dict(state, assign=True)
    assert all(in_place(inside, mnt, p) for p in shared.parameters())
    with torch.no_grad():
        assert torch.equal(shared(inputs), trained(inputs))
        assert torch.equal(copied.eval()(inputs), trained(inputs))


@pytest.mark.parametrize("dtype", [*PLAIN[:-1], *RARE], ids=str)
def test_every_type_in_a_dict(mnt, inside, dtype):
    tensors = {
        "matrix": of(dtype, 3, 4),
        "column": of(dtype, 3, 4)[:, 1],
        "one": of(dtype, 1)[0],
        "none": torch.empty(0, 3, dtype=dtype),
    }
    ref = famfs.publish(tensors, f"{mnt}/x")
    found = famfs.open(ref).to_torch()
    assert set(found) == set(tensors)
    for name, tensor in tensors.items():
        assert same(found[name], tensor)
        assert tensor.numel() == 0 or in_place(inside, mnt, found[name])
    if dtype is torch.float8_e8m0fnu:
        return  # safetensors' own PyTorch face hasn't it yet
    theirs = safetensors.torch.load(bytes(famfs.open(ref).buffer()))
    assert all(same(theirs[name], tensor.contiguous()) for name, tensor in tensors.items())


def test_files_of_safetensors_itself(mnt, inside):
    # Which begin wherever their header ends.
    tensors = {"a": torch.arange(5.0), "b": torch.ones(3, dtype=torch.bfloat16)}
    ref = famfs.publish(safetensors.torch.save(tensors, {"format": "pt"}), f"{mnt}/x")
    found = famfs.open(ref).to_torch()
    assert all(same(found[name], tensor) for name, tensor in tensors.items())
    assert all(in_place(inside, mnt, tensor) for tensor in found.values())
    with pytest.raises(famfs.Unsupported, match="to_torch"):
        famfs.open(ref)["b"].to_numpy()


def test_tensors_outlive_the_dataset(mnt):
    with famfs.open(famfs.publish({"a": torch.ones(5), "b": torch.ones(2, 2)}, f"{mnt}/x")) as ds:
        found = ds.to_torch()
    famfs.remove(f"{mnt}/x")
    assert found["a"].sum() + found["b"].sum() == 9


# Loaders.


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_workers_of_a_loader_share_the_mapping(mnt, method):
    rows = torch.arange(64.0).reshape(16, 4)
    ds = famfs.open(famfs.publish(rows, f"{mnt}/rows"))
    loader = DataLoader(Rows(ds, mnt), batch_size=4, num_workers=2, multiprocessing_context=method)
    batches, places = zip(*loader, strict=True)
    assert torch.equal(torch.cat(batches), rows)
    assert all(bool(inside) for batch in places for inside in batch)


def test_a_reference_goes_to_workers_and_not_the_data(mnt):
    ds = famfs.open(famfs.publish(torch.zeros(1 << 20), f"{mnt}/big"))
    assert len(pickle.dumps(Rows(ds, mnt))) < 512
