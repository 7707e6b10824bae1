"""Counts the instructions of the small hot paths, and compares with those kept in the tree.

Callgrind counts them, so that they are the same on a busy machine, and nearly the same on others:
it shows all programs the same processor. They are those of a development build, which the tests
have at hand: they tell a change, not a speed. More than the tolerance in either direction is a
failure; where it is meant, ``python3 scripts/instructions.py --update`` keeps the new numbers.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import prepare
from prepare import ROOT, NotReadyError, cargo_environment

KEPT = ROOT / "tests" / "bench" / "instructions.json"
TOLERANCE = 0.05
VALGRIND = {"valgrind": "valgrind"}
ABOUT = {
    "open": "open a table, warm, to the first value",
    "refresh": "refresh with nothing new",
    "reference": "a reference as text, and back",
    "append": "append an entry: an empty file",
    "lookup": "look a path up among 2,000",
    "publish": "publish 4 KiB",
}


def absent() -> str:
    """Say why nothing can be counted here, if it can't."""
    machine = os.uname().machine
    return "" if machine == "x86_64" else f"SKIPPED: the counts kept are of x86_64, not {machine}"


def build() -> Path:
    """Build the program, and find it."""
    command = ["cargo", "build", "--package=famfs-data", "--example=instructions"]
    command += ["--message-format=json"]
    built = subprocess.run(
        command, check=False, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=cargo_environment()
    )
    if built.returncode != 0:
        raise NotReadyError(f"`{' '.join(command)}` failed")
    messages = map(json.loads, built.stdout.splitlines())
    return next(Path(each["executable"]) for each in messages if each.get("executable"))


def count(program: Path, name: str) -> int:
    """Count what one turn of a path takes."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "out")
        options = ["--tool=callgrind", "--toggle-collect=*measured*", f"--callgrind-out-file={out}"]
        command = ["valgrind", *options, str(program), name]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode != 0:
            raise NotReadyError(f"`{' '.join(command)}` failed:\n{done.stdout}{done.stderr}")
        found = re.search(r"^(?:totals|summary): (\d+)", out.read_text(), re.MULTILINE)
    turns = int(done.stdout.split()[-1])
    total = int(found[1]) if found else 0
    if not total:
        raise NotReadyError(f"callgrind saw nothing of {name}: is `measured` a function still?")
    return total // turns


def least(program: Path, name: str, kept: int | None) -> int:
    """Count until it is what was kept, at most ten times; the least of them.

    Who mounts or unmounts a volume meanwhile has the table of mounts read again: more, never less.
    """
    found = count(program, name)
    for _ in range(9):
        if kept and found <= kept * (1 + TOLERANCE):
            break
        found = min(found, count(program, name))
    return found


def compare(found: dict[str, int], kept: dict[str, int]) -> list[str]:
    """Name those that are not what was kept; all that is known is one or the other."""
    wrong = [f"{name}: kept, but not counted" for name in kept.keys() - found.keys()]
    for name, instructions in found.items():
        before = kept.get(name)
        if before is None:
            wrong.append(f"{name}: {instructions:,}, and nothing is kept")
        elif abs(instructions - before) > TOLERANCE * before:
            wrong.append(f"{name}: {instructions:,}, kept {before:,}")
    return wrong


def main() -> int:
    """Count all, show them, and compare them or keep them."""
    try:
        prepare.host()
        prepare.apt(VALGRIND)
        program = build()
        known = json.loads(KEPT.read_text()) if KEPT.exists() else {}
        kept = {} if "--update" in sys.argv[1:] else known
        found = {name: least(program, name, kept.get(name)) for name in ABOUT}
    except NotReadyError as error:
        print(error, file=sys.stderr)
        return 1
    for name, instructions in found.items():
        # In the form that scripts/bench.py reads.
        ratio = instructions / known.get(name, instructions)
        bound = f"<= {1 + TOLERANCE}"
        print(
            f"goal | instructions to {ABOUT[name]}, of those kept | {ratio:.3f} | {bound} | "
            f"{instructions:,}"
        )
    if "--update" in sys.argv[1:]:
        KEPT.write_text(json.dumps(found, indent=4) + "\n")
        return 0
    wrong = compare(found, kept)
    for line in wrong:
        print(f"instructions of {line}", file=sys.stderr)
    if wrong:
        print("where that is meant: python3 scripts/instructions.py --update", file=sys.stderr)
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
