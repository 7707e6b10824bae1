"""`python -m famfs` is the command `famfs`."""

from __future__ import annotations

import sys

from famfs._cli import main

if __name__ == "__main__":
    sys.exit(main())
