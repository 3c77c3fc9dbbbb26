"""The store loses its power: what it had acknowledged is on the disk, whatever else is not.

kill -9 proves nothing about the disk: the kernel still has what was written. So a recorder below
SQLite writes down each write and sync (recorder.c), and tools/power_cut.py makes of that what a
disk may be left with at any moment.
"""

import random
import secrets
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from tests.crash.recorder import build_recorder
from tests.fakes.clock import FakeClock
from tools.power_cut import Disk, Record, read_log, write_out
from tools.processes import unmeasured
from wg_dynamic.store.base import StoreError
from wg_dynamic.store.sqlite import SqliteStore

COMMITS = 300
CUTS = 250

# Two thirds of the way through, the database is closed in order and opened again. Each commit is of
# new leases and of one that all renew, many enough for the WAL to be written back more than once.
COMMIT = """
import os, sys
from pathlib import Path
from wg_dynamic.leases.lease import Lease
from wg_dynamic.store.base import Moment
from wg_dynamic.store.sqlite import SqliteStore
top, synchronous, count = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
moment = Moment(1000.0, 1_700_000_000.0, "1")
said = os.open(top / "acknowledged", os.O_WRONLY | os.O_CREAT)
def lease(n, ends_at):
    address = (n * 0x9E3779B97F4A7C15 % 2**64).to_bytes(16, "big")  # in no order
    return Lease(n.to_bytes(32, "big"), address, 3600.0, ends_at)
def open_store():
    store = SqliteStore(top / "wg0.sqlite")
    if synchronous != "as it is":
        store._db.execute(f"PRAGMA synchronous = {synchronous}")
    return store
store = open_store()
for n in range(1, count + 1):
    if n == count * 2 // 3:
        store.close()
        store = open_store()
    new = [lease(n * 100 + more, 5000.0) for more in range(1 + n % 12)]
    store.commit([*new, lease(1, 5000.0 + n)], moment)
    os.write(said, b"%d\\n" % n)
"""


def record(place: Path, synchronous: str, count: int) -> list[Record]:
    """Run COMMIT below `place`/disk, and return all that it did there."""
    disk, library, log = place / "disk", place / "recorder.so", place / "log"
    disk.mkdir()
    build_recorder(library, disk, log)
    subprocess.run(
        [sys.executable, "-c", COMMIT, disk, synchronous, str(count)],
        env={**unmeasured(), "LD_PRELOAD": str(library)},
        check=True,
        timeout=60,
    )
    return list(read_log(log.read_bytes()))


def address(n: int) -> bytes:
    return (n * 0x9E3779B97F4A7C15 % 2**64).to_bytes(16, "big")


def expected(last: int) -> set[bytes]:
    """Every address that was acknowledged with commit `last`."""
    new = {address(n * 100 + more) for n in range(1, last + 1) for more in range(1 + n % 12)}
    return new | ({address(1)} if last else set())


def complaint(place: Path, acknowledged: int) -> str:
    """What is wrong with the database at `place`; "" when nothing is."""
    try:
        store = SqliteStore(place / "wg0.sqlite")
        leases = {lease.address: lease for lease in store.load(FakeClock(boot="1").moment())}
        damage = store.check()
        store.close()
    except StoreError as error:
        return str(error)
    lost = expected(acknowledged) - leases.keys()
    if damage or lost:
        return f"{damage}, {len(lost)} lost of {len(expected(acknowledged))}"
    renewed = leases[address(1)].ends_at if acknowledged else 5000.0
    return "" if renewed in (5000.0 + acknowledged, 5001.0 + acknowledged) else f"until {renewed}"


def complaints(records: list[Record], place: Path, seed: int) -> list[str]:
    """What is wrong after power cuts at random moments, and at each of the first and last."""
    chance = random.Random(seed)  # noqa: S311 - when to cut, and what is left
    whole = range(len(records))
    moments = Counter([*whole[:60], *whole[:60], *whole[-20:], *chance.sample(whole, CUTS)])
    disk = Disk(str(place / "disk"))
    acknowledged = 0
    found = []
    for at, one in enumerate(records):
        disk.apply(one)
        if one.op == "W" and one.path.endswith("/acknowledged"):
            acknowledged = int(one.data)
        for _ in range(moments[at]):
            with tempfile.TemporaryDirectory(dir=place) as rebuilt:
                write_out(disk.left(chance), str(place / "disk"), Path(rebuilt))
                text = complaint(Path(rebuilt), acknowledged)
            if text:
                found.append(f"seed {seed}, cut after record {at} of {len(whole)}: {text}")
    return found


def test_no_power_cut_takes_what_the_store_has_acknowledged(tmp_path: Path) -> None:
    records = record(tmp_path, "as it is", COMMITS)
    written = {Path(one.path).name for one in records if one.op == "W"}
    assert written == {f"wg0.sqlite{end}" for end in ("", "-wal", "-journal")} | {"acknowledged"}
    backs = [one for one in records if one.op == "E" and one.path.endswith("/wg0.sqlite")]
    assert len(backs) > 4, "the WAL was never written back"
    assert complaints(records, tmp_path, secrets.randbits(32)) == []


def test_the_same_with_synchronous_normal_is_found_to_lose_leases(tmp_path: Path) -> None:
    """So the layer can tell: this is what the store would be without FULL."""
    records = record(tmp_path, "NORMAL", COMMITS)
    found = complaints(records, tmp_path, secrets.randbits(32))
    assert len([text for text in found if "lost of" in text]) > CUTS // 4, found
