"""What is handed to others: the source distribution, wheels from it, and a tree for a system.

As a program: ``package.py wheel`` builds both into dist/, ``package.py stage DESTDIR PREFIX`` lays
the native command and what belongs to it out as Debian does.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import prepare
from prepare import BIN, PACKAGE, ROOT, NotReadyError, cargo_environment

DIST = ROOT / "dist"
UNITS = ROOT / "packaging"
FOLLOW = ROOT / "kmod" / "famfs-follow@.service"
# The oldest glibc that NumPy and pyarrow have wheels for is this one too.
COMPATIBILITY = "manylinux_2_28"
VERSION = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]["version"]
# Where a system looks by itself: systemd, udev and shells below both, DKMS below the first alone.
SYSTEM = ("/usr", "/usr/local")
# Units and udev would read anything else as something of their own.
PLAIN = re.compile(r"(?:/[\w.+-]+)+")
# Where Debian has completions, of /usr; zsh's are elsewhere below any other prefix.
COMPLETIONS = {
    "bash": "share/bash-completion/completions/famfs",
    "fish": "share/fish/vendor_completions.d/famfs.fish",
    "zsh": "share/zsh/vendor-completions/_famfs",
}
ZSH_ELSEWHERE = "share/zsh/site-functions/_famfs"


def sdist(out: Path) -> Path:
    """Build the source distribution."""
    prepare.run(BIN / "maturin", "sdist", "--out", out)
    return out / f"famfs-{VERSION}.tar.gz"


def wheel(source: Path, out: Path, profile: str = "release") -> Path:
    """Build a wheel from the source distribution, as pip does for those who get no other.

    zig links it with an old glibc, so that no container of an old system is needed.
    """
    env = cargo_environment()
    # pip builds in an environment of its own, whose Python these would contradict.
    for name in [name for name in env if name.startswith("PYO3_")]:
        del env[name]
    env["CARGO_TARGET_DIR"] = str(Path(env.get("CARGO_TARGET_DIR", ROOT / "target")) / "packed")
    env["CARGO_ZIGBUILD_ZIG_PATH"] = str(zig())
    env["MATURIN_PEP517_ARGS"] = f"--zig --compatibility {COMPATIBILITY} --profile {profile}"
    pip = [str(PACKAGE / "bin" / "python"), "-m", "pip", "wheel"]
    command = [*pip, "--no-deps", "--no-cache-dir", "--wheel-dir", str(out), str(source)]
    print(f"+ {' '.join(command)}", flush=True)
    try:
        subprocess.run(command, check=True, env=env, stdin=subprocess.DEVNULL)
    except subprocess.CalledProcessError as error:
        raise NotReadyError(f"{source.name} did not build: {error}") from error
    return out / f"famfs-{VERSION}-cp311-abi3-{COMPATIBILITY}_{platform.machine()}.whl"


def zig() -> Path:
    """The compiler that knows the headers of every glibc."""
    ask = "import ziglang, os; print(os.path.dirname(ziglang.__file__))"
    return Path(prepare.output(PACKAGE / "bin" / "python", "-c", ask)) / "zig"


def stage(famfs: Path, destination: Path, prefix: str) -> None:
    """Lay out what a system's package has, for `prefix` on the system that will have it."""
    prefix = plain(prefix)
    top = destination / prefix.lstrip("/")
    put(famfs, top / "bin" / "famfs", mode=0o755)
    link(top / "sbin" / "mkfs.famfs", "../bin/famfs")
    for unit in (FOLLOW, UNITS / "famfs-mount@.service"):
        text = unit.read_text().replace("=/usr/bin/famfs ", "=famfs ")
        text = text.replace("=famfs ", f"={prefix}/bin/famfs ")
        write(top / "lib" / "systemd" / "system" / unit.name, text)
    put(UNITS / "60-famfs.rules", top / "lib" / "udev" / "rules.d" / "60-famfs.rules")
    put(UNITS / "famfs.sysusers", top / "lib" / "sysusers.d" / "famfs.conf")
    for name in ("README.md", "CHANGELOG.md", "LICENSE"):
        put(ROOT / name, top / "share" / "doc" / "famfs" / name)
    # What the command itself knows to write.
    prepare.output(famfs, "man", "--dir", top / "share" / "man" / "man1")
    write(top / "share" / "man" / "man8" / "mkfs.famfs.8", ".so man1/famfs-mkfs.1\n")
    sources = destination / "usr" if prefix in SYSTEM else top
    prepare.output(famfs, "kmod", "build", "--dkms", "--output", sources / "src")
    for shell, place in COMPLETIONS.items():
        if shell == "zsh" and prefix != "/usr":
            place = ZSH_ELSEWHERE  # noqa: PLW2901
        write(top / place, prepare.output(famfs, "completions", shell) + "\n")


def plain(prefix: str) -> str:
    """The prefix as it stands in paths, where it can stand in units too."""
    prefix = prefix.rstrip("/")
    if not PLAIN.fullmatch(prefix) or ".." in prefix.split("/"):
        raise NotReadyError(
            f"PREFIX={prefix}: it is a path from the root on, of letters, digits and ._+- alone, "
            "such as /usr/local; to stage elsewhere, say DESTDIR"
        )
    return prefix


def put(source: Path, target: Path, mode: int = 0o644) -> None:
    """Copy a file to a place that may not be there yet."""
    target.parent.mkdir(parents=True, exist_ok=True)
    # In the place of what may be running: a program can't be written while it does.
    draft = target.with_name(f".{target.name}.new")
    shutil.copyfile(source, draft)
    draft.chmod(mode)
    draft.replace(target)


def write(target: Path, text: str) -> None:
    """Write a file to a place that may not be there yet."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text)
    target.chmod(0o644)


def link(place: Path, target: str) -> None:
    """Make a relative link anew."""
    place.parent.mkdir(parents=True, exist_ok=True)
    place.unlink(missing_ok=True)
    place.symlink_to(target)


def build_command() -> Path:
    """Build the native command as it is handed out."""
    prepare.host()
    prepare.run("cargo", "build", "--release", "--locked", "--bin", "famfs")
    return Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release" / "famfs"


def main() -> int:
    """Do what the first argument says."""
    os.umask(0o022)
    try:
        match sys.argv[1:]:
            case ["wheel"]:
                prepare.host()
                prepare.packaging()
                for old in DIST.glob("famfs-*"):
                    old.unlink()
                print(wheel(sdist(DIST), DIST))
            case ["stage", destination, prefix]:
                # Before a build of minutes.
                plain(prefix)
                stage(build_command(), Path(destination or "/"), prefix)
            case _:
                print(__doc__, file=sys.stderr)
                return 2
    except PermissionError as error:
        print(f"{error}: stage into a directory of yours, DESTDIR=DIR", file=sys.stderr)
        return 1
    except (NotReadyError, OSError, subprocess.CalledProcessError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
