"""docs/how-to: the examples of each page are run as they stand there, and print what they say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PAGES = Path(__file__).parents[2] / "docs" / "how-to"
NAMES = ["dask", "fsspec", "polars"]
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SAID = re.compile(r"^ *print\(.*\)  # (.*)$", re.MULTILINE)


@pytest.mark.parametrize("name", NAMES)
def test_the_examples_run(mnt, run, tmp_path, name):
    code = "\n".join(BLOCK.findall((PAGES / f"{name}.md").read_text()))
    assert code
    assert "/mnt/famfs" in code
    # A file of its own: processes that are spawned import it.
    program = tmp_path / "example.py"
    program.write_text(code.replace("/mnt/famfs", mnt))
    said = run("import runpy, sys; runpy.run_path(sys.argv[1], run_name='__main__')", program)
    expected = [line.replace("/mnt/famfs", mnt) for line in SAID.findall(code)]
    assert len(expected) == code.count("print(")
    assert said.stdout.splitlines() == expected


@pytest.mark.parametrize("name", NAMES)
def test_what_they_link_to_is_there(name):
    for link in re.findall(r"\]\(([^)#:]+)\)", (PAGES / f"{name}.md").read_text()):
        assert (PAGES / link).exists(), link
