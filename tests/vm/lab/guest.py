"""Guests: virtual machines that share memory, and run what they are told."""

from __future__ import annotations

import base64
import shlex
import shutil
import socket
import subprocess
import sysconfig
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from .archive import LabError, cache, locked, run, unpack
from .initramfs import initramfs
from .kernels import Kernel, archive

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType
    from typing import Self

MIB = 1 << 20
#: The packages of the Python that runs the tests: guests import them from ``/site``.
SITE = Path(sysconfig.get_paths()["purelib"])
#: Where guests see the shared memory, bytes.
SHARED_AT = 1 << 30
TOOLS = ("bash", "base-files", "coreutils", "dash", "kmod", "libc-bin", "mount", "util-linux",
         "python3", "grep", "sed", "findutils", "procps", "diffutils", "mawk",
         "ndctl", "daxctl", "xfsprogs", "libstdc++6")  # fmt: skip


def guest_root() -> Path:
    """The programs of a guest: Debian 12 with Python, unpacked."""
    place = cache() / "roots" / "bookworm"
    with locked("guest-root"):
        if not (place / "complete").exists():
            shutil.rmtree(place, ignore_errors=True)
            unpack(archive("bookworm").download_with_needs(*TOOLS), place)
            (place / "etc/passwd").write_text(
                "root:x:0:0:root:/root:/bin/bash\nuser:x:1000:1000:user:/tmp:/bin/bash\n"
            )
            (place / "etc/group").write_text("root:x:0:\nuser:x:1000:\nfamfs:x:990:user\n")
            (place / "etc/machine-id").touch()
            for name, target in (("usr/bin/awk", "mawk"), ("usr/bin/python", "python3")):
                (place / name).symlink_to(target)
            (place / "complete").touch()
    return place


def take_along(share: Path) -> None:
    """Put into a folder what runs in guests: Python modules, and the program ``touch``."""
    side = Path(__file__).resolve().parents[1] / "guest_side"
    for path in side.glob("*.py"):
        shutil.copy(path, share)
    run("gcc", "-O2", "-Wall", "-Wextra", "-Werror", "-static",
        "-o", share / "touch", side / "touch.c")  # fmt: skip


#: A command that prints what the kernel complained of, and nothing when all is well.
COMPLAINTS = (
    "dmesg | grep -E 'WARNING:|BUG:|kernel BUG|Oops|general protection|blocked for more|UBSAN|"
    "refcount_t|Objects remaining|Call Trace' "
    "|| true"
)


#: Clocks, the time stamp counter too, advance by one nanosecond for each instruction that the guest
#: executes and not with time: they count instructions.
COUNTING = ("-icount", "shift=0")
#: A /dev/pmem0 in raw mode, whose memory has no page structures; the shared one comes after it.
RAW_PMEM = (
    "-machine", "nvdimm=on", "-m", "slots=1,maxmem=8G",
    "-object", "memory-backend-ram,id=raw,size=64M", "-device", "nvdimm,memdev=raw",
)  # fmt: skip


class SharedMemory:
    """Memory that several guests have: a file that each of them maps."""

    def __init__(self, size: int = 512 * MIB) -> None:
        self.size = size
        self.folder = Path(tempfile.mkdtemp(prefix="famfs-lab-", dir="/dev/shm"))
        self.path = self.folder / "memory"
        with self.path.open("wb") as file:
            file.truncate(size)

    def close(self) -> None:
        """Give it back; guests must have ended."""
        shutil.rmtree(self.folder)


class CommandError(LabError):
    """A command in a guest failed."""

    def __init__(self, guest: str, command: str, status: int, output: str) -> None:
        super().__init__(f"{guest}: `{command}` exits with {status}:\n{output}")
        self.status = status
        self.output = output


class Guest:
    """A running virtual machine.

    Args:
        kernel: What it boots.
        memory: What it shares with others.
        way: How it sees that memory: ``"pmem"`` (a block device), ``"dax"`` (a soft-reserved range,
            which becomes a character device) or ``"reserved"`` (memory that nobody claims).
        share: A folder of the host that it sees as ``/host``, read-only.
        machine_id: What tells it from other hosts.
        extra: What else QEMU is told, such as ``COUNTING``.
    """

    def __init__(
        self,
        kernel: Kernel,
        memory: SharedMemory,
        way: str,
        share: Path,
        machine_id: str = "0" * 31 + "1",
        *,
        extra: Sequence[str] = (),
    ) -> None:
        self.name = f"{kernel.series} by {way}"
        self.kernel = kernel
        self.folder = Path(tempfile.mkdtemp(prefix="famfs-guest-"))
        self.console = self.folder / "console"
        listener = socket.socket(socket.AF_UNIX)
        # The host listens and QEMU connects: the other way round, the first bytes can be lost.
        listener.bind(str(self.folder / "agent"))
        listener.listen(1)
        listener.settimeout(60)
        self._qemu = subprocess.Popen(
            [*self._command(kernel, memory, way, share), *extra],
            stdin=subprocess.DEVNULL,
            stdout=(self.folder / "qemu").open("wb"),
            stderr=subprocess.STDOUT,
        )
        try:
            self._socket, _ = listener.accept()
        except TimeoutError:
            self.kill()
            raise LabError(f"QEMU: {(self.folder / 'qemu').read_text()}") from None
        finally:
            listener.close()
        self._unread = b""
        self._machine_id = machine_id
        self._ready = False

    def _command(self, kernel: Kernel, memory: SharedMemory, way: str, share: Path) -> list[str]:
        size = memory.size // MIB
        at = SHARED_AT // MIB
        ways = {
            "pmem": f"memmap={size}M!{at}M",
            "dax": f"memmap={size}M%{at}M-1+0xefffffff",
            "reserved": f"memmap={size}M${at}M",
        }
        own = 1024
        # The last piece keeps the firmware's tables out of the shared range.
        pad = 128
        words = f"""
            qemu-system-x86_64 -accel tcg -cpu max -smp 1 -nographic -nodefaults -no-reboot
            -m {own + size + pad}
            -object memory-backend-ram,id=own,size={own}M
            -object memory-backend-file,id=shared,size={size}M,mem-path={memory.path},share=on
            -object memory-backend-ram,id=pad,size={pad}M
            -numa node,memdev=own -numa node,memdev=shared -numa node,memdev=pad
            -device virtio-serial -chardev socket,id=agent,path={self.folder}/agent
            -device virtserialport,chardev=agent,name=agent
            -fsdev local,id=root,path={guest_root()},security_model=none,readonly=on,multidevs=remap
            -device virtio-9p-pci,fsdev=root,mount_tag=root
            -fsdev local,id=host,path={share},security_model=none,readonly=on,multidevs=remap
            -device virtio-9p-pci,fsdev=host,mount_tag=host
            -fsdev local,id=site,path={SITE},security_model=none,readonly=on,multidevs=remap
            -device virtio-9p-pci,fsdev=site,mount_tag=site
            -serial file:{self.console}
            -kernel {kernel.image} -initrd {initramfs(kernel)}
        """.split()
        arguments = f"console=ttyS0 quiet loglevel=4 panic=-1 {ways[way]} numa=off"
        return [*words, "-append", arguments]

    def _line(self, limit: float) -> str:
        end = time.monotonic() + limit
        while b"\n" not in self._unread:
            self._socket.settimeout(max(end - time.monotonic(), 0.001))
            try:
                more = self._socket.recv(1 << 20)
            except TimeoutError:
                more = b""
            if not more:
                raise LabError(f"{self.name}: no answer in {limit} s\n{self.last_words()}")
            self._unread += more
        line, _, self._unread = self._unread.partition(b"\n")
        return line.decode()

    def last_words(self) -> str:
        """The end of what it printed on its console."""
        if not self.console.exists():
            return ""
        return self.console.read_text(errors="replace")[-6000:]

    def wait_ready(self) -> Self:
        """Wait until it takes commands."""
        if not self._ready:
            line = self._line(120)
            if not line.startswith("ready "):
                raise LabError(f"{self.name}: {line}")
            self._ready = True
            self.run(f"echo {self._machine_id} > /etc/machine-id")
        return self

    def start(self, command: str) -> None:
        """Send a command; ``finish`` waits for it."""
        self.wait_ready()
        self._socket.settimeout(60)
        self._socket.sendall(base64.b64encode(command.encode()) + b"\n")

    def finish(self, limit: float = 120) -> tuple[int, str]:
        """The exit status and output of the command that was started."""
        status, _, output = self._line(limit).partition(" ")
        return int(status), base64.b64decode(output).decode(errors="replace")

    def run(self, command: str, *, limit: float = 120) -> str:
        """Run a command by bash and return its output.

        Raises:
            CommandError: It exits with another status than 0.
        """
        status, output = self.attempt(command, limit=limit)
        if status != 0:
            raise CommandError(self.name, command, status, output)
        return output

    def attempt(self, command: str, *, limit: float = 120) -> tuple[int, str]:
        """Run a command by bash and return its exit status and output."""
        self.start(command)
        return self.finish(limit)

    def python(self, program: str, *arguments: str, limit: float = 120) -> str:
        """Run a Python program and return its output."""
        return self.run(shlex.join(["python3", "-c", program, *arguments]), limit=limit)

    def complaints(self) -> str:
        """What the kernel complained of: warnings with a trace, bugs, hung tasks."""
        return self.run(COMPLAINTS)

    def kill(self) -> None:
        """End it at once, as a power cut does."""
        self._qemu.kill()
        self._qemu.wait()

    def close(self) -> None:
        """End it, and forget what it printed."""
        self._socket.close()
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
