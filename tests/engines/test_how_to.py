"""docs/how-to: the examples of each page are run as they stand there, and print what they say."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGES = Path(__file__).parents[2] / "docs" / "how-to"
NAMES = ["dask", "fsspec", "jax", "joblib", "polars"]
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SAID = re.compile(r"^ *print\(.*\)  # (.*)$", re.MULTILINE)


@pytest.mark.parametrize("name", NAMES)
def test_the_examples_run(mnt, tmp_path, name):
    code = "\n".join(BLOCK.findall((PAGES / f"{name}.md").read_text()))
    assert code
    assert "/mnt/famfs" in code
    # A file of its own: processes that are spawned import it.
    program = tmp_path / "example.py"
    program.write_text(code.replace("/mnt/famfs", mnt))
    said = subprocess.run(
        [sys.executable, program], capture_output=True, text=True, timeout=100, check=False
    )
    assert said.returncode == 0, said.stderr
    expected = [line.replace("/mnt/famfs", mnt) for line in SAID.findall(code)]
    assert len(expected) == code.count("print(")
    assert said.stdout.splitlines() == expected


@pytest.mark.parametrize("name", NAMES)
def test_what_they_link_to_is_there(name):
    for link in re.findall(r"\]\(([^)#:]+)\)", (PAGES / f"{name}.md").read_text()):
        assert (PAGES / link).exists(), link
