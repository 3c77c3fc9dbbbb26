"""The server stopped, killed and restarted, and its interface changed under its feet."""

import contextlib
import os
import signal
from pathlib import Path

import pytest

from tests.netns.daemons import (
    POOL4,
    POOL6,
    Client,
    Server,
    connect,
    exchange,
    rows,
    snapshot,
)
from tools.netlab import Lab, PeerConfig, generate_keys, wait_until
from tools.star import Star, make_star
from wg_dynamic.address import parse_prefix
from wg_dynamic.privsep.ledger import ALLOWED_IP, ROUTE, Entry, Ledger
from wg_dynamic.system.runtime import RUNTIME_ROOT

pytestmark = pytest.mark.guest

ANY = "request_ip=1\nip=0.0.0.0/32\nip=::/128\nleasestart=0\nleasetime=0\n\n"


def routes(star: Star) -> set[str]:
    """What the hub routes over wg0, our own routes only."""
    host = star.hub.host
    shown = [
        host.run(["ip", f, "route", "show", "dev", "wg0", "proto", "97"]) for f in ("-4", "-6")
    ]
    return {line.split()[0] for done in shown for line in done.stdout.splitlines()}


def ledger(server: Server) -> set[tuple[str, str]]:
    """What the server has written down as set by itself."""
    path = server.runtime / "server-ledger"
    found: set[tuple[str, str]] = set()
    for line in path.read_text().splitlines() if path.exists() else []:
        kind, prefix = line[2:].split()[:2]
        (found.add if line.startswith("+") else found.discard)((kind, prefix))
    return found


def test_a_restart_of_any_kind_keeps_every_lease_and_allowed_ip(lab: Lab, database: Path) -> None:
    star = make_star(lab, ["one", "two"])
    server = Server(star.hub, database)
    server.start()
    leases = []
    for member in star.clients:
        with connect(member) as connection:
            leases.append(exchange(connection, ANY))
    allowed = star.hub.interface.allowed_ips()
    addresses = {lease[family] for lease in leases for family in ("ip4", "ip6")}
    assert len(addresses) == 4
    with_routes = {(ROUTE, POOL4), (ROUTE, POOL6)}
    noted = {(ALLOWED_IP, address) for address in addresses}
    stored = rows(database)

    def check(*, running: bool) -> None:
        assert star.hub.interface.allowed_ips() == allowed
        assert sorted(rows(database)) == sorted(stored)
        assert ledger(server) == (noted | with_routes if running else noted)
        assert routes(star) == ({POOL4, POOL6} if running else set())

    check(running=True)
    server.stop()
    check(running=False)
    for end in (server.kill, server.kill_both):
        server.start()
        check(running=True)
        end()
        assert star.hub.interface.allowed_ips() == allowed
        assert "bug" not in server.program.output(), "the end of a helper is none"
    server.start()
    check(running=True)
    network = server.network_process()
    os.kill(network, signal.SIGKILL)  # the helper starts another one
    wait_until(lambda: server.program.output().count("serving on") == 2, what="a new one")
    check(running=True)
    for member, lease in zip(star.clients, leases, strict=True):
        with connect(member) as connection:
            again = exchange(connection, ANY)
        assert (again["ip4"], again["ip6"]) == (lease["ip4"], lease["ip6"])
    server.stop()
    check(running=False)


def test_another_pool_or_database_is_put_into_force_at_a_restart(lab: Lab, database: Path) -> None:
    star = make_star(lab)
    before = snapshot(star.hub.host)
    server = Server(star.hub, database)
    server.start()
    with connect(star.clients[0]) as connection:
        exchange(connection, ANY)
    allowed = star.hub.interface.allowed_ips()
    server.stop()
    # Another pool: what was leased from the old one ends with its lease, and no sooner.
    moved = Server(star.hub, database, "--pool", "10.45.0.0/24")
    moved.start()
    assert star.hub.interface.allowed_ips() == allowed
    assert routes(star) == {"10.45.0.0/24"}
    moved.stop()
    database.unlink()  # an administrator's way to begin anew: nothing is leased any more
    server.start()
    wait_until(lambda: snapshot_without_routes(star) == before, what="the hub as it was")
    server.stop()
    assert snapshot(star.hub.host) == before
    assert not server.runtime.exists()


def snapshot_without_routes(star: Star) -> str:
    lines = snapshot(star.hub.host).splitlines()
    return "\n".join(line for line in lines if "97" not in line.split())


def test_a_ledger_cut_short_by_a_kill_is_made_good(lab: Lab, database: Path) -> None:
    star = make_star(lab)
    before = snapshot(star.hub.host)
    server = Server(star.hub, database)
    server.start()
    runtime = server.runtime
    server.stop()
    key = bytes.fromhex("22" * 32)
    # Killed between writing down and setting: an allowed IP that is not there, of a peer that is
    # not there either, a route, and half a line.
    runtime.mkdir()
    left = Ledger(runtime / "server-ledger")
    left.add(
        Entry(ALLOWED_IP, parse_prefix("10.44.0.7/32"), key),
        Entry(ROUTE, parse_prefix("10.99.99.0/24")),
    )
    left.close()
    with (runtime / "server-ledger").open("a") as file:
        file.write("+ route 10.9")
    server.start()
    assert ledger(server) == {(ROUTE, POOL4), (ROUTE, POOL6)}
    server.stop()
    assert snapshot(star.hub.host) == before
    assert not runtime.exists()


@pytest.mark.parametrize("forwarding", [False, True])
def test_an_interface_that_goes_down_and_up_is_put_right(
    lab: Lab, database: Path, *, forwarding: bool
) -> None:
    star = make_star(lab)  # with the random fe80::/64 that a TUN interface gets
    if forwarding:  # then the kernel takes fe80:: for anycast as soon as it is up again
        star.hub.host.forward()
    server = Server(star.hub, database)
    server.start()
    with connect(star.clients[0]) as connection:
        lease = exchange(connection, ANY)
    star.hub.interface.down()
    star.hub.interface.up()
    wait_until(lambda: routes(star) == {POOL4, POOL6}, what="the routes")
    assert "fe80::/64" in star.hub.interface.addresses()
    with connect(star.clients[0]) as connection:
        assert exchange(connection, ANY)["ip4"] == lease["ip4"]
    assert server.leased(star.clients[0]) == {lease["ip4"], lease["ip6"]}
    star.hub.host.ip("address delete fe80::/64 dev wg0", "route delete 10.44.0.0/24 dev wg0")
    wait_until(lambda: routes(star) == {POOL4, POOL6}, what="the routes again")
    wait_until(lambda: "fe80::/64" in star.hub.interface.addresses(), what="fe80::/64 again")
    with connect(star.clients[0]) as connection:
        assert exchange(connection, ANY)["ip4"] == lease["ip4"]
    assert server.program.output().count("put fe80::/64 back on wg0") == 1
    server.stop()
    assert routes(star) == set()


def test_an_interface_deleted_and_made_anew_is_served_again(lab: Lab, database: Path) -> None:
    star = make_star(lab)
    hub, client = star.hub, star.clients[0]
    server = Server(hub, database)
    server.start()
    with connect(client) as connection:
        lease = exchange(connection, ANY)
    runtime = server.runtime
    hub.interface.delete()
    server.program.wait_for_output("waiting for wg0 to come back")
    assert not runtime.exists()
    made = hub.host.wireguard(keys=hub.interface.keys)
    hub.interface.program = made.program
    hub.interface.setconf([PeerConfig(client.interface.keys.public, ["fe80::1/128"])])
    hub.host.ip("address add fe80::/64 dev wg0 nodad")
    assert server.program.output().count("serving on") == 1
    hub.interface.up()
    wait_until(lambda: server.program.output().count("serving on") == 2, what="service")
    assert server.leased(client) == {lease["ip4"], lease["ip6"]}
    client.interface.setconf(
        [PeerConfig(hub.interface.keys.public, ["fe80::/128"], f"{hub.host.address}:51820")]
    )
    with connect(client) as connection:
        assert exchange(connection, ANY)["ip4"] == lease["ip4"]
    hub.interface.delete()
    wait_until(lambda: server.program.output().count("to come back") == 2, what="waiting")
    done = server.run("--stop")  # while it waits: there is no index to find it by
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert server.program.wait(5.0) == 0
    assert "no interface" in server.run("--stop").stderr
    assert not list(RUNTIME_ROOT.glob("waiting-*-wg0." + str(server.program.pid)))
    assert "Traceback" not in server.program.output()


def test_peers_that_come_and_go_are_noticed(lab: Lab, database: Path) -> None:
    star = make_star(lab, ["one", "two"])
    hub, (one, two) = star.hub, star.clients
    two_config = PeerConfig(two.interface.keys.public, ["fe80::2/128"])
    hub.interface.remove_peer(two.interface.keys.public)
    server = Server(hub, database)
    server.start()
    client = Client(one)
    client.start()
    leased = server.leased(one)
    hub.interface.add_peers(two_config)
    other = Client(two)
    other.start()  # asks at once, before the next reading of the peers is due
    other_leased = server.leased(two)
    address = next(each for each in other_leased if "." in each)
    # An administrator puts the file that he has, without leases, into force:
    file = [
        "[Interface]",
        f"PrivateKey = {hub.interface.keys.private}",
        "ListenPort = 51820",
        *PeerConfig(one.interface.keys.public, ["fe80::1/128"]).lines(),
        *two_config.lines(),
    ]
    hub.host.run(["wg", "syncconf", "wg0", "/dev/stdin"], input="\n".join([*file, ""]))
    assert not server.leased(one)
    wait_until(lambda: server.leased(one) == leased, timeout=10, what="the allowed IPs again")
    assert server.leased(two) == other_leased
    # An administrator moves a leased address to another peer for good: there it stays.
    third = generate_keys().public
    hub.interface.add_peers(PeerConfig(third, [address]))
    for daemon in (client, other):
        assert daemon.run("--stop").returncode == 0
    wait_until(lambda: not server.leased(one) | server.leased(two), what="the releases")
    server.stop()
    assert hub.interface.allowed_ips()[third] == {address}


def test_in_the_background_it_logs_to_the_file_and_says_how_it_went(
    lab: Lab, database: Path
) -> None:
    star = make_star(lab)
    server = Server(star.hub, database)
    log = database.parents[1] / "server.log"
    done = server.run("--log-file", str(log))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"wg0: serving on [fe80::%wg0]:970, leasing {POOL4}, {POOL6}\n"
    pid = int((server.runtime / "lock").read_text().split()[0])
    with connect(star.clients[0]) as connection:
        assert exchange(connection, ANY)["errno"] == "0"
    os.kill(pid, signal.SIGTERM)
    with contextlib.suppress(FileNotFoundError):
        wait_until(lambda: "97" not in snapshot(star.hub.host).split(), what="its end")
    assert log.stat().st_mode & 0o777 == 0o600
    assert "granted" in log.read_text()
    for secret in (star.hub.interface.keys.private, star.clients[0].interface.keys.private):
        assert secret not in log.read_text()
