"""What a server pushes, set, changed and undone; and what an administrator has beside it."""

from pathlib import Path

import pytest

from tests.netns.daemons import Client, Server, snapshot
from tests.netns.scripted import ScriptedServer, address, reply, routes, scripted_server
from tests.netns.test_server_config import ETC, write
from tools.netlab import LISTEN_PORT, Host, Lab, PeerConfig, wait_until
from tools.star import Member, Star, make_star
from wg_dynamic.helper.tunnel_routes import PUSHED_METRIC

IPV4, IPV6 = "10.44.0.77", "fd00:44::77"
LEASE = address(IPV4, "10.44.0.0/24") + address(IPV6, "fd00:44::/64")
BEHIND = ("10.9.0.1/16", "fd09::1/64")
"""What is behind the hub."""
ANYTHING = ("0.0.0.0/0", "::/0")
PUSHED = routes("10.9.0.0/16", "fd09::/64")


def lease_to(star: Star, *addresses: str) -> None:
    """What a server would have done: the client may send from these."""
    client = star.clients[0]
    lengths = [f"{each}/{128 if ':' in each else 32}" for each in addresses]
    star.hub.interface.add_peers(
        PeerConfig(client.interface.keys.public, [f"{client.link_local}/128", *lengths])
    )


def make_hub(star: Star) -> None:
    lease_to(star, IPV4, IPV6)
    star.hub.host.ip(
        *(f"address add {each} dev lo" for each in BEHIND),
        "route add 10.44.0.0/24 dev wg0",
        "route add fd00:44::/64 dev wg0",
    )


def ours(member: Member) -> dict[str, str]:
    """The routes with our protocol number, and what they say."""
    shown = [
        member.host.run(["ip", family, "route", "show", "proto", "97"]).stdout.splitlines()
        for family in ("-4", "-6")
    ]
    found = {line.split()[0]: line for lines in shown for line in lines}
    found.pop("fe80::", None)
    return found


def mtu(member: Member) -> int:
    shown = member.host.run(["ip", "link", "show", "wg0"]).stdout.split()
    return int(shown[shown.index("mtu") + 1])


LAN = ("link add lan type veth peer name far", "link set far up", "link set lan up")
"""A link that is up, and its other end."""


@pytest.mark.parametrize("allowed_ips", [("fe80::/128",), ANYTHING])
def test_routes_are_set_changed_and_gone_at_the_end(lab: Lab, allowed_ips: tuple[str, ...]) -> None:
    """idea.md's two configurations."""
    star = make_star(lab, server_allowed_ips=allowed_ips, addrgenmode="none", route=False)
    make_hub(star)
    member, hub_key = star.clients[0], star.hub.interface.keys.public
    host, client, before = member.host, Client(member), snapshot(member.host)
    with scripted_server(star.hub, LEASE, PUSHED) as server:
        client.start("wg0: routes 10.9.0.0/16, fd09::/64")
        assert host.ping("10.9.0.1")
        assert host.ping("fd09::1")
        shown = ours(member)
        assert f"src {IPV4} metric {PUSHED_METRIC}" in shown["10.9.0.0/16"]
        assert "expires" in shown["fd09::/64"]
        wide = set() if allowed_ips == ANYTHING else set(shown)
        assert member.interface.allowed_ips()[hub_key] == set(allowed_ips) | wide
        assert set(shown) == {"10.44.0.0/24", "fd00:44::/64", "10.9.0.0/16", "fd09::/64"}
        # A renewal that changes one thing changes that.
        server.say(client, LEASE, routes("10.9.0.0/24", metric=7), mtu=1380)
        wait_until(lambda: mtu(member) == 1380, what="the pushed MTU")
        wait_until(lambda: "10.9.0.0/24" in ours(member), what="the other route")
        wait_until(lambda: "10.9.0.0/16" not in ours(member), what="the end of the first")
        assert "metric 7" in ours(member)["10.9.0.0/24"]
        assert set(ours(member)) == {"10.44.0.0/24", "fd00:44::/64", "10.9.0.0/24"}
        assert host.ping("10.9.0.1")
        # A family's routes go with its lease.
        server.say(client, address(IPV6, "fd00:44::/64"), PUSHED)
        wait_until(lambda: set(ours(member)) == {"fd00:44::/64", "fd09::/64"}, what="IPv6 alone")
        assert mtu(member) == 1420
        assert client.run("--stop").returncode == 0
    assert snapshot(host) == before


def test_a_kill_leaves_nothing_that_the_next_start_or_stop_does_not_undo(lab: Lab) -> None:
    star = make_star(lab, addrgenmode="none", route=False)
    make_hub(star)
    member = star.clients[0]
    host, client, before = member.host, Client(member), snapshot(member.host)
    with scripted_server(star.hub) as server:
        server.reply = reply(LEASE, PUSHED, mtu=1380)
        client.start("MTU 1380")
        client.kill()
        assert mtu(member) == 1380
        assert client.run("--stop").stdout.endswith("undid what a killed one had left\n")
        assert snapshot(host) == before
        client.start("MTU 1380")
        client.kill_both()
        server.reply = reply(LEASE)
        client.start("leased")
        wait_until(lambda: mtu(member) == 1420, what="the MTU that was there before the kill")
        wait_until(lambda: set(ours(member)) == {"10.44.0.0/24", "fd00:44::/64"}, what="no more")
        client.stop()
    assert snapshot(host) == before


def leases_asked_for(server: ScriptedServer) -> int:
    return sum(request.startswith("request_ip=") for request in server.requests)


def test_a_network_joined_later_is_given_way_to(lab: Lab) -> None:
    star = make_star(lab, addrgenmode="none", route=False)
    make_hub(star)
    member = star.clients[0]
    host, client, before = member.host, Client(member), snapshot(member.host)
    with scripted_server(star.hub, LEASE, PUSHED) as server:
        client.start("wg0: routes 10.9.0.0/16, fd09::/64")
        asked = leases_asked_for(server)
        host.ip(*LAN, "address add 10.9.7.1/24 dev lan")
        wait_until(lambda: "10.9.0.0/16" not in ours(member), what="the end of the route")
        text = "route 10.9.0.0/16 is not taken: 10.9.0.0/16 has an address of another interface"
        client.program.wait_for_output(text)
        assert "fd09::/64" in ours(member)
        host.ip("address add 10.44.3.1/16 dev lan")
        wait_until(lambda: IPV4 not in str(member.interface.addresses()), what="no address")
        host.ip("link delete lan")
        wait_until(lambda: "10.9.0.0/16" in ours(member), what="the route again")
        assert host.ping("10.9.0.1")
        # A storm of routes costs a few looks, and nothing changes.
        shown = ours(member)
        host.ip(*LAN, *(f"route add 172.20.{n >> 8}.{n & 255}/32 dev lan" for n in range(2000)))
        host.ip("route add 10.9.7.0/24 dev lan")
        wait_until(lambda: "10.9.0.0/16" not in ours(member), what="the end of the route")
        host.ip("link delete lan")
        wait_until(lambda: set(ours(member)) == set(shown), what="the route again")
        assert leases_asked_for(server) == asked, "the server was not bothered"
        client.stop()
    assert snapshot(host) == before


def test_a_lease_that_ends_or_moves_takes_no_address_of_an_administrator_along(lab: Lab) -> None:
    star = make_star(lab, addrgenmode="none", route=False)
    make_hub(star)
    member = star.clients[0]
    host, client = member.host, Client(member)
    host.ip("address add 10.44.0.5/24 dev wg0", "address add fd00:44::5/64 dev wg0 nodad")
    before = snapshot(host)

    def leased() -> set[str]:
        return {a for a in member.interface.addresses() if a.endswith(("/32", "/128"))}

    own = f"{member.link_local}/128"
    with scripted_server(star.hub, LEASE) as server:
        client.start("leased")
        assert leased() == {own, f"{IPV4}/32", f"{IPV6}/128"}
        for ip in (IPV4, IPV6):  # the lease moves, by a renewal out of turn
            server.reply = reply(
                address("10.44.0.88", "10.44.0.0/24", seconds=10),
                address("fd00:44::88", "fd00:44::/64", seconds=10),
            )
            host.ip(f"address delete {ip}/{128 if ':' in ip else 32} dev wg0", check=False)
        moved = {own, "10.44.0.88/32", "fd00:44::88/128"}
        wait_until(lambda: leased() == moved, what="the other addresses")
        forever = host.run(["ip", "-o", "address", "show", "dev", "wg0", "permanent"]).stdout
        assert "10.44.0.5/24" in forever
        assert "fd00:44::5/64" in forever
        server.reply = ""  # and ends
        wait_until(lambda: leased() == {own}, timeout=15, what="the end of the lease")
        client.program.wait_for_output("no lease any more")
        kept = [line for line in snapshot(host).splitlines() if "fe80::" not in line.split()]
        assert kept == before.splitlines()
        client.stop()
    assert snapshot(host) == before


def test_routes_of_others_stay_when_the_only_ipv4_address_goes(lab: Lab) -> None:
    """The kernel drops them with it: wg-quick's for AllowedIPs, its default route among them."""
    allowed = ("fe80::/128", "10.0.0.0/8", "0.0.0.0/0")
    star = make_star(lab, server_allowed_ips=allowed, addrgenmode="none", route=False)
    make_hub(star)
    member = star.clients[0]
    host, client = member.host, Client(member)
    host.ip("route add 10.0.0.0/8 dev wg0 metric 7", "route add default dev wg0 table 51820")
    before = snapshot(host)

    def routes_of_wg_quick() -> list[str]:
        lines = host.run(["ip", "-4", "route", "show", "table", "all", "dev", "wg0"]).stdout
        return sorted(line.split()[0] for line in lines.splitlines() if "src" not in line)

    with scripted_server(star.hub, address(IPV4, "10.44.0.0/24", seconds=10)) as server:
        client.start("leased")
        host.ip("route add 10.7.0.0/16 dev wg0")  # meanwhile
        server.reply = ""
        wait_until(lambda: IPV4 not in str(member.interface.addresses()), timeout=15, what="expiry")
        wanted = ["10.0.0.0/8", "10.7.0.0/16", "default"]
        wait_until(lambda: routes_of_wg_quick() == wanted, what="the routes of others")
        host.ip("route delete 10.7.0.0/16 dev wg0")
        server.reply = reply(LEASE)
        wait_until(lambda: IPV4 in str(member.interface.addresses()), timeout=15, what="a lease")
        client.kill_both()
        assert client.run("--stop").returncode == 0
        assert snapshot(host) == before
        client.start("leased")
        taken_over = [f"address replace {ip} dev wg0" for ip in (f"{IPV4}/32", f"{IPV6}/128")]
        host.ip(*taken_over, "route add 10.44.0.0/24 dev wg0 metric 9")
        assert client.run("--stop").returncode == 0
    theirs = {f"{member.link_local}/128", f"{IPV4}/32", f"{IPV6}/128"}
    assert member.interface.addresses() == theirs
    assert "metric 9" in host.run(["ip", "route", "show", "10.44.0.0/24"]).stdout


def test_the_server_s_file_decides_what_its_clients_have(lab: Lab, database: Path) -> None:
    star = make_star(lab, addrgenmode="none", route=False, private=(ETC,))
    star.hub.host.ip(*(f"address add {each} dev lo" for each in BEHIND))
    member = star.clients[0]
    host, client, before = member.host, Client(member), snapshot(member.host)
    pools = '[[pool]]\nnetwork = "10.44.0.0/24"\n[[pool]]\nnetwork = "fd00:44::/64"\n'
    write(
        star.hub.host, f'mtu = 1380\nroutes = ["10.9.0.0/16", "fd09::/64", "8.8.8.8/32"]\n{pools}'
    )
    server = Server(star.hub, database)
    server.arguments = ["--database", str(database)]
    server.start()
    client.start("wg0: routes 10.9.0.0/16, fd09::/64; MTU 1380")
    client.program.wait_for_output("route 8.8.8.8/32 is not taken")
    assert host.ping("10.9.0.1")
    assert host.ping("fd09::1")
    assert mtu(member) == 1380
    server.stop()
    write(star.hub.host, f'routes = [{{ network = "10.9.0.0/24", metric = 50 }}]\n{pools}')
    server.start()
    address = next(each for each in client.leased() if "." in each)
    host.ip(f"address delete {address}/32 dev wg0")  # renewed at once
    client.program.wait_for_output("wg0: routes 10.9.0.0/24")
    wait_until(lambda: "metric 50" in ours(member).get("10.9.0.0/24", ""), what="the new route")
    assert set(ours(member)) == {"10.44.0.0/24", "fd00:44::/64", "10.9.0.0/24"}
    assert mtu(member) == 1420
    assert client.run("--stop").returncode == 0
    assert snapshot(host) == before


def test_a_default_route_is_set_when_asked_for_and_undone(lab: Lab) -> None:
    star = make_star(lab, addrgenmode="none", route=False)
    make_hub(star)
    star.hub.host.ip("address add 198.51.100.1/32 dev lo")
    member = star.clients[0]
    host, client, before = member.host, Client(member), snapshot(member.host)
    with scripted_server(star.hub, LEASE, routes("0.0.0.0/0", "::/0", "10.9.0.0/16")):
        client.start("route ::/0 is not taken: a default route is taken with --accept-default")
        assert not host.ping("198.51.100.1", timeout=1)
        client.stop()
        assert snapshot(host) == before
        client.arguments = ["--accept-default-route"]
        client.start("leased")
        wait_until(lambda: host.ping("198.51.100.1", timeout=1), what="all traffic")
        assert host.ping("10.9.0.1")
        assert host.ping(star.hub.host.address), "the tunnel does not swallow itself"
        allowed = member.interface.allowed_ips()[star.hub.interface.keys.public]
        assert {"0.0.0.0/0", "::/0"} <= allowed
        client.kill()
        assert client.run("--stop").returncode == 0
        assert snapshot(host) == before
        assert host.run(["nft", "list", "tables"]).stdout == ""
        client.start("leased")
        wait_until(lambda: host.ping("198.51.100.1", timeout=1), what="all traffic")
        runtime, rules = client.runtime, host.run(["ip", "rule"]).stdout
        member.interface.delete()
        assert client.program.wait(5.0) == 0
        assert host.run(["ip", "rule"]).stdout != rules
        assert "51820" not in host.run(["ip", "rule"]).stdout
        assert host.run(["nft", "list", "tables"]).stdout == ""
        assert not runtime.exists()
        assert "ERROR" not in client.program.output()


def rules(host: Host) -> list[str]:
    """The packet filter's tables, in an order of their own: nft lists them as they were made."""
    tables = host.run(["nft", "list", "tables"]).stdout.splitlines()
    return [host.run(["nft", "list", *table.split()]).stdout for table in sorted(tables)]


def test_a_default_route_that_others_took_apart_is_put_together_without_the_server(
    lab: Lab,
) -> None:
    """Its own packets would follow it into the tunnel: no renewal could come through."""
    star = make_star(lab, addrgenmode="none", route=False)
    make_hub(star)
    hub, member = star.hub.host, star.clients[0]
    hub.ip("address add 198.51.100.1/32 dev lo", "address add 203.0.113.1/32 dev lo")
    # What the client's tunnel swallowed would tell the hub that the client is inside the tunnel.
    chain = "add chain inet hub input { type filter hook input priority 0; }"
    rule = f"add rule inet hub input iifname wg0 udp dport {LISTEN_PORT} drop"
    hub.run(["nft", f"add table inet hub; {chain}; {rule}"])
    host, client = member.host, Client(member, "--accept-default-route")
    host.ip(f"route add default via {hub.address}")
    end = PeerConfig(star.hub.interface.keys.public, ["fe80::/128"], "203.0.113.1:51820")
    member.interface.setconf([end])
    before = snapshot(host)
    with scripted_server(star.hub, LEASE, routes("0.0.0.0/0", "::/0")):
        client.start("leased")
        assert host.ping("198.51.100.1")
        whole = snapshot(host)
        guard = rules(host)
        host.run(["nft", "flush", "ruleset"])
        host.ip("rule delete table main suppress_prefixlength 0")  # another wg-quick's `down`
        host.run(["wg", "set", "wg0", "fwmark", "0"])  # `wg syncconf`
        assert not host.ping("198.51.100.1", timeout=1)
        wait_until(lambda: snapshot(host) == whole, timeout=40, what="the default route as it was")
        wait_until(lambda: host.ping("198.51.100.1", timeout=1), timeout=40, what="all traffic")
        assert rules(host) == guard
        assert client.run("--stop").returncode == 0
    assert snapshot(host) == before
