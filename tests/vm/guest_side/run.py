"""Runs one check on a mount: ``run.py MODULE CHECK MOUNTPOINT DEVICE``."""

from __future__ import annotations

import importlib
import sys


def main() -> None:
    """Import the module beside this one, and call the check."""
    module, check, directory, device = sys.argv[1:5]
    getattr(importlib.import_module(module), check)(directory, device)
    print("passed")


main()
