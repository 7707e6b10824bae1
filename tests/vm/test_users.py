"""Users who may not place files publish through the mount's follower."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from lab.guest import Guest, SharedMemory
from media import MIB

from conftest import MNT, Way

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Lab

WAY = Way("7", "pmem")
#: In the group, and not.
ANN = "setpriv --reuid 1000 --regid 1000 --groups 990"
BOB = "setpriv --reuid 1002 --regid 1002 --groups 990,1500"
EVE = "setpriv --reuid 1001 --regid 1001 --clear-groups"
PUB = f"{MNT}/pub"


@pytest.fixture(scope="module")
def guest(lab: Lab) -> Iterator[Guest]:
    """A host whose memory is full of what others have written, with a mount that is followed."""
    lab.close()
    memory = SharedMemory()
    secret = b"secret" * (MIB // 6)
    with memory.path.open("r+b") as file:
        for at in range(16 * MIB, memory.size - MIB, MIB):
            file.seek(at)
            file.write(secret)
    guest = lab.start(WAY, memory)
    guest.run(
        f"famfs mkfs --force /dev/pmem0 && famfs mount --kernel /dev/pmem0 {MNT}; "
        f"famfs mkdir -m 1777 {PUB}; famfs mkdir -m 755 {MNT}/roots; "
        f"famfs logplay --follow {MNT} > /tmp/follower 2>&1 & "
        "for n in $(seq 50); do ls /run/famfs/follow/*.socket && break; sleep 0.1; done"
    )
    yield guest
    guest.close()
    memory.close()


@pytest.fixture(autouse=True)
def quiet(guest: Guest) -> Iterator[None]:
    """After each test the kernel has nothing to complain of."""
    yield
    assert guest.complaints() == ""


def used(guest: Guest) -> int:
    """Bytes of the volume that are taken or promised, as who publishes next sees them."""
    (report,) = json.loads(guest.run(f"famfs df --json {MNT}"))
    return int(report["allocated"])


def test_a_users_file_is_the_users(guest: Guest) -> None:
    guest.run(f"umask 027; {ANN} famfs creat -s 3M --randomize --seed 5 {PUB}/file")
    assert guest.run(f"stat -c '%u %g %a' {PUB}/file") == "1000 1000 640\n"
    guest.run(f"famfs verify -S 5 -f {PUB}/file; {ANN} famfs verify -S 5 -f {PUB}/file")
    assert guest.attempt(f"{BOB} cat {PUB}/file > /dev/null")[0] == 1


def test_a_table_from_python(guest: Guest) -> None:
    program = (
        "import famfs, pyarrow as pa, sys\n"
        "table = pa.table({'n': range(1_000_000)})\n"
        "famfs.publish(table, sys.argv[1])\n"
        "print(famfs.open(sys.argv[1]).to_arrow().equals(table))\n"
    )
    guest.run(f"cat > /tmp/publish.py <<'END'\n{program}END")
    assert guest.run(f"{ANN} python3 /tmp/publish.py {PUB}/table") == "True\n"
    assert guest.run(f"stat -c %u {PUB}/table") == "1000\n"


def test_free_space_shows_nothing_of_others(guest: Guest) -> None:
    """Cleared before the user has the file, who could look before it writes."""
    guest.run(f"{ANN} famfs creat -s 5000001 {PUB}/zeros")
    assert guest.run(f"tr -d '\\0' < {PUB}/zeros | wc -c") == "0\n"
    # To the end of the last page, which whoever maps the file sees too.
    program = (
        "import ctypes, os, sys; libc = ctypes.CDLL(None); libc.mmap.restype = ctypes.c_void_p; "
        "at = libc.mmap(None, ctypes.c_size_t(5001216), 1, 1, os.open(sys.argv[1], 0), 0); "
        "print(any(ctypes.string_at(at, 5001216)[5000001:]))"
    )
    assert guest.python(program, f"{PUB}/zeros") == "False\n"


def test_directories_decide(guest: Guest) -> None:
    status, output = guest.attempt(f"{ANN} famfs creat -s 4096 {MNT}/roots/mine")
    assert (status, "ask the owner of its directory" in output) == (1, True), output
    for name, error in (
        ("none/x", "does not exist"),
        ("file/x", "not a directory"),
        ("file", "exists already"),
    ):
        status, output = guest.attempt(f"{ANN} famfs creat -s 4096 {PUB}/{name}")
        assert (status, error in output) == (1, True), output
    # By a group that isn't the first one.
    guest.run(f"famfs mkdir -m 2775 -g 1500 {MNT}/shared")
    guest.run(f"{BOB} famfs mkdir {MNT}/shared/bobs; {BOB} famfs creat -s 1 {MNT}/shared/bobs/x")
    status, output = guest.attempt(f"{ANN} famfs mkdir {MNT}/shared/anns")
    assert (status, "permission denied" in output) == (1, True), output


def test_names_of_others_stay(guest: Guest) -> None:
    guest.run(f"echo one > /tmp/one; echo two > /tmp/two; {ANN} famfs cp /tmp/one {PUB}/name")
    for command in (f"cp --force /tmp/two {PUB}/name", f"rm {PUB}/name"):
        status, output = guest.attempt(f"{BOB} famfs {command}")
        assert (status, "another user's name" in output) == (1, True), output
    assert guest.run(f"{ANN} famfs cp --force /tmp/two {PUB}/name; cat {PUB}/name") == "two\n"
    guest.run(f"{ANN} famfs rm {PUB}/name; [ ! -e {PUB}/name ]")


def test_others_are_told_what_it_takes(guest: Guest) -> None:
    status, output = guest.attempt(f"{EVE} famfs creat -s 4096 {PUB}/hers")
    assert (status, "members of the group famfs" in output) == (1, True), output
    # Reading takes nothing.
    guest.run(f"{EVE} famfs cat {PUB}/zeros > /dev/null")


def test_what_a_killed_user_had_is_free_again(guest: Guest) -> None:
    free = "famfs creat -s 300M"
    fill = f"(sleep 600 | {ANN} hand_over fill {MNT} x > /tmp/token) > /dev/null 2>&1 &"
    guest.run(f"{fill} for n in $(seq 50); do [ -s /tmp/token ] && break; sleep 0.1; done")
    before = used(guest)
    guest.run("pkill -9 hand_over; pkill sleep; sleep 0.3")
    # Nearly all of the device at once: a page that is still promised would be in the way.
    guest.run(f"{ANN} {free} {PUB}/large && {ANN} famfs rm {PUB}/large")
    assert used(guest) >= before


@pytest.mark.parametrize("user", ["", ANN], ids=["root", "user"])
def test_a_reservation_goes_from_process_to_process(guest: Guest, user: str) -> None:
    name = f"{PUB}/handed-{'user' if user else 'root'}"
    said = guest.run(
        f"""
        mkfifo /tmp/fill /tmp/commit; rm -f /tmp/token /tmp/taken
        {user} hand_over fill {MNT} "some text" < /tmp/fill > /tmp/token 2> /tmp/said &
        exec 5> /tmp/fill
        for n in $(seq 50); do [ -s /tmp/token ] && break; sleep 0.1; done
        {user} hand_over commit $(cat /tmp/token) {name} \
            < /tmp/commit > /tmp/taken 2>> /tmp/said 5>&- &
        exec 6> /tmp/commit
        for n in $(seq 50); do [ -s /tmp/taken ] && break; sleep 0.1; done
        exec 5>&-; sleep 0.3; exec 6>&-; wait; rm /tmp/fill /tmp/commit; cat /tmp/said
        """
    )
    assert said == ""
    assert guest.run(f"cat {name}") == "some text"
    # Of others nobody takes part in anything.
    token = "00000000-0000-4000-8000-000000000000"
    status, output = guest.attempt(f"{ANN} hand_over commit {token} {PUB}/none < /dev/null")
    assert (status, token in output) == (1, True), output


RAW = """
import glob, json, socket, struct, sys
path, = glob.glob("/run/famfs/follow/*.socket")
def talk(*messages):
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(10)
        s.connect(path)
        answers = []
        for message in messages:
            body = json.dumps(message).encode()
            s.sendall(struct.pack("<I", len(body)) + body)
            head = s.recv(4, socket.MSG_WAITALL)
            if len(head) < 4:
                return answers + ["ended"]
            answers.append(json.loads(s.recv(struct.unpack("<I", head)[0], socket.MSG_WAITALL)))
        return answers
def raw(data):
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(10)
        s.connect(path)
        s.sendall(data)
        s.shutdown(socket.SHUT_WR)
        return s.recv(100)
named = lambda path, uid=0, mode=0o644: {
    "path": list(path), "uid": uid, "gid": 0, "mode": mode}
"""
HOSTILE = f"""{RAW}
assert raw(b"\\xff\\xff\\xff\\xff") == b""
assert raw(b"\\x05\\0\\0\\0[[[[[") == b""
assert raw(b"\\x05\\0") == b""
assert raw(b"\\x14\\0\\0\\0" + b"[" * 20) == b""
def refused(*messages):
    return talk(*messages)[-1]["Refused"]["message"]
big = {{"Reserve": {{"size": 2**64 - 1, "layout": "Contiguous"}}}}
print(refused(big))
odd = {{"Interleaved": {{"strips": 2**40, "buckets": 0, "chunk_size": 3}}}}
print(refused({{"Reserve": {{"size": 5, "layout": odd}}}}))
for name in (b"../x", b"/etc/x", b"", b"pub/" + b"x" * 80, b".meta/x", b"pub/a\\0b"):
    print(refused({{"Mkdir": {{"named": named(name)}}}}))
mine = {{"Reserve": {{"size": 4096, "layout": "Contiguous"}}}}
with socket.socket(socket.AF_UNIX) as s:
    s.connect(path)
    body = json.dumps(mine).encode()
    s.sendall(struct.pack("<I", len(body)) + body)
    head = s.recv(4, socket.MSG_WAITALL)
    got = json.loads(s.recv(struct.unpack("<I", head)[0], socket.MSG_WAITALL))
    token = got["Reserved"]["token"]
    # Another connection does not hold it.
    file = {{"token": token, "named": named(b"pub/stolen"), "overwrite": False}}
    print(refused({{"Commit": {{"files": [file]}}}}))
    # Held twice by this one it is not committed, and released once too often it is gone.
    print(talk({{"Adopt": {{"token": token}}}}, {{"Release": {{"token": token}}}},
               {{"Release": {{"token": token}}}}, {{"Commit": {{"files": [file]}}}})[-1])
# Nobody becomes another, nor makes what others become.
answers = talk(mine)
token = answers[0]["Reserved"]["token"]
made = talk({{"Mkdir": {{"named": named(b"pub/rootish", 0, 0o7777)}}}})
print(made)
"""


def test_what_makes_no_sense_is_refused(guest: Guest) -> None:
    guest.run(f"cat > /tmp/hostile.py <<'END'\n{HOSTILE}END")
    output = guest.run(f"{ANN} python3 /tmp/hostile.py")
    assert output.count("not a valid path") == 6, output
    assert "where mounts by the kernel keep their own" in output
    assert output.count("reservation") >= 2, output
    assert guest.run(f"stat -c '%u %g %a' {PUB}/rootish") == "1000 1000 1777\n"
    assert guest.attempt(f"ls {PUB}/stolen")[0] != 0


GREEDY = f"""{RAW}
import os, subprocess, time
def ask(s, message):
    body = json.dumps(message).encode()
    s.sendall(struct.pack("<I", len(body)) + body)
    head, fds, _, _ = socket.recv_fds(s, 4, 1)
    return json.loads(s.recv(struct.unpack("<I", head)[0], socket.MSG_WAITALL)), fds
def connect():
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(20)
    s.connect(path)
    return s
reserve = lambda size: {{"Reserve": {{"size": size, "layout": "Contiguous"}}}}
print(ask(connect(), {{"Commit": {{"files": []}}}})[0])
# Space that is given up, and a file over it that is kept.
s = connect()
_, kept = ask(s, reserve(200 << 20))
s.close()
# More files than one user may have under way, over several connections.
greedy, count = [connect() for _ in range(3)], 0
for s in greedy * 500:
    answer, fds = ask(s, reserve(0))
    for fd in fds:
        os.close(fd)
    if "Refused" in answer:
        print(count, answer["Refused"]["message"])
        break
    count += 1
# More connections than one user may have: they end at once.
many = [connect() for _ in range(100)]
print("waiting", flush=True)
time.sleep(600)
"""


def test_who_is_greedy_is_alone_with_it(guest: Guest) -> None:
    guest.run(f"cat > /tmp/greedy.py <<'END'\n{GREEDY}END")
    guest.run(
        f"({ANN} python3 /tmp/greedy.py > /tmp/greedy 2>&1 &) ; "
        "for n in $(seq 300); do grep -qE 'waiting|Error' /tmp/greedy && break; sleep 0.1; done"
    )
    output = guest.run("cat /tmp/greedy")
    assert "{'Slots': []}" in output
    assert "1024 " in output
    assert "at most 1024 files under way" in output
    assert "waiting" in output
    for name, user in (("anothers", BOB), ("roots", "")):
        guest.run(f"{user} famfs creat -s 10M --randomize --seed 8 {PUB}/{name}")
        guest.run(f"famfs verify -S 8 -f {PUB}/{name}")
    guest.run("pkill -f greedy.py; sleep 0.3")
    guest.run(f"{ANN} famfs creat -s 4096 {PUB}/again")


def test_nobody_else_holds_up_who_publishes(guest: Guest) -> None:
    """What publishers wait for is not a user's to take."""
    for file, error in (
        (f"{MNT}/.meta/.log", "Permission denied"),
        ("/run/famfs/*/reservations", "Permission denied"),
        ("/run/famfs/follow/*-*[0-9]", "Permission denied"),
    ):
        status, output = guest.attempt(f"{EVE} sh -c 'exec flock -n '{file}' true'")
        assert status != 0
        assert error in output, (file, output)
    # Names come from the log, and go with it.
    guest.run(f"{ANN} famfs mkdir {PUB}/anns")
    for command in ("mkdir", "rmdir"):
        status, output = guest.attempt(f"{ANN} {command} {PUB}/anns{'/x' * (command == 'mkdir')}")
        assert (status, "Operation not permitted" in output) == (1, True), output
    guest.run(f"{ANN} famfs rm {PUB}/anns; [ ! -e {PUB}/anns ]")


def test_without_the_group_root_alone_connects(guest: Guest) -> None:
    guest.run(
        f"pkill -f -- --follow; sleep 0.3; cp /etc/group /tmp/group; sed -i /^famfs:/d /etc/group; "
        f"famfs logplay --follow {MNT} > /tmp/follower2 2>&1 & "
        "for n in $(seq 50); do ls /run/famfs/follow/*.socket && break; sleep 0.1; done"
    )
    status, output = guest.attempt(f"{ANN} famfs creat -s 4096 {PUB}/none")
    assert (status, "members of the group famfs" in output) == (1, True), output
    assert "groupadd -r famfs" in guest.run("cat /tmp/follower2")
    guest.run(
        f"pkill -f -- --follow; sleep 0.3; cp /tmp/group /etc/group; "
        f"famfs logplay --follow {MNT} >> /tmp/follower 2>&1 & sleep 1"
    )
    guest.run(f"{ANN} famfs creat -s 4096 {PUB}/after")


def test_the_follower_is_there_still(guest: Guest) -> None:
    guest.run(f"{ANN} famfs creat -s 4096 {PUB}/last")
    assert "panicked" not in guest.run("cat /tmp/follower")
    guest.run(f"famfs fsck {MNT}; famfs umount {MNT}; ls /run/famfs/follow")
    assert guest.complaints() == ""
