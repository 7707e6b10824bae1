"""Examples of pages: run as they stand there, in a process of their own."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

HOW_TO = Path(__file__).parents[2] / "docs" / "how-to"
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SAID = re.compile(r"^ *print\(.*\)  # (.*)$", re.MULTILINE)


def check_examples(name, mnt, tmp_path, python=sys.executable):
    """Runs a page's Python, with a volume at /mnt/famfs, and looks at what each line prints."""
    code = "\n".join(BLOCK.findall((HOW_TO / f"{name}.md").read_text()))
    assert "/mnt/famfs" in code
    # A file of its own: processes that are spawned import it.
    program = tmp_path / "example.py"
    program.write_text(code.replace("/mnt/famfs", mnt))
    done = subprocess.run(
        [python, program], capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stderr
    expected = [line.replace("/mnt/famfs", mnt) for line in SAID.findall(code)]
    assert len(expected) == code.count("print(")
    assert done.stdout.splitlines() == expected


def check_links(name):
    """Looks whether the pages are there that a page links to."""
    for link in re.findall(r"\]\(([^)#:]+)[^):]*\)", (HOW_TO / f"{name}.md").read_text()):
        assert (HOW_TO / link).exists(), link
