"""Rivals that are services: started for a benchmark, and ended with it, whatever happens.

Each is a child that ends by itself when its input does, so also when this process is killed.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from sides import HERE, Process

# Its own environment, which scripts/prepare.py makes.
VINEYARD = HERE.parent.parent / "target" / "bench" / "vineyard" / "bin" / "python"

# What each keeps objects in; with our volumes and the data itself they fit 24 GiB.
MEMORY = {"ray": 3 << 30, "vineyard": "3G"}


def absent(name):
    """Why a service can't be had here, if it can't."""
    if name == "ray":
        return "" if importlib.util.find_spec("ray") else "no package of it for this platform"
    found = VINEYARD.exists() and subprocess.run(
        [VINEYARD, "-c", "import vineyard"], check=False, capture_output=True
    )
    return "" if found and found.returncode == 0 else "no package of it for this platform"


class Ray:
    """A cluster that answers questions."""

    def __init__(self, child):
        self._child = child

    def ask(self, name, *arguments):
        self._child.stdin.write(json.dumps([name, arguments]) + "\n")
        self._child.stdin.flush()
        answer = self._child.stdout.readline()
        assert answer, f"Ray's side ended at {name}: see its output above"
        return json.loads(answer)


@contextlib.contextmanager
def child(command, errors):
    """A child whose input is closed at the end, which it takes as its end."""
    with subprocess.Popen(
        [str(part) for part in command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=errors,
        text=True,
        # Control-C is for the benchmark, which then ends its services in order.
        start_new_session=True,
    ) as running:
        try:
            yield running
        finally:
            running.stdin.close()
            try:
                running.wait(60)
            except subprocess.TimeoutExpired:
                running.kill()


@contextlib.contextmanager
def ray(memory):
    """Two nodes of Ray, with so much memory for objects on the first."""
    # The folder's name is short: sockets lie deep in it.
    temporary = tempfile.TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True)
    with temporary as folder, contextlib.ExitStack() as stack:
        arguments = json.dumps([memory, folder])
        command = [sys.executable, HERE / "side.py", "rivals/ray_store", "serve", arguments]
        errors = stack.enter_context(Path(folder, "errors").open("w"))
        running = stack.enter_context(child(command, errors))
        if running.stdout.readline().strip() != '"ready"':
            raise AssertionError(Path(folder, "errors").read_text()[-2000:])
        yield Ray(running)


@contextlib.contextmanager
def vineyard(memory):
    """A Vineyard daemon: the socket, and the process that asks through it."""
    side = Process("rivals/vineyard_store", VINEYARD)
    with tempfile.TemporaryDirectory(prefix="vy", ignore_cleanup_errors=True) as folder:
        arguments = json.dumps([folder, memory])
        command = [VINEYARD, HERE / "side.py", side.module, "serve", arguments]
        with child(command, None) as running:
            socket = running.stdout.readline().strip()
            yield lambda function, *more: side.ask(function, socket, *more)


@contextlib.contextmanager
def flight(what, size):
    """A Flight server: the process that fetches from it."""
    side = Process("rivals/flight")
    command = [sys.executable, HERE / "side.py", side.module, "serve", json.dumps([what, size])]
    with child(command, None) as running:
        where = running.stdout.readline().strip()
        yield lambda: side.ask("fetch", where)
