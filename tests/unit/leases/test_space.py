"""Counting through a pool with holes."""

import pytest

from wg_dynamic.address import format_address, parse_address
from wg_dynamic.leases.pool import parse_pool
from wg_dynamic.leases.space import Space
from wg_dynamic.leases.terms import AddressRange


def a_space(pool: str, *excluded: str) -> Space:
    ranges = []
    for text in excluded:
        first, _, last = text.partition("-")
        ranges.append(AddressRange(parse_address(first), parse_address(last or first)))
    return Space(parse_pool(pool), ranges)


def everything(space: Space) -> list[str]:
    return [format_address(space.address(position)) for position in range(space.size)]


@pytest.mark.parametrize(
    ("excluded", "left"),
    [
        ([], "123456"),
        (["10.0.0.1"], "23456"),
        (["10.0.0.6"], "12345"),
        (["10.0.0.3-10.0.0.4"], "1256"),
        (["10.0.0.3", "10.0.0.4"], "1256"),
        (["10.0.0.4-10.0.0.5", "10.0.0.2-10.0.0.4"], "16"),
        (["10.0.0.2-10.0.0.6", "10.0.0.3-10.0.0.4"], "1"),
        (["9.0.0.0-10.0.0.2", "10.0.0.5-10.0.1.0"], "34"),
        (["10.0.0.0", "10.0.0.7", "10.0.0.9", "9.9.9.9"], "123456"),
        (["0.0.0.0-255.255.255.255"], ""),
        (["fd00::1"], "123456"),
    ],
)
def test_exclusions_are_left_out(excluded: list[str], left: str) -> None:
    space = a_space("10.0.0.0/29", *excluded)
    assert everything(space) == [f"10.0.0.{n}" for n in left]
    for n in range(10):
        position = space.position(parse_address(f"10.0.0.{n}"))
        assert position == (left.index(str(n)) if str(n) in left else None)


def test_other_families_and_networks_have_no_position() -> None:
    space = a_space("10.0.0.0/29")
    for text in ("::1", "9.255.255.255", "255.255.255.255", "0.0.0.0"):  # noqa: S104 - no bind
        assert space.position(parse_address(text)) is None


def test_holes_of_a_64_are_counted_and_not_walked() -> None:
    space = a_space("fd00::/64", "fd00::-fd00::7fff:ffff:ffff:ffff", "fd00::9000:0:0:0")
    assert space.size == (1 << 63) - 256 - 1
    for text in ("fd00::8000:0:0:0", "fd00::8fff:ffff:ffff:ffff", "fd00::ffff:ffff:ffff:ff7f"):
        position = space.position(parse_address(text))
        assert position is not None
        assert format_address(space.address(position)) == text
    for text in ("fd00::7fff:ffff:ffff:ffff", "fd00::9000:0:0:0", "fd00::fdff:ffff:ffff:ff80"):
        assert space.position(parse_address(text)) is None
    assert not space.is_ipv4


def test_two_are_equal_when_they_lease_the_same_addresses() -> None:
    one = a_space("10.0.0.0/29", "10.0.0.3")
    assert one == a_space("10.0.0.0/29", "10.0.0.3", "10.0.0.99")
    assert one != a_space("10.0.0.0/29", "10.0.0.4")
    assert one != a_space("10.0.0.8/29", "10.0.0.3")
    assert a_space("10.0.0.0/31") != "10.0.0.0/31"
