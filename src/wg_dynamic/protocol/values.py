"""The text of one value and back, for each Kind of the schema (docs/protocol.md 4.2).

Everything here raises ValueError, whose text says got and expected; who calls knows whether the
fault is the other side's (reading) or ours (printing).
"""

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from types import MappingProxyType
from typing import Final

from wg_dynamic.address import format_address
from wg_dynamic.address import parse_address as packed_address
from wg_dynamic.protocol.messages import ANY_IPV4, ANY_IPV6, Address, Network
from wg_dynamic.protocol.schema import MAX_NAME_LENGTH, MAX_NUMBER, Attribute, Kind

_ANYTHING: Final[Mapping[str, Address]] = {str(ANY_IPV4): ANY_IPV4, str(ANY_IPV6): ANY_IPV6}
_MAX_DIGITS: Final = len(str(MAX_NUMBER))
_NAME: Final = re.compile(rf"[a-z][a-z0-9_]{{0,{MAX_NAME_LENGTH - 1}}}")
_LABEL: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_UNPRINTABLE: Final = re.compile(r"[^ -~]")


def is_name(text: str) -> bool:
    """Whether `text` may name a command, attribute, section or feature (4.1)."""
    return _NAME.fullmatch(text) is not None


def sanitise(text: str, limit: int) -> str:
    """`text` with everything but printable ASCII replaced by '?', cut to `limit` characters."""
    return _UNPRINTABLE.sub("?", text[:limit])


def parse_number(text: str, minimum: int = 0, maximum: int = MAX_NUMBER) -> int:
    """A canonical decimal number: no sign, no blank, no leading zero."""
    if not (text.isascii() and text.isdigit()) or (text[0] == "0" and text != "0"):
        msg = f"{text[:40]!r}, expected a decimal number without sign, blanks or leading zeros"
        raise ValueError(msg)
    if len(text) > _MAX_DIGITS or not minimum <= int(text) <= maximum:
        msg = f"{text[:40]}, expected {minimum} to {maximum}"
        raise ValueError(msg)
    return int(text)


def parse_loose_number(text: str) -> int:
    """A number as upstream's C takes it: blanks, one '+' and leading zeros may stand before it.

    docs/protocol.md 5.4.
    """
    digits = text.lstrip(" \t").removeprefix("+")
    if digits.isascii() and digits.isdigit():
        return parse_number(digits.lstrip("0") or "0")
    return parse_number(text)


def parse_address(text: str) -> Address:
    """An IPv4 or IPv6 literal in any of its text forms, without scope id."""
    anything = _ANYTHING.get(text)
    if anything is not None:
        return anything
    if ":" not in text:
        try:
            return IPv4Address(packed_address(text))
        except ValueError:
            return IPv4Address(text)  # says what is wrong
    if "%" in text:
        msg = f"{text[:60]!r} carries a scope id, expected a plain address"
        raise ValueError(msg)
    return IPv6Address(packed_address(text))


def parse_host(text: str) -> Address:
    """`ADDRESS[/LENGTH]`; the length is checked and dropped (docs/protocol.md 5.4)."""
    literal, slash, length = text.partition("/")
    address = parse_address(literal)
    if slash:
        parse_number(length, 0, address.max_prefixlen)
    return address


@lru_cache(maxsize=256)
def parse_network(text: str) -> Network:
    """`ADDRESS/LENGTH` without host bits. Remembered: the same few come in every reply."""
    literal, _, length = text.partition("/")
    address = parse_address(literal)
    bits = parse_number(length or "absent", 0, address.max_prefixlen)
    if isinstance(address, IPv4Address):
        return IPv4Network((address, bits))
    return IPv6Network((address, bits))


def parse_names(text: str, maximum: int) -> tuple[str, ...]:
    """Names between commas, each once."""
    names = tuple(text.split(","))
    if len(names) > maximum:
        msg = f"{len(names)} names, expected at most {maximum}"
        raise ValueError(msg)
    for name in names:
        if not is_name(name):
            msg = f"{name[:40]!r}, expected a name"
            raise ValueError(msg)
    if len(set(names)) != len(names):
        msg = "a name occurs twice"
        raise ValueError(msg)
    return names


def parse_domain(text: str, maximum: int) -> str:
    """A domain name of letters, digits and inner hyphens; returned in lower case."""
    name = text.lower()
    if len(name) > maximum:
        msg = f"domain name of {len(name)} characters, expected at most {maximum}"
        raise ValueError(msg)
    if not all(_LABEL.fullmatch(label) for label in name.split(".")):
        msg = f"{text[:40]!r}, expected a domain name"
        raise ValueError(msg)
    return name


def _parse_flag(attribute: Attribute, text: str) -> bool:
    if text != attribute.literal:
        msg = f"{text[:40]!r}, expected {attribute.literal!r} or no such line"
        raise ValueError(msg)
    return True


def _parse_text(attribute: Attribute, text: str) -> str:
    if len(text) > attribute.maximum:
        msg = f"text of {len(text)} characters, expected at most {attribute.maximum}"
        raise ValueError(msg)
    return text


_PARSERS: Final[Mapping[Kind, Callable[[Attribute, str], object]]] = MappingProxyType(
    {
        Kind.NUMBER: lambda attribute, text: parse_number(
            text, attribute.minimum, attribute.maximum
        ),
        Kind.ADDRESS: lambda _, text: parse_address(text),
        Kind.HOST: lambda _, text: parse_host(text),
        Kind.NETWORK: lambda _, text: parse_network(text),
        Kind.FLAG: _parse_flag,
        Kind.TEXT: _parse_text,
        Kind.NAMES: lambda attribute, text: parse_names(text, attribute.maximum),
        Kind.DOMAIN: lambda attribute, text: parse_domain(text, attribute.maximum),
    }
)


def parse_value(attribute: Attribute, text: str) -> object:
    """The value that the text of one line stands for. Raises ValueError, naming the attribute."""
    try:
        return _PARSERS[attribute.kind](attribute, text)
    except ValueError as error:
        msg = f"{attribute.name}: {error}"
        raise ValueError(msg) from None


def _print_number(attribute: Attribute, value: object) -> str:
    if not isinstance(value, int) or not attribute.minimum <= value <= attribute.maximum:
        msg = f"{value!r}, expected {attribute.minimum} to {attribute.maximum}"
        raise ValueError(msg)
    return str(int(value))


def _print_address(_: Attribute, value: object) -> str:
    if not isinstance(value, IPv4Address | IPv6Address):
        msg = f"{value!r}, expected an IPv4Address or IPv6Address"
        raise ValueError(msg)
    if isinstance(value, IPv6Address) and value.scope_id is not None:
        return _without_scope(str(value))
    return format_address(value.packed)


def _without_scope(text: str) -> str:
    if "%" in text:
        msg = f"{text} carries a scope id, expected a plain address"
        raise ValueError(msg)
    return text


def _print_host(attribute: Attribute, value: object) -> str:
    text = _print_address(attribute, value)
    return f"{text}/128" if ":" in text else f"{text}/32"


def _print_network(_: Attribute, value: object) -> str:
    if not isinstance(value, IPv4Network | IPv6Network):
        msg = f"{value!r}, expected an IPv4Network or IPv6Network"
        raise ValueError(msg)
    return _network_text(value)


@lru_cache(maxsize=256)
def _network_text(network: Network) -> str:
    return _without_scope(str(network))


def _print_text(attribute: Attribute, value: object) -> str:
    return sanitise(str(value), attribute.maximum)


def _print_names(attribute: Attribute, value: object) -> str:
    if not isinstance(value, tuple):
        msg = f"{value!r}, expected a tuple of names"
        raise ValueError(msg)
    text = ",".join(value)
    parse_names(text, attribute.maximum)
    return text


_PRINTERS: Final[Mapping[Kind, Callable[[Attribute, object], str]]] = MappingProxyType(
    {
        Kind.NUMBER: _print_number,
        Kind.ADDRESS: _print_address,
        Kind.HOST: _print_host,
        Kind.NETWORK: _print_network,
        Kind.FLAG: lambda attribute, _: attribute.literal,
        Kind.TEXT: _print_text,
        Kind.NAMES: _print_names,
        Kind.DOMAIN: lambda attribute, value: parse_domain(str(value), attribute.maximum),
    }
)


def print_value(attribute: Attribute, value: object) -> str:
    """The text of one value. Raises ValueError, naming the attribute."""
    try:
        return _PRINTERS[attribute.kind](attribute, value)
    except ValueError as error:
        msg = f"{attribute.name}: {error}"
        raise ValueError(msg) from None
