"""Leases end by CLOCK_BOOTTIME alone, at once, and in the right order; also those of former pools.

A time namespace shifts the boot clock of a server that is started in it: what it sees is a machine
that was suspended, or a server that was away, for so long. The wall clock stays as it is.
"""

import os
import signal
import socket
import time
from ipaddress import ip_network
from pathlib import Path

import pytest

from tests.netns.daemons import Client, Server, connect, exchange, rows
from tools.netlab import Lab, wait_until
from tools.star import Member, make_star

ANY = "request_ip=2\nid=1\n\n"
LEASE_TIME = 3600.0


class ShiftedServer(Server):
    """A server whose boot clock is `shift` seconds ahead of the machine's."""

    def __init__(self, member: Member, database: Path, *arguments: str) -> None:
        super().__init__(member, database, *arguments)
        self.shift = 0

    def command(self, *more: str) -> list[str]:
        shifted = ["unshare", "--time", "--boottime", str(self.shift), "--"]
        return [*shifted, *super().command(*more)]

    def now(self) -> float:
        """CLOCK_BOOTTIME as this server has it."""
        return time.clock_gettime(time.CLOCK_BOOTTIME) + self.shift


def ask(member: Member, request: str = ANY) -> dict[str, str]:
    with connect(member) as connection:
        return exchange(connection, request)


def leased(reply: dict[str, str]) -> set[str]:
    lengths = {"ip4": 32, "ip6": 128}
    return {f"{reply[name]}/{length}" for name, length in lengths.items() if name in reply}


def shown(server: Server, member: Member) -> set[str]:
    """As Server.leased, with prefix lengths."""
    public = member.interface.keys.public
    return server.member.interface.allowed_ips()[public] - {f"{member.link_local}/128"}


def test_leases_that_end_while_the_server_is_away_are_off_before_it_serves(
    lab: Lab, database: Path
) -> None:
    star = make_star(lab, ["one", "two"])
    one, two = star.clients
    server = ShiftedServer(star.hub, database)
    server.start()
    first = leased(ask(one))
    server.stop()
    server.shift = int(LEASE_TIME) - 100
    server.start()
    assert shown(server, one) == first, "a hundred seconds are left"
    second = leased(ask(two))
    assert len(second) == 2
    server.stop()
    server.shift = int(LEASE_TIME) + 100
    server.start()
    assert shown(server, one) == set()
    assert shown(server, two) == second
    assert sorted(ended for _, ended in rows(database)) == [0, 0, 1, 1]
    assert leased(ask(one)) == first, "remembered"
    server.stop()


def test_a_lease_that_ends_is_off_at_once_and_nobody_has_its_address_before(
    lab: Lab, database: Path
) -> None:
    star = make_star(lab, ["one", "two"])
    one, two = star.clients
    server = ShiftedServer(star.hub, database, "--pool", "10.44.0.7/32")
    server.start()
    begin = server.now()
    assert leased(ask(one)) == {"10.44.0.7/32"}
    granted = server.now()
    assert ask(two)["errno"] != "0"
    server.stop()
    server.shift = int(begin + LEASE_TIME - server.now()) - 6
    server.start()
    seen = server.now()
    assert shown(server, one) == {"10.44.0.7/32"}, "it was restored in time"
    while shown(server, one):
        seen = server.now()
    gone = server.now()
    assert gone >= begin + LEASE_TIME, "not a moment too early"
    assert seen <= granted + LEASE_TIME + 5.0, "within a second, on a machine that has one to spare"
    assert leased(ask(two)) == {"10.44.0.7/32"}
    # Off, then free: with a helper that stands still nothing can be taken off.
    helper = server.program.pid
    with connect(two) as releasing, connect(one) as asking:
        os.kill(helper, signal.SIGSTOP)
        try:
            # One after the other: had the request come first, it would be refused at once.
            for connection, text in ((releasing, "release_ip=2\nid=2\n\n"), (asking, ANY)):
                connection.sendall(text.encode())
                connection.settimeout(0.75)
                with pytest.raises(TimeoutError):
                    connection.recv(1, socket.MSG_PEEK)
            assert rows(database) == [("0a2c0007", 0)], "still leased"
        finally:
            os.kill(helper, signal.SIGCONT)
        for connection in (releasing, asking):
            connection.settimeout(20.0)
        assert exchange(releasing, "")["errno"] == "0"
        assert leased(exchange(asking, "")) == {"10.44.0.7/32"}
    assert shown(server, two) == set()
    assert shown(server, one) == {"10.44.0.7/32"}
    server.stop()


def test_leases_of_former_pools_end_by_their_time_and_are_not_renewed(
    lab: Lab, database: Path
) -> None:
    star = make_star(lab, ["one", "two"])
    one, two = star.clients
    server = ShiftedServer(star.hub, database)
    server.start()
    client = Client(one)
    client.start()
    client.wait_for_lease()
    old = shown(server, one)
    # 10.44.0.0/24 is shrunk to the half without one's address, fd00:44::/64 is another network.
    last = int(next(each for each in old if "." in each)[:-3].rpartition(".")[2])
    half, wished = ("10.44.0.128/25", 7) if last < 128 else ("10.44.0.0/25", 200)
    outside = f"10.44.0.{wished + (last == wished)}"
    wish = f"request_ip=2\nid=1\nsection=address\nip={outside}\n\n"
    assert leased(ask(two, wish)) == {f"{outside}/32"}
    sixth = leased(ask(two, "request_ip=2\nid=1\nsection=address\nip=::\n\n"))
    server.stop()
    changed = ShiftedServer(star.hub, database, "--pool", half, "--pool", "fd00:45::/64")
    changed.start()
    assert shown(changed, one) == old
    assert shown(changed, two) == {f"{outside}/32", *sixth}
    moved = leased(ask(two, wish))
    assert ip_network(*moved).subnet_of(ip_network(half))  # type: ignore[arg-type]  # both IPv4
    wait_until(lambda: shown(changed, two) == {*moved, *sixth}, what="the new address alone")
    one.interface.down()
    one.interface.up()  # the client asks now, not in half an hour
    wait_until(lambda: shown(changed, one).isdisjoint(old), timeout=40, what="other addresses")
    new = shown(changed, one)
    assert len(new) == 2
    wait_until(lambda: new == host_addresses(one), what="the new addresses on the client")
    assert client.run("--stop").returncode == 0
    changed.stop()
    # What is never asked for again ends like any other lease.
    changed.shift = int(LEASE_TIME) - 100
    changed.start()
    assert shown(changed, two) == {*moved, *sixth}
    changed.stop()
    changed.shift = int(LEASE_TIME) + 100
    changed.start()
    assert shown(changed, two) == set()
    changed.stop()


def host_addresses(member: Member) -> set[str]:
    """What the client has set, but for link-local addresses."""
    found = member.interface.addresses()
    return {
        each for each in found if each.endswith(("/32", "/128")) and not each.startswith("fe80")
    }
