"""The documentation as it is built: nothing is missing, and nothing is asked of anybody else."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import griffe
import pytest

import famfs

ROOT = Path(__file__).parents[2]
#: What a browser fetches by itself, and where.
FETCHED = {"script": "src", "link": "href", "img": "src", "iframe": "src", "source": "src"}


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The site's folder, and what was said while it was built."""
    site = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", site]
    # The theme advertises something of its own there.
    env = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=ROOT, env=env, timeout=100, check=False
    )
    assert done.returncode == 0, done.stderr
    return site, done.stdout + done.stderr


@pytest.fixture(scope="module")
def site(built):
    return built[0]


@pytest.fixture(scope="module")
def package():
    """What the sources say, without importing engines."""
    return griffe.load("famfs", search_paths=[str(ROOT / "python")])


class Page(HTMLParser):
    """The anchors of a page, and what it fetches."""

    def __init__(self, path):
        super().__init__()
        self.anchors, self.fetched = set(), []
        self.text = path.read_text()
        self.feed(self.text)

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.anchors.add(attributes.get("id"))
        if attributes.get("rel") not in {"next", "prev", "canonical"}:
            self.fetched.append(attributes.get(FETCHED.get(tag, ""), "") or "")


def test_it_is_built_without_a_warning(built):
    assert "WARNING" not in built[1]
    assert "ERROR" not in built[1]


def test_every_page_is_built(site):
    for source in (ROOT / "docs").rglob("*.md"):
        page = Page(site / source.relative_to(ROOT / "docs").with_suffix(".html"))
        assert "<h1" in page.text, source
    assert "Unreleased" in (site / "changelog.html").read_text()


def test_every_public_name_has_its_words(site):
    page = Page(site / "reference" / "python.html")
    missing = {name for name in famfs.__all__ if f"famfs.{name}" not in page.anchors}
    # Modules have pages of their own.
    assert missing == set(famfs._SUBMODULES) & set(famfs.__all__)
    # The extension's classes: their types are in its stubs, their words in itself.
    for words in (famfs.Ref.__doc__.splitlines()[0], famfs.Ref.uuid.__doc__):
        assert words in page.text
    assert "famfs.Dataset.to_numpy" in page.anchors, "what a class inherits is there too"
    assert not [each for each in page.anchors if each and "famfs." in each and "._" in each]


@pytest.mark.parametrize("name", famfs._SUBMODULES)
def test_every_module_has_a_page_of_its_names(site, package, name):
    page = Page(site / "reference" / "modules" / f"{name}.html")
    module = package[name]
    names = module.exports or [
        member.name
        for member in module.members.values()
        if member.is_public and not member.is_special
    ]
    assert names
    for public in names:
        assert f"famfs.{name}.{public}" in page.anchors


def test_every_example_of_a_docstring_is_shown_as_code(site):
    for path in (site / "reference").rglob("*.html"):
        text = path.read_text()
        assert "&gt;&gt;&gt;" not in re.sub(r"<code>.*?</code>", "", text, flags=re.DOTALL), path


def test_what_is_returned_is_one_thing(site):
    sections = re.compile(r"doc-section-title\">Returns:</span>(.*?)</ul>", re.DOTALL)
    found = {
        path: sections.findall(path.read_text()) for path in (site / "reference").rglob("*.html")
    }
    assert any(found.values())
    for path, told in found.items():
        for section in told:
            assert section.count("<li") == 1, f"{path.name}: {section}"


def test_every_command_has_its_words(site):
    page = Page(site / "reference" / "command.html")
    asked = [sys.executable, "-m", "famfs", "--help"]
    told = subprocess.run(asked, capture_output=True, text=True, check=True, timeout=60).stdout
    names = re.findall(r"^  (\w+) ", told.partition("Commands:")[2], re.MULTILINE)
    assert "mount" in names
    for name in names:
        assert name == "help" or f"famfs-{name}" in page.anchors
    assert "famfs-kmod-build" in page.anchors
    assert "--embedded" in page.text


def test_nothing_is_fetched_from_elsewhere(site):
    for path in site.rglob("*.html"):
        for address in Page(path).fetched:
            assert not re.match(r"(?:\w+:)?//", address), f"{path.name} fetches {address}"
    for style in site.rglob("*.css"):
        assert not re.search(r"(?:url\(|@import)\s*[\"']?(?:https?:)?//", style.read_text()), style
