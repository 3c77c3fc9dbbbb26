"""The allocator against a set, and what it costs."""

from collections import Counter
from random import Random
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from wg_dynamic.leases.allocator import Allocator
from wg_dynamic.leases.pool import Pool, parse_pool

POOLS = ["10.0.0.0/32", "10.0.0.0/31", "10.0.0.0/30", "10.0.0.0/28", "fd00::/125", "fd00::/64"]


class AllocatorAgainstASet(RuleBasedStateMachine):
    pool: Pool
    allocator: Allocator
    taken: set[bytes]

    @initialize(pool=st.sampled_from(POOLS))
    def begin(self, pool: str) -> None:
        self.pool = parse_pool(pool)
        self.allocator = Allocator(self.pool)
        self.taken = set()

    def some(self, number: int) -> bytes:
        """One of the first 16 addresses, or one beside the pool."""
        return (self.pool.first - 1 + number).to_bytes(len(self.pool.network.packed), "big")

    @rule(number=st.integers(0, 17))
    def take(self, number: int) -> None:
        address = self.some(number)
        may = self.pool.position(address) is not None and address not in self.taken
        assert self.allocator.take(address) is may
        if may:
            self.taken.add(address)

    @rule(number=st.integers(0, 17))
    def free(self, number: int) -> None:
        address = self.some(number)
        assert self.allocator.free(address) is (address in self.taken)
        self.taken.discard(address)

    @rule(seed=st.integers(0, 2**32))
    def choose_and_take(self, seed: int) -> None:
        address = self.allocator.choose(Random(seed).randrange)  # noqa: S311 - not a secret
        if address is None:
            assert len(self.taken) == self.pool.size
            return
        assert address not in self.taken
        assert self.pool.position(address) is not None
        assert self.allocator.is_free(address)
        assert self.allocator.take(address)
        self.taken.add(address)

    @invariant()
    def what_is_free_is_what_is_not_taken(self) -> None:
        assert self.allocator.free_count == self.pool.size - len(self.taken)
        for number in range(18):
            address = self.some(number)
            free = self.pool.position(address) is not None and address not in self.taken
            assert self.allocator.is_free(address) is free

    @invariant()
    def each_free_address_has_one_index(self) -> None:
        if self.pool.size <= 16:
            count = self.allocator.free_count
            free = {self.allocator.free_address(index) for index in range(count)}
            everything = {self.pool.address(n) for n in range(self.pool.size)}
            assert free == everything - self.taken

    @invariant()
    def nothing_is_stored_but_for_what_is_taken(self) -> None:
        assert len(self.allocator._at) == len(self.allocator._index)
        assert len(self.allocator._at) <= 2 * len(self.taken)


AllocatorAgainstASet.TestCase.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None
)
TestAllocatorAgainstASet: Any = AllocatorAgainstASet.TestCase


def test_each_free_address_is_chosen_as_often() -> None:
    """After a history that has displaced most of them. Deterministic; 6 standard deviations."""
    allocator, chance = Allocator(parse_pool("10.0.0.0/26")), Random(3)  # noqa: S311
    taken: list[bytes] = []
    for _ in range(500):
        if chance.random() < 0.5 and taken:
            allocator.free(taken.pop(chance.randrange(len(taken))))
        elif (address := allocator.choose(chance.randrange)) is not None:
            allocator.take(address)
            taken.append(address)
    free, tries = allocator.free_count, 20_000
    counts: Counter[bytes | None] = Counter(
        allocator.choose(chance.randrange) for _ in range(tries)
    )
    assert len(counts) == free
    assert not counts.keys() & set(taken)
    mean = tries / free
    assert all(abs(count - mean) < 6 * mean**0.5 for count in counts.values())


class Counting(dict[int, int]):
    """A dict that counts its uses."""

    uses = 0

    def get(self, key: int, default: Any = None) -> Any:
        self.uses += 1
        return super().get(key, default)

    def __setitem__(self, key: int, value: int) -> None:
        self.uses += 1
        super().__setitem__(key, value)

    def pop(self, key: int, *default: Any) -> Any:
        self.uses += 1
        return super().pop(key, *default)


@pytest.mark.parametrize("pool", ["10.0.0.0/20", "fd00::/64"])
def test_the_cost_is_flat_however_full_the_pool_is(pool: str) -> None:
    allocator, chance = Allocator(parse_pool(pool)), Random(5)  # noqa: S311 - not a secret
    at, index = Counting(), Counting()
    allocator._at, allocator._index = at, index
    most = 0
    for _ in range(min(allocator.pool.size, 5000)):
        before = at.uses + index.uses
        address = allocator.choose(chance.randrange)
        assert address is not None
        allocator.take(address)
        allocator.free(address)
        allocator.take(address)
        most = max(most, at.uses + index.uses - before)
    assert most <= 50
