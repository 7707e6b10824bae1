"""What it costs to be there: `import famfs`, and the command."""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
import time


def took(*command):
    start = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - start


def test_import_and_start(benchmark, goal):
    command = shutil.which("famfs", path=sys.executable.rpartition("/")[0])
    sides = {
        "bare": (sys.executable, "-c", "pass"),
        "import": (sys.executable, "-c", "import famfs"),
        "command": (command, "--version"),
    }
    times = {name: [] for name in sides}

    def once():
        for name, side in sides.items():
            times[name].append(took(*side))

    benchmark.pedantic(once, rounds=25, iterations=1, warmup_rounds=2)
    median = {name: statistics.median(found) for name, found in times.items()}
    goal(
        "P12 import famfs, of bare python",
        median["import"] / median["bare"],
        "<= 2.5",
        f"{median['import'] * 1e3:.0f} ms, {median['bare'] * 1e3:.0f} ms; the command of the "
        f"package, which is Python, {median['command'] * 1e3:.0f} ms",
    )
