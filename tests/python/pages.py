"""Examples of a page of documentation, run as a reader would run them."""

from __future__ import annotations

import doctest
import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
FENCE = re.compile(r"^```(\w+)(?: title=\"([^\"]*)\")?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
#: What a block does that is not run here: what runs the tests has done it, or tests/package does.
SET_UP = "set up"
#: What the block before it prints.
PRINTS = "prints"
#: Where examples have their volume; each test has its own.
MOUNTS = re.compile(r"/(?:tmp|mnt)/famfs\b")
BASH = ["bash", "-e", "-u", "-o", "pipefail"]
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE

# A Python that goes on from block to block, as a shell does, and says when one is done.
SHELL = """
import json, sys, traceback
space = sys.modules["__main__"].__dict__
said = sys.stdout
for line in sys.stdin:
    ended = ""
    try:
        exec(compile(json.loads(line), "<page>", "exec"), space)
    except Exception:
        ended = traceback.format_exc()
    said.flush()
    print("\\0" + json.dumps(ended), flush=True)
"""


@dataclass
class Block:
    """A block of code on a page, and what comes out of it by the page."""

    language: str
    title: str
    code: str
    prints: str | None = None


def blocks(page):
    """The blocks of a page in their order."""
    found = []
    for language, title, code in FENCE.findall(page.read_text()):
        if title == PRINTS:
            assert language == "text", f"{page.name}: what is printed is text"
            assert found, f"{page.name}: nothing prints this"
            found[-1].prints = code
        else:
            found.append(Block(language, title, code))
    return found


class Session:
    """A Python of its own: a terminal of the page."""

    def __init__(self, home, python):
        self.process = subprocess.Popen(
            [python, "-c", SHELL],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=home,
        )

    def run(self, code):
        """What the code prints, and its traceback; empty where it ended well."""
        self.process.stdin.write(json.dumps(code) + "\n")
        self.process.stdin.flush()
        printed = ""
        for line in self.process.stdout:
            before, mark, ended = line.partition("\0")
            printed += before
            if mark:
                return printed, json.loads(ended)
        # It left by itself, as by exit().
        code = self.process.wait(timeout=60)
        return printed, "" if code == 0 else f"ended with {code}"

    def close(self):
        self.process.stdin.close()
        self.process.wait(timeout=60)


def shell(home, code, python):
    done = subprocess.run(
        BASH,
        input=code,
        capture_output=True,
        text=True,
        cwd=home,
        timeout=100,
        check=False,
        env=os.environ | {"PATH": f"{Path(python).parent}:{os.environ['PATH']}"},
    )
    return done.stdout, "" if done.returncode == 0 else f"{done.returncode}: {done.stderr}"


def try_page(page, home, before="", after="", python=sys.executable):
    """Runs a page from its beginning to its end; a terminal is told by its block's title.

    Args:
        page: Its file.
        home: The directory to run it in, where its volume's mount point is too, as `mnt`.
        before: What makes the names that a page's fragments find, in each of its Pythons.
        after: What is true afterwards, in the Python of blocks without a title.
        python: The one to run it with; the command is where that is.
    """
    sessions = {}
    try:
        for block in blocks(page):
            if block.language == "text" or block.title == SET_UP:
                continue
            code = MOUNTS.sub(f"{home}/mnt", block.code)
            if block.language == "sh":
                printed, ended = shell(home, code, python)
            else:
                assert block.language == "python", f"{page.name}: {block.language} is not tried"
                if block.title not in sessions:
                    sessions[block.title] = Session(home, python)
                    assert not (ended := sessions[block.title].run(before)[1]), ended
                printed, ended = sessions[block.title].run(code)
            assert not ended, f"{page.name}:\n{block.code}\n{ended}"
            if block.prints is not None:
                wanted = MOUNTS.sub(f"{home}/mnt", block.prints)
                same = doctest.OutputChecker().check_output(wanted, printed, FLAGS)
                assert same, f"{page.name}:\n{block.code}\nprinted:\n{printed}\nnot:\n{wanted}"
        if after:
            assert not (ended := sessions[""].run(after)[1]), f"{page.name}:\n{ended}"
    finally:
        for session in sessions.values():
            session.close()
