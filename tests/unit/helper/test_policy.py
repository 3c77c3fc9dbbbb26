from dataclasses import replace

import pytest

from wg_dynamic.address import Prefix, parse_address, parse_prefix
from wg_dynamic.helper.policy import PRIVATE, Surroundings, refusal
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
        accepted=prefixes(*accepted),
    )


def a_route(prefix: str, ifindex: int = ETH0, *, gateway: str | None = None) -> Route:
    packed = None if gateway is None else parse_address(gateway)
    return Route(parse_prefix(prefix), ifindex, gateway=packed)


def ask(address: str, network: str | None = None, surroundings: Surroundings | None = None) -> str:
    leased = parse_prefix(address)
    return refusal(
        leased, leased if network is None else parse_prefix(network), surroundings or around()
    )


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
        ("40.9.9.9", "32.0.0.0/3"),  # a hostile hub's ways to most of the Internet
        ("64.0.0.1", "64.0.0.0/2"),
        ("128.0.0.1", "128.0.0.0/2"),
        ("8.8.8.8", None),
        ("10.0.0.1", "10.0.0.0/7"),
        ("172.16.0.1", "172.0.0.0/8"),
        ("100.64.0.1", "100.64.0.0/9"),
        ("2001:db8::1", "2001:db8::/64"),
        ("fd00::1", "f000::/4"),
    ],
)
def test_public_networks_are_not_taken_without_a_word(address: str, network: str | None) -> None:
    shown = parse_prefix(network or address)
    assert ask(address, network) == (
        f"{shown} is neither private nor in the server peer's allowed IPs"
        f" (--accept-routes {shown} takes it)"
    )
    accepting = around(accepted=(str(shown),))
    assert ask(address, network, accepting) == ""


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
    expected = "10.0.0.0/8 has a name server of this machine inside"
    assert ask("10.0.0.1", "10.0.0.0/8", resolver) == expected
    peer = around(endpoint="fd00::1")
    assert ask("fd00::2", "fd00::/64", peer) == "fd00::/64 has the endpoint of a peer inside"


def test_what_another_peer_has_is_not_taken() -> None:
    peer = around(other=("10.44.0.0/25", "0.0.0.0/0"))
    expected = "10.44.0.7 is in the allowed IPs of another peer"
    assert ask("10.44.0.7", None, peer) == expected
    expected = "10.44.0.0/24 overlaps 10.44.0.0/25 of another peer"
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
    assert ask("10.44.7.7", "10.44.7.0/24", office) == expected


def test_a_wider_route_by_a_gateway_may_stand() -> None:
    office = around(routes=(a_route("10.0.0.0/8", gateway="192.168.1.1"),))
    assert ask("10.44.0.7", "10.44.0.0/24", office) == ""


def test_routes_that_say_nothing_about_others_do_not_count() -> None:
    prefix = parse_prefix("10.44.0.0/24")
    harmless = around(
        routes=(
            a_route("10.44.0.0/24", WG0),
            a_route("0.0.0.0/0"),
            replace(a_route("10.44.0.9/32"), table=255, kind=2),
            replace(a_route("10.44.0.255/32"), table=255),
            replace(a_route("10.44.0.0/24", 0), kind=6),
        )
    )
    assert refusal(parse_prefix("10.44.0.7"), prefix, harmless) == ""


def test_the_private_networks_are_those_of_the_rfcs() -> None:
    assert [str(each) for each in PRIVATE] == [
        "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7",
    ]  # fmt: skip
