"""The client stopped, killed and restarted, and its interface changed under its feet."""

import os
import signal
import socket
import threading
import time
from pathlib import Path

import pytest

from tests.netns.daemons import Client, Server, is_running, snapshot
from tools.netlab import Lab, PeerConfig, wait_until
from tools.star import make_star
from wg_dynamic.address import parse_prefix
from wg_dynamic.privsep.ledger import ADDRESS, ALLOWED_IP, ROUTE, Entry, Ledger

pytestmark = pytest.mark.guest

ANYTHING = ("0.0.0.0/0", "::/0")


@pytest.mark.parametrize("allowed_ips", [("fe80::/128",), ANYTHING])
def test_stop_undoes_everything_and_a_restart_gets_the_same_addresses(
    lab: Lab, database: Path, allowed_ips: tuple[str, ...]
) -> None:
    star = make_star(lab, server_allowed_ips=allowed_ips, addrgenmode="none")
    server = Server(star.hub, database)
    server.start()
    client = Client(star.clients[0])
    host, interface = client.member.host, client.member.interface
    before = snapshot(host)
    hub_key = star.hub.interface.keys.public
    client.start()
    client.wait_for_lease()
    leased = client.leased()
    widened = set(allowed_ips) | {"10.44.0.0/24", "fd00:44::/64"}
    wanted = set(allowed_ips) if allowed_ips == ANYTHING else widened
    assert interface.allowed_ips()[hub_key] == wanted
    shown = host.run(["ip", "route", "show", "10.44.0.0/24"]).stdout
    ipv4 = next(each for each in leased if "." in each)
    assert shown.split() == f"10.44.0.0/24 dev wg0 proto 97 scope link src {ipv4}".split()
    star.hub.host.ip("address add 10.44.0.1/32 dev wg0")
    assert host.ping("10.44.0.1")
    client.stop()
    assert snapshot(host) == before
    assert server.leased(client.member), "SIGTERM keeps the lease"
    client.start()
    client.wait_for_lease()
    assert client.leased() == leased
    assert client.run("--stop").returncode == 0
    assert not client.program.is_running() or client.program.wait() == 0
    assert snapshot(host) == before
    assert not server.leased(client.member), "--stop releases it"
    done = client.run("--stop")  # harmless
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "wg0: no wg-dynamic-client runs here; nothing to undo\n"
    assert snapshot(host) == before
    assert not client.runtime.exists()


def test_whichever_process_is_killed_nothing_is_left_for_good(lab: Lab, database: Path) -> None:
    star = make_star(lab, addrgenmode="none", route=False)
    server = Server(star.hub, database)
    server.start()
    client = Client(star.clients[0])
    host = client.member.host
    before = snapshot(host)
    client.start()
    client.wait_for_lease()
    leased, with_lease = client.leased(), snapshot(host)
    os.kill(network := client.network_process(), signal.SIGKILL)
    wait_until(lambda: not is_running(network), what="the end of the network process")
    wait_until(lambda: "renewed" in server.program.output(), what="a renewal by a new one")
    assert snapshot(host) == with_lease
    client.kill()
    assert snapshot(host) == with_lease, "nobody was left to take it off"
    lifetimes = host.run(["ip", "-o", "address", "show", "dev", "wg0"]).stdout.splitlines()
    assert all("forever" not in line for line in lifetimes if "10.44." in line or "fd00" in line)
    done = client.run("--stop")
    assert done.stdout == "wg0: no wg-dynamic-client runs here; undid what a killed one had left\n"
    assert snapshot(host) == before
    client.start()
    client.kill_both()
    client.start()  # takes over what the killed one left
    client.wait_for_lease()
    assert client.leased() == leased
    assert snapshot(host) == with_lease
    client.stop()
    assert snapshot(host) == before
    assert not client.runtime.exists()


def test_leftovers_of_a_kill_at_any_step_are_undone(lab: Lab) -> None:
    star = make_star(lab, addrgenmode="none")
    client = Client(star.clients[0])
    host = client.member.host
    before = snapshot(host)
    key = bytes.fromhex("11" * 32)
    ours = [
        Entry(ALLOWED_IP, parse_prefix("10.44.0.0/24"), key),  # of a peer that is gone
        Entry(ADDRESS, parse_prefix("10.44.0.5/32")),
        Entry(ADDRESS, parse_prefix("fd00:44::5/128")),
        Entry(ROUTE, parse_prefix("10.44.0.0/24")),
        Entry(ROUTE, parse_prefix("fd00:44::/64")),
        Entry(ROUTE, parse_prefix("fe80::/128")),
    ]
    steps = [  # what was set before the kill, after everything was written down
        [],
        ["address add 10.44.0.5/32 dev wg0 noprefixroute valid_lft 60 preferred_lft 60"],
        ["address add 10.44.0.5/32 dev wg0", "route add 10.44.0.0/24 dev wg0 proto 97"],
        ["address add fd00:44::5/128 dev wg0 nodad", "route add fd00:44::/64 dev wg0 proto 97"],
    ]
    for lines in steps:
        client.runtime.mkdir(mode=0o700)
        ledger = Ledger(client.runtime / "client-ledger")
        ledger.add(*ours)
        ledger.close()
        host.ip(*lines)
        done = client.run("--stop")
        assert (done.returncode, done.stderr) == (0, "")
        assert snapshot(host) == before
        assert not client.runtime.exists()


def test_it_ends_with_its_interface(lab: Lab, database: Path) -> None:
    star = make_star(lab)
    Server(star.hub, database).start()
    client = Client(star.clients[0])
    client.start()
    runtime, network = client.runtime, client.network_process()
    client.member.interface.delete()
    assert client.program.wait(2.0) == 0
    assert not is_running(network)
    assert not runtime.exists()
    assert "wg0 is gone" in client.program.output()
    assert "ERROR" not in client.program.output()


def test_an_interface_that_goes_down_and_up_gets_its_lease_back(lab: Lab, database: Path) -> None:
    star = make_star(lab, addrgenmode="none")
    server = Server(star.hub, database)
    server.start()
    client = Client(star.clients[0])
    interface = client.member.interface
    client.start()
    client.wait_for_lease()
    leased = client.leased()

    def routes() -> set[str]:
        host = client.member.host
        shown = [host.run(["ip", f, "route", "show", "dev", "wg0"]).stdout for f in ("-4", "-6")]
        return {line.split()[0] for text in shown for line in text.splitlines()}

    complete = routes()
    assert {"10.44.0.0/24", "fd00:44::/64", "fe80::"} <= complete
    interface.down()
    client.program.wait_for_output("wg0 is down")
    interface.up()
    wait_until(lambda: routes() == complete, what="all routes")
    wait_until(lambda: client.leased() == leased, what="the same lease")
    assert "fe80::1/128" in interface.addresses()
    for _ in range(3):  # faster than it looks
        client.member.host.ip("link set wg0 down", "link set wg0 up")
        wait_until(lambda: routes() == complete, what="all routes")
        wait_until(lambda: client.leased() == leased, what="the same lease")
    assert client.program.output().count("put fe80::1/128 back") == 1
    client.member.host.ip("address delete fe80::1/128 dev wg0", "route delete fe80::/128 dev wg0")
    wait_until(lambda: "fe80::1/128" in interface.addresses(), what="its own address")
    wait_until(lambda: routes() == complete, what="all routes")
    interface.down()
    assert client.run("--stop").returncode == 0  # while it is down
    assert not client.leased()
    assert not client.runtime.exists()


def test_a_server_of_version_1_is_spoken_to_in_version_1(lab: Lab) -> None:
    star = make_star(lab, addrgenmode="none")
    hub, member = star.hub, star.clients[0]
    with hub.host.netns():
        listener = socket.socket(socket.AF_INET6)
    requests: list[str] = []

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                request = connection.recv(4096).decode()
                requests.append(request)
                if request.startswith("request_ip=1\n"):
                    now = int(time.time())
                    connection.sendall(
                        b"ip=10.44.0.77/32\nip=fd00:44::77/128\n"
                        + f"leasestart={now}\nleasetime=12\nerrno=0\n\n".encode()
                    )
                else:
                    connection.sendall(b"errno=2\nerrmsg=Unsupported protocol\n\n")

    with listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("fe80::", 970, 0, hub.interface.ifindex))
        listener.listen()
        server = threading.Thread(target=serve)
        server.start()
        client = Client(member)
        before = snapshot(member.host)
        client.start()
        client.wait_for_lease()
        assert client.leased() == {"10.44.0.77", "fd00:44::77"}
        assert requests[0].startswith("request_ip=2\n")
        assert requests[1] == (
            "request_ip=1\nip=0.0.0.0/32\nip=::/128\nleasestart=0\nleasetime=0\n\n"
        )
        wait_until(lambda: len(requests) >= 3, timeout=9, what="the renewal at half of the time")
        assert requests[2] == (
            "request_ip=1\nip=10.44.0.77/32\nip=fd00:44::77/128\nleasestart=0\nleasetime=0\n\n"
        )
        assert client.run("--stop").returncode == 0
        assert snapshot(member.host) == before
        listener.shutdown(socket.SHUT_RDWR)
        server.join(5.0)
    asked = {request.partition("=")[0] for request in requests}
    assert asked == {"request_ip"}, "version 1 knows no release"


def test_an_administrator_s_reload_of_the_tunnel_is_healed_at_the_next_renewal(
    lab: Lab, database: Path
) -> None:
    star = make_star(lab, addrgenmode="none")
    Server(star.hub, database).start()
    client = Client(star.clients[0])
    client.start()
    client.wait_for_lease()
    hub_key = star.hub.interface.keys.public
    allowed = client.member.interface.allowed_ips()[hub_key]
    client.member.interface.add_peers(PeerConfig(hub_key, ["fe80::/128", "192.0.2.0/24"]))
    for address in client.leased():
        length = 128 if ":" in address else 32
        client.member.host.ip(f"address delete {address}/{length} dev wg0")
        client.wait_for_lease()
    wait_until(
        lambda: client.member.interface.allowed_ips()[hub_key] == allowed | {"192.0.2.0/24"},
        what="the allowed IPs again",
    )
    client.stop()
    assert client.member.interface.allowed_ips()[hub_key] == {"fe80::/128", "192.0.2.0/24"}
