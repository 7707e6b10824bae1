"""Fuzzes what is read for some seconds: ``fuzz.py TARGET SECONDS``. Ends badly on a finding.

The fuzzers are built with the flags that cargo-fuzz uses. That of images has no sanitizer: the core
forbids unsafe code, and what is looked for are panics, endless loops and broken promises. That of
files' contents hands out memory as it lies there, and is built with the address sanitizer.
"""

from __future__ import annotations

import lzma
import shutil
import struct
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from prepare import ROOT, cargo_environment

if TYPE_CHECKING:
    from collections.abc import Callable

GOLDEN = ROOT / "tests" / "golden"
ARROW_GOLDEN = ROOT / "tests" / "arrow-golden"
WORK = ROOT / "target" / "fuzz"
FLAGS = (
    "--cfg=fuzzing",
    "-Cdebug-assertions",
    "-Coverflow-checks",
    "-Ccodegen-units=1",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
)
SANITIZER = "-Zsanitizer=address"

SUPERBLOCK = 200
DEVICE_SIZE_AT = 112
LOG_OFFSET = 0x20_0000
LOG_HEADER = 48
ENTRY = 544
MOST_ENTRIES = 64


@dataclass(frozen=True)
class Target:
    """A fuzzer: its crate, what it begins with, and the length of its inputs."""

    name: str
    crate: Path
    longest: int
    seeds: Callable[[Path, Path], None]
    words: tuple[str, ...] = ()
    sanitized: bool = False


def seed(image: bytes, *, sealed: bool) -> bytes:
    """The fuzzer's input for an image: one byte of options, the superblock, the log's beginning.

    >>> seed(bytes(112) + struct.pack("<Q", 1 << 37) + bytes(1 << 22), sealed=True)[0]
    75
    """
    (device,) = struct.unpack_from("<Q", image, DEVICE_SIZE_AT)
    order = min(max(device, 1).bit_length() - 1, 63)
    options = order << 1 | int(sealed)
    log = image[LOG_OFFSET : LOG_OFFSET + LOG_HEADER + MOST_ENTRIES * ENTRY]
    # Entries that were never written are zeros, which say nothing.
    used = LOG_HEADER + -(-len(log[LOG_HEADER:].rstrip(b"\0")) // ENTRY) * ENTRY
    return bytes([options]) + image[:SUPERBLOCK] + log[:used]


def seeds_of_images(folder: Path, _built: Path) -> None:
    """Make a seed of each of the reference's images, once as it is and once with sums mended."""
    for path in sorted(GOLDEN.glob("*.img.xz")):
        image = lzma.decompress(path.read_bytes())
        for sealed in (False, True):
            name = f"{path.name.removesuffix('.img.xz')}-{int(sealed)}"
            (folder / name).write_bytes(seed(image, sealed=sealed))


def seeds_of_contents(folder: Path, built: Path) -> None:
    """Make files of all kinds and types by the crate's own writers, and take the hostile ones."""
    program = [str(built / "seeds"), str(ARROW_GOLDEN), str(ARROW_GOLDEN / "hostile"), str(folder)]
    subprocess.run(program, check=True)


TARGETS = {
    target.name: target
    for target in (
        Target(
            "image",
            ROOT / "rust" / "famfs-core" / "fuzz",
            1 + SUPERBLOCK + LOG_HEADER + MOST_ENTRIES * ENTRY,
            seeds_of_images,
        ),
        Target(
            "content",
            ROOT / "rust" / "famfs-data" / "fuzz",
            1 << 15,
            seeds_of_contents,
            (
                *("ARROW1", "FAMFSIX1", "FAMFSCRC", "famfs.crc32", "\\x93NUMPY\\x01\\x00"),
                *("'descr': ", "'fortran_order': True, ", "'shape': (", "'<f8'", "'|S0'", "'>U2'"),
                *("[('a', '<i4', (2,))]", "'<M8[25us]'", "dtype", "shape", "data_offsets"),
                *("__metadata__", "BF16", "F64", "9223372036854775807", "\\xff\\xff\\xff\\xff"),
            ),
            sanitized=True,
        ),
    )
}


def host() -> str:
    """The target that this machine is."""
    version = subprocess.run(["rustc", "-vV"], check=True, capture_output=True, text=True).stdout
    return next(line for line in version.splitlines() if line.startswith("host: "))[6:]


def has_sanitizer(target: str) -> bool:
    """Whether the toolchain has the address sanitizer's library: some are packaged without."""
    query = ["rustc", "--print", "target-libdir", "--target", target]
    folder = subprocess.run(query, check=True, capture_output=True, text=True).stdout.strip()
    return any(Path(folder).glob("librustc*_rt.asan.a"))


def build(target: Target) -> Path:
    """Build the fuzzer; a directory of its own keeps its flags from the other builds."""
    triple, flags, env = host(), [*FLAGS], cargo_environment()
    if target.sanitized and has_sanitizer(triple):
        flags.append(SANITIZER)
        # Stable compilers have the sanitizers, and let nobody ask for them without this.
        env["RUSTC_BOOTSTRAP"] = "1"
    elif target.sanitized:
        print("no address sanitizer in this toolchain: what is read past a file is not seen")
    into = WORK / "build" / target.name
    # Named even though it is this machine: the flags are then not for build scripts.
    command = ["cargo", "build", "--release", "--locked", "--target", triple]
    command += ["--target-dir", str(into)]
    subprocess.run(command, check=True, cwd=target.crate, env=env | {"RUSTFLAGS": " ".join(flags)})
    return into / triple / "release"


def main() -> int:
    """Build, seed and run."""
    name, *rest = sys.argv[1:]
    target, seconds = TARGETS[name], int(rest[0]) if rest else 30
    built = build(target)
    work = WORK / target.name
    seeds, corpus, found = (work / name for name in ("seeds", "corpus", "artifacts"))
    # Made anew: what another version made is not what this one reads.
    shutil.rmtree(seeds, ignore_errors=True)
    for folder in (seeds, corpus, found):
        folder.mkdir(parents=True, exist_ok=True)
    target.seeds(seeds, built)
    print(f"{len(list(seeds.iterdir()))} seeds", flush=True)
    words = work / "words"
    words.write_text("".join(f'"{word}"\n' for word in target.words))
    # An empty list of words is none, for the fuzzer.
    dictionary = (f"-dict={words}",) if target.words else ()
    options = (
        f"-max_total_time={seconds}",
        f"-max_len={target.longest}",
        f"-artifact_prefix={found}/",
        *dictionary,
        "-timeout=10",
        "-rss_limit_mb=2048",
        "-print_final_stats=1",
        "-print_funcs=0",
        # One line for each input that reaches something new would be thousands.
        "-verbosity=0",
    )
    # What it learns goes to the first folder and is where it starts the next time.
    command = [str(built / target.name), *options, str(corpus), str(seeds)]
    env = cargo_environment() | {"RUST_BACKTRACE": "1"}
    return subprocess.run(command, check=False, env=env).returncode


if __name__ == "__main__":
    sys.exit(main())
