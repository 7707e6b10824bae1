"""The tree for a system: everything in Debian's places, and each file good for its reader."""

from __future__ import annotations

import re
import shlex
import subprocess

import package
import pytest
from package import ROOT, VERSION


def run(*command, **options):
    return subprocess.run(
        list(map(str, command)),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        **options,
    )


def places(staged):
    found = (path.relative_to(staged).as_posix() for path in staged.rglob("*"))
    return {place for place in found if not (staged / place).is_dir()}


def test_everything_has_its_place(staged):
    there = places(staged)
    assert {place for place in there if "/man/" not in place and "/src/" not in place} == {
        "usr/bin/famfs",
        "usr/lib/systemd/system/famfs-follow@.service",
        "usr/lib/systemd/system/famfs-mount@.service",
        "usr/lib/sysusers.d/famfs.conf",
        "usr/lib/udev/rules.d/60-famfs.rules",
        "usr/sbin/mkfs.famfs",
        "usr/share/bash-completion/completions/famfs",
        "usr/share/doc/famfs/CHANGELOG.md",
        "usr/share/doc/famfs/LICENSE",
        "usr/share/doc/famfs/README.md",
        "usr/share/fish/vendor_completions.d/famfs.fish",
        "usr/share/zsh/vendor-completions/_famfs",
    }
    # Nothing knows where it was staged.
    for place in there - {"usr/bin/famfs", "usr/sbin/mkfs.famfs"}:
        assert str(staged) not in (staged / place).read_text(), place
    for place in there:
        mode = (staged / place).stat().st_mode & 0o777
        assert mode == (0o755 if "bin/" in place else 0o644), place


def test_it_is_laid_out_again_over_itself(staged, command):
    before = places(staged)
    package.stage(command, staged, "/usr")
    assert places(staged) == before


def test_both_names_are_the_command(staged):
    assert run(staged / "usr/bin/famfs", "--version").stdout.strip() == f"famfs {VERSION}"
    assert "Make a volume" in run(staged / "usr/sbin/mkfs.famfs", "--help").stdout


def test_every_command_has_a_page(staged):
    pages = {path.name for path in (staged / "usr/share/man/man1").iterdir()}
    told = run(staged / "usr/bin/famfs", "--help").stdout.partition("Commands:")[2]
    names = set(re.findall(r"^  (\w+) ", told, re.MULTILINE)) - {"help"}
    assert "mount" in names
    assert {f"famfs-{name}.1" for name in names} <= pages
    for page in pages:
        head = (staged / "usr/share/man/man1" / page).read_text()
        title = page.removesuffix(".1").upper()
        assert re.search(rf'^\.TH {title} 1 +"famfs {re.escape(VERSION)}" $', head, re.MULTILINE)


def test_a_shell_completes(staged):
    script = staged / "usr/share/bash-completion/completions/famfs"
    code = f"""
        source {script}
        COMP_WORDS=(famfs mo) COMP_CWORD=1
        _famfs famfs mo famfs
        echo "${{COMPREPLY[@]}}"
    """
    assert run("bash", "-c", code).stdout.split() == ["mount", "mounts"]
    for place in ("zsh/vendor-completions/_famfs", "fish/vendor_completions.d/famfs.fish"):
        text = (staged / "usr/share" / place).read_text()
        assert "embedded" in text
        assert "kmod" in text


def test_dkms_gets_the_modules_sources(staged):
    tree = staged / "usr/src" / f"famfs-{VERSION}"
    listed = run("git", "ls-files", "kmod", cwd=ROOT).stdout.split()
    sources = {name.removeprefix("kmod/") for name in listed if not name.endswith(".service")}
    assert {path.name for path in tree.iterdir()} == sources
    said = 'echo "$PACKAGE_NAME-$PACKAGE_VERSION" "$BUILT_MODULE_NAME" "$AUTOINSTALL" "${MAKE[0]}"'
    told = run("bash", "-euc", f"kernel_source_dir=/headers; . {tree}/dkms.conf; {said}")
    assert told.stdout == f"famfs-{VERSION} famfs yes make KDIR=/headers modules\n", told.stderr


@pytest.mark.parametrize("unit", ["famfs-follow@mnt-famfs", "famfs-mount@mnt-famfs"])
def test_systemd_takes_the_units(staged, unit):
    # What every unit is ordered by; the tree has no systemd of its own.
    for name in ("sysinit", "shutdown", "local-fs", "basic"):
        (staged / f"usr/lib/systemd/system/{name}.target").write_text("[Unit]\nDescription=x\n")
    done = run("systemd-analyze", f"--root={staged}", "--man=no", "verify", f"{unit}.service")
    assert done.returncode == 0, done.stderr
    assert "famfs" not in done.stderr
    text = (staged / f"usr/lib/systemd/system/{unit.partition('@')[0]}@.service").read_text()
    assert all(
        line.split("=", 1)[1].startswith(("/usr/bin/famfs ", "-/sbin/modprobe -q famfs"))
        for line in text.splitlines()
        if line.startswith("Exec")
    )


def test_the_mounts_unit_mounts(staged, tmp_path):
    unit = (staged / "usr/lib/systemd/system/famfs-mount@.service").read_text()
    said = dict(re.findall(r"^(Exec\w+)=/usr/bin/famfs (.*)$", unit, re.MULTILINE))
    famfs, mnt = staged / "usr/bin/famfs", tmp_path / "mnt"

    def execute(line):
        words = line.replace("$FAMFS_MOUNT", "--embedded --size 32M").replace("%f", str(mnt))
        done = run(famfs, *shlex.split(words))
        assert done.returncode == 0, done.stderr

    execute(said["ExecStart"])
    try:
        assert str(mnt) in run(famfs, "mounts").stdout
        execute(said["ExecStop"])
        assert str(mnt) not in run(famfs, "mounts").stdout
    finally:
        execute(said["ExecStart"])
        execute("umount --discard %f")


def test_the_rule_gives_devices_to_a_group_that_there_is(staged):
    rules = (staged / "usr/lib/udev/rules.d/60-famfs.rules").read_text()
    lines = [line for line in rules.splitlines() if line and not line.startswith("#")]
    said = [re.findall(r'(\w+)(==|!=|\+=|=)"([^"]*)"', line) for line in lines]
    for line, words in zip(lines, said, strict=True):
        assert ", ".join(f'{key}{sign}"{value}"' for key, sign, value in words) == line
        for key, sign, _ in words:
            # A key that is compared, or one that is set: the other sign means something else.
            compared = key in {"ACTION", "SUBSYSTEM", "KERNEL"}
            assert compared or key in {"GROUP", "MODE", "TAG"}
            assert compared == (sign in {"==", "!="})
    users = (staged / "usr/lib/sysusers.d/famfs.conf").read_text()
    groups = re.findall(r"^g (\S+) -$", users, re.MULTILINE)
    # The follower's own group is not the devices': its members would reach what is not theirs.
    assert groups == ["famfs", "famfs-dax"]
    assert [value for words in said for key, _, value in words if key == "GROUP"] == ["famfs-dax"]
