"""What a server leases by: pools with their settings, reservations, limits, pushes. Pure values.

The helper reads them from the command line and the configuration file, checks them and hands them
to the network process; neither changes them afterwards. Times are seconds.
"""

from math import inf
from typing import Final

from wg_dynamic.leases.pool import Pool
from wg_dynamic.leases.push import SILENT, Push
from wg_dynamic.record import dataclass

INFINITE: Final = inf
"""A lease time without end; only reservations have it."""
MIN_LEASE_TIME: Final = 60
"""A shorter lease costs more messages than it gives."""
MAX_LEASE_TIME: Final = 365 * 86400
DEFAULT_LEASE_TIME: Final = 3600
DEFAULT_QUARANTINE_TIME: Final = 86400
FREE_DECLINES: Final = 2
"""Addresses of a family in quarantine that do not count against what their peer may hold: a client
that cannot use one gets another at once, and nobody empties a pool by declining."""
DEFAULT_MAX_NEW_ADDRESSES: Final = 60
CHURN_PERIOD: Final = 3600
"""Seconds over which `LeaseTerms.max_new_addresses` counts."""


@dataclass(frozen=True, slots=True)
class AddressRange:
    """Addresses of one family, both ends included."""

    first: bytes
    last: bytes

    def __post_init__(self) -> None:
        """Refuse ends that make no range (ValueError)."""
        if len(self.first) != len(self.last) or self.first > self.last:
            msg = "a range needs two addresses of one family, the lower one first"
            raise ValueError(msg)

    def holds(self, address: bytes) -> bool:
        """Whether the address is in the range."""
        return len(address) == len(self.first) and self.first <= address <= self.last


@dataclass(frozen=True, slots=True)
class PoolTerms:
    """One pool and its own settings; pools of a family are leased from in their order."""

    pool: Pool
    lease_time: float | None = None
    """None: as the server's."""
    network_length: int | None = None
    """Prefix length of the on-link network that clients are told; None: the pool's own."""
    excluded: tuple[AddressRange, ...] = ()
    """Never leased, but to the peer that has a reservation there."""
    push: Push = SILENT
    """What clients with a lease of this pool are told besides; routes of its family only."""


@dataclass(frozen=True, slots=True)
class Reservation:
    """Addresses that only one peer gets; of a family at most as many as a peer may hold."""

    public_key: bytes
    addresses: tuple[bytes, ...]
    lease_time: float | None = None
    """None: as the pool's; INFINITE is allowed here alone."""


@dataclass(frozen=True, slots=True)
class PeerTerms:
    """What one peer is told, wherever its leases are from."""

    public_key: bytes
    push: Push


MAX_NAME = 64
"""Characters of a name."""


@dataclass(frozen=True, slots=True)
class PeerName:
    """What people call a peer."""

    public_key: bytes
    name: str


@dataclass(frozen=True, slots=True)
class LeaseTerms:
    """Everything that decides what a request gets."""

    pools: tuple[PoolTerms, ...]
    reservations: tuple[Reservation, ...] = ()
    lease_time: float = DEFAULT_LEASE_TIME
    """What a client gets that asks for no time of its own."""
    min_lease_time: float = MIN_LEASE_TIME
    max_lease_time: float = MAX_LEASE_TIME
    """Bounds of what a client may ask for."""
    addresses_per_peer: int = 1
    """Addresses of one family that one peer may hold; of those that it declined of late all but
    FREE_DECLINES count."""
    max_new_addresses: int = DEFAULT_MAX_NEW_ADDRESSES
    """Addresses that a peer did not have before, in CHURN_PERIOD; renewals are free."""
    grace_time: float = 0
    """For how long an ended address is given to nobody else, even when the pool is full."""
    quarantine_time: float = DEFAULT_QUARANTINE_TIME
    """For how long a declined address is given to nobody."""
    push: Push = SILENT
    """What every client is told besides its addresses."""
    peers: tuple[PeerTerms, ...] = ()
    names: tuple[PeerName, ...] = ()
    """One for each peer that has a name: for logs, events and administrators."""

    def reserved_for(self) -> dict[bytes, bytes]:
        """Each reserved address, and the public key that gets it."""
        return {address: one.public_key for one in self.reservations for address in one.addresses}
