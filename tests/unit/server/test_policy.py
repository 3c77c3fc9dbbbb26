"""What a request gets: docs/protocol.md 5, 6.6, 6.7 and 10.1."""

from collections.abc import Callable
from dataclasses import replace
from math import inf
from typing import Any

import pytest

from wg_dynamic.address import format_address, parse_address, parse_prefix
from wg_dynamic.leases.lease import Lease
from wg_dynamic.leases.pool import Pool
from wg_dynamic.leases.table import LeaseTable
from wg_dynamic.leases.terms import (
    FREE_DECLINES,
    INFINITE,
    AddressRange,
    LeaseTerms,
    PoolTerms,
    Reservation,
)
from wg_dynamic.protocol.errors import ErrorCode
from wg_dynamic.server.policy import (
    Asked,
    Outcome,
    Rules,
    decide,
    retry_after,
    to_decline,
    to_release,
)

ALICE, BOB, CAROL, DAVE = (bytes([number]) * 32 for number in (1, 2, 3, 4))
ANY_IPV4, ANY_IPV6 = bytes(4), bytes(16)
LEASE_TIME = 3600.0


class RuledTable(LeaseTable):
    """A table that knows the terms it was made by."""

    terms: LeaseTerms
    hub: tuple[bytes, ...]

    def rules(self, is_open: Callable[[bytes, bytes], bool]) -> Rules:
        return Rules(self.terms, lambda _: 0, is_open, self.hub)


def a_table(*pools: str, excluded: tuple[str, ...] = ()) -> RuledTable:
    networks = [Pool(parse_prefix(pool)) for pool in pools or ("192.0.2.0/24", "2001:db8::/64")]
    return by_terms(LeaseTerms(tuple(PoolTerms(pool) for pool in networks)), *excluded)


def by_terms(terms: LeaseTerms, *hub: str) -> RuledTable:
    addresses = tuple(parse_address(address) for address in hub)
    table = Rules(terms, lambda _: 0, everything_is_open, addresses).new_table()
    table.__class__ = RuledTable
    assert isinstance(table, RuledTable)
    table.terms, table.hub = terms, addresses
    return table


def everything_is_open(_address: bytes, _public_key: bytes) -> bool:
    return True


def ask(
    table: RuledTable,
    public_key: bytes,
    *wishes: str | bytes,
    now: float = 0.0,
    is_open: Callable[[bytes, bytes], bool] = everything_is_open,
    version: int = 2,
    lease_time: float | None = None,
    new_left: int = 100,
) -> Outcome:
    """One request; the random choice is the first free address."""
    packed = [wish if isinstance(wish, bytes) else parse_address(wish) for wish in wishes]
    asked = Asked(public_key, tuple(packed), version, lease_time, new_left)
    return decide(table, asked, table.rules(is_open), now)


def end_all(table: LeaseTable, now: float) -> None:
    """What the engine does with leases that are over."""
    for lease in table.due(now):
        table.put(lease.end(now))


def addresses(outcome: Outcome) -> list[str]:
    return [format_address(lease.address) for lease in outcome.leases]


def test_without_a_wish_one_address_of_each_family_is_leased() -> None:
    outcome = ask(a_table(), ALICE)
    assert addresses(outcome) == ["192.0.2.1", "2001:db8::1"]
    assert outcome.code is ErrorCode.SUCCESS


def test_two_pools_of_one_family_still_give_one_address() -> None:
    assert addresses(ask(a_table("192.0.2.0/30", "198.51.100.0/30"), ALICE)) == ["192.0.2.1"]


def test_a_family_that_was_not_asked_for_gets_nothing() -> None:
    assert addresses(ask(a_table(), ALICE, ANY_IPV6)) == ["2001:db8::1"]


def test_a_lease_lasts_as_long_as_the_terms_say() -> None:
    (lease,) = ask(a_table(), ALICE, ANY_IPV4, now=100.0).leases
    assert (lease.lease_time, lease.ends_at) == (LEASE_TIME, 100.0 + LEASE_TIME)


def test_a_free_address_that_is_wished_for_is_granted() -> None:
    assert addresses(ask(a_table(), ALICE, "192.0.2.77")) == ["192.0.2.77"]


def test_an_address_that_one_holds_is_renewed() -> None:
    table = a_table()
    ask(table, ALICE, "192.0.2.77")
    (renewed,) = ask(table, ALICE, "192.0.2.77", now=1800.0).leases
    assert renewed.ends_at == 1800.0 + LEASE_TIME
    assert len(table) == 1


def test_asking_for_any_address_renews_the_one_that_is_held() -> None:
    table = a_table()
    ask(table, ALICE, "192.0.2.77")
    assert addresses(ask(table, ALICE, ANY_IPV4, now=1800.0)) == ["192.0.2.77"]


def test_version_2_gets_another_address_for_one_that_is_taken() -> None:
    table = a_table()
    ask(table, ALICE, "192.0.2.1")
    outcome = ask(table, BOB, "192.0.2.1", version=2)
    (address,) = addresses(outcome)
    assert address != "192.0.2.1"
    assert outcome.code is ErrorCode.SUCCESS


def test_version_1_gets_nothing_for_one_that_is_taken() -> None:
    table = a_table()
    ask(table, ALICE, "192.0.2.1")
    outcome = ask(table, BOB, "192.0.2.1", version=1)
    assert outcome == Outcome((), ErrorCode.UNAVAILABLE)


def test_version_1_gets_the_family_that_can_be_met_beside_the_error() -> None:
    table = a_table()
    ask(table, ALICE, "192.0.2.1")
    outcome = ask(table, BOB, "192.0.2.1", ANY_IPV6, version=1)
    assert addresses(outcome) == ["2001:db8::1"]
    assert outcome.code is ErrorCode.UNAVAILABLE


def test_a_wish_outside_the_pools_is_one_that_cannot_be_met() -> None:
    assert addresses(ask(a_table(), ALICE, "203.0.113.9", version=2)) == ["192.0.2.1"]
    assert not ask(a_table(), ALICE, "203.0.113.9", version=1).leases


def test_network_broadcast_and_excluded_addresses_are_not_to_be_had() -> None:
    table = a_table("192.0.2.0/29", excluded=("192.0.2.1",))
    for wish in ("192.0.2.0", "192.0.2.7", "192.0.2.1"):
        assert not ask(table, ALICE, wish, version=1).leases
    assert addresses(ask(table, ALICE, ANY_IPV4)) != ["192.0.2.1"]


def test_the_same_peer_gets_the_same_address_back_after_its_lease_ended() -> None:
    table = a_table()
    ask(table, ALICE, "192.0.2.77")
    end_all(table, LEASE_TIME)
    assert addresses(ask(table, ALICE, ANY_IPV4, now=9999.0)) == ["192.0.2.77"]


def test_of_several_memories_the_latest_is_the_one_that_comes_back() -> None:
    table = a_table()
    ask(table, ALICE, "192.0.2.77")
    ask(table, ALICE, "192.0.2.88", now=10.0)
    end_all(table, 99999.0)
    assert addresses(ask(table, ALICE, ANY_IPV4, now=99999.0)) == ["192.0.2.88"]


def test_what_a_peer_holds_comes_before_what_it_had() -> None:
    table = a_table()
    ask(table, ALICE, "192.0.2.77")
    end_all(table, LEASE_TIME)
    ask(table, ALICE, "192.0.2.88", now=LEASE_TIME)
    assert addresses(ask(table, ALICE, ANY_IPV4, now=LEASE_TIME)) == ["192.0.2.88"]


def test_the_memory_of_one_family_says_nothing_about_the_other() -> None:
    table = a_table()
    ask(table, ALICE, "2001:db8::77")
    assert addresses(ask(table, ALICE, ANY_IPV4)) == ["192.0.2.1"]


def test_wishes_beyond_what_a_peer_may_hold_are_not_met() -> None:
    table = a_table()
    outcome = ask(table, ALICE, ANY_IPV4, "192.0.2.9", ANY_IPV6)
    assert addresses(outcome) == ["192.0.2.9", "2001:db8::1"]
    assert outcome.code is ErrorCode.QUOTA_EXCEEDED
    assert len(table) == 2


def test_a_peer_that_moves_to_another_address_gives_the_old_one_up_at_once() -> None:
    table = a_table()
    ask(table, ALICE, "192.0.2.77")
    assert addresses(ask(table, ALICE, "192.0.2.88", now=10.0)) == ["192.0.2.88"]
    old = table.get(parse_address("192.0.2.77"))
    assert old is not None
    assert old.is_over(10.0)
    assert table.due(10.0) == [old]


def test_the_address_given_up_is_nobodys_before_it_was_taken_off() -> None:
    table = a_table()
    ask(table, ALICE, "192.0.2.77")
    ask(table, ALICE, "192.0.2.88", now=10.0)
    assert not ask(table, BOB, "192.0.2.77", now=10.0, version=1).leases
    end_all(table, 10.0)
    assert ask(table, ALICE, "192.0.2.77", now=10.0, version=1).leases


def test_an_address_remembered_for_another_is_had_only_when_there_is_no_other() -> None:
    table = a_table("192.0.2.0/30")
    ask(table, ALICE, "192.0.2.1")
    end_all(table, 5000.0)
    assert not ask(table, BOB, "192.0.2.1", now=5000.0, version=1).leases
    assert addresses(ask(table, BOB, "192.0.2.1", now=5000.0)) == ["192.0.2.2"]
    assert addresses(ask(table, CAROL, "192.0.2.1", now=5000.0)) == ["192.0.2.1"]


def test_a_move_in_one_family_leaves_the_other_alone() -> None:
    table = a_table()
    ask(table, ALICE, "192.0.2.77", "2001:db8::77")
    ask(table, ALICE, "192.0.2.88", now=10.0)
    assert not table.due(10.0 + 1)[1:]
    kept = table.get(parse_address("2001:db8::77"))
    assert kept is not None
    assert not kept.is_over(10.0)


def test_a_full_pool_is_exhausted() -> None:
    table = a_table("192.0.2.0/30")
    ask(table, ALICE)
    ask(table, BOB)
    assert ask(table, CAROL, ANY_IPV4) == Outcome((), ErrorCode.EXHAUSTED)
    assert ask(table, CAROL, "192.0.2.1", version=2) == Outcome((), ErrorCode.EXHAUSTED)


def test_a_family_without_a_pool_is_exhausted_and_the_other_is_leased() -> None:
    outcome = ask(a_table("192.0.2.0/24"), ALICE, ANY_IPV4, ANY_IPV6)
    assert addresses(outcome) == ["192.0.2.1"]
    assert outcome.code is ErrorCode.EXHAUSTED


def test_a_server_without_pools_has_nothing() -> None:
    table = by_terms(LeaseTerms(()))
    assert ask(table, ALICE) == Outcome((), ErrorCode.UNAVAILABLE)


def test_a_full_pool_gives_the_memory_that_ended_longest_ago() -> None:
    table = a_table("192.0.2.0/30")
    ask(table, ALICE, "192.0.2.1", now=0.0)
    ask(table, BOB, "192.0.2.2", now=5.0)
    end_all(table, LEASE_TIME)
    end_all(table, LEASE_TIME + 5.0)
    assert addresses(ask(table, CAROL, ANY_IPV4, now=LEASE_TIME + 6.0)) == ["192.0.2.1"]
    assert addresses(ask(table, ALICE, ANY_IPV4, now=LEASE_TIME + 6.0)) == ["192.0.2.2"]


def test_a_free_address_is_taken_before_anybodys_memory() -> None:
    table = a_table("192.0.2.0/29")
    ask(table, ALICE, "192.0.2.3")
    end_all(table, LEASE_TIME)
    for number in range(5):
        peer = bytes([100 + number]) * 32
        assert addresses(ask(table, peer, ANY_IPV4, now=LEASE_TIME)) != ["192.0.2.3"]


def test_a_lease_past_its_end_is_nobody_elses_before_it_was_taken_off() -> None:
    table = a_table("192.0.2.1/32")
    ask(table, ALICE)
    assert not ask(table, BOB, ANY_IPV4, now=LEASE_TIME + 1).leases


def test_an_exhausted_pool_is_searched_once_however_many_wishes_there_are() -> None:
    looked: list[bytes] = []

    def nothing_is_open(address: bytes, _public_key: bytes) -> bool:
        looked.append(address)
        return False

    wishes = [f"192.0.2.{number}" for number in range(1, 65)]
    outcome = ask(a_table("192.0.2.0/24"), ALICE, *wishes, is_open=nothing_is_open)
    assert outcome.code is ErrorCode.EXHAUSTED
    assert len(looked) < 64 + 2 * 256, "one search, and each wish itself"


def test_a_fenced_address_is_neither_granted_nor_chosen() -> None:
    fenced = {parse_address("192.0.2.1"), parse_address("192.0.2.2")}

    def is_open(address: bytes, _public_key: bytes) -> bool:
        return address not in fenced

    table = a_table("192.0.2.0/29")
    assert addresses(ask(table, ALICE, "192.0.2.1", is_open=is_open)) == ["192.0.2.3"]
    assert not ask(table, ALICE, "192.0.2.1", is_open=is_open, version=1).leases


def test_a_lease_that_was_fenced_meanwhile_moves_at_its_renewal() -> None:
    table = a_table("192.0.2.0/29")
    ask(table, ALICE, "192.0.2.3")

    def is_open(address: bytes, _public_key: bytes) -> bool:
        return address != parse_address("192.0.2.3")

    outcome = ask(table, ALICE, "192.0.2.3", now=10.0, is_open=is_open)
    assert addresses(outcome) == ["192.0.2.1"]
    assert [lease.address for lease in table.due(10.0)] == [parse_address("192.0.2.3")]


def test_a_renewal_that_cannot_be_met_leaves_the_lease_as_it_was() -> None:
    table = a_table("192.0.2.3/32")
    (before,) = ask(table, ALICE).leases
    outcome = ask(table, ALICE, "192.0.2.3", now=10.0, is_open=lambda _address, _key: False)
    assert outcome.code is ErrorCode.EXHAUSTED
    assert table.get(before.address) == before


def test_a_lease_outside_the_pools_of_today_moves_at_its_renewal() -> None:
    table = a_table("192.0.2.0/24")
    table.put(Lease(ALICE, parse_address("198.51.100.7"), LEASE_TIME, 1800.0))
    assert addresses(ask(table, ALICE, "198.51.100.7", now=10.0)) == ["192.0.2.1"]
    assert [lease.address for lease in table.due(10.0)] == [parse_address("198.51.100.7")]


def test_releasing_an_address_that_is_held_names_its_lease() -> None:
    table = a_table()
    (lease,) = ask(table, ALICE, "192.0.2.77").leases
    assert to_release(table, ALICE, [lease.address]) == ([lease], ErrorCode.SUCCESS)


def test_releasing_nothing_in_particular_names_all_that_is_held() -> None:
    table = a_table()
    outcome = ask(table, ALICE)
    ask(table, BOB)
    leases, code = to_release(table, ALICE, [])
    assert set(leases) == set(outcome.leases)
    assert code is ErrorCode.SUCCESS


def test_a_memory_is_not_released_again() -> None:
    table = a_table()
    (lease,) = ask(table, ALICE, ANY_IPV4).leases
    end_all(table, LEASE_TIME)
    assert to_release(table, ALICE, []) == ([], ErrorCode.SUCCESS)
    assert to_release(table, ALICE, [lease.address]) == ([], ErrorCode.SUCCESS)


def test_releasing_what_nobody_holds_is_a_success() -> None:
    assert to_release(a_table(), ALICE, [parse_address("192.0.2.9")]) == ([], ErrorCode.SUCCESS)


def test_naming_what_another_peer_holds_releases_nothing_at_all() -> None:
    table = a_table()
    ask(table, ALICE, "192.0.2.77")
    ask(table, BOB, "192.0.2.88")
    names = [parse_address("192.0.2.77"), parse_address("192.0.2.88")]
    assert to_release(table, ALICE, names) == ([], ErrorCode.NOT_PERMITTED)


# --- several pools, and their settings ----------------------------------------------------------


def terms_of(*pools: PoolTerms, **others: Any) -> LeaseTerms:
    return LeaseTerms(pools, **others)


def pool_terms(text: str, *excluded: str, **others: Any) -> PoolTerms:
    ranges = []
    for one in excluded:
        first, _, last = one.partition("-")
        ranges.append(AddressRange(parse_address(first), parse_address(last or first)))
    return PoolTerms(Pool(parse_prefix(text)), excluded=tuple(ranges), **others)


def test_the_first_pool_with_room_gives_and_a_wish_is_met_in_any() -> None:
    table = by_terms(terms_of(pool_terms("192.0.2.0/31"), pool_terms("198.51.100.0/24")))
    assert addresses(ask(table, ALICE)) == ["192.0.2.0"]
    assert addresses(ask(table, BOB, "198.51.100.9")) == ["198.51.100.9"]
    assert addresses(ask(table, CAROL)) == ["192.0.2.1"]
    assert addresses(ask(table, DAVE)) == ["198.51.100.1"]


def test_each_pool_has_its_lease_time_and_network() -> None:
    table = by_terms(
        terms_of(
            pool_terms("192.0.2.0/28", lease_time=600.0, network_length=24),
            pool_terms("198.51.100.0/24"),
        )
    )
    rules = table.rules(everything_is_open)
    (lease,) = ask(table, ALICE, "192.0.2.3").leases
    assert (lease.lease_time, str(rules.network(lease.address))) == (600.0, "192.0.2.0/24")
    (lease,) = ask(table, BOB, "198.51.100.3").leases
    assert (lease.lease_time, str(rules.network(lease.address))) == (3600.0, "198.51.100.0/24")
    assert str(rules.network(parse_address("203.0.113.1"))) == "203.0.113.1/32"


def test_what_ends_the_network_that_clients_are_told_is_not_leased() -> None:
    table = by_terms(terms_of(pool_terms("10.0.0.0/23", network_length=24)))
    for wish in ("10.0.0.255", "10.0.1.0"):
        assert not ask(table, ALICE, wish, version=1).leases
    assert addresses(ask(table, ALICE, "10.0.1.1", version=1)) == ["10.0.1.1"]


def test_an_excluded_range_is_leased_to_nobody() -> None:
    table = by_terms(terms_of(pool_terms("192.0.2.0/29", "192.0.2.1-192.0.2.5")))
    assert not ask(table, ALICE, "192.0.2.3", version=1).leases
    assert addresses(ask(table, ALICE)) == ["192.0.2.6"]
    assert ask(table, BOB).code is ErrorCode.EXHAUSTED


# --- lease times --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wished", "given"),
    [(None, 3600.0), (1.0, 60.0), (60.0, 60.0), (7200.0, 7200.0), (9e9, 86400.0), (inf, 86400.0)],
)
def test_a_wished_lease_time_is_met_within_its_bounds(wished: float | None, given: float) -> None:
    table = by_terms(terms_of(pool_terms("192.0.2.0/24"), max_lease_time=86400.0))
    (lease,) = ask(table, ALICE, now=5.0, lease_time=wished).leases
    assert (lease.lease_time, lease.ends_at) == (given, 5.0 + given)


def test_only_a_reservation_lasts_for_ever_and_not_in_version_1() -> None:
    terms = terms_of(
        pool_terms("192.0.2.0/24"),
        reservations=(Reservation(ALICE, (parse_address("192.0.2.9"),), INFINITE),),
        max_lease_time=86400.0,
    )
    (lease,) = ask(by_terms(terms), ALICE).leases
    assert lease.lease_time == lease.ends_at == inf
    (lease,) = ask(by_terms(terms), ALICE, lease_time=inf).leases
    assert lease.ends_at == inf
    (lease,) = ask(by_terms(terms), ALICE, lease_time=600.0).leases
    assert lease.lease_time == 600.0
    (lease,) = ask(by_terms(terms), ALICE, version=1).leases
    assert lease.lease_time == 86400.0
    (lease,) = ask(by_terms(terms), BOB, lease_time=inf).leases
    assert lease.lease_time == 86400.0


# --- reservations -------------------------------------------------------------------------------


def reserving(address: str = "192.0.2.9", **others: Any) -> RuledTable:
    reservation = Reservation(ALICE, (parse_address(address),))
    pool = pool_terms("192.0.2.0/24", "192.0.2.16-192.0.2.31")
    return by_terms(terms_of(pool, reservations=(reservation,), **others), "192.0.2.200")


@pytest.mark.parametrize("address", ["192.0.2.9", "192.0.2.17"])
def test_the_reserved_address_is_its_peers_whatever_it_asks_for(address: str) -> None:
    for wish in (ANY_IPV4, address, "192.0.2.77"):
        assert addresses(ask(reserving(address), ALICE, wish)) == [address]
    assert ask(reserving(address), ALICE, "192.0.2.77", version=1).code is ErrorCode.UNAVAILABLE
    assert addresses(ask(reserving(address), ALICE, address, version=1)) == [address]


def reserving_two() -> RuledTable:
    both = tuple(parse_address(address) for address in ("192.0.2.9", "192.0.2.17"))
    reservations = (Reservation(ALICE, both),)
    return by_terms(
        terms_of(pool_terms("192.0.2.0/24"), reservations=reservations, addresses_per_peer=2)
    )


@pytest.mark.parametrize(
    ("wishes", "given"),
    [
        ((ANY_IPV4,), ["192.0.2.9"]),
        ((ANY_IPV4, ANY_IPV4), ["192.0.2.9", "192.0.2.17"]),
        (("192.0.2.17",), ["192.0.2.17"]),
        (("192.0.2.17", "192.0.2.9"), ["192.0.2.17", "192.0.2.9"]),
        (("192.0.2.77", "192.0.2.78"), ["192.0.2.9", "192.0.2.17"]),
    ],
)
def test_all_that_is_reserved_for_a_peer_is_given_before_anything_else(
    wishes: tuple[str | bytes, ...], given: list[str]
) -> None:
    assert addresses(ask(reserving_two(), ALICE, *wishes)) == given


def test_a_version_1_client_gets_the_second_address_that_is_reserved_for_it() -> None:
    assert addresses(ask(reserving_two(), ALICE, "192.0.2.17", version=1)) == ["192.0.2.17"]


def test_a_reservation_that_cannot_be_had_lets_nobody_decline_more_than_others() -> None:
    table = reserving()
    table.put(Lease(BOB, parse_address("192.0.2.9"), LEASE_TIME, 100.0))
    for until in (50.0, 60.0, 70.0):
        (lease,) = ask(table, ALICE).leases
        table.put(lease.decline(until))
    outcome = ask(table, ALICE, now=10.0)
    assert outcome.code is ErrorCode.QUOTA_EXCEEDED
    assert retry_after(outcome, 10.0) == 40


def test_a_reserved_address_is_nobody_elses() -> None:
    table = reserving()
    assert not ask(table, BOB, "192.0.2.9", version=1).leases
    assert addresses(ask(table, BOB, "192.0.2.9")) == ["192.0.2.1"]


def test_the_holder_of_an_address_that_was_reserved_since_keeps_it_to_its_end() -> None:
    table, address = reserving(), parse_address("192.0.2.9")
    table.put(Lease(BOB, address, LEASE_TIME, 100.0))
    assert addresses(ask(table, ALICE, now=10.0)) == ["192.0.2.1"]
    (moved,) = addresses(ask(table, BOB, "192.0.2.9", now=20.0))
    assert moved not in {"192.0.2.1", "192.0.2.9"}
    end_all(table, 20.0)
    assert addresses(ask(table, ALICE, "192.0.2.1", now=30.0)) == ["192.0.2.9"]
    assert [lease.address for lease in table.due(30.0)] == [parse_address("192.0.2.1")]


def test_a_version_1_client_moves_to_what_is_reserved_for_it_at_its_renewal() -> None:
    table = reserving()
    table.put(Lease(ALICE, parse_address("192.0.2.3"), LEASE_TIME, 100.0))
    assert addresses(ask(table, ALICE, "192.0.2.3", now=10.0, version=1)) == ["192.0.2.9"]


def test_an_address_of_the_hub_or_of_no_pool_is_not_reserved_for_anybody() -> None:
    for address in ("192.0.2.200", "203.0.113.9"):
        assert addresses(ask(reserving(address), ALICE)) == ["192.0.2.1"]


def test_a_lease_for_ever_has_two_days_left_when_it_is_reserved_no_more() -> None:
    address = parse_address("192.0.2.9")
    lease = Lease(ALICE, address, INFINITE, inf)
    for_ever = by_terms(
        terms_of(
            pool_terms("192.0.2.0/24"), reservations=(Reservation(ALICE, (address,), INFINITE),)
        )
    ).rules(everything_is_open)
    assert for_ever.bounded(lease, 100.0) == lease
    of_another = replace(lease, public_key=BOB)
    assert for_ever.bounded(of_another, 100.0).ends_at == 100.0 + 2 * 86400
    rules = reserving().rules(everything_is_open)
    assert rules.bounded(lease, 100.0).lease_time == 2 * 86400
    finite = Lease(ALICE, address, LEASE_TIME, 3700.0)
    assert rules.bounded(finite, 100.0) == finite
    declined = lease.decline(500.0)
    assert rules.bounded(declined, 100.0) == declined


def test_a_reserved_address_that_is_another_peers_static_one_is_not_leased() -> None:
    outcome = ask(reserving(), ALICE, is_open=lambda one, _: one != parse_address("192.0.2.9"))
    assert addresses(outcome) == ["192.0.2.1"]


def test_the_reserved_address_is_given_however_many_were_declined() -> None:
    table = reserving()
    for _ in range(FREE_DECLINES + 2):
        (lease,) = ask(table, ALICE).leases
        table.put(lease.decline(1e6))
    assert addresses(ask(table, ALICE, now=10.0)) == ["192.0.2.9"]


# --- how many -----------------------------------------------------------------------------------


def test_a_peer_may_hold_as_many_of_a_family_as_the_terms_say() -> None:
    table = by_terms(terms_of(pool_terms("192.0.2.0/24"), addresses_per_peer=2))
    assert addresses(ask(table, ALICE, ANY_IPV4, "192.0.2.9")) == ["192.0.2.9", "192.0.2.1"]
    renewed = ask(table, ALICE, "192.0.2.1", "192.0.2.9", now=10.0)
    assert addresses(renewed) == ["192.0.2.1", "192.0.2.9"]
    assert renewed.new == 0
    assert addresses(ask(table, ALICE, "192.0.2.9", now=20.0)) == ["192.0.2.9"]
    assert not table.due(20.0)  # the other one was not asked for, and stays to its end
    moved = ask(table, ALICE, "192.0.2.50", now=30.0)
    assert addresses(moved) == ["192.0.2.50"]
    assert [lease.address for lease in table.due(30.0)] == [parse_address("192.0.2.1")]


def test_the_same_wish_twice_is_not_one_address_twice() -> None:
    table = by_terms(terms_of(pool_terms("192.0.2.0/24"), addresses_per_peer=2))
    assert addresses(ask(table, ALICE, "192.0.2.9", "192.0.2.9")) == ["192.0.2.9", "192.0.2.1"]


def test_a_peer_that_declines_gets_another_address_at_once_a_few_times() -> None:
    table = by_terms(terms_of(pool_terms("192.0.2.0/24")))
    given = []
    for _ in range(FREE_DECLINES + 1):
        (lease,) = ask(table, ALICE).leases
        given += addresses(ask(table, ALICE))
        table.put(lease.decline(1000.0))
    assert len(set(given)) == FREE_DECLINES + 1
    assert ask(table, ALICE).code is ErrorCode.QUOTA_EXCEEDED


def test_what_was_declined_of_late_counts_against_the_cap() -> None:
    table = by_terms(terms_of(pool_terms("192.0.2.0/28"), addresses_per_peer=2))
    for _ in range(FREE_DECLINES):
        table.put(ask(table, ALICE).leases[0].decline(2000.0))
    first, second = ask(table, ALICE, ANY_IPV4, ANY_IPV4).leases
    table.put(first.decline(1000.0))
    outcome = ask(table, ALICE, ANY_IPV4, ANY_IPV4, now=10.0)
    assert outcome.leases == (replace(second, ends_at=10.0 + LEASE_TIME),)
    assert outcome.code is ErrorCode.QUOTA_EXCEEDED
    table.put(second.decline(900.0))
    outcome = ask(table, ALICE, ANY_IPV4, now=10.0)
    assert outcome == Outcome((), ErrorCode.QUOTA_EXCEEDED, retry_at=900.0)
    assert retry_after(outcome, 10.5) == 890
    assert len(ask(table, ALICE, ANY_IPV4, now=1000.0).leases) == 1


def test_a_peer_that_got_too_many_new_addresses_keeps_what_it_has() -> None:
    table = a_table("192.0.2.0/24")
    assert ask(table, ALICE, "192.0.2.9", new_left=1).new == 1
    for wish in ("192.0.2.10", "192.0.2.9", ANY_IPV4):
        outcome = ask(table, ALICE, wish, now=10.0, new_left=0)
        assert (addresses(outcome), outcome.new) == (["192.0.2.9"], 0)
    outcome = ask(table, BOB, new_left=0)
    assert (outcome.leases, outcome.code) == ((), ErrorCode.RATE_LIMITED)
    assert retry_after(ask(table, ALICE), 0.0) is None


def test_a_memory_is_no_new_address() -> None:
    table = a_table("192.0.2.0/24")
    ask(table, ALICE, "192.0.2.9")
    end_all(table, LEASE_TIME)
    assert ask(table, ALICE, now=LEASE_TIME, new_left=0).new == 0


# --- grace, quarantine --------------------------------------------------------------------------


def test_a_full_pool_gives_no_address_that_ended_just_now_when_there_is_a_grace_time() -> None:
    table = by_terms(terms_of(pool_terms("192.0.2.9/32"), grace_time=60.0))
    ask(table, ALICE)
    end_all(table, LEASE_TIME)
    assert ask(table, BOB, now=LEASE_TIME + 59.0).code is ErrorCode.EXHAUSTED
    assert addresses(ask(table, BOB, now=LEASE_TIME + 60.0)) == ["192.0.2.9"]


def test_a_declined_address_does_not_come_back_to_its_peer() -> None:
    table = by_terms(terms_of(pool_terms("192.0.2.0/30"), addresses_per_peer=2))
    (lease,) = ask(table, ALICE).leases
    table.put(lease.decline(1000.0))
    for wish in (ANY_IPV4, "192.0.2.1"):
        assert addresses(ask(table, ALICE, wish, now=10.0)) == ["192.0.2.2"]
    assert ask(table, BOB, "192.0.2.1", now=999.0, version=1).code is ErrorCode.UNAVAILABLE
    assert addresses(ask(table, BOB, "192.0.2.1", now=1000.0, version=1)) == ["192.0.2.1"]


def test_only_the_holder_declines() -> None:
    table = a_table("192.0.2.0/24")
    (lease,) = ask(table, ALICE, "192.0.2.9").leases
    ask(table, BOB, "192.0.2.10")
    assert to_decline(table, ALICE, [lease.address], 10.0) == ([lease], ErrorCode.SUCCESS)
    for others in ("192.0.2.10", "192.0.2.11"):
        names = [lease.address, parse_address(others)]
        assert to_decline(table, ALICE, names, 10.0) == ([], ErrorCode.NOT_PERMITTED)
    assert to_decline(table, ALICE, [lease.address], LEASE_TIME)[1] is ErrorCode.NOT_PERMITTED


def test_a_version_1_renewal_that_cannot_be_met_is_given_another_address() -> None:
    """Upstream's client asks for exactly what it has, for ever; it takes another one though."""
    table = a_table("192.0.2.0/24")
    table.put(Lease(ALICE, parse_address("198.51.100.7"), LEASE_TIME, 1800.0))
    assert addresses(ask(table, ALICE, "198.51.100.7", now=10.0, version=1)) == ["192.0.2.1"]


def test_of_two_that_are_renewed_together_the_one_that_was_fenced_moves() -> None:
    table = a_table()
    ask(table, ALICE, "192.0.2.9", "2001:db8::9")

    def is_open(address: bytes, _public_key: bytes) -> bool:
        return address != parse_address("192.0.2.9")

    outcome = ask(table, ALICE, "192.0.2.9", "2001:db8::9", now=1.0, is_open=is_open)
    assert addresses(outcome) == ["192.0.2.1", "2001:db8::9"]
