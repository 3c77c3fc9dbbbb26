"""A pool: a network whose addresses are leased, less those that never are."""

from collections.abc import Iterable

from wg_dynamic.address import Prefix, is_link_local, parse_prefix
from wg_dynamic.record import dataclass

IPV4_MAX_LENGTH = 32
IPV6_MAX_LENGTH = 128
ANYCAST_COUNT = 128
"""Highest interface identifiers of an IPv6 subnet, reserved for anycast (RFC 2526 section 2)."""
ANYCAST_MAX_LENGTH = 64
EUI64_LENGTH = 64
EUI64_ANYCAST = 0xFDFF_FFFF_FFFF_FF80
"""Where the same stand in a /64, whose identifiers have the form of EUI-64, in which the bit that
would make them universal is clear (RFC 2526 section 2): fdff:ffff:ffff:ff80 to the end of fdff."""
SUBNET_MIN_HOST_BITS = 2
"""Networks with fewer host bits have no network and broadcast address (RFC 3021, RFC 6164)."""


@dataclass(frozen=True)
class Pool:
    """One network to lease from."""

    network: Prefix

    def stretches(self) -> tuple[tuple[int, int], ...]:
        """What may be leased, as numbers: (lowest, highest) of each stretch, in order.

        Left out are the network's own address (IPv6: the subnet-router anycast address, RFC 4291
        section 2.6.1), the broadcast address, and the anycast addresses of RFC 2526; of a /64 in
        both forms that it defines, for there are hosts that know only the older one.
        """
        size = len(self.network.packed)
        host_bits = size * 8 - self.network.length
        base = int.from_bytes(self.network.packed, "big")
        end = base + (1 << host_bits) - 1
        if host_bits < SUBNET_MIN_HOST_BITS:
            return ((base, end),)
        if self.network.is_ipv4:
            return ((base + 1, end - 1),)
        if self.network.length > ANYCAST_MAX_LENGTH:
            return ((base + 1, end),)
        end -= ANYCAST_COUNT
        if self.network.length < EUI64_LENGTH:
            return ((base + 1, end),)
        anycast = base + EUI64_ANYCAST
        return ((base + 1, anycast - 1), (anycast + ANYCAST_COUNT, end))

    def leases(self, address: bytes) -> bool:
        """Whether this pool leases the address, exclusions not counted."""
        if len(address) != len(self.network.packed):
            return False
        number = int.from_bytes(address, "big")
        return any(first <= number <= last for first, last in self.stretches())

    def covers(self, address: bytes) -> bool:
        """Whether the address is in the network, be it one that is never leased."""
        return self.network.covers(Prefix(address, len(address) * 8))


class PoolIndex:
    """Which of some pools an address is in, at a cost that does not grow with their number."""

    def __init__(self, pools: Iterable[Pool]) -> None:
        self._places: dict[tuple[int, int], dict[int, int]] = {}
        """(bytes of an address, bits of a host) -> number of the network -> place of the pool."""
        for place, pool in enumerate(pools):
            network = pool.network
            bits = len(network.packed) * 8 - network.length
            number = int.from_bytes(network.packed, "big") >> bits
            self._places.setdefault((len(network.packed), bits), {}).setdefault(number, place)

    def find(self, address: bytes) -> int | None:
        """The place of the pool whose network has the address, leased from there or not."""
        number = int.from_bytes(address, "big")
        for (size, bits), places in self._places.items():
            if size == len(address) and number >> bits in places:
                return places[number >> bits]
        return None


def parse_pool(text: str) -> Pool:
    """A pool from `NETWORK/LENGTH`. Raises ValueError that says what is wrong and what to do."""
    if "/" not in text:
        msg = f"pool {text!r} has no prefix length, expected one as in 10.44.0.0/24 or fd00:44::/64"
        raise ValueError(msg)
    try:
        prefix = parse_prefix(text)
    except ValueError as error:
        msg = f"pool {text!r}: {error}; expected a network as in 10.44.0.0/24 or fd00:44::/64"
        raise ValueError(msg) from error
    if prefix.network() != prefix:
        msg = f"pool {text!r} has host bits set, expected {prefix.network()}"
        raise ValueError(msg)
    reason = _unusable(prefix)
    if reason:
        msg = f"pool {text!r} {reason}, expected unicast addresses that peers can use"
        raise ValueError(msg)
    return Pool(prefix)


_NEVER_LEASED = tuple(
    (parse_prefix(text), reason)
    for text, reason in (
        ("0.0.0.0/8", "is in 'this network' (RFC 1122)"),
        ("127.0.0.0/8", "is loopback"),
        ("169.254.0.0/16", "is link-local"),
        ("224.0.0.0/3", "is multicast or reserved"),
        ("::/128", "is the unspecified address"),
        ("::1/128", "is loopback"),
        ("::ffff:0:0/96", "is IPv4-mapped"),
        ("fe80::/10", "is link-local"),
        ("ff00::/8", "is multicast"),
    )
)


def _unusable(prefix: Prefix) -> str:
    for network, reason in _NEVER_LEASED:
        if network.overlaps(prefix):
            return reason
    return ""


def why_unreachable(prefix: Prefix) -> str:
    """Why nothing is ever reached there: all of it is loopback, link-local, multicast, …."""
    return next((reason for network, reason in _NEVER_LEASED if network.covers(prefix)), "")


def is_leasable(address: bytes) -> bool:
    """Whether an address could be anybody's at all: not loopback, link-local, multicast, …."""
    return not is_link_local(address) and not _unusable(Prefix(address, len(address) * 8))


def is_unicast(network: Prefix) -> bool:
    """Whether all addresses of a network could be somebody's."""
    return not _unusable(network)
