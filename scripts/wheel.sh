#!/usr/bin/env bash
# Builds the Python package into dist/, where the newest wheel is then the only one.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
if [ ! -f pyproject.toml ]; then
    echo "the Python package isn't in this tree yet (no pyproject.toml): nothing to build" >&2
    exit 1
fi
python3 scripts/prepare.py host venv
rm -f dist/famfs-*.whl
.venv/bin/maturin build --release --interpreter .venv/bin/python --out dist
