"""Runs the test suites one after the other, all of them whatever fails, and counts their tests.

The very last line is the sum: ``N passed, M failed``. The exit status says whether M is zero.
"""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass

import suites
from counting import Count, follow
from prepare import ROOT, NotReadyError, cargo_environment


@dataclass
class Result:
    """What came of one suite."""

    name: str
    count: Count
    seconds: float
    note: str = ""


def outcome(suite: suites.Suite) -> tuple[Count, str]:
    """Prepare and run one suite; one that fails without a failed test counts as one."""
    if reason := suite.absent():
        return Count(), reason
    try:
        suite.prepare()
    except NotReadyError as error:
        return Count(failed=1), str(error)
    total, notes = Count(), []
    for number, step in enumerate(suite.steps()):
        print(f"+ {' '.join(step.command)}", flush=True)
        log = ROOT / "target" / "test-logs" / f"{suite.name}-{number}.log"
        env = cargo_environment() | step.env
        status, text = follow(step.command, env, log, step.limit)
        count = step.count(text) if step.count else Count(int(status == 0), int(status != 0))
        if status != 0 and count.failed == 0:
            count.failed = 1
            notes.append(f"exit status {status} of: {' '.join(step.command)}")
        elif count == Count():
            count.failed = 1
            notes.append(f"no test ran: {' '.join(step.command)}")
        total += count
    return total, "; ".join(notes)


def main() -> int:
    """Run the suites of the group named, print the table and the sum."""
    os.chdir(ROOT)
    results = []
    for suite in suites.group(sys.argv[1]):
        print(f"\n== {suite.name}: {suite.about}", flush=True)
        start = time.monotonic()
        count, note = outcome(suite)
        results.append(Result(suite.name, count, time.monotonic() - start, note))
        if note:
            print(f"{suite.name}: {note}", flush=True)
    print(f"\n{'suite':<12}{'passed':>8}{'failed':>8}{'seconds':>9}")
    for result in results:
        count = result.count
        row = f"{result.name:<12}{count.passed:>8}{count.failed:>8}{result.seconds:>9.1f}"
        print(f"{row}  {result.note}".rstrip())
    total = sum((result.count for result in results), Count())
    print(f"\n{total.passed} passed, {total.failed} failed", flush=True)
    return int(total.failed > 0 or total.passed == 0)


if __name__ == "__main__":
    sys.exit(main())
