"""docs/: every example on every page runs, or it is said here where it does."""

from __future__ import annotations

import ast
import codeop
import re
import subprocess
import sys
import time
import tomllib

import pytest

import famfs
from pages import DOCS, FENCE, MOUNTS, ROOT, blocks, try_page

PAGES = {page.relative_to(DOCS).as_posix(): page for page in sorted(DOCS.rglob("*.md"))}
#: Pages whose commands take a machine of their own, and the tests that do the same there.
ELSEWHERE = {"kmod.md": "tests/vm/test_tools.py"}
#: Pages on what only some environments have: tests there name the page that they run.
ENGINES = [ROOT / "tests" / "engines", ROOT / "tests" / "torch"]
#: What fragments find: names that their page speaks of, and does not make.
BEFORE = {
    "datasets.md": """
import subprocess, sys, threading
from concurrent.futures import ProcessPoolExecutor

import famfs
import numpy as np
import pyarrow as pa

mnt = "/tmp/famfs"
mount = [sys.executable, "-m", "famfs", "mount", "--embedded", "--size=64M", mnt]
subprocess.run(mount, check=True)
famfs.mkdir(f"{mnt}/runs")
again = threading.Timer(0.5, famfs.publish, (b"run", f"{mnt}/runs/1"))
again.start()


def work_on(dataset):
    assert bytes(dataset) == b"run"
    events.close()


a = b = np.arange(1000.0)
rows = 100
values = np.arange(100.0)
embeddings = np.ones((100, 128), np.float32)
batches = pa.table({"name": ["x", "y"] * 50}).to_batches(max_chunksize=30)
train = test = {"x": values}
n = 3


def compute(i):
    return values + i
""",
    "pictures.md": """
import subprocess, sys

import famfs

mount = [sys.executable, "-m", "famfs", "mount", "--embedded", "--size=64M", "/mnt/famfs"]
subprocess.run(mount, check=True)
famfs.publish(b"x", "/mnt/famfs/features")
""",
}
AFTER = {
    "datasets.md": """
assert famfs.open(f"{mnt}/sum").to_numpy()[5] == 10
t = famfs.open(f"{mnt}/t")
assert t["x"].to_numpy()[9] == 3 and t["name"].to_arrow()[99].as_py() == "y"
assert famfs.open(refs[0]).num_rows == 100 and len(refs) == 3
assert famfs.open(f"{mnt}/part2").to_numpy()[0] == 2
"""
}


@pytest.fixture
def home(tmp_path):
    """Where a page's volume is; what it leaves there is given back."""
    yield tmp_path
    for mount in famfs.mounts():
        if mount.mountpoint.startswith(str(tmp_path)):
            give_back(mount.mountpoint)


def give_back(mountpoint):
    """Discards a volume; who looks at all mounts, such as `famfs df`, has it open for a moment."""
    end = time.monotonic() + 20
    while True:
        try:
            return famfs.umount(mountpoint, discard=True)
        except famfs.Busy:
            if time.monotonic() > end:
                raise
            time.sleep(0.1)


def code_of(name):
    return [block for block in blocks(PAGES[name]) if block.language != "text"]


def is_run_here(name):
    return not name.startswith("how-to/") and name not in ELSEWHERE


@pytest.mark.parametrize("name", [name for name in PAGES if is_run_here(name) and code_of(name)])
def test_the_examples_of_a_page_run(home, name):
    before, after = (MOUNTS.sub(f"{home}/mnt", each.get(name, "")) for each in (BEFORE, AFTER))
    try_page(PAGES[name], home, before, after)


def is_run_by_engines(page):
    """Whether a test of the engines' names the page, by its file or by its name alone."""
    tests = [path.read_text() for folder in ENGINES for path in folder.glob("test_*.py")]
    names = (f"{page.stem}.md", f'"{page.stem}"')
    return any("how-to" in test and name in test for test in tests for name in names)


def test_no_page_has_examples_that_run_nowhere():
    for name, page in PAGES.items():
        if name.startswith("how-to/"):
            assert not code_of(name) or is_run_by_engines(page), f"no test runs {name}"
            continue
        assert {block.language for block in blocks(page)} <= {"python", "sh", "text"}, name
        # What is no block to `blocks` would escape.
        text = page.read_text()
        fences = re.findall(r"^ *(?:```|~~~)", text, re.MULTILINE)
        assert len(fences) == 2 * len(FENCE.findall(text)), name
    for test in ELSEWHERE.values():
        assert (ROOT / test).exists()


def options(command):
    """The options of a command, by its own help."""
    words = [sys.executable, "-m", "famfs", *command, "--help"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, f"famfs {' '.join(command)}: no such command"
    return set(re.findall(r"(?<![\w-])--?\w[\w-]*", done.stdout))


@pytest.mark.parametrize("name", ELSEWHERE)
def test_commands_that_run_elsewhere_have_the_options_that_are_named(name):
    text = PAGES[name].read_text()
    lines = re.findall(r"^famfs (.*?)(?: +#.*)?$", text, re.MULTILINE)
    lines += re.findall(r"`famfs ([^`]+)`", text)
    assert lines
    for line in lines:
        words = line.partition(";")[0].split()
        deep = 2 if words[0] in {"kmod", "dax"} else 1
        named = {word.partition("=")[0] for word in words[deep:] if word.startswith("-")}
        assert named <= options(words[:deep]), line


def rows(page):
    return [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in PAGES[page].read_text().splitlines()
        if line.startswith("|")
    ]


def test_the_ratios_in_the_questions_are_those_that_were_measured():
    measured = {tuple(row[:2]): row[4] for row in rows("performance.md") if len(row) == 5}
    _, _, *told = rows("faq.md")
    assert told
    for what, side, ratio in told:
        found = float(measured[what, side].replace(",", ""))
        assert 0.5 < float(ratio.replace(",", "")) / found < 2, (what, side, found)


def test_guarantees_are_shown_by_tests_that_are_there():
    named = re.findall(r"`([\w/.-]+)::(\w+)`", PAGES["reliability.md"].read_text())
    assert named
    for path, name in named:
        assert re.search(rf"\b(?:def|fn) {name}\(", (ROOT / path).read_text()), f"{path}::{name}"
    guarantees = [row for row in rows("reliability.md") if row[0] not in {"guarantee", "---"}]
    assert all("::" in shown for _, shown in guarantees)


def test_the_extras_are_those_of_the_package():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    told = {word for row in rows("install.md") for word in re.findall(r"`(\w+)`", row[0])}
    # What is for who works on famfs is not for users; the demonstration names its own.
    inner = {"bench", "demo", "docs", "engines", "packaging", "test"}
    assert told == project["optional-dependencies"].keys() - inner


def test_examples_can_be_typed():
    """A Python that is typed to ends a block by an empty line; programs are in files."""
    for name, page in {"README.md": ROOT / "README.md", **PAGES}.items():
        for block in blocks(page):
            if block.language != "python" or "__name__" in block.code:
                continue
            typed = []
            for line in [*block.code.splitlines(), ""]:
                typed.append(line)
                try:
                    ended = codeop.compile_command("\n".join(typed)) is not None
                except SyntaxError as error:
                    pytest.fail(f"{name}: not as it is typed: {error}:\n{block.code}")
                typed = [] if ended else typed
            assert not typed, f"{name}: not at its end:\n{block.code}"


@pytest.mark.parametrize("name", [name for name in PAGES if name.startswith("how-to/")])
def test_a_page_tells_to_install_what_its_examples_import(name):
    text = PAGES[name].read_text()
    extras = re.findall(r'pip install "famfs\[([\w,]+)\]"', text)
    assert extras
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = [*project["dependencies"]]
    for extra in ",".join(extras).split(","):
        asked += project["optional-dependencies"][extra]
    brought = {re.match(r"[\w-]+", each)[0] for each in asked} | {"famfs"} | sys.stdlib_module_names
    for block in blocks(PAGES[name]):
        if block.language != "python":
            continue
        for node in ast.walk(ast.parse(block.code)):
            if isinstance(node, ast.Import):
                imported = {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                imported = {node.module.partition(".")[0]}
            else:
                continue
            assert imported <= brought, f"{name}: {block.code}"
    # And how to have the volume that the examples speak of.
    assert "`famfs mount --embedded --size 256M /mnt/famfs`" in text
