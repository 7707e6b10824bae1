"""Runs every benchmark - of the crates, the package, the kernel module - and judges their figures.

A benchmark prints what it found in lines of the form

    goal | NAME | FIGURE | <= BOUND | DETAIL

(or ``>=``). All are run, whatever fails; a table of them ends the output, and the exit status says
whether a benchmark failed or missed a goal. Names given on the command line choose benchmarks:
those whose name, such as ``famfs/volume``, ``python`` or ``vm``, contains one of them. ``vm``
counts what page faults take in guests.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass

import prepare
import suites
from prepare import BIN, ROOT, NotReadyError, cargo_environment


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


def run(command: list[str], figures: list[Figure]) -> int:
    """Run one set of benchmarks, show what it prints, and keep its figures."""
    print(f"+ {' '.join(command)}", flush=True)
    with subprocess.Popen(
        command, cwd=ROOT, env=cargo_environment(), stdout=subprocess.PIPE, text=True
    ) as running:
        for line in running.stdout or ():
            found = figure(line)
            if found:
                figures.append(found)
            else:
                print(line, end="", flush=True)
    return running.returncode


def guests(figures: list[Figure]) -> int:
    """Count what page faults of the kernel module take, where it can be built."""
    if why := suites.no_module():
        print(f"vm: {why}")
        return 0
    # The package isn't needed, and stays as it was built for its own benchmarks.
    prepare.venv()
    prepare.apt(suites.KMOD_TOOLS | suites.LAB_TOOLS)
    prepare.apt_lists()
    return run([str(BIN / "python"), "tests/vm/bench_faults.py"], figures)


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


def main() -> int:
    """Run those that were chosen, then name those that failed."""
    failed: list[str] = []
    figures: list[Figure] = []
    chosen = sys.argv[1:]

    def wanted(name: str) -> bool:
        return not chosen or any(part in name for part in chosen)

    try:
        prepare.host()
        for package, bench in targets():
            name = f"{package}/{bench}"
            command = ["cargo", "bench", f"--package={package}", f"--bench={bench}"]
            if wanted(name) and run(command, figures) != 0:
                failed.append(name)
        if wanted("python"):
            prepare.package(release=True)
            options = ["-m", "pytest", "-q", "-s", "--benchmark-only", "tests/bench"]
            if run([str(BIN / "python"), *options], figures) != 0:
                failed.append("python")
        if wanted("vm") and guests(figures) != 0:
            failed.append("vm")
    except NotReadyError as error:
        failed.append(str(error))
    print(f"\n{table(figures)}\n")
    failed += [f"{each.name} ({each.found:.3f}, {each.bound})" for each in figures if not each.met]
    if failed:
        print(f"failed, or missed a goal: {'; '.join(failed)}", file=sys.stderr)
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
