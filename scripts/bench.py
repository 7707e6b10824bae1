"""Runs every benchmark - of the crates, the package, the kernel module - and judges their figures.

A benchmark prints what it found in lines of the form

    goal | NAME | FIGURE | <= BOUND | DETAIL

(or ``>=``), and what the sides of a comparison took in lines of the form

    side | MEASURE | SIDE | MEDIAN | UNIT | LEAST .. MOST

All are run, whatever fails; a table of them ends the output, and the exit status says whether a
benchmark failed or missed a goal. Names given on the command line choose benchmarks: those whose
name, such as ``famfs/volume``, ``python``, ``instructions`` or ``vm``, contains one of them. ``vm``
counts what page faults take in guests. A run of all also writes its tables and its plot to docs/.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

import prepare
import suites
from prepare import BIN, ROOT, NotReadyError, cargo_environment

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FIGURES = ROOT / "target" / "bench" / "figures.json"
REPORT = ("scripts/bench_report.py", str(FIGURES), "docs")


@dataclass(frozen=True)
class Figure:
    """What was measured, and its goal."""

    name: str
    found: float
    bound: str
    detail: str

    @property
    def met(self) -> bool:
        """Whether the goal is met."""
        relation, bound = self.bound.split()
        return self.found <= float(bound) if relation == "<=" else self.found >= float(bound)


@dataclass(frozen=True)
class Side:
    """What one side of a comparison took; words where it could not be measured."""

    measure: str
    name: str
    median: str
    unit: str
    spread: str


def side(line: str) -> Side | None:
    """Read what a side took, if the line tells it.

    >>> side("side | open | famfs | 0.46 | ms | 0.4 .. 0.6").spread
    '0.4 .. 0.6'
    """
    parts = [part.strip() for part in line.split("|")]
    if len(parts) != 6 or not parts[0].endswith("side"):  # noqa: PLR2004 - as the form has
        return None
    return Side(*parts[1:])


@dataclass
class Found:
    """All that a run has found so far."""

    figures: list[Figure] = field(default_factory=list)
    sides: list[Side] = field(default_factory=list)

    def keep(self, line: str) -> bool:
        """Keep what the line tells; whether it is one to show as it comes."""
        if found := figure(line):
            self.figures.append(found)
        elif took := side(line):
            self.sides.append(took)
        return not found

    def write(self, to: Path) -> None:
        """Write all of it where the report can read it."""
        to.parent.mkdir(parents=True, exist_ok=True)
        figures = [asdict(each) | {"met": each.met} for each in self.figures]
        sides = [asdict(each) for each in self.sides]
        to.write_text(json.dumps({"figures": figures, "sides": sides}, indent=1) + "\n")


def figure(line: str) -> Figure | None:
    """Read the figure that a line tells, if it is one."""
    parts = [part.strip() for part in line.split("|")]
    if len(parts) != 5 or not parts[0].endswith("goal"):  # noqa: PLR2004 - as the form has
        return None
    return Figure(parts[1], float(parts[2]), parts[3], parts[4])


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


def run(command: list[str], found: Found) -> int:
    """Run one set of benchmarks, show what it prints, and keep its figures."""
    print(f"+ {' '.join(command)}", flush=True)
    with subprocess.Popen(
        command, cwd=ROOT, env=cargo_environment(), stdout=subprocess.PIPE, text=True
    ) as running:
        for line in running.stdout or ():
            if found.keep(line):
                print(line, end="", flush=True)
    return running.returncode


def guests(found: Found) -> int:
    """Count what page faults of the kernel module take, where it can be built."""
    if why := suites.no_module():
        print(f"vm: {why}")
        return 0
    # The package isn't needed, and stays as it was built for its own benchmarks.
    prepare.venv()
    prepare.apt(suites.KMOD_TOOLS | suites.LAB_TOOLS)
    prepare.apt_lists()
    return run([str(BIN / "python"), "tests/vm/bench_faults.py"], found)


def table(figures: list[Figure]) -> str:
    """Show figures beside their goals."""
    width = max((len(each.name) for each in figures), default=0)
    lines = [f"{'what':<{width}}  {'found':>9}  {'goal':<9} detail"]
    for each in figures:
        mark = "" if each.met else "MISSED  "
        lines.append(
            f"{each.name:<{width}}  {each.found:>9.3f}  {each.bound:<9} {mark}{each.detail}"
        )
    return "\n".join(lines)


def python(found: Found) -> int:
    """Measure the package and the command, as they are released, beside the alternatives."""
    prepare.package(release=True)
    prepare.rivals()
    built = run(["cargo", "build", "--release", "--package=famfs-cli"], found)
    return built or run([str(BIN / "python"), "-m", "pytest", "-q", "-s", "tests/bench"], found)


def main() -> int:
    """Run those that were chosen, then name those that failed."""
    failed: list[str] = []
    found = Found()
    chosen = sys.argv[1:]

    def wanted(name: str) -> bool:
        return not chosen or any(part in name for part in chosen)

    parts: dict[str, Callable[[], int]] = {
        "python": lambda: python(found),
        "instructions": lambda: run([sys.executable, "scripts/instructions.py"], found),
        "vm": lambda: guests(found),
    }
    try:
        prepare.host()
        for package, bench in targets():
            name = f"{package}/{bench}"
            command = ["cargo", "bench", f"--package={package}", f"--bench={bench}"]
            if wanted(name) and run(command, found) != 0:
                failed.append(name)
        failed += [name for name, part in parts.items() if wanted(name) and part() != 0]
        # What all of them found is not lost to who looks at one again.
        found.write(FIGURES.with_name("chosen.json") if chosen else FIGURES)
        if not chosen and run([str(BIN / "python"), *REPORT], found) != 0:
            failed.append("the report")
    except NotReadyError as error:
        failed.append(str(error))
    print(f"\n{table(found.figures)}\n")
    missed = [each for each in found.figures if not each.met]
    failed += [f"{each.name} ({each.found:.3f}, {each.bound})" for each in missed]
    if failed:
        print(f"failed, or missed a goal: {'; '.join(failed)}", file=sys.stderr)
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
