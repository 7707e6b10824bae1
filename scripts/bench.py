"""Runs every benchmark of the Rust crates, and those of the Python package where there is one.

All are run, whatever fails; the exit status says whether one did, as it does when it misses a goal.
"""

from __future__ import annotations

import json
import subprocess
import sys

import prepare
from prepare import BIN, ROOT, NotReadyError, cargo_environment

NO_TESTS = 5


def targets() -> list[tuple[str, str]]:
    """Each crate's benchmarks; without their names cargo would start the tests too."""
    command = ["cargo", "metadata", "--no-deps", "--format-version", "1"]
    listed = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT)
    return [
        (package["name"], target["name"])
        for package in json.loads(listed.stdout)["packages"]
        for target in package["targets"]
        if "bench" in target["kind"]
    ]


def run(command: list[str]) -> int:
    """Run one set of benchmarks."""
    print(f"+ {' '.join(command)}", flush=True)
    return subprocess.run(command, check=False, cwd=ROOT, env=cargo_environment()).returncode


def main() -> int:
    """Run all, then name those that failed."""
    failed = []
    try:
        prepare.host()
        for package, bench in targets():
            if run(["cargo", "bench", f"--package={package}", f"--bench={bench}"]) != 0:
                failed.append(f"{package}/{bench}")
        if prepare.has_package():
            prepare.package(release=True)
            python = str(BIN / "python")
            if run([python, "-c", "import pytest_benchmark"]) != 0:
                print(
                    "no benchmarks of the Python package: its extra `test` lacks pytest-benchmark"
                )
            elif run([python, "-m", "pytest", "--benchmark-only", "tests"]) not in {0, NO_TESTS}:
                failed.append("python")
        else:
            print("no benchmarks of the Python package: it isn't in this tree yet")
    except NotReadyError as error:
        failed.append(str(error))
    if failed:
        print(f"failed, or missed a goal: {', '.join(failed)}", file=sys.stderr)
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
