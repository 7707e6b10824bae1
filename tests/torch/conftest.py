"""Volumes and processes for the tests with PyTorch: those of the package's tests."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

# Where workers find what they unpickle.
sys.path.insert(0, str(Path(__file__).parent))

_place = Path(__file__).parents[1] / "python" / "conftest.py"
_spec = importlib.util.spec_from_file_location("package_fixtures", _place)
_fixtures = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_fixtures)

mnt, run, inside = _fixtures.mnt, _fixtures.run, _fixtures.inside
