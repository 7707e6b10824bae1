"""The command `famfs`."""

from __future__ import annotations

import signal
import sys


def main() -> int:
    """Runs the command line.

    Returns:
        The exit code.
    """
    if sys.argv[1:2] == ["demo"]:
        from famfs import demo

        return demo.program(sys.argv[2:])
    from famfs import _native

    # The command runs natively: Ctrl-C ends it at once, not when it is done.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    return _native.run_cli(sys.argv)
