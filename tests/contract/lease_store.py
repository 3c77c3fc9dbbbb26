"""What every LeaseStore keeps. Subclassed by the tests of each, which define `store`."""

from math import inf

import pytest

from tests.fakes.clock import FakeClock
from wg_dynamic.address import parse_address
from wg_dynamic.leases.lease import Lease
from wg_dynamic.store.base import LeaseStore, StoreConflictError

ALICE, BOB, CAROL = (name * 32 for name in (b"a", b"b", b"c"))
HOUR = 3600.0


def a_lease(
    address: str = "192.0.2.7",
    peer: bytes = ALICE,
    *,
    ends_at: float = 5000.0,
    lease_time: float = HOUR,
    ended: bool = False,
) -> Lease:
    return Lease(peer, parse_address(address), lease_time, ends_at, ended)


def loaded_ends(store: LeaseStore, clock: FakeClock) -> list[float]:
    """Seconds that each lease has left."""
    return [lease.ends_at - clock.now() for lease in store.load(clock.moment())]


class LeaseStoreContract:
    """Deriving classes have a fixture `store`: a new and empty one."""

    @pytest.fixture
    def clock(self) -> FakeClock:
        return FakeClock()

    def commit(self, store: LeaseStore, clock: FakeClock, *leases: Lease) -> None:
        store.commit(leases, clock.moment())

    # --- what is committed is there -------------------------------------------------------------

    def test_a_new_store_has_no_lease(self, store: LeaseStore, clock: FakeClock) -> None:
        assert store.load(clock.moment()) == []

    def test_what_was_committed_is_loaded_as_it_was(
        self, store: LeaseStore, clock: FakeClock
    ) -> None:
        leases = [
            a_lease("192.0.2.1", ends_at=2000.25),
            a_lease("2001:db8::1", ends_at=2001.5, lease_time=60.5),
            a_lease("192.0.2.2", BOB, ends_at=2002.0, ended=True),
            a_lease("192.0.2.3", BOB).decline(90_000.5),
            Lease(ALICE, parse_address("192.0.2.4"), inf, inf),
        ]
        self.commit(store, clock, *leases)
        assert store.load(clock.moment()) == leases
        assert sorted(store.read(clock.moment()), key=lambda one: one.ends_at) == leases

    def test_leases_come_in_the_order_of_their_ends(
        self, store: LeaseStore, clock: FakeClock
    ) -> None:
        leases = [a_lease(f"192.0.2.{n}", ends_at=2000.0 + n * 7 % 5) for n in range(1, 5)]
        self.commit(store, clock, *leases)
        assert store.load(clock.moment()) == sorted(leases, key=lambda lease: lease.ends_at)

    def test_a_commit_of_nothing_changes_no_lease(
        self, store: LeaseStore, clock: FakeClock
    ) -> None:
        self.commit(store, clock, a_lease())
        self.commit(store, clock)
        assert store.load(clock.moment()) == [a_lease()]

    def test_a_renewal_takes_the_place_of_the_lease(
        self, store: LeaseStore, clock: FakeClock
    ) -> None:
        self.commit(store, clock, a_lease(ends_at=2000.0))
        self.commit(store, clock, a_lease(ends_at=3000.0))
        assert store.load(clock.moment()) == [a_lease(ends_at=3000.0)]

    def test_the_holder_itself_may_end_its_lease(self, store: LeaseStore, clock: FakeClock) -> None:
        self.commit(store, clock, a_lease())
        memory = a_lease().end(clock.now())
        self.commit(store, clock, memory)
        assert store.load(clock.moment()) == [memory]

    # --- what is forgotten is gone --------------------------------------------------------------

    def test_a_forgotten_memory_is_gone(self, store: LeaseStore, clock: FakeClock) -> None:
        memories = [a_lease(f"192.0.2.{n}", ended=True) for n in range(3)]
        self.commit(store, clock, *memories)
        store.commit([], clock.moment(), [memories[1].address, parse_address("203.0.113.1")])
        assert {one.address for one in store.load(clock.moment())} == {
            memories[0].address,
            memories[2].address,
        }

    def test_what_ended_just_now_may_be_forgotten_in_the_same_commit(
        self, store: LeaseStore, clock: FakeClock
    ) -> None:
        self.commit(store, clock, a_lease())
        store.commit([a_lease(ended=True)], clock.moment(), [a_lease().address])
        assert store.load(clock.moment()) == []

    def test_what_is_held_is_not_forgotten(self, store: LeaseStore, clock: FakeClock) -> None:
        self.commit(store, clock, a_lease())
        store.commit([], clock.moment(), [a_lease().address])
        assert store.load(clock.moment()) == [a_lease()]

    def test_a_refused_commit_forgets_nothing(self, store: LeaseStore, clock: FakeClock) -> None:
        before = [a_lease("192.0.2.1", ended=True), a_lease("192.0.2.2")]
        self.commit(store, clock, *before)
        with pytest.raises(StoreConflictError):
            store.commit([a_lease("192.0.2.2", BOB)], clock.moment(), [before[0].address])
        assert sorted(store.load(clock.moment()), key=lambda one: one.address) == before

    def test_a_declined_address_may_be_taken_over_when_its_time_has_come(
        self, store: LeaseStore, clock: FakeClock
    ) -> None:
        self.commit(store, clock, a_lease().decline(clock.now() + HOUR))
        clock.reboot(after=HOUR / 2)
        (declined,) = store.load(clock.moment())
        assert declined.is_in_quarantine(clock.now())
        assert declined.ends_at == clock.now() + HOUR / 2
        self.commit(store, clock, a_lease(peer=BOB))
        assert store.load(clock.moment()) == [a_lease(peer=BOB)]

    def test_a_lease_without_end_has_none_after_any_reboot(
        self, store: LeaseStore, clock: FakeClock
    ) -> None:
        self.commit(store, clock, Lease(ALICE, parse_address("192.0.2.4"), inf, inf))
        clock.reboot(after=1e9)
        (lease,) = store.load(clock.moment())
        assert lease.ends_at == lease.lease_time == inf

    # --- one address, one peer ------------------------------------------------------------------

    def test_an_address_held_by_one_peer_is_refused_to_another(
        self, store: LeaseStore, clock: FakeClock
    ) -> None:
        self.commit(store, clock, a_lease(peer=ALICE))
        with pytest.raises(StoreConflictError):
            self.commit(store, clock, a_lease(peer=BOB))
        assert store.load(clock.moment()) == [a_lease(peer=ALICE)]

    def test_not_even_a_memory_takes_a_held_address(
        self, store: LeaseStore, clock: FakeClock
    ) -> None:
        self.commit(store, clock, a_lease(peer=ALICE))
        with pytest.raises(StoreConflictError):
            self.commit(store, clock, a_lease(peer=BOB, ended=True))

    def test_a_lease_past_its_end_is_held_until_it_was_ended(
        self, store: LeaseStore, clock: FakeClock
    ) -> None:
        self.commit(store, clock, a_lease(ends_at=clock.now() - 1, peer=ALICE))
        with pytest.raises(StoreConflictError):  # it may still stand in the allowed IPs
            self.commit(store, clock, a_lease(peer=BOB))

    def test_an_ended_lease_may_be_taken_over(self, store: LeaseStore, clock: FakeClock) -> None:
        self.commit(store, clock, a_lease(peer=ALICE, ended=True))
        self.commit(store, clock, a_lease(peer=BOB))
        assert store.load(clock.moment()) == [a_lease(peer=BOB)]

    @pytest.mark.parametrize("place", [0, 1, 2])
    def test_one_conflict_undoes_the_whole_commit(
        self, store: LeaseStore, clock: FakeClock, place: int
    ) -> None:
        before = [a_lease("192.0.2.1", ALICE), a_lease("192.0.2.2", BOB)]
        self.commit(store, clock, *before)
        others = [a_lease("192.0.2.2", BOB, ends_at=9000.0), a_lease("192.0.2.3", BOB)]
        others.insert(place, a_lease("192.0.2.1", BOB))
        with pytest.raises(StoreConflictError):
            self.commit(store, clock, *others)
        assert store.load(clock.moment()) == before

    def test_after_a_conflict_the_store_goes_on(self, store: LeaseStore, clock: FakeClock) -> None:
        self.commit(store, clock, a_lease("192.0.2.1", ALICE))
        with pytest.raises(StoreConflictError):
            self.commit(store, clock, a_lease("192.0.2.1", BOB))
        self.commit(store, clock, a_lease("192.0.2.2", BOB, ends_at=6000.0))
        assert len(store.load(clock.moment())) == 2

    def test_a_refused_commit_is_not_the_last_one(
        self, store: LeaseStore, clock: FakeClock
    ) -> None:
        self.commit(store, clock, a_lease(ends_at=clock.now() + 100))
        clock.pass_time(50)
        with pytest.raises(StoreConflictError):
            self.commit(store, clock, a_lease(peer=BOB))
        clock.pass_time(-50)
        clock.reboot(after=0)
        assert loaded_ends(store, clock) == [100]

    def test_a_later_lease_for_the_same_address_wins(
        self, store: LeaseStore, clock: FakeClock
    ) -> None:
        self.commit(store, clock, a_lease(ends_at=2000.0), a_lease(ends_at=1500.0))
        assert store.load(clock.moment()) == [a_lease(ends_at=1500.0)]

    def test_an_address_may_change_hands_within_one_commit(
        self, store: LeaseStore, clock: FakeClock
    ) -> None:
        self.commit(store, clock, a_lease(peer=ALICE))
        ended = a_lease(peer=ALICE).end(clock.now())
        self.commit(store, clock, ended, a_lease(peer=BOB))
        assert store.load(clock.moment()) == [a_lease(peer=BOB)]

    def test_two_peers_cannot_get_one_address_within_one_commit(
        self, store: LeaseStore, clock: FakeClock
    ) -> None:
        with pytest.raises(StoreConflictError):
            self.commit(store, clock, a_lease(peer=ALICE), a_lease(peer=BOB))
        assert store.load(clock.moment()) == []

    def test_a_freed_address_may_be_left_and_taken_in_any_order_of_peers(
        self, store: LeaseStore, clock: FakeClock
    ) -> None:
        self.commit(
            store,
            clock,
            a_lease(peer=ALICE, ended=True),
            a_lease(peer=BOB, ended=True),
            a_lease(peer=CAROL),
        )
        assert store.load(clock.moment()) == [a_lease(peer=CAROL)]

    # --- what time it is ------------------------------------------------------------------------

    @pytest.mark.parametrize("wall", [0.0, 1.0, 1_600_000_000.0, 4_000_000_000.0])
    def test_within_one_boot_the_wall_clock_counts_for_nothing(
        self, store: LeaseStore, clock: FakeClock, wall: float
    ) -> None:
        self.commit(store, clock, a_lease(ends_at=clock.now() + HOUR))
        clock.pass_time(60)
        clock.set_wall(wall)
        assert loaded_ends(store, clock) == [HOUR - 60]
        self.commit(store, clock, a_lease("192.0.2.8", ends_at=clock.now() + 2 * HOUR))
        assert loaded_ends(store, clock) == [HOUR - 60, 2 * HOUR]

    def test_over_a_reboot_the_wall_clock_tells_what_is_left(
        self, store: LeaseStore, clock: FakeClock
    ) -> None:
        self.commit(store, clock, a_lease(ends_at=clock.now() + HOUR))
        clock.reboot(after=600)
        assert loaded_ends(store, clock) == [HOUR - 600]

    def test_a_lease_that_ran_out_while_the_machine_was_off_is_over(
        self, store: LeaseStore, clock: FakeClock
    ) -> None:
        self.commit(store, clock, a_lease(ends_at=clock.now() + HOUR))
        clock.reboot(after=HOUR + 1)
        (lease,) = store.load(clock.moment())
        assert lease.is_over(clock.now())
        assert not lease.ended

    def test_a_clock_far_ahead_ends_leases_but_loses_none(
        self, store: LeaseStore, clock: FakeClock
    ) -> None:
        self.commit(store, clock, a_lease("192.0.2.1"), a_lease("192.0.2.2", BOB, ended=True))
        clock.reboot(after=100 * 365 * 86400.0)
        leases = store.load(clock.moment())
        assert {lease.public_key for lease in leases} == {ALICE, BOB}
        assert all(lease.is_over(clock.now()) for lease in leases)

    @pytest.mark.parametrize("back", [1.0, 86400.0, 1_700_000_000.0])
    def test_with_a_clock_behind_the_last_commit_each_lease_keeps_what_it_had_left_then(
        self, store: LeaseStore, clock: FakeClock, back: float
    ) -> None:
        self.commit(store, clock, a_lease("192.0.2.1", ends_at=clock.now() + HOUR))
        clock.pass_time(100)
        self.commit(store, clock, a_lease("192.0.2.2", ends_at=clock.now() + HOUR))
        clock.reboot(after=-back)
        assert loaded_ends(store, clock) == [HOUR - 100, HOUR]

    def test_with_a_clock_behind_a_memory_stays_a_memory(
        self, store: LeaseStore, clock: FakeClock
    ) -> None:
        self.commit(store, clock, a_lease(ended=True, ends_at=clock.now() - 10))
        clock.reboot(after=-500)
        (memory,) = store.load(clock.moment())
        assert memory.ended
        assert memory.ends_at == clock.now() - 10

    def test_a_clock_set_right_after_the_grant_ends_no_lease_at_the_reboot(
        self, store: LeaseStore, clock: FakeClock
    ) -> None:
        clock.set_wall(0.0)  # no battery: 1970 until a time server was reached
        self.commit(store, clock, a_lease("192.0.2.1", ends_at=clock.now() + HOUR))
        clock.pass_time(30)
        clock.set_wall(1_700_000_000.0)
        self.commit(store, clock, a_lease("192.0.2.2", BOB, ends_at=clock.now() + HOUR))
        clock.reboot(after=60)
        assert loaded_ends(store, clock) == [HOUR - 90, HOUR - 60]

    def test_a_clock_set_back_after_the_grant_prolongs_no_lease_at_the_reboot(
        self, store: LeaseStore, clock: FakeClock
    ) -> None:
        self.commit(store, clock, a_lease("192.0.2.1", ends_at=clock.now() + HOUR))
        clock.pass_time(30)
        clock.set_wall(clock.wall() - 1_000_000)
        self.commit(store, clock, a_lease("192.0.2.2", BOB, ends_at=clock.now() + HOUR))
        clock.reboot(after=60)
        assert loaded_ends(store, clock)[1] == HOUR - 60

    def test_leases_of_several_boots_are_each_timed_by_their_own(
        self, store: LeaseStore, clock: FakeClock
    ) -> None:
        self.commit(store, clock, a_lease("192.0.2.1", ends_at=clock.now() + 3 * HOUR))
        clock.reboot(after=HOUR, now=7.0)
        self.commit(store, clock, a_lease("192.0.2.2", ends_at=clock.now() + 3 * HOUR))
        clock.reboot(after=HOUR, now=9.0)
        assert loaded_ends(store, clock) == [HOUR, 2 * HOUR]

    def test_a_boot_with_a_wrong_clock_adds_nothing_to_older_leases(
        self, store: LeaseStore, clock: FakeClock
    ) -> None:
        self.commit(store, clock, a_lease("192.0.2.1", ends_at=clock.now() + 3 * HOUR))
        clock.reboot(after=-1_000_000_000)
        self.commit(store, clock, a_lease("192.0.2.2", ends_at=clock.now() + 3 * HOUR))
        clock.reboot(after=1_000_000_000 + HOUR)
        assert loaded_ends(store, clock)[0] <= 2 * HOUR

    def test_a_lease_renewed_in_this_boot_is_of_this_boot(
        self, store: LeaseStore, clock: FakeClock
    ) -> None:
        self.commit(store, clock, a_lease(ends_at=clock.now() + HOUR))
        clock.reboot(after=60)
        self.commit(store, clock, a_lease(ends_at=clock.now() + HOUR))
        clock.set_wall(0.0)
        assert loaded_ends(store, clock) == [HOUR]

    def test_closing_twice_is_fine(self, store: LeaseStore) -> None:
        store.close()
        store.close()
