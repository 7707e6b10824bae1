"""Fuzzes the judge of images for some seconds: ``fuzz.py SECONDS``. Ends badly on a finding.

The fuzzer is built with the flags that cargo-fuzz uses, but without a sanitizer: the core forbids
unsafe code, and what is looked for are panics, endless loops and broken promises.
"""

from __future__ import annotations

import lzma
import struct
import subprocess
import sys
from typing import TYPE_CHECKING

from prepare import ROOT, cargo_environment

if TYPE_CHECKING:
    from pathlib import Path

CRATE = ROOT / "rust" / "famfs-core" / "fuzz"
GOLDEN = ROOT / "tests" / "golden"
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

SUPERBLOCK = 200
DEVICE_SIZE_AT = 112
LOG_OFFSET = 0x20_0000
LOG_HEADER = 48
ENTRY = 544
MOST_ENTRIES = 64


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


def write_seeds(folder: Path) -> int:
    """Make a seed of each of the reference's images, once as it is and once with sums mended."""
    folder.mkdir(parents=True, exist_ok=True)
    images = sorted(GOLDEN.glob("*.img.xz"))
    for path in images:
        image = lzma.decompress(path.read_bytes())
        for sealed in (False, True):
            name = f"{path.name.removesuffix('.img.xz')}-{int(sealed)}"
            (folder / name).write_bytes(seed(image, sealed=sealed))
    return len(images)


def build() -> Path:
    """Build the fuzzer; a directory of its own keeps its flags from the other builds."""
    version = subprocess.run(["rustc", "-vV"], check=True, capture_output=True, text=True).stdout
    host = next(line for line in version.splitlines() if line.startswith("host: "))[6:]
    # Named even though it is this machine: the flags are then not for build scripts.
    command = ["cargo", "build", "--release", "--target", host, "--target-dir", str(WORK / "build")]
    env = cargo_environment() | {"RUSTFLAGS": " ".join(FLAGS)}
    subprocess.run(command, check=True, cwd=CRATE, env=env)
    return WORK / "build" / host / "release" / "image"


def main() -> int:
    """Build, seed and run."""
    seconds = int(sys.argv[1]) if len(sys.argv) > 1 else 30
    fuzzer = build()
    seeds, corpus, found = (WORK / name for name in ("seeds", "corpus", "artifacts"))
    print(f"seeds of {write_seeds(seeds)} images", flush=True)
    for folder in (corpus, found):
        folder.mkdir(parents=True, exist_ok=True)
    longest = 1 + SUPERBLOCK + LOG_HEADER + MOST_ENTRIES * ENTRY
    options = (
        f"-max_total_time={seconds}",
        f"-max_len={longest}",
        f"-artifact_prefix={found}/",
        "-timeout=10",
        "-rss_limit_mb=2048",
        "-print_final_stats=1",
        # One line for each input that reaches something new would be thousands.
        "-verbosity=0",
    )
    # What it learns goes to the first folder and is where it starts the next time.
    command = [str(fuzzer), *options, str(corpus), str(seeds)]
    env = cargo_environment() | {"RUST_BACKTRACE": "1"}
    return subprocess.run(command, check=False, env=env).returncode


if __name__ == "__main__":
    sys.exit(main())
