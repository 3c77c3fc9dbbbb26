"""What a client is told besides its addresses, by its key and its leases."""

from ipaddress import ip_address, ip_network

import pytest

from wg_dynamic.address import parse_address, parse_prefix
from wg_dynamic.leases.pool import parse_pool
from wg_dynamic.leases.push import SILENT, Push, PushedRoute
from wg_dynamic.leases.terms import LeaseTerms, PeerTerms, PoolTerms
from wg_dynamic.protocol import Dns, Route
from wg_dynamic.server import pushed as module
from wg_dynamic.server.pushed import NOTHING, Pushed, Told

ALICE, BOB = bytes([1]) * 32, bytes([2]) * 32


def a_push(*networks: str, mtu: int | None = None) -> Push:
    return Push(tuple(PushedRoute(parse_prefix(text)) for text in networks), mtu=mtu)


def a_terms(for_all: Push = SILENT, *pools: Push, alice: Push | None = None) -> LeaseTerms:
    """A pool of each family, and a second one of IPv4."""
    networks = ("10.44.0.0/24", "fd00:44::/64", "10.45.0.0/16")
    pushes = (*pools, SILENT, SILENT, SILENT)
    return LeaseTerms(
        tuple(
            PoolTerms(parse_pool(text), push=push)
            for text, push in zip(networks, pushes, strict=False)
        ),
        push=for_all,
        peers=() if alice is None else (PeerTerms(ALICE, alice),),
    )


def told(terms: LeaseTerms, *leased: str, key: bytes = ALICE) -> Told:
    return Pushed(terms).told(key, map(parse_address, leased))


def networks(told: Told) -> list[str]:
    return [str(route.network) for route in told.routes]


def test_it_is_told_as_the_protocol_says_it() -> None:
    server, network = parse_address("10.44.0.53"), parse_prefix("10.20.0.0/16")
    push = Push((PushedRoute(network, 50),), (server,), ("corp.example",), 1420)
    assert told(a_terms(push), "10.44.0.7") == Told(
        (Route(ip_network("10.20.0.0/16"), 50),),
        (Dns((ip_address("10.44.0.53"),), ("corp.example",)),),
        1420,
    )


def test_who_has_no_lease_is_told_nothing() -> None:
    assert told(a_terms(a_push("10.20.0.0/16", mtu=1420))) == NOTHING


def test_where_nothing_is_said_nothing_is_told() -> None:
    assert told(a_terms(), "10.44.0.7", "fd00:44::7") is NOTHING
    assert told(a_terms(SILENT, SILENT, alice=SILENT), "10.44.0.7") == NOTHING


@pytest.mark.parametrize("dns", [Push(servers=()), Push(search=()), Push((), (), ())])
def test_no_name_servers_are_no_section(dns: Push) -> None:
    assert told(a_terms(dns), "10.44.0.7") == NOTHING


def test_search_domains_or_name_servers_alone_are_a_section() -> None:
    assert told(a_terms(Push(search=("a",))), "10.44.0.7").dns == (Dns((), ("a",)),)
    only = Push(servers=(parse_address("fd00::53"),))
    assert told(a_terms(only), "10.44.0.7").dns == (Dns((ip_address("fd00::53"),)),)


@pytest.mark.parametrize(
    ("leased", "expected"),
    [
        (["10.44.0.7"], ["10.20.0.0/16", "10.30.0.0/16"]),
        (["10.44.0.255", "10.44.0.0"], ["10.20.0.0/16", "10.30.0.0/16"]),
        (["fd00:44::7"], ["fd00:20::/48"]),
        (["10.45.9.9"], []),
        (["10.45.9.9", "10.44.0.7"], ["10.20.0.0/16", "10.30.0.0/16"]),
        (["fd00:44::7", "10.44.0.7"], ["10.20.0.0/16", "10.30.0.0/16", "fd00:20::/48"]),
        (["10.46.0.7"], ["10.20.0.0/16"]),  # of a pool that is no more
        (["fd00:45::7"], ["fd00:20::/48"]),
        (["10.46.0.7", "10.45.9.9"], ["10.20.0.0/16"]),
    ],
)
def test_it_depends_on_the_pools_that_the_leases_are_of(
    leased: list[str], expected: list[str]
) -> None:
    for_all = a_push("10.20.0.0/16", "fd00:20::/48")
    terms = a_terms(for_all, a_push("10.30.0.0/16"), SILENT, a_push())
    assert networks(told(terms, *leased)) == expected


def test_it_depends_on_the_key() -> None:
    terms = a_terms(a_push("10.20.0.0/16", mtu=1420), alice=a_push("0.0.0.0/0", mtu=1280))
    assert networks(told(terms, "10.44.0.7")) == ["10.20.0.0/16", "0.0.0.0/0"]
    assert told(terms, "10.44.0.7").mtu == 1280
    assert networks(told(terms, "10.44.0.7", key=BOB)) == ["10.20.0.0/16"]
    assert told(terms, "10.44.0.7", key=BOB).mtu == 1420


def test_what_is_told_again_and_again_is_made_once() -> None:
    pushed = Pushed(a_terms(a_push("10.20.0.0/16"), alice=a_push("10.40.0.0/16")))
    leased = [parse_address("10.44.0.7")]
    first = pushed.told(BOB, leased)
    assert pushed.told(bytes(32), [parse_address("10.44.0.8")]) is first
    assert pushed.told(ALICE, leased) is pushed.told(ALICE, leased)
    assert pushed.told(ALICE, leased).routes[0] is first.routes[0]


def test_what_peers_can_make_of_it_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REMEMBERED", 1)
    pushed = Pushed(a_terms(a_push("10.20.0.0/16", "fd00:20::/48")))
    first = pushed.told(BOB, [parse_address("10.44.0.7")])
    assert networks(pushed.told(BOB, [parse_address("fd00:44::7")])) == ["fd00:20::/48"]
    again = pushed.told(BOB, [parse_address("10.44.0.7")])
    assert again == first
    assert again is not first
