"""What the tests of the package share."""

from __future__ import annotations

import sys
from pathlib import Path

# pytest collects files, not a package: what they share is found by its place.
sys.path.insert(0, str(Path(__file__).parent))

from volumes import inside, large, mnt, run

__all__ = ["inside", "large", "mnt", "run"]
