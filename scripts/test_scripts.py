"""Tests of these scripts: what they count is what a reader of the last line relies on."""

from __future__ import annotations

import doctest
import sys
import tempfile
import unittest
from pathlib import Path

import bench
import bench_report
import counting
import docs_hooks
import fuzz
import instructions
import lint
import run_tests
import suites
from counting import Count
from prepare import NotReadyError


def load_tests(
    _loader: unittest.TestLoader, tests: unittest.TestSuite, _pattern: str | None
) -> unittest.TestSuite:
    """Run the examples of the scripts' documentation too."""
    for module in (bench, bench_report, counting, docs_hooks, fuzz, lint):
        tests.addTests(doctest.DocTestSuite(module))
    return tests


class Benchmarks(unittest.TestCase):
    """What benchmarks print is kept, judged and written."""

    def test_lines_are_kept_and_shown(self) -> None:
        """Figures are kept for the table, sides are also shown; other lines are only shown."""
        found = bench.Found()
        self.assertFalse(found.keep(".goal | open | 0.5 | <= 0.25 | 1 us"))
        self.assertTrue(found.keep("side | open | famfs | 1 | ms | 1 .. 2"))
        self.assertTrue(found.keep("2 passed | no | goal"))
        self.assertEqual([each.met for each in found.figures], [False])
        self.assertEqual([each.name for each in found.sides], ["famfs"])

    def test_a_side_that_is_not_measured_is_named(self) -> None:
        """It is in the table, with the reason; and what was missed is told."""
        side = {"measure": "open", "name": "famfs", "median": "2", "unit": "ms", "spread": "1 .. 3"}
        absent = side | {"name": "ray", "median": "-", "unit": "not measured", "spread": "no such"}
        slow = side | {"name": "mmap", "median": "500"}
        goal = {"name": "P4", "found": 2.0, "bound": "<= 1", "detail": "why", "met": False}
        told = bench_report.tables({"figures": [goal], "sides": [side, absent, slow]})
        self.assertIn("| open | ray | not measured | no such | |", told)
        self.assertIn("| open | mmap | 500 ms | 1 .. 3 | 250 |", told)
        self.assertIn("| P4 | 2 | <= 1 | **missed** why |", told)

    def test_prose_stays_around_what_is_written(self) -> None:
        """Without the markers nothing is written."""
        page = f"before\n{bench_report.BEGIN}\nold\n{bench_report.END}\nafter\n"
        written = bench_report.between(page, "new")
        self.assertEqual(bench_report.between(written, "new"), written)
        self.assertTrue(written.startswith("before\n"))
        self.assertTrue(written.endswith("\nafter\n"))
        self.assertNotIn("old", written)
        with self.assertRaisesRegex(SystemExit, "markers"):
            bench_report.between("no markers", "new")

    def test_instructions_are_compared_both_ways(self) -> None:
        """Within the tolerance is right; above, below, new and gone are told."""
        kept = {"open": 1000, "append": 1000, "lookup": 1000, "gone": 1}
        found = {"open": 1050, "append": 1051, "lookup": 949, "new": 5}
        wrong = " ".join(sorted(instructions.compare(found, kept)))
        self.assertRegex(wrong, "append: 1,051.*gone: .*lookup: 949.*new: 5")
        self.assertNotIn("open", wrong)
        self.assertEqual(instructions.compare(kept, kept), [])


class Counting(unittest.TestCase):
    """Counts from what commands print."""

    def test_cargo_sums_all_test_programs(self) -> None:
        """Each test program has a result line of its own."""
        line = "test result: ok. {} passed; {} failed; 0 ignored; 0 measured; 0 filtered out\n"
        self.assertEqual(counting.of_cargo(line.format(3, 0) + line.format(4, 1)), Count(7, 1))

    def test_nextest_passed_flaky_counts_once(self) -> None:
        """A bracket after the number explains it and is not added."""
        text = "     Summary [   3.9s] 132 tests run: 132 passed (2 slow, 1 flaky), 1 skipped\n"
        self.assertEqual(counting.of_nextest(text), Count(132, 0))

    def test_nextest_that_ran_nothing_counts_nothing(self) -> None:
        """A build that fails has no summary."""
        self.assertEqual(counting.of_nextest("error: could not compile"), Count())

    def test_junit(self) -> None:
        """Errors fail, skipped tests count as neither."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "results.xml"
            self.assertEqual(counting.of_junit(path), Count())
            suite = '<testsuite tests="9" failures="1" errors="2" skipped="3"/>'
            path.write_text(f"<testsuites>{suite}</testsuites>")
            self.assertEqual(counting.of_junit(path), Count(3, 3))


class Running(unittest.TestCase):
    """What a suite's end is taken for."""

    def outcome(self, *programs: str, counted: bool = True, limit: float = 60) -> tuple[Count, str]:
        """Run small programs as the steps of a suite."""
        steps = [
            suites.Step(
                [sys.executable, "-c", program],
                counting.of_cargo if counted else None,
                limit=limit,
            )
            for program in programs
        ]
        suite = suites.Suite("test", "a test", lambda: steps, lambda: None)
        return run_tests.outcome(suite)

    def test_failure_without_a_failed_test_counts(self) -> None:
        """A suite that doesn't compile, or dies, has failed once."""
        result = "print('test result: ok. 5 passed; 0 failed;')"
        count, note = self.outcome(result, f"{result}; exit(101)")
        self.assertEqual(count, Count(10, 1))
        self.assertIn("exit status 101", note)

    def test_no_test_is_a_failure(self) -> None:
        """Nothing that ran is nothing that passed."""
        count, note = self.outcome("print('nothing')")
        self.assertEqual(count, Count(0, 1))
        self.assertIn("no test ran", note)

    def test_time_limit(self) -> None:
        """A suite that hangs is ended, and has failed."""
        count, _ = self.outcome("import time; time.sleep(60)", counted=False, limit=0.3)
        self.assertEqual(count, Count(0, 1))

    def test_a_process_left_behind_holds_nobody_up(self) -> None:
        """Also where it keeps the output open."""
        program = "import subprocess; subprocess.Popen(['sleep', '5'])"
        count, _ = self.outcome(program, counted=False, limit=3)
        self.assertEqual(count, Count(1, 0))

    def test_missing_tools_are_a_failure(self) -> None:
        """A suite that can't be prepared says why."""

        def prepare() -> None:
            raise NotReadyError("no such target")

        suite = suites.Suite("test", "a test", list, prepare)
        self.assertEqual(run_tests.outcome(suite), (Count(0, 1), "no such target"))


class Rules(unittest.TestCase):
    """The linter's own judgement."""

    def test_places(self) -> None:
        """Homes and package sources are found, ordinary paths and links are not."""
        found = [
            any(pattern.search(line) for pattern in lint.OWN_PLACES)
            for line in (
                "see /home/me/x",
                "crates.io",
                "/dev/dax0.0",
                "https://docs.rs/x",
                "a/homes/b",
            )
        ]
        self.assertEqual(found, [True, True, False, False, False])


if __name__ == "__main__":
    unittest.main()
