"""The tree for a system: everything in Debian's places, and each file good for its reader."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import threading

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


def test_below_another_prefix_each_is_where_it_is_looked_for(command, tmp_path):
    package.stage(command, tmp_path / "local", "/usr/local/")
    there = places(tmp_path / "local")
    assert "usr/local/bin/famfs" in there
    assert "usr/local/lib/systemd/system/famfs-mount@.service" in there
    assert "usr/local/share/zsh/site-functions/_famfs" in there
    # DKMS looks nowhere else.
    assert f"usr/src/famfs-{VERSION}/dkms.conf" in there
    assert all(place.startswith(("usr/local/", "usr/src/")) for place in there)
    unit = (tmp_path / "local/usr/local/lib/systemd/system/famfs-follow@.service").read_text()
    assert "ExecStart=/usr/local/bin/famfs logplay" in unit
    # Of no system: all of it lies below, so that no rights beyond are needed.
    package.stage(command, tmp_path / "own", "/opt/famfs")
    there = places(tmp_path / "own")
    assert f"opt/famfs/src/famfs-{VERSION}/dkms.conf" in there
    assert all(place.startswith("opt/famfs/") for place in there)


@pytest.mark.parametrize("prefix", ["usr", "/", "", "/a b", "/usr/../etc", "/a%i", '/a"', "/a\n/b"])
def test_a_prefix_that_units_would_misread_is_refused(command, tmp_path, prefix):
    with pytest.raises(package.NotReadyError, match="PREFIX=(?s:.*)such as /usr/local"):
        package.stage(command, tmp_path / "tree", prefix)
    assert not (tmp_path / "tree").exists()


def test_make_install_takes_its_variables(command, tmp_path):
    # As make tells them, spaces and all; what is laid out is the command that is built already.
    tree = tmp_path / "a tree"
    told = run("make", "-n", "install", f"DESTDIR={tree}", "PREFIX=/usr/local", cwd=ROOT).stdout
    words = shlex.split(told)
    assert words[1:] == ["scripts/package.py", "stage", str(tree), "/usr/local"]
    assert shlex.split(run("make", "-n", "install", cwd=ROOT).stdout)[3:] == ["", "/usr"]
    built = f"package.build_command = lambda: package.Path({str(command)!r})"

    def make(before, *words):
        code = f"import package, sys; {before}; sys.exit(package.main())"
        env = os.environ | {"PYTHONPATH": str(ROOT / "scripts")}
        return run(sys.executable, "-c", code, *words, env=env)

    done = make(built, *words[2:])
    assert done.returncode == 0, done.stderr
    assert run(tree / "usr/local/bin/famfs", "--version").stdout.strip() == f"famfs {VERSION}"
    # What is wrong is told in a line, and a prefix before anything is built.
    done = make("package.build_command = None", "stage", tree, "here")
    assert (done.returncode, done.stderr.partition(": ")[0]) == (1, "PREFIX=here")
    done = make(built, "stage", "/dev/null/tree", "/usr")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "/dev/null/tree" in done.stderr


def test_it_is_laid_out_again_over_itself(staged, command):
    before = places(staged)
    package.stage(command, staged, "/usr")
    assert places(staged) == before


def test_both_names_are_the_command(staged):
    assert run(staged / "usr/bin/famfs", "--version").stdout.strip() == f"famfs {VERSION}"
    other = staged / "usr/sbin/mkfs.famfs"
    assert "Make a volume" in run(other, "--help").stdout
    assert "Usage: famfs mkfs [OPTIONS] <DEV>" in run(other, "--help").stdout
    assert run(other, "--version").stdout.strip() == f"famfs {VERSION}"


def test_every_command_has_a_page(staged):
    pages = {path.name for path in (staged / "usr/share/man/man1").iterdir()}
    told = run(staged / "usr/bin/famfs", "--help").stdout.partition("Commands:")[2]
    names = set(re.findall(r"^  (\w+) ", told, re.MULTILINE)) - {"help"}
    assert "mount" in names
    assert {f"famfs-{name}.1" for name in names} <= pages
    for page in pages:
        head = (staged / "usr/share/man/man1" / page).read_text()
        title = page.removesuffix(".1").upper()
        assert re.search(rf'^\.TH {title} 1 " " "famfs {re.escape(VERSION)}" $', head, re.MULTILINE)


def test_the_commands_other_name_has_a_page_too(staged):
    page = staged / "usr/share/man/man8/mkfs.famfs.8"
    other = re.fullmatch(r"\.so (\S+)\n", page.read_text())
    assert (staged / "usr/share/man" / other[1]).is_file()
    shown = run("man", "-M", staged / "usr/share/man", "mkfs.famfs", env=os.environ | {"LANG": "C"})
    assert "Make a volume on a device" in shown.stdout, shown.stderr
    assert "--log-size" in shown.stdout


#: What a shell knows after `famfs ` and after `famfs mount --`, each by its own way.
SHELLS = {
    "bash": r"""
        source {share}/bash-completion/completions/famfs
        complete -p famfs | grep -q ' _famfs famfs$'
        COMP_WORDS=(famfs '') COMP_CWORD=1
        _famfs famfs '' famfs
        printf '%s\n' "${{COMPREPLY[@]}}"
        COMP_WORDS=(famfs mount --) COMP_CWORD=2
        _famfs famfs -- mount
        printf '%s\n' "${{COMPREPLY[@]}}"
    """,
    "fish": """
        set -p fish_complete_path {share}/fish/vendor_completions.d
        complete -C 'famfs '
        complete -C 'famfs mount --'
    """,
    # Its lists are for terminals: what compinit finds is loaded, and looked at.
    "zsh": """
        set -e
        fpath=({share}/zsh/vendor-completions $fpath)
        autoload -U compinit
        compinit -u -D
        autoload -U +X $_comps[famfs]
        functions $_comps[famfs] _famfs_commands | tr "'[)" '\\n' | sed 's/:/\\t/'
    """,
}


@pytest.mark.parametrize("shell", SHELLS)
def test_a_shell_completes_all_there_is(staged, shell):
    def told(pattern, *words):
        return set(re.findall(pattern, run(staged / "usr/bin/famfs", *words).stdout, re.MULTILINE))

    code = SHELLS[shell].format(share=staged / "usr/share")
    env = os.environ | {"HOME": str(staged), "PATH": f"{staged}/usr/bin:{os.environ['PATH']}"}
    done = run(shell, *(["-f"] if shell == "zsh" else []), "-c", code, env=env)
    assert done.returncode == 0, done.stderr
    known = {line.partition("\t")[0].rstrip("=+") for line in done.stdout.splitlines()}
    commands = told(r"^  (\w+) ", "--help") - {"or"}
    options = told(r"(--[\w-]+)", "mount", "--help")
    assert {"mount", "top", "dax"} <= commands
    assert {"--embedded", "--range"} <= options
    assert commands | options <= known, (commands | options) - known


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
    (staged / "bin").mkdir()
    shutil.copy("/bin/sh", staged / "bin/sh")
    done = run("systemd-analyze", f"--root={staged}", "--man=no", "verify", f"{unit}.service")
    assert done.returncode == 0, done.stderr
    assert "famfs" not in done.stderr
    text = (staged / f"usr/lib/systemd/system/{unit.partition('@')[0]}@.service").read_text()
    known = ("/usr/bin/famfs ", "-/sbin/modprobe -q famfs", "/bin/sh ")
    assert all(
        line.split("=", 1)[1].startswith(known)
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


def test_the_mounts_unit_waits_for_its_device(staged, tmp_path):
    unit = (staged / "usr/lib/systemd/system/famfs-mount@.service").read_text()
    # As systemd hands it to the shell; the settings are in its environment.
    waits = re.search(r"^ExecStartPre=(/bin/sh .*)$", unit, re.MULTILINE)
    shell, option, code = shlex.split(waits[1])
    code = code.replace("$$", "$")
    device = f"/dev/shm/{tmp_path.name}-{os.getpid()}"
    timer = threading.Timer(0.5, lambda: open(device, "w").close())
    try:
        timer.start()
        env = os.environ | {"FAMFS_MOUNT": f"--kernel {device}"}
        done = run(shell, option, f"{code}; ls {device}", env=env)
        assert done.stdout == f"{device}\n"
        # Where there is none to wait for, it doesn't.
        env["FAMFS_MOUNT"] = "--embedded --size 32M"
        assert run(shell, option, code, env=env).returncode == 0
    finally:
        timer.join()
        os.unlink(device)


def test_the_follower_goes_with_its_mount(staged):
    told = {}
    for name in ("follow", "mount"):
        text = (staged / f"usr/lib/systemd/system/famfs-{name}@.service").read_text()
        told[name] = dict(re.findall(r"^(\w+)=(.*)$", text, re.MULTILINE))
    mount = "famfs-mount@%i.service"
    assert mount in told["follow"]["After"]
    assert told["follow"]["PartOf"] == mount
    assert mount in told["follow"]["WantedBy"].split()
    assert told["mount"]["Before"] == "famfs-follow@%i.service"


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


def test_a_program_that_runs_is_replaced(tmp_path):
    target = tmp_path / "bin" / "program"
    package.put(shutil.which("sleep"), target, 0o755)
    running = subprocess.Popen([target, "60"])
    try:
        package.put(shutil.which("true"), target, 0o755)
        assert run(target).returncode == 0
        assert running.poll() is None
        assert [each.name for each in target.parent.iterdir()] == ["program"]
    finally:
        running.kill()
        running.wait()
