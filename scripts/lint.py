"""The rules of this tree, each a check by its name: ``lint.py ascii length``; without one, all."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from prepare import BIN, ROOT, cargo_environment

if TYPE_CHECKING:
    from collections.abc import Callable

# Whatever is compiled or run: look-alike letters hide in these.
ASCII = {".rs", ".py", ".pyi", ".c", ".h", ".toml", ".sh", ".mk"}
CODE = {".rs", ".py", ".c", ".h"}
MAX_LINES = 600

# Where unsafe code is allowed: whole crates whose business it is, and single files elsewhere.
UNSAFE_CRATES = {"famfs-mem", "famfs-sys", "famfs-py"}
UNSAFE_FILES = {"rust/famfs/src/view.rs", "rust/famfs-data/src/unchecked.rs"}
# These can't even allow it locally; the others that aren't named above deny it.
FORBID = {"famfs-core", "famfs-fuse", "famfs-cli"}
UNSAFE = re.compile(r"\bunsafe\s*(\{|\(|fn\b|impl\b|extern\b|trait\b)")

# Whatever a machine has of its own has no place here: sources of packages, absolute homes.
OWN_PLACES = (
    re.compile(r"\b(?:index|pypi|crates|npmjs|pythonhosted|static\.rust-lang)\.(?:io|org|com)\b"),
    re.compile(r"\bdebian\.org/debian|\b(?:deb|snapshot)\.debian\."),
    re.compile(r"(?:extra-)?index-url|find-links|replace-with", re.IGNORECASE),
    re.compile(r"(?<![\w.$}/-])/(?:root|home|work|Users)/\w"),
)
# Cargo names where each package comes from in its lock files; this is the list of such words.
OWN_PLACES_EXEMPT = {"Cargo.lock", "lint.py", "test_scripts.py"}


def tracked(suffixes: set[str] | None = None) -> list[Path]:
    """The files that are or would be in the repository, but for the reference's own data."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT)
    paths = [Path(name) for name in listed.stdout.split("\0") if name]
    golden = Path("tests/golden")
    return [
        path
        for path in paths
        if (suffixes is None or path.suffix in suffixes)
        and golden not in path.parents
        and (ROOT / path).is_file()
    ]


def text(path: Path) -> str:
    """The text of a file of this tree."""
    return (ROOT / path).read_text(errors="replace")


def ascii_only() -> list[str]:
    """Sources hold ASCII alone."""
    files = [path for path in tracked() if path.suffix in ASCII or path.name == "Makefile"]
    return [
        f"{path}:{number}: not ASCII: {line.strip()[:60]!a}"
        for path in files
        for number, line in enumerate(text(path).splitlines(), 1)
        if not line.isascii()
    ]


def code_lines(source: str) -> int:
    r"""Count the lines before a Rust file's own tests, which stand at its end.

    >>> code_lines("fn a() {}\n#[cfg(test)]\nmod tests {\n}\n")
    1
    """
    return len(
        re.split(r"^#\[cfg\(test\)\]\nmod \w+ \{", source, flags=re.MULTILINE)[0].splitlines()
    )


def length() -> list[str]:
    """No source file is longer than one can read at a time."""
    sizes = {path: code_lines(text(path)) for path in tracked(CODE)}
    return [
        f"{path}: {lines} lines, {MAX_LINES} at most: split it"
        for path, lines in sizes.items()
        if lines > MAX_LINES
    ]


def unsafe_lines(source: str) -> list[int]:
    r"""Find the lines that begin something unsafe; comments may speak of it.

    >>> unsafe_lines("// unsafe { }\nlet x = unsafe { f() };\n#![forbid(unsafe_code)]")
    [2]
    """
    lines = enumerate(source.splitlines(), 1)
    return [number for number, line in lines if UNSAFE.search(line.split("//")[0])]


def unsafe() -> list[str]:
    """Unsafe code stays where it is allowed, and the compiler is told so."""
    findings = []
    for path in tracked({".rs"}):
        crate = path.parts[1]
        # Tests fork and change the environment; what they do so isn't part of any crate.
        test = path.parts[2] in {"tests", "benches", "examples"}
        own = crate not in FORBID and test
        if crate in UNSAFE_CRATES or path.as_posix() in UNSAFE_FILES or own:
            continue
        findings += [f"{path}:{line}: unsafe" for line in unsafe_lines(text(path))]
    roots = [
        path
        for path in tracked({".rs"})
        if re.fullmatch(r"rust/[^/]+/src/(lib|main)\.rs", path.as_posix())
    ]
    for path in roots:
        crate = path.parts[1]
        if crate in UNSAFE_CRATES:
            continue
        words = ("forbid",) if crate in FORBID else ("forbid", "deny")
        if not any(f"#![{word}(unsafe_code)]" in text(path) for word in words):
            findings.append(f"{path}: lacks #![{words[-1]}(unsafe_code)]")
    return findings


def places() -> list[str]:
    """Nothing names a machine's own sources of packages, or somebody's home."""
    files = [path for path in tracked() if path.name not in OWN_PLACES_EXEMPT]
    return [
        f"{path}:{number}: {found.group()}"
        for path in files
        if "\0" not in (content := text(path))  # data, not words
        for number, line in enumerate(content.splitlines(), 1)
        for pattern in OWN_PLACES
        if (found := pattern.search(line))
    ]


def duplicates() -> list[str]:
    """One arrow, one pyo3: types of two versions don't fit together, far from where they meet."""
    command = ["cargo", "tree", "--workspace", "--all-features", "--prefix=none", "--format={p}"]
    listed = subprocess.run(
        command, check=True, capture_output=True, text=True, cwd=ROOT, env=cargo_environment()
    )
    versions: dict[str, set[str]] = {}
    for line in listed.stdout.splitlines():
        name, _, rest = line.partition(" ")
        if re.fullmatch(r"(arrow|pyo3|numpy).*", name):
            versions.setdefault(name, set()).add(rest.split()[0])
    return [
        f"{name} in {len(found)} versions: {', '.join(sorted(found))}"
        for name, found in versions.items()
        if len(found) > 1
    ]


FUZZ = {f"format-fuzz-{crate}": f"rust/famfs-{crate}/fuzz/Cargo.toml" for crate in ("core", "data")}
CHECKS: dict[str, list[str] | Callable[[], list[str]]] = {
    "lock": ["cargo", "metadata", "--locked", "--format-version=1", "--quiet"],
    "format": ["cargo", "fmt", "--all", "--check"],
    **{name: ["cargo", "fmt", "--check", f"--manifest-path={path}"] for name, path in FUZZ.items()},
    "clippy": [
        *("cargo", "clippy", "--workspace", "--all-targets", "--all-features"),
        *("--", "-D", "warnings"),
    ],
    "rustdoc": ["cargo", "doc", "--workspace", "--lib", "--no-deps", "--all-features"],
    "duplicates": duplicates,
    "ascii": ascii_only,
    "length": length,
    "unsafe": unsafe,
    "places": places,
    "ruff-scripts": [str(BIN / "ruff"), "check", "scripts"],
    "mypy-scripts": [str(BIN / "mypy"), "--strict", "scripts"],
}
if (ROOT / "python").is_dir():
    CHECKS |= {
        "ruff": [str(BIN / "ruff"), "check", "python", "tests", "notebooks"],
        "ruff-format": [str(BIN / "ruff"), "format", "--check", "python", "tests", "notebooks"],
        "mypy": [str(BIN / "mypy"), "python"],
    }


def holds(name: str) -> bool:
    """Whether the tree keeps the rule; what doesn't is printed."""
    check = CHECKS[name]
    if isinstance(check, list):
        env = cargo_environment() | {"RUSTDOCFLAGS": "-D warnings"}
        quiet = subprocess.DEVNULL if name == "lock" else None
        return subprocess.run(check, check=False, cwd=ROOT, env=env, stdout=quiet).returncode == 0
    findings = check()
    print("\n".join(findings), end="\n" if findings else "")
    return not findings


def main() -> int:
    """Check the rules named, or all."""
    broken = [name for name in sys.argv[1:] or CHECKS if not holds(name)]
    if broken:
        print(f"not kept: {', '.join(broken)}")
    return int(bool(broken))


if __name__ == "__main__":
    sys.exit(main())
