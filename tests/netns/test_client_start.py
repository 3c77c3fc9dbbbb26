"""When the client refuses to start, with idea.md's two conditions first; nothing is changed."""

import re
from pathlib import Path

import pytest

from tests.netns.daemons import Client, Server, kept, snapshot
from tools.netlab import Host, Lab, PeerConfig, generate_keys, wait_until
from tools.star import make_star

pytestmark = pytest.mark.guest


def refused(
    host: Host, status: int, expected: str, *arguments: str, interface: str = "wg0"
) -> None:
    """Start the client as a hook of wg-quick does; it says no and changes nothing."""
    before, runtime = snapshot(host, interface), kept(host)
    patience = () if "--wait" in arguments else ("--wait", "15")  # the start may be a guest's
    done = host.run(["wg-dynamic-client", interface, *arguments, *patience], check=False)
    assert re.search(expected, done.stderr), done.stderr
    assert done.returncode == status, done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.startswith("wg-dynamic-client: ")
    assert done.stdout == ""
    assert snapshot(host, interface) == before
    assert kept(host) == runtime, "a start that failed leaves nothing below /run"


def test_each_condition_has_its_own_message_and_nothing_is_changed(lab: Lab) -> None:
    host = lab.host("client")
    refused(host, 3, "no interface 'wg0' .* make it first")
    host.ip("link add veth0 type veth peer name veth1")
    refused(host, 3, "veth0 is not a WireGuard interface", interface="veth0")
    wg0 = host.wireguard(addrgenmode="none")
    server = generate_keys().public
    peer = PeerConfig(server, ["fe80::/128"], "10.99.0.9:51820")
    wg0.setconf([peer])
    refused(host, 3, "wg0 is down, expected it up with a link-local address of length 128")
    wg0.up()
    refused(host, 3, "wg0 has no link-local address, expected one of length 128")
    host.ip("address add fe80::7/64 dev wg0 nodad")
    refused(host, 3, "wg0 has only fe80::7/64, expected a link-local address of length 128")
    host.ip("address delete fe80::7/64 dev wg0", "address add fe80::/128 dev wg0 nodad")
    refused(host, 3, "wg0 has fe80::/128, which is the server's address")
    host.ip("address add fe80::1/128 dev wg0 nodad", "address add fe80::2/128 dev wg0 nodad")
    refused(host, 3, "wg0 has 3 link-local addresses of length 128 .*, expected one")
    host.ip("address delete fe80::/128 dev wg0", "address delete fe80::2/128 dev wg0")
    wg0.setconf([])
    refused(host, 3, "none of the 0 peers of wg0 has fe80::/128 in its allowed IPs")
    others = [PeerConfig(server, ["10.0.0.0/8", "fe80::1/128", "0.0.0.0/0", "2000::/3"])]
    wg0.setconf([*others, PeerConfig(generate_keys().public)])
    expected = "none of the 2 peers of wg0 has fe80::/128 .*, expected the server peer to have it"
    refused(host, 3, expected)
    wg0.setconf([peer])
    for value in ("-1", "nan"):
        refused(host, 2, "argument --wait: .*; see wg-dynamic-client --help", "--wait", value)
    for value in ("::/0", "office"):
        refused(host, 2, "argument --accept-routes: ", "--accept-routes", value)
    refused(host, 3, "no account 'nobody-here'", "--user", "nobody-here")
    refused(host, 3, "--log-file /nowhere/x: No such file", "--log-file", "/nowhere/x")


def test_there_is_one_client_on_an_interface(lab: Lab, database: Path) -> None:
    star = make_star(lab)
    Server(star.hub, database).start()
    client = Client(star.clients[0])
    client.start()
    client.wait_for_lease()
    expected = rf"wg-dynamic-client wg0 \(PID {client.program.pid}\) runs on this interface already"
    refused(client.member.host, 3, expected)
    assert client.program.is_running()


def test_without_a_server_it_goes_on_in_the_background(lab: Lab, database: Path) -> None:
    star = make_star(lab, route=False, addrgenmode="none")  # as with wg-quick's `Table = off`
    client = Client(star.clients[0])
    before = snapshot(client.member.host)
    log = database.parents[1] / "client.log"
    done = client.run("--wait", "0.3", "--log-file", str(log))
    assert (done.returncode, done.stderr) == (0, "")
    away = "wg0: no lease yet after 0.3 s, going on in the background"
    assert done.stdout == f"{away}; log: {log}\n"
    why = "no wg-dynamic-server listens on the server peer"
    wait_until(lambda: why in log.read_text(), what="why there is none in the log")
    Server(star.hub, database).start()
    client.wait_for_lease()
    assert client.run("--stop").returncode == 0
    assert snapshot(client.member.host) == before
    assert star.clients[0].interface.keys.private not in log.read_text()
    # With a server there, the hook of wg-quick returns when the lease is in force.
    done = client.run("--wait", "10")
    leased = sorted(f"{each}/{128 if ':' in each else 32}" for each in client.leased())
    assert done.stdout.startswith(f"wg0: leased {', '.join(leased)} for 3600 s")
    pid = int((client.runtime / "lock").read_text().split()[0])
    assert Path(f"/proc/{pid}/cwd").readlink() == Path("/")
    assert {Path(f"/proc/{pid}/fd/{fd}").readlink() for fd in (0, 1, 2)} == {Path("/dev/null")}
    assert client.run("--stop").returncode == 0
    assert snapshot(client.member.host) == before


def test_a_link_that_is_down_is_waited_for(lab: Lab, database: Path) -> None:
    star = make_star(lab, addrgenmode="none")
    Server(star.hub, database).start()
    client = Client(star.clients[0])
    client.member.interface.down()
    client.member.host.ip("address add fe80::1/128 dev wg0 nodad")  # possible while it is down
    client.start("wg0 is down: waiting for it to come up")
    client.member.interface.up()
    client.wait_for_lease()


def test_routes_to_other_servers_are_left_alone(lab: Lab, database: Path) -> None:
    star = make_star(lab, route=False, addrgenmode="none")
    Server(star.hub, database).start()
    client = Client(star.clients[0])
    host = client.member.host
    host.ip("route add fe80::/128 dev eth0 metric 1024")  # wg1 of another hub, say
    before = snapshot(host)
    client.start()
    client.wait_for_lease()
    assert client.run("--stop").returncode == 0
    assert snapshot(host) == before
    wait_until(lambda: not client.program.is_running(), what="its end")
