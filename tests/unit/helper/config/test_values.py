import datetime
from math import inf, nan
from pathlib import Path

import pytest

from wg_dynamic.address import parse_address, parse_prefix
from wg_dynamic.helper.config.values import (
    last_address,
    parse_range,
    read_address,
    read_domain,
    read_key,
    read_name_server,
    read_number,
    read_path,
    read_pool,
    read_range,
    read_route,
    read_text,
    read_time,
    read_time_or_infinite,
    shortened,
    shown,
)
from wg_dynamic.leases.pool import parse_pool
from wg_dynamic.leases.push import MAX_DOMAIN_LENGTH
from wg_dynamic.leases.terms import INFINITE, AddressRange
from wg_dynamic.protocol.values import parse_domain
from wg_dynamic.wireguard.key import format_key


def a_range(first: str, last: str) -> AddressRange:
    return AddressRange(parse_address(first), parse_address(last))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "true"),
        (False, "false"),
        (7, "7"),
        (1.5, "1.5"),
        (nan, "the float nan"),
        (-inf, "the float -inf"),
        ("x\ny", r"'x\ny'"),
        ("x" * 99, "'" + "x" * 59 + "…"),
        ([1], "a list"),
        ({"a": 1}, "a table"),
        (datetime.date(2026, 11, 22), "2026-11-22"),
    ],
)
def test_whatever_came_is_shown_on_one_short_line(value: object, text: str) -> None:
    assert shown(value) == text


def test_a_number_that_python_would_not_turn_into_text_is_described() -> None:
    assert shown(1 << 20000) == "a number of 20001 bits"
    with pytest.raises(ValueError, match="a number of 20001 bits, expected a whole"):
        read_number(1 << 20000, 1, 8)


@pytest.mark.parametrize("value", [1, 8])
def test_a_number_is_taken_up_to_its_bounds(value: int) -> None:
    assert read_number(value, 1, 8) == value


@pytest.mark.parametrize("value", [0, 9, True, 1.0, "1", [1]])
def test_a_number_that_is_none_or_out_of_bounds_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="expected a whole number from 1 to 8"):
        read_number(value, 1, 8)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (60, 60),
        ("60", 60),
        ("60s", 60),
        ("10m", 600),
        ("1h", 3600),
        ("7d", 604800),
        ("2w", 1209600),
        (1209600, 1209600),
    ],
)
def test_times_are_seconds_or_have_a_unit(value: object, seconds: int) -> None:
    assert read_time(value, 60, 1209600) == seconds
    assert read_time_or_infinite(value, 60, 1209600) == seconds


@pytest.mark.parametrize(
    "value",
    [59, 1209601, "59s", "3w", "1.5h", "1 h", "h", "", "-1h", "1H", "1h30m", "\uff19h", 60.0, True],
)
def test_a_time_that_is_none_or_out_of_bounds_is_refused(value: object) -> None:
    expected = "expected 60 to 1209600 seconds, or text as in '10m', '1h', '7d'$"
    with pytest.raises(ValueError, match=expected):
        read_time(value, 60, 1209600)
    with pytest.raises(ValueError, match=r"'7d', or 'infinite'$"):
        read_time_or_infinite(value, 60, 1209600)


def test_infinite_is_a_time_for_some_only() -> None:
    assert read_time_or_infinite("infinite", 60, 3600) == INFINITE
    with pytest.raises(ValueError, match="'infinite', expected 60 to 3600 seconds"):
        read_time("infinite", 60, 3600)


def test_text_is_text() -> None:
    assert read_text("the printer, 2nd floor") == "the printer, 2nd floor"
    with pytest.raises(ValueError, match="7, expected text in quotes"):
        read_text(7)
    for value in ("", "two\nlines", "\0", "\x1b[2J"):
        with pytest.raises(ValueError, match="expected text on one line that is not empty"):
            read_text(value)


def test_a_path_is_absolute() -> None:
    assert read_path("/srv/leases.sqlite") == Path("/srv/leases.sqlite")
    with pytest.raises(ValueError, match=r"'leases.sqlite', expected a path that begins with /"):
        read_path("leases.sqlite")


def test_a_pool_is_a_network() -> None:
    assert read_pool("10.44.0.0/24") == parse_pool("10.44.0.0/24")
    with pytest.raises(ValueError, match="has host bits set, expected"):
        read_pool("10.44.0.1/24")


def test_an_address_has_no_length() -> None:
    assert read_address("fd00:44::7") == parse_address("fd00:44::7")
    for value in ("10.44.0.7/32", "10.44.0", "fe80::1%wg0", "010.44.0.7"):
        with pytest.raises(ValueError, match=r"expected one address as in 10\.44\.0\.7"):
            read_address(value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10.44.0.77", a_range("10.44.0.77", "10.44.0.77")),
        ("10.44.0.1-10.44.0.9", a_range("10.44.0.1", "10.44.0.9")),
        (" 10.44.0.1 - 10.44.0.9 ", a_range("10.44.0.1", "10.44.0.9")),
        ("10.44.0.1-10.44.0.1", a_range("10.44.0.1", "10.44.0.1")),
        ("10.44.0.128/25", a_range("10.44.0.128", "10.44.0.255")),
        ("0.0.0.0/0", a_range("0.0.0.0", "255.255.255.255")),  # noqa: S104 - no socket
        ("fd00::/120", a_range("fd00::", "fd00::ff")),
        ("fd00::1-fd00::ffff", a_range("fd00::1", "fd00::ffff")),
    ],
)
def test_a_range_is_an_address_two_or_a_network(text: str, expected: AddressRange) -> None:
    assert parse_range(text) == read_range(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10.44.0.9-10.44.0.1", "the lower one first"),
        ("10.44.0.1-fd00::1", "two addresses of one family"),
        ("10.44.0.1-9", "'9' does not appear to be"),
        ("10.44.0.129/25", r"host bits are set, the network is 10\.44\.0\.128/25"),
        ("10.44.0.1-10.44.0.8/29", "does not appear to be"),
        ("10.44.0.0/33", "prefix length '33', expected 0 to 32"),
        ("1-2-3", "does not appear to be"),
        ("-", "does not appear to be"),
        ("/", "does not appear to be"),
        ("x" * 4000, "x…"),
    ],
)
def test_a_range_that_is_none_says_why_and_what_is_expected(text: str, expected: str) -> None:
    with pytest.raises(ValueError, match=expected) as caught:
        read_range(text)
    message = str(caught.value)
    assert "; expected an address, a range as in 10.44.0.1-10.44.0.9, or a network" in message
    assert len(message) < 400


def test_an_error_is_repeated_in_full_when_it_is_short() -> None:
    assert shortened(ValueError("x" * 120)) == "x" * 120
    assert shortened(ValueError("x" * 100 + "y" * 100)) == "x" * 60 + "…" + "y" * 60


def test_a_pool_too_long_to_be_one_is_not_repeated_in_full() -> None:
    longest = "0000:0000:0000:0000:0000:0000:192.0.2.0/120"
    assert read_pool(longest).network.length == 120
    with pytest.raises(ValueError, match=r"^'::+…, expected a network as in") as caught:
        read_pool(":" * 4000)
    assert len(str(caught.value)) < 200


def test_the_last_address_of_a_network() -> None:
    assert last_address(parse_pool("10.44.0.0/22").network) == parse_address("10.44.3.255")


def test_a_key_is_32_bytes_of_base64() -> None:
    key = bytes(range(32))
    assert read_key(format_key(key)) == key


@pytest.mark.parametrize(
    "text", ["A" * 43, "A" * 44, "A" * 42 + "==", "A" * 43 + "é", "A" * 42 + "B=", "?" * 44]
)
def test_a_key_that_is_none_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(ValueError, match="expected a public key: 44 characters") as caught:
        read_key(text)
    assert text not in str(caught.value)
    assert f"text of {len(text)} characters" in str(caught.value)


@pytest.mark.parametrize("text", ["10.20.0.0/16", "0.0.0.0/0", "::/0", "fd00:20::/48", "192.0.2.7"])
def test_a_route_leads_to_a_network_that_can_be_reached(text: str) -> None:
    assert read_route(text) == parse_prefix(text)


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        ("10.20.0.1/16", "'10.20.0.1/16' has host bits set, expected 10.20.0.0/16"),
        ("x", "'x', expected a network as in 10.20.0.0/16 or fd00:20::/48"),
        ("10.20.0.0/33", "'10.20.0.0/33', expected a network as in"),
        ("127.0.0.0/8", "'127.0.0.0/8' is loopback, expected a network that is reached"),
        ("fe80::/64", "'fe80::/64' is link-local, expected a network that is reached"),
        (7, "7, expected text in quotes"),
    ],
)
def test_a_route_to_nowhere_is_refused(value: object, complaint: str) -> None:
    with pytest.raises(ValueError, match="expected") as caught:
        read_route(value)
    assert str(caught.value).startswith(complaint)


def test_a_name_server_is_a_machine_that_can_be_asked() -> None:
    assert read_name_server("10.44.0.53") == parse_address("10.44.0.53")
    for value in ("127.0.0.1", "fe80::53", "ff02::fb", "0.0.0.0", "::"):  # noqa: S104 - no socket
        with pytest.raises(ValueError, match=f"'{value}' is loopback, .* of a name server$"):
            read_name_server(value)
    with pytest.raises(ValueError, match="expected one address"):
        read_name_server("ns.example")


@pytest.mark.parametrize(
    "text", ["a", "Corp.Example", "x" * 63, ".".join(["a" * 62] * 4) + ".b", "1.2-3.xn--caf-dma"]
)
def test_a_domain_is_by_the_grammar_and_in_lower_case(text: str) -> None:
    assert read_domain(text) == parse_domain(text, MAX_DOMAIN_LENGTH) == text.lower()


@pytest.mark.parametrize(
    "text",
    [
        *("corp.example.", ".corp", "a..b", "-a", "a-", "a_b", "a b", "x" * 64, "caf\u00e9"),
        *("\u212a", ".".join(["a" * 62] * 4) + ".bc", "a/b", "$(reboot)", "--help"),
    ],
)
def test_a_domain_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected a domain name as in") as caught:
        read_domain(text)
    assert len(str(caught.value)) < 300


def test_a_domain_with_a_line_break_is_no_text() -> None:
    with pytest.raises(ValueError, match="expected text on one line"):
        read_domain("corp.example\nnameserver 192.0.2.1")
