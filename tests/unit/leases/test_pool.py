"""Which addresses a pool leases."""

import pytest

from wg_dynamic.address import format_address, parse_address, parse_prefix
from wg_dynamic.leases.pool import (
    Pool,
    PoolIndex,
    is_leasable,
    is_unicast,
    parse_pool,
    why_unreachable,
)


@pytest.mark.parametrize(
    ("network", "stretches"),
    [
        ("10.0.0.0/24", ["10.0.0.1-10.0.0.254"]),
        ("10.0.0.0/30", ["10.0.0.1-10.0.0.2"]),
        ("10.0.0.4/31", ["10.0.0.4-10.0.0.5"]),  # RFC 3021
        ("10.0.0.4/32", ["10.0.0.4-10.0.0.4"]),
        (
            "fd00::/64",  # RFC 2526: identifiers in the form of EUI-64, and the older form
            [
                "fd00::1-fd00::fdff:ffff:ffff:ff7f",
                "fd00::fe00:0:0:0-fd00::ffff:ffff:ffff:ff7f",
            ],
        ),
        ("fd00::/48", ["fd00::1-fd00::ffff:ffff:ffff:ffff:ff7f"]),
        ("fd00::/65", ["fd00::1-fd00::7fff:ffff:ffff:ffff"]),
        ("fd00::/120", ["fd00::1-fd00::ff"]),
        ("fd00::/126", ["fd00::1-fd00::3"]),
        ("fd00::4/127", ["fd00::4-fd00::5"]),  # RFC 6164
        ("fd00::4/128", ["fd00::4-fd00::4"]),
    ],
)
def test_a_pool_leases_all_but_network_broadcast_and_anycast(
    network: str, stretches: list[str]
) -> None:
    pool = parse_pool(network)
    size = len(pool.network.packed)
    found = [
        "-".join(format_address(number.to_bytes(size, "big")) for number in stretch)
        for stretch in pool.stretches()
    ]
    assert found == stretches
    for stretch in pool.stretches():
        for number in stretch:
            assert pool.leases(number.to_bytes(size, "big"))


def test_what_lies_outside_is_not_leased() -> None:
    pool = parse_pool("10.0.0.0/30")
    for text in ("10.0.0.0", "10.0.0.3", "9.255.255.255", "::1", "255.255.255.255"):
        assert not pool.leases(parse_address(text))
    assert not parse_pool("fd00::/126").leases(parse_address("fd00::"))
    for text in (
        "fd00::ffff:ffff:ffff:ff80",
        "fd00::fdff:ffff:ffff:ff80",
        "fd00::fdff:ffff:ffff:ffff",
    ):
        assert not parse_pool("fd00::/64").leases(parse_address(text))


def test_a_pool_covers_what_it_never_leases_too() -> None:
    pool = parse_pool("10.0.0.0/30")
    assert pool.covers(parse_address("10.0.0.3"))
    assert not pool.covers(parse_address("10.0.0.4"))
    assert not pool.covers(parse_address("fd00::"))


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


def test_an_address_is_leased_by_the_pool_that_has_it_among_those_to_lease() -> None:
    pools = [Pool(parse_prefix(text)) for text in ("10.0.0.0/30", "fd00::/64")]
    for text, expected in (
        ("10.0.0.1", [True, False]),
        ("fd00::9", [False, True]),
        ("10.0.0.3", [False, False]),
    ):
        assert [pool.leases(parse_address(text)) for pool in pools] == expected


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("0.0.0.0/0", ""),
        ("::/0", ""),
        ("0.0.0.0/1", ""),
        ("10.0.0.0/8", ""),
        ("192.0.2.7/32", ""),
        ("2000::/3", ""),
        ("127.0.0.0/8", "is loopback"),
        ("127.9.0.0/16", "is loopback"),
        ("169.254.0.0/17", "is link-local"),
        ("224.0.0.0/4", "is multicast or reserved"),
        ("fe80::/64", "is link-local"),
        ("ff02::1/128", "is multicast"),
        ("::/128", "is the unspecified address"),
    ],
)
def test_nothing_is_reached_where_all_of_a_network_is_nobodys(text: str, reason: str) -> None:
    assert why_unreachable(parse_prefix(text)) == reason


@pytest.mark.parametrize(
    ("network", "unicast"),
    [("8.0.0.0/7", True), ("128.0.0.0/2", False), ("0.0.0.0/0", False), ("fe80::/9", False)],
)
def test_a_network_that_holds_what_is_nobodys_is_not_unicast(
    network: str, *, unicast: bool
) -> None:
    assert is_unicast(parse_prefix(network)) is unicast


def test_the_pool_of_an_address_is_found_by_its_network() -> None:
    index = PoolIndex([Pool(parse_prefix(one)) for one in ("10.0.0.0/8", "fd00::/64", "0.0.0.0/0")])
    assert index.find(parse_address("10.0.0.0")) == 0
    assert index.find(parse_address("fd00::9")) == 1
    assert index.find(parse_address("11.0.0.0")) == 2
    assert index.find(parse_address("fd01::9")) is None
    assert PoolIndex([]).find(parse_address("10.0.0.1")) is None
