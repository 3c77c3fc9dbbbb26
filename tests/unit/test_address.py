"""Packed addresses and prefixes."""

from ipaddress import ip_address, ip_interface, ip_network

import pytest

from wg_dynamic.address import (
    SERVER_ADDRESS,
    Prefix,
    format_address,
    from_ip,
    host_prefix,
    is_link_local,
    parse_address,
    parse_prefix,
    to_interface,
    to_network,
)


@pytest.mark.parametrize(
    ("text", "packed"),
    [
        ("192.0.2.7", bytes([192, 0, 2, 7])),
        ("0.0.0.0", bytes(4)),  # noqa: S104 - not a bind address
        ("::", bytes(16)),
        ("2001:db8::1", bytes.fromhex("20010db8" + "00" * 11 + "01")),
    ],
)
def test_an_address_is_read_and_printed_the_same(text: str, packed: bytes) -> None:
    assert parse_address(text) == packed
    assert format_address(packed) == text


@pytest.mark.parametrize("text", ["", "x", "192.0.2", "192.0.2.256", "1.2.3.04", "::g", "1::2::3"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="does not appear to be"):
        parse_address(text)


@pytest.mark.parametrize("text", ["fe80::1%wg0", "fe80::1%1"])
def test_a_scope_id_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="carries a scope id, expected a plain address"):
        parse_address(text)


@pytest.mark.parametrize("size", [0, 3, 5, 15, 17])
def test_only_4_and_16_bytes_are_an_address(size: int) -> None:
    with pytest.raises(ValueError, match="does not appear to be"):
        format_address(bytes(size))


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("10.0.0.7/24", "10.0.0.7/24"),
        ("10.0.0.7", "10.0.0.7/32"),
        ("0.0.0.0/0", "0.0.0.0/0"),
        ("10.0.0.7/32", "10.0.0.7/32"),
        ("2001:db8::7/64", "2001:db8::7/64"),
        ("2001:db8::7", "2001:db8::7/128"),
        ("::/0", "::/0"),
        ("::1/128", "::1/128"),
    ],
)
def test_a_prefix_keeps_its_host_bits(text: str, printed: str) -> None:
    assert str(parse_prefix(text)) == printed


@pytest.mark.parametrize(
    "text",
    [
        "10.0.0.0/",
        "10.0.0.0/33",
        "::/129",
        "10.0.0.0/-1",
        "10.0.0.0/+8",
        "10.0.0.0/ 8",
        "10.0.0.0/8/8",
        "10.0.0.0/255.0.0.0",
        "10.0.0.0/²",
        "10.0.0.0/٨",
        "/8",
        "x/8",
        "fe80::1%wg0/64",
    ],
)
def test_what_is_no_prefix_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected|does not appear"):
        parse_prefix(text)


def test_the_network_of_a_prefix_has_no_host_bits() -> None:
    assert parse_prefix("10.1.2.3/12").network() == parse_prefix("10.0.0.0/12")
    assert parse_prefix("10.1.2.3/0").network() == parse_prefix("0.0.0.0/0")
    assert parse_prefix("2001:db8::ff/121").network() == parse_prefix("2001:db8::80/121")


@pytest.mark.parametrize(
    ("one", "other", "covers"),
    [
        ("10.0.0.0/8", "10.1.2.3/32", True),
        ("10.0.0.0/8", "10.0.0.0/8", True),
        ("10.9.9.9/8", "10.1.2.3/24", True),
        ("10.0.0.0/8", "11.0.0.0/32", False),
        ("10.0.0.0/8", "0.0.0.0/0", False),
        ("0.0.0.0/0", "255.255.255.255/32", True),
        ("0.0.0.0/0", "::/0", False),
        ("::/0", "10.0.0.0/8", False),
        ("fe80::/10", "febf::1/128", True),
        ("fe80::/10", "fec0::1/128", False),
    ],
)
def test_a_prefix_covers_what_lies_inside_it(one: str, other: str, *, covers: bool) -> None:
    first, second = parse_prefix(one), parse_prefix(other)
    assert first.covers(second) is covers
    assert first.overlaps(second) is (covers or second.covers(first))


def test_a_prefix_knows_its_family_and_whether_it_is_one_address() -> None:
    assert parse_prefix("10.0.0.0/8").is_ipv4
    assert not parse_prefix("::/0").is_ipv4
    assert host_prefix(parse_address("::1")).is_host
    assert host_prefix(parse_address("10.0.0.1")).is_host
    assert not parse_prefix("::1/32").is_host
    assert not parse_prefix("10.0.0.0/31").is_host


def test_objects_of_ipaddress_become_prefixes_and_back() -> None:
    assert from_ip(ip_address("10.0.0.1")) == parse_prefix("10.0.0.1/32")
    assert from_ip(ip_address("::1")) == parse_prefix("::1/128")
    for text in ("10.0.0.1/8", "2001:db8::1/64"):
        prefix = parse_prefix(text)
        assert from_ip(ip_interface(text)) == prefix
        assert to_interface(prefix) == ip_interface(text)
        network = ip_network(text, strict=False)
        assert from_ip(network) == prefix.network()
        assert to_network(prefix.network()) == network
        with pytest.raises(ValueError, match="host bits"):
            to_network(prefix)


@pytest.mark.parametrize(
    ("text", "link_local"),
    [
        ("fe80::", True),
        ("febf:ffff::1", True),
        ("fe7f:ffff::1", False),
        ("fec0::1", False),
        ("169.254.1.1", False),
        ("::", False),
    ],
)
def test_link_local_is_the_first_ten_bits(text: str, *, link_local: bool) -> None:
    assert is_link_local(parse_address(text)) is link_local


def test_the_server_is_at_the_first_link_local_address() -> None:
    assert parse_address("fe80::") == SERVER_ADDRESS
    assert Prefix(SERVER_ADDRESS, 128) == host_prefix(SERVER_ADDRESS)
