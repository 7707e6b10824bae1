"""docs/how-to: the examples of each page are run as they stand there, and print what they say."""

from __future__ import annotations

import pytest

from examples import check_examples, check_links

NAMES = ["dask", "duckdb", "fsspec", "jax", "joblib", "polars"]


@pytest.mark.parametrize("name", NAMES)
def test_the_examples_run(mnt, tmp_path, name):
    check_examples(name, mnt, tmp_path)


@pytest.mark.parametrize("name", [*NAMES, "torch"])
def test_what_they_link_to_is_there(name):
    check_links(name)
