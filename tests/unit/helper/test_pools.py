import re
from dataclasses import replace

import pytest

from tests.fakes.netlink import FakeInterfaces
from wg_dynamic.address import parse_address, parse_prefix
from wg_dynamic.errors import ConfigError
from wg_dynamic.helper.pools import (
    check_own_addresses,
    check_routes,
    complete_terms,
    holds,
    missing_routes,
    own_addresses,
    reserved,
)
from wg_dynamic.leases.pool import Pool, parse_pool
from wg_dynamic.leases.terms import LeaseTerms, PoolTerms, Reservation
from wg_dynamic.netlink.control import ROUTE_PROTOCOL, Address, Link, Route

WG0 = Link(3, "wg0", "wireguard", up=True, mtu=1420)
ETH0 = 2
POOLS = (parse_pool("10.44.0.0/24"), parse_pool("fd00:44::/64"))
TERMS = LeaseTerms(tuple(map(PoolTerms, POOLS)))
ALICE = bytes([1]) * 32


@pytest.fixture
def interfaces() -> FakeInterfaces:
    made = FakeInterfaces()
    made.links[ETH0] = Link(ETH0, "eth0", "", up=True, mtu=1500)
    return made


def a_route(prefix: str, ifindex: int = WG0.ifindex) -> Route:
    return Route(parse_prefix(prefix), ifindex, protocol=2)


def by_gateway(prefix: str, ifindex: int = ETH0) -> Route:
    return replace(a_route(prefix, ifindex), gateway=parse_address("192.0.2.1"))


def test_the_pools_asked_for_are_taken() -> None:
    assert complete_terms(TERMS, (), WG0, [a_route("10.99.0.0/16")]) == TERMS


def test_without_pools_the_on_link_networks_of_the_interface_are_leased() -> None:
    routes = [
        a_route("10.44.0.0/24"),
        a_route("fd00:44::/64"),
        a_route("10.55.0.0/24", ETH0),
        a_route("fe80::/64"),
        a_route("ff00::/8"),
        a_route("0.0.0.0/0"),
        a_route("192.0.2.7/32"),
        by_gateway("10.66.0.0/16", WG0.ifindex),
        replace(a_route("10.77.0.0/24"), table=255),
        replace(a_route("10.88.0.0/24"), kind=3),
        replace(a_route("10.99.0.0/24"), protocol=ROUTE_PROTOCOL),  # our own, left by a kill
    ]
    assert complete_terms(LeaseTerms(()), (), WG0, routes) == TERMS
    expected = "no pool: wg0 has no on-link route to lease from either; give one, as in --pool"
    with pytest.raises(ConfigError, match=expected):
        complete_terms(LeaseTerms(()), (), WG0, routes[2:])


def test_a_network_of_the_interface_that_cannot_be_leased_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"pool '127\.0\.0\.0/8' is loopback"):
        complete_terms(LeaseTerms(()), (), WG0, [a_route("127.0.0.0/8")])


def test_reservations_outside_the_networks_of_the_interface_are_refused_all_at_once() -> None:
    routes = [a_route("10.44.0.0/24")]
    key = bytes(32)
    addresses = (parse_address("10.45.0.7"), parse_address("10.44.0.0"))
    terms = LeaseTerms((), (Reservation(key, addresses),), addresses_per_peer=2)
    with pytest.raises(ConfigError) as caught:
        complete_terms(terms, ("printer",), WG0, routes)
    assert str(caught.value).splitlines() == [
        "[[reservation]] 1 (printer): 10.45.0.7 is in no pool, expected an address in 10.44.0.0/24",
        "[[reservation]] 1 (printer): 10.44.0.0 is network or broadcast address of 10.44.0.0/24,"
        " expected one that a peer can have",
    ]


@pytest.mark.parametrize("prefix", ["10.44.0.0/24", "10.44.0.0/25", "10.44.0.9/32", "10.0.0.0/8"])
def test_a_pool_on_another_link_is_refused(interfaces: FakeInterfaces, prefix: str) -> None:
    expected = (
        f"pool 10.44.0.0/24 collides with the route to {prefix} over eth0,"
        " expected a network that only wg0 reaches"
    )
    with pytest.raises(ConfigError, match=re.escape(expected)):
        check_routes(TERMS, WG0, [a_route(prefix, ETH0)], interfaces)


def test_an_interface_that_has_just_gone_is_told_by_its_number(
    interfaces: FakeInterfaces,
) -> None:
    with pytest.raises(ConfigError, match="over interface 9, which is gone meanwhile, expected"):
        check_routes(TERMS, WG0, [a_route("10.44.0.0/24", 9)], interfaces)


def test_a_pool_that_a_gateway_routes_as_narrow_is_refused(interfaces: FakeInterfaces) -> None:
    for prefix in ("10.44.0.0/24", "10.44.0.128/25"):
        with pytest.raises(ConfigError, match="collides"):
            check_routes(TERMS, WG0, [by_gateway(prefix)], interfaces)


def test_routes_that_do_not_collide_are_fine(interfaces: FakeInterfaces) -> None:
    check_routes(
        TERMS,
        WG0,
        [
            a_route("10.44.0.0/24"),
            by_gateway("10.0.0.0/8"),
            by_gateway("0.0.0.0/0"),
            a_route("10.45.0.0/24", ETH0),
            replace(a_route("10.44.0.1/32", ETH0), kind=2, table=255),
            replace(a_route("10.44.0.255/32", ETH0), table=255),
        ],
        interfaces,
    )


def test_routes_that_are_missing_are_ours_to_add() -> None:
    assert missing_routes(POOLS, WG0, []) == [
        Route(parse_prefix("10.44.0.0/24"), WG0.ifindex, scope=253),
        Route(parse_prefix("fd00:44::/64"), WG0.ifindex),
    ]
    assert missing_routes(POOLS, WG0, [a_route("10.0.0.0/8"), a_route("fd00:44::/64")]) == []
    elsewhere = [
        a_route("10.44.0.0/24", ETH0),
        replace(a_route("10.44.0.0/24"), table=100),
        replace(a_route("10.44.0.0/24"), kind=2),
        a_route("10.44.0.0/25"),
    ]
    assert len(missing_routes(POOLS, WG0, elsewhere)) == 2


def test_own_addresses_inside_the_pools_are_found_once() -> None:
    addresses = [
        Address(ifindex, parse_prefix(text))
        for ifindex, text in (
            (WG0.ifindex, "10.44.0.1/24"),
            (ETH0, "10.44.0.1/32"),
            (ETH0, "192.0.2.7/24"),
            (WG0.ifindex, "fd00:44::1/64"),
        )
    ]
    expected = (parse_address("10.44.0.1"), parse_address("fd00:44::1"))
    assert own_addresses(POOLS, addresses) == expected
    assert own_addresses([], addresses) == ()


def test_the_machine_s_own_addresses_cannot_be_reserved() -> None:
    addresses = [Address(ETH0, parse_prefix("10.44.0.1/24"))]
    terms = replace(TERMS, reservations=(Reservation(ALICE, (parse_address("10.44.0.1"),)),))
    check_own_addresses(TERMS, (), addresses)
    check_own_addresses(terms, (), [Address(ETH0, parse_prefix("10.44.0.2/24"))])
    with pytest.raises(ConfigError, match=r"\[\[reservation\]\] 1: 10\.44\.0\.1 is an address of"):
        check_own_addresses(terms, (), addresses)


def test_whose_reserved_addresses_are_is_known_by_prefix() -> None:
    addresses = (parse_address("10.44.0.7"), parse_address("fd00:44::7"))
    terms = replace(TERMS, reservations=(Reservation(ALICE, addresses),))
    assert reserved(terms) == {
        parse_prefix("10.44.0.7/32"): ALICE,
        parse_prefix("fd00:44::7/128"): ALICE,
    }


def test_a_pool_holds_what_lies_inside() -> None:
    pools: list[Pool] = list(POOLS)
    assert holds(pools, parse_prefix("10.44.0.7/32"))
    assert holds(pools, parse_prefix("10.44.0.0/24"))
    assert not holds(pools, parse_prefix("10.0.0.0/8"))
    assert not holds(pools, parse_prefix("10.45.0.7/32"))
