import re
from dataclasses import replace

import pytest

from wg_dynamic.address import parse_address, parse_prefix
from wg_dynamic.errors import ConfigError
from wg_dynamic.helper.pools import (
    check_routes,
    choose_pools,
    holds,
    missing_routes,
    own_addresses,
)
from wg_dynamic.leases.pool import Pool, parse_pool
from wg_dynamic.netlink.control import ROUTE_PROTOCOL, Address, Link, Route

WG0 = Link(3, "wg0", "wireguard", up=True, mtu=1420)
ETH0 = 2
POOLS = (parse_pool("10.44.0.0/24"), parse_pool("fd00:44::/64"))


def a_route(prefix: str, ifindex: int = WG0.ifindex) -> Route:
    return Route(parse_prefix(prefix), ifindex, protocol=2)


def by_gateway(prefix: str, ifindex: int = ETH0) -> Route:
    return replace(a_route(prefix, ifindex), gateway=parse_address("192.0.2.1"))


def test_the_pools_asked_for_are_taken_once_each() -> None:
    texts = ["10.44.0.0/24", "fd00:44::/64", "10.44.0.0/24"]
    assert choose_pools(texts, WG0, [a_route("10.99.0.0/16")]) == POOLS


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["10.44.0.1/24"], "pool '10.44.0.1/24' has host bits set, expected 10.44.0.0/24"),
        (["10.44.0.0"], "pool '10.44.0.0' has no prefix length"),
        (["10.0.0.0/8", "10.44.0.0/24"], "pool 10.44.0.0/24 overlaps pool 10.0.0.0/8"),
    ],
)
def test_pools_that_make_no_sense_are_refused(texts: list[str], expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        choose_pools(texts, WG0, [])


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
    assert choose_pools([], WG0, routes) == POOLS
    expected = "no pool: wg0 has no on-link route to lease from either; give one, as in --pool"
    with pytest.raises(ConfigError, match=expected):
        choose_pools([], WG0, routes[2:])


@pytest.mark.parametrize("prefix", ["10.44.0.0/24", "10.44.0.0/25", "10.44.0.9/32", "10.0.0.0/8"])
def test_a_pool_on_another_link_is_refused(prefix: str) -> None:
    expected = (
        f"pool 10.44.0.0/24 collides with the route to {prefix} over interface 2,"
        " expected a network that only wg0 reaches"
    )
    with pytest.raises(ConfigError, match=re.escape(expected)):
        check_routes(POOLS, WG0, [a_route(prefix, ETH0)])


def test_a_pool_that_a_gateway_routes_as_narrow_is_refused() -> None:
    for prefix in ("10.44.0.0/24", "10.44.0.128/25"):
        with pytest.raises(ConfigError, match="collides"):
            check_routes(POOLS, WG0, [by_gateway(prefix)])


def test_routes_that_do_not_collide_are_fine() -> None:
    check_routes(
        POOLS,
        WG0,
        [
            a_route("10.44.0.0/24"),
            by_gateway("10.0.0.0/8"),
            by_gateway("0.0.0.0/0"),
            a_route("10.45.0.0/24", ETH0),
            replace(a_route("10.44.0.1/32", ETH0), kind=2, table=255),
            replace(a_route("10.44.0.255/32", ETH0), table=255),
        ],
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


def test_a_pool_holds_what_lies_inside() -> None:
    pools: list[Pool] = list(POOLS)
    assert holds(pools, parse_prefix("10.44.0.7/32"))
    assert holds(pools, parse_prefix("10.44.0.0/24"))
    assert not holds(pools, parse_prefix("10.0.0.0/8"))
    assert not holds(pools, parse_prefix("10.45.0.7/32"))
