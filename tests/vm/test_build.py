"""The module builds for each kernel, and nothing that checks it has a word to say."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from typing import TYPE_CHECKING

import pytest
from lab import builder, kernels
from lab.archive import run

if TYPE_CHECKING:
    from pathlib import Path

CARGO = tomllib.loads((builder.KMOD.parent / "Cargo.toml").read_text())
VERSION = CARGO["workspace"]["package"]["version"]
SOURCES = sorted(path.name for path in builder.KMOD.glob("famfs_*.c"))


def is_of_a_macro(line: str) -> bool:
    """Whether it is what sparse says of the macros that name a module's author and parameters.

    Those of Linux 7 take a string for a constant, which it doesn't.
    """
    found = re.search(r"(famfs_\w+\.c):(\d+):\d+: error: bad constant expression$", line)
    if not found:
        return False
    source = (builder.KMOD / found[1]).read_text().splitlines()
    return re.match(r"MODULE_|module_", source[int(found[2]) - 1]) is not None


@pytest.mark.parametrize("series", kernels.SERIES)
def test_it_builds_without_a_warning(series: str) -> None:
    kernel = kernels.kernel(series)
    module = builder.build(kernel)
    printed = (module.parent / "build.log").read_text()
    assert sorted(re.findall(r"CC \[M\] .*?(famfs_\w+)\.o", printed)) == [
        name.removesuffix(".c") for name in SOURCES
    ]
    assert sorted(re.findall(r"CHECK .*?(famfs_\w+\.c)", printed)) == SOURCES
    about = [line for line in printed.splitlines() if re.search(r"famfs_\w+\.[ch]:\d+", line)]
    assert [line for line in about if not is_of_a_macro(line)] == []
    facts = subprocess.run(
        ["modinfo", str(module)], check=True, capture_output=True, text=True
    ).stdout
    assert f"vermagic:       {kernel.release} " in facts
    assert re.search(r"^license: +GPL$", facts, re.MULTILINE)
    assert "alias:          fs-famfs" in facts


def test_dkms_builds_it(tmp_path: Path) -> None:
    kernel = kernels.kernel("6.12")
    source, tree = tmp_path / "src", tmp_path / "tree"
    tracked = run("git", "ls-files", "-z", cwd=builder.KMOD).split("\0")
    for name in filter(None, tracked):
        to = source / f"famfs-{VERSION}" / name
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(builder.KMOD / name, to)
    tree.mkdir()
    run(
        *("dkms", "build", "-m", "famfs", "-v", VERSION, "-k", kernel.release),
        *("--kernelsourcedir", kernel.headers, "--sourcetree", source, "--dkmstree", tree),
    )
    assert len(list(tree.glob("**/module/famfs.ko*"))) == 1


def test_one_version_everywhere() -> None:
    header = (builder.KMOD / "famfs_internal.h").read_text()
    assert f'#define FAMFS_VERSION "{VERSION}"' in header
    assert f'PACKAGE_VERSION="{VERSION}"' in (builder.KMOD / "dkms.conf").read_text()


def test_versions_differ_in_one_file_alone() -> None:
    for path in builder.KMOD.iterdir():
        if path.suffix in {".c", ".h"} and path.name != "famfs_compat.h":
            assert "LINUX_VERSION" not in path.read_text(), path
            assert "FAMFS_HAS(" not in path.read_text(), path
