"""Choosing, taking and freeing addresses of one space."""

from collections.abc import Callable
from random import Random

import pytest

from wg_dynamic.address import format_address, parse_address
from wg_dynamic.leases import allocator as module
from wg_dynamic.leases.allocator import Allocator
from wg_dynamic.leases.pool import parse_pool
from wg_dynamic.leases.space import Space


class Taken:
    """An allocator and what it looks into."""

    def __init__(self, pool: str = "10.0.0.0/29", *taken: str) -> None:
        self.taken = {parse_address(text): None for text in taken}
        self.allocator = Allocator(Space(parse_pool(pool)), self.taken.keys())

    def take(self, address: bytes) -> None:
        self.taken[address] = None
        self.allocator.took(address)

    def free(self, address: bytes) -> None:
        del self.taken[address]
        self.allocator.freed(address)

    def free_ones(self) -> set[str]:
        return {format_address(one) for one in self.allocator.walk(first)}


def first(_: int) -> int:
    return 0


def last(count: int) -> int:
    return count - 1


def test_a_new_pool_is_all_free() -> None:
    allocator = Taken().allocator
    assert allocator.free_count == 6
    assert allocator.is_free(parse_address("10.0.0.1"))
    assert allocator.is_free(parse_address("10.0.0.6"))


def test_an_address_is_taken_and_freed() -> None:
    pool = Taken()
    address = parse_address("10.0.0.3")
    pool.take(address)
    assert not pool.allocator.is_free(address)
    assert pool.allocator.holds(address)
    assert pool.allocator.free_count == 5
    pool.free(address)
    assert pool.allocator.is_free(address)
    assert pool.allocator.free_count == 6


@pytest.mark.parametrize("text", ["10.0.0.0", "10.0.0.7", "10.0.1.1", "::1"])
def test_what_is_not_of_the_pool_is_not_free_and_taking_it_changes_nothing(text: str) -> None:
    pool = Taken()
    address = parse_address(text)
    assert not pool.allocator.is_free(address)
    assert not pool.allocator.holds(address)
    pool.take(address)
    assert pool.allocator.free_count == 6
    pool.free(address)
    assert pool.allocator.free_count == 6


@pytest.mark.parametrize("small", [1 << 16, 0])
@pytest.mark.parametrize("choice", [first, last])
def test_a_pool_is_used_up_to_its_last_address(
    monkeypatch: pytest.MonkeyPatch, choice: Callable[[int], int], small: int
) -> None:
    monkeypatch.setattr(module, "SMALL_SIZE", small)
    pool = Taken()
    seen = set()
    while (address := pool.allocator.choose(choice)) is not None:
        assert pool.allocator.is_free(address)
        pool.take(address)
        seen.add(format_address(address))
    assert seen == {f"10.0.0.{n}" for n in range(1, 7)}
    assert pool.allocator.free_count == 0
    assert pool.free_ones() == set()


@pytest.mark.parametrize("small", [1 << 16, 0])
def test_a_walk_sees_each_free_address_once(monkeypatch: pytest.MonkeyPatch, small: int) -> None:
    monkeypatch.setattr(module, "SMALL_SIZE", small)
    pool = Taken("10.0.0.0/28")
    for text in ("10.0.0.1", "10.0.0.4"):
        pool.take(parse_address(text))
    found = [format_address(one) for one in pool.allocator.walk(last)]
    assert len(found) == 12
    assert set(found) == {f"10.0.0.{n}" for n in range(1, 15)} - {"10.0.0.1", "10.0.0.4"}


def test_what_was_taken_before_is_counted() -> None:
    pool = Taken("10.0.0.0/29", "10.0.0.2", "10.0.0.5", "192.0.2.1")
    assert pool.free_ones() == {f"10.0.0.{n}" for n in (1, 3, 4, 6)}
    assert pool.allocator.free_count == 4


def test_a_pool_that_is_all_excluded_has_nothing() -> None:
    allocator = Allocator(Space(parse_pool("10.0.0.0/30"), []), {}.keys())
    allocator.took(parse_address("10.0.0.1"))
    allocator.took(parse_address("10.0.0.2"))
    assert allocator.choose(first) is None


def test_a_large_pool_has_its_array_only_while_many_are_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "SMALL_SIZE", 16)
    pool, chance = Taken("10.0.0.0/24"), Random(2)  # noqa: S311 - not a secret
    addresses = []
    for n in range(254):
        assert (pool.allocator._order is not None) is (n > 63)
        address = pool.allocator.choose(chance.randrange)
        assert address is not None
        assert pool.allocator.is_free(address)
        pool.take(address)
        addresses.append(address)
    chance.shuffle(addresses)
    for n in range(254, 0, -1):
        pool.free(addresses.pop())
        assert pool.allocator.free_count == 254 - len(pool.taken)
        assert (pool.allocator._order is not None) is (n - 1 > 31)
    assert len(pool.free_ones()) == 254


def test_a_pool_too_large_to_number_never_has_an_array() -> None:
    pool = Taken("fd00::/64")
    for n in range(1, 100):
        pool.take(parse_address(f"fd00::{n:x}"))
    assert pool.allocator._order is None
    assert pool.allocator.free_count == pool.allocator.space.size - 99
    assert pool.allocator.choose(first) == parse_address("fd00::64")
