"""Both stores against each other: commits, conflicts, reboots and clocks that are set."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tests.fakes.clock import FakeClock
from wg_dynamic.leases.lease import Lease
from wg_dynamic.store.base import StoreConflictError
from wg_dynamic.store.memory import MemoryStore
from wg_dynamic.store.sqlite import SqliteStore

ADDRESSES = [b"\x0a\0\0\x01", b"\x0a\0\0\x02", bytes(16)]
leases = st.builds(
    lambda key, address, ends_at, state: Lease(key, address, 60.0, ends_at, *state),
    st.sampled_from([bytes([n]) * 32 for n in range(3)]),
    st.sampled_from(ADDRESSES),
    st.integers(0, 10_000).map(float),
    st.sampled_from([(False, False), (True, False), (True, True)]),
)


class StoresAgree(RuleBasedStateMachine):
    @initialize()
    def begin(self) -> None:
        self.memory, self.sqlite = MemoryStore(), SqliteStore(Path(":memory:"))
        self.clock = FakeClock()

    def teardown(self) -> None:
        if hasattr(self, "sqlite"):
            self.sqlite.close()

    @rule(
        batch=st.lists(leases, max_size=5),
        forgotten=st.lists(st.sampled_from(ADDRESSES), max_size=2),
    )
    def commit(self, batch: list[Lease], forgotten: list[bytes]) -> None:
        before = self.memory.load(self.clock.moment())
        try:
            self.memory.commit(batch, self.clock.moment(), forgotten)
        except StoreConflictError:
            with pytest.raises(StoreConflictError):
                self.sqlite.commit(batch, self.clock.moment(), forgotten)
            assert self.memory.load(self.clock.moment()) == before
        else:
            self.sqlite.commit(batch, self.clock.moment(), forgotten)

    @rule(seconds=st.integers(0, 5000))
    def pass_time(self, seconds: int) -> None:
        before = self.memory.load(self.clock.moment())
        self.clock.pass_time(seconds)
        if not self.clock.boot_id().endswith("'"):
            assert self.memory.load(self.clock.moment()) == before

    @rule(wall=st.integers(0, 2_000_000_000))
    def set_wall(self, wall: int) -> None:
        self.clock.set_wall(float(wall))

    @rule(after=st.integers(-5000, 5000), now=st.integers(0, 100))
    def reboot(self, after: int, now: int) -> None:
        self.clock.reboot(after=after, now=now)

    @invariant()
    def both_say_the_same(self) -> None:
        moment = self.clock.moment()
        mine, other = (
            sorted(store.load(moment), key=lambda one: one.address)
            for store in (self.memory, self.sqlite)
        )
        assert mine == other


StoresAgree.TestCase.settings = settings(max_examples=60, stateful_step_count=20)
TestStoresAgree: Any = StoresAgree.TestCase
