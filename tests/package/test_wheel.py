"""The source distribution and the wheel: whole, for old systems, and good for a new user."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import zipfile

import package
import pytest

import pages
from examples import check_examples
from pages import ROOT

TUTORIAL = ROOT / "docs" / "tutorial.md"


def tracked(*places):
    listed = subprocess.run(
        ["git", "ls-files", "-z", *places], check=True, capture_output=True, text=True, cwd=ROOT
    )
    return set(filter(None, listed.stdout.split("\0")))


@pytest.fixture(scope="session")
def clean(wheel, tmp_path_factory):
    """An environment that a new user makes by the tutorial, from this wheel."""
    home = tmp_path_factory.mktemp("user")
    first = pages.blocks(TUTORIAL)[0]
    assert first.title == pages.SET_UP
    code = first.code.replace('"famfs[', f'--quiet "{wheel}[')
    assert str(wheel) in code
    path = f"{os.path.dirname(os.path.realpath(sys.executable))}:{os.environ['PATH']}"
    subprocess.run([*pages.BASH, "-c", code], check=True, cwd=home, env=os.environ | {"PATH": path})
    return home / "try-famfs" / "bin"


def test_the_sources_are_whole(sdist):
    with tarfile.open(sdist) as archive:
        there = {name.partition("/")[2] for name in archive.getnames()}
    assert {"Cargo.lock", "Cargo.toml", "pyproject.toml", "README.md", "LICENSE"} <= there
    assert tracked("kmod", "python") <= there
    # Fuzzing crates are no part of the workspace.
    crates = {name for name in tracked("rust") if "/src/" in name and "/fuzz/" not in name}
    assert crates <= there
    assert not {name for name in there if name.endswith((".so", ".ko", ".o", ".pyc"))}


def test_the_wheel_has_all_and_no_more(wheel):
    with zipfile.ZipFile(wheel) as archive:
        there = set(archive.namelist())
        about = archive.read(f"famfs-{package.VERSION}.dist-info/METADATA").decode()
        entries = archive.read(f"famfs-{package.VERSION}.dist-info/entry_points.txt").decode()
    ours = {name.removeprefix("python/") for name in tracked("python")}
    assert {name for name in there if name.startswith("famfs/")} == {*ours, "famfs/_native.abi3.so"}
    assert {"famfs=famfs._cli:main", "mkfs.famfs=famfs._cli:main"} <= set(
        entries.replace(" ", "").splitlines()
    )
    licenses = f"famfs-{package.VERSION}.dist-info/licenses/"
    assert {f"{licenses}LICENSE", f"{licenses}kmod/LICENSE"} <= there
    extras = re.findall(r"^Provides-Extra: (.*)$", about, re.MULTILINE)
    assert {"arrow", "pandas", "polars", "torch", "ray", "spark", "dask", "jax", "fsspec"} <= set(
        extras
    )
    assert "Python: >=3.11" in about


def test_the_wheel_is_for_old_systems(wheel):
    assert wheel.name == f"famfs-{package.VERSION}-cp311-abi3-manylinux_2_28_x86_64.whl"
    asked = [sys.executable, "-m", "auditwheel", "show", wheel]
    done = subprocess.run(asked, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    tags = re.findall(r'"(manylinux_2_\d+)_\w+"', done.stdout)
    assert tags, done.stdout
    # Constrained by nothing newer; older is as good.
    assert all(int(tag.rpartition("_")[2]) <= 28 for tag in tags), done.stdout


def test_a_clean_environment_has_what_it_says(clean):
    def run(*words):
        return subprocess.run(
            [clean / words[0], *words[1:]],
            capture_output=True,
            text=True,
            check=True,
            timeout=100,
            cwd=clean,
        ).stdout

    run("python", "-m", "pip", "check")
    assert run("famfs", "--version").strip() == f"famfs {package.VERSION}"
    assert "Usage: " in run("mkfs.famfs", "--help")
    place = run("python", "-c", "import famfs; print(famfs.__file__, famfs.__version__)")
    assert place.startswith(str(clean.parent))
    assert place.split()[-1] == package.VERSION


def test_the_tutorial_in_it(clean, tmp_path):
    pages.try_page(TUTORIAL, tmp_path, python=clean / "python")


@pytest.mark.parametrize("name", ["duckdb", "fsspec", "joblib", "polars"])
def test_a_pages_extras_are_all_that_it_needs(wheel, name, tmp_path):
    """The pages whose libraries are small; those of others are in tests/engines."""
    text = (ROOT / "docs" / "how-to" / f"{name}.md").read_text()
    extras = ",".join(re.findall(r'pip install "famfs\[([\w,]+)\]"', text))
    python = tmp_path / "only" / "bin" / "python"
    home = os.path.realpath(sys.executable)
    subprocess.run([home, "-m", "venv", tmp_path / "only"], check=True)
    install = [python, "-m", "pip", "install", "--quiet", f"{wheel}[{extras}]"]
    subprocess.run(install, check=True, stdin=subprocess.DEVNULL)
    famfs, mnt = [python, "-m", "famfs"], str(tmp_path / "mnt")
    subprocess.run([*famfs, "mount", "--embedded", "--size", "64M", mnt], check=True)
    try:
        check_examples(name, mnt, tmp_path, python)
    finally:
        subprocess.run([*famfs, "umount", "--discard", mnt], check=True)
