"""Single values of a configuration, out of what TOML or an option gives. Pure.

Each function takes the foreign value and returns ours, or raises ValueError that says what came and
what was expected; where it stood is the caller's to say.
"""

import re
from math import isfinite
from pathlib import Path
from typing import Final

from wg_dynamic.address import Prefix, parse_address, parse_prefix
from wg_dynamic.leases.pool import Pool, is_leasable, parse_pool, why_unreachable
from wg_dynamic.leases.push import MAX_DOMAIN_LENGTH
from wg_dynamic.leases.terms import INFINITE, AddressRange
from wg_dynamic.wireguard.key import parse_key

INFINITE_TEXT: Final = "infinite"
"""As dnsmasq has it."""
_UNITS: Final = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_TIME: Final = re.compile(r"([0-9]{1,12})([smhdw]?)")
_SHOWN: Final = 60
"""Characters of a foreign text that a message repeats."""
_WORD_BITS: Final = 64
_LABEL: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")


def shown(value: object) -> str:
    """A foreign value as a message repeats it: short, on one line, whatever it is."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) and value.bit_length() > _WORD_BITS:
        return f"a number of {value.bit_length()} bits"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, float) and not isfinite(value):
        return f"the float {value}"
    text = repr(value) if isinstance(value, str | int | float) else str(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def read_number(value: object, low: int, high: int) -> int:
    """A whole number within bounds."""
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        msg = f"{shown(value)}, expected a whole number from {low} to {high}"
        raise ValueError(msg)
    return value


def read_time(value: object, low: int, high: int) -> int:
    """Seconds: a whole number, or text with a unit as in "10m", "1h", "7d"."""
    seconds: int | None = None
    if isinstance(value, str):
        found = _TIME.fullmatch(value)
        seconds = int(found[1]) * _UNITS[found[2]] if found else None
    elif isinstance(value, int) and not isinstance(value, bool):
        seconds = value
    if seconds is None or not low <= seconds <= high:
        msg = f"{shown(value)}, expected {low} to {high} seconds, or text as in '10m', '1h', '7d'"
        raise ValueError(msg)
    return seconds


def read_time_or_infinite(value: object, low: int, high: int) -> float:
    """As `read_time`, or "infinite"."""
    if value == INFINITE_TEXT:
        return INFINITE
    try:
        return read_time(value, low, high)
    except ValueError as error:
        msg = f"{error}, or '{INFINITE_TEXT}'"
        raise ValueError(msg) from error


def read_text(value: object) -> str:
    """Text that is not empty and on one line."""
    if not isinstance(value, str):
        msg = f"{shown(value)}, expected text in quotes"
        raise ValueError(msg)
    if not value or not value.isprintable():
        msg = f"{shown(value)}, expected text on one line that is not empty"
        raise ValueError(msg)
    return value


def read_path(value: object) -> Path:
    """An absolute path."""
    text = read_text(value)
    if not text.startswith("/"):
        msg = f"{shown(text)}, expected a path that begins with /"
        raise ValueError(msg)
    return Path(text)


def read_pool(value: object) -> Pool:
    """A network to lease from."""
    text = read_text(value)
    if len(text) > _SHOWN:  # no network takes as many
        msg = f"{shown(text)}, expected a network as in 10.44.0.0/24 or fd00:44::/64"
        raise ValueError(msg)
    return parse_pool(text)


def read_address(value: object) -> bytes:
    """One address, packed."""
    text = read_text(value)
    try:
        return parse_address(text)
    except ValueError:
        msg = f"{shown(text)}, expected one address as in 10.44.0.7 or fd00:44::7, without a length"
        raise ValueError(msg) from None


def read_route(value: object) -> Prefix:
    """A network to reach through the tunnel; 0.0.0.0/0 and ::/0 are some, too."""
    text = read_text(value)
    try:
        network = parse_prefix(text)
    except ValueError:
        msg = f"{shown(text)}, expected a network as in 10.20.0.0/16 or fd00:20::/48"
        raise ValueError(msg) from None
    if network.network() != network:
        msg = f"{shown(text)} has host bits set, expected {network.network()}"
        raise ValueError(msg)
    reason = why_unreachable(network)
    if reason:
        msg = f"{shown(text)} {reason}, expected a network that is reached through the tunnel"
        raise ValueError(msg)
    return network


def read_name_server(value: object) -> bytes:
    """The address of a name server, packed."""
    address = read_address(value)
    if not is_leasable(address):
        msg = f"{shown(value)} is loopback, link-local, multicast or nobody's,"
        msg += " expected the address of a name server"
        raise ValueError(msg)
    return address


def read_domain(value: object) -> str:
    """A search domain in lower case, by the grammar of protocol.md 4.2."""
    text = read_text(value)
    name = text.lower()
    good = text.isascii() and len(name) <= MAX_DOMAIN_LENGTH
    if not good or not all(map(_LABEL.fullmatch, name.split("."))):
        msg = f"{shown(text)}, expected a domain name as in corp.example: labels of letters,"
        msg += f" digits and inner hyphens, 63 characters each, {MAX_DOMAIN_LENGTH} in all,"
        msg += " without a dot at the end"
        raise ValueError(msg)
    return name


def read_range(value: object) -> AddressRange:
    """One address, `FIRST-LAST`, or a network."""
    text = read_text(value)
    try:
        return parse_range(text)
    except ValueError as error:
        msg = f"{shown(text)}: {shortened(error)}; expected an address, a range as in"
        msg += " 10.44.0.1-10.44.0.9, or a network as in 10.44.0.128/25"
        raise ValueError(msg) from None


def shortened(error: Exception) -> str:
    """What an error says, not longer than a message can repeat: its end often says where."""
    text = str(error)
    return text if len(text) <= 2 * _SHOWN else f"{text[:_SHOWN]}…{text[-_SHOWN:]}"


def parse_range(text: str) -> AddressRange:
    """The range that `ADDRESS`, `FIRST-LAST` or `NETWORK/LENGTH` means. Raises ValueError."""
    first, dash, last = text.partition("-")
    if dash:
        return AddressRange(parse_address(first.strip()), parse_address(last.strip()))
    prefix = parse_prefix(text.strip())
    if prefix.network() != prefix:
        msg = f"host bits are set, the network is {prefix.network()}"
        raise ValueError(msg)
    return AddressRange(prefix.packed, last_address(prefix))


def last_address(network: Prefix) -> bytes:
    """The highest address of a network."""
    size = len(network.packed)
    rest = (1 << (size * 8 - network.length)) - 1
    return (int.from_bytes(network.packed, "big") | rest).to_bytes(size, "big")


def read_key(value: object) -> bytes:
    """A public key. What came is not repeated: it might be the wrong key of a pair."""
    text = read_text(value)
    try:
        return parse_key(text)
    except ValueError:
        msg = f"text of {len(text)} characters, expected a public key: 44 characters of base64"
        msg += " that mean 32 bytes, as printed by 'wg show'"
        raise ValueError(msg) from None


def parse_network(text: str) -> Prefix:
    """A network that is to be trusted with something. Raises ValueError.

    Not 0.0.0.0/0 or ::/0, which say as much as no limit at all.
    """
    prefix = parse_prefix(text)
    if prefix.network() != prefix or prefix.length == 0:
        msg = "expected a network as in 192.0.2.0/24, not the whole Internet"
        raise ValueError(msg)
    return prefix


def read_network(value: object) -> Prefix:
    """As `parse_network`."""
    text = read_text(value)
    try:
        return parse_network(text)
    except ValueError as error:
        msg = f"{shown(text)}: {shortened(error)}"
        raise ValueError(msg) from None


def read_flag(value: object) -> bool:
    """A truth value."""
    if not isinstance(value, bool):
        msg = f"{shown(value)}, expected true or false"
        raise ValueError(msg)
    return value
