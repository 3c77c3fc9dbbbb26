"""What befalls a client's interface, its peers and the machine around it, on real daemons."""

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from tests.netns.daemons import POOL4, POOL6, Client, Server, database_path, snapshot
from tools.netlab import LISTEN_PORT, Host, Lab, PeerConfig, generate_keys, wait_until
from tools.star import Member, Star, make_star


def status(client: Client, expected: int = 0) -> Any:
    """What `--status --json` says."""
    done = client.run("--status", "--json")
    assert done.returncode == expected, done.stdout + done.stderr
    return json.loads(done.stdout)


def allowed(client: Client, hub: Member) -> set[str]:
    """What the client allows its server peer."""
    return client.member.interface.allowed_ips().get(hub.interface.keys.public, set())


WIDENED = {"fe80::/128", POOL4, POOL6}


@pytest.mark.guest
def test_it_stays_with_its_interface_under_another_name(lab: Lab, database: Path) -> None:
    star = make_star(lab, addrgenmode="none")
    server = Server(star.hub, database)
    client = Client(star.clients[0])
    host, interface = client.member.host, client.member.interface
    assert status(client, 6) == {"interface": "wg0", "state": "not running"}
    assert not client.runtime.exists(), "a question leaves nothing"
    before = snapshot(host)
    client.start("no wg-dynamic-server listens")
    shown = status(client, 5)
    assert (shown["state"], shown["lease"]) == ("requesting", [])
    assert shown["error"] == "no wg-dynamic-server listens on the server peer"
    server.start()
    client.wait_for_lease()
    leased = client.leased()
    shown = status(client)
    assert {one["address"].partition("/")[0] for one in shown["lease"]} == leased
    assert all(3500 < one["valid_for"] <= 3600 for one in shown["lease"])
    assert (shown["state"], shown["pid"], shown["error"]) == ("bound", client.program.pid, None)
    assert 1600 < shown["next_in"] < 2000
    assert shown["server"]["public_key"] == star.hub.interface.keys.public
    assert set(shown["set"]["allowed_ips"]) == {POOL4, POOL6}
    text = client.run("--status").stdout
    assert text.startswith("interface: wg0\n  state: has a lease\n  link-local: fe80::1/128\n")
    interface.down()
    wait_until(lambda: status(client)["state"] == "paused", what="the pause")
    host.ip("link set wg0 name wg1", "link set wg1 up")
    interface.name = "wg1"
    client.program.wait_for_output("wg0 is called wg1 now")
    wait_until(lambda: client.leased() == leased, what="the lease, on wg1")
    wait_until(lambda: status(client)["state"] == "bound", what="a renewal")
    assert status(client)["interface"] == "wg1"
    assert client.run("--stop").returncode == 0
    assert client.program.wait() == 0
    interface.down()
    host.ip("link set wg1 name wg0", "address add fe80::1/128 dev wg0 nodad", "link set wg0 up")
    interface.name = "wg0"
    host.ip("route add fe80::/128 dev wg0")
    assert snapshot(host) == before
    assert "ERROR" not in client.program.output()


@pytest.mark.guest
def test_deleted_and_made_anew_at_once_and_then_moved_away(lab: Lab, database: Path) -> None:
    star = make_star(lab, addrgenmode="none")
    Server(star.hub, database).start()
    client = Client(star.clients[0])
    client.start()
    client.wait_for_lease()
    leased, runtime, first = client.leased(), client.runtime, client.program
    host, old = client.member.host, client.member.interface
    old.delete()
    new = host.wireguard(keys=old.keys, addrgenmode="none")
    server_peer = PeerConfig(
        star.hub.interface.keys.public, ["fe80::/128"], f"{star.hub.host.address}:{LISTEN_PORT}"
    )
    new.setconf([server_peer])
    host.ip("address add fe80::1/128 dev wg0 nodad", "link set wg0 up")
    client = Client(Member(host, new, "fe80::1"))
    client.start()  # the old one may still be ending
    client.wait_for_lease()
    assert client.leased() == leased
    assert first.wait() == 0
    assert not runtime.exists()
    assert client.program.is_running()
    runtime = client.runtime
    elsewhere = lab.host("elsewhere")
    host.ip(f"link set wg0 netns {elsewhere.pid}")
    assert client.program.wait() == 0
    assert "wg0 is gone" in client.program.output()
    assert not runtime.exists(), "the ledger is cleaned: nothing of it can be reached from here"
    assert "ERROR" not in first.output() + client.program.output()
    elsewhere.ip("link set wg0 up")
    shown = elsewhere.run(["ip", "-o", "address", "show", "dev", "wg0"]).stdout
    assert "10.44." not in shown


def test_a_peer_that_was_changed_by_an_administrator_gets_its_allowed_ips_again(
    lab: Lab, database: Path
) -> None:
    star = make_star(lab, ["removed", "synced"], addrgenmode="none")
    other = make_star(lab, ["rekeyed"], addrgenmode="none")
    with database_path() as another:
        Server(star.hub, database).start()
        Server(other.hub, another).start()
        removed, synced = (Client(member) for member in star.clients)
        rekeyed = Client(other.clients[0])
        clients = ((removed, star), (synced, star), (rekeyed, other))
        for client, _ in clients:
            client.start()
        for client, of in clients:
            client.wait_for_lease()
            assert allowed(client, of.hub) == WIDENED
        leased = [client.leased() for client, _ in clients]
        began = time.monotonic()
        remove_and_add(removed, star)
        sync(synced, star)
        old_key = give_another_key(rekeyed, other)
        for client, of in clients:
            wait_until(
                lambda client=client, of=of: allowed(client, of.hub) == WIDENED,  # type: ignore[misc]
                timeout=40,
                what=f"the allowed IPs of {client.member.host.name}",
            )
        assert time.monotonic() - began < 40
        wait_until(lambda: status(rekeyed)["state"] == "bound", what="a lease of the new key")
        assert status(rekeyed)["server"]["public_key"] == other.hub.interface.keys.public
        assert old_key not in rekeyed.member.interface.allowed_ips()
        assert [client.leased() for client, _ in clients] == leased
        for client, of in clients:
            client.stop()
            assert allowed(client, of.hub) == {"fe80::/128"}


def peer_of(star: Star) -> PeerConfig:
    """The hub, as an administrator of a client enters it."""
    hub = star.hub
    endpoint = f"{hub.host.address}:{LISTEN_PORT}"
    return PeerConfig(hub.interface.keys.public, ["fe80::/128"], endpoint)


def remove_and_add(client: Client, star: Star) -> None:
    """Remove the server peer, and after a moment enter it as it was."""
    client.member.interface.remove_peer(star.hub.interface.keys.public)
    client.member.interface.add_peers(peer_of(star))


def sync(client: Client, star: Star) -> None:
    """`wg syncconf` with the administrator's file, which knows nothing of leases."""
    lines = ["[Interface]", f"PrivateKey = {client.member.interface.keys.private}"]
    text = "\n".join([*lines, f"ListenPort = {LISTEN_PORT}", *peer_of(star).lines(), ""])
    client.member.host.run(["wg", "syncconf", "wg0", "/dev/stdin"], input=text)


def give_another_key(client: Client, star: Star) -> str:
    """The hub gets another key pair, and the client a peer with it; the old public key."""
    hub = star.hub.interface
    old, hub.keys = hub.keys, generate_keys()
    star.hub.host.run(["wg", "set", "wg0", "private-key", "/dev/stdin"], input=hub.keys.private)
    client.member.interface.remove_peer(old.public)
    client.member.interface.add_peers(peer_of(star))
    return old.public


def test_after_lost_events_everything_is_as_it_has_to_be(lab: Lab, database: Path) -> None:
    star = make_star(lab, addrgenmode="none", route=False)
    Server(star.hub, database).start()
    client = Client(star.clients[0])
    host = client.member.host
    host.ip("link add other0 type bridge", "link set other0 up")
    client.start()
    client.wait_for_lease()
    with_lease = snapshot_without(host, "other0")
    client.program.send_signal(signal.SIGSTOP)
    # Far more than the socket of the stopped helper holds. Not addresses: wireguard-go listens to
    # those itself, and gives up its interface when it loses events.
    host.ip(*(f"route add 10.200.{n >> 8}.{n & 255}/32 dev other0" for n in range(10_000)))
    addresses = [f"{each}/{128 if ':' in each else 32}" for each in client.leased()]
    host.ip(*(f"address delete {each} dev wg0" for each in [*addresses, "fe80::1/128"]))
    host.ip("route delete fe80::/128 dev wg0", "link delete other0")
    client.program.send_signal(signal.SIGCONT)
    client.program.wait_for_output("events of the kernel were lost")
    wait_until(lambda: snapshot_without(host, "other0") == with_lease, what="all as it was")
    assert client.program.is_running()


def snapshot_without(host: Host, name: str) -> str:
    """What a daemon could have changed, without the lines of one interface."""
    return "\n".join(line for line in snapshot(host).splitlines() if name not in line)


def test_a_leased_address_that_something_here_has_is_declined(lab: Lab, database: Path) -> None:
    star = make_star(lab, addrgenmode="none")
    config = database.parents[1] / "wg0.toml"
    config.write_text(f"[[pool]]\nnetwork = '{POOL4}'\n[[pool]]\nnetwork = '{POOL6}'\n")
    server = Server(star.hub, database, "--config", str(config))
    server.arguments = ["--config", str(config), "--database", str(database)]
    server.start()
    client = Client(star.clients[0])
    host = client.member.host
    host.ip("link add other0 type bridge", "link set other0 up")
    client.start()
    client.wait_for_lease()
    first = next(each for each in client.leased() if "." in each)
    client.stop()
    host.ip(f"address add {first}/32 dev other0")
    client.start("declined, asking for another")  # the hub gives what it gave before
    client.wait_for_lease()
    second = next(each for each in client.leased() if "." in each)
    assert second != first
    assert f"{first} in use here" in client.program.output()
    assert f"{first}/32" in host.run(["ip", "-o", "address", "show", "dev", "other0"]).stdout
    assert "declined" in server.program.output()
    assert {f"{second}/32"} < server.leased(client.member)
    # Entered elsewhere while it is leased: given up at once.
    host.ip(f"address add {second}/32 dev other0")
    wait_until(
        lambda: f"{second} in use here" in client.program.output(), what="that it is given up"
    )
    wait_until(lambda: second not in client.leased(), what="that it is taken off")
    wait_until(lambda: f"{second}/32" not in server.leased(client.member), what="the hub's part")


def test_two_interfaces_of_one_machine_have_a_client_each(lab: Lab, database: Path) -> None:
    star = make_star(lab, addrgenmode="none", route=False)
    hub2 = lab.host("hub2")
    host = star.clients[0].host
    inner = hub2.wireguard(addrgenmode="none")
    outer = host.wireguard("wg1", addrgenmode="none")
    inner.setconf([PeerConfig(outer.keys.public, ["fe80::9/128"])])
    outer.setconf(
        [PeerConfig(inner.keys.public, ["fe80::/128"], f"{hub2.address}:{LISTEN_PORT}")],
        listen_port=None,
    )
    hub2.ip("address add fe80::/64 dev wg0 nodad", "link set wg0 up")
    host.ip("address add fe80::9/128 dev wg1 nodad", "link set wg1 up")
    before = snapshot(host)
    with database_path() as another:
        Server(star.hub, database).start()
        pools = ("--pool", "10.55.0.0/24", "--pool", "fd00:55::/64")
        Server(Member(hub2, inner, "fe80::"), another, *pools).start()
        one, two = Client(star.clients[0]), Client(Member(host, outer, "fe80::9"))
        one.start()
        two.start()
        shown = [status(client) for client in (one, two)]
        assert [each["interface"] for each in shown] == ["wg0", "wg1"]
        routes = host.run(["ip", "-6", "route", "show", "fe80::"]).stdout
        assert {"wg0", "wg1"} <= set(routes.split())
        networks = [{each["network"] for each in lease["lease"]} for lease in shown]
        assert networks == [{POOL4, POOL6}, {"10.55.0.0/24", "fd00:55::/64"}]
        assert one.run("--stop").returncode == 0
        assert status(one, 6)["state"] == "not running"
        assert status(two)["state"] == "bound"
        os.kill(two.network_process(), signal.SIGKILL)  # it asks anew, over its own way still
        wait_until(lambda: status(two)["state"] == "bound", what="a renewal over wg1")
        assert two.run("--stop").returncode == 0
        assert snapshot(host) == before


def test_a_change_of_the_network_is_worth_a_try_at_once(lab: Lab, database: Path) -> None:
    star = make_star(lab, addrgenmode="none")
    client = Client(star.clients[0])
    client.start("no wg-dynamic-server listens")
    wait_until(lambda: status(client, 5)["next_in"] > 3, timeout=15, what="a long wait")
    Server(star.hub, database).start()
    began = time.monotonic()
    client.member.host.ip("address add 192.0.2.7/24 dev eth0")
    client.wait_for_lease(2.5)
    assert time.monotonic() - began < 3
