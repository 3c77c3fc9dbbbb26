from dataclasses import replace

import pytest

from wg_dynamic.address import parse_address, parse_prefix
from wg_dynamic.helper.config.changes import MAX_LINES, changes
from wg_dynamic.leases.pool import parse_pool
from wg_dynamic.leases.push import Push, PushedRoute
from wg_dynamic.leases.terms import (
    INFINITE,
    AddressRange,
    LeaseTerms,
    PeerName,
    PeerTerms,
    PoolTerms,
    Reservation,
)
from wg_dynamic.wireguard.key import peer_label

ALICE, BOB = bytes([1]) * 32, bytes([2]) * 32
LABEL = peer_label(ALICE)
POOL = PoolTerms(parse_pool("10.44.0.0/24"))
OTHER = PoolTerms(parse_pool("fd00:44::/64"))
TERMS = LeaseTerms((POOL,))
SEVEN, EIGHT = parse_address("10.44.0.7"), parse_address("10.44.0.8")
ROUTE = PushedRoute(parse_prefix("10.20.0.0/16"))


def told(old: LeaseTerms, new: LeaseTerms, **names: bytes) -> list[str]:
    return list(changes(old, new, {key: name for name, key in names.items()}))


def test_the_same_terms_differ_in_nothing() -> None:
    assert told(TERMS, TERMS) == []


def test_pools_come_and_go_and_change_places() -> None:
    both, turned = replace(TERMS, pools=(POOL, OTHER)), replace(TERMS, pools=(OTHER, POOL))
    assert told(TERMS, both) == ["pool fd00:44::/64 added"]
    assert told(both, TERMS) == [
        "pool fd00:44::/64 removed: its leases stand until they end, and are not renewed"
    ]
    assert told(both, turned) == ["order of the pools changed"]
    assert told(LeaseTerms((POOL,)), LeaseTerms((OTHER,)))[0].startswith("pool 10.44.0.0/24 remov")


def test_what_a_pool_says_is_compared() -> None:
    other = replace(
        POOL,
        lease_time=60.0,
        network_length=16,
        excluded=(AddressRange(SEVEN, SEVEN), AddressRange(SEVEN, EIGHT)),
        push=Push(mtu=1400),
    )
    assert told(TERMS, replace(TERMS, pools=(other,))) == [
        "pool 10.44.0.0/24: lease_time: the default until now, 60 from now on",
        "pool 10.44.0.0/24: network_length: the default until now, 16 from now on",
        "pool 10.44.0.0/24: exclude: added 10.44.0.7, 10.44.0.7-10.44.0.8",
        "mtu for clients of pool 10.44.0.0/24: the default until now, 1400 from now on",
    ]


def test_reservations_are_told_by_peer_and_name() -> None:
    old = replace(TERMS, reservations=(Reservation(ALICE, (SEVEN,)),))
    new = replace(TERMS, reservations=(Reservation(ALICE, (EIGHT,), INFINITE),))
    label = f"reservation of {LABEL} (printer)"
    assert told(TERMS, old, printer=ALICE) == [f"{label} added: 10.44.0.7"]
    assert told(old, TERMS) == [f"reservation of {LABEL} removed: 10.44.0.7"]
    assert told(old, new, printer=ALICE) == [
        f"{label}: added 10.44.0.8, removed 10.44.0.7",
        f"{label}: lease_time: the default until now, infinite from now on",
    ]


@pytest.mark.parametrize(
    "key",
    ["lease_time", "min_lease_time", "max_lease_time", "grace_time", "quarantine_time"],
)
def test_times_are_told(key: str) -> None:
    old, new = replace(TERMS, **{key: 61.0}), replace(TERMS, **{key: 62.0})  # type: ignore[arg-type]
    assert told(old, new) == [f"{key}: 61 until now, 62 from now on"]


@pytest.mark.parametrize("key", ["addresses_per_peer", "max_new_addresses"])
def test_limits_are_told(key: str) -> None:
    old, new = replace(TERMS, **{key: 1}), replace(TERMS, **{key: 2})  # type: ignore[arg-type]
    assert told(old, new) == [f"{key}: 1 until now, 2 from now on"]


def test_what_clients_are_told_is_compared_at_each_level() -> None:
    push = Push((ROUTE, replace(ROUTE, metric=5)), (SEVEN,), ("corp.example",), 1400)
    assert told(TERMS, replace(TERMS, push=push)) == [
        "routes for all clients: added 10.20.0.0/16, 10.20.0.0/16 metric 5",
        "name servers for all clients: added 10.44.0.7",
        "search domains for all clients: added corp.example",
        "mtu for all clients: the default until now, 1400 from now on",
    ]
    old = replace(TERMS, peers=(PeerTerms(ALICE, Push((ROUTE,))), PeerTerms(BOB, Push())))
    new = replace(TERMS, peers=(PeerTerms(ALICE, Push(())),))
    assert told(old, new) == [f"routes for {LABEL}: removed 10.20.0.0/16"]
    nothing, none = replace(TERMS, push=Push()), replace(TERMS, push=Push(()))
    assert told(nothing, none) == [
        "routes for all clients: the default until now, none from now on"
    ]


def test_another_order_and_a_long_list_are_told_in_short() -> None:
    one, two = Push(search=("a.example", "b.example")), Push(search=("b.example", "a.example"))
    assert told(replace(TERMS, push=one), replace(TERMS, push=two)) == [
        "search domains for all clients: in another order"
    ]
    many = Push(search=tuple(f"{n}.example" for n in range(12)))
    (line,) = told(TERMS, replace(TERMS, push=many))
    assert line.endswith("7.example and 4 more")


@pytest.mark.parametrize(("count", "more"), [(MAX_LINES, []), (MAX_LINES + 2, ["2 more changes"])])
def test_so_many_changes_are_told_one_by_one(count: int, more: list[str]) -> None:
    reservations = tuple(
        Reservation(number.to_bytes(32), (number.to_bytes(4),)) for number in range(count)
    )
    lines = told(TERMS, replace(TERMS, reservations=reservations))
    assert lines[MAX_LINES:] == more


def test_names_come_and_go_and_change() -> None:
    laptop, phone = (PeerName(ALICE, name) for name in ("laptop", "phone"))
    named, renamed = replace(TERMS, names=(laptop,)), replace(TERMS, names=(phone,))
    assert told(TERMS, named) == [f"{LABEL} has the name laptop"]
    assert told(named, renamed) == [f"{LABEL} has the name phone instead of laptop"]
    assert told(renamed, TERMS) == [f"{LABEL} is not named phone any more"]
    assert told(named, named) == []
