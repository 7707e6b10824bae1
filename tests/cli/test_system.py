"""`famfs kmod` and `famfs dax` on a host without module and devices: lists, and what is missing.

What they do to a kernel is tried in virtual machines.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from conftest import NOBODY, TOP, needs_root

if TYPE_CHECKING:
    from conftest import Famfs

DEVICES = Path("/sys/bus/dax/devices")
#: A release that no machine runs.
RELEASE = "6.12.99-none"


def headers(famfs: Famfs, recipe: str) -> Path:
    """Make what looks like a kernel's headers, whose build does this."""
    place = famfs.folder / "headers"
    (place / "include/config").mkdir(parents=True)
    (place / "include/config/auto.conf").write_text('CONFIG_CC_VERSION_TEXT="gcc-99 (none) 99"\n')
    (place / "include/config/kernel.release").write_text(f"{RELEASE}\n")
    (place / "Makefile").write_text(f"modules:\n\t{recipe}\n")
    return place


def test_devices_are_listed(famfs: Famfs) -> None:
    """All that the kernel shows, and a hint where that is none."""
    there = sorted(os.listdir(DEVICES)) if DEVICES.exists() else []
    listed = json.loads(famfs("dax", "list", "--json").out)
    assert sorted(device["name"] for device in listed) == there
    if not there:
        run = famfs.end(famfs.start("dax", "list"))
        assert (run.code, run.out) == (0, b"")
        assert "no dax devices" in run.err


def test_how_things_stand(famfs: Famfs) -> None:
    """It can be told without a module, by anybody."""
    status = json.loads(famfs("kmod", "status", "--json").out)
    release = os.uname().release
    assert status["kernel"] == release
    assert status["loaded"] == Path("/sys/module/famfs").exists()
    assert status["kabi_expected"] == 43
    build = Path(f"/lib/modules/{release}/build")
    assert status["headers"] == {"path": str(build), "present": (build / "Makefile").exists()}
    for name in ("modules", "mounts", "dax"):
        assert isinstance(status[name], list)
    lines = famfs("kmod", "status").text.splitlines()
    assert lines[0].split() == ["kernel", release]
    assert any(line.startswith("next ") for line in lines)


def test_headers_that_are_missing(famfs: Famfs) -> None:
    """The package that has them is named, and nothing is made."""
    out = famfs.folder / "out"
    build = ("kmod", "build", "--output", out)
    famfs.fails(*build, "--kernel", RELEASE, says=f"apt install linux-headers-{RELEASE}")
    famfs.fails(*build, "--headers", famfs.folder, says="apt install linux-headers-")
    assert not out.exists()


def test_tools_that_are_missing(famfs: Famfs) -> None:
    """Make and compiler are looked for before the build begins."""
    place = headers(famfs, "false")
    tools = famfs.folder / "tools"
    tools.mkdir()
    famfs.environment["PATH"] = str(tools)
    build = ("kmod", "build", "--headers", place, "--output", famfs.folder)
    famfs.fails(*build, says="apt install make")
    (tools / "make").symlink_to("/usr/bin/make")
    famfs.fails(*build, says="apt install gcc-99")


def test_a_build(famfs: Famfs) -> None:
    """The module goes where it is asked for, and nothing else does."""
    place = headers(famfs, "@cp $(M)/Kbuild $(M)/famfs.ko")
    out = famfs.folder / "new/out"
    run = famfs("kmod", "build", "--headers", place, "--output", out, "--json")
    built = json.loads(run.out)
    assert (built["path"], built["kernel"]) == (str(out / "famfs.ko"), RELEASE)
    assert (built["installed"], built["dkms"]) == (False, False)
    assert os.listdir(out) == ["famfs.ko"]
    assert (out / "famfs.ko").read_bytes() == (TOP / "kmod/Kbuild").read_bytes()


def test_a_build_that_fails(famfs: Famfs) -> None:
    """The compiler's last words are told."""
    place = headers(famfs, "@echo famfs_map.c:1: error: no luck >&2; exit 1")
    out = famfs.folder / "out"
    famfs.fails(
        "kmod", "build", "--headers", place, "--output", out, says="famfs_map.c:1: error: no luck"
    )
    assert not out.exists()


def test_sources_for_dkms(famfs: Famfs) -> None:
    """They are the module's folder, under the name that DKMS wants."""
    famfs("kmod", "build", "--dkms", "--output", famfs.folder)
    tree = famfs.folder / "famfs-0.1.0"
    assert "PACKAGE_VERSION" in (tree / "dkms.conf").read_text()
    for path in tree.iterdir():
        assert path.read_bytes() == (TOP / "kmod" / path.name).read_bytes()
    assert {path.name for path in (TOP / "kmod").glob("famfs_*.[ch]")} <= set(os.listdir(tree))


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (("kmod", "build", "--kernel", "../x"), "uname -r"),
        (("kmod", "build", "--kernel", ""), "uname -r"),
        (("dax", "bind", "dax99.0"), "no such dax device"),
        (("dax", "bind", "/dev/null", "device_dax"), "no such dax device"),
        (("dax", "unbind", "../../../etc"), "no such dax device"),
        (("dax", "unbind", b"\xff"), "no such dax device"),
    ],
)
def test_what_means_nothing(famfs: Famfs, args: tuple[object, ...], says: str) -> None:
    """It is refused as bad usage."""
    famfs.fails(*args, says=says, code=2)


def test_drivers_that_are_none_of_ours(famfs: Famfs) -> None:
    """kmem in particular: nobody makes a volume the system's RAM by mistake."""
    for driver in ("kmem", "none"):
        run = famfs("dax", "bind", "dax0.0", driver, code=2)
        assert "possible values: fsdev_dax, device_dax" in run.err


@pytest.mark.skipif(Path("/sys/module/famfs").exists(), reason="the module is loaded")
def test_a_module_that_is_not_there(famfs: Famfs) -> None:
    """Loading says how to get one; unloading has nothing to do."""
    famfs.fails("kmod", "load", "--module", famfs.folder / "none.ko", says="check the path")
    assert famfs("kmod", "unload").text == "famfs was not loaded\n"


@needs_root
def test_who_may_not(famfs: Famfs) -> None:
    """Users build into a folder of theirs, and install nothing."""
    user = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
    place = headers(famfs, "@cp $(M)/Kbuild $(M)/famfs.ko")
    famfs.fails("kmod", "build", "--headers", place, says="--output", **user)
    famfs.fails("kmod", "build", "--dkms", "--headers", place, says="--output", **user)
    module = famfs.folder / "famfs.ko"
    module.write_bytes(b"")
    famfs.fails("kmod", "load", "--module", module, says="as root", **user)
    own = famfs.folder / "own"
    own.mkdir()
    own.chmod(0o777)
    famfs("kmod", "build", "--headers", place, "--output", own, **user)
    famfs("kmod", "status", **user)


def test_pages_and_completions(famfs: Famfs) -> None:
    """They know the new commands, those below them too."""
    pages = famfs.folder / "man"
    famfs("man", "--dir", pages)
    for name in ("kmod", "kmod-build", "kmod-status", "dax", "dax-list", "dax-bind", "dax-unbind"):
        assert (pages / f"famfs-{name}.1").exists()
    assert "fsdev_dax" in famfs("completions", "bash").text
