"""The allocator against a set, and what it costs."""

from collections import Counter
from random import Random
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from wg_dynamic.leases import allocator as module
from wg_dynamic.leases.allocator import Allocator
from wg_dynamic.leases.pool import Pool, parse_pool
from wg_dynamic.leases.space import Space
from wg_dynamic.leases.terms import AddressRange

POOLS = ["10.0.0.0/32", "10.0.0.0/31", "10.0.0.0/30", "10.0.0.0/28", "fd00::/125", "fd00::/64"]


class AllocatorAgainstASet(RuleBasedStateMachine):
    pool: Pool
    space: Space
    allocator: Allocator
    taken: dict[bytes, None]

    @initialize(pool=st.sampled_from(POOLS), holes=st.sets(st.integers(0, 17), max_size=3))
    def begin(self, pool: str, holes: set[int]) -> None:
        self.pool = parse_pool(pool)
        excluded = [AddressRange(self.some(number), self.some(number)) for number in holes]
        self.space = Space(self.pool, excluded)
        self.taken = {}
        self.allocator = Allocator(self.space, self.taken.keys())

    def some(self, number: int) -> bytes:
        """One of the first 16 addresses, or one beside the pool."""
        first = int.from_bytes(self.pool.network.packed, "big")
        return (first - 1 + number).to_bytes(len(self.pool.network.packed), "big")

    @rule(number=st.integers(0, 17))
    def take(self, number: int) -> None:
        address = self.some(number)
        if address not in self.taken:
            self.taken[address] = None
            self.allocator.took(address)

    @rule(number=st.integers(0, 17))
    def free(self, number: int) -> None:
        address = self.some(number)
        if address in self.taken:
            del self.taken[address]
            self.allocator.freed(address)

    def ours(self) -> set[bytes]:
        return {address for address in self.taken if self.space.position(address) is not None}

    @rule(seed=st.integers(0, 2**32))
    def choose_and_take(self, seed: int) -> None:
        address = self.allocator.choose(Random(seed).randrange)  # noqa: S311 - not a secret
        if address is None:
            assert len(self.ours()) == self.space.size
            return
        assert address not in self.taken
        assert self.space.position(address) is not None
        assert self.allocator.is_free(address)
        self.taken[address] = None
        self.allocator.took(address)

    @invariant()
    def what_is_free_is_what_is_not_taken(self) -> None:
        assert self.allocator.free_count == self.space.size - len(self.ours())
        for number in range(18):
            address = self.some(number)
            free = self.space.position(address) is not None and address not in self.taken
            assert self.allocator.is_free(address) is free

    @invariant()
    def a_walk_sees_each_free_address_once(self) -> None:
        if self.space.size <= 16:
            free = list(self.allocator.walk(lambda count: count // 2))
            everything = {self.space.address(n) for n in range(self.space.size)}
            assert len(free) == self.allocator.free_count
            assert set(free) == everything - self.taken.keys()


AllocatorAgainstASet.TestCase.settings = settings(max_examples=60, stateful_step_count=40)
TestAllocatorAgainstASet: Any = AllocatorAgainstASet.TestCase


class TestWithoutArray(TestAllocatorAgainstASet):  # type: ignore[misc]
    """The same, with no pool so small that it always has an array."""

    @pytest.fixture(autouse=True)
    def no_pool_is_small(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "SMALL_SIZE", 0)


def test_each_free_address_is_chosen_as_often() -> None:
    """After a history that has displaced most of them. Deterministic; 6 standard deviations."""
    taken: dict[bytes, None] = {}
    chance = Random(3)  # noqa: S311 - not a secret
    allocator = Allocator(Space(parse_pool("10.0.0.0/26")), taken.keys())
    for _ in range(500):
        if chance.random() < 0.5 and taken:
            address: bytes | None = chance.choice(list(taken))
            assert address is not None
            del taken[address]
            allocator.freed(address)
        elif (address := allocator.choose(chance.randrange)) is not None:
            taken[address] = None
            allocator.took(address)
    free, tries = allocator.free_count, 20_000
    counts: Counter[bytes | None] = Counter(
        allocator.choose(chance.randrange) for _ in range(tries)
    )
    assert len(counts) == free
    assert not counts.keys() & set(taken)
    mean = tries / free
    assert all(abs(count - mean) < 6 * mean**0.5 for count in counts.values())


class Counting(dict[bytes, None]):
    """A dict that counts how often it is looked into."""

    uses = 0

    def __contains__(self, key: object) -> bool:
        self.uses += 1
        return super().__contains__(key)


@pytest.mark.parametrize("pool", ["10.0.0.0/20", "10.0.0.0/15", "fd00::/64"])
def test_the_cost_is_flat_however_full_the_pool_is(pool: str) -> None:
    """Counted in random numbers and looks at what is taken, the calls that grow with neither."""
    chance = Random(5)  # noqa: S311 - not a secret
    taken = Counting()
    allocator = Allocator(Space(parse_pool(pool)), taken)
    chosen = Counter[bool]()
    for _ in range(min(allocator.space.size, 150_000)):
        before = taken.uses
        address = allocator.choose(chance.randrange)
        assert address is not None
        taken[address] = None
        allocator.took(address)
        chosen[taken.uses - before > 10] += 1
    assert chosen[True] <= chosen[False] / 1000
    assert allocator.free_count == allocator.space.size - len(taken)
