"""famfs.torch as far as it goes without torch: which rows there are, who gets which, and errors."""

from __future__ import annotations

import pickle

import numpy as np
import pyarrow as pa
import pytest

import famfs
import famfs.torch


def test_rows_of_every_kind(mnt):
    table = {"x": np.arange(10), "y": np.ones(10)}
    weights = {"w": np.ones((3, 4)), "b": np.ones((3, 2))}
    for thing, options, lengths in (
        (np.ones((7, 2)), {}, [7]),
        (np.empty((0, 2)), {}, [0]),
        (table, {"batch_rows": 4}, [4, 4, 2]),
        (weights, {}, [3]),
    ):
        ref = famfs.publish(thing, f"{mnt}/x", overwrite=True, **options)
        rows = famfs.torch.Rows(ref)
        assert (rows.lengths, len(rows)) == (lengths, sum(lengths))
        assert len(pickle.dumps(rows)) < 600
        assert pickle.loads(pickle.dumps(rows)).lengths == lengths
    part = famfs.open(famfs.publish(table, f"{mnt}/t", batch_rows=4))[3:9]
    assert famfs.torch.Rows(part, columns=["y"]).lengths == [1, 4, 1]
    assert famfs.torch.Rows(famfs.publish(pa.table({"a": []}), f"{mnt}/none")).lengths in ([], [0])


def test_several_files(mnt):
    famfs.mkdir(f"{mnt}/runs")
    for i in range(3):
        famfs.publish({"a": np.arange(5) + 10 * i}, f"{mnt}/runs/{i}")
    assert famfs.torch.Rows(f"{mnt}/runs").lengths == [5, 5, 5]


def test_an_index_that_is_none(mnt):
    rows = famfs.torch.Rows(famfs.publish(np.arange(3), f"{mnt}/x"))
    for index in (3, -4):
        with pytest.raises(IndexError, match=f"row {index}, there are 3"):
            rows[index]


@pytest.mark.parametrize("workers", [1, 2, 3, 7])
def test_workers_share_all_batches_out(workers):
    lengths = [10, 0, 3, 1, 25]
    shares = [list(famfs.torch.ranges(lengths, 4, i, workers)) for i in range(workers)]
    every = sorted(piece for share in shares for piece in share)
    assert every == list(famfs.torch.ranges(lengths, 4))
    covered = [(part, row) for part, a, b in every for row in range(a, b)]
    assert covered == [(part, row) for part, n in enumerate(lengths) for row in range(n)]
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_what_has_no_rows(mnt):
    for thing, options, hint in (
        (b"abc", {}, "tables and arrays have rows"),
        (np.array(5), {}, "tables and arrays have rows"),
        (np.arange(3), {"columns": ["a"]}, "columns are those of a table"),
        ({"a": np.ones((2, 3)), "b": np.ones(5)}, {}, "equally long"),
        ({"a": np.ones((2, 3)), "b": np.array(5.0)}, {}, "equally long"),
    ):
        ref = famfs.publish(thing, f"{mnt}/x", overwrite=True)
        with pytest.raises(famfs.Unsupported, match=hint):
            famfs.torch.Rows(ref, **options)
    some = famfs.publish({"a": np.ones((2, 3)), "b": np.ones(5)}, f"{mnt}/y")
    assert len(famfs.torch.Rows(some, columns=["b"])) == 5
    with pytest.raises(KeyError, match="no tensor 'c'"):
        famfs.torch.Rows(some, columns=["c"])


def test_what_is_no_state_dict(mnt):
    for state, hint in (
        ({}, "no state_dict"),
        ([1], "no state_dict"),
        ({"a": np.ones(3)}, "no tensor"),
        ({"state": {}}, "no tensor"),
    ):
        with pytest.raises(famfs.Unsupported, match=hint):
            famfs.torch.save(state, f"{mnt}/x")
    assert famfs.ls(mnt) == []
    with pytest.raises(famfs.Unsupported, match="no state_dict"):
        famfs.torch.load(famfs.publish(np.arange(3), f"{mnt}/x"))


def test_torch_is_missing(run, mnt):
    code = """
        import sys
        sys.modules["torch"] = None
        import famfs, famfs.torch
        for use in (
            lambda: famfs.torch.batches(sys.argv[1], 2),
            lambda: famfs.torch.Rows(sys.argv[1])[0],
        ):
            try:
                use()
            except (ImportError, famfs.Unsupported) as error:
                print(error)
    """
    said = run(code, famfs.publish(np.arange(3), f"{mnt}/x")).stdout
    assert said.count("pip install 'famfs[torch]'") == 2
