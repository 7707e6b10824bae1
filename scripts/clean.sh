#!/usr/bin/env bash
# Removes what the other targets made; what is tracked or was put here by hand stays.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
cargo clean
rm -rf target .venv .venv-torch .venv-engines .venv-docs .venv-package dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
rm -rf rust/famfs-core/fuzz/{target,corpus,artifacts}
find python scripts tests -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true
rm -f python/famfs/_native*.so
