"""What a request gets: docs/protocol.md 5, 6.6, 6.7 and 10.1."""

from collections.abc import Callable

from wg_dynamic.address import format_address, parse_address, parse_prefix
from wg_dynamic.leases.lease import Lease
from wg_dynamic.leases.pool import Pool
from wg_dynamic.leases.table import LeaseTable
from wg_dynamic.protocol.errors import ErrorCode
from wg_dynamic.server.policy import Outcome, Terms, decide, to_release

ALICE, BOB, CAROL = (bytes([number]) * 32 for number in (1, 2, 3))
ANY_IPV4, ANY_IPV6 = bytes(4), bytes(16)
LEASE_TIME = 3600.0


def a_table(*pools: str, excluded: tuple[str, ...] = ()) -> LeaseTable:
    networks = [Pool(parse_prefix(pool)) for pool in pools or ("192.0.2.0/24", "2001:db8::/64")]
    return LeaseTable(networks, [parse_address(address) for address in excluded])


def everything_is_open(_address: bytes, _public_key: bytes) -> bool:
    return True


def ask(
    table: LeaseTable,
    public_key: bytes,
    *wishes: str | bytes,
    now: float = 0.0,
    is_open: Callable[[bytes, bytes], bool] = everything_is_open,
    version: int = 2,
) -> Outcome:
    """One request; the random choice is the first free address."""
    packed = [wish if isinstance(wish, bytes) else parse_address(wish) for wish in wishes]
    terms = Terms(LEASE_TIME, lambda _: 0, is_open)
    return decide(table, public_key, packed, terms, now, wish_or_nothing=version == 1)


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


def test_two_addresses_of_one_family_are_more_than_a_peer_may_hold() -> None:
    table = a_table()
    outcome = ask(table, ALICE, ANY_IPV4, "192.0.2.9", ANY_IPV6)
    assert outcome == Outcome((), ErrorCode.QUOTA_EXCEEDED)
    assert len(table) == 0


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
    table = LeaseTable([])
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
