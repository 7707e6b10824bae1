"""The pure part of the module in user space, under sanitizers; and what static checks say."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
KMOD = HERE.parent.parent / "kmod"
SANITIZED = ["-g", "-O1", "-Wall", "-Wextra", "-Werror", "-fno-sanitize-recover=all", f"-I{KMOD}"]
CASES = [
    line.split("TEST(")[1].split(")")[0]
    for line in (HERE / "map_test.c").read_text().splitlines()
    if line.startswith("\t\tTEST(")
]
FUZZ_SECONDS = 10


def run(*command: str | Path) -> str:
    """Run a command; what it prints, its errors too."""
    done = subprocess.run(
        list(map(str, command)), check=False, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def tried(tmp_path_factory: pytest.TempPathFactory) -> subprocess.CompletedProcess[str]:
    """All cases in one go: it prints the name of each that went through, and ends at a failure."""
    program = tmp_path_factory.mktemp("map") / "map_test"
    sources = (HERE / "map_test.c", KMOD / "famfs_map.c")
    run("gcc", *SANITIZED, "-fsanitize=address,undefined", "-o", program, *sources)
    return subprocess.run([program], check=False, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("case", CASES)
def test_map(tried: subprocess.CompletedProcess[str], case: str) -> None:
    assert case in tried.stdout.split(), tried.stderr


def test_arbitrary_maps_equal_the_model(tmp_path: Path) -> None:
    program = tmp_path / "map_fuzz"
    sources = (HERE / "map_fuzz.c", KMOD / "famfs_map.c")
    run("clang", *SANITIZED, "-fsanitize=fuzzer,address,undefined", "-o", program, *sources)
    printed = run(program, f"-max_total_time={FUZZ_SECONDS}", "-max_len=360", "-len_control=0",
                  f"-artifact_prefix={tmp_path}/")  # fmt: skip
    runs = int(printed.split("Done ")[1].split()[0])
    assert runs > 100_000


def test_the_interface_compiles_for_programs_of_either_language(tmp_path: Path) -> None:
    source = '#include "famfs_ioctl.h"\nint main(void) { return FAMFSIOC_NOP != 0x7553; }\n'
    for name, compiler, standard in (("a.c", "gcc", "-std=c11"), ("a.cc", "g++", "-std=c++17")):
        path = tmp_path / name
        path.write_text(source)
        program = tmp_path / f"{name}.out"
        run(compiler, standard, "-Wall", "-Wextra", "-Werror", f"-I{KMOD}", "-o", program, path)
        run(program)
