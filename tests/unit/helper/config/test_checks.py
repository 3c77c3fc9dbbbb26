from dataclasses import replace

import pytest

from wg_dynamic.address import Prefix, parse_address, parse_prefix
from wg_dynamic.errors import UsageError
from wg_dynamic.helper.config import checks
from wg_dynamic.helper.config.checks import (
    checked_terms,
    complaints,
    push_complaints,
    reservation_label,
)
from wg_dynamic.helper.config.document import ServerConfig
from wg_dynamic.helper.config.values import parse_range
from wg_dynamic.leases.pool import parse_pool
from wg_dynamic.leases.push import MAX_TOLD_ROUTES, SILENT, Push, PushedRoute
from wg_dynamic.leases.terms import INFINITE, LeaseTerms, PeerTerms, PoolTerms, Reservation

ALICE, BOB = bytes([1]) * 32, bytes([2]) * 32


def a_pool(
    network: str = "10.44.0.0/24",
    *exclude: str,
    lease_time: float | None = None,
    network_length: int | None = None,
) -> PoolTerms:
    excluded = tuple(map(parse_range, exclude))
    return PoolTerms(parse_pool(network), lease_time, network_length, excluded)


def a_reservation(
    *addresses: str, key: bytes = ALICE, lease_time: float | None = None
) -> Reservation:
    return Reservation(key, tuple(map(parse_address, addresses)), lease_time)


TERMS = LeaseTerms((a_pool(), a_pool("fd00:44::/64")))


def wrong(*pools: PoolTerms, **changes: object) -> list[str]:
    terms = replace(TERMS, **changes)  # type: ignore[arg-type]
    return list(complaints(replace(terms, pools=pools) if pools else terms))


def reserve(*reservations: Reservation, **changes: object) -> list[str]:
    return wrong(reservations=reservations, **changes)


def test_what_goes_together_is_fine() -> None:
    pools = (
        a_pool("10.44.0.0/24", "10.44.0.0/25", "10.44.0.128-10.44.0.253", network_length=16),
        a_pool("10.45.0.0/24", lease_time=600, network_length=32),
        a_pool("fd00:44::/64", "fd00:44::", "fd00:44::ffff:0:0:0/80", network_length=64),
        a_pool("10.46.0.0/31", "10.46.0.1"),
    )
    reservations = (
        a_reservation("10.44.0.7", "fd00:44::7", lease_time=INFINITE),
        a_reservation("10.44.0.254", key=BOB, lease_time=60),
    )
    assert wrong(*pools, reservations=reservations) == []
    assert wrong() == []


def test_lease_times_have_an_order() -> None:
    bounds = {"min_lease_time": 600, "max_lease_time": 1800}
    assert wrong(**bounds, lease_time=600) == wrong(**bounds, lease_time=1800) == []
    complaint = "lease_time 599, expected min_lease_time (600) to max_lease_time (1800)"
    assert wrong(**bounds, lease_time=599) == [complaint]
    assert wrong(**bounds, lease_time=1801) == [complaint.replace("599", "1801")]
    for_pool = f"pool 10.44.0.0/24: {complaint}"
    assert wrong(a_pool(lease_time=599), **bounds, lease_time=900) == [for_pool]
    assert wrong(a_pool(lease_time=1800), **bounds, lease_time=900) == []
    for_one = f"[[reservation]] 1: {complaint}, or 'infinite'"
    assert reserve(a_reservation("10.44.0.7", lease_time=599), **bounds, lease_time=900) == [
        for_one
    ]


def test_bounds_that_are_upside_down_are_told_once() -> None:
    found = wrong(
        a_pool(lease_time=900),
        reservations=(a_reservation("10.44.0.7", lease_time=900),),
        min_lease_time=31_536_000,
        max_lease_time=600,
    )
    assert found == ["min_lease_time 31536000, expected at most max_lease_time (600)"]


@pytest.mark.parametrize(
    ("network", "length", "limit", "bits"),
    [("10.44.0.0/24", 25, 24, 32), ("10.44.0.0/24", 64, 24, 32), ("fd00:44::/64", 65, 64, 128)],
)
def test_a_network_for_clients_holds_the_pool_or_nothing(
    network: str, length: int, limit: int, bits: int
) -> None:
    assert wrong(a_pool(network, network_length=limit)) == []
    assert wrong(a_pool(network, network_length=bits)) == []
    assert wrong(a_pool(network, network_length=length)) == [
        f"pool {network}: network_length {length}, expected at most {limit}, for a network that"
        f" the pool is part of, or {bits} for none"
    ]


@pytest.mark.parametrize(
    "outside", ["10.45.0.7", "10.44.0.200-10.44.1.0", "10.43.255.255-10.44.0.1", "fd00:44::7"]
)
def test_an_exclusion_lies_inside_its_pool(outside: str) -> None:
    assert wrong(a_pool("10.44.0.0/24", "10.44.0.7", outside)) == [
        f"pool 10.44.0.0/24: exclude {outside} is not inside the pool, expected addresses of this"
        " pool: move it to theirs, or remove it"
    ]


@pytest.mark.parametrize(
    "exclude",
    [
        ["10.44.0.0/24"],
        ["10.44.0.1-10.44.0.254"],
        ["10.44.0.100-10.44.0.255", "10.44.0.50-10.44.0.120", "10.44.0.0-10.44.0.49"],
    ],
)
def test_something_is_left_of_a_pool(exclude: list[str]) -> None:
    complaint = "pool 10.44.0.0/24: every address is excluded, expected one at least to be left"
    assert wrong(a_pool("10.44.0.0/24", *exclude)) == [complaint]


@pytest.mark.parametrize(
    "exclude",
    [
        ["10.44.0.2-10.44.0.255"],
        ["10.44.0.0-10.44.0.253"],
        ["10.44.0.0-10.44.0.49", "10.44.0.51-10.44.0.255"],
    ],
)
def test_one_address_that_is_left_is_enough(exclude: list[str]) -> None:
    assert wrong(a_pool("10.44.0.0/24", *exclude)) == []


def test_pools_share_no_address() -> None:
    assert wrong(a_pool("10.44.0.0/16"), a_pool("fd00::/64"), a_pool("10.44.7.0/24")) == [
        "pool 10.44.7.0/24 overlaps pool 10.44.0.0/16, expected pools that share no address: give"
        " one of them only"
    ]
    assert len(wrong(a_pool(), a_pool(), a_pool())) == 3


@pytest.mark.parametrize(
    ("address", "complaint"),
    [
        ("10.45.0.7", "is in no pool, expected an address in 10.44.0.0/24, fd00:44::/64"),
        ("fd00:45::7", "is in no pool, expected an address in 10.44.0.0/24, fd00:44::/64"),
        ("10.44.0.0", "is network or broadcast address of 10.44.0.0/24, expected one that a"),
        ("10.44.0.255", "is network or broadcast address of 10.44.0.0/24, expected one that a"),
        ("fd00:44::", "is an anycast address of fd00:44::/64, expected one that a peer can have"),
        ("fd00:44::ffff:ffff:ffff:ffff", "is an anycast address of fd00:44::/64, expected one"),
    ],
)
def test_a_reserved_address_can_be_leased_from_a_pool(address: str, complaint: str) -> None:
    (found,) = reserve(a_reservation("10.44.0.1"), a_reservation(address, key=BOB))
    assert found.startswith(f"[[reservation]] 2: {address} {complaint}")


def test_an_excluded_address_may_be_reserved() -> None:
    pool = a_pool("10.44.0.0/24", "10.44.0.0-10.44.0.99")
    assert wrong(pool, reservations=(a_reservation("10.44.0.7"),)) == []


def test_without_pools_reserved_addresses_are_not_judged_yet() -> None:
    assert wrong(pools=(), reservations=(a_reservation("10.44.0.7"),)) == []


def test_the_pools_are_listed_up_to_a_few() -> None:
    pools = [a_pool(f"10.{number}.0.0/24") for number in range(6)]
    (found,) = wrong(*pools, reservations=(a_reservation("192.0.2.7"),))
    assert found.endswith("10.0.0.0/24, 10.1.0.0/24, 10.2.0.0/24, 10.3.0.0/24, 10.4.0.0/24, …")


def test_an_address_is_reserved_once() -> None:
    assert reserve(a_reservation("10.44.0.7"), a_reservation("10.44.0.7", key=BOB)) == [
        "[[reservation]] 2: 10.44.0.7 is reserved in [[reservation]] 1 already"
    ]
    assert reserve(a_reservation("10.44.0.7", "10.44.0.7"), addresses_per_peer=2) == [
        "[[reservation]] 1: 10.44.0.7 is reserved in [[reservation]] 1 already"
    ]


def test_a_peer_has_one_reservation_with_as_many_addresses_as_it_may_have() -> None:
    assert reserve(a_reservation("10.44.0.7"), a_reservation("10.44.0.8")) == [
        "[[reservation]] 2: has the public key of [[reservation]] 1, expected one reservation for"
        " each peer: list all addresses there"
    ]
    two = a_reservation("10.44.0.7", "10.44.0.8", "fd00:44::7")
    assert reserve(two) == [
        "[[reservation]] 1: 2 IPv4 addresses, expected at most addresses_per_peer (1)"
    ]
    assert reserve(two, addresses_per_peer=2) == []
    assert reserve(a_reservation("fd00:44::7", "fd00:44::8")) == [
        "[[reservation]] 1: 2 IPv6 addresses, expected at most addresses_per_peer (1)"
    ]
    assert reserve(a_reservation()) == [
        "[[reservation]] 1: addresses is empty, expected one address at least"
    ]


@pytest.mark.parametrize("many", [0, 1])
def test_there_are_limits(monkeypatch: pytest.MonkeyPatch, many: int) -> None:
    for name in ("MAX_POOLS", "MAX_EXCLUSIONS", "MAX_RESERVATIONS"):
        monkeypatch.setattr(checks, name, 10)
    numbers = range(1, 11 + many)
    pools = [a_pool(f"10.{number}.0.0/24", f"10.{number}.0.7") for number in numbers]
    reservations = [a_reservation(f"10.1.0.{n}", key=bytes([n]) * 32) for n in numbers]
    told = [f"11 {what}, expected at most 10" for what in ("pools", "exclusions", "reservations")]
    assert wrong(*pools, reservations=tuple(reservations)) == (told if many else [])


def test_too_many_pools_are_not_compared_with_each_other() -> None:
    many = [a_pool("10.44.0.0/24")] * 257
    assert wrong(*many) == ["257 pools, expected at most 256"]


def test_a_reservation_is_called_by_its_name() -> None:
    assert reservation_label(0, ("printer", "")) == "[[reservation]] 1 (printer)"
    assert reservation_label(1, ("printer", "")) == "[[reservation]] 2"
    assert reservation_label(2, ("printer", "")) == "[[reservation]] 3"
    assert reservation_label(0, ("n" * 60,)) == f"[[reservation]] 1 ({'n' * 60})"
    assert reservation_label(0, ("n" * 61,)) == f"[[reservation]] 1 ({'n' * 60}…)"


def test_terms_are_checked_and_what_is_wrong_told_all_at_once() -> None:
    pools = (a_pool(), a_pool("10.44.0.0/25"))
    config = ServerConfig("wg0.toml", pools, (a_reservation("10.45.0.7"),), ("printer",))
    with pytest.raises(UsageError) as caught:
        checked_terms(config)
    lines = str(caught.value).splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("wg0.toml: pool 10.44.0.0/25 overlaps pool 10.44.0.0/24, expected")
    assert lines[1].startswith("wg0.toml: [[reservation]] 1 (printer): 10.45.0.7 is in no pool")
    twice = replace(config, push=routes("10.20.0.0/16", "10.20.0.0/16"))
    with pytest.raises(UsageError, match=r"\nwg0.toml: routes has 10.20.0.0/16 2 times"):
        checked_terms(twice)
    good = replace(config, pools=pools[:1], reservations=())
    assert checked_terms(good) == good.terms()


def routes(*networks: str) -> Push:
    return Push(tuple(PushedRoute(parse_prefix(text)) for text in networks))


def many_routes(count: int, first: int = 0) -> Push:
    networks = (Prefix((0x0A000000 + n).to_bytes(4), 32) for n in range(first, first + count))
    return Push(tuple(map(PushedRoute, networks)))


def pushed(
    push: Push = SILENT, *peers: Push, pool: Push = SILENT, names: tuple[str, ...] = ()
) -> list[str]:
    """What is said about a level for all, those of peers, and that of one of two pools."""
    terms = replace(
        TERMS,
        pools=(replace(TERMS.pools[0], push=pool), TERMS.pools[1]),
        push=push,
        peers=tuple(PeerTerms(bytes([n]) * 32, peer) for n, peer in enumerate(peers)),
    )
    return list(push_complaints(terms, names))


def test_what_clients_are_told_may_differ_at_each_level() -> None:
    push = Push(routes("10.20.0.0/16", "::/0").routes, (bytes(4), bytes(16)), ("a", "b"), 1420)
    assert pushed(push, push, Push(), pool=routes("10.20.0.0/16")) == []
    assert pushed() == []


def test_at_one_level_nothing_is_said_twice() -> None:
    server = parse_address("10.44.0.53")
    twice = Push(routes("10.20.0.0/16", "::/0", "10.20.0.0/16").routes, (server,) * 3, ("a", "a"))
    expected = [
        "routes has 10.20.0.0/16 2 times, expected it once",
        "dns: servers has 10.44.0.53 3 times, expected it once",
        "dns: search has a 2 times, expected it once",
    ]
    assert pushed(twice) == expected
    of_peer = [f"[[peer]] 2 (laptop): {text}" for text in expected]
    assert pushed(Push(), Push(), twice, names=("", "laptop")) == of_peer
    of_pool = pushed(pool=replace(twice, routes=twice.routes[:1] if twice.routes else None))
    assert of_pool == [f"pool 10.44.0.0/24: {text}" for text in expected[1:]]


def test_a_route_of_a_pool_is_of_its_family() -> None:
    assert pushed(pool=routes("10.20.0.0/16", "fd00:20::/48")) == [
        "pool 10.44.0.0/24: routes has fd00:20::/48, which goes with a lease of the other family:"
        " move it to a pool of that family, or before the first table"
    ]


def test_a_peer_has_one_table() -> None:
    peers = (PeerTerms(ALICE, Push()), PeerTerms(BOB, Push()), PeerTerms(ALICE, Push()))
    assert list(push_complaints(replace(TERMS, peers=peers), ("printer",))) == [
        "[[peer]] 3: has the public key of [[peer]] 1 (printer), expected one [[peer]] for each"
        " peer: say all of it there"
    ]


def test_the_lists_of_a_level_have_limits() -> None:
    servers = tuple(n.to_bytes(4) for n in range(9))
    search = tuple(f"d{n}" for n in range(17))
    most = many_routes(256).routes
    assert pushed(Push(most, servers[:8], search[:16])) == []
    assert pushed(Push(many_routes(257).routes, servers, search)) == [
        "routes has 257 items, expected at most 256",
        "dns: servers has 9 items, expected at most 8",
        "dns: search has 17 items, expected at most 16",
    ]


@pytest.mark.parametrize("many", [0, 1])
def test_levels_have_limits_together(monkeypatch: pytest.MonkeyPatch, many: int) -> None:
    monkeypatch.setattr(checks, "MAX_PUSHED_PEERS", 3 - many)
    monkeypatch.setattr(checks, "MAX_PUSHED_ROUTES", 7 - many)
    levels = (many_routes(2), many_routes(2), many_routes(2), Push())
    told = ["3 [[peer]] tables, expected at most 2", "7 routes in all lists, expected at most 6"]
    assert pushed(*levels, pool=many_routes(1)) == (told if many else [])


@pytest.mark.parametrize("more", [0, 1])
def test_no_client_can_be_told_more_than_a_reply_has(
    monkeypatch: pytest.MonkeyPatch, more: int
) -> None:
    """The worst case: all addresses that it may hold, of the pools that say most."""
    pools = [
        replace(a_pool(network), push=replace(many_routes(count), mtu=1400))
        for network, count in (("10.44.0.0/24", 100), ("10.45.0.0/24", 99), ("10.46.0.0/24", 98))
    ]
    v6 = replace(a_pool("fd00:44::/64"), push=Push((PushedRoute(parse_prefix("fd00:20::/48")),)))
    terms = replace(
        TERMS,
        pools=(*pools, v6),
        push=many_routes(10),
        peers=(PeerTerms(ALICE, many_routes(5)), PeerTerms(BOB, many_routes(7))),
        addresses_per_peer=2,
    )
    monkeypatch.setattr(checks, "MAX_TOLD_ROUTES", 100 + 99 + 1 + 10 + 7 - more)
    expected = "217 routes that one client may be told, expected at most 216"
    assert list(push_complaints(terms)) == ([expected] if more else [])
    assert MAX_TOLD_ROUTES == 4096
