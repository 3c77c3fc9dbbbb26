"""What SqliteStore has acknowledged survives: SIGKILL at any moment, a disk that is full."""

import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.fakes.clock import FakeClock
from tools.processes import environment, unmeasured
from wg_dynamic.store.sqlite import SqliteStore

PREAMBLE = """
import sys
from pathlib import Path
from wg_dynamic.leases.lease import Lease
from wg_dynamic.store.base import Moment, StoreError
from wg_dynamic.store.sqlite import SqliteStore
moment = Moment(1000.0, 1_700_000_000.0, "1")
def lease(n, ends_at=5000.0):
    return Lease(n.to_bytes(32, "big"), n.to_bytes(16, "big"), 3600.0, ends_at)
"""

# Each commit is of two rows: a new lease, and one row that every commit renews.
COMMIT_FOR_EVER = (
    PREAMBLE
    + """
store = SqliteStore(Path(sys.argv[1]))
n = max([int.from_bytes(one.address, "big") for one in store.load(moment)], default=1)
print("open", flush=True)
while True:
    n += 1
    store.commit([lease(n), lease(1, 5000.0 + n)], moment)
    print(n, flush=True)
"""
)

FILL_THE_DISK = (
    PREAMBLE
    + """
import os
mount = Path(sys.argv[1])
store = SqliteStore(mount / "wg0.sqlite")
store.commit([lease(n) for n in range(1, 101)], moment)
filler = os.open(mount / "filler", os.O_WRONLY | os.O_CREAT)
try:
    while True:
        os.write(filler, bytes(4096))
except OSError:
    pass
refused = 0
known = 100
for n in range(200, 1200):
    try:
        store.commit([lease(m) for m in range(n * 1000, n * 1000 + 50)], moment)
        known += 50
    except StoreError as error:
        assert "full" in str(error), error
        refused += 1
        if refused == 3:
            break
assert refused == 3
assert len(store.load(moment)) == known, "a refused commit left something"
os.ftruncate(filler, 0)
store.commit([lease(101)], moment)
assert len(store.load(moment)) == known + 1
assert store.check() == []
store.close()
store = SqliteStore(mount / "wg0.sqlite")
assert len(store.load(moment)) == known + 1
# Full from the start, too: it is said, and nothing is lost.
store.close()
try:
    while True:
        os.write(filler, bytes(4096))
except OSError:
    pass
try:
    SqliteStore(mount / "wg0.sqlite").close()
    print("opened on a full disk")
except StoreError as error:
    print("refused on a full disk:", error)
os.ftruncate(filler, 0)
store = SqliteStore(mount / "wg0.sqlite")
assert len(store.load(moment)) == known + 1
print("all there")
"""
)

DIE_AT_EACH_STATEMENT = (
    PREAMBLE
    + """
import os, signal, sqlite3
connect = sqlite3.connect

def make_and_die(path, step):
    left = [step]
    def count(_statement):
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        left[0] -= 1
    def traced(*args, **kwargs):
        db = connect(*args, **kwargs)
        db.set_trace_callback(count)
        return db
    sqlite3.connect = traced
    SqliteStore(path)
    os._exit(0)

for step in range(100):
    path = Path(sys.argv[1]) / f"{step}.sqlite"
    child = os.fork()
    if child == 0:
        make_and_die(path, step)
    _, status = os.waitpid(child, 0)
    store = SqliteStore(path)
    store.commit([lease(1)], moment)
    assert store.load(moment) == [lease(1)]
    assert store.check() == []
    store.close()
    if status == 0:
        break
assert status == 0, status
print(step)
"""
)


@contextmanager
def committing(path: Path) -> Iterator["subprocess.Popen[str]"]:
    with subprocess.Popen(
        [sys.executable, "-c", COMMIT_FOR_EVER, str(path)],
        env=unmeasured(),
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def acknowledged(process: "subprocess.Popen[str]", count: int) -> list[int]:
    """Kill it somewhere after `count` commits; every commit that it had acknowledged."""
    assert process.stdout is not None
    assert process.stdout.readline() == "open\n"
    seen = [int(process.stdout.readline()) for _ in range(count)]
    process.send_signal(signal.SIGKILL)
    rest = process.stdout.read().split("\n")
    assert process.wait() == -signal.SIGKILL
    return seen + [int(line) for line in rest[:-1]]  # a number cut short was not said


@pytest.mark.parametrize("seed", range(6))
def test_each_acknowledged_lease_survives_sigkill(tmp_path: Path, seed: int) -> None:
    path = tmp_path / "wg0.sqlite"
    chance = random.Random(seed)  # noqa: S311 - when to kill
    moment = FakeClock(now=1000.0, boot="1").moment()
    known: set[int] = set()
    for _ in range(4):
        with committing(path) as process:
            known.update(acknowledged(process, chance.randrange(1, 120)))
        # As the crash left it, with its WAL. Each commit is there as a whole or not at all.
        store = SqliteStore(path)
        leases = {int.from_bytes(lease.address, "big"): lease for lease in store.load(moment)}
        assert store.check() == []
        store.close()
        newest = max(leases)
        assert known <= leases.keys()
        assert leases.keys() == set(range(1, newest + 1))
        assert newest - max(known) <= 1  # only the one that was being acknowledged
        assert leases[1].ends_at == 5000.0 + newest


def test_a_server_killed_while_it_makes_the_database_can_be_started_again(tmp_path: Path) -> None:
    """SIGKILL before each statement, one after the other."""
    done = subprocess.run(
        [sys.executable, "-c", DIE_AT_EACH_STATEMENT, str(tmp_path)],
        env=unmeasured(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 8


def test_a_full_disk_refuses_new_leases_and_loses_no_old_ones(tmp_path: Path) -> None:
    """On a file system of its own, in a mount namespace of its own: it ends with the process."""
    done = subprocess.run(
        [
            *("unshare", "--mount", "--propagation", "private", "sh", "-ec"),
            'mount -t tmpfs -o size=1m tmpfs "$1"; exec "$2" -c "$3" "$1"',
            *("sh", str(tmp_path), sys.executable, FILL_THE_DISK),
        ],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("all there\n")
    assert not list(tmp_path.iterdir())
