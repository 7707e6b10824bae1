"""The test suites: what each needs, what it runs, and how its tests are counted."""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import counting
import instructions
import prepare
from prepare import BIN, ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

NEVER = "not in this tree yet"
MINUTES = 60.0
COMMAND = ROOT / "tests" / "cli"


@dataclass
class Step:
    """One command of a suite. Without a counter, the command itself is one test."""

    command: list[str]
    count: Callable[[str], counting.Count] | None = None
    env: dict[str, str] = field(default_factory=dict)
    limit: float = 20 * MINUTES


@dataclass
class Suite:
    """Tests that are run and counted together."""

    name: str
    about: str
    steps: Callable[[], Iterable[Step]]
    prepare: Callable[[], None] = prepare.host
    absent: Callable[[], str] = lambda: ""


@functools.cache
def crates() -> frozenset[str]:
    """The crates of the workspace; none when it can't be read, which cargo then explains."""
    command = ["cargo", "metadata", "--no-deps", "--format-version", "1"]
    found = subprocess.run(command, check=False, capture_output=True, text=True, cwd=ROOT)
    if found.returncode != 0:
        return frozenset()
    return frozenset(package["name"] for package in json.loads(found.stdout)["packages"])


def cargo_tests(*options: str, env: dict[str, str] | None = None) -> Step:
    """All tests of the crates that the options choose, by nextest where it is installed."""
    if shutil.which("cargo-nextest"):
        command = ["cargo", "nextest", "run", "--no-fail-fast", "--status-level=slow", *options]
        return Step(command, counting.of_nextest, env or {})
    # Documentation examples are a suite of their own.
    targets = ["--lib", "--bins", "--tests"]
    return Step(
        ["cargo", "test", "--no-fail-fast", *targets, *options], counting.of_cargo, env or {}
    )


def everything() -> list[str]:
    """The crates that have Rust tests: an extension module of Python's links without Python."""
    extension = ["--exclude=famfs-py"] if "famfs-py" in crates() else []
    return ["--workspace", *extension, "--all-features"]


def rust() -> list[Step]:
    """The workspace's tests."""
    return [cargo_tests(*everything())]


def doctests() -> list[Step]:
    """The examples in the documentation."""
    command = ["cargo", "test", "--doc", "--no-fail-fast", *everything()]
    return [Step(command, counting.of_cargo)]


def scripts() -> list[Step]:
    """The tests of these scripts."""
    command = [sys.executable, "-m", "unittest", "discover", "--buffer", "-s", "scripts"]
    return [Step(command, counting.of_unittest)]


def lint() -> list[Step]:
    """Each check of the linter, one after the other."""
    command = [sys.executable, "scripts/lint.py"]
    return [Step([*command, name], limit=10 * MINUTES) for name in lint_names()]


def lint_names() -> list[str]:
    """The names of the linter's checks."""
    import lint as checks  # noqa: PLC0415

    return list(checks.CHECKS)


def prepare_lint() -> None:
    """Types are checked against the package as built; before there is one, tools are enough."""
    prepare.host()
    if prepare.has_package():
        prepare.package()
    else:
        prepare.venv()


@dataclass(frozen=True)
class Processor:
    """Another processor that the tests run on, emulated."""

    target: str
    emulator: str
    sysroot: str
    packages: dict[str, str]
    crates: tuple[str, ...] = ("--package=famfs-core",)

    def prepare(self) -> None:
        """Install the emulator, the cross compiler, which links, and Rust's own libraries."""
        prepare.host()
        prepare.apt({"qemu-user": self.emulator, **self.packages})
        prepare.rust_target(self.target)

    def steps(self) -> list[Step]:
        """Run the tests, with few cases for each property: emulation is slow."""
        name = "CARGO_TARGET_" + self.target.upper().replace("-", "_")
        env = {
            f"{name}_LINKER": next(iter(self.packages.values())),
            # Said where libraries are: the host may have its own for this processor, which don't
            # fit the loader in the sysroot.
            f"{name}_RUNNER": (
                f"{self.emulator} -L {self.sysroot} -E LD_LIBRARY_PATH={self.sysroot}/lib"
            ),
            "PROPTEST_CASES": "16",
        }
        return [cargo_tests("--target", self.target, *self.crates, env=env)]


AARCH64 = Processor(
    "aarch64-unknown-linux-gnu",
    "qemu-aarch64",
    "/usr/aarch64-linux-gnu",
    {
        "gcc-aarch64-linux-gnu": "aarch64-linux-gnu-gcc",
        "libc6-dev-arm64-cross": "/usr/aarch64-linux-gnu/include/stdlib.h",
    },
    ("--package=famfs-core", "--package=famfs-mem", "--all-features"),
)
S390X = Processor(
    "s390x-unknown-linux-gnu",
    "qemu-s390x",
    "/usr/s390x-linux-gnu",
    {
        "gcc-s390x-linux-gnu": "s390x-linux-gnu-gcc",
        "libc6-dev-s390x-cross": "/usr/s390x-linux-gnu/include/stdlib.h",
    },
)
I686 = Processor(
    "i686-unknown-linux-gnu",
    "qemu-i386",
    "/usr/i686-linux-gnu",
    {
        "gcc-i686-linux-gnu": "i686-linux-gnu-gcc",
        "libc6-dev-i386-cross": "/usr/i686-linux-gnu/include/stdlib.h",
    },
)
BARE = "thumbv7em-none-eabihf"


def prepare_bare() -> None:
    """Add a target that has no operating system, and so no std."""
    prepare.host()
    prepare.rust_target(BARE)


def bare() -> list[Step]:
    """Build the core alone: in the whole workspace others would switch std on for it."""
    return [Step(["cargo", "build", "--package=famfs-core", "--target", BARE])]


def skipped_processor() -> str:
    """Say why the other processors are left out, if they are to be."""
    asked = os.environ.get("FAMFS_SKIP_ARCH") == "1"
    return "SKIPPED, not tested on this processor: FAMFS_SKIP_ARCH=1" if asked else ""


def prepare_fuzz() -> None:
    """Install what libFuzzer is compiled with."""
    prepare.host()
    prepare.apt(prepare.FUZZ)


def fuzz() -> list[Step]:
    """Half a minute each of hostile images and of hostile files."""
    command = [sys.executable, "scripts/fuzz.py"]
    return [Step([*command, name, "30"]) for name in ("image", "content")]


def prepare_instructions() -> None:
    """Install what counts."""
    prepare.host()
    prepare.apt(instructions.VALGRIND)


def count_instructions() -> list[Step]:
    """The small hot paths, against the counts that are kept."""
    return [Step([sys.executable, "scripts/instructions.py"], limit=10 * MINUTES)]


def no_package() -> str:
    """Say that the Python package isn't there, if it isn't."""
    return "" if prepare.has_package() else f"SKIPPED: the Python package is {NEVER}"


def pytest(name: str, *paths: str, binaries: Path = BIN) -> Step:
    """Tests by pytest in the package's environment, counted from the results that it writes."""
    results = ROOT / "target" / "test-logs" / f"{name}.xml"
    results.unlink(missing_ok=True)
    command = [str(binaries / "python"), "-m", "pytest", f"--junitxml={results}", *paths]
    return Step(command, lambda _: counting.of_junit(results))


def python() -> list[Step]:
    """The package's tests, and its stubs against what they describe."""
    tool = tomllib.loads(prepare.PYPROJECT.read_text()).get("tool", {})
    paths = [] if "testpaths" in tool.get("pytest", {}).get("ini_options", {}) else ["tests"]
    stubs = [str(BIN / "python"), "-m", "mypy.stubtest", "famfs._native"]
    stubs += [f"--mypy-config-file={prepare.PYPROJECT}"]
    return [pytest("python", *paths), Step(stubs, limit=5 * MINUTES)]


def pandas_2() -> list[Step]:
    """The tests of pandas once more, with its version 2."""
    names = ("libraries", "tables", "inputs", "docs")
    tests = (str(ROOT / "tests" / "python" / f"test_{name}.py") for name in names)
    step = pytest("pandas-2", *tests, "-k", "pandas or frame")
    step.env |= {"PYTHONPATH": str(prepare.PANDAS_2), "FAMFS_TEST_PANDAS": "2."}
    return [step]


def no_command_tests() -> str:
    """Say that the tests of the command line aren't there, or can't be run yet."""
    return no_package() or ("" if COMMAND.is_dir() else f"SKIPPED: tests/cli is {NEVER}")


def command() -> list[Step]:
    """The tests of the command line, which build the program by themselves."""
    return [pytest("command", str(COMMAND))]


def torch() -> list[Step]:
    """The package with PyTorch."""
    return [pytest("torch", str(ROOT / "tests" / "torch"), binaries=prepare.TORCH / "bin")]


def engines() -> list[Step]:
    """The package with the engines that people work with."""
    tests = str(ROOT / "tests" / "engines")
    return [pytest("engines", tests, binaries=prepare.ENGINES / "bin")]


def notebooks() -> list[Step]:
    """The notebooks from their first cells to their last, and then how they are kept."""
    tests = ROOT / "tests" / "notebooks"
    options = ("-c", str(tests / "pytest.ini"), "--nbmake", str(ROOT / "notebooks"), str(tests))
    return [pytest("notebooks", *options, binaries=prepare.ENGINES / "bin")]


def docs() -> list[Step]:
    """The documentation, built and looked through."""
    return [pytest("docs", str(ROOT / "tests" / "docs"), binaries=prepare.DOCS / "bin")]


def prepare_packaging() -> None:
    """What builds and checks what is handed out."""
    prepare.host()
    prepare.packaging()
    prepare.apt({"make": "make", "man-db": "man", "systemd": "systemd-analyze"})
    prepare.apt({"fish": "fish", "zsh": "zsh"})


def packaging() -> list[Step]:
    """Wheel, sources and the tree for a system."""
    return [pytest("package", str(ROOT / "tests" / "package"), binaries=prepare.PACKAGE / "bin")]


KMOD_TOOLS = {
    "make": "make",
    "g++": "g++",
    "clang": "clang",
    "libclang-rt-14-dev": "/usr/lib/llvm-14/lib/clang/14.0.6/lib/linux",
    "kmod": "/sbin/depmod",
}
LAB_TOOLS = {
    "qemu-system-x86": "qemu-system-x86_64",
    "dwarves": "pahole",
    "sparse": "sparse",
    "dkms": "/usr/sbin/dkms",
    "debian-archive-keyring": "/usr/share/keyrings/debian-archive-keyring.gpg",
}


def no_module() -> str:
    """Say that the module can't be built here, where it can't."""
    machine = os.uname().machine
    return "" if machine == "x86_64" else f"SKIPPED: its tests are for x86_64, not {machine}"


def prepare_kmod() -> None:
    """Compilers and what checks."""
    prepare.package()
    prepare.apt(KMOD_TOOLS)


def prepare_lab() -> None:
    """What virtual machines and modules for them take; kernels are fetched by the tests."""
    prepare_kmod()
    prepare.apt(LAB_TOOLS)
    prepare.apt_lists()


def kmod() -> list[Step]:
    """The module's pure part, in user space."""
    return [pytest("kmod", str(ROOT / "tests" / "kmod"))]


def lab() -> list[Step]:
    """The module in guests, two at a time."""
    options = ("-n2", "--dist=loadscope", str(ROOT / "tests" / "vm"))
    return [pytest("vm", *options)]


ALL = [
    Suite("scripts", "these scripts themselves", scripts, lambda: None),
    Suite("lint", "formatting, clippy, documentation, the tree's rules", lint, prepare_lint),
    Suite("rust", "the workspace on this processor", rust),
    Suite("doctests", "the examples in the documentation", doctests),
    Suite("no-std", f"the core for {BARE}", bare, prepare_bare, skipped_processor),
    *(
        Suite(name, about, processor.steps, processor.prepare, skipped_processor)
        for name, about, processor in (
            ("aarch64", "core and memory on 64-bit Arm, emulated", AARCH64),
            ("s390x", "the core on a big-endian processor, emulated", S390X),
            ("i686", "the core on a 32-bit processor, emulated", I686),
        )
    ),
    Suite("fuzz", "arbitrary bytes as a volume's image and as a file", fuzz, prepare_fuzz),
    Suite("python", "the Python package", python, prepare.package, no_package),
    Suite("pandas-2", "the same with pandas 2", pandas_2, prepare.pandas_2, no_package),
    Suite(
        "command", "the famfs command, as one types it", command, prepare.package, no_command_tests
    ),
    Suite("docs", "the documentation, built without a warning", docs, prepare.docs, no_package),
    Suite("package", "what is handed out", packaging, prepare_packaging, no_package),
    Suite("engines", "Ray, Spark, Dask and others", engines, prepare.engines, no_package),
    Suite("notebooks", "each of them, run", notebooks, prepare.engines, no_package),
    Suite("kmod", "the module's maps, under sanitizers", kmod, prepare_kmod, no_module),
    Suite("vm", "the kernel module, in virtual machines", lab, prepare_lab, no_module),
]
APART = [
    Suite("torch", "the Python package with PyTorch", torch, prepare.torch, no_package),
    Suite(
        "instructions",
        "what the small hot paths take, counted",
        count_instructions,
        prepare_instructions,
        instructions.absent,
    ),
]
"""What takes too much to be in all, or counts what another compiler makes otherwise: these run by
their own names."""
GROUPS = {
    "fast": ("scripts", "rust", "doctests", "python", "pandas-2", "command"),
    "lint": ("lint",),
    "vm-all": ("kmod", "vm"),
}


def group(name: str) -> list[Suite]:
    """The suites of a group; a suite's own name is a group too."""
    if name == "all":
        return ALL
    chosen = [suite for suite in (*ALL, *APART) if suite.name in GROUPS.get(name, (name,))]
    if not chosen:
        names = ", ".join(suite.name for suite in (*ALL, *APART))
        raise SystemExit(f"no suite {name!r}; there are: all, {names}")
    return chosen
