"""`python -m famfs` is the command `famfs`."""

from __future__ import annotations

import sys

from famfs._cli import main

sys.exit(main())
