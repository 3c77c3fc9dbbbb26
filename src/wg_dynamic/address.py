"""Addresses and prefixes as the rest of the package carries them: packed bytes.

A table of a million leases, or a dump of 60,000 peers, cannot afford an `ipaddress` object for
each entry; 4 or 16 packed bytes say as much, hash fast and go to netlink and SQLite unchanged.
"""

from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
    ip_address,
    ip_interface,
    ip_network,
)
from struct import Struct
from typing import NamedTuple

IPV4_SIZE = 4
IPV6_SIZE = 16
"""Bytes of a packed address."""


_OCTETS = {str(octet): octet for octet in range(256)}
_GROUPS = Struct("!8H")
_ZEROS = [":" + "0:" * count for count in range(8, 1, -1)]


class Prefix(NamedTuple):
    """An address with a prefix length; host bits may be set (`10.0.0.7/24` is a valid Prefix)."""

    packed: bytes
    """The address, 4 bytes (IPv4) or 16 bytes (IPv6), network order."""
    length: int
    """Prefix length, 0 to 32 or 0 to 128."""

    def __str__(self) -> str:
        """Text form with the length, as `wg show` and `ip` print it."""
        return f"{format_address(self.packed)}/{self.length}"

    @property
    def is_ipv4(self) -> bool:
        """Whether the address is an IPv4 one."""
        return len(self.packed) == IPV4_SIZE

    @property
    def is_host(self) -> bool:
        """Whether the prefix holds exactly one address."""
        return self.length == len(self.packed) * 8

    def network(self) -> "Prefix":
        """The same prefix with the host bits cleared."""
        bits = len(self.packed) * 8 - self.length
        value = int.from_bytes(self.packed, "big") >> bits << bits
        return Prefix(value.to_bytes(len(self.packed), "big"), self.length)

    def covers(self, other: "Prefix") -> bool:
        """Whether `other` lies inside this prefix (same family, equal counts as inside)."""
        packed, length = self
        if len(packed) != len(other.packed) or length > other.length:
            return False
        whole = length >> 3  # bytes that have to be the same; then some bits of the next one
        if packed[:whole] != other.packed[:whole]:
            return False
        rest = 8 - (length & 7)
        return rest == 8 or packed[whole] >> rest == other.packed[whole] >> rest  # noqa: PLR2004

    def overlaps(self, other: "Prefix") -> bool:
        """Whether any address lies in both."""
        return self.covers(other) or other.covers(self)


def format_address(packed: bytes) -> str:
    """Text form of 4 or 16 packed bytes (RFC 5952). Raises ValueError for any other length.

    As `ipaddress` prints it, at a fifth of the cost: it stands in every reply and every line of a
    ledger.
    """
    if len(packed) == IPV4_SIZE:
        one, two, three, four = packed
        return f"{one}.{two}.{three}.{four}"
    if len(packed) != IPV6_SIZE:
        return str(ip_address(packed))  # raises
    text = "%x:%x:%x:%x:%x:%x:%x:%x" % _GROUPS.unpack(packed)  # noqa: UP031 - half of format's cost
    if "0:0" not in text:
        return text
    text = f":{text}:"
    for zeros in _ZEROS:  # the longest run, and of equally long ones the first
        if zeros in text:
            head, _, tail = text.partition(zeros)
            return f"{head[1:]}::{tail[:-1]}"
    return text[1:-1]


def parse_address(text: str) -> bytes:
    """Packed bytes of one IPv4 or IPv6 literal. Raises ValueError; scope ids are refused.

    As `ipaddress` reads it, at a third of the cost; what is unusual is left to it.
    """
    try:
        if ":" not in text:
            one, two, three, four = text.split(".")
            return bytes((_OCTETS[one], _OCTETS[two], _OCTETS[three], _OCTETS[four]))
        head, gap, tail = text.partition("::")
        start, end = _groups(head), _groups(tail)
        missing = IPV6_SIZE - len(start) - len(end)
        if missing >= 0 and bool(missing) == bool(gap):
            return start + bytes(missing) + end
    except (KeyError, ValueError):
        pass
    address = ip_address(text)
    if isinstance(address, IPv6Address) and address.scope_id is not None:
        msg = f"{text!r} carries a scope id, expected a plain address"
        raise ValueError(msg)
    return address.packed


def _groups(text: str) -> bytes:
    """Groups of an IPv6 address, two bytes each. Raises ValueError."""
    if not text:
        return b""
    groups = text.split(":")
    digits = "".join([group.zfill(4) for group in groups])
    if "" in groups or len(digits) != 4 * len(groups) or not digits.isalnum():
        msg = f"groups {text!r}, expected 1 to 4 hexadecimal digits each"
        raise ValueError(msg)
    return bytes.fromhex(digits)


def parse_prefix(text: str) -> Prefix:
    """`ADDRESS[/LENGTH]` as a Prefix; host bits are kept. Raises ValueError.

    Netmask notation (`/255.255.255.0`), which `ipaddress` would take, is refused.
    """
    address, slash, length = text.partition("/")
    packed = parse_address(address)
    if not slash:
        return host_prefix(packed)
    if not (length.isascii() and length.isdigit()) or int(length) > len(packed) * 8:
        msg = f"prefix length {length!r}, expected 0 to {len(packed) * 8}"
        raise ValueError(msg)
    return Prefix(packed, int(length))


def host_prefix(packed: bytes) -> Prefix:
    """The /32 or /128 of one address."""
    return Prefix(packed, len(packed) * 8)


def from_ip(
    value: IPv4Address | IPv6Address | IPv4Interface | IPv6Interface | IPv4Network | IPv6Network,
) -> Prefix:
    """A Prefix from any object of `ipaddress`; plain addresses become /32 or /128."""
    if isinstance(value, IPv4Network | IPv6Network):
        return Prefix(value.network_address.packed, value.prefixlen)
    if isinstance(value, IPv4Interface | IPv6Interface):
        return Prefix(value.ip.packed, value.network.prefixlen)
    return host_prefix(value.packed)


def to_interface(prefix: Prefix) -> IPv4Interface | IPv6Interface:
    """The `ipaddress` interface object (host bits kept) of a Prefix."""
    return ip_interface((prefix.packed, prefix.length))


def to_network(prefix: Prefix) -> IPv4Network | IPv6Network:
    """The `ipaddress` network object of a Prefix. Raises ValueError if host bits are set."""
    return ip_network((prefix.packed, prefix.length))


def is_link_local(packed: bytes) -> bool:
    """Whether the address is in fe80::/10 (RFC 4291 section 2.4)."""
    return len(packed) == IPV6_SIZE and packed[0] == 0xFE and packed[1] & 0xC0 == 0x80  # noqa: PLR2004


SERVER_ADDRESS = bytes.fromhex("fe80" + "00" * 14)
"""fe80::, where the server listens (docs/protocol.md section 2)."""
