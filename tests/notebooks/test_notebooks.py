"""How the notebooks are kept; they themselves are run before these tests."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pytest

import famfs

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
ALL = sorted(NOTEBOOKS.glob("*.ipynb"))
LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")


@pytest.fixture(params=ALL, ids=lambda path: path.stem)
def path(request):
    return request.param


@pytest.fixture
def notebook(path):
    return nbformat.read(path, as_version=nbformat.NO_CONVERT)


def test_they_are_six():
    assert [path.stem[:3] for path in ALL] == ["01_", "02_", "03_", "04_", "05_", "06_"]


def test_each_is_kept_without_what_a_run_adds(notebook):
    nbformat.validate(notebook)
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
    assert notebook.metadata.language_info == {"name": "python"}
    for cell in notebook.cells:
        assert cell.metadata == {}, cell.id
        if cell.cell_type == "code":
            assert cell.outputs == [], cell.id
            assert cell.execution_count is None, cell.id
    ids = [cell.id for cell in notebook.cells]
    assert len(set(ids)) == len(ids)


def test_each_teaches(notebook):
    kinds = [cell.cell_type for cell in notebook.cells]
    assert kinds[0] == "markdown"
    assert notebook.cells[0].source.startswith("# ")
    assert kinds.count("markdown") * 3 >= len(kinds)


def test_each_uses_public_names_alone(notebook):
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert not re.search(r"\b(?:famfs|\))\._[a-z]|_native", cell.source), cell.id


def test_each_is_in_the_list(path):
    assert f"({path.name})" in (NOTEBOOKS / "README.md").read_text()


def test_what_they_link_to_is_there(path, notebook):
    texts = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
    for link in LINK.findall("\n".join([*texts, (NOTEBOOKS / "README.md").read_text()])):
        assert (path.parent / link).exists(), link


def test_they_left_no_volume(home):
    assert [m.mountpoint for m in famfs.mounts() if m.mountpoint.startswith(str(home))] == []
    assert sorted(home.glob("famfs-*")) == []
