"""Transactions: files that appear together, from threads and processes, or never."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import textwrap
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import numpy as np
import pyarrow as pa
import pytest

import famfs


def names(mnt):
    return sorted(entry.name for entry in famfs.ls(mnt))


def used(mnt):
    return famfs.df(mnt).allocated


def all_is_free(mnt):
    """Whether what the volume has free can be had: nobody holds reservations."""
    tx = famfs.transaction(mnt)
    for i in range(famfs.df(mnt).free >> 21):
        tx.publish(b"x", f"{mnt}/.{i}")
    tx.abandon()
    return True


def work(token, mnt, number):
    """What a worker does: a function, so that it can be sent to other processes."""
    with famfs.transaction(token=token) as part:
        part.publish(np.full(1000, number), f"{mnt}/part{number}")
    return os.getpid()


def test_files_appear_together(mnt):
    with famfs.transaction() as tx:
        tx.publish(b"bytes", f"{mnt}/bytes")
        tx.publish(np.arange(10), f"{mnt}/array")
        tx.publish({"a": np.arange(3)}, f"{mnt}/table")
        with tx.create(f"{mnt}/built", 5, np.int64) as array:
            array[:] = 7
        with tx.create_table(f"{mnt}/rows", pa.schema({"a": pa.int8()}), 2) as t:
            t.fill("a", [1, 2])
        assert famfs.ls(mnt) == []
        with pytest.raises(famfs.FamfsError, match="no references yet"):
            _ = tx.refs
    assert names(mnt) == ["array", "built", "bytes", "rows", "table"]
    indices = [ref.index for ref in tx.refs]
    assert indices == list(range(indices[0], indices[0] + 5))
    assert [ref.path for ref in tx.refs] == ["bytes", "array", "table", "built", "rows"]
    assert famfs.open(tx.refs[1]).to_numpy().sum() == 45
    assert famfs.open(tx.refs[3]).to_numpy().tolist() == [7] * 5
    assert famfs.open(tx.refs[4]).to_arrow()["a"].to_pylist() == [1, 2]


def test_a_block_that_raises_leaves_nothing(mnt):
    before = used(mnt)
    with pytest.raises(KeyError), famfs.transaction() as tx:
        tx.publish(b"one", f"{mnt}/one")
        with tx.create(f"{mnt}/two", 1 << 20, "u1") as array:
            array[:] = 1
        raise KeyError
    assert famfs.ls(mnt) == []
    assert used(mnt) == before
    assert all_is_free(mnt)
    with pytest.raises(famfs.FamfsError, match="has ended"):
        tx.publish(b"late", f"{mnt}/late")


def test_one_name_that_is_taken_takes_all_with_it(mnt):
    tx = famfs.transaction()
    tx.publish(b"one", f"{mnt}/one")
    tx.publish(b"two", f"{mnt}/two")
    famfs.publish(b"other", f"{mnt}/two")
    with pytest.raises(famfs.AlreadyExists), tx:
        pass
    assert names(mnt) == ["two"]
    assert bytes(famfs.open(f"{mnt}/two").buffer()) == b"other"
    assert all_is_free(mnt)


def test_a_commit_that_failed_can_be_tried_again(mnt):
    tx = famfs.transaction()
    tx.publish(b"one", f"{mnt}/one")
    famfs.publish(b"other", f"{mnt}/one")
    with pytest.raises(famfs.AlreadyExists):
        tx.commit()
    famfs.remove(f"{mnt}/one")
    assert [ref.path for ref in tx.commit()] == ["one"]
    assert bytes(famfs.open(f"{mnt}/one").buffer()) == b"one"
    with pytest.raises(famfs.FamfsError, match="has ended"):
        tx.commit()


def test_one_path_twice_is_refused(mnt):
    with famfs.transaction() as tx:
        tx.publish(b"one", f"{mnt}/one")
        with pytest.raises(famfs.AlreadyExists, match="has a file for it already"):
            tx.publish(b"again", f"{mnt}/one", overwrite=True)
        with famfs.transaction(token=tx.token) as part:
            with pytest.raises(famfs.AlreadyExists, match="has a file for it already"):
                part.publish(b"again", f"{mnt}/one")
            part.publish(b"two", f"{mnt}/two")
        with pytest.raises(famfs.AlreadyExists, match="has a file for it already"):
            tx.publish(b"again", f"{mnt}/two")
    assert names(mnt) == ["one", "two"]
    assert bytes(famfs.open(f"{mnt}/one").buffer()) == b"one"


def test_versions_are_put_in_place_together(mnt):
    old = [famfs.publish(b"old", f"{mnt}/{name}") for name in "ab"]
    with famfs.transaction() as tx:
        for name in "ab":
            tx.publish(b"new", f"{mnt}/{name}", overwrite=True, mode=0o640)
        assert bytes(famfs.open(f"{mnt}/a").buffer()) == b"old"
    for name, ref in zip("ab", old, strict=True):
        assert bytes(famfs.open(f"{mnt}/{name}").buffer()) == b"new"
        assert bytes(famfs.open(ref).buffer()) == b"old"
        assert famfs.stat(f"{mnt}/{name}").mode & 0o777 == 0o640


def test_two_volumes_are_two_transactions(mnt):
    with famfs.embedded(size="64MiB") as other:
        with famfs.transaction() as tx:
            tx.publish(b"x", f"{mnt}/x")
            with pytest.raises(famfs.Unsupported, match="a transaction for each volume"):
                tx.publish(b"y", f"{other}/y")
        with famfs.transaction(other) as tx:
            with pytest.raises(famfs.Unsupported, match="a transaction for each volume"):
                tx.publish(b"z", f"{mnt}/z")
            tx.publish(b"y", f"{other}/y")
        assert (names(mnt), names(other)) == (["x"], ["y"])


def test_threads_share_one(large):
    mnt = large
    with famfs.transaction() as tx, ThreadPoolExecutor(8) as pool:
        made = [pool.submit(tx.publish, np.full(500, i), f"{mnt}/{i}") for i in range(40)]
        for one in made:
            one.result()
        assert famfs.ls(mnt) == []
    assert len(tx.refs) == 40
    for ref in tx.refs:
        assert famfs.open(ref).to_numpy().tolist() == [int(ref.path)] * 500


@pytest.mark.parametrize("method", ["spawn", "fork", "forkserver"])
def test_processes_fill_and_the_owner_commits(mnt, method):
    with famfs.transaction(mnt) as tx:
        tx.publish(b"own", f"{mnt}/own")
        context = multiprocessing.get_context(method)
        with ProcessPoolExecutor(2, mp_context=context) as pool:
            pids = list(pool.map(work, [tx.token] * 5, [mnt] * 5, range(5)))
        # All of them have ended: what they filled is there all the same.
        assert os.getpid() not in pids
        assert famfs.ls(mnt) == []
        for other in range(20):
            famfs.publish(np.full(200_000, -1), f"{mnt}/other", overwrite=other > 0)
    assert names(mnt) == ["other", "own", *(f"part{i}" for i in range(5))]
    for i in range(5):
        assert famfs.open(f"{mnt}/part{i}").to_numpy().tolist() == [i] * 1000
    assert len(tx.refs) == 6


class Worker:
    """A process that does what it is told by lines."""

    def __init__(self, code, *arguments):
        self.process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def says(self):
        return self.process.stdout.readline().strip()

    def tell(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def end(self):
        self.process.stdin.close()
        return self.process.wait(timeout=60)


FILLER = """
    import sys, famfs, numpy as np
    token, mnt = sys.argv[1:]
    with famfs.transaction(token=token) as part:
        part.publish(b"whole", f"{mnt}/whole")
        with part.create(f"{mnt}/half", 1 << 20, "u1") as array:
            array[: 1 << 19] = 1
            print("half", flush=True)
            sys.stdin.readline()
            array[1 << 19 :] = 1
    print("left", flush=True)
    sys.stdin.readline()
"""


def test_a_commit_waits_for_nobody_but_refuses_while_one_writes(mnt):
    with famfs.transaction(mnt) as tx:
        worker = Worker(FILLER, tx.token, mnt)
        assert worker.says() == "half"
        with pytest.raises(famfs.Busy, match=f"process {worker.process.pid} still writes"):
            tx.commit()
        assert famfs.ls(mnt) == []
        worker.tell()
        # It has left its block, and lives on.
        assert worker.says() == "left"
    worker.end()
    assert names(mnt) == ["half", "whole"]
    assert famfs.open(f"{mnt}/half").to_numpy().all()


def test_what_a_killed_worker_had_begun_is_never_seen(mnt):
    with famfs.transaction(mnt) as tx:
        tx.publish(b"own", f"{mnt}/own")
        worker = Worker(FILLER, tx.token, mnt)
        assert worker.says() == "half"
        worker.kill()
        for _ in range(2):
            with pytest.raises(famfs.Busy, match=f"process {worker.process.pid} began it"):
                tx.commit()
        assert famfs.ls(mnt) == []
        # Another one does it again, all of it.
        again = Worker(FILLER, tx.token, mnt)
        assert again.says() == "half"
        again.tell()
        assert again.says() == "left"
        again.end()
    assert names(mnt) == ["half", "own", "whole"]
    assert famfs.open(f"{mnt}/half").to_numpy().all()
    assert all_is_free(mnt)


def test_a_commit_of_named_files_publishes_those_or_nothing(mnt):
    with famfs.transaction(mnt) as tx:
        tx.publish(b"own", f"{mnt}/own")
        with famfs.transaction(token=tx.token) as part:
            part.publish(b"part", f"{mnt}/part")
            with pytest.raises(famfs.FamfsError, match="owner"):
                part.commit(files=[f"{mnt}/part"])
        for wrong, says in [
            (["own"], "part is filled, and not told of"),
            (["own", "part", "lost"], "lost is not filled"),
            ([], "own is filled"),
        ]:
            with pytest.raises(famfs.Busy, match=says):
                tx.commit(files=[f"{mnt}/{name}" for name in wrong])
            assert famfs.ls(mnt) == []
        for wrong in (f"{mnt}/own", 5):
            with pytest.raises(famfs.Unsupported, match="a list"):
                tx.commit(files=wrong)
        with (
            famfs.embedded(size="64MiB") as other,
            pytest.raises(famfs.Unsupported, match="on another volume"),
        ):
            tx.commit(files=[f"{mnt}/part", f"{other}/own"])
        assert famfs.ls(mnt) == []
        tx.commit(files=[f"{mnt}/part", f"{mnt}/own"])
    assert names(mnt) == ["own", "part"]
    with pytest.raises(famfs.Busy, match="x is not filled"), famfs.transaction() as tx:
        tx.commit(files=[f"{mnt}/x"])


def test_a_refused_commit_at_the_end_leaves_nothing(mnt):
    before = used(mnt)
    with pytest.raises(famfs.Busy, match="began it"), famfs.transaction(mnt) as tx:
        tx.publish(b"own", f"{mnt}/own")
        worker = Worker(FILLER, tx.token, mnt)
        assert worker.says() == "half"
        worker.kill()
    assert famfs.ls(mnt) == []
    assert used(mnt) == before
    assert all_is_free(mnt)


def test_a_worker_that_raises_is_as_one_that_is_killed(mnt):
    with famfs.transaction(mnt) as tx:
        with pytest.raises(KeyError), famfs.transaction(token=tx.token) as part:
            part.publish(b"first", f"{mnt}/x")
            raise KeyError
        with pytest.raises(famfs.Busy, match="x: process .* began it"):
            tx.commit()
        with famfs.transaction(token=tx.token) as part:
            part.publish(b"second", f"{mnt}/x")
    assert bytes(famfs.open(f"{mnt}/x").buffer()) == b"second"


def test_who_takes_part_may_give_up_before_it_began(mnt):
    with famfs.transaction(mnt) as tx:
        with pytest.raises(KeyError), famfs.transaction(token=tx.token):
            raise KeyError
        with famfs.transaction(token=tx.token) as part:
            part.publish(b"x", f"{mnt}/x")
            assert part.commit() == []
        with pytest.raises(famfs.FamfsError, match="has ended"):
            part.publish(b"y", f"{mnt}/y")
    assert names(mnt) == ["x"]


OWNER = """
    import os, sys, famfs
    mnt = sys.argv[1]
    with famfs.transaction(mnt) as tx:
        tx.publish(bytes(4 << 20), f"{mnt}/own")
        print(tx.token, flush=True)
        sys.stdin.readline()
"""


def test_a_killed_owner_leaves_nothing_of_anybody(mnt):
    before = used(mnt)
    owner = Worker(OWNER, mnt)
    token = owner.says()
    worker = Worker(FILLER, token, mnt)
    assert worker.says() == "half"
    late = famfs.transaction(token=token)
    late.publish(bytes(1 << 20), f"{mnt}/late")
    late.commit()
    owner.kill()
    with pytest.raises(famfs.FamfsError, match="is not there"):
        famfs.transaction(token=token)
    # Who is at it still finds out at the end.
    worker.tell()
    assert worker.says() == ""
    assert worker.end() == 1
    assert famfs.ls(mnt) == []
    assert used(mnt) == before
    assert all_is_free(mnt)


def test_what_was_left_to_the_owner_is_nobody_elses(mnt):
    """Space of a part whose process has ended is not given to others meanwhile."""
    with famfs.transaction(mnt) as tx:
        worker = Worker(FILLER, tx.token, mnt)
        assert worker.says() == "half"
        worker.tell()
        assert worker.says() == "left"
        worker.kill()
        free = famfs.df(mnt).free
        with pytest.raises(famfs.NoSpace):
            famfs.publish(np.zeros(free - (2 << 20), "u1"), f"{mnt}/all")
        for i in range(5):
            famfs.publish(np.full(1 << 20, 9, "u1"), f"{mnt}/other{i}")
    assert famfs.open(f"{mnt}/half").to_numpy().tolist() == [1] * (1 << 20)


def test_a_killed_owner_that_forked_leaves_nothing(mnt):
    """A child that lives on does not keep its parent's transaction alive."""
    code = """
        import os, sys, time, famfs
        mnt = sys.argv[1]
        tx = famfs.transaction(mnt)
        tx.publish(bytes(4 << 20), f"{mnt}/own")
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                tx.publish(b"x", f"{mnt}/child")
            except famfs.FamfsError as error:
                print("refused", os.getpid(), tx.token, flush=True)
            time.sleep(60)
            os._exit(0)
        sys.stdin.readline()
    """
    owner = Worker(code, mnt)
    word, child, token = owner.says().split()
    assert word == "refused"
    with famfs.transaction(token=token) as part:
        part.publish(bytes(1 << 20), f"{mnt}/part")
    owner.kill()
    try:
        with pytest.raises(famfs.FamfsError, match="is not there"):
            famfs.transaction(token=token)
        assert all_is_free(mnt)
    finally:
        os.kill(int(child), signal.SIGKILL)


def test_readers_see_all_or_none(large):
    """While transactions put ten versions in place at a time, a reader counts what it sees."""
    mnt = large
    code = """
        import sys, famfs
        mnt = sys.argv[1]
        while True:
            entries = famfs.ls(mnt)
            kinds = {e.size for e in entries}
            assert len(entries) == 10 and len(kinds) == 1, entries
            if kinds == {21}:
                break
            print(kinds.pop(), flush=True)
    """
    with famfs.transaction() as tx:
        for i in range(10):
            tx.publish(bytes(1), f"{mnt}/{i}")
    reader = Worker(code, mnt)
    assert reader.says() == "1"
    for size in range(2, 22):
        with famfs.transaction() as tx:
            for i in range(10):
                tx.publish(bytes(size), f"{mnt}/{i}", overwrite=True)
    reader.process.stdout.read()
    assert reader.end() == 0


def test_tokens_that_are_none_and_transactions_that_have_ended(mnt, tmp_path):
    for text in ["", "x", "famfs-transaction:1:2", "famfs://x#1"]:
        with pytest.raises(famfs.FamfsError, match="not a transaction's token"):
            famfs.transaction(token=text)
    with famfs.transaction(mnt) as tx:
        token = tx.token
        with pytest.raises(famfs.FamfsError, match="give one of the two"):
            famfs.transaction(mnt, token=token)
        with pytest.raises(famfs.FamfsError, match="hand over its token"):
            pickle.dumps(tx)
        assert pickle.loads(pickle.dumps(token)) == token
        assert "owner, under way" in repr(tx)
    assert tx.refs == []
    assert "committed, 0 files" in repr(tx)
    for late in [lambda: tx.token, lambda: famfs.transaction(token=token)]:
        with pytest.raises(famfs.FamfsError, match="ended|is not there"):
            late()
    with pytest.raises(famfs.NotMounted):
        famfs.transaction("/nowhere")
    uuid = token.rpartition(":")[2]
    with pytest.raises(famfs.NotMounted):
        famfs.transaction(token=f"famfs-transaction:{uuid}:{uuid}")


def test_the_volume_is_said_before_the_token_where_there_are_several(mnt):
    with famfs.embedded(size="64MiB") as other:
        tx = famfs.transaction()
        with pytest.raises(famfs.FamfsError, match="say where the transaction is"):
            _ = tx.token
        tx.publish(b"x", f"{other}/x")
        with famfs.transaction(token=tx.token) as part:
            part.publish(b"y", f"{other}/y")
        tx.commit()
        assert names(other) == ["x", "y"]


def test_a_transaction_in_a_library_mount(large, run):
    code = """
        import sys, famfs, numpy as np
        token, mnt = sys.argv[1:]
        with famfs.transaction(token=token) as part:
            part.publish(np.arange(1000), f"{mnt}/d/part")
    """
    famfs.mkdir(f"{large}/d")
    with famfs.transaction(large) as tx:
        tx.publish(b"own", f"{large}/d/own")
        run(code, tx.token, large)
    assert names(f"{large}/d") == ["own", "part"]


def test_nothing_is_lost_after_an_empty_commit(mnt):
    with famfs.transaction() as tx:
        assert tx.commit() == []
        with pytest.raises(famfs.FamfsError, match="ended"):
            tx.publish(b"x", f"{mnt}/x")
