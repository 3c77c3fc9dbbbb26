"""What befalls the lease database of a running server, and how it comes out of it."""

import contextlib
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

from tests.netns.daemons import (
    SERVICE_ID,
    Server,
    connect,
    exchange,
    rows,
    snapshot,
)
from tools.netlab import Lab, wait_until
from tools.star import Member, Star, make_star
from wg_dynamic.address import parse_address

SET_END = """
import sqlite3, sys
with sqlite3.connect(sys.argv[1]) as db:
    db.execute("UPDATE leases SET ends_at = ?", (float(sys.argv[2]),))
"""
STORE_DOWN = ("7", "5")
"""errno and retry_after."""


def ask(member: Member, *wishes: str) -> dict[str, str]:
    lines = "".join(f"ip={wish}\n" for wish in wishes)
    with connect(member) as connection:
        return exchange(connection, f"request_ip=2\n{lines}\n")


def answer(reply: dict[str, str]) -> tuple[str, str]:
    return reply["errno"], reply.get("retry_after", "")


def on_a_small_disk(star: Star, database: Path) -> Path:
    """Put the directory of the database on a disk of half a megabyte; it, seen from outside."""
    directory = database.parent
    directory.mkdir()
    options = f"size=512k,mode=0700,uid={SERVICE_ID},gid={SERVICE_ID}"
    star.hub.host.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(directory)])
    return star.hub.host.path(str(directory))


def fill(directory: Path) -> Path:
    """Leave no room in the file system of a directory."""
    filler = directory / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    return filler


def count(server: Server, text: str) -> int:
    return server.program.output().count(text)


def test_on_a_full_disk_nothing_is_acknowledged_and_what_ends_leaves_in_time(
    lab: Lab, database: Path
) -> None:
    star = make_star(lab, ["one", "two"])
    one, two = star.clients
    disk = on_a_small_disk(star, database)
    server = Server(star.hub, database, "--pool", "10.44.0.7/32")
    server.start()
    leased = ask(one)
    server.stop()
    ends_at = time.clock_gettime(time.CLOCK_BOOTTIME) + 4.0
    star.hub.host.run([sys.executable, "-c", SET_END, str(database), str(ends_at)])
    server.start()
    filler = fill(disk)
    assert answer(ask(one, leased["ip4"])) == STORE_DOWN, "a renewal of what is held"
    assert answer(ask(two)) == STORE_DOWN
    assert server.leased(one) == {"10.44.0.7/32"}
    assert server.leased(two) == set()
    wait_until(lambda: not server.leased(one), timeout=8.0, what="the end of the lease")
    assert ends_at <= time.clock_gettime(time.CLOCK_BOOTTIME) < ends_at + 2.5
    assert answer(ask(two)) == STORE_DOWN, "off, but not free"
    assert count(server, "database or disk is full; make room; nothing is granted") == 1
    filler.unlink()
    server.program.wait_for_output("the lease database works again")
    assert ask(two)["ip4"] == "10.44.0.7", "free, as its end is on disk"
    assert server.leased(two) == {"10.44.0.7/32"}
    assert count(server, "cannot write") == count(server, "the lease database works again") == 1
    assert "network process" not in server.program.output(), "it had not to be started again"
    server.stop()


class Disk:
    """What may happen to the files of a running server, and how it is put right."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.directory = server.database.parent
        self.away = self.directory.with_name("away")

    def fail(self) -> None:
        self._limit("8192")  # less than the -wal has already, more than the log of this test

    def work(self) -> None:
        self._limit("unlimited")

    def _limit(self, size: str) -> None:
        """As its own account: nobody else may, without CAP_SYS_RESOURCE."""
        pid = str(self.server.network_process())
        command = ["prlimit", "--pid", pid, f"--fsize={size}:"]
        subprocess.run(command, check=True, user=SERVICE_ID, group=SERVICE_ID, extra_groups=())

    def put_another_in_its_place(self) -> None:
        self.directory.rename(self.away)
        shutil.copytree(self.away, self.directory)
        for path in (self.directory, *self.directory.iterdir()):
            os.chown(path, SERVICE_ID, SERVICE_ID)

    def put_itself_back(self) -> None:
        shutil.rmtree(self.directory)
        self.away.rename(self.directory)

    def remove_log(self) -> None:
        Path(f"{self.server.database}-wal").unlink()

    def remove_files(self) -> None:
        for file in self.directory.iterdir():
            file.unlink()

    def remove_directory(self) -> None:
        shutil.rmtree(self.directory)

    def make_directory(self) -> None:
        self.directory.mkdir(mode=0o700)
        os.chown(self.directory, SERVICE_ID, SERVICE_ID)

    def wait_for_it(self) -> None:
        """It puts itself right."""


def test_a_database_that_fails_or_goes_away_is_back_without_a_restart(
    lab: Lab, database: Path
) -> None:
    star = make_star(lab, ["one", "two"])
    one, two = star.clients
    server = Server(star.hub, database)
    server.start()
    leased = ask(one)
    process = server.network_process()
    disk = Disk(server)
    troubles = [
        (disk.fail, "disk I/O error; expected a file", disk.work),
        (disk.put_another_in_its_place, "another file was put in its place", disk.put_itself_back),
        (disk.remove_log, "its -wal file was removed", disk.wait_for_it),
        (disk.remove_files, "it was removed under the running server", disk.wait_for_it),
        (disk.remove_directory, "it was removed under the running server", disk.make_directory),
    ]
    for number, (befall, message, mend) in enumerate(troubles, start=1):
        befall()
        if mend != disk.wait_for_it:
            assert answer(ask(two)) == STORE_DOWN, message
            assert answer(ask(one, leased["ip4"])) == STORE_DOWN, message
            assert server.leased(two) == set(), message
        mend()
        wait_until(partial(is_back, server, number), timeout=8.0, what=f"{message}: its end")
        assert message in server.program.output()
        assert server.leased(one) == {f"{leased['ip4']}/32", f"{leased['ip6']}/128"}
        assert set(rows(database)) == {(packed(leased[f]), 0) for f in ("ip4", "ip6")}, message
    assert count(server, "nothing is granted") == len(troubles)
    assert server.network_process() == process
    assert ask(one)["ip4"] == leased["ip4"]
    server.kill_both()
    server.start()
    assert ask(one)["ip4"] == leased["ip4"]
    server.stop()


def is_back(server: Server, times: int) -> bool:
    return count(server, "the lease database works again") == times


def packed(address: str) -> str:
    return parse_address(address).hex()


def test_a_network_process_that_cannot_open_its_database_is_tried_again(
    lab: Lab, database: Path
) -> None:
    star = make_star(lab)
    server = Server(star.hub, database)
    server.start()
    leased = ask(star.clients[0])
    allowed = star.hub.interface.allowed_ips()
    with contextlib.closing(sqlite3.connect(database, isolation_level=None)) as other:
        os.kill(server.network_process(), signal.SIGKILL)
        wait_until(lambda: lock(other), what="the lock")
        server.program.wait_for_output("cannot go on (cannot open the lease database")
        assert f"PID {os.getpid()}) has it open" in server.program.output()
        assert star.hub.interface.allowed_ips() == allowed
    wait_until(lambda: count(server, "serving on") == 2, timeout=15.0, what="a new one")
    assert ask(star.clients[0])["ip4"] == leased["ip4"]
    server.stop()


def lock(db: sqlite3.Connection) -> bool:
    try:
        db.execute("PRAGMA locking_mode = EXCLUSIVE")
        db.execute("BEGIN EXCLUSIVE")
    except sqlite3.OperationalError:
        return False
    return True


def test_a_damaged_database_is_found_by_the_check_and_refused_at_the_start(
    lab: Lab, database: Path
) -> None:
    star = make_star(lab)
    server = Server(star.hub, database)
    assert re.search("cannot copy the lease database .*: No such file", checked(server, 3))
    server.start()
    ask(star.clients[0])
    before = {path: path.read_bytes() for path in database.parent.iterdir()}
    assert re.search("2 leases held, 0 remembered, last .* UTC; no problems", checked(server, 0))
    assert {path: path.read_bytes() for path in database.parent.iterdir()} == before
    server.stop()
    whole = database.read_bytes()
    database.write_bytes(whole[:4096] + os.urandom(len(whole) - 4096))
    hub = snapshot(star.hub.host)
    damaged = database.read_bytes()
    assert "problem: " in checked(server, 1)
    done = server.run()
    assert done.returncode == 3
    assert "malformed" in done.stderr
    assert "restore it from a backup" in done.stderr
    assert snapshot(star.hub.host) == hub
    assert database.read_bytes() == damaged


def checked(server: Server, status: int) -> str:
    """What the check prints."""
    done = server.run("--check-store")
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout + done.stderr
