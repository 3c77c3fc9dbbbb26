from dataclasses import replace

import pytest

from wg_dynamic.address import Prefix, parse_address, parse_prefix
from wg_dynamic.helper.policy import PRIVATE, Acceptance, Policy, Surroundings, is_wide
from wg_dynamic.netlink.control import Address, Route
from wg_dynamic.wireguard.device import Device, Endpoint, Peer

WG0, ETH0 = 3, 2
SERVER, OTHER = bytes([1]) * 32, bytes([2]) * 32


def prefixes(*texts: str) -> tuple[Prefix, ...]:
    return tuple(map(parse_prefix, texts))


def around(
    *,
    server: tuple[str, ...] = ("fe80::/128",),
    other: tuple[str, ...] = (),
    endpoint: str = "198.51.100.1",
    addresses: tuple[tuple[str, int], ...] = (),
    routes: tuple[Route, ...] = (),
    ours: tuple[str, ...] = (),
    name_servers: tuple[str, ...] = (),
    accepted: tuple[str, ...] = (),
    dns: tuple[str, ...] = (),
    default_route: bool = False,
) -> Surroundings:
    peers = (
        Peer(SERVER, prefixes(*server), Endpoint(parse_address(endpoint), 51820)),
        Peer(OTHER, prefixes(*other)),
    )
    return Surroundings(
        ifindex=WG0,
        addresses=tuple(Address(ifindex, parse_prefix(text)) for text, ifindex in addresses),
        routes=routes,
        device=Device(None, 51820, 0, peers),
        server_key=SERVER,
        ours=frozenset(prefixes(*ours)),
        name_servers=tuple(map(parse_address, name_servers)),
        accepts=Acceptance(prefixes(*accepted), prefixes(*dns), default_route),
    )


def a_route(prefix: str, ifindex: int = ETH0, *, gateway: str | None = None) -> Route:
    packed = None if gateway is None else parse_address(gateway)
    return Route(parse_prefix(prefix), ifindex, gateway=packed)


def ask(address: str, network: str | None = None, surroundings: Surroundings | None = None) -> str:
    leased = parse_prefix(address)
    on_link = leased if network is None else parse_prefix(network)
    return Policy(surroundings or around()).refuse_address(leased, on_link)


def ask_route(network: str, surroundings: Surroundings | None = None) -> str:
    return Policy(surroundings or around()).refuse_route(parse_prefix(network))


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("10.44.0.7", "10.44.0.0/24"),
        ("10.44.0.7", None),
        ("10.44.0.7", "10.0.0.0/8"),
        ("172.16.0.1", "172.16.0.0/12"),
        ("192.168.4.9", "192.168.4.0/24"),
        ("100.64.0.1", "100.64.0.0/10"),
        ("fd00:44::7", "fd00:44::/64"),
        ("fd00:44::7", None),
    ],
)
def test_private_networks_are_taken(address: str, network: str | None) -> None:
    assert ask(address, network) == ""


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("8.8.8.8", None),
        ("9.0.0.1", "9.0.0.0/8"),
        ("172.16.0.1", "172.0.0.0/8"),
        ("100.64.0.1", "100.64.0.0/9"),
        ("2001:db8::1", "2001:db8::/64"),
    ],
)
def test_public_networks_are_not_taken_without_a_word(address: str, network: str | None) -> None:
    shown = parse_prefix(network or address)
    expected = (
        f"{shown} is neither private nor in the server peer's allowed IPs"
        f" (--accept-routes {shown} takes it)"
    )
    assert ask(address, network) == expected
    accepting = around(accepted=(str(shown),))
    assert ask(address, network, accepting) == ""
    assert ask_route(str(shown)) == expected
    assert ask_route(str(shown), accepting) == ""


@pytest.mark.parametrize(
    "network",
    ["32.0.0.0/3", "8.0.0.0/7", "2000::/3", "2001::/15"],
)
def test_parts_of_a_default_route_are_taken_only_when_named(network: str) -> None:
    expected = f"{network} is a part of a default route, not a network: a server pushes that whole"
    given = around(server=("fe80::/128", network), default_route=True)
    address = (
        str(parse_prefix(network))
        .partition("/")[0]
        .replace("::", "::1")
        .replace(".0.0.0", ".0.0.1")
    )
    for surroundings in (around(), given):
        assert ask_route(network, surroundings) == expected
        assert ask(address, network, surroundings) == expected
    accepting = around(accepted=(network,))
    assert ask_route(network, accepting) == ""
    assert ask(address, network, accepting) == ""


def test_what_makes_up_a_default_route_holds_what_is_nobody_s() -> None:
    """Two /1 and three of four /2, whatever is accepted: loopback, link-local, multicast."""
    accepting = around(accepted=("0.0.0.0/1", "128.0.0.0/1"))
    for network in ("0.0.0.0/1", "128.0.0.0/1", "0.0.0.0/2", "64.0.0.0/2", "128.0.0.0/2"):
        expected = f"{network} is no network that a peer may hand out"
        assert ask_route(network, accepting) == expected


def test_a_default_route_is_opt_in() -> None:
    for network in ("0.0.0.0/0", "::/0"):
        expected = "a default route is taken with --accept-default-route only"
        assert ask_route(network) == expected
        assert ask_route(network, around(server=("0.0.0.0/0", "::/0"))) == expected
        assert ask_route(network, around(default_route=True)) == ""
        assert ask_route(network, around(default_route=True, other=("10.9.0.0/16",))) == ""
        exit_node = around(default_route=True, other=(network,))
        assert ask_route(network, exit_node) == f"{network} is in the allowed IPs of another peer"


@pytest.mark.parametrize(
    "network",
    ["127.0.0.0/8", "169.254.169.254/32", "224.0.0.0/4", "fe80::/64", "ff02::/16", "::1/128"],
)
def test_routes_to_what_is_nobody_s_are_never_taken(network: str) -> None:
    accepting = around(accepted=(network,))
    expected = f"{network} is no network that a peer may hand out"
    assert ask_route(network, accepting) == expected


@pytest.mark.parametrize(
    ("network", "wide"),
    [
        ("8.0.0.0/8", False),
        ("8.0.0.0/7", True),
        ("2001::/16", False),
        ("2000::/15", True),
        ("fc00::/7", False),
        ("fc00::/6", True),
    ],
)
def test_what_is_too_much_to_be_a_network(network: str, *, wide: bool) -> None:
    assert is_wide(parse_prefix(network)) is wide


def test_what_the_server_peer_was_given_is_trusted() -> None:
    given = around(server=("fe80::/128", "203.0.113.0/24", "2001:db8::/32"))
    assert ask("203.0.113.7", "203.0.113.0/24", given) == ""
    assert ask("203.0.113.7", "203.0.113.0/25", given) == ""
    assert ask("203.0.113.7", None, given) == ""
    assert ask("2001:db8::7", "2001:db8::/64", given) == ""
    assert ask("203.0.113.7", "203.0.112.0/23", given)


def test_what_we_gave_it_ourselves_is_not() -> None:
    widened = around(server=("fe80::/128", "203.0.113.0/24"), ours=("203.0.113.0/24",))
    assert "is neither private" in ask("203.0.113.7", "203.0.113.0/24", widened)


def test_a_default_route_in_its_allowed_ips_gives_no_trust() -> None:
    given = around(server=("0.0.0.0/0", "::/0"))
    assert "is neither private" in ask("8.8.8.8", "8.8.8.0/24", given)
    assert "is neither private" in ask("2001:db8::7", None, given)
    assert ask("10.44.0.7", "10.44.0.0/24", given) == ""


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "169.254.0.1", "224.0.0.1", "0.0.0.1", "255.255.255.255"],
)
@pytest.mark.parametrize(
    "ipv6",
    ["::1", "::", "fe80::7", "ff02::1", "::ffff:a00:1"],
)
def test_addresses_that_nobody_may_have_are_never_taken(address: str, ipv6: str) -> None:
    accepting = around(accepted=("0.0.0.0/1", "128.0.0.0/1", "::/1", "8000::/1"))
    for each in (address, ipv6):
        assert ask(each, None, accepting) == f"{each} is no address that a peer may have"


def test_networks_that_hold_such_addresses_are_never_taken() -> None:
    accepting = around(accepted=("0.0.0.0/1",), server=("0.0.0.0/0",))
    expected = "0.0.0.0/1 is no network that a peer may hand out"
    assert ask("10.0.0.1", "0.0.0.0/1", accepting) == expected
    expected = "0.0.0.0/0 is no network that a peer may hand out"
    assert ask("10.0.0.1", "0.0.0.0/0", accepting) == expected


def test_an_address_of_another_interface_is_not_taken() -> None:
    there = around(addresses=(("192.168.1.7/24", ETH0),))
    expected = "192.168.1.7 is an address of another interface here"
    assert ask("192.168.1.7", None, there) == expected


def test_an_address_that_stands_on_this_interface_is() -> None:
    assert ask("10.44.0.7", "10.44.0.0/24", around(addresses=(("10.44.0.7/24", WG0),))) == ""


def test_a_gateway_a_name_server_and_an_endpoint_are_not_taken() -> None:
    gateway = around(routes=(a_route("0.0.0.0/0", gateway="192.168.1.1"),))
    assert ask("192.168.1.1", None, gateway) == "192.168.1.1 is a gateway of this machine"
    resolver = around(name_servers=("10.1.1.1",))
    assert ask("10.1.1.1", None, resolver) == "10.1.1.1 is a name server of this machine"
    peer = around(endpoint="10.2.2.2")
    assert ask("10.2.2.2", None, peer) == "10.2.2.2 is the endpoint of a peer"


def test_networks_that_hold_them_are_not_taken() -> None:
    resolver = around(name_servers=("10.1.1.1",))
    expected = "10.0.0.0/8 has a name server of this machine inside, 10.1.1.1"
    assert ask("10.0.0.1", "10.0.0.0/8", resolver) == expected
    peer = around(endpoint="fd00::1")
    expected = "fd00::/64 has the endpoint of a peer inside, fd00::1"
    assert ask("fd00::2", "fd00::/64", peer) == expected
    assert ask_route("fd00::/64", peer) == expected
    machine = around(addresses=(("10.3.3.3/32", 1), ("10.44.0.7/32", WG0)))
    expected = "10.3.0.0/16 has an address of another interface here inside, 10.3.3.3"
    assert ask_route("10.3.0.0/16", machine) == expected
    assert ask_route("10.44.0.0/24", machine) == ""
    assert ask("10.3.0.1", "10.3.0.0/16", machine) == "", "a lease beside it can be had"
    assert ask("10.3.3.3", "10.3.0.0/16", machine) == (
        "10.3.3.3 is an address of another interface here"
    )
    gateway = around(routes=(a_route("0.0.0.0/0", gateway="10.4.4.4"),))
    expected = "10.4.0.0/16 has a gateway of this machine inside, 10.4.4.4"
    assert ask_route("10.4.0.0/16", gateway) == expected


def test_a_gateway_behind_the_tunnel_may_be_inside_but_its_address_is_not_leased() -> None:
    behind = around(routes=(a_route("10.5.0.0/16", WG0, gateway="10.44.0.1"),))
    assert ask_route("10.44.0.0/24", behind) == ""
    assert ask("10.44.0.1", "10.44.0.0/24", behind) == "10.44.0.1 is a gateway of this machine"


def test_a_name_server_that_the_tunnel_leads_to_already_is_no_reason() -> None:
    """wg-quick's `DNS = 10.44.0.1`, with its routes for the allowed IPs."""
    named = ("10.44.0.1",)
    quick = replace(a_route("10.44.0.0/24", WG0), protocol=3)
    static = around(server=("10.44.0.0/24",), name_servers=named, routes=(quick,))
    assert ask_route("10.44.0.0/24", static) == ""
    assert ask("10.44.0.1", None, static) == "", "the hub may lease it out, if it is mad"
    default = replace(quick, prefix=parse_prefix("0.0.0.0/0"), table=51820)
    lan = (a_route("0.0.0.0/0", gateway="192.168.1.1"), a_route("192.168.1.0/24"))
    everything = around(server=("0.0.0.0/0",), name_servers=named, routes=(default, *lan))
    assert ask_route("10.44.0.0/24", everything) == ""
    expected = "10.44.0.0/24 has a name server of this machine inside, 10.44.0.1"
    for elsewhere in (
        around(name_servers=named, routes=(quick,)),
        around(server=("0.0.0.0/0",), name_servers=named, routes=lan),
        around(server=("0.0.0.0/0",), name_servers=named),
        around(
            server=("10.44.0.0/24",),
            name_servers=named,
            routes=(a_route("10.44.0.0/24", WG0), a_route("0.0.0.0/0")),
        ),
    ):
        assert ask_route("10.44.0.0/24", elsewhere) == expected


def test_what_another_peer_has_is_not_taken() -> None:
    peer = around(other=("10.44.0.0/25", "0.0.0.0/0"))
    expected = "10.44.0.7/32 overlaps 10.44.0.0/25 in the allowed IPs of another peer"
    assert ask("10.44.0.7", None, peer) == expected
    expected = "10.44.0.0/24 overlaps 10.44.0.0/25 in the allowed IPs of another peer"
    assert ask("10.44.0.200", "10.44.0.0/24", peer) == expected
    assert ask("10.55.0.7", "10.55.0.0/24", peer) == "", "an exit node's /0 claims nothing"


def test_the_network_of_another_link_is_not_taken() -> None:
    lan = around(routes=(a_route("192.168.1.0/24"),))
    expected = "192.168.1.9/32 is inside 192.168.1.0/24, which another interface has on its link"
    assert ask("192.168.1.9", None, lan) == expected
    lan6 = around(routes=(a_route("fd00::/48"),))
    assert "is inside fd00::/48" in ask("fd00::7", "fd00::/64", lan6)
    outside = "192.168.2.9"
    expected = "192.168.0.0/16 would stand over the route to 192.168.1.0/24"
    assert ask(outside, "192.168.0.0/16", lan) == expected


def test_a_more_specific_route_is_not_stood_over() -> None:
    office = around(routes=(a_route("10.44.7.0/24", gateway="192.168.1.1"),))
    expected = "10.44.0.0/16 would stand over the route to 10.44.7.0/24"
    assert ask("10.44.0.7", "10.44.0.0/16", office) == expected
    expected = "10.44.7.0/24 would stand over the route to 10.44.7.0/24"
    assert ask_route("10.44.7.0/24", office) == expected


@pytest.mark.parametrize("gateway", ["192.168.1.1", None])
def test_what_is_inside_the_route_of_another_is_not_taken(gateway: str | None) -> None:
    office = around(routes=(a_route("10.20.0.0/16", gateway=gateway),))
    how = "to which another gateway leads" if gateway else "which another interface has on its link"
    expected = f"10.20.0.0/24 is inside 10.20.0.0/16, {how}"
    assert ask_route("10.20.0.0/24", office) == expected
    assert ask("10.20.0.7", None, office) == f"10.20.0.7/32 is inside 10.20.0.0/16, {how}"
    assert ask_route("10.21.0.0/24", office) == ""


@pytest.mark.parametrize("kind", [6, 7, 8])
def test_what_is_kept_from_being_reached_is_not_taken(kind: int) -> None:
    closed = around(routes=(replace(a_route("10.20.0.0/16", 0), kind=kind),))
    expected = "10.20.0.0/24 is inside 10.20.0.0/16, which this machine keeps from being reached"
    assert ask_route("10.20.0.0/24", closed) == expected
    expected = "10.0.0.0/8 would stand over the route to 10.20.0.0/16"
    assert ask_route("10.0.0.0/8", closed) == expected


@pytest.mark.parametrize(
    ("named", "taken"),
    [
        ("10.20.0.0/24", True),
        ("10.20.0.0/20", True),
        ("10.20.0.0/16", False),
        ("10.0.0.0/8", False),
    ],
)
def test_the_administrator_can_carve_a_part_out_of_a_wider_route(
    named: str, *, taken: bool
) -> None:
    office = (a_route("10.20.0.0/16", gateway="192.168.1.1"),)
    for surroundings in (
        around(routes=office, accepted=(named,)),
        around(routes=office, server=("fe80::/128", named)),
    ):
        assert (ask_route("10.20.0.0/24", surroundings) == "") is taken
    link = around(routes=(a_route("10.20.0.0/16"),), accepted=(named,))
    assert ask_route("10.20.0.0/24", link), "but not out of what is on a link"


def test_routes_that_say_nothing_about_others_do_not_count() -> None:
    harmless = around(
        routes=(
            a_route("10.44.0.0/24", WG0),
            a_route("0.0.0.0/0"),
            replace(a_route("10.44.0.9/32"), table=255, kind=2),
            replace(a_route("10.44.0.255/32"), table=255),
            replace(a_route("10.44.0.0/24", 0), kind=9),
            replace(a_route("::/0", 0), kind=7),
        )
    )
    assert ask_route("10.44.0.0/24", harmless) == ""


# --- name servers ----------------------------------------------------------------------------


def test_name_servers_are_opt_in() -> None:
    server = parse_address("10.44.0.53")
    assert Policy(around()).refuse_name_server(server) == (
        "10.44.0.53 is in no network that --accept-dns names"
    )
    trusting = Policy(around(dns=("10.44.0.0/24",)))
    assert trusting.refuse_name_server(server) == ""
    assert trusting.refuse_name_server(parse_address("10.45.0.53"))


@pytest.mark.parametrize("server", ["127.0.0.53", "fe80::1", "224.0.0.251", "::1"])
def test_what_is_no_server_s_address_is_never_taken(server: str) -> None:
    trusting = Policy(around(dns=("0.0.0.0/1", "128.0.0.0/1", "::/1", "8000::/1")))
    expected = f"{server} is no address that a name server may have"
    assert trusting.refuse_name_server(parse_address(server)) == expected


def test_the_private_networks_are_those_of_the_rfcs() -> None:
    assert [str(each) for each in PRIVATE] == [
        "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7",
    ]  # fmt: skip
