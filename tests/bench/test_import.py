"""What it costs to be there: `import famfs`, and the commands."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from sides import HERE, took


def test_import_and_start(goal, measured):
    # Built by scripts/bench.py, for release.
    target = Path(os.environ.get("CARGO_TARGET_DIR", HERE.parent.parent / "target"))
    beside = sys.executable.rpartition("/")[0]
    sides = {
        "bare python": (sys.executable, "-c", "pass"),
        "import famfs": (sys.executable, "-c", "import famfs"),
        "the package's command": (shutil.which("famfs", path=beside), "--version"),
        "the native command": (str(target / "release" / "famfs"), "--version"),
    }

    def start(command):
        begin = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        return time.perf_counter() - begin

    found = took({name: lambda side=side: start(side) for name, side in sides.items()}, rounds=25)
    measured("start", found, "ms")
    median = {name: each.median for name, each in found.items()}
    goal(
        "P12 import famfs, of bare python", median["import famfs"] / median["bare python"], "<= 2.5"
    )
    goal("P12 start of the native command, ms", median["the native command"] * 1e3, "<= 5")
