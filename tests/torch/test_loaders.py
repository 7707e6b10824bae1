"""famfs.torch: rows for loaders whose workers share one copy, and weights used in place."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import safetensors.torch
import torch
from torch.utils.data import DataLoader, Subset

import famfs
import famfs.torch
from examples import check_examples

ROWS = 1000


@pytest.fixture
def ref(mnt):
    columns = {"x": np.arange(ROWS, dtype="f4"), "y": np.arange(ROWS) % 7}
    return famfs.publish(columns, f"{mnt}/t", batch_rows=300)


def in_place(inside, mnt, tensor):
    return inside(mnt, tensor.data_ptr(), tensor.nbytes)


class Marked(famfs.torch.Rows):
    """Rows, and whether the worker has them in a volume."""

    def __getitem__(self, index):
        row = super().__getitem__(index)
        return row | {"here": any_mapping(row["x"].data_ptr())}


def any_mapping(address):
    """Whether an address of this process is in a mapping of a volume, private ones too."""
    sources = {mount.source for mount in famfs.mounts()}
    with open("/proc/self/maps") as lines:
        for line in lines:
            words = line.split()
            start, end = (int(part, 16) for part in words[0].split("-"))
            if words[-1] in sources and start <= address < end:
                return True
    return False


# Rows.


def test_rows_of_a_table(mnt, inside, ref):
    rows = famfs.torch.Rows(ref)
    assert len(rows) == ROWS
    for i in (0, 299, 300, 999, -1):
        row = rows[i]
        assert row["x"].item() == i % ROWS
        assert row["y"].item() == (i % ROWS) % 7
        assert any_mapping(row["x"].data_ptr())
    assert list(famfs.torch.Rows(ref, columns=["y"])[5]) == ["y"]


def test_rows_of_arrays_and_tensors(mnt):
    array = famfs.torch.Rows(famfs.publish(np.arange(12.0).reshape(4, 3), f"{mnt}/a"))
    assert array[2].tolist() == [6.0, 7.0, 8.0]
    state = {"x": torch.ones(4, 2, dtype=torch.bfloat16), "y": torch.arange(4), "z": torch.ones(3)}
    ref = famfs.publish(state, f"{mnt}/s")
    with pytest.raises(famfs.Unsupported, match="equally long"):
        famfs.torch.Rows(ref)
    with pytest.raises(KeyError, match="nothing"):
        famfs.torch.Rows(ref, columns=["x", "nothing"])
    row = famfs.torch.Rows(ref, columns=["x", "y"])[3]
    assert row["x"].dtype == torch.bfloat16
    assert row["y"].item() == 3


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_workers_share_the_rows(ref, method):
    loader = DataLoader(Marked(ref), batch_size=100, num_workers=2, multiprocessing_context=method)
    found = list(loader)
    assert torch.equal(torch.cat([batch["x"] for batch in found]), torch.arange(ROWS).float())
    assert all(batch["here"].all() for batch in found)


def test_samplers_and_subsets(ref):
    rows = famfs.torch.Rows(ref)
    found = [batch["x"] for batch in DataLoader(rows, batch_size=64, shuffle=True)]
    assert sorted(torch.cat(found).tolist()) == list(range(ROWS))
    part = next(iter(DataLoader(Subset(rows, [5, 700]), batch_size=2)))
    assert part["x"].tolist() == [5.0, 700.0]


def test_opened_rows_go_to_workers_as_the_reference(mnt):
    rows = famfs.torch.Rows(famfs.publish(torch.zeros(1 << 20), f"{mnt}/big"))
    assert rows[7].item() == 0
    assert len(pickle.dumps(rows)) < 600


# Batches.


@pytest.mark.parametrize("workers", [0, 1, 2, 3])
def test_batches_are_shared_out(ref, workers):
    rows = famfs.torch.batches(ref, 128)
    loader = DataLoader(rows, batch_size=None, num_workers=workers)
    assert len(loader) == len(rows) == 10
    found = list(loader)
    assert [len(batch["x"]) for batch in found].count(128) == 6
    assert sorted(torch.cat([batch["x"] for batch in found]).tolist()) == list(range(ROWS))


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_batches_in_workers_that_are_started_anew(ref, method):
    rows = famfs.torch.batches(ref, 128, columns=["y"])
    loader = DataLoader(rows, batch_size=None, num_workers=2, multiprocessing_context=method)
    assert sum(int(batch["y"].sum()) for batch in loader) == sum(i % 7 for i in range(ROWS))
    assert type(pickle.loads(pickle.dumps(rows))) is type(rows)


def test_batches_are_in_place_without_workers(ref):
    for batch in DataLoader(famfs.torch.batches(ref, 128), batch_size=None):
        assert any_mapping(batch["x"].data_ptr())


def test_columns_that_are_no_tensors(mnt):
    import pyarrow as pa

    ref = famfs.publish({"s": pa.array(["a", "b"]), "x": np.arange(2)}, f"{mnt}/t")
    with pytest.raises(famfs.Unsupported, match="to_numpy"):
        famfs.torch.Rows(ref)[0]
    assert famfs.torch.Rows(ref, columns=["x"])[1]["x"].item() == 1
    with pytest.raises(famfs.Unsupported, match="1 row or more"):
        famfs.torch.batches(ref, 0)


# Weights.


def test_weights_are_saved_and_used_in_place(mnt, run):
    torch.manual_seed(5)
    model = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.Linear(16, 4)).eval()
    ref = famfs.torch.save(model.state_dict(), f"{mnt}/model")
    shared = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.Linear(16, 4)).eval()
    for source in (ref, str(ref), f"{mnt}/model", famfs.open(ref)):
        shared.load_state_dict(famfs.torch.load(source), assign=True)
        assert all(any_mapping(p.data_ptr()) for p in shared.parameters())
    inputs = torch.rand(3, 8)
    with torch.no_grad():
        assert torch.equal(model(inputs), shared(inputs))
    theirs = safetensors.torch.load(bytes(famfs.open(ref).buffer()))
    assert all(torch.equal(theirs[name], tensor) for name, tensor in model.state_dict().items())


def test_new_weights_leave_the_old_ones_to_who_has_them(mnt):
    first = famfs.torch.save({"w": torch.zeros(3)}, f"{mnt}/model")
    held = famfs.torch.load(first)
    famfs.torch.save({"w": torch.ones(3)}, f"{mnt}/model", overwrite=True)
    assert held["w"].sum() == famfs.torch.load(first)["w"].sum() == 0
    assert famfs.torch.load(f"{mnt}/model")["w"].sum() == 3


def test_what_is_no_state_dict(mnt):
    optimizer = torch.optim.SGD([torch.ones(2)], lr=1).state_dict()
    for state in (optimizer, {"w": torch.ones(2), "step": 5}, torch.nn.Linear(2, 2)):
        with pytest.raises(famfs.Unsupported, match=r"no tensor|no state_dict"):
            famfs.torch.save(state, f"{mnt}/x")
    assert famfs.ls(mnt) == []


def test_the_examples_run(mnt, tmp_path):
    check_examples("torch", mnt, tmp_path)
