"""Which addresses a pool leases."""

import pytest

from wg_dynamic.address import format_address, parse_address, parse_prefix
from wg_dynamic.leases.pool import (
    Pool,
    check_pools,
    find_pool,
    is_leasable,
    parse_pool,
)


@pytest.mark.parametrize(
    ("network", "first", "last", "size"),
    [
        ("10.0.0.0/24", "10.0.0.1", "10.0.0.254", 254),
        ("10.0.0.0/30", "10.0.0.1", "10.0.0.2", 2),
        ("10.0.0.4/31", "10.0.0.4", "10.0.0.5", 2),  # RFC 3021
        ("10.0.0.4/32", "10.0.0.4", "10.0.0.4", 1),
        ("10.0.0.0/8", "10.0.0.1", "10.255.255.254", (1 << 24) - 2),
        ("fd00::/64", "fd00::1", "fd00::ffff:ffff:ffff:ff7f", (1 << 64) - 129),
        ("fd00::/48", "fd00::1", "fd00::ffff:ffff:ffff:ffff:ff7f", (1 << 80) - 129),
        ("fd00::/65", "fd00::1", "fd00::7fff:ffff:ffff:ffff", (1 << 63) - 1),
        ("fd00::/120", "fd00::1", "fd00::ff", 255),
        ("fd00::/126", "fd00::1", "fd00::3", 3),
        ("fd00::4/127", "fd00::4", "fd00::5", 2),  # RFC 6164
        ("fd00::4/128", "fd00::4", "fd00::4", 1),
    ],
)
def test_a_pool_leases_all_but_network_broadcast_and_anycast(
    network: str, first: str, last: str, size: int
) -> None:
    pool = parse_pool(network)
    assert pool.size == size
    assert format_address(pool.address(0)) == first
    assert format_address(pool.address(size - 1)) == last
    assert pool.position(parse_address(first)) == 0
    assert pool.position(parse_address(last)) == size - 1


def test_what_lies_outside_has_no_position() -> None:
    pool = parse_pool("10.0.0.0/30")
    for text in ("10.0.0.0", "10.0.0.3", "9.255.255.255", "::1", "255.255.255.255"):
        assert pool.position(parse_address(text)) is None
    assert parse_pool("fd00::/126").position(parse_address("fd00::")) is None
    assert parse_pool("fd00::/64").position(parse_address("fd00::ffff:ffff:ffff:ff80")) is None


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("10.0.0.0", "has no prefix length, expected one as in 10.44.0.0/24"),
        ("x/24", "expected a network as in"),
        ("10.0.0.0/33", "expected a network as in"),
        ("10.0.0.0/x", "expected a network as in"),
        ("10.0.0.1/24", "has host bits set, expected 10.0.0.0/24"),
        ("0.0.0.0/0", "'this network'"),
        ("127.0.0.0/24", "is loopback"),
        ("169.254.0.0/24", "is link-local"),
        ("224.0.0.0/24", "is multicast or reserved"),
        ("240.0.0.0/24", "is multicast or reserved"),
        ("255.255.255.255/32", "is multicast or reserved"),
        ("::/0", "is the unspecified address"),
        ("::1/128", "is loopback"),
        ("::ffff:10.0.0.0/120", "is IPv4-mapped"),
        ("fe80::/64", "is link-local"),
        ("fe00::/8", "is link-local"),
        ("ff02::/64", "is multicast"),
    ],
)
def test_a_pool_that_nobody_could_use_is_refused(text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match="pool") as caught:
        parse_pool(text)
    assert complaint in str(caught.value)
    assert text in str(caught.value)
    assert "expected" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "leasable"),
    [
        ("10.0.0.1", True),
        ("2001:db8::1", True),
        ("127.0.0.1", False),
        ("fe80::1", False),
        ("ff02::1", False),
        ("0.0.0.0", False),  # noqa: S104 - not a bind address
        ("::", False),
        ("224.0.0.1", False),
    ],
)
def test_an_address_that_could_be_nobodys_is_not_leasable(text: str, *, leasable: bool) -> None:
    assert is_leasable(parse_address(text)) is leasable


def test_pools_that_share_an_address_are_refused() -> None:
    check_pools([])
    check_pools([parse_pool("10.0.0.0/24"), parse_pool("10.0.1.0/24"), parse_pool("fd00::/64")])
    with pytest.raises(ValueError, match=r"10\.0\.0\.0/25 overlaps pool 10\.0\.0\.0/24"):
        check_pools([parse_pool(text) for text in ("10.0.0.0/24", "fd00::/64", "10.0.0.0/25")])


def test_the_pool_of_an_address_is_found() -> None:
    pools = [Pool(parse_prefix(text)) for text in ("10.0.0.0/30", "fd00::/64")]
    assert find_pool(pools, parse_address("10.0.0.1")) is pools[0]
    assert find_pool(pools, parse_address("fd00::9")) is pools[1]
    assert find_pool(pools, parse_address("10.0.0.3")) is None
