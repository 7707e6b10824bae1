"""joblib and multiprocessing: datasets by reference; what they hand out where it is registered."""

from __future__ import annotations

import multiprocessing
import os
import pickle
from concurrent.futures import ProcessPoolExecutor

import joblib
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from work import array_inside, lies_inside

import famfs
import famfs.joblib
import famfs.multiprocessing

ROWS = 200_000
METHODS = ["fork", "spawn", "forkserver"]


@pytest.fixture
def table(mnt):
    columns = {"a": np.arange(ROWS), "b": np.linspace(0, 1, ROWS), "s": pa.array(["x"] * ROWS)}
    return famfs.open(famfs.publish(columns, f"{mnt}/t"))


@pytest.fixture
def array(mnt):
    return famfs.open(famfs.publish(np.arange(ROWS * 2.0).reshape(ROWS, 2), f"{mnt}/x"))


def summed(dataset):
    """Of a dataset: its sum, whether its memory is a volume's, and who has looked."""
    if isinstance(dataset, famfs.Ref):
        dataset = famfs.open(dataset)
    values = dataset["a"].to_numpy() if dataset.kind == "table" else dataset.to_numpy()
    return float(values.sum()), array_inside(values), os.getpid()


def looked_at(thing):
    """Of what a dataset has handed out: its sum, and whether its memory is a volume's."""
    if isinstance(thing, dict):
        return looked_at(thing["deep"][0])
    if isinstance(thing, pa.Table):
        values = thing["a"].chunk(0).buffers()[1]
        return float(np.sum(thing["a"].to_numpy())), lies_inside(values.address, values.size)
    values = thing["a"].to_numpy() if isinstance(thing, pd.DataFrame) else thing
    return float(values.sum()), array_inside(values)


def with_methods(work, things, method):
    with multiprocessing.get_context(method).Pool(2) as pool:
        return pool.map(work, things)


def with_loky(work, things):
    return joblib.Parallel(n_jobs=2)(joblib.delayed(work)(thing) for thing in things)


def selections(table, array):
    return [table, table[100:200], table[["b", "a"]], table.partition(1, 3), array, array[5:50]]


def expected(thing):
    return summed(thing)[:2]


def test_references_are_small(table, array):
    for thing in [*selections(table, array), table.ref, array[7].ref]:
        assert len(pickle.dumps(thing)) <= 256
        assert pickle.loads(pickle.dumps(thing)) == thing


@pytest.mark.parametrize("method", METHODS)
def test_datasets_in_processes(table, array, method):
    things = [*selections(table, array), table.ref, array.ref]
    found = with_methods(summed, things, method)
    assert [each[:2] for each in found] == [expected(thing) for thing in things]
    assert all(inside for _, inside, _ in found)
    assert os.getpid() not in {pid for *_, pid in found}


@pytest.mark.parametrize("method", METHODS)
def test_datasets_in_executors(table, method):
    context = multiprocessing.get_context(method)
    with ProcessPoolExecutor(2, mp_context=context) as pool:
        parts = [table.partition(i, 4) for i in range(4)]
        found = list(pool.map(summed, parts))
    assert sum(value for value, *_ in found) == sum(range(ROWS))
    assert all(inside for _, inside, _ in found)


def test_datasets_in_loky(table, array):
    things = [*selections(table, array), table.ref]
    found = with_loky(summed, things)
    assert [each[:2] for each in found] == [expected(thing) for thing in things]
    assert all(inside for _, inside, _ in found)
    assert os.getpid() not in {pid for *_, pid in found}


def test_what_is_handed_out_is_copied_unless_it_is_registered(table, array, run):
    code = """
        import sys
        sys.path.insert(0, sys.argv[1])
        import test_joblib, famfs
        table, array = (famfs.open(text) for text in sys.argv[2:])
        print(test_joblib.with_loky(test_joblib.looked_at, [array.to_numpy(), table.to_arrow()]))
        print(test_joblib.with_methods(test_joblib.looked_at, [array.to_numpy()], "spawn"))
    """
    said = run(code, os.path.dirname(__file__), table.ref, array.ref).stdout
    assert "False" in said
    assert "True" not in said


def handed_out(table, array):
    frame = table.to_pandas()
    return [
        array.to_numpy(),
        array.to_numpy()[::3, 1],
        table.to_arrow(),
        table.to_arrow().slice(10, 1000),
        table["a"].to_numpy(),
        frame[["a", "b"]],
        {"deep": [array.to_numpy()[10:]]},
    ]


@pytest.mark.parametrize("method", METHODS)
def test_registered_for_processes(table, array, method):
    famfs.multiprocessing.register()
    famfs.multiprocessing.register()
    things = handed_out(table, array)
    found = with_methods(looked_at, things, method)
    assert found == [looked_at(thing) for thing in things]
    assert all(inside for _, inside in found)
    # What is not a volume's is what it was, and so is what is small.
    own = [np.arange(5000), np.ones(3), pa.table({"a": [1, 2]})]
    assert with_methods(looked_at, own, method) == [(12497500.0, False), (3.0, False), (3.0, False)]


def test_registered_for_loky(table, array):
    famfs.joblib.register()
    famfs.joblib.register()
    things = handed_out(table, array)
    found = with_loky(looked_at, things)
    assert found == [looked_at(thing) for thing in things]
    assert all(inside for _, inside in found)
    own = [np.arange(500_000), np.ones(3), pa.table({"a": [1, 2]})]
    assert [value for value, _ in with_loky(looked_at, own)] == [124999750000.0, 3.0, 3.0]


def doubled(thing):
    return famfs.open(famfs.publish(thing.to_numpy() * 2, f"{os.path.dirname(thing.path)}/out"))


@pytest.mark.parametrize("method", METHODS)
def test_workers_publish_and_hand_back_references(array, method):
    (found,) = with_methods(doubled, [array], method)
    assert found.to_numpy()[1].tolist() == [4.0, 6.0]
    assert array_inside(found.to_numpy())


def test_an_error_of_famfs_comes_back(mnt):
    for run_all in (lambda w, t: with_methods(w, t, "spawn"), with_loky):
        with pytest.raises(famfs.NotFound, match="no such file") as told:
            run_all(famfs.stat, [f"{mnt}/none"])
        assert told.value.filename == f"{mnt}/none"
    with famfs.embedded(size="64MiB") as other:
        gone = famfs.open(famfs.publish(np.ones(3), f"{other}/x")).ref
    with pytest.raises(famfs.NotMounted, match="famfs mount"):
        with_methods(summed, [gone], "spawn")


def test_joblib_is_missing(run):
    code = """
        import sys
        sys.modules["joblib"] = None
        import famfs.joblib
        try:
            famfs.joblib.register()
        except ImportError as error:
            print(error)
    """
    assert "pip install 'famfs[joblib]'" in run(code).stdout
