"""The environment that these tests are for."""

import importlib.metadata

import famfs


def test_the_package_is_that_of_this_tree():
    assert famfs.__file__.endswith("python/famfs/__init__.py")


def test_each_engine_is_there():
    for name in ("ray", "pyspark", "dask", "distributed", "fsspec", "joblib", "jax"):
        assert importlib.metadata.version(name), name
