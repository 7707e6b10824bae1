"""Builds the documentation, every warning an error: of the Rust crates, and the pages of docs/.

As a program it prepares what that takes. The pages are in target/site, the crates' in target/doc.
"""

from __future__ import annotations

import os
import subprocess
import sys

import prepare
from prepare import DOCS, ROOT, NotReadyError, cargo_environment

CRATES = ["cargo", "doc", "--workspace", "--lib", "--no-deps", "--all-features"]
# The theme advertises something of its own unless told otherwise.
QUIET = {"NO_MKDOCS_2_WARNING": "1"}


def main() -> int:
    """Build both, the second also where the first fails."""
    try:
        prepare.host()
        prepare.docs()
    except NotReadyError as error:
        print(error, file=sys.stderr)
        return 1
    site = [str(DOCS / "bin" / "python"), "-m", "mkdocs", "build", "--strict", "--quiet"]
    env = cargo_environment() | {"RUSTDOCFLAGS": "-D warnings"}
    crates = subprocess.run(CRATES, check=False, cwd=ROOT, env=env).returncode
    pages = subprocess.run(site, check=False, cwd=ROOT, env=os.environ | QUIET).returncode
    if pages == 0:
        print("target/site/index.html")
    return int(bool(crates or pages))


if __name__ == "__main__":
    sys.exit(main())
