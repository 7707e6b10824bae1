"""Sides of a comparison: each measured in fresh processes, in turn, in one run."""

from __future__ import annotations

import statistics
import subprocess
import sys
import textwrap

HEAD = """
import sys, time, pickle
import numpy as np, pyarrow as pa, pyarrow.ipc, famfs.dataset
arguments = sys.argv[1:]
"""


def seconds(code, *arguments):
    """What a fresh process prints: how long the part between `start` and its end took."""
    done = subprocess.run(
        [sys.executable, "-c", HEAD + textwrap.dedent(code), *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise AssertionError(done.stderr)
    return float(done.stdout.split()[-1])


def medians(sides, rounds=15):
    """The median of each side; `sides` are code and arguments by name."""
    times = {name: [] for name in sides}
    for turn in range(rounds + 1):
        for name, side in sides.items():
            found = seconds(*side)
            # The first turn warms what the host keeps: programs and pages of files.
            if turn:
                times[name].append(found)
    return {name: statistics.median(found) for name, found in times.items()}
