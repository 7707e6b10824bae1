#!/usr/bin/env bash
# Installs the package as a user would, from its wheel, and runs the demonstration.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
if [ ! -f pyproject.toml ]; then
    echo "the Python package isn't in this tree yet (no pyproject.toml): nothing to show" >&2
    exit 1
fi
python3 scripts/prepare.py host venv
rm -rf target/demo
.venv/bin/maturin build --release --interpreter .venv/bin/python --out target/demo
wheel=$(echo target/demo/famfs-*.whl)
.venv/bin/pip install --quiet "$wheel[demo]"
# The same version may be installed already, built from other sources.
.venv/bin/pip install --quiet --force-reinstall --no-deps "$wheel"
exec .venv/bin/famfs demo
