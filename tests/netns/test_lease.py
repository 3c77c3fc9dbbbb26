"""A lease from end to end: two real clients, a real hub, real WireGuard."""

import os
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from tests.netns.daemons import (
    Client,
    Server,
    connect,
    exchange,
    is_running,
    rows,
    snapshot,
)
from tools.netlab import Lab, PeerConfig, wait_until
from tools.star import make_star

pytestmark = pytest.mark.guest

SHORTEST = "60"
"""--lease-time at its least."""


def test_two_clients_reach_each_other_by_leased_addresses(lab: Lab, database: Path) -> None:
    star = make_star(lab, ["alice", "bob"])
    star.hub.host.forward()
    server = Server(star.hub, database)
    server.start()
    alice, bob = (Client(member) for member in star.clients)
    alice.start()
    bob.start()
    for client in (alice, bob):
        client.wait_for_lease()
        leased = {f"{a}/{128 if ':' in a else 32}" for a in client.leased()}
        assert server.leased(client.member) == leased
    assert not alice.leased() & bob.leased()
    for address in bob.leased():
        assert alice.member.host.ping(address)
    assert "from" not in server.program.output()  # no complaint about anybody
    assert "WARNING" not in alice.program.output() + bob.program.output()


def test_what_administrators_set_stays_as_it_was(lab: Lab, database: Path) -> None:
    star = make_star(lab, ["client", "other"], addrgenmode="none")
    hub, client, other = star.hub, *star.clients
    hub.interface.add_peers(
        PeerConfig(client.interface.keys.public, ["fe80::1/128", "192.0.2.0/24", "fd00:77::/64"]),
        PeerConfig(other.interface.keys.public, ["fe80::2/128", "10.44.0.9/32", "0.0.0.0/0"]),
    )
    hub.host.ip(
        "address add 10.44.0.1/24 dev wg0",
        "address add fd00:44::1/64 dev wg0 nodad",
        "route add 192.0.2.0/24 dev wg0 proto static",
    )
    client.interface.add_peers(
        PeerConfig(hub.interface.keys.public, ["fe80::/128", "198.51.100.0/24"])
    )
    client.host.ip(
        "address add 10.44.0.7/24 dev wg0",
        "address add 2001:db8::7/64 dev wg0 nodad",
        "route add 198.51.100.0/24 dev wg0 proto static metric 7",
        "route add fd00:55::/64 dev wg0 metric 99",
    )
    at_hub, at_client = snapshot(hub.host), snapshot(client.host)
    server = Server(hub, database)
    server.start()
    assert snapshot(hub.host) == at_hub  # the routes to both pools are there already
    daemon = Client(client)
    daemon.start()

    def static_lines_are_there() -> None:
        gone = set(at_hub.splitlines()) - set(snapshot(hub.host).splitlines())
        assert all(client.interface.keys.public in line for line in gone)
        allowed = hub.interface.allowed_ips()
        assert {"fe80::1/128", "192.0.2.0/24", "fd00:77::/64"} <= allowed[
            client.interface.keys.public
        ]
        assert allowed[other.interface.keys.public] == {"fe80::2/128", "10.44.0.9/32", "0.0.0.0/0"}
        ours = {"fe80::/128", "198.51.100.0/24"}
        assert ours <= client.interface.allowed_ips()[hub.interface.keys.public]
        gone = set(at_client.splitlines()) - set(snapshot(client.host).splitlines())
        assert all(hub.interface.keys.public in line for line in gone)

    daemon.wait_for_lease()
    static_lines_are_there()
    for address in with_length(daemon.leased()):
        client.host.ip(f"address delete {address} dev wg0")  # by hand: makes it renew
        daemon.wait_for_lease()
    assert "renewed" in server.program.output()
    static_lines_are_there()
    assert daemon.run("--stop").returncode == 0
    assert snapshot(client.host) == at_client
    wait_until(lambda: snapshot(hub.host) == at_hub, what="the hub as it was")
    server.stop()
    assert snapshot(hub.host) == at_hub


def test_a_client_of_version_1_gets_what_upstream_gives(lab: Lab, database: Path) -> None:
    star = make_star(lab)
    server = Server(star.hub, database, "--lease-time", "600")
    server.start()
    client = star.clients[0]
    any_of_both = "request_ip=1\nip=0.0.0.0/32\nip=::/128\nleasestart=0\nleasetime=0\n\n"
    with connect(client) as connection:
        first = exchange(connection, any_of_both)
        assert list(first) == ["ip4", "ip6", "leasestart", "leasetime", "errno"]
        assert first["ip4"].endswith("/32")
        assert first["ip6"].endswith("/128")
        assert (first["leasetime"], first["errno"]) == ("600", "0")
        assert abs(int(first["leasestart"]) - time.time()) < 2
        assert server.leased(client) == {first["ip4"], first["ip6"]}
    with connect(client) as connection:  # a connection for each exchange, from the same port
        renewal = any_of_both.replace("0.0.0.0/32", first["ip4"]).replace("::/128", first["ip6"])
        again = exchange(connection, renewal)
        assert (again["ip4"], again["ip6"], again["errno"]) == (first["ip4"], first["ip6"], "0")
        assert abs(int(again["leasestart"]) - time.time()) < 2
        outside = "request_ip=1\nip=203.0.113.1/32\nleasestart=0\nleasetime=0\n\n"
        assert exchange(connection, outside)["errno"] == "3"
        bare = exchange(connection, "request_ip=1\n\n")
        assert bare["errno"] == "0"
        assert exchange(connection, "request_ip=7\n\n") == {
            "errno": "2",
            "errmsg": "Unsupported protocol",
        }
        assert connection.recv(1) == b""
    assert len(rows(database)) == 2


def test_leases_are_renewed_in_time_and_end_when_nobody_renews(lab: Lab, database: Path) -> None:
    star = make_star(lab, ["living", "killed", "manual", "paused", "cut"], addrgenmode="none")
    before = [snapshot(member.host) for member in star.clients]
    at_hub = star.hub.interface.allowed_ips()
    server = Server(star.hub, database, "--lease-time", SHORTEST)
    server.start()
    living, killed, paused, cut = (Client(star.clients[n]) for n in (0, 1, 3, 4))
    for client in (living, killed, paused, cut):
        client.start()
    manual = star.clients[2]
    with connect(manual) as connection:
        lease = exchange(connection, "request_ip=1\nip=0.0.0.0/32\nleasestart=0\nleasetime=0\n\n")
    began = time.monotonic()
    for client in (living, killed, paused, cut):
        client.wait_for_lease()
    addresses, until_cut = living.leased(), cut.leased()
    to_hub = f"{star.hub.host.address}/32"
    cut.member.host.ip(f"route add blackhole {to_hub}")  # out of its reach, and of its alone
    killed.kill_both()
    paused.program.send_signal(signal.SIGSTOP)  # a client that hangs takes nothing off: the kernel
    network = paused.network_process()
    os.kill(network, signal.SIGSTOP)
    for client in (killed, paused, cut):
        assert client.leased()
        assert server.leased(client.member)
    assert server.leased(manual) == {lease["ip4"]}

    def is_over() -> bool:
        return star.hub.interface.allowed_ips() == {
            **at_hub,
            living.member.interface.keys.public: {"fe80::1/128", *with_length(addresses)},
        }

    wait_until(is_over, timeout=75, what="the end of three leases")
    assert time.monotonic() - began > 50
    assert living.leased() == addresses  # renewed at half of the time
    assert "renewed" in server.program.output()
    for client in (killed, paused):
        wait_until(partial(has_none, client), timeout=5, what="the kernel's own expiry")
    check_recovery(cut, until_cut, to_hub)
    os.kill(network, signal.SIGCONT)
    paused.program.send_signal(signal.SIGCONT)
    paused.wait_for_lease()  # awake again, it asks again
    assert sum(ended for _, ended in rows(database)) >= 3
    # What a kill leaves without a lifetime is undone by --stop.
    assert killed.run("--stop").stdout == (
        "wg0: no wg-dynamic-client runs here; undid what a killed one had left\n"
    )
    for client in (living, paused, cut):
        client.stop()
    assert [snapshot(member.host) for member in star.clients] == before
    assert not killed.runtime.exists()


def test_a_restarted_client_gets_its_addresses_back(lab: Lab, database: Path) -> None:
    star = make_star(lab)
    server = Server(star.hub, database)
    server.start()
    client = Client(star.clients[0])
    leased = []
    ends: list[Callable[[], None]] = [client.stop, client.kill, client.kill_both]
    for end in ends:
        client.start()
        client.wait_for_lease()
        leased.append(client.leased())
        end()
        assert server.leased(client.member), "the lease is kept"
    client.start()
    client.wait_for_lease()
    assert all(each == client.leased() for each in leased)
    assert client.run("--stop").returncode == 0
    assert not server.leased(client.member), "--stop gives the lease back"
    assert not is_running(client.program.pid) or client.program.wait() == 0


def test_two_namespaces_have_a_wg0_each(lab: Lab, database: Path) -> None:
    star = make_star(lab, ["one", "two"])
    server = Server(star.hub, database)
    server.start()
    one, two = (Client(member) for member in star.clients)
    assert one.member.interface.ifindex == two.member.interface.ifindex
    one.start()
    two.start()
    one.wait_for_lease()
    two.wait_for_lease()
    assert one.run("--stop").returncode == 0
    assert two.leased()
    assert two.program.is_running()


def check_recovery(cut: Client, until_cut: set[str], to_hub: str) -> None:
    """Of one that could not reach the server until its lease was over."""
    wait_until(partial(has_none, cut), timeout=5, what="the end of what cannot be renewed")
    assert "ran out before the server could be reached" in cut.program.output()
    cut.member.host.ip(f"route delete blackhole {to_hub}")
    cut.wait_for_lease(25)  # what WireGuard needs for a new session included
    assert cut.leased() == until_cut


def has_none(client: Client) -> bool:
    return not client.leased()


def with_length(addresses: set[str]) -> set[str]:
    return {f"{address}/{128 if ':' in address else 32}" for address in addresses}
