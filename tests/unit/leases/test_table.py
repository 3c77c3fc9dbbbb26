"""All leases together: who has what, what is due, what a newcomer gets, and undoing it all."""

from collections.abc import Iterable
from math import inf
from random import Random

import pytest

from wg_dynamic.address import format_address, parse_address
from wg_dynamic.leases import table as module
from wg_dynamic.leases.calendar import STALE_ENTRIES
from wg_dynamic.leases.lease import Lease
from wg_dynamic.leases.pool import parse_pool
from wg_dynamic.leases.table import PROBES, LeaseTable
from wg_dynamic.leases.terms import AddressRange

ALICE, BOB = b"a" * 32, b"b" * 32
SMALL = "10.0.0.0/29"
"""10.0.0.1 to 10.0.0.6."""


def a_table(*pools: str, excluded: Iterable[str] = ()) -> LeaseTable:
    return LeaseTable(
        [parse_pool(text) for text in pools or (SMALL,)],
        (parse_address(text) for text in excluded),
    )


def a_lease(
    address: str = "10.0.0.1", peer: bytes = ALICE, *, ends_at: float = 100.0, ended: bool = False
) -> Lease:
    return Lease(peer, parse_address(address), 60.0, ends_at, ended)


def choose(
    table: LeaseTable,
    *,
    ipv4: bool = True,
    fenced: Iterable[str] = (),
    seed: int = 0,
    now: float = 1e6,
) -> str | None:
    closed = {parse_address(text) for text in fenced}
    address = table.choose(
        now,
        ipv4=ipv4,
        usable=lambda address: address not in closed,
        random_below=Random(seed).randrange,  # noqa: S311 - not a secret
    )
    return None if address is None else format_address(address)


def fill(table: LeaseTable, numbers: Iterable[int], *, ended: bool = False) -> None:
    """The later in `numbers`, the later it ends."""
    for turn, n in enumerate(numbers):
        table.put(a_lease(f"10.0.0.{n}", ends_at=100.0 + turn, ended=ended))


# --- other pools ------------------------------------------------------------------------------


def test_other_pools_are_leased_from_and_what_is_held_stays() -> None:
    table = a_table()
    fill(table, range(1, 7))
    assert choose(table) is None
    table.change_pools([parse_pool("10.0.0.0/28")], [parse_address("10.0.0.7")])
    assert len(table) == 6
    free = {choose(table, seed=seed) for seed in range(64)}
    assert free == {f"10.0.0.{number}" for number in range(8, 15)}
    table.change_pools([parse_pool("10.0.1.0/30")])
    assert choose(table) in {"10.0.1.1", "10.0.1.2"}
    assert not table.is_available(parse_address("10.0.0.1"), ALICE, 0.0)
    assert len(table) == 6


def test_a_pool_that_stays_is_not_counted_anew() -> None:
    table = a_table(SMALL, "10.0.1.0/29")
    first, second = table.allocators
    table.change_pools([parse_pool("10.0.1.0/29"), parse_pool("10.0.2.0/29")])
    assert table.allocators[0] is second
    table.change_pools([parse_pool("10.0.1.0/29")], [parse_address("10.0.1.3")])
    assert table.allocators[0] is not second
    assert first not in table.allocators


def test_a_memory_outside_the_pools_is_offered_to_nobody_and_again_when_they_are_back() -> None:
    table = a_table()
    fill(table, range(1, 7), ended=True)
    table.change_pools([parse_pool("10.0.0.0/30")])  # .1 and .2
    assert choose(table) == "10.0.0.1"
    assert choose(table, fenced=["10.0.0.1"]) == "10.0.0.2"
    assert choose(table, fenced=["10.0.0.1", "10.0.0.2"]) is None
    table.change_pools([parse_pool(SMALL)], grace_time=1e9)
    assert choose(table, fenced=["10.0.0.1", "10.0.0.2"]) is None, "in their grace time"
    table.change_pools([parse_pool(SMALL)])
    assert choose(table, fenced=["10.0.0.1", "10.0.0.2"]) == "10.0.0.3"


# --- who has what ------------------------------------------------------------------------------


def test_a_memory_is_kept_for_its_peer_while_the_pool_has_others() -> None:
    table = a_table()
    memory = parse_address("10.0.0.1")
    assert not table.is_kept_for_another(memory, BOB)
    table.put(a_lease("10.0.0.1"))
    assert not table.is_kept_for_another(memory, BOB)  # held, which is more than kept
    table.put(a_lease("10.0.0.1", ended=True))
    assert table.is_kept_for_another(memory, BOB)
    assert not table.is_kept_for_another(memory, ALICE)
    fill(table, range(2, 7))
    assert not table.is_kept_for_another(memory, BOB)


def test_a_new_table_has_nothing() -> None:
    table = a_table()
    assert len(table) == 0
    assert table.get(parse_address("10.0.0.1")) is None
    assert table.of_peer(ALICE) == []
    assert list(table.held()) == []
    assert table.due(1e9) == []
    assert table.next_end() is None


def test_leases_are_found_by_address_and_by_peer() -> None:
    table = a_table(SMALL, "fd00::/64")
    leases = [a_lease("10.0.0.1"), a_lease("fd00::1"), a_lease("10.0.0.2", BOB)]
    for lease in leases:
        table.put(lease)
    assert [table.get(lease.address) for lease in leases] == leases
    assert sorted(table.of_peer(ALICE), key=lambda one: one.address) == leases[:2]
    assert table.of_peer(BOB) == leases[2:]
    assert len(table) == 3


def test_memories_belong_to_their_peer_but_are_not_held() -> None:
    table = a_table()
    memory = a_lease(ended=True)
    table.put(memory)
    assert table.of_peer(ALICE) == [memory]
    assert list(table.held()) == []
    assert len(table) == 0


def test_an_address_that_changes_hands_leaves_its_peer() -> None:
    table = a_table()
    table.put(a_lease(peer=ALICE, ended=True))
    table.put(a_lease(peer=BOB))
    assert table.of_peer(ALICE) == []
    assert table.of_peer(BOB) == [a_lease(peer=BOB)]
    assert len(table) == 1


# --- what may be leased ------------------------------------------------------------------------


def test_what_is_free_or_remembered_or_ones_own_is_available() -> None:
    table = a_table()
    table.put(a_lease("10.0.0.1", ALICE))
    table.put(a_lease("10.0.0.2", ALICE, ended=True))
    for text, to_alice, to_bob in [
        ("10.0.0.1", True, False),
        ("10.0.0.2", True, True),
        ("10.0.0.3", True, True),
        ("10.0.0.7", False, False),
        ("10.9.9.9", False, False),
        ("fd00::1", False, False),
    ]:
        assert table.is_available(parse_address(text), ALICE, 1e6) is to_alice
        assert table.is_available(parse_address(text), BOB, 1e6) is to_bob


def test_an_excluded_address_is_available_to_nobody_not_even_to_its_holder() -> None:
    table = a_table(excluded=["10.0.0.1", "10.0.0.2", "192.0.2.1"])
    table.put(a_lease("10.0.0.1"))
    for text in ("10.0.0.1", "10.0.0.2", "192.0.2.1"):
        assert not table.is_available(parse_address(text), ALICE, 1e6)


def test_what_was_leased_from_a_pool_that_is_gone_is_available_to_nobody() -> None:
    table = a_table()
    table.put(a_lease("192.0.2.1"))
    table.put(a_lease("192.0.2.2", ended=True))
    assert not table.is_available(parse_address("192.0.2.1"), ALICE, 1e6)
    assert not table.is_available(parse_address("192.0.2.2"), BOB, 1e6)
    fill(table, range(1, 7))
    assert choose(table) is None


# --- what a newcomer gets ----------------------------------------------------------------------


def test_a_newcomer_gets_a_free_address_of_its_family() -> None:
    table = a_table(SMALL, "fd00::/126")
    fill(table, [1, 2, 3, 5, 6])
    assert choose(table) == "10.0.0.4"
    assert choose(table, ipv4=False) in {"fd00::1", "fd00::2", "fd00::3"}


def test_choosing_takes_nothing() -> None:
    table = a_table()
    fill(table, range(1, 6))
    assert choose(table) == choose(table) == "10.0.0.6"


def test_the_next_pool_is_used_when_the_first_is_full() -> None:
    table = a_table("10.0.0.0/31", "10.0.1.0/32")
    assert choose(table) in {"10.0.0.0", "10.0.0.1"}
    table.put(a_lease("10.0.0.0"))
    table.put(a_lease("10.0.0.1"))
    assert choose(table) == "10.0.1.0"


def test_a_full_pool_gives_the_longest_ended_memory_of_the_family() -> None:
    table = a_table(SMALL, "fd00::/127")
    table.put(a_lease("fd00::", ended=True))
    table.put(a_lease("fd00::1", ended=True))
    fill(table, [3, 4, 5, 6])
    fill(table, [2, 1], ended=True)
    assert choose(table) == "10.0.0.2"
    table.put(a_lease("10.0.0.2", BOB))
    assert choose(table) == "10.0.0.1"
    table.put(a_lease("10.0.0.1", BOB))
    assert choose(table) is None
    assert choose(table, ipv4=False) == "fd00::"


def test_a_free_address_comes_before_any_memory() -> None:
    table = a_table()
    fill(table, range(1, 6), ended=True)
    assert choose(table) == "10.0.0.6"


@pytest.mark.parametrize("seed", range(5))
def test_a_fenced_address_is_passed_over(seed: int) -> None:
    table = a_table()
    fenced = ["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.5", "10.0.0.6"]
    assert choose(table, fenced=fenced, seed=seed) == "10.0.0.4"


def test_the_only_open_address_of_a_wide_pool_is_found() -> None:
    table = a_table("10.0.0.0/20")
    found = table.choose(
        0.0,
        ipv4=True,
        usable=lambda address: address == parse_address("10.0.9.9"),
        random_below=Random(1).randrange,  # noqa: S311 - not a secret
    )
    assert found == parse_address("10.0.9.9")


def test_a_pool_that_is_fenced_as_a_whole_gives_a_memory() -> None:
    table = a_table()
    fill(table, [1, 2], ended=True)
    assert choose(table, fenced=[f"10.0.0.{n}" for n in range(3, 7)]) == "10.0.0.1"
    assert choose(table, fenced=[f"10.0.0.{n}" for n in (1, 3, 4, 5, 6)]) == "10.0.0.2"
    assert choose(table, fenced=[f"10.0.0.{n}" for n in range(1, 7)]) is None


def test_how_long_is_looked_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WALK_LIMIT", 10)
    table = a_table("10.0.0.0/16", "fd00::/64")
    for n in range(30):
        table.put(a_lease(f"10.0.1.{n}", ended=True))
    looked = []

    def fence(address: bytes) -> bool:
        looked.append(address)
        return False

    assert table.choose(1e6, ipv4=True, usable=fence, random_below=Random(1).randrange) is None  # noqa: S311
    assert len(looked) == PROBES + 10 + 10


def test_a_full_pool_is_not_walked_for_its_one_fenced_address() -> None:
    table = a_table("10.0.0.0/24")
    fill(table, range(1, 254))
    looked: list[bytes] = []

    def fence(address: bytes) -> bool:
        looked.append(address)
        return False

    assert table.choose(0.0, ipv4=True, usable=fence, random_below=lambda _: 0) is None
    assert set(looked) == {parse_address("10.0.0.254")}
    assert len(looked) == PROBES + 1


def test_an_excluded_memory_is_nobodys() -> None:
    table = a_table(excluded=["10.0.0.1"])
    fill(table, range(1, 7), ended=True)
    assert choose(table) == "10.0.0.2"


# --- what is due -------------------------------------------------------------------------------


def test_a_lease_is_due_from_its_end_until_it_was_ended() -> None:
    table = a_table()
    lease = a_lease(ends_at=100.0)
    table.put(lease)
    assert table.due(99.9) == []
    assert table.due(100.0) == [lease]
    assert table.due(200.0) == [lease]
    table.put(lease.end(200.0))
    assert table.due(200.0) == []
    assert table.next_end() is None


def test_leases_are_due_in_the_order_of_their_ends() -> None:
    table = a_table()
    for n in (5, 1, 3, 90):
        table.put(a_lease(f"10.0.0.{n % 7}", ends_at=100.0 + n))
    assert [lease.ends_at for lease in table.due(104.0)] == [101.0, 103.0]
    assert table.next_end() == 101.0
    assert [lease.ends_at for lease in table.due(190.0)] == [101.0, 103.0, 105.0, 190.0]


def test_a_renewal_puts_the_end_off() -> None:
    table = a_table()
    table.put(a_lease(ends_at=100.0))
    table.put(a_lease(ends_at=200.0))
    assert table.next_end() == 200.0
    assert table.due(150.0) == []
    assert table.due(200.0) == [a_lease(ends_at=200.0)]


def test_a_lease_may_be_made_to_end_sooner() -> None:
    table = a_table()
    table.put(a_lease(ends_at=100.0))
    table.put(a_lease(ends_at=50.0))
    assert table.next_end() == 50.0
    assert table.due(50.0) == [a_lease(ends_at=50.0)]
    assert table.due(100.0) == [a_lease(ends_at=50.0)]


def test_many_renewals_leave_little_behind() -> None:
    table = a_table()
    for n in range(2_000):
        table.put(a_lease(ends_at=100.0 + n))
    assert len(table._ends) <= 2 * len(table) + STALE_ENTRIES
    assert table.next_end() == 2_099.0


# --- undoing -----------------------------------------------------------------------------------


def test_what_stood_before_a_batch_is_known_at_each_address() -> None:
    table = a_table()
    table.put(a_lease("10.0.0.1", ends_at=100.0))
    table.begin()
    table.put(a_lease("10.0.0.1", ends_at=200.0))
    table.put(a_lease("10.0.0.1", ends_at=300.0))
    table.put(a_lease("10.0.0.2"))
    assert table.before() == {
        parse_address("10.0.0.1"): a_lease("10.0.0.1", ends_at=100.0),
        parse_address("10.0.0.2"): None,
    }


def test_a_rollback_undoes_the_batch_and_no_more() -> None:
    table = a_table()
    table.put(a_lease("10.0.0.1", ALICE))
    table.put(a_lease("10.0.0.2", ALICE, ended=True))
    table.begin()
    table.put(a_lease("10.0.0.1", ALICE).end(10.0))
    table.put(a_lease("10.0.0.1", BOB))
    table.put(a_lease("10.0.0.2", BOB))
    table.put(a_lease("10.0.0.3", BOB))
    table.rollback()
    assert table.of_peer(BOB) == []
    assert list(table.held()) == [a_lease("10.0.0.1", ALICE)]
    assert table.get(parse_address("10.0.0.2")) == a_lease("10.0.0.2", ALICE, ended=True)
    assert table.is_available(parse_address("10.0.0.3"), ALICE, 1e6)
    assert table.before() == {}
    table.rollback()  # nothing is left to undo
    assert len(table) == 1


def test_a_rolled_back_renewal_is_due_once() -> None:
    table = a_table()
    table.put(a_lease(ends_at=100.0))
    for _ in range(3):
        table.begin()
        table.put(a_lease(ends_at=200.0))
        table.rollback()
    assert table.due(150.0) == [a_lease(ends_at=100.0)]


def test_a_rolled_back_takeover_leaves_the_memories_in_their_order() -> None:
    table = a_table("10.0.0.0/31")
    table.put(a_lease("10.0.0.0", ended=True, ends_at=100.0))
    table.put(a_lease("10.0.0.1", ended=True, ends_at=101.0))
    table.begin()
    table.put(a_lease("10.0.0.0", BOB))
    table.rollback()
    assert choose(table) == "10.0.0.0"


def test_a_rolled_back_lease_of_an_excluded_address_frees_nothing() -> None:
    table = a_table("10.0.0.0/31", excluded=["10.0.0.0"])
    table.begin()
    table.put(a_lease("10.0.0.0"))
    table.rollback()
    assert {choose(table, seed=seed) for seed in range(5)} == {"10.0.0.1"}


def test_rollbacks_for_ever_leave_little_behind() -> None:
    """A disk that is full: each request is decided, refused by the store, and undone."""
    table = a_table("fd00::/64")
    table.put(a_lease("fd00::1", ends_at=100.0))
    for n in range(1000):
        table.begin()
        table.put(a_lease("fd00::1", ends_at=200.0 + n))
        table.put(a_lease(f"fd00::ff:{n:x}", BOB))
        table.rollback()
    assert len(table._ends) <= 2 * len(table) + STALE_ENTRIES
    assert table.allocators[0].free_count == table.allocators[0].space.size - 1


# --- grace, quarantine, memories that are too many ----------------------------------------------


def test_an_ended_address_is_given_to_nobody_else_in_its_grace_time() -> None:
    table = LeaseTable([parse_pool("10.0.0.0/31")], grace_time=60.0)
    first, second = (parse_address(text) for text in ("10.0.0.0", "10.0.0.1"))
    table.put(a_lease("10.0.0.0", ended=True, ends_at=100.0))
    table.put(a_lease("10.0.0.1", ended=True, ends_at=110.0))
    assert choose(table, now=159.9) is None
    assert not table.is_available(first, BOB, 159.9)
    assert table.is_available(first, ALICE, 159.9)
    assert table.is_available(first, BOB, 160.0)
    assert not table.is_available(second, BOB, 160.0)
    assert choose(table, now=160.0) == "10.0.0.0"


def test_a_declined_address_is_given_to_nobody_in_its_quarantine() -> None:
    table = a_table("10.0.0.0/31")
    table.put(a_lease("10.0.0.0").decline(500.0))
    table.put(a_lease("10.0.0.1"))
    address = parse_address("10.0.0.0")
    for key in (ALICE, BOB):
        assert not table.is_available(address, key, 499.0)
        assert table.is_available(address, key, 500.0)
    assert not table.is_kept_for_another(address, BOB)
    assert choose(table, now=499.0) is None
    assert choose(table, now=500.0) == "10.0.0.0"


def test_memories_beyond_the_limit_are_the_longest_ended_of_each_family() -> None:
    table = a_table(SMALL, "fd00::/64")
    fill(table, [1, 2, 3, 4], ended=True)
    table.put(a_lease("10.0.0.5"))
    table.put(a_lease("10.0.0.6").decline(1e7))
    table.put(a_lease("fd00::1", ended=True))
    assert table.excess(ALICE, 2, 1e6) == [parse_address(f"10.0.0.{n}") for n in (1, 2)]
    assert table.excess(ALICE, 4, 1e6) == []
    assert table.excess(BOB, 0, 1e6) == []
    assert parse_address("10.0.0.6") in table.excess(ALICE, 0, 1e8)


def test_a_forgotten_memory_is_free() -> None:
    table = a_table("10.0.0.0/32")
    table.put(a_lease("10.0.0.0", ended=True))
    table.forget(parse_address("10.0.0.0"))
    table.forget(parse_address("10.0.0.0"))
    assert table.of_peer(ALICE) == []
    assert not table.is_kept_for_another(parse_address("10.0.0.0"), BOB)
    assert choose(table, now=0.0) == "10.0.0.0"


def test_a_rollback_brings_a_forgotten_memory_back() -> None:
    table = a_table("10.0.0.0/32")
    memory = a_lease("10.0.0.0", ended=True)
    table.put(memory)
    table.begin()
    table.forget(memory.address)
    table.put(a_lease("10.0.0.0", BOB))
    table.rollback()
    assert table.of_peer(ALICE) == [memory]
    assert table.before() == {}


def test_a_lease_without_end_never_is_due() -> None:
    table = a_table()
    forever = Lease(ALICE, parse_address("10.0.0.1"), inf, inf)
    table.put(forever)
    assert table.next_end() is None
    assert table.due(1e18) == []
    assert table.get(forever.address) == forever


def test_an_address_is_vacant_unless_another_peer_holds_it() -> None:
    table = a_table(excluded=["10.0.0.1"])
    address = parse_address("10.0.0.1")
    assert table.is_vacant(address, BOB)
    table.put(a_lease("10.0.0.1"))
    assert table.is_vacant(address, ALICE)
    assert not table.is_vacant(address, BOB)
    table.put(a_lease("10.0.0.1", ended=True))
    assert table.is_vacant(address, BOB)


def test_half_a_64_is_excluded_in_no_time() -> None:
    half = AddressRange(parse_address("fd00::"), parse_address("fd00::7fff:ffff:ffff:ffff"))
    table = LeaseTable([parse_pool("fd00::/64")], [half])
    assert table.allocators[0].space.size == (1 << 63) - 256
    for seed in range(20):
        found = choose(table, ipv4=False, seed=seed)
        assert found is not None
        assert found > "fd00::8"


def test_peers_whose_keys_look_alike_keep_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_short", lambda _: 7)
    table = a_table()
    table.put(a_lease("10.0.0.1", ALICE))
    table.put(a_lease("10.0.0.2", BOB))
    table.put(a_lease("10.0.0.3", BOB))
    assert table.of_peer(ALICE) == [a_lease("10.0.0.1", ALICE)]
    assert len(table.of_peer(BOB)) == 2
    table.put(a_lease("10.0.0.1", BOB))
    assert table.of_peer(ALICE) == []
    assert len(table.of_peer(BOB)) == 3


def test_a_table_that_was_loaded_is_as_one_that_was_filled_lease_by_lease() -> None:
    random = Random(3)  # noqa: S311 - not a secret
    leases = [
        Lease(
            random.choice([ALICE, BOB, random.randbytes(32)]),
            parse_address(f"10.0.{number >> 6}.{number & 63}"),
            60.0,
            random.choice([inf, random.uniform(0, 500)]),
            ended=ended,
            declined=ended and random.random() < 0.2,
        )
        for number in random.sample(range(256), 200)  # the half of them in no pool
        for ended in [random.random() < 0.5]
    ]
    loaded, filled = (a_table("10.0.0.0/25", excluded=["10.0.0.9"]) for _ in range(2))
    loaded.load(iter(leases))
    for lease in leases:
        filled.put(lease)
    filled.begin()
    assert loaded.before() == {}, "nothing that could be rolled back"
    assert len(loaded) == len(filled)
    assert loaded.held_in == filled.held_in
    assert loaded.remembered == filled.remembered > 0
    assert sorted(loaded.all(), key=repr) == sorted(filled.all(), key=repr)
    for key in (ALICE, BOB):
        assert sorted(loaded.of_peer(key), key=repr) == sorted(filled.of_peer(key), key=repr)
    assert loaded.next_end() == filled.next_end()
    assert loaded.due(250.0) == filled.due(250.0)
    given: list[list[str]] = []
    for table in (loaded, filled):
        for lease in [one for one in table.all() if not one.ended]:
            table.put(lease.end(50.0))
        given.append([])
        while (chosen := choose(table)) is not None:
            given[-1].append(chosen)
            table.put(Lease(random.randbytes(32), parse_address(chosen), 60.0, inf))
    assert sorted(given[0]) == sorted(given[1])
    assert len(set(given[0])) == len(given[0]) > 100


def test_a_rollback_of_what_came_and_went_in_one_batch_leaves_nothing() -> None:
    table = a_table()
    table.begin()
    table.put(a_lease(ended=True))
    table.forget(parse_address("10.0.0.1"))
    table.rollback()
    assert table.get(parse_address("10.0.0.1")) is None
    assert table.is_available(parse_address("10.0.0.1"), BOB, 0.0)
