"""The module builds for each kernel, and nothing that checks it has a word to say."""

from __future__ import annotations

import re
import subprocess

import pytest
from lab import builder, kernels

SOURCES = sorted(path.name for path in builder.KMOD.glob("famfs_*.c"))


@pytest.mark.parametrize("series", kernels.SERIES)
def test_it_builds_without_a_warning(series: str) -> None:
    kernel = kernels.kernel(series)
    module = builder.build(kernel)
    printed = (module.parent / "build.log").read_text()
    assert sorted(re.findall(r"CC \[M\] .*?(famfs_\w+)\.o", printed)) == [
        name.removesuffix(".c") for name in SOURCES
    ]
    if kernels.SERIES[series].checker:
        assert sorted(re.findall(r"CHECK .*?(famfs_\w+\.c)", printed)) == SOURCES
    about = [line for line in printed.splitlines() if re.search(r"famfs_\w+\.[ch]:\d+", line)]
    assert about == []
    facts = subprocess.run(
        ["modinfo", str(module)], check=True, capture_output=True, text=True
    ).stdout
    assert f"vermagic:       {kernel.release} " in facts
    assert re.search(r"^license: +GPL$", facts, re.MULTILINE)
    assert "alias:          fs-famfs" in facts


def test_versions_differ_in_one_file_alone() -> None:
    for path in builder.KMOD.iterdir():
        if path.suffix in {".c", ".h"} and path.name != "famfs_compat.h":
            assert "LINUX_VERSION" not in path.read_text(), path
            assert "FAMFS_HAS(" not in path.read_text(), path
