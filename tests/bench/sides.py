"""Sides of a comparison: each measured in fresh processes, in turn, in one run.

A side is a function of a module beside this one or in `rivals`, which `side.py` calls in a process
of its own and whose figures it prints. Where a service has to stand behind a side, such as Ray's,
it is asked instead of a process; it takes a fresh worker for each question.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Took:
    """What the rounds of one side took: seconds, or whatever it measures."""

    every: tuple[float, ...]

    @property
    def median(self):
        return statistics.median(self.every)

    @property
    def spread(self):
        """The least and the most, of the median."""
        return min(self.every) / self.median, max(self.every) / self.median


class Process:
    """Sides that are a process each: `module` is one of the files here, by its path."""

    def __init__(self, module, python=sys.executable):
        self.module, self.python = module, str(python)

    def ask(self, function, *arguments):
        """What the function returns, called in a process of its own."""
        done = subprocess.run(
            [self.python, str(HERE / "side.py"), self.module, function, json.dumps(arguments)],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise AssertionError(f"{self.module}.{function} failed:\n{done.stderr}")
        return json.loads(done.stdout.splitlines()[-1])


def in_turn(sides, rounds, warm_ups=1):
    """Each side's answers; `sides` are calls by name, which take turns.

    The first turns warm what the host keeps, programs and pages of files, and don't count.
    """
    found = {name: [] for name in sides}
    for turn in range(rounds + warm_ups):
        for name, call in sides.items():
            answer = call()
            if turn >= warm_ups:
                found[name].append(answer)
    return found


def took(sides, rounds=15):
    """What each side took, of sides that answer with one figure."""
    return {name: Took(tuple(every)) for name, every in in_turn(sides, rounds).items()}
