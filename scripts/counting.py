"""Runs one suite's command and counts its tests, from what the command prints."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path


@dataclass
class Count:
    """How many tests passed and failed."""

    passed: int = 0
    failed: int = 0

    def __add__(self, other: Count) -> Count:
        """Both counts in one."""
        return Count(self.passed + other.passed, self.failed + other.failed)


def of_cargo(text: str) -> Count:
    """Count cargo test's results, of which each test program has one.

    >>> of_cargo("test result: FAILED. 5 passed; 2 failed; 1 ignored; 0 measured; 0 filtered out")
    Count(passed=5, failed=2)
    """
    lines = re.findall(r"^test result: \S+ (\d+) passed; (\d+) failed;", text, re.MULTILINE)
    return sum((Count(int(passed), int(failed)) for passed, failed in lines), Count())


def of_nextest(text: str) -> Count:
    """Count nextest's summary; a test that ran out of time or could not start has failed.

    >>> of_nextest("     Summary [ 1.2s] 9 tests run: 6 passed (1 slow), 2 failed, 1 timed out")
    Count(passed=6, failed=3)
    """
    lines = re.findall(r"^\s+Summary \[.*?\] .*?run: (.*)$", text, re.MULTILINE)
    if not lines:
        return Count()
    passed = re.findall(r"(\d+) passed", lines[-1])
    failed = re.findall(r"(\d+) (?:failed|timed out|exec failed)", lines[-1])
    return Count(sum(map(int, passed)), sum(map(int, failed)))


def of_unittest(text: str) -> Count:
    r"""Count unittest's closing lines.

    >>> of_unittest("Ran 5 tests in 0.1s\n\nFAILED (failures=1, errors=1)")
    Count(passed=3, failed=2)
    """
    ran = sum(map(int, re.findall(r"^Ran (\d+) tests?", text, re.MULTILINE)))
    failed = sum(map(int, re.findall(r"\b(?:failures|errors)=(\d+)", text)))
    return Count(ran - failed, failed)


def of_junit(path: Path) -> Count:
    """Count the results that pytest wrote; none if it didn't live to write them."""
    if not path.exists():
        return Count()
    count = Count()
    for suite in ET.parse(path).getroot().iter("testsuite"):
        tests, failures, errors, skipped = (
            int(suite.get(name, 0)) for name in ("tests", "failures", "errors", "skipped")
        )
        failed = failures + errors
        count += Count(max(tests - failed - skipped, 0), failed)
    return count


def follow(command: list[str], env: dict[str, str], log: Path, limit: float) -> tuple[int, str]:
    """Run the command, show and keep its output, and end it when its time is over.

    The output goes through a file: a pipe would stay open for as long as a process that outlives
    the command holds it.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    end = time.monotonic() + limit
    with log.open("wb") as sink, log.open("rb") as source:
        process = subprocess.Popen(
            command,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        # Where memory runs out, the tests are to end, and not the one who counts them.
        with contextlib.suppress(OSError):
            Path(f"/proc/{process.pid}/oom_score_adj").write_text("500")
        try:
            status = None
            while status is None:
                status = process.poll()
                sys.stdout.write(source.read().decode(errors="replace"))
                sys.stdout.flush()
                if status is None and time.monotonic() > end:
                    print(f"\nstill running after {limit:.0f} s: ended", flush=True)
                    status = 124
                time.sleep(0.1)
        finally:
            # Also when this program is interrupted: the command has a session of its own.
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    return status, log.read_text(errors="replace")
