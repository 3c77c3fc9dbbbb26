"""Choosing, taking and freeing addresses of one pool."""

from collections.abc import Callable
from random import Random

import pytest

from wg_dynamic.address import parse_address
from wg_dynamic.leases.allocator import Allocator
from wg_dynamic.leases.pool import parse_pool


def an_allocator(pool: str = "10.0.0.0/29") -> Allocator:
    return Allocator(parse_pool(pool))


def first(_: int) -> int:
    return 0


def last(count: int) -> int:
    return count - 1


def stored(allocator: Allocator) -> int:
    """Entries that the allocator keeps."""
    return len(allocator._at) + len(allocator._index)


def test_a_new_pool_is_all_free() -> None:
    allocator = an_allocator()
    assert allocator.free_count == 6
    assert allocator.is_free(parse_address("10.0.0.1"))
    assert allocator.is_free(parse_address("10.0.0.6"))


def test_an_address_is_taken_once() -> None:
    allocator = an_allocator()
    assert allocator.take(parse_address("10.0.0.3"))
    assert not allocator.take(parse_address("10.0.0.3"))
    assert not allocator.is_free(parse_address("10.0.0.3"))
    assert allocator.free_count == 5


def test_an_address_is_freed_once() -> None:
    allocator = an_allocator()
    allocator.take(parse_address("10.0.0.3"))
    assert allocator.free(parse_address("10.0.0.3"))
    assert not allocator.free(parse_address("10.0.0.3"))
    assert allocator.is_free(parse_address("10.0.0.3"))
    assert allocator.free_count == 6


@pytest.mark.parametrize("text", ["10.0.0.0", "10.0.0.7", "10.0.1.1", "::1"])
def test_what_is_not_of_the_pool_is_neither_free_nor_taken(text: str) -> None:
    allocator = an_allocator()
    assert not allocator.is_free(parse_address(text))
    assert not allocator.take(parse_address(text))
    assert not allocator.free(parse_address(text))
    assert allocator.free_count == 6


def test_a_choice_takes_nothing() -> None:
    allocator = an_allocator()
    chosen = allocator.choose(first)
    assert chosen is not None
    assert allocator.is_free(chosen)
    assert allocator.free_count == 6


@pytest.mark.parametrize("choice", [first, last])
def test_a_pool_is_used_up_to_its_last_address(choice: Callable[[int], int]) -> None:
    allocator = an_allocator()
    seen = set()
    while (address := allocator.choose(choice)) is not None:
        assert allocator.take(address)
        seen.add(address)
    assert seen == {parse_address(f"10.0.0.{n}") for n in range(1, 7)}
    assert allocator.free_count == 0


def test_every_free_address_is_at_one_index() -> None:
    allocator = an_allocator()
    for text in ("10.0.0.1", "10.0.0.4"):
        allocator.take(parse_address(text))
    free = {allocator.free_address(index) for index in range(allocator.free_count)}
    assert free == {parse_address(f"10.0.0.{n}") for n in (2, 3, 5, 6)}


def test_what_came_and_went_leaves_nothing_behind() -> None:
    allocator, chance = an_allocator("fd00::/64"), Random(7)  # noqa: S311 - not a secret
    for _ in range(50):
        batch = [address for _ in range(20) if (address := allocator.choose(chance.randrange))]
        for address in batch:
            allocator.take(address)
        assert stored(allocator) <= 4 * len(batch)
        chance.shuffle(batch)
        for address in batch:
            allocator.free(address)
        assert stored(allocator) == 0
