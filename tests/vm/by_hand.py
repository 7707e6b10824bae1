"""Virtual machines on one memory, to try things in by hand.

    .venv/bin/python tests/vm/by_hand.py 6.12-pmem 7-fsdev

starts a host for each argument, a kernel and the way it has the memory (pmem, fsdev, range or
devdax), with the module loaded and famfs installed. A line is the name of a host and a command for
its shell; the end of the input ends them, and nothing is left.
"""

from __future__ import annotations

import string
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from lab.guest import SharedMemory

from conftest import MNT, Lab, Way


def main() -> int:
    """Start the hosts, and run what is asked for."""
    ways = [Way(*argument.rsplit("-", 1)) for argument in sys.argv[1:] or ["6.12-pmem"]]
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        lab, memory = Lab(Path(folder)), SharedMemory()
        stack.callback(memory.close)
        guests = {}
        for name, (number, way) in zip(string.ascii_lowercase, enumerate(ways, 1), strict=False):
            print(f"starting {name}: Linux {way.series}, the memory by {way.device}", flush=True)
            guests[name] = stack.enter_context(lab.start(way, memory, number))
        print(f"ready; for instance: a famfs --version; {MNT} is a directory to mount on")
        while True:
            try:
                name, _, command = input("> ").strip().partition(" ")
            except (EOFError, KeyboardInterrupt):
                print()
                return 0
            if name in guests and command:
                status, output = guests[name].attempt(command)
                print(output, end="" if output.endswith("\n") or not output else "\n")
                if status:
                    print(f"(exit status {status})")
            elif name:
                print(f"a line is a host ({', '.join(guests)}) and a command")


if __name__ == "__main__":
    sys.exit(main())
