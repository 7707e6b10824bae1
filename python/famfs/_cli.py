"""The command `famfs`."""

from __future__ import annotations

import sys


def main() -> int:
    """Runs the command line.

    Returns:
        The exit code.
    """
    if sys.argv[1:2] == ["demo"]:
        from famfs import demo

        return demo.main(sys.argv[2:])
    from famfs import _native

    run = getattr(_native, "run_cli", None)
    if run is None:
        sys.stderr.write("famfs: this build has no command line but `famfs demo`\n")
        return 2
    code: int = run(sys.argv)
    return code
