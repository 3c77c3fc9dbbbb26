"""Text of a value and back: docs/protocol.md 4.2 and 5.4."""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

import pytest

from wg_dynamic.protocol.schema import (
    DNS_SEARCH,
    ERRMSG,
    FEATURES,
    ID,
    INTERVAL,
    IP,
    MAX_DOMAIN_LENGTH,
    MAX_ERRMSG_LENGTH,
    MAX_INTERVAL,
    MAX_MTU,
    MAX_NAME_LENGTH,
    MAX_NAMES,
    MAX_NUMBER,
    MORE,
    MTU,
    NETWORK,
    REMOVE,
    V1_IP,
    Attribute,
)
from wg_dynamic.protocol.values import (
    is_name,
    parse_loose_number,
    parse_number,
    parse_value,
    print_value,
    sanitise,
)

LONGEST_DOMAIN = ".".join(["a" * 63] * 3 + ["a" * 61])
assert len(LONGEST_DOMAIN) == MAX_DOMAIN_LENGTH
MOST_NAMES = ",".join(f"f{number}" for number in range(MAX_NAMES))


@pytest.mark.parametrize(
    ("attribute", "text", "value"),
    [
        (ID, "0", 0),
        (ID, str(MAX_NUMBER), MAX_NUMBER),
        (MTU, str(MAX_MTU), MAX_MTU),
        (INTERVAL, "1", 1),
        (INTERVAL, str(MAX_INTERVAL), MAX_INTERVAL),
        (IP, "192.0.2.7", IPv4Address("192.0.2.7")),
        (IP, "0.0.0.0", IPv4Address(0)),  # noqa: S104 - not a bind address
        (IP, "::", IPv6Address(0)),
        (IP, "2001:db8::d", IPv6Address("2001:db8::d")),
        (V1_IP, "192.0.2.7/32", IPv4Address("192.0.2.7")),
        (NETWORK, "192.0.2.0/24", IPv4Network("192.0.2.0/24")),
        (NETWORK, "::/0", IPv6Network("::/0")),
        (NETWORK, "2001:db8::7/128", IPv6Network("2001:db8::7/128")),
        (MORE, "1", True),
        (REMOVE, "true", True),
        (ERRMSG, "x" * MAX_ERRMSG_LENGTH, "x" * MAX_ERRMSG_LENGTH),
        (FEATURES, "a,b_2", ("a", "b_2")),
        (FEATURES, MOST_NAMES, tuple(MOST_NAMES.split(","))),
        (DNS_SEARCH, "corp.example", "corp.example"),
        (DNS_SEARCH, LONGEST_DOMAIN, LONGEST_DOMAIN),
    ],
)
def test_a_value_is_read_and_printed_the_same(
    attribute: Attribute, text: str, value: object
) -> None:
    assert parse_value(attribute, text) == value
    assert print_value(attribute, value) == text


@pytest.mark.parametrize(
    ("attribute", "text", "canonical"),
    [
        (IP, "2001:0DB8:0:0::000d", "2001:db8::d"),
        (V1_IP, "192.0.2.7", "192.0.2.7/32"),
        (V1_IP, "2001:db8::7/64", "2001:db8::7/128"),
        (NETWORK, "2001:DB8::/32", "2001:db8::/32"),
        (DNS_SEARCH, "CORP.Example", "corp.example"),
    ],
)
def test_other_forms_are_read_and_printed_in_the_canonical_one(
    attribute: Attribute, text: str, canonical: str
) -> None:
    assert print_value(attribute, parse_value(attribute, text)) == canonical


@pytest.mark.parametrize(
    ("attribute", "text", "complaint"),
    [
        (ID, "-1", "decimal number"),
        (ID, "+1", "decimal number"),
        (ID, " 1", "decimal number"),
        (ID, "01", "decimal number"),
        (ID, "1.0", "decimal number"),
        (ID, "\u0661", "decimal number"),
        (ID, str(MAX_NUMBER + 1), "expected 0 to 4294967295"),
        (ID, "9" * 5000, "expected 0 to 4294967295"),
        (MTU, str(MAX_MTU + 1), "expected 0 to 65535"),
        (INTERVAL, "0", "expected 1 to 86400"),
        (INTERVAL, str(MAX_INTERVAL + 1), "expected 1 to 86400"),
        (IP, "192.0.2", "192.0.2"),
        (IP, "192.0.2.07", "Leading zeros"),
        (IP, "192.0.2.7/32", "192.0.2.7/32"),
        (IP, "fe80::1%wg0", "scope id"),
        (IP, "2001:db8::x", "2001:db8::x"),
        (V1_IP, "192.0.2.7/33", "expected 0 to 32"),
        (V1_IP, "2001:db8::7/129", "expected 0 to 128"),
        (V1_IP, "192.0.2.7/255.255.255.0", "decimal number"),
        (NETWORK, "192.0.2.0", "absent"),
        (NETWORK, "192.0.2.1/24", "host bits"),
        (NETWORK, "2001:db8::1/64", "host bits"),
        (NETWORK, "192.0.2.0/33", "expected 0 to 32"),
        (MORE, "true", "expected '1'"),
        (REMOVE, "1", "expected 'true'"),
        (REMOVE, "false", "expected 'true'"),
        (ERRMSG, "x" * (MAX_ERRMSG_LENGTH + 1), "at most 256"),
        (FEATURES, MOST_NAMES + ",one_more", "33 names, expected at most 32"),
        (FEATURES, "a,,b", "expected a name"),
        (FEATURES, "a,a", "twice"),
        (DNS_SEARCH, LONGEST_DOMAIN + "a", "expected at most 253"),
        (DNS_SEARCH, "corp.example.", "expected a domain name"),
        (DNS_SEARCH, "-a.example", "expected a domain name"),
        (DNS_SEARCH, "a" * 64, "expected a domain name"),
        (DNS_SEARCH, "a;reboot", "expected a domain name"),
    ],
)
def test_what_is_out_of_bounds_is_refused_by_name(
    attribute: Attribute, text: str, complaint: str
) -> None:
    with pytest.raises(ValueError, match=rf"^{attribute.name}: .*{complaint}"):
        parse_value(attribute, text)


@pytest.mark.parametrize(
    ("attribute", "value", "complaint"),
    [
        (ID, -1, "expected 0 to"),
        (ID, MAX_NUMBER + 1, "expected 0 to"),
        (ID, "1", "expected 0 to"),
        (IP, "192.0.2.7", "expected an IPv4Address"),
        (IP, IPv6Address("fe80::1%wg0"), "scope id"),
        (V1_IP, None, "expected an IPv4Address"),
        (NETWORK, "192.0.2.0/24", "expected an IPv4Network"),
        (NETWORK, IPv6Network("fe80::%wg0/64"), "scope id"),
        (FEATURES, "a", "expected a tuple"),
        (FEATURES, ("a b",), "expected a name"),
        (DNS_SEARCH, "a..b", "expected a domain name"),
    ],
)
def test_what_is_not_a_value_is_not_printed(
    attribute: Attribute, value: object, complaint: str
) -> None:
    with pytest.raises(ValueError, match=rf"^{attribute.name}: .*{complaint}"):
        print_value(attribute, value)


def test_error_texts_are_made_harmless_and_cut() -> None:
    assert print_value(ERRMSG, "caf\u00e9\r\n\x1b[2J") == "caf????[2J"
    assert len(print_value(ERRMSG, "x" * 1000)) == MAX_ERRMSG_LENGTH
    assert sanitise("a~ !", 3) == "a~ "


@pytest.mark.parametrize(
    ("text", "value"), [("1", 1), (" 1", 1), ("\t 1", 1), ("+1", 1), ("007", 7), ("000", 0)]
)
def test_version_1_takes_numbers_as_strtoumax_does(text: str, value: int) -> None:
    assert parse_loose_number(text) == value


@pytest.mark.parametrize("text", ["", " ", "+", "-1", "1 ", "x", "++1", str(MAX_NUMBER + 1)])
def test_version_1_takes_no_other_numbers(text: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        parse_loose_number(text or "x")


def test_a_number_has_bounds_of_its_own() -> None:
    assert parse_number("5", 5, 5) == 5
    with pytest.raises(ValueError, match="expected 5 to 5"):
        parse_number("6", 5, 5)


@pytest.mark.parametrize("name", ["a", "a1_", "x" * MAX_NAME_LENGTH])
def test_names_begin_with_a_small_letter(name: str) -> None:
    assert is_name(name)


@pytest.mark.parametrize("name", ["", "1a", "_a", "A", "a-b", "a b", "a\n", "x" * 33])
def test_other_names_are_none(name: str) -> None:
    assert not is_name(name)
