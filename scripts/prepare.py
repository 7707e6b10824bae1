"""Puts on this machine what a build or a test needs, and only what is missing.

As a program, it prepares the parts named: ``prepare.py host venv``.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
BIN = VENV / "bin"
TORCH = ROOT / ".venv-torch"
ENGINES = ROOT / ".venv-engines"
DOCS = ROOT / ".venv-docs"
PACKAGE = ROOT / ".venv-package"
PANDAS_2 = VENV / "pandas-2"
PYPROJECT = ROOT / "pyproject.toml"
OLD_PANDAS = ("pandas>=2.2,<3", "pytz")
TOOLS = ("maturin>=1.12,<2", "mypy>=2.4,<3", "ruff>=0.17,<0.18")

# The alternatives that benchmarks measure beside us: of the package's own environment, by its extra
# `bench`, and one whose requirements would not go with it.
VINEYARD = ROOT / "target" / "bench" / "vineyard"
VINEYARD_NEEDS = "vineyard==0.24.*"

# What tells that a Debian package is there: a program on the path, or a file.
HOST = {
    "gcc": "gcc",
    "libc6-dev": "/usr/include/stdlib.h",
    "git": "git",
}
FUZZ = {"g++": "g++"}
JAVA = {"openjdk-17-jre-headless": "java"}


class NotReadyError(Exception):
    """Something is missing that can't be put there; the message is for the user."""


def run(*command: str | Path) -> None:
    """Run a command of the set-up; its output is shown, its failure is the user's to mend."""
    line = " ".join(map(str, command))
    print(f"+ {line}", flush=True)
    try:
        subprocess.run(list(map(str, command)), check=True, cwd=ROOT, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.CalledProcessError) as error:
        raise NotReadyError(f"`{line}` failed: {error}") from error


def there(sign: str) -> bool:
    """Whether the program or the file is there."""
    return Path(sign).exists() if sign.startswith("/") else shutil.which(sign) is not None


def apt(packages: dict[str, str]) -> None:
    """Install those Debian packages whose signs are missing."""
    missing = [name for name, sign in packages.items() if not there(sign)]
    if not missing:
        return
    install = ("apt-get", "install", "-y", "--no-install-recommends", *missing)
    if os.geteuid() != 0 or not there("apt-get"):
        raise NotReadyError(f"missing on this machine; as root: {' '.join(install)}")
    os.environ["DEBIAN_FRONTEND"] = "noninteractive"
    try:
        run(*install)
    except NotReadyError:
        # A new machine has no package lists yet, an old one has lists of packages that are gone.
        run("apt-get", "update")
        run(*install)


def apt_lists() -> None:
    """Fetch apt's lists of packages where a new machine has none."""
    asked = subprocess.run(
        ("apt-get", "indextargets", "--format", "$(FILENAME)", "Created-By: Packages"),
        check=False,
        capture_output=True,
        text=True,
    )
    if not any(Path(name).exists() for name in asked.stdout.split()):
        run("apt-get", "update")


def rust_target(name: str) -> None:
    """Add the Rust target, unless the toolchain has it."""
    query = ("rustc", "--print", "target-libdir", "--target", name)
    found = subprocess.run(query, check=False, capture_output=True, text=True)
    if found.returncode == 0 and Path(found.stdout.strip()).is_dir():
        return
    if not there("rustup"):
        raise NotReadyError(f"the Rust target {name} is missing, and so is rustup to add it")
    run("rustup", "target", "add", name)


def host() -> None:
    """Compilers and Rust's own tools."""
    apt(HOST)
    if not there("cargo"):
        raise NotReadyError("cargo is missing: install Rust 1.95 or later")
    for tool, component in (("cargo-fmt", "rustfmt"), ("cargo-clippy", "clippy")):
        if not there(tool):
            run("rustup", "component", "add", component)


def venv() -> None:
    """Make the virtual environment in the tree, with the tools; the package isn't in it yet."""
    if not (BIN / "pip").exists():
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        try:
            import ensurepip  # noqa: F401, PLC0415
        except ImportError:
            apt({f"python{version}-venv": "/no/such/file"})
        run(sys.executable, "-m", "venv", "--clear", VENV)
    once(VENV / "tools", TOOLS)


def once(stamp: Path, packages: tuple[str, ...], *options: str | Path) -> None:
    """Install packages, and write them down, so that the next time asks no one."""
    wanted = "\n".join(packages)
    if not stamp.exists() or stamp.read_text() != wanted:
        run(BIN / "pip", "install", "--quiet", *options, *packages)
        stamp.write_text(wanted)


def pandas_2() -> None:
    """Put the pandas before the present one beside the environment, for who goes there first."""
    package()
    # What else it needs is in the environment.
    once(VENV / "old", OLD_PANDAS, "--no-deps", "--upgrade", "--target", PANDAS_2)


def has_package() -> bool:
    """Whether the Python package is in this tree."""
    return PYPROJECT.exists()


def package(*, release: bool = False) -> None:
    """Build the Python package into the virtual environment, with what its tests need."""
    venv()
    project = tomllib.loads(PYPROJECT.read_text())["project"]
    extras = [name for name in ("test",) if name in project.get("optional-dependencies", {})]
    options = [*(f"--extras={name}" for name in extras), *(["--release"] if release else [])]
    os.environ["VIRTUAL_ENV"] = str(VENV)
    run(BIN / "maturin", "develop", *options)


def over_package(place: Path, *extras: str) -> None:
    """Make an environment over that of the package, with some of its extras too.

    The package and what else its tests need are where they are; what the extras add is here alone.
    """
    package()
    python = environment(place)
    ask = "import sysconfig; print(sysconfig.get_path('purelib'))"
    places = [output(BIN / "python", "-c", ask), output(python, "-c", ask)]
    (Path(places[1]) / "famfs.pth").write_text(f"{ROOT / 'python'}\n{places[0]}\n")
    install(place, *extras)


def environment(place: Path) -> Path:
    """Make a virtual environment where there is none yet, and say which Python it has."""
    python = place / "bin" / "python"
    if not python.exists():
        run(sys.executable, "-m", "venv", "--clear", place)
    return python


def install(place: Path, *extras: str) -> None:
    """Install what extras ask for, without the package itself, unless that has been done."""
    python = place / "bin" / "python"
    wanted = [each for extra in extras for each in requirements(extra)]
    stamp = place / "wanted"
    if not stamp.exists() or stamp.read_text() != "\n".join(wanted):
        run(python, "-m", "pip", "install", "--quiet", *wanted)
        stamp.write_text("\n".join(wanted))


def requirements(extra: str) -> list[str]:
    """What an extra asks for, the extras that it names in their places."""
    project = tomllib.loads(PYPROJECT.read_text())["project"]
    found = []
    for each in project["optional-dependencies"][extra]:
        if each.startswith("famfs["):
            for name in each.removeprefix("famfs[").rstrip("]").split(","):
                found += requirements(name.strip())
        else:
            found.append(each)
    return found


def torch() -> None:
    """Make an environment with PyTorch in it, some gigabytes."""
    over_package(TORCH, "torch")


def engines() -> None:
    """Make an environment with Ray, Spark, which needs Java, Dask and the others."""
    apt(JAVA)
    over_package(ENGINES, "engines")


def docs() -> None:
    """Make an environment that builds the documentation."""
    over_package(DOCS, "docs")


def packaging() -> None:
    """Make an environment that builds what is handed out; the package is not in it."""
    venv()
    environment(PACKAGE)
    install(PACKAGE, "packaging")


def output(*command: str | Path) -> str:
    """What a command prints."""
    done = subprocess.run(list(map(str, command)), check=True, capture_output=True, text=True)
    return done.stdout.strip()


def rivals() -> None:
    """Install what benchmarks compare with; what isn't for this platform they tell, and go on."""
    project = tomllib.loads(PYPROJECT.read_text())["project"]
    wanted = [(BIN / "python", each) for each in project["optional-dependencies"]["bench"]]
    if not (VINEYARD / "bin" / "pip").exists():
        run(sys.executable, "-m", "venv", "--clear", VINEYARD)
    wanted.append((VINEYARD / "bin" / "python", VINEYARD_NEEDS))
    for python, requirement in wanted:
        try:
            # One that Vineyard needs has no wheel, nor has Spark, and nothing to compile.
            options = ("--only-binary=:all:", "--no-binary=lazy-import,pyspark")
            run(python, "-m", "pip", "install", "--quiet", *options, requirement)
        except NotReadyError as error:
            print(f"{requirement} is left out: {error}", flush=True)


def cargo_environment() -> dict[str, str]:
    """The environment of cargo's commands: the same for all, lest they undo each other's work."""
    env = dict(os.environ)
    # make's own options say nothing to cargo, and are not the job server that it would look for.
    for name in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL"):
        env.pop(name, None)
    env["CARGO_TERM_COLOR"] = "never"
    if (BIN / "python").exists():
        env["PYO3_PYTHON"] = str(BIN / "python")
        # As maturin sets them: with others, what is built for Python is built again each time.
        target = Path(env.get("CARGO_TARGET_DIR", ROOT / "target"))
        for config in sorted(target.glob("maturin/pyo3-config-*.txt"))[:1]:
            env["PYO3_CONFIG_FILE"] = str(config)
            env["PYO3_BUILD_EXTENSION_MODULE"] = "1"
            env["PYO3_ENVIRONMENT_SIGNATURE"] = signature()
    return env


def signature() -> str:
    """What maturin says to the build of the Python that it is for."""
    return f"cpython-{sys.version_info.major}.{sys.version_info.minor}-64bit"


def main() -> int:
    """Prepare the parts named on the command line."""
    every = (host, venv, package, pandas_2, torch, engines, docs, packaging)
    parts = {part.__name__.replace("_", "-"): part for part in every}
    try:
        for name in sys.argv[1:]:
            parts[name]()
    except NotReadyError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
